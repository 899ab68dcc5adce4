"""RAdam (Liu et al., ICLR 2020), as ``torch.optim.RAdam`` or, by options, as the authors' code, over rows."""

from functools import partial

import torch
from torch import Tensor

from adai.adam import adam_hyperparameters, bias_corrections, update_moments_
from adai.compiled import Kernel
from adai.rules import Hyperparameters, MomentState, UpdateRule, as_column, init_moments, register_rule

#: torch rectifies when rho_t exceeds this; the paper says 4, the authors' code ``>= 5``.
RECTIFICATION_THRESHOLD = 5.0


def _rectification(beta2_T: Tensor, correction_T: Tensor, step_T: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each row is rectified, and its factor r_t (Liu et al., equation 5 and Algorithm 2)."""
    rho_inf = 2 / (1 - beta2_T) - 1
    rho = rho_inf - 2 * step_T * (1 - correction_T) / correction_T
    rectified = rho > RECTIFICATION_THRESHOLD
    squared = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    # Rows that are not rectified may have a negative radicand; their factor is not used.
    return rectified, torch.where(rectified, squared, 1.0).sqrt()


def _update_(
    theta_TP: Tensor,
    grad_TP: Tensor,
    state: MomentState,
    hyperparameters: Hyperparameters,
    *,
    degenerated_to_sgd: bool,
    decoupled: bool,
) -> None:
    """Rectified: ``lr r m_hat / (sqrt(v_hat) + eps')``; before: ``lr m_hat``, or nothing, not even decoupled decay.

    eps is added to the plain sqrt(v), as torch and the authors do.
    """
    lr_T, decay_T = hyperparameters["lr"], hyperparameters["weight_decay"]
    if not decoupled:
        grad_TP.addcmul_(theta_TP, as_column(decay_T, theta_TP))
    update_moments_(grad_TP, state, hyperparameters["beta1"], hyperparameters["beta2"])
    correction1_T, correction2_T = bias_corrections(hyperparameters, state.step_T)
    rectified, factor = _rectification(hyperparameters["beta2"], correction2_T, state.step_T)
    moves = rectified | degenerated_to_sgd
    if decoupled:
        theta_TP.mul_(as_column(torch.where(moves, 1 - lr_T * decay_T, 1.0), theta_TP))
    eps = as_column(hyperparameters["eps"], theta_TP)
    adaptive = as_column(factor * correction2_T.sqrt(), theta_TP) / state.v_TP.sqrt().add_(eps)
    scale = torch.where(rectified.unsqueeze(1), adaptive, 1.0)
    step_size = as_column(torch.where(moves, lr_T / correction1_T, 0.0), theta_TP)
    theta_TP.sub_(state.m_TP.mul(step_size).mul_(scale))


def _build(*, degenerated_to_sgd: bool = True, decoupled: bool = False) -> UpdateRule:
    return UpdateRule(
        "radam",
        adam_hyperparameters("torch.optim.RAdam"),
        init_moments,
        partial(_update_, degenerated_to_sgd=degenerated_to_sgd, decoupled=decoupled),
        Kernel("radam", ("m_TP", "v_TP"), option=int(decoupled) + 2 * (not degenerated_to_sgd)),
        options={"degenerated_to_sgd": degenerated_to_sgd, "decoupled": decoupled},
    )


RADAM = register_rule(_build)
