"""What one optimizer step costs beside torch's fused SGD and Adam: ratios, measured side by side in one run.

Three tables: optimizer classes on the parameters of a ResNet-18 (62 tensors, 11.2 M elements) and of a CIFAR ResNet-110
(329 tensors, 1.7 M), with 1 and 2 threads; row rules on 64 rows of 10,000 parameters; operations dispatched per step.
Rounds are interleaved, so that a drift of the machine's speed hits all alike; in a round each way takes a few steps.

Run: python benchmarks/optimizer_step.py [ROUNDS]. Writes benchmarks/results/optimizer-step-<date>.md.
"""

import datetime as dt
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_optimizer
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import resnet18

from adai import (
    AdaBound,
    Adai,
    AdaiV2,
    AdaiW,
    AdaShift,
    CPropAdam,
    CPropSGD,
    Padam,
    UpdateRule,
    Yogi,
    get_rule,
    list_rules,
)
from study.provenance import describe_environment

Step = Callable[[], Any]
STEPS = 4
ROWS, PARAMETERS = 64, 10_000
LR = 1e-6
BASE = "torch.optim.SGD(momentum=0.9, fused=True)"
FAST: dict[str, Callable[[Sequence[Tensor]], torch.optim.Optimizer]] = {
    BASE: lambda p: torch.optim.SGD(p, LR, momentum=0.9, fused=True),
    "torch.optim.Adam(fused=True)": lambda p: torch.optim.Adam(p, LR, fused=True),
    "Adai": lambda p: Adai(p, LR),
    "Adai, weight_decay=5e-4": lambda p: Adai(p, LR, weight_decay=5e-4),
    "Adai, products of mu retired": lambda p: Adai(p, LR, eps=0.5),
    "Adai(running_v_bar=True)": lambda p: Adai(p, LR, running_v_bar=True),
    "AdaiW": lambda p: AdaiW(p, LR, weight_decay=5e-4),
    "AdaiV2": lambda p: AdaiV2(p, LR),
    "AdaBound": lambda p: AdaBound(p, LR),
    "Padam": lambda p: Padam(p, LR),
    "Yogi": lambda p: Yogi(p, LR),
    "AdaShift": lambda p: AdaShift(p, LR),
    "CPropSGD": lambda p: CPropSGD(p, LR),
    "CPropAdam": lambda p: CPropAdam(p, LR),
}
SLOW: dict[str, Callable[[Sequence[Tensor]], torch.optim.Optimizer]] = {
    "Adai(fused=False), the plain loop": lambda p: Adai(p, LR, fused=False),
    "pytorch-optimizer Adai": lambda p: pytorch_optimizer.Adai(p, LR),
    "AdaiV2(dampening=0.5)": lambda p: AdaiV2(p, LR, dampening=0.5),
}
#: Steps before measuring: more than enough for eps = 0.5 to retire every product of inertias.
WARM_UP = 40


def resnet18_shapes() -> list[torch.Size]:
    """The parameters of torchvision's ResNet-18 with 10 classes."""
    return [parameter.shape for parameter in resnet18(num_classes=10).parameters()]


def resnet110_shapes() -> list[torch.Size]:
    """The parameters of the CIFAR ResNet-110 of He et al. (2016): three stages of 18 blocks, option A shortcuts."""
    shapes: list[tuple[int, ...]] = [(16, 3, 3, 3), (16,), (16,)]
    width_in = 16
    for width in (16, 32, 64):
        for _ in range(18):
            shapes += [(width, width_in, 3, 3), (width,), (width,), (width, width, 3, 3), (width,), (width,)]
            width_in = width
    return [torch.Size(shape) for shape in [*shapes, (10, 64), (10,)]]


LISTS = {"ResNet-18": resnet18_shapes(), "ResNet-110": resnet110_shapes()}


def optimizer_on(
    shapes: Sequence[torch.Size], make: Callable[[Sequence[Tensor]], torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """An optimizer on parameters of these shapes, with gradients, after its first step."""
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer = make(parameters)
    optimizer.step()
    return optimizer


def measure(ways: dict[str, Step], rounds: int, steps: dict[str, int]) -> dict[str, list[float]]:
    """Seconds per step of each way in each round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, step in ways.items():
            count = steps.get(name, STEPS)
            started = time.perf_counter()
            for _ in range(count):
                step()
            if round_:
                seconds[name].append((time.perf_counter() - started) / count)
    return seconds


def ratios(own: Sequence[float], base: Sequence[float]) -> str:
    """Ratios round by round: median (smallest to largest)."""
    values = [a / b for a, b in zip(own, base, strict=True)]
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def classes_table(name: str, threads: int, rounds: int) -> list[str]:
    """One list of parameters with one number of threads."""
    torch.set_num_threads(threads)
    optimizers = {way: optimizer_on(LISTS[name], make) for way, make in {**FAST, **SLOW}.items()}
    for _ in range(WARM_UP):
        optimizers["Adai, products of mu retired"].step()
    seconds = measure({way: o.step for way, o in optimizers.items()}, rounds, dict.fromkeys(SLOW, 1))
    elements = sum(shape.numel() for shape in LISTS[name])
    lines = [
        f"## {name}: {len(LISTS[name])} tensors, {elements:,} elements, {threads} thread{'s' * (threads > 1)}",
        "",
        "| way | ms per step | times SGD (fused) | plain loop of Adai / this |",
        "|---|--:|---|---|",
    ]
    plain = seconds["Adai(fused=False), the plain loop"]
    for way, own in seconds.items():
        faster = ratios(plain, own) if way.startswith("Adai") or "Adai" in way else ""
        lines.append(f"| {way} | {1e3 * statistics.median(own):.2f} | {ratios(own, seconds[BASE])} | {faster} |")
    return [*lines, ""]


def bytes_per_parameter(rule: UpdateRule) -> int:
    """What one step must read and write in float32: theta and each elementwise state twice, the gradient once."""
    state = rule.init(torch.zeros(1, PARAMETERS))
    numbers = sum(tensor.numel() for tensor in state if tensor.is_floating_point()) / PARAMETERS
    if rule.name == "adashift":  # of the window it writes one gradient only
        return round(4 * (3 + numbers + 1))
    return round(4 * (3 + 2 * numbers))


def rows_table(rounds: int) -> list[str]:
    """Row rules, one thread."""
    torch.set_num_threads(1)
    flat = [torch.Size((ROWS * PARAMETERS,))]
    ways: dict[str, Step] = {"SGD, one tensor": optimizer_on(flat, FAST[BASE]).step}
    ways["SGD, 64 tensors"] = optimizer_on([torch.Size((PARAMETERS,))] * ROWS, FAST[BASE]).step
    needed = {"SGD, one tensor": 20, "SGD, 64 tensors": 20}
    steps: dict[str, int] = {}
    for name in list_rules():
        rule = get_rule(name)
        ways[name], needed[name] = row_step(rule), bytes_per_parameter(rule)
        if rule.kernel is None:
            steps[name] = 1
        else:
            ways[f"{name}, plain"], needed[f"{name}, plain"] = row_step(rule, plain=True), needed[name]
            steps[f"{name}, plain"] = 1
    seconds = measure(ways, rounds, steps)
    rate = {way: [needed[way] * ROWS * PARAMETERS / second / 1e9 for second in own] for way, own in seconds.items()}
    lines = [
        f"## Row rules: {ROWS} rows of {PARAMETERS:,} parameters, float32, 1 thread",
        "",
        "Bytes: theta and each elementwise state are read and written once, the gradient is read once. GB/s is these",
        "bytes by the time, so a rule that goes over memory more often than it must shows less.",
        "",
        "| way | bytes per parameter | us per step | GB/s | times SGD's GB/s (one tensor) |",
        "|---|--:|--:|--:|---|",
    ]
    for way, own in seconds.items():
        against = ratios(rate[way], rate["SGD, one tensor"])
        middle = statistics.median(own)
        lines.append(
            f"| {way} | {needed[way]} | {1e6 * middle:,.0f} | {statistics.median(rate[way]):.1f} | {against} |"
        )
    return [*lines, ""]


def row_step(rule: UpdateRule, *, plain: bool = False) -> Step:
    """A step of ``rule`` over rows at its defaults, with a small learning rate."""
    generator = torch.Generator().manual_seed(0)
    theta_TP, grad_TP = (torch.randn(ROWS, PARAMETERS, generator=generator) for _ in range(2))
    state = rule.init(theta_TP)
    hyperparameters = {h.name: torch.full((ROWS,), h.default, dtype=torch.float64) for h in rule.hyperparameters}
    hyperparameters["lr"].fill_(LR)
    update_ = rule.plain_update_ if plain else rule.update_
    return lambda: update_(theta_TP, grad_TP, state, hyperparameters)


class CountOperations(TorchDispatchMode):
    """Counts the operations that torch dispatches; on a GPU each is at least one launch."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count and go on."""
        self.count += 1
        return func(*args, **(kwargs or {}))


def operations_table() -> list[str]:
    """Operations of torch per step; the compiled kernels are one call beside them."""
    lines = [
        "## Operations of torch dispatched per step",
        "",
        "The compiled step is one call from outside torch, not counted here.",
        "",
        f"| way | {' | '.join(f'{name}, {len(shapes)} tensors' for name, shapes in LISTS.items())} |",
        "|---|--:|--:|",
    ]
    for way, make in {**FAST, **SLOW}.items():
        counts = []
        for shapes in LISTS.values():
            optimizer = optimizer_on(shapes, make)
            optimizer.step()
            with CountOperations() as counter:
                optimizer.step()
            counts.append(counter.count)
        lines.append(f"| {way} | {' | '.join(map(str, counts))} |")
    return [*lines, ""]


def main() -> None:
    """Measure, print and write the tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    environment = describe_environment()
    conditions = (
        f"{environment['processor']}, {environment['processors']} processors; Python {platform.python_version()}, "
        f"torch {torch.__version__}, pytorch-optimizer {version('pytorch-optimizer')}; float32; commit "
        f"{environment['commit']}. {rounds} interleaved rounds of {STEPS} steps (1 for the slow ways); ratios are "
        "taken round by round, median (smallest to largest). CPU only."
    )
    lines = [f"# Cost of one optimizer step, {dt.datetime.now(dt.UTC):%Y-%m-%d}", "", conditions, ""]
    for name in LISTS:
        for threads in (1, 2):
            lines += classes_table(name, threads, rounds)
    lines += rows_table(rounds)
    lines += operations_table()
    text = "\n".join(lines).rstrip() + "\n"
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"optimizer-step-{dt.datetime.now(dt.UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
