"""Observations of trials at chosen places with chosen losses: for answers that are worked out by hand."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from made_observations import make_info, no_curvature

from study.axis import AxisSpec
from study.report.measures.surrogate import Surrogate, cell_seed, count_choices, fit_surrogate
from study.report.observations import Observations, observe
from study.space import to_value


def place_observations(
    losses: Mapping[tuple[str, str], Any],
    unit: Sequence[Sequence[float | None]],
    axes: Mapping[str, AxisSpec],
    *,
    default: int | None = None,
    chance: float | None = 1.0,
    design: str = "sobol",
    terminations: Mapping[tuple[str, str, int, int], str | None] | None = None,
    **changes: Any,
) -> Observations:
    """A study with given losses; one at chance level or above diverged.

    Args:
        losses: (workload, optimizer) -> losses of N trials with S seeds, of shape (N,) or (N, S); NaN for no run.
        unit: Place of each trial on each axis; None where it is not active.
        axes: Of every optimizer.
        default: Which of the trials is the default setting, if any.
        chance: What losses are capped at.
        design: Kind of the design.
        terminations: (workload, optimizer, trial, seed) -> how that run ended instead.
        changes: Further fields of the study.
    """
    rows = []
    for (workload, optimizer), given in losses.items():
        loss_NS = np.atleast_2d(np.asarray(given, dtype=float).T).T
        for trial, place in enumerate(unit):
            values = [None if u is None else to_value(axis, u) for axis, u in zip(axes.values(), place, strict=True)]
            for seed in range(loss_NS.shape[1]):
                loss = float(loss_NS[trial, seed])
                if np.isnan(loss):
                    continue
                diverged = chance is not None and loss >= chance
                ended = "diverged" if diverged else "completed"
                ended = (terminations or {}).get((workload, optimizer, trial, seed), ended)
                counts = ended in ("diverged", "completed")
                rows.append(
                    {
                        "workload": workload,
                        "optimizer": optimizer,
                        "trial": trial,
                        "origin": "default" if trial == default else "design",
                        **dict(zip(axes, values, strict=True)),
                        **{f"unit_{name}": u for name, u in zip(axes, place, strict=True)},
                        "seed": seed,
                        "termination": ended,
                        "objective": (chance if diverged else loss) if counts else None,
                        "at_chance": diverged,
                        "train_loss": None,
                        "test_error": None if diverged else loss,
                        "seconds": 1.0,
                        "steps_to_target": None,
                    }
                )
    numbers = {"steps_to_target": pl.Int64, "termination": pl.String, "objective": pl.Float64}
    numbers |= {f"unit_{name}": pl.Float64 for name in axes}
    frame = pl.DataFrame(rows, infer_schema_length=None, schema_overrides=numbers)
    seeds = int(frame["seed"].max()) + 1  # type: ignore[arg-type]
    points = len(unit) - (default is not None)
    info = make_info(list(losses), dict(axes), points, seeds, chance, design, **changes)
    cells = tuple(dataclasses.replace(cell, planned=len(unit)) for cell in info.cells)
    return observe(dataclasses.replace(info, cells=cells), frame, no_curvature())


def fit_all(observations: Observations) -> dict[tuple[str, str], Surrogate | None]:
    """The surrogate of each cell, as the pipeline fits them."""
    fitted = {}
    for cell in observations.cells:
        unit_ND, mean_N = cell.unit_ND[cell.design_N], cell.mean_N[cell.design_N]
        surrogate = fit_surrogate(unit_ND, mean_N, count_choices(cell), seed=cell_seed(cell, 0))
        fitted[cell.workload, cell.optimizer] = surrogate
    return fitted
