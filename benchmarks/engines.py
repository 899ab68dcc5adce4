"""How fast trial batches train, beside what a user would write: ratios, measured side by side in one run.

The same runs (some learning rates x 3 seeds) of Adai for a few epochs in one process with one thread: an ordinary loop
(module, DataLoader, optimizer class), the same loop with tensor slices instead of the DataLoader, and each engine that
can train the workload. Rounds are interleaved, so that a drift of the machine's speed hits all alike.

Run: python benchmarks/engines.py [--device cuda] [--rounds N] [--workloads NAME ...]. Writes
benchmarks/results/engines-<date>.md, or engines-cuda-<date>.md.
"""

import argparse
import datetime as dt
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from workers.workloads import Dataset, Split, Workload, get_workload

EPOCHS = 3
SEEDS = 3
#: Settings per workload: enough rows for a full stack where a step is cheap.
SETTINGS = {"digits-logistic": 32, "digits-mlp": 8, "digits-cnn": 2, "mnist1d-cnn": 2, "charlm-lstm": 1}
GPU_SETTINGS = {"digits-logistic": 300, "digits-mlp": 300}
#: On a GPU, how many of them are trained where runs are computed one after the other: so at the same rate as all.
GPU_FEW_SETTINGS = 2


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes:
        train: Trains some runs.
        runs: How many.
    """

    train: Callable[[], None]
    runs: int


def learning_rates(workload: Workload, device: str, *, stacked: bool) -> list[float]:
    """Of the settings that are trained."""
    if device == "cpu":
        count = SETTINGS.get(workload.name, 1)
    else:
        count = GPU_SETTINGS.get(workload.name, GPU_FEW_SETTINGS) if stacked else GPU_FEW_SETTINGS
    return [0.05 * 1.05 ** (k % 32) for k in range(count)]


def train_ordinarily(workload: Workload, data: Dataset, device: str, *, data_loader: bool) -> None:
    """Every run by itself, as in a script: module, optimizer class, loop, validation after each epoch.

    The data is on the device, but for the DataLoader, which has it on the processor as is usual.
    """
    at_hand = data.train if data_loader else Split(data.train.inputs.to(device), data.train.labels.to(device))
    validation = Split(data.validation.inputs.to(device), data.validation.labels.to(device))
    for lr in learning_rates(workload, device, stacked=False):
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            model = workload.build_model(data).to(device)
            optimizer = Adai(model.parameters(), lr=lr)
            loader = DataLoader(TensorDataset(at_hand.inputs, at_hand.labels), workload.batch_size, shuffle=True)
            for _ in range(EPOCHS):
                model.train()
                for inputs, labels in loader if data_loader else slices(workload, at_hand):
                    optimizer.zero_grad()
                    loss = workload.loss(model(inputs.to(device)), labels.to(device))
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    outputs = model(validation.inputs)
                    workload.loss(outputs, validation.labels).item()


def slices(workload: Workload, train: Split) -> list[tuple[Tensor, Tensor]]:
    """One epoch's shuffled batches as slices of tensors."""
    order = torch.randperm(len(train.labels), device=train.labels.device)
    return [(train.inputs[part], train.labels[part]) for part in torch.split(order, workload.batch_size)]


def train_together(workload: Workload, device: str, engine: EngineName) -> None:
    """All runs as one trial batch."""
    rates = learning_rates(workload, device, stacked=engine == "stacked")
    runs = [(lr, seed) for lr in rates for seed in range(SEEDS)]
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
    for _ in train_batch(batch, worker="benchmark", device=device):
        pass


def ways(workload: Workload, data: Dataset, device: str) -> dict[str, Way]:
    """Every way to train the workload."""
    engines: list[EngineName] = ["looped", "looped-compiled"]
    if not why_not_stackable(workload.build_model(data), workload):
        engines = ["looped", "stacked"]
    runs = {stacked: SEEDS * len(learning_rates(workload, device, stacked=stacked)) for stacked in (False, True)}
    ordinarily = partial(train_ordinarily, workload, data, device)
    return {
        "ordinary loop, DataLoader": Way(partial(ordinarily, data_loader=True), runs[False]),
        "ordinary loop, tensor slices": Way(partial(ordinarily, data_loader=False), runs[False]),
        **{
            f"engine {engine}": Way(partial(train_together, workload, device, engine), runs[engine == "stacked"])
            for engine in engines
        },
    }


def measure(workload: Workload, data: Dataset, device: str, rounds: int) -> dict[str, tuple[int, list[float]]]:
    """Runs, and run-steps per second in each round, of each way, after one round that is not counted: it compiles."""
    steps = EPOCHS * -(-len(data.train.labels) // workload.batch_size)
    rates: dict[str, tuple[int, list[float]]] = {}
    for round_ in range(rounds + 1):
        for name, way in ways(workload, data, device).items():
            started = time.perf_counter()
            way.train()
            if device != "cpu":
                torch.cuda.synchronize()
            if round_:
                rate = way.runs * steps / (time.perf_counter() - started)
                rates.setdefault(name, (way.runs, []))[1].append(rate)
    return rates


def describe(workload: Workload, rates: dict[str, tuple[int, list[float]]]) -> str:
    """One workload as Markdown."""
    _, base = rates["ordinary loop, DataLoader"]
    lines = [
        f"## {workload.name}: {EPOCHS} epochs, batch size {workload.batch_size}",
        "",
        "| way | runs | run-steps/s | times the ordinary loop with DataLoader |",
        "|---|--:|--:|---|",
    ]
    for name, (runs, own) in rates.items():
        ratios = [o / b for b, o in zip(base, own, strict=True)]
        middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
        lines.append(f"| {name} | {runs} | {statistics.median(own):,.0f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    return "\n".join([*lines, ""])


def header(device: str, rounds: int) -> str:
    """Where and how it was measured."""
    environment = describe_environment()
    gpu = "" if device == "cpu" else f"{torch.cuda.get_device_name()}; "
    return (
        f"# Engines beside an ordinary loop, Adai, {dt.datetime.now(dt.UTC):%Y-%m-%d}\n\n"
        f"{gpu}{environment['processor']}, {environment['processors']} processors, 1 thread; Python "
        f"{platform.python_version()}, torch {torch.__version__}; commit {environment['commit']}. {rounds} interleaved "
        "rounds; ratios are taken round by round, median (smallest to largest). Validation included, database not.\n"
    )


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description="Engines beside an ordinary loop.")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--workloads", nargs="+", default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: %(default)s")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sections = [header(options.device, options.rounds)]
    for name in options.workloads:
        workload = get_workload(name)
        data = workload.load_data()
        sections.append(describe(workload, measure(workload, data, options.device, options.rounds)))
    text = "\n".join(sections)
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    device = "" if options.device == "cpu" else f"{options.device}-"
    (folder / f"engines-{device}{dt.datetime.now(dt.UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
