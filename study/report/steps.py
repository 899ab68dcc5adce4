"""Says how far a report is: a live bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

_LINE_SECONDS = 5.0


class Steps(Protocol):
    """Told of every step between its entry and exit."""

    def start(self, what: str, total: int) -> None:
        """A stage of so many steps begins, such as ``computing``."""
        ...

    def done(self, name: str) -> None:
        """One step of the stage is done; ``name`` says which."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_steps(stream: TextIO | None = None) -> Steps:
    """A bar if ``stream`` (standard error by default) is a terminal, lines otherwise."""
    stream = stream or sys.stderr
    return StepBar(stream) if stream.isatty() else StepLines(stream)


class StepBar:
    """A live bar, one for each stage."""

    def __init__(self, stream: TextIO) -> None:
        self._bar = RichProgress(
            TextColumn("report: {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[step]}"),
            console=Console(file=stream),
        )
        self._task: TaskID | None = None

    def start(self, what: str, total: int) -> None:
        """See :class:`Steps`."""
        self._task = self._bar.add_task(what, total=total, step="")

    def done(self, name: str) -> None:
        """See :class:`Steps`."""
        if self._task is not None:
            self._bar.update(self._task, advance=1, step=name)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class StepLines:
    """A line every five seconds: a short report says nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._what, self._total, self._done = "", 0, 0
        self._shown = time.monotonic()

    def start(self, what: str, total: int) -> None:
        """See :class:`Steps`."""
        self._what, self._total, self._done = what, total, 0

    def done(self, name: str) -> None:
        """See :class:`Steps`."""
        self._done += 1
        if time.monotonic() - self._shown >= _LINE_SECONDS:
            print(f"report: {self._what} {self._done}/{self._total}, {name}", file=self._stream, flush=True)
            self._shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to end: every line is whole."""


class QuietSteps:
    """Says nothing: a server has nobody who watches."""

    def start(self, what: str, total: int) -> None:
        """See :class:`Steps`."""

    def done(self, name: str) -> None:
        """See :class:`Steps`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to end."""
