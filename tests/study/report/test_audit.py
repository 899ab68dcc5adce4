"""The search-space audit: edges, gaps, evenness and lost budget against cases with known answers."""

import dataclasses
import json
import math
import pickle
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_observations import BETA, LR, make_observations
from pydantic import TypeAdapter
from scipy.stats import qmc

from study.axis import AxisSpec
from study.report.document import Section
from study.report.drawing.style import save
from study.report.measures.audit.audit import Audit, AxisAudit, measure_audit
from study.report.measures.audit.coverage import covering_radius, expected_discrepancy, largest_gap, random_gap
from study.report.measures.holm import adjust_holm
from study.report.observations import Observations, observe
from study.report.sections.audit import tell_audit

COUNT = AxisSpec(low=1, high=4, integer=True)
CHOICES = AxisSpec(choices=["cosine", "step", "constant"])


def bowl(lr: float, beta: float = 0.5):
    return lambda unit: 0.1 + (unit[:, 0] - lr) ** 2 + 0.5 * (unit[:, 1] - beta) ** 2


def audit_axis(observations: Observations, axis: str = "lr", optimizer: str = "adam") -> AxisAudit:
    audit = measure_audit(observations)
    return next(found for found in audit.axes if (found.axis, found.optimizer) == (axis, optimizer))


def with_runs(observations: Observations, runs: pl.DataFrame) -> Observations:
    return observe(observations.info, runs, observations.curvature)


def walk(section: Section) -> Iterator[Section]:
    yield section
    for part in section.sections:
        yield from walk(part)


def check_section(section: Section) -> None:
    names = [table.name for part in walk(section) for table in part.tables]
    names += [figure.name for part in walk(section) for figure in part.figures]
    assert len(names) == len(set(names))
    for part in walk(section):
        for table in part.tables:
            assert table.rows
            assert all(len(row) == len(table.columns) for row in table.rows)
            columns = [column.name for column in table.columns]
            assert len(columns) == len(set(columns))
            assert all(column.low in ("", *columns) and column.high in ("", *columns) for column in table.columns)
        for figure in part.figures:
            assert save(pickle.loads(pickle.dumps(figure)).draw(), "svg")  # noqa: S301 - just pickled


def survives_json(value: object) -> bool:
    adapter = TypeAdapter(type(value))
    text = adapter.dump_json(value)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the report"))
    return bool(adapter.validate_json(text) == value)


@pytest.mark.parametrize("points", [64, 256])
@pytest.mark.parametrize(("minimum", "low", "high"), [(0.5, False, False), (1.0, False, True), (0.0, True, False)])
def test_a_bowl_is_flagged_at_the_edge_where_its_minimum_lies(
    points: int, minimum: float, low: bool, high: bool
) -> None:
    axis = audit_axis(make_observations({("w", "adam"): bowl(minimum)}, points=points))
    assert axis.low is not None
    assert axis.high is not None
    assert (axis.low.beyond, axis.high.beyond) == (low, high)
    other = audit_axis(make_observations({("w", "adam"): bowl(minimum)}, points=points), "beta1")
    assert other.low is not None
    assert other.high is not None
    assert not other.low.beyond
    assert not other.high.beyond


def test_the_distance_of_the_best_point_is_in_the_cube_and_in_decades() -> None:
    observations = make_observations({("w", "adam"): bowl(0.8, 0.3)}, points=128)
    cell = observations.cell("w", "adam")
    best = int(np.argmin(np.where(cell.design_N, cell.mean_N, np.inf)))
    lr, beta = (audit_axis(observations, name) for name in ("lr", "beta1"))
    assert lr.best_trial == cell.number_N[best]
    assert lr.nearest == "high"
    assert lr.distance == pytest.approx(1 - cell.unit_ND[best, 0])
    assert lr.distance_native == pytest.approx(math.log10(LR.ends[1] / float(cell.values[best]["lr"])))
    assert beta.nearest == "low"
    assert beta.distance_native == pytest.approx(-math.log10(1 - float(cell.values[best]["beta1"])))
    assert lr.native_unit == beta.native_unit == "decades"


def test_a_linear_axis_has_its_distance_in_its_own_units() -> None:
    axes = {"lr": AxisSpec(low=2.0, high=12.0), "beta1": BETA}
    axis = audit_axis(make_observations({("w", "adam"): bowl(0.3)}, axes=axes, points=64))
    assert axis.native_unit == "units"
    assert axis.distance is not None
    assert axis.distance_native == pytest.approx(10 * axis.distance)


def test_shares_near_the_edges_are_counts_of_the_best_tenth() -> None:
    observations = make_observations({("w", "adam"): bowl(0.93)}, points=128)
    cell = observations.cell("w", "adam")
    place, mean = cell.unit_ND[cell.design_N, 0], cell.mean_N[cell.design_N]
    top = np.argsort(mean)[:13]
    axis = audit_axis(observations)
    assert axis.high is not None
    assert (axis.high.best.count, axis.high.best.total) == ((place[top] >= 0.9).sum(), 13)
    assert axis.high.expected == pytest.approx((place >= 0.9).mean())
    assert sum(axis.counts) == 128


def test_a_whole_number_at_its_end_is_a_hit_though_its_place_is_not_near() -> None:
    axes = {"lr": LR, "k": COUNT}
    axis = audit_axis(make_observations({("w", "adam"): bowl(0.5, 0.0)}, axes=axes, points=64), "k")
    assert (axis.best_value, axis.kind, axis.hit, axis.distance_native) == ("1", "whole numbers", True, 0.0)
    assert axis.low is not None
    assert axis.low.beyond
    assert axis.gap == 0.0


def test_choices_have_no_edge() -> None:
    axes = {"lr": LR, "schedule": CHOICES}
    axis = audit_axis(make_observations({("w", "adam"): bowl(0.5, 0.0)}, axes=axes, points=64), "schedule")
    assert (axis.best_value, axis.nearest, axis.distance, axis.hit, axis.low) == ("cosine", "", None, False, None)


def test_an_edge_beyond_which_nothing_is_valid_is_not_flagged() -> None:
    axis = audit_axis(make_observations({("w", "adam"): bowl(0.5, 0.0)}, points=64), "beta1")
    assert axis.low is not None
    assert axis.low.is_limit
    assert axis.low.best.low > axis.low.expected
    assert not axis.low.beyond
    foreign = make_observations({("w", "adam"): bowl(0.5, 0.0)}, points=64, source="optuna")
    assert (audit_axis(foreign, "beta1").low or axis.low).beyond


def test_a_conditional_axis_counts_where_it_is_active() -> None:
    axes = {"lr": LR, "beta1": AxisSpec(low=0.0, high=0.99, scale="log1m", when="lr < 0.01")}
    observations = make_observations({("w", "adam"): bowl(0.9, 0.5)}, axes=axes, points=64)
    inactive = pl.col("unit_lr") > 0.5
    runs = observations.runs.with_columns(
        pl.when(inactive).then(None).otherwise(pl.col("unit_beta1")).alias("unit_beta1")
    )
    axis = audit_axis(with_runs(observations, runs), "beta1")
    assert axis.points == 32
    assert axis.best_trial != audit_axis(with_runs(observations, runs)).best_trial


def test_ties_are_no_hit_unless_all_of_them_are() -> None:
    def plateau(start: float) -> AxisAudit:
        return audit_axis(
            make_observations({("w", "adam"): lambda unit: np.where(unit[:, 0] > start, 0.1, 0.5)}, points=64)
        )

    wide, narrow = plateau(0.5), plateau(0.96)
    assert (wide.equals, wide.hit, narrow.hit) == (31, False, True)
    assert wide.high is not None
    assert (wide.high.best.total, wide.high.best.count) == (32, round(64 * wide.high.expected))


@pytest.mark.parametrize("level", [0.3, 5.0])
def test_a_flat_landscape_has_no_best_point(level: float) -> None:
    audit = measure_audit(make_observations({("w", "adam"): lambda unit: np.full(len(unit), level)}, diverge_above=1.0))
    assert audit.axes == ()
    assert audit.missing[0].measure == "place of the best point of adam on w"
    assert survives_json(audit)
    check_section(tell_audit(audit, make_observations({("w", "adam"): bowl(0.5)}).info))


def test_chosen_points_have_hits_and_no_shares() -> None:
    observations = make_observations({("w", "adam"): bowl(1.0)}, points=64, is_sample=False, is_random=False)
    axis = audit_axis(observations)
    assert axis.low is None
    assert axis.distance is not None
    audit = measure_audit(observations)
    assert audit.coverage[0].discrepancy is None
    assert {gap.measure for gap in audit.missing} >= {
        "best points near the edges of lr of adam on w",
        "evenness of the design of adam on w",
    }


def test_the_longest_gap_counts_both_ends() -> None:
    assert largest_gap(np.array([0.2, 0.3, 0.6]), LR) == pytest.approx(0.4)
    assert largest_gap(np.array([0.5]), LR) == pytest.approx(0.5)
    assert largest_gap(np.array([0.125, 0.875]), COUNT) == pytest.approx(0.5)
    assert largest_gap(np.array([0.5]), CHOICES) == pytest.approx(2 / 3)


def test_the_expected_longest_gap_is_that_of_random_points() -> None:
    draws = np.random.default_rng(0).random((4000, 7))
    padded = np.hstack([np.zeros((4000, 1)), np.sort(draws, axis=1), np.ones((4000, 1))])
    assert random_gap(7) == pytest.approx(np.diff(padded, axis=1).max(axis=1).mean(), rel=0.02)


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_the_expected_discrepancy_is_that_of_random_points(dimensions: int) -> None:
    generator = np.random.default_rng(dimensions)
    draws = [qmc.discrepancy(generator.random((20, dimensions))) for _ in range(3000)]
    expected = expected_discrepancy(20, [None] * dimensions)
    assert expected == pytest.approx(((5 / 4) ** dimensions - (13 / 12) ** dimensions) / 20)
    assert expected == pytest.approx(np.mean(draws), rel=0.05)


def test_a_sobol_design_is_more_even_than_chance_and_a_clump_less() -> None:
    axes = {"lr": LR, "beta1": BETA, "k": COUNT, "schedule": CHOICES}
    observations = make_observations({("w", "adam"): bowl(0.5)}, axes=axes, points=64)
    even = measure_audit(observations).coverage[0]
    assert (even.points, even.axes) == (64, 4)
    assert even.discrepancy < even.discrepancy_random < even.discrepancy_random_high
    assert even.radius < even.radius_random
    clumped = observations.runs.with_columns(pl.col("unit_lr") * 0.3)
    clump = measure_audit(with_runs(observations, clumped)).coverage[0]
    assert clump.discrepancy > clump.discrepancy_random_high
    assert clump.radius > 0.69


def test_the_expected_discrepancy_of_whole_numbers_and_choices_is_that_of_random_points() -> None:
    axes = {"lr": LR, "k": COUNT, "schedule": CHOICES}
    found = [
        measure_audit(
            make_observations({("w", "adam"): bowl(0.5)}, axes=axes, points=24, design="random", study_seed=s)
        ).coverage[0]
        for s in range(60)
    ]
    assert np.mean([cell.discrepancy for cell in found]) == pytest.approx(found[0].discrepancy_random, rel=0.1)
    assert np.mean([cell.discrepancy > cell.discrepancy_random_high for cell in found]) <= 0.12


def test_the_covering_radius_of_the_centre_reaches_the_corners() -> None:
    assert covering_radius(np.array([[0.5, 0.5]])) == pytest.approx(math.sqrt(0.5), abs=0.02)
    grid = np.array([[x, y] for x in (0.25, 0.75) for y in (0.25, 0.75)])
    assert covering_radius(grid) == pytest.approx(math.sqrt(2) / 4, abs=0.02)


def test_missing_points_are_counted_and_their_places_compared() -> None:
    observations = make_observations({("w", "adam"): bowl(0.5)}, points=64)
    failed = (pl.col("unit_lr") > 0.8) & (pl.col("origin") == "design")
    waits = (pl.col("trial") == 3) & (pl.col("seed") == 2)
    end = pl.when(failed).then(pl.lit("failed")).when(waits).then(None).otherwise(pl.col("termination"))
    runs = observations.runs.with_columns(
        end.alias("termination"), pl.when(failed | waits).then(None).otherwise(pl.col("objective")).alias("objective")
    )
    cell = measure_audit(with_runs(observations, runs)).coverage[0]
    ended = runs.filter(pl.col("termination") == "failed")["trial"].n_unique()
    assert (cell.planned, cell.ended, cell.pending, cell.finished) == (65, ended, 1, 64 - ended)
    assert cell.absent_axis == "lr"
    assert cell.absent_p is not None
    assert cell.absent_p < 1e-4


def test_the_budget_lost_to_divergence_is_what_hands_count() -> None:
    observations = make_observations({("w", "adam"): bowl(0.2)}, points=16, seeds=2, diverge_above=0.4)
    diverged = pl.col("termination") == "diverged"
    runs = observations.runs.with_columns(
        pl.lit(10).alias("budget"),
        pl.when(diverged).then(3).otherwise(10).alias("epochs"),
        pl.when(diverged).then(0.5).otherwise(2.0).alias("seconds"),
    )
    loss = measure_audit(with_runs(observations, runs)).losses[0]
    bad = runs.filter(diverged).height
    assert 0 < bad < 34
    assert (loss.trials, loss.runs, loss.diverged, loss.at_chance) == (17, 34, bad, bad)
    shares = {cost.unit: cost.share for cost in loss.costs}
    assert shares["epochs"].value == pytest.approx(3 * bad / (3 * bad + 10 * (34 - bad)))
    assert shares["budget"].value == pytest.approx(bad / 34)
    assert shares["seconds"].value == pytest.approx(0.5 * bad / (0.5 * bad + 2 * (34 - bad)))
    for share in shares.values():
        assert share.low is not None
        assert share.low < share.value < share.high


def test_unknown_costs_are_missing_and_nothing_diverged_has_no_interval() -> None:
    observations = make_observations({("w", "adam"): bowl(0.2)}, points=8)
    runs = observations.runs.with_columns(pl.lit(None, pl.Float64).alias("seconds"))
    audit = measure_audit(with_runs(observations, runs))
    assert audit.losses[0].costs == ()
    assert (audit.losses[0].diverged_share.value, audit.losses[0].diverged_share.low) == (0.0, None)
    assert any("in epochs and budget and seconds" in gap.measure for gap in audit.missing)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seeds": 1},
        {"points": 1},
        {"points": 5},
        {"axes": {"lr": LR}, "points": 16},
        {"axes": {"schedule": CHOICES}},
        {"chance": None},
        {"diverge_above": -1.0},
        {"is_sample": False},
        {"source": "optuna"},
        {"design": "random"},
    ],
)
def test_every_study_has_an_audit_that_survives_json_and_is_drawn(changes: dict) -> None:
    def slope(unit: np.ndarray) -> np.ndarray:
        return 0.2 + 0.5 * unit[:, 0]

    observations = make_observations({("w", "adam"): slope, ("v", "sgd"): slope}, noise=0.01, **changes)
    audit = measure_audit(observations)
    assert survives_json(audit)
    assert audit == measure_audit(observations)
    check_section(tell_audit(audit, observations.info))


def test_a_cell_without_any_trial_is_missing() -> None:
    observations = make_observations({("w", "adam"): bowl(0.5), ("w", "sgd"): bowl(0.5)})
    runs = observations.runs.filter(pl.col("optimizer") == "adam")
    audit = measure_audit(with_runs(observations, runs))
    assert [cell.optimizer for cell in audit.losses] == ["adam"]
    assert (audit.coverage[1].finished, audit.coverage[1].pending) == (0, 33)
    assert any(gap.measure == "budget lost to divergence of sgd on w" for gap in audit.missing)
    check_section(tell_audit(audit, observations.info))


def test_constraints_leave_evenness_out() -> None:
    observations = make_observations({("w", "adam"): bowl(0.5)})
    cells = tuple(dataclasses.replace(cell, constraints=("lr < 0.1",)) for cell in observations.info.cells)
    bound = observe(dataclasses.replace(observations.info, cells=cells), observations.runs, observations.curvature)
    audit: Audit = measure_audit(bound)
    assert audit.coverage[0].discrepancy is None
    assert audit.coverage[0].points == 32


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_that_of_its_definition(p_values: list[float]) -> None:
    # Holm 1979: an adjusted p-value is the smallest level at which the step-down procedure rejects.
    for p, adjusted in zip(p_values, adjust_holm(p_values), strict=True):
        steps = [
            (len(p_values) - sum(other < smaller for other in p_values)) * smaller
            for smaller in p_values
            if smaller <= p
        ]
        assert adjusted == pytest.approx(min(max(steps), 1.0))
