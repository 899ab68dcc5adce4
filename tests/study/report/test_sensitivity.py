"""Sensitivity per axis: learning-rate sensitivity, windows and slopes against closed forms."""

import functools
import json
import math

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_observations import BETA, LR, make_observations
from placed_observations import fit_all, place_observations
from scipy import stats

from study.axis import AxisSpec
from study.report.drawing.style import save
from study.report.measures.robustness.learning_rate import lr_sensitivity
from study.report.measures.robustness.profiles import axis_extent, trapezoid_weights
from study.report.measures.robustness.sensitivity import measure_sensitivity
from study.report.measures.robustness.windows import below
from study.report.sections.sensitivity import tell_sensitivity

ONE_AXIS = {"lr": LR}
TWO_AXES = {"lr": LR, "beta1": BETA}
#: Decades of 1 - beta1.
BETA_DECADES = 2.0


def valley(u):
    """A bowl whose minimum 0.1 lies at (0.4, 0.6)."""
    return 0.1 + 1.6 * (u[:, 0] - 0.4) ** 2 + 0.8 * (u[:, 1] - 0.6) ** 2


def axes_of(table, optimizer="a"):
    return {row.axis: row for row in table.axes if row.optimizer == optimizer}


@functools.cache
def fitted_valley():
    observations = make_observations({("w", "a"): valley}, points=96)
    return observations, fit_all(observations)


def grid_observations(levels, seeds=1, function=valley, noise=0.0, **changes):
    first, second = np.meshgrid(np.linspace(0, 1, levels), np.linspace(0, 1, levels), indexing="ij")
    unit = np.stack([first.ravel(), second.ravel()], axis=1)
    draws = np.random.default_rng(3).normal(0.0, noise, (len(unit), seeds))
    losses = function(unit)[:, None] + draws
    return place_observations({("w", "a"): losses}, unit.tolist(), TWO_AXES, design="grid", chance=0.9, **changes)


def test_lr_sensitivity_is_the_mean_capped_rise_over_the_best():
    # Of the losses 2, 1, 3, 50 with 4 before training: mean of 2, 1, 3, 4 less 1.
    assert lr_sensitivity(np.array([2.0, 1.0, 3.0, 50.0]), 4.0) == pytest.approx(1.5)
    assert lr_sensitivity(np.array([2.0, 1.0, 3.0, math.nan]), 4.0) == pytest.approx(1.5)
    assert lr_sensitivity(np.array([2.0, 1.0, 3.0, math.inf]), 4.0) == pytest.approx(1.5)
    assert lr_sensitivity(np.array([2.0]), 4.0) == 0
    assert lr_sensitivity(np.array([9.0, 8.0]), 4.0) == 0
    with pytest.raises(ValueError, match="one learning rate or more"):
        lr_sensitivity(np.array([]), 4.0)


@settings(max_examples=60)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=12), st.floats(0.1, 5))
def test_lr_sensitivity_lies_between_0_and_the_whole_way(losses, reference):
    found = lr_sensitivity(np.array(losses), reference)
    assert 0 <= found <= max(reference - min(losses), 0) + 1e-12


def test_a_grid_of_learning_rates_is_averaged_as_in_the_paper():
    losses = np.array([[0.8, 0.9], [0.5, 0.6], [0.2, 0.3], [0.4, 0.3], [1.0, 1.0]])
    observations = place_observations(
        {("w", "a"): losses}, [[u] for u in np.linspace(0, 1, 5)], ONE_AXIS, design="grid"
    )
    row = axes_of(measure_sensitivity(observations, {}))["lr"]
    means = losses.mean(axis=1)
    assert row.from_points
    assert row.lr.value.value == pytest.approx(np.minimum(means, 1.0).mean() - 0.25)
    assert row.lr.relative.value == pytest.approx((means.mean() - 0.25) / 0.75)
    assert (row.lr.decades, row.lr.levels) == (pytest.approx(4.0), 5)
    assert row.lr.per_decade.value == pytest.approx(row.lr.value.value / 4)
    less = [losses[:, 1].mean() - losses[:, 1].min(), losses[:, 0].mean() - losses[:, 0].min()]
    spread = math.sqrt(0.5 * sum((value - np.mean(less)) ** 2 for value in less))
    assert row.lr.value.high - row.lr.value.value == pytest.approx(stats.t.ppf(0.975, 1) * spread)


def test_the_default_setting_is_no_level_of_a_grid():
    unit = [[0.45], *([u] for u in np.linspace(0, 1, 5))]
    losses = [[0.05], [0.8], [0.5], [0.2], [0.4], [1.0]]
    observations = place_observations({("w", "a"): losses}, unit, ONE_AXIS, design="grid", default=0)
    row = axes_of(measure_sensitivity(observations, {}))["lr"]
    assert row.lr.value.value == pytest.approx((0.8 + 0.5 + 0.2 + 0.4 + 1.0) / 5 - 0.2)
    assert row.default_value is not None


def test_in_one_at_a_time_designs_the_others_are_at_the_default():
    unit = [[0.5, 0.5], [0.0, 0.5], [1.0, 0.5], [0.5, 0.0], [0.5, 1.0]]
    losses = [[0.3], [0.8], [0.6], [0.1], [0.7]]
    observations = place_observations({("w", "a"): losses}, unit, TWO_AXES, design="one_at_a_time", default=0)
    rows = axes_of(measure_sensitivity(observations, {}))
    assert rows["lr"].through == pytest.approx((0.8, 0.3, 0.6))
    assert rows["beta1"].through == pytest.approx((0.1, 0.3, 0.7))
    assert rows["lr"].at_default
    assert rows["lr"].tuned == ()
    assert rows["lr"].lr.value.value == pytest.approx((0.8 + 0.3 + 0.6) / 3 - 0.3)


def test_a_full_grid_knows_the_best_of_the_other_axes():
    observations = grid_observations(5)
    row = axes_of(measure_sensitivity(observations, {}))["lr"]
    levels = np.linspace(0, 1, 5)
    expected = np.minimum(0.1 + 1.6 * (levels - 0.4) ** 2 + 0.8 * 0.1**2, 0.9)
    assert row.tuned == pytest.approx(expected)
    assert row.through == pytest.approx(expected)
    assert row.values == pytest.approx((1e-4, 1e-3, 1e-2, 1e-1, 1.0))


def test_a_line_with_a_trial_that_failed_is_not_used():
    losses = [[0.8], [0.5], [0.2], [0.4], [0.9]]
    unit = [[u] for u in np.linspace(0, 1, 5)]
    ends = {("w", "a", 4, 0): "out_of_memory"}
    observations = place_observations({("w", "a"): losses}, unit, ONE_AXIS, design="grid", terminations=ends)
    table = measure_sensitivity(observations, {})
    assert table.axes == ()
    assert "no result" in table.missing[0].reason


def test_random_learning_rates_are_averaged_plainly():
    observations = make_observations({("w", "a"): lambda u: 0.1 + (u[:, 0] - 0.5) ** 2}, axes=ONE_AXIS, points=64)
    row = axes_of(measure_sensitivity(observations, fit_all(observations)))["lr"]
    means = observations.cells[0].mean_N[1:]
    assert row.lr.sampled
    assert row.lr.value.value == pytest.approx(means.mean() - means.min())
    # E[(u - 0.5)^2] over the unit interval is 1 / 12.
    assert row.lr.value.value == pytest.approx(1 / 12, abs=0.002)
    assert row.lr.value.low < 1 / 12 < row.lr.value.high


def test_the_lr_sensitivity_of_a_known_function_comes_out_of_a_surrogate():
    observations, surrogates = fitted_valley()
    row = axes_of(measure_sensitivity(observations, surrogates))["lr"]
    place_D = observations.cells[0].unit_ND[observations.cells[0].best]
    # The curve goes through the best trial, which is near (0.4, 0.6): the capped mean of 1.6 (u - 0.4)^2.
    u = np.linspace(0, 1, 10001)
    loss = np.minimum(valley(np.stack([u, np.full_like(u, place_D[1])], axis=1)), 0.9)
    assert row.lr.value.value == pytest.approx(loss.mean() - loss.min(), abs=0.003)
    assert row.lr.tuned.value == pytest.approx(np.minimum(0.1 + 1.6 * (u - 0.4) ** 2, 0.9).mean() - 0.1, abs=0.004)
    near = np.abs(u - 0.4) <= 0.25
    assert row.lr.centred.value == pytest.approx((1.6 * (u[near] - 0.4) ** 2).mean(), abs=0.003)
    assert row.lr.centred_decades == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize("tolerance", [0.02, 0.05, 0.2])
def test_the_window_of_a_quadratic_has_its_width_in_decades(tolerance):
    observations, surrogates = fitted_valley()
    rows = axes_of(measure_sensitivity(observations, surrogates, tolerance=tolerance))
    half = math.sqrt(tolerance * 0.8 / 1.6)
    window = rows["lr"].window
    assert window.width.value == pytest.approx(2 * half * 4, abs=0.08)
    assert math.log10(window.low) == pytest.approx(-4 + 4 * (0.4 - half), abs=0.06)
    assert math.log10(window.high) == pytest.approx(-4 + 4 * (0.4 + half), abs=0.06)
    assert not window.open_low
    assert not window.open_high
    assert window.total == window.width
    assert (rows["lr"].unit, rows["beta1"].unit) == ("decades", "decades of 1 - beta1")
    half = math.sqrt(tolerance * 0.8 / 0.8)
    assert rows["beta1"].window.width.value == pytest.approx((half + min(half, 0.4)) * BETA_DECADES, abs=0.06)
    assert rows["beta1"].window.open_high == (half > 0.4)


def test_a_window_that_reaches_the_end_of_the_range_is_a_lower_bound():
    observations = make_observations({("w", "a"): lambda u: 0.1 + 0.8 * u[:, 0]}, axes=ONE_AXIS, points=64)
    window = axes_of(measure_sensitivity(observations, fit_all(observations)))["lr"].window
    assert window.width.value == pytest.approx(0.05 * 4, abs=0.02)
    assert (window.open_low, window.open_high) == (True, False)


def test_two_valleys_have_a_connected_window_and_a_larger_total():
    unit = [[u] for u in np.linspace(0, 1, 9)]
    losses = [[0.5], [0.12], [0.5], [0.5], [0.5], [0.5], [0.1], [0.5], [0.5]]
    observations = place_observations({("w", "a"): losses}, unit, ONE_AXIS, design="grid", chance=0.9)
    window = axes_of(measure_sensitivity(observations, {}))["lr"].window
    level = 0.1 + 0.05 * 0.8
    step = 4 / 8
    assert window.width.value == pytest.approx(2 * step * (level - 0.1) / 0.4)
    assert window.total.value == pytest.approx(2 * step * ((level - 0.1) / 0.4 + (level - 0.12) / 0.38))
    assert math.log10(window.low) == pytest.approx(-4 + 6 * step - window.width.value / 2)


def test_the_common_yardstick_narrows_the_window_of_a_worse_optimizer():
    unit = [[u] for u in np.linspace(0, 1, 5)]
    losses = {("w", "a"): [0.5, 0.3, 0.1, 0.3, 0.5], ("w", "b"): [0.5, 0.4, 0.3, 0.4, 0.5]}
    observations = place_observations(losses, unit, ONE_AXIS, design="grid", chance=0.9)
    table = measure_sensitivity(observations, {}, tolerance=0.3)
    good, bad = axes_of(table, "a")["lr"], axes_of(table, "b")["lr"]
    assert good.window_study == good.window
    level = 0.1 + 0.3 * 0.8
    assert bad.window_study.width.value == pytest.approx(2 * (level - 0.3) / 0.1)
    tight = axes_of(measure_sensitivity(observations, {}, tolerance=0.1), "b")["lr"]
    assert (tight.window_study.width.value, tight.window_study.low) == (0.0, None)
    assert tight.window.width.value > 0


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(0, 1))
def test_intervals_below_a_level_agree_with_a_fine_grid(values, level):
    value_M = np.round(np.array(values), 3)
    place_M = np.linspace(0, 1, len(value_M))
    total = sum(last - first for first, last in below(place_M, value_M, level))
    fine = np.interp((np.arange(20000) + 0.5) / 20000, place_M, value_M) <= level
    assert total == pytest.approx(fine.mean(), abs=1e-3)


def test_the_slope_of_a_ramp_is_its_rise_per_decade():
    observations = make_observations(
        {("w", "a"): lambda u: 0.1 + 0.4 * u[:, 0]}, axes=ONE_AXIS, default=[0.3], points=64
    )
    table = measure_sensitivity(observations, fit_all(observations))
    row = axes_of(table)["lr"]
    # The best is the lowest learning rate: no step below it is left, one above it rises by 0.4 in 4 decades.
    assert row.slope is None
    assert row.rise_below is None
    span = 0.9 - observations.best_on("w")
    assert row.rise_above.value == pytest.approx(0.1 / span, abs=0.003)
    assert row.step == pytest.approx(0.25)


def test_the_slope_beside_a_kink_is_that_of_both_sides():
    unit = [[u] for u in np.linspace(0, 1, 17)]
    losses = [0.1 + 0.4 * (u - 0.5) if u > 0.5 else 0.1 + 0.8 * (0.5 - u) for u in np.linspace(0, 1, 17)]
    observations = place_observations({("w", "a"): losses}, unit, ONE_AXIS, design="grid", chance=0.9)
    row = axes_of(measure_sensitivity(observations, {}))["lr"]
    assert row.rise_below.value == pytest.approx(0.2 / 0.8)
    assert row.rise_above.value == pytest.approx(0.1 / 0.8)
    assert row.slope.value == pytest.approx(abs(0.1 - 0.2) / 2)
    assert row.slope_relative.value == pytest.approx(0.05 / 0.8)


def test_intervals_cover_the_truth_where_seeds_are_noisy():
    observations = make_observations({("w", "a"): valley}, points=64, noise=0.02, seeds=3)
    row = axes_of(measure_sensitivity(observations, fit_all(observations)))["lr"]
    half = math.sqrt(0.05 * 0.8 / 1.6)
    assert row.window.width.low <= 8 * half * 1.3
    assert row.window.width.high >= 8 * half * 0.7
    assert row.window.width.high - row.window.width.low > 0.05


def test_linear_and_whole_axes_are_measured_in_their_own_unit():
    axes = {"momentum": AxisSpec(low=0.0, high=0.8), "batch_size": AxisSpec(low=1, high=8, integer=True)}
    observations = make_observations({("w", "a"): lambda u: 0.1 + 0.8 * np.abs(u[:, 0] - 0.5)}, axes=axes, points=64)
    rows = axes_of(measure_sensitivity(observations, fit_all(observations)))
    assert rows["momentum"].unit == ""
    assert rows["momentum"].window.width.value == pytest.approx(2 * 0.05 * 0.8, abs=0.03)
    assert rows["momentum"].lr is None
    assert axis_extent(axes["batch_size"]) == pytest.approx(8.0)
    assert rows["batch_size"].window.width.value == pytest.approx(8.0)
    assert rows["batch_size"].window.open_low


def test_choices_are_compared_by_what_each_reaches():
    axes = {"lr": LR, "nesterov": AxisSpec(choices=[True, False])}
    unit = [[0.1, 0.25], [0.2, 0.75], [0.3, 0.25], [0.4, 0.75]]
    losses = np.array([[0.5, 0.5], [0.2, 0.4], [0.6, 0.5], [1.0, 1.0]])
    observations = place_observations({("w", "a"): losses}, unit, axes)
    choice = measure_sensitivity(observations, {}).choices[0]
    assert [(c.choice, c.trials, c.trials_diverged, c.best_trial) for c in choice.choices] == [
        ("false", 2, 1, 1),
        ("true", 2, 0, 0),
    ]
    assert choice.regret.value == pytest.approx(0.2)
    assert choice.regret_relative.value == pytest.approx(0.2 / 0.7)
    low, high = stats.ttest_rel(losses[0], losses[1]).confidence_interval(0.95)
    assert (choice.regret.low, choice.regret.high) == pytest.approx((low, high))


def test_an_axis_that_is_not_active_at_the_best_has_no_curve_through_it():
    rng = np.random.default_rng(0)
    axes = {
        "lr": LR,
        "schedule": AxisSpec(choices=["cosine", "step"]),
        "gamma": AxisSpec(low=0.0, high=1.0, when='schedule == "step"'),
    }
    unit = [[u, 0.25 if n % 2 else 0.75, None if n % 2 else g] for n, (u, g) in enumerate(rng.random((40, 2)))]
    losses = [0.1 + (row[0] - 0.5) ** 2 + (0.0 if row[2] is None else 0.2 + 0.3 * row[2]) for row in unit]
    observations = place_observations({("w", "a"): losses}, unit, axes)
    table = measure_sensitivity(observations, fit_all(observations))
    rows = axes_of(table)
    assert (rows["gamma"].through, rows["gamma"].window, rows["gamma"].anchor_value) == ((), None, None)
    assert len(rows["gamma"].tuned) > 0
    assert rows["lr"].window.width.value > 0
    assert survives_json(table)


def test_a_conditional_axis_of_a_grid_is_measured_where_it_is_active():
    axes = {
        "schedule": AxisSpec(choices=["cosine", "step"]),
        "gamma": AxisSpec(low=0.0, high=1.0, when='schedule == "step"'),
    }
    unit = [[0.25, None], [0.75, 0.0], [0.75, 0.5], [0.75, 1.0]]
    observations = place_observations({("w", "a"): [0.5, 0.4, 0.2, 0.3]}, unit, axes, design="grid")
    row = axes_of(measure_sensitivity(observations, {}))["gamma"]
    assert row.through == row.tuned == pytest.approx((0.4, 0.2, 0.3))


def test_learning_rates_of_foreign_studies_go_by_their_long_name():
    unit = [[u] for u in np.linspace(0, 1, 5)]
    observations = place_observations(
        {("w", "a"): [0.5, 0.3, 0.1, 0.3, 0.5]}, unit, {"learning_rate": LR}, design="grid"
    )
    assert axes_of(measure_sensitivity(observations, {}))["learning_rate"].lr.value.value == pytest.approx(0.24)


def test_an_axis_that_others_depend_on_is_not_moved_alone():
    axes = {"lr": LR, "wd": AxisSpec(low=0.0, high=1.0, when="lr < 0.01")}
    unit = [[u, None if u > 0.5 else 0.3] for u in np.linspace(0, 1, 20)]
    observations = place_observations({("w", "a"): [0.1 + u[0] / 2 for u in unit]}, unit, axes)
    table = measure_sensitivity(observations, fit_all(observations))
    assert "lr" not in axes_of(table)
    assert any("lr on w" in lacking.measure and "cannot be moved alone" in lacking.reason for lacking in table.missing)


@pytest.mark.parametrize(
    "observations",
    [
        place_observations({("w", "a"): [[0.4]]}, [[0.5]], ONE_AXIS),
        place_observations({("w", "a"): [[0.4], [0.4]]}, [[0.5], [1.5]], ONE_AXIS),
        place_observations({("w", "a"): [[1.0]] * 20}, [[u / 20] for u in range(20)], ONE_AXIS),
        place_observations({("w", "a"): [[1.0]] * 5}, [[u / 4] for u in range(5)], ONE_AXIS, design="grid"),
        place_observations({("w", "a"): [[0.3]] * 20}, [[u / 20] for u in range(20)], ONE_AXIS, chance=None),
        make_observations({("w", "a"): valley}, points=32, is_sample=False),
        make_observations({("w", "a"): valley}, points=8, seeds=1),
    ],
    ids=["one trial", "outside", "all diverged", "all diverged on a grid", "ties", "adaptive", "few points"],
)
def test_studies_without_an_answer_say_why(observations):
    table = measure_sensitivity(observations, fit_all(observations))
    assert table.missing or all(row.window is None for row in table.axes)
    assert survives_json(table)
    check_section(tell_sensitivity(table, observations.info))


def test_surrogates_predictions_are_capped_at_chance():
    observations = make_observations({("w", "a"): lambda u: 0.1 + 4.0 * (u[:, 0] - 0.4) ** 2}, points=64, chance=0.5)
    row = axes_of(measure_sensitivity(observations, fit_all(observations)))["lr"]
    assert max(row.through) <= 0.5


def test_trapezoid_weights_average_a_straight_line_exactly():
    place_M = np.array([0.0, 0.1, 0.5, 1.0])
    weight_M = trapezoid_weights(place_M)
    assert weight_M.sum() == pytest.approx(1.0)
    assert np.average(place_M, weights=weight_M) == pytest.approx(0.5)


def test_the_section_has_tables_and_figures_of_every_workload():
    functions = {("w", "a"): valley, ("w", "b"): lambda u: 0.2 + u[:, 0], ("v", "a"): valley}
    observations = make_observations(functions, points=24, noise=0.01, seeds=2)
    table = measure_sensitivity(observations, fit_all(observations))
    assert survives_json(table)
    section = tell_sensitivity(table, observations.info)
    check_section(section)
    assert {t.name: len(t.rows) for t in section.tables} == {"lr-sensitivity": 3, "robust-windows": 6, "slopes": 6}
    assert [f.name for f in section.figures] == ["lr-sensitivity-w", "windows-w", "lr-sensitivity-v", "windows-v"]


def survives_json(table):
    adapter = pydantic.TypeAdapter(type(table))
    text = adapter.dump_json(table)
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} in a measure"))
    return adapter.validate_json(text) == table


def check_section(section):
    assert len({t.name for t in section.tables}) == len(section.tables)
    for table in section.tables:
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names)
        assert all(column.meaning.endswith(".") for column in table.columns)
        assert all(len(row) == len(names) for row in table.rows)
        assert all(bound in names for column in table.columns for bound in (column.low, column.high) if bound)
    for figure in section.figures:
        assert save(figure.draw(), "svg").startswith(b"<?xml")
