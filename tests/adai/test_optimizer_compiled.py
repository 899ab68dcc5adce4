"""``Adai``, ``AdaiW`` and ``AdaiV2``: the compiled step beside the plain one, whatever is done to them midway."""

import copy
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.nn import Parameter
from torch.optim import Optimizer

from adai import Adai, AdaiV2, AdaiW

# Only where there is none: a compiler that cannot compile our source is a failure.
pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="there is no gcc: apt-get install gcc (.ci/run does)")

quick = settings(max_examples=40, derandomize=True)
Make = Callable[..., Optimizer]
Gradients = Sequence[Tensor | None]
Change = Callable[[Optimizer, list[Parameter]], None]
MAKERS: dict[str, Make] = {
    "adai": Adai,
    "adai-decoupled": lambda params, lr=0.1, **o: Adai(params, lr, **{"decoupled": True, **o}),
    "adaiw": AdaiW,
    "adaiv2": lambda params, lr=0.1, **o: AdaiV2(params, lr, **{"dampening": 0.5, **o}),
    "adaiv2-coupled": lambda params, lr=0.1, **o: AdaiV2(params, lr, **{"dampening": 0.0, "decoupled": False, **o}),
}
every_class = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
every_precision = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
SHAPES = ((3, 4), (5,), (), (2, 3, 2), (9000,))


def randn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def new_parameters(shapes: Sequence[tuple[int, ...]] = SHAPES, dtype: torch.dtype = torch.float64) -> list[Parameter]:
    return [Parameter(randn(*shape, seed=seed, dtype=dtype)) for seed, shape in enumerate(shapes)]


def new_gradients(
    steps: int, shapes: Sequence[tuple[int, ...]] = SHAPES, dtype: torch.dtype = torch.float64
) -> list[list[Any]]:
    """Of another scale for each parameter and step, so that a wrong v_bar shows."""
    return [
        [
            randn(*shape, seed=1000 + 50 * step + i, dtype=dtype) * 3.0 ** (i % 3) * (1 + step % 4)
            for i, shape in enumerate(shapes)
        ]
        for step in range(steps)
    ]


def step_with(optimizer: Optimizer, parameters: Sequence[Parameter], gradients: Gradients) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.clone()
    optimizer.step()


def assert_close(actual: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float | None = None) -> None:
    for a, e in zip(actual, expected, strict=True):
        allowed = TOLERANCE[e.dtype] if tolerance is None else tolerance
        torch.testing.assert_close(a.detach(), e.detach(), rtol=allowed, atol=allowed)


def assert_same_bits(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    assert all(map(torch.equal, actual, expected))


def values_of(parameters: Sequence[Parameter]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


def steps_of(optimizer: Optimizer) -> list[int]:
    """How many steps each parameter has taken."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return [int(optimizer.state[p]["step"]) if p in optimizer.state else 0 for p in parameters]


def assert_fused_is_plain(
    make: Make,
    gradients: Sequence[Gradients],
    changes: dict[int, Change] | None = None,
    *,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
    dtype: torch.dtype = torch.float64,
    fused: bool | None = True,
    tolerance: float | None = None,
    **options: Any,
) -> None:
    """The compiled and the plain path stay together; before some steps, a change is made to both."""
    runs = []
    for way in (fused, False):
        parameters = new_parameters(shapes, dtype)
        runs.append((make(parameters, lr=0.1, fused=way, **options), parameters))
    for step, given_now in enumerate(gradients):
        for optimizer, parameters in runs:
            if changes and step in changes:
                changes[step](optimizer, parameters)
            step_with(optimizer, parameters, given_now)
        (fused_optimizer, fused_parameters), (plain_optimizer, plain_parameters) = runs
        assert_close(fused_parameters, plain_parameters, tolerance)
        assert steps_of(fused_optimizer) == steps_of(plain_optimizer)


# The path


@every_class
@every_precision
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.05}, {"weight_decay": 0.05, "maximize": True}])
def test_the_compiled_step_is_the_plain_step(make: Make, dtype: torch.dtype, options: dict[str, Any]) -> None:
    assert_fused_is_plain(make, new_gradients(25, dtype=dtype), dtype=dtype, **options)


@every_class
def test_a_path_into_retired_products_is_the_plain_path(make: Make) -> None:
    # With eps = 0.9 products are negligible from the 17th step on.
    assert_fused_is_plain(make, new_gradients(40), eps=0.9, betas=(0.05, 0.9))


def drawn_groups(seed: int) -> tuple[list[dict[str, Any]], list[tuple[int, ...]]]:
    """Groups that differ in every hyperparameter, and the shapes of their parameters."""
    generator = torch.Generator().manual_seed(seed)

    def unit() -> float:
        return torch.rand((), generator=generator, dtype=torch.float64).item()

    groups: list[dict[str, Any]] = []
    shapes: list[tuple[int, ...]] = []
    for _ in range(1 + int(3 * unit())):
        all_shapes: list[tuple[int, ...]] = [(), (0,), (1,), (7,), (3, 5), (2, 3, 4), (8193,)]
        own = all_shapes[int(7 * unit()) :][: 1 + int(3 * unit())]
        shapes += own
        groups.append(
            {
                "count": len(own),
                "lr": 10 ** (3 * unit() - 4),
                "betas": (10 ** (4 * unit() - 2), 1 - 10 ** (-3 * unit())),
                "eps": [10 ** (-3 * unit()), 1.0, 1.3][int(3 * unit())],
                "weight_decay": [0.0, 0.1 * unit()][int(2 * unit())],
                "decoupled": unit() < 0.5,
                "maximize": unit() < 0.3,
                "dampening": [1.0, 0.0, unit()][int(3 * unit())],
            }
        )
    return groups, shapes


@quick
@given(seed=st.integers(0, 10_000), cls=st.sampled_from([Adai, AdaiV2]), missing=st.booleans())
def test_groups_may_differ_in_everything(seed: int, cls: type[Optimizer], missing: bool) -> None:
    groups, shapes = drawn_groups(seed)

    def make(parameters: list[Parameter], **options: Any) -> Optimizer:
        del options["lr"]
        remaining, own = list(parameters), []
        for group in groups:
            left_out = {"count"} if cls is AdaiV2 else {"count", "dampening"}
            members, remaining = remaining[: group["count"]], remaining[group["count"] :]
            own.append({"params": members, **{name: v for name, v in group.items() if name not in left_out}})
        return cls(own, lr=99.0, **options)

    gradients = new_gradients(15, shapes)
    generator = torch.Generator().manual_seed(seed)
    for step in gradients:
        for i, left_out in enumerate((torch.rand(len(shapes), generator=generator) < 0.3 * missing).tolist()):
            step[i] = None if left_out else step[i]
    assert_fused_is_plain(make, gradients, shapes=shapes, tolerance=1e-11)


@every_class
@every_precision
def test_parameters_may_be_without_gradient_at_any_time(make: Make, dtype: torch.dtype) -> None:
    gradients = new_gradients(14, dtype=dtype)
    for step, missing in {0: [0, 4], 1: [0], 5: [1, 2], 6: [3], 9: [0, 1, 2, 3], 10: [0, 1, 2, 3, 4]}.items():
        for i in missing:
            gradients[step][i] = None
    assert_fused_is_plain(make, gradients, dtype=dtype, weight_decay=0.01)


def test_a_parameter_that_never_has_a_gradient_keeps_its_bits_and_gets_no_state() -> None:
    gradients = new_gradients(6)
    for step in gradients:
        step[1] = None
    assert_fused_is_plain(Adai, gradients)
    parameters = new_parameters()
    before = parameters[1].detach().clone()
    optimizer = Adai(parameters, 0.1, fused=True)
    for step in gradients:
        step_with(optimizer, parameters, step)
    assert torch.equal(parameters[1], before)
    assert parameters[1] not in optimizer.state


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_poisoned_gradient_spoils_what_it_spoils_in_the_plain_step(poison: float) -> None:
    runs = []
    for fused in (True, False):
        parameters = new_parameters()
        optimizer = Adai(parameters, 0.1, fused=fused)
        gradients = new_gradients(3)
        gradients[1][1][2] = poison
        for step in gradients:
            step_with(optimizer, parameters, step)
        runs.append([parameter.detach().isnan() for parameter in parameters])
    assert_same_bits(*runs)
    assert runs[0][1][2]


# Layouts and storage


@every_class
def test_gradients_may_lie_in_any_order(make: Make) -> None:
    shapes = ((4, 3, 5, 5), (6, 7), (11,), (4, 4))
    laid = [
        [
            step[0].to(memory_format=torch.channels_last),
            step[1].T.contiguous().T,
            step[2].new_tensor([0.5 + i]).expand(11),
            torch.stack([step[3], step[3]], dim=-1)[..., 0],
        ]
        for i, step in enumerate(new_gradients(8, shapes))
    ]
    assert not any(gradient.is_contiguous() for step in laid for gradient in step)
    runs = []
    for fused in (True, False):
        parameters = new_parameters(shapes)
        optimizer = make(parameters, lr=0.1, fused=fused, weight_decay=0.01)
        for step in laid:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = gradient.detach()
            optimizer.step()
        runs.append(parameters)
    assert_close(*runs)


def move_storage(_: Optimizer, parameters: list[Parameter]) -> None:
    for parameter in parameters:
        parameter.data = parameter.data.clone()


def put_new_values(_: Optimizer, parameters: list[Parameter]) -> None:
    parameters[0].data = randn(3, 4, seed=77)
    parameters[1].detach().fill_(0.25)


@every_class
@pytest.mark.parametrize("change", [move_storage, put_new_values])
def test_a_parameter_may_be_put_into_another_storage(make: Make, change: Change) -> None:
    assert_fused_is_plain(make, new_gradients(9), {0: change, 4: change, 6: change})


def test_a_parameter_that_was_transposed_in_place_is_stepped_as_it_now_lies() -> None:
    # Its address is the same, and so is the number of its elements.
    def transpose(optimizer: Optimizer, parameters: list[Parameter]) -> None:
        parameters[0].grad = None
        parameters[0].data = parameters[0].data.T
        state = optimizer.state[parameters[0]]
        for name in ("exp_avg", "exp_avg_sq", "beta1_prod"):
            state[name].copy_(state[name].T.clone())

    shapes = ((4, 4), (3,))
    assert_fused_is_plain(Adai, new_gradients(8, shapes), {4: transpose}, shapes=shapes, fused=None)


def test_a_parameter_that_was_cut_off_in_place_is_not_written_beyond_its_end() -> None:
    whole = torch.ones(10, dtype=torch.float64)
    parameter = Parameter(whole)
    optimizer = Adai([parameter], 0.1, fused=None)
    step_with(optimizer, [parameter], [torch.ones(10, dtype=torch.float64)])
    before = whole.clone()
    parameter.grad = None
    parameter.data = whole[:4]
    parameter.grad = torch.ones(4, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"has 10 elements instead of 4|size of tensor"):
        optimizer.step()
    assert torch.equal(whole, before)


def test_a_gradient_of_another_precision_is_left_to_the_plain_step() -> None:
    runs = []
    for fused in (None, False):
        parameter = Parameter(torch.ones(6, dtype=torch.float64))
        optimizer = Adai([parameter], 0.1, fused=fused)
        step_with(optimizer, [parameter], [torch.ones(6, dtype=torch.float64)])
        parameter.grad = None
        parameter.grad_dtype = None
        for _ in range(2):
            step_with(optimizer, [parameter], [torch.linspace(-1, 1, 6, dtype=torch.float32)])
        runs.append([parameter.detach()])
    assert_close(*runs)
    optimizer.param_groups[0]["fused"] = True
    with pytest.raises(RuntimeError, match="another precision"):
        optimizer.step()


def test_autograd_refuses_to_go_back_through_parameters_that_the_compiled_step_has_overwritten() -> None:
    parameter, inputs = Parameter(torch.ones(3)), torch.ones(3, requires_grad=True)
    optimizer = Adai([parameter], 0.1, fused=True)
    parameter.grad = torch.ones(3)
    for _ in range(2):
        loss = (parameter * inputs).sum()
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


# Training loops


@every_class
@pytest.mark.parametrize("zeroing", ["to none", "to zero", "never", "alternating"])
def test_a_model_is_trained_alike_however_gradients_are_cleared(make: Make, zeroing: str) -> None:
    inputs, targets = randn(32, 6, seed=1), randn(32, 2, seed=2)
    runs = []
    for fused in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
        start = values_of(list(model.parameters()))
        optimizer = make(model.parameters(), lr=0.05, fused=fused, weight_decay=0.01)
        for step in range(20):
            if zeroing != "never":
                optimizer.zero_grad(set_to_none=zeroing == "to none" or (zeroing == "alternating" and step % 3 == 0))
            (model(inputs) - targets).square().mean().backward()
            optimizer.step()
        runs.append(values_of(list(model.parameters())))
    assert_close(runs[0], runs[1], tolerance=1e-10)  # gradients feed rounding back
    assert (runs[0][0] - start[0]).abs().max() > 1e-3


@every_class
@pytest.mark.parametrize("wrap", [float, torch.tensor])
def test_schedulers_move_the_learning_rate_of_the_compiled_step(make: Make, wrap: Callable[[float], Any]) -> None:
    runs = []
    for fused in (True, False):
        parameters = new_parameters()
        optimizer = make(parameters, lr=wrap(0.5), fused=fused, weight_decay=0.01)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1)
        path = []
        for step in new_gradients(10):
            step_with(optimizer, parameters, step)
            scheduler.step()
            path += values_of(parameters)
        runs.append(path)
    # The plain step multiplies by a learning rate that is a float32 tensor in the tensor's own precision.
    assert_close(runs[0], runs[1], tolerance=1e-12 if wrap is float else 1e-6)


def test_a_learning_rate_that_is_a_tensor_may_be_changed_in_place() -> None:
    parameters = [Parameter(torch.zeros(3, dtype=torch.float64))]
    optimizer = Adai(parameters, lr=torch.tensor(0.5, dtype=torch.float64), fused=True)
    expected = 0.0
    for lr in (0.5, 0.25, 2.0):
        optimizer.param_groups[0]["lr"].fill_(lr)
        step_with(optimizer, parameters, [torch.ones(3, dtype=torch.float64)])
        expected -= lr
        assert_close(parameters, [torch.full((3,), expected, dtype=torch.float64)])


def set_values(optimizer: Optimizer, _: list[Parameter]) -> None:
    group = optimizer.param_groups[0]
    group.update(lr=0.7, betas=(0.3, 0.8), eps=0.02, weight_decay=0.2, maximize=not group["maximize"])


@every_class
def test_hyperparameters_may_be_set_at_any_time(make: Make) -> None:
    assert_fused_is_plain(make, new_gradients(12), {3: set_values, 7: set_values})


# What is done to an optimizer midway


def add_group(optimizer: Optimizer, parameters: list[Parameter]) -> None:
    parameters.append(Parameter(randn(4, 2, seed=500)))
    optimizer.add_param_group({"params": [parameters[-1]], "lr": 0.3, "betas": (0.2, 0.9)})


@every_class
def test_a_group_may_be_added_midway(make: Make) -> None:
    gradients = new_gradients(10, (*SHAPES, (4, 2)))
    for step in gradients[:4]:
        del step[-1]
    assert_fused_is_plain(make, gradients, {4: add_group})


def move_to_another_group(optimizer: Optimizer, _: list[Parameter]) -> None:
    # The order of parameters stays.
    first, second = optimizer.param_groups
    second["params"].insert(0, first["params"].pop())


@every_class
def test_a_parameter_may_move_to_another_group(make: Make) -> None:
    def make_grouped(parameters: list[Parameter], **options: Any) -> Optimizer:
        return make([{"params": parameters[:3]}, {"params": parameters[3:], "lr": 0.7}], **options)

    assert_fused_is_plain(make_grouped, new_gradients(10), {5: move_to_another_group})


def reload(optimizer: Optimizer, _: list[Parameter]) -> None:
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def reload_shared(optimizer: Optimizer, _: list[Parameter]) -> None:
    optimizer.load_state_dict(optimizer.state_dict())


def forget(optimizer: Optimizer, _: list[Parameter]) -> None:
    optimizer.state.clear()


def forget_one(optimizer: Optimizer, parameters: list[Parameter]) -> None:
    del optimizer.state[parameters[2]]


def clone_state(optimizer: Optimizer, _: list[Parameter]) -> None:
    for state in optimizer.state.values():
        for name in state:
            state[name] = state[name].clone()


def scale_new_state(optimizer: Optimizer, _: list[Parameter]) -> None:
    for state in optimizer.state.values():
        state["exp_avg"] = state["exp_avg"] * 0.5
        state["exp_avg_sq"] = state["exp_avg_sq"] * 4.0


def set_steps_back(optimizer: Optimizer, _: list[Parameter]) -> None:
    for state in optimizer.state.values():
        state["step"].fill_(1)


def look_at_a_state_that_is_not_there(optimizer: Optimizer, _: list[Parameter]) -> None:
    assert optimizer.state[Parameter(torch.zeros(1))] == {}


CHANGES = [reload, reload_shared, forget, forget_one, clone_state, scale_new_state, set_steps_back]


@every_class
@pytest.mark.parametrize("running_v_bar", [False, True])
@pytest.mark.parametrize("change", [*CHANGES, look_at_a_state_that_is_not_there])
def test_the_state_may_be_replaced_midway(make: Make, change: Change, running_v_bar: bool) -> None:
    changes = {4: change, 5: change, 8: change}
    tolerance = 1e-11 if running_v_bar else 1e-12
    assert_fused_is_plain(make, new_gradients(14), changes, running_v_bar=running_v_bar, tolerance=tolerance)


def use(way: bool | None) -> Change:
    """Switch the way of stepping, of the optimizer that was made with ``fused=True``."""

    def change(optimizer: Optimizer, _: list[Parameter]) -> None:
        if optimizer.defaults["fused"] is True:
            for group in optimizer.param_groups:
                group["fused"] = way

    return change


@every_class
@pytest.mark.parametrize("running_v_bar", [False, True])
def test_the_way_of_stepping_may_be_switched_midway(make: Make, running_v_bar: bool) -> None:
    # Gradients grow by much while the plain step is taken; a running v_bar must hear of it.
    gradients = new_gradients(16)
    for step in gradients[6:9]:
        for gradient in step:
            gradient.mul_(100)
    changes = {3: use(None), 6: use(False), 9: use(True), 12: use(False), 13: use(None)}
    tolerance = 1e-11 if running_v_bar else 1e-12
    assert_fused_is_plain(make, gradients, changes, running_v_bar=running_v_bar, tolerance=tolerance)


@every_class
def test_once_refused_the_compiled_step_is_not_taken(make: Make) -> None:
    parameters = new_parameters()
    optimizer = make(parameters, lr=0.1, fused=None)
    gradients = new_gradients(8)
    for step in gradients[:4]:
        step_with(optimizer, parameters, step)
    reference = [Parameter(values) for values in values_of(parameters)]
    plain = make(reference, lr=77.0, fused=None)
    plain.load_state_dict(optimizer.state_dict())
    for group in (*optimizer.param_groups, *plain.param_groups):
        group["fused"] = False
    for step in gradients[4:]:
        step_with(optimizer, parameters, step)
        step_with(plain, reference, step)
    assert_same_bits(parameters, reference)  # which rounding would tell apart


@every_class
def test_a_state_goes_from_the_compiled_step_to_the_plain_one_and_back(make: Make) -> None:
    reference = new_parameters()
    plain = make(reference, lr=0.1, fused=False)
    parameters = new_parameters()
    optimizer = make(parameters, lr=0.1, fused=True)
    for step, given_now in enumerate(new_gradients(15)):
        if step in (5, 10):
            saved = optimizer.state_dict()
            parameters = [Parameter(values) for values in values_of(parameters)]
            optimizer = make(parameters, lr=77.0, fused=None)
            optimizer.load_state_dict(saved)
            optimizer.param_groups[0]["fused"] = step == 10
        step_with(optimizer, parameters, given_now)
        step_with(plain, reference, given_now)
        assert_close(parameters, reference)


def pickled_and_back(both: Any) -> Any:
    return pickle.loads(pickle.dumps(both))  # noqa: S301 - we pickled it ourselves


@every_class
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled_and_back])
def test_a_copy_goes_its_own_way_and_leaves_the_original_alone(make: Make, copied: Callable[[Any], Any]) -> None:
    gradients = new_gradients(12)
    parameters, reference = new_parameters(), new_parameters()
    optimizer, plain = make(parameters, lr=0.1, fused=True), make(reference, lr=0.1, fused=False)
    for step in gradients[:5]:
        step_with(optimizer, parameters, step)
        step_with(plain, reference, step)
    copied_optimizer, copied_parameters = copied((optimizer, parameters))
    for step in gradients[5:]:
        step_with(copied_optimizer, copied_parameters, step)
    assert_close(parameters, reference)
    assert steps_of(optimizer) == [5] * len(parameters)
    for step in gradients[5:]:
        step_with(optimizer, parameters, step)
        step_with(plain, reference, step)
    assert_close(parameters, reference)
    assert_same_bits(copied_parameters, parameters)
    assert steps_of(copied_optimizer) == [12] * len(parameters)


# Threads


@every_class
@pytest.mark.parametrize("running_v_bar", [False, True])
def test_bits_do_not_depend_on_the_number_of_threads(make: Make, running_v_bar: bool) -> None:
    shapes = ((300, 1000), (7,), (40_001,))  # enough for five threads
    gradients = new_gradients(3, shapes, torch.float32)
    paths = []
    for threads in (1, 2, 5):
        parameters = new_parameters(shapes, torch.float32)
        optimizer = make(parameters, lr=0.1, fused=True, running_v_bar=running_v_bar, weight_decay=0.01)
        torch.set_num_threads(threads)
        for step in gradients:
            step_with(optimizer, parameters, step)
        states = [s[name] for s in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq", "beta1_prod")]
        paths.append([*values_of(parameters), *states])
    for path in paths[1:]:
        assert_same_bits(path, paths[0])


# The running mean


def paths_of_v_bar(
    gradients: Sequence[Gradients], groups: Callable[[list[Parameter]], Any] = list, **options: Any
) -> Iterator[tuple[list[Parameter], list[Parameter]]]:
    """After each step: parameters with the running mean and with the exact one."""
    runs = []
    for running in (True, False):
        parameters = new_parameters()
        runs.append((Adai(groups(parameters), 0.1, fused=True, running_v_bar=running, **options), parameters))
    for step in gradients:
        for optimizer, parameters in runs:
            step_with(optimizer, parameters, step)
        yield runs[0][1], runs[1][1]


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.01}, {"weight_decay": 0.01, "decoupled": True}])
def test_the_running_mean_is_the_exact_one_within_rounding_over_200_steps(options: dict[str, Any]) -> None:
    for running, exact in paths_of_v_bar(new_gradients(200), **options):
        assert_close(running, exact, tolerance=1e-10)
    # It is another computation, not the same one under another name.
    assert not all(map(torch.equal, running, exact))


def test_where_step_counts_differ_the_exact_mean_is_taken() -> None:
    gradients = new_gradients(30)
    gradients[0][1] = None
    for running, exact in paths_of_v_bar(gradients):
        assert_same_bits(running, exact)


def test_where_groups_differ_in_beta2_the_exact_mean_is_taken() -> None:
    def groups(parameters: list[Parameter]) -> list[dict[str, Any]]:
        return [{"params": parameters[:2]}, {"params": parameters[2:], "betas": (0.1, 0.9)}]

    for running, exact in paths_of_v_bar(new_gradients(30), groups):
        assert_same_bits(running, exact)


def test_after_a_missing_gradient_the_running_mean_starts_anew() -> None:
    # Each has missed one step in the end, so that step counts agree; in between v has grown by much.
    gradients = new_gradients(40)
    for i in range(len(SHAPES)):
        gradients[10 if i < 2 else 12][i] = None
    for step in gradients[10:13]:
        for gradient in step:
            if gradient is not None:
                gradient.mul_(100)
    for running, exact in paths_of_v_bar(gradients):
        assert_close(running, exact, tolerance=1e-10)


# Where the compiled step cannot be had


@every_class
def test_a_capturable_step_is_the_plain_step(make: Make) -> None:
    gradients = new_gradients(12)
    gradients[3][1] = None

    def make_capturable(parameters: list[Parameter], *, fused: bool | None, **options: Any) -> Optimizer:
        return make(parameters, capturable=fused is None, fused=fused, **options)

    assert_fused_is_plain(make_capturable, gradients, fused=None, weight_decay=0.01)


@every_class
def test_capturable_and_fused_exclude_each_other_on_the_cpu(make: Make) -> None:
    parameters = new_parameters()
    before = values_of(parameters)
    with pytest.raises(RuntimeError, match="fused=True cannot be had: capturable=True"):
        step_with(make(parameters, lr=0.1, capturable=True, fused=True), parameters, new_gradients(1)[0])
    assert_same_bits(values_of(parameters), before)


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float64), (torch.float64, torch.bfloat16)])
def test_precisions_that_share_one_v_bar_are_refused_by_the_compiled_step_and_taken_by_the_plain_one(
    dtypes: tuple[torch.dtype, ...],
) -> None:
    def mixed() -> list[Parameter]:
        return [Parameter(randn(5, seed=i).to(dtype)) for i, dtype in enumerate(dtypes)]

    paths = []
    for fused in (None, False):
        parameters = mixed()
        optimizer = Adai(parameters, 0.1, fused=fused)
        for _ in range(3):
            step_with(optimizer, parameters, [torch.ones_like(parameter) for parameter in parameters])
        paths.append(values_of(parameters))
    assert_same_bits(*paths)
    parameters = mixed()
    optimizer = Adai(parameters, 0.1, fused=True)
    refusal = r"Adai: fused=True cannot be had: .*share one v_bar; use fused=None or False"
    with pytest.raises(RuntimeError, match=refusal):
        step_with(optimizer, parameters, [torch.ones_like(parameter) for parameter in parameters])
    assert_same_bits(values_of(parameters), values_of(mixed()))


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        (lambda: Parameter(torch.ones(4, 3).T), "a parameter is not contiguous"),
        (lambda: Parameter(torch.ones(3, dtype=torch.float16)), "not torch.float16"),
        (lambda: Parameter(torch.ones(3, dtype=torch.bfloat16)), "not torch.bfloat16"),
    ],
)
@pytest.mark.parametrize("cls", [Adai, AdaiW, AdaiV2])
def test_insisting_on_a_compiled_step_that_cannot_be_had_says_why(
    cls: type[Adai], parameter: Callable[[], Parameter], reason: str
) -> None:
    refused = parameter()
    refused.grad = torch.ones_like(refused)
    with pytest.raises(RuntimeError, match=f"{cls.__name__}: fused=True cannot be had: .*{reason}"):
        cls([refused], 0.1, fused=True).step()
    assert (refused == 1).all()
    cls([refused], 0.1, fused=None).step()
    assert_close([refused.float()], [torch.full_like(refused, 0.9).float()], tolerance=4e-3)


def test_a_sparse_gradient_after_dense_ones_is_refused_and_changes_nothing() -> None:
    shapes = ((4, 3), (2,))
    parameters = new_parameters(shapes)
    optimizer = Adai(parameters, 0.1, fused=True)
    for step in new_gradients(3, shapes):
        step_with(optimizer, parameters, step)
    before = values_of(parameters)
    parameters[0].grad = torch.ones(4, 3, dtype=torch.float64).to_sparse()
    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        optimizer.step()
    assert_same_bits(values_of(parameters), before)
    assert steps_of(optimizer) == [3, 3]


# torch.compile


def frames_along_a_compiled_path(backend: Any, steps: int) -> list[int]:
    """Compare a compiled ``optimizer.step`` with the plain one; return how many frames there were after each step."""
    torch._dynamo.reset()
    shapes = ((3, 4), (5,))
    parameters, reference = new_parameters(shapes), new_parameters(shapes)
    optimizer, plain = (Adai(p, 0.1, weight_decay=0.01, fused=f) for p, f in ((parameters, None), (reference, False)))
    compiled = torch.compile(optimizer.step, backend=backend)
    frames = []
    for step in new_gradients(steps, shapes):
        for own in (parameters, reference):
            for parameter, gradient in zip(own, step, strict=True):
                parameter.grad = gradient.clone()
        compiled()
        plain.step()
        assert_close(parameters, reference)
        frames.append(getattr(backend, "frame_count", 0))
    torch._dynamo.reset()
    return frames


def test_a_step_under_torch_compile_is_the_plain_step_and_compiled_at_first_only() -> None:
    frames = frames_along_a_compiled_path(CompileCounter(), 12)
    assert frames[0] > 0
    assert set(frames[1:]) == {frames[1]}


def test_a_step_that_torchs_own_compiler_has_compiled_is_the_plain_step() -> None:
    if not shutil.which("g++"):
        pytest.skip("torch.compile needs a C++ compiler: apt-get install g++")
    frames_along_a_compiled_path("inductor", 4)
