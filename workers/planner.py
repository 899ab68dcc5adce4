"""Chooses engine and batch size for a workload on this device by trying them, and remembers what it measured."""

import contextlib
import dataclasses
import hashlib
import json
import math
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from workers.cache import cache_folder
from workers.engines import Engine, LoopedEngine, StackedEngine, initial_rows, make_engine, why_not_stackable
from workers.feed import Feed
from workers.memory import is_out_of_memory, read_available_memory, read_peak_memory, start_peak_memory
from workers.messages import EngineName, EnginePlan, Training, TrialBatch, WorkloadReference
from workers.preparation import compile_key, prepare_data, prepare_workload
from workers.rehearsal import rehearse

#: Rows of a looped batch: more gain nothing, fewer spread better over workers.
LOOPED_ROWS = 12
#: Rows that are tried for a stack: above, activations leave the processor's cache or bring nothing.
_STACK_ROWS = (24, 96, 192)
_GPU_STACK_ROWS = (64, 256, 1024)
#: Steps of which the quickest counts.
_TIMED_STEPS = 9
#: A larger stack must be this much faster per row: a difference below is noise, and small stacks spread better.
_WORTH = 1.1
#: Below this much eager work per worker compiling is not even tried: it takes 5 to 30 s.
_WORTH_COMPILING_SECONDS = 60.0
#: Share of the memory that is free, for all workers of this machine together.
_MEMORY_SHARE = 0.5
#: Numbers per parameter that a row keeps: parameter, gradient and up to 12 of the optimizer (AdaShift's window).
_NUMBERS_PER_PARAMETER = 14
#: Validation examples of the trial: as many as the looped engine takes at once.
_EVALUATED = 500
#: Characters of a reason.
_REASON = 300


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be trained.

    Attributes:
        workload: Which workload.
        training: How.
        engine: The engine that the user wants; ``auto`` leaves the choice.
        row_epochs: Epochs of all runs together, on each worker.
        workers: How many share this machine's memory.
    """

    workload: WorkloadReference
    training: Training
    engine: EngineName
    row_epochs: int
    workers: int


@dataclass(frozen=True, slots=True)
class _Speed:
    """Seconds of one row's step, eager and compiled, and what compiling cost; NaN if it failed or was not tried."""

    eager: float
    compiled: float = math.nan
    compiling: float = math.nan


def plan_engine(request: PlanRequest, *, device: str) -> EnginePlan:
    """The engine and the largest batch for ``request`` on ``device``, after every part of the workload ran once.

    Args:
        request: What is to be trained.
        device: A torch device.

    Raises:
        TypeError: The engine that the user wants cannot train the workload; or no engine can.
        ValueError: The workload, its data, or its model is not usable.
        KeyError: There is no such workload or schedule.
        MissingDataError: The workload's data is not on this machine.
        Exception: Whatever the workload's own code raises; which part of it did is said in a note.
    """
    place = torch.device(device)
    rehearse(request.workload, request.training, place)
    if request.engine in ("looped", "looped-compiled"):
        trial = _Trial(request, place, request.engine, rows=1)
        rows = trial.limit_rows(LOOPED_ROWS)
        failed = f"; not compiled: {trial.compiling_failed}" if trial.compiling_failed else ""
        return EnginePlan(request.engine, rows, f"chosen by the spec{failed}"[:_REASON])
    if request.engine == "stacked" or _is_stackable(request, place):
        return _plan_stack(request, place)
    return _plan_loop(request, place)


def _is_stackable(request: PlanRequest, device: torch.device) -> bool:
    workload = prepare_workload(request.workload, request.training)
    data = prepare_data(request.workload, request.training.data, device=device, dtype=torch.float32)
    reduced = request.training.precision == "bfloat16"
    return not reduced and not why_not_stackable(workload.build_model(data), workload)


def _plan_stack(request: PlanRequest, device: torch.device) -> EnginePlan:
    """The smallest stack that is nearly as fast per row as the fastest."""
    # One row tells what all rows keep, before many of them are made; and libraries take the memory of their own now.
    most = _Trial(request, device, "stacked", rows=1).limit_rows(max(_GPU_STACK_ROWS))
    sizes = _GPU_STACK_ROWS if device.type == "cuda" else _STACK_ROWS
    best_rows, best_seconds, notes = 1, math.inf, []
    for rows in dict.fromkeys(min(size, most) for size in sizes):
        try:
            trial = _Trial(request, device, "stacked", rows=rows)
            seconds = trial.time_step() / rows
            fitting = trial.limit_rows(rows)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            notes.append(f"{rows} rows do not fit into memory")
            break
        notes.append(f"{1e6 * seconds:.0f} us per row and step in stacks of {rows}")
        if seconds * _WORTH < best_seconds:
            best_rows, best_seconds = fitting, seconds
        if fitting < rows:
            notes.append(f"memory is left for {fitting} rows")
            break
    return EnginePlan("stacked", best_rows, "; ".join(notes))


def _plan_loop(request: PlanRequest, device: torch.device) -> EnginePlan:
    """Compiled if it pays for its own compilation."""
    trial = _Trial(request, device, "looped", rows=1)
    # Even if the speed is known: this refuses models that the engine cannot train.
    rows = trial.limit_rows(LOOPED_ROWS)
    steps = request.row_epochs * trial.steps_per_epoch
    memory = _Memory(_memory_key(request, device))
    speed = memory.load() or _Speed(trial.time_step())
    note = ""
    if math.isnan(speed.compiled) and speed.eager * steps > _WORTH_COMPILING_SECONDS:
        speed, note = _time_compiled(request, device, speed.eager)
    memory.save(speed)
    pays = speed.compiled * steps + speed.compiling < speed.eager * steps
    reason = f"{1e3 * speed.eager:.2f} ms per step eager"
    if not math.isnan(speed.compiled):
        reason += f", {1e3 * speed.compiled:.2f} ms compiled after {speed.compiling:.0f} s"
    reason += f"; {steps} steps per worker{note}"
    return EnginePlan("looped-compiled" if pays else "looped", rows, reason[:_REASON])


def _time_compiled(request: PlanRequest, device: torch.device, eager: float) -> tuple[_Speed, str]:
    """The speed; and if compiling failed, why. That is not kept: a compiler may be installed later."""
    trial = _Trial(request, device, "looped-compiled", rows=1)
    started = time.perf_counter()
    trial.step()
    compiling = time.perf_counter() - started
    if trial.compiling_failed:
        return _Speed(eager), f"; not compiled: {trial.compiling_failed}"
    return _Speed(eager, trial.time_step(), compiling), ""


class _Trial:
    """A few training steps of some rows, to see what they take."""

    def __init__(self, request: PlanRequest, device: torch.device, engine: EngineName, *, rows: int) -> None:
        self._device = device
        self._workers = request.workers
        workload = prepare_workload(request.workload, request.training)
        data = prepare_data(request.workload, request.training.data, device=device, dtype=torch.float32)
        # From here on: the data is there once, whatever the number of rows.
        start_peak_memory(device)
        self._before = read_peak_memory(device) or 0
        batch = TrialBatch(0, request.workload, "", (), (), {}, 0, (), "val_loss", training=request.training)
        model, initial = initial_rows(
            lambda: workload.build_model(data), study_seed=0, seeds=[0] * rows, dtype=torch.float32, device=device
        )
        self._engine: Engine = make_engine(
            engine,
            model,
            initial,
            workload,
            precision=request.training.precision,
            compile_key=compile_key(request.workload, request.training, torch.float32, device),
        )
        feed = Feed(workload, data, model, batch)
        self.steps_per_epoch = feed.steps
        self._step_data = next(feed.epoch(1, [0] * rows))
        self._validation = data.validation
        self._rows = rows

    @property
    def compiling_failed(self) -> str:
        """Why the step is not compiled though that was asked for; empty if it is."""
        return self._engine.compiling_failed if isinstance(self._engine, LoopedEngine) else ""

    def step(self) -> None:
        """Compute gradients once."""
        self._engine.compute_gradients(self._step_data)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def time_step(self) -> float:
        """Seconds of the quickest step, the first not counted: it allocates. What else runs here only adds time."""
        self.step()
        seconds = []
        for _ in range(_TIMED_STEPS):
            started = time.perf_counter()
            self.step()
            seconds.append(time.perf_counter() - started)
        return min(seconds)

    def limit_rows(self, rows: int) -> int:
        """``rows``, or as many as this worker's share of the free memory holds, from what a step and validation take.

        Raises:
            TypeError: The engine cannot train the model.
        """
        self.step()
        self._engine.evaluate(self._validation.inputs[:_EVALUATED], self._validation.labels[:_EVALUATED])
        available = read_available_memory(self._device)
        if available is None:
            return rows
        share = _MEMORY_SHARE * available / self._workers
        kept = 4 * _NUMBERS_PER_PARAMETER * max(1, self._engine.theta_TP.shape[1])
        peak = read_peak_memory(self._device)
        taken = max(0, peak - self._before) if peak is not None else 0
        if isinstance(self._engine, StackedEngine) and self._rows > 1:
            return max(1, min(rows, int(share / (kept + taken / self._rows))))
        # A looped row's activations are gone before the next row's: they count once, not per row. Nor does one row of
        # a stack tell what each takes: most of it are buffers of libraries.
        return max(1, min(rows, int((share - taken) / kept)))


def _memory_key(request: PlanRequest, device: torch.device) -> str:
    # Home directories are shared between machines, whose processors differ.
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.node()
    content = (*compile_key(request.workload, request.training, torch.float32, device), name, str(torch.__version__))
    return hashlib.sha256(repr(content).encode()).hexdigest()


class _Memory:
    """What was measured earlier on this machine, in a file: the same study is planned in the same way again."""

    def __init__(self, key: str) -> None:
        folder = cache_folder("plans")
        self._path = folder / f"{key}.json" if folder is not None else None

    def load(self) -> _Speed | None:
        """The measurement; None if there is none that can be read."""
        if self._path is None:
            return None
        try:
            speed = _Speed(**json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        are_numbers = all(isinstance(value, float) for value in dataclasses.astuple(speed))
        return speed if are_numbers and 0 < speed.eager < math.inf else None

    def save(self, speed: _Speed) -> None:
        """Write aside and rename; without the right to write, it is measured again next time."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._path.parent) as folder:
                part = Path(folder) / self._path.name
                part.write_text(json.dumps(dataclasses.asdict(speed)), encoding="utf-8")
                part.replace(self._path)
