"""How profiles of the time to a target are told."""

import functools

from study.report.document import Column, Figure, Section, Table
from study.report.drawing.comparison import draw_profiles
from study.report.measures.comparison.profiles import R_MAX, ProfileComparison
from study.report.observations import StudyInfo
from study.report.sections.comparison_tables import interval_cells, interval_columns, list_optimizers, name_columns


def tell_profiles(comparison: ProfileComparison, info: StudyInfo) -> Section:
    """The section on performance profiles."""
    title = "Time to a target over workloads"
    if not comparison.profiles:
        return Section("profiles", title, (), missing=comparison.missing)
    paragraphs = [
        (
            "How fast does each optimizer reach the target? A profile (Dolan and Moré 2002) is the share of "
            "workloads on which an optimizer needs at most tau times the steps of the fastest one. The AlgoPerf score "
            f"(Dahl et al. 2023, arXiv 2306.07179) is its mean over tau from 1 to {R_MAX:g}: 1 is the fastest "
            f"everywhere, 0 is never within {R_MAX:g} times the fastest."
        ),
        (
            "Steps are the fewest of any trial, the median over seeds. A run that does not reach the target, or "
            "diverges, even afterwards, needs infinitely many. More trials have more chances to be fast: compare the "
            "columns of trials. Profiles depend on which optimizers are compared, as all ratios are to the fastest of "
            "them."
        ),
    ]
    count = len(comparison.workloads)
    if count < 5:
        paragraphs.append(
            f"A profile over {count} workload{'s' if count > 1 else ''} says little of any other workload."
        )
    figure = Figure(
        "profiles",
        "Performance profiles",
        f"Share of {count} workload{'s' if count > 1 else ''} ({', '.join(comparison.workloads)}) on which an "
        "optimizer needs at most tau times the fewest steps to the target. Runs that diverged or missed the target "
        "count as infinitely slow.",
        f"AlgoPerf scores: {', '.join(f'{row.title} {row.score.value:.3g}' for row in comparison.profiles)}.",
        functools.partial(draw_profiles, comparison.profiles, count, list_optimizers(info)),
    )
    tables = (_tabulate_profiles(comparison), _tabulate_times(comparison), _tabulate_steps(comparison))
    return Section("profiles", title, paragraphs, tables, (figure,), comparison.missing)


def _tabulate_profiles(comparison: ProfileComparison) -> Table:
    columns = (
        Column("optimizer", "optimizer key", "Name of the optimizer in the spec.", "text", shown=False),
        Column("title", "optimizer", "What people call the optimizer.", "text"),
        Column("workloads", "workloads", "Workloads that the profile is over.", "integer"),
        *interval_columns(
            "score",
            "AlgoPerf score",
            f"Mean of the performance profile over tau from 1 to {R_MAX:g}, exactly; in [0, 1], higher is better. "
            "Missed targets and diverged runs count as infinite times. Interval: percentile bootstrap over seeds, "
            "with the workloads held; empty with one seed.",
        ),
        Column(
            "fastest", "fastest on", "Workloads on which no optimizer reaches the target in fewer steps.", "integer"
        ),
        Column("reached", "reached on", "Workloads on which the median seed reached the target.", "integer"),
    )
    count = len(comparison.workloads)
    rows = tuple(
        (row.optimizer, row.title, count, *interval_cells(row.score), row.fastest, row.reached)
        for row in comparison.profiles
    )
    note = "Intervals say how far seeds matter, not what other workloads would show."
    return Table("profile-scores", "AlgoPerf score of each optimizer", columns, rows, note)


def _tabulate_times(comparison: ProfileComparison) -> Table:
    columns = (
        *name_columns(),
        Column("trials", "trials", "Finished trials, the default setting among them.", "integer"),
        Column("seeds", "seeds", "Seeds that the median is over.", "integer"),
        Column("seeds_reached", "seeds that reached it", "Seeds with a trial that reached the target.", "integer"),
        Column("target", "target", "Validation error to be reached.", unit="share of examples"),
        Column(
            "steps",
            "steps",
            "Fewest steps to the target of any trial, median over seeds; diverged runs count as infinite. Empty if the "
            "median is infinite: the target was missed.",
            unit="steps",
        ),
        Column("ratio", "ratio", "Steps divided by those of the fastest optimizer; empty if the target was missed."),
    )
    rows = tuple(
        (
            time.workload,
            time.optimizer,
            time.title,
            time.trials,
            time.seeds,
            time.reached,
            time.target,
            time.steps,
            time.ratio,
        )
        for time in comparison.times
    )
    return Table("target-times", "Steps to the target", columns, rows, "Steps are known to the end of an epoch.")


def _tabulate_steps(comparison: ProfileComparison) -> Table:
    columns = (
        Column("optimizer", "optimizer key", "Name of the optimizer in the spec.", "text", shown=False),
        Column("title", "optimizer", "What people call the optimizer.", "text"),
        Column("tau", "tau", "Ratio to the fastest optimizer at which the profile steps."),
        Column(
            "share",
            "share of workloads",
            "Share of workloads whose ratio is at most tau; missed targets and diverged runs never are.",
            "percent",
        ),
    )
    rows = tuple(
        (row.optimizer, row.title, tau, share)
        for row in comparison.profiles
        for tau, share in zip(row.taus, row.shares, strict=True)
    )
    return Table("profiles", "Performance profiles, where they step", columns, rows, longest=24)
