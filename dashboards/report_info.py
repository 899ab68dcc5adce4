"""What is known of the report of a study: of when it is, and whether more has ended since."""

import datetime as dt
import json
import threading
from dataclasses import dataclass
from pathlib import Path

from dashboards.api.models import ReportInfo
from study.errors import OutputError
from study.report.folder import MANIFEST, read_manifest
from study.report.measures.endings import PENDING


@dataclass(frozen=True, slots=True)
class _Known:
    """A report that was looked into, and by what is seen that another one took its place."""

    mark: tuple[int, int, int]
    spec_hash: str
    state: str
    runs_ended: int
    written_at: dt.datetime
    files: int
    bytes: int


class ReportInfos:
    """The reports in a folder, each looked into once.

    Args:
        reports: Folder of the reports; each study has one of its own in it.
    """

    def __init__(self, reports: Path) -> None:
        self._reports = reports
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def find(self, study: str, *, spec_hash: str, runs_ended: int) -> ReportInfo | None:
        """What the report of a study is like; None if there is none that can be read.

        Args:
            study: Its name.
            spec_hash: Of its spec: the report of another study that had the name is none.
            runs_ended: Of its runs, how many have ended by now.
        """
        known = self._look(study)
        if known is None or known.spec_hash != spec_hash:
            return None
        return ReportInfo(
            written_at=known.written_at,
            state=known.state,
            runs_ended=known.runs_ended,
            is_current=known.runs_ended == runs_ended,
            files=known.files,
            bytes=known.bytes,
        )

    def _look(self, study: str) -> _Known | None:
        folder = self._reports / study
        try:
            stat = (folder / MANIFEST).stat()
            mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            known = self._known.get(study)
            if known is None or known.mark != mark:
                known = _read(folder, mark)
        # A report that is being replaced is away for a moment; one that is broken cannot be shown.
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OutputError):
            return None
        with self._lock:
            self._known[study] = known
        return known


def _read(folder: Path, mark: tuple[int, int, int]) -> _Known:
    manifest = read_manifest(folder)
    # Some megabytes, of which one word is kept: the manifest does not have it.
    content = json.loads((folder / "report.json").read_bytes())
    sizes = [(folder / path).stat().st_size for path in (*manifest["files"], MANIFEST)]
    return _Known(
        mark=mark,
        spec_hash=str(manifest["spec_hash"]),
        state=str(content["info"]["state"]),
        runs_ended=sum(int(count) for ending, count in manifest["runs"].items() if ending != PENDING),
        written_at=dt.datetime.fromtimestamp(mark[1] / 1e9, dt.UTC),
        files=len(sizes),
        bytes=sum(sizes),
    )
