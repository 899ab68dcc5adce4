"""What a report says of one optimizer on one workload, as a short note in Markdown."""

from collections.abc import Iterator

from study.report.document import Column
from study.report.forms.markdown import escape_markdown
from study.report.measures.intervals import Estimate, Share
from study.report.measures.robustness.learning_rate import LR_NAMES
from study.report.measures.robustness.robustness import OptimizerRobustness
from study.report.measures.robustness.seeds import TrialResult
from study.report.report import Report
from study.report.sections.names import count_of
from study.report.text import format_interval, format_number, format_percent

_NUMBER = Column("number", "", "")
_PERCENT = Column("percent", "", "", "percent")
_REMARK = (
    "{objective}, lower is better, as means over {seeds}; a diverged run counts with chance level. Brackets: 95 % "
    "intervals. State of the study: {state}."
)


def tell_cell(report: Report, workload: str, optimizer: str) -> str:
    """The note: how good, how wide, how often divergent, with 95 % intervals, and where everything else is.

    Args:
        report: Of the study.
        workload: Name of the workload.
        optimizer: Name of the optimizer.
    """
    rows = [row for row in report.analysis.robustness.on(workload) if row.optimizer == optimizer]
    if rows:
        title, lines = rows[0].title, list(_tell(report, rows[0]))
    else:
        title, lines = optimizer, ["No trial has finished."]
    name = report.info.name
    return "\n".join(
        [
            f"### {escape_markdown(title)} on {escape_markdown(report.info.workload(workload).title)}",
            "",
            *[f"- {line}" for line in lines],
            "",
            _REMARK.format(
                objective=escape_markdown(report.info.objective),
                seeds=count_of(report.info.seeds, "seed"),
                state=escape_markdown(report.info.state),
            ),
            "",
            f"All of it: [the study's page](/studies/{name}) on this address, or `adai-study report {name}`.",
        ]
    )


def _tell(report: Report, row: OptimizerRobustness) -> Iterator[str]:
    held_out = "" if row.held_out is None else f"; read at seeds that did not choose it {_estimate(row.held_out)}"
    yield f"**Best:** {_result(row.best)}{held_out}"
    if row.default is not None:
        gain = row.default_regret_held_out or row.default_regret
        better = "" if gain is None or row.best_is_default else f"; tuning gains {_estimate(gain)}"
        yield f"**Default setting:** {_result(row.default)}{better}"
    yield f"**Good settings:** {_volume(report, row)}"
    for axis in report.analysis.sensitivity.axes:
        if (axis.workload, axis.optimizer) == (row.workload, row.optimizer) and axis.axis in LR_NAMES:
            window = axis.window_study
            if window is not None and window.low is not None and window.high is not None:
                least = "at least " if window.open_low or window.open_high else ""
                ends = f"{format_number(window.low)} to {format_number(window.high)}"
                yield f"**Good learning rates:** {least}{_estimate(window.width)} {axis.unit}, {ends}"
    yield f"**Diverged:** {_divergence(row)}"
    others = [(row.trials_failed, "failed"), (row.trials_pruned, "pruned"), (row.trials_pending, "pending")]
    counts = "".join(f", {count} {what}" for count, what in others if count)
    yield f"**Trials:** {row.trials_finished} of {row.trials_planned} finished{counts}"


def _volume(report: Report, row: OptimizerRobustness) -> str:
    robustness = report.analysis.robustness
    volume = row.volume(robustness.tolerance)
    if volume is None:
        about = f"of {row.optimizer} on {row.workload}"
        reasons = [m.reason for m in robustness.missing if m.measure.endswith(about) and "volume" in m.measure]
        return f"not known. {escape_markdown(' '.join(reasons))}".strip()
    yardstick = next(one for one in robustness.yardsticks if one.workload == row.workload)
    far = "chance level" if yardstick.is_chance else "the median trial"
    return (
        f"{_estimate(volume.study)} of the search space (within {format_percent(volume.tolerance)} of the way from "
        f"the best of any optimizer to {far})"
    )


def _divergence(row: OptimizerRobustness) -> str:
    counted = f"{row.runs_diverged} of {row.runs} runs"
    if row.divergence_runs is None:
        return counted
    points = "" if row.divergence_points is None else f"; {_estimate(row.divergence_points)} of its points"
    return f"{counted}; {_percent(row.divergence_runs)} of the runs of the design{points}"


def _result(result: TrialResult) -> str:
    spread = "" if result.sd is None else f" ± {format_number(result.sd)}"
    fell = f", {result.diverged} of {result.seeds} runs diverged" if result.diverged else ""
    return f"{format_number(result.mean)}{spread} (trial {result.number}{fell})"


def _estimate(estimate: Estimate | Share) -> str:
    column = _PERCENT if isinstance(estimate, Share) else _NUMBER
    return format_interval(column, estimate.value, estimate.low, estimate.high)


def _percent(estimate: Estimate) -> str:
    return format_interval(_PERCENT, estimate.value, estimate.low, estimate.high)
