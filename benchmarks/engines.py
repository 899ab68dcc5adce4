"""How fast trial batches train, beside what a user would write: ratios, measured side by side in one run.

The same runs (some learning rates x 3 seeds) of Adai for a few epochs in one process with one thread: an ordinary loop
(module, DataLoader, optimizer class), the same loop with tensor slices instead of the DataLoader, and each engine that
can train the workload. Rounds are interleaved, so that a drift of the machine's speed hits all alike.

Run: python benchmarks/engines.py [--rounds N] [--workloads NAME ...]. Writes benchmarks/results/engines-<date>.md.
"""

import argparse
import datetime as dt
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from adai import Adai, get_rule
from study.provenance import describe_environment
from workers.engines import why_not_stackable
from workers.messages import EngineName, TrialBatch, WorkloadReference
from workers.trainer import train_batch
from workers.workloads import Dataset, Workload, get_workload

EPOCHS = 3
SEEDS = 3
#: Settings per workload: enough rows for a full stack where a step is cheap.
SETTINGS = {"digits-logistic": 32, "digits-mlp": 8, "digits-cnn": 2, "mnist1d-cnn": 2, "charlm-lstm": 1}


def learning_rates(workload: Workload) -> list[float]:
    """Of the settings that are trained."""
    return [0.05 * 1.05**k for k in range(SETTINGS.get(workload.name, 1))]


def train_ordinarily(workload: Workload, data: Dataset, *, data_loader: bool) -> None:
    """Every run by itself, as in a script: module, optimizer class, loop, validation after each epoch."""
    for lr in learning_rates(workload):
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            model = workload.build_model(data)
            optimizer = Adai(model.parameters(), lr=lr)
            loader = DataLoader(TensorDataset(data.train.inputs, data.train.labels), workload.batch_size, shuffle=True)
            for _ in range(EPOCHS):
                model.train()
                for inputs, labels in loader if data_loader else slices(workload, data):
                    optimizer.zero_grad()
                    loss = workload.loss(model(inputs), labels)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    outputs = model(data.validation.inputs)
                    workload.loss(outputs, data.validation.labels).item()


def slices(workload: Workload, data: Dataset) -> list[tuple[Tensor, Tensor]]:
    """One epoch's shuffled batches as slices of tensors."""
    order = torch.randperm(len(data.train.labels))
    return [(data.train.inputs[part], data.train.labels[part]) for part in torch.split(order, workload.batch_size)]


def train_together(workload: Workload, engine: EngineName) -> None:
    """All runs as one trial batch."""
    runs = [(lr, seed) for lr in learning_rates(workload) for seed in range(SEEDS)]
    hyperparameters = {h.name: (h.default,) * len(runs) for h in get_rule("adai").hyperparameters}
    batch = TrialBatch(
        batch_id=0,
        workload=WorkloadReference(workload.name),
        optimizer="adai",
        run_ids=tuple(range(len(runs))),
        seeds=tuple(seed for _, seed in runs),
        hyperparameters={**hyperparameters, "lr": tuple(lr for lr, _ in runs)},
        study_seed=0,
        epochs=(EPOCHS,) * len(runs),
        objective="val_loss",
        engine=engine,
    )
    for _ in train_batch(batch, worker="benchmark"):
        pass


def ways(workload: Workload, data: Dataset) -> dict[str, Callable[[], None]]:
    """Every way to train the workload."""
    engines: list[EngineName] = ["looped", "looped-compiled"]
    if not why_not_stackable(workload.build_model(data), workload):
        engines = ["looped", "stacked"]
    return {
        "ordinary loop, DataLoader": partial(train_ordinarily, workload, data, data_loader=True),
        "ordinary loop, tensor slices": partial(train_ordinarily, workload, data, data_loader=False),
        **{f"engine {engine}": partial(train_together, workload, engine) for engine in engines},
    }


def measure(workload: Workload, data: Dataset, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one round that is not counted: it compiles."""
    seconds: dict[str, list[float]] = {}
    for round_ in range(rounds + 1):
        for name, way in ways(workload, data).items():
            started = time.perf_counter()
            way()
            if round_:
                seconds.setdefault(name, []).append(time.perf_counter() - started)
    return seconds


def describe(workload: Workload, data: Dataset, seconds: dict[str, list[float]]) -> str:
    """One workload as Markdown."""
    runs = SEEDS * len(learning_rates(workload))
    steps = runs * EPOCHS * -(-len(data.train.labels) // workload.batch_size)
    base = seconds["ordinary loop, DataLoader"]
    lines = [
        f"## {workload.name}: {runs} runs, {EPOCHS} epochs, batch size {workload.batch_size}",
        "",
        "| way | run-steps/s | times the ordinary loop with DataLoader |",
        "|---|--:|---|",
    ]
    for name, own in seconds.items():
        ratios = [b / o for b, o in zip(base, own, strict=True)]
        middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
        lines.append(f"| {name} | {steps / statistics.median(own):,.0f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    return "\n".join([*lines, ""])


def header(rounds: int) -> str:
    """Where and how it was measured."""
    environment = describe_environment()
    return (
        f"# Engines beside an ordinary loop, Adai, {dt.datetime.now(dt.UTC):%Y-%m-%d}\n\n"
        f"{environment['processor']}, {environment['processors']} processors, 1 thread; Python "
        f"{platform.python_version()}, torch {torch.__version__}; commit {environment['commit']}. {rounds} interleaved "
        "rounds; ratios are taken round by round, median (smallest to largest). Validation included, database not.\n"
    )


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description="Engines beside an ordinary loop.")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--workloads", nargs="+", default=list(SETTINGS), metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sections = [header(options.rounds)]
    for name in options.workloads:
        workload = get_workload(name)
        data = workload.load_data()
        sections.append(describe(workload, data, measure(workload, data, options.rounds)))
    text = "\n".join(sections)
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"engines-{dt.datetime.now(dt.UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
