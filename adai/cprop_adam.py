"""Adam scaled by the conformity of past gradients (Preechakul, Kijsirikul: CProp, 2019), over rows and as a class."""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from adai.adam import adam_hyperparameters, bias_corrections, decay_weights_, update_moments_
from adai.cprop import AUTHORS, CDFS, CPROP_HYPERPARAMETERS, Cdf, Statistics, init_statistics, scale_kernel, scale_rows_
from adai.optimizer import RuleOptimizer
from adai.rules import Hyperparameters, UpdateRule, as_column, check_choice, get_rule, register_rule


class CPropAdamState(NamedTuple):
    """Adam's moments and the gradients' statistics.

    The authors share a moment with the statistics where the decays are equal; the variance here is kept otherwise.
    """

    step_T: Tensor
    mean_TP: Tensor
    variance_TP: Tensor
    m_TP: Tensor
    v_TP: Tensor


class CPropAmsgradState(NamedTuple):
    """A :class:`CPropAdamState` that also keeps the largest second moment so far."""

    step_T: Tensor
    mean_TP: Tensor
    variance_TP: Tensor
    m_TP: Tensor
    v_TP: Tensor
    v_max_TP: Tensor


def _init(theta_TP: Tensor, sizes: tuple[int, ...], *, amsgrad: bool) -> Any:  # noqa: ARG001 - every rule is told
    kind, moments = (CPropAmsgradState, 3) if amsgrad else (CPropAdamState, 2)
    return kind._make((*init_statistics(theta_TP), *(torch.zeros_like(theta_TP) for _ in range(moments))))


def _update_(theta_TP: Tensor, grad_TP: Tensor, state: Any, hyperparameters: Hyperparameters, *, cdf: Cdf) -> None:
    """``theta <- theta - scale lr m_hat / (sqrt(v_hat) + eps)``; the statistics see the gradient with weight decay."""
    lr, eps, weight_decay = (as_column(hyperparameters[name], theta_TP) for name in ("lr", "eps", "weight_decay"))
    decay_weights_(theta_TP, grad_TP, lr, weight_decay, decoupled=False)
    update_moments_(grad_TP, state, hyperparameters["beta1"], hyperparameters["beta2"])
    statistics = Statistics(state.step_T, state.mean_TP, state.variance_TP)
    scale_TP = scale_rows_(grad_TP, statistics, state.step_T, hyperparameters, cdf)
    correction1_T, correction2_T = bias_corrections(hyperparameters, state.step_T)
    second = state.v_TP
    if isinstance(state, CPropAmsgradState):
        second = torch.maximum(state.v_max_TP, state.v_TP, out=state.v_max_TP)
    denominator = second.sqrt().div_(as_column(correction2_T.sqrt(), theta_TP)).add_(eps)
    step_size = as_column(hyperparameters["lr"] / correction1_T, theta_TP)
    theta_TP.sub_(scale_TP.mul_(state.m_TP.mul(step_size).div_(denominator)))


def _build(*, cdf: Cdf = "bft", amsgrad: bool = False) -> UpdateRule:
    check_choice("cprop_adam", "cdf", cdf, CDFS)
    return UpdateRule(
        "cprop_adam",
        (*adam_hyperparameters(AUTHORS), *CPROP_HYPERPARAMETERS),
        partial(_init, amsgrad=amsgrad),
        partial(_update_, cdf=cdf),
        scale_kernel(
            "cprop_adam", ("mean_TP", "variance_TP", "m_TP", "v_TP", "v_max_TP")[: 4 + amsgrad], cdf, 2 * amsgrad
        ),
        options={"cdf": cdf, "amsgrad": amsgrad},
    )


CPROP_ADAM = register_rule(_build)


class CPropAdam(RuleOptimizer):
    """Adam whose steps are scaled, element by element, by how well past gradients agree (CProp, 2019).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, 0 or more.
        cprop_beta: Decay of the statistics, in [0, 1). The authors advise 0.999 to 0.9999, more for longer training.
        cprop_c: Factor of the scale, which is at most 1; 0 or more.
        cprop_eps: Numerical guard of the scale, 0 or more.
        cprop_cdf: ``"normal"`` is exact; ``"bft"``, ``"bfo"`` and ``"logistic"`` approximate it.
        betas: ``(beta1, beta2)``: decays of Adam's moments, in [0, 1).
        eps: Added to the root of Adam's second moment; 0 or more.
        weight_decay: Added to the gradient before the statistics see it; 0 or more.
        amsgrad: Divide by the largest second moment so far.
        maximize: Ascend instead of descend.
        fused: Take the step in compiled passes over memory: True insists, False refuses, None does so where it can
            (not for ``"normal"``).

    Raises:
        ValueError: An argument is out of its range.
    """

    rule_name = "cprop_adam"
    option_names = ("cprop_cdf", "amsgrad")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        cprop_beta: float = 0.999,
        cprop_c: float = 1.0,
        cprop_eps: float = 1e-8,
        cprop_cdf: Cdf = "bft",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
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
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _find_rule(self, group: dict[str, Any]) -> UpdateRule:
        check_choice(type(self).__name__, "cprop_cdf", group["cprop_cdf"], CDFS)
        return get_rule(self.rule_name, cdf=group["cprop_cdf"], amsgrad=group["amsgrad"])
