"""Adai's step over the parameter tensors of a model: state, the plain step, and whether the compiled one equals it."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from adai.compiled import CHUNK
from adai.inertia import accumulate_second_moment_, inertia_step_, relative_second_moment
from adai.optimizer import Group, state_dtype, step_tensor
from adai.rules import TOLERANCE
from adai.segments import Segments

#: State of a parameter beside ``step``, named as in the authors' class so that its checkpoints load.
TENSORS = ("exp_avg", "exp_avg_sq", "beta1_prod")


def new_state(state: dict[str, Any], group: Group, parameter: Tensor) -> dict[str, Any]:
    """The state of a parameter before its first step, written into ``state``."""
    state["step"] = step_tensor(0, group, parameter)
    for name in TENSORS:
        start = torch.ones_like if name == "beta1_prod" else torch.zeros_like
        state[name] = start(parameter, dtype=state_dtype(parameter), requires_grad=False)
    return state


def plain_step(work: Sequence[tuple[dict[str, Any], Group, Tensor]]) -> None:
    """The step in torch operations: two passes over all parameters, and v_bar between."""
    items = [_prepare(*member) for member in work]
    # In float64, where the sum of large squares stays finite, as in the kernel.
    sums = [item["v_hat"].sum(dtype=torch.float64) for item in items]
    v_hat_sum = torch.stack([value.to(sums[0].device) for value in sums]).sum()
    v_bar = v_hat_sum / sum(item["v_hat"].numel() for item in items)
    for item in items:
        _move(item, v_bar.to(item["v_hat"]))


def _prepare(state: dict[str, Any], group: Group, parameter: Tensor) -> dict[str, Any]:
    """First pass over one parameter: step count, weight decay, second moment."""
    state["step"] += 1
    assert parameter.grad is not None  # noqa: S101 - narrows the type: the caller skips parameters without one
    grad = parameter.grad.to(state_dtype(parameter))
    theta = parameter.to(state_dtype(parameter))
    if group["maximize"]:
        grad = -grad
    if group["weight_decay"] != 0 and group["decoupled"]:
        theta.mul_(1 - _scalar(group["lr"]) * group["weight_decay"])
    elif group["weight_decay"] != 0:
        grad = grad.add(theta, alpha=group["weight_decay"])
    beta2 = group["betas"][1]
    accumulate_second_moment_(state["exp_avg_sq"], grad, beta2)
    v_hat = state["exp_avg_sq"] / _bias_correction(beta2, state["step"], group)
    return {"parameter": parameter, "theta": theta, "grad": grad, "v_hat": v_hat, "state": state, "group": group}


def _scalar(value: Any) -> Any:
    """A number, or a tensor without dimensions, which broadcasts to any parameter."""
    return value.reshape(()) if isinstance(value, Tensor) else value


def _bias_correction(beta2: float, step: Tensor, group: Group) -> float | Tensor:
    """``1 - beta2^t`` in float64; on the device where reading the step count would wait for it."""
    if group["capturable"] or torch.compiler.is_compiling():
        return 1 - torch.full_like(step, beta2, dtype=torch.float64) ** step
    return 1 - beta2 ** int(step)


def _move(item: dict[str, Any], v_bar: Tensor) -> None:
    """Second pass over one parameter: inertia, momentum, movement."""
    group, state, theta = item["group"], item["state"], item["theta"]
    inertia_step_(
        theta,
        item["grad"],
        relative_second_moment(item["v_hat"], v_bar),
        state["exp_avg"],
        state["beta1_prod"],
        lr=_scalar(group["lr"]),
        beta0=group["betas"][0],
        inertia_bound=1 - group["eps"],
        dampening=group.get("dampening"),
    )
    if theta is not item["parameter"]:
        item["parameter"].copy_(theta)


#: Precisions for which the compiled step over tensors was compared with the plain one in this process.
_VERIFIED: dict[torch.dtype, bool] = {}


def tensors_are_verified(dtype: torch.dtype) -> bool:
    """As :func:`adai.rules.is_verified`, for the function of the kernels that only the classes call."""
    if dtype not in _VERIFIED:
        ways = [(dampening, running) for dampening in (1.0, 0.5) for running in (False, True)]
        _VERIFIED[dtype] = all(_tensors_agree(dtype, *way) for way in ways)
        if not _VERIFIED[dtype]:
            warnings.warn(
                f"the compiled step of Adai in {dtype} does not compute on this machine what the plain step does, so "
                "the plain one is taken; please report the compiler and the processor",
                RuntimeWarning,
                stacklevel=3,
            )
    return _VERIFIED[dtype]


def _tensors_agree(dtype: torch.dtype, dampening: float, running: bool) -> bool:
    common = {"betas": (0.3, 0.9), "eps": 0.1, "dampening": dampening, "capturable": False}
    groups: list[Group] = [
        {"lr": 0.1, "weight_decay": 0.01, "decoupled": False, "maximize": False, **common},
        {"lr": 0.05, "weight_decay": 0.02, "decoupled": True, "maximize": True, **common},
    ]
    rows = [
        (g["lr"], *g["betas"], g["eps"], g["weight_decay"], dampening, float(g["decoupled"]), float(g["maximize"]))
        for g in groups
    ]
    sizes, steps = (CHUNK + 150, 7), 4
    numbers = torch.arange(2 * (steps + 1) * sizes[0], dtype=torch.float64, device="cpu").mul_(0.7).sin_().to(dtype)
    draws = iter(numbers.view(-1, sizes[0]))
    compiled = [Parameter(next(draws)[:size].clone()) for size in sizes]
    plain = [Parameter(parameter.detach().clone()) for parameter in compiled]
    states: list[list[dict[str, Any]]] = [[new_state({}, g, p) for g, p in zip(groups, compiled, strict=True)]]
    states.append([new_state({}, g, p) for g, p in zip(groups, plain, strict=True)])
    segments = Segments(compiled, states[0], range(len(groups)), TENSORS)
    for _ in range(steps):
        gradients = [next(draws)[:size].clone() for size in sizes]
        segments.run("inertia_tensors", 0, gradients, rows, running_v_bar=running)
        for parameter, gradient in zip(plain, gradients, strict=True):
            parameter.grad = gradient
        plain_step(list(zip(states[1], groups, plain, strict=True)))
    tolerance = TOLERANCE[dtype]
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(compiled, plain, strict=True))
