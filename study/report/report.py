"""A report as data: what was run, with which choices, every number, and what they say in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from study.report.analysis import Analysis, Settings, analyse
from study.report.observations import Observations, StudyInfo
from study.report.part_cache import PartCache
from study.report.steps import Steps
from study.report.summary import summarize

#: Of ``report.json``; a report of another format is not read.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report says, before it has a form: ``report.json``.

    Attributes:
        format: Which version of these fields.
        info: What is known of the study.
        settings: What the reader chose.
        analysis: Every number.
        summary: What the numbers say, a sentence or two each.
        environment: What the report was made with.
    """

    format: int
    info: StudyInfo
    settings: Settings
    analysis: Analysis
    summary: tuple[str, ...]
    environment: Mapping[str, Any]


_ADAPTER: TypeAdapter[Report] = TypeAdapter(Report)


def make_report(
    observations: Observations,
    settings: Settings,
    environment: Mapping[str, Any],
    *,
    cache: PartCache,
    steps: Steps,
) -> Report:
    """Compute a report.

    Args:
        observations: A study with at least one finished trial.
        settings: What the reader chose.
        environment: What the report is made with.
        cache: What was computed before.
        steps: Told of every part.
    """
    analysis = analyse(observations, settings, cache=cache, steps=steps)
    return Report(FORMAT, observations.info, settings, analysis, summarize(observations.info, analysis), environment)


def dump_report(report: Report) -> bytes:
    """``report.json``."""
    return _ADAPTER.dump_json(report)


def load_report(content: bytes) -> Report:
    """A report from its ``report.json``.

    Raises:
        ValueError: It is not one of this format.
    """
    return _ADAPTER.validate_json(content)


def to_plain(report: Report) -> dict[str, Any]:
    """The report as plain data, as JSON has it."""
    plain: dict[str, Any] = _ADAPTER.dump_python(report, mode="json")
    return plain
