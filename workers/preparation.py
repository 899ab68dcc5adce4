"""What a trial batch trains: the workload as the batch wants it, and its data where the rows are."""

import contextlib
import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from adai.schedules import Schedule, get_schedule
from workers.messages import Training, WorkloadReference
from workers.workloads import CrossEntropy, Dataset, Split, Workload, get_workload
from workers.workloads.corruption import DataOptions, corrupt
from workers.workloads.datasets import load_checked


@contextlib.contextmanager
def during(phase: str) -> Iterator[None]:
    """Add to an error that is raised inside, as a note, which part of a workload was running."""
    try:
        yield
    # A workload is a user's code and may raise anything.
    except (Exception, SystemExit) as error:
        error.add_note(phase)
        raise


@dataclasses.dataclass(frozen=True, slots=True)
class CheckedSchedule:
    """A workload's schedule that raises ValueError instead of giving a factor that no learning rate can have.

    Attributes:
        workload: Name of the workload.
        schedule: From progress in [0, 1] to the factor.
    """

    workload: str
    schedule: Schedule

    def __call__(self, progress: float) -> float:
        """The factor, finite and not negative."""
        with during("schedule"):
            factor = self.schedule(progress)
        try:
            number = float(factor)
        except (TypeError, ValueError, RuntimeError):
            number = math.nan
        if not 0 <= number < math.inf:
            raise ValueError(
                f"the schedule of workload {self.workload!r} gives {factor!r} at progress {progress:.6g}; the factor "
                "of the learning rate must be a finite number of at least 0 for every progress from 0 to 1: mend it"
            )
        return number


def prepare_workload(reference: WorkloadReference, training: Training) -> Workload:
    """The workload with the batch size, schedule, label smoothing and target of ``training``; its schedule is checked.

    Raises:
        KeyError: Unknown workload or schedule.
        ValueError: Label smoothing of a loss that has no labels to smooth.
    """
    workload = get_workload(reference)
    changes: dict[str, object] = {}
    schedule = workload.schedule
    if training.batch_size is not None:
        changes["batch_size"] = training.batch_size
    if training.schedule is not None:
        schedule = get_schedule(training.schedule)
    if training.target_error is not None:
        changes["target_error"] = training.target_error
    if training.label_smoothing:
        if not isinstance(workload.loss, CrossEntropy):
            raise ValueError(
                f"workload {workload.name!r} has no cross-entropy loss, so label_smoothing = "
                f"{training.label_smoothing:g} means nothing there; leave it out"
            )
        changes["loss"] = CrossEntropy(training.label_smoothing)
    changes["schedule"] = CheckedSchedule(workload.name, schedule)
    return dataclasses.replace(workload, **changes)  # type: ignore[arg-type]


def prepare_data(
    reference: WorkloadReference, options: Mapping[str, str | int | float], *, device: torch.device, dtype: torch.dtype
) -> Dataset:
    """The workload's data on ``device``, with its noise, imbalance and limits; kept for the next batch.

    Raises:
        MissingDataError: It is not on this machine.
        TypeError: Loading it draws from a global random generator, or gives no Dataset.
        ValueError: An option is out of its range, or means nothing for this data.
    """
    return _prepare_data(reference, tuple(sorted(options.items())), device, dtype)


@functools.lru_cache(maxsize=2)
def _prepare_data(
    reference: WorkloadReference,
    options: tuple[tuple[str, str | int | float], ...],
    device: torch.device,
    dtype: torch.dtype,
) -> Dataset:
    workload = get_workload(reference)
    with during("load_data"):
        data = load_checked(workload)
    if options:
        data = corrupt(data, DataOptions(**dict(options)))  # type: ignore[arg-type]
    train, validation, test = (
        _place(split, device=device, dtype=dtype) for split in (data.train, data.validation, data.test)
    )
    return Dataset(train, validation, test, data.classes)


def compile_key(
    workload: WorkloadReference, training: Training, dtype: torch.dtype, device: torch.device
) -> tuple[str, ...]:
    """Names everything that a compiled step depends on."""
    return (workload.name, workload.source, repr(dataclasses.asdict(training)), str(dtype), str(device))


def fingerprint(model: nn.Module, data: Dataset) -> str:
    """Names the data's every bit, and the model's structure: what a workload's name does not say for sure.

    Images of your own change under the same name, and so do packages that define workloads.
    """
    digest = hashlib.sha256(repr(model).encode())
    for split in (data.train, data.validation, data.test):
        for tensor in (split.inputs, split.labels):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _place(split: Split, *, device: torch.device, dtype: torch.dtype) -> Split:
    """The split on ``device``; inputs that are numbers, not symbols, as ``dtype``."""
    inputs = split.inputs.to(device=device, dtype=dtype if split.inputs.is_floating_point() else None)
    if device.type == "cuda" and inputs.dim() == 4:
        # Convolutions on a GPU are fastest with channels innermost; only the order in memory changes.
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return Split(inputs, split.labels.to(device))
