"""Tests of the importance of axes: known functions, Optuna's PED-ANOVA, what is missing and why, tables and figures."""

import dataclasses
import logging
import math
import pickle
import warnings

import numpy as np
import optuna
import pytest
from made_observations import BETA, LR, make_observations
from pydantic import TypeAdapter

from study.axis import AxisSpec
from study.report.drawing.style import save
from study.report.measures.importance.importance import CellImportance, measure_importance
from study.report.measures.importance.ped_anova import count_top, measure_ped_anova
from study.report.measures.surrogate import cell_seed, count_choices, fit_surrogate
from study.report.sections.importance import tell_importance

DECAY = AxisSpec(low=1e-6, high=0.1, scale="log")


def bowl(unit):
    return 0.1 + (unit[:, 0] - 0.3) ** 2 + 0.3 * (unit[:, 1] - 0.5) ** 2


def surrogate_of(cell):
    chosen = cell.design_N
    return fit_surrogate(cell.unit_ND[chosen], cell.mean_N[chosen], count_choices(cell), seed=cell_seed(cell, 0))


def measure(observations, place=0) -> CellImportance:
    cell = observations.cells[place]
    return measure_importance(cell, surrogate_of(cell), observations.info)


def reasons(importance):
    return {missing.measure.split(" of ")[0]: missing.reason for missing in importance.missing}


@pytest.fixture(scope="module")
def observations():
    """Two workloads, up to two optimizers, three axes, of which the last does nothing; some runs diverge."""
    functions = {
        (workload, optimizer): lambda unit, slope=slope: 0.1 + unit[:, 0] * slope + 0.3 * unit[:, 0] * unit[:, 1]
        for workload, optimizer, slope in (("a", "adam", 0.3), ("a", "sgd", 0.9), ("B_c", "adam", 0.5))
    }
    axes = {"lr": LR, "beta1": BETA, "decay": DECAY}
    return make_observations(functions, axes=axes, points=41, noise=0.02, diverge_above=0.8)


@pytest.fixture(scope="module")
def importances(observations):
    return [measure(observations, place) for place in range(len(observations.cells))]


def test_a_known_function_has_its_known_shares():
    found = measure(make_observations({("w", "o"): bowl}, points=32, seeds=1))
    variances = np.array([(0.3**5 + 0.7**5) / 5 - ((0.3**3 + 0.7**3) / 3) ** 2, 0.09 / 180])
    shares = variances / variances.sum()
    assert [axis.axis for axis in found.axes] == ["lr", "beta1"]
    assert [axis.first.value for axis in found.axes] == pytest.approx(shares, abs=0.01)
    assert [axis.total.value for axis in found.axes] == pytest.approx(shares, abs=0.01)
    assert [axis.deviation.value for axis in found.axes] == pytest.approx(np.sqrt(variances), rel=0.05)
    assert [axis.forest.mean for axis in found.axes] == pytest.approx(shares, abs=0.1)
    assert found.pairs[0].axes == ("lr", "beta1")
    assert found.pairs[0].share.value < 0.01
    assert found.trusted
    assert found.variance.noise is None
    assert found.variance.function.value == pytest.approx(math.sqrt(variances.sum()), rel=0.05)


def test_seed_noise_is_taken_off_and_does_not_inflate_total_indices():
    noise = 0.12
    found = measure(make_observations({("w", "o"): bowl}, points=64, seeds=4, noise=noise, chance=None))
    true = (0.3**5 + 0.7**5) / 5 - ((0.3**3 + 0.7**3) / 3) ** 2 + 0.09 / 180
    parts = found.variance
    assert parts.signal == pytest.approx(math.sqrt(true), rel=0.2)
    assert parts.noise == pytest.approx(noise**2 / 4 / (noise**2 / 4 + true), rel=0.25)
    assert parts.observed > parts.signal
    assert sum(axis.total.value for axis in found.axes) == pytest.approx(1.0, abs=0.08)
    for axis in found.axes:
        assert axis.total.low <= axis.total.value <= axis.total.high


def test_parts_of_the_variance_add_up(importances):
    for found in importances:
        parts = found.variance
        assert parts.explained + parts.noise + parts.unexplained == pytest.approx(1.0, abs=0.05)
        assert parts.alone + parts.pairs + parts.more == pytest.approx(1.0, abs=0.02)


def test_an_axis_that_does_nothing_has_no_share(importances):
    for found in importances:
        nothing = found.axes[2]
        assert nothing.axis == "decay"
        assert nothing.total.value < 0.05
        assert nothing.forest.mean < 0.1
        assert nothing.ped_anova.value < found.axes[0].ped_anova.value


def test_a_cap_that_dominates_the_variance_does_not_dominate_ranks():
    """A tenth of the space is a cliff along one axis; all else is a gentle slope along the other."""

    def cliff(unit):
        return np.where(unit[:, 0] > 0.9, 0.9, 0.1 + 0.05 * unit[:, 1])

    found = measure(make_observations({("w", "o"): cliff}, points=64, seeds=1))
    lr, beta = found.axes
    assert lr.total.value > 0.9
    assert beta.rank_first.value > 0.5 > lr.rank_total.value > beta.first.value


def test_choices_have_their_known_share():
    """Three choices at 0, 0.1 and 0.2 beside a slope of 0.1: variances 1/150 and 1/1200."""
    axes = {"kind": AxisSpec(choices=["a", "b", "c"]), "lr": LR}
    function = lambda unit: 0.1 * np.floor(3 * unit[:, 0]) + 0.1 * unit[:, 1]  # noqa: E731
    found = measure(make_observations({("w", "o"): function}, axes=axes, points=64, seeds=1))
    assert found.axes[0].first.value == pytest.approx(8 / 9, abs=0.02)
    assert found.axes[0].forest.mean == pytest.approx(8 / 9, abs=0.05)


def test_ped_anova_is_what_optuna_says_of_the_unit_cube():
    cell = make_observations({("w", "o"): bowl}, points=64).cells[0]
    unit, values = cell.unit_ND[cell.design_N], cell.mean_N[cell.design_N]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    distributions = {
        "lr": optuna.distributions.FloatDistribution(0, 1),
        "beta1": optuna.distributions.FloatDistribution(0, 1),
    }
    for (lr, beta), value in zip(unit.tolist(), values.tolist(), strict=True):
        study.add_trial(optuna.create_trial(params={"lr": lr, "beta1": beta}, distributions=distributions, value=value))
    theirs = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    ours = measure_ped_anova(unit, values, [0, 0], seed=1)
    assert [one.value for one in ours] == pytest.approx([theirs["lr"], theirs["beta1"]])
    for one in ours:
        assert 0 <= one.low <= one.value <= one.high <= 1


@pytest.mark.parametrize("case", range(6))
def test_ped_anova_is_what_optuna_says_of_choices_ties_and_axes_that_some_points_lack(case):
    draws = np.random.default_rng(case)
    sizes, count = [0, 0, 3, 2], [45, 60, 200][case % 3]
    unit = draws.random((count, 4))
    for axis in (2, 3):
        unit[:, axis] = (np.floor(unit[:, axis] * sizes[axis]) + 0.5) / sizes[axis]
    if case % 2:
        unit[draws.random(count) < 0.4, 1] = np.nan
    if case == 4:
        unit[:, 0] = np.round(unit[:, 0] * 6) / 6
    values = (unit[:, 0] - 0.3) ** 2 + 0.2 * (unit[:, 2] > 0.5) + draws.normal(0, 0.05, count)
    values = np.minimum(np.round(values, 2), np.median(values)) if case >= 3 else values
    distributions = {
        str(axis): optuna.distributions.CategoricalDistribution(range(size))
        if size
        else optuna.distributions.FloatDistribution(0, 1)
        for axis, size in enumerate(sizes)
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for place, value in zip(unit.tolist(), values.tolist(), strict=True):
        known = {str(axis): int(u * sizes[axis]) if sizes[axis] else u for axis, u in enumerate(place) if u == u}
        own = {name: distributions[name] for name in known}
        study.add_trial(optuna.create_trial(params=known, distributions=own, value=value))
    theirs = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    ours = measure_ped_anova(unit, values, sizes, seed=1)
    assert [one.value for one in ours] == pytest.approx([theirs[str(axis)] for axis in range(4)], rel=1e-9)


def test_ped_anova_finds_the_axis_that_decides_and_needs_no_scale():
    draws = np.random.default_rng(3)
    unit = draws.random((400, 3))
    values = np.abs(unit[:, 1] - 0.5)
    found = measure_ped_anova(unit, values, [0, 0, 0], seed=1)
    assert found[1].low > 0.8
    assert found == measure_ped_anova(unit, np.exp(9 * values), [0, 0, 0], seed=1)


def test_ped_anova_is_quiet(caplog):
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.enable_propagation()
    try:
        with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
            warnings.simplefilter("error")
            unit = np.random.default_rng(1).random((60, 2))
            unit[1:, 1] = np.nan  # a regime of one point
            found = measure_ped_anova(unit, unit[:, 0], [0, 3], seed=1)
    finally:
        optuna.logging.disable_propagation()
    assert not caplog.records
    assert found[0].value == pytest.approx(1.0)
    assert optuna.logging.get_verbosity() == verbosity


def test_the_best_tenth_holds_all_that_are_as_good_as_its_last():
    assert count_top(np.arange(50.0)) == 5
    assert count_top(np.arange(51.0)) == 6
    assert count_top(np.array([0.0, *[1.0] * 30, *[2.0] * 19])) == 31


def test_conditional_axes_leave_ped_anova():
    axes = {"inner": AxisSpec(choices=["a", "b"]), "lr": LR, "beta1": AxisSpec(low=0, high=0.9, when="inner == 'a'")}
    observations = make_observations({("w", "o"): lambda unit: unit[:, 1] ** 2}, axes=axes, points=64)
    cell = observations.cells[0]
    cell.unit_ND[::2, 2] = np.nan
    found = measure_importance(cell, surrogate_of(cell), observations.info)
    assert "beta1" in reasons(found)["Sobol' indices and fANOVA"]
    assert [axis.first for axis in found.axes] == [None] * 3
    assert found.axes[1].ped_anova.value > 0.8
    assert found.pairs == ()
    assert found.variance.explained > 0.5
    assert_told([found], observations.info)


def test_constraints_leave_ped_anova():
    observations = make_observations({("w", "o"): bowl}, points=64)
    cell = observations.cells[0]
    tied = dataclasses.replace(cell, info=dataclasses.replace(cell.info, constraints=("lr < beta1",)))
    found = measure_importance(tied, surrogate_of(cell), observations.info)
    assert "lr < beta1" in reasons(found)["Sobol' indices and fANOVA"]
    assert found.axes[0].ped_anova is not None
    assert found.axes[0].first is None


@pytest.mark.parametrize(
    ("points", "changes", "measures"),
    [
        (64, {"is_sample": False}, {"Importance"}),
        (8, {}, {"Sobol' indices and fANOVA", "PED-ANOVA"}),
        (32, {}, {"PED-ANOVA"}),
    ],
)
def test_what_cannot_be_computed_is_missing_with_its_reason(points, changes, measures):
    observations = make_observations({("w", "o"): bowl}, points=points, **changes)
    found = measure(observations)
    assert set(reasons(found)) == measures
    assert all(reason.endswith((".", "needed.")) for reason in reasons(found).values())
    assert all("o on w" in missing.measure for missing in found.missing)
    assert_told([found], observations.info)


def test_one_axis_explains_all():
    observations = make_observations({("w", "o"): lambda unit: unit[:, 0] ** 2}, axes={"lr": LR}, points=32)
    found = measure(observations)
    assert "1" in reasons(found)["Shares"]
    assert found.axes == found.pairs == ()
    assert found.variance.function.value == pytest.approx(found.variance.signal, rel=0.1)
    assert_told([found], observations.info)


def test_no_axis_has_nothing_to_say():
    observations = make_observations({("w", "o"): bowl}, points=4)
    cell = observations.cells[0]
    bare = dataclasses.replace(cell, info=dataclasses.replace(cell.info, axes=()), unit_ND=cell.unit_ND[:, :0])
    assert "No axis" in measure_importance(bare, None, observations.info).missing[0].reason


def test_all_points_that_diverged_leave_nothing_to_explain():
    observations = make_observations({("w", "o"): lambda unit: np.full(len(unit), 2.0)}, points=64, diverge_above=1.0)
    found = measure(observations)
    assert "no variance" in reasons(found)["Sobol' indices and fANOVA"]
    assert "PED-ANOVA" in reasons(found)
    assert found.diverged == found.points == 64
    assert found.variance.observed == 0.0
    assert_told([found], observations.info)


def test_no_finished_trial_is_said():
    observations = make_observations({("w", "o"): bowl}, points=8)
    cell = observations.cells[0]
    waiting = dataclasses.replace(cell, pending_NS=np.ones_like(cell.pending_NS))
    found = measure_importance(waiting, None, observations.info)
    assert found.points == 0
    assert found.variance is None
    assert "finished" in found.missing[0].reason


@pytest.mark.parametrize("points", [1, 2])
def test_a_point_or_two_are_no_error(points):
    observations = make_observations({("w", "o"): bowl}, points=points)
    found = measure(observations)
    assert (found.variance is None) == (points == 1)
    assert_told([found], observations.info)


def test_pure_noise_is_not_trusted():
    observations = make_observations({("w", "o"): lambda unit: np.full(len(unit), 0.5)}, points=32, seeds=3, noise=0.1)
    found = measure(observations)
    assert found.trusted is False
    assert found.variance.noise > 0.6
    assert found.variance.signal < 0.5 * found.variance.observed
    for axis in found.axes:
        assert axis.total is None or axis.total.high - axis.total.low > 0.5
    assert_told([found], observations.info)


def test_importances_are_the_same_again_and_survive_json(importances):
    small = make_observations({("w", "o"): bowl}, points=12)
    assert measure(small) == measure(small)
    adapter = TypeAdapter(tuple[CellImportance, ...])
    text = adapter.dump_json(tuple(importances))
    assert b"NaN" not in text
    assert b"Infinity" not in text
    assert adapter.validate_json(text) == tuple(importances)


def test_a_section_has_a_row_for_every_axis_and_pair_and_a_figure_for_every_workload(observations, importances):
    section = tell_importance(importances, observations.info)
    assert [len(table.rows) for table in section.tables] == [9, 9, 3]
    assert [figure.name for figure in section.figures] == ["importance-1-a", "importance-2-b-c"]
    for cell in importances[:2]:
        assert f"{cell.diverged} of {cell.title}" in section.figures[0].caption or not cell.diverged
    assert_told(importances, observations.info)


def test_a_figure_says_exact_numbers_of_its_points(observations, importances):
    drawing = tell_importance(importances, observations.info).figures[0].draw()
    said = [text for texts in drawing.hovers.values() for text in texts]
    value = importances[0].axes[0].first.value
    assert any(text.startswith(f"Adam, lr: first-order {value:.3f} [") for text in said)
    assert len(said) == 2 * 9


def assert_told(importances, info):
    """Tables have as many cells as columns, intervals are columns, and figures are drawn in another process."""
    section = tell_importance(importances, info)
    names = [table.name for table in section.tables] + [figure.name for figure in section.figures]
    assert len(names) == len(set(names))
    for table in section.tables:
        columns = [column.name for column in table.columns]
        assert len(columns) == len(set(columns))
        assert all({column.low, column.high} <= {"", *columns} for column in table.columns)
        assert all(column.meaning.endswith(".") for column in table.columns)
        assert table.rows
        assert {len(row) for row in table.rows} == {len(columns)}
        numbers = [cell for row in table.rows for cell in row if isinstance(cell, float)]
        assert np.isfinite(numbers).all()
    for figure in section.figures:
        assert save(pickle.loads(pickle.dumps(figure)).draw(), "svg")  # noqa: S301 - what was pickled here
