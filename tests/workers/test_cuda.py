"""Training on a GPU beside training on the processor: the same runs, the same numbers as far as rounding allows."""

import dataclasses
from pathlib import Path

import pytest
import torch
from training_runs import (
    concatenate,
    histories_of,
    make_batch,
    select_runs,
    train,
    train_ordinarily,
    unzip,
)

from adai import list_rules
from workers.engines import why_not_stackable
from workers.memory import is_out_of_memory, read_available_memory, read_peak_memory, start_peak_memory
from workers.messages import (
    BatchFinished,
    CurvatureRequest,
    EngineName,
    EpochMetrics,
    Termination,
    Training,
    TrialBatch,
    WorkloadReference,
)
from workers.planner import PlanRequest, plan_engine
from workers.pool import WorkerSettings
from workers.trainer import train_batch
from workers.workloads import get_workload

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

LIMITS = {"limit_train": 256, "limit_validation": 128, "limit_test": 64}
SMALL = Training(data=LIMITS)
CUDA = torch.device("cuda")
MEASURED = ("train_loss", "val_loss", "val_error", "objective", "lr", "grad_norm")


def train_on_cuda(batch: TrialBatch, dtype: torch.dtype = torch.float32) -> tuple[list[EpochMetrics], BatchFinished]:
    return unzip(list(train_batch(batch, worker="test", device="cuda", dtype=dtype)))


def assert_close(
    ours: tuple[list[EpochMetrics], BatchFinished],
    expected: tuple[list[EpochMetrics], BatchFinished],
    tolerance: float,
) -> None:
    """All that is measured of each epoch, and how each run ended."""
    assert len(ours[0]) == len(expected[0])
    for epoch, other in zip(ours[0], expected[0], strict=True):
        assert epoch.run_ids == other.run_ids
        for name in MEASURED:
            assert getattr(epoch, name) == pytest.approx(
                getattr(other, name), rel=tolerance, abs=tolerance, nan_ok=True
            ), (epoch.epoch, name)
        assert epoch.curvature.keys() == other.curvature.keys()
        for run_id, quantities in other.curvature.items():
            for name, value in quantities.items():
                assert epoch.curvature[run_id][name] == pytest.approx(value, rel=1e-5, abs=1e-8, nan_ok=True), name
    for outcome, other_outcome in zip(ours[1].outcomes, expected[1].outcomes, strict=True):
        assert (outcome.run_id, outcome.termination, outcome.epochs) == (
            other_outcome.run_id,
            other_outcome.termination,
            other_outcome.epochs,
        )
        for name in ("objective", "val_loss", "test_loss", "test_error"):
            expected_value = getattr(other_outcome, name)
            assert getattr(outcome, name) == pytest.approx(expected_value, rel=tolerance, abs=tolerance, nan_ok=True)


@pytest.mark.parametrize("optimizer", list_rules())
def test_every_optimizer_trains_as_on_the_processor(optimizer: str) -> None:
    batch = make_batch(optimizer, seeds=(0, 1), training=SMALL)
    assert_close(train_on_cuda(batch, torch.float64), train(batch, torch.float64), 1e-8)


@pytest.mark.parametrize("optimizer", ["adai", "sgd", "adam"])
@pytest.mark.parametrize(
    "workload", ["digits-logistic", "digits-cnn", "mnist1d-cnn", "small-cnn", "small-augmented", "small-recurrent"]
)
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of what it does not do
def test_every_engine_trains_as_on_the_processor(optimizer: str, workload: str) -> None:
    training = Training() if workload.startswith("small-") else SMALL
    batch = make_batch(optimizer, workload=workload, seeds=(0, 1), training=training)
    expected = train(batch, torch.float64)
    # Recurrent layers cannot be compiled.
    engines: list[EngineName] = ["looped"] if workload == "small-recurrent" else ["looped", "looped-compiled"]
    trained = get_workload(batch.workload)
    if not why_not_stackable(trained.build_model(trained.load_data()), trained):
        engines.append("stacked")
    for engine in engines:
        ours = train_on_cuda(dataclasses.replace(batch, engine=engine), torch.float64)
        assert ours[1].placement.device == f"cuda ({torch.cuda.get_device_name()})"
        assert ours[1].placement.engine.startswith(engine), ours[1].placement.engine
        assert_close(ours, expected, 1e-7)


def test_a_row_is_what_a_user_would_train() -> None:
    batch = make_batch("adai", workload="digits-mlp", seeds=(3,), epochs=2)
    epochs, _ = train_on_cuda(batch, torch.float64)
    for epoch, ordinary in zip(epochs, train_ordinarily(batch, 0, torch.float64), strict=True):
        assert epoch.train_loss[0] == pytest.approx(ordinary.train_loss, rel=1e-8)
        assert epoch.val_loss[0] == pytest.approx(ordinary.val_loss, rel=1e-8)
        assert epoch.val_error[0] == pytest.approx(ordinary.val_error, abs=1e-12)


@pytest.mark.parametrize(("workload", "engine"), [("digits-mlp", "stacked"), ("digits-cnn", "looped")])
def test_a_run_that_diverges_does_not_touch_the_others(workload: str, engine: EngineName) -> None:
    good = make_batch("sgd", workload=workload, seeds=(0, 1), epochs=3, training=SMALL, engine=engine)
    batch = concatenate(
        good, make_batch("sgd", workload=workload, epochs=3, training=SMALL, values={"lr": 1e4}, engine=engine)
    )
    epochs, finished = train_on_cuda(batch)
    assert [outcome.termination for outcome in finished.outcomes] == [
        Termination.COMPLETED,
        Termination.COMPLETED,
        Termination.DIVERGED,
    ]
    alone, _ = train_on_cuda(select_runs(batch, 0, 1))
    # Libraries choose another kernel for another number of rows: sums are rounded differently, and no more.
    for together, expected in zip(epochs, alone, strict=True):
        for position, run_id in enumerate(expected.run_ids):
            of_run = together.run_ids.index(run_id)
            assert together.val_loss[of_run] == pytest.approx(expected.val_loss[position], rel=1e-4)
            assert together.train_loss[of_run] == pytest.approx(expected.train_loss[position], rel=1e-4)


@pytest.mark.parametrize(("workload", "engine"), [("digits-mlp", "stacked"), ("small-cnn", "looped")])
def test_training_goes_on_after_a_checkpoint_as_if_it_had_not_been_interrupted(
    workload: str, engine: EngineName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path))
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "0")
    batch = make_batch("adai", workload=workload, seeds=(0, 1), epochs=4, engine=engine)
    whole = train_on_cuda(batch, torch.float64)
    first = train_batch(batch, worker="test", device="cuda", dtype=torch.float64)
    for _ in range(3):
        next(first)
    first.close()
    assert list(tmp_path.glob("*.pt"))
    assert_close(train_on_cuda(batch, torch.float64), whole, 1e-9)


def test_a_checkpoint_of_a_gpu_is_not_taken_up_on_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "0")
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path / "none"))
    batch = make_batch("adai", seeds=(0,), epochs=3, training=SMALL)
    expected = histories_of(*train(batch))
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path / "cuda"))
    started = train_batch(batch, worker="test", device="cuda")
    next(started)
    next(started)
    started.close()
    assert list((tmp_path / "cuda").glob("*.pt"))
    assert histories_of(*train(batch)) == expected


def test_the_surface_is_measured_as_on_the_processor() -> None:
    training = Training(data=LIMITS, curvature=CurvatureRequest(every=2, examples=64, slice_points=5))
    batch = make_batch("adai", seeds=(0,), training=training)
    assert_close(train_on_cuda(batch, torch.float64), train(batch, torch.float64), 1e-8)


@pytest.mark.parametrize("workload", ["digits-mlp", "digits-cnn"])
def test_bfloat16_learns_what_float32_learns(workload: str) -> None:
    batch = make_batch("adam", workload=workload, seeds=(0,), epochs=6, training=Training(precision="bfloat16"))
    _, finished = train_on_cuda(batch)
    assert "bfloat16" in finished.placement.engine
    assert finished.outcomes[0].val_error < 0.2


@pytest.mark.parametrize("engine", ["auto", "stacked", "looped", "looped-compiled"])
def test_batches_are_planned_by_what_the_gpu_does(engine: EngineName) -> None:
    request = PlanRequest(WorkloadReference("digits-mlp"), Training(), engine, row_epochs=100, workers=1)
    plan = plan_engine(request, device="cuda")
    assert plan.engine == ("stacked" if engine == "auto" else engine)
    assert plan.max_rows >= (64 if plan.engine == "stacked" else 12), plan
    request = dataclasses.replace(request, workload=WorkloadReference("digits-cnn"), row_epochs=1)
    if engine in ("auto", "looped"):
        assert plan_engine(request, device="cuda").engine == "looped"


def test_memory_is_that_of_the_gpu() -> None:
    start_peak_memory(CUDA)
    before = read_peak_memory(CUDA) or 0
    taken = torch.zeros(50 * 2**20, device=CUDA)
    assert (read_peak_memory(CUDA) or 0) - before >= taken.nbytes
    assert 0 < (read_available_memory(CUDA) or 0) < torch.cuda.get_device_properties(0).total_memory


def test_a_worker_has_its_share_of_the_gpus_memory_and_says_when_it_is_full() -> None:
    try:
        WorkerSettings(gpu_share=0.01).apply()
        with pytest.raises(RuntimeError) as error:
            torch.zeros(torch.cuda.get_device_properties(0).total_memory // 20, dtype=torch.uint8, device=CUDA)
        assert is_out_of_memory(error.value)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
