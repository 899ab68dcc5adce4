"""Steps of Adai under ``torch.compile`` beside the plain steps."""

import shutil

import pytest
import torch
from optimizer_twins import FAMILIES, INERTIA, STEPS, Make, assert_alike, give, new_gradients, new_optimizer, walk
from torch._dynamo.testing import CompileCounter

from adai import Adai


@pytest.mark.parametrize("make", INERTIA)
@pytest.mark.parametrize("fused", [None, True])  # our kernels give way to the compiler that was asked for
def test_a_step_under_torch_compile_is_the_plain_one_and_compiled_for_good_by_the_second(
    make: Make, fused: bool | None
) -> None:
    torch._dynamo.reset()
    ours, plain = new_optimizer(make, fused), new_optimizer(make, False)
    counter = CompileCounter()
    step = torch.compile(ours.step, backend=counter)
    frames = []
    for row in new_gradients(missing=False):
        give(ours, row)
        step()
        frames.append(counter.frame_count)
        walk(plain, [row])
        assert_alike(ours, plain)
    # Once for new state, once for state that is there; a break in the graph would be one more.
    assert frames == [1] + [2] * (STEPS - 1)


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++: apt-get install g++ (.ci/run does)")
def test_a_step_by_inductor_is_the_plain_one() -> None:
    torch._dynamo.reset()
    options = [FAMILIES[Adai][1]]  # one group: compiling takes most of the time
    ours, plain = (new_optimizer(Adai, fused, [(5,), (3,)], options=options) for fused in (None, False))
    step = torch.compile(ours.step, backend="inductor")
    for row in new_gradients([(5,), (3,)], steps=4, missing=False):
        give(ours, row)
        step()
        walk(plain, [row])
        assert_alike(ours, plain)
