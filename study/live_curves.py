"""Learning curves of a few trials at any moment of a study: a bounded number of epochs of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from study.storage.learning_curves import (
    CurveMetric,
    CurvePoint,
    CurveTrial,
    read_curve_points,
    read_curve_trials,
    read_epoch_ranges,
)

#: Epochs of a curve: more than a screen tells apart.
MOST_EPOCHS = 200


@dataclass(frozen=True, slots=True)
class LiveCurve:
    """The curve of one trial.

    Attributes:
        trial: Whose it is.
        points: Its epochs, increasing; none before the first one ended.
        is_thinned: Whether epochs were left out between them.
    """

    trial: CurveTrial
    points: list[CurvePoint]
    is_thinned: bool


def read_curves(connection: Connection, trial_ids: Sequence[int], metric: CurveMetric) -> list[LiveCurve]:
    """The curves of some trials, in the order of their keys, by a fixed number of queries."""
    found = {trial.id: trial for trial in read_curve_trials(connection, trial_ids)}
    ranges = read_epoch_ranges(connection, trial_ids)
    chosen = {trial_id: thin_epochs(first, last) for trial_id, (first, last) in ranges.items()}
    wanted = sorted({epoch for own in chosen.values() for epoch in own})
    points = read_curve_points(connection, trial_ids, metric, wanted)
    curves = []
    for trial_id in trial_ids:
        own = set(chosen.get(trial_id, ()))
        first, last = ranges.get(trial_id, (1, 0))
        shown = [point for point in points.get(trial_id, []) if point.epoch in own]
        curves.append(LiveCurve(found[trial_id], shown, is_thinned=last - first + 1 > len(own)))
    return curves


def thin_epochs(first: int, last: int, most: int = MOST_EPOCHS) -> list[int]:
    """At most ``most`` epochs from ``first`` to ``last``, both among them, as evenly as whole numbers allow."""
    count = min(last - first + 1, most)
    if count < 2:
        return [first][:count]
    return [first + round(place * (last - first) / (count - 1)) for place in range(count)]
