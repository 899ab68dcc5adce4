"""How much memory training takes: measured where the system tells, never guessed."""

import contextlib
import ctypes
import errno
from collections.abc import Iterator
from pathlib import Path

import torch

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_GROUPS = Path("/proc/self/cgroup")
#: Written to clear_refs, makes Linux forget the largest resident size so far (proc(5)).
_FORGET_PEAK = "5"
#: Where control groups are, and how their files are called: version 2, and version 1, which is still met.
_GROUPS_2 = Path("/sys/fs/cgroup")
_GROUPS_1 = _GROUPS_2 / "memory"
_FILES_2 = ("memory.max", "memory.current", "inactive_file")
_FILES_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
#: How allocators without an error type of their own say it: torch's on the CPU, C++'s, Linux's, and CUDA's libraries.
_MESSAGES = (
    "DefaultCPUAllocator",
    "std::bad_alloc",
    "Cannot allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def start_peak_memory(device: torch.device) -> None:
    """Forget the peak so far."""
    if device.type == "cuda":
        # Its statistics cannot be reset before the first use of the device.
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats(device)
    else:
        # What was freed but kept by the allocator would be used again and not be seen. Only glibc keeps so much.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        # Without the right to do so the peak is that of the process's whole life, which is still an upper bound.
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_FORGET_PEAK, encoding="ascii")


def read_peak_memory(device: torch.device) -> int | None:
    """Largest memory since :func:`start_peak_memory`, in bytes; None where the system does not tell.

    On a GPU, what tensors of this process held there; on a CPU, the resident size of the process, libraries included.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    kilobytes = _read_field(_STATUS, "VmHWM:")
    return None if kilobytes is None else 1024 * kilobytes


def read_available_memory(device: torch.device) -> int | None:
    """What could still be allocated on the device, in bytes; None where the system does not tell.

    On a CPU, the least of what the machine has, what the control groups of this process leave it (containers, batch
    systems), and what the limit of its address space does (``ulimit -v``).
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    kilobytes = _read_field(Path("/proc/meminfo"), "MemAvailable:")
    rooms = [] if kilobytes is None else [1024 * kilobytes]
    rooms += [*_read_group_rooms(), *_read_address_space()]
    return max(0, min(rooms)) if rooms else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out: Python's, Linux's, torch's on a CPU, or CUDA's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES)


def _read_group_rooms() -> Iterator[int]:
    """What each control group with a limit leaves: those of this process, and those around them (cgroups(7))."""
    for line in _read_lines(_GROUPS):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, (limit, used, cache) = _GROUPS_2, _FILES_2
        elif "memory" in controllers.split(","):
            top, (limit, used, cache) = _GROUPS_1, _FILES_1
        else:
            continue
        # A container may see only its own group, as the top: then the folders below it are not there.
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder == top.parent:
                break
            most, now = _read_number(folder / limit), _read_number(folder / used)
            if most is not None and now is not None:
                # The kernel drops cached pages of files before it refuses memory.
                yield most - now + (_read_field(folder / "memory.stat", cache) or 0)


def _read_address_space() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    kilobytes = _read_field(_STATUS, "VmSize:")
    if limit != resource.RLIM_INFINITY and kilobytes is not None:
        yield limit - 1024 * kilobytes


def _read_field(file: Path, field: str) -> int | None:
    """The number after ``field`` at the start of a line."""
    words = (line.split() for line in _read_lines(file))
    return next((int(line[1]) for line in words if line and line[0] == field), None)


def _read_lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _read_number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
