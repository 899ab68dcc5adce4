"""A run has the same bits alone and in any company, in another process, and after an interruption."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import training_runs
from training_runs import concatenate, histories, histories_of, make_batch, select_runs, train, unzip

from adai import list_rules
from workers.messages import EngineName, EpochMetrics, Termination, Training, TrialBatch
from workers.trainer import train_batch

SCHEDULE = Training(schedule="cosine")
#: Every kind of layer and feed, with an engine that trains it.
KINDS: list[tuple[str, EngineName]] = [
    ("small-mlp", "stacked"),
    ("small-mlp", "looped"),
    ("small-augmented", "stacked"),
    ("small-dropout", "looped"),
    ("small-cnn", "looped"),
    ("small-recurrent", "looped"),
]


def four_runs(workload: str, engine: EngineName) -> TrialBatch:
    """Two seeds, learning rates, budgets; the last diverges at once."""
    common = {"workload": workload, "engine": engine, "training": SCHEDULE}
    return concatenate(
        make_batch(seeds=(1, 0), epochs=(3, 2), **common),  # type: ignore[arg-type]
        make_batch(seeds=(0,), epochs=4, values={"lr": 0.05}, **common),  # type: ignore[arg-type]
        make_batch(seeds=(1,), epochs=3, values={"lr": 1e30}, **common),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("workload", "engine"), KINDS)
def test_a_run_has_the_same_bits_alone_and_anywhere_among_others(workload: str, engine: EngineName) -> None:
    batch = four_runs(workload, engine)
    epochs, finished = train(batch)
    together = histories_of(epochs, finished)
    assert finished.placement.engine.startswith(engine)
    assert [outcome.epochs for outcome in finished.outcomes] == [3, 2, 4, 1]
    assert finished.outcomes[3].termination is Termination.DIVERGED
    assert len(set(together)) == 4
    assert [histories(select_runs(batch, row))[0] for row in range(4)] == together
    order = (3, 2, 0, 1)
    assert histories(select_runs(batch, *order)) == [together[row] for row in order]


@pytest.mark.parametrize("workload", ["digits-logistic", "digits-mlp"])
@pytest.mark.parametrize("examples", [150, 70, 67])
def test_sixty_four_rows_leave_a_run_as_it_is(workload: str, examples: int) -> None:
    """The last batch has 22 examples, 6 or 3: products of narrow matrices take other paths."""
    common = {"workload": workload, "engine": "stacked", "training": Training(data={"limit_train": examples})}
    few = make_batch(seeds=(3, 0), **common)  # type: ignore[arg-type]
    diverging = make_batch(seeds=(0, 7), values={"lr": 1e30}, **common)  # type: ignore[arg-type]
    others = make_batch(seeds=(*range(30), *(3,) * 15, *(0,) * 15), values={"lr": 0.1}, **common)  # type: ignore[arg-type]
    alone = [histories(select_runs(few, row))[0] for row in range(2)]
    assert histories(concatenate(few, diverging, others))[:2] == alone
    assert histories(concatenate(others, diverging, few))[-2:] == alone


@pytest.mark.parametrize("optimizer", list_rules())
def test_every_optimizer_keeps_runs_apart(optimizer: str) -> None:
    common = {"workload": "digits-mlp", "training": Training(batch_size=16, data={"limit_train": 40})}
    batch = make_batch(optimizer, seeds=(0, 1, 2), **common)  # type: ignore[arg-type]
    diverging = make_batch(optimizer, seeds=(0, 1), values={"lr": 1e30}, **common)  # type: ignore[arg-type]
    others = make_batch(optimizer, seeds=tuple(range(19)), values={"lr": 1e-3}, **common)  # type: ignore[arg-type]
    alone = [histories(select_runs(batch, row))[0] for row in range(3)]
    assert histories(concatenate(batch, diverging, others))[:3] == alone
    assert histories(concatenate(others, diverging, batch))[-3:] == alone


def test_dropout_augmentation_and_batch_norm_take_part_in_training() -> None:
    """Or the equalities here would say nothing about them."""
    mlp, augmented, dropout = (
        histories(make_batch(workload=f"small-{kind}", engine="looped", epochs=1))
        for kind in ("mlp", "augmented", "dropout")
    )
    assert mlp != augmented
    assert mlp != dropout


_IN_ANOTHER_PROCESS = """
import json, sys
import torch
torch.set_num_threads(1)
import training_runs
from workers.messages import Training
batches = [
    training_runs.make_batch(workload=workload, engine=engine, epochs=2, training=Training(schedule="cosine"))
    for workload, engine in json.loads(sys.argv[1])
]
print(json.dumps([training_runs.histories(batch) for batch in batches]))
"""


def test_another_process_computes_the_same_bits() -> None:
    folders = [str(Path(training_runs.__file__).parent), str(Path(__file__).parents[2])]
    said = subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER_PROCESS, json.dumps(KINDS)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders), "PYTHONHASHSEED": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    here = [
        histories(make_batch(workload=workload, engine=engine, epochs=2, training=SCHEDULE))
        for workload, engine in KINDS
    ]
    assert json.loads(said.stdout) == json.loads(json.dumps(here))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a checkpoint is written after every epoch."""
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path))
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "0")
    return tmp_path


@pytest.mark.parametrize("received", [1, 2, 3, 4])
@pytest.mark.parametrize(("workload", "engine"), KINDS)
def test_a_run_that_is_interrupted_after_any_epoch_goes_on_as_if_it_was_not(
    workload: str, engine: EngineName, received: int, folder: Path
) -> None:
    """Rows have diverged and finished before some of the interruptions."""
    batch = concatenate(four_runs(workload, engine), make_batch(workload=workload, engine=engine, seeds=(0,), epochs=5))
    attempt = train_batch(batch, worker="first")
    before = [next(attempt) for _ in range(received)]
    attempt.close()
    epochs, finished = unzip(list(train_batch(batch, worker="second")))
    assert not list(folder.iterdir())
    # What the first attempt saved is given again as it was, its times included; the last epoch's event was not dealt
    # with, so that it is not in the checkpoint.
    assert repr(epochs[: received - 1]) == repr(before[:-1])
    uninterrupted = train(batch)
    assert histories_of(epochs, finished) == histories_of(*uninterrupted)
    terminations = [outcome.termination.name for outcome in finished.outcomes]
    assert terminations == ["COMPLETED", "COMPLETED", "COMPLETED", "DIVERGED", "COMPLETED"]
    assert [outcome.epochs for outcome in finished.outcomes] == [3, 2, 4, 1, 5]


def test_the_time_before_an_interruption_counts(folder: Path) -> None:
    batch = make_batch(workload="small-mlp", epochs=3)
    attempt = train_batch(batch, worker="first")
    seconds = [event.seconds for event in (next(attempt), next(attempt)) if isinstance(event, EpochMetrics)]
    attempt.close()
    epochs, finished = train(batch)
    assert epochs[0].seconds == seconds[0]
    assert finished.outcomes[0].seconds == pytest.approx(sum(epoch.seconds for epoch in epochs), rel=1e-12)
    assert not list(folder.iterdir())


def test_a_broken_checkpoint_costs_nothing_but_the_time(folder: Path) -> None:
    batch = make_batch(workload="small-mlp", epochs=3)
    attempt = train_batch(batch, worker="first")
    next(attempt), next(attempt)
    attempt.close()
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert histories(batch) == histories(batch)
    assert not list(folder.iterdir())


def test_another_precision_of_the_rows_does_not_take_the_checkpoint(folder: Path) -> None:
    batch = make_batch(workload="small-mlp", epochs=3)
    expected = histories(batch, torch.float64)
    attempt = train_batch(batch, worker="first")
    next(attempt), next(attempt)
    attempt.close()
    assert histories(batch, torch.float64) == expected
    assert len(list(folder.iterdir())) == 1
