"""Adai, adaptive inertia (Xie, Wang, Zhang, Sato, Sugiyama; ICML 2022, PMLR 162:24430-24459), over rows.

Symbols as in the paper: ``v`` second moment, ``v_bar`` its mean over the model, ``mu`` the elementwise inertia
(beta1 in the authors' code), ``m`` the momentum, ``mu_prod`` the running product of ``mu``.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from adai.adam import decay_weights_
from adai.compiled import CHUNK, Kernel
from adai.rules import Hyperparameter, Hyperparameters, UpdateRule, as_column, register_rule

_AUTHORS = "the authors' code (zeke-xie/adaptive-inertia-adai)"


class InertiaState(NamedTuple):
    """Momentum, second moment and the product of inertias, one row a run."""

    m_TP: Tensor
    v_TP: Tensor
    mu_prod_TP: Tensor
    retired_TC: Tensor  # uint8, for the kernel: parts of mu_prod so small that 1 - mu_prod is 1 from here on


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
    inertia_bound: Tensor | float,
    dampening: Tensor | float | None = None,
) -> None:
    """The elementwise half of a step, in place: inertia, momentum, bias correction, movement.

    ::

        mu      <- clip(1 - beta0 relative_v^(1 / (3 - 2 dampening)), 0, inertia_bound)      inertia_bound = 1 - eps
        mu_prod <- mu_prod mu
        m       <- mu m + (1 - mu)^dampening g
        theta   <- theta - lr beta0^(1 - dampening) m / (1 - mu_prod)

    Args:
        theta: Parameters.
        grad: Gradients, of the shape of ``theta``, as are the next three.
        relative_v: ``v_hat / v_bar``.
        m: Momentum.
        mu_prod: Product of the inertias so far.
        lr: Learning rate; a number or broadcastable, as the next three.
        beta0: Inertia sensitivity.
        inertia_bound: Upper clip of ``mu``.
        dampening: AdaiV2's; None is 1, which is Adai.
    """
    if dampening is not None:
        # With 1 both powers are exact, so that AdaiV2 is AdaiW to the bit.
        relative_v = relative_v ** (1 / (3 - 2 * dampening))
        lr = lr * beta0 ** (1 - dampening)
    mu = (1 - relative_v * beta0).clamp_(min=0)
    mu = torch.minimum(mu, inertia_bound) if isinstance(inertia_bound, Tensor) else mu.clamp_(max=inertia_bound)
    mu_prod.mul_(mu)
    weight = 1 - mu if dampening is None else (1 - mu) ** dampening
    m.mul_(mu).add_(weight.mul_(grad))
    correction = 1 - mu_prod
    # With eps = 0 an element that never saw a gradient keeps mu = 1 and m = 0: it does not move (0, not 0/0).
    correction.masked_fill_(correction == 0, 1)
    theta.sub_(m.div(correction).mul_(lr))


def relative_second_moment(v: Tensor, v_bar: Tensor) -> Tensor:
    """``v / v_bar``, and 0 where all gradients were zero (v_bar = 0), where the authors' code gives NaN.

    v_bar is never clamped from below: that would break the rule's invariance to the gradients' scale.
    """
    return v / torch.where(v_bar == 0, 1, v_bar)


def _init(theta_TP: Tensor, sizes: tuple[int, ...]) -> InertiaState:  # noqa: ARG001 - every rule is told
    rows, size = theta_TP.shape
    retired_TC = torch.zeros(rows, -(-size // CHUNK), dtype=torch.uint8, device=theta_TP.device)
    return InertiaState(torch.zeros_like(theta_TP), torch.zeros_like(theta_TP), torch.ones_like(theta_TP), retired_TC)


def _update_(
    theta_TP: Tensor, grad_TP: Tensor, state: InertiaState, hyperparameters: Hyperparameters, *, decoupled: bool
) -> None:
    """One step of Adai for each row (Xie et al. 2022, Algorithm 2).

    All elements of a row have taken the same number of steps, so the bias correction of v cancels in
    ``v_hat / v_bar = v / mean(v)``.
    """
    columns = {name: as_column(values_T, theta_TP) for name, values_T in hyperparameters.items()}
    decay_weights_(theta_TP, grad_TP, columns["lr"], columns["weight_decay"], decoupled=decoupled)
    accumulate_second_moment_(state.v_TP, grad_TP, columns["beta2"])
    # In float64, where the sum of large squares stays finite, as in the kernel.
    v_bar = state.v_TP.mean(dim=1, keepdim=True, dtype=torch.float64).to(state.v_TP)
    relative_v = relative_second_moment(state.v_TP, v_bar)
    inertia_step_(
        theta_TP,
        grad_TP,
        relative_v,
        state.m_TP,
        state.mu_prod_TP,
        lr=columns["lr"],
        beta0=columns["beta0"],
        inertia_bound=as_column(1 - hyperparameters["eps"], theta_TP),
        dampening=columns.get("dampening"),
    )


_HYPERPARAMETERS = (
    Hyperparameter("lr", 1.0, "the authors' CIFAR-10 notebook; their class has no default"),
    Hyperparameter("beta0", 0.1, _AUTHORS),
    Hyperparameter("beta2", 0.99, _AUTHORS, supremum=1.0),
    Hyperparameter("eps", 1e-3, _AUTHORS),
    Hyperparameter("weight_decay", 0.0, _AUTHORS),
)
_DAMPENING = Hyperparameter("dampening", 1.0, _AUTHORS, maximum=1.0)
#: The kernel also takes dampening and, for tensors of several groups, whether each decouples.
_KERNEL_PLACES = 7


def _build(name: str, *, decoupled: bool, dampened: bool = False) -> UpdateRule:
    return UpdateRule(
        name,
        (*_HYPERPARAMETERS, _DAMPENING) if dampened else _HYPERPARAMETERS,
        _init,
        partial(_update_, decoupled=decoupled),
        Kernel(
            "inertia_rows",
            ("m_TP", "v_TP", "mu_prod_TP"),
            option=int(decoupled),
            steps=False,
            fields={"retired": "retired_TC"},
            hyperparameters=_KERNEL_PLACES,
        ),
        options={"decoupled": decoupled} if dampened else {},
    )


def _build_v2(*, decoupled: bool = True) -> UpdateRule:
    return _build("adaiv2", decoupled=decoupled, dampened=True)


ADAI = register_rule(lambda: _build("adai", decoupled=False))
ADAIW = register_rule(lambda: _build("adaiw", decoupled=True))
ADAIV2 = register_rule(_build_v2)
