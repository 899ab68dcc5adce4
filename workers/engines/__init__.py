"""The engines behind one interface, and the choice between them."""

from collections.abc import Callable, Hashable
from typing import Protocol

import torch
from torch import Tensor, nn

from workers.engines.looped import LoopedEngine
from workers.engines.rows import Buffers, RowLayout, Rows, StepData, initial_rows
from workers.engines.stacked import StackedEngine, why_not_stackable
from workers.messages import EngineName, Precision
from workers.workloads.base import Workload


class Engine(Protocol):
    """Computes gradients and losses of rows: ``theta_TP`` and ``grad_TP`` are (T, P)."""

    @property
    def name(self) -> str:
        """Which engine, for the record."""
        ...

    rows: Rows
    theta_TP: Tensor
    grad_TP: Tensor

    def set_rows(self, rows: Rows) -> None:
        """Continue with these rows."""
        ...

    def compute_gradients(self, data: StepData) -> Tensor:
        """Fill ``grad_TP``; return the mean loss of each row."""
        ...

    def evaluate(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and error of each row on a whole split."""
        ...


def make_engine(
    name: EngineName,
    model: nn.Module,
    rows: Rows,
    workload: Workload,
    *,
    precision: Precision = "float32",
    compile_key: Hashable = None,
    on_row: Callable[[], None] | None = None,
) -> Engine:
    """The engine called ``name``; ``auto`` is the stacked engine where it can train the workload, else the looped one.

    Args:
        name: Which engine.
        model: The workload's model.
        rows: The runs.
        workload: With the loss that is to be trained.
        precision: Of products.
        compile_key: Names workload, shapes and types, for the compiled engine and the audit of the looped ones.
        on_row: Called by engines that work row by row after each row of a step or an evaluation.

    Raises:
        TypeError: The engine cannot train this workload, or not in this precision.
    """
    reduced = precision == "bfloat16"
    if name == "stacked" and reduced:
        raise TypeError("the stacked engine does not compute in bfloat16; use engine looped or precision float32")
    if name == "stacked" or (name == "auto" and not reduced and not why_not_stackable(model, workload)):
        return StackedEngine(model, rows, workload)
    return LoopedEngine(
        model,
        rows,
        workload,
        autocast=torch.bfloat16 if reduced else None,
        compile_key=compile_key if name == "looped-compiled" else None,
        audit_key=compile_key,
        on_row=on_row,
    )


__all__ = [
    "Buffers",
    "Engine",
    "LoopedEngine",
    "RowLayout",
    "Rows",
    "StackedEngine",
    "StepData",
    "initial_rows",
    "make_engine",
    "why_not_stackable",
]
