"""What becomes of a batch that brought nothing: tried again, tried in halves, or given up."""

from enum import Enum

from workers.messages import Termination

#: How many attempts a batch has in all when its worker is lost or hangs.
MAX_ATTEMPTS = 3
_WORKER_GONE = (Termination.WORKER_LOST, Termination.TIMED_OUT)


class Retry(Enum):
    """The next step."""

    AGAIN = "the same batch, on another worker"
    HALVES = "two batches of half as many trials, so that a trial that is to blame ends alone"
    NEVER = "its trials end without a result"


def choose_retry(termination: Termination, *, tries: int, trials: int) -> Retry:
    """What to do after an attempt that ended with ``termination``.

    A trial must not fail for the company that it was trained in, or the table would depend on how trials were packed:
    so a batch is never given up as long as it can be cut.

    Args:
        termination: ``WORKER_LOST``, ``TIMED_OUT``, ``OUT_OF_MEMORY`` or ``FAILED``.
        tries: Attempts that the batch has had, this one included.
        trials: Trials in it.
    """
    if termination in _WORKER_GONE and tries < MAX_ATTEMPTS:
        return Retry.AGAIN
    return Retry.HALVES if trials > 1 else Retry.NEVER


def tries_of_halves(termination: Termination) -> int:
    """How many attempts each half of a batch counts as having had.

    After repeated loss of a worker a half has one attempt left before it is cut itself: a trial that kills its worker
    is found in a number of attempts that grows with the logarithm of the batch.
    """
    return MAX_ATTEMPTS - 1 if termination in _WORKER_GONE else 0
