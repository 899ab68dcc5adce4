"""Learning rate schedules as pure functions: progress of training in, factor of the learning rate out.

Progress is the share of the budget that is done before the step: 0 at the first step, below 1 at the last. A schedule
multiplies the base learning rate, so one schedule serves all rows and all optimizers.
"""

import math
from collections.abc import Callable, Sequence

#: From progress in [0, 1] to the factor of the learning rate.
Schedule = Callable[[float], float]


def constant() -> Schedule:
    """The learning rate as it is."""

    def schedule(progress: float) -> float:
        _checked(progress)
        return 1.0

    return schedule


def step(milestones: Sequence[float] = (0.4, 0.8), factor: float = 0.1) -> Schedule:
    """Multiply by ``factor`` from each milestone on.

    The defaults divide by 10 from 40 % and 80 % of the budget: epochs 80 and 160 (counted from 0) of 200, as in the
    Adai authors' CIFAR-10 notebook.

    Args:
        milestones: Progress from which the next factor holds, increasing, in (0, 1).
        factor: Above 0.

    Raises:
        ValueError: An argument is out of its range.
    """
    milestones = tuple(milestones)  # a list could change later
    if list(milestones) != sorted(set(milestones)) or not all(0 < milestone < 1 for milestone in milestones):
        raise ValueError(f"step: milestones must increase and lie in (0, 1), not {milestones}")
    if not 0 < factor < math.inf:
        raise ValueError(f"step: factor must be above 0 and finite, not {factor!r}")

    def schedule(progress: float) -> float:
        done = _checked(progress)
        return math.prod(factor for milestone in milestones if done >= milestone)

    return schedule


def cosine(final: float = 0.0) -> Schedule:
    """Half a cosine from 1 to ``final`` (Loshchilov and Hutter, SGDR, ICLR 2017, equation 5, without restarts).

    Args:
        final: Factor at the end of the budget, in [0, 1].

    Raises:
        ValueError: ``final`` is out of its range.
    """
    _check_share("cosine", "final", final)
    return lambda progress: final + (1 - final) * (1 + math.cos(math.pi * _checked(progress))) / 2


def warm_up(share: float, after: Schedule, start: float = 0.0) -> Schedule:
    """Rise linearly from ``start`` to 1 in the first ``share`` of the budget, then follow ``after`` over the rest.

    Args:
        share: Of the budget, in [0, 1).
        after: Sees the remaining budget as a whole one: its progress runs from 0 to 1.
        start: Factor at the first step, in [0, 1].

    Raises:
        ValueError: An argument is out of its range.
    """
    if not 0 <= share < 1:
        raise ValueError(f"warm_up: share must be at least 0 and below 1, not {share!r}")
    _check_share("warm_up", "start", start)

    def schedule(progress: float) -> float:
        done = _checked(progress)
        if done < share:
            return start + (after(0.0) - start) * (done / share)
        return after((done - share) / (1 - share))

    return schedule


def one_cycle(peak: float = 0.3, start: float = 1 / 25, final: float = 1 / 250_000) -> Schedule:
    """Cosine from ``start`` up to 1 at ``peak``, then cosine down to ``final`` (Smith and Topin, 2019).

    The defaults are those of ``torch.optim.lr_scheduler.OneCycleLR``, whose ``final_div_factor`` counts from the start.

    Args:
        peak: Progress at which the learning rate is the base one, in (0, 1).
        start: Factor at the first step, in [0, 1].
        final: Factor at the end of the budget, in [0, 1].

    Raises:
        ValueError: An argument is out of its range.
    """
    if not 0 < peak < 1:
        raise ValueError(f"one_cycle: peak must lie in (0, 1), not {peak!r}")
    _check_share("one_cycle", "start", start)
    _check_share("one_cycle", "final", final)

    def schedule(progress: float) -> float:
        done = _checked(progress)
        if done < peak:
            return 1 + (start - 1) * (1 + math.cos(math.pi * done / peak)) / 2
        return final + (1 - final) * (1 + math.cos(math.pi * (done - peak) / (1 - peak))) / 2

    return schedule


def _checked(progress: float) -> float:
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be from 0 to 1, not {progress!r}")
    return progress


def _check_share(schedule: str, name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{schedule}: {name} must be from 0 to 1, not {value!r}")


#: Schedules by the names that users write in a study spec, with their default arguments.
_NAMED: dict[str, Callable[[], Schedule]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "warm_up_cosine": lambda: warm_up(0.05, cosine()),
    "one_cycle": one_cycle,
}


def get_schedule(name: str) -> Schedule:
    """The schedule called ``name``, with its default arguments; ``warm_up_cosine`` rises over the first 5 %.

    Raises:
        KeyError: There is none; the message lists those there are.
    """
    if name not in _NAMED:
        raise KeyError(f"no schedule is called {name!r}; there are {', '.join(_NAMED)}")
    return _NAMED[name]()


def list_schedules() -> tuple[str, ...]:
    """The names that :func:`get_schedule` takes."""
    return tuple(_NAMED)
