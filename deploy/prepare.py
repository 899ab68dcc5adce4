"""Looks at what a deployment needs before anything starts, and makes the secrets that are missing."""

import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SECRETS = Path("/secrets")
#: Folders of the host, as people call them, and where they are here.
_FOLDERS = {"specs": Path("/work/specs"), "reports": Path("/work/reports"), "secrets": _SECRETS}
#: Where things are written, and how many bytes must be free there.
_ROOM = {"the database": (Path("/database"), 200e6), "reports/": (Path("/work/reports"), 100e6)}
#: The database server makes this folder at its first start.
_DATABASE = Path("/database/pgdata")


@dataclass(frozen=True, slots=True)
class _Secret:
    """A secret, and who reads it.

    Attributes:
        name: Its file, in a folder that is mounted for those who need it.
        mode: Of the file. The database server is another user, which only sees the folder that is mounted for it:
            other users of the host cannot enter the folder above.
        follows: Whether the database takes it as it is at each start, so that a lost one may be made anew.
    """

    name: str
    mode: int = 0o400
    follows: bool = True


_ALL = (
    _Secret("server/password", mode=0o444, follows=False),
    _Secret("owner/password"),
    _Secret("dashboard/password"),
    _Secret("dashboard/reader-password"),
    _Secret("dashboard/session-secret"),
    _Secret("ray/token"),
    _Secret("operator/password"),
)


def main() -> int:
    """Look and make; returns the exit code."""
    problems = [*_find_unwritable(), *_find_full()]
    if not problems:
        problems = [*_make_secrets()]
    for problem in problems:
        print(f"Error: {problem}", file=sys.stderr)
    if not problems:
        print("Folders, room and secrets are as they should be.")
    return 1 if problems else 0


def _find_unwritable() -> Iterator[str]:
    user, group = os.getuid(), os.getgid()
    for name, path in _FOLDERS.items():
        if os.access(path, os.W_OK | os.X_OK):
            continue
        owner = path.stat()
        if owner.st_uid == user:
            todo = f"on the host: chmod u+rwx {name}; where SELinux forbids it, label the folder for containers"
        elif owner.st_uid == 0:
            todo = f"give it to that user, on the host: chown -R {user}:{group} {name}"
        else:
            todo = f"put these lines into .env: ADAI_UID={owner.st_uid} and ADAI_GID={owner.st_gid}"
        yield f"the folder {name}/ belongs to user {owner.st_uid}, and user {user} cannot write there; {todo}"


def _find_full() -> Iterator[str]:
    for name, (path, needed) in _ROOM.items():
        free = shutil.disk_usage(path).free
        if free < needed:
            yield (
                f"only {free / 1e6:.0f} MB are free where {name} lies, and {needed / 1e6:.0f} MB are needed; "
                "make room there, then start again"
            )


def _make_secrets() -> Iterator[str]:
    # From here on nobody else on the host gets in.
    _SECRETS.chmod(0o700)
    for secret in _ALL:
        path = _SECRETS / secret.name
        if path.exists():
            try:
                found = path.read_text(encoding="utf-8").strip()
            except OSError as error:
                yield f"secrets/{secret.name} cannot be read ({error.strerror}); give it to user {os.getuid()}"
                continue
            if not found:
                yield f"secrets/{secret.name} is empty; write the secret into it, or remove it for a new one"
            elif path.stat().st_mode & secret.mode != secret.mode:
                todo = f"chmod {secret.mode:04o} secrets/{secret.name}"
                yield f"secrets/{secret.name} is closed to those who need it; do: {todo}"
        elif not secret.follows and _DATABASE.exists():
            yield (
                f"secrets/{secret.name} is missing, and the database that is there wants the password that was in it; "
                "put the file back from your backup, or set another password as docs/operating.md says"
            )
        else:
            path.parent.mkdir(exist_ok=True)
            path.parent.chmod(stat.S_IMODE(path.parent.stat().st_mode) | 0o055)
            path.touch(mode=0o600, exist_ok=False)
            path.write_text(f"{secrets.token_urlsafe(36)}\n", encoding="ascii")
            path.chmod(secret.mode)
            print(f"made secrets/{secret.name}")


if __name__ == "__main__":
    sys.exit(main())
