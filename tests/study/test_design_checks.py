"""Designs and pruning that cannot work on a search space are refused, and what a trial is judged by."""

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from study.design_spec import SecondObjective
from study.objectives import objective_values
from study.spec import STORED, StudySpec
from workers.messages import RunOutcome, Termination

COUNTABLE = {"batch_size": {"low": 1, "high": 10}, "schedule": {"choices": ["constant", "cosine"]}}
REAL = {"lr": {"low": 0.1, "high": 1.0}}


def spec_of(axes: dict[str, Any], seeds: int = 6, epochs: int = 9, **parts: Any) -> StudySpec:
    content = {
        "name": "checked",
        "workloads": ["digits-mlp"],
        "optimizers": [{"name": "adai", "axes": axes}],
        "seeds": seeds,
        "epochs": epochs,
        **parts,
    }
    return StudySpec.model_validate(content)


@pytest.mark.parametrize(
    ("axes", "design", "message"),
    [
        (COUNTABLE, {"kind": "cmaes"}, "cmaes moves along numbers, and the axis schedule of adai has choices"),
        (
            {**REAL, "eps": {"low": 1e-3, "high": 1e-2, "when": "lr > 0.5"}},
            {"kind": "cmaes"},
            "cmaes needs every axis in every trial, and adai has axes that vary in some only",
        ),
        (
            {**COUNTABLE, **REAL},
            {"kind": "brute_force"},
            "brute_force tries every combination, and the axis lr of adai has all numbers of a range",
        ),
        (
            {"batch_size": {"low": 1, "high": 60_000}, "schedule": {"choices": ["constant", "cosine"]}},
            {"kind": "brute_force"},
            "the axes of adai have 120000 combinations, and brute_force tries 100000 at most",
        ),
        (
            REAL,
            {"kind": "nsga2", "second_objective": "epochs"},
            'second_objective = "epochs" is the same for all trials of adai; make epochs one of its axes',
        ),
    ],
)
def test_a_design_that_does_not_suit_the_axes_is_refused(
    axes: dict[str, Any], design: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        spec_of(axes, design=design)


def test_a_spread_needs_two_seeds() -> None:
    design = {"kind": "nsga2", "second_objective": "objective_sd"}
    with pytest.raises(ValidationError, match="is the spread over seeds, and there is 1 seed; set seeds to 2 or more"):
        spec_of(REAL, seeds=1, design=design)
    assert spec_of(REAL, seeds=2, design=design).design.second_objective == "objective_sd"


@pytest.mark.parametrize(
    ("axes", "parts", "message"),
    [
        (
            REAL,
            {"design": {"kind": "nsga2", "second_objective": "val_loss"}, "pruning": {"kind": "wilcoxon"}},
            "wilcoxon cannot prune trials with two objectives",
        ),
        (
            {"epochs": {"low": 1, "high": 9}},
            {"pruning": {"kind": "hyperband"}},
            "hyperband stops trials by epochs, which are an axis of adai",
        ),
        (REAL, {"pruning": {"kind": "wilcoxon", "startup_seeds": 6}}, "startup_seeds = 6 must be below seeds = 6"),
        (REAL, {"pruning": {"kind": "hyperband", "min_epochs": 4}}, "needs 12 epochs or more, and there are 9"),
    ],
)
def test_pruning_that_does_not_suit_the_study_is_refused(
    axes: dict[str, Any], parts: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        spec_of(axes, **parts)


def test_a_stored_spec_is_read_back_with_its_hash_where_its_workload_is_not_installed() -> None:
    spec = spec_of(REAL, design={"kind": "gp", "batch": 4}, pruning={"kind": "hyperband", "reduction_factor": 2})
    stored = spec.model_dump(mode="json") | {"workloads": ["gone"], "epochs": None}
    read = StudySpec.model_validate(stored, context=STORED)
    assert (read.design, read.pruning) == (spec.design, spec.pruning)
    assert StudySpec.model_validate(spec.model_dump(mode="json"), context=STORED).hash == spec.hash
    assert len({spec.hash, spec_of(REAL, design={"kind": "gp"}).hash, spec_of(REAL).hash}) == 3


# What a trial is judged by


def outcome(objective: float, loss: float, **changes: Any) -> RunOutcome:
    made = RunOutcome(
        run_id=0,
        termination=Termination.COMPLETED,
        reason="",
        epochs=5,
        objective=objective,
        at_chance=False,
        train_loss=loss / 2,
        val_loss=loss,
        val_error=objective,
        test_loss=None,
        test_error=None,
        seconds=1.0,
    )
    return replace(made, **changes)


RUNS = [outcome(0.1, 0.5), outcome(0.3, 0.7), outcome(0.2, 3.0)]
LOST = outcome(0.9, math.nan, termination=Termination.DIVERGED, at_chance=True, epochs=1)
#: Loss of a guess among ten classes.
CHANCE = math.log(10)


@pytest.mark.parametrize(
    ("second", "expected", "with_a_diverged_run"),
    [
        ("val_loss", (0.5 + 0.7 + CHANCE) / 3, (0.5 + 0.7 + 2 * CHANCE) / 4),
        ("train_loss", (0.25 + 0.35 + 1.5) / 3, (0.25 + 0.35 + 1.5 + CHANCE) / 4),
        ("objective_sd", statistics.stdev([0.1, 0.3, 0.2]), 0.9),
        ("epochs", 5.0, 5.0),
    ],
)
def test_the_second_objective_is_a_finite_mean_over_seeds(
    second: SecondObjective, expected: float, with_a_diverged_run: float
) -> None:
    for runs, value in ((RUNS, expected), ([*RUNS, LOST], with_a_diverged_run)):
        found = objective_values(second, runs, chance_loss=CHANCE, epochs=5)
        assert found == (pytest.approx(statistics.mean(run.objective for run in runs)), pytest.approx(value))
        assert objective_values(second, runs[::-1], chance_loss=CHANCE, epochs=5) == found
        assert objective_values(None, runs, chance_loss=CHANCE, epochs=5) == found[:1]


def test_a_loss_that_is_finite_when_a_run_diverges_counts_as_chance() -> None:
    lost = replace(LOST, val_loss=0.1, train_loss=-math.inf)
    for second in ("val_loss", "train_loss"):
        assert objective_values(second, [lost], chance_loss=CHANCE, epochs=5) == (0.9, CHANCE)
