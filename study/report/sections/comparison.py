"""How optimizers at equal tuning budgets are told: curves, chances, averages over budgets, relative performance."""

import functools
from collections.abc import Sequence

from study.report.document import Column, Figure, Section, Table
from study.report.drawing.comparison import draw_budget, draw_chances, draw_relative
from study.report.measures.comparison.budget import BudgetComparison, BudgetCurve, curves_on
from study.report.observations import StudyInfo
from study.report.sections.comparison_tables import (
    interval_cells,
    interval_columns,
    label_objective,
    list_once,
    list_optimizers,
    name_columns,
    name_files,
)
from study.report.sections.interval_columns import hide
from study.report.sections.names import count_of, count_points

_PARAGRAPHS = (
    (
        "How good is each optimizer after k trials of tuning? Any k points of a random or quasi-random design are a "
        "tuning budget of k, so the expected best of k is an average over all sets of k points: the unbiased "
        "estimate without replacement of Dodge et al. 2021 (arXiv 2110.00613). It depends on the search space: a "
        "narrower range round good values would shorten every search, so compare it with the ranges that the spec "
        "declares."
    ),
    (
        "Every number counts a diverged run at chance level. The value of a trial is its mean over seeds, and the "
        "best of several is lucky with just these seeds; the test error of the setting that was selected is not."
    ),
    (
        "Bands hold for all k at once with 95 % confidence (Lourie et al. 2023, arXiv 2311.09480), with equal-tailed "
        "intervals of all order statistics. They treat points as independent draws. Sobol', Halton and Latin hypercube "
        "designs are more even than that, so the bands err on the wide side. Where a band reaches down to zero, the "
        "design has too few points to say how good the best of so many trials may be."
    ),
)


def tell_budget(comparison: BudgetComparison, info: StudyInfo) -> Section:
    """The section on equal tuning budgets."""
    if not comparison.curves:
        return Section("budget", "Equal tuning budgets", (), missing=comparison.missing)
    tables = [_tabulate_curves(comparison, info), _tabulate_scores(comparison, info)]
    tables += [_tabulate_chances(comparison)] if comparison.chances else []
    tables += [_tabulate_relative(comparison)] if comparison.relative else []
    figures = _picture_curves(comparison, info) + _picture_chances(comparison, info)
    if comparison.relative:
        figures.append(_picture_relative(comparison, info))
    return Section("budget", "Equal tuning budgets", _PARAGRAPHS, tables, figures, comparison.missing)


def _tabulate_curves(comparison: BudgetComparison, info: StudyInfo) -> Table:
    unit = info.unit
    columns = (
        *name_columns(),
        Column("points", "points", "B: finished points of the design, without the default setting.", "integer"),
        Column(
            "diverged", "diverged", "Points of which at least one run diverged; they count at chance level.", "integer"
        ),
        Column("budget", "trials", "k: trials of the tuning budget.", "integer"),
        *interval_columns(
            "mean",
            "expected best",
            "Expected lowest objective (mean over seeds) of k points drawn without replacement; diverged runs at "
            "chance level. Interval: simultaneous 95 % band for independent draws; empty where the objective has no "
            "known bound.",
            unit=unit,
        ),
        *interval_columns(
            "median",
            "median best",
            "Median of the lowest objective of k draws, with its simultaneous 95 % band; an end is empty where the "
            "sample says nothing.",
            unit=unit,
        ),
        Column(
            "test",
            "its test error",
            "Expected test error of the point that the lowest objective of k selects. A diverged run counts at "
            "chance level if the objective is the validation error; else it has none, and budgets that may select "
            "it are empty.",
        ),
        Column("default", "default", "Objective of the default setting, which is one trial and no draw.", unit=unit),
        Column("default_test", "default's test error", "Test error of the default setting; diverged runs as in test."),
        Column(
            "trials_to_beat_default",
            "trials to beat default",
            "Fewest k whose expected best is below the default setting's objective; empty if none is.",
            "integer",
        ),
    )
    rows = []
    for curve in comparison.curves:
        for at, budget in enumerate(curve.budgets):
            rows.append(
                (
                    *(curve.workload, curve.optimizer, curve.title, curve.points, curve.diverged, budget),
                    *(curve.mean[at], curve.mean_low[at], curve.mean_high[at]),
                    *(curve.median[at], curve.median_low[at], curve.median_high[at]),
                    *(curve.test[at], curve.default, curve.default_test, curve.trials_to_beat_default),
                )
            )
    note = "Intervals are simultaneous over all budgets of a row's optimizer. Diverged runs count at chance level."
    columns = hide(columns, "points", "diverged", "default_test", "trials_to_beat_default")
    return Table("budget-curves", f"Best {info.objective} of k trials", columns, tuple(rows), note, longest=100)


def _tabulate_scores(comparison: BudgetComparison, info: StudyInfo) -> Table:
    how = (
        "Interval: bootstrap over points and seeds, moved by its known bias; too narrow where late budgets weigh much."
    )
    unit = info.unit
    columns = (
        *name_columns(),
        Column("budget", "K", "The largest budget that every optimizer on the workload has the points for.", "integer"),
        *interval_columns("one_shot", "one shot", f"Expected objective of a single trial. {how}", unit=unit),
        *interval_columns(
            "cpe", "CPE", f"Expected best averaged over k, with weight K - k + 1: early budgets. {how}", unit=unit
        ),
        *interval_columns("cpu", "CPU", f"The same with equal weights: all budgets from 1 to K. {how}", unit=unit),
        *interval_columns("cpl", "CPL", f"The same with weight k: late budgets. {how}", unit=unit),
        *interval_columns(
            "peak",
            "peak",
            "Expected best of K trials. Bootstrap interval as the others; none if K is more than half of the points, "
            "as no resample says where the minimum of another sample lies.",
            unit=unit,
        ),
    )
    rows = tuple(
        (
            *(score.workload, score.optimizer, score.title, score.budget),
            *(
                cell
                for part in (score.one_shot, score.cpe, score.cpu, score.cpl, score.peak)
                for cell in interval_cells(part)
            ),
        )
        for score in comparison.scores
    )
    note = (
        "Combined performance, early, uniform and late, of Sivaprasad et al. 2020 (arXiv 1910.11758), with the "
        "unbiased expected best in place of a bootstrap. Lower is better; diverged runs count at chance level."
    )
    return Table("budget-scores", "Averages over tuning budgets", columns, rows, note)


def _tabulate_chances(comparison: BudgetComparison) -> Table:
    columns = (
        *name_columns(),
        Column("budget", "trials", "k: trials of every optimizer.", "integer"),
        *interval_columns(
            "chance",
            "chance of being the best",
            "Probability that the optimizer has the lowest objective (mean over seeds) of all optimizers on the "
            "workload, if each is given k of its points, drawn without replacement and independently. Ties are "
            "split. Interval: percentile bootstrap over points and seeds; near k = B it is unreliable, as every "
            "bootstrap of a minimum.",
            "percent",
        ),
        Column("resamples", "resamples", "Resamples behind the interval.", "integer", shown=False),
    )
    rows = tuple(
        (group.workload, optimizer, title, budget, *interval_cells(estimate), group.resamples)
        for group in comparison.chances
        for optimizer, title, row in zip(group.optimizers, group.titles, group.chances, strict=True)
        for budget, estimate in zip(group.budgets, row, strict=True)
    )
    note = (
        "Exact for the points at hand; of one workload and budget they sum to 1. Diverged runs count at chance level."
    )
    return Table(
        "best-chances", "Which optimizer is the best at a budget of k trials", columns, rows, note, longest=100
    )


def _tabulate_relative(comparison: BudgetComparison) -> Table:
    columns = (
        Column("optimizer", "optimizer key", "Name of the optimizer in the spec.", "text", shown=False),
        Column("title", "optimizer", "What people call the optimizer.", "text"),
        Column("workloads", "workloads", "Workloads that are averaged over: those of the study.", "integer"),
        Column("budget", "trials", "k: trials of every optimizer on every workload.", "integer"),
        *interval_columns(
            "relative",
            "relative performance",
            "Lowest expected best of k of any optimizer, divided by this one's, averaged over workloads; for a "
            "maximized number, this one's divided by the highest. 1 is the best everywhere. Interval: bootstrap "
            "over points and seeds with the workloads held; none where k is more than half of the points.",
        ),
    )
    rows = tuple(
        (row.optimizer, row.title, row.workloads, budget, *interval_cells(estimate))
        for row in comparison.relative
        for budget, estimate in zip(row.budgets, row.values, strict=True)
    )
    note = "Of Sivaprasad et al. 2020. The ratio depends on the optimizers compared, and on the zero of the objective."
    return Table("relative-performance", "Performance relative to the best optimizer", columns, rows, note, longest=100)


def _picture_curves(comparison: BudgetComparison, info: StudyInfo) -> list[Figure]:
    figures = []
    workloads = list_once(curve.workload for curve in comparison.curves)
    for workload, name in zip(workloads, name_files("budget", workloads), strict=True):
        curves = tuple(curves_on(comparison, workload))
        figures.append(
            Figure(
                name,
                f"Best {info.objective} of k trials on {workload}",
                f"{_count_points(curves)}. "
                "Lines: unbiased expected best of k (left) and median best of k (right). Areas, or whiskers "
                "beside the marks of more than three optimizers: simultaneous 95 % bands for independent draws, where "
                "both ends are known. Dotted: default settings. Diverged runs "
                "count at chance level.",
                f"Expected best {info.objective} of 1 trial and of all: "
                + "; ".join(f"{curve.title} {curve.mean[0]:.3g} and {curve.mean[-1]:.3g}" for curve in curves)
                + ".",
                functools.partial(
                    draw_budget,
                    curves,
                    list_optimizers(info),
                    label_objective(info),
                    info.workload(workload).chance,
                ),
            )
        )
    return figures


def _count_points(curves: Sequence[BudgetCurve]) -> str:
    seeds = {curve.seeds for curve in curves}
    over = f", {count_of(seeds.pop(), 'seed')} each" if len(seeds) == 1 else ""
    return count_points([(curve.title, curve.points, curve.diverged) for curve in curves]) + over


def _picture_chances(comparison: BudgetComparison, info: StudyInfo) -> list[Figure]:
    workloads = list_once(group.workload for group in comparison.chances)
    return [
        Figure(
            name,
            f"Which optimizer is the best after k trials on {group.workload}",
            f"Probability of the lowest {info.objective} if each optimizer is given k of its points; ties are split. "
            f"Whiskers: percentile bootstrap over points and seeds, {group.resamples} resamples. Diverged runs "
            "count at chance level.",
            f"Probability of being the best after {group.budgets[0]} and after {group.budgets[-1]} trials: "
            + "; ".join(
                f"{title} {row[0].value:.0%} and {row[-1].value:.0%}"
                for title, row in zip(group.titles, group.chances, strict=True)
            )
            + ".",
            functools.partial(draw_chances, group, list_optimizers(info)),
        )
        for group, name in zip(comparison.chances, name_files("best-chances", workloads), strict=True)
    ]


def _picture_relative(comparison: BudgetComparison, info: StudyInfo) -> Figure:
    count = comparison.relative[0].workloads
    return Figure(
        "relative-performance",
        "Performance relative to the best optimizer",
        f"Expected best of k relative to the best optimizer, mean over {count_of(count, 'workload')}; "
        "1 is the best on all of them. Whiskers: bootstrap over points and seeds. Diverged runs count at chance level.",
        f"Relative performance after {comparison.relative[0].budgets[-1]} trials: "
        + "; ".join(f"{row.title} {row.values[-1].value:.3g}" for row in comparison.relative)
        + ".",
        functools.partial(draw_relative, comparison.relative, list_optimizers(info)),
    )
