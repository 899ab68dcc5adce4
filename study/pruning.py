"""Pruning: in which stages trials run, and which of them stop after each.

Decisions are made for a whole cohort at once, when every trial of it has ended the stage, and are a pure function of
what was measured. Optuna's pruners for epochs (``SuccessiveHalvingPruner``, ``HyperbandPruner``) are not used: they are
asynchronous and compare a trial with those that happen to have come as far, so that another number of workers, or an
interruption, prunes others. The price is a worker that waits at the end of a stage.

Successive halving (Jamieson & Talwalkar, AISTATS 2016) runs all trials for few epochs, the best 1/eta of them for eta
times as many, and so on. Hyperband (Li et al., JMLR 18(185), 2018) does so in several brackets that start with more
epochs and fewer trials each. Wilcoxon compares the seeds of a trial with those of the best one by the paired
signed-rank test, as Optuna's ``WilcoxonPruner`` does. Looking again after every seed, and at the best of many, the test
does not keep its level: fewer of the stopped trials are truly worse than p says. That is right for tuning, and wrong
for landscapes.

Trial 0, the default setting, is never stopped: reports compare with its whole result. It takes no place among those
that go on by epochs, but is one of those that may be the best by seeds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import wilcoxon

from study.design_spec import PruningSpec
from study.objectives import seed_mean

_DEFAULT_TRIAL = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """What the trials of a cohort that go on do next.

    Attributes:
        seeds: Indices of the seeds that train in it.
        stop_epoch: They pause after this epoch; None trains them to the end of their budget.
    """

    seeds: range
    stop_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Cohort:
    """Trials that are compared with each other.

    Attributes:
        numbers: Their numbers, increasing.
        stages: What they do, one after the other; there is a decision after each but the last.
        bracket: Hyperband's bracket s, which is the number of its decisions; 0 where there is one cohort only.
    """

    numbers: tuple[int, ...]
    stages: tuple[Stage, ...]
    bracket: int = 0


def plan_cohorts(pruning: PruningSpec, *, budget: int, seeds: int, numbers: Sequence[int]) -> list[Cohort]:
    """Divide the trials of one round, or of a whole design, into cohorts.

    Hyperband's brackets get trials in the proportions of its Algorithm 1, the most eager bracket the first ones: in
    blocks, because a stretch of a Sobol' sequence fills the cube and every n-th point of it does not. The default
    setting goes with the first cohort.

    Args:
        pruning: How to prune.
        budget: Epochs of a run that is not stopped.
        seeds: Runs of a trial that is not stopped.
        numbers: The trials of a workload and optimizer, increasing.
    """
    if pruning.kind != "hyperband":
        return [Cohort(tuple(numbers), tuple(_stages(pruning, budget, seeds, _depth(pruning, budget))))]
    default = tuple(number for number in numbers if number == _DEFAULT_TRIAL)
    others = [number for number in numbers if number != _DEFAULT_TRIAL]
    sizes = bracket_sizes(pruning, budget)
    cohorts: list[Cohort] = []
    start = 0
    for bracket, share in zip(sizes, _apportion(len(others), list(sizes.values())), strict=True):
        members = (*(default if not cohorts else ()), *others[start : start + share])
        start += share
        if members:
            cohorts.append(Cohort(members, tuple(_stages(pruning, budget, seeds, bracket)), bracket))
    return cohorts


def bracket_sizes(pruning: PruningSpec, budget: int) -> dict[int, int]:
    """Trials of each bracket of one whole Hyperband, by bracket s from the most eager one down to 0.

    Li et al. 2018, Algorithm 1: n = ceil((s_max + 1) eta^s / (s + 1)).
    """
    eta, deepest = pruning.reduction_factor, _depth(pruning, budget)
    return {s: -(-(deepest + 1) * eta**s // (s + 1)) for s in range(deepest, -1, -1)}


def _depth(pruning: PruningSpec, budget: int) -> int:
    """How often the budget can be divided by eta until it is below ``min_epochs``: s_max of Hyperband."""
    depth = 0
    while budget // pruning.reduction_factor ** (depth + 1) >= pruning.min_epochs:
        depth += 1
    return depth


def _apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole shares of ``total`` in proportion to ``weights``, by largest remainders; of equal ones the first."""
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in remainders[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _stages(pruning: PruningSpec, budget: int, seeds: int, bracket: int) -> Iterator[Stage]:
    if pruning.by_epochs:
        for rung in range(bracket, 0, -1):
            yield Stage(range(seeds), budget // pruning.reduction_factor**rung)
        yield Stage(range(seeds))
    elif pruning.kind == "wilcoxon":
        yield Stage(range(pruning.startup_seeds))
        for seed in range(pruning.startup_seeds, seeds):
            yield Stage(range(seed, seed + 1))
    else:
        yield Stage(range(seeds))


def find_pruned(
    pruning: PruningSpec,
    stage: Stage,
    objectives: Mapping[int, Sequence[float]],
    finished: Mapping[int, Sequence[float]],
) -> dict[int, str]:
    """Who stops after a stage that is not its cohort's last.

    Args:
        pruning: How to prune.
        stage: The stage that has ended.
        objectives: For each trial of the cohort that is neither stopped nor failed, by number: the objective of each of
            its seeds so far, from seed 0, capped at chance level, where diverged runs are.
        finished: The same for trials of the same workload and optimizer that had run all their seeds before the cohort
            began; by seeds only, they may be the best one.

    Returns:
        Why each trial that stops does so, for people, by number.

    Raises:
        ValueError: An objective is not finite.
    """
    for number, values in objectives.items():
        if not all(map(math.isfinite, values)):
            raise ValueError(
                f"trial {number} has objectives {list(values)}; cap them at chance level before they compare"
            )
    if pruning.by_epochs:
        return _halve(pruning, stage, objectives)
    return _compare_seeds(pruning, stage, objectives, finished)


def _halve(pruning: PruningSpec, stage: Stage, objectives: Mapping[int, Sequence[float]]) -> dict[int, str]:
    """All but the best floor(n / eta), as in the papers, but one at least; of equal trials the lower number goes on."""
    means = {number: seed_mean(values) for number, values in objectives.items() if number != _DEFAULT_TRIAL}
    ranked = sorted(means, key=lambda number: (means[number], number))
    kept = max(1, len(ranked) // pruning.reduction_factor)
    went_on = "only the best went on" if kept == 1 else f"the best {kept} went on"
    return {
        number: f"stopped after epoch {stage.stop_epoch}: rank {rank} of {len(ranked)}, {went_on}"
        for rank, number in enumerate(ranked, start=1)
        if rank > kept
    }


def _compare_seeds(
    pruning: PruningSpec,
    stage: Stage,
    objectives: Mapping[int, Sequence[float]],
    finished: Mapping[int, Sequence[float]],
) -> dict[int, str]:
    """Those that are worse than the best trial over the seeds which all have run."""
    seeds = stage.seeds.stop
    paired = {number: tuple(values[:seeds]) for number, values in (*finished.items(), *objectives.items())}
    if not paired:
        return {}
    best = min(paired, key=lambda number: (seed_mean(paired[number]), number))
    pruned = {}
    for number in sorted(set(objectives) - {best, _DEFAULT_TRIAL}):
        p = p_value(paired[number], paired[best])
        if p < pruning.p_threshold and seed_mean(paired[number]) > seed_mean(paired[best]):
            pruned[number] = f"seed {seeds} and later not run: p = {p:.2g} against trial {best} after {seeds} seeds"
    return pruned


def p_value(values: Sequence[float], best: Sequence[float]) -> float:
    """One-sided p of the signed-rank test that ``values`` are above ``best``, paired; zeros are split, as in Optuna."""
    differences = [value - other for value, other in zip(values, best, strict=True)]
    return float(wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue)
