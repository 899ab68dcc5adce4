"""Batch norm in trial batches: each run has its own running statistics, and evaluation only reads them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from training_runs import (
    SMALL_WORKLOADS,
    STUDY_SEED,
    concatenate,
    make_batch,
    select_runs,
    train_and_keep_checkpoints,
)

from workers.dropout import dropout_key
from workers.engines import LoopedEngine, Rows, StepData, initial_rows
from workers.messages import WorkloadReference
from workers.workloads import Dataset, get_workload

WORKLOAD = get_workload(WorkloadReference("small-cnn", SMALL_WORKLOADS))


@pytest.fixture
def data() -> Dataset:
    return WORKLOAD.load_data()


def make_engine(data: Dataset, seeds: tuple[int, ...]) -> tuple[LoopedEngine, nn.Module]:
    model, rows = initial_rows(
        lambda: WORKLOAD.build_model(data),
        study_seed=STUDY_SEED,
        seeds=seeds,
        dtype=torch.float64,
        device=torch.device("cpu"),
    )
    return LoopedEngine(model, rows, WORKLOAD), model


def steps_of(data: Dataset, seeds: tuple[int, ...]) -> Iterator[StepData]:
    """Three steps, the last with two examples."""
    for number, (start, end) in enumerate([(0, 8), (8, 16), (16, 18)]):
        yield StepData(
            inputs=[data.train.inputs[start + seed : end + seed].double() for seed in seeds],
            labels=[data.train.labels[start + seed : end + seed] for seed in seeds],
            seed_of_row=range(len(seeds)),
            dropout_keys=[dropout_key(study_seed=STUDY_SEED, seed=seed, step=number) for seed in seeds],
        )


def copied(buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in buffers.items()}


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_running_statistics_are_those_of_torch_after_every_step(data: Dataset) -> None:
    engine, _ = make_engine(data, (0, 5))
    ordinary: list[Any] = [make_engine(data, (seed,))[1].train() for seed in (0, 5)]
    for number, step in enumerate(steps_of(data, (0, 5)), start=1):
        engine.compute_gradients(step)
        for row, model in enumerate(ordinary):
            assert step.dropout_keys is not None
            model[3].dropout_key.copy_(step.dropout_keys[row])
            model(step.inputs[row])
            buffers = engine.rows.buffers[row]
            assert set(buffers) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
            torch.testing.assert_close(buffers["1.running_mean"], model[1].running_mean, rtol=0, atol=1e-15)
            torch.testing.assert_close(buffers["1.running_var"], model[1].running_var, rtol=0, atol=1e-15)
            assert buffers["1.num_batches_tracked"] == number
    assert not torch.equal(engine.rows.buffers[0]["1.running_mean"], engine.rows.buffers[1]["1.running_mean"])


def test_looking_for_hidden_randomness_does_not_advance_them(data: Dataset) -> None:
    """It runs the model once more before the first step."""
    engine, _ = make_engine(data, (0,))
    engine.compute_gradients(next(steps_of(data, (0,))))
    assert engine.rows.buffers[0]["1.num_batches_tracked"] == 1


def test_evaluation_uses_running_statistics_and_leaves_them_alone(data: Dataset) -> None:
    engine, model = make_engine(data, (0, 5))
    for step in steps_of(data, (0, 5)):
        engine.compute_gradients(step)
    before = [copied(buffers) for buffers in engine.rows.buffers]
    inputs, labels = data.validation.inputs.double(), data.validation.labels
    loss_T, error_T = engine.evaluate(inputs, labels)
    assert all(same(ours, theirs) for ours, theirs in zip(engine.rows.buffers, before, strict=True))
    for row in range(2):
        alone: Any = make_engine(data, ((0, 5)[row],))[1].eval()
        alone.load_state_dict(before[row], strict=False)
        logits = alone(inputs)
        assert loss_T[row].item() == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-12)
        assert error_T[row].item() == (logits.argmax(1) != labels).double().mean().item()
        # With the statistics of the batch, or those before training, it would say something else.
        alone.load_state_dict({"1.running_mean": torch.zeros(4), "1.running_var": torch.ones(4)}, strict=False)
        assert loss_T[row].item() != pytest.approx(cross_entropy(alone(inputs), labels).item(), rel=1e-3)
    # A part of the examples gets the same losses: none of them depends on the others.
    halves = [engine.evaluate(inputs[part], labels[part])[0] for part in (slice(0, 10), slice(10, 20))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, loss_T, rtol=1e-12, atol=0)
    assert model.training is False


def test_training_goes_on_in_training_mode_after_an_evaluation(data: Dataset) -> None:
    engine, _ = make_engine(data, (0,))
    first, second, _ = steps_of(data, (0,))
    engine.compute_gradients(first)
    engine.evaluate(data.validation.inputs.double(), data.validation.labels)
    before = copied(engine.rows.buffers[0])
    engine.compute_gradients(second)
    assert not torch.equal(engine.rows.buffers[0]["1.running_mean"], before["1.running_mean"])


def test_a_broken_row_does_not_touch_the_statistics_of_others(data: Dataset) -> None:
    healthy, broken = make_engine(data, (0, 5, 2))[0], make_engine(data, (0, 5, 2))[0]
    broken.theta_TP[1] = torch.nan
    for step in steps_of(data, (0, 5, 2)):
        healthy.compute_gradients(step)
        broken.compute_gradients(step)
    assert broken.rows.buffers[1]["1.running_mean"].isnan().all()
    for row in (0, 2):
        assert same(broken.rows.buffers[row], healthy.rows.buffers[row])


def test_rows_that_stay_keep_their_statistics(data: Dataset) -> None:
    engine, _ = make_engine(data, (0, 5, 2))
    first, second, _ = steps_of(data, (0, 5, 2))
    engine.compute_gradients(first)
    before = [copied(buffers) for buffers in engine.rows.buffers]
    engine.set_rows(engine.rows.select([2, 0]))
    assert [same(ours, before[row]) for ours, row in zip(engine.rows.buffers, (2, 0), strict=True)] == [True, True]
    assert not same(engine.rows.buffers[0], engine.rows.buffers[1])
    kept = StepData(second.inputs, second.labels, [2, 0], second.dropout_keys)
    engine.compute_gradients(kept)
    assert engine.rows.buffers[0]["1.num_batches_tracked"] == 2


def test_selected_rows_have_statistics_of_their_own(data: Dataset) -> None:
    """A row may be selected twice, and the one from which it comes may go on."""
    engine, _ = make_engine(data, (0,))
    rows: Rows = engine.rows.select([0, 0])
    rows.buffers[0]["1.running_mean"].fill_(7.0)
    assert not (rows.buffers[1]["1.running_mean"] == 7.0).any()
    assert not (engine.rows.buffers[0]["1.running_mean"] == 7.0).any()


def test_checkpoints_hold_each_rows_statistics_as_they_are_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path))
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "0")
    batch = concatenate(
        make_batch(workload="small-cnn", seeds=(4, 1), epochs=3), make_batch(workload="small-cnn", epochs=2)
    )
    _, together = train_and_keep_checkpoints(batch, torch.float32)
    for row in range(3):
        _, alone = train_and_keep_checkpoints(select_runs(batch, row), torch.float32)
        for epoch, saved in enumerate(alone):
            position = together[epoch]["rows"].index(row)
            assert torch.equal(together[epoch]["theta"][position], saved["theta"][0])
            assert same(together[epoch]["buffers"][position], saved["buffers"][0])
            assert saved["buffers"][0]["1.num_batches_tracked"] == 4 * (epoch + 1)
