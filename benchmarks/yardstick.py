"""The yardstick: a study as a user would write it with Optuna and PyTorch, in one process, one run after the other.

Trials of Adai over its default search space, each trained with several seeds: module, DataLoader, optimizer class,
validation after each epoch, Optuna's own SQLite storage. A run whose loss is no longer finite, or above the workload's
ceiling, is given up and counts at chance level. Written to be quick where a user easily can be: no tests on the test
set, the validation set in large batches, learning rates set once an epoch.

Run: python benchmarks/yardstick.py --workload digits-mlp --database yardstick.db. Prints one line of JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

import adai
from workers.workloads import get_workload
from workers.workloads.base import CrossEntropy

SAMPLERS: dict[str, Callable[..., BaseSampler]] = {"qmc": QMCSampler, "random": RandomSampler, "tpe": TPESampler}
VALIDATION_BATCH = 1000


def main() -> None:
    """Run the study and print what it took."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    training = Training(options)
    sampler = SAMPLERS[options.sampler](seed=0)
    optuna_study = optuna.create_study(storage=f"sqlite:///{options.database}", sampler=sampler, direction="minimize")
    ready = seconds_since_start()
    optuna_study.optimize(training.objective, n_trials=options.trials)
    seconds = seconds_since_start()
    result = {
        **vars(options),
        "epochs": training.epochs,
        "seconds": round(seconds, 2),
        "seconds_before_first_trial": round(ready, 2),
        "cpu_seconds": round(time.process_time(), 2),
        "steps": training.steps,
        "steps_per_second": round(training.steps / seconds, 1),
        "runs_given_up": training.given_up,
        "best_value": optuna_study.best_value,
    }
    sys.stdout.write(json.dumps(result) + "\n")


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="A study as a user would write it with Optuna and PyTorch.")
    parser.add_argument("--workload", default="digits-logistic", help="default: %(default)s")
    parser.add_argument("--trials", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="runs per trial; default: %(default)s")
    parser.add_argument("--epochs", type=int, help="passes over the training set; default: the workload's budget")
    parser.add_argument("--threads", type=int, default=1, help="of torch; default: %(default)s")
    parser.add_argument(
        "--optimizer",
        choices=["default", "plain"],
        default="default",
        help="adai.Adai as it comes, or with fused=False: a loop over the tensors, like the Adai authors' code",
    )
    parser.add_argument("--sampler", choices=SAMPLERS, default="qmc", help="of Optuna; default: %(default)s")
    parser.add_argument("--database", default="yardstick.db", metavar="FILE", help="SQLite file, which must not exist")
    parser.add_argument("--limit-train", type=int, metavar="N", help="train with the first N examples only")
    options = parser.parse_args()
    if Path(options.database).exists():
        parser.error(f"{options.database} exists; name a new file with --database")
    return options


def seconds_since_start() -> float:
    """Wall time since this process began, the interpreter's start and all imports included (Linux)."""
    after_name = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc_pid_stat(5)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


class Training:
    """The objective and what it needs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.workload = get_workload(options.workload)
        self.data = self.workload.load_data()
        split = self.data.train
        self.train = TensorDataset(split.inputs[: options.limit_train], split.labels[: options.limit_train])
        self.epochs: int = options.epochs or self.workload.epochs
        self.chance = self.workload.chance_level("val_error" if self.workload.error else "val_loss", self.data)
        # Validation losses are not smoothed.
        self.validation_loss = CrossEntropy() if isinstance(self.workload.loss, CrossEntropy) else self.workload.loss
        self.steps = 0
        self.given_up = 0

    def objective(self, optuna_trial: optuna.Trial) -> float:
        """The mean over seeds of the validation error, or loss where there is no error, after the last epoch."""
        lr = optuna_trial.suggest_float("lr", 1e-2, 1e2, log=True)
        beta0 = optuna_trial.suggest_float("beta0", 1e-2, 1.0, log=True)
        beta2 = 1.0 - optuna_trial.suggest_float("one_minus_beta2", 1e-4, 1.0, log=True)
        curves = [self.train_run(lr, (beta0, beta2), seed) for seed in range(self.options.seeds)]
        # One report an epoch is Optuna's habit; here all come at the end, when the mean over seeds is known.
        for epoch, values in enumerate(zip(*curves, strict=True)):
            optuna_trial.report(statistics.fmean(values), epoch)
        return statistics.fmean(curve[-1] for curve in curves)

    def train_run(self, lr: float, betas: tuple[float, float], seed: int) -> list[float]:
        """The validation metric of one run after each epoch."""
        torch.manual_seed(seed)
        model = self.workload.build_model(self.data)
        fused = False if self.options.optimizer == "plain" else None
        optimizer = adai.Adai(model.parameters(), lr=lr, betas=betas, fused=fused)
        scheduler = LambdaLR(optimizer, lambda epoch: self.workload.schedule(epoch / self.epochs))
        loader = DataLoader(self.train, self.workload.batch_size, shuffle=True)
        curve: list[float] = []
        while len(curve) < self.epochs:
            train_loss = self.train_epoch(model, optimizer, loader)
            scheduler.step()
            val_loss, metric = self.validate(model)
            if not (train_loss <= self.workload.loss_ceiling and val_loss <= self.workload.loss_ceiling):  # NaN is not
                self.given_up += 1
                return curve + [self.chance] * (self.epochs - len(curve))
            curve.append(min(metric, self.chance))
        return curve

    def train_epoch(self, model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader[Any]) -> float:
        """One pass over the training set; the mean loss per example."""
        model.train()
        running_loss = 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = self.workload.loss(model(self.augment(inputs)), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * len(labels)
            self.steps += 1
        return running_loss / len(self.train)

    def augment(self, inputs: Tensor) -> Tensor:
        """The workload's augmentation of a batch, if it has one."""
        if self.workload.augment is None:
            return inputs
        words = torch.randint(-(2**63), 2**63 - 1, (len(inputs),), dtype=torch.int64)
        return self.workload.augment(inputs, words)

    @torch.no_grad()
    def validate(self, model: nn.Module) -> tuple[float, float]:
        """Mean loss over the validation set, and what trials are judged by."""
        model.eval()
        inputs, labels = self.data.validation.inputs, self.data.validation.labels
        loss = error = 0.0
        for start in range(0, len(labels), VALIDATION_BATCH):
            part = slice(start, start + VALIDATION_BATCH)
            outputs, share = model(inputs[part]), len(labels[part]) / len(labels)
            loss += share * self.validation_loss(outputs, labels[part]).item()
            if self.workload.error is not None:
                error += share * self.workload.error(outputs, labels[part]).item()
        return loss, loss if self.workload.error is None else error


if __name__ == "__main__":
    main()
