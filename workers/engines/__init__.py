"""Two engines behind one interface, and the choice between them."""

from typing import Protocol

from torch import Tensor, nn

from workers.engines.looped import LoopedEngine
from workers.engines.stacked import StackedEngine, is_stackable


class Engine(Protocol):
    """Computes gradients and losses of rows: ``theta_TP`` and ``grad_TP`` are (T, P)."""

    name: str
    theta_TP: Tensor
    grad_TP: Tensor

    def set_rows(self, theta_TP: Tensor) -> None:
        """Continue with these rows."""
        ...

    def compute_gradients(self, inputs: Tensor, labels: Tensor, example_TB: Tensor) -> Tensor:
        """Fill ``grad_TP``; return the mean loss of each row."""
        ...

    def evaluate(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and error of each row on a whole split."""
        ...


def choose_engine(model: nn.Module, theta_TP: Tensor) -> Engine:
    """The stacked engine where it can represent ``model``, else the looped one."""
    if is_stackable(model):
        return StackedEngine(model, theta_TP)
    return LoopedEngine(model, theta_TP)


__all__ = ["Engine", "LoopedEngine", "StackedEngine", "choose_engine"]
