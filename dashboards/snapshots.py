"""Studies as pages, API and events show them: summed up once for all who ask, and anew when something has changed."""

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from dashboards.api.models import State, StudyDetail, StudyPage, StudySummary
from dashboards.api.paging import Cursor, Moment, Whole
from dashboards.context import Context
from dashboards.report_info import ReportInfos
from dashboards.study_parts import Counts, StudyMaking, describe_making, summarize, to_cell, to_plans
from study.storage.pace import measure_rate
from study.storage.progress import StudyProgress, read_plans, read_progress
from study.storage.records import find_study
from study.storage.study_list import (
    StudyFilter,
    StudyRow,
    StudySort,
    count_studies,
    find_study_row,
    find_study_rows,
    list_studies,
    sort_key,
)

#: A study that goes on is summed up again after so many seconds at the earliest, and after so many times what it took.
_REST_SECONDS = 1.0
_REST_FACTOR = 5.0
#: How many studies are kept: of each some hundred bytes for every optimizer, and of few the spec.
_COUNTS_KEPT, _MAKINGS_KEPT = 10_000, 200

_CURSORS: Mapping[str, Cursor[Any]] = {
    "name": Cursor("studies by name", tuple[str]),
    "-name": Cursor("studies by name, falling", tuple[str]),
    "created": Cursor("studies by time", tuple[Moment, Whole]),
    "-created": Cursor("studies by time, falling", tuple[Moment, Whole]),
    "state": Cursor("studies by state", tuple[str, str]),
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """What was summed up of a study: for which state and beat, when, and how long it took."""

    state: str
    beat: int
    counts: Counts
    made_at: float
    seconds: float

    def is_good(self, row: StudyRow) -> bool:
        """Whether it need not be made anew: nothing has changed, or it is young and of the same state."""
        if (self.state, self.beat) == (row.state, row.beat):
            return True
        rest = max(_REST_SECONDS, _REST_FACTOR * self.seconds)
        return self.state == row.state and time.monotonic() < self.made_at + rest


class Snapshots:
    """What studies look like now.

    A study is summed up by one thread at a time; others wait for it, or take what there is of the same state.

    Args:
        engine: The database.
        reports: Folder of the reports.
    """

    def __init__(self, engine: Engine, reports: Path) -> None:
        self._engine = engine
        self._reports = ReportInfos(reports)
        self._changed = threading.Condition()
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._busy: set[int] = set()
        self._makings: OrderedDict[tuple[int, str], StudyMaking] = OrderedDict()

    def summary(self, name: str) -> StudySummary:
        """The study called ``name``.

        Raises:
            UnknownStudyError: There is none.
        """
        with self._engine.connect() as connection:
            row = find_study_row(connection, name)
        return summarize(row, self._count([row])[row.id])

    def summaries(self, study_ids: Iterable[int]) -> dict[int, StudySummary]:
        """Studies by their keys; those that there are."""
        with self._engine.connect() as connection:
            rows = find_study_rows(connection, study_ids)
        counts = self._count(rows)
        return {row.id: summarize(row, counts[row.id]) for row in rows}

    def detail(self, name: str) -> StudyDetail:
        """The study called ``name``, with its parts, spec, environment, plans and report.

        Raises:
            UnknownStudyError: There is none.
            DatabaseError: Its spec cannot be read by this version.
        """
        with self._engine.connect() as connection:
            row = find_study_row(connection, name)
            making = self._make(connection, row)
            plans = read_plans(connection, row.id)
        counts = self._count([row])[row.id]
        summary = summarize(row, counts)
        return StudyDetail(
            **dict(summary),
            cells=[to_cell(cell) for cell in counts.cells],
            workloads=making.workloads,
            optimizers=making.optimizers,
            design=making.design,
            seeds=making.seeds,
            plans=to_plans(plans),
            environment=making.environment,
            spec=making.spec,
            spec_hash=row.spec_hash,
            report=self._reports.find(name, spec_hash=row.spec_hash, runs_ended=summary.runs_ended),
        )

    def page(self, q: str, states: Sequence[State], sort: StudySort, cursor: str | None, limit: int) -> StudyPage:
        """Some studies.

        Args:
            q: What is in the name or the description.
            states: In one of these; empty for any.
            sort: By what.
            cursor: Of this page; None for the first.
            limit: The most.

        Raises:
            ProblemError: 400: the cursor is none of this list.
        """
        chosen = StudyFilter(q, states)
        after = _CURSORS[sort].decode(cursor)
        with self._engine.connect() as connection:
            rows = list_studies(connection, chosen, sort, after=after or (), limit=limit + 1)
            total = count_studies(connection, chosen)
        shown = rows[:limit]
        counts = self._count(shown)
        return StudyPage(
            items=[summarize(row, counts[row.id]) for row in shown],
            total=total,
            next_cursor=_CURSORS[sort].encode(sort_key(shown[-1], sort)) if len(rows) > limit else None,
        )

    def has(self, study_id: int, beat: int) -> bool:
        """Whether what is kept of a study is as new as its beat."""
        entry = self._entries.get(study_id)
        return entry is not None and entry.beat >= beat

    def _count(self, rows: Sequence[StudyRow]) -> dict[int, Counts]:
        """How far studies are; those that are not known well enough are summed up in one go."""
        found, mine = self._share_work(rows)
        if mine:
            try:
                found |= self._sum_up(mine)
            finally:
                with self._changed:
                    self._busy -= {row.id for row in mine}
                    self._changed.notify_all()
        return found

    def _share_work(self, rows: Sequence[StudyRow]) -> tuple[dict[int, Counts], list[StudyRow]]:
        """What is known, and the studies that this thread is to sum up; waits for those of others."""
        with self._changed:
            self._changed.wait_for(lambda: not any(self._must_wait(row) for row in rows))
            found: dict[int, Counts] = {}
            mine: dict[int, StudyRow] = {}
            for row in rows:
                entry = self._entries.get(row.id)
                if entry is not None and (entry.is_good(row) or row.id in self._busy):
                    found[row.id] = entry.counts
                else:
                    mine[row.id] = row
            self._busy |= mine.keys()
            return found, list(mine.values())

    def _must_wait(self, row: StudyRow) -> bool:
        """Whether another thread sums a study up of which there is nothing of its state."""
        entry = self._entries.get(row.id)
        return row.id in self._busy and (entry is None or entry.state != row.state)

    def _sum_up(self, rows: Sequence[StudyRow]) -> dict[int, Counts]:
        started = time.monotonic()
        with self._engine.connect() as connection:
            counted = _read_counts(connection, rows)
        now = time.monotonic()
        with self._changed:
            for row in rows:
                self._entries[row.id] = _Entry(row.state, row.beat, counted[row.id], now, now - started)
                self._entries.move_to_end(row.id)
            while len(self._entries) > _COUNTS_KEPT:
                self._entries.popitem(last=False)
        return counted

    def _make(self, connection: Connection, row: StudyRow) -> StudyMaking:
        key = (row.id, row.spec_hash)
        with self._changed:
            known = self._makings.get(key)
        if known is None:
            known = describe_making(find_study(connection, row.name))
            with self._changed:
                self._makings[key] = known
                while len(self._makings) > _MAKINGS_KEPT:
                    self._makings.popitem(last=False)
        return known


def _read_counts(connection: Connection, rows: Sequence[StudyRow]) -> dict[int, Counts]:
    cells: defaultdict[int, list[StudyProgress]] = defaultdict(list)
    for cell in read_progress(connection, study_ids=[row.id for row in rows]):
        cells[cell.study_id].append(cell)
    return {
        row.id: Counts(
            tuple(cells[row.id]),
            measure_rate(connection, row.id) if row.state == "running" else None,
        )
        for row in rows
    }


def snapshots_of(context: Context) -> Snapshots:
    """Those of a process."""
    found: Snapshots | None = context.parts.get("snapshots")
    # Two threads may make one each; the first that is kept is everybody's.
    return found or context.parts.setdefault("snapshots", Snapshots(context.engine, context.options.reports))
