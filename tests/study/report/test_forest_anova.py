"""Tests of fANOVA: closed forms, Optuna's on the same forest, brute force, choices, and its fault on log axes."""

import itertools

import numpy as np
import optuna
import pytest
from optuna.importance import FanovaImportanceEvaluator
from scipy.stats import qmc
from sklearn.ensemble import RandomForestRegressor

from study.axis import AxisSpec
from study.report.measures.importance.forest_anova import measure_forest
from study.report.measures.importance.variance import axis_pairs, find_levels, sobol_indices


def points(count, axes, seed=1):
    return qmc.Sobol(axes, rng=np.random.default_rng(seed)).random(count)


def learn(unit, values, trees=30, leaf=1, seed=2):
    return RandomForestRegressor(trees, min_samples_leaf=leaf, random_state=seed).fit(unit, values)


def log_bowl(unit):
    return np.minimum((5 * unit[:, 0] - 1) ** 2, 1) + 0.8 * (unit[:, 1] - 0.5) ** 2


def ishigami(unit):
    x = 2 * np.pi * unit - np.pi
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def means(fractions):
    return [fraction.mean for fraction in fractions]


def optuna_study(names, distributions, rows, values):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for row, value in zip(rows, values, strict=True):
        parameters = dict(zip(names, map(float, row), strict=True))
        trial = optuna.create_trial(params=parameters, distributions=dict(distributions), value=float(value))
        study.add_trial(trial)
    return study


@pytest.mark.parametrize("axes", [2, 3])
def test_fractions_are_those_of_optuna_where_all_axes_are_linear(axes):
    unit = points(64, axes)
    values = log_bowl(unit) + unit[:, 0] * unit[:, -1]
    names = [f"x{axis}" for axis in range(axes)]
    study = optuna_study(names, {name: optuna.distributions.FloatDistribution(0, 1) for name in names}, unit, values)
    theirs = FanovaImportanceEvaluator(n_trees=12, max_depth=64, seed=5).evaluate(study)

    # The same forest: they learn from the same numbers with the same settings.
    forest = RandomForestRegressor(12, max_depth=64, min_samples_split=2, min_samples_leaf=1, random_state=5)
    ours = measure_forest(forest.fit(unit, values).estimators_, [None] * axes)
    assert ours is not None
    assert means(ours.axes) == pytest.approx([theirs[name] for name in names], abs=1e-9)


def test_the_learning_rate_matters_in_log_and_optuna_has_it_wrong():
    """The function min((log10 lr + 4)^2, 1) + .8 (beta - .5)^2 with lr from 1e-5 to 1: lr has 0.976."""
    unit = points(128, 2)
    values = log_bowl(unit)
    distributions = {
        "lr": optuna.distributions.FloatDistribution(1e-5, 1, log=True),
        "beta": optuna.distributions.FloatDistribution(0, 1),
    }
    rows = np.column_stack([10 ** (5 * unit[:, 0] - 5), unit[:, 1]])
    theirs = FanovaImportanceEvaluator(n_trees=8, seed=1).evaluate(
        optuna_study(["lr", "beta"], distributions, rows, values)
    )
    ours = measure_forest(learn(unit, values).estimators_, [None, None])
    assert ours is not None
    assert ours.axes[0].mean == pytest.approx(0.976, abs=0.01)
    assert theirs["lr"] < 0.5 < theirs["beta"]


def test_fractions_approach_the_ishigami_function_s_indices():
    unit = points(2**14, 3)
    found = measure_forest(learn(unit, ishigami(unit), trees=2, leaf=4).estimators_, [None] * 3)
    assert found is not None
    assert means(found.axes) == pytest.approx([0.3139, 0.4424, 0.0], abs=0.03)
    assert means(found.pairs) == pytest.approx([0.0, 0.2437, 0.0], abs=0.03)


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_fractions_of_a_tree_are_its_sobol_indices(axes):
    unit = points(64, axes)
    values = np.sin(5 * unit.sum(axis=1)) + unit[:, 0] * unit[:, -1]
    forest = learn(unit, values, trees=1, leaf=3)
    found = measure_forest(forest.estimators_, [None] * axes)
    sampled = sobol_indices(forest.predict, [None] * axes, samples=2**12, seed=3)
    assert found is not None
    assert sampled is not None
    assert means(found.axes) == pytest.approx(sampled.first_D, abs=0.02)
    assert means(found.pairs) == pytest.approx(sampled.pair_P, abs=0.03)
    assert found.axes[0].sd is None


def test_fractions_of_a_tree_are_those_of_brute_force_on_a_grid():
    """Places on a grid of eighths: all thresholds lie on sixteenths, so 16 midpoints an axis say all of a tree."""
    grid = np.array(list(itertools.product((np.arange(8) + 0.5) / 8, repeat=3)))
    values = np.sin(7 * grid[:, 0]) * grid[:, 1] + grid[:, 2] ** 2 * grid[:, 0]
    forest = learn(grid, values, trees=3)
    middles = (np.arange(16) + 0.5) / 16
    cube = np.array(list(itertools.product(middles, repeat=3)))
    rows = []
    for tree in forest.estimators_:
        f = tree.predict(cube).reshape(16, 16, 16)
        alone = [f.mean(axis=tuple({0, 1, 2} - {i})).var() for i in range(3)]
        both = [f.mean(axis=({0, 1, 2} - {i, j}).pop()).var() - alone[i] - alone[j] for i, j in axis_pairs(3)]
        rows.append(np.array([*alone, *both]) / f.var())
    found = measure_forest(forest.estimators_, [None] * 3)
    assert found is not None
    assert [*means(found.axes), *means(found.pairs)] == pytest.approx(np.mean(rows, axis=0), abs=1e-6)
    assert [one.sd for one in (*found.axes, *found.pairs)] == pytest.approx(np.std(rows, axis=0, ddof=1), abs=1e-6)


def test_each_choice_counts_alike_whichever_choices_a_tree_has_seen():
    """Only the outer of three choices are told apart: a threshold in the middle of the second must not split it."""
    axis = AxisSpec(choices=["a", "b", "c"])
    unit = np.column_stack([np.tile([1 / 6, 3 / 6, 5 / 6], 30), np.repeat(np.linspace(0, 1, 30), 3)])
    forest = learn(unit, np.where(unit[:, 0] < 0.4, 1.0, 0.0))
    found = measure_forest(forest.estimators_, [find_levels(axis), None])
    assert found is not None
    assert found.axes[0].mean == pytest.approx(1.0)

    outer = unit[unit[:, 0] != 0.5]
    seen = measure_forest(learn(outer, outer[:, 0], trees=1).estimators_, [find_levels(axis), None])
    assert seen is not None
    assert seen.axes[0].mean == pytest.approx(1.0)


def test_a_known_share_of_choices_is_found():
    """Choices at -1, 0, 1 beside a slope of 1: variances 2/3 and 1/12."""
    unit = points(512, 2)
    unit[:, 0] = (np.floor(3 * unit[:, 0]) + 0.5) / 3
    found = measure_forest(
        learn(unit, 3 * unit[:, 0] + unit[:, 1]).estimators_, [find_levels(AxisSpec(choices=["a", "b", "c"])), None]
    )
    assert found is not None
    assert means(found.axes) == pytest.approx([8 / 9, 1 / 9], abs=0.02)


def test_a_flat_forest_has_no_fractions():
    unit = points(16, 2)
    assert measure_forest(learn(unit, np.full(16, 0.25)).estimators_, [None, None]) is None
