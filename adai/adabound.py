"""AdaBound and AMSBound (Luo, Xiong, Liu, Sun, ICLR 2019; arXiv 1902.09843), as the authors' code, over rows."""

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
from adai.optimizer import Group, RuleOptimizer
from adai.rules import Hyperparameter, Hyperparameters, UpdateRule, as_column, init_moments, register_rule

_AUTHORS = "the authors' code (Luolc/AdaBound)"


def _bounds(final_lr_T: Tensor, gamma_T: Tensor, step_T: Tensor) -> tuple[Tensor, Tensor]:
    """Between what the learning rate of every element lies after so many steps; with gamma 0, where they never close.

    Returns:
        ``final_lr (1 - 1 / (gamma t + 1))`` and ``final_lr (1 + 1 / (gamma t))``, in float64.
    """
    time_T = gamma_T * step_T
    upper_T = torch.where(time_T > 0, final_lr_T * (1 + 1 / time_T), torch.inf)
    return final_lr_T * (1 - 1 / (time_T + 1)), upper_T


def _update_(theta_TP: Tensor, grad_TP: Tensor, state: Any, hyperparameters: Hyperparameters) -> None:
    """``theta <- theta - clip(lr sqrt(1 - beta2^t) / (1 - beta1^t) / (sqrt(v) + eps), lower, upper) m``.

    That is Luo et al., Algorithm 2 (AMSBound: with the largest v so far), as the authors' code has it: with Adam's bias
    corrections, and without the paper's factor ``1 / sqrt(t)``. There ``final_lr`` follows a schedule of ``lr``. Here
    ``final_lr`` is used as given, also with an ``lr`` of 0: whoever schedules ``lr`` multiplies both.
    """
    lr, eps, weight_decay = (as_column(hyperparameters[name], theta_TP) for name in ("lr", "eps", "weight_decay"))
    decay_weights_(theta_TP, grad_TP, lr, weight_decay, decoupled=False)
    update_moments_(grad_TP, state, hyperparameters["beta1"], hyperparameters["beta2"])
    correction1_T, correction2_T = bias_corrections(hyperparameters, state.step_T)
    step_size = as_column(hyperparameters["lr"] * correction2_T.sqrt() / correction1_T, theta_TP)
    rate = step_size / largest_second_moment_(state).sqrt().add_(eps)
    lower_T, upper_T = _bounds(hyperparameters["final_lr"], hyperparameters["gamma"], state.step_T)
    rate.clamp_(as_column(lower_T, theta_TP), as_column(upper_T, theta_TP))
    theta_TP.sub_(rate.mul_(state.m_TP))


def _build(*, amsbound: bool = False) -> UpdateRule:
    return UpdateRule(
        "adabound",
        (
            *adam_hyperparameters(_AUTHORS),
            Hyperparameter("final_lr", 0.1, _AUTHORS),
            Hyperparameter("gamma", 1e-3, _AUTHORS, supremum=1.0),
        ),
        init_max_moments if amsbound else init_moments,
        _update_,
        Kernel("adabound", ("m_TP", "v_TP", "v_max_TP")[: 2 + amsbound], option=int(amsbound)),
        options={"amsbound": amsbound},
    )


ADABOUND = register_rule(_build)


class AdaBound(RuleOptimizer):
    """AdaBound, or with ``amsbound`` AMSBound (Luo et al., ICLR 2019), as the authors' code.

    ::

        m     = beta1 m + (1 - beta1) g
        v     = beta2 v + (1 - beta2) g^2
        rate  = clip(lr sqrt(1 - beta2^t) / (1 - beta1^t) / (sqrt(v) + eps), lower, upper)
        theta = theta - rate m

    with ``lower = final_lr (1 - 1 / (gamma t + 1))`` and ``upper = final_lr (1 + 1 / (gamma t))``.

    As there, ``final_lr`` is scaled by ``lr / base_lr``, where ``base_lr`` is the ``lr`` that a group was added with,
    so that schedulers move it too. ``base_lr`` is a key of the group, and so is saved with it. Unlike there, a
    ``base_lr`` of 0 leaves ``final_lr`` as it is, and an ``lr`` of 0 moves nothing.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, 0 or more.
        betas: ``(beta1, beta2)``: decays of the moments, in [0, 1).
        final_lr: What the learning rate of every element tends to, 0 or more.
        gamma: How fast it does, in [0, 1); with 0 it never does.
        eps: Added to the denominator, 0 or more.
        weight_decay: Weight decay, added to the gradient; 0 or more.
        amsbound: Divide by the largest v so far.
        maximize: Ascend instead of descend.
        fused: Take the step in compiled passes over memory: True insists, False refuses, None does so where it can.

    Raises:
        TypeError: A hyperparameter is not a number.
        ValueError: A hyperparameter is out of its range.
    """

    rule_name = "adabound"
    option_names = ("amsbound",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        final_lr: float = 0.1,
        gamma: float = 1e-3,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsbound: bool = False,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "final_lr": final_lr,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsbound": amsbound,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, and note its ``lr`` as that which schedulers start from.

        Raises:
            TypeError: A hyperparameter is not a number.
            ValueError: A hyperparameter is out of its range; the optimizer is unchanged.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group.setdefault("base_lr", float(group["lr"]))

    def values_of(self, group: Group) -> dict[str, Any]:
        """The hyperparameters of a group, with ``final_lr`` moved as far as ``lr`` has been."""
        values = super().values_of(group)
        lr = values["lr"]
        base_lr = group.get("base_lr", lr)  # the defaults, and checkpoints of other classes, have none
        if not lr:
            values["final_lr"] = 0.0
        elif base_lr:
            values["final_lr"] = values["final_lr"] * lr / base_lr
        return values
