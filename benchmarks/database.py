"""What a trial costs in the database, ours beside plain Optuna, and whether that grows with the study.

Ours is a study that is driven through the very transactions of the driver: its creation, then batch by batch the begin
of an attempt, five epochs, its end; nothing is trained. Plain Optuna, with its storage as it comes, does for a trial
``ask``, ``suggest`` of every axis, ``report`` of every epoch and ``tell``, with a sampler that computes nothing; it
writes no runs and no epochs of runs. Both are timed around their calls, Python included, in rounds that take turns.

Plain Optuna's study is filled up to each size in batches first: it reads rows, whoever wrote them.

Run: python benchmarks/database.py. Writes benchmarks/results/database-<date>.md.
"""

import argparse
import contextlib
import datetime as dt
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import optuna
import psycopg
from postgresql_server import postgresql_server
from sqlalchemy import Engine

from study.claim import this_process
from study.design import plan_trials
from study.provenance import describe_environment, environment_hash
from study.spec import StudySpec
from study.spec_file import parse_spec
from study.storage import attempts, optuna_rows, studies
from study.storage.attempts import BatchPlan, StageResult
from study.storage.claims import claim_study
from study.storage.endings import TrialEnd, TrialEndState
from study.storage.engine import create_database
from study.storage.ledger import Ledger
from study.storage.optuna_rows import AskedTrial
from study.storage.patience import Patience
from study.storage.records import TrialRecord, read_trials
from study.storage.run_states import RunBook, read_run_states
from workers.messages import BatchFinished, EpochMetrics, Placement, RunOutcome, Termination

HERE = Path(__file__).parent
BATCH, SEEDS, EPOCHS = 64, 3, 5
AXES = {name: optuna.distributions.FloatDistribution(1e-3, 1.0, log=True) for name in ("lr", "beta0", "beta2", "eps")}
PLACEMENT = Placement("worker-1", "host", 4711, "cpu", "stacked, compiled step", "2.14.1")


@dataclass(slots=True)
class Measured:
    """Milliseconds a trial in each round at one size of one kind of database."""

    ours: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, print and write the table."""
    options = parse_options()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        folder.chmod(0o755)
        server = stack.enter_context(postgresql_server(folder))
        for name in ("ours", "plain"):
            with psycopg.connect(f"{server.replace('+psycopg', '')}/postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
        urls = {"SQLite": f"sqlite:///{folder}/{{}}.db", "PostgreSQL": f"{server}/{{}}"}
        ours = {kind: stack.enter_context(driven_study(url.format("ours"), options)) for kind, url in urls.items()}
        plain = {kind: PlainStudy(url.format("plain")) for kind, url in urls.items()}
        measured = measure(ours, plain, options)
        for study in plain.values():
            study.close()
        text = describe(measured, ours, options)
    results = HERE / "results"
    (results / f"database-{dt.datetime.now(dt.UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Database time a trial, beside plain Optuna.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000], help="default: 100 1000 10000")
    parser.add_argument("--rounds", type=int, default=5, help="batches at each size; default: %(default)s")
    parser.add_argument("--plain-trials", type=int, default=8, help="of Optuna in a round; default: %(default)s")
    parser.add_argument("--folder", help="where the databases are for the time being; default: the temporary folder")
    return parser.parse_args()


def measure(
    ours: "dict[str, DrivenStudy]", plain: "dict[str, PlainStudy]", options: argparse.Namespace
) -> dict[tuple[str, int], Measured]:
    """Kind of database and size -> what was measured there, all taking turns."""
    measured: dict[tuple[str, int], Measured] = {}
    for size in options.sizes:
        first = size // BATCH
        for kind, study in ours.items():
            study.run_until(first)
            plain[kind].fill(first * BATCH)
        for place in range(options.rounds):
            for kind, study in ours.items():
                found = measured.setdefault((kind, size), Measured())
                found.ours.append(timed(partial(study.run_batch, first + place)) / BATCH + study.creation)
                found.plain.append(timed(partial(plain[kind].run, options.plain_trials)) / options.plain_trials)
    return measured


def timed(work: Callable[[], None]) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


class DrivenStudy:
    """One study, its trials written, with the driver's transactions.

    Attributes:
        creation: Milliseconds a trial that its creation took.
    """

    def __init__(self, engine: Engine, spec: StudySpec) -> None:
        environment = describe_environment()
        self._environment_hash = environment_hash(environment)
        plan = plan_trials(spec)
        started = time.perf_counter()
        with engine.begin() as connection:
            self._id = studies.create_study(connection, spec, plan, environment)
        self.creation = 1000 * (time.perf_counter() - started) / len(plan)
        patience = Patience(engine, seconds=0.0)
        self._ledger = Ledger(patience, self._id, claim=this_process(), beat=claim_study(patience, self._id))
        with engine.connect() as connection:
            self._trials = read_trials(connection, self._id)
            self._book = RunBook(read_run_states(connection, self._id))
        self._ended = 0

    def run_until(self, batch: int) -> None:
        """The batches that have not run before that one."""
        while self._ended < batch:
            self.run_batch(self._ended)

    def run_batch(self, number: int) -> None:
        """What the driver writes of one batch: seven transactions."""
        trials = self._trials[number * BATCH : (number + 1) * BATCH]
        run_ids = [run.id for trial in trials for run in self._book.of_trial(trial.id)]
        plan = BatchPlan(trials=trials, members=trials, seeds=range(SEEDS))
        begin = partial(attempts.begin_attempt, keep_steps=0, environment_hash=self._environment_hash)
        attempt_id = self._ledger.write(partial(begin, study_id=self._id, plan=plan, run_ids=run_ids))
        for epoch in range(1, EPOCHS + 1):
            values = {trial.optuna_trial_id: 1 / (epoch + trial.number) for trial in trials}
            metrics = metrics_of(attempt_id, epoch, run_ids)
            self._ledger.write(partial(attempts.record_epochs, reported=[(metrics, values)]))
        finished = BatchFinished(attempt_id, tuple(map(outcome_of, run_ids)), PLACEMENT, 2.3)
        result = StageResult(paused={}, seed_values={}, ends=list(map(end_of, trials)), waiting=[])
        finish = partial(attempts.finish_attempt, study_id=self._id, plan=plan)
        self._ledger.write(partial(finish, finished=finished, result=result))
        self._ended = number + 1


@contextlib.contextmanager
def driven_study(url: str, options: argparse.Namespace) -> Iterator[DrivenStudy]:
    """A new study with as many trials as are going to be run."""
    batches = max(options.sizes) // BATCH + options.rounds
    axes = "\n".join(f'{name} = {{ low = 0.001, high = 1.0, scale = "log" }}' for name in ("lr", "beta0", "eps"))
    text = (
        f'name = "ours"\nworkloads = ["digits-logistic"]\nseeds = {SEEDS}\nepochs = {EPOCHS}\n'
        f'[design]\nkind = "sobol"\npoints = {batches * BATCH - 1}\n[[optimizers]]\nname = "adai"\n'
        f'[optimizers.axes]\n{axes}\nbeta2 = {{ low = 0.0, high = 0.9999, scale = "log1m" }}\n'
    )
    with create_database(url) as engine:
        yield DrivenStudy(engine, parse_spec(text, source="benchmark"))


def metrics_of(batch_id: int, epoch: int, run_ids: Sequence[int]) -> EpochMetrics:
    """An epoch as a worker tells it."""
    losses = tuple(1 / (epoch + run_id) for run_id in run_ids)
    return EpochMetrics(
        batch_id=batch_id,
        epoch=epoch,
        run_ids=tuple(run_ids),
        train_loss=losses,
        val_loss=losses,
        val_error=losses,
        objective=losses,
        lr=losses,
        grad_norm=losses,
        seconds=0.125,
    )


def outcome_of(run_id: int) -> RunOutcome:
    """A run's end as a worker tells it."""
    loss = 1 / (EPOCHS + run_id)
    return RunOutcome(
        run_id=run_id,
        termination=Termination.COMPLETED,
        reason="",
        epochs=EPOCHS,
        objective=loss,
        at_chance=False,
        train_loss=loss,
        val_loss=loss,
        val_error=loss,
        test_loss=loss,
        test_error=loss,
        seconds=0.625,
        peak_memory=1 << 29,
    )


def end_of(trial: TrialRecord) -> TrialEnd:
    """A trial's end as the driver sees it."""
    attributes = {"seeds": SEEDS, "diverged": 0, "test_error": 0.125}
    return TrialEnd(trial.optuna_trial_id, TrialEndState.COMPLETE, (1 / (1 + trial.number),), attributes)


class PlainStudy:
    """An Optuna study in Optuna's storage as it comes."""

    def __init__(self, url: str) -> None:
        self._storage = optuna.storages.RDBStorage(url)
        sampler = optuna.samplers.RandomSampler(seed=0)
        self._study = optuna.create_study(storage=self._storage, study_name="plain", sampler=sampler)
        self._trials = 0

    def fill(self, size: int) -> None:
        """Write finished trials until there are ``size``, and run one more: so Optuna's cache knows them."""
        asked = [AskedTrial(dict.fromkeys(AXES, 0.1), AXES, {"origin": "design"})] * (size - self._trials)
        with self._storage.engine.begin() as connection:
            first = self._trials
            ids = optuna_rows.enqueue_trials(connection, self._study._study_id, asked, first_number=first)
            optuna_rows.start_trials(connection, ids, keep_steps=0)
            for epoch in range(1, EPOCHS + 1):
                optuna_rows.report_trials(connection, epoch, dict.fromkeys(ids, 1 / epoch))
            optuna_rows.complete_trials(connection, {trial_id: [0.5] for trial_id in ids}, {})
        self._trials = size
        self.run(1)

    def run(self, trials: int) -> None:
        """Trials one after another."""
        for _ in range(trials):
            trial = self._study.ask()
            for name, axis in AXES.items():
                trial.suggest_float(name, axis.low, axis.high, log=axis.log)
            for epoch in range(1, EPOCHS + 1):
                trial.report(1 / epoch, epoch)
            self._study.tell(trial, 0.5)
        self._trials += trials

    def close(self) -> None:
        """End its connections."""
        self._storage.remove_session()
        self._storage.engine.dispose()


def describe(
    measured: dict[tuple[str, int], Measured], ours: dict[str, DrivenStudy], options: argparse.Namespace
) -> str:
    """The table with its conditions."""
    environment = describe_environment()
    packages = ", ".join(f"{name} {environment['packages'][name]}" for name in ("optuna", "sqlalchemy"))
    shares = ", ".join(f"{study.creation:.2f} ms on {kind}" for kind, study in ours.items())
    conditions = (
        f"{environment['processor']}, {environment['processors']} processors; Python {environment['python']}, "
        f"{packages}; commit {environment['commit']}. {len(AXES)} axes, {EPOCHS} epochs, {SEEDS} seeds, batches of "
        f"{BATCH}; {options.rounds} interleaved rounds at each size, of one batch of ours and {options.plain_trials} "
        "trials of plain Optuna; milliseconds of wall time a trial: median (smallest to largest); ratios are taken "
        f"round by round. Ours holds its share of the study's creation: {shares}. PostgreSQL is a private server with "
        "the settings that it comes with (fsync on); both databases lie on one file system."
    )
    lines = [
        f"# Database time a trial, {dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "",
        conditions,
        "",
        "| database | trials before | plain Optuna, ms | ours, ms | plain Optuna : ours |",
        "|---|--:|---|---|---|",
    ]
    for (kind, size), found in measured.items():
        before = size // BATCH * BATCH
        ratios = [plain / own for plain, own in zip(found.plain, found.ours, strict=True)]
        numbers = f"{spread(found.plain, 1)} | {spread(found.ours, 2)} | {spread(ratios, 1)}"
        lines.append(f"| {kind} | {before:,} to {before + options.rounds * BATCH:,} | {numbers} |")
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float], digits: int) -> str:
    """Median (smallest to largest)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
