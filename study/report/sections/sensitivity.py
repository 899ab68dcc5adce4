"""Sections, sensitivity per axis."""

from collections.abc import Sequence
from functools import partial

from study.report.document import CellValue, Column, Figure, Section, Table
from study.report.drawing.sensitivity import draw_lr_curves, draw_windows
from study.report.measures.robustness.choices import ChoiceSensitivity
from study.report.measures.robustness.learning_rate import CENTRED
from study.report.measures.robustness.sensitivity import AxisSensitivity, SensitivityTable
from study.report.measures.robustness.windows import Window
from study.report.observations import StudyInfo
from study.report.sections.interval_columns import KEYS, cells_of, figure_name, hide, objective_with_unit, with_interval
from study.report.sections.names import count_of

_JACKKNIFE = (
    "Interval: jackknife over the folds of the surrogate, or over seeds where the curve is made of trials; none with "
    "one seed."
)
_LR = (
    "Learning-rate sensitivity is S = E[min(loss, L0) - lowest loss] over the declared range of learning rates, "
    "uniform on its scale (Wortsman et al. 2023, arXiv 2309.14322, section 2.2). As there, the other axes are held: "
    "at the best trial, or at the default setting in one-at-a-time designs. A wider range has a higher S: compare "
    "optimizers whose ranges have the same number of decades, or the centred S, which is taken within one decade of "
    "each one's best."
)
_WINDOW = (
    "The robust window, a measure of our own, is the connected set of values of one axis, others held, at which the "
    "loss is at most its minimum along the axis + tolerance * (L0 - minimum). A width with '>=' ends where the range "
    "ends: the window is at least as wide. The window from the common yardstick starts at the lowest minimum of any "
    "optimizer on the workload instead, and has width 0 for an optimizer that never gets so good."
)
_SLOPE = (
    "The slope at the best is the absolute central difference of the loss over a stated step to both sides; it is "
    "near 0 at a smooth optimum, where the rises to each side say more."
)
_SOURCE = (
    "Curves of grids, one-at-a-time designs and single axes with levels are made of the trials themselves; all others "
    "are a surrogate's, with its cross-validated R2: near 0 or below, they say nothing. Curves pass through places "
    "that constraints between axes may forbid. Diverged runs entered everything at chance level."
)


def tell_sensitivity(sensitivity: SensitivityTable, info: StudyInfo) -> Section:
    """How much each axis matters near the best, and how wide its good region is.

    Args:
        sensitivity: Of all axes.
        info: What is known of the study.
    """
    tables = [_lr(sensitivity.axes), _windows(sensitivity), _slopes(sensitivity.axes), _choices(sensitivity.choices)]
    return Section(
        id="sensitivity",
        title="Sensitivity per axis",
        paragraphs=[_LR, _WINDOW, _SLOPE, _SOURCE],
        tables=[table for table in tables if table.rows],
        figures=_figures(sensitivity, info),
        missing=sensitivity.missing,
    )


def _keys(row: AxisSensitivity | ChoiceSensitivity) -> tuple[CellValue, ...]:
    return (row.workload, row.optimizer, row.title)


def _lr(axes: Sequence[AxisSensitivity]) -> Table:
    columns = (
        *KEYS,
        *with_interval(
            "lr_sensitivity",
            "S",
            "Mean of min(loss, L0) over the range of the learning rate, less the lowest loss; other axes held. "
            + _JACKKNIFE
            + " Where only the learning rate varies, the mean over the design's points and a bootstrap over them.",
        ),
        *with_interval(
            "lr_sensitivity_relative",
            "S, of L0 - lowest",
            "S / (L0 - lowest loss): 0 if all learning rates are equally good, towards 1 if all but one learn nothing.",
            "percent",
        ),
        Column(
            "decades", "decades", "Decades of the range; empty on a linear axis. S compares over equal ranges only."
        ),
        *with_interval("lr_sensitivity_per_decade", "S per decade", "S divided by the decades of the range."),
        *with_interval(
            "lr_sensitivity_centred",
            "centred S",
            f"S over learning rates within {count_of(int(CENTRED), 'decade')} of the best one only. {_JACKKNIFE}",
        ),
        Column("centred_decades", "its decades", "Decades that the centred S covers, cut at the ends of the range."),
        *with_interval(
            "lr_sensitivity_tuned",
            "S, others tuned",
            f"S of the loss at the best of the other axes for each learning rate; empty if unknown. {_JACKKNIFE}",
        ),
        Column("levels", "learning rates", "Learning rates that were averaged.", "integer"),
        Column("from_points", "of trials", "Whether the losses are those of trials; else a surrogate's.", "truth"),
        Column("r2", "R2", "Cross-validated R2 of the surrogate; empty for trials."),
        Column("held_at", "others held at", "Whether the other axes are held at the best or the default.", "text"),
        Column("reference_trial", "trial", "Number of that trial.", "integer"),
    )
    rows = tuple(
        (
            *_keys(row),
            *cells_of(row.lr.value),
            *cells_of(row.lr.relative),
            row.lr.decades,
            *cells_of(row.lr.per_decade),
            *cells_of(row.lr.centred),
            row.lr.centred_decades,
            *cells_of(row.lr.tuned),
            row.lr.levels,
            row.from_points or row.lr.sampled,
            None if row.from_points or row.lr.sampled else row.r2,
            _held(row),
            row.anchor_trial,
        )
        for row in axes
        if row.lr is not None
    )
    note = "L0 is chance level, or the median of all trials where that is unknown. A loss above L0 counts as L0."
    columns = hide(columns, "lr_sensitivity_per_decade", "centred_decades", "lr_sensitivity_tuned", *_DETAILS, "levels")
    return Table("lr-sensitivity", "Learning-rate sensitivity", columns, rows, note=note)


def _held(row: AxisSensitivity) -> str:
    return "default" if row.at_default else "best"


#: Where curves come from; people read of it in the caption.
_DETAILS = ("from_points", "held_at", "reference_trial")
_AXIS = (
    Column("axis", "axis", "The hyperparameter that is moved.", "text"),
    Column("unit", "unit", "Unit of widths and steps; empty for the axis's own.", "text"),
    Column("best_value", "value at the best", "What the trial has at which the other axes are held."),
)
_MODEL = (
    Column("from_points", "of trials", "Whether the losses are those of trials; else a surrogate's.", "truth"),
    Column("r2", "R2", "Cross-validated R2 of the surrogate; empty for trials."),
    Column("held_at", "others held at", "Whether the other axes are held at the best or the default.", "text"),
)


def _axis_cells(row: AxisSensitivity) -> tuple[CellValue, ...]:
    return (*_keys(row), row.axis, row.unit, row.anchor_value)


def _model_cells(row: AxisSensitivity) -> tuple[CellValue, ...]:
    return (row.from_points, row.r2, _held(row))


def _windows(sensitivity: SensitivityTable) -> Table:
    meaning = f"minimum + {sensitivity.tolerance:.3g} * (L0 - minimum)"
    columns = (
        *KEYS,
        *_AXIS,
        Column("default_value", "default", "What the default setting has; empty if unknown."),
        Column("low", "lowest", "Lowest value of its range.", shown=False),
        Column("high", "highest", "Highest value.", shown=False),
        Column("scale", "scale", "linear, log, or log1m (log of 1 - value).", "text", shown=False),
        Column("extent", "range", "How wide the range is, in the unit of the row."),
        *_window_columns("window", "window", f"Connected part of the axis where the loss is at most {meaning}"),
        Column("window_from", "from", "Lowest value of the connected part."),
        Column("window_to", "to", "Highest value of the connected part."),
        *with_interval("window_total", "all parts", f"Width of all parts with such a loss together. {_JACKKNIFE}"),
        *_window_columns(
            "window_common",
            "window, common yardstick",
            "The same with the lowest minimum of any optimizer on the workload as minimum; 0 if it never gets so good",
        ),
        *_window_columns("window_tuned", "window, others tuned", "The same as window at the best of the other axes"),
        *_MODEL,
    )
    rows = tuple(
        (
            *_axis_cells(row),
            *(row.default_value, row.low, row.high, row.scale, row.extent),
            *_window_cells(row.window),
            *((None, None) if row.window is None else (row.window.low, row.window.high)),
            *cells_of(None if row.window is None else row.window.total),
            *_window_cells(row.window_study),
            *_window_cells(row.window_tuned),
            *_model_cells(row),
        )
        for row in sensitivity.axes
    )
    note = f"Widths are of the tolerance {sensitivity.tolerance:.3g}. Diverged runs entered the losses at chance level."
    columns = hide(columns, "window_total", "window_tuned", "window_tuned_bound", *_DETAILS)
    return Table("robust-windows", "Robust window of each axis", columns, rows, note=note)


def _slopes(axes: Sequence[AxisSensitivity]) -> Table:
    columns = (
        *KEYS,
        *_AXIS,
        Column("step", "step", "Step of the differences, in the unit of the row."),
        *with_interval(
            "slope", "slope at the best", f"Absolute central difference over one step each way, per unit. {_JACKKNIFE}"
        ),
        *with_interval("slope_relative", "slope, of L0 - L*", "slope / (L0 - L*), per unit of the row.", "percent"),
        *with_interval(
            "rise_below",
            "rise below",
            f"Rise of the loss one step below, per unit, of L0 - L*; negative if it falls. {_JACKKNIFE}",
            "percent",
        ),
        *with_interval("rise_above", "rise above", f"The same one step above. {_JACKKNIFE}", "percent"),
        *_MODEL,
    )
    rows = tuple(
        (
            *_axis_cells(row),
            row.step,
            *cells_of(row.slope),
            *cells_of(row.slope_relative),
            *cells_of(row.rise_below),
            *cells_of(row.rise_above),
            *_model_cells(row),
        )
        for row in axes
        if row.through
    )
    note = "Empty where a step leaves the range. Diverged runs entered the losses at chance level."
    columns = hide(columns, "slope", *_DETAILS)
    return Table("slopes", "Slope at the best along each axis", columns, rows, note=note)


def _window_columns(name: str, heading: str, meaning: str) -> tuple[Column, ...]:
    return (
        *with_interval(name, heading, f"{meaning}; in the unit of the row. {_JACKKNIFE}"),
        Column(f"{name}_bound", "bound", "'>=' where it reaches an end of the range: it is at least as wide.", "text"),
    )


def _window_cells(window: Window | None) -> tuple[CellValue, ...]:
    if window is None:
        return (None, None, None, "")
    return (*cells_of(window.width), ">=" if window.open_low or window.open_high else "")


def _choices(choices: Sequence[ChoiceSensitivity]) -> Table:
    columns = (
        *KEYS,
        Column("axis", "axis", "The axis with choices.", "text"),
        Column("choice", "choice", "One of its choices; the best one first.", "text"),
        Column("trials", "trials", "Finished trials with it: a choice with more trials has more chances.", "integer"),
        Column("trials_diverged", "diverged", "How many of them have a diverged run, at chance level.", "integer"),
        Column("best_trial", "best trial", "Number of the best of them.", "integer"),
        Column("best", "best", "Its mean objective."),
        *with_interval(
            "regret",
            "next best - best",
            "Best mean of the second choice less that of the first, in the row of the first; Student's t over paired "
            "seeds, or Welch's.",
        ),
        *with_interval("regret_relative", "of L0 - L*", "regret / (L0 - L*).", "percent"),
    )
    rows = tuple(
        (
            *_keys(row),
            row.axis,
            *(choice.choice, choice.trials, choice.trials_diverged, choice.best_trial, choice.best),
            *cells_of(None if place else row.regret),
            *cells_of(None if place else row.regret_relative),
        )
        for row in choices
        for place, choice in enumerate(row.choices)
    )
    note = "Of trials alone, without a model: conditions and constraints hold."
    return Table("choices", "What each choice reaches", columns, rows, note=note)


def _figures(sensitivity: SensitivityTable, info: StudyInfo) -> list[Figure]:
    order = tuple(dict.fromkeys(cell.optimizer for cell in info.cells))
    figures = []
    for workload in dict.fromkeys(row.workload for row in sensitivity.axes):
        here = tuple(row for row in sensitivity.axes if row.workload == workload and row.through)
        rates = tuple(row for row in here if row.lr is not None)
        if rates:
            figures.append(_lr_figure(rates, sensitivity, info, order))
        windows = tuple(row for row in here if row.window is not None)
        if windows:
            figures.append(_windows_figure(windows, sensitivity, info, order))
    return figures


def _lr_figure(
    rows: tuple[AxisSensitivity, ...], sensitivity: SensitivityTable, info: StudyInfo, order: tuple[str, ...]
) -> Figure:
    workload = rows[0].workload
    yardstick = next(y for y in sensitivity.yardsticks if y.workload == workload)
    known = info.workload(workload).chance is not None
    name = "chance level" if known else "median of all trials"
    sources = "; ".join(f"{row.title}: {_source(row)}" for row in rows)
    return Figure(
        name=figure_name("lr-sensitivity", info, workload),
        title=f"Loss over the learning rate on {workload}",
        caption=f"Other axes held at each optimizer's best trial, or the default where the table says so; means over "
        f"{count_of(info.seeds, 'seed')}. Bars: robust windows at tolerance {sensitivity.tolerance:.3g}, with an "
        "arrow where the range ends first; grey: the range; black diamond: the best trial; circle: the default. "
        ""
        "Curves of surrogates smooth the trials, which are in the landscapes; where one falls below what any trial "
        f"reached, it leaves the panel. Diverged runs count at {name}, the dotted line. {sources}.",
        alt=f"Curves of the loss over the learning rate of {count_of(len(rows), 'optimizer')} on {workload}, and the "
        f"range of good learning rates of each: {'; '.join(_say_window(row) for row in rows)}.",
        draw=partial(draw_lr_curves, rows, yardstick, objective_with_unit(info), name, order),
    )


def _say_window(row: AxisSensitivity) -> str:
    window = row.window
    if window is None or window.low is None or window.high is None:
        return f"{row.title} none"
    return f"{row.title} {window.low:.3g} to {window.high:.3g}"


def _source(row: AxisSensitivity) -> str:
    if row.from_points:
        return f"{row.points} trials"
    return f"surrogate of {row.points} points, R2 = {row.r2:.2f}"


def _windows_figure(
    rows: tuple[AxisSensitivity, ...], sensitivity: SensitivityTable, info: StudyInfo, order: tuple[str, ...]
) -> Figure:
    workload = rows[0].workload
    return Figure(
        name=figure_name("windows", info, workload),
        title=f"Robust windows of all axes on {workload}",
        caption=f"Bars: values at which the loss is within the tolerance {sensitivity.tolerance:.3g} of its minimum "
        "along the axis, others held, with an arrow where the range ends first; diamond: the trial at which they are "
        "held. Each axis runs over its declared range, on its own scale. Diverged runs count at chance level.",
        alt=f"Bars of the robust windows of {len(rows)} axes on {workload}: "
        f"{'; '.join(f'{row.axis} of {_say_window(row)}' for row in rows)}.",
        draw=partial(draw_windows, rows, order),
    )
