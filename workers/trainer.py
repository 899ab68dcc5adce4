"""The only loop: trains one trial batch, epoch by epoch, and says what happened.

Shapes: ``T`` rows still training, ``P`` parameters, ``B`` batch, ``N`` training examples.
"""

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from adai import UpdateRule, get_rule, select_rows
from workers.divergence import divergence_reason
from workers.engines import Engine, choose_engine
from workers.engines.rows import initial_rows
from workers.messages import BatchFinished, EpochMetrics, Placement, RunOutcome, Termination, TrialBatch
from workers.random import Purpose, permutation
from workers.workloads import ClassificationData, Split, Workload, chance_level, get_workload


def train_batch(
    batch: TrialBatch,
    *,
    worker: str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    make_engine: Callable[[nn.Module, Tensor], Engine] = choose_engine,
) -> Iterator[EpochMetrics | BatchFinished]:
    """Train all runs of ``batch``; yield each epoch's metrics, then the outcomes.

    Args:
        batch: What to train.
        worker: Name of this worker, for the record.
        device: A torch device.
        dtype: Of parameters, gradients and inputs.
        make_engine: Makes the engine for a model and its rows.

    Raises:
        KeyError: Unknown workload or optimizer.
        MissingDataError: The workload's data is not on this machine.
    """
    training = _Training(batch, torch.device(device), dtype, make_engine)
    for epoch in range(1, batch.epochs + 1):
        yield training.run_epoch(epoch)
        training.drop_diverged(epoch)
        if not training.rows:
            break
    training.finish()
    placement = Placement(
        worker=worker,
        host=platform.node(),
        pid=os.getpid(),
        device=device,
        engine=training.engine_name,
        torch_version=str(torch.__version__),
    )
    outcomes = tuple(training.outcomes[run_id] for run_id in batch.run_ids)
    yield BatchFinished(batch.batch_id, outcomes, placement)


class _Training:
    """The rows of one batch that are still training, and the outcomes of those that are not."""

    def __init__(
        self,
        batch: TrialBatch,
        device: torch.device,
        dtype: torch.dtype,
        make_engine: Callable[[nn.Module, Tensor], Engine],
    ) -> None:
        self.batch = batch
        self.workload: Workload = get_workload(batch.workload)
        self.rule: UpdateRule = get_rule(batch.optimizer, **batch.options)
        self.data = _place(self.workload.load_data(), device, dtype)
        self.cap = chance_level(batch.objective, self.data)
        model = self.workload.build_model(self.data)
        theta_TP = initial_rows(model, study_seed=batch.study_seed, seeds=batch.seeds, dtype=dtype, device=device)
        self.engine = make_engine(model, theta_TP)
        self.state = self.rule.init(theta_TP, [parameter.numel() for parameter in model.parameters()])
        self.hyperparameters = {
            name: torch.tensor(values, dtype=torch.float64, device=device)
            for name, values in batch.hyperparameters.items()
        }
        #: Positions in the batch of the rows still training.
        self.rows: list[int] = list(range(len(batch.run_ids)))
        self.seconds = 0.0
        self.outcomes: dict[int, RunOutcome] = {}

    @property
    def engine_name(self) -> str:
        """The engine, and whether the update rule's step is compiled here: its numbers are rounded differently."""
        compiled = self.rule.is_compiled_for(self.engine.theta_TP, self.engine.grad_TP)
        return f"{self.engine.name}, {'compiled' if compiled else 'plain'} step"

    def run_epoch(self, epoch: int) -> EpochMetrics:
        """Train one epoch and validate."""
        started = time.perf_counter()
        train_loss_T = self._train_epoch(epoch)
        val_loss_T, val_error_T = self.engine.evaluate(self.data.validation.inputs, self.data.validation.labels)
        seconds = (time.perf_counter() - started) / len(self.rows)
        self.seconds += seconds
        val_loss, val_error = val_loss_T.tolist(), val_error_T.tolist()
        judged = val_error if self.batch.objective == "val_error" else val_loss
        self.reasons = [
            divergence_reason(train, val, self.workload.loss_ceiling)
            for train, val in zip(train_loss_T.tolist(), val_loss, strict=True)
        ]
        self.metrics = EpochMetrics(
            batch_id=self.batch.batch_id,
            epoch=epoch,
            run_ids=tuple(self.batch.run_ids[row] for row in self.rows),
            train_loss=tuple(train_loss_T.tolist()),
            val_loss=tuple(val_loss),
            val_error=tuple(val_error),
            objective=tuple(
                self.cap if reason else min(value, self.cap) for value, reason in zip(judged, self.reasons, strict=True)
            ),
            lr=tuple(self.batch.hyperparameters["lr"][row] for row in self.rows),
            seconds=seconds,
        )
        return self.metrics

    def _train_epoch(self, epoch: int) -> Tensor:
        """One pass over the training set; the mean loss of each row."""
        inputs, labels = self.data.train.inputs, self.data.train.labels
        order_TN = self._data_order(epoch, len(labels))
        loss_sum_T = torch.zeros(len(self.rows), dtype=torch.float64, device=inputs.device)
        for start in range(0, len(labels), self.workload.batch_size):
            example_TB = order_TN[:, start : start + self.workload.batch_size]
            loss_T = self.engine.compute_gradients(inputs, labels, example_TB)
            self.rule.update_(self.engine.theta_TP, self.engine.grad_TP, self.state, self.hyperparameters)
            loss_sum_T += loss_T.double() * example_TB.shape[1]
        return loss_sum_T / len(labels)

    def _data_order(self, epoch: int, examples: int) -> Tensor:
        """Order of the training examples for each row: the same for equal seeds, whatever the row."""
        seeds = [self.batch.seeds[row] for row in self.rows]
        order_of = {
            seed: permutation(examples, seed=self.batch.study_seed, index=seed, purpose=Purpose.DATA_ORDER, step=epoch)
            for seed in set(seeds)
        }
        stacked = np.stack([order_of[seed] for seed in seeds])
        return torch.from_numpy(stacked).to(self.data.train.inputs.device)

    def drop_diverged(self, epoch: int) -> None:
        """Record the rows that diverged in the epoch just run, and go on without them."""
        for position, reason in enumerate(self.reasons):
            if reason:
                self._record(position, epoch, Termination.DIVERGED, reason, test=(None, None))
        if any(self.reasons):
            self._keep([position for position, reason in enumerate(self.reasons) if not reason])

    def _keep(self, positions: Sequence[int]) -> None:
        self.rows = [self.rows[position] for position in positions]
        kept = torch.tensor(positions, dtype=torch.int64, device=self.engine.theta_TP.device)
        self.state = select_rows(self.state, kept)
        self.hyperparameters = {name: values[kept] for name, values in self.hyperparameters.items()}
        self.engine.set_rows(self.engine.theta_TP[kept])

    def finish(self) -> None:
        """Test the rows that trained to the end, and record them."""
        if not self.rows:
            return
        test_loss_T, test_error_T = self.engine.evaluate(self.data.test.inputs, self.data.test.labels)
        kept = {run_id: position for position, run_id in enumerate(self.metrics.run_ids)}
        for row, loss, error in zip(self.rows, test_loss_T.tolist(), test_error_T.tolist(), strict=True):
            position = kept[self.batch.run_ids[row]]
            self._record(position, self.batch.epochs, Termination.COMPLETED, "", test=(loss, error))

    def _record(
        self,
        position: int,
        epoch: int,
        termination: Termination,
        reason: str,
        *,
        test: tuple[float | None, float | None],
    ) -> None:
        """Make the outcome of the row at ``position`` of the last epoch's metrics."""
        metrics = self.metrics
        self.outcomes[metrics.run_ids[position]] = RunOutcome(
            run_id=metrics.run_ids[position],
            termination=termination,
            reason=reason,
            epochs=epoch,
            objective=metrics.objective[position],
            # "not lower" rather than "higher or equal", so that NaN counts as chance level.
            at_chance=bool(reason) or not metrics.val_loss[position] < chance_level("val_loss", self.data),
            train_loss=metrics.train_loss[position],
            val_loss=metrics.val_loss[position],
            val_error=metrics.val_error[position],
            test_loss=test[0],
            test_error=test[1],
            seconds=self.seconds,
        )


def _place(data: ClassificationData, device: torch.device, dtype: torch.dtype) -> ClassificationData:
    """The data set on ``device``, inputs as ``dtype``."""
    train, validation, test = (
        Split(split.inputs.to(device=device, dtype=dtype), split.labels.to(device))
        for split in (data.train, data.validation, data.test)
    )
    return ClassificationData(train, validation, test, data.classes)
