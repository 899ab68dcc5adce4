"""Adai, adaptive inertia (Xie, Wang, Zhang, Sato, Sugiyama; ICML 2022, PMLR 162:24430-24459), over rows.

Symbols as in the paper: ``v`` second moment, ``v_bar`` its mean over the model, ``mu`` the elementwise inertia
(beta1 in the authors' code), ``m`` the momentum, ``mu_prod`` the running product of ``mu``.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from adai.adam import decay_weights_
from adai.rules import Hyperparameter, UpdateRule, as_column, register_rule

_AUTHORS = "the authors' code (zeke-xie/adaptive-inertia-adai)"


class InertiaState(NamedTuple):
    """Momentum, second moment and the product of inertias, one row a run."""

    m_TP: Tensor
    v_TP: Tensor
    mu_prod_TP: Tensor


def accumulate_second_moment_(v: Tensor, grad: Tensor, beta2: Tensor | float) -> None:
    """``v <- beta2 v + (1 - beta2) g^2``."""
    v.mul_(beta2).add_(grad.square().mul_(1 - beta2))


def inertia_step_(
    theta: Tensor,
    grad: Tensor,
    relative_v: Tensor,
    m: Tensor,
    mu_prod: Tensor,
    *,
    lr: Tensor | float,
    beta0: Tensor | float,
    inertia_bound: Tensor,
) -> None:
    """The elementwise half of a step, in place: inertia, momentum, bias correction, movement.

    ::

        mu      <- clip(1 - beta0 relative_v, 0, inertia_bound)      inertia_bound = 1 - eps
        mu_prod <- mu_prod mu
        m       <- mu m + (1 - mu) g
        theta   <- theta - lr m / (1 - mu_prod)

    Args:
        theta: Parameters.
        grad: Gradients, of the shape of ``theta``, as are the next three.
        relative_v: ``v_hat / v_bar``.
        m: Momentum.
        mu_prod: Product of the inertias so far.
        lr: Learning rate; a number or broadcastable, as the next two.
        beta0: Inertia sensitivity.
        inertia_bound: Upper clip of ``mu``.
    """
    mu = torch.minimum((1 - relative_v * beta0).clamp_(min=0), inertia_bound)
    mu_prod.mul_(mu)
    m.mul_(mu).add_((1 - mu).mul_(grad))
    correction = 1 - mu_prod
    # With eps = 0 an element that never saw a gradient keeps mu = 1 and m = 0: it does not move (0, not 0/0).
    correction.masked_fill_(correction == 0, 1)
    theta.sub_(m.div(correction).mul_(lr))


def relative_second_moment(v: Tensor, v_bar: Tensor) -> Tensor:
    """``v / v_bar``, and 0 where all gradients were zero (v_bar = 0), where the authors' code gives NaN.

    v_bar is never clamped from below: that would break the rule's invariance to the gradients' scale.
    """
    return v / torch.where(v_bar == 0, 1, v_bar)


def _init(theta_TP: Tensor) -> InertiaState:
    return InertiaState(torch.zeros_like(theta_TP), torch.zeros_like(theta_TP), torch.ones_like(theta_TP))


def _update_(
    theta_TP: Tensor,
    grad_TP: Tensor,
    state: InertiaState,
    hyperparameters: Mapping[str, Tensor],
    *,
    decoupled: bool,
) -> None:
    """One step of Adai for each row (Xie et al. 2022, Algorithm 2).

    All elements of a row have taken the same number of steps, so the bias correction of v cancels in
    ``v_hat / v_bar = v / mean(v)``.
    """
    lr, beta0, beta2, weight_decay = (
        as_column(hyperparameters[name], theta_TP) for name in ("lr", "beta0", "beta2", "weight_decay")
    )
    decay_weights_(theta_TP, grad_TP, lr, weight_decay, decoupled=decoupled)
    accumulate_second_moment_(state.v_TP, grad_TP, beta2)
    relative_v = relative_second_moment(state.v_TP, state.v_TP.mean(dim=1, keepdim=True))
    inertia_step_(
        theta_TP,
        grad_TP,
        relative_v,
        state.m_TP,
        state.mu_prod_TP,
        lr=lr,
        beta0=beta0,
        inertia_bound=as_column(1 - hyperparameters["eps"], theta_TP),
    )


_HYPERPARAMETERS = (
    Hyperparameter("lr", 1.0, "the authors' CIFAR-10 notebook; their class has no default"),
    Hyperparameter("beta0", 0.1, _AUTHORS),
    Hyperparameter("beta2", 0.99, _AUTHORS, supremum=1.0),
    Hyperparameter("eps", 1e-3, _AUTHORS, supremum=1.0),
    Hyperparameter("weight_decay", 0.0, _AUTHORS),
)

ADAI = register_rule(UpdateRule("adai", _HYPERPARAMETERS, _init, partial(_update_, decoupled=False)))
ADAIW = register_rule(UpdateRule("adaiw", _HYPERPARAMETERS, _init, partial(_update_, decoupled=True)))
