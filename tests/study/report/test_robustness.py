"""Robustness per optimizer: shares, regrets and boxes against closed forms and independent computations."""

import json
import math

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_observations import LR, make_observations
from placed_observations import fit_all, place_observations
from scipy import stats

from study.axis import AxisSpec
from study.report.drawing.style import save
from study.report.measures.intervals import measure_clustered_share
from study.report.measures.robustness.local import ALPHA, BOXES, cvar, measure_local
from study.report.measures.robustness.robustness import measure_robustness
from study.report.measures.robustness.seeds import best_without, difference, over_seeds
from study.report.measures.robustness.yardstick import TOLERANCES
from study.report.sections.robustness import tell_robustness

ONE_AXIS = {"lr": LR}
LINEAR = {"p": AxisSpec(low=0.0, high=1.0)}


def bowl(u):
    return 0.1 + 3.2 * ((u[:, 0] - 0.5) ** 2 + (u[:, 1] - 0.5) ** 2)


def ramp(u):
    return 0.2 + 0.4 * u[:, 0]


def survives_json(table):
    adapter = pydantic.TypeAdapter(type(table))
    text = adapter.dump_json(table)
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} in a measure"))
    return adapter.validate_json(text) == table


def test_the_robust_volume_of_a_bowl_is_the_area_of_its_sublevel_disc():
    table = measure_robustness(make_observations({("w", "a"): bowl}, points=1024, seeds=1))
    for volume in table.rows[0].volumes:
        # 3.2 r^2 <= eps * 0.8, and the disc lies within the square for eps <= 1.
        assert volume.study.value == pytest.approx(math.pi * volume.tolerance / 4, abs=0.01)
        assert volume.own == volume.study
        low, high = stats.binomtest(volume.study.count, 1024).proportion_ci(method="wilson")
        assert (volume.study.low, volume.study.high) == (low, high)


def test_a_loss_on_the_level_is_good_however_the_level_is_rounded():
    # 0.1 + 0.05 * (0.9 - 0.1) is 0.14 and a little less in floats.
    losses = [[0.1], [0.14], [0.141]]
    observations = place_observations({("w", "a"): losses}, [[0.1], [0.2], [0.3]], ONE_AXIS, chance=0.9)
    assert measure_robustness(observations).rows[0].volume(0.05).study.count == 2
    observations = place_observations({("w", "a"): [[0.3], [0.37]]}, [[0.1], [0.2]], ONE_AXIS)
    assert measure_robustness(observations).rows[0].volume(0.1).study.count == 2


def test_the_common_yardstick_is_the_best_of_any_optimizer():
    observations = make_observations({("w", "a"): bowl, ("w", "b"): lambda u: bowl(u) + 0.2}, points=256, seeds=1)
    table = measure_robustness(observations)
    assert [row.optimizer for row in table.rows] == ["a", "b"]
    worse = table.rows[1].volume(0.5)
    mean_N = observations.cell("w", "b").mean_N[1:]
    assert worse.study.count == (mean_N <= 0.1 + 0.5 * 0.8).sum()
    assert worse.own.count == (mean_N <= 0.3 + 0.5 * 0.6).sum()
    assert table.yardsticks[0].best_optimizer == "a"


def test_a_headline_tolerance_is_among_the_volumes_and_outside_0_to_1_is_refused():
    observations = make_observations({("w", "a"): bowl}, points=16)
    assert measure_robustness(observations, tolerance=0.07).rows[0].volume(0.07) is not None
    assert [v.tolerance for v in measure_robustness(observations).rows[0].volumes] == list(TOLERANCES)
    with pytest.raises(ValueError, match="tolerance is a share"):
        measure_robustness(observations, tolerance=1.05)


def test_the_default_regret_is_the_paired_difference_to_the_best():
    losses = np.array([[0.5, 0.6, 0.4], [0.2, 0.35, 0.2], [0.9, 0.9, 0.9]])
    row = measure_robustness(place_observations({("w", "a"): losses}, [[0.5], [0.2], [0.9]], ONE_AXIS, default=0)).rows[
        0
    ]
    expected = stats.ttest_rel(losses[0], losses[1])
    low, high = expected.confidence_interval(0.95)
    assert row.default_regret.value == pytest.approx(0.25)
    assert (row.default_regret.low, row.default_regret.high) == pytest.approx((low, high))
    assert row.default_regret_relative.value == pytest.approx(0.25 / (1.0 - 0.25))
    assert not row.best_is_default


def test_the_regret_of_unpaired_seeds_has_welchs_interval():
    a, b = np.array([0.5, 0.6, 0.4]), np.array([0.2, 0.35, 0.2])
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    found = difference(a, b, paired=False)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_a_default_that_is_the_best_has_no_regret_and_no_interval():
    row = measure_robustness(make_observations({("w", "a"): bowl}, points=16)).rows[0]
    assert row.best_is_default
    assert (row.default_regret.value, row.default_regret.low) == (0.0, None)


def test_the_held_out_best_is_read_at_the_seed_that_did_not_choose_it():
    losses = np.array([[0.1, 0.5], [0.4, 0.3], [0.6, 0.6]])
    row = measure_robustness(place_observations({("w", "a"): losses}, [[0.1], [0.2], [0.3]], ONE_AXIS)).rows[0]
    # Without seed 0 the second is best (0.3), and it has 0.4 at seed 0; without seed 1 the first, and it has 0.5.
    assert row.held_out.value == pytest.approx(0.45)
    assert row.best.mean == pytest.approx(0.3)


def test_the_best_of_pure_noise_is_optimistic_and_the_held_out_one_is_not():
    observations = make_observations({("w", "a"): lambda u: 0.5 + 0 * u[:, 0]}, points=256, seeds=5, noise=0.05)
    row = measure_robustness(observations).rows[0]
    assert row.best.mean < 0.46
    assert row.held_out.value == pytest.approx(0.5, abs=0.05)
    assert row.default_regret_held_out.low < 0 < row.default_regret_held_out.high


@settings(max_examples=40)
@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=6), st.integers(0, 2))
def test_selection_without_a_seed_does_not_look_at_it(rows, seed):
    losses = np.array(rows)
    unit = [[0.1 * n] for n in range(len(rows))]
    cell = place_observations({("w", "a"): losses}, unit, ONE_AXIS, chance=None).cells[0]
    changed = losses.copy()
    changed[:, seed] = np.arange(len(rows))[::-1]
    other = place_observations({("w", "a"): changed}, unit, ONE_AXIS, chance=None).cells[0]
    assert best_without(cell, seed) == best_without(other, seed)
    assert best_without(cell, seed) == int(np.argmin(np.delete(losses, seed, axis=1).sum(axis=1) / 2))


def test_divergence_is_counted_by_points_and_by_runs():
    losses = np.array([[0.5, 0.5], [0.5, 1.0], [1.0, 1.0], [0.2, 0.2]])
    row = measure_robustness(
        place_observations({("w", "a"): losses}, [[0.5], [0.1], [0.9], [0.3]], ONE_AXIS, default=0)
    ).rows[0]
    assert (row.divergence_points.count, row.divergence_points.total) == (2, 3)
    assert row.divergence_runs.value == pytest.approx(3 / 6)
    assert 0 <= row.divergence_runs.low < 0.5 < row.divergence_runs.high <= 1
    assert (row.runs, row.runs_diverged, row.trials_diverged) == (8, 3, 2)
    assert row.best.diverged == 0


def test_runs_that_do_not_exist_are_in_nothing():
    losses = np.array([[0.5, 0.7, 0.6], [0.2, np.nan, 0.4], [0.45, np.nan, np.nan]])
    table = measure_robustness(place_observations({("w", "a"): losses}, [[0.5], [0.1], [0.9]], ONE_AXIS, default=0))
    row = table.rows[0]
    assert (row.runs, row.best.mean, row.best.seeds) == (6, pytest.approx(0.3), 2)
    welch = stats.ttest_ind([0.5, 0.7, 0.6], [0.2, 0.4], equal_var=False).confidence_interval(0.95)
    assert (row.default_regret.low, row.default_regret.high) == pytest.approx((welch.low, welch.high))
    assert survives_json(table)


def test_no_divergence_among_few_points_is_no_certainty():
    row = measure_robustness(make_observations({("w", "a"): bowl}, points=8, chance=None)).rows[0]
    assert row.divergence_runs.value == 0
    assert row.divergence_runs.high == pytest.approx(stats.binomtest(0, 8).proportion_ci(method="wilson").high)


def test_runs_of_a_point_that_are_alike_count_once_and_unlike_ones_each():
    def share(diverged):
        losses = np.where(diverged, 1.0, 0.5)
        places = [[place] for place in np.linspace(0, 1, len(losses))]
        return measure_robustness(place_observations({("w", "a"): losses}, places, ONE_AXIS)).rows[0].divergence_runs

    def wilson(count, total):
        interval = stats.binomtest(count, total).proportion_ci(method="wilson")
        return pytest.approx((interval.low, interval.high))

    alike = share(np.repeat(np.arange(20)[:, None] < 5, 3, axis=1))
    assert (alike.low, alike.high) == wilson(5, 20)
    # Each point has one run of three that diverged: points tell nothing apart, and runs are the draws.
    unlike = share(np.arange(3) == np.arange(20)[:, None] % 3)
    assert (unlike.low, unlike.high) == wilson(20, 60)
    one_seed = share(np.arange(16)[:, None] < 3)
    assert (one_seed.low, one_seed.high) == wilson(3, 16)


def test_the_interval_of_diverged_runs_holds_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(5)
    held = []
    for _ in range(400):
        chance_N = draws.beta(0.5, 2.0, 16)  # runs of a point diverge alike: the mean is 0.2
        diverged_N = draws.binomial(3, chance_N).astype(float)
        found = measure_clustered_share(diverged_N, np.full(16, 3.0))
        held.append(found.low <= 0.2 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.99


def test_a_cell_in_which_nothing_varies_has_trials_all_the_same():
    """One setting of a foreign study that suggested nothing: it has no axes, and so no columns of them."""
    observations = place_observations({("w", "a"): [0.4, 0.3], ("v", "a"): [0.5, 0.6]}, [[], []], {}, default=0)
    row = measure_robustness(observations).rows[0]
    assert (row.best.number, row.best.hyperparameters, row.default_regret.value) == (1, (), pytest.approx(0.1))


def test_objectives_beyond_all_measure_are_cut_so_that_variances_are_numbers():
    losses = np.array([[0.5, 0.6], [1e200, 1e200], [1e308, 1e300], [0.1, 0.2]])
    places = [[0.1], [0.4], [0.6], [0.9]]
    table = measure_robustness(place_observations({("w", "a"): losses}, places, ONE_AXIS, chance=None))
    assert survives_json(table)
    assert table.rows[0].best.number == 3


def test_if_all_runs_diverge_nothing_is_called_good():
    table = measure_robustness(make_observations({("w", "a"): bowl}, points=16, diverge_above=-1.0))
    row = table.rows[0]
    assert row.volumes == ()
    assert row.divergence_points.value == 1
    assert row.default_regret_relative is None
    assert any("better than chance" in lacking.reason for lacking in table.missing)
    assert survives_json(table)


def test_an_optimizer_that_learned_nothing_has_no_volume_of_its_own_and_none_by_the_common_yardstick():
    observations = make_observations({("w", "a"): bowl, ("w", "b"): lambda u: 2.0 + u[:, 0]}, points=32)
    row = measure_robustness(observations).rows[1]
    assert row.optimizer == "b"
    assert all(volume.own is None and volume.study.count == 0 for volume in row.volumes)


def test_trials_without_a_result_are_counted_by_what_became_of_them():
    unit = [[0.1 * n] for n in range(6)]
    ends = {
        ("w", "a", 1, 0): "out_of_memory",
        ("w", "a", 2, 0): "pruned",
        ("w", "a", 3, 1): None,
        ("w", "a", 4, 0): "failed",
        ("w", "a", 4, 1): "pruned",
    }
    table = measure_robustness(
        place_observations({("w", "a"): np.full((6, 2), 0.5)}, unit, ONE_AXIS, terminations=ends)
    )
    row = table.rows[0]
    assert (row.trials_planned, row.trials_finished) == (6, 2)
    assert (row.trials_failed, row.trials_pruned, row.trials_pending) == (2, 1, 1)
    assert row.runs == 4


def test_cells_without_a_finished_trial_are_named():
    losses = {("w", "a"): [[0.5], [0.4]], ("w", "b"): [[0.5], [0.4]]}
    ends = {("w", "b", trial, 0): "failed" for trial in range(2)}
    table = measure_robustness(place_observations(losses, [[0.5], [0.4]], ONE_AXIS, terminations=ends))
    assert table.absent == (("w", "b"),)
    assert any("b on w" in lacking.measure for lacking in table.missing)


@pytest.mark.parametrize("changes", [{"is_sample": False}, {"design": "one_at_a_time"}])
def test_points_that_do_not_stand_for_the_space_have_no_shares_of_it(changes):
    observations = place_observations({("w", "a"): [[0.5], [0.4]]}, [[0.5], [0.4]], ONE_AXIS, **changes)
    table = measure_robustness(observations)
    row = table.rows[0]
    assert (row.volumes, row.median, row.divergence_points, row.divergence_runs) == ((), None, None, None)
    assert any("robust volume" in lacking.measure for lacking in table.missing)


def test_one_trial_with_one_seed_has_numbers_but_no_intervals():
    table = measure_robustness(place_observations({("w", "a"): [[0.4]]}, [[0.5]], ONE_AXIS))
    row = table.rows[0]
    assert (row.best.mean, row.best.sd, row.held_out, row.median.low, row.default) == (0.4, None, None, None, None)
    assert survives_json(table)


def test_ties_go_to_the_lowest_number():
    table = measure_robustness(place_observations({("w", "a"): [[0.4], [0.4]]}, [[0.5], [0.6]], ONE_AXIS))
    assert table.rows[0].best.number == 0


def test_without_a_chance_level_the_median_of_all_points_is_the_reference():
    observations = make_observations({("w", "a"): bowl, ("w", "b"): ramp}, points=64, chance=None)
    yardstick = measure_robustness(observations).yardsticks[0]
    assert not yardstick.is_chance
    assert yardstick.reference == np.median(np.concatenate([cell.mean_N for cell in observations.cells]))


def test_a_mean_over_seeds_has_students_interval():
    values = [0.3, 0.5, 0.1, 0.4]
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = over_seeds([*values, math.nan])
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert over_seeds([math.nan]) is None


@settings(max_examples=60)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_cvar_is_the_least_of_the_rockafellar_uryasev_function(values, alpha):
    value_M = np.array(values)
    # CVaR = min over t of t + E[max(value - t, 0)] / alpha, which is reached at one of the values.
    expected = min(t + np.maximum(value_M - t, 0).mean() / alpha for t in values)
    assert cvar(value_M, alpha) == pytest.approx(expected, abs=1e-9)


def test_the_cvar_of_a_ramp_over_a_box_is_known():
    observations = make_observations({("w", "a"): lambda u: 0.2 + 0.4 * np.abs(u[:, 0] - 0.5)}, axes=LINEAR, points=128)
    row = measure_local(observations, fit_all(observations)).rows[0]
    for box in row.boxes:
        # The worst fifth of abs(u - 0.5) over +-h is uniform in [0.8 h, h].
        assert box.cvar.value == pytest.approx(0.2 + 0.4 * 0.9 * box.share, abs=0.004)
        assert box.mean.value == pytest.approx(0.2 + 0.4 * 0.5 * box.share, abs=0.004)
        assert box.inside == pytest.approx(1.0)
        mean_N, place_N = observations.cells[0].mean_N, observations.cells[0].unit_ND[:, 0]
        near_N = (np.abs(place_N - place_N[0]) <= box.share) & observations.cells[0].design_N
        assert (box.points, box.worst) == (near_N.sum(), pytest.approx(mean_N[near_N].max()))


def test_a_box_at_the_edge_is_cut_to_the_space():
    observations = make_observations({("w", "a"): ramp}, axes=ONE_AXIS, points=64, default=[0.0])
    box = measure_local(observations, fit_all(observations)).rows[0].boxes[0]
    assert box.inside == pytest.approx(0.5)
    half = math.log10(BOXES[0][0]) / 4
    assert box.cvar.value == pytest.approx(0.2 + 0.4 * half * (1 - ALPHA / 2), abs=0.002)
    assert box.rise.value == pytest.approx(0.4 * half * (1 - ALPHA / 2) / 0.7, abs=0.003)


def test_choices_and_inactive_axes_stay_as_they_are_in_a_box():
    axes = {"lr": LR, "schedule": AxisSpec(choices=["cosine", "constant"]), "gamma": AxisSpec(low=0, high=1, when="x")}
    unit = [[0.5, 0.25, None], [0.51, 0.25, None], [0.52, 0.75, None], [0.5, 0.25, 0.5]]
    observations = place_observations({("w", "a"): [[0.1], [0.2], [0.3], [0.4]]}, unit, axes)
    table = measure_local(observations, fit_all(observations))
    assert (table.rows[0].boxes[0].points, table.rows[0].boxes[0].worst) == (1, 0.2)
    assert table.rows[0].boxes[0].cvar is None
    assert table.missing


def test_the_section_tells_everything_and_draws_without_a_display():
    functions = {("w", "a"): bowl, ("w", "b"): lambda u: 0.3 + u[:, 0], ("Other_w", "a"): bowl}
    observations = make_observations(functions, noise=0.01, diverge_above=0.8)
    table, local = measure_robustness(observations), measure_local(observations, fit_all(observations))
    assert survives_json(table)
    assert survives_json(local)
    section = tell_robustness(table, local, observations.info)
    check_section(section)
    assert {len(t.rows) for t in section.tables} >= {3}


def test_an_empty_study_still_has_a_section():
    observations = place_observations(
        {("w", "a"): [[0.5]]}, [[0.5]], ONE_AXIS, terminations={("w", "a", 0, 0): "failed"}
    )
    section = tell_robustness(measure_robustness(observations), measure_local(observations, {}), observations.info)
    check_section(section)
    assert section.missing


def check_section(section):
    assert len({t.name for t in section.tables}) == len(section.tables)
    for table in section.tables:
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names)
        assert all(column.meaning.endswith(".") for column in table.columns)
        assert all(len(row) == len(names) for row in table.rows)
        assert all(bound in names for column in table.columns for bound in (column.low, column.high) if bound)
    for figure in section.figures:
        assert figure.name == figure.name.lower()
        assert save(figure.draw(), "svg").startswith(b"<?xml")
