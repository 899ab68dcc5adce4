"""The verbs report, verify and compare as a user runs them: mistakes, other people's studies, interruptions."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from foreign_studies import add, made
from optuna.trial import TrialState
from study_reports import files_of
from tests_support import ADAI_STUDY, Command, fails, wait_for

from study.report.report import load_report

pytestmark = pytest.mark.reports


@pytest.fixture(params=["sqlite", "journal"])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Two studies of somebody else: the address of their database or journal."""
    url = f"sqlite:///{tmp_path}/theirs.db" if request.param == "sqlite" else f"journal:{tmp_path}/theirs.log"
    for name, best in (("adam", 0.2), ("sgd", 0.6)):
        trials = [
            made((beta - best) ** 2 + 0.1 + 0.01 * seed, lr=10 ** (-place), beta=beta, user={"seed": seed})
            for place, beta in enumerate((0.1, 0.4, 0.7, 0.9))
            for seed in range(2)
        ]
        add(url, name, trials)
    return url


def test_a_report_of_any_optuna_studies(foreign: str, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "report"
    words = ["report", "--optuna", foreign, "--study", "adam", "--study", "sgd", "--seed", "seed", "--chance", "0.5"]
    result = command(*words, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"report: {out / 'report.html'}\n"
    report = load_report((out / "report.json").read_bytes())
    assert (report.info.source, report.info.name, report.info.seeds) == ("optuna", "adam, sgd", 2)
    best = {row.optimizer: row.best.mean for row in report.analysis.robustness.rows}
    assert best == {"adam": pytest.approx(0.1**2 + 0.105), "sgd": pytest.approx(0.1**2 + 0.105)}
    runs = pl.read_parquet(out / "tables" / "runs.parquet")
    assert runs.height == 16
    assert set(runs["optimizer"]) == {"adam", "sgd"}
    assert "adai-study resume" not in (out / "report.md").read_text()
    assert command("verify", out).exit_code == 0


def test_of_one_study_the_name_is_not_needed(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add("journal:mine.log", "mine", [made(beta, lr=0.1, beta=beta) for beta in (0.1, 0.5)])
    result = command("report", "--optuna", "mine.log")
    assert result.exit_code == 0, result.output
    assert result.stdout == "report: reports/optuna/report.html\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "mine.log.lock") == ["mine.log", "reports"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["digits", "--optuna", "sqlite:///x.db"], "digits names a study of this service, --optuna another database"),
        ([], "name a study of this service, or give --optuna URL"),
        (["digits", "--study", "a"], "--study, --chance, --seed and --sampler are for --optuna"),
        (["digits", "--chance", "0.5"], "are for --optuna"),
        (["digits", "--seed", "seed"], "are for --optuna"),
        (["digits", "--sampler", "random"], "are for --optuna"),
        (["--study", "a"], "name a study of this service, or give --optuna URL"),
        (["--optuna", "sqlite:///x.db", "--sampler", "sobol"], "'sobol' is not one of"),
        (["digits", "--rope", "nan"], "nan is not a finite number"),
        (["digits", "--rope", "inf"], "inf is not a finite number"),
        (["digits", "--rope", "-1"], "-1"),
        (["digits", "--tolerance", "0"], "0"),
        (["digits", "--tolerance", "1"], "1"),
        (["digits", "more"], "unexpected extra argument"),
    ],
)
def test_wrong_words_are_a_usage_error_and_nothing_is_written(
    words: list[str], said: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("report", *words)
    assert result.exit_code == 2
    assert said in result.output
    assert "Usage: " in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--optuna", "sqlite:///none.db"], 1, "none.db"),
        (["--optuna", "nonsense://x"], 2, "nonsense"),
        (["--optuna", "two.log"], 2, "a"),
        (["--optuna", "two.log", "--study", "c"], 2, "has no study called c; there are: a, b"),
        (["--optuna", "two.log", "--study", "a", "--chance", "nan"], 2, "no finite number"),
        (["--optuna", "two.log", "--study", "a", "--seed", "luck"], 2, "no trial has a parameter or user attribute"),
        (["--optuna", "two.log", "--study", "a", "--out", "two.log"], 2, "two.log is a file"),
        (["--optuna", "two.log", "--study", "failed"], 1, "no trial of failed has finished with a finite value"),
    ],
)
def test_what_cannot_be_reported_is_told_in_one_sentence(
    words: list[str], code: int, said: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        add("journal:two.log", name, [made(0.5, lr=0.1, beta=beta) for beta in (0.1, 0.2)])
    if "failed" in words:
        add("journal:two.log", "failed", [made(None, TrialState.FAIL, lr=0.1, beta=beta) for beta in (0.1, 0.2)])
    before = files_of(tmp_path)
    fails(command("report", *words), code, said)
    assert files_of(tmp_path) == before


def test_debug_shows_the_traceback_of_every_verb(command: Command, tmp_path: Path) -> None:
    for words in (["verify", tmp_path], ["compare", tmp_path, tmp_path], ["report", "x", "--db", "sqlite:///none.db"]):
        for result in (command(*words, "--debug"), command("--debug", *words)):
            assert "Traceback (most recent call last)" in result.output
            assert result.output.splitlines()[-1].startswith("Error: ")
        assert "Traceback" not in command(*words).output


# What follows does it to the real command.


@pytest.fixture
def earlier(finished: tuple[str, Path], tmp_path: Path) -> Path:
    """A report of earlier, of which something was edited."""
    (tmp_path / "place").mkdir()
    folder = Path(shutil.copytree(finished[1], tmp_path / "place" / "report"))
    (folder / "report.md").write_text("an earlier report")
    return folder


def start(url: str, out: Path, *options: str) -> subprocess.Popen[str]:
    words = [ADAI_STUDY, "report", "small", "--db", url, "--out", str(out), *options]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def processes_of(session: int) -> set[int]:
    """Processes of a session that have not ended."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.add(int(entry.parent.name))
    return found


def is_written(earlier: Path) -> bool:
    """Whether the files of a new report are being written: that takes a second."""
    return any(earlier.parent.glob(".report-*/new/figures"))


def catch(process: subprocess.Popen[str], moment: Callable[[], bool]) -> None:
    """Wait for a moment in the life of a process."""
    while process.poll() is None and not moment():
        time.sleep(0.01)


@pytest.mark.parametrize("processes", [2, 4])
def test_ctrl_c_ends_the_processes_that_draw_and_leaves_the_earlier_report(
    processes: int, earlier: Path, finished: tuple[str, Path]
) -> None:
    """A fork server comes first, then a process that draws; they load Matplotlib and more for seconds."""
    process = start(finished[0], earlier, "--fresh")
    interrupt(process, earlier, lambda: len(processes_of(process.pid)) >= processes)


def test_ctrl_c_leaves_no_half_of_a_report(earlier: Path, finished: tuple[str, Path]) -> None:
    interrupt(start(finished[0], earlier), earlier, lambda: is_written(earlier))


def interrupt(process: subprocess.Popen[str], earlier: Path, moment: Callable[[], bool]) -> None:
    """Ctrl-C at this moment leaves the earlier report, no process and no traceback."""
    before = files_of(earlier)
    catch(process, moment)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the whole group
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, ""), errors
    # On a busy machine lines of progress come before it.
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    assert files_of(earlier) == before
    assert [path.name for path in earlier.parent.iterdir()] == ["report"]
    wait_for(lambda: not processes_of(process.pid), 20)


def test_a_report_that_is_killed_leaves_the_earlier_one_whole(earlier: Path, finished: tuple[str, Path]) -> None:
    before = files_of(earlier)
    process = start(finished[0], earlier)
    catch(process, lambda: is_written(earlier))
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert files_of(earlier) == before
    wait_for(lambda: not processes_of(process.pid), 20)


def test_a_report_on_a_terminal_shows_a_bar(finished: tuple[str, Path], tmp_path: Path) -> None:
    if shutil.which("script") is None:
        pytest.skip("the program script (Debian's bsdutils) is not installed")
    words = f"{ADAI_STUDY} report small --db {finished[0]} --out {tmp_path}/report"
    terminal = ["script", "--quiet", "--return", "--command", f"stty cols 160; {words}", "/dev/null"]
    result = subprocess.run(terminal, capture_output=True, text=True, timeout=100, env=os.environ | {"TERM": "xterm"})
    assert result.returncode == 0, result.stdout
    for word in ("computing", "drawing", "writing", "━", "report.html"):
        assert word in result.stdout


def test_the_users_cache_makes_the_second_report_compute_nothing(
    command: Command, finished: tuple[str, Path], tmp_path: Path
) -> None:
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "adai" / "reports"
    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    began = time.time_ns()
    assert command("report", "small", "--db", finished[0], "--out", tmp_path / "report").exit_code == 0
    assert files_of(tmp_path / "report") == files_of(finished[1])
    assert not [path for path in cache.iterdir() if path.stat().st_mtime_ns > began]
    assert {path.name for path in cache.iterdir()} == before.keys()
    manifest = json.loads((tmp_path / "report" / "manifest.json").read_text())
    assert manifest["study"] == "small"
