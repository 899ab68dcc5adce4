"""How tests over seeds and over workloads are told."""

import functools

from study.report.document import Column, Figure, Section, Table
from study.report.drawing.differences import draw_critical_difference, draw_differences, draw_equivalence
from study.report.measures.comparison.rank_tests import RankTests
from study.report.measures.comparison.seed_tests import NO_DIFFERENCE, SeedComparison, SeedTests
from study.report.measures.comparison.workload_tests import WorkloadTests
from study.report.sections.comparison_tables import interval_cells, interval_columns, list_once, name_files
from study.report.sections.interval_columns import hide
from study.report.sections.names import count_of

_SEEDS = (
    (
        "Is one optimizer's selected setting better than another's, or may it be chance of the seeds? The setting is "
        "the trial with the lowest mean validation objective, the default among them. It is judged by its test error, "
        "which had no say in the selection. Where a pair has no test error for every seed, each seed is judged by the "
        "validation objective of the trial that is best on the other seeds, as the best of many is lucky with just the "
        "seeds that chose it."
    ),
    (
        "Seeds are paired if seed s means the same initial weights and data order for both; then differences are "
        "tested (Student's t), else means (Welch's t). P-values are corrected by Holm (1979) over all pairs of a "
        "workload. Wilcoxon's signed-rank test stands beside it with the smallest p-value that so many seeds allow: "
        "with fewer than six it cannot fall below 0.05, whatever the difference. No difference shown does not mean "
        "that there is none."
    ),
    (
        "The last column estimates how often the first optimizer beats the second with a new seed (Bouthillier et al. "
        "2021, arXiv 2103.03098, who call 0.75 meaningful). Its interval is Wilson's: a bootstrap shrinks to a point "
        "when all seeds agree. All of this is about seeds: the search space, the design and the workload are held."
    ),
)
_WORKLOADS = (
    (
        "Would the order hold on other workloads? Here a workload counts once, however many seeds it has (Demsar "
        "2006). With fewer than five workloads none of these tests can show much; two are the least that can be "
        "computed."
    ),
    (
        "Friedman's test and Iman and Davenport's ask whether average ranks differ at all; Nemenyi's which pairs "
        "do. Pairwise signed-rank tests with Holm's correction do not depend on the other optimizers (Benavoli et "
        "al. 2016). The Bayesian signed-rank test (Benavoli et al. 2017) says how probable it is that one is better "
        "by more than what matters in practice, or that they are equivalent."
    ),
)


def tell_tests(seeds: SeedTests, workloads: WorkloadTests) -> Section:
    """The section on tests: a part over seeds, and one over workloads."""
    parts = (_tell_seeds(seeds), _tell_workloads(workloads))
    return Section("tests", "Which differences may be chance", sections=parts)


def _tell_seeds(tests: SeedTests) -> Section:
    title = "Over seeds, on each workload"
    if not tests.comparisons:
        return Section("seed-tests", title, (), missing=tests.missing)
    workloads = list_once(compared.workload for compared in tests.comparisons)
    figures = []
    for workload, name in zip(workloads, name_files("differences", workloads), strict=True):
        chosen = tuple(compared for compared in tests.comparisons if compared.workload == workload)
        figures.append(_picture_differences(chosen, name))
    return Section("seed-tests", title, _SEEDS, (_tabulate_seeds(tests),), figures, tests.missing)


def _picture_differences(comparisons: tuple[SeedComparison, ...], name: str) -> Figure:
    runs = [count for row in comparisons for count in (row.first_runs, row.second_runs)]
    diverged = sum(row.first_diverged + row.second_diverged for row in comparisons)
    counted = count_of(max(runs), "seed") if min(runs) == max(runs) else f"{min(runs)} to {max(runs)} seeds"
    lost = f"{count_of(diverged, 'compared run')} diverged" if diverged else "No compared run diverged"
    verdicts = [row.verdict for row in comparisons if row.verdict != NO_DIFFERENCE]
    return Figure(
        name,
        f"Differences between selected settings on {comparisons[0].workload}",
        f"Mean difference over {counted}, first minus second, with Student's t interval at 95 % (not "
        "corrected for the number of pairs); a diamond has none, as there is one seed, or differences do not vary. "
        "Grey where nothing could be shown; coloured where Holm's corrected p is below 0.05 and the interval excludes "
        f"zero. {lost}, counted once for each pair.",
        f"Differences of {count_of(len(comparisons), 'pair')} of optimizers with their intervals. "
        f"{'; '.join(verdicts) or 'No difference was shown'}.",
        functools.partial(draw_differences, comparisons),
    )


def _pair_columns() -> tuple[Column, ...]:
    return (
        Column("first", "first key", "Name of the first optimizer in the spec.", "text", shown=False),
        Column("second", "second key", "Name of the second optimizer in the spec.", "text", shown=False),
        Column("first_title", "first", "What people call the first optimizer.", "text"),
        Column("second_title", "second", "What people call the second optimizer.", "text"),
    )


def _tabulate_seeds(tests: SeedTests) -> Table:
    columns = (
        Column("workload", "workload", "Name of the workload in the spec.", "text"),
        *_pair_columns(),
        Column("statistic", "judged by", "What each seed is judged by; lower is better.", "text"),
        Column("paired", "paired", "Whether seed s means the same weights and data order for both.", "truth"),
        Column("first_runs", "n", "Compared seeds of the first; if paired, the pairs.", "integer"),
        Column("second_runs", "n of second", "Compared seeds of the second.", "integer", shown=False),
        Column(
            "first_diverged", "diverged, first", "Compared runs of the first that diverged, at chance level.", "integer"
        ),
        Column("second_diverged", "diverged, second", "The same of the second.", "integer"),
        Column("first_mean", "mean of first", "Mean over seeds; a diverged run counts at chance level."),
        Column("second_mean", "mean of second", "The same of the second."),
        *interval_columns(
            "difference",
            "difference",
            "Mean of the first minus the second; negative where the first is better. Interval: 95 % by Student's t "
            "(Welch's if unpaired), not corrected for the number of pairs; empty with one seed, or where "
            "differences do not vary.",
        ),
        Column(
            "effect", "d_z", "Mean difference in standard deviations of the differences (Cohen); empty if unpaired."
        ),
        Column("test", "test", "What p is of.", "text"),
        Column("p", "p", "Two-sided p-value, not corrected; empty where no test can be made.", "p"),
        Column("p_holm", "p (Holm)", "The same, corrected over all pairs of the workload.", "p"),
        Column(
            "p_rank", "p (ranks)", "Wilcoxon's signed-rank test, or Mann and Whitney's if unpaired; not corrected.", "p"
        ),
        Column("p_rank_least", "least p (ranks)", "The smallest p-value that ranks of so many seeds can have.", "p"),
        *interval_columns(
            "better",
            "P(first better)",
            "Share of seeds in which the first is better, ties as half; Wilson's 95 % interval.",
            "percent",
        ),
        Column(
            "verdict",
            "verdict",
            "Who is better, if the corrected p is below 0.05 and the interval excludes zero; else that nothing was "
            "shown.",
            "text",
        ),
    )
    rows = tuple(
        (
            *(row.workload, row.first, row.second, row.first_title, row.second_title, row.statistic, row.paired),
            *(
                row.first_runs,
                row.second_runs,
                row.first_diverged,
                row.second_diverged,
                row.first_mean,
                row.second_mean,
            ),
            *interval_cells(row.difference),
            *(row.effect, row.test, row.p, row.p_holm, row.p_rank, row.p_rank_least),
            *interval_cells(row.better),
            row.verdict,
        )
        for row in tests.comparisons
    )
    note = "Holm's correction is over the pairs of one workload. A diverged run counts at chance level."
    columns = hide(columns, "paired", "first_diverged", "second_diverged", "effect", "test", "p", "p_rank_least")
    return Table("seed-tests", "Pairs of optimizers on each workload, over seeds", columns, rows, note)


def _tell_workloads(tests: WorkloadTests) -> Section:
    title = "Over workloads"
    if not tests.comparisons and tests.ranks is None:
        return Section("workload-tests", title, (), missing=tests.missing)
    tables, figures = [], []
    if tests.ranks is not None:
        tables += [_tabulate_ranks(tests.ranks), _tabulate_omnibus(tests.ranks), _tabulate_nemenyi(tests.ranks)]
        figures.append(_picture_ranks(tests.ranks))
    if tests.comparisons:
        tables.append(_tabulate_workloads(tests))
        figures.append(_picture_equivalence(tests))
    most = max([row.workloads for row in tests.comparisons] + [len(tests.ranks.workloads) if tests.ranks else 0])
    paragraphs = (*_WORKLOADS, f"Compared by {tests.statistic} of the selected setting, on up to {most} workloads.")
    return Section("workload-tests", title, paragraphs, tables, figures, tests.missing)


def _picture_ranks(ranks: RankTests) -> Figure:
    return Figure(
        "critical-difference",
        "Critical-difference diagram",
        f"Average ranks by {ranks.statistic} over {len(ranks.workloads)} workloads ({', '.join(ranks.workloads)}); 1 "
        "is the best. A bar joins optimizers that Nemenyi's test at 0.05 does not tell apart. Diverged runs count "
        "at chance level.",
        f"Average ranks: {', '.join(f'{row.title} {row.rank.value:.2f}' for row in ranks.ranks)}; the critical "
        f"difference is {ranks.critical_difference:.2f}.",
        functools.partial(draw_critical_difference, ranks),
    )


def _picture_equivalence(tests: WorkloadTests) -> Figure:
    return Figure(
        "equivalence",
        "Bayesian signed-rank test over workloads",
        f"Posterior probability that the first or the second optimizer is better by more than {tests.rope:g} in "
        f"{tests.statistic}, or that they are equivalent. Dotted: 0.05 and 0.95.",
        "Probability that the first is better, that they are equivalent, that the second is better: "
        + "; ".join(
            f"{row.first_title} and {row.second_title} {row.first_better:.0%}, {row.equivalent:.0%}, "
            f"{row.second_better:.0%}"
            for row in tests.comparisons
        )
        + ".",
        functools.partial(draw_equivalence, tests.comparisons, tests.rope),
    )


def _tabulate_ranks(ranks: RankTests) -> Table:
    columns = (
        Column("optimizer", "optimizer key", "Name of the optimizer in the spec.", "text", shown=False),
        Column("title", "optimizer", "What people call the optimizer.", "text"),
        *interval_columns(
            "rank",
            "average rank",
            f"Mean over workloads of its rank by {ranks.statistic}; 1 is the best, ties share their mean rank, "
            "diverged runs count at chance level. Interval: percentile bootstrap over workloads; a point if all "
            "rank alike.",
        ),
        Column("wins", "best on", "Workloads on which no optimizer is better.", "integer"),
        Column("workloads", "workloads", "Workloads on which every optimizer has a number.", "integer"),
    )
    rows = tuple(
        (row.optimizer, row.title, *interval_cells(row.rank), row.wins, len(ranks.workloads)) for row in ranks.ranks
    )
    return Table("average-ranks", "Average ranks over workloads", columns, rows)


def _tabulate_omnibus(ranks: RankTests) -> Table:
    columns = (
        Column("test", "test", "Name of the test.", "text"),
        Column("value", "statistic", "Its statistic; empty if it is undefined: under three optimizers, or all tied."),
        Column("p", "p", "Its p-value. With few workloads it is approximate.", "p"),
    )
    rows = (
        ("Friedman's chi-square", ranks.friedman, ranks.friedman_p),
        ("Iman and Davenport's F (empty if all workloads rank alike)", ranks.iman_davenport, ranks.iman_davenport_p),
        ("Nemenyi's critical difference of average ranks at 0.05", ranks.critical_difference, None),
    )
    return Table("rank-tests", "Do average ranks differ at all?", columns, rows)


def _tabulate_nemenyi(ranks: RankTests) -> Table:
    columns = (
        Column("first", "first key", "Name of the first optimizer in the spec.", "text", shown=False),
        Column("second", "second key", "Name of the second optimizer in the spec.", "text", shown=False),
        Column("first_title", "first", "What people call the first optimizer.", "text"),
        Column("second_title", "second", "What people call the second optimizer.", "text"),
        Column("p", "p (Nemenyi)", "P-value of the difference of average ranks, corrected for all pairs.", "p"),
    )
    titles = {row.optimizer: row.title for row in ranks.ranks}
    rows = tuple((first, second, titles[first], titles[second], p) for first, second, p in ranks.nemenyi)
    return Table("nemenyi", "Nemenyi's test of average ranks", columns, rows)


def _tabulate_workloads(tests: WorkloadTests) -> Table:
    region = f"more than {tests.rope:g} in {tests.statistic}"
    columns = (
        *_pair_columns(),
        Column("workloads", "workloads", "Workloads on which both have a number.", "integer"),
        Column("wins", "wins", "Workloads on which the first is better.", "integer"),
        Column("ties", "ties", "Workloads on which they are equal.", "integer"),
        Column("losses", "losses", "Workloads on which the second is better.", "integer"),
        Column(
            "difference",
            "mean difference",
            "Mean over workloads of the first minus the second; diverged runs count at "
            "chance level. It is dominated by the workload with the largest differences.",
        ),
        Column("p", "p", "Wilcoxon's signed-rank test over workloads, two-sided, not corrected.", "p"),
        Column("p_holm", "p (Holm)", "The same, corrected over all pairs.", "p"),
        Column("p_least", "least p", "The smallest p-value, before correction, that so many workloads can have.", "p"),
        Column(
            "first_better", "P(first better)", f"Posterior probability that the first is better by {region}.", "percent"
        ),
        Column(
            "equivalent", "P(equivalent)", "Posterior probability that they differ by no more than that.", "percent"
        ),
        Column(
            "second_better",
            "P(second better)",
            f"Posterior probability that the second is better by {region}.",
            "percent",
        ),
    )
    rows = tuple(
        (
            *(row.first, row.second, row.first_title, row.second_title, row.workloads, row.wins, row.ties, row.losses),
            *(row.difference, row.p, row.p_holm, row.p_least, row.first_better, row.equivalent, row.second_better),
        )
        for row in tests.comparisons
    )
    note = "The Bayesian test gives a prior observation of no difference the weight of half a workload."
    columns = hide(columns, "p", "p_least")
    return Table("workload-tests", "Pairs of optimizers over workloads", columns, rows, note)
