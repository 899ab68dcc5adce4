"""RAdam (Liu et al., ICLR 2020), as ``torch.optim.RAdam``: coupled weight decay, momentum steps until rectified."""

from collections.abc import Mapping

import torch
from torch import Tensor

from adai.adam import decay_weights_, update_moments_
from adai.rules import (
    Hyperparameter,
    MomentState,
    UpdateRule,
    as_column,
    decay_power,
    init_moments,
    register_rule,
)

#: torch rectifies when rho_t exceeds this; the paper says 4, the authors' code ``>= 5``.
RECTIFICATION_THRESHOLD = 5.0


def _rectification(beta2_T: Tensor, power_T: Tensor, step_T: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each row is rectified, and its factor r_t (Liu et al., equation 5 and Algorithm 2)."""
    rho_inf = 2 / (1 - beta2_T) - 1
    rho = rho_inf - 2 * step_T * power_T / (1 - power_T)
    rectified = rho > RECTIFICATION_THRESHOLD
    squared = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    # Rows that are not rectified may have a negative radicand; their factor is not used.
    return rectified, torch.where(rectified, squared, 1.0).sqrt()


def _update_(theta_TP: Tensor, grad_TP: Tensor, state: MomentState, hyperparameters: Mapping[str, Tensor]) -> None:
    """Rectified: ``lr r m_hat / (sqrt(v_hat) + eps')``; before: ``lr m_hat``. torch adds eps to the plain sqrt(v)."""
    lr, eps, weight_decay = (as_column(hyperparameters[name], theta_TP) for name in ("lr", "eps", "weight_decay"))
    decay_weights_(theta_TP, grad_TP, lr, weight_decay, decoupled=False)
    update_moments_(grad_TP, state, hyperparameters["beta1"], hyperparameters["beta2"])
    power1_T, power2_T = (decay_power(hyperparameters[name], state.step_T) for name in ("beta1", "beta2"))
    rectified, factor = _rectification(hyperparameters["beta2"], power2_T, state.step_T)
    adaptive = as_column(factor * (1 - power2_T).sqrt(), theta_TP) / state.v_TP.sqrt().add_(eps)
    scale = torch.where(rectified.unsqueeze(1), adaptive, 1.0)
    step_size = as_column(hyperparameters["lr"] / (1 - power1_T), theta_TP)
    theta_TP.sub_(state.m_TP.mul(step_size).mul_(scale))


RADAM = register_rule(
    UpdateRule(
        name="radam",
        hyperparameters=(
            Hyperparameter("lr", 1e-3, "torch.optim.RAdam"),
            Hyperparameter("beta1", 0.9, "torch.optim.RAdam", supremum=1.0),
            Hyperparameter("beta2", 0.999, "torch.optim.RAdam", supremum=1.0),
            Hyperparameter("eps", 1e-8, "torch.optim.RAdam"),
            Hyperparameter("weight_decay", 0.0, "torch.optim.RAdam"),
        ),
        init=init_moments,
        update_=_update_,
    )
)
