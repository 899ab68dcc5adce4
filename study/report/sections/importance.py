"""Telling which axes matter: tables of indices, interactions and parts of the variance, and a figure per workload."""

import functools
import re
from collections.abc import Iterable, Sequence

from study.report.document import CellValue, Column, Figure, Kind, Section, Table
from study.report.drawing.importance import draw_importance
from study.report.measures.importance.forest_anova import Fraction
from study.report.measures.importance.importance import (
    LEAST_R2,
    MOST_RANKED,
    AxisImportance,
    CellImportance,
    PairImportance,
)
from study.report.measures.intervals import Estimate
from study.report.observations import StudyInfo
from study.report.sections.interval_columns import hide
from study.report.sections.names import count_of, count_points

_INTERVAL = (
    "Interval: 95 % delete-a-group jackknife over the folds of the surrogate's cross-validation, widened by the error "
    "of numerical integration and by the noise-free variance that the surrogate misses, which may belong to any axis; "
    "cut to [0, 1]"
)
_CAPPED = "diverged runs count at the objective that they are capped at"
_KEYS = (
    Column("workload", "workload", "Name of the workload.", "text"),
    Column("optimizer", "optimizer", "Name of the optimizer.", "text"),
)


def tell_importance(importances: Sequence[CellImportance], info: StudyInfo) -> Section:
    """Which axes matter to each optimizer.

    Args:
        importances: One per cell, in the spec's order.
        info: What is known of the study.
    """
    shown = [cell for cell in importances if cell.axes]
    tables = [
        _tell_axes(shown, info),
        _tell_pairs([cell for cell in shown if cell.pairs]),
        _tell_variance([cell for cell in importances if cell.variance], info),
    ]
    return Section(
        id="importance",
        title="Importance of axes",
        paragraphs=_explain(info) if any(table.rows for table in tables) else (),
        tables=tuple(table for table in tables if table.rows),
        figures=tuple(_draw(shown, info)),
        missing=tuple(missing for cell in importances for missing in cell.missing),
    )


def _explain(info: StudyInfo) -> tuple[str, ...]:
    what = (
        f"How much of the differences in {info.objective} between settings does each axis explain? Everything is "
        "measured over the search space as it was declared: a learning rate that is searched in log counts in log."
    )
    shares = (
        "The first-order index is what an axis explains alone, the total index what it explains alone and in "
        "interactions (Sobol' 1993; estimators of Jansen 1999 and Saltelli 2002). They are shares of the variance of "
        "the surrogate's function, which smooths seed noise away: noise is not in what they are divided by. Shares say "
        "which axis of one optimizer to tune first. They do not say which optimizer is more sensitive: an optimizer "
        "that hardly reacts to anything still has an axis with a large share. For that, compare the main effects, "
        f"which are in the unit of {info.objective}."
    )
    trust = (
        "An index is as good as its surrogate. What the surrogate does not predict, though it is not noise, may belong "
        "to any axis or interaction, and the intervals reach as far. They are approximate: in noise, surrogates smooth "
        "weak axes and interactions away, and the intervals hold the truth less often than 95 %. Where R2 is below "
        f"{LEAST_R2:g}, read the numbers as a hint. With one seed, noise is unknown and counts as missed."
    )
    ranks = (
        "Runs that diverged can dominate the variance. The indices of ranks are those of the rank of a setting among "
        "all points, so that no setting is further away than last; where they differ much, divergence or a few bad "
        "settings make the difference. Indices over only the points without divergence are not given: these do not "
        "fill a box, so that axes are not independent there."
    )
    others = (
        "fANOVA (Hutter, Hoos and Leyton-Brown 2014) takes the trees of a forest apart exactly: a second opinion by "
        "another model, from trees that follow seed noise more closely. Optuna's own fANOVA takes axes linearly, "
        "whatever their scale, so its numbers differ. PED-ANOVA (Watanabe, Bansal and Hutter 2023) asks another "
        "question: which axes tell the best tenth of the points apart, without a surrogate."
    )
    return what, shares, trust, ranks, others


def _estimate(
    name: str, heading: str, meaning: str, kind: Kind = "percent", unit: str = "", interval: str = _INTERVAL
) -> tuple[Column, Column, Column]:
    """A column with its interval's ends."""
    low, high = f"{name}_low", f"{name}_high"
    return (
        Column(name, heading, f"{meaning} {interval}.", kind, unit, low, high),
        Column(low, f"{heading}, low", f"Lower end of the interval of {name}.", kind, unit, shown=False),
        Column(high, f"{heading}, high", f"Upper end of the interval of {name}.", kind, unit, shown=False),
    )


def _trees(measured: str) -> tuple[Column, Column]:
    return (
        Column(
            "fanova",
            "fANOVA",
            f"Share of the variance of a tree that {measured} explains, alone; mean over the trees of a forest "
            "(Hutter et al. 2014). Seed noise that trees learned is in their variance.",
            "percent",
        ),
        Column(
            "fanova_sd",
            "fANOVA, SD",
            "Standard deviation of fanova over the trees: how far trees differ, not a confidence interval.",
            "percent",
        ),
    )


def _trust(name: str, r2: str) -> Column:
    return Column(name, "R2 is enough", f"Whether {r2} is at least {LEAST_R2:g}; if not, read with caution.", "truth")


def _tell_axes(cells: Sequence[CellImportance], info: StudyInfo) -> Table:
    ranks = f"of the rank of a setting among the points (surrogate of up to {MOST_RANKED} points, equals share ranks)"
    columns = (
        *_KEYS,
        Column("axis", "axis", "Name of the axis.", "text"),
        *_estimate(
            "first_order",
            "first-order",
            f"First-order Sobol' index: share of the surrogate's variance that the axis explains alone; {_CAPPED}.",
        ),
        *_estimate(
            "total",
            "total",
            f"Total Sobol' index: share that the axis explains alone and in interactions; {_CAPPED}.",
        ),
        *_estimate(
            "main_effect",
            "main effect",
            f"Standard deviation of the mean of {info.objective} along the axis; comparable between optimizers; "
            f"{_CAPPED}.",
            "number",
            info.unit,
            _INTERVAL.replace("cut to [0, 1]", "at least 0"),
        ),
        *_estimate("rank_first_order", "first-order, ranks", f"First-order Sobol' index {ranks}."),
        *_estimate("rank_total", "total, ranks", f"Total Sobol' index {ranks}."),
        *_trees("the axis"),
        *_estimate(
            "ped_anova",
            "PED-ANOVA",
            "Importance of the axis for being among the best tenth of the points, as a share of the sum over axes "
            "(Watanabe et al. 2023); points that diverged are not among the best, unless all are alike.",
            interval="Interval: 95 % delete-a-group jackknife over 10 groups of points",
        ),
        _trust("trusted", "R2 of the surrogate"),
        _trust("rank_trusted", "R2 of the surrogate of ranks"),
    )
    rows = tuple(_axis_row(cell, axis) for cell in cells for axis in cell.axes)
    note = f"{_INTERVAL}. Seed noise is not in the variance that these are shares of; {_CAPPED}."
    shown = hide(columns, "rank_first_order", "fanova_sd", "rank_trusted")
    return Table("importance-axes", "What each axis explains of the differences between settings", shown, rows, note)


def _axis_row(cell: CellImportance, axis: AxisImportance) -> tuple[CellValue, ...]:
    return (
        cell.workload,
        cell.optimizer,
        axis.axis,
        *_cells(axis.first),
        *_cells(axis.total),
        *_cells(axis.deviation),
        *_cells(axis.rank_first),
        *_cells(axis.rank_total),
        *_tree_cells(axis.forest),
        *_cells(axis.ped_anova),
        cell.trusted if axis.first else None,
        cell.rank_trusted if axis.rank_first else None,
    )


def _tell_pairs(cells: Sequence[CellImportance]) -> Table:
    columns = (
        *_KEYS,
        Column("axis_1", "axis", "Name of an axis.", "text"),
        Column("axis_2", "and", "Name of the other axis.", "text"),
        *_estimate(
            "interaction",
            "interaction",
            "Second-order Sobol' index: share of the variance of the surrogate that the two axes explain together, "
            f"beyond what each explains alone; {_CAPPED}.",
        ),
        *_estimate("rank_interaction", "interaction, ranks", "The same of the rank of a setting among the points."),
        *_trees("the interaction"),
        _trust("trusted", "R2 of the surrogate"),
        _trust("rank_trusted", "R2 of the surrogate of ranks"),
    )
    rows = tuple(_pair_row(cell, pair) for cell in cells for pair in cell.pairs)
    note = f"{_INTERVAL}. Estimates below 0, which integration may bring, are written as 0; {_CAPPED}."
    shown = hide(columns, "fanova_sd", "rank_trusted")
    return Table("importance-interactions", "What pairs of axes explain together", shown, rows, note)


def _pair_row(cell: CellImportance, pair: PairImportance) -> tuple[CellValue, ...]:
    return (
        cell.workload,
        cell.optimizer,
        *pair.axes,
        *_cells(pair.share),
        *_cells(pair.rank_share),
        *_tree_cells(pair.forest),
        cell.trusted if pair.share else None,
        cell.rank_trusted if pair.rank_share else None,
    )


def _tell_variance(cells: Sequence[CellImportance], info: StudyInfo) -> Table:
    columns = (
        *_KEYS,
        Column("points", "points", "Finished points of the design.", "integer"),
        Column("diverged", "diverged", "Points of which at least one run diverged.", "integer"),
        Column(
            "observed_sd",
            "SD of means",
            f"Standard deviation over points of the mean {info.objective} over seeds; {_CAPPED}.",
            "number",
            info.unit,
        ),
        Column(
            "signal_sd",
            "SD without noise",
            "The same after the variance that seeds add, mean(s^2 / S), is taken off; equal to it with one seed.",
            "number",
            info.unit,
        ),
        Column(
            "noise",
            "seed noise",
            "Share of the variance of means that seeds add: mean of the sample variance over seeds, divided by the "
            "number of seeds; none with one seed, as it is unknown. Points of which only some runs diverge add much.",
            "percent",
        ),
        Column("surrogate", "surrogate", "Model that predicts better what it has not seen.", "text"),
        Column(
            "r2",
            "R2",
            "Coefficient of determination of its cross-validated predictions of means; below 0 if it is worse than "
            "their mean. It cannot predict seed noise, so 1 - noise is the most that it can reach.",
        ),
        Column(
            "explained",
            "explained",
            "Share of the variance of means that the surrogate predicts: R2, at least 0.",
            "percent",
        ),
        Column(
            "unexplained",
            "unexplained",
            "The rest, at least 0: effects of settings that the surrogate misses; with one seed, seed noise too.",
            "percent",
        ),
        *_estimate(
            "function_sd",
            "SD of surrogate",
            "Standard deviation of the surrogate over the search space: what the indices are shares of (its square).",
            "number",
            info.unit,
            _INTERVAL.replace("cut to [0, 1]", "at least 0"),
        ),
        Column(
            "single_axes", "axes alone", "Share of the surrogate's variance: sum of first-order indices.", "percent"
        ),
        Column("pairs", "pairs", "Share of the surrogate's variance: sum of interactions of two axes.", "percent"),
        Column("higher", "three or more", "Share of the surrogate's variance that is left.", "percent"),
        Column("rank_points", "points, ranks", "Points that the surrogate of ranks was learned from.", "integer"),
        Column("rank_r2", "R2, ranks", "Cross-validated coefficient of determination of the surrogate of ranks."),
        Column("top", "best points", "Points that PED-ANOVA counts as the best tenth; equals all count.", "integer"),
        _trust("trusted", "R2 of the surrogate"),
        _trust("rank_trusted", "R2 of the surrogate of ranks"),
    )
    note = (
        "Observed variance = explained by the surrogate + seed noise + unexplained, as far as estimates add up; "
        f"{_CAPPED}."
    )
    rows = tuple(_variance_row(cell) for cell in cells)
    return Table("importance-variance", "Where the differences between settings come from", columns, rows, note)


def _variance_row(cell: CellImportance) -> tuple[CellValue, ...]:
    parts = cell.variance
    if parts is None:
        raise ValueError(f"{cell.optimizer} on {cell.workload} has no variance")
    return (
        cell.workload,
        cell.optimizer,
        cell.points,
        cell.diverged,
        parts.observed,
        parts.signal,
        parts.noise,
        cell.surrogate,
        cell.r2,
        parts.explained,
        parts.unexplained,
        *_cells(parts.function),
        parts.alone,
        parts.pairs,
        parts.more,
        cell.rank_points,
        cell.rank_r2,
        cell.top,
        cell.trusted,
        cell.rank_trusted,
    )


def _cells(estimate: Estimate | None) -> tuple[CellValue, ...]:
    return (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)


def _tree_cells(fraction: Fraction | None) -> tuple[CellValue, ...]:
    return (None, None) if fraction is None else (fraction.mean, fraction.sd)


def _draw(cells: Sequence[CellImportance], info: StudyInfo) -> Iterable[Figure]:
    for number, workload in enumerate(info.workloads, start=1):
        own = tuple(cell for cell in cells if cell.workload == workload.name)
        if own:
            yield _figure(own, workload.title, f"{number}-{_slug(workload.name)}", info)


def _figure(cells: tuple[CellImportance, ...], title: str, slug: str, info: StudyInfo) -> Figure:
    counts = count_points([(cell.title, cell.points, cell.diverged) for cell in cells])
    strongest = "; ".join(text for text in (_strongest(cell) for cell in cells) if text)
    return Figure(
        name=f"importance-{slug}",
        title=f"{title}: what each axis explains of the differences in {info.objective}",
        caption=f"Shares of the variance over the search space, seed noise not included, "
        f"{count_of(info.seeds, 'seed')} a point; {_CAPPED}. Lines: 95 % intervals, as under the table. Left: total "
        "(open squares) and first-order indices "
        "(dots) of a surrogate, fANOVA (bars) and PED-ANOVA (crosses, a share of its sum). Right: second-order indices "
        f"(diamonds) and fANOVA (bars). {counts}.",
        alt=f"Shares of the variance by axis on {title}. {strongest}.",
        draw=functools.partial(draw_importance, cells),
    )


def _strongest(cell: CellImportance) -> str:
    known = [(axis.total.value, axis.axis) for axis in cell.axes if axis.total is not None]
    if not known:
        return ""
    value, name = max(known)
    return f"{cell.title}: {name} has the largest total index, {value:.2f}"


def _slug(name: str) -> str:
    """The name as part of a file's name; the number of the workload makes it unique."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "unnamed"
