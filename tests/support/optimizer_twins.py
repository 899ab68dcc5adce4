"""The optimizer classes with kernels, stepped by them and plainly side by side."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from adai import AdaBound, Adai, AdaiV2, AdaiW, AdaShift, CPropAdam, CPropSGD, Padam, Yogi
from adai.optimizer import RuleOptimizer

Make = type[RuleOptimizer]
Gradients = list[list[Tensor | None]]
#: Three groups of each class, which differ in everything that may differ.
FAMILIES: dict[Make, list[dict[str, Any]]] = {
    Adai: [
        {"lr": 0.1, "weight_decay": 0.05},
        {"lr": 0.7, "betas": (0.5, 0.9), "eps": 1e-2, "weight_decay": 0.1, "decoupled": True, "maximize": True},
        {"lr": 0.2, "betas": (3.0, 0.0), "eps": 1.0},
    ],
    AdaiW: [
        {"lr": 0.1, "weight_decay": 0.05, "maximize": True},
        {"lr": 0.7, "betas": (0.5, 0.9), "eps": 1e-2, "weight_decay": 0.1},
        {"lr": 0.2, "betas": (3.0, 0.999)},
    ],
    AdaiV2: [
        {"lr": 0.1, "weight_decay": 0.05},
        {"lr": 0.7, "betas": (0.5, 0.9), "eps": 1e-2, "dampening": 0.5, "decoupled": False, "weight_decay": 0.1},
        {"lr": 0.2, "betas": (3.0, 0.999), "dampening": 0.0, "maximize": True},
    ],
    AdaBound: [
        {"lr": 0.1, "weight_decay": 0.05},
        {"lr": 0.7, "betas": (0.5, 0.9), "eps": 1e-2, "final_lr": 0.3, "gamma": 0.1, "amsbound": True},
        {"lr": 0.2, "final_lr": 0.01, "gamma": 0.5, "maximize": True},
    ],
    Padam: [
        {"lr": 0.1, "weight_decay": 0.05, "partial": 0.125},
        {"lr": 0.7, "betas": (0.5, 0.9), "eps": 1e-2, "partial": 0.3, "amsgrad": False},
        {"lr": 0.2, "partial": 0.5, "maximize": True},
    ],
    Yogi: [
        {"lr": 0.1, "weight_decay": 0.05},
        {"lr": 0.7, "betas": (0.5, 0.9), "eps": 1e-2, "initial_accumulator": 0.0},
        {"lr": 0.2, "maximize": True},
    ],
    AdaShift: [
        {"lr": 0.1, "keep_num": 1},
        {"lr": 0.7, "betas": (0.5, 0.9), "eps": 1e-2, "keep_num": 3, "reduce": "none", "maximize": True},
        {"lr": 0.2, "keep_num": 2, "reduce": "mean"},
    ],
    CPropSGD: [
        {"lr": 0.1, "weight_decay": 0.05, "momentum": 0.9, "dampening": 0.1, "cprop_c": 0.5},
        {"lr": 0.7, "momentum": 0.5, "nesterov": True, "cprop_cdf": "bfo", "cprop_beta": 0.9},
        {"lr": 0.2, "cprop_cdf": "logistic", "cprop_eps": 0.1, "maximize": True},
    ],
    CPropAdam: [
        {"lr": 0.1, "weight_decay": 0.05, "cprop_c": 0.5},
        {"lr": 0.7, "betas": (0.5, 0.9), "eps": 1e-2, "amsgrad": True, "cprop_cdf": "bfo", "cprop_beta": 0.9},
        {"lr": 0.2, "cprop_cdf": "logistic", "cprop_eps": 0.1, "maximize": True},
    ],
}
INERTIA: list[Make] = [Adai, AdaiW, AdaiV2]
#: Two of each group; one lies in several chunks of the kernel, one has a single element.
SHAPES = [(3, 4), (9000,), (2, 2, 5), (1,), (7, 3), (17,)]
#: Steps in which a parameter has no gradient. The fourth's first one comes late; the fifth and sixth miss as many.
MISSING = {0: (4,), 2: (0, 1), 3: range(5), 4: (2, 6), 5: (5, 7)}
STEPS = 12


def randn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def new_gradients(shapes: Sequence[tuple[int, ...]] = SHAPES, *, steps: int = STEPS, missing: bool = True) -> Gradients:
    """Of another scale for each parameter; the first element of each is always zero."""
    gradients: Gradients = []
    for step in range(steps):
        row = [randn(*shape, seed=100 + 10 * step + i) * 2.0 ** (i - 2) for i, shape in enumerate(shapes)]
        for gradient in row:
            gradient.view(-1)[0] *= gradient.numel() == 1
        gradients.append([None if missing and step in MISSING.get(i, ()) else g for i, g in enumerate(row)])
    return gradients


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def new_optimizer(
    make: Make,
    fused: bool | None,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
    dtype: torch.dtype = torch.float64,
    options: Sequence[dict[str, Any]] = (),
    **common: Any,
) -> RuleOptimizer:
    parameters = [Parameter(randn(*shape, seed=i).to(dtype)) for i, shape in enumerate(shapes)]
    options = options or FAMILIES[make]
    cuts = [len(parameters) * i // len(options) for i in range(len(options) + 1)]
    groups = [{"params": parameters[cuts[i] : cuts[i + 1]], **chosen} for i, chosen in enumerate(options)]
    return make(groups, **{"lr": 9.0, "fused": fused, **common})


def give(optimizer: torch.optim.Optimizer, gradients: Sequence[Tensor | None]) -> None:
    for parameter, gradient in zip(parameters_of(optimizer), gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.to(parameter.dtype, copy=True)


def walk(optimizer: torch.optim.Optimizer, gradients: Gradients) -> list[Tensor]:
    for row in gradients:
        give(optimizer, row)
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters_of(optimizer)]


def assert_alike(actual: torch.optim.Optimizer, expected: torch.optim.Optimizer, tolerance: float = 1e-12) -> None:
    """Parameters, and all of their states."""
    for ours, theirs in zip(parameters_of(actual), parameters_of(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
        state, expected_state = actual.state[ours], expected.state[theirs]
        assert state.keys() == expected_state.keys()
        for name, value in state.items():
            torch.testing.assert_close(value, expected_state[name], rtol=tolerance, atol=tolerance, msg=name)


def walk_alike(compiled: RuleOptimizer, plain: RuleOptimizer, gradients: Gradients, tolerance: float = 1e-12) -> None:
    for row in gradients:
        walk(compiled, [row])
        walk(plain, [row])
        assert_alike(compiled, plain, tolerance)


def bits(tensors: Sequence[Tensor]) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in tensors]


def assert_same(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        assert torch.equal(ours, theirs)


def assert_refused(optimizer: RuleOptimizer, message: str) -> None:
    before = [parameter.detach().clone() for parameter in parameters_of(optimizer)]
    give(optimizer, new_gradients([tuple(parameter.shape) for parameter in before], missing=False)[0])
    with pytest.raises(RuntimeError, match=message):
        optimizer.step()
    assert_same([parameter.detach() for parameter in parameters_of(optimizer)], before)
    assert not optimizer.state
