"""The tabs that show a study's report: its own sections and tables, of which nothing is computed or worded here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from dashboards.context import Context
from dashboards.report_store import KnownReport, find_report
from study.report.composition import compose
from study.report.document import Section
from study.report.text import NUMERIC, count_more, format_heading, read_table, split_interval
from study.storage.landscape_points import find_version

#: Sections of the report that each tab shows, in this order; those that a report lacks are left out.
SENSITIVITY = ("robustness", "sensitivity", "importance", "transfer", "flatness", "search-space-audit")
COMPARISON = ("overview", "tests", "budget", "profiles", "not-computed")
#: Tables with more rows are folded: their title says how many.
FOLD_FROM = 24


@dataclass(frozen=True, slots=True)
class ReportTab:
    """A part of a report.

    Attributes:
        sections: Its sections.
        warnings: What to know before anything is believed.
        findings: In words.
        sizes: Name of each figure -> its width and height in pixels, so that nothing moves while pictures load.
        files: Address under which the report's files are found.
        version: Tells its files from those of an earlier report.
        tolerance: Share of the way from the best to chance level that a good setting may lose.
    """

    sections: Sequence[Section]
    warnings: Sequence[str]
    findings: Sequence[str]
    sizes: Mapping[str, tuple[int, int]]
    files: str
    version: str
    tolerance: float

    def figure(self, name: str, ending: str) -> str:
        """The address of a figure."""
        return f"{self.files}/figures/{quote(name)}.{ending}?v={self.version}"

    def table(self, name: str, ending: str) -> str:
        """The address of a table."""
        return f"{self.files}/tables/{quote(name)}.{ending}?v={self.version}"


def find_tab(context: Context, study: str, ids: Sequence[str]) -> ReportTab | None:
    """The sections of a study's report with these ids; None if it has no report that can be used."""
    with context.engine.connect() as connection:
        version = find_version(connection, study)
    known = None if version is None else find_report(context, version)
    return None if known is None else make_tab(known, study, ids)


def make_tab(known: KnownReport, study: str, ids: Sequence[str]) -> ReportTab:
    """The sections of ``known`` with these ids, in their order."""
    document = compose(known.report)
    sections = {section.id: section for section in document.sections}
    return ReportTab(
        sections=[sections[name] for name in ids if name in sections],
        warnings=document.warnings,
        findings=document.summary,
        sizes=known.figures,
        files=f"/v1/studies/{quote(study)}/report/files",
        version=known.tag[:16],
        tolerance=known.report.settings.tolerance,
    )


#: How templates read the report's tables: by the report's own functions.
TABLE_WORDS = {
    "read": read_table,
    "heading": format_heading,
    "split": split_interval,
    "count_more": count_more,
    "numeric": NUMERIC,
    "fold_from": FOLD_FROM,
}
