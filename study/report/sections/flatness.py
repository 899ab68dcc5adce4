"""Tells how flat the places are where runs ended, beside what learning rate and training loss explain of it."""

from collections.abc import Mapping, Sequence
from functools import partial

from study.report.document import CellValue, Column, Figure, Section, Table
from study.report.drawing.flatness import draw_matched, draw_sharpness
from study.report.measures.flatness.flatness import ROUGH, CellFlatness, Flatness, QuantityFlatness
from study.report.measures.flatness.matched_loss import CALIPER, LEAST_PAIRS, LossMatched
from study.report.measures.intervals import Estimate
from study.report.observations import StudyInfo
from study.report.sections.interval_columns import hide
from study.report.sections.names import titles_of

_CELL = (
    Column("workload", "workload", "Name of the workload.", "text"),
    Column("optimizer", "optimizer", "Name of the optimizer.", "text"),
)
_QUANTITY = Column(
    "quantity",
    "measure",
    "top_eigenvalue: largest Ritz value of the Hessian. trace: of the Hessian. sam_sharpness: increase of the loss "
    "by a step of 0.05 along the gradient (Foret et al. 2021). asam_sharpness: the same in the metric of the "
    "weights' magnitudes (Kwon et al. 2021).",
    "text",
)


def tell_flatness(flatness: Flatness, info: StudyInfo) -> Section:
    """The section of flatness."""
    if not flatness.cells:
        return Section(id="flatness", title="Flatness", missing=flatness.missing)
    tables = [_measured_table(flatness), _correlation_table(flatness)]
    if flatness.matched:
        tables.append(_matched_table(flatness))
    return Section(
        id="flatness",
        title="Flatness",
        paragraphs=(
            (
                "Sharpness of the training loss where runs ended, after the last measured epoch. The loss surface "
                "was measured on the same training examples for all runs. The plain Hessian is not invariant to "
                "rescaling of the weights (Dinh et al. 2017); ASAM's measure is, but for a small constant."
            ),
            (
                "Sharpness often follows the learning rate and says nothing about generalization beyond that "
                "(Andriushchenko et al. 2023, arXiv 2302.07011). So each correlation with the test error is shown "
                "beside that with the learning rate, and given the learning rate. None of them is causal."
            ),
            (
                "Runs that diverged have no curvature, so all this is about the trials none of whose runs diverged; "
                "how many are left out is in the first table. Between optimizers, trials are compared at equal "
                "training loss, because sharpness changes as training goes on."
            ),
        ),
        tables=tables,
        figures=_figures(flatness, info),
        missing=flatness.missing,
    )


def _figures(flatness: Flatness, info: StudyInfo) -> list[Figure]:
    figures = []
    optimizers = tuple(dict.fromkeys(cell.optimizer for cell in info.cells))
    titles = titles_of(info)
    for place, workload in enumerate(info.workloads, start=1):
        cells = tuple(cell for cell in flatness.cells if cell.workload == workload.name)
        pairs = tuple(pair for pair in flatness.matched if pair.workload == workload.name)
        if any(cell.points for cell in cells):
            figures.append(
                Figure(
                    name=f"flatness-{place}",
                    title=f"Sharpness against learning rate and outcome, {workload.title}",
                    caption=(
                        "One mark is one trial, the mean over its seeds, if no run of it diverged. Measures that are "
                        "not above 0 have no place on a logarithmic axis; titles count them."
                    ),
                    alt=f"Four measures of sharpness on {workload.title} over learning rate and outcome. Rank "
                    "correlation of the largest eigenvalue with the learning rate: "
                    f"{_say_correlations(cells, titles)}.",
                    draw=partial(draw_sharpness, cells, optimizers, titles),
                )
            )
        if any(pair.ratio is not None for pair in pairs):
            figures.append(
                Figure(
                    name=f"flatness-matched-{place}",
                    title=f"Sharpness at equal training loss, {workload.title}",
                    caption=(
                        f"Median ratio of sharpness over pairs of trials whose training losses are within {CALIPER:g} "
                        "decades, with its 95 % interval. Below 1, the first optimizer of a pair is flatter. Open "
                        "marks: no difference could be shown. Diverged trials are in no pair."
                    ),
                    alt=f"Ratios of sharpness between optimizers at equal training loss on {workload.title}. "
                    f"{_say_flatter(pairs, titles)}.",
                    draw=partial(draw_matched, pairs, titles),
                )
            )
    return figures


def _say_correlations(cells: Sequence[CellFlatness], titles: Mapping[str, str]) -> str:
    found = [
        f"{titles.get(cell.optimizer, cell.optimizer)} {quantity.with_lr.value:.2f}"
        for cell in cells
        for quantity in cell.quantities
        if quantity.quantity == "top_eigenvalue" and quantity.with_lr is not None
    ]
    return ", ".join(found) or "unknown"


def _say_flatter(pairs: Sequence[LossMatched], titles: Mapping[str, str]) -> str:
    found = [
        f"{pair.quantity} of {titles.get(pair.first, pair.first)} / {titles.get(pair.second, pair.second)} "
        f"{pair.ratio.value:.2f}"
        for pair in pairs
        if pair.ratio is not None and pair.verdict.endswith("is flatter")
    ]
    return f"Shown to differ: {', '.join(found)}" if found else "No difference could be shown"


_MEASURED_COLUMNS = (
    *_CELL,
    Column("runs", "runs", "Runs of the design that completed or diverged.", "integer"),
    Column(
        "diverged", "diverged", "Those that diverged: their curvature is not used, nor that of their trial.", "integer"
    ),
    Column("measured", "measured", "Completed runs with a largest eigenvalue.", "integer"),
    Column("trials", "trials", "Trials of the design whose runs all completed and were measured.", "integer"),
    Column("trials_left_out", "left out", "Other finished trials of the design.", "integer"),
    Column(
        "unconverged",
        "not converged",
        f"Measured runs whose largest eigenvalue has a residual above {ROUGH:.0%} of it.",
        "integer",
    ),
    Column(
        "rough_traces",
        "rough traces",
        f"Measured runs whose trace has a standard error above {ROUGH:.0%} of it.",
        "integer",
    ),
    Column(
        "steep",
        "steep",
        "Measured runs whose SAM sharpness is slope rather than curvature: 0.05 times the gradient norm is more than "
        "half of it.",
        "integer",
    ),
    Column(
        "gradient_norm",
        "gradient norm",
        "Median Euclidean norm of the gradient of measured runs; far from 0, they have not ended in a minimum.",
    ),
)


def _measured_table(flatness: Flatness) -> Table:
    return Table(
        "flatness-measured",
        "What was measured, and how well",
        _MEASURED_COLUMNS,
        tuple(_measured_row(cell) for cell in flatness.cells),
        note="Counts of runs of the design, without the default setting.",
    )


def _measured_row(cell: CellFlatness) -> tuple[CellValue, ...]:
    return (
        cell.workload,
        cell.optimizer,
        cell.runs,
        cell.diverged,
        cell.measured,
        cell.trials,
        cell.trials_left_out,
        cell.unconverged,
        cell.rough_traces,
        cell.steep,
        cell.gradient_norm,
    )


def _estimate_columns(name: str, heading: str, meaning: str) -> tuple[Column, ...]:
    return (
        Column(name, heading, meaning, low=f"{name}_low", high=f"{name}_high"),
        Column(f"{name}_low", "low", f"Lower end of the 95 % interval of {name}.", shown=False),
        Column(f"{name}_high", "high", f"Upper end of the 95 % interval of {name}.", shown=False),
    )


_RANKS = "Percentile bootstrap over trials, each resample ranked anew; trials with a diverged run are not in it."
_CORRELATION_COLUMNS = (
    *_CELL,
    _QUANTITY,
    Column("trials", "trials", "Trials that have it, none of whose runs diverged.", "integer"),
    Column("median", "median [quartiles]", "Median over these trials.", low="lower", high="upper"),
    Column("lower", "lower quartile", "Lower quartile over these trials.", shown=False),
    Column("upper", "upper quartile", "Upper quartile over these trials.", shown=False),
    *_estimate_columns("with_lr", "with lr", f"Spearman's rank correlation with the learning rate. {_RANKS}"),
    Column("outcome", "outcome", "What the next columns are about: test error, or the objective without one.", "text"),
    *_estimate_columns("with_outcome", "with outcome", f"Spearman's rank correlation with the outcome. {_RANKS}"),
    *_estimate_columns(
        "given_lr",
        "given lr",
        "Partial rank correlation with the outcome given the learning rate. None if nothing is left of either. "
        f"{_RANKS}",
    ),
    *_estimate_columns(
        "given_lr_curve",
        "given lr, curved",
        "The same after a cubic in the rank of the learning rate is taken out of the ranks of both: the outcome is "
        f"often worse on both sides of the best learning rate, which a straight line leaves in. {_RANKS}",
    ),
)


def _correlation_table(flatness: Flatness) -> Table:
    return Table(
        "flatness-correlations",
        "Sharpness, learning rate and outcome",
        _CORRELATION_COLUMNS,
        tuple(_correlation_row(cell, quantity) for cell in flatness.cells for quantity in cell.quantities),
        note="Intervals are not corrected for the number of correlations.",
    )


def _correlation_row(cell: CellFlatness, quantity: QuantityFlatness) -> tuple[CellValue, ...]:
    return (
        cell.workload,
        cell.optimizer,
        quantity.quantity,
        quantity.trials,
        quantity.median,
        quantity.lower,
        quantity.upper,
        *_cells(quantity.with_lr),
        cell.outcome,
        *_cells(quantity.with_outcome),
        *_cells(quantity.given_lr),
        *_cells(quantity.given_lr_curve),
    )


def _cells(estimate: Estimate | None) -> tuple[CellValue, ...]:
    return (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)


_MATCHED_COLUMNS = (
    Column("workload", "workload", "Name of the workload.", "text"),
    _QUANTITY,
    Column("first", "first", "Name of the one optimizer.", "text"),
    Column("second", "second", "Name of the other.", "text"),
    Column(
        "pairs",
        "pairs",
        f"Pairs of trials, one of each, whose training losses are within {CALIPER:g} decades; as many as can be, then "
        "the nearest. Each trial is in one pair at most; trials with a diverged run are in none.",
        "integer",
    ),
    Column("first_trials", "trials of first", "Trials of the first that could be paired.", "integer", shown=False),
    Column("second_trials", "trials of second", "Trials of the second that could be paired.", "integer", shown=False),
    Column("first_lost", "lost of first", "Its trials with a loss or sharpness not above 0.", "integer", shown=False),
    Column("second_lost", "lost of second", "Its trials with a loss or sharpness not above 0.", "integer", shown=False),
    Column("loss_low", "losses from", "Smallest training loss among the pairs.", unit="nats"),
    Column("loss_high", "to", "Largest training loss among the pairs.", unit="nats"),
    Column(
        "imbalance",
        "imbalance",
        "Mean of log10(loss of first / loss of second) over the pairs; near 0 if they are matched.",
        unit="decades",
        shown=False,
    ),
    *_estimate_columns(
        "ratio",
        "first / second",
        "Median ratio of sharpness over the pairs, corrected for what is left between their losses by the slope of "
        "sharpness over loss; below 1 the first is flatter. Distribution-free 95 % interval of the median, from "
        "order statistics.",
    ),
    Column("p", "p", f"Wilcoxon's signed-rank test of the log-ratios, from {LEAST_PAIRS} pairs on.", "p", shown=False),
    Column("p_adjusted", "p, Holm", "The same by Holm over the pairs of optimizers of this workload and measure.", "p"),
    Column(
        "verdict",
        "verdict",
        "Which is flatter at equal training loss, if p_adjusted is below 0.05 and the interval does not hold 1.",
        "text",
    ),
)


def _matched_table(flatness: Flatness) -> Table:
    return Table(
        "flatness-matched",
        "Optimizers at equal training loss",
        hide(_MATCHED_COLUMNS, "loss_low", "loss_high"),
        tuple(_matched_row(pair) for pair in flatness.matched),
        note="Only losses that both optimizers reach are compared. Other things that differ between paired trials, "
        "such as the learning rate, are not matched.",
    )


def _matched_row(pair: LossMatched) -> tuple[CellValue, ...]:
    return (
        pair.workload,
        pair.quantity,
        pair.first,
        pair.second,
        pair.pairs,
        pair.first_trials,
        pair.second_trials,
        pair.first_lost,
        pair.second_lost,
        pair.loss_low,
        pair.loss_high,
        pair.imbalance,
        *_cells(pair.ratio),
        pair.p,
        pair.p_adjusted,
        pair.verdict,
    )
