"""The command: every verb as a user runs it."""

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import polars as pl
import pytest
from tests_support import ADAI_STUDY, SMALL_SPEC, Command, comparable_tables, count, fails, run_words, wait_for

from study.storage.engine import open_database

pytestmark = pytest.mark.processes


def test_run_with_ray_and_inline_and_again_gives_the_same_tables(
    finished: tuple[str, Path], spec_file: Path, tmp_path: Path
) -> None:
    tables = []
    for kind in ("ray", "inline"):
        url = f"sqlite:///{tmp_path}/{kind}.db"
        words = [ADAI_STUDY, "run", spec_file, "--pool", kind, "--db", url, "--no-report"]
        result = subprocess.run(words, capture_output=True, text=True, timeout=200)
        assert result.returncode == 0, result.stderr
        assert result.stdout == "no report written; write it with: adai-study report small\n"
        assert "Traceback" not in result.stderr
        with open_database(url) as engine:
            tables.append(comparable_tables(engine))
    with open_database(finished[0]) as engine:
        tables.append(comparable_tables(engine))
    assert tables[0] == tables[1] == tables[2]
    for table in ("adai_runs", "adai_epochs", "optuna"):
        assert tables[0][table]


VARIANTS = """
name = "variants"
workloads = ["digits-logistic"]
epochs = 2

[design]
points = 2

[[optimizers]]
name = "cprop"
options = { inner = "sgd", cdf = "normal" }
fixed = { momentum = 0.5 }

[[optimizers]]
name = "adashift"
"""


def test_options_reach_the_workers_and_the_report(command: Command, tmp_path: Path) -> None:
    objectives = {}
    for options in ("{}", '{ keep_num = 1, reduce = "none" }'):
        folder = tmp_path / str(len(objectives))
        folder.mkdir()
        (folder / "spec.toml").write_text(VARIANTS + f"options = {options}\n")
        url = f"sqlite:///{folder}/study.db"
        assert command(*run_words(folder / "spec.toml", url, folder)).exit_code == 0
        with sqlite3.connect(folder / "study.db") as database:
            query = (
                "SELECT optimizer, number, seed, val_loss FROM adai_runs JOIN adai_trials ON trial_id = adai_trials.id"
            )
            objectives[options] = {row[:3]: row[3] for row in database.execute(query)}
        text = (folder / "report" / "report.md").read_text()
        assert "| cprop | CProp wrapper (inner = sgd, cdf = normal) | momentum | 0\\.5 | \\- | fixed |" in text
        assert ("| AdaShift (keep_num = 1, reduce = none) |" in text) == (options != "{}")
    usual, variant = objectives.values()
    assert usual.keys() == variant.keys()
    for key in usual:
        assert (usual[key] == variant[key]) == (key[0] == "cprop"), key


def test_progress_is_line_wise_where_the_output_is_no_terminal(
    command: Command, spec_file: Path, database_url: str
) -> None:
    result = command(*run_words(spec_file, database_url))
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert all(line.startswith("small ") for line in lines)
    assert lines[-1].startswith("small 100% · 10/10 trials · ")
    assert "best " in lines[-1]
    assert "runs diverged" in lines[-1]
    assert "\r" not in result.stderr
    assert "\x1b" not in result.stderr


def test_progress_is_a_bar_on_a_terminal(spec_file: Path, database_url: str) -> None:
    words = " ".join(map(str, [ADAI_STUDY, *run_words(spec_file, database_url)]))
    terminal = ["script", "--quiet", "--return", "--command", f"stty cols 160; {words}", "/dev/null"]
    if shutil.which("script") is None:
        pytest.skip("the program script (Debian's bsdutils) is not installed")
    result = subprocess.run(terminal, capture_output=True, text=True, timeout=100, env=os.environ | {"TERM": "xterm"})
    assert result.returncode == 0, result.stdout
    assert "━" in result.stdout
    assert "trials/s" in result.stdout
    assert "no report written; " in result.stdout


def test_running_a_finished_study_again_only_writes_its_report(
    command: Command, spec_file: Path, database_url: str, tmp_path: Path
) -> None:
    words = run_words(spec_file, database_url, tmp_path)
    assert command(*words).exit_code == 0
    with open_database(database_url) as engine:
        before = comparable_tables(engine)
    shutil.rmtree(tmp_path / "report")
    spec_file.write_text(SMALL_SPEC + "\n# a comment\n")
    again = command(*words)
    assert again.exit_code == 0
    assert again.stdout == f"report: {tmp_path / 'report' / 'report.html'}\n"
    assert (tmp_path / "report" / "report.html").is_file()
    with open_database(database_url) as engine:
        assert comparable_tables(engine) == before


def test_a_study_can_be_run_without_a_report(
    command: Command, spec_file: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (run_words(spec_file, database_url), ["resume", "small", "--no-report", "--db", database_url]):
        result = command(*words)
        assert result.exit_code == 0, result.output
        assert result.stdout == "no report written; write it with: adai-study report small\n"
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("study.db")} == {"small.toml"}
    both = command(*run_words(spec_file, database_url), "--out", "report")
    assert both.exit_code == 2
    assert "--out names the folder of the report, --no-report writes none; leave one out" in both.output


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_kill_end_cleanly_and_resume_does_the_rest(how: signal.Signals, tmp_path: Path) -> None:
    text = SMALL_SPEC.replace("epochs = 2", "epochs = 60").replace("seeds = 2", "seeds = 12")
    (tmp_path / "long.toml").write_text(text)
    url = f"sqlite:///{tmp_path}/study.db"
    words = [ADAI_STUDY, "run", "long.toml", "--workers", "2", "--db", url, "--no-report"]
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: count(tmp_path / "study.db", "SELECT COUNT(*) FROM adai_runs WHERE termination IS NOT NULL") > 0)
    if how is signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does it: to the whole group, Ray's processes among them
    else:
        process.send_signal(how)  # as `kill` and `docker stop` do it
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert output == ""
    assert "run the rest with: adai-study resume small" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    kept = finished_runs(tmp_path / "study.db")
    assert 0 < len(kept) < 120
    assert count(tmp_path / "study.db", "SELECT COUNT(*) FROM trials WHERE state = 'RUNNING'") == 0
    status = subprocess.run([ADAI_STUDY, "status", "small", "--db", url], capture_output=True, text=True)
    assert "interrupted" in status.stdout
    words = [ADAI_STUDY, "resume", "small", "--workers", "2", "--db", url, "--no-report"]
    resumed = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == "no report written; write it with: adai-study report small\n"
    after = finished_runs(tmp_path / "study.db")
    assert len(after) == 120
    assert kept.items() <= after.items()  # what was finished was not run again


def finished_runs(path: Path) -> dict[int, tuple[int, float]]:
    """Run -> its attempt and the seconds that it took, for the runs that have ended."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT id, attempt_id, seconds FROM adai_runs WHERE termination IS NOT NULL").fetchall()
    connection.close()
    return {run: (attempt, seconds) for run, attempt, seconds in rows}


def test_a_second_driver_of_a_study_is_refused_and_disturbs_nothing(command: Command, tmp_path: Path) -> None:
    text = SMALL_SPEC.replace("epochs = 2", "epochs = 200").replace("seeds = 2", "seeds = 12")
    (tmp_path / "long.toml").write_text(text)
    url = f"sqlite:///{tmp_path}/study.db"
    words = [ADAI_STUDY, "run", "long.toml", "--pool", "inline", "--db", url, "--no-report"]
    first = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: count(tmp_path / "study.db", "SELECT COUNT(*) FROM adai_epochs") > 0)
    second = command("resume", "small", "--pool", "inline", "--db", url, "--no-report")
    fails(second, 1, f"study 'small' is being run by process {first.pid} on ", "wait for it, watch it")
    assert "running" in command("list", "--db", url).output
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors
    assert count(tmp_path / "study.db", "SELECT COUNT(*) FROM adai_attempts WHERE termination != 'COMPLETED'") == 0
    kept = "SELECT COUNT(*) - (SELECT SUM(epochs) FROM adai_runs) FROM adai_epochs"
    assert count(tmp_path / "study.db", kept) == 0
    assert "completed" in command("list", "--db", url).output


def test_list_and_status_show_every_optimizer(command: Command, finished: tuple[str, Path]) -> None:
    listed = command("list", "--db", finished[0])
    assert listed.exit_code == 0
    assert "small" in listed.output
    assert "20/20" in listed.output
    assert "completed" in listed.output
    status = command("status", "small", "--db", finished[0])
    assert status.exit_code == 0
    lines = status.output.splitlines()
    assert lines[0].startswith("small: completed, created 20")
    assert [line.split()[1] for line in lines[2:4]] == ["adai", "sgd"]
    assert all("10/10" in line for line in lines[2:4])
    assert lines[4].startswith("digits-logistic: engine stacked, up to ")


def test_the_environment_chooses_the_database(
    command: Command, finished: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAI_DATABASE_URL", finished[0])
    assert "small" in command("list").output


def test_the_default_database_is_a_file_in_the_current_directory(
    command: Command, spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("run", spec_file, "--pool", "inline").exit_code == 0
    assert (tmp_path / "adai-study.db").is_file()
    assert (tmp_path / "reports" / "small" / "report.html").is_file()


def test_report_takes_a_tolerance(command: Command, finished: tuple[str, Path], tmp_path: Path) -> None:
    words = ["report", "small", "--db", finished[0], "--out", tmp_path / "r", "--tolerance"]
    result = command(*words, "0.3")
    assert result.exit_code == 0, result.output
    assert "the headline tolerance 0.3" in (tmp_path / "r" / "report.md").read_text()
    assert json.loads((tmp_path / "r" / "manifest.json").read_text())["tolerance"] == 0.3
    for wrong in ("0", "1", "-0.1", "1.5", "nan", "inf"):
        result = command(*words, wrong)
        assert result.exit_code == 2
        assert "Error: Invalid value for '--tolerance'" in result.output


@pytest.mark.parametrize(("table", "rows"), [("runs", 20), ("trials", 10), ("epochs", None)])
def test_export_writes_every_table_in_every_format(
    table: str, rows: int | None, command: Command, finished: tuple[str, Path], tmp_path: Path
) -> None:
    frames = {}
    for kind in ("csv", "parquet", "json"):
        path = tmp_path / f"out.{kind}"
        words = ["export", "small", "--format", kind, "--out", path, "--table", table, "--db", finished[0]]
        result = command(*words)
        assert result.exit_code == 0, result.output
        # Polars' own reader of JSON gives many columns in any order.
        readers = {
            "csv": pl.read_csv,
            "parquet": pl.read_parquet,
            "json": lambda p: pl.DataFrame(json.loads(p.read_text())),
        }
        frames[kind] = readers[kind](path)
    expected = (
        rows
        if rows is not None
        else count(Path(finished[0].removeprefix("sqlite:///")), "SELECT COUNT(*) FROM adai_epochs")
    )
    for frame in frames.values():
        assert frame.height == expected
        assert frame.columns == frames["parquet"].columns
    # A column without any number has no type in a CSV file.
    filled = [column.name for column in frames["parquet"] if column.null_count() < expected]
    numbers = [name for name in filled if frames["parquet"].schema[name] == pl.Float64]
    assert frames["csv"].select(numbers).equals(frames["parquet"].select(numbers))


def test_exported_runs_are_those_of_the_database(command: Command, finished: tuple[str, Path], tmp_path: Path) -> None:
    command("export", "small", "--format", "csv", "--out", tmp_path / "runs.csv", "--db", finished[0])
    exported = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    with open_database(finished[0]) as engine:
        stored = comparable_tables(engine)["adai_runs"]
    assert len(exported) == len(stored)
    for row, run in zip(exported, stored, strict=True):
        assert (row["optimizer"], int(row["trial"]), int(row["seed"])) == (run["optimizer"], run["number"], run["seed"])
        assert float(row["objective"]) == run["objective"]
        for name, value in run["hyperparameters"].items():
            assert float(row[name]) == value
        assert row["momentum" if run["optimizer"] == "adai" else "beta0"] == ""


def test_specs_are_listed_and_shown(command: Command) -> None:
    assert command("specs").output == "digits\nimages\n"
    shown = command("specs", "--show", "digits").output
    assert shown == (Path(__file__).parents[2] / "study" / "specs" / "digits.toml").read_text()
    fails(command("specs", "--show", "nothing"), 2, "no shipped spec is called 'nothing'", "digits")


def test_init_writes_a_spec_that_runs(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    assert f"adai-study run {path}" in command("init", path).output
    quick = path.read_text().replace("points = 16", "points = 1").replace("epochs = 10", "epochs = 1")
    path.write_text(quick)
    result = command(*run_words(path, f"sqlite:///{tmp_path}/study.db"))
    assert result.exit_code == 0, result.output


def test_init_never_overwrites(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("mine")
    fails(command("init", path), 2, "cannot be written (File exists); name another file")
    assert path.read_text() == "mine"
    fails(command("init", tmp_path / "no" / "my.toml"), 2, "No such file or directory")


def test_db_upgrade_makes_the_tables_and_current_tells_the_revision(command: Command, database_url: str) -> None:
    assert command("db", "upgrade", "--db", database_url).exit_code == 0
    assert "revision 0004, this version needs 0004" in command("db", "current", "--db", database_url).output


def test_doctor_says_ok_or_what_to_do_for_each_part(command: Command, database_url: str) -> None:
    result = command("doctor", "--db", database_url)
    assert result.exit_code == 0, result.output
    for subject in ("Python", "torch", "optuna", "database", "Ray", "devices", "disk", "workload digits-mlp"):
        assert f"ok    {subject}: " in result.output
    assert "local ray starts" in result.output
    assert not Path(database_url.removeprefix("sqlite:///")).exists()


def test_doctor_fails_where_something_is_wrong(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAI_RAY_ADDRESS", "127.0.0.1:1")
    result = command("doctor", "--db", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    assert result.exit_code == 1
    assert (
        "FAIL  database: the database postgresql+psycopg://nobody@127.0.0.1:1/none cannot be reached" in result.output
    )
    assert "FAIL  Ray: no Ray cluster answers at '127.0.0.1:1'" in result.output


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run"],
        ["resume"],
        ["list"],
        ["status"],
        ["report"],
        ["export"],
        ["specs"],
        ["init"],
        ["dashboard"],
        ["doctor"],
        ["db"],
        ["db", "upgrade"],
        ["db", "current"],
    ],
)
def test_every_command_has_help_with_an_example(words: list[str], command: Command) -> None:
    result = command(*words, "--help")
    assert result.exit_code == 0
    assert "Example: adai-study" in result.output


def test_a_study_runs_on_postgresql(command: Command, spec_file: Path, postgresql_url: str) -> None:
    result = command(*run_words(spec_file, postgresql_url))
    assert result.exit_code == 0, result.output
    assert "20/20" in command("list", "--db", postgresql_url).output
