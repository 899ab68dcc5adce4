"""The file of users: one ``name:role:argon2-hash`` a line, read again whenever it has changed."""

import threading
from collections.abc import Mapping
from pathlib import Path

from study.accounts import ROLES, Account, check_user_name, is_password_hash
from study.errors import RequestError, StudyError


class UsersFileError(StudyError):
    """The file of users cannot be used."""


class UsersFile:
    """Users of a file; empty lines and those that begin with ``#`` are left out. May be shared by threads.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._accounts: Mapping[str, Account] = {}

    def read(self) -> Mapping[str, Account]:
        """Name -> user, as the file is now.

        Raises:
            UsersFileError: It cannot be read, or a line is wrong. Nobody in it is then known: a user who was taken
                out beside a mistake must not stay in.
        """
        with self._lock:
            try:
                status = self.path.stat()
                seen = (status.st_mtime_ns, status.st_size, status.st_ino)
                if seen != self._seen:
                    self._accounts = parse_users(self.path.read_text(encoding="utf-8"), self.path)
                    self._seen = seen
            except (OSError, UnicodeDecodeError) as error:
                raise UsersFileError(f"the file of users {self.path} cannot be read: {error}") from error
            return self._accounts


def parse_users(text: str, path: Path) -> Mapping[str, Account]:
    """Name -> user of the lines of a file.

    Raises:
        UsersFileError: A line is wrong; the message names it, but never shows a hash.
    """
    accounts: dict[str, Account] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            account = _parse_line(line)
        except RequestError as error:
            raise UsersFileError(f"{path}, line {number}: {error}") from error
        if account.name in accounts:
            raise UsersFileError(f"{path}, line {number}: {account.name} stands there twice; leave one line out")
        accounts[account.name] = account
    return accounts


def _parse_line(line: str) -> Account:
    parts = [part.strip() for part in line.split(":", 2)]
    if len(parts) != 3:
        raise RequestError("a line is NAME:ROLE:HASH; `adai-study users hash` makes the hash")
    name, role, password_hash = parts
    if is_password_hash(name):
        raise RequestError("the hash stands first; a line is NAME:ROLE:HASH")
    check_user_name(name)
    if not is_password_hash(password_hash):
        raise RequestError(f"what stands for the hash of {name} is no argon2 hash; make one: adai-study users hash")
    for known in ROLES:
        if role == known:
            return Account(name, known, password_hash)
    raise RequestError(f"{role!r} is no role; write {' or '.join(ROLES)}")
