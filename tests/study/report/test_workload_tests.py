"""Tests over workloads: against published critical values, computations by hand and the libraries."""

import itertools
import math
import pickle
from collections.abc import Mapping, Sequence

import baycomp
import numpy as np
import polars as pl
import pytest
from made_observations import make_observations
from pydantic import TypeAdapter
from scipy import stats

from study.report.drawing.style import save
from study.report.measures.comparison.rank_tests import (
    critical_difference,
    group_ranks,
    iman_davenport,
    rank_optimizers,
)
from study.report.measures.comparison.seed_tests import measure_seed_tests
from study.report.measures.comparison.workload_tests import (
    WorkloadTests,
    collect_scores,
    measure_workload_tests,
    weigh_equivalence,
)
from study.report.observations import Observations, observe
from study.report.sections.comparison_tests import tell_tests

#: The first example of Demsar 2006 (table 6): areas under the curve of four variants of C4.5 on 14 data sets.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
NAMES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")


def observe_scores(scores: Mapping[str, Sequence[float | None]], *, diverge_above: float = np.inf) -> Observations:
    """One optimizer a row and one workload a column; None for a cell that did not run."""
    functions = {
        (f"w{place}", name): (lambda u, value=value: value + 0 * u[:, 0])
        for place in range(len(next(iter(scores.values()))))
        for name, row in scores.items()
        if (value := row[place] if row[place] is not None else 0.5) is not None
    }
    made = make_observations(functions, points=1, seeds=2, diverge_above=diverge_above)
    ran = [
        scores[row["optimizer"]][int(row["workload"][1:])] is not None
        for row in made.runs.select("optimizer", "workload").to_dicts()
    ]
    return observe(made.info, made.runs.filter(pl.Series(ran)), made.curvature)


SIX = {
    "x": [0.10, 0.11, 0.12, 0.13, 0.14, 0.15],
    "y": [0.20, 0.22, 0.11, 0.26, 0.28, 0.30],
    "z": [0.20, 0.32, 0.33, 0.34, 0.35, 0.36],
}


@pytest.mark.parametrize(("optimizers", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_differences_are_those_of_the_published_table(optimizers: int, quantile: float):
    expected = quantile * math.sqrt(optimizers * (optimizers + 1) / (6 * 14))
    assert critical_difference(optimizers, 14) == pytest.approx(expected, rel=4e-4)


def test_the_published_example_has_its_published_ranks_and_statistics():
    ranks = rank_optimizers(-DEMSAR, [str(row) for row in range(14)], NAMES, NAMES, "area")
    assert [round(row.rank.value, 3) for row in ranks.ranks] == [3.143, 2.000, 2.893, 1.964]
    # The paper's chi-square of 9.28 (F of 3.69) does not correct for ties.
    mean = np.array([row.rank.value for row in ranks.ranks])
    plain = 12 * 14 / 20 * (np.sum(mean**2) - 4 * 25 / 4)
    assert plain == pytest.approx(9.28, abs=0.01)
    assert iman_davenport(plain, 14, 4)[0] == pytest.approx(3.69, abs=0.01)
    tied = np.sum([np.sum(counts**3 - counts) for row in DEMSAR for counts in [np.unique(row, return_counts=True)[1]]])
    assert ranks.friedman == pytest.approx(plain / (1 - tied / (14 * (4**3 - 4))))
    assert ranks.friedman_p == pytest.approx(stats.chi2.sf(ranks.friedman, 3))
    assert ranks.critical_difference == pytest.approx(1.25, abs=0.01)
    assert ranks.groups == (("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"),)


def test_nemenyis_p_values_agree_with_the_critical_difference():
    generator = np.random.default_rng(0)
    scores = generator.random((9, 5)) + np.arange(5) * 0.3
    ranks = rank_optimizers(scores, list("abcdefghi"), list("vwxyz"), list("vwxyz"), "error")
    mean = {row.optimizer: row.rank.value for row in ranks.ranks}
    assert len(ranks.nemenyi) == 10
    for first, second, p in ranks.nemenyi:
        assert (p < 0.05) == (abs(mean[first] - mean[second]) > ranks.critical_difference)
        together = any({first, second} <= set(group) for group in ranks.groups)
        assert together == (p >= 0.05)


def test_groups_are_the_largest_runs_within_the_critical_difference():
    ranks, names = np.array([4.0, 1.0, 2.0, 3.0]), ["d", "a", "b", "c"]
    assert group_ranks(ranks, names, 1.5) == (("a", "b"), ("b", "c"), ("c", "d"))
    assert group_ranks(ranks, names, 2.5) == (("a", "b", "c"), ("b", "c", "d"))
    assert group_ranks(ranks, names, 0.5) == ()
    assert group_ranks(ranks, names, 9.0) == (("a", "b", "c", "d"),)


def test_workloads_that_all_rank_alike_have_no_finite_f():
    scores = np.tile([0.1, 0.2, 0.3], (4, 1))
    ranks = rank_optimizers(scores, list("abcd"), list("xyz"), list("xyz"), "error")
    assert ranks.friedman == pytest.approx(8.0)
    assert (ranks.iman_davenport, ranks.iman_davenport_p) == (None, None)
    assert [row.wins for row in ranks.ranks] == [4, 0, 0]


def test_ties_everywhere_have_no_statistic():
    ranks = rank_optimizers(np.ones((3, 3)), list("abc"), list("xyz"), list("xyz"), "error")
    assert (ranks.friedman, ranks.friedman_p, ranks.iman_davenport) == (None, None, None)
    assert {row.rank.value for row in ranks.ranks} == {2.0}
    assert ranks.groups == (("x", "y", "z"),)


def test_pairs_are_compared_by_signed_ranks_with_holms_correction():
    tests = measure_workload_tests(observe_scores(SIX))
    assert tests.statistic == "test error"
    xy, xz, yz = tests.comparisons
    assert (xy.workloads, xy.wins, xy.ties, xy.losses) == (6, 5, 0, 1)
    assert (yz.wins, yz.ties, yz.losses) == (5, 1, 0)
    assert xy.p == pytest.approx(stats.wilcoxon(np.subtract(SIX["x"], SIX["y"])).pvalue)
    assert xz.p == xz.p_least == 1 / 32
    assert [xy.p_holm, xz.p_holm, yz.p_holm] == pytest.approx([0.125, 3 / 32, 0.125])
    assert xz.difference == pytest.approx(np.mean(np.subtract(SIX["x"], SIX["z"])))
    assert tests.ranks is not None
    assert [row.rank.value for row in tests.ranks.ranks] == pytest.approx([7 / 6, 11.5 / 6, 17.5 / 6])


def test_posterior_probabilities_agree_with_the_library_and_swap_with_the_optimizers():
    differences = np.random.default_rng(3).normal(-0.01, 0.02, 10)
    first, equivalent, second = weigh_equivalence(differences, 0.01, b"x/y")
    left, rope, right = baycomp.two_on_multiple(np.zeros(10), -differences, 0.01, random_state=1)
    assert (first, equivalent, second) == pytest.approx((right, rope, left), abs=0.03)
    assert first + equivalent + second == pytest.approx(1.0)
    swapped = weigh_equivalence(-differences, 0.01, b"x/y")
    assert swapped[::-1] == pytest.approx((first, equivalent, second), abs=1e-12)


def test_the_posterior_of_two_workloads_is_that_of_its_closed_form():
    # Weights (1/2, 1, 1) on 0, d1, d2 with d1 < -2 rope and d2 > 2 rope; the first region needs (w0 + w1)^2 - w0^2 …
    generator = np.random.default_rng(4)
    weights = generator.dirichlet([0.5, 1, 1], 200_000)
    values = np.array([0.0, -0.1, 0.05])
    shares = np.zeros((len(weights), 3))
    for i, j in itertools.product(range(3), repeat=2):
        average = (values[i] + values[j]) / 2
        shares[:, 0 if average < -0.01 else 2 if average > 0.01 else 1] += weights[:, i] * weights[:, j]
    expected = np.bincount(shares.argmax(axis=1), minlength=3) / len(weights)
    assert weigh_equivalence(values[1:], 0.01, b"z") == pytest.approx(expected, abs=0.03)


def test_clear_differences_equivalence_and_ties_are_seen_as_such():
    assert weigh_equivalence(np.full(10, -0.1), 0.01, b"z")[0] > 0.99
    assert weigh_equivalence(np.full(10, 0.1), 0.01, b"z")[2] > 0.99
    assert weigh_equivalence(np.linspace(-0.004, 0.004, 10), 0.01, b"z")[1] > 0.99
    assert weigh_equivalence(np.zeros(5), 0.0, b"z") == pytest.approx((0.5, 0.0, 0.5))
    assert weigh_equivalence(np.full(8, -0.1), 0.0, b"z")[0] > 0.99


def test_a_wider_region_makes_more_equivalent():
    narrow, wide = (measure_workload_tests(observe_scores(SIX), rope).comparisons[0] for rope in (0.01, 0.5))
    assert narrow.first_better > 0.9
    assert wide.equivalent > 0.99


def test_one_workload_or_optimizer_leaves_nothing_but_a_reason():
    one = measure_workload_tests(observe_scores({"x": [0.1], "y": [0.2]}))
    alone = measure_workload_tests(observe_scores({"x": [0.1, 0.2]}))
    assert (one.ranks, one.comparisons, alone.ranks, alone.comparisons) == (None, (), None, ())
    assert "two workloads" in one.missing[0].reason
    assert "two optimizers" in alone.missing[0].reason


def test_two_optimizers_have_signed_ranks_but_no_friedman_test():
    tests = measure_workload_tests(observe_scores({"x": [0.1, 0.2], "y": [0.2, 0.3]}))
    assert tests.ranks is not None
    assert tests.ranks.friedman is None
    assert tests.missing[0].measure == "Friedman test"
    assert tests.comparisons[0].p_least == 0.5


def test_a_cell_that_did_not_run_is_left_out_and_named():
    scores = {**SIX, "y": [None, *SIX["y"][1:]]}
    tests = measure_workload_tests(observe_scores(scores))
    assert tests.ranks is not None
    assert tests.ranks.workloads == ("w1", "w2", "w3", "w4", "w5")
    assert [row.workloads for row in tests.comparisons] == [5, 6, 5]
    assert tests.missing[0].measure.endswith("on w0")
    gone = measure_workload_tests(observe_scores({**SIX, "y": [None] * 6}))
    assert gone.ranks is not None
    assert [row.optimizer for row in gone.ranks.ranks] == ["x", "z"]
    assert len(gone.comparisons) == 1


def test_diverged_bests_count_at_chance_level_and_never_vanish():
    made = observe_scores({"x": [0.1, 0.6], "y": [0.2, 0.3]}, diverge_above=0.5)
    statistic, scores = collect_scores(made)
    assert statistic == "test error"
    np.testing.assert_allclose(scores, [[0.1, 0.2], [0.9, 0.3]])


def test_the_section_is_drawn_and_survives_json():
    made = observe_scores(SIX)
    tests = measure_workload_tests(made)
    adapter = TypeAdapter(WorkloadTests)
    assert adapter.validate_json(adapter.dump_json(tests)) == tests == measure_workload_tests(made)
    part = tell_tests(measure_seed_tests(made), tests).sections[1]
    assert [table.name for table in part.tables] == ["average-ranks", "rank-tests", "nemenyi", "workload-tests"]
    assert all(len(row) == len(table.columns) for table in part.tables for row in table.rows)
    for figure in part.figures:
        drawing = pickle.loads(pickle.dumps(figure)).draw()  # noqa: S301
        assert save(drawing, "svg").startswith(b"<?xml")
