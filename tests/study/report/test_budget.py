"""What a tuning budget buys: against all subsets, closed forms and the library of tuning curves."""

import functools
import itertools
import math
import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_observations import make_observations
from opda.nonparametric import EmpiricalDistribution
from opda.parametric import QuadraticDistribution
from pydantic import TypeAdapter
from scipy import stats

from study.report.document import Section
from study.report.drawing.style import save
from study.report.measures.comparison.bands import _coverage, band_tuning_curve, order_band
from study.report.measures.comparison.budget import BudgetComparison, measure_budget, spread_budgets
from study.report.measures.comparison.budget_chances import double_budgets
from study.report.measures.comparison.order_statistics import (
    best_weights,
    expect_best,
    expect_selected,
    share_best,
    survival_table,
    weigh_budgets,
)
from study.report.observations import Observations, observe
from study.report.sections.comparison import tell_budget

#: Few values, so that there are ties.
VALUES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9]), min_size=1, max_size=7)


def place(u: np.ndarray, column: int = 0) -> np.ndarray:
    return 0.1 + 0.7 * u[:, column]


def steep(u: np.ndarray) -> np.ndarray:
    return 0.05 + 3.0 * (u[:, 0] - 0.4) ** 2 + (u[:, 1] - 0.6) ** 2


@functools.cache
def two_by_two() -> Observations:
    functions = {("a", "x"): place, ("a", "y"): steep, ("b", "x"): steep, ("b", "y"): place}
    return make_observations(functions, points=16, noise=0.02, diverge_above=0.7)


@functools.cache
def compare_two_by_two() -> BudgetComparison:
    return measure_budget(two_by_two())


def best_of_subsets(values: list[float], budget: int) -> float:
    return float(np.mean([min(chosen) for chosen in itertools.combinations(values, budget)]))


@given(VALUES, st.data())
def test_the_expected_best_is_the_mean_over_all_subsets(values: list[float], data: st.DataObject):
    budget = data.draw(st.integers(1, len(values)))
    assert expect_best(np.array(values), [budget])[0] == pytest.approx(best_of_subsets(values, budget), abs=1e-12)


@given(VALUES, st.data())
def test_the_expected_test_error_is_the_mean_over_all_subsets_with_ties_shared(
    values: list[float], data: st.DataObject
):
    budget = data.draw(st.integers(1, len(values)))
    tests = data.draw(st.lists(st.floats(0, 1), min_size=len(values), max_size=len(values)))
    expected = []
    for chosen in itertools.combinations(range(len(values)), budget):
        least = min(values[index] for index in chosen)
        expected.append(np.mean([tests[index] for index in chosen if values[index] == least]))
    found = expect_selected(np.array(values), np.array(tests), [budget])[0]
    assert found == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_setting_without_test_error_leaves_only_the_budgets_that_never_select_it():
    values, tests = np.array([0.2, 0.9, 0.1, 0.5]), np.array([0.3, math.nan, 0.2, 0.6])
    found = expect_selected(values, tests, [1, 2, 4])
    assert np.isnan(found[0])
    assert found[1] == pytest.approx((3 * 0.2 + 2 * 0.3 + 0.6) / 6)
    assert found[2] == pytest.approx(0.2)


@pytest.mark.parametrize("count", [1, 2, 7, 100, 1024])
def test_weights_are_binomial_coefficients_and_sum_to_one(count: int):
    budgets = double_budgets(count)
    weights = best_weights(count, budgets)
    exact = [
        [math.comb(count - rank, budget - 1) / math.comb(count, budget) for rank in range(1, count + 1)]
        for budget in budgets
    ]
    np.testing.assert_allclose(weights, exact, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
    survival = [[math.comb(count - rank, k) / math.comb(count, k) for rank in range(count + 1)] for k in budgets]
    np.testing.assert_allclose(survival_table(count, budgets), survival, rtol=1e-10, atol=1e-300)


def test_the_expected_best_agrees_with_the_library_of_tuning_curves():
    values = np.random.default_rng(0).random(40)
    library = EmpiricalDistribution(values).u_tuning_curve(np.arange(1, 41), minimize=True)
    np.testing.assert_allclose(expect_best(values, range(1, 41)), library, rtol=1e-12)


def test_the_expected_best_of_even_points_is_that_of_uniform_order_statistics():
    # Of 1, …, B the lowest of k is (B + 1) / (k + 1) on average.
    found = expect_best(np.arange(1.0, 1001.0), [1, 3, 10, 100, 1000])
    np.testing.assert_allclose(found, [1001 / (k + 1) for k in (1, 3, 10, 100, 1000)], rtol=1e-10)


def test_averages_over_budgets_are_weighted_sums_of_expected_bests():
    values, weights = np.sort(np.random.default_rng(1).random(30)), np.random.default_rng(2).random((2, 20))
    np.testing.assert_allclose(weigh_budgets(30, weights) @ values, weights @ expect_best(values, range(1, 21)))


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.9]), min_size=3, max_size=4), min_size=2, max_size=4), st.data()
)
def test_the_share_of_the_best_is_that_of_all_combinations_with_ties_split(
    groups: list[list[float]], data: st.DataObject
):
    budget = data.draw(st.integers(1, 3))
    bests = [[min(chosen) for chosen in itertools.combinations(group, budget)] for group in groups]
    expected = np.zeros(len(groups))
    for outcome in itertools.product(*bests):
        winners = np.array(outcome) == min(outcome)
        expected += winners / winners.sum()
    found = share_best([np.sort(group) for group in groups], [budget])[0]
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-12)


def test_equal_groups_are_equally_often_the_best_and_a_dominant_one_always():
    same = np.sort(np.random.default_rng(3).random(200))
    np.testing.assert_allclose(share_best([same] * 4, [1, 16, 200]), 0.25)
    np.testing.assert_allclose(share_best([same, same + 2.0], [1, 16, 200]), [[1, 0]] * 3, atol=1e-14)


def test_with_one_trial_each_the_share_is_that_of_mann_and_whitney():
    generator = np.random.default_rng(4)
    first, second = np.sort(generator.random(30)), np.sort(generator.random(50) + 0.1)
    expected = stats.mannwhitneyu(second, first).statistic / 1500
    assert share_best([first, second], [1])[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_the_band_of_order_statistics_holds_with_its_confidence(count: int):
    low, high = order_band(count)
    drawn = np.sort(np.random.default_rng(count).random((40_000, count)), axis=1)
    inside = ((drawn >= low) & (drawn <= high)).all(axis=1).mean()
    assert inside == pytest.approx(0.95, abs=0.005)
    assert _coverage(low, high) == pytest.approx(0.95, abs=1e-6)


def test_the_band_agrees_with_the_one_that_the_library_simulates():
    values = np.random.default_rng(5).random(20)
    below, _, above = EmpiricalDistribution.confidence_bands(
        values, 0.95, a=0.0, b=1.0, method="ld_equal_tailed", generator=np.random.default_rng(0), n_jobs=1
    )
    budgets = np.arange(1, 21)
    bands = band_tuning_curve(values, budgets.tolist(), 0.0, 1.0)
    mean_low, mean_high = (band.average_tuning_curve(budgets, minimize=True) for band in (above, below))
    np.testing.assert_allclose(bands.mean_low_K, mean_low, atol=0.005)
    np.testing.assert_allclose(bands.mean_high_K, mean_high, atol=0.005)


def test_bands_hold_the_true_curve_at_all_budgets_as_often_as_they_say():
    true = QuadraticDistribution(0.1, 0.9, 2)
    budgets = np.arange(1, 17)
    mean, median = true.average_tuning_curve(budgets, minimize=True), true.quantile_tuning_curve(budgets, minimize=True)
    held = np.zeros(2)
    for seed in range(300):
        values = true.sample(16, generator=np.random.default_rng(seed))
        bands = band_tuning_curve(values, budgets.tolist(), 0.0, 1.0)
        held += [
            ((bands.mean_low_K <= mean) & (mean <= bands.mean_high_K)).all(),
            ((bands.median_low_K <= median) & (median <= bands.median_high_K)).all(),
        ]
    assert (held / 300 >= 0.92).all()


@settings(max_examples=30)
@given(VALUES)
def test_the_estimate_lies_in_its_band_even_with_ties(values: list[float]):
    bands = band_tuning_curve(np.array(values), [1], 0.0, 0.9)
    assert bands.mean_low_K[0] <= np.mean(values) + 1e-12
    assert bands.mean_high_K[0] >= np.mean(values) - 1e-12
    assert bands.median_low_K[0] <= bands.median_K[0] <= bands.median_high_K[0]


def test_many_points_have_the_wider_band_of_an_inequality():
    low, high = order_band(5000)
    reach = math.sqrt(math.log(2 / 0.05) / (2 * 5000))
    assert low[2500] == pytest.approx(2501 / 5000 - reach)
    assert high[2500] == pytest.approx(2500 / 5000 + reach)


def test_a_study_has_a_curve_for_each_cell_with_its_default_apart():
    comparison = compare_two_by_two()
    assert [(curve.workload, curve.optimizer) for curve in comparison.curves] == [
        *[("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    ]
    cell = two_by_two().cell("a", "y")
    curve = comparison.curves[1]
    assert curve.points == 16
    assert curve.budgets == tuple(range(1, 17))
    assert curve.mean[0] == pytest.approx(cell.mean_N[1:].mean())
    assert curve.mean[-1] == cell.mean_N[1:].min()
    assert curve.default == cell.mean_N[0]
    assert curve.diverged == int((cell.diverged_NS[1:].any(axis=1)).sum()) > 0
    beats = [k for k, mean in zip(curve.budgets, curve.mean, strict=True) if mean < curve.default]
    assert curve.trials_to_beat_default == min(beats)
    assert comparison.missing == ()


def test_a_diverged_run_has_the_test_error_of_chance_if_the_objective_is_an_error():
    curve = compare_two_by_two().curves[1]
    # The made test error is the capped objective, so the two curves are one.
    np.testing.assert_allclose(curve.test, curve.mean, rtol=1e-12)
    losses = make_observations({("a", "x"): steep}, points=16, diverge_above=0.7, objective="val_loss")
    known = measure_budget(losses).curves[0].test
    lost = int(losses.cells[0].diverged_NS[1:].any(axis=1).sum())
    assert [value is None for value in known] == [k <= lost for k in range(1, 17)]


def test_chances_of_a_budget_sum_to_one_and_lie_in_their_intervals():
    for group in compare_two_by_two().chances:
        assert group.budgets == (1, 2, 4, 8, 16)
        for budget in range(5):
            estimates = [row[budget] for row in group.chances]
            assert sum(estimate.value for estimate in estimates) == pytest.approx(1.0)
            assert all(e.low <= e.value <= e.high for e in estimates if e.low is not None and e.high is not None)


def test_combined_performance_is_the_weighted_mean_of_the_curve():
    comparison = compare_two_by_two()
    for curve, score in zip(comparison.curves, comparison.scores, strict=True):
        k = np.arange(1, 17)
        assert score.budget == 16
        assert score.one_shot.value == pytest.approx(curve.mean[0])
        assert score.cpe.value == pytest.approx(np.average(curve.mean, weights=17 - k))
        assert score.cpu.value == pytest.approx(np.mean(curve.mean))
        assert score.cpl.value == pytest.approx(np.average(curve.mean, weights=k))
        assert score.peak.value == pytest.approx(curve.mean[-1])
        assert score.peak.low is None
        assert score.cpu.low < score.cpu.value < score.cpu.high


def test_the_interval_of_one_shot_is_about_that_of_a_mean():
    cell = make_observations({("a", "x"): place, ("a", "y"): place}, points=256, seeds=1)
    values = cell.cells[0].mean_N[1:]
    estimate = measure_budget(cell).scores[0].one_shot
    reach = 1.96 * values.std() / math.sqrt(256)
    assert estimate.low == pytest.approx(values.mean() - reach, rel=0.02)
    assert estimate.high == pytest.approx(values.mean() + reach, rel=0.02)


def test_relative_performance_is_the_mean_ratio_to_the_best():
    comparison = compare_two_by_two()
    by_cell = {(curve.workload, curve.optimizer): np.array(curve.mean) for curve in comparison.curves}
    for row in comparison.relative:
        ratios = [
            np.minimum(by_cell[workload, "x"], by_cell[workload, "y"]) / by_cell[workload, row.optimizer]
            for workload in ("a", "b")
        ]
        expected = np.mean(ratios, axis=0)[np.array(row.budgets) - 1]
        np.testing.assert_allclose([estimate.value for estimate in row.values], expected)


def test_relative_performance_of_a_maximized_number_is_its_share_of_the_highest():
    functions = {("a", "x"): lambda u: -0.4 + 0 * u[:, 0], ("a", "y"): lambda u: -0.8 + 0 * u[:, 0]}
    comparison = measure_budget(make_observations(functions, points=4, chance=None, source="optuna"))
    assert [row.values[0].value for row in comparison.relative] == pytest.approx([0.5, 1.0])
    mixed = {("a", "x"): lambda u: u[:, 0] - 0.5, ("a", "y"): place}
    assert "signs" in measure_budget(make_observations(mixed, points=4, chance=None)).missing[0].reason


def test_an_objective_without_bounds_has_no_band_of_the_mean_but_one_of_the_median():
    unbounded = make_observations({("a", "x"): place, ("a", "y"): steep}, chance=None, source="optuna")
    curve = measure_budget(unbounded).curves[0]
    assert set(curve.mean_low) == set(curve.mean_high) == {None}
    assert curve.median_high[0] is not None
    assert curve.median_low[-1] is None


@pytest.mark.parametrize("changes", [{"is_sample": False}, {"is_random": False}])
def test_points_that_are_no_draws_have_no_tuning_budget(changes: dict):
    comparison = measure_budget(make_observations({("a", "x"): place}, **changes))
    assert comparison.curves == comparison.chances == comparison.scores == comparison.relative == ()
    assert "not independent or quasi-random" in comparison.missing[0].reason
    assert tell_budget(comparison, two_by_two().info).missing == comparison.missing


def test_one_optimizer_has_a_curve_and_nothing_to_be_compared_with():
    comparison = measure_budget(make_observations({("a", "x"): place}, points=1, seeds=1))
    assert comparison.curves[0].budgets == (1,)
    assert comparison.scores[0].cpu.low is None
    assert comparison.chances == ()
    assert len(comparison.missing) == 2


def test_a_study_that_only_diverged_ties_everywhere():
    functions = {("a", "x"): place, ("a", "y"): place}
    comparison = measure_budget(make_observations(functions, points=8, diverge_above=0.0))
    assert all(estimate.value == pytest.approx(0.5) for row in comparison.chances[0].chances for estimate in row)
    assert [value for curve in comparison.curves for value in curve.mean] == pytest.approx([0.9] * 16)
    assert comparison.curves[0].trials_to_beat_default is None


def test_a_study_without_any_finished_trial_says_so():
    made = two_by_two()
    unfinished = observe(made.info, made.runs.with_columns(objective=pl.lit(None, pl.Float64)), made.curvature)
    comparison = measure_budget(unfinished)
    assert comparison.curves == ()
    assert len(comparison.missing) == 3


def test_unpaired_and_missing_seeds_are_resampled_by_optimizer():
    made = make_observations({("a", "x"): place, ("a", "y"): steep}, points=8, noise=0.05, paired_seeds=False)
    one_seed = made.runs.filter((pl.col("optimizer") == "x") | (pl.col("seed") == 0))
    comparison = measure_budget(observe(made.info, one_seed, made.curvature))
    assert [curve.seeds for curve in comparison.curves] == [3, 1]
    assert comparison.chances[0].chances[0][0].low is not None


def test_budgets_of_large_designs_are_few_and_hold_powers_of_two_and_the_end():
    budgets = spread_budgets(1024)
    assert len(budgets) <= 60
    assert {2**power for power in range(11)} <= set(budgets)
    assert spread_budgets(1000)[-1] == 1000


def test_a_comparison_is_the_same_again_and_survives_json():
    comparison = compare_two_by_two()
    adapter = TypeAdapter(BudgetComparison)
    assert measure_budget(two_by_two()) == comparison
    assert adapter.validate_json(adapter.dump_json(comparison)) == comparison


def check_section(section: Section) -> None:
    """Tables are square with unique names; figures can be sent to another process and drawn."""
    for table in section.tables:
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names)
        assert table.rows
        assert all(len(row) == len(names) for row in table.rows)
        assert all(column.meaning.endswith(".") for column in table.columns)
        assert all(end in names for column in table.columns for end in (column.low, column.high) if end)
    for figure in section.figures:
        drawing = pickle.loads(pickle.dumps(figure)).draw()  # noqa: S301
        assert save(drawing, "svg").startswith(b"<?xml")
    for part in section.sections:
        check_section(part)


def test_the_section_tells_all_tables_and_figures():
    section = tell_budget(compare_two_by_two(), two_by_two().info)
    check_section(section)
    assert [figure.name for figure in section.figures] == [
        *["budget-a", "budget-b", "best-chances-a", "best-chances-b", "relative-performance"]
    ]


def test_workloads_with_odd_names_have_figures_of_their_own():
    functions = {("My set/1", "x"): place, ("My set 1", "x"): place, ("...", "x"): place}
    made = make_observations(functions, points=4)
    names = [figure.name for figure in tell_budget(measure_budget(made), made.info).figures]
    assert names == ["budget-my-set-1", "budget-my-set-1-2", "budget-workload"]
