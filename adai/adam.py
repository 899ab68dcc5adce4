"""Adam (Kingma and Ba, ICLR 2015) and AdamW (Loshchilov and Hutter, ICLR 2019), as in torch.optim."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from adai.rules import (
    Hyperparameter,
    MomentState,
    UpdateRule,
    as_column,
    bias_correction,
    init_moments,
    register_rule,
)

_TORCH = "torch.optim"


def update_moments_(grad_TP: Tensor, state: MomentState, beta1: Tensor, beta2: Tensor) -> None:
    """``m <- beta1 m + (1 - beta1) g`` and ``v <- beta2 v + (1 - beta2) g^2``, one step further."""
    state.step_T.add_(1)
    state.m_TP.mul_(beta1).addcmul_(grad_TP, 1 - beta1)
    state.v_TP.mul_(beta2).add_(grad_TP.square().mul_(1 - beta2))


def decay_weights_(theta_TP: Tensor, grad_TP: Tensor, lr: Tensor, weight_decay: Tensor, *, decoupled: bool) -> None:
    """Weight decay: ``theta <- theta (1 - lr weight_decay)`` if decoupled, else ``g <- g + weight_decay theta``."""
    if decoupled:
        theta_TP.mul_(1 - lr * weight_decay)
    else:
        grad_TP.addcmul_(theta_TP, weight_decay)


def _update_(
    theta_TP: Tensor,
    grad_TP: Tensor,
    state: MomentState,
    hyperparameters: Mapping[str, Tensor],
    *,
    decoupled: bool,
) -> None:
    """``theta <- theta - lr m_hat / (sqrt(v_hat) + eps)`` (Kingma and Ba, Algorithm 1)."""
    lr, beta1, beta2, eps, weight_decay = (
        as_column(hyperparameters[name], theta_TP) for name in ("lr", "beta1", "beta2", "eps", "weight_decay")
    )
    decay_weights_(theta_TP, grad_TP, lr, weight_decay, decoupled=decoupled)
    update_moments_(grad_TP, state, beta1, beta2)
    correction1 = bias_correction(hyperparameters["beta1"], state.step_T)
    correction2 = bias_correction(hyperparameters["beta2"], state.step_T)
    denominator = state.v_TP.sqrt().div_(as_column(correction2.sqrt(), theta_TP)).add_(eps)
    step_size = as_column(hyperparameters["lr"] / correction1, theta_TP)
    theta_TP.sub_(state.m_TP.mul(step_size).div_(denominator))


def _hyperparameters(weight_decay: float) -> tuple[Hyperparameter, ...]:
    return (
        Hyperparameter("lr", 1e-3, _TORCH),
        Hyperparameter("beta1", 0.9, _TORCH, supremum=1.0),
        Hyperparameter("beta2", 0.999, _TORCH, supremum=1.0),
        Hyperparameter("eps", 1e-8, _TORCH),
        Hyperparameter("weight_decay", weight_decay, _TORCH),
    )


ADAM = register_rule(
    UpdateRule("adam", _hyperparameters(weight_decay=0.0), init_moments, partial(_update_, decoupled=False))
)
ADAMW = register_rule(
    UpdateRule("adamw", _hyperparameters(weight_decay=1e-2), init_moments, partial(_update_, decoupled=True))
)
