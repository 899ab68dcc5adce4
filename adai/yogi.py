"""Yogi (Zaheer, Reddi, Sachan, Kale, Kumar: Adaptive methods for nonconvex optimization, NeurIPS 2018), over rows."""

import math
from functools import partial

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from adai.adam import adam_hyperparameters, bias_corrections, decay_weights_
from adai.compiled import Kernel
from adai.optimizer import RuleOptimizer
from adai.rules import Hyperparameter, Hyperparameters, MomentState, UpdateRule, as_column, register_rule, zero_steps

#: The authors published no code of their own.
_SOURCE = "TensorFlow Addons and pytorch-optimizer"


def _init(theta_TP: Tensor, sizes: tuple[int, ...], *, initial_accumulator: float) -> MomentState:  # noqa: ARG001
    """Start v at ``initial_accumulator`` and m at 0: an element that never sees a gradient never moves.

    Some libraries (optax, pytorch-optimizer) fill m too, and so move every element downwards in the first steps.
    """
    v_TP = torch.full_like(theta_TP, initial_accumulator)
    return MomentState(zero_steps(theta_TP), torch.zeros_like(theta_TP), v_TP)


def _update_(theta_TP: Tensor, grad_TP: Tensor, state: MomentState, hyperparameters: Hyperparameters) -> None:
    """``v <- v - (1 - beta2) sign(v - g^2) g^2``, all else as Adam (Zaheer et al., Algorithm 2).

    The paper's algorithm has no bias corrections. This rule has Adam's, as optax and pytorch-optimizer; TensorFlow
    Addons has them too, but adds eps to the root of the uncorrected v.
    """
    lr, eps, weight_decay = (as_column(hyperparameters[name], theta_TP) for name in ("lr", "eps", "weight_decay"))
    beta1_T, beta2_T = hyperparameters["beta1"], hyperparameters["beta2"]
    decay_weights_(theta_TP, grad_TP, lr, weight_decay, decoupled=False)
    state.step_T.add_(1)
    state.m_TP.mul_(as_column(beta1_T, theta_TP)).addcmul_(grad_TP, as_column(1 - beta1_T, theta_TP))
    square = grad_TP.square()
    direction = (state.v_TP - square).sign_()
    state.v_TP.sub_(square.mul_(as_column(1 - beta2_T, theta_TP)).mul_(direction))
    correction1_T, correction2_T = bias_corrections(hyperparameters, state.step_T)
    denominator = state.v_TP.sqrt().div_(as_column(correction2_T.sqrt(), theta_TP)).add_(eps)
    step_size = as_column(hyperparameters["lr"] / correction1_T, theta_TP)
    theta_TP.sub_(state.m_TP.mul(step_size).div_(denominator))


def _build(*, initial_accumulator: float = 1e-6) -> UpdateRule:
    if isinstance(initial_accumulator, bool | str) or not 0 <= initial_accumulator < math.inf:
        raise ValueError(f"yogi: initial_accumulator must be at least 0 and finite, not {initial_accumulator!r}")
    lr, beta1, beta2, _, weight_decay = adam_hyperparameters(_SOURCE, lr=1e-2)
    return UpdateRule(
        "yogi",
        (lr, beta1, beta2, Hyperparameter("eps", 1e-3, _SOURCE), weight_decay),
        partial(_init, initial_accumulator=initial_accumulator),
        _update_,
        Kernel("yogi", ("m_TP", "v_TP")),
        options={"initial_accumulator": initial_accumulator},
    )


YOGI = register_rule(_build)


class Yogi(RuleOptimizer):
    """Yogi (Zaheer et al., NeurIPS 2018), with Adam's bias corrections.

    ::

        m     = beta1 m + (1 - beta1) g
        v     = v - (1 - beta2) sign(v - g^2) g^2
        theta = theta - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, 0 or more.
        betas: ``(beta1, beta2)``: decays of the moments, in [0, 1).
        eps: Added to the denominator, 0 or more.
        initial_accumulator: What v starts at, 0 or more; m starts at 0.
        weight_decay: Weight decay, added to the gradient; 0 or more.
        maximize: Ascend instead of descend.
        fused: Take the step in compiled passes over memory: True insists, False refuses, None does so where it can.

    Raises:
        TypeError: A hyperparameter is not a number.
        ValueError: A hyperparameter is out of its range.
    """

    rule_name = "yogi"
    option_names = ("initial_accumulator",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-3,
        initial_accumulator: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "initial_accumulator": initial_accumulator,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)
