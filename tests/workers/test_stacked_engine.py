"""The stacked engine: equal bits in any company whatever the lengths, and models that mean more than their types."""

import dataclasses
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from workers.engines import Rows, StackedEngine, StepData, initial_rows, make_engine, why_not_stackable
from workers.workloads import CrossEntropy, Workload, get_workload

SEEDS = 4


def chain(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def workload(smoothing: float = 0.0) -> Workload:
    return dataclasses.replace(get_workload("digits-mlp"), loss=CrossEntropy(smoothing))


def batches(features: int, classes: int, batch: int, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(batch)
    inputs = [torch.randn(batch, features, generator=generator, dtype=dtype) for _ in range(SEEDS)]
    return inputs, [torch.randint(classes, (batch,), generator=generator) for _ in range(SEEDS)]


def train_one_step(
    widths: tuple[int, ...], seeds: list[int], data: tuple[list[Tensor], list[Tensor]], dtype: torch.dtype
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Gradient, training loss and evaluation loss of each row."""
    model, rows = initial_rows(
        lambda: chain(widths), study_seed=1, seeds=seeds, dtype=dtype, device=torch.device("cpu")
    )
    engine = StackedEngine(model, rows, workload(0.1))
    distinct = list(dict.fromkeys(seeds))
    inputs, labels = ([part[seed] for seed in distinct] for part in data)
    loss_T = engine.compute_gradients(StepData(inputs, labels, [distinct.index(seed) for seed in seeds]))
    val_loss_T, _ = engine.evaluate(data[0][0], data[1][0])
    return list(zip(engine.grad_TP, loss_T, val_loss_T, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("widths", [(5,), (64,), (73,), (75,), (5, 7), (75, 7), (75, 33), (16, 100), (9, 7, 33)])
def test_a_row_has_the_same_bits_in_any_company_whatever_the_lengths(
    widths: tuple[int, ...], classes: int, dtype: torch.dtype
) -> None:
    for batch in (1, 16, 43, 64):
        data = batches(widths[0], classes, batch, dtype)
        alone = [train_one_step((*widths, classes), [seed], data, dtype)[0] for seed in range(SEEDS)]
        for seeds in ([0, 0], [2, 1, 3], [3, 3, 3, 0, 0, 1, 1, 1], [1] * 24):
            together = train_one_step((*widths, classes), seeds, data, dtype)
            for row, seed in enumerate(seeds):
                for value, expected in zip(together[row], alone[seed], strict=True):
                    assert torch.equal(value, expected), f"batch {batch}, seeds {seeds}, row {row}"


@pytest.mark.parametrize("widths", [(73, 3), (75, 7, 10), (16, 100, 10), (5, 1, 33, 2)])
def test_gradients_of_any_lengths_are_those_of_autograd(widths: tuple[int, ...]) -> None:
    seeds, data = [1, 0, 0], batches(widths[0], widths[-1], 43, torch.float64)
    model, rows = initial_rows(
        lambda: chain(widths), study_seed=1, seeds=seeds, dtype=torch.float64, device=torch.device("cpu")
    )
    for row, (grad_P, loss, _) in enumerate(train_one_step(widths, seeds, data, torch.float64)):
        nn.utils.vector_to_parameters(rows.theta_TP[row], model.parameters())
        expected = CrossEntropy(0.1)(model(data[0][seeds[row]]), data[1][seeds[row]])
        grads = torch.autograd.grad(expected, list(model.parameters()))
        torch.testing.assert_close(loss, expected.detach(), rtol=0, atol=1e-12)
        torch.testing.assert_close(grad_P, torch.cat([grad.flatten() for grad in grads]), rtol=0, atol=1e-12)


def _forget(*_: object) -> None:
    """A hook that changes nothing."""


def _hook(parameter: str, register: str) -> Callable[[nn.Sequential], object]:
    return lambda model: getattr(model.get_parameter(parameter), register)(_forget)


def _prune(*layers_and_names: tuple[int, str]) -> Callable[[nn.Sequential], object]:
    def change(model: nn.Sequential) -> None:
        for layer, name in layers_and_names:
            prune.l1_unstructured(model[layer], name, amount=2)  # type: ignore[no-untyped-call]

    return change


def _share_and_add(model: nn.Sequential) -> None:
    """As many parameters as without the change."""
    model[3] = model[1]
    model.scale, model.shift = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))


def _reorder(model: nn.Sequential) -> None:
    weight = model[1].weight
    del model[1].weight
    model[1].weight = weight


CHANGES: dict[str, Callable[[nn.Sequential], object]] = {
    "forward hook of a layer": lambda model: model[1].register_forward_hook(_forget),
    "forward hook of the model": lambda model: model.register_forward_hook(_forget),
    "forward hook of the flattening": lambda model: model[0].register_forward_hook(_forget),
    "forward hook of a ReLU": lambda model: model[2].register_forward_hook(_forget, always_call=True),
    "forward pre-hook": lambda model: model[3].register_forward_pre_hook(_forget),
    "backward hook": lambda model: model[3].register_full_backward_hook(_forget),
    "backward pre-hook": lambda model: model[3].register_full_backward_pre_hook(_forget),
    "hook of a weight": _hook("1.weight", "register_hook"),
    "hook of a bias": _hook("3.bias", "register_hook"),
    "hook after accumulation": _hook("3.weight", "register_post_accumulate_grad_hook"),
    "forward of a layer": lambda model: setattr(model[2], "forward", torch.tanh),
    "forward of the model": lambda model: setattr(model, "forward", model[:3].forward),
    "buffer of a layer": lambda model: model[1].register_buffer("mask", torch.ones(1)),
    "buffer of the model": lambda model: model.register_buffer("steps", torch.zeros(1)),
    "pruned weights": _prune((1, "weight")),
    "pruned biases": _prune((3, "bias")),
    "pruned weights and biases": _prune((1, "weight"), (1, "bias")),
    "spectral norm of old": lambda model: nn.utils.spectral_norm(model[1]),
    "spectral norm": lambda model: parametrizations.spectral_norm(model[1]),
    "weight norm": lambda model: parametrizations.weight_norm(model[3]),
    "parameters in another order": _reorder,
    "flattening from another dimension": lambda model: setattr(model[0], "start_dim", 2),
    "flattening to another dimension": lambda model: setattr(model[0], "end_dim", 1),
    "shared parameters, and others": _share_and_add,
}


def changed_chain(change: str) -> nn.Sequential:
    model = chain((6, 6, 6))
    CHANGES[change](model)
    return model


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_means_more_than_its_types_is_not_stacked(change: str) -> None:
    assert why_not_stackable(chain((6, 6, 6)), workload()) == ""
    model = changed_chain(change)
    rows = Rows(nn.utils.parameters_to_vector(model.parameters()).detach().unsqueeze(0), [dict(model.named_buffers())])
    assert make_engine("auto", model, rows, workload()).name == "looped"
    with pytest.raises(TypeError, match=r"'digits-mlp': its (model|layer|parameters) .*; use engine looped"):
        make_engine("stacked", model, rows, workload())


def test_the_refusal_names_the_layer() -> None:
    assert "its layer 1 has hooks" in why_not_stackable(changed_chain("forward hook of a layer"), workload())
    assert "its model has hooks" in why_not_stackable(changed_chain("forward of the model"), workload())


def test_a_hook_counts_in_training() -> None:
    model = chain((6, 6, 6))
    model[1].register_forward_hook(lambda _, __, outputs: 3 * outputs)
    rows = Rows(nn.utils.parameters_to_vector(model.parameters()).detach().unsqueeze(0), [{}])
    inputs, labels = batches(6, 6, 16, torch.float32)
    engine = make_engine("auto", model, rows, workload())
    loss_T = engine.compute_gradients(StepData(inputs[:1], labels[:1], [0]))
    loss = CrossEntropy()(model(inputs[0]), labels[0])
    grads = torch.autograd.grad(loss, list(model.parameters()))
    torch.testing.assert_close(loss_T[0], loss.detach())
    torch.testing.assert_close(engine.grad_TP[0], torch.cat([grad.flatten() for grad in grads]))
