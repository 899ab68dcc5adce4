"""Passwords of database users from files."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import make_url

from study.cli import main
from study.database_passwords import add_passwords, url_for_child
from study.errors import RequestError
from study.settings import Settings

URL = "postgresql+psycopg://ana@localhost/studies"


def test_a_password_comes_from_its_file_without_the_end_of_the_line(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("a:b@c/d e%\n")
    settings = Settings(database_url=URL, database_password_file=file, reader_database_url=URL)
    complete = add_passwords(settings)
    assert complete.database_url == "postgresql+psycopg://ana:a%3Ab%40c%2Fd e%25@localhost/studies"
    assert complete.reader_database_url == URL
    reader = settings.model_copy(update={"reader_database_password_file": file})
    assert add_passwords(reader).reader_database_url == complete.database_url


@pytest.mark.parametrize("url", ["sqlite:///studies.db", "postgresql+psycopg://ana:of-the-url@localhost/studies"])
def test_a_url_that_needs_no_password_is_left_alone(url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=url, database_password_file=tmp_path / "is not read")
    assert add_passwords(settings).database_url == url


def test_a_file_that_cannot_be_read_or_is_empty_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "password"
    settings = Settings(database_url=URL, database_password_file=file)
    with pytest.raises(RequestError, match=r"password cannot be read: .*correct ADAI_DATABASE_PASSWORD_FILE"):
        add_passwords(settings)
    file.write_text("\n")
    with pytest.raises(
        RequestError, match="is empty; write the password into it, or unset ADAI_DATABASE_PASSWORD_FILE"
    ):
        add_passwords(settings)
    reader = Settings(reader_database_url=URL, reader_database_password_file=tmp_path / "none")
    with pytest.raises(RequestError, match="correct ADAI_READER_DATABASE_PASSWORD_FILE"):
        add_passwords(reader)


def test_the_command_takes_the_password_from_the_file_and_shows_it_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("not-to-be-seen")
    monkeypatch.setenv("ADAI_DATABASE_PASSWORD_FILE", str(file))
    result = CliRunner().invoke(main, ["list", "--db", "postgresql+psycopg://ana@localhost:1/studies"])
    assert result.exit_code == 1
    assert "ana:***@localhost:1" in result.output
    assert "not-to-be-seen" not in result.output


def test_a_child_that_finds_the_password_in_the_file_is_not_told_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url("postgresql+psycopg://adai:secret@db/adai")
    assert url_for_child(url) == "postgresql+psycopg://adai:secret@db/adai"
    (tmp_path / "password").write_text("secret\n")
    monkeypatch.setenv("ADAI_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    assert url_for_child(url) == "postgresql+psycopg://adai@db/adai"
    (tmp_path / "password").write_text("another\n")
    assert url_for_child(url) == "postgresql+psycopg://adai:secret@db/adai"
