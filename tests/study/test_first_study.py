"""The study that a server submits at its start: once, whatever became of it, and never a wrong one."""

import os
import subprocess
from pathlib import Path

import pytest
from tests_support import ADAI_STUDY, SMALL_SPEC, Command

from study.spec_file import load_named_spec


def serve(url: str, study: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A server that stops when it is idle, in a folder, with ADAI_STUDY set."""
    words = [ADAI_STUDY, "serve", "--until-idle", "--pool", "inline", "--no-reports", "--db", url]
    environment = os.environ | {"ADAI_STUDY": study}
    return subprocess.run(words, capture_output=True, text=True, timeout=200, cwd=folder, env=environment)


def test_a_server_submits_its_first_study_once_and_leaves_it_as_it_is_later(
    command: Command, database_url: str, spec_file: Path
) -> None:
    first = serve(database_url, spec_file.name, spec_file.parent)
    assert first.returncode == 0, first.stderr
    assert '"done": "small: queued, 10 trials' in first.stderr
    assert "small: completed" in command("status", "small", "--db", database_url).output
    again = serve(database_url, spec_file.name, spec_file.parent)
    assert '"done": "small: is there already; nothing was done"' in again.stderr
    assert "study_started" not in again.stderr


def test_a_cancelled_first_study_stays_cancelled(command: Command, database_url: str, spec_file: Path) -> None:
    assert command("submit", spec_file, "--db", database_url).exit_code == 0
    assert "cancelled" in command("cancel", "small", "--db", database_url).output
    assert serve(database_url, str(spec_file), spec_file.parent).returncode == 0
    assert "small: cancelled" in command("status", "small", "--db", database_url).output


def test_a_first_study_that_has_changed_disturbs_no_other_one(
    command: Command, database_url: str, spec_file: Path
) -> None:
    assert command("submit", spec_file, "--db", database_url).exit_code == 0
    spec_file.write_text(SMALL_SPEC.replace("seeds = 2", "seeds = 3"))
    served = serve(database_url, str(spec_file), spec_file.parent)
    assert served.returncode == 0, served.stderr
    assert "small: is there already, with another spec; nothing was done" in served.stderr
    assert "small: completed" in command("status", "small", "--db", database_url).output


def test_an_empty_name_is_none(database_url: str, tmp_path: Path) -> None:
    served = serve(database_url, "", tmp_path)
    assert served.returncode == 0, served.stderr
    assert "first_study" not in served.stderr


@pytest.mark.parametrize(
    ("study", "problem"),
    [
        ("nowhere", "there is no such file, and no shipped spec of that name (digits, images)"),
        ("wrong.toml", "colour: unknown key"),
    ],
)
def test_a_wrong_first_study_ends_the_server_before_it_starts(
    command: Command, database_url: str, spec_file: Path, study: str, problem: str
) -> None:
    assert command("submit", spec_file, "--db", database_url).exit_code == 0
    (spec_file.parent / "wrong.toml").write_text(SMALL_SPEC.replace("seeds", "colour = 'red'\nseeds"))
    served = serve(database_url, study, spec_file.parent)
    assert served.returncode == 2
    assert problem in served.stderr
    assert "study_started" not in served.stderr


def test_a_file_comes_before_a_shipped_spec_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_named_spec("digits").name == "digits"
    (tmp_path / "digits").write_text(SMALL_SPEC)
    assert load_named_spec("digits").name == "small"
