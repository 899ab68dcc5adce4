"""The report of a study, whole or file by file, and the tables of a study as they are now."""

import io
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dashboards.api.etags import etag_headers, make_etag, not_modified
from dashboards.api.problems import ProblemError
from dashboards.api.streams import HeldResponse, disposition, file_response, zip_pieces
from dashboards.context import Context, context_of
from dashboards.known_studies import find_known
from dashboards.report_store import hold_report, release_report
from study.errors import OutputError
from study.provenance import installed_version
from study.report.folder import MANIFEST
from study.report.forms.html import CONTENT_SECURITY_POLICY
from study.report.table_export import TableName, export_table
from study.storage.landscape_points import StudyVersion

router = APIRouter(tags=["reports"])
#: Tables that are written at once, each of which takes a core, and those that are waited for, written or sent, each of
#: which takes a thread or a file.
_MOST_WRITTEN, _MOST_EXPORTS = 2, 12
_WAIT_SECONDS = 10.0
#: The report's page runs its own script, and may do nothing in the name of this address.
_PAGE_POLICY = f"{CONTENT_SECURITY_POLICY}; sandbox allow-scripts allow-downloads"
#: Other files run nothing.
_FILE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; sandbox"
)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".pdf": "application/pdf",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
}
#: Shown by the browser; everything else is saved as a file.
_SHOWN = (".html", ".svg", ".png")
_NO_FILE: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such study, report or file."},
    409: {"description": "The report is broken."},
}
_BUSY: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such study."},
    503: {"description": "Too many exports at once."},
}


@dataclass(frozen=True, eq=False)
class _Part:
    exports: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_MOST_EXPORTS))
    writers: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_MOST_WRITTEN))


@router.get("/v1/studies/{name}/report", summary="The report as JSON", response_class=Response, responses=_NO_FILE)
def get_report(request: Request, name: str) -> Response:
    """``report.json`` of the report that was written last."""
    return _send_file(request, _find_study(request, name), "report.json", kind="inline")


@router.get("/v1/studies/{name}/report.zip", summary="The report's folder", response_class=Response, responses=_NO_FILE)
def get_report_zip(request: Request, name: str) -> Response:
    """All files of the report; ``adai-study verify`` checks the unpacked folder."""
    context, study = context_of(request), _find_study(request, name)
    report = hold_report(context, study)
    headers = etag_headers(f'W/"{report.tag}"')
    if not_modified(request, f'W/"{report.tag}"'):
        release_report(report)
        return Response(status_code=304, headers=headers)
    folder = f"{study.name}-report"
    headers |= {"Content-Disposition": disposition(f"{folder}.zip"), "X-Content-Type-Options": "nosniff"}
    files = {MANIFEST: None, **report.files}
    pieces = zip_pieces(files, report.open, folder=folder, written_at=report.written_at)
    return HeldResponse(pieces, lambda: release_report(report), media_type="application/zip", headers=headers)


@router.get(
    "/v1/studies/{name}/report/files/{path:path}",
    summary="A file of the report",
    response_class=Response,
    responses=_NO_FILE,
)
def get_report_file(request: Request, name: str, path: str) -> Response:
    """Such as ``report.html`` or ``tables/trials.csv``; ``manifest.json`` lists them."""
    shown = path.endswith(_SHOWN)
    return _send_file(request, _find_study(request, name), path, kind="inline" if shown else "attachment")


@router.get(
    "/v1/studies/{name}/tables/{table}.{kind}",
    summary="A table of the study",
    response_class=Response,
    responses=_BUSY,
)
def get_table(request: Request, name: str, table: TableName, kind: Literal["csv", "parquet"]) -> Response:
    """All rows that there are now, as ``adai-study export`` writes them; the report's own tables are older."""
    context, study = context_of(request), _find_study(request, name)
    # Another version may write other columns of the same data.
    etag = make_etag(repr((installed_version("adai-study"), study, table, kind)).encode())
    headers = etag_headers(etag)
    if not_modified(request, etag):
        return Response(status_code=304, headers=headers)
    part: _Part = context.parts.setdefault("reports", _Part())
    if not part.exports.acquire(blocking=False):
        raise _too_many(study.name)
    try:
        file = _write_table(context, part, study.name, table, kind)
    except BaseException:
        part.exports.release()
        raise

    def release() -> None:
        file.close()
        part.exports.release()

    headers |= {
        "Content-Disposition": disposition(f"{study.name}-{table}.{kind}"),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": _FILE_POLICY,
    }
    return file_response(file, release, media_type=_TYPES[f".{kind}"], headers=headers)


def _find_study(request: Request, name: str) -> StudyVersion:
    context = context_of(request)
    with context.engine.connect() as connection:
        return find_known(context, connection, name)[0]


def _send_file(request: Request, study: StudyVersion, path: str, *, kind: Literal["attachment", "inline"]) -> Response:
    report = hold_report(context_of(request), study)
    try:
        file = report.open(path)
    finally:
        release_report(report)
    etag = f'W/"{report.files.get(path, report.tag)}"'
    headers = etag_headers(etag)
    if not_modified(request, etag):
        file.close()
        return Response(status_code=304, headers=headers)
    ending = Path(path).suffix
    headers |= {
        "Content-Disposition": disposition(f"{study.name}-{Path(path).name}", kind),
        "Content-Security-Policy": _PAGE_POLICY if ending == ".html" else _FILE_POLICY,
        "X-Content-Type-Options": "nosniff",
    }
    return file_response(file, file.close, media_type=_TYPES.get(ending, "application/octet-stream"), headers=headers)


def _write_table(
    context: Context, part: _Part, study: str, table: TableName, kind: Literal["csv", "parquet"]
) -> BinaryIO:
    """The table in a file that is nowhere to be found any more, and gone when it is closed.

    Raises:
        ProblemError: 503: others are being written. 507: there is no room for it.
    """
    if not part.writers.acquire(timeout=_WAIT_SECONDS):
        raise _too_many(study)
    try:
        with tempfile.TemporaryDirectory(prefix="adai-export-") as folder:
            path = Path(folder) / f"{table}.{kind}"
            export_table(context.engine, study, table, path=path, format_=kind, log=io.StringIO())
            return path.open("rb")
    except (OutputError, OSError) as error:
        raise ProblemError(
            507,
            "No room for the export",
            f"the table {table} of {study!r} cannot be written on the dashboard's machine: {error}; free disk space "
            "there, or set TMPDIR to a folder with more",
        ) from error
    finally:
        part.writers.release()


def _too_many(study: str) -> ProblemError:
    return ProblemError(
        503,
        "Too many exports",
        "other tables are being written and sent; ask again in a minute, or use the command: "
        f"adai-study export {study}",
        headers={"Retry-After": "60"},
    )
