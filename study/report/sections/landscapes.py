"""Tells the landscapes of a study: an overview of each workload, and of each optimizer its maps and curves."""

import functools
import re
from collections.abc import Sequence

from study.report.document import CellValue, Column, Figure, Section, Table
from study.report.drawing.landscape import draw_divergence_and_spread, draw_means, draw_overview
from study.report.measures.landscape.records import FEWEST, CellLandscape
from study.report.observations import StudyInfo

_MARKS = (
    "Dots: trials, in the colour of their own mean. Crosses: trials of which a run diverged. Star: default setting. "
    "Ring: best trial. Hatched: no data here. Points of one choice are spread over its band so that all are seen."
)


def tell_landscapes(landscapes: Sequence[CellLandscape], info: StudyInfo) -> Section:
    """The section on landscapes.

    Args:
        landscapes: By workload, then optimizer, in the study's order.
        info: What is known of the study.
    """
    workloads = dict.fromkeys(landscape.workload for landscape in landscapes)
    sections = []
    for number, name in enumerate(workloads):
        own = [landscape for landscape in landscapes if landscape.workload == name]
        sections.append(_tell_workload(name, f"{number + 1}-{_slug(name)}", own, info))
    return Section(
        id="landscapes",
        title="Landscapes",
        paragraphs=_paragraphs(landscapes, info),
        tables=(_table(landscapes),) if landscapes else (),
        missing=tuple(missing for landscape in landscapes for missing in landscape.missing),
        sections=tuple(sections),
    )


def _paragraphs(landscapes: Sequence[CellLandscape], info: StudyInfo) -> tuple[str, ...]:
    paragraphs = [
        (
            f"A landscape is {info.objective} as a function of the hyperparameters, in the unit cube of the declared "
            "search space: logarithmic where the axis is. Lower is better; a diverged run counts with chance level, "
            "as every run that is worse."
        ),
        (
            "Points are what was measured. Colours between them are a surrogate: a random forest or a Gaussian "
            "process of the means over seeds, whichever predicts left-out points better; CV R² is its "
            "cross-validated coefficient of determination, 1 for a perfect prediction, 0 for one no better than the "
            "mean. A map shows it over two axes, averaged over the declared prior of all others (partial dependence; "
            "Friedman 2001, Greedy function approximation, section 8.2), so that it is smoother than, and seldom as "
            "low as, the points themselves: where dots and ground have different colours, the other axes matter or "
            "the surrogate is wrong. Believe no detail of a map with a low CV R²."
        ),
        (
            "Curves show one axis: the surrogate averaged over the others, with a 95 % interval (delete-a-group "
            "jackknife over the folds); with the others held at the best point of the design; and with the others at "
            "their best for each place. The last two follow a minimum over noisy predictions and are optimistic."
        ),
        (
            "Two maps come from the runs alone, without the surrogate: the share of runs that diverged, and the "
            "standard deviation over seeds (pooled). Both average the nearest points in the two axes, the root of "
            "their number, with tricube weights (Cleveland 1979), and choices apart; so shares stay between 0 and 1. "
            "Where all runs diverged, all have chance level and their spread is 0: that is no stability. The third "
            "map is the surrogate's own standard deviation (of a Gaussian process its posterior, of a forest that "
            "over its trees), averaged over the other axes."
        ),
        (
            "Hatched is what has no data: farther from every point, in the axes shown, than any place is from a "
            f"random design of as many points, as a rule. With fewer than {FEWEST} points on its axes a map shows the "
            "points alone."
        ),
    ]
    if not info.is_sample:
        paragraphs.append(
            "The points of this study were chosen or pruned by earlier results: they crowd where results were good, "
            "so no surrogate stands for the space, and shares near by speak of the tried points only."
        )
    constraints = sorted({text for landscape in landscapes for text in landscape.constraints})
    if constraints:
        paragraphs.append(
            f"The points meet constraints ({'; '.join(constraints)}), and averages over other axes do not: they "
            "include settings that nobody may try, as the surrogate continues there."
        )
    if any(axis.conditional for landscape in landscapes for axis in landscape.axes):
        paragraphs.append(
            "Some axes are active in some trials only. A map shows the trials in which both of its axes are active, "
            "and averages over that part of the prior; where an axis is active is learned from the points by a "
            "decision tree."
        )
    return tuple(paragraphs)


def _tell_workload(name: str, slug: str, landscapes: Sequence[CellLandscape], info: StudyInfo) -> Section:
    title = info.workload(name).title
    label = f"{info.objective} ({info.unit})" if info.unit else info.objective
    shown = [landscape for landscape in landscapes if landscape.axes and landscape.best is not None]
    return Section(
        id=f"landscapes-{slug}",
        title=title,
        figures=(_overview(title, slug, shown, label),) if shown else (),
        sections=tuple(
            _tell_optimizer(landscape, title, f"{slug}-{number + 1}-{_slug(landscape.optimizer)}", label)
            for number, landscape in enumerate(shown)
        ),
    )


def _overview(workload: str, slug: str, landscapes: Sequence[CellLandscape], label: str) -> Figure:
    best = [f"{landscape.title}: {_best_text(landscape)}" for landscape in landscapes]
    return Figure(
        name=f"landscape-overview-{slug}",
        title=f"Landscapes of all optimizers on {workload}",
        caption=f"Mean {label} over the first two axes of each optimizer, averaged over its others, on one scale of "
        f"colours. {_MARKS}",
        alt=f"One panel per optimizer on {workload}. Best trials: {'; '.join(best)}.",
        draw=functools.partial(draw_overview, tuple(landscapes), label),
    )


def _tell_optimizer(landscape: CellLandscape, workload: str, slug: str, label: str) -> Section:
    of = f"{landscape.title} on {workload}"
    counts = _count_text(landscape)
    averaged = "" if len(landscape.axes) < 3 else "Each map is averaged over the axes that it does not show. "
    means = Figure(
        name=f"landscape-{slug}",
        title=f"Means of {of}",
        caption=f"{counts} Mean {label}: along each axis (lines: surrogate; vertical bars: standard deviation over "
        f"seeds) and over each pair of axes. {averaged}{_MARKS}",
        alt=f"Maps and curves of the mean objective of {of}. Best: {_best_text(landscape)}.",
        draw=functools.partial(draw_means, landscape, label),
    )
    further = ", and of the surrogate itself" if landscape.maps else " (lines: points near by)"
    marks = _MARKS.replace(", in the colour of their own mean", "")
    spread = Figure(
        name=f"landscape-{slug}-divergence-spread",
        title=f"Divergence and spread of {of}",
        caption=f"{counts} Share of runs that diverged, standard deviation of {label} over seeds"
        f"{further}. {averaged}{marks}",
        alt=f"Where runs of {of} diverge, and where seeds differ: {sum(landscape.points.diverged)} of "
        f"{sum(landscape.points.seeds)} runs diverged.",
        draw=functools.partial(draw_divergence_and_spread, landscape),
    )
    return Section(id=f"landscapes-{slug}", title=landscape.title, figures=(means, spread))


def _count_text(landscape: CellLandscape) -> str:
    points = landscape.points
    model = "No surrogate."
    if landscape.r2 is not None:
        model = f"Surrogate: {landscape.surrogate}, CV R² {landscape.r2:.2f}."
    return (
        f"{len(points.trial)} of {landscape.planned} points, {sum(points.seeds)} runs, {sum(points.diverged)} of them "
        f"diverged. {model}"
    )


def _best_text(landscape: CellLandscape) -> str:
    for part in (landscape.points, landscape.default):
        for trial, mean in zip(part.trial, part.mean, strict=True):
            if trial == landscape.best:
                return f"{mean:.4g} (trial {trial})"
    return "none"


def _table(landscapes: Sequence[CellLandscape]) -> Table:
    columns = (
        Column("workload", "workload", "What was trained.", "text"),
        Column("optimizer", "optimizer", "Name of the optimizer in the study.", "text"),
        Column("title", "title", "Name of the optimizer with its options.", "text", shown=False),
        Column("points", "points", "Finished points of the design, without the default setting.", "integer"),
        Column("planned", "planned", "Points of the design, finished or not.", "integer"),
        Column("runs", "runs", "Runs of these points.", "integer"),
        Column("diverged", "diverged", "Runs that diverged; they count with chance level in everything.", "integer"),
        Column("surrogate", "surrogate", "Kind of the model; empty where there is none.", "text"),
        Column("r2", "CV R²", "Cross-validated coefficient of determination of the model of means over seeds: 1 minus "
               "squared error of left-out points over their variance. Without an interval."),
        Column(
            "r2_other",
            "CV R² of the other",
            "The same of the kind that was not chosen; of a forest that is clearly worse, out of the bag.",
        ),
        Column("noise_share", "seed noise", "Share of the variance between points that is noise of seeds: mean of s² / "
               "seeds over the variance of means. No model of the means can explain that share. Empty with one seed.",
               "percent"),
    )  # fmt: skip
    return Table(
        name="landscape-surrogates",
        title="Surrogates of the landscapes",
        columns=columns,
        rows=tuple(_row(landscape) for landscape in landscapes),
        note="Diverged runs count with chance level. The better of the two kinds is chosen by CV R², which is a little "
        "optimistic for it.",
    )


def _row(landscape: CellLandscape) -> tuple[CellValue, ...]:
    points = landscape.points
    return (
        landscape.workload,
        landscape.optimizer,
        landscape.title,
        len(points.trial),
        landscape.planned,
        sum(points.seeds),
        sum(points.diverged),
        landscape.surrogate,
        landscape.r2,
        landscape.r2_other,
        landscape.noise_share,
    )


def _slug(name: str) -> str:
    """A name as part of a file name; the number before it keeps it unique."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "unnamed"
