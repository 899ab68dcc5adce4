"""How fast trial batches train, beside what a user would write: ratios, measured side by side in one run.

Four ways to train the same 24 runs (8 settings x 3 seeds) of digits-mlp with Adai for a few epochs, one thread:
an ordinary loop (module, DataLoader, optimizer class), the same loop with tensor slices instead of the DataLoader, the
looped engine and the stacked engine. Rounds are interleaved, so that a drift of the machine's speed hits all alike.

Run: python benchmarks/engines.py [ROUNDS]. Writes benchmarks/results/engines-<date>.md.
"""

import datetime as dt
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from adai import Adai, get_rule
from study.provenance import describe_environment
from workers.engines import Engine, LoopedEngine, StackedEngine
from workers.messages import TrialBatch
from workers.trainer import train_batch
from workers.workloads import get_workload

WORKLOAD = get_workload("digits-mlp")
DATA = WORKLOAD.load_data()
EPOCHS = 3
SEEDS = 3
LEARNING_RATES = [0.05 * 1.5**k for k in range(8)]
RUNS = [(lr, seed) for lr in LEARNING_RATES for seed in range(SEEDS)]


def train_ordinarily(*, data_loader: bool) -> None:
    """Every run by itself, as in a script: module, optimizer class, loop, validation after each epoch."""
    for lr, seed in RUNS:
        torch.manual_seed(seed)
        model = WORKLOAD.build_model(DATA)
        optimizer = Adai(model.parameters(), lr=lr)
        loader = DataLoader(TensorDataset(DATA.train.inputs, DATA.train.labels), WORKLOAD.batch_size, shuffle=True)
        for _ in range(EPOCHS):
            for inputs, labels in loader if data_loader else sliced():
                optimizer.zero_grad()
                loss = cross_entropy(model(inputs), labels)
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                logits = model(DATA.validation.inputs)
                (logits.argmax(1) != DATA.validation.labels).double().mean().item()


def sliced() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch's shuffled batches as slices of tensors."""
    order = torch.randperm(len(DATA.train.labels))
    return [(DATA.train.inputs[part], DATA.train.labels[part]) for part in order.split(WORKLOAD.batch_size)]


def train_together(make_engine: Callable[[nn.Module, torch.Tensor], Engine]) -> None:
    """All runs as one trial batch."""
    defaults = {h.name: h.default for h in get_rule("adai").hyperparameters}
    hyperparameters = {name: (value,) * len(RUNS) for name, value in defaults.items()}
    hyperparameters["lr"] = tuple(lr for lr, _ in RUNS)
    seeds = tuple(seed for _, seed in RUNS)
    batch = TrialBatch(0, "digits-mlp", "adai", tuple(range(len(RUNS))), seeds, hyperparameters, 0, EPOCHS, "val_error")
    for _ in train_batch(batch, worker="benchmark", make_engine=make_engine):
        pass


WAYS: dict[str, Callable[[], None]] = {
    "ordinary loop, DataLoader": lambda: train_ordinarily(data_loader=True),
    "ordinary loop, tensor slices": lambda: train_ordinarily(data_loader=False),
    "looped engine": lambda: train_together(LoopedEngine),
    "stacked engine": lambda: train_together(StackedEngine),
}


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for round_ in range(rounds + 1):
        for name, way in WAYS.items():
            started = time.perf_counter()
            way()
            if round_:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def describe(seconds: dict[str, list[float]], rounds: int) -> str:
    """The result as Markdown."""
    steps = len(RUNS) * EPOCHS * -(-len(DATA.train.labels) // WORKLOAD.batch_size)
    base = seconds["ordinary loop, DataLoader"]
    environment = describe_environment()
    conditions = (
        f"{environment['processor']}, {environment['processors']} processors, 1 thread; Python "
        f"{platform.python_version()}, torch {torch.__version__}; commit {environment['commit']}. {rounds} interleaved "
        "rounds; ratios are taken round by round, median (smallest to largest). Validation included, database not."
    )
    lines = [
        f"# Training {len(RUNS)} runs of digits-mlp with Adai, {dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "",
        conditions,
        "",
        "| way | run-steps/s | times the ordinary loop with DataLoader |",
        "|---|--:|---|",
    ]
    for name, own in seconds.items():
        ratios = [b / o for b, o in zip(base, own, strict=True)]
        middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
        lines.append(f"| {name} | {steps / statistics.median(own):,.0f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    torch.set_num_threads(1)
    text = describe(measure(rounds), rounds)
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"engines-{dt.datetime.now(dt.UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
