"""Adaptive designs: rounds are the same whenever and wherever they are asked, and samplers get somewhere."""

import itertools
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cmaes
import numpy as np
import optuna
import pytest
from adaptive_rounds import (
    AXES,
    MIXED_AXES,
    WORKLOAD,
    Objective,
    active_values,
    adaptive_spec,
    bowl,
    end_trial,
    play,
    two_bowls,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from study.cube import unit_points
from study.design import PlannedTrial
from study.sampling import ask_round
from study.space import to_distribution
from study.spec import StudySpec

KINDS = ["tpe", "gp", "cmaes", "nsga2"]


def objective_of(kind: str) -> Objective:
    return two_bowls if kind == "nsga2" else bowl


#: GP with many whole numbers takes its time.
CHOSEN_AXES = {"lr": AXES["lr"], "beta0": AXES["beta0"], "schedule": MIXED_AXES["schedule"]}
SPACES = {"tpe": MIXED_AXES, "gp": CHOSEN_AXES, "cmaes": AXES, "nsga2": MIXED_AXES}


def spec_of(kind: str, **design: object) -> StudySpec:
    return adaptive_spec(kind, SPACES[kind], **design)


def without_state(planned: list[PlannedTrial]) -> list[PlannedTrial]:
    """Without the state of CMA-ES, in which the library keeps numbers that it has not yet set."""
    return [
        replace(
            trial,
            system_attributes={n: v for n, v in trial.system_attributes.items() if not n.startswith("cma:optimizer")},
        )
        for trial in planned
    ]


# The same rounds


@pytest.mark.parametrize("kind", KINDS)
def test_rounds_replayed_are_the_same_and_another_seed_makes_others(kind: str) -> None:
    spec = spec_of(kind, points=12)
    first, _ = play(spec, objective_of(kind))
    again, _ = play(spec, objective_of(kind))
    other, _ = play(spec_of(kind, points=12, study_seed=1), objective_of(kind))
    assert without_state(first) == without_state(again)
    assert [trial.number for trial in first] == list(range(13))
    assert [trial.round for trial in first] == [0] * 9 + [1] * 4
    assert not {repr(t.hyperparameters) for t in first[1:]} & {repr(t.hyperparameters) for t in other[1:]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_asked_of_a_database_whose_trials_ended_in_another_order_is_the_same(kind: str, tmp_path: Path) -> None:
    spec = spec_of(kind, points=18)
    planned, _ = play(spec, objective_of(kind))
    space = spec.optimizers[0]
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
    directions = ["minimize"] * (2 if kind == "nsga2" else 1)
    optuna_study = optuna.create_study(storage=storage, directions=directions)
    for round_ in range(3 if kind != "gp" else 2):
        asked = ask_round(spec, WORKLOAD, space, round_=round_, history=optuna_study.get_trials())
        assert without_state(asked) == without_state([trial for trial in planned if trial.round == round_])
        running = []
        for trial in asked:
            optuna_trial = optuna_study.ask()
            for name, value in active_values(spec, trial).items():
                distribution = to_distribution(space.axes[name])
                internal = distribution.to_internal_repr(value)
                storage.set_trial_param(optuna_trial._trial_id, name, internal, distribution)
            for key, value in trial.system_attributes.items():
                storage.set_trial_system_attr(optuna_trial._trial_id, key, value)
            running.append((optuna_trial.number, objective_of(kind)(trial)))
        np.random.default_rng(round_).shuffle(running)
        for number, values in running:
            optuna_study.tell(number, values)


def test_neither_the_hash_seed_nor_the_number_of_threads_of_a_process_changes_a_round() -> None:
    code = (
        "import hashlib, torch, sys; from adaptive_rounds import *\n"
        "torch.set_num_threads(int(sys.argv[1]))\n"
        "for kind in ('tpe', 'gp', 'nsga2'):\n"
        "    spec = adaptive_spec(kind, AXES if kind == 'gp' else MIXED_AXES, points=12)\n"
        "    print(hashlib.sha256(repr(play(spec, two_bowls if kind == 'nsga2' else bowl)[0]).encode()).hexdigest())\n"
        "assert torch.get_num_threads() == int(sys.argv[1])\n"
    )
    found = []
    for seed, threads in (("0", "1"), ("1", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", code, threads]
        found.append(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    assert found[0] == found[1]
    assert len(found[0].split()) == 3


def test_other_optimizers_of_a_spec_change_no_point_and_have_others() -> None:
    spec = adaptive_spec("tpe", points=8)
    content = spec.model_dump()
    content["optimizers"] = [{"name": "sgd"}, *content["optimizers"]]
    more = StudySpec.model_validate(content)
    alone = ask_round(spec, WORKLOAD, spec.optimizers[0], round_=0, history=[])
    assert ask_round(more, WORKLOAD, more.optimizers[1], round_=0, history=[]) == alone
    sgd = ask_round(more, WORKLOAD, more.optimizers[0], round_=0, history=[])
    assert not {t.unit["lr"] for t in sgd} & {t.unit["lr"] for t in alone}


# Better points


@pytest.mark.parametrize("kind", ["tpe", "gp", "cmaes"])
def test_later_points_are_better_than_random_ones(kind: str) -> None:
    planned, trials = play(adaptive_spec(kind, points=24 if kind == "gp" else 48), bowl)
    last = [trial.values[0] for trial in trials[-8:]]
    places = unit_points("random", 1024, 0)[:, :3]
    by_chance = ((places - 0.3) ** 2).sum(axis=1)
    assert np.median(last) < np.quantile(by_chance, 0.1)
    assert all(trial.origin == "design" for trial in planned[1:])


def test_tpe_and_gp_find_the_right_choice_and_condition() -> None:
    def objective(trial: PlannedTrial) -> list[float]:
        return [bowl(trial)[0] + (trial.hyperparameters["schedule"] != "cosine")]

    for kind, points in (("tpe", 32), ("gp", 16)):
        axes = {name: axis for name, axis in MIXED_AXES.items() if kind == "tpe" or name != "batch_size"}
        planned, _ = play(adaptive_spec(kind, axes, points=points), objective)
        chosen = [trial.hyperparameters["schedule"] for trial in planned[-8:]]
        assert chosen.count("cosine") >= 6


def test_trials_that_were_pruned_or_failed_do_not_stop_a_sampler() -> None:
    def state(trial: PlannedTrial) -> TrialState:
        if trial.number % 8 == 1:
            return TrialState.FAIL
        return TrialState.PRUNED if trial.number % 3 else TrialState.COMPLETE

    by_chance = ((unit_points("random", 1024, 0)[:, :3] - 0.3) ** 2).sum(axis=1)
    for kind in ("tpe", "gp", "cmaes"):
        planned, _ = play(adaptive_spec(kind, points=24 if kind == "gp" else 48), bowl, state)
        assert np.median([bowl(trial)[0] for trial in planned[-8:]]) < np.quantile(by_chance, 0.25)


def test_rounds_of_which_everything_failed_have_other_points_each() -> None:
    for kind in ("tpe", "gp", "cmaes", "nsga2"):
        planned, _ = play(spec_of(kind, points=32), objective_of(kind), lambda _: TrialState.FAIL)
        assert len({repr(trial.hyperparameters) for trial in planned}) == 33


@pytest.mark.parametrize("kind", KINDS)
def test_a_default_off_its_axes_tells_a_sampler_nothing(kind: str) -> None:
    axes = {"weight_decay": {"low": 1e-5, "high": 1e-1, "scale": "log"}, "lr": AXES["lr"]}  # 0 by default
    spec = adaptive_spec(kind, axes, points=10)

    def play_with(value: float) -> list[PlannedTrial]:
        goal = objective_of(kind)
        planned, _ = play(spec, lambda trial: goal(trial) if trial.number else [value] * len(goal(trial)))
        return without_state(planned)

    assert play_with(-100.0) == play_with(100.0)


# CMA-ES


def test_every_round_of_cma_es_is_a_generation_with_the_state_of_the_library_told_the_same() -> None:
    spec = adaptive_spec("cmaes", points=40)
    planned, trials = play(spec, bowl)
    names = sorted(spec.optimizers[0].axes)
    peer = cmaes.CMA(np.full(3, 0.5), 1 / 6, bounds=np.array([[0, 1]] * 3), population_size=8)
    for round_ in range(1, 5):
        told = [(planned[n], trials[n].values[0]) for n in range(1 + 8 * (round_ - 1), 1 + 8 * round_)]
        peer.tell([(np.array([trial.unit[name] for name in names]), value) for trial, value in told])
        attributes = planned[1 + 8 * round_].system_attributes
        parts = [attributes[f"cma:optimizer:{part}"] for part in range(len(attributes) - 1)]
        kept = pickle.loads(bytes.fromhex("".join(parts)))  # noqa: S301 - made above
        assert kept.generation == round_
        np.testing.assert_allclose(kept.mean, peer.mean, rtol=0, atol=1e-12)
        np.testing.assert_allclose(kept._C, peer._C, rtol=0, atol=1e-12)
        others = [dict(trial.system_attributes) for trial in planned if trial.round == round_][1:]
        assert others == [{"cma:generation": round_}] * 7


def test_a_generation_of_cma_es_with_failed_trials_is_filled_up_in_the_next_round() -> None:
    spec = adaptive_spec("cmaes", points=48)
    planned, _ = play(spec, bowl, lambda t: TrialState.FAIL if t.number in (9, 12) else TrialState.COMPLETE)
    generations = [trial.system_attributes["cma:generation"] for trial in planned if trial.number % 8 == 1]
    # Trial 9 had the state of generation 1: the round after it makes it anew from generation 0.
    assert generations == [0, 1, 1, 2, 3, 4]


# NSGA-II


def test_nsga_2_makes_children_of_its_parents_and_comes_nearer_to_the_front() -> None:
    planned, trials = play(adaptive_spec("nsga2", points=128, batch=16), two_bowls)
    assert [t.system_attributes["NSGAIISampler:generation"] for t in planned] == [0] + [n // 16 for n in range(128)]
    earlier = {unit for trial in planned if trial.round < 7 for unit in trial.unit.values()}
    inherited = [unit in earlier for trial in planned if trial.round == 7 for unit in trial.unit.values()]
    assert 0.4 < sum(inherited) / len(inherited) < 1
    reference = np.array([1.0, 1.0])
    last = np.array([trial.values for trial in trials[-32:]])
    by_chance = np.array([trial.values for trial in trials[1:33]])
    volume = optuna._hypervolume.compute_hypervolume
    assert volume(last, reference) > volume(by_chance, reference)
    assert np.median(last.sum(axis=1)) < np.median(by_chance.sum(axis=1)) * 2 / 3


def test_a_default_on_its_axes_is_a_parent_and_one_off_them_is_none() -> None:
    on_axes = ask_round(adaptive_spec("nsga2"), WORKLOAD, adaptive_spec("nsga2").optimizers[0], round_=0, history=[])
    assert on_axes[0].system_attributes == {"NSGAIISampler:generation": 0}
    spec = adaptive_spec("nsga2", {"weight_decay": {"low": 1e-5, "high": 1e-1, "scale": "log"}}, points=24)
    planned, trials = play(spec, two_bowls)  # weight decay is 0 by default
    assert (dict(planned[0].system_attributes), trials[0].params) == ({}, {})
    assert [trial.round for trial in planned[1:]] == [0] * 8 + [1] * 8 + [2] * 8


def test_nsga_2_reaches_back_through_more_generations_than_calls_may_be_nested() -> None:
    generations = sys.getrecursionlimit()
    spec = adaptive_spec("nsga2", points=3 * generations, batch=2)
    first, _ = play(spec, two_bowls, rounds=1)
    optuna_study = optuna.create_study(directions=["minimize", "minimize"])
    optuna_study.add_trial(end_trial(spec, first[0], two_bowls(first[0])))
    for number in range(2 * generations):
        trial = replace(first[1 + number % 2], system_attributes={"NSGAIISampler:generation": number // 2})
        optuna_study.add_trial(end_trial(spec, trial, two_bowls(trial)))
    space, history = spec.optimizers[0], optuna_study.get_trials()
    asked = ask_round(spec, WORKLOAD, space, round_=generations, history=history)
    assert [trial.system_attributes["NSGAIISampler:generation"] for trial in asked] == [generations] * 2


# Brute force

COUNTABLE = {
    "schedule": {"choices": ["constant", "cosine"]},
    "epochs": {"low": 1, "high": 4},
    "batch_size": {"low": 2, "high": 5, "when": 'schedule == "cosine"'},
}


def test_brute_force_tries_every_allowed_combination_once_as_optuna_does() -> None:
    spec = adaptive_spec("brute_force", COUNTABLE, points=100, batch=5, constraints=["epochs + batch_size < 69"])
    planned, _ = play(spec, bowl)
    found = [tuple(sorted(active_values(spec, trial).items())) for trial in planned[1:]]
    # The batch size of the workload, 64, goes with up to 4 epochs, 2 to 5 with all: nothing is left out but 64 + 5.
    assert len(found) == len(set(found)) == 4 + 4 * 4
    assert spec.trial_count == 1 + len(found)

    def objective(optuna_trial: optuna.Trial) -> float:
        if optuna_trial.suggest_categorical("schedule", ["constant", "cosine"]) == "cosine":
            optuna_trial.suggest_int("batch_size", 2, 5)
        return optuna_trial.suggest_int("epochs", 1, 4)

    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        sampler = optuna.samplers.BruteForceSampler(seed=0)
    optuna_study = optuna.create_study(sampler=sampler)
    optuna_study.optimize(objective)
    assert set(found) == {tuple(sorted(trial.params.items())) for trial in optuna_study.trials}


def test_brute_force_leaves_out_what_constraints_forbid_and_ends_with_its_points() -> None:
    spec = adaptive_spec("brute_force", COUNTABLE, points=7, batch=3, constraints=["epochs * batch_size >= 12"])
    planned, _ = play(spec, bowl)
    assert [trial.round for trial in planned] == [0, 0, 0, 0, 1, 1, 1, 2]
    assert all(t.hyperparameters["epochs"] * t.hyperparameters["batch_size"] >= 12 for t in planned[1:])
    (order,) = {tuple(t.number for t in planned)}
    assert order == tuple(range(8))
    again = adaptive_spec("brute_force", COUNTABLE, points=7, batch=3, constraints=spec.optimizers[0].constraints)
    assert play(again, bowl)[0] == planned


# Every point


def check_points(kind: str, seed: int, batch: int, share: float) -> None:
    """All points of a small study in a mixed space under a constraint that leaves a share of it."""
    design = {"points": 3 * batch, "batch": batch, **({} if kind == "nsga2" else {"startup_trials": 3})}
    constraint = f"lr * batch_size < {1000 * share!r}"
    spec = adaptive_spec(kind, MIXED_AXES, study_seed=seed, constraints=[constraint], **design)
    space = spec.optimizers[0]
    planned, _ = play(spec, objective_of(kind))
    assert len(planned) == 1 + 3 * batch
    for trial in planned[1:]:
        values = trial.hyperparameters
        assert values["lr"] * values["batch_size"] < 1000 * share
        assert values["batch_size"] == round(values["batch_size"])
        for name, axis in space.axes.items():
            active = name != "weight_decay" or values["schedule"] == "cosine"
            assert axis.contains(values[name]) if active else values[name] == 0.0
            assert (trial.unit[name] is not None) == active


SEEDS, SHARES = st.integers(0, 2**63 - 1), st.floats(0.02, 2.0)


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
@given(seed=SEEDS, batch=st.integers(2, 6), share=SHARES)
@settings(max_examples=25)
def test_every_point_is_in_the_space_and_meets_the_constraints(kind: str, seed: int, batch: int, share: float) -> None:
    check_points(kind, seed, batch, share)


@given(seed=SEEDS, share=SHARES)
@settings(max_examples=3)
def test_every_point_of_gp_is_in_the_space_and_meets_the_constraints(seed: int, share: float) -> None:
    check_points("gp", seed, 2, share)


def test_a_proposal_that_is_not_allowed_gives_way_to_an_allowed_point_near_it() -> None:
    # The best point is at 0.3 on each axis; a fifth of the cube around it is forbidden.
    spec = adaptive_spec("gp", points=16, batch=4, constraints=["log10(lr) > -0.4"])
    planned, _ = play(spec, bowl)
    last = [trial.unit["lr"] for trial in planned[-4:]]
    assert min(last) >= 0.4
    assert np.median(last) < 0.55


def test_constraints_that_nothing_meets_are_refused() -> None:
    spec = adaptive_spec("tpe", constraints=["lr > 100"])
    with pytest.raises(
        ValueError, match=r"no setting of adai was found that meets lr > 100: none of 20000 random points"
    ):
        play(spec, bowl)


def test_a_history_that_is_not_that_of_the_rounds_before_is_refused() -> None:
    spec = adaptive_spec("tpe", points=16)
    space = spec.optimizers[0]
    planned, trials = play(spec, bowl, rounds=1)

    def ask(history: list[FrozenTrial]) -> list[PlannedTrial]:
        return ask_round(spec, WORKLOAD, space, round_=1, history=history)

    assert len(ask(trials)) == 8
    for wrong in ([], trials[:-1], trials[::-1], [*trials, trials[0]]):
        with pytest.raises(ValueError, match="it must have all 9 of the rounds before, in their order"):
            ask(wrong)
    running = end_trial(spec, planned[3], [0.0], TrialState.RUNNING)
    running.number = 3
    with pytest.raises(ValueError, match=r"the trials \[3\] of earlier rounds have not ended"):
        ask([*trials[:3], running, *trials[4:]])


def test_the_last_round_has_what_is_left_and_then_there_is_none() -> None:
    spec = adaptive_spec("tpe", points=10, batch=4)
    planned, trials = play(spec, bowl)
    sizes = [len(list(group)) for _, group in itertools.groupby(planned, key=lambda trial: trial.round)]
    assert sizes == [5, 4, 2]
    assert ask_round(spec, WORKLOAD, spec.optimizers[0], round_=3, history=trials) == []
