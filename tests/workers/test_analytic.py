"""Functions with known answers: values, closed-form iterates, and noise with the stated variance."""

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad, minimize, rosen, rosen_der
from torch import Tensor

from workers.workloads.analytic import WORKLOADS, NoisyFunction, load_noise, mean_value, quadratic, rosenbrock
from workers.workloads.base import Workload

BY_NAME = {workload.name: workload for workload in WORKLOADS}


def descend(model: NoisyFunction, noise: Tensor, lr: float, batch: int = 1) -> None:
    """Plain stochastic gradient descent, one pass over the noise in its order."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for vectors in noise.split(batch):
        optimizer.zero_grad()
        mean_value(model(vectors), torch.zeros(len(vectors))).backward()
        optimizer.step()


def curvature(dimension: int) -> Tensor:
    return 10.0 ** (-2.0 + 2.0 * torch.arange(dimension, dtype=torch.float64) / (dimension - 1))


def make_model(dimension: int, noise_scale: float) -> NoisyFunction:
    return NoisyFunction(quadratic, (1.0,) * dimension, noise_scale).double()


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_validation_loss_is_the_function_itself_and_starts_at_the_chance_level(workload: Workload) -> None:
    data = workload.load_data()
    model = workload.build_model(data)
    for split in (data.validation, data.test):
        assert workload.loss(model(split.inputs), split.labels).item() == pytest.approx(workload.chance_loss, rel=1e-6)
    assert workload.chance_level("val_loss", data) == workload.chance_loss
    assert workload.chance_loss < workload.loss_ceiling / 100


def test_starts_have_their_known_values() -> None:
    assert BY_NAME["rosenbrock"].chance_loss == pytest.approx(24.2)  # 100 (1 - 1.44)**2 + 2.2**2
    assert BY_NAME["quadratic"].chance_loss == pytest.approx(curvature(20).sum().item() / 2)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_the_training_loss_is_the_function_on_average(workload: Workload) -> None:
    data = workload.load_data()
    model = workload.build_model(data).double()
    with torch.no_grad():
        model.x.copy_(torch.linspace(-2, 2, len(model.x)))
    train = workload.loss(model(data.train.inputs.double()), data.train.labels)
    validation = workload.loss(model(data.validation.inputs.double()), data.validation.labels)
    assert train.item() == pytest.approx(validation.item(), abs=1e-7)


def test_noise_is_standard_normal_centred_and_always_the_same() -> None:
    noise = load_noise(50).train.inputs
    assert noise.isfinite().all()
    assert noise.mean(dim=0).abs().max() < 1e-7
    assert noise.var().item() == pytest.approx(1.0, abs=0.02)
    assert (noise.abs() < 1.0).double().mean().item() == pytest.approx(0.6827, abs=0.01)
    correlation = np.corrcoef(noise.T.numpy()) - np.eye(50)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(noise))
    assert torch.equal(noise, load_noise(50).train.inputs)


def test_without_noise_sgd_on_the_quadratic_follows_its_closed_form() -> None:
    model = make_model(20, noise_scale=0.0)
    descend(model, load_noise(20).train.inputs[:300].double(), lr=1.5)
    torch.testing.assert_close(model.x.detach(), (1.0 - 1.5 * curvature(20)) ** 300, rtol=1e-9, atol=0)


def test_with_noise_the_iterates_are_those_of_the_recursion() -> None:
    noise = load_noise(20).train.inputs[:320].double()
    model = make_model(20, noise_scale=0.7)
    descend(model, noise, lr=0.5, batch=16)
    x = torch.ones(20, dtype=torch.float64)
    for vectors in noise.split(16):
        x = x - 0.5 * (curvature(20) * x + 0.7 * vectors.mean(dim=0))
    torch.testing.assert_close(model.x.detach(), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("lr", "batch"), [(1.0, 1), (1.8, 2)])
def test_the_variance_after_many_steps_is_the_stated_one(lr: float, batch: int) -> None:
    """2,000 coordinates, each with its own noise, in four groups of like curvature."""
    dimension = 2000
    model = make_model(dimension, noise_scale=0.3)
    descend(model, load_noise(dimension).train.inputs.double(), lr=lr, batch=batch)
    h = curvature(dimension)
    stated = lr * 0.3**2 / (batch * h * (2.0 - lr * h))
    ratio = model.x.detach().square() / stated
    # The flattest directions need more steps than there are noise vectors, and feel that these are centred.
    steep = ratio[h > 0.03].chunk(4)
    for group in steep:
        assert group.mean().item() == pytest.approx(1.0, abs=5 * (2 / len(group)) ** 0.5)


def test_rosenbrock_equals_scipys_with_its_gradient() -> None:
    generator = np.random.default_rng(0)
    for dimension in (2, 3, 10):
        x = generator.uniform(-2, 2, dimension)
        leaf = torch.from_numpy(x).requires_grad_()
        value = rosenbrock(leaf)
        (gradient,) = torch.autograd.grad(value, leaf)
        assert value.item() == pytest.approx(rosen(x), rel=1e-12)
        np.testing.assert_allclose(gradient.numpy(), rosen_der(x), rtol=1e-10)


def test_minima_are_zero_where_they_are_said_to_be() -> None:
    assert rosenbrock(torch.ones(2)).item() == 0.0
    assert quadratic(torch.zeros(20)).item() == 0.0
    found = minimize(lambda x: rosenbrock(torch.from_numpy(x)).item(), [-1.2, 1.0], jac=rosen_der)
    np.testing.assert_allclose(found.x, [1.0, 1.0], atol=1e-4)
    assert (
        check_grad(lambda x: quadratic(torch.from_numpy(x)).item(), lambda x: curvature(20).numpy() * x, np.ones(20))
        < 1e-6
    )


def test_sgd_gets_far_below_the_start_within_the_budget() -> None:
    for name, lr in (("quadratic", 0.3), ("rosenbrock", 0.001)):
        workload = BY_NAME[name]
        data = workload.load_data()
        model = workload.build_model(data)
        for epoch in range(workload.epochs):
            order = torch.randperm(2048, generator=torch.Generator().manual_seed(epoch))
            descend(model, data.train.inputs[order], lr, workload.batch_size)
        loss = workload.loss(model(data.validation.inputs), data.validation.labels).item()
        assert loss < workload.chance_loss / 1000
