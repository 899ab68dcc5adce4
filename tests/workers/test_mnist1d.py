"""MNIST-1D: the authors' data and models, whatever the global generators do."""

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from workers.workloads.base import Dataset, MissingDataError, Workload
from workers.workloads.mnist1d import WORKLOADS, load_mnist1d

BY_NAME = {workload.name: workload for workload in WORKLOADS}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_mnist1d()


def build(workload: Workload, data: Dataset) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return workload.build_model(data)


def train_with_adam(workload: Workload, data: Dataset, epochs: int) -> float:
    """Test accuracy after ordinary training with the authors' learning rate."""
    model = build(workload, data)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for batch in torch.randperm(len(data.train.labels), generator=generator).split(workload.batch_size):
            optimizer.zero_grad()
            cross_entropy(model(data.train.inputs[batch]), data.train.labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return (model(data.test.inputs).argmax(dim=1) == data.test.labels).double().mean().item()


def test_the_sizes_are_the_published_ones_with_500_kept_for_validation(data: Dataset) -> None:
    shapes = [(split.inputs.shape, split.labels.shape) for split in (data.train, data.validation, data.test)]
    assert shapes == [((3500, 40), (3500,)), ((500, 40), (500,)), ((1000, 40), (1000,))]
    assert data.classes == 10
    assert data.train.inputs.dtype == torch.float32
    assert data.train.labels.dtype == torch.int64


def test_the_signals_are_those_of_the_authors_file(data: Dataset) -> None:
    """Numbers read from mnist1d_data.pkl of the repository greydanus/mnist1d."""
    published = [-0.07877078047732886, -0.21073170588642925, -0.09175138109239452, 0.28267111736736455]
    torch.testing.assert_close(data.test.inputs[0, :4], torch.tensor(published), rtol=0, atol=1e-7)
    assert data.test.labels[:12].tolist() == [2, 6, 3, 9, 4, 3, 1, 9, 5, 2, 0, 7]
    first = torch.tensor([-0.3320056673693902, -0.4719103656557236, -0.778697076293495, -1.0097408265367047])
    trained_on = torch.cat([data.train.inputs, data.validation.inputs])
    labels = torch.cat([data.train.labels, data.validation.labels])
    (position,) = torch.nonzero((trained_on[:, :4] - first).abs().amax(dim=1) < 1e-6).flatten().tolist()
    assert labels[position] == 2
    assert torch.bincount(labels).tolist() == [398, 396, 411, 394, 394, 402, 401, 404, 402, 398]


def test_no_signal_is_in_two_parts(data: Dataset) -> None:
    everything = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])
    assert len(torch.unique(everything, dim=0)) == 5000


def test_generating_neither_depends_on_the_global_generators_nor_moves_them(data: Dataset) -> None:
    random.seed(1)
    np.random.seed(1)
    expected_python, expected_numpy = random.getstate(), np.random.get_state()
    again = load_mnist1d.__wrapped__()
    assert random.getstate() == expected_python
    assert all(np.array_equal(now, then) for now, then in zip(np.random.get_state(), expected_numpy, strict=True))
    assert torch.equal(again.train.inputs, data.train.inputs)


def test_a_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(MissingDataError, match="pip install --force-reinstall mnist1d"):
        load_mnist1d.__wrapped__()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("mnist1d-logistic", 410), ("mnist1d-mlp", 15210), ("mnist1d-cnn", 5210), ("mnist1d-gru", 5134)],
)
def test_models_have_the_parameters_that_the_authors_notebook_prints(name: str, parameters: int, data: Dataset) -> None:
    model = build(BY_NAME[name], data)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model(data.test.inputs[:3]).shape == (3, 10)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_a_prediction_depends_on_its_own_signal_only(workload: Workload, data: Dataset) -> None:
    model = build(workload, data).double()
    signals = data.test.inputs[:5].double()
    alone = torch.cat([model(signal.unsqueeze(0)) for signal in signals])
    torch.testing.assert_close(model(signals), alone, rtol=0, atol=1e-12)


def test_the_mlp_adds_its_second_layer_to_its_first(data: Dataset) -> None:
    model = build(BY_NAME["mnist1d-mlp"], data).double()
    (w1, b1, w2, b2, w3, b3) = (parameter.detach().numpy() for parameter in model.parameters())
    signals = data.test.inputs[:5].double().numpy()
    first = np.maximum(signals @ w1.T + b1, 0)
    expected = (first + np.maximum(first @ w2.T + b2, 0)) @ w3.T + b3
    np.testing.assert_allclose(model(torch.from_numpy(signals)).detach().numpy(), expected, rtol=0, atol=1e-12)


def test_the_gru_computes_and_differentiates_with_weights_passed_from_outside(data: Dataset) -> None:
    """Torch keeps a second list of a GRU's weights: those of the row must be used all the same."""
    model, other = (BY_NAME["mnist1d-gru"].build_model(data) for _ in range(2))
    row = torch.cat([parameter.detach().flatten() for parameter in other.parameters()]).requires_grad_()
    sizes = [parameter.numel() for parameter in other.parameters()]
    views = {
        name: part.view(parameter.shape)
        for (name, parameter), part in zip(other.named_parameters(), row.split(sizes), strict=True)
    }
    logits = functional_call(model, views, (data.test.inputs[:20],))
    expected = other(data.test.inputs[:20])
    assert torch.equal(logits, expected)
    assert not torch.equal(logits, model(data.test.inputs[:20]))
    (gradient,) = torch.autograd.grad(cross_entropy(logits, data.test.labels[:20]), row)
    own = torch.autograd.grad(cross_entropy(expected, data.test.labels[:20]), list(other.parameters()))
    assert torch.equal(gradient, torch.cat([part.flatten() for part in own]))


@pytest.mark.parametrize(
    ("name", "epochs", "low", "high"),
    [
        ("mnist1d-logistic", 20, 0.29, 0.36),  # 32 % in the authors' README; 32 to 33 measured here
        ("mnist1d-mlp", 20, 0.57, 0.70),  # 68 %; 60 measured, 63 after 50 epochs
        ("mnist1d-cnn", 15, 0.80, 0.95),  # 94 %; 85 measured, 91 after 50 epochs
    ],
)
def test_adam_comes_near_the_published_accuracy(name: str, epochs: int, low: float, high: float, data: Dataset) -> None:
    assert low < train_with_adam(BY_NAME[name], data, epochs) < high


def test_the_gru_learns_beyond_the_linear_model(data: Dataset) -> None:
    """91 % in the authors' README takes a minute; 5 epochs give 47 %, the linear model 32 %."""
    assert train_with_adam(BY_NAME["mnist1d-gru"], data, 5) > 0.4
