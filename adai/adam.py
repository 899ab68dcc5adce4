"""Adam (Kingma and Ba, ICLR 2015), AdamW (Loshchilov and Hutter, ICLR 2019) and AMSGrad (Reddi et al., ICLR 2018).

As in torch.optim, over rows; and what Adam's relatives share with it.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adai.compiled import Kernel
from adai.rules import (
    Hyperparameter,
    Hyperparameters,
    MomentState,
    UpdateRule,
    as_column,
    decay_power,
    init_moments,
    register_rule,
    zero_steps,
)


class MaxMomentState(NamedTuple):
    """A :class:`MomentState` that also keeps the largest second moment so far."""

    step_T: Tensor
    m_TP: Tensor
    v_TP: Tensor
    v_max_TP: Tensor


def init_max_moments(theta_TP: Tensor, sizes: tuple[int, ...]) -> MaxMomentState:  # noqa: ARG001 - every rule is told
    """A zero :class:`MaxMomentState` for rows ``theta_TP``."""
    return MaxMomentState(zero_steps(theta_TP), *(torch.zeros_like(theta_TP) for _ in range(3)))


def update_moments_(grad_TP: Tensor, state: Any, beta1_T: Tensor, beta2_T: Tensor) -> None:
    """``m <- beta1 m + (1 - beta1) g`` and ``v <- beta2 v + (1 - beta2) g^2``, one step further.

    ``1 - beta`` is taken in float64: the bias correction knows the exact beta, and near 1 a rounded one differs.
    """
    state.step_T.add_(1)
    state.m_TP.mul_(as_column(beta1_T, grad_TP)).addcmul_(grad_TP, as_column(1 - beta1_T, grad_TP))
    state.v_TP.mul_(as_column(beta2_T, grad_TP)).add_(grad_TP.square().mul_(as_column(1 - beta2_T, grad_TP)))


def largest_second_moment_(state: MaxMomentState | MomentState) -> Tensor:
    """The second moment that divides: the largest so far where the state keeps it (brought up to date), else v."""
    if isinstance(state, MaxMomentState):
        return torch.maximum(state.v_max_TP, state.v_TP, out=state.v_max_TP)
    return state.v_TP


def decay_weights_(theta_TP: Tensor, grad_TP: Tensor, lr: Tensor, weight_decay: Tensor, *, decoupled: bool) -> None:
    """Weight decay: ``theta <- theta (1 - lr weight_decay)`` if decoupled, else ``g <- g + weight_decay theta``."""
    if decoupled:
        theta_TP.mul_(1 - lr * weight_decay)
    else:
        grad_TP.addcmul_(theta_TP, weight_decay)


def bias_corrections(hyperparameters: Hyperparameters, step_T: Tensor) -> tuple[Tensor, Tensor]:
    """``1 - beta1^t`` and ``1 - beta2^t`` of each row, in float64."""
    beta1, beta2 = (1 - decay_power(hyperparameters[name], step_T) for name in ("beta1", "beta2"))
    return beta1, beta2


def _update_(
    theta_TP: Tensor, grad_TP: Tensor, state: Any, hyperparameters: Hyperparameters, *, decoupled: bool
) -> None:
    """``theta <- theta - lr m_hat / (sqrt(v_hat) + eps)`` (Kingma and Ba, Algorithm 1; Reddi et al., Algorithm 2)."""
    lr, eps, weight_decay = (as_column(hyperparameters[name], theta_TP) for name in ("lr", "eps", "weight_decay"))
    decay_weights_(theta_TP, grad_TP, lr, weight_decay, decoupled=decoupled)
    update_moments_(grad_TP, state, hyperparameters["beta1"], hyperparameters["beta2"])
    correction1_T, correction2_T = bias_corrections(hyperparameters, state.step_T)
    second = largest_second_moment_(state)
    denominator = second.sqrt().div_(as_column(correction2_T.sqrt(), theta_TP)).add_(eps)
    step_size = as_column(hyperparameters["lr"] / correction1_T, theta_TP)
    theta_TP.sub_(state.m_TP.mul(step_size).div_(denominator))


def adam_hyperparameters(source: str, lr: float = 1e-3, weight_decay: float = 0.0) -> tuple[Hyperparameter, ...]:
    """The hyperparameters that all relatives of Adam have, in the order in which the kernels take them."""
    return (
        Hyperparameter("lr", lr, source),
        Hyperparameter("beta1", 0.9, source, supremum=1.0),
        Hyperparameter("beta2", 0.999, source, supremum=1.0),
        Hyperparameter("eps", 1e-8, source),
        Hyperparameter("weight_decay", weight_decay, source),
    )


def _build(name: str, *, weight_decay: float = 0.0, decoupled: bool = False, amsgrad: bool = False) -> UpdateRule:
    return UpdateRule(
        name,
        adam_hyperparameters("torch.optim", weight_decay=weight_decay),
        init_max_moments if amsgrad else init_moments,
        partial(_update_, decoupled=decoupled),
        Kernel("adam", ("m_TP", "v_TP", "v_max_TP")[: 2 + amsgrad], option=decoupled + 2 * amsgrad),
    )


ADAM = register_rule(lambda: _build("adam"))
ADAMW = register_rule(lambda: _build("adamw", weight_decay=1e-2, decoupled=True))
AMSGRAD = register_rule(lambda: _build("amsgrad", amsgrad=True))
