"""A small study whose workload goes wrong when files say so, run by the real command; and an undisturbed one."""

import functools
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from tests_support import ADAI_STUDY, comparable_tables

from study.cli import main
from study.creation import create_study
from study.driver import Driver
from study.progress import Progress
from study.spec_file import load_spec
from study.storage.engine import create_database, open_database
from study.storage.records import find_study
from workers.messages import EnginePlan
from workers.pool import InlinePool

#: Digits in one linear layer. What the files say is executed: "every step" and "once" when a batch of examples is
#: drawn, "once" only by the first who finds it; "every gradient" by the layer of a run that trains, which knows its
#: weights: these become large with large learning rates only. Nothing of it changes a number.
_WORKLOAD = """
import ctypes, dataclasses, os, signal, time
from pathlib import Path

import torch
from torch import nn

from workers.workloads import get_workload

FOLDER = Path({folder!r})


def obey(name, layer=None):
    path = FOLDER / name
    try:
        code = path.read_text()
        if name == "once":
            path.rename(FOLDER / "once, done")
    except FileNotFoundError:
        return
    exec(code, globals() | {{"layer": layer}})


def augment(inputs, words):
    obey("every step")
    obey("once")
    return inputs


class Layer(nn.Linear):
    def forward(self, inputs):
        if torch.is_grad_enabled():
            obey("every gradient", self)
        return super().forward(inputs)


def build_model(data):
    return nn.Sequential(Layer(64, 10))


digits = get_workload("digits-logistic")
faulty = dataclasses.replace(digits, name="faulty", build_model=build_model, augment=augment)
"""
_SPEC = """
name = "faulty"
workload_files = ["workload.py"]
workloads = ["faulty"]
seeds = 2
study_seed = 11
epochs = 4
training = { engine = "looped" }

[design]
kind = "sobol"
points = 11

[[optimizers]]
name = "adai"

[[optimizers]]
name = "sgd"
"""
TRIALS = 24
#: Orders for the trials that come to have large weights: adai's 9 has the largest, then come adai's 1 and 8 and sgd's
#: 8. All of them train in batches with others.
ONE_TRIAL = "if layer.weight.abs().max() > 80: "
FOUR_TRIALS = "if layer.weight.abs().max() > 25: "
#: Three trials in each of eight batches, on one worker or two.
PLANS = {"faulty": EnginePlan("looped", 6, "so that there are eight batches")}
SLOW = "time.sleep(0.03)"
#: Two helpers of Ray notice after a minute only that the rest of it was killed (Ray 2.60), and then end.
SLOW_TO_NOTICE = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
#: How long anything may take on a busy machine.
PATIENCE = 150.0


class FaultyStudy:
    """One study in a folder and a database of its own.

    Args:
        folder: Its folder, which also is the current folder of all its processes: so they are found.
        queued: For a server.
    """

    name = "faulty"

    def __init__(self, folder: Path, *, queued: bool = False) -> None:
        self.folder = folder
        self.file = folder / "study.db"
        self.url = f"sqlite:///{self.file}"
        (folder / "workload.py").write_text(_WORKLOAD.format(folder=str(folder)))
        (folder / "faulty.toml").write_text(_SPEC)
        self.processes: list[subprocess.Popen[bytes]] = []
        with create_database(self.url) as engine:
            create_study(engine, load_spec(folder / "faulty.toml"), PLANS, queued=queued)

    def order(self, when: str, code: str) -> None:
        """Let the workload execute ``code``; in one piece, because workers look at any time."""
        (self.folder / "order").write_text(code)
        (self.folder / "order").rename(self.folder / when)

    def revoke(self, *orders: str) -> None:
        """Let the workload go on as if nothing had been ordered."""
        for when in orders or ("every step", "once", "every gradient"):
            (self.folder / when).unlink(missing_ok=True)

    def start(
        self, verb: str, *options: str, prefix: tuple[str, ...] = (), **environment: str
    ) -> "subprocess.Popen[bytes]":
        """Start the command, without a report; what it says goes to files."""
        no_report = {"run": ["--no-report"], "resume": ["--no-report"], "serve": ["--no-reports"]}.get(verb, [])
        words = [*prefix, ADAI_STUDY, verb, *self._subject(verb), *no_report, *options, "--db", self.url]
        number = len(self.processes)
        with (self.folder / f"{number}.out").open("wb") as out, (self.folder / f"{number}.err").open("wb") as err:
            process = subprocess.Popen(
                words, cwd=self.folder, stdout=out, stderr=err, env=os.environ | environment, start_new_session=True
            )
        self.processes.append(process)
        return process

    def _subject(self, verb: str) -> list[str]:
        return {"run": ["faulty.toml"], "submit": ["faulty.toml"], "serve": []}.get(verb, [self.name])

    def errors_of(self, process: "subprocess.Popen[bytes]") -> str:
        """What a process has written to standard error."""
        return (self.folder / f"{self.processes.index(process)}.err").read_text()

    def end_of(self, process: "subprocess.Popen[bytes]", *, within: float = PATIENCE) -> tuple[int, str]:
        """Exit code and standard error of a process that ends by itself within so many seconds."""
        code = process.wait(within)
        return code, self.errors_of(process)

    def command(self, *words: str) -> Result:
        """The command, in this process."""
        return CliRunner().invoke(main, [*words, "--db", self.url])

    def resume(self) -> None:
        """Run the rest in this process, without further faults."""
        self.revoke()
        result = self.command("resume", self.name, "--pool", "inline", "--no-report")
        assert result.exit_code == 0, result.output

    def query(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the database, while others write it."""
        connection = sqlite3.connect(self.file, timeout=30)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def state(self) -> str:
        """The study's state."""
        return str(self.query("SELECT state FROM adai_studies")[0][0])

    def states_of_trials(self) -> dict[str, int]:
        """How many Optuna trials are in each state."""
        return dict(self.query("SELECT state, COUNT(*) FROM trials GROUP BY state"))

    def terminations(self) -> dict[str | None, int]:
        """How many attempts ended in each way."""
        return dict(self.query("SELECT termination, COUNT(*) FROM adai_attempts GROUP BY termination"))

    def epochs(self) -> int:
        """Epochs of runs that are written."""
        return int(self.query("SELECT COUNT(*) FROM adai_epochs")[0][0])

    def finished_attempts(self) -> int:
        """Attempts that brought results."""
        return int(self.query("SELECT COUNT(*) FROM adai_attempts WHERE termination = 'COMPLETED'")[0][0])

    def finished_runs(self) -> dict[int, tuple[int, float]]:
        """Run -> its attempt and the seconds that it took, for the runs that have ended."""
        rows = self.query("SELECT id, attempt_id, seconds FROM adai_runs WHERE termination IS NOT NULL")
        return {run: (attempt, seconds) for run, attempt, seconds in rows}

    def logs(self, event: str) -> list[dict[str, Any]]:
        """The events of that name, as `adai-study logs` tells them."""
        result = self.command("logs", self.name, "--json")
        assert result.exit_code == 0, result.output
        entries = [json.loads(line) for line in result.stdout.splitlines()]
        return [entry for entry in entries if entry["event"] == event]

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """All that is to be equal."""
        with open_database(self.url) as engine:
            return comparable_tables(engine)

    def living(self) -> dict[int, str]:
        """Process id -> title of every process that was started from this study's folder."""
        return processes_in(self.folder)

    def orphans(self) -> dict[int, str]:
        """As living, but for what is known to end later."""
        return {pid: title for pid, title in self.living().items() if not title.startswith(SLOW_TO_NOTICE)}

    def close(self) -> None:
        """End what a failed test left."""
        for pid in self.living():
            kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()


@contextmanager
def faulty_study(folder: Path, *, queued: bool = False) -> Iterator[FaultyStudy]:
    """A study that has been written, and not started; at the end no process of it is left."""
    study = FaultyStudy(folder, queued=queued)
    try:
        yield study
        wait_until(lambda: not study.orphans(), study.orphans, seconds=40)
    finally:
        study.close()


def assert_undisturbed(study: FaultyStudy) -> None:
    """The study has ended, and its tables are those of a study to which nothing happened."""
    assert study.state() == "completed"
    assert study.states_of_trials() == {"COMPLETE": TRIALS}
    assert study.query("SELECT id FROM adai_attempts WHERE finished_at IS NULL OR termination IS NULL") == []
    tables, expected = study.tables(), undisturbed_tables()
    for table in expected:
        assert tables[table] == expected[table], table


def assert_undisturbed_but_for(study: FaultyStudy, failed: dict[tuple[str, int], str]) -> None:
    """The trials ``failed`` have no result for the reasons given; all others are those of an undisturbed study."""
    assert study.state() == "completed"
    assert study.states_of_trials() == {"COMPLETE": TRIALS - len(failed), "FAIL": len(failed)}
    tables, expected = study.tables(), undisturbed_tables()
    ended = {(run["optimizer"], run["number"]): run["termination"] for run in tables["adai_runs"]}
    assert {trial: ended[trial] for trial in failed} == failed
    assert {run["objective"] for run in tables["adai_runs"] if (run["optimizer"], run["number"]) in failed} == {None}
    for table in expected:
        ours, theirs = (
            [row for row in rows if (row["optimizer"], row["number"]) not in failed]
            for rows in (tables[table], expected[table])
        )
        assert ours == theirs, table


@functools.cache
def undisturbed_tables() -> dict[str, list[dict[str, Any]]]:
    """The tables when nothing goes wrong."""
    with tempfile.TemporaryDirectory() as name:
        study = FaultyStudy(Path(name))
        with open_database(study.url) as engine, InlinePool() as pool:
            with engine.connect() as connection:
                record = find_study(connection, study.name)
            Driver(engine, record, pool, _ignore).run()
        return study.tables()


def _ignore(_: Progress) -> None:
    """Watch nothing."""


def processes_in(folder: Path) -> dict[int, str]:
    """Process id -> title of the processes whose current folder it is; those that have ended are not counted."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (entry / "cwd").readlink() == folder:
                title = (entry / "cmdline").read_text().replace("\0", " ").strip()
                if (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                    found[int(entry.name)] = title
        except OSError:
            continue
    return found


def kill(pid: int, how: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return


def wait_until(
    condition: Callable[[], object], told: Callable[[], object] = lambda: None, *, seconds: float = PATIENCE
) -> None:
    """Wait, and say what is the case if it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)
