"""Tests over paired seeds: against scipy, corrections by hand, and what selection does to a winner."""

import itertools
import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_observations import make_observations
from pydantic import TypeAdapter
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study.report.drawing.style import save
from study.report.measures.comparison.held_out import mean_test_errors
from study.report.measures.comparison.paired_tests import correct_holm, least_rank_p, rank_p, subtract
from study.report.measures.comparison.seed_scores import score_left_out
from study.report.measures.comparison.seed_tests import NO_DIFFERENCE, SeedTests, measure_seed_tests
from study.report.measures.comparison.workload_tests import measure_workload_tests
from study.report.measures.intervals import score_interval
from study.report.observations import Observations, observe
from study.report.sections.comparison_tests import tell_tests

#: Optimizer -> objective of each trial and seed, (trial, seed); NaN for a run that diverged.
Runs = Mapping[str, Any]
GENERATOR = np.random.default_rng(11)
GOOD, BAD = 0.1 + 0.01 * GENERATOR.random(8), 0.2 + 0.01 * GENERATOR.random(8)


def observe_runs(runs: Runs, tests: Runs | None = None, **changes: Any) -> Observations:
    """Studies with the objectives, and test errors, that are given; without ``tests`` there are none."""
    tables = {name: np.atleast_2d(values) for name, values in runs.items()}
    shape = next(iter(tables.values())).shape
    made = make_observations(
        {("a", name): lambda u: 0.5 + 0 * u[:, 0] for name in tables}, points=shape[0], seeds=shape[1], **changes
    )
    rows = []
    for row in made.runs.to_dicts():
        if row["trial"] == 0:
            continue
        at = row["trial"] - 1, row["seed"]
        objective = float(tables[row["optimizer"]][at])
        diverged = bool(np.isnan(objective))
        row |= {
            "termination": "diverged" if diverged else "completed",
            "objective": 0.9 if diverged else objective,
            "test_error": None if diverged or tests is None else float(np.atleast_2d(tests[row["optimizer"]])[at]),
        }
        rows.append(row)
    return observe(made.info, pl.DataFrame(rows, schema=made.runs.schema, infer_schema_length=None), made.curvature)


def test_the_paired_test_is_that_of_scipy():
    compared = measure_seed_tests(observe_runs({"x": GOOD, "y": BAD}, {"x": GOOD, "y": BAD})).comparisons[0]
    expected = stats.ttest_rel(GOOD, BAD)
    interval = expected.confidence_interval(0.95)
    assert compared.p == compared.p_holm == pytest.approx(expected.pvalue)
    assert compared.difference.value == pytest.approx(np.mean(GOOD - BAD))
    assert (compared.difference.low, compared.difference.high) == pytest.approx((interval.low, interval.high))
    assert compared.effect == pytest.approx(np.mean(GOOD - BAD) / np.std(GOOD - BAD, ddof=1))
    assert compared.p_rank == pytest.approx(stats.wilcoxon(GOOD, BAD, method="exact").pvalue)
    assert compared.p_rank == compared.p_rank_least == 2**-7
    assert (compared.better.value, compared.better.high) == (1.0, 1.0)
    assert (compared.statistic, compared.test, compared.verdict) == ("test error", "paired t", "X better")


def test_the_other_way_round_the_other_is_better():
    compared = measure_seed_tests(observe_runs({"x": BAD, "y": GOOD}, {"x": BAD, "y": GOOD})).comparisons[0]
    assert compared.verdict == "Y better"
    assert compared.difference.value > 0
    assert compared.better.value == 0.0


def test_unpaired_seeds_have_welchs_test():
    made = observe_runs({"x": GOOD, "y": BAD + GOOD}, {"x": GOOD, "y": BAD + GOOD}, paired_seeds=False)
    compared = measure_seed_tests(made).comparisons[0]
    expected = stats.ttest_ind(GOOD, BAD + GOOD, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert compared.p == pytest.approx(expected.pvalue)
    assert (compared.difference.low, compared.difference.high) == pytest.approx((interval.low, interval.high))
    assert compared.p_rank == compared.p_rank_least == pytest.approx(stats.mannwhitneyu(GOOD, BAD + GOOD).pvalue)
    assert (compared.test, compared.effect) == ("Welch's t", None)


def test_p_values_are_corrected_over_the_pairs_of_a_workload():
    # By hand: sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert correct_holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert correct_holm([0.02, None, 0.9]) == [pytest.approx(0.06), None, 1.0]
    assert correct_holm([]) == []


@settings(max_examples=10)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_the_correction_is_that_of_statsmodels(p_values: list[float]):
    assert correct_holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_two_significant_pairs_may_not_survive_the_correction():
    noise = np.random.default_rng(2).normal(0, 0.01, (4, 5))
    values = {name: 0.2 + noise[place] for place, name in enumerate("wxyz")}
    values["w"] = values["w"] - 0.02
    comparisons = measure_seed_tests(observe_runs(values, values)).comparisons
    assert len(comparisons) == 6
    assert [row.p_holm for row in comparisons] == pytest.approx(correct_holm([row.p for row in comparisons]))
    unsure = [row for row in comparisons if row.p < 0.05 <= row.p_holm]
    assert unsure
    assert all(row.verdict == NO_DIFFERENCE for row in unsure)


def test_equal_results_show_no_difference():
    compared = measure_seed_tests(observe_runs({"x": GOOD, "y": GOOD}, {"x": GOOD, "y": GOOD})).comparisons[0]
    assert (compared.p, compared.p_rank, compared.effect) == (1.0, 1.0, None)
    assert compared.difference.value == 0.0
    assert compared.difference.low is None
    assert (compared.better.value, compared.verdict) == (0.5, NO_DIFFERENCE)


@pytest.mark.parametrize(("seeds", "verdict"), [(3, NO_DIFFERENCE), (8, "X better")])
def test_differences_that_do_not_vary_are_judged_by_their_signs(seeds: int, verdict: str):
    values = {"x": GOOD[:seeds], "y": GOOD[:seeds] + 0.1}
    compared = measure_seed_tests(observe_runs(values, values)).comparisons[0]
    assert compared.test.startswith("Wilcoxon")
    assert compared.p == 2.0 ** (1 - seeds)
    assert compared.verdict == verdict


def test_one_seed_is_no_test():
    compared = measure_seed_tests(observe_runs({"x": [0.1], "y": [0.2]}, {"x": [0.1], "y": [0.2]})).comparisons[0]
    assert (compared.p, compared.p_holm, compared.p_rank, compared.difference.low) == (None, None, None, None)
    assert compared.difference.value == pytest.approx(-0.1)
    assert compared.verdict == NO_DIFFERENCE


def test_one_seed_without_test_error_is_missing():
    tests = measure_seed_tests(observe_runs({"x": [0.1], "y": [0.2]}))
    assert tests.comparisons == ()
    assert "one seed" in tests.missing[0].reason


def test_without_test_errors_settings_are_chosen_on_the_other_seeds():
    values = np.array([[0.10, 0.30, 0.30], [0.30, 0.10, 0.30], [0.21, 0.22, 0.23]])
    scores = score_left_out(observe_runs({"x": values}).cells[0])
    assert scores is not None
    # Without seed 0, trial 1 has mean 0.2; without seed 1, trial 0; without seed 2, both tie and the first is taken.
    np.testing.assert_allclose(scores.score_S, [0.3, 0.3, 0.3])


def test_a_winner_by_luck_is_no_better_when_seeds_are_left_out():
    many = np.random.default_rng(5).normal(0.5, 0.1, (64, 4))
    few = np.random.default_rng(6).normal(0.5, 0.1, (64, 4))
    few[1:] = 0.9
    made = observe_runs({"x": many, "y": few})
    naive = made.cells[0].mean_N.min() - made.cells[1].mean_N.min()
    compared = measure_seed_tests(made).comparisons[0]
    assert naive < -0.05
    assert compared.difference.value > naive + 0.05
    assert compared.statistic.startswith("val_error, setting chosen")
    assert compared.verdict == NO_DIFFERENCE


def test_a_diverged_run_of_the_selected_setting_counts_at_chance_level():
    x = np.array([[np.nan, 0.1, 0.1, 0.1]])
    y = np.array([[0.2, 0.2, 0.21, 0.2]])
    made = observe_runs({"x": x, "y": y}, {"x": x, "y": y})
    compared = measure_seed_tests(made).comparisons[0]
    assert compared.statistic == "test error"
    assert (compared.first_diverged, compared.second_diverged) == (1, 0)
    assert compared.first_mean == pytest.approx((0.9 + 0.3) / 4)
    losses = observe(replace(made.info, objective="val_loss"), made.runs, made.curvature)
    compared = measure_seed_tests(losses).comparisons[0]
    assert compared.statistic.startswith("val_loss, setting chosen")
    assert compared.first_mean == pytest.approx((0.9 + 0.3) / 4)


def test_mean_test_errors_are_those_of_the_cell_where_nothing_diverged():
    made = observe_runs({"x": GOOD, "y": BAD}, {"x": BAD, "y": GOOD})
    for cell in made.cells:
        np.testing.assert_array_equal(mean_test_errors(cell, made.info), cell.test_mean_N)


def test_only_common_seeds_are_paired():
    made = observe_runs({"x": GOOD, "y": BAD}, {"x": GOOD, "y": BAD})
    runs = made.runs.filter((pl.col("optimizer") == "x") | (pl.col("seed") < 5))
    compared = measure_seed_tests(observe(made.info, runs, made.curvature)).comparisons[0]
    assert compared.first_runs == compared.second_runs == 5
    assert compared.p == pytest.approx(stats.ttest_rel(GOOD[:5], BAD[:5]).pvalue)


def test_all_diverged_against_all_diverged_is_a_tie():
    lost = np.full((2, 3), np.nan)
    compared = measure_seed_tests(observe_runs({"x": lost, "y": lost}, {"x": lost, "y": lost})).comparisons[0]
    assert (compared.difference.value, compared.p, compared.first_diverged) == (0.0, 1.0, 3)


def test_unpaired_constant_runs_do_not_fail():
    same = {"x": [0.1, 0.1, 0.1], "y": [0.1, 0.1, 0.1]}
    apart = {"x": [0.1, 0.1, 0.1], "y": [0.2, 0.2, 0.2]}
    half = {"x": [0.1, 0.1, 0.1], "y": [0.2, 0.3, 0.2]}
    rows = [measure_seed_tests(observe_runs(v, v, paired_seeds=False)).comparisons[0] for v in (same, apart, half)]
    assert [row.p for row in rows[:2]] == [1.0, pytest.approx(0.1)]
    assert [row.test for row in rows] == ["Mann-Whitney, as the runs do not vary"] * 2 + ["Welch's t"]
    assert rows[2].p < 0.1


@given(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]), min_size=1, max_size=8))
def test_the_signed_rank_test_is_that_of_all_signs_even_with_ties(differences: list[float]):
    known = np.array([value for value in differences if value != 0])
    expected = 1.0
    if len(known):
        ranks = stats.rankdata(np.abs(known))
        sums = np.array([np.dot(signs, ranks) for signs in itertools.product([-1, 1], repeat=len(known))])
        expected = np.mean(np.abs(sums) >= abs(np.dot(np.sign(known), ranks)) - 1e-9)
    assert rank_p(np.array(differences)) == pytest.approx(expected)


def test_the_signed_rank_test_of_many_pairs_is_that_of_scipy():
    values = np.random.default_rng(8).normal(0.3, 1, 40)
    assert rank_p(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)
    tied = np.round(values, 1)
    assert rank_p(tied) == pytest.approx(stats.wilcoxon(tied, correction=True, method="auto").pvalue)


def test_three_seeds_cannot_reach_the_level_by_ranks():
    assert [least_rank_p(count) for count in (1, 3, 5, 6)] == [1.0, 0.25, 0.0625, 0.03125]
    assert rank_p(np.array([1.0, 2.0, 3.0])) == least_rank_p(3)


@pytest.mark.parametrize(("wins", "pairs"), [(0, 3), (3, 3), (5, 8)])
def test_the_interval_of_wins_is_wilsons(wins: int, pairs: int):
    expected = stats.binomtest(wins, pairs).proportion_ci(0.95, method="wilson")
    assert score_interval(wins, pairs) == pytest.approx((expected.low, expected.high))


def test_differences_that_are_rounding_are_none():
    assert not subtract(np.array([0.1 + 0.2, 0.7]), np.array([0.3, 0.7])).any()
    assert np.ptp(subtract(np.array([0.3, 0.11, 0.7]), np.array([0.29, 0.10, 0.69]))) == 0


def test_one_optimizer_is_missing_a_second():
    tests = measure_seed_tests(observe_runs({"x": GOOD}))
    assert tests.comparisons == ()
    assert "two optimizers" in tests.missing[0].reason


def test_the_section_is_drawn_and_survives_json():
    values = {"x": GOOD, "y": BAD, "z": GOOD + 0.1}
    tests = measure_seed_tests(observe_runs(values, values))
    adapter = TypeAdapter(SeedTests)
    assert adapter.validate_json(adapter.dump_json(tests)) == tests
    part = tell_tests(tests, measure_workload_tests(observe_runs(values, values))).sections[0]
    table = part.tables[0]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert len(table.rows) == 3
    drawing = pickle.loads(pickle.dumps(part.figures[0])).draw()  # noqa: S301
    assert save(drawing, "svg").startswith(b"<?xml")
    assert [len(texts) for texts in drawing.hovers.values()] == [2, 1]
