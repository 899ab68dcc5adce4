"""Profiles of the time to a target: against ratios made by hand."""

import itertools
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_observations import make_observations
from pydantic import TypeAdapter
from scipy import integrate

from study.report.drawing.style import save
from study.report.measures.comparison.profiles import (
    R_MAX,
    ProfileComparison,
    measure_profiles,
    relate_times,
    score_ratios,
)
from study.report.observations import Observations, observe
from study.report.sections.comparison_profiles import tell_profiles

#: (workload, optimizer) -> steps of each seed of trial 1; trial 0 is ten times slower, None never reaches the target.
Steps = Mapping[tuple[str, str], Sequence[int | None]]


def observe_steps(
    steps: Steps, *, without_target: Sequence[str] = (), diverged: Sequence[tuple[str, str]] = (), paired: bool = True
) -> Observations:
    made = make_observations(
        dict.fromkeys(steps, lambda u: 0.1 + 0.1 * u[:, 0]), points=1, seeds=max(len(s) for s in steps.values())
    )
    rows = []
    for row in made.runs.to_dicts():
        cell = row["workload"], row["optimizer"]
        if row["seed"] < len(steps[cell]):
            known = steps[cell][row["seed"]]
            row["steps_to_target"] = None if known is None else known * (1 if row["trial"] else 10)
            if cell in diverged:
                row["termination"] = "diverged"
            rows.append(row)
    targets = tuple(
        replace(workload, target=None if workload.name in without_target else 0.2) for workload in made.info.workloads
    )
    info = replace(made.info, workloads=targets, paired_seeds=paired)
    return observe(info, pl.DataFrame(rows, schema=made.runs.schema), made.curvature)


THREE = {
    ("a", "x"): [100, 120, 900],
    ("a", "y"): [240, 240, 240],
    ("b", "x"): [300, 300, 300],
    ("b", "y"): [100, 100, 100],
    ("c", "x"): [50, None, None],
    ("c", "y"): [700, 700, None],
}


def test_times_are_medians_over_seeds_of_the_fastest_trial_and_misses_have_none():
    times = {(time.workload, time.optimizer): time for time in measure_profiles(observe_steps(THREE)).times}
    assert [times[cell].steps for cell in THREE] == [120, 240, 300, 100, None, 700]
    assert [times[cell].ratio for cell in THREE] == [1, 2, 3, 1, None, 1]
    assert [times[cell].reached for cell in THREE] == [3, 3, 3, 3, 1, 2]
    assert {time.trials for time in times.values()} == {2}


def test_profiles_and_scores_are_those_of_the_ratios():
    x, y = measure_profiles(observe_steps(THREE)).profiles
    assert (x.taus, x.shares) == ((1, 3, 4), pytest.approx((1 / 3, 2 / 3, 2 / 3)))
    assert (y.taus, y.shares) == ((1, 2, 4), pytest.approx((2 / 3, 1, 1)))
    assert x.score.value == pytest.approx((3 + 1 + 0) / 9)
    assert y.score.value == pytest.approx((2 + 3 + 3) / 9)
    assert (x.fastest, x.reached, y.fastest, y.reached) == (1, 2, 2, 3)
    assert x.score.low is not None
    assert x.score.low < x.score.value


@given(st.lists(st.floats(1, 10) | st.just(math.inf), min_size=1, max_size=6))
def test_the_score_is_the_integral_of_the_profile(ratios: list[float]):
    values = np.array(ratios)
    steps = sorted({1.0, R_MAX, *(ratio for ratio in ratios if ratio < R_MAX)})
    pieces = [
        integrate.quad(lambda tau: float(np.mean(values <= tau)), low, high)[0]
        for low, high in itertools.pairwise(steps)
        if high - low > 1e-6
    ]
    assert score_ratios(values) == pytest.approx(sum(pieces) / (R_MAX - 1), abs=1e-5)


def test_ratios_do_not_change_with_the_unit_of_time():
    times = np.array([[3.0, 6.0, np.inf], [np.inf, np.inf, np.inf]])
    np.testing.assert_array_equal(relate_times(times), [[1, 2, np.inf], [np.inf] * 3])
    np.testing.assert_array_equal(relate_times(7 * times), relate_times(times))


def test_who_needs_no_step_is_the_fastest():
    """A target that the first evaluation meets, before any step: no number divides by 0."""
    np.testing.assert_array_equal(relate_times(np.array([[0.0, 0.0, 5.0, np.inf]])), [[1, 1, np.inf, np.inf]])


def test_a_target_that_nobody_reaches_counts_for_nobody():
    comparison = measure_profiles(observe_steps({("a", "x"): [None], ("a", "y"): [None]}))
    assert [profile.score.value for profile in comparison.profiles] == [0.0, 0.0]
    assert [profile.score.low for profile in comparison.profiles] == [None, None]
    assert comparison.times[0].ratio is None


def test_a_run_that_diverges_has_not_reached_the_target():
    comparison = measure_profiles(observe_steps({("a", "x"): [10], ("a", "y"): [30]}, diverged=[("a", "x")]))
    assert [time.steps for time in comparison.times] == [None, 30]


def test_a_workload_without_target_is_left_out_and_named():
    comparison = measure_profiles(observe_steps(THREE, without_target=["b"]))
    assert comparison.workloads == ("a", "c")
    assert "target_error" in comparison.missing[0].reason
    assert comparison.missing[0].measure.endswith("on b")


def test_no_target_leaves_nothing_but_a_reason():
    made = observe_steps(THREE, without_target=["a", "b", "c"])
    comparison = measure_profiles(made)
    assert comparison.profiles == comparison.times == ()
    assert len(comparison.missing) == 1
    assert tell_profiles(comparison, made.info).missing == comparison.missing


def test_an_optimizer_that_did_not_run_on_a_workload_has_not_missed_its_target():
    made = observe_steps(THREE)
    runs = made.runs.filter((pl.col("workload") != "b") | (pl.col("optimizer") != "y"))
    comparison = measure_profiles(observe(made.info, runs, made.curvature))
    assert comparison.workloads == ("a", "c")
    assert comparison.missing[0].measure.endswith("on b")


def test_one_optimizer_has_nothing_to_be_compared_with():
    comparison = measure_profiles(observe_steps({("a", "x"): [10, 20]}))
    assert comparison.profiles == ()
    assert "two optimizers" in comparison.missing[0].reason


@pytest.mark.parametrize("paired", [True, False])
def test_paired_seeds_that_all_share_their_ratio_leave_no_doubt(paired: bool):
    steps = {("a", "x"): [100, 200, 300], ("a", "y"): [200, 400, 600]}
    y = measure_profiles(observe_steps(steps, paired=paired)).profiles[1]
    assert y.score.value == pytest.approx(2 / 3)
    assert (y.score.low == pytest.approx(2 / 3)) is paired


def test_seeds_of_different_number_are_resampled_by_themselves():
    comparison = measure_profiles(observe_steps({("a", "x"): [100, 200, 300], ("a", "y"): [400]}))
    assert [time.seeds for time in comparison.times] == [3, 1]
    assert comparison.profiles[1].score.low is not None


def test_the_section_is_drawn_and_survives_json():
    made = observe_steps(THREE)
    comparison = measure_profiles(made)
    adapter = TypeAdapter(ProfileComparison)
    assert adapter.validate_json(adapter.dump_json(comparison)) == comparison == measure_profiles(made)
    section = tell_profiles(comparison, made.info)
    assert [table.name for table in section.tables] == ["profile-scores", "target-times", "profiles"]
    assert all(len(row) == len(table.columns) for table in section.tables for row in table.rows)
    assert any("3 workloads" in paragraph for paragraph in section.paragraphs)
    drawing = pickle.loads(pickle.dumps(section.figures[0])).draw()  # noqa: S301
    assert save(drawing, "svg").startswith(b"<?xml")
