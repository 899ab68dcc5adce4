"""Flat rows: where each parameter of a model lies in its row, and how rows start.

Shapes: ``T`` rows, ``P`` parameters of one model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from workers.random import Purpose, uniform


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Names, shapes and offsets of a model's parameters in a row, in ``named_parameters`` order."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    offsets: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, model: nn.Module) -> "RowLayout":
        """The layout of ``model``'s parameters."""
        names, shapes, offsets, size = [], [], [], 0
        for name, parameter in model.named_parameters():
            names.append(name)
            shapes.append(parameter.shape)
            offsets.append(size)
            size += parameter.numel()
        return cls(tuple(names), tuple(shapes), tuple(offsets), size)

    def views(self, rows_TP: Tensor) -> dict[str, Tensor]:
        """Each parameter of all rows as a view of shape (T, *shape)."""
        return {
            name: rows_TP[:, offset : offset + math.prod(shape)].view(-1, *shape)
            for name, shape, offset in zip(self.names, self.shapes, self.offsets, strict=True)
        }


def initial_rows(
    model: nn.Module, *, study_seed: int, seeds: Sequence[int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Initial weights, one row per entry of ``seeds``; equal seeds give equal rows.

    Linear layers start as in torch: weights and biases uniform in +-1/sqrt(fan_in).

    Args:
        model: Tells the parameters' shapes; its own values are not used.
        study_seed: Keys the randomness, with the seed index.
        seeds: Seed index of each row.
        dtype: Of the rows.
        device: Of the rows.

    Raises:
        TypeError: A parameter belongs to a layer whose initialization is not known.
    """
    row_of = {seed: _initial_row(model, study_seed, seed) for seed in set(seeds)}
    return torch.stack([row_of[seed] for seed in seeds]).to(device=device, dtype=dtype)


def _initial_row(model: nn.Module, study_seed: int, seed: int) -> Tensor:
    pieces: list[np.ndarray] = []
    for layer in model.modules():
        parameters = list(layer.parameters(recurse=False))
        if not parameters:
            continue
        if not isinstance(layer, nn.Linear):
            raise TypeError(f"no initialization is known for a layer of type {type(layer).__name__}; use Linear layers")
        bound = 1.0 / math.sqrt(layer.in_features)
        for parameter in parameters:
            unit = uniform(
                parameter.numel(),
                seed=study_seed,
                index=seed,
                purpose=Purpose.INITIAL_WEIGHTS,
                step=len(pieces),
            )
            pieces.append(bound * (2.0 * unit - 1.0))
    return torch.from_numpy(np.concatenate(pieces))
