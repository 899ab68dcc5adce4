"""Adam (Kingma and Ba, ICLR 2015) and AdamW (Loshchilov and Hutter, ICLR 2019), as in torch.optim."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from adai.rules import (
    Hyperparameter,
    MomentState,
    UpdateRule,
    as_column,
    decay_power,
    init_moments,
    register_rule,
)

_TORCH = "torch.optim"


def update_moments_(grad_TP: Tensor, state: MomentState, beta1_T: Tensor, beta2_T: Tensor) -> None:
    """``m <- beta1 m + (1 - beta1) g`` and ``v <- beta2 v + (1 - beta2) g^2``, one step further.

    ``1 - beta`` is taken in float64: the bias correction knows the exact beta, and near 1 a rounded one differs.
    """
    state.step_T.add_(1)
    state.m_TP.mul_(as_column(beta1_T, grad_TP)).addcmul_(grad_TP, as_column(1 - beta1_T, grad_TP))
    state.v_TP.mul_(as_column(beta2_T, grad_TP)).add_(grad_TP.square().mul_(as_column(1 - beta2_T, grad_TP)))


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
    lr, eps, weight_decay = (as_column(hyperparameters[name], theta_TP) for name in ("lr", "eps", "weight_decay"))
    decay_weights_(theta_TP, grad_TP, lr, weight_decay, decoupled=decoupled)
    update_moments_(grad_TP, state, hyperparameters["beta1"], hyperparameters["beta2"])
    correction1_T = 1 - decay_power(hyperparameters["beta1"], state.step_T)
    correction2_T = 1 - decay_power(hyperparameters["beta2"], state.step_T)
    denominator = state.v_TP.sqrt().div_(as_column(correction2_T.sqrt(), theta_TP)).add_(eps)
    step_size = as_column(hyperparameters["lr"] / correction1_T, theta_TP)
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
