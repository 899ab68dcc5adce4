"""Measures the loss surface around rows on fixed training examples, the same for every run of a study."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from workers.curvature import THOROUGH, CurvatureSettings, measure_curvature
from workers.engines import RowLayout, Rows
from workers.loss_slices import loss_slice
from workers.messages import CurvatureRequest
from workers.random import Purpose, permutation
from workers.workloads import CrossEntropy, Split, Workload
from workers.workloads.datasets import SPLIT_SEED

#: Quantities of one run by name; slices are tuples.
Measured = dict[str, float | tuple[float, ...]]


def measure_rows(
    request: CurvatureRequest,
    model: nn.Module,
    rows: Rows,
    workload: Workload,
    train: Split,
    *,
    study_seed: int,
    seeds: Sequence[int],
    epoch: int,
    settings: CurvatureSettings = THOROUGH,
    on_row: Callable[[], None] | None = None,
) -> list[Measured]:
    """Curvature of each row, and a loss slice if asked for: the training loss, unsmoothed and not augmented.

    Args:
        request: How much.
        model: For its code.
        rows: The runs; nothing of them is changed.
        workload: For its loss.
        train: The training set; a fixed subset of it is used.
        study_seed: Keys the probes.
        seeds: Seed index of each row.
        epoch: Names the measurement.
        settings: How exactly to measure.
        on_row: Called after each row.
    """
    if not seeds:
        return []
    order = permutation(len(train.labels), seed=SPLIT_SEED, index=0, purpose=Purpose.CURVATURE)
    chosen = torch.from_numpy(order[: request.examples]).to(train.labels.device)
    inputs, labels = train.inputs[chosen], train.labels[chosen]
    loss = CrossEntropy() if isinstance(workload.loss, CrossEntropy) else workload.loss
    views = RowLayout.of(model).views(rows.theta_TP)
    measured = []
    for row, seed in enumerate(seeds):
        parameters = {name: view[row] for name, view in views.items()}
        run = (model, parameters, rows.buffers[row], inputs, labels, loss)
        curvature = measure_curvature(*run, study_seed=study_seed, seed=seed, step=epoch, settings=settings)
        values: Measured = dict(dataclasses.asdict(curvature))
        if request.slice_points:
            alphas = np.linspace(-1.0, 1.0, request.slice_points).tolist()
            line = loss_slice(*run, study_seed=study_seed, seed=seed, step=epoch, alphas=alphas)
            values |= {"slice_alphas": line.alphas, "slice_losses": line.losses}
        measured.append(values)
        if on_row is not None:
            on_row()
    return measured
