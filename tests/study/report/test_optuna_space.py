"""Axes are found in the distributions of trials."""

import math
from pathlib import Path

import numpy as np
import optuna
import polars as pl
import pytest
from foreign_studies import SPREAD, add, made, observed, only_cell, optimize, said
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"journal:{tmp_path}/journal.log"


def test_axes_take_what_trials_declare(url: str) -> None:
    kinds = {
        "width": IntDistribution(8, 512, log=True),
        "depth": IntDistribution(1, 9, step=2),
        "drop": FloatDistribution(0.0, 0.5, step=0.1),
        "act": CategoricalDistribution(["relu", "gelu"]),
        "bias": CategoricalDistribution([False, True]),
        "batch": CategoricalDistribution([32, 64, 128]),
        "clip": CategoricalDistribution([None, 2, "auto", True]),
        "held": FloatDistribution(0.5, 0.5),
        "mode": CategoricalDistribution(["only"]),
    }
    rows = [
        (8, 1, 0.0, "relu", False, 32, None),
        (512, 9, 0.5, "gelu", True, 128, 2),
        (64, 5, 0.2, "relu", True, 64, "auto"),
        (16, 3, 0.1, "gelu", False, 32, True),
    ]
    names = list(kinds)[:7]
    trials = [
        made(1.0, distributions=kinds, **dict(zip(names, row, strict=True)), held=0.5, mode="only") for row in rows
    ]
    add(url, "mine", trials)
    seen = observed(url)
    cell = only_cell(seen)
    specs = {axis.name: axis.spec for axis in cell.axes}
    assert list(specs) == names
    assert (specs["width"].ends, specs["width"].scale, specs["width"].integer) == ((8.0, 512.0), "log", True)
    assert (specs["depth"].ends, specs["depth"].scale, specs["depth"].integer) == ((1.0, 9.0), "linear", True)
    assert (specs["drop"].ends, specs["drop"].integer) == ((0.0, 0.5), False)
    assert specs["act"].choices == ["relu", "gelu"]
    assert specs["bias"].choices == [False, True]
    assert specs["batch"].choices == [32.0, 64.0, 128.0]
    assert specs["clip"].choices == ["None", "2", "auto", "True"]
    assert dict(cell.info.fixed) == {"held": 0.5, "mode": "only"}
    places = dict(zip(names, cell.unit_ND.T, strict=True))
    assert np.allclose(places["act"], [0.25, 0.75, 0.25, 0.75])
    assert np.allclose(places["bias"], [0.25, 0.75, 0.75, 0.25])
    assert np.allclose(places["batch"], np.array([0.5, 2.5, 1.5, 0.5]) / 3)
    assert np.allclose(places["clip"], np.array([0.5, 1.5, 2.5, 3.5]) / 4)
    # Whole numbers have equal shares, as in this service's own studies.
    assert np.allclose(places["depth"], (np.array([1, 9, 5, 3]) - 0.5) / 9)
    assert cell.values[1] == dict(zip(names, (512.0, 9.0, 0.5, "gelu", True, 128.0, "2"), strict=True))
    assert seen.runs.schema["bias"] == pl.Boolean
    assert seen.runs.schema["mode"] == pl.String
    assert said(seen, "clip", "texts")


def test_choices_that_read_the_same_are_told_apart(url: str) -> None:
    kinds = {"clip": CategoricalDistribution([None, "None", 1, 1.0])}
    add(url, "mine", [made(1.0, distributions=kinds, clip=clip) for clip in (None, "None", 1)])
    (axis,) = only_cell(observed(url)).axes
    assert len(set(axis.spec.choices)) == 4


def test_a_parameter_that_some_trials_lack_is_conditional(url: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
        if trial.suggest_categorical("kind", ["sgd", "adam"]) == "sgd":
            return lr
        return lr + trial.suggest_float("beta", 0.0, 1.0)

    optimize(url, "mine", objective, trials=16)
    seen = observed(url)
    cell = only_cell(seen)
    assert [(axis.name, axis.conditional) for axis in cell.axes] == [("lr", False), ("kind", False), ("beta", True)]
    is_adam = np.array([values["kind"] == "adam" for values in cell.values])
    assert 0 < is_adam.sum() < 16
    assert np.array_equal(np.isfinite(cell.unit_ND[:, 2]), is_adam)
    assert all(("beta" in values) == adam for values, adam in zip(cell.values, is_adam, strict=True))


def test_ranges_that_differ_are_joined(url: str) -> None:
    trials = [
        made(1.0, distributions={"lr": FloatDistribution(low, high, log=True)}, lr=lr)
        for low, high, lr in ((1e-3, 1e-1, 0.01), (1e-2, 1.0, 0.5))
    ]
    add(url, "mine", trials)
    seen = observed(url)
    assert only_cell(seen).axes[0].spec.ends == (1e-3, 1.0)
    assert np.allclose(only_cell(seen).unit_ND[:, 0], [1 / 3, 1 + math.log10(0.5) / 3])
    assert said(seen, "range of lr differs", "0.001 to 1")


def test_a_range_of_which_one_value_was_used_is_held(url: str) -> None:
    add(url, "mine", [made(1.0, lr=lr, beta=0.5) for lr, _ in SPREAD])
    seen = observed(url)
    assert [axis.name for axis in only_cell(seen).axes] == ["lr"]
    assert only_cell(seen).info.fixed == {"beta": 0.5}
    assert said(seen, "beta", "counts as held")


def test_parameters_with_names_of_columns_get_others(url: str) -> None:
    kinds = {
        "optimizer": CategoricalDistribution(["sgd", "adam"]),
        "objective": FloatDistribution(0.0, 1.0),
        "unit_lr": FloatDistribution(0.0, 1.0),
        "params_optimizer": FloatDistribution(0.0, 1.0),
    }
    rows = [("sgd", 0.1, 0.2, 0.3), ("adam", 0.4, 0.5, 0.6)]
    trials = [
        made(7.0, distributions=kinds, lr=0.1 * (i + 1), **dict(zip(kinds, row, strict=True)))
        for i, row in enumerate(rows)
    ]
    add(url, "mine", trials)
    seen = observed(url)
    names = [axis.name for axis in only_cell(seen).axes]
    assert len(set(names)) == 5
    assert "params_objective" in names
    assert seen.runs["optimizer"].unique().to_list() == ["mine"]
    assert seen.runs["objective"].to_list() == [7.0, 7.0]
    assert sorted(map(str, only_cell(seen).values[1].values())) == ["0.2", "0.4", "0.5", "0.6", "adam"]
    assert said(seen, "optimizer is called")


def test_one_name_with_two_kinds_is_a_column_of_texts(url: str) -> None:
    add(url, "a", [made(1.0, lr=lr, beta=beta) for lr, beta in SPREAD])
    other = {"lr": CategoricalDistribution(["low", "high"])}
    add(url, "b", [made(1.0, distributions=other, lr=lr) for lr in ("low", "high")])
    seen = observed(url, "a", "b")
    assert seen.runs["lr"].to_list() == ["0.001", "0.01", "0.1", "1", "low", "high"]
    assert np.isfinite(seen.cells[0].unit_ND).all()
    assert seen.cells[1].unit_ND.tolist() == [[0.25], [0.75]]
