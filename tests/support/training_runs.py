"""Small trial batches, what training says of each run, and the same runs as a user of PyTorch would write them."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adai import (
    AdaBound,
    Adai,
    AdaiV2,
    AdaiW,
    AdaShift,
    CProp,
    CPropAdam,
    CPropSGD,
    Padam,
    Yogi,
    get_rule,
)
from workers.initialization import build_model
from workers.messages import BatchFinished, EpochMetrics, RunOutcome, Training, TrialBatch, WorkloadReference
from workers.preparation import prepare_workload
from workers.random import Purpose, permutation
from workers.trainer import train_batch
from workers.workloads import Dataset
from workers.workloads.corruption import DataOptions, corrupt

SMALL_WORKLOADS = (Path(__file__).parent / "small_workloads.py").read_text(encoding="utf-8")
STUDY_SEED = 11
#: A learning rate at which each optimizer learns within a few epochs.
LR = {
    "adabound": 0.01,
    "adai": 0.5,
    "adaiv2": 0.5,
    "adaiw": 0.5,
    "adam": 0.01,
    "adamw": 0.01,
    "adashift": 0.02,
    "amsgrad": 0.01,
    "cprop": 0.02,
    "cprop_adam": 0.02,
    "cprop_sgd": 0.5,
    "nadam": 0.01,
    "nesterov": 0.1,
    "padam": 0.1,
    "radam": 0.01,
    "sgd": 0.1,
    "yogi": 0.02,
}
Ordinary = Callable[..., torch.optim.Optimizer]
Events = list[EpochMetrics | BatchFinished]
#: Of an outcome, what may differ between two equal runs.
_TIME_AND_MEMORY = {"run_id", "seconds", "seconds_to_target", "peak_memory"}
_MEASURED = ("train_loss", "val_loss", "val_error", "objective", "lr", "grad_norm")


def class_of(cls: type[torch.optim.Optimizer], *betas: str, **fixed: bool) -> Ordinary:
    """The class as a maker that takes a rule's hyperparameters, those named in ``betas`` as one argument."""

    def make(parameters: Iterable[nn.Parameter], settings: dict[str, float]) -> torch.optim.Optimizer:
        others: dict[str, Any] = {name: value for name, value in settings.items() if name not in betas}
        joined = {"betas": tuple(settings[name] for name in betas)} if betas else {}
        return cls(parameters, **others, **joined, **fixed)

    return make


def cprop_around_adamw(parameters: Iterable[nn.Parameter], settings: dict[str, float]) -> torch.optim.Optimizer:
    own = {name.removeprefix("cprop_"): value for name, value in settings.items() if name.startswith("cprop_")}
    inner = {name: value for name, value in settings.items() if not name.startswith("cprop_")}
    return CProp(class_of(torch.optim.AdamW, "beta1", "beta2")(parameters, inner), **own)


#: torch's own class where it has one, else ours in plain torch operations: rows of trial batches are compiled.
ORDINARY: dict[str, Ordinary] = {
    "adabound": class_of(AdaBound, "beta1", "beta2", fused=False),
    "adai": class_of(Adai, "beta0", "beta2", fused=False),
    "adaiv2": class_of(AdaiV2, "beta0", "beta2", fused=False),
    "adaiw": class_of(AdaiW, "beta0", "beta2", fused=False),
    "adam": class_of(torch.optim.Adam, "beta1", "beta2"),
    "adamw": class_of(torch.optim.AdamW, "beta1", "beta2"),
    "adashift": class_of(AdaShift, "beta1", "beta2"),
    "amsgrad": class_of(torch.optim.Adam, "beta1", "beta2", amsgrad=True),
    "cprop": cprop_around_adamw,
    "cprop_adam": class_of(CPropAdam, "beta1", "beta2"),
    "cprop_sgd": class_of(CPropSGD),
    "nadam": class_of(torch.optim.NAdam, "beta1", "beta2"),
    "nesterov": class_of(torch.optim.SGD, nesterov=True),
    "padam": class_of(Padam, "beta1", "beta2", fused=False),
    "radam": class_of(torch.optim.RAdam, "beta1", "beta2"),
    "sgd": class_of(torch.optim.SGD),
    "yogi": class_of(Yogi, "beta1", "beta2", fused=False),
}


def make_batch(
    optimizer: str = "adai",
    *,
    workload: str = "digits-mlp",
    seeds: tuple[int, ...] = (0,),
    epochs: int | tuple[int, ...] = 2,
    training: Training | None = None,
    values: Mapping[str, float] | None = None,
    **fields: Any,
) -> TrialBatch:
    """One row per seed, all with the same hyperparameters: a known good learning rate and the rule's defaults.

    Names that start with ``small-`` are those of the user's file small_workloads.py.
    """
    settings = {h.name: h.default for h in get_rule(optimizer).hyperparameters} | {
        "lr": LR[optimizer],
        **(values or {}),
    }
    return TrialBatch(
        batch_id=1,
        workload=WorkloadReference(workload, SMALL_WORKLOADS if workload.startswith("small-") else ""),
        optimizer=optimizer,
        run_ids=tuple(range(100, 100 + len(seeds))),
        seeds=seeds,
        hyperparameters={name: (value,) * len(seeds) for name, value in settings.items()},
        study_seed=STUDY_SEED,
        epochs=epochs if isinstance(epochs, tuple) else (epochs,) * len(seeds),
        objective=fields.pop("objective", "val_error"),
        training=training or Training(),
        **fields,
    )


def concatenate(*batches: TrialBatch) -> TrialBatch:
    """All rows of ``batches`` in one batch, with new run ids."""
    seeds = tuple(seed for batch in batches for seed in batch.seeds)
    names = batches[0].hyperparameters
    return dataclasses.replace(
        batches[0],
        run_ids=tuple(range(100, 100 + len(seeds))),
        seeds=seeds,
        epochs=tuple(epochs for batch in batches for epochs in batch.epochs),
        hyperparameters={name: tuple(v for b in batches for v in b.hyperparameters[name]) for name in names},
    )


def select_runs(batch: TrialBatch, *positions: int) -> TrialBatch:
    """Some rows of a batch, in this order."""
    return dataclasses.replace(
        batch,
        run_ids=tuple(batch.run_ids[position] for position in positions),
        seeds=tuple(batch.seeds[position] for position in positions),
        epochs=tuple(batch.epochs[position] for position in positions),
        hyperparameters={name: tuple(of[p] for p in positions) for name, of in batch.hyperparameters.items()},
    )


def train(batch: TrialBatch, dtype: torch.dtype = torch.float32) -> tuple[list[EpochMetrics], BatchFinished]:
    """Every epoch's metrics, and how the batch ended."""
    return unzip(list(train_batch(batch, worker="test", dtype=dtype)))


def unzip(events: Events) -> tuple[list[EpochMetrics], BatchFinished]:
    *epochs, finished = events
    assert isinstance(finished, BatchFinished)
    return [epoch for epoch in epochs if isinstance(epoch, EpochMetrics)], finished


def histories(batch: TrialBatch, dtype: torch.dtype = torch.float32) -> list[tuple[str, ...]]:
    """For each run all that is measured of it, but for time and memory, to the last bit."""
    return histories_of(*train(batch, dtype))


def histories_of(epochs: list[EpochMetrics], finished: BatchFinished) -> list[tuple[str, ...]]:
    # As text, because NaN does not equal itself; Python writes as many digits as tell two numbers apart.
    of_run: dict[int, list[str]] = {outcome.run_id: [] for outcome in finished.outcomes}
    for epoch in epochs:
        for position, run_id in enumerate(epoch.run_ids):
            of_run[run_id].append(repr([epoch.epoch, *(getattr(epoch, name)[position] for name in _MEASURED)]))
    return [(*of_run[outcome.run_id], numbers(outcome)) for outcome in finished.outcomes]


def numbers(outcome: RunOutcome) -> str:
    """Everything but the run's name, time and memory."""
    names = [field.name for field in dataclasses.fields(outcome) if field.name not in _TIME_AND_MEMORY]
    return repr({name: getattr(outcome, name) for name in names})


def train_and_keep_checkpoints(
    batch: TrialBatch, dtype: torch.dtype
) -> tuple[list[EpochMetrics], list[dict[str, Any]]]:
    """Every epoch's metrics, and the checkpoint after each but the last; wants ADAI_CHECKPOINT_DIR and _SECONDS=0."""
    events: Events = []
    saved = []
    for event in train_batch(batch, worker="test", dtype=dtype):
        # A checkpoint is written when the event of its epoch has been dealt with, that is before the next one.
        if events and isinstance(event, EpochMetrics):
            (file,) = Path(os.environ["ADAI_CHECKPOINT_DIR"]).glob("*.pt")
            saved.append(torch.load(file, weights_only=True)["content"])
        events.append(event)
    return unzip(events)[0], saved


class OrdinaryEpoch(NamedTuple):
    """One run after one epoch, as an ordinary loop has it."""

    train_loss: float
    grad_norm: float
    lr: float
    val_loss: float
    val_error: float
    parameters: Tensor
    buffers: dict[str, Tensor]


def train_ordinarily(
    batch: TrialBatch, row: int, dtype: torch.dtype, change_weights: Callable[[nn.Module], None] | None = None
) -> Iterator[OrdinaryEpoch]:
    """What a user would write for one row: module, optimizer class, loop; one item per epoch."""
    workload = prepare_workload(batch.workload, batch.training)
    data = corrupt(workload.load_data(), DataOptions(**batch.training.data))  # type: ignore[arg-type]
    seed = batch.seeds[row]
    model = build_model(lambda: workload.build_model(data), study_seed=batch.study_seed, seed=seed).to(dtype)
    if change_weights is not None:
        change_weights(model)
    settings = {name: values[row] for name, values in batch.hyperparameters.items()}
    optimizer = ORDINARY[batch.optimizer](model.parameters(), settings)
    inputs, labels = data.train.inputs.to(dtype), data.train.labels
    steps, done = math.ceil(len(labels) / workload.batch_size), 0
    for epoch in range(1, batch.epochs[row] + 1):
        key = {"seed": batch.study_seed, "index": seed, "purpose": Purpose.DATA_ORDER, "step": epoch}
        order = torch.from_numpy(permutation(len(labels), **key))  # type: ignore[arg-type]
        model.train()
        total = norms = 0.0
        for chosen in order.split(workload.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = settings["lr"] * workload.schedule(done / (batch.epochs[row] * steps))
            optimizer.zero_grad()
            smoothing = batch.training.label_smoothing
            loss = cross_entropy(model(inputs[chosen]), labels[chosen], label_smoothing=smoothing)
            loss.backward()
            norms += torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm().item()
            optimizer.step()
            total += loss.item() * len(chosen)
            done += 1
        parameters = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        lr = optimizer.param_groups[0]["lr"]
        yield OrdinaryEpoch(total / len(labels), norms / steps, lr, *evaluate(model, data, dtype), parameters, buffers)


def evaluate(model: nn.Module, data: Dataset, dtype: torch.dtype) -> tuple[float, float]:
    """Loss and error on the validation set, which goes through the model as a whole."""
    model.eval()
    with torch.no_grad():
        logits = model(data.validation.inputs.to(dtype))
    labels = data.validation.labels
    return cross_entropy(logits, labels).item(), (logits.argmax(1) != labels).double().mean().item()
