"""Training equals an ordinary PyTorch loop: parameters, running statistics and losses after every epoch."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_runs import (
    LR,
    ORDINARY,
    concatenate,
    make_batch,
    train_and_keep_checkpoints,
    train_ordinarily,
)

from adai import get_rule, list_rules
from workers.messages import Training, TrialBatch

#: Three steps an epoch, the last with half a batch.
LIMITS = {"limit_train": 50, "limit_validation": 60, "limit_test": 30}
TRAINING = Training(batch_size=20, schedule="cosine", label_smoothing=0.1, data=LIMITS)
EPOCHS = 5


@pytest.fixture(autouse=True)
def _checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every epoch shows where the rows are."""
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path))
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "0")


def two_runs(optimizer: str, workload: str, **fields: object) -> TrialBatch:
    """Different seeds, learning rates, decays and budgets; in the batch the larger seed stands first."""
    names = {h.name for h in get_rule(optimizer).hyperparameters}
    first = {"weight_decay": 1e-3} if "weight_decay" in names else {}
    common = {"workload": workload, "training": TRAINING, **fields}
    return concatenate(
        make_batch(optimizer, seeds=(2,), epochs=EPOCHS, values=first, **common),  # type: ignore[arg-type]
        make_batch(optimizer, seeds=(0,), epochs=EPOCHS - 1, values={"lr": LR[optimizer] / 3}, **common),  # type: ignore[arg-type]
    )


def difference(actual: Tensor, expected: Tensor) -> float:
    """Largest difference relative to max(1, |value|)."""
    return float(((actual - expected).abs() / expected.abs().clamp(min=1)).max())


@pytest.fixture
def _double_precision() -> Iterator[None]:
    """Torch keeps NAdam's product of momenta in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_table_of_ordinary_optimizers_is_complete() -> None:
    assert set(ORDINARY) == set(list_rules())


@pytest.mark.usefixtures("_double_precision")
@pytest.mark.parametrize("optimizer", list_rules())
@pytest.mark.parametrize("workload", ["digits-logistic", "digits-mlp", "digits-cnn"])
def test_a_run_equals_an_ordinary_pytorch_loop_after_every_epoch(optimizer: str, workload: str) -> None:
    batch = two_runs(optimizer, workload)
    epochs, saved = train_and_keep_checkpoints(batch, torch.float64)
    for row in range(2):
        for number, expected in enumerate(train_ordinarily(batch, row, torch.float64)):
            position = epochs[number].run_ids.index(batch.run_ids[row])
            measured = [
                getattr(epochs[number], name)[position]
                for name in ("train_loss", "grad_norm", "lr", "val_loss", "val_error")
            ]
            assert difference(torch.tensor(measured), torch.tensor(expected[:5])) <= 1e-12
            if number + 1 == batch.epochs[row]:
                continue
            position = saved[number]["rows"].index(row)
            assert difference(saved[number]["theta"][position], expected.parameters) <= 1e-12
            buffers = saved[number]["buffers"][position]
            assert buffers.keys() == expected.buffers.keys()
            assert all(difference(buffers[name], value) <= 1e-12 for name, value in expected.buffers.items())
        assert number + 1 == batch.epochs[row]
    assert bool(saved[0]["buffers"][0]) == (workload == "digits-cnn")


def add_one_ulp(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.nextafter(parameter, torch.tensor(torch.inf)))


@pytest.mark.parametrize(
    ("workload", "optimizer"),
    [
        *itertools.product(["digits-logistic", "digits-mlp"], list_rules()),
        # The row's gradients are those of the loop to the bit, and the updates are those of the other two.
        *itertools.product(["digits-cnn"], ["adai", "adam", "cprop_sgd", "sgd"]),
    ],
)
def test_in_float32_a_run_differs_from_an_ordinary_loop_like_one_that_starts_an_ulp_away(
    workload: str, optimizer: str
) -> None:
    batch = two_runs(optimizer, workload)
    _, saved = train_and_keep_checkpoints(batch, torch.float32)
    for row in range(2):
        loops = (train_ordinarily(batch, row, torch.float32), train_ordinarily(batch, row, torch.float32, add_one_ulp))
        for number, (expected, beside) in enumerate(zip(*loops, strict=True)):
            if number + 1 < batch.epochs[row]:
                theta_P = saved[number]["theta"][saved[number]["rows"].index(row)]
                sensitivity = difference(beside.parameters, expected.parameters)
                assert 0 < sensitivity < 0.02
                assert difference(theta_P, expected.parameters) <= 10 * sensitivity
