"""A batch that is trained in stages gives its survivors the bits that they have without them."""

import dataclasses
from pathlib import Path

import pytest
import torch
from training_runs import concatenate, histories_of, make_batch, train

from workers.feed import Feed
from workers.messages import (
    BatchFinished,
    CurvatureRequest,
    EngineName,
    EpochMetrics,
    Termination,
    Training,
    TrialBatch,
)
from workers.trainer import train_batch

KINDS: list[tuple[str, EngineName]] = [
    ("small-mlp", "stacked"),
    ("small-mlp", "looped"),
    ("small-mlp", "looped-compiled"),
    ("small-augmented", "stacked"),
    ("small-dropout", "looped"),
    ("small-cnn", "looped"),
    ("small-recurrent", "looped"),
]
Stage = tuple[list[EpochMetrics], BatchFinished]
#: After which epochs runs are dropped, and which: 101 has completed, 103 diverged, 100 and 104 are pruned.
STOPS: list[tuple[int, tuple[int, ...]]] = [
    (1, (103,)),
    (2, (101, 103, 104)),
    (3, (101, 103, 104)),
    (4, (100, 101, 103, 104)),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where checkpoints are; only pauses write them."""
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path / "here"))
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "inf")
    return tmp_path


def make_five(workload: str = "small-mlp", engine: EngineName = "stacked") -> TrialBatch:
    """Runs 100 to 104: two seeds, three learning rates, budgets of 2, 5 and 6 epochs; 103 diverges at once."""
    training = Training(schedule="cosine", target_error=0.4, curvature=CurvatureRequest(every=2, examples=6))
    common = {"workload": workload, "engine": engine, "training": training}
    return concatenate(
        make_batch(seeds=(1, 0), epochs=(5, 2), **common),  # type: ignore[arg-type]
        make_batch(seeds=(0,), epochs=6, values={"lr": 0.05}, **common),  # type: ignore[arg-type]
        make_batch(seeds=(1,), epochs=5, values={"lr": 1e30}, **common),  # type: ignore[arg-type]
        make_batch(seeds=(2,), epochs=5, **common),  # type: ignore[arg-type]
    )


def stage(batch: TrialBatch, number: int) -> TrialBatch:
    """The stage that begins after ``STOPS[number - 1]``, as another batch of the same runs."""
    start, dropped = STOPS[number - 1] if number else (0, ())
    stop = STOPS[number][0] if number < len(STOPS) else None
    return dataclasses.replace(batch, batch_id=number, dropped=dropped, start_epoch=start, stop_epoch=stop)


def train_stages(
    batch: TrialBatch, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, folder: Path, *, shared: bool
) -> list[Stage]:
    """All stages one after the other, with one folder of checkpoints for all or with one each."""
    stages = []
    for number in range(len(STOPS) + 1):
        monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(folder / ("shared" if shared else f"of-{number}")))
        stages.append(train(stage(batch, number), dtype))
    return stages


def join(stages: list[Stage]) -> Stage:
    """What all stages say, as if one batch had said it."""
    epochs = [epoch for part, _ in stages for epoch in part]
    outcomes = sorted((o for _, finished in stages for o in finished.outcomes), key=lambda outcome: outcome.run_id)
    return epochs, dataclasses.replace(stages[-1][1], outcomes=tuple(outcomes))


def without_the_pruned(epochs: list[EpochMetrics], finished: BatchFinished) -> Stage:
    """As if runs 100 and 104 had not been pruned but never been there."""
    kept = []
    for epoch in epochs:
        chosen = [position for position, run_id in enumerate(epoch.run_ids) if run_id not in (100, 104)]
        names = ("run_ids", "train_loss", "val_loss", "val_error", "objective", "lr", "grad_norm")
        kept.append(
            dataclasses.replace(epoch, **{name: tuple(getattr(epoch, name)[p] for p in chosen) for name in names})
        )
    outcomes = tuple(outcome for outcome in finished.outcomes if outcome.run_id not in (100, 104))
    return kept, dataclasses.replace(finished, outcomes=outcomes)


@pytest.mark.parametrize("shared", [True, False], ids=["checkpoints", "no checkpoints"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("workload", "engine"), KINDS)
def test_stages_give_the_bits_of_an_undisturbed_batch(
    workload: str, engine: EngineName, dtype: torch.dtype, shared: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_five(workload, engine)
    whole_epochs, whole = train(batch, dtype)
    stages = train_stages(batch, dtype, monkeypatch, folder, shared=shared)
    epochs, finished = join(stages)
    assert histories_of(*without_the_pruned(epochs, finished)) == histories_of(*without_the_pruned(whole_epochs, whole))
    assert [(e.epoch, e.run_ids, e.curvature) for e in epochs] == [
        (
            e.epoch,
            tuple(run_id for run_id in e.run_ids if run_id not in dropped),
            {run_id: values for run_id, values in e.curvature.items() if run_id not in dropped},
        )
        for e, dropped in zip(whole_epochs, [(), *(dropped for _, dropped in STOPS), STOPS[-1][1]], strict=True)
    ]
    assert [[outcome.run_id for outcome in finished.outcomes] for _, finished in stages] == [
        [103],
        [101],
        [],
        [],
        [102],
    ]
    assert [finished.paused for _, finished in stages] == [
        (100, 101, 102, 104),
        (100, 102, 104),
        (100, 102),
        (100, 102),
        (),
    ]
    assert [[epoch.epoch for epoch in epochs] for epochs, _ in stages] == [[1], [2], [3], [4], [5, 6]]
    assert {epoch.batch_id for epoch in stages[3][0]} == {3}


def count_trained_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with each epoch that is really trained."""
    trained, original = [], Feed.epoch

    def epoch(self: Feed, number: int, seeds: list[int]) -> object:
        trained.append(number)
        return original(self, number, seeds)

    monkeypatch.setattr(Feed, "epoch", epoch)
    return trained


def test_each_stage_trains_its_own_epochs_only_and_the_last_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = count_trained_epochs(monkeypatch)
    for number in range(len(STOPS)):
        train(stage(make_five(), number))
        assert len(list((folder / "here").iterdir())) == 1
        assert trained == list(range(1, STOPS[number][0] + 1))
    train(stage(make_five(), len(STOPS)))
    assert trained == [1, 2, 3, 4, 5, 6]
    assert list((folder / "here").iterdir()) == []


def test_a_batch_without_runs_removes_what_its_stages_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_five()
    train(dataclasses.replace(batch, stop_epoch=1))
    trained = count_trained_epochs(monkeypatch)
    epochs, finished = train(dataclasses.replace(batch, batch_id=7, dropped=batch.run_ids, start_epoch=1))
    assert (epochs, trained, finished.batch_id, finished.outcomes, finished.paused) == ([], [], 7, (), ())
    assert list((folder / "here").iterdir()) == []


@pytest.mark.parametrize("received", [0, 1, 2, 3])
def test_a_stage_that_was_lost_is_told_again(received: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``received`` epochs, or with its pause untold: outcomes of the lost attempt come with the next one."""
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "0")
    batch = make_five()
    first = dataclasses.replace(batch, stop_epoch=1)
    second = dataclasses.replace(batch, dropped=(103, 104), start_epoch=1, stop_epoch=4)
    train(first)
    expected_epochs, expected = train(second)
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(folder / "again"))
    train(first)
    attempt = train_batch(dataclasses.replace(second, batch_id=8), worker="lost")
    for _ in range(received + 1):
        next(attempt)
    attempt.close()
    trained = count_trained_epochs(monkeypatch)
    epochs, finished = train(dataclasses.replace(second, batch_id=9))
    assert trained == list(range(2 + received, 5))
    assert histories_of(*_only_ended(epochs, finished)) == histories_of(*_only_ended(expected_epochs, expected))
    assert [epoch.run_ids for epoch in epochs] == [(101, 102, 100), (102, 100), (102, 100)]
    assert {epoch.batch_id for epoch in epochs} == {9}
    assert [outcome.run_id for outcome in finished.outcomes] == [101]
    assert finished.paused == expected.paused == (100, 102)


def _only_ended(epochs: list[EpochMetrics], finished: BatchFinished) -> Stage:
    """Paused runs as runs that ended, so that their epochs are compared, too."""
    ended = finished.outcomes[0]
    paused = tuple(dataclasses.replace(ended, run_id=run_id) for run_id in finished.paused)
    return epochs, dataclasses.replace(finished, outcomes=(ended, *paused))


def test_runs_that_were_dropped_after_a_lost_attempt_are_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "0")
    batch = make_five()
    attempt = train_batch(batch, worker="lost")
    for _ in range(5):
        next(attempt)
    attempt.close()
    epochs, finished = train(dataclasses.replace(batch, dropped=(100, 103), start_epoch=1))
    assert [set(epoch.run_ids) for epoch in epochs] == [{101, 102, 104}, *[{102, 104}] * 3, {102}]
    assert not any({100, 103} & set(epoch.curvature) for epoch in epochs)
    assert [outcome.run_id for outcome in finished.outcomes] == [101, 102, 104]


def test_a_checkpoint_behind_the_stage_or_without_its_runs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_five()
    whole_epochs, _ = train(batch)
    train(dataclasses.replace(batch, stop_epoch=4, dropped=(100,)))
    trained = count_trained_epochs(monkeypatch)
    epochs, finished = train(dataclasses.replace(batch, stop_epoch=3, dropped=(100,), start_epoch=2))
    assert trained == [1, 2, 3]
    assert [epoch.epoch for epoch in epochs] == [3]
    assert finished.paused == (102, 104)
    epochs, _ = train(dataclasses.replace(batch, start_epoch=3))
    assert trained == [1, 2, 3, *range(1, 7)]
    assert [epoch.val_loss for epoch in epochs] == [epoch.val_loss for epoch in whole_epochs[3:]]


def test_a_run_that_ends_with_the_stage_has_its_outcome_and_does_not_pause() -> None:
    batch = make_batch(workload="small-mlp", seeds=(0, 1), epochs=(2, 3))
    epochs, finished = train(dataclasses.replace(batch, stop_epoch=2))
    assert len(epochs) == 2
    assert [(outcome.run_id, outcome.termination) for outcome in finished.outcomes] == [(100, Termination.COMPLETED)]
    assert finished.outcomes[0].test_loss is not None
    assert finished.paused == (101,)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_every_step_is_heard_and_may_end_the_training(engine: EngineName) -> None:
    batch = make_batch(workload="small-mlp", seeds=(0, 1), epochs=2, engine=engine)
    heard: list[int] = []
    before = [
        len(heard)
        for event in train_batch(batch, worker="test", on_step=lambda: heard.append(1))
        if isinstance(event, EpochMetrics)
    ]
    # Batches of 8 of 26 examples; a looped engine tells of every row of a step and of the validation set.
    assert before == ([4, 8] if engine == "stacked" else [4 + 2 * 4 + 2, 2 * (4 + 2 * 4 + 2)])

    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        next(train_batch(batch, worker="test", on_step=stop))
