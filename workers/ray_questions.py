"""What Ray's workers are asked between batches, and how several answers become one."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from workers.messages import WorkloadReference
from workers.planner import PlanRequest

#: Workers that may die of a question: the first may have been lost with its node. The next one was seen to live.
_MOST_DEATHS = 2


@dataclass(slots=True)
class Question:
    """What a worker is asked between batches.

    Attributes:
        method: Of the worker.
        argument: What it is about.
        answer: Where the answer goes.
        deaths: Workers that died while they had it.
    """

    method: str
    argument: WorkloadReference | PlanRequest
    answer: "Future[Any]" = field(default_factory=Future)
    deaths: int = 0

    @property
    def workload(self) -> str:
        """Name of the workload that it is about."""
        asked = self.argument
        return asked.workload.name if isinstance(asked, PlanRequest) else asked.name

    def may_be_asked_again(self) -> bool:
        """Called when a worker died of it, or with it."""
        self.deaths += 1
        return self.deaths < _MOST_DEATHS


def first_error(answers: "Sequence[Future[Any]]") -> "Future[None]":
    """Done when all are; fails as the first that failed did."""
    result: Future[None] = Future()
    open_answers = set(answers)

    def note(answer: "Future[Any]") -> None:
        open_answers.discard(answer)
        if open_answers:
            return
        error = next(filter(None, (answer.exception() for answer in answers)), None)
        if error is None:
            result.set_result(None)
        else:
            result.set_exception(error)

    for answer in answers:
        answer.add_done_callback(note)
    return result
