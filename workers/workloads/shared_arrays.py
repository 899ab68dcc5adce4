"""Arrays that are computed once and mapped from a file by every process that needs them."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt


def share_array(
    compute: Callable[[], npt.NDArray[np.float32]], shape: tuple[int, ...], *, owner: object, version: object
) -> npt.NDArray[np.float32]:
    """What ``compute`` returns, mapped from a file in ``$XDG_CACHE_HOME/adai/images``, which is made if need be.

    Pages of the file are held in memory once, however many processes map it. Writing to the array changes neither the
    file nor what other processes see. Where the file cannot be written, the array is in this process's own memory.

    Args:
        compute: Makes the array; called if no file holds it whole.
        shape: Of the array.
        owner: What the array belongs to, with a ``repr`` that lasts. A newer version replaces the file of an older one.
        version: What the array depends on, with a ``repr`` that lasts.
    """
    folder = _cache_folder()
    if folder is None:
        return compute()
    prefix = hashlib.sha256(repr(owner).encode()).hexdigest()[:16]
    path = folder / f"{prefix}-{hashlib.sha256(repr(version).encode()).hexdigest()[:32]}.npy"
    mapped = _map(path, shape)
    if mapped is not None:
        return mapped
    computed = compute()
    _store(computed, path)
    mapped = _map(path, shape)
    return computed if mapped is None else mapped


def _map(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32] | None:
    """The array in the file; None if there is none, or not a whole one."""
    try:
        # Copy on write: torch wants writable memory, and what one process writes must not reach another.
        array = np.lib.format.open_memmap(path, mode="c")
    except (OSError, ValueError, EOFError):
        return None
    return array if array.dtype == np.float32 and array.shape == shape else None


def _store(array: npt.NDArray[np.float32], path: Path) -> None:
    """Write the file at once and whole, and remove its older versions; do nothing where that is not possible."""
    # Where nothing can be written, each process has its own copy, which is no error.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            with part.open("wb") as file:
                np.save(file, array)
                file.flush()
                # Or the name could outlive a crash of the machine, and the pixels not.
                os.fsync(file.fileno())
            part.replace(path)
        for older in path.parent.glob(path.name.partition("-")[0] + "-*.npy"):
            if older != path:
                older.unlink(missing_ok=True)


def _cache_folder() -> Path | None:
    """As the XDG base directory specification says, which has relative paths ignored; None without a home."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = configured if configured.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "adai" / "images"
