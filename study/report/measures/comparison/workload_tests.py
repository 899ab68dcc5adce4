"""Which of two optimizers is better over workloads: ranks, signed ranks, a posterior with a region of equivalence."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import baycomp  # type: ignore[import-untyped]
import numpy as np

from study.report.measures.comparison.held_out import mean_test_errors
from study.report.measures.comparison.paired_tests import correct_holm, least_rank_p, rank_p, subtract
from study.report.measures.comparison.rank_tests import RankTests, rank_optimizers
from study.report.measures.comparison.seed_scores import TEST_ERROR
from study.report.measures.missing import Missing
from study.report.observations import Floats, Observations

#: Half width of the region of practical equivalence, in units of what is compared: one point of an error in percent.
ROPE = 0.01
#: Draws from a posterior: its probabilities are known to about half a percent.
DRAWS = 5000
_POSTERIOR = 45


@dataclass(frozen=True, slots=True)
class WorkloadComparison:
    """Two optimizers over the workloads on which both have a number.

    Attributes:
        first: Name of the first optimizer, A.
        second: Name of the second optimizer, B.
        first_title: What people call A.
        second_title: What people call B.
        workloads: N.
        wins: Workloads on which A is better.
        ties: Workloads on which they are equal.
        losses: Workloads on which B is better.
        difference: Mean over workloads of A minus B; negative where A is better.
        p: Two-sided p-value of Wilcoxon's signed-rank test.
        p_holm: The same, corrected by Holm over all pairs.
        p_least: The smallest p-value that so many workloads allow, before correction.
        first_better: Posterior probability that A is better by more than the region of equivalence.
        equivalent: That they differ by less.
        second_better: That B is better by more.
    """

    first: str
    second: str
    first_title: str
    second_title: str
    workloads: int
    wins: int
    ties: int
    losses: int
    difference: float
    p: float
    p_holm: float | None
    p_least: float
    first_better: float
    equivalent: float
    second_better: float


@dataclass(frozen=True, slots=True)
class WorkloadTests:
    """All optimizers over workloads.

    Attributes:
        statistic: What is compared: ``test error`` of the selected setting, or its objective.
        rope: Half width of the region of practical equivalence, in units of the statistic.
        ranks: Average ranks and their tests; None if there are none.
        comparisons: By first, then second optimizer.
        missing: What could not be computed.
    """

    statistic: str
    rope: float
    ranks: RankTests | None
    comparisons: tuple[WorkloadComparison, ...]
    missing: tuple[Missing, ...]


def measure_workload_tests(observations: Observations, rope: float = ROPE) -> WorkloadTests:
    """Compare optimizers over workloads by what their selected settings reach.

    Args:
        observations: The study.
        rope: Half width of the region of practical equivalence, in units of the test error or objective; at least 0.
    """
    statistic, score_WO = collect_scores(observations)
    names = list(observations.optimizers)
    titles = {cell.optimizer: cell.title for cell in observations.cells}
    kept = np.isfinite(score_WO)
    if len(names) < 2 or kept.any(axis=1).sum() < 2:
        few = "two optimizers" if len(names) < 2 else "two workloads with finished trials"
        reason = f"Tests over workloads need at least {few}; five or more workloads to show anything. Add some."
        return WorkloadTests(statistic, rope, None, (), (Missing("Tests over workloads", reason),))
    ranks, missing = _rank(score_WO, observations, statistic)
    family = []
    for first, second in itertools.combinations(range(len(names)), 2):
        both_W = kept[:, first] & kept[:, second]
        if both_W.sum() < 2:
            name = f"Test over workloads of {titles[names[first]]} and {titles[names[second]]}"
            missing.append(Missing(name, "They have fewer than two workloads in common."))
            continue
        pair = names[first], names[second]
        family.append(_compare(score_WO[both_W, first], score_WO[both_W, second], pair, titles, rope))
    corrected = correct_holm([compared.p for compared in family])
    comparisons = [replace(compared, p_holm=p) for compared, p in zip(family, corrected, strict=True)]
    return WorkloadTests(statistic, rope, ranks, tuple(comparisons), tuple(missing))


def collect_scores(observations: Observations) -> tuple[str, Floats]:
    """What is compared, and it for each workload and optimizer (W, O); NaN without a finished trial.

    It is the test error of the trial with the lowest mean objective, if every such trial has one; else that objective.
    """
    shape = len(observations.workloads), len(observations.optimizers)
    test_WO, objective_WO = np.full(shape, np.nan), np.full(shape, np.nan)
    for row, workload in enumerate(observations.workloads):
        for cell in observations.on(workload):
            column = observations.optimizers.index(cell.optimizer)
            best = int(np.nanargmin(cell.mean_N))
            objective_WO[row, column] = cell.mean_N[best]
            test_WO[row, column] = mean_test_errors(cell, observations.info)[best]
    if np.array_equal(np.isfinite(test_WO), np.isfinite(objective_WO)):
        return TEST_ERROR, test_WO
    return observations.info.objective, objective_WO


def _rank(score_WO: Floats, observations: Observations, statistic: str) -> tuple[RankTests | None, list[Missing]]:
    """Ranks over the workloads on which every optimizer that ran has a number."""
    name = "Average ranks, Friedman and Nemenyi tests"
    ran_O = np.asarray(np.isfinite(score_WO).any(axis=0))
    whole_W = np.asarray(np.isfinite(score_WO[:, ran_O]).all(axis=1))
    missing = []
    absent = [optimizer for optimizer, ran in zip(observations.optimizers, ran_O, strict=True) if not ran]
    if absent:
        missing.append(Missing(f"{name} of {', '.join(absent)}", "It has no finished trial on any workload."))
    if not whole_W.all():
        partial = [workload for workload, whole in zip(observations.workloads, whole_W, strict=True) if not whole]
        reason = "Ranks need every optimizer on a workload, and one or more have no finished trial there."
        missing.append(Missing(f"{name} on {', '.join(partial)}", reason))
    if ran_O.sum() < 2 or whole_W.sum() < 2:
        missing.append(Missing(name, "Fewer than two optimizers have finished trials on the same two workloads."))
        return None, missing
    if ran_O.sum() == 2:
        missing.append(Missing("Friedman test", "It compares three or more optimizers; see the signed-rank test."))
    titles = {cell.optimizer: cell.title for cell in observations.cells}
    names = [optimizer for optimizer, ran in zip(observations.optimizers, ran_O, strict=True) if ran]
    workloads = [workload for workload, whole in zip(observations.workloads, whole_W, strict=True) if whole]
    scores = score_WO[whole_W][:, ran_O]
    return rank_optimizers(scores, workloads, names, [titles[name] for name in names], statistic), missing


def _compare(
    first_W: Floats, second_W: Floats, pair: tuple[str, str], titles: dict[str, str], rope: float
) -> WorkloadComparison:
    difference_W = subtract(first_W, second_W)
    first_better, equivalent, second_better = weigh_equivalence(difference_W, rope, "/".join(pair).encode())
    return WorkloadComparison(
        first=pair[0],
        second=pair[1],
        first_title=titles[pair[0]],
        second_title=titles[pair[1]],
        workloads=len(difference_W),
        wins=int((difference_W < 0).sum()),
        ties=int((difference_W == 0).sum()),
        losses=int((difference_W > 0).sum()),
        difference=math.fsum(difference_W.tolist()) / len(difference_W),
        p=rank_p(difference_W),
        p_holm=None,
        p_least=least_rank_p(len(difference_W)),
        first_better=first_better,
        equivalent=equivalent,
        second_better=second_better,
    )


def weigh_equivalence(difference_W: Floats, rope: float, words: Sequence[int]) -> tuple[float, float, float]:
    """Bayesian signed-rank test (Benavoli et al. 2014, 2017) of differences A minus B, of which lower is better.

    The posterior of the differences' distribution is a Dirichlet process with a pseudo-observation of 0 of weight 1/2;
    each draw says how probable it makes it that A is better, that they are equivalent and that B is better, and the
    result is the share of draws in which each is the most probable.

    Args:
        difference_W: Differences of N workloads.
        rope: Half width of the region of practical equivalence; at least 0, where 0 means no region.
        words: Key the draws.

    Returns:
        Probability that A is better, that they are equivalent, that B is better.
    """
    seed = int(np.random.SeedSequence([*words, _POSTERIOR]).generate_state(1)[0])
    # The library prefers the higher score: B's minus A's is what A is better by.
    test = baycomp.SignedRankTest(difference_W, np.zeros_like(difference_W), rope, nsamples=DRAWS, random_state=seed)
    second, equivalent, first = _share_draws(np.asarray(test.sample, dtype=np.float64), regions=3 if rope > 0 else 2)
    return first, equivalent, second


def _share_draws(sample_DR: Floats, regions: int) -> list[float]:
    """Share of draws in which each region is the most probable; draws in which several are, are split.

    The library itself gives those to the first of them, which would prefer one optimizer where all is tied.
    """
    if regions == 2:
        sample_DR = np.where([True, False, True], sample_DR, -1.0)
    top_DR = sample_DR >= sample_DR.max(axis=1, keepdims=True) - 1e-12
    return [float(share) for share in (top_DR / top_DR.sum(axis=1, keepdims=True)).mean(axis=0)]
