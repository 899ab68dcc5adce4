"""The compiled steps of the optimizer classes beside their plain steps, whatever is done to them on the way."""

import copy
import io
import pickle
import shutil
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from optimizer_twins import (
    FAMILIES,
    SHAPES,
    STEPS,
    Make,
    assert_alike,
    assert_same,
    bits,
    new_gradients,
    new_optimizer,
    parameters_of,
    randn,
    walk,
    walk_alike,
)
from torch import Tensor
from torch.nn import Parameter

from adai.optimizer import RuleOptimizer

# Only where there is none: a compiler that cannot compile our source is a failure.
pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="there is no gcc: apt-get install gcc (.ci/run does)")
every_class = pytest.mark.parametrize("make", FAMILIES)

# What is done to an optimizer between steps

#: Tensors that must not change any more, with their values: where a kernel still wrote there, it would show.
Kept = list[tuple[Tensor, Tensor]]


def keep(kept: Kept, tensors: Iterable[Tensor]) -> None:
    kept.extend((tensor, tensor.detach().clone()) for tensor in tensors)


def keep_optimizer(kept: Kept, optimizer: RuleOptimizer) -> None:
    keep(kept, parameters_of(optimizer))
    keep(kept, [tensor for state in optimizer.state.values() for tensor in state.values()])


def parameters_moved(optimizer: RuleOptimizer, kept: Kept) -> RuleOptimizer:
    for parameter in parameters_of(optimizer):
        keep(kept, [parameter.data])
        parameter.data = parameter.data.clone()
    return optimizer


def states_replaced(optimizer: RuleOptimizer, kept: Kept) -> RuleOptimizer:
    for state in optimizer.state.values():
        keep(kept, state.values())
        for name in state:
            state[name] = state[name].clone()
    return optimizer


def deeply_copied(optimizer: RuleOptimizer, kept: Kept) -> RuleOptimizer:
    keep_optimizer(kept, optimizer)
    return copy.deepcopy(optimizer)


def pickled(optimizer: RuleOptimizer, kept: Kept) -> RuleOptimizer:
    keep_optimizer(kept, optimizer)
    successor: RuleOptimizer = pickle.loads(pickle.dumps(optimizer))  # noqa: S301 - we pickled it ourselves
    return successor


def switched_to_the_other_way(optimizer: RuleOptimizer, kept: Kept) -> RuleOptimizer:  # noqa: ARG001
    for group in optimizer.param_groups:
        group["fused"] = not group["fused"]
    return optimizer


def loaded_by_one_of_the_other_way(optimizer: RuleOptimizer, kept: Kept) -> RuleOptimizer:
    keep_optimizer(kept, optimizer)
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    groups = [{"params": [Parameter(p.detach().clone()) for p in g["params"]]} for g in optimizer.param_groups]
    successor = type(optimizer)(groups, lr=77.0)
    successor.load_state_dict(torch.load(buffer))
    return switched_to_the_other_way(successor, kept)


@every_class
@pytest.mark.parametrize(
    "disturb",
    [
        parameters_moved,
        states_replaced,
        deeply_copied,
        pickled,
        switched_to_the_other_way,
        loaded_by_one_of_the_other_way,
    ],
    ids=lambda disturb: disturb.__name__,
)
def test_the_path_stays_the_same_and_what_was_left_behind_as_it_was(
    make: Make, disturb: Callable[[RuleOptimizer, Kept], RuleOptimizer]
) -> None:
    compiled, plain = (new_optimizer(make, fused) for fused in (True, False))
    gradients, kept = new_gradients(), Kept()
    for start in range(0, STEPS, 2):
        walk_alike(compiled, plain, gradients[start : start + 2])
        compiled = disturb(compiled, kept)
    assert_same([tensor for tensor, _ in kept], [value for _, value in kept])


@every_class
def test_a_switched_off_kernel_is_not_taken_again(make: Make) -> None:
    switched = new_optimizer(make, True, dtype=torch.float32)
    walk(switched, new_gradients(missing=False))
    loaded = loaded_by_one_of_the_other_way(switched, [])
    switched_to_the_other_way(switched, [])
    assert bits(walk(switched, new_gradients(steps=4))) == bits(walk(loaded, new_gradients(steps=4)))


@every_class
def test_a_cleared_state_starts_again_from_zero(make: Make) -> None:
    compiled, plain = (new_optimizer(make, fused) for fused in (True, False))
    walk(compiled, new_gradients())
    compiled.state.clear()
    for ours, theirs in zip(parameters_of(compiled), parameters_of(plain), strict=True):
        theirs.data.copy_(ours.data)
    walk_alike(compiled, plain, new_gradients())


@every_class
def test_a_group_added_midway_goes_along_with_its_own_options(make: Make) -> None:
    compiled, plain = (new_optimizer(make, fused) for fused in (True, False))
    gradients = new_gradients([*SHAPES, (30,)])
    walk_alike(compiled, plain, [row[:-1] for row in gradients[:6]])
    for optimizer in (compiled, plain):
        optimizer.add_param_group({"params": [Parameter(randn(30, seed=9))], **FAMILIES[make][1], "lr": 0.3})
    walk_alike(compiled, plain, gradients[6:])


@every_class
def test_a_parameter_handed_to_another_group_takes_its_options(make: Make) -> None:
    options = [FAMILIES[make][0], {**FAMILIES[make][0], "lr": 0.7, "maximize": True}]
    compiled, plain = (new_optimizer(make, fused, options=options) for fused in (True, False))
    gradients = new_gradients(missing=False)
    walk_alike(compiled, plain, gradients[:6])
    for optimizer in (compiled, plain):
        first, second = (group["params"] for group in optimizer.param_groups)
        second.insert(0, first.pop())
    walk_alike(compiled, plain, gradients[6:])


@every_class
@pytest.mark.parametrize("wrap", [float, lambda lr: torch.tensor(lr, dtype=torch.float64)], ids=["float", "tensor"])
def test_a_scheduler_moves_every_learning_rate_and_other_values_may_change_too(
    make: Make, wrap: Callable[[float], Any]
) -> None:
    compiled, plain = (
        new_optimizer(make, fused, options=[{**group, "lr": wrap(group["lr"])} for group in FAMILIES[make]])
        for fused in (True, False)
    )
    schedulers = [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8, 0.01) for optimizer in (compiled, plain)]
    for step, row in enumerate(new_gradients()):
        walk_alike(compiled, plain, [row])
        for scheduler in schedulers:
            scheduler.step()
        for optimizer in (compiled, plain):
            optimizer.param_groups[step % 3].update(maximize=step % 2 == 0, weight_decay=0.01 * step, eps=0.5**step)


@every_class
@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_of_autograd_that_are_reset_to_none_or_zero_are_followed(make: Make, set_to_none: bool) -> None:
    compiled, plain = optimizers = [new_optimizer(make, fused) for fused in (True, False)]
    for step in range(STEPS):
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=set_to_none)
            used = [p for i, p in enumerate(parameters_of(optimizer)) if (step + i) % 3]
            sum((parameter.square().sum() + parameter.sum() for parameter in used), torch.zeros(())).backward()
            optimizer.step()
        assert_alike(compiled, plain)
    steps = [int(compiled.state[parameter]["step"]) for parameter in parameters_of(compiled)]
    # In the first step every third parameter had no gradient yet.
    assert steps == ([8] * 6 if set_to_none else [11, 12, 12] * 2)


# What the state no longer fits


@every_class
def test_parameters_made_double_midway_go_on_with_their_state(make: Make) -> None:
    compiled = new_optimizer(make, True, dtype=torch.float32)
    walk(compiled, new_gradients()[:6])
    plain = loaded_by_one_of_the_other_way(compiled, [])
    for optimizer in (compiled, plain):
        for parameter in parameters_of(optimizer):
            parameter.grad = None
            parameter.data = parameter.data.double()
    for state in plain.state.values():
        state.update({name: value.double() for name, value in state.items() if value.is_floating_point()})
    walk_alike(compiled, plain, new_gradients(missing=False)[6:])


@every_class
def test_a_parameter_that_outgrew_its_state_is_refused_instead_of_written_beyond(make: Make) -> None:
    optimizer = new_optimizer(make, True, options=FAMILIES[make][1:2])
    walk(optimizer, new_gradients()[5:6])
    parameter = parameters_of(optimizer)[0]
    parameter.grad = None
    parameter.data = torch.zeros(100, dtype=torch.float64)
    parameter.grad = torch.ones_like(parameter)
    with pytest.raises(RuntimeError, match=rf"{make.__name__}: \w+ in the state of .* shape \(100,\) has \d+ elements"):
        optimizer.step()
    assert torch.equal(parameter, torch.zeros_like(parameter))


@every_class
def test_a_parameter_laid_out_anew_keeps_the_state_of_each_element(make: Make) -> None:
    shapes = [(2, 3, 4, 5)] * 3
    compiled, plain = (new_optimizer(make, fused, shapes) for fused in (None, False))
    for parameter in parameters_of(compiled):
        parameter.data = parameter.data.to(memory_format=torch.channels_last)  # of which the kernel takes none
    gradients = new_gradients(shapes)
    walk_alike(compiled, plain, gradients[:6])
    for parameter in parameters_of(compiled):
        parameter.data = parameter.data.contiguous()
    for group in compiled.param_groups:
        group["fused"] = True
    walk_alike(compiled, plain, gradients[6:])
