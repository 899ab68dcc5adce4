"""SGD with heavy-ball momentum, as ``torch.optim.SGD(momentum=..., dampening=0, nesterov=False)``."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from adai.rules import Hyperparameter, UpdateRule, as_column, register_rule


class SgdState(NamedTuple):
    """The momentum buffer."""

    buffer_TP: Tensor


def _init(theta_TP: Tensor) -> SgdState:
    return SgdState(torch.zeros_like(theta_TP))


def _update_(theta_TP: Tensor, grad_TP: Tensor, state: SgdState, hyperparameters: Mapping[str, Tensor]) -> None:
    """``b <- momentum b + (g + weight_decay theta)``, ``theta <- theta - lr b`` (Sutskever et al. 2013).

    torch starts the buffer with the first gradient; with no dampening a zero buffer gives the same numbers.
    """
    lr, momentum, weight_decay = (
        as_column(hyperparameters[name], theta_TP) for name in ("lr", "momentum", "weight_decay")
    )
    grad_TP.addcmul_(theta_TP, weight_decay)
    state.buffer_TP.mul_(momentum).add_(grad_TP)
    theta_TP.addcmul_(state.buffer_TP, -lr)


SGD = register_rule(
    UpdateRule(
        name="sgd",
        hyperparameters=(
            Hyperparameter("lr", 0.1, "the Adai authors' CIFAR-10 notebook"),
            Hyperparameter("momentum", 0.9, "the Adai authors' CIFAR-10 notebook", supremum=1.0),
            Hyperparameter("weight_decay", 0.0, "torch.optim.SGD"),
        ),
        init=_init,
        update_=_update_,
    )
)
