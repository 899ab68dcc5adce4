"""Search space and design: between the unit cube and values, the same points for everyone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from adai import get_optimizer, get_rule, list_optimizers, list_rules
from study.axis import AxisSpec
from study.cube import COLUMNS, DIMENSIONS, unit_points
from study.design import plan_trials
from study.design_spec import DesignKind
from study.space import to_distribution, to_unit, to_value
from study.spec import StudySpec
from study.spec_file import parse_spec
from study.specs import read_shipped_spec

AXES = {
    "linear": AxisSpec(low=-1.0, high=3.0),
    "log": AxisSpec(low=1e-5, high=10.0, scale="log"),
    "log1m": AxisSpec(low=0.0, high=0.9999, scale="log1m"),
}
UNIT = st.floats(0, 1)


def all_optimizers(points: int, **changes: object) -> StudySpec:
    content = {
        "name": "all",
        "workloads": ["digits-mlp"],
        "optimizers": [{"name": name} for name in list_optimizers()],
        "design": {"points": points},
    }
    return StudySpec.model_validate(content | changes)


@pytest.mark.parametrize("scale", AXES)
@given(unit=UNIT)
def test_values_lie_in_the_range_and_return_to_their_place(scale: str, unit: float) -> None:
    axis = AXES[scale]
    value = to_value(axis, unit)
    assert axis.contains(value)
    assert to_unit(axis, value) == pytest.approx(unit, abs=1e-9)


@pytest.mark.parametrize("scale", AXES)
@given(units=st.tuples(UNIT, UNIT))
def test_values_increase_with_their_place(scale: str, units: tuple[float, float]) -> None:
    low, high = sorted(units)
    assert to_value(AXES[scale], low) <= to_value(AXES[scale], high)


def test_scales_are_uniform_in_what_they_name() -> None:
    assert to_value(AXES["linear"], 0.25) == 0.0
    assert to_value(AXES["log"], 0.5) == pytest.approx(1e-2)
    assert to_value(AXES["log1m"], 0.5) == pytest.approx(0.99)
    assert to_value(AxisSpec(low=0.9, high=0.99999, scale="log1m"), 0.25) == pytest.approx(0.99)


def test_a_value_without_a_place_on_the_scale_has_none() -> None:
    assert to_unit(AXES["log"], 0.0) is None
    assert to_unit(AXES["log1m"], 1.0) is None
    assert to_unit(AXES["log"], 100.0) == pytest.approx(7 / 6)


def test_optuna_is_told_the_range_and_the_log_scale() -> None:
    assert to_distribution(AXES["log"]).log
    assert not to_distribution(AXES["log1m"]).log
    assert (to_distribution(AXES["log1m"]).low, to_distribution(AXES["log1m"]).high) == (0.0, 0.9999)


@pytest.mark.parametrize("kind", ["sobol", "random"])
@given(points=st.integers(1, 70), more=st.integers(0, 70), seed=st.integers(0, 2**63 - 1))
def test_points_are_in_the_unit_cube_and_more_points_keep_the_first(
    kind: DesignKind, points: int, more: int, seed: int
) -> None:
    few = unit_points(kind, points, seed)
    many = unit_points(kind, points + more, seed)
    assert few.shape == (points, DIMENSIONS)
    assert ((few >= 0) & (few < 1)).all()
    assert (many[:points] == few).all()
    assert len({tuple(point) for point in many}) == points + more


def test_a_sobol_design_is_balanced_and_more_even_than_random_points() -> None:
    sobol = unit_points("sobol", 64, 3)
    for column in sobol.T:
        assert (np.histogram(column, bins=64, range=(0, 1))[0] == 1).all()
    random = unit_points("random", 64, 3)
    used = sorted({column for column in COLUMNS.values() if column < 4})
    assert qmc.discrepancy(sobol[:, used]) < qmc.discrepancy(random[:, used]) / 2


def test_another_study_seed_makes_another_design() -> None:
    for kind in ("sobol", "random"):
        first, second = (unit_points(kind, 8, seed) for seed in (0, 1))
        assert not (first == second).any()


def test_every_hyperparameter_reads_a_column_of_its_own() -> None:
    for name in list_rules():
        columns = [COLUMNS[hyperparameter.name] for hyperparameter in get_rule(name).hyperparameters]
        assert len(set(columns)) == len(columns)


def test_the_defaults_are_trial_0_of_every_optimizer_and_complete() -> None:
    for trial in plan_trials(all_optimizers(4)):
        if trial.number == 0:
            rule = get_optimizer(trial.optimizer).rule
            assert trial.origin == "default"
            assert trial.hyperparameters == {h.name: h.default for h in rule.hyperparameters}


def test_the_same_points_serve_every_optimizer() -> None:
    plan = plan_trials(all_optimizers(16))
    by_column: dict[tuple[int, int], set[float]] = {}
    for trial in plan:
        if trial.origin == "design":
            for name, unit in trial.unit.items():
                assert unit is not None
                by_column.setdefault((trial.number, COLUMNS[name]), set()).add(unit)
    assert all(len(units) == 1 for units in by_column.values())
    assert {number for number, _ in by_column} == set(range(1, 17))


def test_values_of_the_plan_are_the_points_on_their_axes() -> None:
    spec = all_optimizers(8)
    for trial in plan_trials(spec):
        if trial.origin == "design":
            for name, axis in spec.optimizer(trial.optimizer).axes.items():
                unit = trial.unit[name]
                assert unit is not None
                assert trial.hyperparameters[name] == to_value(axis, unit)


def test_adding_an_optimizer_moves_no_point_of_the_others() -> None:
    whole = plan_trials(all_optimizers(8))
    part = plan_trials(all_optimizers(8, optimizers=[{"name": "adam"}]))
    assert part == [trial for trial in whole if trial.optimizer == "adam"]


def test_fixed_values_hold_for_all_trials_and_the_default_keeps_the_rest() -> None:
    spec = parse_spec(read_shipped_spec("digits"), source="digits")
    for trial in plan_trials(spec):
        assert trial.hyperparameters["weight_decay"] == (1e-2 if trial.optimizer == "adamw" else 5e-4)


def test_a_default_off_its_axis_is_still_the_true_default() -> None:
    axes = {
        "lr": {"low": 1e-3, "high": 1.0, "scale": "log"},
        "weight_decay": {"low": 1e-6, "high": 1e-2, "scale": "log"},
    }
    spec = all_optimizers(2, optimizers=[{"name": "sgd", "axes": axes}])
    default = plan_trials(spec)[0]
    assert default.hyperparameters["weight_decay"] == 0.0
    assert default.unit["weight_decay"] is None
    assert default.unit["lr"] == pytest.approx(2 / 3)
    assert all(math.isfinite(value) for value in default.hyperparameters.values())
