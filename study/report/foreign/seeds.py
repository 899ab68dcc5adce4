"""Which trials of an Optuna study are runs of the same setting, and which of them have the same seed."""

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

#: Names that are taken for the seed unless one is given, in this order.
SEED_NAMES = ("seed", "random_state")
#: Numbers in an array of settings by seeds: more repeats of one setting than fit are left out.
_MOST_CELLS = 10_000_000
#: Repeats of a setting that are always kept.
_REPEATS_KEPT = 64
#: A seed as it is sorted: numbers, then texts, then trials that have none.
_Label = tuple[int, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A trial of Optuna as one run of a setting.

    Attributes:
        trial: What Optuna stores.
        setting: Number of the first trial that has the same parameters.
        seed: Which of the setting's runs it is, from 0; if seeds are paired, the same seed of every setting.
    """

    trial: FrozenTrial
    setting: int
    seed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of several studies.

    Attributes:
        runs: Of each study, by setting, then seed.
        superseded: Of each study, trials that are no runs: failed ones that were tried again.
        seeds: Number of different places of seeds.
        are_shared: Whether a place is the same seed in every setting and study.
        cautions: What was assumed, as sentences.
    """

    runs: Sequence[Sequence[Run]]
    superseded: Sequence[Sequence[FrozenTrial]]
    seeds: int
    are_shared: bool
    cautions: tuple[str, ...]


def find_seed_name(studies: Sequence[Sequence[FrozenTrial]]) -> str | None:
    """The name among :data:`SEED_NAMES` that a parameter or user attribute of any trial has."""
    for name in SEED_NAMES:
        if any(name in trial.params or name in trial.user_attrs for trials in studies for trial in trials):
            return name
    return None


def plan_runs(studies: Sequence[Sequence[FrozenTrial]], seed: str | None) -> Plan:
    """Group the trials of each study into settings, and order their runs.

    Trials are runs of one setting if all their parameters but the seed are equal. A trial that lacks parameters that
    complete ones have, since it waits, runs or failed early, is a setting of its own.

    Args:
        studies: The trials of each study, in the order of their numbers.
        seed: Name of the parameter or user attribute that is the seed; None if equal trials only repeat each other.
    """
    superseded = [_find_retried(trials) for trials in studies]
    labelled, doubled = [], 0
    for trials, retried in zip(studies, superseded, strict=True):
        gone = {trial.number for trial in retried}
        settings = _group([trial for trial in trials if trial.number not in gone], seed)
        by_label, left_out = _label_runs(settings, seed)
        labelled.append(by_label)
        doubled += sum(trial.state is not TrialState.FAIL for trial in left_out)
        retried += [trial for trial in left_out if trial.state is TrialState.FAIL]
    cautions = []
    if doubled:
        cautions.append(
            f"Trials that repeat a setting with a seed that it has already: {doubled}. The first of them counts."
        )
    known = {label for settings in labelled for by_label in settings.values() for label in by_label}
    most = max((len(by_label) for settings in labelled for by_label in settings.values()), default=1)
    fits = len(known) * max(len(settings) for settings in labelled) <= _MOST_CELLS or len(known) <= _REPEATS_KEPT
    are_shared = fits and seed is not None and len(known) <= 2 * most and all(kind < 2 for kind, _ in known)
    places = {label: place for place, label in enumerate(sorted(known))} if are_shared else {}
    runs, dropped = zip(*(_place(settings, places) for settings in labelled), strict=True)
    if sum(dropped):
        cautions.append(f"Repeats left out of settings that have very many: {sum(dropped)}. They are the last ones.")
    seeds = len(known) if are_shared else max((run.seed + 1 for some in runs for run in some), default=1)
    return Plan(runs, superseded, max(seeds, 1), are_shared, tuple(cautions))


def is_enqueued(trial: FrozenTrial) -> bool:
    """Whether a person chose its parameters: not a sampler, nor a retry of an earlier trial."""
    attributes = trial.system_attrs
    return "fixed_params" in attributes and not {"failed_trial", "retry_history"} & attributes.keys()


def find_default(runs: Sequence[Run]) -> int | None:
    """The setting of trial 0, if nothing else was enqueued: people try what they use before a search.

    This service marks its own.

    Args:
        runs: Of one study.
    """
    marked = {run.setting for run in runs if run.trial.user_attrs.get("origin") == "default"}
    if len(marked) == 1:
        return marked.pop()
    enqueued = {run.setting for run in runs if is_enqueued(run.trial)}
    others = {run.setting for run in runs} - enqueued
    return 0 if enqueued == {0} and others else None


def _find_retried(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Failed trials that Optuna's own callback tried again with the same parameters."""
    numbers: set[Any] = set()
    for trial in trials:
        history = trial.system_attrs.get("retry_history")
        numbers |= set(history) if isinstance(history, list) else set()
        numbers.add(trial.system_attrs.get("failed_trial"))
    return [trial for trial in trials if trial.state is TrialState.FAIL and trial.number in numbers]


def _group(trials: Sequence[FrozenTrial], seed: str | None) -> dict[int, list[FrozenTrial]]:
    """Number of the first trial of each setting -> its trials."""
    shapes = {frozenset(trial.params) for trial in trials if trial.state is TrialState.COMPLETE}
    first: dict[Hashable, int] = {}
    settings: dict[int, list[FrozenTrial]] = defaultdict(list)
    for trial in trials:
        params = _params(trial)
        key: Hashable = trial.number
        if params and (frozenset(params) in shapes or not shapes):
            key = frozenset((name, repr(value)) for name, value in params.items() if name != seed)
        settings[first.setdefault(key, trial.number)].append(trial)
    return settings


def _params(trial: FrozenTrial) -> Mapping[str, Any]:
    """Its parameters; of an enqueued trial that nobody has begun, those that it will have."""
    fixed = trial.system_attrs.get("fixed_params")
    return fixed if not trial.params and isinstance(fixed, dict) else trial.params


def _label_runs(
    settings: Mapping[int, Sequence[FrozenTrial]], seed: str | None
) -> tuple[dict[int, dict[_Label, FrozenTrial]], list[FrozenTrial]]:
    """The trial that counts for each setting and seed, and those that do not count since another one does."""
    labelled: dict[int, dict[_Label, FrozenTrial]] = {}
    left_out = []
    for number, trials in settings.items():
        by_label: dict[_Label, FrozenTrial] = {}
        for place, trial in enumerate(trials):
            label = (2, place) if seed is None else _label(trial, seed, place)
            if label not in by_label:
                by_label[label] = trial
            elif _rank(trial) < _rank(by_label[label]):
                left_out.append(by_label[label])
                by_label[label] = trial
            else:
                left_out.append(trial)
        labelled[number] = by_label
    return labelled, left_out


def _rank(trial: FrozenTrial) -> int:
    """Of trials with one setting and seed, the lowest rank counts: a result, then what may become one, then none."""
    order = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING, TrialState.PRUNED, TrialState.FAIL)
    return order.index(trial.state)


def _label(trial: FrozenTrial, seed: str, place: int) -> _Label:
    params = _params(trial)
    if seed not in params and seed not in trial.user_attrs:
        return 2, place
    value = params.get(seed, trial.user_attrs.get(seed))
    if isinstance(value, int | float) and not math.isnan(value):
        return 0, value
    return 1, value if isinstance(value, str) else repr(value)


def _place(settings: Mapping[int, Mapping[_Label, FrozenTrial]], places: Mapping[_Label, int]) -> tuple[list[Run], int]:
    """The runs of one study, by setting, then seed, and how many repeats found no place."""
    most = max(_REPEATS_KEPT, _MOST_CELLS // max(len(settings), 1))
    runs, dropped = [], 0
    for number, by_label in sorted(settings.items()):
        ordered = sorted(by_label.items(), key=lambda item: item[0])
        placed = [Run(trial, number, places.get(label, place)) for place, (label, trial) in enumerate(ordered)]
        runs += placed[:most]
        dropped += len(placed[most:])
    return runs, dropped
