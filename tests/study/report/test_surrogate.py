"""Tests of surrogates: against scikit-learn's own models, recomputed scores, and what they leave alone."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import optuna
import pytest
from made_observations import make_observations
from scipy import optimize
from scipy.stats import qmc
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.model_selection import KFold, cross_val_predict

from study.report.measures import gaussian_process
from study.report.measures.gaussian_process import Encoding, GaussianProcess, Kernel, learn_kernel
from study.report.measures.importance.importance import measure_importance
from study.report.measures.landscape.landscape import measure_landscape
from study.report.measures.surrogate import fit_surrogate, has_variance
from study.report.measures.tree_forest import Forest, draw_samples


def points(count, axes, seed=1):
    return qmc.Sobol(axes, rng=np.random.default_rng(seed)).random(count)


def cliff(unit):
    return np.where(unit[:, 0] > 0.8 - 0.3 * unit[:, 1], 0.9, 0.2 + (unit[:, 0] - 0.6) ** 2)


def bowl(unit):
    return 0.1 + (unit[:, 0] - 0.6) ** 2 + 0.3 * (unit[:, 1] - 0.3) ** 2


def r_squared(values, predicted):
    return 1 - np.sum((values - predicted) ** 2) / np.sum((values - values.mean()) ** 2)


@pytest.fixture
def noisy():
    unit = points(64, 3)
    return unit, bowl(unit) + np.random.default_rng(2).normal(0, 0.05, len(unit))


def test_the_gaussian_process_is_that_of_scikit_learn(noisy):
    unit, values = noisy
    kernel = Kernel(1.7, 0.03, np.array([0.2, 0.9, 4.0]))
    ours = GaussianProcess(unit, values, Encoding.of(unit, [0, 0, 0]), kernel)
    same = ConstantKernel(1.7) * Matern([0.2, 0.9, 4.0], nu=2.5) + WhiteKernel(0.03)
    scaled = (values - values.mean()) / values.std()
    theirs = GaussianProcessRegressor(same, optimizer=None, alpha=1e-8).fit(unit, scaled)
    places = np.random.default_rng(3).random((600, 3))
    mean, deviation = theirs.predict(places, return_std=True)
    np.testing.assert_allclose(ours.predict(places), values.mean() + values.std() * mean, atol=1e-12)
    np.testing.assert_allclose(ours.spread(places), values.std() * np.sqrt(deviation**2 - 0.03), atol=1e-10)


def test_its_likelihood_is_that_of_scikit_learn_and_its_gradient_is_a_slope(noisy):
    unit, values = noisy
    scaled = (values - values.mean()) / values.std()
    squares = (unit.T[:, :, None] - unit.T[:, None, :]) ** 2
    for theta in np.log([[1, 0.05, 0.5, 0.5, 0.5], [0.3, 1e-3, 0.1, 2, 0.7]]):
        lost, gradient = gaussian_process._lose_likelihood(theta, squares, scaled)
        amplitude, noise, *lengths = np.exp(theta)
        same = ConstantKernel(amplitude) * Matern(lengths, nu=2.5) + WhiteKernel(noise)
        theirs = GaussianProcessRegressor(same, optimizer=None, alpha=1e-8).fit(unit, scaled)
        assert -lost == pytest.approx(theirs.log_marginal_likelihood_value_, rel=1e-9)
        slope = optimize.approx_fprime(
            theta, lambda at: gaussian_process._lose_likelihood(at, squares, scaled)[0], 1e-6
        )
        np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=1e-3)


def test_its_hyperparameters_find_noise_and_an_axis_that_does_not_matter(noisy):
    unit, values = noisy
    kernel = learn_kernel(unit, values)
    assert np.sqrt(kernel.noise) * values.std() == pytest.approx(0.05, rel=0.35)
    assert kernel.length_F[2] > 10 * kernel.length_F[0]


def test_the_cross_validated_score_is_that_of_predictions_of_points_that_were_not_learned_from(noisy):
    unit, values = noisy
    found = fit_surrogate(unit, values, seed=7)
    assert found is not None
    splits = list(KFold(10, shuffle=True, random_state=7).split(unit))
    predicted = np.full(len(unit), np.nan)
    for model, (_, left) in zip(found.folds, splits, strict=True):
        predicted[left] = model.predict(unit[left])
    assert found.r2 == pytest.approx(r_squared(values, predicted))
    kernel = ConstantKernel() * Matern([0.5] * 3, nu=2.5) + WhiteKernel(0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cross_val_predict(
            GaussianProcessRegressor(kernel, normalize_y=True), unit, values, cv=KFold(10, shuffle=True, random_state=1)
        )
    assert found.r2 == pytest.approx(r_squared(values, theirs), abs=0.05)


def test_the_forest_predicts_as_well_as_that_of_scikit_learn():
    unit, places = points(256, 3), points(1024, 3, seed=9)
    for noise in (0.0, 0.1):
        values = cliff(unit) + np.random.default_rng(4).normal(0, noise, len(unit))
        ours = Forest(unit, values, draw_samples(len(unit), 100, seed=1))
        theirs = RandomForestRegressor(100, min_samples_leaf=2, random_state=1).fit(unit, values)
        score = r_squared(cliff(places), ours.predict(places))
        assert score > r_squared(cliff(places), theirs.predict(places)) - 0.02
        assert ours.spread(places).max() < 0.9


@pytest.mark.parametrize(("count", "size"), [(12, 8), (24, 15), (64, 32), (1001, 500)])
def test_trees_learn_from_half_of_the_points_and_of_few_from_as_many_as_a_bootstrap_has(count, size):
    drawn = draw_samples(count, 200, seed=3)
    assert (drawn.sum(axis=1) == size).all()
    assert drawn.mean(axis=0) == pytest.approx(size / count, abs=0.2)
    np.testing.assert_array_equal(drawn, draw_samples(count, 200, seed=3))


def test_models_of_folds_do_not_know_what_was_left_out():
    """A wild number at one point moves every model but the one that was learned without it."""
    unit = points(64, 2)
    values = np.floor(4 * unit[:, 0]) + 2 * (unit[:, 1] > 0.5)
    changed = values.copy()
    changed[5] += 0.3
    one, other = fit_surrogate(unit, values, seed=2), fit_surrogate(unit, changed, seed=2)
    assert one is not None
    assert other is not None
    assert one.kind == other.kind == "random forest"
    fold = next(n for n, (_, left) in enumerate(KFold(10, shuffle=True, random_state=2).split(unit)) if 5 in left)
    same = [np.array_equal(a.predict(unit), b.predict(unit)) for a, b in zip(one.folds, other.folds, strict=True)]
    assert same == [place == fold for place in range(10)]


def test_a_forest_that_is_clearly_worse_is_scored_out_of_the_bag_as_well_as_by_folds():
    unit = points(256, 3)
    values = bowl(unit)
    found = fit_surrogate(unit, values, seed=4)
    assert found is not None
    assert found.kind == "Gaussian process"
    forest = RandomForestRegressor(100, min_samples_leaf=2, random_state=1)
    folded = cross_val_predict(forest, unit, values, cv=KFold(10, shuffle=True, random_state=4))
    assert found.r2_other == pytest.approx(r_squared(values, folded), abs=0.03)


@pytest.mark.parametrize("lacking", [[3], [0, 63], list(range(40))])
def test_an_axis_that_hardly_any_or_many_points_lack_can_be_learned_from(lacking):
    """The folds that hold all of those points see the axis everywhere, and the others do not."""
    unit = points(64, 2)
    values = unit[:, 0] + 0.1 * unit[:, 1]
    unit[lacking, 1] = np.nan
    values[lacking] = unit[lacking, 0] + 0.5
    found = fit_surrogate(unit, values, seed=1)
    assert found is not None
    assert np.isfinite(found.predict(unit)).all()
    assert all(np.isfinite(fold.predict(unit)).all() for fold in found.folds)


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e200, 1e308])
def test_numbers_whose_squares_floats_cannot_hold_have_no_surrogate(scale):
    unit = points(32, 2)
    assert not has_variance(scale * unit[:, 0])
    assert fit_surrogate(unit, scale * unit[:, 0], seed=1) is None


def test_measures_in_threads_leave_warnings_logs_and_random_numbers_alone(monkeypatch):
    """Filters of warnings belong to the process: a thread that sets them may leave them so for all others."""
    observations = make_observations({("w", "o"): bowl, ("v", "o"): cliff}, points=64, noise=0.02)

    def forbidden(_):
        raise AssertionError("a measure set the filters of warnings")

    def measure(cell):
        own = cell.design_N
        surrogate = fit_surrogate(cell.unit_ND[own], cell.mean_N[own], seed=1)
        return measure_landscape(cell, surrogate, planned=64), measure_importance(cell, surrogate, observations.info)

    before = (list(warnings.filters), np.geterr(), optuna.logging.get_verbosity(), np.random.get_state()[1].tolist())
    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(warnings.catch_warnings, "__enter__", forbidden)
        in_threads = list(pool.map(measure, observations.cells))
    after = (list(warnings.filters), np.geterr(), optuna.logging.get_verbosity(), np.random.get_state()[1].tolist())
    assert before == after
    assert in_threads == [measure(cell) for cell in observations.cells]
