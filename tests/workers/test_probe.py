"""The probe: known curvature of known functions, of the run itself, and the run goes on as if nobody had looked."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adai import get_rule
from workers.curvature import THOROUGH, CurvatureSettings
from workers.engines import RowLayout, Rows, initial_rows
from workers.messages import BatchFinished, CurvatureRequest, EpochMetrics, Training, TrialBatch, WorkloadReference
from workers.preparation import prepare_data
from workers.probe import Measured, measure_rows
from workers.random import Purpose, permutation
from workers.trainer import train_batch
from workers.workloads import CrossEntropy, Dataset, Split, Workload, get_workload
from workers.workloads.datasets import SPLIT_SEED

CPU = torch.device("cpu")
EXAMPLES = 24


def train(workload: str, lr: tuple[float, ...], training: Training, epochs: tuple[int, ...]) -> list[EpochMetrics]:
    rows = len(lr)
    defaults = {h.name: (h.default,) * rows for h in get_rule("sgd").hyperparameters}
    batch = TrialBatch(
        batch_id=1,
        workload=WorkloadReference(workload),
        optimizer="sgd",
        run_ids=tuple(range(10, 10 + rows)),
        seeds=tuple(range(rows)),
        hyperparameters=defaults | {"lr": lr},
        study_seed=5,
        epochs=epochs,
        objective="val_loss",
        training=training,
    )
    *metrics, finished = train_batch(batch, worker="test")
    assert isinstance(finished, BatchFinished)
    return [dataclasses.replace(epoch, seconds=0.0) for epoch in metrics if isinstance(epoch, EpochMetrics)]


def test_a_run_on_the_quadratic_has_the_curvature_that_the_function_has() -> None:
    last = train("quadratic", (0.01, 0.02), Training(curvature=CurvatureRequest()), (1, 1))[-1]
    known = torch.logspace(-2, 0, 20)
    assert set(last.curvature) == {10, 11}
    for values in last.curvature.values():
        assert values["top_eigenvalue"] == pytest.approx(1.0, abs=1e-4)
        # Lanczos does not wait for the other end, and never goes below it.
        assert isinstance(values["bottom_eigenvalue"], float)
        assert 0.01 - 1e-5 < values["bottom_eigenvalue"] < 0.05
        error = values["trace_standard_error"]
        assert isinstance(error, float)
        assert values["trace"] == pytest.approx(known.sum().item(), abs=6 * error)
        assert error < 0.1
        assert values["examples"] == 500


def test_runs_are_measured_when_it_is_their_turn_and_train_as_if_they_were_not() -> None:
    lr, epochs, limits = (0.1, 0.2, 1e9), (4, 3, 4), {"limit_train": 100, "limit_validation": 50}
    request = CurvatureRequest(every=2, examples=10, slice_points=3)
    measured = train("digits-logistic", lr, Training(data=limits, curvature=request), epochs)
    plain = train("digits-logistic", lr, Training(data=limits), epochs)
    assert [set(epoch.curvature) for epoch in measured] == [set(), {10, 11}, {11}, {10}]
    assert [repr(dataclasses.replace(epoch, curvature={})) for epoch in measured] == [repr(epoch) for epoch in plain]
    at_the_end_only = train("digits-logistic", lr, Training(data=limits, curvature=CurvatureRequest(0, 10)), epochs)
    assert [set(epoch.curvature) for epoch in at_the_end_only] == [set(), set(), {11}, {10}]
    values = measured[1].curvature[10]
    assert values["slice_alphas"] == (-1.0, 0.0, 1.0)
    assert isinstance(values["slice_losses"], tuple)
    assert values["slice_losses"][1] == pytest.approx(values["loss"], rel=1e-5)


def build(_: Dataset) -> nn.Module:
    """Smooth, with running statistics and dropout, which measurements must see in evaluation mode."""
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))


def load() -> Dataset:
    inputs, labels = torch.sin(torch.arange(160.0)).view(40, 4), torch.arange(40) % 3
    part = Split(inputs, labels)
    return Dataset(part, part, part, classes=3)


WORKLOAD = Workload(
    name="smooth",
    title="",
    citation="",
    load_data=load,
    build_model=build,
    batch_size=8,
    epochs=1,
    loss_ceiling=10.0,
    loss=CrossEntropy(label_smoothing=0.3),
    augment=lambda images, _: images * 0.0,
)


def make_rows(seeds: list[int]) -> tuple[nn.Module, Rows]:
    model, rows = initial_rows(lambda: build(load()), study_seed=1, seeds=seeds, dtype=torch.float64, device=CPU)
    for row, buffers in enumerate(rows.buffers):
        buffers["1.running_mean"] += 0.1 * (1 + row)
    return model, rows


def measure(model: nn.Module, rows: Rows, seeds: list[int], epoch: int = 1, examples: int = EXAMPLES) -> list[Measured]:
    data = load()
    train = Split(data.train.inputs.double(), data.train.labels)
    request = CurvatureRequest(examples=examples, slice_points=5)
    return measure_rows(request, model, rows, WORKLOAD, train, study_seed=1, seeds=seeds, epoch=epoch)


def exact(model: nn.Module, rows: Rows, row: int) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, gradient and Hessian of one row on the same examples, by torch's own second derivative."""
    order = permutation(40, seed=SPLIT_SEED, index=0, purpose=Purpose.CURVATURE)
    chosen = torch.from_numpy(order[:EXAMPLES])
    inputs, labels = load().train.inputs.double()[chosen], load().train.labels[chosen]

    def loss(row_P: Tensor) -> Tensor:
        parameters = {name: view[0] for name, view in RowLayout.of(model).views(row_P.unsqueeze(0)).items()}
        outputs = torch.func.functional_call(model.eval(), parameters | rows.buffers[row], (inputs,))
        return cross_entropy(outputs, labels)

    theta_P = rows.theta_TP[row]
    return loss(theta_P), torch.func.grad(loss)(theta_P), torch.autograd.functional.hessian(loss, theta_P)


def test_measured_values_equal_those_of_the_full_hessian_of_each_run() -> None:
    model, rows = make_rows([0, 1, 2])
    for row, values in enumerate(measure(model, rows, [0, 1, 2])):
        loss, gradient_P, hessian_PP = exact(model, rows, row)
        eigenvalues = torch.linalg.eigvalsh(hessian_PP)
        assert values["loss"] == pytest.approx(loss.item(), rel=1e-12)
        assert values["gradient_norm"] == pytest.approx(gradient_P.norm().item(), rel=1e-12)
        assert values["top_eigenvalue"] == pytest.approx(eigenvalues[-1].item(), rel=1e-3)
        error = values["trace_standard_error"]
        assert isinstance(error, float)
        assert values["trace"] == pytest.approx(hessian_PP.trace().item(), abs=6 * error + 1e-9)


def test_nothing_of_a_run_or_the_model_is_changed() -> None:
    model, rows = make_rows([0, 1])
    model.train()
    theta_TP = rows.theta_TP.clone()
    buffers = [{name: value.clone() for name, value in row.items()} for row in rows.buffers]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    measure(model, rows, [0, 1])
    assert torch.equal(rows.theta_TP, theta_TP)
    for row, before in zip(rows.buffers, buffers, strict=True):
        assert row.keys() == before.keys()
        assert all(torch.equal(row[name], before[name]) for name in before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def test_runs_of_one_seed_are_measured_along_the_same_random_vectors() -> None:
    model, rows = make_rows([3, 3, 3])
    rows.buffers = [rows.buffers[0]] * 3
    first, paired, other = measure(model, rows, [3, 3, 4])
    assert first == paired
    assert first["loss"] == other["loss"]
    assert first["slice_losses"] != other["slice_losses"]
    assert first["trace"] != other["trace"]
    (later,) = measure(model, rows.select([0]), [3], epoch=2)
    assert later["loss"] == first["loss"]
    assert later["slice_losses"] != first["slice_losses"]


def test_a_run_has_the_same_bits_alone_and_in_company() -> None:
    model, rows = make_rows([0, 1, 2])
    together = measure(model, rows, [0, 1, 2])
    for row in range(3):
        assert measure(model, rows.select([row]), [row]) == [together[row]]


def test_the_settings_say_how_exactly_to_measure() -> None:
    model, rows = make_rows([0])
    data = load()
    train = Split(data.train.inputs.double(), data.train.labels)
    request = CurvatureRequest(examples=EXAMPLES)
    rough, exact = (
        measure_rows(request, model, rows, WORKLOAD, train, study_seed=1, seeds=[0], epoch=1, settings=settings)[0]
        for settings in (CurvatureSettings(probes=2, lanczos_steps=1), THOROUGH)
    )
    # One Lanczos step, the residuals of its one value twice, and the probes.
    assert rough["hessian_vector_products"] == 1 + 2 + 2
    assert exact["hessian_vector_products"] == measure(model, rows, [0])[0]["hessian_vector_products"] > 5
    assert rough["loss"] == exact["loss"]


def test_all_examples_are_used_if_there_are_fewer_than_asked_for_and_no_rows_need_none() -> None:
    model, rows = make_rows([0])
    assert measure(model, rows, [0], examples=1000)[0]["examples"] == 40
    assert measure(model, rows.select([]), []) == []


@pytest.mark.parametrize("name", ["charlm-transformer", "digits-cnn", "rosenbrock"])
def test_shipped_workloads_of_several_kinds_can_be_measured(name: str) -> None:
    workload = get_workload(name)
    data = prepare_data(WorkloadReference(name), {}, device=CPU, dtype=torch.float32)
    model, rows = initial_rows(
        lambda: workload.build_model(data), study_seed=0, seeds=[0], dtype=torch.float32, device=CPU
    )
    request = CurvatureRequest(examples=2)
    (values,) = measure_rows(request, model, rows, workload, data.train, study_seed=0, seeds=[0], epoch=1)
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in values.values())
