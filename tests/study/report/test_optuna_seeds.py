"""Trials of Optuna are grouped into settings and seeds, and what chose them is told where it is known."""

import math
from pathlib import Path

import numpy as np
import optuna
import pytest
from foreign_studies import SPREAD, add, made, observed, only_cell, optimize, said, two_axes
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from study.errors import RequestError
from study.report.foreign.from_optuna import read_optuna


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"journal:{tmp_path}/journal.log"


def test_equal_parameters_are_repeats_of_a_setting(url: str) -> None:
    trials = [made(float(i), lr=lr, beta=beta) for i, (lr, beta) in enumerate(SPREAD * 3)][:-1]
    add(url, "mine", trials)
    seen = observed(url)
    cell = only_cell(seen)
    assert cell.number_N.tolist() == [0, 1, 2, 3]
    assert cell.objective_NS[:3].tolist() == [[0.0, 4.0, 8.0], [1.0, 5.0, 9.0], [2.0, 6.0, 10.0]]
    # One run fewer: it does not exist, so its trial has finished.
    assert cell.objective_NS[3, :2].tolist() == [3.0, 7.0]
    assert math.isnan(cell.objective_NS[3, 2])
    assert cell.finished_N.all()
    assert (seen.info.seeds, seen.info.paired_seeds, seen.info.cells[0].planned) == (3, False, 4)
    assert said(seen, "Settings with fewer runs than 3: 1.")
    assert said(seen, "No seed is stored")


@pytest.mark.parametrize("kept_as", ["parameter", "attribute"])
def test_a_named_seed_pairs_runs(url: str, kept_as: str) -> None:
    seeds = CategoricalDistribution([11, 7])
    for name, order in (("a", (11, 7)), ("b", (7, 11))):
        trials = [
            made(float(seed), lr=lr, beta=beta, distributions={"init": seeds}, init=seed)
            if kept_as == "parameter"
            else made(float(seed), lr=lr, beta=beta, user={"init": seed})
            for lr, beta in SPREAD
            for seed in order
        ]
        add(url, name, trials)
    seen = observed(url, "a", "b", seed_name="init")
    assert (seen.info.paired_seeds, seen.info.seeds) == (True, 2)
    for cell in seen.cells:
        assert [axis.name for axis in cell.axes] == ["lr", "beta"]
        assert cell.objective_NS.tolist() == [[7.0, 11.0]] * 4


def test_a_seed_that_is_found_by_its_name_pairs_nothing(url: str) -> None:
    trials = [made(float(seed), lr=lr, beta=beta, user={"seed": seed}) for lr, beta in SPREAD for seed in (2, 1)]
    add(url, "mine", trials)
    seen = observed(url)
    assert (seen.info.paired_seeds, seen.info.seeds) == (False, 2)
    assert only_cell(seen).objective_NS[0].tolist() == [1.0, 2.0]
    assert said(seen, "seed is taken for the seed", "--seed seed")


def test_a_seed_that_some_settings_lack_keeps_its_place(url: str) -> None:
    trials = [made(float(s), lr=lr, beta=0.5, user={"seed": s}) for lr, s in ((0.1, 0), (0.1, 1), (0.2, 1), (0.2, 2))]
    add(url, "mine", trials)
    cell = only_cell(observed(url, seed_name="seed"))
    assert np.array_equal(cell.objective_NS, [[0.0, 1.0, math.nan], [math.nan, 1.0, 2.0]], equal_nan=True)
    assert cell.mean_N.tolist() == [0.5, 1.5]


def test_seeds_of_their_own_make_no_table_of_seeds(url: str) -> None:
    add(url, "mine", [made(1.0, lr=lr, beta=beta, user={"seed": i}) for i, (lr, beta) in enumerate(SPREAD)])
    seen = observed(url, seed_name="seed")
    assert (seen.info.seeds, seen.info.paired_seeds) == (1, False)
    assert only_cell(seen).objective_NS.shape == (4, 1)
    assert said(seen, "do not share their seeds")


def test_a_seed_that_is_there_twice_counts_once(url: str) -> None:
    trials = [
        made(None, TrialState.FAIL, lr=0.1, beta=0.5, user={"seed": 0}),
        made(1.0, lr=0.1, beta=0.5, user={"seed": 0}),
        made(9.0, lr=0.1, beta=0.5, user={"seed": 0}),
        made(3.0, lr=0.1, beta=0.5, user={"seed": 1}),
        made(4.0, lr=0.2, beta=0.5, user={"seed": 1}),
    ]
    add(url, "mine", trials)
    seen = observed(url, seed_name="seed")
    assert only_cell(seen).mean_N.tolist() == [2.0, 4.0]
    assert only_cell(seen).number_N.tolist() == [0, 4]
    assert said(seen, "Trials that repeat a setting with a seed", ": 1.")
    assert said(seen, "Failed trials that were tried again: 1.")
    assert [(f.attempts, f.reason) for f in seen.info.failures] == [(1, "it was tried again")]


def test_what_optuna_tried_again_counts_once(url: str) -> None:
    trials = [
        made(None, TrialState.FAIL, lr=0.1, beta=0.5),
        made(1.0, lr=0.2, beta=0.5),
        made(2.0, lr=0.1, beta=0.5, system={"failed_trial": 0, "retry_history": [0], "fixed_params": {"lr": 0.1}}),
    ]
    add(url, "mine", trials)
    seen = observed(url)
    assert sorted(only_cell(seen).mean_N.tolist()) == [1.0, 2.0]
    assert not only_cell(seen).is_default_N.any()


def test_a_seed_that_no_trial_has_is_refused(url: str) -> None:
    add(url, "mine", [made(1.0, lr=0.1, beta=0.5, user={"note": "x"})])
    with pytest.raises(RequestError, match=r"called init; they have: lr, beta, note"):
        read_optuna(url, [], seed_name="init")


def test_an_enqueued_first_trial_is_the_default_setting(url: str) -> None:
    optimize(url, "mine", two_axes, trials=6, enqueue=[{"lr": 0.01, "beta": 0.9}])
    seen = observed(url)
    cell = only_cell(seen)
    assert cell.is_default_N.tolist() == [True] + [False] * 5
    assert cell.default == 0
    assert [axis.default for axis in cell.axes] == [0.01, 0.9]
    assert seen.runs["origin"].to_list() == ["default"] + ["design"] * 5
    assert said(seen, "Trial 0", "default setting")


def test_a_default_may_lie_outside_its_range_but_no_point_may(url: str) -> None:
    with pytest.warns(UserWarning, match="out of range"):
        optimize(url, "a", two_axes, trials=4, enqueue=[{"lr": 5.0, "beta": 0.5}])
    assert only_cell(observed(url)).unit_ND[0, 0] > 1
    with pytest.warns(UserWarning, match="out of range"):
        optimize(url, "b", two_axes, trials=4, enqueue=[{"lr": 0.1, "beta": 0.5}, {"lr": 5.0, "beta": 0.5}])
    seen = observed(url, "b")
    assert only_cell(seen).finished_N.tolist() == [True, False, True, True]
    assert "lr = 5 lies outside" in seen.info.failures[0].reason


def test_a_list_of_enqueued_trials_has_no_default(url: str) -> None:
    optimize(url, "mine", two_axes, trials=4, enqueue=[{"lr": 0.01}, {"lr": 0.1}])
    seen = observed(url)
    assert not only_cell(seen).is_default_N.any()
    assert said(seen, "Settings that a person enqueued: 2.")


@pytest.mark.parametrize(
    ("sampler", "kind", "is_sample", "is_random"),
    [
        (lambda: optuna.samplers.RandomSampler(seed=0), "unknown", False, False),
        (lambda: optuna.samplers.QMCSampler(seed=0, warn_independent_sampling=False), "qmc", True, True),
        (lambda: optuna.samplers.GridSampler({"lr": [0.01, 0.1], "beta": [0.1, 0.5, 0.9]}), "grid", True, False),
        (lambda: optuna.samplers.TPESampler(seed=0, n_startup_trials=2), "adaptive", False, False),
        (lambda: optuna.samplers.NSGAIISampler(seed=0, population_size=2), "adaptive", False, False),
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_samplers_are_known_by_their_traces(
    url: str, sampler: object, kind: str, is_sample: bool, is_random: bool
) -> None:
    optimize(url, "mine", two_axes, trials=6, sampler=sampler())  # type: ignore[operator]
    info = observed(url).info
    assert (info.design_kind, info.is_sample, info.is_random) == (kind, is_sample, is_random)


def test_a_sampler_that_is_told_counts_unless_another_left_traces(url: str) -> None:
    optimize(url, "random", two_axes)
    optimize(url, "tpe", two_axes, sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=2))
    told = observed(url, "random", sampler="random")
    assert (told.info.is_sample, told.info.is_random, told.info.design) == (True, True, "8 random settings")
    assert not observed(url, "tpe", sampler="random").info.is_sample
    both = observed(url, "random", "tpe", sampler="random")
    assert not both.info.is_sample
    assert said(both, "although random was given")
    assert said(observed(url, "random"), "--sampler random")
