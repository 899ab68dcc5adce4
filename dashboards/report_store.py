"""The reports on disk: each read as a whole, whatever is written over it meanwhile."""

import datetime as dt
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from dashboards.api.problems import ProblemError
from dashboards.context import Context
from dashboards.recent import Recent
from study.errors import OutputError
from study.report.folder import MANIFEST, exchanges_wait, parse_manifest
from study.report.report import FORMAT, Report, load_report
from study.storage.landscape_points import StudyVersion

#: A report is some tens of megabytes once it is read.
_MOST = 8
#: Neither follows a link, nor waits for the other end of a pipe.
_CAREFUL = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
#: How an SVG file says its size, near its beginning: in points, of which 72 are an inch and 96 pixels of a page.
_SVG_SIZE = re.compile(rb'<svg\b[^>]*? width="([\d.]+)pt" height="([\d.]+)pt"')
_SVG_HEAD = 1024


@dataclass(frozen=True, eq=False)
class OpenReport:
    """One report, held by its folder: another one that takes its place is not seen.

    Attributes:
        study: Name of the study.
        files: Path of each file -> its SHA-256; the manifest is not among them.
        tag: SHA-256 of the manifest, which has those of all files in it.
        written_at: When it was finished.
    """

    study: str
    files: Mapping[str, str]
    tag: str
    written_at: dt.datetime
    _folder: int

    def open(self, path: str) -> BinaryIO:
        """One of its files, or its manifest.

        Raises:
            ProblemError: 404: it has no such file. 409: it had, and has no more, or something else in its place.
        """
        if path not in self.files and path != MANIFEST:
            raise ProblemError(
                404,
                "Unknown file",
                f"the report of {self.study!r} has no file {path!r:.200}; {MANIFEST} in it lists all",
            )
        try:
            return _open_below(self._folder, path)
        except OSError as error:
            raise _broken(
                self.study, f"{path} is gone, or no ordinary file, as when a new report has taken its place"
            ) from error

    def figure_sizes(self) -> dict[str, tuple[int, int]]:
        """Name of each figure -> its width and height on a page, in pixels."""
        sizes = {}
        for path in self.files:
            name = PurePosixPath(path).stem
            if path != f"figures/{name}.svg":
                continue
            with self.open(path) as file:
                found = _SVG_SIZE.search(file.read(_SVG_HEAD))
            if found:
                sizes[name] = (round(float(found[1]) * 96 / 72), round(float(found[2]) * 96 / 72))
        return sizes


@dataclass(frozen=True, eq=False)
class KnownReport:
    """A report that was read.

    Attributes:
        report: What it says.
        tag: As in :class:`OpenReport`.
        written_at: When it was finished.
        figures: Name of each figure -> its width and height on a page, in pixels.
    """

    report: Report
    tag: str
    written_at: dt.datetime
    figures: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class _Part:
    reports: Recent[str, KnownReport] = field(default_factory=lambda: Recent(_MOST))


@contextmanager
def open_report(context: Context, study: StudyVersion) -> Iterator[OpenReport]:
    """The report of a study, for as long as the block lasts.

    Raises:
        ProblemError: 404: it has none. 409: what is there is broken, or the report of another study.
    """
    report = hold_report(context, study)
    try:
        yield report
    finally:
        release_report(report)


def hold_report(context: Context, study: StudyVersion) -> OpenReport:
    """As :func:`open_report`, until :func:`release_report`."""
    folder = context.options.reports / study.name
    try:
        handle = _open_folder(folder)
    except OSError as error:
        raise _no_report(study.name) from error
    try:
        return _read_manifest(handle, folder, study)
    except BaseException:
        os.close(handle)
        raise


def _open_folder(folder: Path) -> int:
    how = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(folder, how)
    except OSError:
        # It may be away for another one to take its place.
        with exchanges_wait(folder):
            return os.open(folder, how)


def release_report(report: OpenReport) -> None:
    """Let go of a report that was held."""
    os.close(report._folder)


def find_report(context: Context, study: StudyVersion) -> KnownReport | None:
    """The report of a study as data; None if it has none that can be used. Read anew only where it changed."""
    try:
        held = hold_report(context, study)
    except ProblemError:
        return None
    part: _Part = context.parts.setdefault("report store", _Part())
    try:
        return part.reports.get(f"{study.name} {held.tag} {held.written_at.timestamp()}", lambda: _load(held))
    except ProblemError:
        return None
    finally:
        release_report(held)


def _load(held: OpenReport) -> KnownReport:
    with held.open("report.json") as file:
        content = file.read()
    try:
        report = load_report(content)
    except ValueError as error:
        raise _broken(held.study, "report.json cannot be read by this version") from error
    if report.format != FORMAT:
        raise _broken(held.study, f"report.json has format {report.format}, this version reads {FORMAT}")
    return KnownReport(report, held.tag, held.written_at, held.figure_sizes())


def _read_manifest(handle: int, folder: Path, study: StudyVersion) -> OpenReport:
    try:
        with _open_below(handle, MANIFEST) as file:
            content, written = file.read(), os.fstat(file.fileno()).st_mtime
    except OSError as error:
        if not os.listdir(handle):
            raise _no_report(study.name) from error
        raise _broken(study.name, f"it has no {MANIFEST} that can be read") from error
    try:
        manifest = parse_manifest(content, folder)
    except OutputError as error:
        raise _broken(study.name, f"its {MANIFEST} is not one of this program") from error
    if (manifest.get("study"), manifest.get("spec_hash")) != (study.name, study.spec_hash):
        other = manifest.get("study")
        raise ProblemError(
            409,
            "Report of another study",
            f"the folder of the report of {study.name!r} holds that of {other!r:.80} with another spec; move it away, "
            f"then write this one: adai-study report {study.name}",
        )
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in manifest["files"].items()):
        raise _broken(study.name, f"the files of its {MANIFEST} are no hashes by path")
    written_at = dt.datetime.fromtimestamp(written, dt.UTC)
    return OpenReport(study.name, manifest["files"], hashlib.sha256(content).hexdigest(), written_at, handle)


def _open_below(folder: int, path: str) -> BinaryIO:
    """An ordinary file below a folder, not by any link.

    Raises:
        OSError: There is none.
    """
    *folders, name = PurePosixPath(path).parts or ("",)
    if path.startswith("/") or ".." in (*folders, name) or "\0" in path:
        raise FileNotFoundError(f"{path!r} does not lie in the folder")
    opened = []
    try:
        for part in folders:
            folder = os.open(part, _CAREFUL | os.O_DIRECTORY, dir_fd=folder)
            opened.append(folder)
        file = os.fdopen(os.open(name, _CAREFUL, dir_fd=folder), "rb")
    finally:
        for part_handle in opened:
            os.close(part_handle)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileNotFoundError(f"{path!r} is no ordinary file")
    return file


def _no_report(name: str) -> ProblemError:
    return ProblemError(
        404,
        "No report",
        f"study {name!r} has no report yet; ask for one: POST /v1/studies/{name}/report, or adai-study report {name}",
    )


def _broken(name: str, why: str) -> ProblemError:
    return ProblemError(
        409,
        "Broken report",
        f"the report of {name!r} cannot be used: {why}; write it anew: POST /v1/studies/{name}/report, or "
        f"adai-study report {name}",
    )
