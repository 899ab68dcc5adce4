"""Sections, at a glance: one row for each optimizer on each workload, with what people compare first."""

from study.report.document import CellValue, Column, Section, Table
from study.report.measures.robustness.learning_rate import LR_NAMES
from study.report.measures.robustness.robustness import OptimizerRobustness, RobustnessTable
from study.report.measures.robustness.sensitivity import AxisSensitivity, SensitivityTable
from study.report.observations import StudyInfo
from study.report.sections.interval_columns import KEYS, cells_of, hide, with_interval
from study.report.text import format_interval

_WINDOW = Column("window", "range of good lr", "", "number", "decades", "low", "high")


def tell_overview(robustness: RobustnessTable, sensitivity: SensitivityTable, info: StudyInfo) -> Section:
    """The comparison that a reader looks for first.

    Args:
        robustness: Best, default, volumes and divergence of each optimizer.
        sensitivity: Of all axes, the learning rate among them.
        info: What is known of the study.
    """
    return Section(
        id="overview",
        title="Optimizers at a glance",
        paragraphs=(_explain(robustness, info),) if robustness.rows else (),
        tables=(_table(robustness, sensitivity, info),) if robustness.rows else (),
        missing=() if robustness.rows else robustness.missing,
    )


def _explain(robustness: RobustnessTable, info: StudyInfo) -> str:
    judged = f"{info.objective} ({info.unit})" if info.unit else info.objective
    good = (
        f" A setting is good if it loses at most {robustness.tolerance:.3g} of the way from the best of any optimizer "
        f"to {_end(robustness)}."
    )
    if not any(row.volumes for row in robustness.rows):
        good = ""
    first = f"By {judged}, lower is better; brackets hold 95 % intervals."
    compared = (
        " The lowest of each workload is first, which is no ranking: whether differences may be chance is tested below."
    )
    alone = len(robustness.rows) == len(robustness.yardsticks)
    return f"{first}{'' if alone else compared}{good}"


def _end(robustness: RobustnessTable) -> str:
    kinds = {yardstick.is_chance for yardstick in robustness.yardsticks}
    if kinds == {True}:
        return "chance level"
    return "the median of all trials" if kinds == {False} else "chance level, or the median where chance is unknown"


def _table(robustness: RobustnessTable, sensitivity: SensitivityTable, info: StudyInfo) -> Table:
    rates = {(axis.workload, axis.optimizer): axis for axis in sensitivity.axes if axis.axis in LR_NAMES}
    rows = tuple(
        _row(row, rates.get((row.workload, row.optimizer)), robustness.tolerance, info) for row in robustness.rows
    )
    note = "Diverged runs count as chance level. Every number is explained, with its neighbours, in a section below."
    return Table("overview", "What each optimizer reaches, and how easily", _columns(), rows, note, longest=200)


def _columns() -> tuple[Column, ...]:
    return (
        *KEYS,
        Column("best", "best", "Lowest mean over seeds of a setting: the luckiest of all tried ones."),
        *with_interval(
            "held_out",
            "best, held out",
            "Objective at each seed of the setting that is the best over the other seeds, as a mean: without the luck "
            "of the choice. Student's t over seeds; empty with one seed.",
        ),
        Column("test_error", "its test error", "Mean test error of the best setting; nothing was chosen by it."),
        *with_interval(
            "volume",
            "good settings",
            "Robust volume: share of the design's points that are good; Wilson's interval.",
            "percent",
        ),
        Column(
            "lr_window_text",
            "good learning rates (decades)",
            "Width of the range of learning rates that are good, other axes held at the best setting; at least (≥) "
            "where the declared range ends first. Jackknife over the folds of the surrogate, or over seeds.",
            "text",
        ),
        *hide(
            with_interval("lr_window", "width of good learning rates", "The same as a number.", unit="decades"),
            "lr_window",
        ),
        Column("lr_window_open", "open", "Whether the declared range ends first.", "truth", shown=False),
        *with_interval(
            "default_regret",
            "tuning brings",
            "Mean of the default setting less the held-out best, seed by seed; can be below 0. Student's t over seeds.",
        ),
        *with_interval(
            "diverged",
            "runs diverged",
            "Share of the runs of the design's points that diverged; Wilson's interval with the effective number of "
            "runs, as those of a point are alike.",
            "percent",
        ),
        Column("trials", "trials", "Finished trials, the default setting among them.", "integer", shown=False),
    )


def _row(
    row: OptimizerRobustness, rate: AxisSensitivity | None, tolerance: float, info: StudyInfo
) -> tuple[CellValue, ...]:
    volume = row.volume(tolerance)
    window = None if rate is None or rate.unit != "decades" else rate.window_study
    width = cells_of(None if window is None else window.width)
    is_open = None if window is None else window.open_low or window.open_high
    return (
        *(row.workload, row.optimizer, row.title, row.best.mean),
        *cells_of(row.held_out),
        row.best.test_mean,
        *cells_of(None if volume is None else volume.study),
        None if window is None else ("≥ " if is_open else "") + format_interval(_WINDOW, *width),
        *width,
        is_open,
        *cells_of(row.default_regret_held_out),
        # Optuna keeps a run whose value is NaN as a failure: none that diverged does not mean that none did.
        *cells_of(row.divergence_runs if row.runs_diverged or info.source == "service" else None),
        row.trials_finished,
    )
