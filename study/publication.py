"""Publishes a report into Optuna's study pages: a note and pictures of landscapes, which Optuna Dashboard shows.

Optuna Dashboard keeps both in system attributes of an Optuna study, in pieces of at most 2,045 characters. Its own
``save_note`` and ``save_plotly_graph_object`` spend a transaction on each piece; here all of a study is one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from study.publication_note import tell_cell
from study.report.report import Report
from study.storage.logs import process_log
from study.storage.optuna_rows import (
    find_optuna_study,
    lock_optuna_study,
    optuna_study_name,
    read_study_attributes,
    replace_study_attributes,
)

_NOTE_VERSION = "dashboard:note_ver"
_NOTE = "dashboard:note_str:"
_FIGURES = "dashboard:plot_data:"
#: Of the names of our figures; those of others stay.
_OURS = f"{_FIGURES}adai-"
_PIECE = 2045
#: Definitions of links, which Markdown does not show. People may write notes, too: what is outside is theirs.
_BEGIN = "[//]: # (adai-study writes anew what follows, with each report; text above and below stays)"
_END = "[//]: # (adai-study ends here)"


@dataclass(frozen=True, slots=True)
class Publication:
    """What the page of one Optuna study shows.

    Attributes:
        optuna_study: Its name.
        note: Markdown.
        figures: Name of a figure -> the figure as Plotly's JSON.
    """

    optuna_study: str
    note: str
    figures: Mapping[str, str]


def publish_report(engine: Engine, report: Report) -> None:
    """As :func:`publish_to_optuna`; a failure is logged, and fails nothing: the report is written already."""
    try:
        publish_to_optuna(engine, report.info.name, report)
    except Exception as error:
        process_log.warning("report_not_published", study=report.info.name, error=f"{error!s:.500}")


def publish_to_optuna(engine: Engine, name: str, report: Report) -> int:
    """Write the note and the figures of each workload and optimizer into its Optuna study.

    Args:
        engine: The database.
        name: Of the study of this service.
        report: Its report.

    Returns:
        How many Optuna studies were changed; 0 where all say so already.
    """
    publications = list(make_publications(name, report))
    with engine.connect() as connection:
        changed = [one for one in publications if _differs(connection, one)]
    if not changed:
        return 0
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        return sum(_write(connection, one) for one in changed)


def make_publications(name: str, report: Report) -> Iterable[Publication]:
    """What the page of each Optuna study of a study shows."""
    # Here, not above: Plotly takes half a second, and most commands publish nothing.
    from study.publication_figures import make_figures

    for landscape in report.analysis.landscapes:
        yield Publication(
            optuna_study_name(name, landscape.workload, landscape.optimizer),
            tell_cell(report, landscape.workload, landscape.optimizer),
            {f"adai-{key}": figure for key, figure in make_figures(landscape, report.info).items()},
        )


def _differs(connection: Connection, publication: Publication) -> bool:
    study_id = find_optuna_study(connection, publication.optuna_study)
    if study_id is None:  # somebody deleted it
        return False
    stored = read_study_attributes(connection, study_id, (_NOTE, _OURS))
    figures = {key: value for key, value in stored.items() if key.startswith(_OURS)}
    body = _join(stored)
    return figures != _figure_attributes(publication) or body != _insert(body, publication.note)


def _write(connection: Connection, publication: Publication) -> bool:
    """Whether there is such a study."""
    study_id = find_optuna_study(connection, publication.optuna_study)
    if study_id is None:
        return False
    lock_optuna_study(connection, study_id)
    stored = read_study_attributes(connection, study_id, (_NOTE_VERSION, _NOTE))
    body = _join(stored)
    note = _insert(body, publication.note)
    attributes: dict[str, str | int] = dict(_figure_attributes(publication))
    attributes |= _cut(note, _NOTE)
    # Somebody who is writing a note meanwhile is told that there is a newer one.
    attributes[_NOTE_VERSION] = int(stored.get(_NOTE_VERSION, 0)) + (note != body)
    replace_study_attributes(connection, study_id, attributes, prefixes=(_NOTE_VERSION, _NOTE, _OURS))
    return True


def _figure_attributes(publication: Publication) -> dict[str, str]:
    return {
        key: piece
        for name, figure in publication.figures.items()
        for key, piece in _cut(figure, f"{_FIGURES}{name}:").items()
    }


def _cut(text: str, prefix: str) -> dict[str, str]:
    """A text in numbered pieces."""
    starts = range(0, len(text), _PIECE)
    return {f"{prefix}{number}": text[start : start + _PIECE] for number, start in enumerate(starts)}


def _join(attributes: Mapping[str, object]) -> str:
    """The note that is there; empty if there is none."""
    pieces = {int(key.removeprefix(_NOTE)): str(value) for key, value in attributes.items() if key.startswith(_NOTE)}
    return "".join(pieces[number] for number in sorted(pieces))


def _insert(body: str, note: str) -> str:
    """A note with our part in it, at the place where it was, or at the end."""
    ours = f"{_BEGIN}\n\n{note}\n\n{_END}"
    before, begin, rest = body.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if begin and end:
        return f"{before}{ours}{after}"
    return f"{body}\n\n{ours}" if body.strip() else ours
