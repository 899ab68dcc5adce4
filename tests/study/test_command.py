"""The command: every verb as a user runs it, every mistake as a user makes it."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
import torch
from click.testing import Result
from tests_support import SMALL_SPEC, comparable_tables

import workers.workloads
from study.storage.engine import create_database, open_database
from workers.workloads import get_workload

Command = Callable[..., Result]
ADAI_STUDY = str(Path(sys.executable).with_name("adai-study"))


def fails(result: Result, code: int, *words: str) -> None:
    """The command ended with ``code``, one message with ``words``, and no traceback."""
    assert result.exit_code == code, result.output
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output, result.output


def run_words(spec: Path, url: str, folder: Path) -> list[str | Path]:
    return ["run", spec, "--pool", "inline", "--db", url, "--out", folder / "report"]


# --- verbs ---


def test_run_with_ray_and_inline_and_again_gives_the_same_tables(
    finished: tuple[str, Path], spec_file: Path, tmp_path: Path
) -> None:
    tables = []
    for kind in ("ray", "inline"):
        url = f"sqlite:///{tmp_path}/{kind}.db"
        words = [ADAI_STUDY, "run", spec_file, "--pool", kind, "--db", url, "--out", tmp_path / kind]
        result = subprocess.run(words, capture_output=True, text=True, timeout=200)
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"report: {tmp_path / kind / 'report.html'}\n"
        assert "Traceback" not in result.stderr
        with open_database(url) as engine:
            tables.append(comparable_tables(engine))
    with open_database(finished[0]) as engine:
        tables.append(comparable_tables(engine))
    assert tables[0] == tables[1] == tables[2]
    for table in ("adai_runs", "adai_epochs", "optuna"):
        assert tables[0][table]


def test_progress_is_line_wise_where_the_output_is_no_terminal(
    command: Command, spec_file: Path, database_url: str, tmp_path: Path
) -> None:
    result = command(*run_words(spec_file, database_url, tmp_path))
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert all(line.startswith("small ") for line in lines)
    assert lines[-1].startswith("small 100% · 10/10 trials · ")
    assert "best " in lines[-1]
    assert "runs diverged" in lines[-1]
    assert "\r" not in result.stderr
    assert "\x1b" not in result.stderr


def test_progress_is_a_bar_on_a_terminal(spec_file: Path, database_url: str, tmp_path: Path) -> None:
    words = " ".join(map(str, [ADAI_STUDY, *run_words(spec_file, database_url, tmp_path)]))
    terminal = ["script", "--quiet", "--return", "--command", f"stty cols 160; {words}", "/dev/null"]
    if shutil.which("script") is None:
        pytest.skip("the program script (Debian's bsdutils) is not installed")
    result = subprocess.run(terminal, capture_output=True, text=True, timeout=100, env=os.environ | {"TERM": "xterm"})
    assert result.returncode == 0, result.stdout
    assert "━" in result.stdout
    assert "trials/s" in result.stdout
    assert "report: " in result.stdout


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
    assert (tmp_path / "report" / "report.html").is_file()
    with open_database(database_url) as engine:
        assert comparable_tables(engine) == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_kill_end_cleanly_and_resume_does_the_rest(how: signal.Signals, tmp_path: Path) -> None:
    text = SMALL_SPEC.replace("epochs = 2", "epochs = 60").replace("seeds = 2", "seeds = 12")
    (tmp_path / "long.toml").write_text(text)
    url = f"sqlite:///{tmp_path}/study.db"
    words = [ADAI_STUDY, "run", "long.toml", "--workers", "2", "--db", url]
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
    resumed = subprocess.run(
        [ADAI_STUDY, "resume", "small", "--workers", "2", "--db", url], cwd=tmp_path, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == "report: reports/small/report.html\n"
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
    words = [ADAI_STUDY, "run", "long.toml", "--pool", "inline", "--db", url]
    first = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: count(tmp_path / "study.db", "SELECT COUNT(*) FROM adai_epochs") > 0)
    second = command("resume", "small", "--pool", "inline", "--db", url, "--out", tmp_path / "second")
    fails(second, 1, f"study 'small' is being run by process {first.pid} on ", "wait for it or stop it")
    assert "running" in command("list", "--db", url).output
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors
    assert count(tmp_path / "study.db", "SELECT COUNT(*) FROM adai_attempts WHERE termination != 'COMPLETED'") == 0
    kept = "SELECT COUNT(*) - (SELECT SUM(epochs) FROM adai_runs) FROM adai_epochs"
    assert count(tmp_path / "study.db", kept) == 0
    assert "completed" in command("list", "--db", url).output


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def count(path: Path, query: str) -> int:
    """One number from a database that another process is writing; 0 while its tables are not there."""
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


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
    assert [line.split()[1] for line in lines[2:]] == ["adai", "sgd"]
    assert all("10/10" in line for line in lines[2:])


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
    result = command("report", "small", "--db", finished[0], "--out", tmp_path / "r", "--tolerance", "3")
    assert result.exit_code == 0
    assert "within 3.0x of own best" in (tmp_path / "r" / "report.md").read_text()
    for wrong in ("0.5", "nan", "inf"):
        assert command("report", "small", "--db", finished[0], "--tolerance", wrong).exit_code == 2


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
        reader = {"csv": pl.read_csv, "parquet": pl.read_parquet, "json": pl.read_json}[kind]
        frames[kind] = reader(path)
    expected = rows or count(Path(finished[0].removeprefix("sqlite:///")), "SELECT COUNT(*) FROM adai_epochs")
    for frame in frames.values():
        assert frame.height == expected
        assert frame.columns == frames["parquet"].columns
    numbers = [name for name, kind in frames["parquet"].schema.items() if kind == pl.Float64]
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
        for name, value in json.loads(run["hyperparameters"]).items():
            assert float(row[name]) == value
        assert row["momentum" if run["optimizer"] == "adai" else "beta0"] == ""


def test_specs_are_listed_and_shown(command: Command) -> None:
    assert command("specs").output == "digits\n"
    shown = command("specs", "--show", "digits").output
    assert shown == (Path(__file__).parents[2] / "study" / "specs" / "digits.toml").read_text()
    fails(command("specs", "--show", "nothing"), 2, "no shipped spec is called 'nothing'", "digits")


def test_init_writes_a_spec_that_runs(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    assert f"adai-study run {path}" in command("init", path).output
    quick = path.read_text().replace("points = 16", "points = 1").replace("epochs = 10", "epochs = 1")
    path.write_text(quick)
    result = command(*run_words(path, f"sqlite:///{tmp_path}/study.db", tmp_path))
    assert result.exit_code == 0, result.output


def test_init_never_overwrites(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("mine")
    fails(command("init", path), 2, "cannot be written (File exists); name another file")
    assert path.read_text() == "mine"
    fails(command("init", tmp_path / "no" / "my.toml"), 2, "No such file or directory")


def test_db_upgrade_makes_the_tables_and_current_tells_the_revision(command: Command, database_url: str) -> None:
    assert command("db", "upgrade", "--db", database_url).exit_code == 0
    assert "revision 0001, this version needs 0001" in command("db", "current", "--db", database_url).output


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


def test_a_study_runs_on_postgresql(command: Command, spec_file: Path, postgresql_server: str, tmp_path: Path) -> None:
    import psycopg

    with psycopg.connect(postgresql_server.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE command")
    url = f"{postgresql_server}/command"
    result = command(*run_words(spec_file, url, tmp_path))
    assert result.exit_code == 0, result.output
    assert "20/20" in command("list", "--db", url).output


# --- mistakes ---


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = 2", "sedes = 2", "sedes: unknown key; did you mean 'seeds'?"),
        ('"adai"', '"adamax"', "optimizers[0].name: unknown optimizer 'adamax'"),
        ("fixed =", "axes = { lr = { low = 1.0, high = 1.0 } }\nfixed =", "the range 1 to 1 is empty"),
        (
            "fixed =",
            'axes = { lr = { low = 0.0, high = 1.0, scale = "log" } }\nfixed =',
            "a log range cannot reach 0",
        ),
        ("seeds = 2", "seeds = 0", "seeds: Input should be greater than or equal to 1, not 0"),
    ],
)
def test_a_bad_spec_is_refused_and_nothing_is_written(
    old: str, new: str, words: str, command: Command, spec_file: Path, database_url: str, tmp_path: Path
) -> None:
    spec_file.write_text(SMALL_SPEC.replace(old, new, 1))
    before = written(tmp_path)
    fails(command(*run_words(spec_file, database_url, tmp_path)), 2, str(spec_file), words)
    assert written(tmp_path) == before


def test_a_name_of_another_study_is_refused_and_that_study_is_left_alone(
    command: Command, spec_file: Path, database_url: str, tmp_path: Path
) -> None:
    words = run_words(spec_file, database_url, tmp_path)
    command(*words)
    with open_database(database_url) as engine:
        before = comparable_tables(engine)
    spec_file.write_text(SMALL_SPEC.replace("seeds = 2", "seeds = 3"))
    fails(command(*words), 2, "the name 'small' is already used by a study with another spec", "another name")
    with open_database(database_url) as engine:
        assert comparable_tables(engine) == before


def test_a_name_of_an_optuna_study_that_is_not_ours_is_refused(
    command: Command, spec_file: Path, database_url: str, tmp_path: Path
) -> None:
    with create_database(database_url) as engine, engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO studies (study_name) VALUES ('small/digits-logistic/sgd')"))
    result = command(*run_words(spec_file, database_url, tmp_path))
    fails(result, 2, "already has an Optuna study called 'small/digits-logistic/sgd'")
    with open_database(database_url) as engine, engine.connect() as connection:
        assert connection.execute(sa.text("SELECT COUNT(*) FROM adai_studies")).scalar() == 0
        assert connection.execute(sa.text("SELECT COUNT(*) FROM trials")).scalar() == 0


def test_a_database_that_does_not_answer_is_named_without_its_password(
    command: Command, spec_file: Path, tmp_path: Path
) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/none"
    before = written(tmp_path)
    for words in (run_words(spec_file, url, tmp_path), ["list", "--db", url], ["db", "upgrade", "--db", url]):
        result = command(*words)
        fails(result, 1, "the database postgresql+psycopg://me:***@127.0.0.1:1/none cannot be reached", "--db")
        assert "secret" not in result.output
    assert written(tmp_path) == before


def test_a_database_that_is_not_there_is_not_made_by_reading(command: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/none.db"
    words = [
        ["list"],
        ["status", "x"],
        ["report", "x"],
        ["export", "x", "--format", "csv", "--out", "x"],
        ["resume", "x"],
    ]
    for some in words:
        fails(command(*some, "--db", url), 1, "there is no database at", "adai-study run SPEC")
    assert written(tmp_path) == set()


def test_a_newer_database_is_refused(
    command: Command, finished: tuple[str, Path], spec_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "newer.db"
    shutil.copy(finished[0].removeprefix("sqlite:///"), path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE adai_alembic_version SET version_num = '0999'")
    connection.commit()
    connection.close()
    url = f"sqlite:///{path}"
    for words in (["list"], ["status", "small"], ["report", "small"], ["resume", "small"], ["db", "upgrade"]):
        fails(command(*words, "--db", url), 1, "newer version of adai-study", "0999", "upgrade adai-study")
    fails(command(*run_words(spec_file, url, tmp_path)), 1, "newer version of adai-study")
    assert "revision 0999, this version needs 0001" in command("db", "current", "--db", url).output


def test_a_folder_that_cannot_be_written_is_refused_before_the_study_runs(
    command: Command, spec_file: Path, database_url: str, tmp_path: Path
) -> None:
    blocked = tmp_path / "small.toml" / "report"
    before = written(tmp_path)
    result = command("run", spec_file, "--pool", "inline", "--db", database_url, "--out", blocked)
    fails(result, 2, "the report cannot be written to", "name another folder with --out")
    assert written(tmp_path) == before


def test_the_database_is_never_inside_the_folder_that_a_report_replaces(
    command: Command, spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r").mkdir()
    inside = command(
        "run", spec_file, "--pool", "inline", "--db", f"sqlite:///{tmp_path}/r/s.db", "--out", tmp_path / "r"
    )
    fails(inside, 2, "lies in the report's folder", "name another folder with --out")
    monkeypatch.chdir(tmp_path / "r")
    for out in (".", "..", tmp_path):
        fails(command("run", spec_file, "--pool", "inline", "--out", out), 2, "is or holds the current directory")
    assert written(tmp_path) == {"r", "small.toml"}


def test_outputs_of_report_and_export_that_cannot_be_written_are_refused(
    command: Command, finished: tuple[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    report = command("report", "small", "--db", finished[0], "--out", tmp_path / "file")
    fails(report, 2, "is a file; name a folder for the report with --out")
    words = ["export", "small", "--format", "csv", "--db", finished[0], "--out"]
    fails(command(*words, tmp_path / "file" / "x.csv"), 2, "cannot be written", "--out")
    fails(command(*words, tmp_path), 2, "is a folder; name a file in it with --out")
    assert written(tmp_path) == {"file"}


def test_a_study_that_does_not_exist_is_refused_with_those_that_do(
    command: Command, finished: tuple[str, Path], tmp_path: Path
) -> None:
    for words in (
        ["status", "smal"],
        ["report", "smal", "--out", tmp_path / "r"],
        ["resume", "smal", "--out", tmp_path / "r"],
        ["export", "smal", "--format", "csv", "--out", tmp_path / "x.csv"],
    ):
        fails(command(*words, "--db", finished[0]), 2, "no study is called 'smal' in this database; there are small")
    assert written(tmp_path) == set()


def test_missing_data_is_refused_before_anything_is_written(
    command: Command, spec_file: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec_file.write_text(SMALL_SPEC.replace("digits-logistic", "imagefolder-mlp"))
    before = written(tmp_path)
    words = run_words(spec_file, database_url, tmp_path)
    fails(command(*words), 1, "ADAI_DATA is not set", "set it to the folder that contains imagefolder/")
    monkeypatch.setenv("ADAI_DATA", str(tmp_path / "nowhere"))
    fails(command(*words), 1, f"{tmp_path}/nowhere/imagefolder is not a folder", "put images there")
    assert written(tmp_path) == before


def test_failed_trials_fail_the_command_each_time_and_the_report_is_written(
    command: Command, spec_file: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_: object) -> torch.nn.Module:
        raise RuntimeError("no model today")

    broken = dataclasses.replace(get_workload("digits-mlp"), name="broken", build_model=explode)
    monkeypatch.setitem(workers.workloads._WORKLOADS, "broken", broken)
    spec_file.write_text(SMALL_SPEC.replace('["digits-logistic"]', '["digits-logistic", "broken"]'))
    for _ in range(2):
        result = command(*run_words(spec_file, database_url, tmp_path))
        assert result.exit_code == 1
        assert "Error: 10 trials of study 'small' failed and have no result" in result.output
        assert "no model today" in (tmp_path / "report" / "report.md").read_text()
    assert "RuntimeError: no model today" in command("status", "small", "--db", database_url).output


def test_a_ray_address_that_does_not_answer_is_refused_before_anything_is_written(
    command: Command, spec_file: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("ADAI_RAY_ADDRESS", address)
    before = written(tmp_path)
    words = ["run", spec_file, "--db", database_url, "--out", tmp_path / "report"]
    fails(command(*words), 1, f"no Ray cluster answers at '{address}'", "ADAI_RAY_ADDRESS")
    assert written(tmp_path) == before


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback(place: str, command: Command, tmp_path: Path) -> None:
    words: list[str | Path] = ["run", tmp_path / "none.toml"]
    result = command("--debug", *words) if place == "before" else command(*words, "--debug")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.output
    assert "there is no such file" in result.output.splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["run"],
        ["run", "x.toml", "--pool", "spark"],
        ["run", "x.toml", "--pool", "inline", "--workers", "2"],
        ["status"],
        ["--what"],
    ],
)
def test_wrong_words_are_a_usage_error(words: list[str], command: Command) -> None:
    result = command(*words)
    assert result.exit_code == 2
    assert "Usage: " in result.output
    assert "Traceback" not in result.output
