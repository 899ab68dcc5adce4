"""Adai's Triton kernels: in Triton's interpreter on the CPU, and on CUDA where there is one."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch.nn import Parameter

from adai import Adai, AdaiV2, AdaiW

ROOT = Path(__file__).parents[2]
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

#: Steps the kernels and the plain class side by side; several groups, tensors larger than a block, missing gradients.
PROGRAM = """
import warnings
import torch
from torch.nn import Parameter
from adai import AdaiV2
from adai.inertia_cuda import BLOCK, CudaSegments

warnings.simplefilter("ignore")  # the interpreter computes branches that are not taken
for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
    for dampening in (1.0, 0.5, 0.0):
        generator = torch.Generator().manual_seed(0)
        shapes = ((40, 70), (5,), (BLOCK + 1,), (1,), (2, 3, 3, 3))
        randn = lambda shape: torch.randn(shape, generator=generator, dtype=dtype)
        plain = [Parameter(randn(shape)) for shape in shapes]
        ours = [p.detach().clone() for p in plain]
        first = {"lr": 0.1, "weight_decay": 0.1, "decoupled": False, "dampening": dampening}
        second = {"lr": 0.02, "betas": (0.5, 0.9), "eps": 0.0, "weight_decay": 0.3, "maximize": True,
                  "dampening": dampening}
        groups = [{"params": plain[:3], **first}, {"params": plain[3:], **second}]
        optimizer = AdaiV2(groups, 1.0, fused=False)
        states = [{"step": torch.tensor(0), "m": torch.zeros_like(p), "v": torch.zeros_like(p),
                   "product": torch.ones_like(p)} for p in ours]
        segments = CudaSegments(ours, states, [0, 0, 0, 1, 1], ("m", "v", "product"))
        rows = [optimizer.kernel_values(group) for group in optimizer.param_groups]
        for step in range(10):
            for i, p in enumerate(plain):
                p.grad = None if (i, step) in {(1, 0), (1, 3), (4, 5)} else randn(p.shape)
                if i == 0 and step > 2:
                    p.grad[:3] = 0
            assert segments.hold(ours, states, [0, 0, 0, 1, 1])
            segments.step_inertia([None if p.grad is None else p.grad.clone() for p in plain], rows, [0.1, 0.02])
            optimizer.step()
            for a, b in zip(ours, plain):
                torch.testing.assert_close(a, b.detach(), rtol=tolerance, atol=tolerance)
        assert [int(s["step"]) for s in states] == [10, 8, 10, 10, 9]
        before = [p.clone() for p in ours]
        zeros = CudaSegments(ours, [{**s, "step": torch.tensor(0), "v": torch.zeros_like(s["v"]),
                                     "m": torch.zeros_like(s["m"])} for s in states], [0] * 5, ("m", "v", "product"))
        row = (0.1, 0.1, 0.99, 1e-3, 0.0, dampening, 0.0, 0.0)
        zeros.step_inertia([torch.zeros_like(p) for p in ours], [row], [0.1])
        assert all(torch.equal(a, b) for a, b in zip(ours, before))
print("equal")
"""


@needs_triton
def test_the_kernels_equal_the_plain_step_in_tritons_interpreter() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=240)
    assert result.stdout.strip() == "equal", result.stderr


def random_walk(optimizer: torch.optim.Optimizer, parameters: list[Parameter], steps: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.grad = gradient.to(parameter)
        optimizer.step()
    return [parameter.detach().cpu() for parameter in parameters]


@on_cuda
@needs_triton
@pytest.mark.parametrize("cls", [Adai, AdaiW, AdaiV2])
@pytest.mark.parametrize("options", [{"fused": True}, {"capturable": True}, {"fused": True, "capturable": True}, {}])
def test_on_cuda_every_way_equals_the_plain_step_on_the_cpu(cls: type[Adai], options: dict[str, bool]) -> None:
    starts = [torch.randn(shape, dtype=torch.float64) for shape in ((300, 70), (5,), (2, 3, 3, 3))]
    here, there = ([Parameter(s.clone().to(device)) for s in starts] for device in ("cpu", "cuda"))
    expected = random_walk(cls(here, 0.1, weight_decay=0.01, fused=False), here, 20)
    actual = random_walk(cls(there, 0.1, weight_decay=0.01, **options), there, 20)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@on_cuda
@needs_triton
@pytest.mark.parametrize("fused", [True, False])
def test_a_cuda_graph_captures_the_step(fused: bool) -> None:
    parameters = [Parameter(torch.ones(1000, device="cuda"))]
    parameters[0].grad = torch.full_like(parameters[0], 0.5)
    optimizer = Adai(parameters, torch.tensor(0.1, device="cuda"), fused=fused, capturable=True)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            optimizer.step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    before = parameters[0].detach().clone()
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(parameters[0].detach(), before - 0.1 * 0.5)


def test_on_the_cpu_the_kernels_for_cuda_are_not_imported() -> None:
    program = """
import sys, torch, adai
p = torch.nn.Parameter(torch.ones(3))
p.grad = torch.ones(3)
adai.Adai([p], 0.1).step()
print("adai.inertia_cuda" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "False", result.stderr
