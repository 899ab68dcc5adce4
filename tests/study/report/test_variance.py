"""Tests of Sobol' indices: functions with closed forms, a peer library, seed noise, choices."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from SALib.analyze import sobol as salib_analyze
from SALib.sample import sobol as salib_sample
from scipy import stats
from scipy.stats import qmc

from study.axis import AxisSpec
from study.report.measures.importance.variance import (
    SAMPLES,
    Sensitivity,
    axis_pairs,
    find_levels,
    measure_sensitivity,
    sobol_indices,
)
from study.report.measures.surrogate import Surrogate, fit_surrogate


def ishigami(unit):
    x = 2 * np.pi * unit - np.pi
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def log_bowl(unit):
    """A learning rate in log from 1e-5 to 1, capped, beside a decay: f = min((log10 lr + 4)^2, 1) + .8 (b - .5)^2."""
    return np.minimum((5 * unit[:, 0] - 1) ** 2, 1) + 0.8 * (unit[:, 1] - 0.5) ** 2


def of_continuous(function, axes, samples=SAMPLES):
    indices = sobol_indices(function, [None] * axes, samples=samples, seed=7)
    assert indices is not None
    return indices


@functools.cache
def learn(function, points, axes=2, noise=0.0, seed=3):
    unit = qmc.Sobol(axes, rng=np.random.default_rng(seed)).random(points)
    return fit_surrogate(unit, function(unit) + noise * np.random.default_rng(seed).normal(size=points), seed=seed)


def measure(surrogate: Surrogate, axes=2, *, spread=1.0, missed=0.0, seed=1) -> Sensitivity:
    found = measure_sensitivity(surrogate, [None] * axes, spread=spread, missed=missed, seed=seed)
    assert found is not None
    return found


def test_indices_of_the_ishigami_function_are_its_closed_form():
    indices = of_continuous(ishigami, 3)
    assert indices.first_D == pytest.approx([0.3139, 0.4424, 0.0], abs=0.01)
    assert indices.total_D == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.01)
    assert indices.pair_P == pytest.approx([0.0, 0.2437, 0.0], abs=0.01)
    assert indices.deviation == pytest.approx(math.sqrt(13.8446), rel=0.01)


@pytest.mark.parametrize("weights", [(0.0, 1.0, 4.5, 9.0), (1.0, 1.0, 99.0, 0.5, 9.0, 3.0)])
def test_indices_of_the_g_function_are_its_closed_form(weights):
    a = np.array(weights)
    part = 1 / (3 * (1 + a) ** 2)
    variance = np.prod(1 + part) - 1

    indices = of_continuous(lambda unit: np.prod((np.abs(4 * unit - 2) + a) / (1 + a), axis=1), len(a))
    totals = [part[i] * np.prod(1 + np.delete(part, i)) for i in range(len(a))]
    assert indices.first_D == pytest.approx(part / variance, abs=0.012)
    assert indices.total_D == pytest.approx(np.array(totals) / variance, abs=0.012)
    assert indices.pair_P == pytest.approx([part[i] * part[j] / variance for i, j in axis_pairs(len(a))], abs=0.012)


def test_the_interaction_of_a_product_is_a_seventh():
    indices = of_continuous(lambda unit: unit[:, 0] * unit[:, 1], 2)
    assert indices.first_D == pytest.approx([3 / 7, 3 / 7], abs=2e-3)
    assert indices.pair_P == pytest.approx([1 / 7], abs=2e-3)


def test_the_interaction_of_three_axes_is_in_no_pair():
    indices = of_continuous(lambda unit: np.prod(unit - 0.5, axis=1), 3)
    assert np.abs(indices.first_D).max() < 0.01
    assert np.abs(indices.pair_P).max() < 0.02
    assert indices.total_D == pytest.approx([1.0, 1.0, 1.0], abs=0.02)


def test_a_learning_rate_in_log_has_its_known_share():
    assert of_continuous(log_bowl, 2).first_D[0] == pytest.approx(0.976, abs=2e-3)


@settings(max_examples=40)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6).filter(lambda slopes: max(map(abs, slopes)) > 0.1))
def test_an_additive_function_has_no_interactions_and_first_order_equals_total(slopes):
    weight = np.square(slopes)
    indices = of_continuous(lambda unit: unit @ np.array(slopes), len(slopes), samples=256)
    assert indices.first_D == pytest.approx(indices.total_D, abs=1e-9)
    assert indices.first_D == pytest.approx(weight / weight.sum(), abs=0.03)
    assert np.abs(indices.pair_P).max(initial=0.0) < 1e-9


@settings(max_examples=30)
@given(st.integers(2, 4), st.integers(0, 10**6))
def test_a_first_order_index_is_at_most_the_total_one(axes, seed):
    draws = np.random.default_rng(seed)
    centres, widths = draws.random((3, axes)), draws.uniform(0.5, 8.0, (3, axes))

    def bumps(unit):
        return np.exp(-(((unit[:, None, :] - centres) * widths) ** 2).sum(axis=2)).sum(axis=1)

    indices = of_continuous(bumps, axes, samples=128)
    assert (indices.first_D <= indices.total_D + 1e-12).all()
    assert (indices.total_D >= 0).all()


def test_indices_are_those_of_a_peer_library():
    problem = {"num_vars": 3, "names": ["a", "b", "c"], "bounds": [[0, 1]] * 3}
    unit = salib_sample.sample(problem, 1024, calc_second_order=True, seed=3)
    with np.errstate(all="ignore"):
        peer = salib_analyze.analyze(problem, ishigami(unit), calc_second_order=True, seed=3)
    indices = of_continuous(ishigami, 3)
    assert indices.first_D == pytest.approx(peer["S1"], abs=0.03)
    assert indices.total_D == pytest.approx(peer["ST"], abs=0.03)
    assert indices.pair_P == pytest.approx([peer["S2"][i, j] for i, j in axis_pairs(3)], abs=0.04)


def test_indices_are_those_of_scipy():
    peer = stats.sobol_indices(
        func=lambda unit: log_bowl(unit.T)[None], n=4096, dists=[stats.uniform()] * 2, rng=np.random.default_rng(2)
    )
    indices = of_continuous(log_bowl, 2)
    assert indices.first_D == pytest.approx(peer.first_order, abs=0.01)
    assert indices.total_D == pytest.approx(peer.total_order, abs=0.01)


@pytest.mark.parametrize("constant", [0.0, 0.3, -1e9])
def test_a_constant_function_has_no_indices(constant):
    assert sobol_indices(lambda unit: np.full(len(unit), constant), [None, None], samples=64, seed=0) is None


def test_a_small_function_on_a_large_constant_has_indices():
    indices = of_continuous(lambda unit: 1e4 + 1e-3 * unit[:, 0], 2)
    assert indices.first_D == pytest.approx([1.0, 0.0], abs=1e-6)


def test_each_choice_counts_alike():
    """Three choices that lie at -1, 0 and 1 with a slope beside them: variances 2/3 and 1/12."""
    levels = [find_levels(AxisSpec(choices=["a", "b", "c"])), None]
    indices = sobol_indices(lambda unit: np.round(3 * unit[:, 0] - 1.5) + unit[:, 1], levels, samples=1024, seed=1)
    assert indices is not None
    assert indices.first_D == pytest.approx([8 / 9, 1 / 9], abs=0.01)


def test_whole_numbers_have_the_share_that_the_space_gives_them():
    axis = AxisSpec(low=1, high=4, scale="log", integer=True)
    levels = find_levels(axis)
    assert levels is not None
    shares = np.diff(levels.share_L, prepend=0.0)
    assert shares == pytest.approx(np.diff(np.log([0.5, 1.5, 2.5, 3.5, 4.5])) / math.log(9))
    assert levels.snap(np.array([0.0, 0.49, 0.51, 1.0])) == pytest.approx(levels.place_L[[0, 0, 1, 3]])
    assert levels.measure(levels.place_L) == pytest.approx(levels.share_L)
    assert levels.measure(np.array([-0.5])) == pytest.approx([0.0])


@pytest.mark.parametrize("axis", [AxisSpec(low=0, high=1), AxisSpec(low=1, high=10**6, integer=True)])
def test_an_axis_without_levels_is_continuous(axis):
    assert find_levels(axis) is None


def test_a_surrogate_gives_back_the_indices_of_what_it_learned():
    surrogate = learn(log_bowl, 64)
    found = measure(surrogate)
    assert found.first[0].value == pytest.approx(0.976, abs=0.01)
    assert found.total[1].value == pytest.approx(0.024, abs=0.01)
    assert found.deviation[1].value == pytest.approx(0.8 * math.sqrt(1 / 180), rel=0.1)


def test_noise_does_not_inflate_total_indices():
    """A third of what is observed is noise; indices of all of it would add to each total one."""
    truth = of_continuous(log_bowl, 2)
    noise = truth.deviation * math.sqrt(0.5)
    found = [measure(learn(log_bowl, 64, noise=noise, seed=seed)) for seed in range(2)]
    totals = np.mean([[total.value for total in one.total] for one in found], axis=0)
    assert totals == pytest.approx(truth.total_D, abs=0.05)


def test_intervals_hold_what_the_surrogate_misses():
    surrogate = learn(log_bowl, 64)
    exact, rough = measure(surrogate), measure(surrogate, missed=0.3)
    for before, after in zip((*exact.total, *exact.pairs), (*rough.total, *rough.pairs), strict=True):
        assert after.value == before.value
        assert after.low is not None
        assert after.high is not None
        assert after.low <= 0.7 * before.value + 1e-9
        assert after.high >= min(0.7 * before.value + 0.3, 1.0) - 1e-9


def test_intervals_hold_known_indices_in_most_cases():
    truth = of_continuous(log_bowl, 2, samples=2**14)
    held = []
    noise = 0.15
    for seed in range(5):
        surrogate = learn(log_bowl, 32, noise=noise, seed=seed)
        share = noise**2 / (noise**2 + truth.deviation**2)
        missed = min(max(1 - surrogate.r2 / (1 - share), 0.0), 1.0)
        found = measure(surrogate, spread=truth.deviation, missed=missed, seed=seed)
        known = (*truth.first_D, *truth.total_D, truth.deviation)
        held += [
            one.low - 2e-3 <= value <= one.high + 2e-3
            for one, value in zip((*found.first, *found.total, found.spread), known, strict=True)
        ]
    assert np.mean(held) > 0.8


def test_estimates_and_intervals_are_shares():
    found = measure(learn(lambda unit: unit[:, 0], 16, axes=3, noise=0.3), 3, missed=0.4)
    for estimate in (*found.first, *found.total, *found.pairs):
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_a_flat_surrogate_has_no_indices():
    surrogate = learn(log_bowl, 16)
    assert measure_sensitivity(surrogate, [None, None], spread=1e9, missed=0.0, seed=1) is None


def test_the_same_seed_gives_the_same_indices():
    surrogate = learn(log_bowl, 16)
    assert measure(surrogate, seed=4) == measure(surrogate, seed=4)
