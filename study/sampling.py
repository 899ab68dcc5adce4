"""Adaptive designs: samplers of Optuna, asked for one round of trials at a time.

A round is asked when every trial of the rounds before it has ended, and is a pure function of the spec and of those
trials: no sampler lives from one round to the next. Each round builds an Optuna study of its own in memory, asks a new
sampler with a seed of the round for one trial after the other, so that it sees those that it has just proposed as
running, and forgets both. What a sampler must know of its earlier trials, such as the covariance matrix of CMA-ES, it
writes into their system attributes, as in Optuna, and finds there in the next round. So neither the number of workers,
nor the order in which they finish, nor an interruption changes a point.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import optuna
import torch
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.axis import Value
from study.design import PlannedTrial
from study.design_spec import DesignSpec
from study.sampler_space import SamplerSpace
from study.search_space import OptimizerSpec
from study.spec import StudySpec

#: Proposals against the constraints before the nearest allowed point is taken instead. GP means one place, and would
#: take much time to say so again.
_PROPOSALS = {"tpe": 5, "gp": 1, "cmaes": 5, "nsga2": 5}
#: Samplers that know no axes which vary in some trials only.
_WITHOUT_CONDITIONS = ("gp", "nsga2")
#: Samplers that pass over pruned trials: for them such a trial has the value that it had last.
_WITHOUT_PRUNED = ("gp", "cmaes")
#: Samplers that look for what they wrote into trials of earlier rounds.
_KEEPS_STATE = ("cmaes", "nsga2")
#: The state of CMA-ES, in parts: the same in all trials of a round, so kept in the first.
_CMA_STATE = "cma:optimizer"


def ask_round(
    spec: StudySpec, workload: str, optimizer: OptimizerSpec, *, round_: int, history: Sequence[FrozenTrial]
) -> list[PlannedTrial]:
    """The trials of a round of an adaptive design, for one workload and optimizer.

    Args:
        spec: The study.
        workload: Name of the workload.
        optimizer: One of the spec's optimizers.
        round_: Counted from 0, in which the default setting is trial 0.
        history: All trials of the rounds before, ended, in the order of their numbers: with their values (two for
            nsga2), their intermediate values, and the system attributes that they were planned with.

    Returns:
        ``design.batch`` trials, in round 0 one more, in the last one what is left of the points; none when there is
        nothing left.

    Raises:
        ValueError: The history is not that of the rounds before; or no point meets the constraints.
    """
    design = spec.design
    space = SamplerSpace(spec, workload, optimizer, fill=design.kind in _WITHOUT_CONDITIONS)
    cells = space.list_cells() if design.kind == "brute_force" else None
    points = design.points if cells is None else min(design.points, len(cells))
    first = 1 + round_ * design.batch
    _check_history(history, min(first, 1 + points) if round_ else 0)
    numbers = range(first, min(first + design.batch, 1 + points))
    default = [space.default] if round_ == 0 else []
    if cells is not None:
        return default + [space.plan(cells[n - 1], number=n, round_=round_, attributes={}) for n in numbers]
    with _quiet(), _one_thread():
        sampler = make_sampler(design, conditional=optimizer.is_conditional, seed=space.seed_of(round_))
        asker = _Asker(design, space, sampler, history)
        return [asker.add_default(trial) for trial in default] + [asker.ask(n, round_) for n in numbers]


def make_sampler(design: DesignSpec, *, conditional: bool, seed: int) -> BaseSampler:
    """The sampler of Optuna that a design names.

    Args:
        design: Of one of the kinds tpe, gp, cmaes, nsga2.
        conditional: Whether some axis varies in some trials only.
        seed: In [0, 2^32).
    """
    if design.kind == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # about group
            return TPESampler(n_startup_trials=design.startup_trials, seed=seed, multivariate=True, group=conditional)
    if design.kind == "gp":
        return GPSampler(n_startup_trials=design.startup_trials, seed=seed)
    if design.kind == "cmaes":
        return CmaEsSampler(n_startup_trials=0, popsize=design.batch, seed=seed)
    return NSGAIISampler(population_size=design.batch, seed=seed)


def _check_history(history: Sequence[FrozenTrial], expected: int) -> None:
    numbers = [trial.number for trial in history]
    if numbers != list(range(expected)):
        raise ValueError(
            f"the history has the trials {numbers}; it must have all {expected} of the rounds before, in their order"
        )
    running = [trial.number for trial in history if not trial.state.is_finished()]
    if running:
        raise ValueError(f"the trials {running} of earlier rounds have not ended; ask when they have")


class _Asker:
    """Asks a sampler through the interface that all samplers of Optuna have, in an Optuna study in memory."""

    def __init__(
        self, design: DesignSpec, space: SamplerSpace, sampler: BaseSampler, history: Sequence[FrozenTrial]
    ) -> None:
        self._kind = design.kind
        self._space = space
        self._sampler = sampler
        self._storage = InMemoryStorage()
        directions = [StudyDirection.MINIMIZE] * (1 if design.second_objective is None else 2)
        self._study_id = self._storage.create_new_study(directions, "round")
        self._optuna_study = optuna.Study("round", self._storage, sampler=sampler)
        for trial in history:
            # A default that lies off its axes has no place in the sampler's space.
            if trial.number > 0 or space.contains_default:
                self._optuna_study.add_trial(self._to_inner(trial))
        if isinstance(sampler, NSGAIISampler):
            self._select_parents(sampler)
        self._keeps_cma_state = True

    def _to_inner(self, trial: FrozenTrial) -> FrozenTrial:
        """An ended trial as the sampler sees it."""
        params = self._space.to_inner(self._space.values_of(trial))
        state, values = trial.state, trial.values
        if state == TrialState.PRUNED and self._kind in _WITHOUT_PRUNED and trial.last_step is not None:
            state, values = TrialState.COMPLETE, [trial.intermediate_values[trial.last_step]]
        return create_trial(
            state=state,
            values=values if state == TrialState.COMPLETE else None,
            params=params,
            distributions={name: self._space.distributions[name] for name in params},
            intermediate_values=trial.intermediate_values,
            system_attrs=dict(trial.system_attrs) if self._kind in _KEEPS_STATE else None,
        )

    def _select_parents(self, sampler: NSGAIISampler) -> None:
        """Select parents for one generation after the other; the sampler itself would go back through all, nested."""
        trials = self._optuna_study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        generations = [sampler.get_trial_generation(self._optuna_study, t) for t in trials if t.system_attrs]
        for generation in range(1, max(generations, default=0) + 1):
            sampler.get_parent_population(self._optuna_study, generation)

    def add_default(self, default: PlannedTrial) -> PlannedTrial:
        """The default setting as a trial of the round; for NSGA-II it belongs to the first generation."""
        if not isinstance(self._sampler, NSGAIISampler) or not self._space.contains_default:
            return default
        trial_id = self._storage.create_new_trial(self._study_id)
        self._sampler.get_trial_generation(self._optuna_study, self._storage.get_trial(trial_id))
        return replace(default, system_attributes=self._storage.get_trial(trial_id).system_attrs)

    def ask(self, number: int, round_: int) -> PlannedTrial:
        """The next trial of the round."""
        trial_id = self._storage.create_new_trial(self._study_id)
        self._sampler.before_trial(self._optuna_study, self._storage.get_trial(trial_id))
        values = self._propose_allowed(trial_id, number)
        for name, inner in self._space.to_inner(values).items():
            distribution = self._space.distributions[name]
            self._storage.set_trial_param(trial_id, name, distribution.to_internal_repr(inner), distribution)
        return self._space.plan(values, number=number, round_=round_, attributes=self._take_attributes(trial_id))

    def _propose_allowed(self, trial_id: int, number: int) -> dict[str, Value]:
        for _ in range(_PROPOSALS[self._kind]):
            values = self._propose(trial_id)
            if self._space.allows(values):
                return values
        return self._space.nearest_allowed(values, number)

    def _propose(self, trial_id: int) -> dict[str, Value]:
        """What the sampler has on the axes that vary there."""
        trial = self._storage.get_trial(trial_id)
        if self._kind == "tpe":
            # It finds by itself which axes vary together, and remembers.
            known = self._sampler.infer_relative_search_space(self._optuna_study, trial)
        else:
            known = dict(sorted(self._space.distributions.items()))
        relative = self._sampler.sample_relative(self._optuna_study, trial, known)
        values: dict[str, Value] = {}
        for name in self._space.axes:
            if self._space.is_active(name, values):
                inner = relative[name] if name in relative else self._sample_alone(trial, name)
                values[name] = self._space.to_outer(name, inner)
        return values

    def _sample_alone(self, trial: FrozenTrial, name: str) -> Any:
        distribution = self._space.distributions[name]
        return self._sampler.sample_independent(self._optuna_study, trial, name, distribution)

    def _take_attributes(self, trial_id: int) -> Mapping[str, Any]:
        """What the sampler wrote into a trial and looks for in later rounds."""
        if self._kind not in _KEEPS_STATE:
            return {}
        attributes = self._storage.get_trial(trial_id).system_attrs
        if not self._keeps_cma_state:
            attributes = {key: value for key, value in attributes.items() if not key.startswith(_CMA_STATE)}
        self._keeps_cma_state = False
        return attributes


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells at length of studies in memory that nobody has made."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over several threads may round differently with their number; the matrices here are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
