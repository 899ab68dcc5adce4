"""New processes that have not yet looked for a compiler, each in its own environment; torch is imported only once.

Run as a program, it imports ``adai`` and forks one process for each job that it reads.
"""

import faulthandler
import json
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

STEPS = 3
SIZE = 200
_SECONDS = 60


class FreshProcesses:
    """Starts processes that take a few steps of Adai and say how that went."""

    def __init__(self) -> None:
        command = [sys.executable, __file__]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, environment: Mapping[str, str], **job: Any) -> dict[str, Any]:
        """What one process says; ``uid`` runs it as another user, ``fork`` lets a child of it take the steps again."""
        (said,) = self.run_together(1, environment, **job)
        return said

    def run_together(self, copies: int, environment: Mapping[str, str], **job: Any) -> list[dict[str, Any]]:
        """What each of several processes says that start at once."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(
            json.dumps({"environment": dict(environment), "copies": copies, **job}), file=self._server.stdin, flush=True
        )
        said: list[dict[str, Any]] = json.loads(self._server.stdout.readline())
        return said

    def close(self) -> None:
        """End the program."""
        self._server.communicate()


def take_steps(*, fused: bool | None, size: int = SIZE, threads: int = 1) -> list[float]:
    """Parameters after a few steps along fixed gradients, in float64.

    Only steps after the first use threads, so that torch starts none of its own: those do not survive a fork.
    """
    import torch

    from adai import Adai

    parameter = torch.nn.Parameter(torch.linspace(-1, 1, size, dtype=torch.float64))
    optimizer = Adai([parameter], lr=0.5, weight_decay=0.1, fused=fused)
    for step in range(STEPS):
        parameter.grad = torch.cos(torch.arange(size, dtype=torch.float64) * (step + 1))
        torch.set_num_threads(threads if step else 1)
        optimizer.step()
        torch.set_num_threads(1)
    values: list[float] = parameter.tolist()
    return values


def _report(job: dict[str, Any]) -> dict[str, Any]:
    import torch

    from adai.compiled import library

    os.environ.clear()
    os.environ.update(job["environment"])
    if job.get("uid"):
        os.setgroups([])
        os.setuid(job["uid"])
    torch.set_num_threads(1)
    said: dict[str, Any] = {"refusal": None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        said["unasked"] = take_steps(fused=None)
        try:
            said["insisted"] = take_steps(fused=True)
        except RuntimeError as error:
            said["refusal"] = str(error)
    said["plain"] = take_steps(fused=False)
    said["warnings"] = [f"{warning.category.__name__}: {warning.message}" for warning in caught]
    said["compiled"] = library(torch.float64) is not None
    maps = Path("/proc/self/maps").read_text().splitlines()
    said["libraries"] = sorted({line.split(maxsplit=5)[-1] for line in maps if "kernels-" in line})
    if job.get("fork"):
        said["forked"] = _steps_of_a_child()
    return said


def _steps_of_a_child() -> bool:
    """Whether a process forked from this one, after it has used threads, gets the same numbers."""
    size, threads = 200_000, 2
    expected = take_steps(fused=True, size=size, threads=threads)
    child = os.fork()
    if child == 0:
        os._exit(0 if take_steps(fused=True, size=size, threads=threads) == expected else 7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _answer(job: dict[str, Any], reader: int, writer: int) -> NoReturn:
    faulthandler.dump_traceback_later(_SECONDS, exit=True)
    try:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            json.dump(_report(job), pipe)
    except BaseException:  # whatever it is, this process must not go on as the server
        traceback.print_exc()
        os._exit(70)
    os._exit(0)


def _serve() -> None:
    take_steps(fused=False)  # imports what takes long, once
    for line in sys.stdin:
        job = json.loads(line)
        children = []
        for _ in range(job["copies"]):
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                _answer(job, reader, writer)
            os.close(writer)
            children.append((child, reader))
        said = []
        for child, reader in children:
            with os.fdopen(reader) as pipe:
                text = pipe.read()
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said.append(json.loads(text) if status == 0 else {"crashed": status})
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
