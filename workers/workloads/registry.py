"""Every workload by its name: shipped ones, those of installed packages, and those of a study's own files."""

import functools
import hashlib
import linecache
import sys
import traceback
import types
from importlib.metadata import EntryPoint, entry_points

from workers.messages import WorkloadReference
from workers.workloads import analytic, charlm, mnist1d, vision
from workers.workloads.base import MissingDataError, Workload
from workers.workloads.datasets import load_checked

#: Packages announce workloads in this group: a name, and a Workload or a function that makes one.
ENTRY_POINT_GROUP = "adai_study.workloads"

_SHIPPED = {
    workload.name: workload
    for family in (vision.WORKLOADS, mnist1d.WORKLOADS, charlm.WORKLOADS, analytic.WORKLOADS)
    for workload in family
}


class WorkloadSourceError(ValueError):
    """A file or package that should define workloads does not; the message says why."""


def get_workload(reference: WorkloadReference | str) -> Workload:
    """The workload that is meant; a name alone means a shipped or installed one.

    A shipped workload wins over one of the same name that a package announces, which is then never loaded: a study
    means the same wherever it runs.

    Raises:
        KeyError: There is none; the message lists those there are.
        WorkloadSourceError: The file or package that defines it cannot be used.
    """
    if isinstance(reference, str):
        reference = WorkloadReference(reference)
    if reference.source:
        defined = read_workloads(reference.source)
        if reference.name not in defined:
            raise KeyError(f"no workload is called {reference.name!r} in the study's file; it has {', '.join(defined)}")
        return defined[reference.name]
    if reference.name in _SHIPPED:
        return _SHIPPED[reference.name]
    if reference.name in _installed():
        return _load_installed(reference.name)
    raise KeyError(f"no workload is called {reference.name!r}; there are {', '.join(list_workloads())}")


def list_workloads() -> tuple[str, ...]:
    """The names of all shipped and installed workloads."""
    return (*_SHIPPED, *(name for name in _installed() if name not in _SHIPPED))


def read_workloads(source: str, file: str = "") -> dict[str, Workload]:
    """Run the text of a Python file, and collect the Workload objects that it leaves at its top level, by name.

    Shipped workloads that it only imports, for example to change a copy of one, are not counted. The code runs with
    the rights of this process: only run files that you would run yourself. Where it comes from is not known here, so
    there is no ``__file__``.

    Args:
        source: The text.
        file: What to call the file in messages.

    Raises:
        WorkloadSourceError: It raises an error, defines none, or two of one name, or one that is already taken.
    """
    try:
        return _read_workloads(source)
    except _UnusableSourceError as error:
        raise WorkloadSourceError(f"{f'workload file {file}:' if file else 'the workload file'} {error}") from error


class _UnusableSourceError(Exception):
    """What is wrong with a workload file, as the end of a sentence that begins with its name."""


# By the text alone: a file is run once, whatever it is called.
@functools.lru_cache(maxsize=64)
def _read_workloads(source: str) -> dict[str, Workload]:
    values = vars(_run(source)).values()
    found = {id(value): value for value in values if isinstance(value, Workload) and not _is_shipped(value)}
    defined = {workload.name: workload for workload in found.values()}
    if not defined:
        raise _UnusableSourceError(
            "defines no workload; assign a workers.workloads.Workload to a name at its top level"
        )
    names = [workload.name for workload in found.values()]
    for name in defined:
        if names.count(name) > 1:
            raise _UnusableSourceError(
                f"defines {names.count(name)} workloads called {name!r}; give each a name of its own"
            )
        if name in _SHIPPED:
            raise _UnusableSourceError(
                f"defines a workload called {name!r}, but the name {name!r} belongs to a shipped workload; choose "
                "another one"
            )
    return defined


def _is_shipped(workload: Workload) -> bool:
    return _SHIPPED.get(workload.name) is workload


def _run(source: str) -> types.ModuleType:
    """The module that the text of a Python file makes."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    file = f"<workload file {digest}>"
    module = types.ModuleType(f"adai_study_workloads_{digest}")
    # Tracebacks show the lines, dataclasses and torch.compile find the module.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    sys.modules[module.__name__] = module
    try:
        code = compile(source.removeprefix("\ufeff"), file, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - running the user's file is what is asked
    # A user's code may raise anything, and sys.exit() in it must not end a worker.
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f" in line {lines[-1]}" if lines else ""
        raise _UnusableSourceError(f"raises {type(error).__name__}{place}: {error}; mend it") from error
    return module


def check_data(reference: WorkloadReference | str) -> None:
    """Load the data of a workload.

    Raises:
        KeyError: There is no such workload.
        WorkloadSourceError: The file or package that defines it cannot be used.
        MissingDataError: Its data cannot be loaded, for whatever reason.
    """
    workload = get_workload(reference)
    try:
        load_checked(workload)
    except MissingDataError:
        raise
    # Loading is a user's code and may raise anything; whatever it is, the data is not there.
    except (Exception, SystemExit) as error:
        raise MissingDataError(
            f"the data of workload {workload.name!r} cannot be loaded: {type(error).__name__}: {error}; "
            "mend the data or the code that loads it"
        ) from error


@functools.cache
def _installed() -> dict[str, list[EntryPoint]]:
    announced: dict[str, list[EntryPoint]] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        announced.setdefault(entry_point.name, []).append(entry_point)
    return announced


@functools.cache
def _load_installed(name: str) -> Workload:
    entry_point, *others = _installed()[name]
    if others:
        values = " and ".join(other.value for other in (entry_point, *others))
        raise WorkloadSourceError(f"the workload {name!r} comes from {values}; uninstall all but one of the packages")
    try:
        workload = entry_point.load()
        workload = workload if isinstance(workload, Workload) else workload()
    # Another package's code may raise anything.
    except (Exception, SystemExit) as error:
        raise WorkloadSourceError(
            f"the workload {name!r} of entry point {entry_point.value!r} does not load: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(workload, Workload) or workload.name != name:
        given = f"one called {workload.name!r}" if isinstance(workload, Workload) else f"a {type(workload).__name__}"
        raise WorkloadSourceError(
            f"the entry point {entry_point.value!r} must give a Workload with the name {name!r}, not {given}"
        )
    return workload
