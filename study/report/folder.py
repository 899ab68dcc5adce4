"""The folder of a report: replaced whole or not at all, and only if it holds nothing else."""

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from study.errors import OutputError

MANIFEST = "manifest.json"
#: Marks a manifest as ours.
MARKER = "adai-study report"


def check_output(folder: Path) -> None:
    """See that a report can be written to ``folder``, without leaving anything there.

    Raises:
        OutputError: It is a file, a folder of something else, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder for the report with --out")
    try:
        if Path.cwd().is_relative_to(folder.resolve()):
            raise OutputError(f"{folder} is or holds the current directory; name a folder of its own with --out")
        parent = folder.resolve().parent
        while not parent.exists():
            parent = parent.parent
        with _locked(parent, fcntl.LOCK_EX):
            foreign = _foreign_files(folder)
        if foreign:
            raise OutputError(
                f"{folder} holds what is not part of a report of this program, such as {foreign[0]}; "
                "name another folder with --out"
            )
        with tempfile.TemporaryDirectory(dir=parent, prefix=".adai-study-"):
            pass
    except OSError as error:
        raise _not_writable(folder, error) from error


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Write a report to ``folder``; an earlier report there is moved away when the new one is whole.

    Args:
        folder: Where it goes.
        fill: Writes everything but the manifest's list of files into the empty folder that it is given.

    Raises:
        OutputError: As for :func:`check_output`.
    """
    check_output(folder)
    target = folder.resolve()  # where a link leads: on that disk, and the link stays
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            fill(new)
            _exchange(new, target, Path(scratch) / "old")
    except OSError as error:
        raise _not_writable(folder, error) from error


def _exchange(new: Path, target: Path, old: Path) -> None:
    """Move what is at ``target`` away and ``new`` there; what was there comes back if that is interrupted.

    Of several processes that write one report, the last one's is there in the end.
    """
    with _locked(target.parent, fcntl.LOCK_EX):
        _move(new, target, old)


@contextlib.contextmanager
def exchanges_wait(folder: Path) -> Iterator[None]:
    """Nobody puts another report in the place of ``folder`` meanwhile, which would be away for a moment then.

    Raises:
        OSError: Its parent cannot be read.
    """
    with _locked(folder.resolve().parent, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Hold the lock of reports in a folder, where the file system has locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


def _move(new: Path, target: Path, old: Path) -> None:
    if not target.exists():
        new.replace(target)
        return
    target.replace(old)
    try:
        new.replace(target)
    except BaseException:
        old.replace(target)
        raise


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write the manifest: ``content``, our mark, and the SHA-256 of every other file."""
    whole = {"kind": MARKER, **content, "files": hash_files(folder)}
    (folder / MANIFEST).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a report.

    Raises:
        OutputError: There is none, or it is not one of ours.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError:
        content = b""
    return parse_manifest(content, folder)


def parse_manifest(content: bytes, folder: Path) -> dict[str, Any]:
    """What the manifest of the report in ``folder`` says.

    Raises:
        OutputError: It is not one of ours.
    """
    try:
        manifest = json.loads(content)
        if manifest["kind"] == MARKER and isinstance(manifest["files"], dict):
            return dict(manifest)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise OutputError(
        f"{folder} is not a report of this program: it has no {MANIFEST} of one; name a folder that "
        "`adai-study report --out` wrote"
    )


def hash_files(folder: Path) -> dict[str, str]:
    """Path of each file in a report's folder, but for the manifest -> its SHA-256, in a fixed order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _foreign_files(folder: Path) -> list[str]:
    """Files in ``folder`` that an earlier report there does not list as its own."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    try:
        own = {MANIFEST, *read_manifest(folder)["files"]}
    except OutputError:
        own = set()
    return sorted(files - own)


def _not_writable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"the report cannot be written to {folder} ({error.strerror or error}); name another folder with --out"
    )
