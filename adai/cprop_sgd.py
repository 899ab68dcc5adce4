"""SGD scaled by the conformity of past gradients (Preechakul, Kijsirikul: CProp, 2019), over rows and as a class."""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from adai.cprop import AUTHORS, CDFS, CPROP_HYPERPARAMETERS, Cdf, Statistics, init_statistics, scale_kernel, scale_rows_
from adai.optimizer import RuleOptimizer
from adai.rules import (
    Hyperparameter,
    Hyperparameters,
    UpdateRule,
    as_column,
    check_choice,
    get_rule,
    register_rule,
)


class CPropSgdState(NamedTuple):
    """The gradients' statistics, and the momentum buffer, which is not scaled."""

    step_T: Tensor
    mean_TP: Tensor
    variance_TP: Tensor
    buffer_TP: Tensor


def _init(theta_TP: Tensor, sizes: tuple[int, ...]) -> CPropSgdState:  # noqa: ARG001 - every rule is told
    return CPropSgdState(*init_statistics(theta_TP), torch.zeros_like(theta_TP))


def _update_(
    theta_TP: Tensor,
    grad_TP: Tensor,
    state: CPropSgdState,
    hyperparameters: Hyperparameters,
    *,
    cdf: Cdf,
    nesterov: bool,
) -> None:
    """``theta <- theta - lr scale d``, where d is what ``torch.optim.SGD`` moves along.

    The statistics see the gradient before weight decay is added (the authors' code). The buffer starts as the first d,
    whatever the dampening; without momentum there is no buffer, and so no dampening.
    """
    names = ("lr", "momentum", "weight_decay")
    lr, momentum, weight_decay = (as_column(hyperparameters[name], theta_TP) for name in names)
    state.step_T.add_(1)
    statistics = Statistics(state.step_T, state.mean_TP, state.variance_TP)
    scale_TP = scale_rows_(grad_TP, statistics, state.step_T, hyperparameters, cdf)
    grad_TP.addcmul_(theta_TP, weight_decay)
    undampened_T = (state.step_T == 1) | (hyperparameters["momentum"] == 0)
    weight_T = torch.where(undampened_T, 1.0, 1 - hyperparameters["dampening"])
    state.buffer_TP.mul_(momentum).addcmul_(grad_TP, as_column(weight_T, theta_TP))
    movement_TP = grad_TP.addcmul_(state.buffer_TP, momentum) if nesterov else state.buffer_TP
    theta_TP.sub_(scale_TP.mul_(movement_TP).mul_(lr))


_HYPERPARAMETERS = (
    Hyperparameter("lr", 0.1, "that of sgd; the authors' class has no default"),
    Hyperparameter("momentum", 0.0, AUTHORS, supremum=1.0),
    Hyperparameter("dampening", 0.0, AUTHORS, maximum=1.0),
    Hyperparameter("weight_decay", 0.0, AUTHORS),
    *CPROP_HYPERPARAMETERS,
)


def _build(*, cdf: Cdf = "bft", nesterov: bool = False) -> UpdateRule:
    check_choice("cprop_sgd", "cdf", cdf, CDFS)
    return UpdateRule(
        "cprop_sgd",
        _HYPERPARAMETERS,
        _init,
        partial(_update_, cdf=cdf, nesterov=nesterov),
        scale_kernel("cprop_sgd", ("mean_TP", "variance_TP", "buffer_TP"), cdf, int(nesterov)),
        options={"cdf": cdf, "nesterov": nesterov},
    )


CPROP_SGD = register_rule(_build)


class CPropSGD(RuleOptimizer):
    """SGD whose steps are scaled, element by element, by how well past gradients agree (CProp, 2019).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, 0 or more.
        cprop_beta: Decay of the statistics, in [0, 1). The authors advise 0.999 to 0.9999, more for longer training.
        cprop_c: Factor of the scale, which is at most 1; 0 or more.
        cprop_eps: Numerical guard, 0 or more.
        cprop_cdf: ``"normal"`` is exact; ``"bft"``, ``"bfo"`` and ``"logistic"`` approximate it.
        momentum: Decay of the momentum, in [0, 1).
        dampening: Of the gradient in the momentum, in [0, 1].
        weight_decay: Added to the gradient after the statistics have seen it; 0 or more.
        nesterov: Nesterov's momentum; needs momentum and no dampening.
        maximize: Ascend instead of descend.
        fused: Take the step in compiled passes over memory: True insists, False refuses, None does so where it can
            (not for ``"normal"``).

    Raises:
        ValueError: An argument is out of its range.
    """

    rule_name = "cprop_sgd"
    option_names = ("cprop_cdf", "nesterov")

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        cprop_beta: float = 0.999,
        cprop_c: float = 1.0,
        cprop_eps: float = 1e-8,
        cprop_cdf: Cdf = "bft",
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "cprop_beta": cprop_beta,
            "cprop_c": cprop_c,
            "cprop_eps": cprop_eps,
            "cprop_cdf": cprop_cdf,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _find_rule(self, group: dict[str, Any]) -> UpdateRule:
        check_choice(type(self).__name__, "cprop_cdf", group["cprop_cdf"], CDFS)
        return get_rule(self.rule_name, cdf=group["cprop_cdf"], nesterov=group["nesterov"])

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        momentum, dampening = float(group["momentum"]), float(group["dampening"])
        if group["nesterov"] and (momentum == 0 or dampening != 0):
            raise ValueError(
                f"{type(self).__name__}: nesterov needs a momentum above 0 and a dampening of 0, not {momentum:g} and "
                f"{dampening:g}"
            )
