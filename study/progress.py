"""Shows a study's progress: a live bar on a terminal, a line now and then elsewhere."""

import datetime as dt
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

_LINE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a study is.

    Attributes:
        study: Its name.
        trials: Trials of the study, those that are still to be asked among them.
        trials_ended: Those with a result, pruned or failed.
        run_epochs: Epochs that all runs of the study may train.
        run_epochs_ended: Those trained, or no longer to be trained because their run ended.
        resumed_at: ``run_epochs_ended`` when this driver began.
        diverged: Runs that diverged.
        failed: Trials that failed.
        best: Lowest trial value so far; None before the first.
        best_optimizer: Whose it is.
        seconds: Since this driver began.
        pruned: Trials that were stopped early.
    """

    study: str
    trials: int
    trials_ended: int
    run_epochs: int
    run_epochs_ended: int
    resumed_at: int
    diverged: int
    failed: int
    best: float | None
    best_optimizer: str
    seconds: float
    pruned: int = 0


class ProgressDisplay(Protocol):
    """Shows progress between its entry and exit."""

    def show(self, progress: Progress) -> None:
        """Show the newest state."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_display(stream: TextIO | None = None) -> ProgressDisplay:
    """A bar if ``stream`` (standard error by default) is a terminal, lines otherwise."""
    stream = stream or sys.stderr
    return BarDisplay(stream) if stream.isatty() else LineDisplay(stream)


def summarize(progress: Progress) -> str:
    """Trials, rate, time left, best so far and divergences in one line."""
    here = progress.run_epochs_ended - progress.resumed_at
    share_here = here / progress.run_epochs if progress.run_epochs else 0.0
    parts = [f"{progress.trials_ended}/{progress.trials} trials"]
    if share_here > 0 and progress.seconds > 0:
        left = (progress.run_epochs - progress.run_epochs_ended) / here * progress.seconds
        # Rated by epochs, which come in steadily, rather than by whole batches.
        parts.append(f"{share_here * progress.trials / progress.seconds:.2f} trials/s")
        parts.append(f"{dt.timedelta(seconds=round(left))} left")
    if progress.best is not None:
        parts.append(f"best {progress.best:.4g} ({progress.best_optimizer})")
    parts.append(f"{progress.diverged} runs diverged")
    if progress.pruned:
        parts.append(f"{progress.pruned} trials pruned")
    if progress.failed:
        parts.append(f"{progress.failed} trials failed")
    return " · ".join(parts)


class BarDisplay:
    """A live bar."""

    def __init__(self, stream: TextIO) -> None:
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[summary]}"),
            console=Console(file=stream),
        )
        self._task: TaskID | None = None

    def show(self, progress: Progress) -> None:
        """See :class:`ProgressDisplay`."""
        if self._task is None:
            self._task = self._bar.add_task(progress.study, total=progress.run_epochs, summary="")
        self._bar.update(self._task, completed=progress.run_epochs_ended, summary=summarize(progress))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class LineDisplay:
    """A line at each tenth of the study, and at least every ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown_tenth = -1
        self._shown_at = 0.0

    def show(self, progress: Progress) -> None:
        """See :class:`ProgressDisplay`."""
        share = progress.run_epochs_ended / progress.run_epochs if progress.run_epochs else 1.0
        # The last tenth is full when the last trial is written, just after its last epoch.
        tenth = 10 if progress.trials_ended == progress.trials else min(int(10 * share), 9)
        if tenth > self._shown_tenth or progress.seconds - self._shown_at >= _LINE_SECONDS:
            print(f"{progress.study} {100 * share:3.0f}% · {summarize(progress)}", file=self._stream, flush=True)
            self._shown_tenth, self._shown_at = tenth, progress.seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to end: every line is whole."""
