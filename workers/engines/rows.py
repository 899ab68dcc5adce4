"""Flat rows: where each parameter of a model lies in its row, how rows start, and what one step of them is given.

Shapes: ``T`` rows, ``P`` parameters of one model, ``S`` distinct seeds among the rows, ``B`` batch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.dropout import dropout_keys, replace_dropout
from workers.initialization import build_model

#: Buffers of one row, such as the running statistics of batch norm, by name.
Buffers = dict[str, Tensor]


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

    @property
    def sizes(self) -> list[int]:
        """Elements of each parameter."""
        return [math.prod(shape) for shape in self.shapes]

    def views(self, rows_TP: Tensor) -> dict[str, Tensor]:
        """Each parameter of all rows as a view of shape (T, *shape)."""
        return {
            name: rows_TP[:, offset : offset + math.prod(shape)].view(len(rows_TP), *shape)
            for name, shape, offset in zip(self.names, self.shapes, self.offsets, strict=True)
        }


@dataclass(slots=True)
class Rows:
    """The runs that are trained together.

    Attributes:
        theta_TP: Parameters, one row per run.
        buffers: Of each row, its own; empty for models without buffers.
    """

    theta_TP: Tensor
    buffers: list[Buffers]

    def select(self, positions: Sequence[int]) -> "Rows":
        """The rows at ``positions``, in that order, as copies."""
        kept = torch.tensor(positions, dtype=torch.int64, device=self.theta_TP.device)
        copies = [{name: buffer.clone() for name, buffer in self.buffers[position].items()} for position in positions]
        return Rows(self.theta_TP[kept], copies)


@dataclass(frozen=True, slots=True)
class StepData:
    """What one training step is given: one batch per distinct seed, which rows of that seed share.

    Attributes:
        inputs: For each seed, (B, ...).
        labels: For each seed, (B,) or (B, L).
        seed_of_row: For each row, which of them it takes.
        dropout_keys: For each seed, the key of its dropout masks in this step; None for models without dropout.
    """

    inputs: Sequence[Tensor]
    labels: Sequence[Tensor]
    seed_of_row: Sequence[int]
    dropout_keys: Sequence[Tensor] | None = None


def initial_rows(
    build: Callable[[], nn.Module], *, study_seed: int, seeds: Sequence[int], dtype: torch.dtype, device: torch.device
) -> tuple[nn.Module, Rows]:
    """A model for its code and shapes, and the initial rows, one per entry of ``seeds``; equal seeds, equal rows.

    Weights are drawn by the model's own code in float32, whatever ``dtype`` is: a run in float64 starts where the same
    run in float32 does.

    Args:
        build: Makes the untrained model; called once per distinct seed.
        study_seed: Keys the randomness, with the seed index.
        seeds: Seed index of each row.
        dtype: Of the rows.
        device: Of the rows.

    Raises:
        TypeError: The model draws random numbers in a way that cannot be made counter-based, has no parameters, a
            complex or frozen one, or numbers among its attributes that differ from seed to seed.
    """
    models = {seed: _build(build, study_seed, seed) for seed in dict.fromkeys(seeds)}
    theta_of = {seed: _flatten(model, dtype).to(device) for seed, model in models.items()}
    buffers = [_buffers(models[seed], dtype, device) for seed in seeds]
    for other in models.values():
        _compare_numbers(models[seeds[0]], other)
    model = models[seeds[0]].to(dtype=dtype, device=device)
    return model, Rows(torch.stack([theta_of[seed] for seed in seeds]), buffers)


def _build(build: Callable[[], nn.Module], study_seed: int, seed: int) -> nn.Module:
    model = build_model(build, study_seed=study_seed, seed=seed)
    replace_dropout(model)
    return model


def _compare_numbers(model: nn.Module, other: nn.Module) -> None:
    """Refuse numbers that the constructor draws: one model's code computes for all rows."""
    for (name, module), twin in zip(model.named_modules(), other.modules(), strict=True):
        for attribute, value in vars(module).items():
            if isinstance(value, (int, float)) and repr(vars(twin).get(attribute)) != repr(value):
                raise TypeError(
                    f"attribute {attribute!r} of {name or 'the model itself'} ({type(module).__name__}) is {value!r} "
                    f"with one seed and {vars(twin).get(attribute)!r} with another; keep what is drawn at random in a "
                    "buffer (register_buffer)"
                )


def _flatten(model: nn.Module, dtype: torch.dtype) -> Tensor:
    parameters = list(model.named_parameters())
    if not parameters:
        raise TypeError(f"the model ({type(model).__name__}) has no parameters; there is nothing to train")
    for name, parameter in parameters:
        if not parameter.is_floating_point():
            raise TypeError(f"parameter {name} is of type {parameter.dtype}; only real floating-point ones are trained")
        if not parameter.requires_grad:
            raise TypeError(f"parameter {name} does not require gradients; make it a buffer if it is not to be trained")
    return torch.cat([parameter.detach().to(dtype).flatten() for _, parameter in parameters])


def _buffers(model: nn.Module, dtype: torch.dtype, device: torch.device) -> Buffers:
    """Copies of the model's buffers, without those that the engine sets in every step."""
    set_by_engine = set(dropout_keys(model))
    return {
        name: buffer.detach().to(device=device, dtype=dtype if buffer.is_floating_point() else None, copy=True)
        for name, buffer in model.named_buffers()
        if name not in set_by_engine
    }
