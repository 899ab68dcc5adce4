"""Padam, partially adaptive momentum (Chen, Zhou, Tang, Yang, Cao, Gu, IJCAI 2020; arXiv 1806.06763), over rows."""

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from adai.adam import (
    adam_hyperparameters,
    bias_corrections,
    decay_weights_,
    init_max_moments,
    largest_second_moment_,
    update_moments_,
)
from adai.compiled import Kernel
from adai.optimizer import RuleOptimizer
from adai.rules import Hyperparameter, Hyperparameters, UpdateRule, as_column, init_moments, register_rule

_AUTHORS = "the authors' code (uclaml/Padam)"


def _power(base_TP: Tensor, exponent_T: Tensor) -> Tensor:
    """``base ** exponent`` for each row.

    Processors take powers of several elements at once and round those left over otherwise (see
    :func:`adai.rules.decay_power`): row by row, which these are does not depend on the other rows.
    """
    if base_TP.device.type != "cpu":
        return base_TP ** as_column(exponent_T, base_TP)
    return torch.stack([row**exponent for row, exponent in zip(base_TP, exponent_T.to(base_TP), strict=True)])


def _update_(theta_TP: Tensor, grad_TP: Tensor, state: Any, hyperparameters: Hyperparameters) -> None:
    """``theta <- theta - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)^(2 partial)``.

    That is Chen et al., Algorithm 1, as the authors' code has it: with bias corrections, and v the largest second
    moment so far unless ``amsgrad=False``. ``partial`` is the paper's p: 1/2 is Adam (AMSGrad), 0 is SGD with momentum.
    The code's default is 1/4; the paper recommends 1/8 for convolutional networks.
    """
    if len(theta_TP) == 0:
        return
    lr, eps, weight_decay = (as_column(hyperparameters[name], theta_TP) for name in ("lr", "eps", "weight_decay"))
    decay_weights_(theta_TP, grad_TP, lr, weight_decay, decoupled=False)
    update_moments_(grad_TP, state, hyperparameters["beta1"], hyperparameters["beta2"])
    correction1_T, correction2_T = bias_corrections(hyperparameters, state.step_T)
    step_size = as_column(hyperparameters["lr"] * correction2_T.sqrt() / correction1_T, theta_TP)
    root = largest_second_moment_(state).sqrt().add_(eps)
    theta_TP.sub_(state.m_TP.mul(step_size).div_(_power(root, 2 * hyperparameters["partial"])))


def _build(*, amsgrad: bool = True) -> UpdateRule:
    return UpdateRule(
        "padam",
        (*adam_hyperparameters(_AUTHORS, lr=0.1), Hyperparameter("partial", 0.25, _AUTHORS, maximum=0.5)),
        init_max_moments if amsgrad else init_moments,
        _update_,
        Kernel("padam", ("m_TP", "v_TP", "v_max_TP")[: 2 + amsgrad], option=int(amsgrad)),
        options={"amsgrad": amsgrad},
    )


PADAM = register_rule(_build)


class Padam(RuleOptimizer):
    """Padam, partially adaptive momentum (Chen et al., IJCAI 2020), as the authors' code.

    ::

        m     = beta1 m + (1 - beta1) g
        v     = beta2 v + (1 - beta2) g^2
        v_max = max(v_max, v)
        theta = theta - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v_max) + eps)^(2 partial)

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, 0 or more.
        betas: ``(beta1, beta2)``: decays of the moments, in [0, 1).
        eps: Added to the root of v, 0 or more.
        weight_decay: Weight decay, added to the gradient; 0 or more.
        amsgrad: Divide by the largest v so far, as the paper does, and not by v.
        partial: The paper's p, in [0, 1/2]: 1/2 is AMSGrad, 0 is SGD with momentum. The paper recommends 1/8 for
            convolutional networks.
        maximize: Ascend instead of descend.
        fused: Take the step in compiled passes over memory: True insists, False refuses, None does so where it can.

    Raises:
        TypeError: A hyperparameter is not a number.
        ValueError: A hyperparameter is out of its range.
    """

    rule_name = "padam"
    option_names = ("amsgrad",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-1,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = True,
        partial: float = 0.25,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "partial": partial,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)
