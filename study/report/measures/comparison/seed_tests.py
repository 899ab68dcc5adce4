"""Which of two optimizers' selected settings is better on a workload, and may it be chance of the seeds?"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from study.report.measures.comparison.paired_tests import (
    ALPHA,
    correct_holm,
    least_rank_p,
    rank_p,
    subtract,
)
from study.report.measures.comparison.seed_scores import TEST_ERROR, SeedScores, score_left_out, score_test
from study.report.measures.intervals import CONFIDENCE, Estimate, score_interval
from study.report.measures.missing import Missing
from study.report.observations import Cell, Floats, Observations, StudyInfo

NO_DIFFERENCE = "no difference could be shown"


@dataclass(frozen=True, slots=True)
class SeedComparison:
    """Two optimizers on one workload, over seeds.

    Attributes:
        workload: Name of the workload.
        first: Name of the first optimizer, A.
        second: Name of the second optimizer, B.
        first_title: What people call A.
        second_title: What people call B.
        statistic: What each seed is judged by: ``test error``, or the objective with the setting chosen on other seeds.
        paired: Whether seeds are the same for A and B; else n is that of each.
        first_runs: Seeds of A that are compared; if paired, the pairs.
        second_runs: Seeds of B.
        first_diverged: Compared runs of A that diverged, and count at chance level.
        second_diverged: Those of B.
        first_mean: Mean of A.
        second_mean: Mean of B.
        difference: Mean of A minus B, negative where A is better; Student's t interval, not corrected for the number of
            pairs; none if differences do not vary.
        effect: Mean difference in standard deviations of the differences (Cohen's d_z); None if unpaired or constant.
        test: What the p-value is of.
        p: Two-sided p-value; None if no test can be made.
        p_holm: The same, corrected by Holm over all pairs of the workload.
        p_rank: Of Wilcoxon's signed-rank test, or of Mann and Whitney's if unpaired; not corrected.
        p_rank_least: The smallest that it can be with so many seeds.
        better: Share of seeds in which A is better, ties counting as half: an estimate of P(A better than B), with
            Wilson's interval.
        verdict: ``A better`` and ``B better`` with their names, or that no difference could be shown.
    """

    workload: str
    first: str
    second: str
    first_title: str
    second_title: str
    statistic: str
    paired: bool
    first_runs: int
    second_runs: int
    first_diverged: int
    second_diverged: int
    first_mean: float
    second_mean: float
    difference: Estimate
    effect: float | None
    test: str
    p: float | None
    p_holm: float | None
    p_rank: float | None
    p_rank_least: float | None
    better: Estimate
    verdict: str


@dataclass(frozen=True, slots=True)
class SeedTests:
    """All pairs of optimizers on all workloads.

    Attributes:
        comparisons: By workload, then first, then second optimizer.
        missing: What could not be computed.
    """

    comparisons: tuple[SeedComparison, ...]
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class _Tested:
    """What a test says of the difference A minus B."""

    difference: Estimate
    test: str
    p: float | None
    p_rank: float | None
    p_rank_least: float | None
    better: Estimate
    effect: float | None = None


def measure_seed_tests(observations: Observations) -> SeedTests:
    """Compare the selected settings of every pair of optimizers on every workload, over seeds."""
    comparisons: list[SeedComparison] = []
    missing: list[Missing] = []
    for workload in observations.workloads:
        cells = observations.on(workload)
        if len(cells) < 2:
            reason = "Fewer than two optimizers have a finished trial there."
            missing.append(Missing(f"Tests over seeds on {workload}", reason))
            continue
        family: list[SeedComparison] = []
        for first, second in itertools.combinations(cells, 2):
            compared = _compare(first, second, observations.info)
            if isinstance(compared, Missing):
                missing.append(compared)
            else:
                family.append(compared)
        comparisons += _correct(family)
    return SeedTests(tuple(comparisons), tuple(missing))


def _correct(family: Sequence[SeedComparison]) -> list[SeedComparison]:
    """One workload's comparisons with Holm's correction, and what they come to."""
    corrected = correct_holm([compared.p for compared in family])
    return [
        replace(compared, p_holm=p_holm, verdict=_judge(compared, p_holm))
        for compared, p_holm in zip(family, corrected, strict=True)
    ]


def _judge(compared: SeedComparison, p_holm: float | None) -> str:
    """Who is better, if both the corrected p-value and the interval say so."""
    difference = compared.difference
    if p_holm is None or p_holm >= ALPHA or difference.value == 0:
        return NO_DIFFERENCE
    if difference.low is not None and difference.high is not None and difference.low <= 0 <= difference.high:
        return NO_DIFFERENCE
    return f"{compared.first_title if difference.value < 0 else compared.second_title} better"


def _compare(first: Cell, second: Cell, info: StudyInfo) -> SeedComparison | Missing:
    statistic = TEST_ERROR
    scores = score_test(first, info), score_test(second, info)
    if scores[0] is None or scores[1] is None:
        statistic = f"{info.objective}, setting chosen on the other seeds"
        scores = score_left_out(first), score_left_out(second)
    if scores[0] is None or scores[1] is None:
        name = f"Test over seeds of {first.title} and {second.title} on {first.workload}"
        return Missing(name, "There is no test error, and one seed leaves no others to choose a setting on: run more.")
    first_S, second_S = _align(scores[0], scores[1], paired=info.paired_seeds)
    if len(first_S) == 0:
        name = f"Test over seeds of {first.title} and {second.title} on {first.workload}"
        return Missing(name, "They have no seed in common.")
    tested = _test_paired(first_S, second_S) if info.paired_seeds else _test_unpaired(first_S, second_S)
    return SeedComparison(
        workload=first.workload,
        first=first.optimizer,
        second=second.optimizer,
        first_title=first.title,
        second_title=second.title,
        statistic=statistic,
        paired=info.paired_seeds,
        first_runs=len(first_S),
        second_runs=len(second_S),
        first_diverged=scores[0].diverged,
        second_diverged=scores[1].diverged,
        first_mean=math.fsum(first_S.tolist()) / len(first_S),
        second_mean=math.fsum(second_S.tolist()) / len(second_S),
        difference=tested.difference,
        effect=tested.effect,
        test=tested.test,
        p=tested.p,
        p_holm=None,
        p_rank=tested.p_rank,
        p_rank_least=tested.p_rank_least,
        better=tested.better,
        verdict=NO_DIFFERENCE,
    )


def _align(first: SeedScores, second: SeedScores, *, paired: bool) -> tuple[Floats, Floats]:
    """The numbers that are compared: those of common seeds if seeds are paired, else all."""
    if not paired:
        return first.score_S[np.isfinite(first.score_S)], second.score_S[np.isfinite(second.score_S)]
    seeds = min(len(first.score_S), len(second.score_S))
    common = np.isfinite(first.score_S[:seeds]) & np.isfinite(second.score_S[:seeds])
    return first.score_S[:seeds][common], second.score_S[:seeds][common]


def _test_paired(first_S: Floats, second_S: Floats) -> _Tested:
    """Student's t test of the differences; where they do not vary, Wilcoxon's signed-rank test in its place."""
    difference_S = subtract(first_S, second_S)
    pairs, mean = len(difference_S), float(difference_S.mean())
    wins = float((difference_S < 0).sum() + (difference_S == 0).sum() / 2)
    better = Estimate(wins / pairs, *score_interval(wins, pairs))
    if pairs < 2:
        return _Tested(Estimate(mean), "none: one seed", None, None, None, better)
    ranks, least = rank_p(difference_S), least_rank_p(pairs)
    if np.ptp(difference_S) == 0:
        test = "Wilcoxon signed-rank, as the differences do not vary"
        return _Tested(Estimate(float(difference_S[0])), test, ranks, ranks, least, better)
    result = stats.ttest_1samp(difference_S, 0.0)
    ends = result.confidence_interval(CONFIDENCE)
    effect = mean / float(difference_S.std(ddof=1))
    estimate = Estimate(mean, float(ends.low), float(ends.high))
    return _Tested(estimate, "paired t", float(result.pvalue), ranks, least, better, effect)


def _test_unpaired(first_S: Floats, second_S: Floats) -> _Tested:
    """Welch's t test, where seeds mean different things for each optimizer."""
    mean = float(first_S.mean() - second_S.mean())
    difference_FS = subtract(first_S[:, None], second_S[None, :])
    share = float((difference_FS < 0).mean() + (difference_FS == 0).mean() / 2)
    fewest = min(difference_FS.shape)
    better = Estimate(share, *score_interval(share * fewest, fewest))
    if fewest < 2:
        return _Tested(Estimate(mean), "none: one seed", None, None, None, better)
    exact = bool((difference_FS != 0).all()) and max(difference_FS.shape) <= 50
    varies = np.ptp(difference_FS) > 0
    # Where all are equal, no rank tells them apart.
    ranks = (
        float(stats.mannwhitneyu(first_S, second_S, method="exact" if exact else "asymptotic").pvalue)
        if varies or mean != 0
        else 1.0
    )
    least = min(1.0, 2.0 / math.comb(len(first_S) + len(second_S), len(first_S)))
    if not varies:
        return _Tested(Estimate(mean), "Mann-Whitney, as the runs do not vary", ranks, ranks, least, better)
    estimate, p = _welch(first_S, second_S)
    return _Tested(estimate, "Welch's t", p, ranks, least, better)


def _welch(first_S: Floats, second_S: Floats) -> tuple[Estimate, float]:
    """Difference of means with its interval, and its p-value, without equal variances (Welch 1947)."""
    errors = [float(values.var(ddof=1)) / len(values) for values in (first_S, second_S)]
    freedom = sum(errors) ** 2 / sum(
        error**2 / (len(values) - 1) for error, values in zip(errors, (first_S, second_S), strict=True)
    )
    mean, deviation = float(first_S.mean() - second_S.mean()), math.sqrt(sum(errors))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * deviation
    return Estimate(mean, mean - reach, mean + reach), float(2 * stats.t.sf(abs(mean) / deviation, freedom))
