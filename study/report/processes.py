"""Jobs of a report, done by several processes: this one, and others that end with it."""

import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

_Result = TypeVar("_Result")
#: Processes of one report.
_MOST = 8
#: What the process that others are forked from loads, so that each of them has it at once.
_PRELOADED = ("study.report.forms.pictures", "study.report.cells")


class ProcessError(RuntimeError):
    """A job could not be done by another process; the message names it."""


@dataclass(frozen=True, slots=True)
class Job(Generic[_Result]):
    """Something to do.

    Attributes:
        name: For people, and for errors.
        work: Does it. Picklable, and so is what it gives, such as a `functools.partial` of a function of a module.
    """

    name: str
    work: Callable[[], _Result]


@dataclass(eq=False)
class _Helper:
    """A process that does jobs.

    Attributes:
        process: The process.
        connection: Takes jobs and gives results, or what went wrong; first it says that it has started.
        job: What it does now.
    """

    process: BaseProcess
    connection: Connection
    job: Job[Any] | None = None


def count_processors() -> int:
    """How many processors this process may use, at most :data:`_MOST`: each further process loads everything anew."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, _MOST)


def do_all(
    jobs: Sequence[Job[_Result]], *, processes: int, on_done: Callable[[str], None] = lambda _: None
) -> list[_Result]:
    """Do all jobs.

    This process takes part: from the last job on, while the others start and go on from the first.

    Args:
        jobs: What there is to do; the longest should come first.
        processes: How many do jobs at a time, this one among them.
        on_done: Told the name of each job that is done, in this thread.

    Returns:
        Results in the order of ``jobs``.

    Raises:
        ProcessError: A job or its result cannot be sent, or the process that did it died.
        Exception: Whatever a job raises.
    """
    done: dict[int, _Result] = {}
    places = {id(job): place for place, job in enumerate(jobs)}

    def keep(job: Job[_Result], result: _Result) -> None:
        done[places[id(job)]] = result
        on_done(job.name)

    if processes < 2 or len(jobs) < 2:
        for job in jobs:
            keep(job, job.work())
    else:
        with _start_helpers(min(processes, len(jobs)) - 1) as helpers:
            _share_out(helpers, deque(jobs), keep)
    return [done[place] for place in range(len(jobs))]


def _share_out(
    helpers: Sequence[_Helper],
    waiting: deque[Job[_Result]],
    keep: Callable[[Job[_Result], _Result], None],
) -> None:
    """Give jobs to those that are free, and do some here as long as any wait."""
    active = list(helpers)
    while waiting or any(helper.job for helper in active):
        ready = wait([helper.connection for helper in active], timeout=0 if waiting else None)
        for helper in [helper for helper in active if helper.connection in ready]:
            if helper.job is None:
                _hear_start(helper)
            else:
                keep(helper.job, _receive(helper))
            helper.job = waiting.popleft() if waiting else None
            if helper.job is None:
                active.remove(helper)
            else:
                _send(helper, helper.job)
        if waiting:
            job = waiting.pop()
            keep(job, job.work())


def _hear_start(helper: _Helper) -> None:
    try:
        helper.connection.recv()
    except (EOFError, OSError) as error:
        raise ProcessError(
            "a process that should help with a report did not start; a script that makes a report does so under "
            'if __name__ == "__main__":'
        ) from error


def _send(helper: _Helper, job: Job[_Result]) -> None:
    try:
        helper.connection.send(job)
    except Exception as error:
        raise ProcessError(
            f"{job.name!r} cannot be done by another process: {type(error).__name__}: {error}"
        ) from error


def _receive(helper: _Helper) -> Any:
    """A result; raises what went wrong in the other process."""
    name = helper.job.name if helper.job else ""
    try:
        answer = helper.connection.recv()
    except (EOFError, OSError) as error:
        helper.process.join(1.0)
        raise ProcessError(
            f"{name!r} cannot be done: the process that did it died with {helper.process.exitcode}"
        ) from error
    if isinstance(answer, _Failure):
        raise answer.error
    return answer


@contextmanager
def _start_helpers(count: int) -> Iterator[list[_Helper]]:
    """Processes that end with the block, however it ends; they hold nothing that matters."""
    context = _context()
    if isinstance(context, ForkServerContext):
        _start_server()
    helpers: list[_Helper] = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_help, args=(theirs,), daemon=True)
            helpers.append(_Helper(process, ours))
            process.start()
            theirs.close()
        yield helpers
    finally:
        for helper in helpers:
            helper.connection.close()
            if helper.process.pid is not None:
                helper.process.terminate()
                helper.process.join()


def _context() -> ForkServerContext | SpawnContext:
    """Never a plain fork: the process that calls has threads (torch, polars), and a fork may inherit their locks.

    A fork server loads what jobs need once, for all processes, and never computes anything itself.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


def _start_server() -> None:
    """Start the process that others are forked from, if it does not run, deaf to Ctrl-C.

    It ignores Ctrl-C itself, but only once it has loaded what jobs need; until then it would end with a traceback.
    What is blocked here stays blocked there.
    """
    resource_tracker.ensure_running()  # it unblocks signals when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error as an answer."""

    error: Exception


def _help(connection: Connection) -> None:
    """Do what comes until nobody asks any more; errors are answers."""
    # Ctrl-C reaches all processes of a terminal; the one that waits for the others ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        connection.send(None)
        while True:
            job = _take(connection)
            answer = job if isinstance(job, _Failure) else _answer(job)
            try:
                connection.send(answer)
            except (EOFError, OSError):
                raise
            except Exception as error:  # a result that cannot be pickled
                connection.send(_failed(error))
    except (EOFError, OSError):
        return


def _take(connection: Connection) -> "Job[object] | _Failure":
    try:
        job: Job[object] = connection.recv()
    except (EOFError, OSError):
        raise
    except Exception as error:  # it was sent, but what it needs cannot be imported here
        return _failed(error)
    return job


def _answer(job: Job[object]) -> object:
    try:
        return job.work()
    except Exception as error:
        error.add_note(traceback.format_exc())  # notes travel between processes, causes do not
        return _Failure(error)


def _failed(error: Exception) -> _Failure:
    return _Failure(ProcessError(f"a job cannot be done by another process: {type(error).__name__}: {error}"))
