"""One look at the database for all who listen: what has changed since the last one."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal, cast

from dashboards.api.models import StudyDetail, StudySummary
from dashboards.api.request_models import Request
from dashboards.context import Context
from dashboards.snapshots import snapshots_of
from study.errors import StudyError
from study.storage.request_changes import OPEN_REQUESTS, RequestRow, find_newest_request, read_changed_requests
from study.storage.study_list import StudyMark, find_study_row, read_marks

#: States in which a study is going to change.
_ACTIVE = ("running", "cancelling", "queued")
#: Of the studies that rest, so many of the newest are shown to who begins to listen; and active ones, at most.
_NEWEST, _MOST_ACTIVE = 50, 500


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen.

    Attributes:
        summaries: Name -> study, for those who listen to all.
        details: Name -> study, for those who listen to it.
        requests: As they are now.
        ids: Name -> key of the study, of all in ``summaries`` and ``details``.
        changed: Keys of all studies that have changed, whether somebody listens to them or not.
    """

    summaries: dict[str, StudySummary] = field(default_factory=dict)
    details: dict[str, StudyDetail] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    changed: list[int] = field(default_factory=list)


class Looker:
    """Remembers what it saw; :meth:`look` is called by one thread at a time, the others by any.

    Args:
        context: Of the dashboard.
    """

    def __init__(self, context: Context) -> None:
        self._engine = context.engine
        self._snapshots = snapshots_of(context)
        self.forget()

    def forget(self) -> None:
        """The next look finds nothing new, whatever has changed."""
        self._marks: dict[int, StudyMark] | None = None
        self._late: set[int] = set()
        self._newest_request = 0
        self._requests: dict[int, RequestRow] = {}

    def look(self, listened: Collection[str | None]) -> Look:
        """What has changed since the last look; the first one only remembers.

        Args:
            listened: Studies that somebody listens to; None among them means all.

        Raises:
            SQLAlchemyError: The database is away; the next look finds what this one would have.
        """
        with self._engine.connect() as connection:
            marks = {mark.id: mark for mark in read_marks(connection)}
            after = find_newest_request(connection) if self._marks is None else self._newest_request
            requests = read_changed_requests(connection, after=after, watched=self._requests)
        known = marks if self._marks is None else self._marks
        changed = [mark for mark in marks.values() if known.get(mark.id) != mark or mark.id in self._late]
        news = [row for row in requests if self._marks is not None and self._requests.get(row.id) != row]
        look = self._describe(changed, news, listened)
        self._late = {mark.id for mark in changed if mark.name in look.ids and not self._is_new_enough(mark)}
        self._marks = marks
        self._requests = {row.id: row for row in requests if row.state in OPEN_REQUESTS}
        self._newest_request = max([after, *(row.id for row in requests)])
        return look

    def look_at(self, name: str) -> Look:
        """One study as it is now, and its open requests; nothing if it is gone, or of another version."""
        try:
            detail = self._snapshots.detail(name)
            with self._engine.connect() as connection:
                study_id = find_study_row(connection, name).id
        except StudyError:
            return Look()
        requests = [request for request in self._read_open_requests() if request.study == name]
        return Look(details={name: detail}, requests=requests, ids={name: study_id})

    def look_at_studies(self, study_ids: Iterable[int]) -> Look:
        """Studies as they are now, and all open requests."""
        found = self._snapshots.summaries(study_ids)
        return Look(
            summaries={summary.name: summary for summary in found.values()},
            requests=self._read_open_requests(),
            ids={summary.name: study_id for study_id, summary in found.items()},
        )

    def look_at_active(self) -> Look:
        """The studies that are going to change and the newest of the others, and all open requests."""
        with self._engine.connect() as connection:
            marks = read_marks(connection)
        active = [mark.id for mark in marks if mark.state in _ACTIVE or mark.driver is not None]
        newest = [mark.id for mark in marks[-_NEWEST:]]
        return self.look_at_studies({*active[-_MOST_ACTIVE:], *newest})

    def _describe(
        self, changed: Iterable[StudyMark], news: Iterable[RequestRow], listened: Collection[str | None]
    ) -> Look:
        marks = list(changed)
        look = Look(requests=[to_request(row) for row in news], changed=[mark.id for mark in marks])
        if None in listened and marks:
            for study_id, summary in self._snapshots.summaries(mark.id for mark in marks).items():
                look.summaries[summary.name] = summary
                look.ids[summary.name] = study_id
        for mark in marks:
            if mark.name in listened:
                try:
                    look.details[mark.name] = self._snapshots.detail(mark.name)
                except StudyError:
                    continue  # deleted meanwhile, or of another version: others are told of theirs all the same
                look.ids[mark.name] = mark.id
        return look

    def _is_new_enough(self, mark: StudyMark) -> bool:
        """Else it is told of again by the next look: what is kept of it is older than this change."""
        return self._snapshots.has(mark.id, mark.beat)

    def _read_open_requests(self) -> list[Request]:
        with self._engine.connect() as connection:
            newest = find_newest_request(connection)
            return [to_request(row) for row in read_changed_requests(connection, after=newest, watched=())]


def to_request(row: RequestRow) -> Request:
    """A request as the API has it."""
    return Request(
        id=row.id,
        kind=cast("Literal['submit', 'cancel', 'resume', 'report']", row.kind),
        study=row.study,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        state=cast("Literal['waiting', 'taken', 'done', 'refused']", row.state),
        finished_at=row.finished_at,
        message=row.message,
    )
