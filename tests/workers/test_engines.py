"""Engines: equal to each other, to ordinary PyTorch, and to themselves in any company."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workers.engines import LoopedEngine, StackedEngine, choose_engine
from workers.engines.rows import RowLayout, initial_rows
from workers.workloads import get_workload

EXAMPLES = 40


def make_model(hidden: tuple[int, ...]) -> nn.Sequential:
    widths = (12, *hidden, 5)
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def make_rows(model: nn.Module, rows: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return initial_rows(model, study_seed=3, seeds=range(rows), dtype=dtype, device=torch.device("cpu"))


def make_examples(rows: int, batch: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(EXAMPLES, 3, 4, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(5, (EXAMPLES,), generator=generator)
    order = torch.stack([torch.randperm(EXAMPLES, generator=generator)[:batch] for _ in range(rows)])
    return inputs, labels, order


def load_row(model: nn.Module, row_P: Tensor) -> nn.Module:
    views = RowLayout.of(model).views(row_P.unsqueeze(0))
    model = model.to(row_P.dtype)
    model.load_state_dict({name: view[0] for name, view in views.items()})
    return model


@pytest.mark.parametrize("engine_class", [LoopedEngine, StackedEngine])
@pytest.mark.parametrize("hidden", [(), (7,), (16, 8)])
@pytest.mark.parametrize("batch", [1, 16, 17])
def test_gradients_and_losses_equal_those_of_an_ordinary_module(
    engine_class: type, hidden: tuple[int, ...], batch: int
) -> None:
    model = make_model(hidden)
    engine = engine_class(model, make_rows(model, 3))
    inputs, labels, order = make_examples(3, batch)
    loss_T = engine.compute_gradients(inputs, labels, order)
    val_loss_T, val_error_T = engine.evaluate(inputs, labels)
    for row in range(3):
        alone = load_row(make_model(hidden), engine.theta_TP[row])
        logits = alone(inputs[order[row]])
        loss = cross_entropy(logits, labels[order[row]])
        grads = torch.autograd.grad(loss, list(alone.parameters()))
        torch.testing.assert_close(loss_T[row], loss.detach(), rtol=0, atol=1e-12)
        flat = torch.cat([grad.flatten() for grad in grads])
        torch.testing.assert_close(engine.grad_TP[row], flat, rtol=0, atol=1e-12)
        logits = alone(inputs)
        torch.testing.assert_close(val_loss_T[row], cross_entropy(logits, labels).detach(), rtol=0, atol=1e-12)
        assert val_error_T[row] == (logits.argmax(1) != labels).double().mean()


@pytest.mark.parametrize("engine_class", [LoopedEngine, StackedEngine])
@pytest.mark.parametrize("name", ["digits-logistic", "digits-mlp"])
@pytest.mark.parametrize("rows", [1, 2, 5, 24, 64])
def test_a_row_has_the_same_bits_in_any_company(engine_class: type, name: str, rows: int) -> None:
    workload = get_workload(name)
    data = workload.load_data()
    model = workload.build_model(data)
    theta_TP = make_rows(model, rows, torch.float32)
    generator = torch.Generator().manual_seed(rows)
    for batch in (64, 55):  # whole batches, and the last one of an epoch
        order = torch.stack([torch.randperm(len(data.train.labels), generator=generator)[:batch] for _ in range(rows)])
        together = engine_class(model, theta_TP)
        loss_T = together.compute_gradients(data.train.inputs, data.train.labels, order)
        val_loss_T, val_error_T = together.evaluate(data.validation.inputs, data.validation.labels)
        for row in {0, rows // 2, rows - 1}:
            alone = engine_class(model, theta_TP[row : row + 1].clone())
            loss = alone.compute_gradients(data.train.inputs, data.train.labels, order[row : row + 1])
            assert torch.equal(alone.grad_TP[0], together.grad_TP[row])
            assert torch.equal(loss[0], loss_T[row])
            val_loss, val_error = alone.evaluate(data.validation.inputs, data.validation.labels)
            assert torch.equal(val_loss[0], val_loss_T[row])
            assert torch.equal(val_error[0], val_error_T[row])


@pytest.mark.parametrize("engine_class", [LoopedEngine, StackedEngine])
def test_a_broken_row_leaves_the_others_as_they_are(engine_class: type) -> None:
    model = make_model((7,))
    inputs, labels, order = make_examples(3, 16)
    healthy = engine_class(model, make_rows(model, 3))
    healthy.compute_gradients(inputs, labels, order)
    theta_TP = make_rows(model, 3)
    theta_TP[1] = float("nan")
    broken = engine_class(model, theta_TP)
    loss_T = broken.compute_gradients(inputs, labels, order)
    assert loss_T[1].isnan()
    assert torch.equal(broken.grad_TP[[0, 2]], healthy.grad_TP[[0, 2]])


def test_equal_seeds_start_from_equal_weights_within_torchs_bounds() -> None:
    model = make_model((7,))
    rows = initial_rows(model, study_seed=1, seeds=[0, 1, 0], dtype=torch.float64, device=torch.device("cpu"))
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[1])
    weight = RowLayout.of(model).views(rows)["1.weight"]
    assert weight.abs().max() <= 12**-0.5
    assert weight.abs().max() > 0.9 * 12**-0.5


def test_linear_stacks_are_stacked_and_everything_else_is_looped() -> None:
    linear = make_model((7,))
    assert choose_engine(linear, make_rows(linear, 2)).name == "stacked"
    other = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 5))
    assert choose_engine(other, make_rows(other, 2)).name == "looped"


def test_engines_refuse_by_name_what_they_cannot_do() -> None:
    tanh = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 5))
    with pytest.raises(TypeError, match="takes Flatten, Linear, ReLU"):
        StackedEngine(tanh, make_rows(tanh, 1))
    with pytest.raises(TypeError, match="buffers"):
        LoopedEngine(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), torch.zeros(1, 21))
    with pytest.raises(TypeError, match="no initialization is known for a layer of type Conv2d"):
        make_rows(nn.Conv2d(1, 1, 3), 1)
