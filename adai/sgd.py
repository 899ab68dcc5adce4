"""SGD with heavy-ball or Nesterov momentum, as ``torch.optim.SGD(momentum=..., dampening=0)``, over rows."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from adai.compiled import Kernel
from adai.rules import Hyperparameter, Hyperparameters, UpdateRule, as_column, register_rule


class SgdState(NamedTuple):
    """The momentum buffer."""

    buffer_TP: Tensor


def _init(theta_TP: Tensor, sizes: tuple[int, ...]) -> SgdState:  # noqa: ARG001 - every rule is told
    return SgdState(torch.zeros_like(theta_TP))


def _update_(
    theta_TP: Tensor, grad_TP: Tensor, state: SgdState, hyperparameters: Hyperparameters, *, nesterov: bool
) -> None:
    """``b <- momentum b + (g + weight_decay theta)``, ``theta <- theta - lr b`` (Sutskever et al. 2013, section 2).

    With Nesterov's momentum the movement is ``lr (g + momentum b)``. torch starts the buffer with the first gradient;
    with no dampening a zero buffer gives the same numbers.
    """
    lr, momentum, weight_decay = (
        as_column(hyperparameters[name], theta_TP) for name in ("lr", "momentum", "weight_decay")
    )
    grad_TP.addcmul_(theta_TP, weight_decay)
    state.buffer_TP.mul_(momentum).add_(grad_TP)
    movement = grad_TP.addcmul_(state.buffer_TP, momentum) if nesterov else state.buffer_TP
    theta_TP.addcmul_(movement, -lr)


_HYPERPARAMETERS = (
    Hyperparameter("lr", 0.1, "the Adai authors' CIFAR-10 notebook"),
    Hyperparameter("momentum", 0.9, "the Adai authors' CIFAR-10 notebook", supremum=1.0),
    Hyperparameter("weight_decay", 0.0, "torch.optim.SGD"),
)


def _build(name: str, *, nesterov: bool) -> UpdateRule:
    return UpdateRule(
        name,
        _HYPERPARAMETERS,
        _init,
        partial(_update_, nesterov=nesterov),
        Kernel("sgd", ("buffer_TP",), option=int(nesterov), steps=False),
    )


SGD = register_rule(lambda: _build("sgd", nesterov=False))
NESTEROV = register_rule(lambda: _build("nesterov", nesterov=True))
