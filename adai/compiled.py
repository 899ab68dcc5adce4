"""Builds ``kernels.c`` with the machine's C compiler on first use, keeps the result, and calls it.

Where there is no compiler, or the result cannot be loaded or computes something else than the plain rule, the plain
rule is used instead; :func:`why_unavailable` tells why.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

_SOURCE = Path(__file__).with_name("kernels.c")
#: No option here lets results depend on the width of vectors: no contraction, no reassociation.
_FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-pthread")
_DEFINES = {torch.float32: ("-DREAL=float",), torch.float64: ("-DREAL=double", "-DDOUBLE")}
#: What the kernels read in a rule's state that is not of the rows' precision.
_FIELD_DTYPES = {"step_T": torch.int64, "retired_TC": torch.uint8, "mu_product_T": torch.float64}
#: Elements of a segment that have one flag in Job.retired (CHUNK in kernels.c).
CHUNK = 8192
#: Below so many elements a thread, starting one costs more than it saves.
_ELEMENTS_PER_THREAD = 65_536
_BUILD_SECONDS = 120
_LAST_FUNCTION = "radam"


class Job(ctypes.Structure):
    """The argument of every function in ``kernels.c``; the fields are explained there."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("row_size", ctypes.c_int64),
        ("size", ctypes.c_void_p),
        ("arrays", ctypes.c_void_p),
        ("hyper", ctypes.c_void_p),
        ("step", ctypes.c_void_p),
        ("sign", ctypes.c_void_p),
        ("retired", ctypes.c_void_p),
        ("v_bar_running", ctypes.c_void_p),
        ("slots", ctypes.c_int64),
        ("slot_size", ctypes.c_int64),
        ("memory", ctypes.c_void_p),
        ("option", ctypes.c_int64),
        ("threads", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True)
class Kernel:
    """One function of ``kernels.c`` as the compiled form of an update rule.

    Attributes:
        function: Its name there.
        arrays: Fields of the rule's state that it takes after theta and grad, in its order, each of shape (T, P) unless
            there is ``step_rows``.
        option: Which variant.
        steps: Whether the state has ``step_T``.
        fields: Other fields of Job, with the field of the state that each points to.
        hyperparameters: Places in ``Job.hyper``, where the function takes more than the rule has.
        slots: Of the window of gradients, where the rule keeps one.
        step_rows: Takes the step instead of :meth:`step_rows_`, where a row is not one segment.
    """

    function: str
    arrays: tuple[str, ...]
    option: int = 0
    steps: bool = True
    fields: Mapping[str, str] | None = None
    hyperparameters: int | None = None
    slots: int = 0
    step_rows: Callable[["Kernel", Tensor, Tensor, Any, Sequence[Tensor]], None] | None = None

    def takes(self, theta_TP: Tensor, grad_TP: Tensor, state: Any = None) -> bool:
        """Whether rows like these, and their state if given, can be stepped by it, here and now."""
        return (
            theta_TP.device.type == "cpu"
            and theta_TP.dtype in _DEFINES
            and theta_TP.numel() > 0
            and theta_TP.is_contiguous()
            and _is_like(grad_TP, theta_TP)
            and not torch.compiler.is_compiling()
            and (state is None or self._takes_state(theta_TP, state))
            and library(theta_TP.dtype) is not None
        )

    def _takes_state(self, theta_TP: Tensor, state: Any) -> bool:
        """Whether the state has the rows' shape: the kernel sees addresses only, and would write beyond its end."""
        arrays = [getattr(state, name) for name in self.arrays]
        names = [*(self.fields or {}).values(), *(("step_T",) if self.steps else ())]
        others = [getattr(state, name) for name in names]
        return (
            all(tensor.dtype is theta_TP.dtype for tensor in arrays)
            and all(_is_like(tensor, theta_TP) for tensor in arrays if self.step_rows is None)
            and arrays[0].shape[-1] == theta_TP.shape[1]
            and all(len(tensor) == len(theta_TP) and tensor.is_contiguous() for tensor in [*arrays, *others])
            and all(tensor.dtype is _FIELD_DTYPES[name] for name, tensor in zip(names, others, strict=True))
            and all(tensor.device == theta_TP.device for tensor in [*arrays, *others])
        )

    def step_rows_(self, theta_TP: Tensor, grad_TP: Tensor, state: Any, values: Sequence[Tensor]) -> None:
        """Step every row in place.

        Args:
            theta_TP: The rows.
            grad_TP: Their gradients.
            state: The rule's state.
            values: Hyperparameters in the rule's order, float64, of shape (T,).
        """
        if self.step_rows is not None:
            self.step_rows(self, theta_TP, grad_TP, state, values)
            return
        rows, size = theta_TP.shape
        values = [_contiguous(value, rows) for value in values]
        arrays = [theta_TP, grad_TP, *(getattr(state, name) for name in self.arrays)]
        places = self.hyperparameters or len(values)
        array_addresses = addresses([array.data_ptr() for array in arrays])
        hyper_addresses = addresses([value.data_ptr() for value in values] + [0] * (places - len(values)))
        job = Job(
            count=rows,
            row_size=size,
            arrays=ctypes.addressof(array_addresses),
            hyper=ctypes.addressof(hyper_addresses),
            option=self.option,
            threads=threads_for(rows * size),
        )
        if self.steps:
            job.step = state.step_T.data_ptr()
        for name, source in (self.fields or {}).items():
            setattr(job, name, getattr(state, source).data_ptr())
        call(theta_TP.dtype, self.function, job)
        increment_version(theta_TP)  # autograd refuses to go back through what has been overwritten


def _is_like(tensor: Tensor, theta_TP: Tensor) -> bool:
    return (
        tensor.shape == theta_TP.shape
        and tensor.dtype is theta_TP.dtype
        and tensor.device == theta_TP.device
        and tensor.is_contiguous()
    )


def _contiguous(value: Tensor, rows: int) -> Tensor:
    if value.dtype is not torch.float64 or not value.is_contiguous() or value.shape != (rows,):
        return value.to(torch.float64).expand(rows).contiguous()
    return value


def addresses(values: Sequence[int]) -> Any:
    """A C array of these addresses; it must outlive the call that reads it."""
    return (ctypes.c_int64 * len(values))(*values)


def threads_for(elements: int) -> int:
    """How many threads are worth starting for so many elements: at most as many as torch uses."""
    return max(1, min(torch.get_num_threads(), elements // _ELEMENTS_PER_THREAD))


def call(dtype: torch.dtype, function: str, job: Job) -> None:
    """Run ``function`` of the library for ``dtype``, without the interpreter's lock.

    Raises:
        RuntimeError: There is no library.
        MemoryError: It could not get memory; nothing was changed.
    """
    loaded = library(dtype)
    if loaded is None:
        raise RuntimeError(why_unavailable(dtype))
    if getattr(loaded, function)(ctypes.byref(job)) != 0:
        raise MemoryError(f"no memory for the scalars of {job.count} segments")


def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The compiled kernels for ``dtype``, built if need be; None where they cannot be had."""
    return _load(dtype)[0] if dtype in _DEFINES else None


def why_unavailable(dtype: torch.dtype) -> str:
    """Why :func:`library` is None, and what to do; empty where it is not."""
    if dtype not in _DEFINES:
        return f"compiled kernels take float32 and float64, not {dtype}"
    return _load(dtype)[1]


@cache
def _load(dtype: torch.dtype) -> tuple[ctypes.CDLL | None, str]:
    try:
        wanted = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:  # quotes that do not close
        return None, f"CC is {os.environ['CC']!r}, which is no command: {error}; set CC to a C compiler"
    found = shutil.which(wanted[0]) if wanted else next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if found is None and wanted:
        return None, f"CC is {os.environ['CC']!r}, and there is no program {wanted[0]!r}; set CC to a C compiler"
    if found is None:
        return None, "no C compiler was found (cc, gcc, clang); install one or set CC to its path"
    compiler = (found, *wanted[1:])
    try:
        with _folder() as folder:
            loaded = ctypes.CDLL(str(_build(compiler, dtype, folder)))
    except subprocess.CalledProcessError as error:
        return None, f"{found} cannot compile {_SOURCE}: {error.stderr.strip()[-500:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"the kernels that {found} makes of {_SOURCE} cannot be built or loaded: {error}"
    if not hasattr(loaded, _LAST_FUNCTION):
        return None, f"{found} makes a library without functions of {_SOURCE}"
    return loaded, ""


def _build(compiler: tuple[str, ...], dtype: torch.dtype, folder: Path) -> Path:
    """The library's path, compiling it where this compiler and processor have not done so before."""
    version = subprocess.run(  # noqa: S603 - the user's own compiler
        [*compiler, "--version"], capture_output=True, text=True, errors="replace", check=True, timeout=30
    ).stdout
    identity = (_SOURCE.read_text(encoding="utf-8"), _FLAGS, _DEFINES[dtype], compiler, version, _processor())
    name = f"kernels-{_digest(repr(identity).encode())}"
    # A file that a full disk or a crash cut off would kill the process that loads it.
    for known in sorted(folder.glob(f"{name}-*.so")):
        if known.name == f"{name}-{_digest(known.read_bytes())}.so":
            return known
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        built = Path(scratch) / f"{name}.so"
        command = [*compiler, *_FLAGS, *_DEFINES[dtype], "-o", str(built), str(_SOURCE), "-lm"]
        native = subprocess.run(  # noqa: S603 - the user's own compiler on our own source
            [*command, "-march=native"], capture_output=True, timeout=_BUILD_SECONDS, check=False
        )
        if native.returncode != 0:  # compilers of some processors do not know the option
            subprocess.run(  # noqa: S603 - the same
                command, capture_output=True, text=True, errors="replace", check=True, timeout=_BUILD_SECONDS
            )
        target = folder / f"{name}-{_digest(built.read_bytes())}.so"
        # Several workers may build at once: whoever is last puts an equal file in the same place.
        built.replace(target)
    return target


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]


@contextmanager
def _folder() -> Iterator[Path]:
    """Where compiled kernels are kept; where they cannot be, a folder that goes once they are loaded."""
    kept = _cache_folder()
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="adai-") as scratch:
        yield Path(scratch)


def _cache_folder() -> Path | None:
    """A folder of this user's only, because what lies in it is run; None where there cannot be one."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser()
        folder = base / "adai"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid == os.getuid() and not status.st_mode & 0o022 and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass  # read-only homes are common in containers, and users without one
    return None


def _processor() -> str:
    """What ``-march=native`` depends on: a shared home may serve machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
