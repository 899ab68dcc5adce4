"""The only loop: trains one trial batch, epoch by epoch, and says what happened.

Shapes: ``T`` rows still training, ``P`` parameters, ``B`` batch, ``N`` training examples.
"""

import dataclasses
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from adai import UpdateRule, get_rule, select_rows
from workers.checkpoints import Checkpoints, pack_metrics, pack_outcomes, unpack_metrics, unpack_outcomes
from workers.divergence import divergence_reason
from workers.engines import Rows, initial_rows, make_engine
from workers.feed import Feed
from workers.memory import read_peak_memory, start_peak_memory
from workers.messages import BatchFinished, EpochMetrics, Placement, RunOutcome, Termination, TrialBatch
from workers.preparation import compile_key, fingerprint, prepare_data, prepare_workload
from workers.probe import Measured, measure_rows

#: What the schedule multiplies. AdaBound's final_lr follows a schedule of lr, as in its authors' code.
_SCHEDULED = ("lr", "final_lr")
#: Characters of a device's name.
_DEVICE = 64


def train_batch(
    batch: TrialBatch,
    *,
    worker: str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    on_step: Callable[[], None] | None = None,
) -> Iterator[EpochMetrics | BatchFinished]:
    """Train the runs of ``batch`` that have not been dropped; yield each epoch's metrics, then the outcomes.

    If an earlier attempt or stage left a checkpoint, training goes on after it, and what it trained of this stage is
    yielded again as it was: the events are the same as without the interruption. Without a checkpoint the epochs of
    earlier stages are trained again, silently. A batch whose runs all have been dropped only removes the checkpoint.

    Args:
        batch: What to train.
        worker: Name of this worker, for the record.
        device: A torch device.
        dtype: Of parameters, gradients and inputs.
        on_step: Called whenever something was done: a step or a row of it trained, a row evaluated or measured. What it
            raises ends the training.

    Raises:
        KeyError: Unknown workload, optimizer or schedule.
        TypeError: The engine cannot train the workload.
        ValueError: The schedule gives a factor that is negative or not finite.
        MissingDataError: The workload's data is not on this machine.
    """
    place = torch.device(device)
    if set(batch.run_ids) <= set(batch.dropped):
        Checkpoints(batch, dtype=dtype, device=place, fingerprint=str).remove()
        yield BatchFinished(batch.batch_id, (), _placement(worker, device, "none"), math.nan)
        return
    start_peak_memory(place)
    training = _Training(batch, place, dtype, on_step or _do_nothing)
    checkpoints = Checkpoints(
        batch, dtype=dtype, device=place, fingerprint=lambda: fingerprint(training.model, training.data)
    )
    saved = checkpoints.load()
    if saved is not None and training.can_restore(saved):
        training.restore(saved)
        yield from training.read_history()
    while training.is_going_on:
        metrics = training.run_epoch()
        if metrics.epoch > batch.start_epoch:
            yield metrics
        training.end_epoch()
        if training.is_going_on and checkpoints.is_due:
            checkpoints.save(training.save())
    if training.rows:
        checkpoints.save(training.save())
    placement = _placement(worker, device, training.engine_name)
    try:
        yield BatchFinished(
            batch.batch_id, training.collect_outcomes(), placement, training.chance_loss, training.list_paused()
        )
    finally:
        # Also when nobody asks for a next event: the outcomes have been taken.
        if not training.rows:
            checkpoints.remove()


def _placement(worker: str, device: str, engine: str) -> Placement:
    named = device if device == "cpu" else f"{device} ({torch.cuda.get_device_name(device)})"
    return Placement(
        worker=worker,
        host=platform.node(),
        pid=os.getpid(),
        device=named[:_DEVICE],
        engine=engine,
        torch_version=str(torch.__version__),
    )


def _do_nothing() -> None:
    """For those who do not ask for progress."""


class _Training:
    """The rows of one batch that are still training, and the outcomes of those that are not."""

    def __init__(
        self, batch: TrialBatch, device: torch.device, dtype: torch.dtype, on_step: Callable[[], None]
    ) -> None:
        self.batch = batch
        self.on_step = on_step
        self.dropped = frozenset(batch.dropped)
        self.device = device
        self.workload = prepare_workload(batch.workload, batch.training)
        self.data = prepare_data(batch.workload, batch.training.data, device=device, dtype=dtype)
        self.rule: UpdateRule = get_rule(batch.optimizer, **batch.options)
        self.cap = self.workload.chance_level(batch.objective, self.data)
        self.chance_loss = self.workload.chance_level("val_loss", self.data)
        #: Positions in the batch of the rows still training. Rows of one seed stand together: they share batches.
        self.rows: list[int] = sorted(
            (row for row, run_id in enumerate(batch.run_ids) if run_id not in self.dropped),
            key=lambda row: batch.seeds[row],
        )
        model, rows = initial_rows(
            lambda: self.workload.build_model(self.data),
            study_seed=batch.study_seed,
            seeds=[batch.seeds[row] for row in self.rows],
            dtype=dtype,
            device=device,
        )
        self.model = model
        self.engine = make_engine(
            batch.engine,
            model,
            rows,
            self.workload,
            precision=batch.training.precision,
            compile_key=compile_key(batch.workload, batch.training, dtype, device),
            on_row=on_step,
        )
        self.state = self.rule.init(rows.theta_TP, [parameter.numel() for parameter in model.parameters()])
        self.feed = Feed(self.workload, self.data, model, batch)
        self.epoch = 0
        self.seconds = 0.0
        self.reached: dict[int, tuple[int, float]] = {}
        self.history: list[EpochMetrics] = []
        self.outcomes: dict[int, RunOutcome] = {}
        self._select_hyperparameters()

    def _select_hyperparameters(self) -> None:
        self.hyperparameters = {
            name: torch.tensor([values[row] for row in self.rows], dtype=torch.float64, device=self.device)
            for name, values in self.batch.hyperparameters.items()
        }

    @property
    def is_going_on(self) -> bool:
        """Whether a row is to be trained for another epoch of this stage."""
        stop = self.batch.stop_epoch
        return bool(self.rows) and (stop is None or self.epoch < stop)

    @property
    def engine_name(self) -> str:
        """The engine, and whether the update rule's step is compiled here: its numbers are rounded differently."""
        compiled = self.rule.is_compiled_for(self.engine.theta_TP, self.engine.grad_TP)
        reduced = ", bfloat16" if self.batch.training.precision == "bfloat16" else ""
        return f"{self.engine.name}{reduced}, {'compiled' if compiled else 'plain'} step"

    def run_epoch(self) -> EpochMetrics:
        """Train one epoch, validate, and measure what was asked for."""
        self.epoch += 1
        started = time.perf_counter()
        train_loss, grad_norm, lr = self._train_epoch()
        val_loss_T, val_error_T = self.engine.evaluate(self.data.validation.inputs, self.data.validation.labels)
        val_loss, val_error = val_loss_T.tolist(), val_error_T.tolist()
        seconds = (time.perf_counter() - started) / len(self.rows)
        self.seconds += seconds
        judged = val_error if self.batch.objective == "val_error" else val_loss
        self.reasons = [
            divergence_reason(train, val, self.workload.loss_ceiling)
            # A finite loss beside an error that is none: nothing could be compared with such an objective.
            or ("validation error became nan" if math.isnan(value) else "")
            for train, val, value in zip(train_loss, val_loss, judged, strict=True)
        ]
        metrics = EpochMetrics(
            batch_id=self.batch.batch_id,
            epoch=self.epoch,
            run_ids=tuple(self.batch.run_ids[row] for row in self.rows),
            train_loss=tuple(train_loss),
            val_loss=tuple(val_loss),
            val_error=tuple(val_error),
            objective=tuple(
                self.cap if reason else min(value, self.cap) for value, reason in zip(judged, self.reasons, strict=True)
            ),
            lr=tuple(lr),
            grad_norm=tuple(grad_norm),
            seconds=seconds,
            curvature=self._measure_curvature(),
        )
        self._note_targets(metrics)
        self.history.append(metrics)
        return metrics

    def _train_epoch(self) -> tuple[list[float], list[float], list[float]]:
        """One pass over the training set; each row's mean loss, mean gradient norm and last learning rate."""
        sums_2T = torch.zeros(2, len(self.rows), dtype=torch.float64, device=self.device)
        hyperparameters = dict(self.hyperparameters)
        budgets = [self.batch.epochs[row] for row in self.rows]
        steps = 0
        for data in self.feed.epoch(self.epoch, [self.batch.seeds[row] for row in self.rows]):
            factor_T = self.feed.lr_factors(self.epoch, steps, budgets)
            hyperparameters |= {
                name: value_T * factor_T for name, value_T in self.hyperparameters.items() if name in _SCHEDULED
            }
            loss_T = self.engine.compute_gradients(data)
            sums_2T[0] += loss_T.double() * len(data.labels[0])
            sums_2T[1] += torch.linalg.vector_norm(self.engine.grad_TP, dim=1)
            self.rule.update_(self.engine.theta_TP, self.engine.grad_TP, self.state, hyperparameters)
            steps += 1
            self.on_step()
        loss_T, norm_T = sums_2T[0] / len(self.data.train.labels), sums_2T[1] / steps
        return loss_T.tolist(), norm_T.tolist(), hyperparameters["lr"].tolist()

    def _measure_curvature(self) -> dict[int, Measured]:
        """Of the rows whose turn it is, by run id; diverged rows have none."""
        request = self.batch.training.curvature
        if request is None:
            return {}
        positions = [
            position
            for position, row in enumerate(self.rows)
            if not self.reasons[position]
            and (self.epoch == self.batch.epochs[row] or (request.every and self.epoch % request.every == 0))
        ]
        if not positions:
            return {}
        measured = measure_rows(
            request,
            self.model,
            self.engine.rows.select(positions),
            self.workload,
            self.data.train,
            study_seed=self.batch.study_seed,
            seeds=[self.batch.seeds[self.rows[position]] for position in positions],
            epoch=self.epoch,
            on_row=self.on_step,
        )
        return {
            self.batch.run_ids[self.rows[position]]: values
            for position, values in zip(positions, measured, strict=True)
        }

    def _note_targets(self, metrics: EpochMetrics) -> None:
        """When each run reached the target for the first time."""
        target = self.workload.target_error
        if target is None:
            return
        for run_id, error in zip(metrics.run_ids, metrics.val_error, strict=True):
            if error <= target:
                self.reached.setdefault(run_id, (self.epoch * self.feed.steps, self.seconds))

    def end_epoch(self) -> None:
        """Record the rows that diverged or finished in the epoch just run, and go on without them."""
        finished = [self.epoch >= self.batch.epochs[row] for row in self.rows]
        tested = self._test([p for p, done in enumerate(finished) if done and not self.reasons[p]])
        staying = []
        for position in range(len(self.rows)):
            if self.reasons[position]:
                self._record(position, Termination.DIVERGED, self.reasons[position], (None, None))
            elif finished[position]:
                self._record(position, Termination.COMPLETED, "", tested[position])
            else:
                staying.append(position)
        if len(staying) < len(self.rows):
            self._keep(staying)

    def _test(self, positions: Sequence[int]) -> dict[int, tuple[float | None, float | None]]:
        """Test loss and error of the rows at ``positions``."""
        if not positions:
            return {}
        loss_T, error_T = self.engine.evaluate(self.data.test.inputs, self.data.test.labels)
        loss, error = loss_T.tolist(), error_T.tolist()
        has_error = self.workload.error is not None
        return {position: (loss[position], error[position] if has_error else None) for position in positions}

    def _keep(self, positions: Sequence[int]) -> None:
        self.rows = [self.rows[position] for position in positions]
        kept = torch.tensor(positions, dtype=torch.int64, device=self.device)
        self.state = select_rows(self.state, kept)
        self._select_hyperparameters()
        if positions:
            self.engine.set_rows(self.engine.rows.select(positions))

    def _record(
        self, position: int, termination: Termination, reason: str, test: tuple[float | None, float | None]
    ) -> None:
        """Make the outcome of the row at ``position`` of the last epoch's metrics."""
        metrics = self.history[-1]
        run_id = metrics.run_ids[position]
        diverged = termination is Termination.DIVERGED
        # What a run reached before it diverged it did not keep.
        steps, seconds = (None, None) if diverged else self.reached.get(run_id, (None, None))
        # "not lower" rather than "higher or equal", so that NaN counts as chance level.
        at_chance = diverged or not metrics.val_loss[position] < self.chance_loss
        self.outcomes[run_id] = RunOutcome(
            run_id=run_id,
            termination=termination,
            reason=reason,
            epochs=self.epoch,
            objective=metrics.objective[position],
            at_chance=at_chance,
            train_loss=metrics.train_loss[position],
            val_loss=metrics.val_loss[position],
            val_error=metrics.val_error[position],
            test_loss=test[0],
            test_error=test[1],
            seconds=self.seconds,
            steps_to_target=steps,
            seconds_to_target=seconds,
            peak_memory=read_peak_memory(self.device),
        )

    def collect_outcomes(self) -> tuple[RunOutcome, ...]:
        """Of the runs that ended and had not been dropped, in the batch's order."""
        ended = self.outcomes.keys() - self.dropped
        return tuple(self.outcomes[run_id] for run_id in self.batch.run_ids if run_id in ended)

    def list_paused(self) -> tuple[int, ...]:
        """The runs that wait for the next stage, in the batch's order."""
        return tuple(self.batch.run_ids[row] for row in sorted(self.rows))

    def read_history(self) -> list[EpochMetrics]:
        """What was trained of this stage, without the runs that have been dropped since."""
        selected = [_without(metrics, self.dropped) for metrics in self.history]
        return [metrics for metrics in selected if metrics.run_ids and metrics.epoch > self.batch.start_epoch]

    def save(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, as plain values and tensors."""
        return {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "rows": self.rows,
            "reached": self.reached,
            "theta": self.engine.theta_TP,
            "buffers": self.engine.rows.buffers,
            "state": list(self.state),
            "history": pack_metrics(self.history),
            "outcomes": pack_outcomes(self.outcomes),
        }

    def can_restore(self, saved: dict[str, Any]) -> bool:
        """Whether the checkpoint is of this stage or an earlier one."""
        stop = self.batch.stop_epoch
        known = {self.batch.run_ids[row] for row in saved["rows"]} | {entry["run_id"] for entry in saved["outcomes"]}
        return (stop is None or saved["epoch"] <= stop) and known >= set(self.batch.run_ids) - self.dropped

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on where :meth:`save` was called."""
        self.epoch, self.seconds = saved["epoch"], saved["seconds"]
        self.rows, self.reached = saved["rows"], saved["reached"]
        buffers = [{name: value.to(self.device) for name, value in row.items()} for row in saved["buffers"]]
        self.engine.set_rows(Rows(saved["theta"].to(self.device), buffers))
        self.state = type(self.state)._make(tensor.to(self.device) for tensor in saved["state"])
        self.history = unpack_metrics(saved["history"], self.batch.batch_id)
        self.outcomes = unpack_outcomes(saved["outcomes"])
        self._keep([p for p, row in enumerate(self.rows) if self.batch.run_ids[row] not in self.dropped])


def _without(metrics: EpochMetrics, run_ids: frozenset[int]) -> EpochMetrics:
    """The metrics of the other runs."""
    kept = [position for position, run_id in enumerate(metrics.run_ids) if run_id not in run_ids]
    if len(kept) == len(metrics.run_ids):
        return metrics
    of_rows = ("run_ids", "train_loss", "val_loss", "val_error", "objective", "lr", "grad_norm")
    selected: dict[str, Any] = {name: tuple(getattr(metrics, name)[position] for position in kept) for name in of_rows}
    curvature = {run_id: values for run_id, values in metrics.curvature.items() if run_id not in run_ids}
    return dataclasses.replace(metrics, **selected, curvature=curvature)
