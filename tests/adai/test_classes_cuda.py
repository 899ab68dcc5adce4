"""The optimizer classes on a GPU: the same steps as on the CPU, and what they keep lies where the parameters lie."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch.nn import Parameter

from adai import AdaBound, Adai, AdaiV2, AdaiW, AdaShift, CProp, CPropAdam, CPropSGD, Padam, Yogi

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

CLASSES: dict[str, Callable[[Sequence[Parameter]], torch.optim.Optimizer]] = {
    "AdaBound": lambda p: AdaBound(p, 0.01, weight_decay=0.01),
    "Adai": lambda p: Adai(p, 0.1, weight_decay=0.01),
    "AdaiV2": lambda p: AdaiV2(p, 0.1, weight_decay=0.01, dampening=0.5),
    "AdaiW": lambda p: AdaiW(p, 0.1, weight_decay=0.01),
    "AdaShift": lambda p: AdaShift(p, 0.01),
    "CProp": lambda p: CProp(torch.optim.AdamW(p, 0.01)),
    "CPropAdam": lambda p: CPropAdam(p, 0.01),
    "CPropSGD": lambda p: CPropSGD(p, 0.1),
    "Padam": lambda p: Padam(p, 0.1, weight_decay=0.01),
    "Yogi": lambda p: Yogi(p, 0.01, weight_decay=0.01),
}
SHAPES = ((30, 7), (5,), (2, 3, 3, 3))


def walk(name: str, device: str, dtype: torch.dtype, steps: int = 15) -> tuple[list[Parameter], torch.optim.Optimizer]:
    """Parameters after some steps along the same gradients, and the optimizer; a state is saved and loaded midway."""
    generator = torch.Generator().manual_seed(4)
    parameters = [Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in SHAPES]
    parameters = [Parameter(parameter.detach().to(device, dtype)) for parameter in parameters]
    optimizer = CLASSES[name](parameters)
    for step in range(steps):
        if step == steps // 2:
            saved = optimizer.state_dict()
            optimizer = CLASSES[name](parameters)
            optimizer.load_state_dict(saved)
        for parameter in parameters:
            gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.grad = gradient.to(parameter)
        optimizer.step()
    return parameters, optimizer


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_takes_the_steps_that_it_takes_on_the_cpu(name: str) -> None:
    expected, _ = walk(name, "cpu", torch.float64)
    actual, optimizer = walk(name, "cuda", torch.float64)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours.detach().cpu(), theirs.detach(), rtol=1e-10, atol=1e-10)
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                assert value.device.type == "cuda", key


@pytest.mark.parametrize("name", ["Adai", "AdaiW", "Padam", "Yogi"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_class_takes_shorter_types(name: str, dtype: torch.dtype) -> None:
    expected, _ = walk(name, "cpu", dtype)
    actual, _ = walk(name, "cuda", dtype)
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours.detach().cpu(), theirs.detach(), rtol=tolerance, atol=tolerance)
