"""Sections, robustness per optimizer."""

from functools import partial

from study.axis import format_value
from study.report.document import CellValue, Column, Figure, Section, Table
from study.report.drawing.robustness import draw_divergence, draw_volumes
from study.report.measures.robustness.local import LocalTable
from study.report.measures.robustness.robustness import OptimizerRobustness, RobustnessTable
from study.report.measures.robustness.seeds import TrialResult
from study.report.observations import StudyInfo
from study.report.sections.interval_columns import KEYS, cells_of, figure_name, hide, with_interval
from study.report.sections.names import count_of, count_points

_PAIRED = "Student's t over paired seeds, or Welch's where seeds are not paired"
_VOLUME = (
    "Robust volume, a measure of our own, is the share of the design's points whose mean is at most L* + tolerance * "
    "(L0 - L*): the chance that a setting drawn from the declared ranges and scales is good. It depends on these "
    "ranges: optimizers compare only as far as their ranges are equally fair. L* is a minimum over noisy means, so "
    "that narrow tolerances are strict."
)
_BEST = (
    "The best of many trials looks better than it is, since the luckiest seeds were chosen. The held-out best is "
    "chosen on all seeds but one and read at that one, in turn. The default regret is what tuning brings over the "
    "default setting: the tunability of Probst et al. 2019 (arXiv 1802.09596), with the default setting of this study "
    "as reference, and the best trial, not a surrogate's optimum."
)
_LOCAL = (
    "The loss round the best says what a small error costs: the mean over the worst fifth of a box round the best "
    "trial (conditional value at risk), as a surrogate predicts it, beside the trials that really lie there."
)
_DIVERGED = "A diverged run counts as chance level, and at no other place is it left out."
#: Columns of which people read elsewhere how many runs there are.
_IN_THE_TABLE_OF_ENDINGS = {"trials_planned", "trials_failed", "trials_pruned", "trials_pending", "seeds"}


def tell_robustness(robustness: RobustnessTable, local: LocalTable, info: StudyInfo) -> Section:
    """How good, how wide and how safe each optimizer is.

    Args:
        robustness: Best, default, volumes and divergence.
        local: The loss round the best.
        info: What is known of the study.
    """
    tables = [_results(robustness, info), _volumes(robustness), _divergence(robustness), _local(local)]
    return Section(
        id="robustness",
        title="Robustness per optimizer",
        paragraphs=_paragraphs(robustness, local, info),
        tables=[table for table in tables if table.rows],
        figures=_figures(robustness, info),
        missing=(*robustness.missing, *local.missing),
    )


def _paragraphs(robustness: RobustnessTable, local: LocalTable, info: StudyInfo) -> list[str]:
    scales = [
        f"{y.workload}: L* = {y.best:.4g} (trial {y.best_trial} of {y.best_optimizer}), L0 = {y.reference:.4g} "
        f"({'chance level' if y.is_chance else 'the median over all finished trials, as chance level is unknown'})"
        for y in robustness.yardsticks
    ]
    paragraphs = [
        f"Losses are {info.objective}, lower is better, as means over {count_of(info.seeds, 'seed')} per trial. "
        "L* is the lowest mean of any optimizer on a workload, L0 what a run reaches that learned nothing."
        + "".join(f" {scale}." for scale in scales),
        *([_VOLUME] if any(row.volumes for row in robustness.rows) else []),
        _BEST,
        *([_LOCAL] if any(row.r2 is not None for row in local.rows) else []),
    ]
    if info.design_kind == "grid":
        paragraphs.append(
            "The points are a grid: intervals of shares treat them as independent draws, which they are not."
        )
    return paragraphs


def _result_columns(name: str, heading: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_mean", heading, f"Mean objective over seeds of the {name} trial. {_DIVERGED}"),
        Column(
            f"{name}_sd", f"{heading}, sd", "Its sample standard deviation over seeds (n - 1).", shown=name == "best"
        ),
        Column(f"{name}_standard_error", f"{heading}, s. e.", "Its standard error: sd / sqrt(seeds).", shown=False),
        Column(
            f"{name}_diverged",
            f"{heading}, diverged",
            f"Runs of the {name} trial that diverged.",
            "integer",
            shown=False,
        ),
        Column(
            f"{name}_test_error_mean",
            f"{heading}, test error",
            f"Mean test error of the {name} trial; empty if a run diverged or has none. Nothing was chosen by it.",
        ),
        Column(f"{name}_test_error_sd", f"{heading}, test error, sd", "Its sample standard deviation.", shown=False),
    )


def _result_cells(result: TrialResult | None) -> tuple[CellValue, ...]:
    if result is None:
        return (None,) * 6
    return (result.mean, result.sd, result.standard_error, result.diverged, result.test_mean, result.test_sd)


def _results(robustness: RobustnessTable, info: StudyInfo) -> Table:
    unit = info.unit
    columns = (
        *KEYS,
        Column(
            "best_trial",
            "best trial",
            "Number of the finished trial with the lowest mean; 0 is the default.",
            "integer",
        ),
        *_result_columns("best", "best"),
        *with_interval(
            "held_out",
            "held-out best",
            "Objective at each seed of the trial that is the best over the other seeds, as a mean over "
            "seeds; interval: Student's t over seeds, approximate as the choices share seeds. Empty with "
            "one seed. " + _DIVERGED,
            unit=unit,
        ),
        *_result_columns("default", "default"),
        *with_interval(
            "default_regret",
            "default regret",
            f"Mean of the default setting less that of the best trial; interval: {_PAIRED}. None where the default is "
            f"the best. {_DIVERGED}",
            unit=unit,
        ),
        *with_interval(
            "default_regret_relative",
            "default regret, of L0 - L*",
            "default_regret / (L0 - L*), L* the best of any optimizer on the workload: comparable between workloads.",
            "percent",
        ),
        *with_interval(
            "default_regret_held_out",
            "default regret, held out",
            "Mean of the default less the held-out best, seed by seed: without the optimism of the choice; can be "
            "below 0. Student's t over seeds.",
            unit=unit,
        ),
        *with_interval(
            "median",
            "median",
            "Median of the means of the design's points, the default not among them; percentile bootstrap over points. "
            + _DIVERGED,
            unit=unit,
        ),
        Column("best_hyperparameters", "best hyperparameters", "What the best trial has on the axes.", "text"),
    )
    rows = tuple(_result_row(row) for row in robustness.rows)
    columns = hide(columns, "default_test_error_mean", "default_regret")
    return Table("robustness", "Best, default and typical setting of each optimizer", columns, rows, note=_DIVERGED)


def _keys(row: OptimizerRobustness) -> tuple[CellValue, ...]:
    return (row.workload, row.optimizer, row.title)


def _result_row(row: OptimizerRobustness) -> tuple[CellValue, ...]:
    values = ", ".join(f"{name} = {format_value(value)}" for name, value in row.best.hyperparameters)
    return (
        *_keys(row),
        row.best.number,
        *_result_cells(row.best),
        *cells_of(row.held_out),
        *_result_cells(row.default),
        *cells_of(row.default_regret),
        *cells_of(row.default_regret_relative),
        *cells_of(row.default_regret_held_out),
        *cells_of(row.median),
        values,
    )


def _volumes(robustness: RobustnessTable) -> Table:
    columns = (
        *KEYS,
        Column(
            "tolerance",
            "tolerance",
            "Share of the way from L* to L0 up to which a point is good, in (0, 1).",
            "percent",
        ),
        Column("headline", "headline", "Whether it is the tolerance that the report leads with.", "truth", shown=False),
        *with_interval(
            "volume",
            "robust volume",
            "Share of the design's points whose mean is at most L* + tolerance * (L0 - L*), L* of any optimizer on the "
            "workload; Wilson's interval. A point with a diverged run has that run at chance level.",
            "percent",
        ),
        *with_interval(
            "volume_own",
            "robust volume, own best",
            "The same with the optimizer's own best as L*: how wide its optimum is, however good that is.",
            "percent",
        ),
        Column("points", "points", "Finished points of the design, of which these are shares.", "integer"),
    )
    rows = tuple(
        (
            *_keys(row),
            volume.tolerance,
            volume.tolerance == robustness.tolerance,
            *cells_of(volume.study),
            *cells_of(volume.own),
            volume.study.total,
        )
        for row in robustness.rows
        for volume in row.volumes
    )
    note = "Intervals are Wilson's (1927), as if points were independent draws: a Sobol' design is more even."
    return Table("robust-volumes", "Robust volume by tolerance", columns, rows, note=note)


def _divergence(robustness: RobustnessTable) -> Table:
    counts = {
        "trials_planned": ("trials planned", "Trials of the plan, the default setting among them."),
        "trials_finished": ("finished", "Trials with an objective for each of their runs."),
        "trials_failed": (
            "failed",
            "Trials without a result for good: an error, no memory, a lost worker, no progress.",
        ),
        "trials_pruned": ("pruned", "Trials that were stopped early; they count in no measure."),
        "trials_pending": ("pending", "Trials that have not ended, or were not asked yet."),
        "seeds": ("seeds", "Runs per trial of the plan."),
        "runs": ("runs", "Runs of finished trials."),
        "runs_diverged": ("runs diverged", "Runs of finished trials whose loss became non-finite or too large."),
        "runs_at_chance": ("runs at chance", "Runs of finished trials that learned nothing, diverged or not."),
        "trials_diverged": ("trials diverged", "Finished trials with at least one diverged run."),
    }
    columns = (
        *KEYS,
        *(
            Column(name, heading, meaning, "integer", shown=name not in _IN_THE_TABLE_OF_ENDINGS)
            for name, (heading, meaning) in counts.items()
        ),
        *with_interval(
            "divergence_points",
            "points diverged",
            "Share of the design's finished points with at least one diverged run, without the default; Wilson's "
            "interval.",
            "percent",
        ),
        *with_interval(
            "divergence_runs",
            "runs diverged",
            "Share of the runs of these points that diverged; Wilson's interval, in which the runs of a point count as "
            "fewer draws, as they are alike (Korn and Graubard 1998): between the number of points and that of runs.",
            "percent",
        ),
    )
    rows = tuple(
        (
            *_keys(row),
            *(getattr(row, name) for name in counts),
            *cells_of(row.divergence_points),
            *cells_of(row.divergence_runs),
        )
        for row in robustness.rows
    )
    note = "Rates are of the declared ranges: a wider range of learning rates has more divergence."
    return Table("divergence", "Trials, runs and divergence", columns, rows, note=note)


def _local(local: LocalTable) -> Table:
    columns = (
        *KEYS,
        Column(
            "trial",
            "best trial",
            "Number of the best trial that lies in the search space; the box is round it.",
            "integer",
            shown=False,
        ),
        Column("best", "its mean", "Its mean objective over seeds."),
        Column(
            "factor",
            "factor",
            "Half width of the box: from value / factor to value * factor on logarithmic axes, of 1 - value on those "
            "of scale log1m. Choices stay.",
        ),
        Column(
            "share",
            "share of linear ranges",
            "Half width of the box on linear axes, as a share of the range.",
            "percent",
            shown=False,
        ),
        Column(
            "inside",
            "in the space",
            "Share of the box that lies in the search space, to which it is cut.",
            "percent",
            shown=False,
        ),
        *with_interval(
            "cvar",
            f"CVaR, worst {local.alpha:.0%}",
            f"Mean of the surrogate over the worst {local.alpha:.0%} of the box; jackknife over the folds of the "
            "surrogate. Diverged runs entered it at chance level.",
        ),
        *with_interval("box_mean", "mean", "Mean of the surrogate over the box; jackknife over folds."),
        Column("centre", "at the best", "What the surrogate says at the best trial.", shown=False),
        *with_interval(
            "rise",
            "rise to CVaR, of L0 - L*",
            "(cvar - centre) / (L0 - L*): what bad cases of a small error cost; jackknife over folds.",
            "percent",
        ),
        Column("points", "points inside", "Points of the design in the box, without the best trial.", "integer"),
        Column("points_diverged", "of them diverged", "How many of these have a diverged run.", "integer", shown=False),
        Column("worst", "worst of them", "Highest mean objective of these points; empty without points."),
        Column("r2", "R2", "Cross-validated R2 of the surrogate: near 0 or below, its columns say nothing."),
    )
    rows = tuple(
        (
            *(row.workload, row.optimizer, row.title, row.trial, row.best),
            *(box.factor, box.share, box.inside),
            *cells_of(box.cvar),
            *cells_of(box.mean),
            box.centre,
            *cells_of(box.rise),
            *(box.points, box.points_diverged, box.worst, row.r2),
        )
        for row in local.rows
        for box in row.boxes
    )
    note = "Surrogate values are a model's, not trials'; conditions and constraints between axes are not looked at."
    return Table("loss-round-the-best", "The loss in boxes round the best trial", columns, rows, note=note)


def _figures(robustness: RobustnessTable, info: StudyInfo) -> list[Figure]:
    order = tuple(dict.fromkeys(cell.optimizer for cell in info.cells))
    figures = []
    for yardstick in robustness.yardsticks:
        workload, rows = yardstick.workload, robustness.on(yardstick.workload)
        wide = tuple(row for row in rows if row.volumes)
        if wide:
            figures.append(_volume_figure(wide, robustness.tolerance, order, info, workload))
        sampled = tuple(row for row in rows if row.divergence_points is not None)
        if any(row.runs_diverged for row in sampled):
            figures.append(_divergence_figure(sampled, order, info, workload))
    return figures


def _n(rows: tuple[OptimizerRobustness, ...]) -> str:
    """Points, and those with divergence, of all rows."""
    return count_points([(row.title, p.total, p.count) for row in rows if (p := row.divergence_points) is not None])


def _volume_figure(
    rows: tuple[OptimizerRobustness, ...], tolerance: float, order: tuple[str, ...], info: StudyInfo, workload: str
) -> Figure:
    shares = [f"{row.title} {volume.study.value:.0%}" for row in rows if (volume := row.volume(tolerance)) is not None]
    return Figure(
        name=figure_name("robust-volumes", info, workload),
        title=f"Robust volume by tolerance on {workload}",
        caption=f"Share of the design's points whose mean over {count_of(info.seeds, 'seed')} is good; whiskers: "
        f"Wilson's 95 % intervals. Marks of one tolerance stand a little aside. Grey "
        f"line: the headline tolerance {tolerance:.3g}. Diverged runs are at chance level. {_n(rows)}.",
        alt=f"Shares of good points over the tolerance; at {tolerance:.3g}: {', '.join(shares)}.",
        draw=partial(draw_volumes, rows, tolerance, order),
    )


def _divergence_figure(
    rows: tuple[OptimizerRobustness, ...], order: tuple[str, ...], info: StudyInfo, workload: str
) -> Figure:
    worst = max(rows, key=lambda row: row.divergence_points.value if row.divergence_points else 0.0)
    rate = 0.0 if worst.divergence_points is None else worst.divergence_points.value
    return Figure(
        name=figure_name("divergence", info, workload),
        title=f"Divergence on {workload}",
        caption=f"Filled: points of the design with at least one diverged run, Wilson's 95 % interval. Hollow: runs "
        f"that diverged, Wilson's interval for runs that are alike within points. "
        f"{count_of(info.seeds, 'seed')} per point. {_n(rows)}.",
        alt=f"Rates of divergence of {count_of(len(rows), 'optimizer')}; the highest is {worst.title} with "
        f"{rate:.0%} of points.",
        draw=partial(draw_divergence, rows, order),
    )
