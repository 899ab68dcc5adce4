"""Checkpoints of long trial batches, outside the database: a lost worker costs minutes, not the batch."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import adai
import workers
from workers.cache import cache_folder
from workers.messages import EpochMetrics, RunOutcome, Termination, TrialBatch

#: Where checkpoints lie; on a cluster, a folder that all nodes share lets another node continue.
DIRECTORY_VARIABLE = "ADAI_CHECKPOINT_DIR"
#: Seconds of training between two checkpoints of a batch.
SECONDS_VARIABLE = "ADAI_CHECKPOINT_SECONDS"
DEFAULT_SECONDS = 60.0
#: Large models take seconds to write: at most this share of the time goes into checkpoints.
_TIME_SHARE = 0.05
#: A batch that nobody has continued for so long is not going to be: its study was given up.
_STALE_SECONDS = 14 * 24 * 3600.0


class CheckpointSettingsError(ValueError):
    """An environment variable about checkpoints has a value that cannot be used; the message says what is allowed."""


class Checkpoints:
    """The checkpoint file of one batch; the same for every attempt and stage of training the same runs.

    Args:
        batch: Which batch. Its id and what tells its stage are not part of the name.
        dtype: Of the rows, part of the name.
        device: Kind of device, part of the name: another kind would go on with other bits.
        fingerprint: Names what else the runs depend on: data and model, which may come from outside this package. Only
            called when there is something to save or to load.
    """

    def __init__(
        self, batch: TrialBatch, *, dtype: torch.dtype, device: torch.device, fingerprint: Callable[[], str]
    ) -> None:
        composition = dataclasses.replace(batch, batch_id=0, dropped=(), start_epoch=0, stop_epoch=None)
        runs = dataclasses.asdict(composition)
        versions = (_code_version(), str(torch.__version__), str(dtype), device.type)
        # Sorted: equal mappings may have their entries in another order.
        self._runs = json.dumps([runs, *versions], sort_keys=True)
        folder = _directory()
        self._path = folder / f"{hashlib.sha256(self._runs.encode()).hexdigest()}.pt" if folder is not None else None
        self._fingerprint = functools.cache(fingerprint)
        self._interval = self._pause = read_interval()
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What an earlier attempt saved; None if it saved nothing that can be read, or trained something else."""
        if self._path is None:
            return None
        try:
            saved = torch.load(self._path, weights_only=True, map_location="cpu")
        except FileNotFoundError:
            return None
        # A file that was cut off when its writer died can fail in any way; training starts anew, as without it.
        except Exception:
            saved = None
        if isinstance(saved, dict) and (saved.get("runs"), saved.get("of")) == (self._runs, self._fingerprint()):
            content: dict[str, Any] = saved["content"]
            return content
        self.remove()
        return None

    def save(self, content: dict[str, Any]) -> None:
        """Replace the checkpoint; a full or read-only disk costs the checkpoint only."""
        if self._path is None:
            return
        started = time.monotonic()
        _remove_stale(self._path.parent)
        with contextlib.suppress(OSError, RuntimeError):
            _write(self._path, {"runs": self._runs, "of": self._fingerprint(), "content": content})
        self._last = time.monotonic()
        if self._interval:  # 0 asks for a checkpoint after every epoch, whatever it costs
            self._pause = max(self._interval, (self._last - started) / _TIME_SHARE)

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is old enough for the next one."""
        return self._path is not None and time.monotonic() - self._last >= self._pause

    def remove(self) -> None:
        """The last run of the batch ended."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def pack_metrics(metrics: list[EpochMetrics]) -> list[dict[str, Any]]:
    """As plain values that load without running code."""
    return [dataclasses.asdict(epoch) for epoch in metrics]


def unpack_metrics(packed: list[dict[str, Any]], batch_id: int) -> list[EpochMetrics]:
    """The inverse of :func:`pack_metrics`, for the attempt that continues."""
    return [EpochMetrics(**(epoch | {"batch_id": batch_id})) for epoch in packed]


def pack_outcomes(outcomes: dict[int, RunOutcome]) -> list[dict[str, Any]]:
    """As plain values that load without running code."""
    return [dataclasses.asdict(outcome) | {"termination": outcome.termination.name} for outcome in outcomes.values()]


def unpack_outcomes(packed: list[dict[str, Any]]) -> dict[int, RunOutcome]:
    """The inverse of :func:`pack_outcomes`."""
    outcomes = [RunOutcome(**(entry | {"termination": Termination[entry["termination"]]})) for entry in packed]
    return {outcome.run_id: outcome for outcome in outcomes}


def _directory() -> Path | None:
    """Where checkpoints lie; None if there is nowhere."""
    configured = os.environ.get(DIRECTORY_VARIABLE)
    return Path(configured) if configured else cache_folder("checkpoints")


@functools.cache
def _code_version() -> str:
    """Digest of our own source: after an upgrade, half a run of each version would be a run of neither."""
    digest = hashlib.sha256()
    for package in (adai, workers):
        for folder in package.__path__:
            for file in sorted(file for file in Path(folder).rglob("*") if file.suffix in (".py", ".c")):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def read_interval() -> float:
    """Seconds between two checkpoints of a batch, from the environment.

    Raises:
        CheckpointSettingsError: It is not a number of seconds.
    """
    text = os.environ.get(SECONDS_VARIABLE) or str(DEFAULT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise CheckpointSettingsError(
            f"{SECONDS_VARIABLE} is {text!r}; it must be a number of seconds of at least 0 (inf for no checkpoints)"
        )
    return seconds


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write aside and rename, so that a reader sees a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            # Or the name could outlive a crash of the machine, and the content not.
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _remove_stale(folder: Path) -> None:
    """Remove old files; those that another worker renames or removes at this moment, or that are not ours, stay."""
    oldest = time.time() - _STALE_SECONDS
    for file in (*folder.glob("*.pt"), *folder.glob("*.tmp")):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < oldest:
                file.unlink()
