"""The command: every mistake as a user makes it."""

import dataclasses
import itertools
import shutil
import socket
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
import torch
from tests_support import SMALL_SPEC, Command, comparable_tables, fails, run_words
from torch.nn.functional import cross_entropy

import workers.workloads.registry
from study.storage.engine import create_database, open_database
from workers.workloads import get_workload


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
    command: Command, spec_file: Path, database_url: str
) -> None:
    words = run_words(spec_file, database_url)
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
    assert "revision 0999, this version needs 0004" in command("db", "current", "--db", url).output


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
    steps = itertools.count()

    def explode(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Not while the study is planned: that would be refused."""
        if next(steps) > 200:
            raise RuntimeError("no model today")
        return cross_entropy(logits, labels)

    broken = dataclasses.replace(get_workload("digits-mlp"), name="broken", loss=explode)
    monkeypatch.setitem(workers.workloads.registry._SHIPPED, "broken", broken)
    spec_file.write_text(SMALL_SPEC.replace('["digits-logistic"]', '["digits-logistic", "broken"]'))
    for folder in (tmp_path, None):
        result = command(*run_words(spec_file, database_url, folder))
        assert result.exit_code == 1
        assert "Error: 10 trials of study 'small' failed and have no result" in result.output
        where = "no report written; write it with: " if folder is None else f"the report of the others: {tmp_path}"
        assert result.output.splitlines()[-1].startswith(where)
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
