"""``Adai`` and ``AdaiW`` as optimizers of ordinary training loops."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from adai import Adai, AdaiW

quick = settings(max_examples=20, derandomize=True)
both_classes = pytest.mark.parametrize("cls", [Adai, AdaiW])
half_precision = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
STEPS = 12
Gradients = list[list[Tensor | None]]


def randn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def new_parameters(*shapes: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Parameter]:
    return [Parameter(randn(*shape, seed=seed + i, dtype=dtype)) for i, shape in enumerate(shapes)]


def new_gradients(parameters: list[Parameter], steps: int = STEPS, seed: int = 100) -> Gradients:
    return [
        [randn(*p.shape, seed=seed + 10 * step + i, dtype=p.dtype) for i, p in enumerate(parameters)]
        for step in range(steps)
    ]


def walk(optimizer: torch.optim.Optimizer, parameters: list[Parameter], gradients: Gradients) -> list[Tensor]:
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


def assert_same_bits(actual: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(actual, expected, strict=True):
        assert torch.equal(a, b)


def snapshot(optimizer: torch.optim.Optimizer, parameters: list[Parameter]) -> bytes:
    buffer = io.BytesIO()
    torch.save([optimizer.state_dict(), [parameter.detach() for parameter in parameters]], buffer)
    return buffer.getvalue()


def official_step(groups: list[dict[str, Any]], state: dict[int, dict[str, Any]]) -> None:
    """The two passes over all groups of facts 1.1; each group has lists ``theta`` and ``grad``."""
    total, count = 0.0, 0
    work = []
    for group in groups:
        beta0, beta2 = group["betas"]
        for theta, grad in zip(group["theta"], group["grad"], strict=True):
            if grad is None:
                continue
            s = state.setdefault(id(theta), {"t": 0, "m": theta * 0, "v": theta * 0, "product": theta * 0 + 1})
            s["t"] += 1
            if group["decoupled"]:
                theta.mul_(1 - group["lr"] * group["weight_decay"])
                g = grad
            else:
                g = grad + group["weight_decay"] * theta
            s["v"] = beta2 * s["v"] + (1 - beta2) * g**2
            v_hat = s["v"] / (1 - beta2 ** s["t"])
            total, count = total + v_hat.sum(), count + theta.numel()
            work.append((group, beta0, theta, g, v_hat, s))
    for group, beta0, theta, g, v_hat, s in work:
        mu = (1 - beta0 * v_hat / (total / count)).clamp(0, 1 - group["eps"])
        s["product"] = s["product"] * mu
        s["m"] = mu * s["m"] + (1 - mu) * g
        theta.sub_(group["lr"] * s["m"] / (1 - s["product"]))


# The path


@both_classes
@quick
@given(
    lr=st.floats(1e-6, 1e3),
    betas=st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 0.99999)),
    eps=st.floats(1e-3, 1.0),
    seed=st.integers(0, 10_000),
)
def test_the_first_step_is_the_gradient_times_the_learning_rate(
    cls: type[Adai], lr: float, betas: tuple[float, float], eps: float, seed: int
) -> None:
    parameter = Parameter(torch.zeros(20, dtype=torch.float64))
    gradient = randn(20, seed=seed) * torch.logspace(-6, 6, 20, dtype=torch.float64)
    (after,) = walk(cls([parameter], lr, betas, eps), [parameter], [[gradient]])
    torch.testing.assert_close(after, -lr * gradient, rtol=1e-15, atol=0)


@both_classes
@quick
@given(exponent=st.integers(-60, 60), seed=st.integers(0, 10_000))
def test_scaling_gradients_up_and_the_learning_rate_down_leaves_the_path_as_it_was(
    cls: type[Adai], exponent: int, seed: int
) -> None:
    # A power of two changes no digit, so the paths are equal to the bit.
    scale = 2.0**exponent
    parameters, scaled = (new_parameters((3, 2), (4,), seed=seed) for _ in range(2))
    gradients = new_gradients(parameters, seed=seed)
    path = walk(cls(parameters, lr=0.5), parameters, gradients)
    scaled_path = walk(cls(scaled, lr=0.5 / scale), scaled, [[g * scale for g in step] for step in gradients])
    assert_same_bits(scaled_path, path)


@pytest.mark.parametrize("scale", [1e-12, 3e-3, 0.7, 1e9])
def test_a_scale_that_is_no_power_of_two_leaves_the_path_as_it_was_to_rounding(scale: float) -> None:
    parameters, scaled = (new_parameters((3, 2), (4,)) for _ in range(2))
    gradients = new_gradients(parameters)
    path = walk(Adai(parameters, lr=0.5), parameters, gradients)
    scaled_path = walk(Adai(scaled, lr=0.5 / scale), scaled, [[g * scale for g in step] for step in gradients])
    torch.testing.assert_close(scaled_path, path, rtol=1e-12, atol=1e-12)


def test_v_bar_is_one_mean_over_all_parameter_groups_as_in_the_official_formula() -> None:
    shapes = ((3, 4), (5,), (2, 2), (7,))
    hyperparameters = [
        {"lr": 0.1, "betas": (0.1, 0.99), "eps": 1e-3, "weight_decay": 0.05, "decoupled": False},
        {"lr": 0.7, "betas": (0.5, 0.9), "eps": 1e-2, "weight_decay": 0.1, "decoupled": True},
    ]
    parameters = new_parameters(*shapes)
    groups = [
        {"params": parameters[2 * i : 2 * i + 2], **hyperparameters[i]}  # two parameters a group
        for i in range(2)
    ]
    optimizer = Adai(groups, lr=99.0)
    gradients = [[g * 10.0**i for i, g in enumerate(step)] for step in new_gradients(parameters, steps=20)]
    gradients[0][2] = gradients[3][1] = gradients[7][2] = gradients[7][3] = None
    expected = [parameter.detach().clone() for parameter in parameters]
    state: dict[int, dict[str, Any]] = {}
    for step in gradients:
        official_step(
            [
                {**hyperparameters[i], "theta": expected[2 * i : 2 * i + 2], "grad": step[2 * i : 2 * i + 2]}
                for i in range(2)
            ],
            state,
        )
        torch.testing.assert_close(walk(optimizer, parameters, [step]), expected, rtol=1e-12, atol=1e-12)


def test_the_same_parameters_optimized_apart_take_another_path() -> None:
    # So v_bar does span what one optimizer holds.
    shapes = ((4,), (6,))
    together, apart = new_parameters(*shapes), new_parameters(*shapes)
    gradients = [[g * 10.0**i for i, g in enumerate(step)] for step in new_gradients(together)]
    path = walk(Adai(together, lr=0.1), together, gradients)
    for i, parameter in enumerate(apart):
        (alone,) = walk(Adai([parameter], lr=0.1), [parameter], [[step[i]] for step in gradients])
        assert (alone - path[i]).abs().max() > 1e-3


def test_cutting_parameters_into_tensors_does_not_change_the_path() -> None:
    (whole,) = new_parameters((12,))
    pieces = [Parameter(piece.clone()) for piece in whole.detach().split([5, 1, 6])]
    gradients = new_gradients([whole])
    (path,) = walk(Adai([whole], lr=0.5), [whole], gradients)
    in_pieces = walk(Adai(pieces, lr=0.5), pieces, [list(step[0].split([5, 1, 6])) for step in gradients])
    torch.testing.assert_close(torch.cat(in_pieces), path, rtol=1e-12, atol=1e-12)


def test_maximizing_is_minimizing_along_the_negated_gradient() -> None:
    for options in ({}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True}):
        up, down = (new_parameters((3, 2), (4,)) for _ in range(2))
        gradients = new_gradients(up)
        path = walk(Adai(up, lr=0.1, maximize=True, **options), up, gradients)
        assert_same_bits(path, walk(Adai(down, lr=0.1, **options), down, [[-g for g in step] for step in gradients]))


def test_adaiw_is_adai_with_decoupled_weight_decay() -> None:
    first, second = (new_parameters((3, 2), (4,)) for _ in range(2))
    gradients = new_gradients(first)
    path = walk(AdaiW(first, 0.1, (0.2, 0.9), 1e-2, 0.1), first, gradients)
    assert_same_bits(path, walk(Adai(second, 0.1, (0.2, 0.9), 1e-2, 0.1, decoupled=True), second, gradients))
    third = new_parameters((3, 2), (4,))
    coupled = walk(Adai(third, 0.1, (0.2, 0.9), 1e-2, 0.1), third, gradients)
    assert (coupled[0] - path[0]).abs().max() > 1e-3


def test_defaults_are_those_of_the_authors_code() -> None:
    for cls in (Adai, AdaiW):
        (group,) = cls(new_parameters((2,)), 0.1).param_groups
        assert {k: v for k, v in group.items() if k != "params"} == {
            "lr": 0.1,
            "betas": (0.1, 0.99),
            "eps": 1e-3,
            "weight_decay": 0.0,
            "decoupled": cls is AdaiW,
            "maximize": False,
            "fused": None,
            "capturable": False,
            "running_v_bar": False,
        }


def test_the_learning_rate_has_no_default() -> None:
    with pytest.raises(TypeError, match="lr"):
        Adai(new_parameters((2,)))


@pytest.mark.parametrize("wrap", [float, torch.tensor])
def test_a_scheduler_changes_the_learning_rate_of_the_next_step(wrap: Callable[[float], Any]) -> None:
    parameters = [Parameter(torch.zeros(3, dtype=torch.float64))]
    optimizer = Adai(parameters, lr=wrap(0.5))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
    ones = [[torch.ones(3, dtype=torch.float64)]]
    (first,) = walk(optimizer, parameters, ones)
    scheduler.step()
    (second,) = walk(optimizer, parameters, ones)
    torch.testing.assert_close(first, torch.full_like(first, -0.5), rtol=1e-6, atol=0)
    torch.testing.assert_close(second - first, torch.full_like(first, -0.05), rtol=1e-6, atol=0)


@both_classes
def test_a_linear_regression_is_learned(cls: type[Adai]) -> None:
    inputs = randn(64, 3, seed=1)
    targets = inputs @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64) + 0.25
    model = torch.nn.Linear(3, 1).double()
    optimizer = cls(model.parameters(), lr=0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    losses = []
    for _ in range(300):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-4 * losses[0]


# Gradients that are zero, absent, or not supported


@both_classes
def test_an_element_that_never_sees_a_gradient_never_moves(cls: type[Adai]) -> None:
    parameters = new_parameters((3, 4), (5,))
    start = [parameter.detach().clone() for parameter in parameters]
    gradients = new_gradients(parameters)
    for step in gradients:
        step[0][1, 2] = 0.0
    after = walk(cls(parameters, lr=1.0), parameters, gradients)
    assert ((after[0] == start[0]).nonzero() == torch.tensor([[1, 2]])).all()
    assert (after[1] != start[1]).all()


@both_classes
def test_gradients_that_are_all_zero_move_nothing(cls: type[Adai]) -> None:
    parameters = new_parameters((3, 4), (5,))
    start = [parameter.detach().clone() for parameter in parameters]
    zeros = [[torch.zeros_like(parameter) for parameter in parameters]] * 3
    optimizer = cls(parameters, lr=1.0)
    assert_same_bits(walk(optimizer, parameters, zeros), start)
    after = walk(optimizer, parameters, new_gradients(parameters))
    assert all(tensor.isfinite().all() for tensor in after)
    assert all((a != b).all() for a, b in zip(after, start, strict=True))


def test_a_step_without_any_gradient_changes_nothing() -> None:
    for options in ({}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True}):
        parameters = new_parameters((3, 4), (5,))
        optimizer = Adai(parameters, lr=1.0, **options)
        before = snapshot(optimizer, parameters)
        assert optimizer.step() is None
        assert snapshot(optimizer, parameters) == before
        walk(optimizer, parameters, new_gradients(parameters))
        before = snapshot(optimizer, parameters)
        optimizer.zero_grad()
        optimizer.step()
        assert snapshot(optimizer, parameters) == before


def test_a_parameter_without_a_gradient_keeps_its_value_state_and_step_count() -> None:
    parameters = new_parameters((3,), (4,))
    optimizer = AdaiW(parameters, lr=0.5, weight_decay=0.1)
    walk(optimizer, parameters, new_gradients(parameters, steps=3))
    value, state = parameters[1].detach().clone(), copy.deepcopy(optimizer.state[parameters[1]])
    walk(optimizer, parameters, [[torch.ones(3, dtype=torch.float64), None]])
    assert torch.equal(parameters[1], value)
    assert [optimizer.state[parameter]["step"] for parameter in parameters] == [4, 3]
    for name in ("exp_avg", "exp_avg_sq", "beta1_prod"):
        assert torch.equal(optimizer.state[parameters[1]][name], state[name])


@both_classes
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_without_inertia_bound_an_element_without_gradient_stays_put(cls: type[Adai], dtype: torch.dtype) -> None:
    parameters = new_parameters((6,), dtype=dtype)
    start = parameters[0].detach().clone()
    gradients = new_gradients(parameters)
    for step in gradients:
        step[0][3] = 0.0
    (after,) = walk(cls(parameters, lr=0.1, eps=0.0), parameters, gradients)
    assert after.isfinite().all()
    assert after[3] == start[3]
    assert after[0] != start[0]


def test_an_element_without_inertia_bound_moves_once_it_sees_a_gradient() -> None:
    parameters = [Parameter(torch.zeros(2, dtype=torch.float64))]
    optimizer = Adai(parameters, lr=0.1, eps=0.0)
    walk(optimizer, parameters, [[torch.tensor([1.0, 0.0], dtype=torch.float64)]] * 3)
    (after,) = walk(optimizer, parameters, [[torch.tensor([1.0, 2.0], dtype=torch.float64)]])
    assert after[1].item() == pytest.approx(-0.2, rel=1e-12)


def test_a_parameter_without_elements_disturbs_nobody() -> None:
    parameters, alone = new_parameters((3,), (0,)), new_parameters((3,))
    gradients = new_gradients(parameters)
    after = walk(Adai(parameters, lr=0.1), parameters, gradients)
    assert_same_bits(after[:1], walk(Adai(alone, lr=0.1), alone, [step[:1] for step in gradients]))


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.3}, {"weight_decay": 0.3, "decoupled": True}])
@pytest.mark.parametrize("maximize", [False, True])
def test_a_step_leaves_gradients_as_they_were(options: dict[str, Any], maximize: bool) -> None:
    parameters = new_parameters((3, 4), (5,))
    optimizer = Adai(parameters, lr=0.1, maximize=maximize, **options)
    for step in new_gradients(parameters, steps=3):
        walk(optimizer, parameters, [step])
        assert_same_bits([parameter.grad for parameter in parameters], step)


def embedding_with_sparse_gradient() -> list[Parameter]:
    embedding = torch.nn.Embedding(5, 3, sparse=True)
    embedding(torch.tensor([1, 2])).sum().backward()
    return list(embedding.parameters())


def complex_parameter() -> list[Parameter]:
    parameter = Parameter(torch.ones(3, dtype=torch.complex64))
    parameter.grad = torch.ones(3, dtype=torch.complex64)
    return [parameter]


@both_classes
@pytest.mark.parametrize(
    ("make", "advice"),
    [(embedding_with_sparse_gradient, "sparse=False"), (complex_parameter, "torch.view_as_real")],
)
def test_unsupported_gradients_are_refused_with_advice(
    cls: type[Adai], make: Callable[[], list[Parameter]], advice: str
) -> None:
    with pytest.raises(RuntimeError, match=f"does not support.*{advice}"):
        cls(make(), lr=0.1).step()


@pytest.mark.parametrize("make", [embedding_with_sparse_gradient, complex_parameter])
def test_a_refused_step_changes_nothing(make: Callable[[], list[Parameter]]) -> None:
    supported = new_parameters((3,))
    parameters = supported + make()
    optimizer = AdaiW(parameters, lr=0.1, weight_decay=0.5)
    supported[0].grad = torch.ones(3, dtype=torch.float64)
    before = snapshot(optimizer, parameters)
    with pytest.raises(RuntimeError, match="does not support"):
        optimizer.step()
    assert snapshot(optimizer, parameters) == before


# Closures


def test_a_closure_may_call_backward_and_its_loss_is_returned() -> None:
    parameters, by_hand = new_parameters((4,)), new_parameters((4,))
    optimizer = Adai(parameters, lr=0.1)
    reference = Adai(by_hand, lr=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = parameters[0].square().sum()
        loss.backward()
        return loss

    for _ in range(5):
        expected = by_hand[0].detach().square().sum()
        loss = optimizer.step(closure)
        assert loss is not None
        assert torch.equal(loss.detach(), expected)
        walk(reference, by_hand, [[2 * by_hand[0].detach()]])
        assert torch.equal(parameters[0], by_hand[0])


def test_a_step_without_closure_returns_nothing() -> None:
    parameters = new_parameters((4,))
    parameters[0].grad = torch.ones(4, dtype=torch.float64)
    assert Adai(parameters, lr=0.1).step() is None


def test_parameters_still_require_gradients_after_a_step() -> None:
    parameters = new_parameters((4,))
    walk(Adai(parameters, lr=0.1), parameters, new_gradients(parameters))
    assert parameters[0].requires_grad
    assert parameters[0].is_leaf


# Saving and loading


@both_classes
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_run_saved_midway_goes_on_as_if_it_had_not_been(cls: type[Adai], dtype: torch.dtype) -> None:
    parameters = new_parameters((3, 4), (5,), dtype=dtype)
    gradients = new_gradients(parameters)
    gradients[2][1] = None
    optimizer = cls(parameters, lr=0.1, weight_decay=0.05)
    walk(optimizer, parameters, gradients[:6])
    state_dict, values = torch.load(io.BytesIO(snapshot(optimizer, parameters)))
    resumed = [Parameter(value) for value in values]
    resumed_optimizer = cls(resumed, lr=77.0)
    resumed_optimizer.load_state_dict(state_dict)
    expected = walk(optimizer, parameters, gradients[6:])
    assert_same_bits(walk(resumed_optimizer, resumed, gradients[6:]), expected)
    assert [resumed_optimizer.state[parameter]["step"] for parameter in resumed] == [STEPS, STEPS - 1]


@half_precision
def test_state_loaded_for_half_precision_parameters_is_still_float32(dtype: torch.dtype) -> None:
    parameters = new_parameters((5,), dtype=dtype)
    optimizer = Adai(parameters, lr=0.1)
    walk(optimizer, parameters, new_gradients(parameters))
    optimizer.load_state_dict(optimizer.state_dict())
    state = optimizer.state[parameters[0]]
    assert {state[name].dtype for name in ("exp_avg", "exp_avg_sq", "beta1_prod")} == {torch.float32}


def test_a_pickled_optimizer_goes_on_where_it_was() -> None:
    parameters = new_parameters((3, 4), (5,))
    gradients = new_gradients(parameters)
    optimizer = Adai(parameters, lr=0.1, weight_decay=0.05)
    walk(optimizer, parameters, gradients[:6])
    copied = pickle.loads(pickle.dumps(optimizer))  # noqa: S301 - we pickled it ourselves
    expected = walk(optimizer, parameters, gradients[6:])
    assert_same_bits(walk(copied, copied.param_groups[0]["params"], gradients[6:]), expected)


def test_a_state_dict_of_the_authors_first_class_loads_as_coupled_and_descending() -> None:
    parameters, older = (new_parameters((3, 4), (5,)) for _ in range(2))
    gradients = new_gradients(parameters)
    optimizer = Adai(parameters, lr=0.1, weight_decay=0.05)
    walk(optimizer, parameters, gradients[:6])
    state_dict = copy.deepcopy(optimizer.state_dict())
    for group in state_dict["param_groups"]:
        del group["decoupled"], group["maximize"]
    for old, parameter in zip(older, parameters, strict=True):
        old.data.copy_(parameter)
    resumed = Adai(older, lr=0.1)
    resumed.load_state_dict(state_dict)
    assert_same_bits(walk(resumed, older, gradients[6:]), walk(optimizer, parameters, gradients[6:]))


# Low precision


@both_classes
@half_precision
def test_half_precision_parameters_stay_finite_and_keep_float32_state(cls: type[Adai], dtype: torch.dtype) -> None:
    parameters = new_parameters((6,), (3, 2), dtype=dtype)
    start = [parameter.detach().clone() for parameter in parameters]
    # The first element's gradients are so small that its inertia is at the bound, 0.999, which is 1 in bfloat16.
    gradients = new_gradients(parameters)
    for step in gradients:
        step[0][0] *= 1e-3
    optimizer = cls(parameters, lr=0.1, weight_decay=0.01)
    after = walk(optimizer, parameters, gradients)
    for parameter, end, begin in zip(parameters, after, start, strict=True):
        assert end.dtype == dtype
        assert end.isfinite().all()
        assert not torch.equal(end, begin)
        state = optimizer.state[parameter]
        assert {state[name].dtype for name in ("exp_avg", "exp_avg_sq", "beta1_prod")} == {torch.float32}


@half_precision
def test_a_half_precision_step_is_the_float32_step_rounded(dtype: torch.dtype) -> None:
    (low,) = new_parameters((50,), dtype=dtype)
    high = Parameter(low.detach().float())
    low_optimizer, high_optimizer = (Adai([p], lr=0.1, weight_decay=0.1) for p in (low, high))
    for (gradient,) in new_gradients([low]):
        high.data.copy_(low)
        walk(low_optimizer, [low], [[gradient]])
        walk(high_optimizer, [high], [[gradient.float()]])
        assert torch.equal(low, high.to(dtype))


def test_parameters_of_different_precision_share_one_v_bar() -> None:
    mixed = [Parameter(torch.zeros(4, dtype=dtype)) for dtype in (torch.bfloat16, torch.float32, torch.float64)]
    exact = [Parameter(torch.zeros(4, dtype=torch.float64)) for _ in mixed]
    # Gradients that every precision holds exactly.
    gradients = [[torch.tensor([1.0, -2.0, 0.5, 4.0]) * 2.0**i for i in range(3)] for _ in range(3)]
    after = walk(
        Adai(mixed, lr=0.1), mixed, [[g.to(p.dtype) for g, p in zip(s, mixed, strict=True)] for s in gradients]
    )
    expected = walk(Adai(exact, lr=0.1), exact, [[g.double() for g in s] for s in gradients])
    for actual, exactly, tolerance in zip(after, expected, (2e-2, 1e-5, 1e-5), strict=True):
        torch.testing.assert_close(actual.double(), exactly, rtol=tolerance, atol=0)


# Invalid hyperparameters

INVALID = [
    ("lr", {"lr": -0.1}, "-0.1"),
    ("lr", {"lr": math.nan}, "nan"),
    ("lr", {"lr": math.inf}, "inf"),
    ("beta0", {"betas": (-0.01, 0.9)}, "-0.01"),
    ("beta0", {"betas": (math.nan, 0.9)}, "nan"),
    ("beta2", {"betas": (0.1, 1.0)}, "1.0"),
    ("beta2", {"betas": (0.1, -0.5)}, "-0.5"),
    ("beta2", {"betas": (0.1, math.nan)}, "nan"),
    ("eps", {"eps": -1e-3}, "-0.001"),
    ("weight_decay", {"weight_decay": -5e-4}, "-0.0005"),
    ("weight_decay", {"weight_decay": math.inf}, "inf"),
]


@both_classes
@pytest.mark.parametrize(("argument", "wrong", "value"), INVALID)
def test_an_invalid_hyperparameter_is_refused_by_name_and_value(
    cls: type[Adai], argument: str, wrong: dict[str, Any], value: str
) -> None:
    with pytest.raises(ValueError, match=argument) as caught:
        cls(new_parameters((2,)), **{"lr": 0.1, **wrong})
    assert str(caught.value).endswith(f"not {value}")


@both_classes
@pytest.mark.parametrize(("argument", "wrong", "value"), INVALID)
def test_a_group_with_an_invalid_hyperparameter_is_refused_and_the_optimizer_unchanged(
    cls: type[Adai], argument: str, wrong: dict[str, Any], value: str
) -> None:
    parameters, more = new_parameters((2,)), new_parameters((3,))
    optimizer = cls(parameters, lr=0.1)
    walk(optimizer, parameters, new_gradients(parameters, steps=2))
    before = snapshot(optimizer, parameters)
    with pytest.raises(ValueError, match=argument) as caught:
        optimizer.add_param_group({"params": more, **wrong})
    assert str(caught.value).endswith(f"not {value}")
    assert snapshot(optimizer, parameters) == before
    optimizer.add_param_group({"params": more, "lr": 0.2})
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]


@both_classes
def test_a_group_given_to_the_constructor_is_checked_as_well(cls: type[Adai]) -> None:
    good, bad = ({"params": new_parameters((2,)), "lr": lr} for lr in (0.1, -3.0))
    with pytest.raises(ValueError, match=r"lr .* not -3\.0"):
        cls([good, bad], lr=0.1)


def test_an_invalid_default_is_refused_even_where_every_group_has_its_own_value() -> None:
    with pytest.raises(ValueError, match=r"lr .* not -1\.0"):
        Adai([{"params": new_parameters((2,)), "lr": 0.1}], lr=-1.0)


@both_classes
@pytest.mark.parametrize(
    "edge", [{"lr": 0.0}, {"betas": (0.0, 0.0)}, {"betas": (1e6, 0.5)}, {"eps": 0.0}, {"eps": 1.0}]
)
def test_hyperparameters_at_the_edge_of_their_range_are_accepted_and_give_numbers(
    cls: type[Adai], edge: dict[str, Any]
) -> None:
    parameters = new_parameters((5,))
    (after,) = walk(cls(parameters, **{"lr": 0.1, **edge}), parameters, new_gradients(parameters))
    assert after.isfinite().all()
