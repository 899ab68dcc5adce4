"""Puts the sections of a report in their order."""

from typing import Any

from study.report.document import Document, Section
from study.report.report import Report
from study.report.sections.absences import gather_absences
from study.report.sections.audit import tell_audit
from study.report.sections.comparison import tell_budget
from study.report.sections.comparison_profiles import tell_profiles
from study.report.sections.comparison_tests import tell_tests
from study.report.sections.flatness import tell_flatness
from study.report.sections.importance import tell_importance
from study.report.sections.landscapes import tell_landscapes
from study.report.sections.names import count_of, count_runs
from study.report.sections.overview import tell_overview
from study.report.sections.robustness import tell_robustness
from study.report.sections.sensitivity import tell_sensitivity
from study.report.sections.study import tell_study
from study.report.sections.tables import settle_tables
from study.report.sections.transfer import tell_transfer


def compose(report: Report) -> Document:
    """The whole document of a report."""
    info = report.info
    return Document(
        title=f"Robustness of optimizers: {info.name}",
        lead=_lead(report),
        warnings=_warnings(report),
        summary=report.summary,
        sections=gather_absences([settle_tables(section, info) for section in _sections(report)]),
        footer=_footer(report),
    )


def _sections(report: Report) -> list[Section]:
    """From what decides to what is looked up; landscapes, which take the most room, last."""
    info, analysis = report.info, report.analysis
    return [
        tell_overview(analysis.robustness, analysis.sensitivity, info),
        tell_study(info, analysis.endings),
        tell_robustness(analysis.robustness, analysis.local, info),
        tell_tests(analysis.seed_tests, analysis.workload_tests),
        tell_budget(analysis.budget, info),
        tell_sensitivity(analysis.sensitivity, info),
        tell_importance(analysis.importances, info),
        tell_transfer(analysis.transfer, info),
        tell_profiles(analysis.profiles, info),
        tell_audit(analysis.audit, info),
        tell_flatness(analysis.flatness, info),
        tell_landscapes(analysis.landscapes, info),
    ]


def _lead(report: Report) -> list[str]:
    info, endings = report.info, report.analysis.endings
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in endings.total.items())
    optimizers = list(dict.fromkeys(cell.title for cell in info.cells))
    workloads = [workload.title or workload.name for workload in info.workloads]
    unit = f" ({info.unit})" if info.unit else ""
    compared = (
        f"{count_of(len(optimizers), 'optimizer')}: {', '.join(optimizers)}. "
        f"{count_of(len(workloads), 'workload')}: {'; '.join(workloads)}. Each: {info.design}, "
        f"{count_runs(info)}, judged by {info.objective}{unit}."
    )
    ended = f"{endings.ended} of {count_of(endings.runs, 'run')} ended: {counts}."
    return [*([info.description] if info.description else []), compared, ended]


def _warnings(report: Report) -> list[str]:
    info, endings = report.info, report.analysis.endings
    partial = []
    if endings.ended < endings.runs or info.state not in ("completed", ""):
        how = f" Run the rest with: adai-study resume {info.name}" if info.source == "service" else ""
        waiting = endings.runs - endings.ended
        left = f"{count_of(waiting, 'run')} {'has' if waiting == 1 else 'have'} not ended"
        partial = [f"This report is partial: {left if waiting else f'the study is {info.state}'}.{how}"]
    return [*partial, *info.cautions]


def _footer(report: Report) -> list[str]:
    environment = report.environment
    packages: dict[str, Any] = environment.get("packages", {})
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    return [
        f"Tolerance eps = {report.settings.tolerance:g}; region of practical equivalence {report.settings.rope:g}.",
        f"Made with Python {environment.get('python')}, {versions}; commit {environment.get('commit') or 'unknown'}.",
        "adai-study verify DIR computes every number anew from tables/runs.parquet and says what differs.",
    ]
