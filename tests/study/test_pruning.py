"""Pruning: worked examples of the papers, Optuna's own pruner beside ours, and decisions that no order changes."""

import random

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial
from pydantic import ValidationError

from study.design_spec import DesignSpec, PruningSpec
from study.pruning import Cohort, Stage, bracket_sizes, find_pruned, p_value, plan_cohorts

HYPERBAND = PruningSpec(kind="hyperband")
HALVING = PruningSpec(kind="successive_halving")
WILCOXON = PruningSpec(kind="wilcoxon")


def run_cohort(cohort: Cohort, pruning: PruningSpec, values: dict[int, float]) -> list[tuple[int, int | None]]:
    """Trials that train in each stage, and until when, if a trial's objective is always the same."""
    training, counts = set(cohort.numbers), []
    for stage in cohort.stages:
        counts.append((len(training - {0}), stage.stop_epoch))
        if stage is not cohort.stages[-1]:
            training -= set(find_pruned(pruning, stage, {number: [values[number]] for number in training}, {}))
    return counts


# By epochs


def test_brackets_are_those_of_table_1_of_the_paper() -> None:
    table = {  # Li et al. 2018: n_i, r_i for R = 81, eta = 3
        4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, None)],
        3: [(34, 3), (11, 9), (3, 27), (1, None)],
        2: [(15, 9), (5, 27), (1, None)],
        1: [(8, 27), (2, None)],
        0: [(5, None)],
    }
    sizes = {s: rows[0][0] for s, rows in table.items()}
    assert bracket_sizes(HYPERBAND, 81) == sizes
    cohorts = plan_cohorts(HYPERBAND, budget=81, seeds=2, numbers=range(sum(sizes.values()) + 1))
    values = {number: (number * 37 % 101) / 101 for number in range(144)}
    assert {cohort.bracket: run_cohort(cohort, HYPERBAND, values) for cohort in cohorts} == table
    assert all(stage.seeds == range(2) for cohort in cohorts for stage in cohort.stages)


@given(
    budget=st.integers(2, 300),
    eta=st.integers(2, 5),
    least=st.integers(1, 10),
    first=st.integers(0, 50),
    count=st.integers(1, 60),
)
def test_every_trial_has_one_bracket_and_brackets_keep_their_proportions(
    budget: int, eta: int, least: int, first: int, count: int
) -> None:
    pruning = PruningSpec(kind="hyperband", min_epochs=least, reduction_factor=eta)
    numbers = range(first, first + count)
    cohorts = plan_cohorts(pruning, budget=budget, seeds=3, numbers=numbers)
    assert [number for cohort in cohorts for number in cohort.numbers] == list(numbers)
    sizes = bracket_sizes(pruning, budget)
    compared = count - (first == 0)
    for cohort in cohorts:
        expected = compared * sizes[cohort.bracket] / sum(sizes.values())
        assert abs(len(set(cohort.numbers) - {0}) - expected) < 1
        stops = [stage.stop_epoch for stage in cohort.stages]
        assert stops.pop() is None
        assert all(stop is not None and least <= stop < budget for stop in stops)
        assert stops == sorted(set(stops), key=lambda stop: stop or 0)


def test_successive_halving_keeps_the_best_third_and_says_why_the_others_stop() -> None:
    (cohort,) = plan_cohorts(HALVING, budget=10, seeds=2, numbers=range(8))
    # 10 / 9 and 10 / 3 epochs, and all of them
    assert cohort.stages == (Stage(range(2), 1), Stage(range(2), 3), Stage(range(2), None))
    objectives = {0: (9.0, 9.0), 1: (3, 5), 2: (1, 2), 3: (2, 2), 4: (7, 7), 5: (1, 1), 6: (2, 1), 7: (6, 6)}
    # means 4, 1.5, 2, 7, 1, 1.5, 6; two of seven go on, and of the equals 2 and 6 the first
    assert find_pruned(HALVING, cohort.stages[0], objectives, {}) == {
        6: "stopped after epoch 1: rank 3 of 7, the best 2 went on",
        3: "stopped after epoch 1: rank 4 of 7, the best 2 went on",
        1: "stopped after epoch 1: rank 5 of 7, the best 2 went on",
        7: "stopped after epoch 1: rank 6 of 7, the best 2 went on",
        4: "stopped after epoch 1: rank 7 of 7, the best 2 went on",
    }
    rest = {number: objectives[number] for number in (0, 2, 5)}
    assert find_pruned(HALVING, cohort.stages[1], rest, {}) == {
        2: "stopped after epoch 3: rank 2 of 2, only the best went on"
    }


def test_a_trial_alone_goes_on_and_so_does_the_default() -> None:
    assert find_pruned(HALVING, Stage(range(2), 1), {0: [5.0, 5.0], 3: [9.0, 9.0]}, {}) == {}
    assert find_pruned(HALVING, Stage(range(2), 1), {}, {}) == {}


def test_without_pruning_all_trials_do_one_whole_stage() -> None:
    cohorts = plan_cohorts(PruningSpec(), budget=10, seeds=3, numbers=[0, 1, 2])
    assert cohorts == [Cohort((0, 1, 2), (Stage(range(3)),))]


# By seeds


def test_each_seed_after_the_first_ones_is_a_stage() -> None:
    (cohort,) = plan_cohorts(WILCOXON, budget=10, seeds=6, numbers=[4, 5])
    assert cohort.stages == (Stage(range(4)), Stage(range(4, 5)), Stage(range(5, 6)))


def test_a_trial_stops_when_the_signed_rank_test_says_it_is_worse_than_the_best() -> None:
    # Worse in all four pairs: one of 2^4 signs is as extreme, p = 1/16. In three of four, the least difference
    # reversed: two of 16, p = 1/8.
    best, worse, similar = [0.10, 0.20, 0.10, 0.20], [0.30, 0.50, 0.40, 0.70], [0.09, 0.25, 0.16, 0.28]
    assert p_value(worse, best) == pytest.approx(1 / 16)
    assert p_value(similar, best) == pytest.approx(2 / 16)
    objectives = {3: worse, 5: similar, 7: best}
    reason = "seed 4 and later not run: p = 0.062 against trial 7 after 4 seeds"
    assert find_pruned(WILCOXON, Stage(range(4)), objectives, {}) == {3: reason}


def test_the_best_may_be_finished_already_or_the_default_and_the_default_is_not_stopped() -> None:
    worse, best = [0.3, 0.5, 0.4, 0.7], [0.1, 0.2, 0.1, 0.2]
    stage = Stage(range(4))
    found = find_pruned(WILCOXON, stage, {9: worse, 8: worse}, {2: [*best, 0.9, 0.9]})
    assert found == dict.fromkeys((8, 9), "seed 4 and later not run: p = 0.062 against trial 2 after 4 seeds")
    assert set(find_pruned(WILCOXON, stage, {0: best, 4: worse}, {})) == {4}
    assert find_pruned(WILCOXON, stage, {0: worse, 4: best}, {}) == {}
    assert find_pruned(WILCOXON, stage, {3: best, 4: best}, {}) == {}


def test_a_trial_with_the_mean_of_the_best_does_not_stop_whatever_the_test_says() -> None:
    differences = [1, 2, 3, 4, 5, 6, 7, 8, -36]  # ranks 1 to 8 of 9: 33 of 2^9 signs are as extreme
    best = [1.0] * 9
    even = [1 + difference / 64 for difference in differences]
    assert p_value(even, best) == pytest.approx(33 / 512)
    assert find_pruned(WILCOXON, Stage(range(8, 9)), {1: best, 2: even}, {}) == {}
    worse = [*even[:-1], even[-1] + 1 / 64]
    assert set(find_pruned(WILCOXON, Stage(range(8, 9)), {1: best, 2: worse}, {})) == {2}


@given(seed=st.integers(0, 10_000), seeds=st.integers(4, 9), spread=st.sampled_from([0.05, 0.2]))
def test_decisions_are_those_of_the_pruner_of_optuna(seed: int, seeds: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    rounded = (lambda values: values.round(1)) if seed % 2 else (lambda values: values)  # with ties and zeros, too
    best = rounded(rng.normal(0.0, spread, seeds)).tolist()
    other = rounded(rng.normal(0.15, spread, seeds)).tolist()
    if sum(best) > sum(other):
        best, other = other, best
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=4)
    optuna_study = optuna.create_study()
    steps = dict(enumerate(best))
    optuna_study.add_trial(create_trial(value=sum(best) / seeds, intermediate_values=steps))
    running = create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(other)))
    expected = pruner.prune(optuna_study, running)
    found = find_pruned(WILCOXON, Stage(range(seeds - 1, seeds)), {1: other, 2: best}, {})
    assert (1 in found) == expected


# Whatever happens


@given(
    values=st.lists(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.9]), min_size=5, max_size=5), min_size=1, max_size=20),
    order=st.randoms(use_true_random=False),
    pruning=st.sampled_from([HALVING, HYPERBAND, WILCOXON]),
)
def test_the_order_in_which_trials_end_changes_nothing(
    values: list[list[float]], order: random.Random, pruning: PruningSpec
) -> None:
    stage = Stage(range(5), 3)
    ended = list(enumerate(values))
    expected = find_pruned(pruning, stage, dict(ended), {})
    order.shuffle(ended)
    assert find_pruned(pruning, stage, dict(ended), {}) == expected
    assert len(expected) < max(len(ended), 1)
    assert 0 not in expected


@pytest.mark.parametrize("pruning", [HALVING, WILCOXON])
def test_a_loss_that_is_not_capped_is_refused(pruning: PruningSpec) -> None:
    with pytest.raises(ValueError, match=r"trial 3 has objectives .* cap them at chance level"):
        find_pruned(pruning, Stage(range(2), 1), {3: [float("nan"), 1.0]}, {})


# The spec


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "wilcoxon", "min_epochs": 2}, 'min_epochs = 2 does nothing with kind = "wilcoxon"; .* leave it out'),
        ({"min_epochs": 2}, 'min_epochs = 2 does nothing with kind = "none"'),
        ({"kind": "hyperband", "p_threshold": 0.2}, "p_threshold = 0.2 does nothing"),
        ({"kind": "successive_halving", "startup_seeds": 3}, "startup_seeds = 3 does nothing"),
        ({"kind": "hyperband", "reduction_factor": 1}, "greater than or equal to 2"),
        ({"kind": "wilcoxon", "p_threshold": 0.0}, "greater than 0"),
    ],
)
def test_fields_that_do_nothing_or_are_out_of_range_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PruningSpec.model_validate(fields)


def test_a_budget_without_a_decision_is_refused() -> None:
    pruning = PruningSpec(kind="hyperband", min_epochs=2, reduction_factor=4)
    with pytest.raises(ValueError, match="needs 8 epochs or more, and there are 7; lower one of the two, or raise"):
        pruning.check_epochs(7)
    pruning.check_epochs(8)
    assert len(bracket_sizes(pruning, 8)) == 2
    assert len(bracket_sizes(pruning, 7)) == 1
    WILCOXON.check_epochs(1)
    PruningSpec().check_epochs(1)


def test_seeds_that_can_stop_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="startup_seeds = 4 must be below seeds = 4"):
        WILCOXON.check_seeds(4)
    WILCOXON.check_seeds(5)
    strict = PruningSpec(kind="wilcoxon", p_threshold=0.01)
    with pytest.raises(ValueError, match=r"6 pairs of seeds have no p-value below 0\.015625, so none below p_thres"):
        strict.check_seeds(7)
    strict.check_seeds(8)  # 2^-7 is below 0.01
    HALVING.check_seeds(1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch": 4}, "batch = 4 is for designs that are asked in rounds .* sobol makes all points at once"),
        ({"kind": "cmaes", "batch": 3}, "batch = 3 is too small a population for cmaes; give at least 4"),
        ({"kind": "nsga2", "batch": 1, "second_objective": "epochs"}, "batch = 1 is too small a population for nsga2"),
        ({"kind": "cmaes", "startup_trials": 4}, "startup_trials = 4 is for tpe and gp; cmaes has no model"),
        ({"kind": "nsga2"}, "nsga2 weighs two objectives; set second_objective"),
        ({"kind": "tpe", "second_objective": "epochs"}, 'second_objective = "epochs" needs kind = "nsga2"'),
    ],
)
def test_fields_of_other_designs_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DesignSpec.model_validate(fields)


@pytest.mark.parametrize("kind", ["tpe", "gp", "brute_force"])
def test_a_design_read_back_with_all_its_fields_is_the_same(kind: str) -> None:
    for design in (DesignSpec.model_validate({"kind": kind, "batch": 1}), DesignSpec()):
        assert DesignSpec.model_validate(design.model_dump()) == design
