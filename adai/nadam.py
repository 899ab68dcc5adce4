"""NAdam (Dozat: Incorporating Nesterov momentum into Adam, ICLR 2016 workshop), as ``torch.optim.NAdam``, over rows."""

from typing import NamedTuple

import torch
from torch import Tensor

from adai.adam import adam_hyperparameters, decay_weights_, update_moments_
from adai.compiled import Kernel
from adai.rules import Hyperparameter, Hyperparameters, UpdateRule, as_column, decay_power, register_rule, zero_steps

_TORCH = "torch.optim.NAdam"
#: How fast mu rises from beta1 / 2 to beta1: by ``1 - _WARMUP ** (t momentum_decay) / 2`` (Dozat; fixed in torch too).
_WARMUP = 0.96


class NadamState(NamedTuple):
    """Moments, and the product of the momenta so far."""

    step_T: Tensor
    m_TP: Tensor
    v_TP: Tensor
    mu_product_T: Tensor  # float64, whatever the parameters are


def _init(theta_TP: Tensor, sizes: tuple[int, ...]) -> NadamState:  # noqa: ARG001 - every rule is told
    mu_product_T = torch.ones(theta_TP.shape[0], dtype=torch.float64, device=theta_TP.device)
    return NadamState(zero_steps(theta_TP), torch.zeros_like(theta_TP), torch.zeros_like(theta_TP), mu_product_T)


def _momentum(hyperparameters: Hyperparameters, step_T: Tensor) -> Tensor:
    """``mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)`` of each row, in float64."""
    warmup_T = torch.full_like(hyperparameters["beta1"], _WARMUP)
    return hyperparameters["beta1"] * (1 - 0.5 * decay_power(warmup_T, step_T * hyperparameters["momentum_decay"]))


def _update_(theta_TP: Tensor, grad_TP: Tensor, state: NadamState, hyperparameters: Hyperparameters) -> None:
    """One step, with ``Pi_t = mu_1 ... mu_t``.

    ::

        theta <- theta - lr (mu_{t+1} m / (1 - Pi_{t+1}) + (1 - mu_t) g / (1 - Pi_t)) / (sqrt(v / (1 - beta2^t)) + eps)
    """
    lr_T = hyperparameters["lr"]
    eps, weight_decay = (as_column(hyperparameters[name], theta_TP) for name in ("eps", "weight_decay"))
    decay_weights_(theta_TP, grad_TP, as_column(lr_T, theta_TP), weight_decay, decoupled=False)
    update_moments_(grad_TP, state, hyperparameters["beta1"], hyperparameters["beta2"])
    mu_T, next_mu_T = (_momentum(hyperparameters, step_T) for step_T in (state.step_T, state.step_T + 1))
    state.mu_product_T.mul_(mu_T)
    correction2_T = 1 - decay_power(hyperparameters["beta2"], state.step_T)
    denominator = state.v_TP.sqrt().div_(as_column(correction2_T.sqrt(), theta_TP)).add_(eps)
    m_step = as_column(lr_T * next_mu_T / (1 - state.mu_product_T * next_mu_T), theta_TP)
    grad_step = as_column(lr_T * (1 - mu_T) / (1 - state.mu_product_T), theta_TP)
    theta_TP.sub_(state.m_TP.mul(m_step).add_(grad_TP.mul(grad_step)).div_(denominator))


NADAM = register_rule(
    lambda: UpdateRule(
        "nadam",
        (*adam_hyperparameters(_TORCH, lr=2e-3), Hyperparameter("momentum_decay", 4e-3, _TORCH)),
        _init,
        _update_,
        Kernel("nadam", ("m_TP", "v_TP"), fields={"memory": "mu_product_T"}),
    )
)
