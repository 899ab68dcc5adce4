"""Transfer between workloads: regrets and sensitivities by hand and by brute force."""

import functools
import itertools
import json

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
from study.report.measures.robustness.transfer import measure_transfer
from study.report.sections.interval_columns import figure_name
from study.report.sections.transfer import tell_transfer

TWO_AXES = {"lr": LR, "beta1": BETA}
ONE_AXIS = {"lr": LR}
#: Three levels of lr, two of beta1; lr changes first.
GRID = [[0.0, 0.25], [0.5, 0.25], [1.0, 0.25], [0.0, 0.75], [0.5, 0.75], [1.0, 0.75]]


def regrets_of(table):
    return {(row.source, row.target): row for row in table.regrets}


def brute_force(losses, unit):
    """Phi, tuned, shared and the scores by number of tuned axes, of losses (W, N) of one optimizer, the only one."""
    worst, best = np.percentile(losses, [95, 5], axis=1)
    score = (worst[:, None] - losses) / (worst - best)[:, None]
    tuned, shared = score.max(axis=1).mean(), score.mean(axis=0).max()
    base = int(score.mean(axis=0).argmax())
    axes = len(unit[0])
    scores = []
    for count in range(axes + 1):
        found = []
        for held in itertools.combinations(range(axes), axes - count):
            rows = [n for n, u in enumerate(unit) if all(u[h] == unit[base][h] for h in held)]
            found.append(np.mean([max(score[w, n] for n in rows) for w in range(len(losses))]))
        scores.append(max(found))
    return tuned - shared, tuned, shared, scores


def test_transfer_regret_between_two_shifted_bowls_is_the_squared_shift():
    functions = {
        ("w", "a"): lambda u: 0.1 + (u[:, 0] - 0.3) ** 2,
        ("v", "a"): lambda u: 0.2 + (u[:, 0] - 0.7) ** 2,
    }
    observations = make_observations(functions, axes=ONE_AXIS, points=256, seeds=1)
    rows = regrets_of(measure_transfer(observations, {}))
    assert rows["w", "v"].regret.value == pytest.approx(0.16, abs=0.01)
    assert rows["w", "v"].relative.value == pytest.approx(0.16 / 0.7, abs=0.015)
    assert rows["v", "w"].relative.value == pytest.approx(0.16 / 0.8, abs=0.015)
    assert rows["w", "v"].regret.low is None


def test_transfer_regret_has_the_interval_of_paired_seeds():
    w = np.array([[0.1, 0.2, 0.1], [0.5, 0.5, 0.5]])
    v = np.array([[0.6, 0.5, 0.8], [0.3, 0.3, 0.4]])
    observations = place_observations({("w", "a"): w, ("v", "a"): v}, [[0.2], [0.8]], ONE_AXIS)
    row = regrets_of(measure_transfer(observations, {}))["w", "v"]
    low, high = stats.ttest_rel(v[0], v[1]).confidence_interval(0.95)
    assert row.regret.value == pytest.approx(0.3)
    assert (row.regret.low, row.regret.high) == pytest.approx((low, high))
    # Whatever seed is left out, the same trials are selected.
    assert row.held_out == row.regret


def test_a_setting_that_diverges_elsewhere_costs_the_way_to_chance():
    observations = place_observations(
        {("w", "a"): [[0.1], [0.5]], ("v", "a"): [[1.0], [0.2]]}, [[0.2], [0.8]], ONE_AXIS
    )
    row = regrets_of(measure_transfer(observations, {}))["w", "v"]
    assert (row.regret.value, row.relative.value, row.runs_diverged) == pytest.approx((0.8, 1.0, 1))


def test_a_setting_that_is_best_on_both_has_no_regret():
    observations = place_observations(
        {("w", "a"): [[0.1], [0.5]], ("v", "a"): [[0.2], [0.3]]}, [[0.2], [0.8]], ONE_AXIS
    )
    row = regrets_of(measure_transfer(observations, {}))["w", "v"]
    assert (row.regret.value, row.regret.low) == (0.0, None)


def test_held_out_regret_of_noise_alone_is_near_0():
    functions = {("w", "a"): lambda u: 0.5 + 0 * u[:, 0], ("v", "a"): lambda u: 0.4 + 0 * u[:, 0]}
    observations = make_observations(functions, axes=ONE_AXIS, points=128, seeds=4, noise=0.05)
    # The same draws on both workloads would make the best the same trial: those of v come in another order.
    cells = list(observations.cells)
    cells[1].objective_NS[:] = np.roll(cells[1].objective_NS, 7, axis=0)
    row = regrets_of(measure_transfer(observations, {}))["w", "v"]
    assert row.regret.value > 0.03
    assert row.held_out.low < 0 < row.held_out.high


def test_a_trial_that_is_missing_on_the_target_is_said_to_be():
    ends = {("v", "a", 0, 0): "failed"}
    observations = place_observations(
        {("w", "a"): [[0.1], [0.5]], ("v", "a"): [[0.2], [0.3]]}, [[0.2], [0.8]], ONE_AXIS, terminations=ends
    )
    table = measure_transfer(observations, {})
    assert ("w", "v") not in regrets_of(table)
    assert regrets_of(table)["v", "w"].regret.value == pytest.approx(0.4)
    assert any("from w to v" in lacking.measure for lacking in table.missing)


def test_adkins_sensitivity_of_a_3_by_2_grid_is_what_it_is_by_hand():
    w = np.array([0.1, 0.3, 0.5, 0.4, 0.6, 0.9])
    v = np.array([0.9, 0.5, 0.2, 0.7, 0.6, 0.3])
    observations = place_observations({("w", "a"): w, ("v", "a"): v}, GRID, TWO_AXES, design="grid")
    table = measure_transfer(observations, {})
    row = table.sensitivities[0]
    # Percentiles of six numbers lie a quarter of the way from the outer ones: 0.15 and 0.825 on w, 0.225 and 0.85 on v.
    score_w, score_v = (0.825 - w) / 0.675, (0.85 - v) / 0.625
    assert row.tuned.value == pytest.approx((0.725 / 0.675 + 0.65 / 0.625) / 2)
    means = (score_w + score_v) / 2
    assert (row.shared_trial, row.shared.value) == (2, pytest.approx(means[2]))
    assert row.sensitivity.value == pytest.approx(row.tuned.value - means[2])
    # With lr tuned and beta1 held, both workloads have their best: one axis is enough.
    found = table.dimensionalities[0]
    assert (found.effective, found.tuned_axes, found.exact) == (1, ((), ("lr",), ("lr", "beta1")), True)
    assert found.scores == pytest.approx((means[2], row.tuned.value, row.tuned.value))


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(0.0, 0.9), min_size=6, max_size=6, unique=True), min_size=2, max_size=3))
def test_adkins_measures_agree_with_brute_force(rows):
    losses = np.round(np.array(rows), 2)
    spread = np.percentile(losses, 95, axis=1) - np.percentile(losses, 5, axis=1)
    named = {(f"w{n}", "a"): values for n, values in enumerate(losses)}
    table = measure_transfer(place_observations(named, GRID, TWO_AXES, design="grid", chance=None), {})
    if (spread <= 0).any():
        assert table.sensitivities == ()
        return
    phi, tuned, shared, scores = brute_force(losses, GRID)
    row = table.sensitivities[0]
    found = (row.sensitivity.value, row.tuned.value, row.shared.value)
    assert found == pytest.approx((phi, tuned, shared), abs=1e-9)
    dimensionality = table.dimensionalities[0]
    assert dimensionality.scores == pytest.approx(scores, abs=1e-9)
    assert dimensionality.effective == next(k for k, s in enumerate(scores) if s >= 0.95 * scores[-1] - 1e-12)


def test_scores_are_scaled_by_the_losses_of_all_optimizers():
    losses = {
        ("w", "a"): [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        ("v", "a"): [0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
        ("w", "b"): [0.8] * 6,
        ("v", "b"): [0.8] * 6,
    }
    table = measure_transfer(place_observations(losses, GRID, TWO_AXES, design="grid"), {})
    worst, best = np.percentile([*losses["w", "a"], *losses["w", "b"]], [95, 5])
    a, b = table.sensitivities
    assert a.tuned.value == pytest.approx((worst - 0.1) / (worst - best))
    assert (b.sensitivity.value, b.tuned.value) == pytest.approx((0.0, 0.0))
    assert any("not above 0" in lacking.reason for lacking in table.missing)


def test_settings_that_diverge_on_one_workload_stay_in():
    losses = {("w", "a"): [0.1, 0.3, 0.5, 0.4, 0.6, 0.9], ("v", "a"): [1.0, 0.5, 0.2, 0.7, 0.6, 0.3]}
    row = measure_transfer(place_observations(losses, GRID, TWO_AXES, design="grid"), {}).sensitivities[0]
    assert (row.settings, row.settings_diverged) == (6, 1)


def test_held_out_scores_do_not_reward_luck():
    rng = np.random.default_rng(1)
    losses = {(workload, "a"): 0.5 + 0.05 * rng.normal(size=(60, 3)) for workload in ("w", "v")}
    unit = rng.random((60, 2)).tolist()
    row = measure_transfer(place_observations(losses, unit, TWO_AXES), {}).sensitivities[0]
    assert row.sensitivity.value > 0.05
    assert row.sensitivity_held_out.low < 0 < row.sensitivity_held_out.high
    assert row.tuned_held_out.value < row.tuned.value


@functools.cache
def shifted():
    """Two workloads with other learning rates and the same beta1."""
    functions = {
        ("w", "a"): lambda u: 0.1 + 1.5 * (u[:, 0] - 0.2) ** 2 + 0.5 * (u[:, 1] - 0.5) ** 2,
        ("v", "a"): lambda u: 0.1 + 1.5 * (u[:, 0] - 0.8) ** 2 + 0.5 * (u[:, 1] - 0.5) ** 2,
    }
    observations = make_observations(functions, points=64, noise=0.002, default=[0.9, 0.9])
    return observations, fit_all(observations)


def test_without_a_grid_surrogates_find_the_axes_that_must_be_tuned():
    observations, surrogates = shifted()
    found = measure_transfer(observations, surrogates).dimensionalities[0]
    assert not found.exact
    assert (found.effective, found.tuned_axes[1]) == (1, ("lr",))
    assert min(found.r2) > 0.9
    assert all(low <= high for low, high in itertools.pairwise(found.scores))


def test_without_a_grid_or_a_surrogate_the_dimensionality_is_missing():
    observations, _ = shifted()
    table = measure_transfer(observations, {})
    assert table.dimensionalities == ()
    assert len(table.sensitivities) == 1
    assert any("effective dimensionality of a" in lacking.measure for lacking in table.missing)


@pytest.mark.parametrize(
    ("observations", "reason"),
    [
        (place_observations({("w", "a"): [[0.4]]}, [[0.5]], ONE_AXIS), "fewer than two"),
        (
            place_observations(
                {("w", "a"): [0.4, 0.5], ("v", "a"): [0.4, 0.5]}, [[0.5], [0.6]], ONE_AXIS, shared_points=False
            ),
            "different settings",
        ),
        (
            place_observations(
                {("w", "a"): [0.4, 0.5], ("v", "a"): [0.4, 0.5]}, [[0.5], [0.6]], ONE_AXIS, is_sample=False
            ),
            "do not stand",
        ),
        (
            place_observations({("w", "a"): [1.0, 1.0], ("v", "a"): [1.0, 1.0]}, [[0.5], [0.6]], ONE_AXIS),
            "alike on w, v",
        ),
        (
            place_observations({("w", "a"): [0.4, 0.5], ("v", "b"): [0.4, 0.5]}, [[0.5], [0.6]], ONE_AXIS),
            "No trial has finished",
        ),
    ],
    ids=["one workload", "other points", "adaptive", "all diverged", "other optimizers"],
)
def test_what_cannot_be_compared_is_said(observations, reason):
    table = measure_transfer(observations, {})
    assert any(reason in lacking.reason for lacking in table.missing)
    assert survives_json(table)
    check_section(tell_transfer(table, observations.info))


def test_conditional_axes_have_no_dimensionality():
    axes = {"lr": LR, "gamma": AxisSpec(low=0.0, high=1.0, when="lr > 0.01")}
    unit = [[0.2, None], [0.8, 0.3], [0.9, 0.5]]
    losses = {("w", "a"): [0.1, 0.4, 0.5], ("v", "a"): [0.3, 0.2, 0.6]}
    table = measure_transfer(place_observations(losses, unit, axes), {})
    assert len(table.sensitivities) == 1
    assert any("vary in some trials only" in lacking.reason for lacking in table.missing)


def test_the_section_has_tables_and_figures():
    observations, surrogates = shifted()
    table = measure_transfer(observations, surrogates)
    assert survives_json(table)
    section = tell_transfer(table, observations.info)
    check_section(section)
    assert [t.name for t in section.tables] == [
        "transfer-regret",
        "hyperparameter-sensitivity",
        "effective-dimensionality",
    ]
    assert len(section.figures) == 3


def test_names_of_figures_stay_apart():
    losses = {("My W", "A"): [0.5], ("my-w", "A"): [0.5], ("日本", "a"): [0.5]}
    info = place_observations(losses, [[0.5]], ONE_AXIS).info
    names = [figure_name("x", info, workload.name) for workload in info.workloads]
    assert names == ["x-my-w-1", "x-my-w-2", "x-3"]


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
