"""The ``torch.optim.Optimizer`` face of adaptive inertia, for ordinary training loops."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from adai.inertia import accumulate_second_moment_, inertia_step_, relative_second_moment

_LOW_PRECISION = (torch.float16, torch.bfloat16)
_TENSORS = ("exp_avg", "exp_avg_sq", "beta1_prod")


class Adai(Optimizer):
    """Adaptive inertia (Xie et al., ICML 2022, Algorithm 2).

    Like the authors' code, ``v_bar`` is one mean over every element, of every parameter group, that has a gradient
    in this step; parameters without a gradient are skipped and their step count stays. Unlike it: closures may call
    ``backward``; ``p.grad`` is never changed; float16 and bfloat16 parameters keep float32 state; a step in which all
    gradients are zero, or none exists, moves nothing (there: NaN, ZeroDivisionError).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, 0 or more. The authors advise that of SGD without momentum, or 10 times that of SGD with
            momentum 0.9.
        betas: ``(beta0, beta2)``: inertia sensitivity, 0 or more without an upper bound; decay of the second
            moment, in [0, 1).
        eps: Inertia bound: mu is at most ``1 - eps``; 0 or more.
        weight_decay: Weight decay, 0 or more.
        decoupled: Shrink weights by ``1 - lr * weight_decay`` (AdaiW) instead of adding to the gradient.
        maximize: Ascend instead of descend.

    Raises:
        ValueError: A hyperparameter is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        betas: tuple[float, float] = (0.1, 0.99),
        eps: float = 1e-3,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled": decoupled,
            "maximize": maximize,
        }
        _check_hyperparameters(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, with its own hyperparameters if given.

        Raises:
            ValueError: A hyperparameter is out of its range; the optimizer is unchanged.
        """
        _check_hyperparameters({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # pickles of older versions of the authors' class
            group.setdefault("decoupled", self.defaults.get("decoupled", False))
            group.setdefault("maximize", False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state made by :meth:`state_dict`; float32 state of half-precision parameters stays float32.

        torch would cast it to the parameters' dtype, in which an inertia of 0.999 may be 1.
        """
        super().load_state_dict(state_dict)
        saved = [index for group in state_dict["param_groups"] for index in group["params"]]
        own = [parameter for group in self.param_groups for parameter in group["params"]]
        for index, parameter in zip(saved, own, strict=True):
            if parameter.dtype in _LOW_PRECISION and index in state_dict["state"]:
                state = state_dict["state"][index]
                for name in _TENSORS:
                    # A copy: the loaded optimizer must not share memory with the one that it was saved from.
                    copy = state[name].detach().clone().to(device=parameter.device, dtype=torch.float32)
                    self.state[parameter][name] = copy

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step.

        Args:
            closure: Reevaluates the model and returns the loss; called with gradients enabled.

        Returns:
            What the closure returned, or None.

        Raises:
            RuntimeError: A gradient is sparse or complex.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # All gradients are checked before the first parameter changes.
        parameters = list(self._parameters_with_gradient())
        work = [_prepare(self, group, parameter) for group, parameter in parameters]
        if work:
            v_hat_sum = torch.stack([item["v_hat"].sum().to(work[0]["v_hat"]) for item in work]).sum()
            v_bar = v_hat_sum / sum(item["v_hat"].numel() for item in work)
            for item in work:
                _move(item, v_bar.to(item["v_hat"]))
        return loss

    def _parameters_with_gradient(self) -> Iterable[tuple[dict[str, Any], Tensor]]:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _check_gradient(parameter.grad)
                    yield group, parameter


class AdaiW(Adai):
    """Adai with decoupled weight decay; identical in effect to AdaiS (stable weight decay) of the same authors.

    Args:
        params: Parameters or parameter groups.
        lr: As in :class:`Adai`, like the others.
        betas: ``(beta0, beta2)``.
        eps: Inertia bound.
        weight_decay: Weights shrink by ``1 - lr * weight_decay`` before each step.
        maximize: Ascend instead of descend.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        betas: tuple[float, float] = (0.1, 0.99),
        eps: float = 1e-3,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, decoupled=True, maximize=maximize)


def _check_hyperparameters(group: dict[str, Any]) -> None:
    if len(group["betas"]) != 2:
        raise ValueError(f"Adai: betas must be (beta0, beta2), not {group['betas']!r}")
    beta0, beta2 = group["betas"]
    bounds = {
        "lr": (group["lr"], math.inf),
        "betas[0] (beta0)": (beta0, math.inf),
        "betas[1] (beta2)": (beta2, 1.0),
        "eps": (group["eps"], math.inf),
        "weight_decay": (group["weight_decay"], math.inf),
    }
    for name, (value, supremum) in bounds.items():
        if not 0.0 <= value < supremum:
            upper = "finite" if math.isinf(supremum) else f"below {supremum:g}"
            raise ValueError(f"Adai: {name} must be at least 0 and {upper}, not {value!r}")


def _check_gradient(grad: Tensor) -> None:
    if grad.is_sparse or grad.layout is not torch.strided:
        raise RuntimeError("Adai does not support sparse gradients: use dense ones (sparse=False in Embedding)")
    if grad.is_complex():
        raise RuntimeError("Adai does not support complex parameters: use torch.view_as_real")


def _prepare(optimizer: Adai, group: dict[str, Any], parameter: Tensor) -> dict[str, Any]:
    """First pass over one parameter: step count, weight decay, second moment."""
    state_dtype = torch.float32 if parameter.dtype in _LOW_PRECISION else parameter.dtype
    state = optimizer.state[parameter]
    if not state:
        state["step"] = 0
        state["exp_avg"] = torch.zeros_like(parameter, dtype=state_dtype)
        state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=state_dtype)
        state["beta1_prod"] = torch.ones_like(parameter, dtype=state_dtype)
    state["step"] += 1
    assert parameter.grad is not None  # noqa: S101 - narrows the type: the caller skips parameters without one
    grad = parameter.grad.to(state_dtype)
    theta = parameter.to(state_dtype)
    if group["maximize"]:
        grad = -grad
    if group["weight_decay"] != 0 and group["decoupled"]:
        theta.mul_(1 - group["lr"] * group["weight_decay"])
    elif group["weight_decay"] != 0:
        grad = grad.add(theta, alpha=group["weight_decay"])
    beta2 = group["betas"][1]
    accumulate_second_moment_(state["exp_avg_sq"], grad, beta2)
    v_hat = state["exp_avg_sq"] / (1 - beta2 ** state["step"])
    return {
        "parameter": parameter,
        "theta": theta,
        "grad": grad,
        "v_hat": v_hat,
        "state": state,
        "group": group,
    }


def _move(item: dict[str, Any], v_bar: Tensor) -> None:
    """Second pass over one parameter: inertia, momentum, movement."""
    group, state, theta = item["group"], item["state"], item["theta"]
    inertia_step_(
        theta,
        item["grad"],
        relative_second_moment(item["v_hat"], v_bar),
        state["exp_avg"],
        state["beta1_prod"],
        lr=group["lr"],
        beta0=group["betas"][0],
        inertia_bound=torch.as_tensor(1 - group["eps"], dtype=theta.dtype, device=theta.device),
    )
    if theta is not item["parameter"]:
        item["parameter"].copy_(theta)
