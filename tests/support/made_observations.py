"""Observations with known answers: what a function says at the points of a design, with noise and divergence."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from study.axis import AxisSpec, Value
from study.cube import unit_points
from study.report.observations import AxisInfo, CellInfo, Observations, StudyInfo, WorkloadInfo, observe
from study.space import to_unit, to_value

#: Points (N, D) in the unit cube -> objective (N,), before capping.
Function = Callable[[np.ndarray], np.ndarray]
LR = AxisSpec(low=1e-4, high=1.0, scale="log")
BETA = AxisSpec(low=0.0, high=0.99, scale="log1m")


def make_observations(
    functions: Mapping[tuple[str, str], Function],
    *,
    axes: Mapping[str, AxisSpec] | None = None,
    points: int = 32,
    seeds: int = 3,
    noise: float = 0.0,
    chance: float | None = 0.9,
    diverge_above: float = np.inf,
    default: Sequence[float] | None = None,
    design: str = "sobol",
    study_seed: int = 5,
    **changes: Any,
) -> Observations:
    """A study whose objective is known.

    Args:
        functions: (workload, optimizer) -> the objective as a function of the unit cube.
        axes: Of every optimizer; ``lr`` and ``beta1`` if left out.
        points: Of the design.
        seeds: Runs per trial.
        noise: Standard deviation over seeds, the same draws for every cell (paired seeds).
        chance: What objectives are capped at.
        diverge_above: A run whose objective is above it diverges.
        default: Place of the default setting; the middle of the cube if left out.
        design: Kind of the design.
        study_seed: Keys design and noise.
        changes: Further fields of :class:`study.report.observations.StudyInfo`.
    """
    axes = axes or {"lr": LR, "beta1": BETA}
    unit = unit_points(design, points, study_seed)[:, : len(axes)]
    unit = np.vstack([np.full(len(axes), 0.5) if default is None else np.asarray(default), unit])
    draws = np.random.default_rng(study_seed).normal(0.0, 1.0, (len(unit), seeds)) * noise
    values = [[to_value(axis, place) for axis, place in zip(axes.values(), row, strict=True)] for row in unit.tolist()]
    unit = np.array([[_place(axis, value) for axis, value in zip(axes.values(), row, strict=True)] for row in values])
    rows = []
    for (workload, optimizer), function in functions.items():
        true = np.broadcast_to(np.asarray(function(unit), dtype=float), len(unit))[:, None] + draws
        for trial in range(len(unit)):
            for seed in range(seeds):
                diverged = not true[trial, seed] <= diverge_above
                capped = true[trial, seed] if chance is None else min(true[trial, seed], chance)
                if diverged and chance is not None:
                    capped = chance
                rows.append(
                    {
                        "study": "made",
                        "workload": workload,
                        "optimizer": optimizer,
                        "trial": trial,
                        "origin": "design" if trial else "default",
                        **dict(zip(axes, values[trial], strict=True)),
                        **{f"unit_{name}": float(u) for name, u in zip(axes, unit[trial], strict=True)},
                        "seed": seed,
                        "termination": "diverged" if diverged else "completed",
                        "objective": float(capped),
                        "at_chance": diverged,
                        "train_loss": None if diverged else float(capped),
                        "test_error": None if diverged else float(capped),
                        "seconds": 1.0,
                        "steps_to_target": None,
                    }
                )
    frame = pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"steps_to_target": pl.Int64})
    return observe(make_info(list(functions), axes, points, seeds, chance, design, **changes), frame, no_curvature())


def make_info(
    cells: Sequence[tuple[str, str]],
    axes: Mapping[str, AxisSpec],
    points: int,
    seeds: int,
    chance: float | None,
    design: str,
    **changes: Any,
) -> StudyInfo:
    """What is known of a made study."""
    axis_infos = tuple(AxisInfo(name, spec, _middle(spec), conditional=bool(spec.when)) for name, spec in axes.items())
    fields: dict[str, Any] = {
        "name": "made",
        "description": "",
        "source": "service",
        "state": "completed",
        "objective": "val_error",
        "unit": "share of examples",
        "design": f"{points} {design} points",
        "design_kind": design,
        "is_sample": True,
        "is_random": design in ("sobol", "halton", "latin_hypercube", "random"),
        "shared_points": True,
        "paired_seeds": True,
        "seeds": seeds,
        "study_seed": 5,
        "workloads": tuple(
            WorkloadInfo(name, name.title(), "", "2 epochs", chance, "made", None)
            for name in dict.fromkeys(workload for workload, _ in cells)
        ),
        "cells": tuple(
            CellInfo(workload, optimizer, optimizer.title(), "", axis_infos, {}, (), points + 1)
            for workload, optimizer in cells
        ),
        "failures": (),
        "failures_more": 0,
        "cautions": (),
        "spec": None,
        "spec_hash": "",
        "created": "",
        "environment": {},
    }
    return StudyInfo(**(fields | changes))


def no_curvature() -> pl.DataFrame:
    """The table of curvature of a study that measured none."""
    names = {**dict.fromkeys(("study", "workload", "optimizer"), pl.String), "trial": pl.Int64, "seed": pl.Int64}
    return pl.DataFrame(
        schema=names | {"epoch": pl.Int64, "quantity": pl.String, "position": pl.Int64, "value": pl.Float64}
    )


def _place(axis: AxisSpec, value: Value) -> float:
    place = to_unit(axis, value)
    assert place is not None
    return place


def _middle(axis: AxisSpec) -> Value:
    return to_value(axis, 0.5)
