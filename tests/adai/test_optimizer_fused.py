"""The compiled steps of the optimizer classes beside their plain steps."""

import shutil

import pytest
import torch
from optimizer_twins import (
    FAMILIES,
    INERTIA,
    MISSING,
    SHAPES,
    STEPS,
    Make,
    assert_alike,
    assert_refused,
    assert_same,
    bits,
    new_gradients,
    new_optimizer,
    parameters_of,
    randn,
    walk,
    walk_alike,
)
from torch.nn import Parameter
from torch.testing._internal.two_tensor import TwoTensor

from adai import Adai, AdaiV2, CPropAdam, CPropSGD
from adai.compiled import threads_for
from adai.optimizer import RuleOptimizer

# Only where there is none: a compiler that cannot compile our source is a failure.
pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="there is no gcc: apt-get install gcc (.ci/run does)")
every_class = pytest.mark.parametrize("make", FAMILIES)
every_inertia_class = pytest.mark.parametrize("make", INERTIA)

# The two ways


@every_class
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-4)])
def test_each_step_is_the_plain_one_in_groups_that_differ_while_gradients_come_and_go(
    make: Make, dtype: torch.dtype, tolerance: float
) -> None:
    compiled, plain = (new_optimizer(make, fused, dtype=dtype) for fused in (True, False))
    walk_alike(compiled, plain, new_gradients(), tolerance)
    steps = [int(compiled.state[parameter]["step"]) for parameter in parameters_of(compiled)]
    assert steps == [STEPS - len(MISSING.get(i, ())) for i in range(len(SHAPES))]


@every_class
def test_unasked_the_compiled_step_is_taken_and_it_is_another_than_the_plain_one(make: Make) -> None:
    insisted, unasked, plain = (
        bits(walk(new_optimizer(make, fused, dtype=torch.float32), new_gradients())) for fused in (True, None, False)
    )
    # A dampened AdaiV2 takes powers, in which torch is faster.
    dampened = isinstance(new_optimizer(make, None, dtype=torch.float32), AdaiV2)
    assert unasked == (plain if dampened else insisted)
    assert insisted != plain  # so two ways are compared here, and not one with itself


@every_class
def test_gradients_that_are_not_contiguous_or_lazily_negated_are_taken_as_what_they_say(make: Make) -> None:
    shapes = [(3, 4), (40, 30), (5, 2)]
    compiled, plain = (new_optimizer(make, fused, shapes) for fused in (True, False))
    for row in new_gradients(shapes, steps=4, missing=False):
        walk(plain, [row])
        strided, expanded, negated = parameters_of(compiled)
        strided.grad = row[0].T.contiguous().T
        expanded.grad = row[1].repeat_interleave(2, dim=1)[:, ::2]
        # As autograd leaves the gradient of an imaginary part that went through conj.
        negated.grad = torch._neg_view(-row[2])
        assert not strided.grad.is_contiguous()
        assert not expanded.grad.is_contiguous()
        assert negated.grad.is_neg()
        compiled.step()
        assert_alike(compiled, plain)


def test_a_gradient_that_autograd_negates_lazily_is_descended() -> None:
    parameter = Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = Adai([parameter], lr=0.5, fused=True)
    torch.complex(torch.ones_like(parameter), parameter).conj().mul(2).imag.sum().backward()
    assert parameter.grad is not None
    assert parameter.grad.item() == -2
    optimizer.step()
    assert parameter.item() == 1


@every_class
def test_bits_do_not_depend_on_the_number_of_threads(make: Make) -> None:
    shapes = [(300_001,), (5,), (90_000,), (8192,), (3, 7), (50_000,)]
    gradients = new_gradients(shapes, steps=5)
    paths = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        assert threads_for(448_219) == threads
        paths.append(bits(walk(new_optimizer(make, True, shapes, torch.float32), gradients)))
    assert paths[0] == paths[1] == paths[2]


# Adai's v_bar, which all parameters share

TWO_GROUPS = [{"lr": 0.1, "weight_decay": 0.05}, {"lr": 0.7, "betas": (0.5, 0.99), "maximize": True}]


def running(make: Make, fused: bool, *, running_v_bar: bool, beta2: float = 0.99) -> RuleOptimizer:
    options = [TWO_GROUPS[0], {**TWO_GROUPS[1], "betas": (0.5, beta2)}]
    return new_optimizer(make, fused, options=options, running_v_bar=running_v_bar)


@every_inertia_class
def test_a_running_v_bar_is_the_exact_one_over_two_hundred_steps(make: Make) -> None:
    optimizer, plain = (running(make, fused, running_v_bar=fused) for fused in (True, False))
    gradients = new_gradients(steps=200, missing=False)
    walk_alike(optimizer, plain, gradients, 1e-10)
    exact = walk(running(make, True, running_v_bar=False), gradients)
    assert bits(walk(running(make, True, running_v_bar=True), gradients)) != bits(exact)  # by rounding


@every_inertia_class
@pytest.mark.parametrize("missing", [{9: 1}, {9: 0, 12: 5}, {9: 0, 10: 1, 11: 2, 12: 3, 13: 4, 14: 5}])
def test_a_running_v_bar_gives_way_where_a_gradient_is_missing(make: Make, missing: dict[int, int]) -> None:
    optimizer, plain = (running(make, fused, running_v_bar=fused) for fused in (True, False))
    gradients = new_gradients(steps=40, missing=False)
    for step, place in missing.items():
        gradients[step][place] = None
    walk_alike(optimizer, plain, gradients, 1e-10)


@every_inertia_class
def test_a_running_v_bar_is_taken_up_anew_after_plain_steps(make: Make) -> None:
    optimizer, plain = (running(make, fused, running_v_bar=fused) for fused in (True, False))
    for fused in (True, False, True):
        for group in optimizer.param_groups:
            group["fused"] = fused
        walk_alike(optimizer, plain, new_gradients(steps=8, missing=False), 1e-10)


@every_inertia_class
def test_with_several_beta2_or_step_counts_v_bar_is_the_exact_one_to_the_bit(make: Make) -> None:
    gradients = new_gradients(steps=40, missing=False)
    exact, asked = (walk(running(make, True, running_v_bar=v, beta2=0.9), gradients) for v in (False, True))
    assert_same(asked, exact)
    gradients[0][3] = None
    exact, asked = (walk(running(make, True, running_v_bar=v), gradients) for v in (False, True))
    assert_same(asked, exact)


def test_parameters_of_two_precisions_are_refused_when_insisted_and_stepped_plainly_otherwise() -> None:
    def mixed(fused: bool | None) -> RuleOptimizer:
        optimizer = new_optimizer(Adai, fused)
        for parameter in parameters_of(optimizer)[::2]:
            parameter.data = parameter.data.float()
        return optimizer

    unasked, plain = mixed(None), mixed(False)
    gradients = new_gradients()
    assert_same(walk(unasked, gradients), walk(plain, gradients))
    # Those of one precision alone can be compiled, while the others have a state already.
    for places in ([1, 3], [0, 2], [1], [0, 1], [4]):
        for row in gradients[:2]:
            walk_alike(unasked, plain, [[g if i in places else None for i, g in enumerate(row)]], 1e-4)
    assert_refused(mixed(True), r"Adai: fused=True cannot be had: parameters of several dtypes .* share one v_bar")


# Refused and compiled by others


@every_class
def test_where_there_is_no_kernel_insisting_is_refused_with_the_reason_and_nothing_moves(make: Make) -> None:
    refused = f"{make.__name__}: fused=True cannot be had: "
    for dtype in (torch.float16, torch.bfloat16):
        half = new_optimizer(make, True, dtype=dtype)
        assert_refused(half, f"{refused}compiled kernels take float32 and float64, not {dtype}")
    strided = new_optimizer(make, True, [(2, 3)] * 3)
    last = parameters_of(strided)[-1]
    last.data = last.data.T.contiguous().T
    assert_refused(strided, f"{refused}a parameter is not contiguous")


@pytest.mark.parametrize("make", [CPropSGD, CPropAdam])
def test_the_exact_normal_distribution_has_no_kernel(make: Make) -> None:
    options = [{"cprop_cdf": "bft"}, {"cprop_cdf": "normal"}]
    name = {CPropSGD: "cprop_sgd", CPropAdam: "cprop_adam"}[make]
    assert_refused(new_optimizer(make, True, options=options), f"{make.__name__}: .* {name} has no compiled step")


@every_inertia_class
def test_capturable_steps_are_the_plain_ones_and_cannot_be_fused_on_the_cpu(make: Make) -> None:
    capturable, plain = new_optimizer(make, None, capturable=True), new_optimizer(make, False)
    walk_alike(capturable, plain, new_gradients())
    assert_refused(new_optimizer(make, True, capturable=True), f"{make.__name__}: .* capturable=True keeps the step")


def test_tensors_that_lie_nowhere_themselves_are_stepped_plainly() -> None:
    paths = []
    for wrap in (lambda tensor: TwoTensor(tensor, tensor.clone()), lambda tensor: tensor):
        optimizer = Adai([Parameter(wrap(randn(5, seed=0)))], 0.1, fused=None)
        for step in range(3):
            parameters_of(optimizer)[0].grad = wrap(randn(5, seed=1 + step))
            optimizer.step()
        paths.append(parameters_of(optimizer)[0].detach())
    assert torch.equal(paths[0].a, paths[1])
    assert torch.equal(paths[0].b, paths[1])
