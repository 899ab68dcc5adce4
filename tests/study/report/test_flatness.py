"""Flatness: correlations and matched-loss ratios against closed forms, other libraries and known cases."""

import dataclasses
import json
import pickle
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_observations import make_observations
from pydantic import TypeAdapter
from scipy import stats
from scipy.optimize import linear_sum_assignment

from study.axis import AxisSpec
from study.report.document import Section
from study.report.drawing.style import save
from study.report.measures.flatness.flatness import QUANTITIES, CellFlatness, Flatness, measure_flatness
from study.report.measures.flatness.matched_loss import CALIPER, LossMatched, match_losses, match_nearest
from study.report.measures.flatness.rank_correlation import RankCorrelations
from study.report.observations import Observations
from study.report.sections.flatness import tell_flatness

#: A row of the table of runs -> the numbers that are measured there.
Surface = Callable[[Mapping[str, Any]], Mapping[str, float | None]]


def slope(unit: np.ndarray) -> np.ndarray:
    return 0.1 + 0.4 * unit[:, 0] + 0.1 * unit[:, 1]


def curved(observations: Observations, surface: Surface, epochs: tuple[int, ...] = (2,)) -> Observations:
    """The same study with a table of curvature, of diverged runs too, which are measured before they diverge."""
    rows = [
        {
            **{name: run[name] for name in ("study", "workload", "optimizer", "trial", "seed")},
            "epoch": epoch,
            "quantity": quantity,
            "position": None,
            "value": None if value is None else float(value) * (1.0 if epoch == max(epochs) else 17.0),
        }
        for run in observations.runs.iter_rows(named=True)
        for epoch in epochs
        for quantity, value in surface(run).items()
    ]
    return dataclasses.replace(observations, curvature=pl.DataFrame(rows, schema=observations.curvature.schema))


def follows_lr(run: Mapping[str, Any]) -> dict[str, float]:
    base = 1.0 / run["lr"]
    return {
        "loss": 0.01 + 0.1 * run["unit_lr"],
        "gradient_norm": 0.001,
        "top_eigenvalue": base,
        "top_eigenvalue_residual": 1e-4 * base,
        "trace": 5 * base,
        "trace_standard_error": 0.1 * base,
        "sam_sharpness": 1e-3 * base,
        "asam_sharpness": run["objective"],
    }


def first_cell(flatness: Flatness) -> CellFlatness:
    return flatness.cells[0]


def check_section(section: Section, *, draw: bool = True) -> None:
    names = [table.name for table in section.tables] + [figure.name for figure in section.figures]
    assert len(names) == len(set(names))
    for table in section.tables:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
        columns = [column.name for column in table.columns]
        assert len(columns) == len(set(columns))
        assert all(column.low in ("", *columns) and column.high in ("", *columns) for column in table.columns)
    for figure in section.figures:
        picture = pickle.loads(pickle.dumps(figure))  # noqa: S301 - just pickled
        assert not draw or save(picture.draw(), "svg")


def test_a_monotone_relation_has_a_rank_correlation_of_one() -> None:
    cell = first_cell(measure_flatness(curved(make_observations({("w", "adam"): slope}), follows_lr)))
    top, _, _, asam = cell.quantities
    assert top.with_lr is not None
    assert (top.with_lr.value, top.with_lr.low) == (pytest.approx(-1.0), None)
    assert asam.with_outcome is not None
    assert asam.with_outcome.value == pytest.approx(1.0)
    # Nothing is left of a sharpness that the learning rate says all of.
    assert top.given_lr is None
    assert (cell.runs, cell.measured, cell.trials, cell.diverged) == (96, 96, 32, 0)
    assert (cell.unconverged, cell.rough_traces, cell.steep) == (0, 0, 0)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(8, 40), st.booleans())
def test_rank_correlations_are_those_of_scipy_and_of_residuals(seed: int, count: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    z = generator.normal(size=count)
    x, y = z + generator.normal(size=count), -z + generator.normal(size=count)
    if ties:
        x, y, z = (np.round(values) for values in (x, y, z))
    found = RankCorrelations({"x": x, "y": y, "z": z}, "z", seed=1)
    if not all(np.ptp(values) for values in (x, y, z)):
        return
    plain = found.between("x", "y")
    assert plain is not None
    r = {(a, b): stats.spearmanr(p, q).statistic for a, p in (("x", x), ("y", y)) for b, q in (("y", y), ("z", z))}
    assert plain.value == pytest.approx(r["x", "y"])
    left = (1 - r["x", "z"] ** 2) * (1 - r["y", "z"] ** 2)
    partial = found.between("x", "y", given=True)
    if left > 1e-6:
        assert partial is not None
        assert partial.value == pytest.approx((r["x", "y"] - r["x", "z"] * r["y", "z"]) / np.sqrt(left), abs=1e-9)
    if not ties and count >= 12:
        ranks = [stats.rankdata(values) for values in (x, y, z)]
        left_x, left_y = (values - np.polyval(np.polyfit(ranks[2], values, 3), ranks[2]) for values in ranks[:2])
        curve = found.between("x", "y", given=True, degree=3)
        assert curve is not None
        assert curve.value == pytest.approx(np.corrcoef(left_x, left_y)[0, 1], abs=1e-6)


def test_the_bootstrap_ranks_every_resample_anew() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=60)
    y = x + generator.normal(size=60)
    found = RankCorrelations({"x": x, "y": y}, seed=3).between("x", "y")
    draws = [stats.spearmanr(x[rows], y[rows]).statistic for rows in generator.integers(0, 60, (1000, 60))]
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.03)


@pytest.mark.parametrize("bend", [1, 2])
def test_nothing_is_left_where_the_learning_rate_drives_both(bend: int) -> None:
    generator = np.random.default_rng(5)
    observations = make_observations(
        {
            ("w", "adam"): lambda unit: (
                0.2 + 0.3 * np.abs(unit[:, 0] - 0.4) ** bend + generator.normal(0, 0.01, len(unit))
            )
        },
        axes={"lr": AxisSpec(low=1e-4, high=1.0, scale="log")},
        points=256,
        seeds=1,
    )
    noise = dict(enumerate(generator.normal(0, 0.3, 257)))

    def surface(run: Mapping[str, Any]) -> dict[str, float]:
        return {"top_eigenvalue": np.exp(6 * (run["unit_lr"] - 0.4) ** 2 + noise[run["trial"]]), "loss": 0.1}

    top = first_cell(measure_flatness(curved(observations, surface))).quantities[0]
    assert top.with_outcome is not None
    assert top.with_outcome.value > 0.4
    assert top.given_lr_curve is not None
    assert top.given_lr_curve.low is not None
    assert top.given_lr_curve.high is not None
    assert abs(top.given_lr_curve.value) < 0.25


def test_diverged_runs_are_counted_and_their_trials_left_out() -> None:
    observations = make_observations({("w", "adam"): slope}, noise=0.05, diverge_above=0.4)
    flat = first_cell(measure_flatness(curved(observations, follows_lr)))
    design = observations.runs.filter(pl.col("origin") == "design")
    bad = design.filter(pl.col("termination") == "diverged")
    assert (flat.runs, flat.diverged, flat.measured) == (96, bad.height, 96 - bad.height)
    assert flat.trials == 32 - bad["trial"].n_unique()
    assert flat.trials_left_out == bad["trial"].n_unique()
    assert {point.trial for point in flat.points}.isdisjoint(bad["trial"].to_list())


def test_the_last_measured_epoch_counts_and_the_mean_over_seeds() -> None:
    observations = make_observations({("w", "adam"): slope})

    def surface(run: Mapping[str, Any]) -> dict[str, float]:
        return {"top_eigenvalue": 1.0 + run["seed"], "loss": 0.5}

    flat = first_cell(measure_flatness(curved(observations, surface, epochs=(1, 2, 3))))
    assert all(point.sharpness[0] == pytest.approx(2.0) and point.loss == 0.5 for point in flat.points)
    assert flat.quantities[0].median == pytest.approx(2.0)
    assert flat.quantities[0].with_lr is None
    assert flat.quantities[1].trials == 0


def test_numbers_that_were_not_finite_are_no_measurement() -> None:
    observations = make_observations({("w", "adam"): slope})

    def surface(run: Mapping[str, Any]) -> dict[str, float | None]:
        return {"top_eigenvalue": None if run["trial"] % 2 else 1.0 / run["lr"], "trace": 2.0, "loss": 0.5}

    flat = first_cell(measure_flatness(curved(observations, surface)))
    assert (flat.measured, flat.trials, flat.quantities[0].trials) == (48, 32, 16)


def test_rough_numbers_are_flagged() -> None:
    observations = make_observations({("w", "adam"): slope})

    def surface(run: Mapping[str, Any]) -> dict[str, float]:
        return follows_lr(run) | {
            "top_eigenvalue_residual": 0.2 / run["lr"] if run["seed"] == 0 else 0.0,
            "trace_standard_error": 1.0 / run["lr"] if run["seed"] < 2 else 0.0,
            "gradient_norm": 0.5,
            "sam_sharpness": 0.03,
        }

    flat = first_cell(measure_flatness(curved(observations, surface)))
    assert (flat.unconverged, flat.rough_traces, flat.steep, flat.gradient_norm) == (32, 64, 96, 0.5)


def test_a_known_factor_between_optimizers_is_recovered_at_equal_loss() -> None:
    def surface(run: Mapping[str, Any]) -> dict[str, float]:
        loss = 10 ** (-2 + 1.5 * run["unit_lr"] + (0.5 if run["optimizer"] == "adam" else 0.0))
        factor = 3.0 if run["optimizer"] == "adam" else 1.0
        return {"loss": loss, "top_eigenvalue": factor * loss**-0.7, "trace": loss**-0.7, "sam_sharpness": -loss}

    observations = make_observations({("w", "sgd"): slope, ("w", "adam"): slope}, points=64)
    matched = {pair.quantity: pair for pair in measure_flatness(curved(observations, surface)).matched}
    top = matched["top_eigenvalue"]
    assert (top.first, top.second, top.verdict) == ("sgd", "adam", "first is flatter")
    assert top.ratio is not None
    assert top.ratio.value == pytest.approx(1 / 3, rel=1e-6)
    # Only where both reach the loss: sgd from 10^-2, adam from 10^-1.5.
    assert top.loss_low is not None
    assert top.loss_low >= 10 ** (-1.5 - CALIPER)
    assert 6 < top.pairs < 64
    assert matched["trace"].verdict == "no difference could be shown"
    assert (matched["sam_sharpness"].verdict, matched["sam_sharpness"].first_lost) == ("too few pairs", 64)


def test_losses_that_do_not_overlap_have_no_pairs() -> None:
    (pair,) = match_losses(
        "w", "trace", {"a": np.full(20, 0.1), "b": np.full(20, 1.0)}, {"a": np.ones(20), "b": np.ones(20)}
    )
    assert (pair.pairs, pair.ratio, pair.p, pair.verdict) == (0, None, None, "too few pairs")


def test_equal_optimizers_differ_in_nothing() -> None:
    loss = np.linspace(0.1, 1, 20)
    (pair,) = match_losses("w", "trace", {"a": loss, "b": loss}, {"a": 1 / loss, "b": 1 / loss})
    assert pair.ratio is not None
    assert (pair.pairs, pair.ratio.value, pair.verdict) == (20, 1.0, "no difference could be shown")


def test_p_values_are_corrected_over_the_pairs_of_optimizers() -> None:
    generator = np.random.default_rng(2)
    losses = {name: 10 ** generator.uniform(-2, -1, 40) for name in "abcd"}
    sharpness = {name: np.exp(generator.normal(size=40)) for name in "abcd"}
    pairs = match_losses("w", "trace", losses, sharpness)
    assert len(pairs) == 6
    lowest: LossMatched = min(pairs, key=lambda pair: pair.p or 1.0)
    assert lowest.p_adjusted == pytest.approx(min(6 * (lowest.p or 1.0), 1.0))
    swapped = match_losses("w", "trace", dict(reversed(losses.items())), sharpness)
    mirror = next(pair for pair in swapped if (pair.first, pair.second) == (lowest.second, lowest.first))
    assert lowest.ratio is not None
    assert mirror.ratio is not None
    assert mirror.pairs == lowest.pairs
    assert mirror.ratio.value == pytest.approx(1 / lowest.ratio.value, rel=0.05)


def test_the_interval_of_the_ratio_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(8)
    loss = np.linspace(0.1, 1, 30)
    hits = 0
    for _ in range(200):
        sharpness = {"a": 2 * np.exp(generator.normal(size=30)), "b": np.exp(generator.normal(size=30))}
        (pair,) = match_losses("w", "trace", {"a": loss, "b": loss}, sharpness)
        assert pair.ratio is not None
        hits += (pair.ratio.low or 0) <= 2 <= (pair.ratio.high or 0)
    assert hits >= 180


@settings(max_examples=60)
@given(st.lists(st.floats(-3, 1), max_size=12), st.lists(st.floats(-3, 1), max_size=12), st.floats(0.05, 1))
def test_matching_is_that_of_an_assignment_solver(x: list[float], y: list[float], caliper: float) -> None:
    one, other = np.sort(np.array(x)), np.sort(np.array(y))
    rows, columns = match_nearest(one, other, caliper)
    assert len(set(rows)) == len(rows) == len(set(columns)) == len(columns)
    apart = np.abs(one[rows] - other[columns])
    assert (apart <= caliper).all()
    cost = np.abs(one[:, None] - other)
    best_rows, best_columns = linear_sum_assignment(np.where(cost <= caliper, cost, 1e3))
    best = cost[best_rows, best_columns]
    assert len(rows) == (best <= caliper).sum()
    assert apart.sum() == pytest.approx(best[best <= caliper].sum(), abs=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seeds": 1},
        {"points": 1},
        {"points": 3},
        {"points": 6},
        {"points": 10},
        {"axes": {"beta0": AxisSpec(low=0.1, high=1.0, scale="log"), "lr": AxisSpec(choices=[0.1, 0.2])}},
        {"chance": None},
        {"diverge_above": -1.0},
        {"diverge_above": 0.3},
        {"is_sample": False},
    ],
)
def test_every_study_has_flatness_that_survives_json_and_is_drawn(changes: dict[str, Any]) -> None:
    def flat(unit: np.ndarray) -> np.ndarray:
        return 0.2 + 0.3 * unit[:, 0]

    observations = make_observations(
        {("w", "adam"): flat, ("w", "sgd"): flat, ("v", "sgd"): flat}, noise=0.01, **changes
    )
    observations = curved(observations, follows_lr)
    flatness = measure_flatness(observations)
    adapter = TypeAdapter(Flatness)
    text = adapter.dump_json(flatness)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the report"))
    assert adapter.validate_json(text) == flatness == measure_flatness(observations)
    # Pictures take longer than all else; few points, one seed and lost trials are what could break them.
    drawn = changes in ({"points": 1}, {"points": 6}, {"diverge_above": 0.3})
    check_section(tell_flatness(flatness, observations.info), draw=drawn)


def test_a_study_without_curvature_says_what_would_record_it() -> None:
    observations = make_observations({("w", "adam"): slope})
    flatness = measure_flatness(observations)
    assert flatness.cells == ()
    assert "curvature = {} under [training]" in flatness.missing[0].reason
    assert tell_flatness(flatness, observations.info).missing == flatness.missing


def test_errors_of_zero_and_negative_sharpness_are_drawn_without_a_logarithm_of_them() -> None:
    observations = make_observations({("w", "adam"): lambda unit: np.where(unit[:, 0] > 0.5, 0.0, 0.3)})

    def surface(run: Mapping[str, Any]) -> dict[str, float]:
        return {"top_eigenvalue": run["unit_lr"] - 0.5, "trace": 0.0, "sam_sharpness": 1.0, "loss": 0.0}

    observations = curved(observations, surface)
    flatness = measure_flatness(observations)
    assert [quantity.trials for quantity in first_cell(flatness).quantities] == [32, 32, 32, 0]
    assert len(QUANTITIES) == 4
    check_section(tell_flatness(flatness, observations.info))


def test_a_thousand_trials_fit_into_little_memory() -> None:
    generator = np.random.default_rng(0)
    variables = {name: generator.normal(size=1024) for name in ("a", "b", "c", "d", "lr", "outcome")}
    tracemalloc.start()
    try:
        RankCorrelations(variables, "lr", seed=0)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
