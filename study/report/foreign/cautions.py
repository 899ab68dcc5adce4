"""What a reader of a report on foreign Optuna studies must know before anything else."""

from collections.abc import Iterator, Mapping, Sequence

from optuna.trial import FrozenTrial

from study.report.foreign.outcomes import Scale
from study.report.foreign.parts import Part
from study.report.foreign.seeds import Plan, is_enqueued


def tell_objective(parts: Sequence[Part], sign: float, name: str, metrics: Sequence[Sequence[str]]) -> Iterator[str]:
    """What objectives are.

    Args:
        parts: The cells.
        sign: -1 if the studies maximize.
        name: Of the objective.
        metrics: Names of the metrics of each study; none if it has no names.
    """
    if sign < 0:
        yield f"The studies maximize: what stands here is {name}, the value with its sign changed; lower is better."
    objectives = len(parts[0].study.directions)
    if objectives > 1:
        known = ", ".join(metrics[0]) or "they have no names"
        yield (
            f"The studies have {objectives} objectives ({known}): what stands here is about the first one alone, and "
            "a sampler that trades it for the others did not search for its best."
        )
    if len({tuple(names[:1]) for names in metrics}) > 1:
        yield "The studies do not call their objective the same; whether it is, nothing here can tell."


def tell_endings(parts: Sequence[Part], scales: Mapping[str, Scale]) -> Iterator[str]:
    """How runs count that did not end with a finite value."""
    yield from _tell_divergence(parts, scales)
    capped = sum(placed.outcome.is_capped for part in parts for placed in part.runs)
    if capped:
        yield f"Runs worse than the chance level that was given: {capped}. They count at it."
    pruned = sum(part.count("pruned") for part in parts)
    if pruned:
        yield (
            f"Pruned runs: {pruned}. They are in no comparison, and what is left does not stand for the search space, "
            "so nothing that speaks of the whole space is computed."
        )
    yield from _tell_failures(parts)
    pending = sum(part.count(None) for part in parts)
    if pending:
        yield f"Trials that wait or run, or were left so by a worker: {pending}. They are in no comparison."
    infeasible = sum(_is_infeasible(placed.run.trial) for part in parts for placed in part.runs)
    if infeasible:
        yield f"Runs that violate constraints of their study: {infeasible}. They count like any other."


def _tell_divergence(parts: Sequence[Part], scales: Mapping[str, Scale]) -> Iterator[str]:
    for workload, scale in scales.items():
        diverged = sum(part.count("diverged") for part in parts if part.workload == workload)
        if not diverged:
            continue
        told = f"Runs on {workload} with an infinite value or NaN: {diverged}. They count as diverged"
        if scale.chance is not None:
            yield f"{told}, at the chance level that was given."
        elif scale.worst is not None:
            yield (
                f"{told}, at the worst finite objective there, {scale.worst:.6g}, since no chance level was given: "
                "that is meant wherever this report says that diverged runs count at chance level."
            )
        else:
            yield f"{told}, and in no comparison: no run has a finite value to count them at; give --chance."


def _tell_failures(parts: Sequence[Part]) -> Iterator[str]:
    failed = sum(part.count("failed") for part in parts)
    retried = sum(len(part.superseded) for part in parts)
    if failed:
        yield (
            f"Failed runs: {failed}. Their settings are in no comparison. Optuna stores a run that returned NaN as "
            "failed too: divergence among them cannot be told from errors."
        )
    if retried:
        yield f"Failed trials that were tried again: {retried}. The later trial counts instead."


def tell_chance(chance: float | None) -> Iterator[str]:
    """What goodness is measured from."""
    if chance is None:
        yield (
            "What a run that learned nothing reaches is not known: the median over finished points stands in where "
            "goodness begins, and runs at chance level are not counted. Give --chance."
        )


def tell_seeds(parts: Sequence[Part], plan: Plan, seed: str | None, *, was_named: bool) -> Iterator[str]:
    """What repeats of a setting are."""
    if seed is None:
        yield "No seed is stored: trials with equal parameters count as repeats of one setting."
    elif not was_named:
        yield (
            f"{seed} is taken for the seed because of its name, and not for paired comparisons: give --seed {seed} if "
            "equal seeds mean equal initial weights and data order."
        )
    elif not plan.are_shared:
        yield f"Settings do not share their seeds ({seed}), or some trials have none: nothing is compared in pairs."
    if plan.seeds == 1:
        yield "Every setting has one run: nothing here says how much of a difference is chance."
    else:
        runs = [_count_runs(part) for part in parts]
        fewer = sum(count < plan.seeds for counts in runs for count in counts.values())
        if fewer:
            yield f"Settings with fewer runs than {plan.seeds}: {fewer}. Their means are less certain."
    yield from plan.cautions


def tell_design(parts: Sequence[Part], columns: Mapping[str, str]) -> Iterator[str]:
    """What points are, and what their parameters are called."""
    for part in parts:
        of = f" of {part.study.name}" if len(parts) > 1 else ""
        enqueued = {placed.run.setting for placed in part.runs if is_enqueued(placed.run.trial)}
        if part.default is not None:
            yield f"Trial {part.default}{of} was chosen by a person: it counts as the default setting, not as a point."
        elif enqueued:
            yield f"Settings{of} that a person enqueued: {len(enqueued)}. They count like any other."
        if not part.runs:
            yield f"{part.study.name} has no trials."
        yield from (f"{caution[:-1]} ({part.study.name})." if of else caution for caution in part.space.cautions)
    renamed = [f"{name} is called {column}" for name, column in columns.items() if name != column]
    if renamed:
        yield f"Some parameters have names of columns: {', '.join(renamed)}."
    yield "What was trained, with what budget, and whether it was the same for all trials, is not stored by Optuna."


def _count_runs(part: Part) -> Mapping[int, int]:
    counts: dict[int, int] = {}
    for placed in part.runs:
        counts[placed.run.setting] = counts.get(placed.run.setting, 0) + 1
    return counts


def _is_infeasible(trial: FrozenTrial) -> bool:
    return any(value > 0 for value in trial.constraints.values())
