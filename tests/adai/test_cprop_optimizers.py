"""``CProp``, ``CPropSGD`` and ``CPropAdam`` as optimizers of ordinary training loops."""

import copy
import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from adai import Adai, CProp, CPropAdam, CPropSGD

STEPS = 12
Gradients = Sequence[Sequence[Tensor | None]]
Make = Callable[[Any], Optimizer]
KINDS: dict[str, Make] = {
    "sgd": lambda p: CPropSGD(p, 0.1, momentum=0.9, weight_decay=0.05),
    "adam": lambda p: CPropAdam(p, 0.1, amsgrad=True, cprop_cdf="normal"),
    "around adamw": lambda p: CProp(torch.optim.AdamW(p, 0.1), c=2.0),
    "around adai": lambda p: CProp(Adai(p, 0.1), cdf="logistic"),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])


def randn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def new_parameters(dtype: torch.dtype = torch.float64) -> list[Parameter]:
    return [Parameter(randn(*shape, seed=i, dtype=dtype)) for i, shape in enumerate([(3, 2), (4,)])]


def new_gradients(dtype: torch.dtype = torch.float64) -> list[list[Tensor | None]]:
    return [[randn(3, 2, seed=50 + t, dtype=dtype), randn(4, seed=90 + t, dtype=dtype)] for t in range(STEPS)]


def parameters_of(optimizer: Optimizer) -> list[Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def walk(optimizer: Optimizer, gradients: Gradients) -> list[Tensor]:
    parameters = parameters_of(optimizer)
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


def assert_same_bits(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype is b.dtype
        assert torch.equal(a, b)


# Saving and loading


@every_kind
@every_dtype
def test_a_saved_and_loaded_optimizer_goes_on_with_the_same_bits(make: Make, dtype: torch.dtype) -> None:
    gradients = new_gradients(dtype)
    expected = walk(make(new_parameters(dtype)), gradients)
    first = make(new_parameters(dtype))
    walk(first, gradients[:5])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = make([Parameter(parameter.detach().clone()) for parameter in parameters_of(first)])
    second.load_state_dict(torch.load(file))
    assert_same_bits(walk(second, gradients[5:]), expected)
    assert_same_bits(walk(first, gradients[5:]), expected)


@every_kind
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])  # noqa: S301 - ours
def test_a_copied_or_pickled_optimizer_goes_on_with_the_same_bits(
    make: Make, duplicate: Callable[[Optimizer], Optimizer]
) -> None:
    gradients = new_gradients()
    first = make(new_parameters())
    walk(first, gradients[:5])
    second = duplicate(first)
    expected = walk(first, gradients[5:])
    assert_same_bits(walk(second, gradients[5:]), expected)


@every_kind
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_parameters_have_single_precision_statistics(make: Make, dtype: torch.dtype) -> None:
    optimizer = make(new_parameters(dtype))
    walk(optimizer, new_gradients(dtype)[:3])
    for parameter in parameters_of(optimizer):
        assert parameter.dtype is dtype
        assert {optimizer.state[parameter][name].dtype for name in ("mean", "variance")} == {torch.float32}
    other = make(new_parameters(dtype))
    other.load_state_dict(optimizer.state_dict())
    for parameter in parameters_of(other):
        assert {other.state[parameter][name].dtype for name in ("mean", "variance")} == {torch.float32}


def test_loading_restores_the_wrapped_optimizers_state_and_the_settings() -> None:
    first = CProp(torch.optim.SGD(new_parameters(), 0.3, momentum=0.9), beta=0.9, c=3.0, eps=1e-4, cdf="bfo")
    walk(first, new_gradients()[:3])
    second = CProp(torch.optim.SGD(new_parameters(), 0.1, momentum=0.9))
    groups = second.param_groups
    second.load_state_dict(first.state_dict())
    assert (second.beta, second.c, second.eps, second.cdf) == (0.9, 3.0, 1e-4, "bfo")
    assert second.param_groups is second.optimizer.param_groups
    assert "param_groups" not in vars(second)
    assert groups[0]["params"] == second.param_groups[0]["params"]
    assert second.param_groups[0]["lr"] == 0.3
    for a, b in zip(parameters_of(first), parameters_of(second), strict=True):
        buffers = (o.optimizer.state[p]["momentum_buffer"] for o, p in ((first, a), (second, b)))
        assert_same_bits([next(buffers)], [next(buffers)])
        assert first.state[a]["mean"] is not second.state[b]["mean"]
        assert first.state[a]["mean"].data_ptr() != second.state[b]["mean"].data_ptr()


def test_a_state_of_another_optimizer_is_refused_and_nothing_changes() -> None:
    optimizer = CProp(torch.optim.SGD(new_parameters(), 0.1))
    other = torch.optim.SGD(new_parameters(), 0.2)
    with pytest.raises(ValueError, match="not the state of a CProp"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_state_for_other_groups_is_refused_and_nothing_changes() -> None:
    optimizer = CProp(torch.optim.SGD(new_parameters(), 0.1))
    two_groups = CProp(torch.optim.SGD([{"params": [p]} for p in new_parameters()], 0.2), c=5.0)
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optimizer.load_state_dict(two_groups.state_dict())
    assert (optimizer.param_groups[0]["lr"], optimizer.c) == (0.1, 1.0)


# The wrapper


def test_the_groups_are_the_wrapped_optimizers_own() -> None:
    inner = torch.optim.SGD(new_parameters(), 0.1)
    optimizer = CProp(inner)
    assert isinstance(optimizer, Optimizer)
    assert optimizer.param_groups is inner.param_groups
    added = Parameter(torch.ones(2, dtype=torch.float64))
    optimizer.add_param_group({"params": [added], "lr": 0.5})
    assert [group["lr"] for group in inner.param_groups] == [0.1, 0.5]
    inner.load_state_dict(inner.state_dict())
    assert optimizer.param_groups is inner.param_groups
    assert_same_bits(walk(optimizer, [[None, None, torch.ones(2, dtype=torch.float64)]])[2:], [added.detach()])
    assert added.tolist() == [0.5, 0.5]


def test_schedulers_and_zero_grad_work_on_the_wrapper() -> None:
    inner = torch.optim.SGD(new_parameters(), 1.0, momentum=0.9)
    optimizer = CProp(inner)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    walk(optimizer, new_gradients()[:1])
    scheduler.step()
    assert inner.param_groups[0]["lr"] == 0.5
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in parameters_of(inner))
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2.0, total_steps=10)
    optimizer.step()
    cycle.step()
    assert inner.param_groups[0]["lr"] != 0.5


@every_kind
def test_a_closure_is_called_once_with_gradients_enabled_and_its_loss_returned(make: Make) -> None:
    parameters, expected = new_parameters(), new_parameters()
    optimizer, plain = make(parameters), make(expected)
    losses = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = sum((parameter**2).sum() for parameter in parameters)
        loss.backward()
        losses.append(loss.item())
        return loss.item()

    for step in range(3):
        assert optimizer.step(closure) == losses[-1]
        assert len(losses) == step + 1
        plain.zero_grad()
        sum((parameter**2).sum() for parameter in expected).backward()
        plain.step()
    assert_same_bits([p.detach() for p in parameters], [p.detach() for p in expected])


def test_an_optimizer_that_needs_its_closure_may_be_wrapped() -> None:
    parameter = Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    optimizer = CProp(torch.optim.LBFGS([parameter], lr=0.5), c=1e9)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    assert parameter.abs().max().item() < 1e-3


@every_kind
def test_a_parameter_without_gradient_stays_and_keeps_its_count(make: Make) -> None:
    gradients = new_gradients()
    for step in (2, 3, 7):
        gradients[step][1] = None
    optimizer = make(new_parameters())
    walk(optimizer, gradients[:2])
    before = parameters_of(optimizer)[1].detach().clone()
    walk(optimizer, gradients[2:4])
    assert torch.equal(parameters_of(optimizer)[1], before)
    walk(optimizer, gradients[4:])
    counts = [int(optimizer.state[parameter]["step"]) for parameter in parameters_of(optimizer)]
    assert counts == [STEPS, STEPS - 3]


@every_kind
def test_gradients_are_not_changed(make: Make) -> None:
    optimizer = make(new_parameters())
    for step in new_gradients()[:3]:
        walk(optimizer, [step])
        assert_same_bits([p.grad for p in parameters_of(optimizer)], step)


@pytest.mark.parametrize("with_closure", [False, True])
@pytest.mark.parametrize("kind", ["sparse", "complex"])
def test_sparse_and_complex_gradients_are_refused_before_anything_changes(kind: str, with_closure: bool) -> None:
    good = Parameter(torch.ones(2))
    bad = Parameter(torch.ones(2, dtype=torch.complex64 if kind == "complex" else torch.float32))
    optimizer = CProp(torch.optim.SGD([good, bad], 0.1))

    def closure() -> float:
        good.grad = torch.ones(2)
        bad.grad = torch.ones_like(bad) if kind == "complex" else torch.ones(2).to_sparse()
        return 1.0

    if not with_closure:
        closure()
    with pytest.raises(RuntimeError, match=f"CProp does not support {kind}"):
        optimizer.step(closure if with_closure else None)
    assert good.tolist() == [1.0, 1.0]
    assert not optimizer.state


def test_the_statistics_see_the_gradient_as_the_wrapped_optimizer_leaves_it() -> None:
    class Shifting(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:  # type: ignore[override]
            for parameter in parameters_of(self):
                parameter.grad += 1
            return super().step(closure)

    parameters = [Parameter(torch.zeros(2))]
    optimizer = CProp(Shifting(parameters, 0.5))
    walk(optimizer, [[torch.tensor([0.0, -1.0])]])
    # A gradient of 0 has the scale 0, any other 1 in the first step.
    assert parameters[0].tolist() == [-0.5, 0.0]
    assert optimizer.state[parameters[0]]["mean"].tolist() == [1.0, 0.0]


def test_a_step_without_any_gradient_does_nothing() -> None:
    optimizer = CProp(torch.optim.AdamW(new_parameters(), 0.1))
    assert_same_bits(walk(optimizer, [[None, None]]), [p.detach() for p in new_parameters()])
    assert not optimizer.state


def test_parameters_that_are_not_contiguous_are_stepped_like_others() -> None:
    start, gradients = randn(4, 3, seed=1), [randn(3, 4, seed=t) for t in range(5)]
    turned = Parameter(start.t())
    plain = Parameter(start.t().contiguous())
    for make in (lambda p: CProp(torch.optim.SGD(p, 0.1)), lambda p: CPropSGD(p, 0.1, fused=False)):
        after, expected = (walk(make([p]), [[g] for g in gradients]) for p in (turned, plain))
        assert_same_bits(after, expected)


# Groups and arguments


@pytest.mark.parametrize("cls", [CPropSGD, CPropAdam])
def test_groups_have_their_own_hyperparameters_and_options(cls: type[CPropSGD] | type[CPropAdam]) -> None:
    gradients = new_gradients()
    option = {CPropSGD: {"nesterov": True, "momentum": 0.9}, CPropAdam: {"amsgrad": True, "betas": (0.5, 0.9)}}[cls]
    own = {"lr": 0.2, "cprop_beta": 0.9, "cprop_c": 3.0, "cprop_eps": 1e-3, "cprop_cdf": "normal", **option}
    parameters = new_parameters()
    optimizer = cls([{"params": parameters[:1]}, {"params": parameters[1:], **own}], lr=0.1)
    after = walk(optimizer, gradients)
    for i, arguments in enumerate([{"lr": 0.1}, own]):
        alone = cls([new_parameters()[i]], **arguments)
        assert_same_bits([after[i]], walk(alone, [[step[i]] for step in gradients]))


@pytest.mark.parametrize("cls", [CPropSGD, CPropAdam])
def test_maximizing_is_minimizing_the_negative(cls: type[CPropSGD] | type[CPropAdam]) -> None:
    gradients = new_gradients()
    ascent = walk(cls(new_parameters(), lr=0.1, maximize=True), gradients)
    negative = [[-gradient for gradient in step if gradient is not None] for step in gradients]
    assert_same_bits(ascent, walk(cls(new_parameters(), lr=0.1), negative))


COMMON = [
    ({"lr": -1.0}, "lr must be at least 0 and finite, not -1.0"),
    ({"cprop_beta": 1.0}, "cprop_beta must be at least 0 and below 1, not 1.0"),
    ({"cprop_c": -1.0}, "cprop_c must be at least 0 and finite, not -1.0"),
    ({"cprop_eps": -1e-8}, "cprop_eps must be at least 0 and finite, not -1e-08"),
    ({"cprop_cdf": "cubic"}, "cprop_cdf must be one of 'bft', 'normal', 'bfo', 'logistic', not 'cubic'"),
    ({"weight_decay": -0.1}, "weight_decay must be at least 0 and finite, not -0.1"),
]
SGD_ONLY = [
    ({"momentum": 1.0}, "momentum must be at least 0 and below 1, not 1.0"),
    ({"dampening": 1.5}, "dampening must be at least 0 and at most 1, not 1.5"),
    ({"nesterov": True}, "nesterov needs a momentum above 0 and a dampening of 0, not 0 and 0"),
    ({"nesterov": True, "momentum": 0.9, "dampening": 0.5}, "nesterov needs .* not 0.9 and 0.5"),
]
ADAM_ONLY = [
    ({"betas": (1.0, 0.9)}, r"betas\[0\] \(beta1\) must be at least 0 and below 1, not 1.0"),
    ({"eps": -1.0}, "eps must be at least 0 and finite, not -1.0"),
]


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [(CPropSGD, *bad) for bad in COMMON + SGD_ONLY] + [(CPropAdam, *bad) for bad in COMMON + ADAM_ONLY],
)
def test_a_bad_argument_is_refused_by_name_bound_and_value(
    cls: type[Optimizer], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cls(new_parameters(), **{"lr": 0.1, **arguments})
    with pytest.raises(ValueError, match=message):
        cls(new_parameters(), lr=0.1).add_param_group({"params": [Parameter(torch.ones(1))], **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 1.0}, "CProp: beta must be at least 0 and below 1, not 1.0"),
        ({"c": -1.0}, "CProp: c must be at least 0 and finite, not -1.0"),
        ({"eps": -1e-8}, "CProp: eps must be at least 0 and finite, not -1e-08"),
        ({"cdf": "cubic"}, "CProp: cdf must be one of 'bft', 'normal', 'bfo', 'logistic', not 'cubic'"),
    ],
)
def test_a_bad_argument_of_the_wrapper_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CProp(torch.optim.SGD(new_parameters(), 0.1), **arguments)


def test_only_optimizers_are_wrapped() -> None:
    with pytest.raises(TypeError, match=r"CProp: optimizer must be a torch\.optim\.Optimizer, not \[\]"):
        CProp([])  # type: ignore[arg-type]
