"""Passwords of database users from files, so that they stand in no URL, no environment and no list of processes."""

import contextlib
from pathlib import Path

from sqlalchemy import URL

from study.errors import RequestError
from study.settings import Settings
from study.storage.engine import parse_url


def add_passwords(settings: Settings) -> Settings:
    """The settings, with the passwords of their files in the URLs that have none; SQLite has no passwords.

    Raises:
        RequestError: A file cannot be read, or holds no password.
        DatabaseUrlError: A URL that needs a password is none.
    """
    pairs = (
        ("database_url", settings.database_url, settings.database_password_file),
        ("reader_database_url", settings.reader_database_url, settings.reader_database_password_file),
    )
    complete = {
        name: _with_password(url, file, f"ADAI_{name.removesuffix('_url').upper()}_PASSWORD_FILE")
        for name, url, file in pairs
        if url is not None and file is not None
    }
    return settings.model_copy(update=complete) if complete else settings


def url_for_child(url: URL) -> str:
    """The URL for the environment of a child: without the password, if the child finds it in the file."""
    file = Settings().database_password_file
    if file is not None and url.password is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if file.read_text(encoding="utf-8").strip() == url.password:
                url = url._replace(password=None)
    return url.render_as_string(hide_password=False)


def _with_password(url: str, file: Path, variable: str) -> str:
    parsed = parse_url(url)
    if parsed.get_backend_name() != "postgresql" or parsed.password is not None:
        return url
    try:
        password = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"the password file {file} cannot be read: {error}; correct {variable}, or who may read the file"
        ) from error
    if not password:
        raise RequestError(f"the password file {file} is empty; write the password into it, or unset {variable}")
    return parsed.set(password=password).render_as_string(hide_password=False)
