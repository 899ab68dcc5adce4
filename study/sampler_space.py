"""The space of one workload and optimizer as a sampler of Optuna sees it, and between its values and the spec's.

A sampler sees an axis of real numbers as its place in [0, 1], on the scale that the spec declares: log1m, too, which
Optuna lacks. Whole numbers and choices it sees as they are. Trials are stored with the values themselves.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from study.axis import AxisSpec, Value
from study.design import PlannedTrial, plan_setting
from study.placement import default_setting, settle
from study.search_space import OptimizerSpec
from study.space import to_distribution, to_unit, to_value
from study.spec import StudySpec
from workers.random import Purpose, permutation, random_words, uniform

#: Points among which the nearest allowed one is taken, and among how many so many must be found.
_CANDIDATES, _MAX_DRAWN = 256, 20_000
#: Steps of a cell's random words: rounds come first, then the order of all combinations, then one step for each trial.
_ORDER_STEP, _TRIAL_STEP = 2**31, 2**32


class SamplerSpace:
    """One workload and optimizer of a study.

    Args:
        spec: The study.
        workload: Name of the workload.
        optimizer: One of the spec's optimizers.
        fill: Whether the sampler needs a value on every axis: one that does not vary stands in its middle then.
    """

    def __init__(self, spec: StudySpec, workload: str, optimizer: OptimizerSpec, *, fill: bool) -> None:
        self._training = spec.training_defaults(workload, optimizer)
        self._workload = workload
        self.default = plan_setting(workload, optimizer.name, 0, default_setting(optimizer, self._training))
        self.distributions = {name: _to_inner_distribution(axis) for name, axis in optimizer.axes.items()}
        self._optimizer = optimizer
        self._fill = fill
        self._seed = spec.study_seed
        # The second word of the key of its random words: whatever else the spec has, they stay the same.
        digest = hashlib.sha256(f"{workload}/{optimizer.name}".encode()).digest()
        self._index = int.from_bytes(digest[:8], "little")

    @property
    def axes(self) -> tuple[str, ...]:
        """All axes, each after those that decide whether it varies."""
        return self._optimizer.ordered_axes

    @property
    def contains_default(self) -> bool:
        """Whether the default setting lies on all its axes: weight decay 0 does not on a log axis."""
        values = self.default.hyperparameters
        return all(axis.contains(values[n]) for n, axis in self._optimizer.axes.items() if self.is_active(n, values))

    def is_active(self, name: str, values: Mapping[str, Value]) -> bool:
        """Whether an axis varies where the axes before it have ``values``."""
        return self._optimizer.is_active(name, self._complete(values))

    def allows(self, values: Mapping[str, Value]) -> bool:
        """Whether a proposal meets the constraints."""
        return self._optimizer.allows(self._complete(values))

    def _complete(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """All hyperparameters of a trial with ``values`` on the axes that vary in it."""
        return {**self._training, **self._optimizer.defaults_of(values), **values}

    def to_inner(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """What a sampler sees of a trial with ``values`` on the axes that vary in it."""
        axes = self._optimizer.axes
        middle = {name: to_value(axis, 0.5) for name, axis in axes.items()} if self._fill else {}
        return {name: _to_inner(axes[name], value) for name, value in {**middle, **values}.items()}

    def to_outer(self, name: str, inner: Any) -> Value:
        """The value of an axis that a sampler means."""
        axis = self._optimizer.axes[name]
        if axis.is_categorical:
            choice: Value = inner
            return choice
        return float(inner) if axis.integer else to_value(axis, float(inner))

    def values_of(self, trial: FrozenTrial) -> dict[str, Value]:
        """What a stored trial has on the axes that vary in it; Optuna's whole numbers become floats, as in a spec."""
        axes = self._optimizer.axes
        return {name: float(value) if axes[name].integer else value for name, value in trial.params.items()}

    def seed_of(self, round_: int) -> int:
        """The seed of a round's sampler, in [0, 2^32)."""
        words = random_words(1, seed=self._seed, index=self._index, purpose=Purpose.DESIGN, step=round_)
        return int(words[0]) % 2**32

    def nearest_allowed(self, values: Mapping[str, Value], number: int) -> dict[str, Value]:
        """Of random points that meet the constraints, the one nearest to ``values`` in the unit cube.

        Args:
            values: A proposal that does not meet them.
            number: Of the trial; keys the points.

        Raises:
            ValueError: No point was found.
        """
        width = len(self.axes)
        words = uniform(
            _MAX_DRAWN * width,
            seed=self._seed,
            index=self._index,
            purpose=Purpose.DESIGN,
            step=_TRIAL_STEP + number,
        )
        drawn = (self._at(point) for point in words.reshape(_MAX_DRAWN, width).tolist())
        allowed = list(itertools.islice(filter(self.allows, drawn), _CANDIDATES))
        if not allowed:
            raise ValueError(
                f"no setting of {self._optimizer.name} was found that meets {' and '.join(self._optimizer.constraints)}"
                f": none of {_MAX_DRAWN} random points does; widen the axes or leave a constraint out"
            )
        return min(allowed, key=lambda candidate: self._distance(candidate, values))

    def _at(self, point: Sequence[float]) -> dict[str, Value]:
        """The values at a point of the unit cube, on the axes that vary there."""
        values: dict[str, Value] = {}
        for name, unit in zip(self.axes, point, strict=True):
            if self.is_active(name, values):
                values[name] = to_value(self._optimizer.axes[name], unit)
        return values

    def _distance(self, first: Mapping[str, Value], second: Mapping[str, Value]) -> float:
        """Squared, in the unit cube; other choices, and axes that vary in one of the two only, are 1 apart."""
        total = 0.0
        for name, axis in self._optimizer.axes.items():
            if name in first and name in second and not axis.is_categorical:
                total += ((to_unit(axis, first[name]) or 0.0) - (to_unit(axis, second[name]) or 0.0)) ** 2
            else:
                total += float(first.get(name) != second.get(name))
        return total

    def list_cells(self) -> list[dict[str, Value]]:
        """Every combination of whole numbers and choices that meets the constraints, in an order of the study's seed.

        Only axes that vary there are told apart, as by Optuna's ``BruteForceSampler``.
        """
        cells: list[dict[str, Value]] = [{}]
        for name in self.axes:
            choices = _values_of_axis(self._optimizer.axes[name])
            cells = [
                more
                for cell in cells
                for more in ([{**cell, name: v} for v in choices] if self.is_active(name, cell) else [cell])
            ]
        allowed = [cell for cell in cells if self.allows(cell)]
        order = permutation(len(allowed), seed=self._seed, index=self._index, purpose=Purpose.DESIGN, step=_ORDER_STEP)
        return [allowed[place] for place in order.tolist()]

    def plan(
        self, values: Mapping[str, Value], *, number: int, round_: int, attributes: Mapping[str, Any]
    ) -> PlannedTrial:
        """The trial with ``values`` on the axes that vary in it."""
        axes = self._optimizer.axes
        place = {name: to_unit(axes[name], value) or 0.0 for name, value in values.items()}
        setting = settle(self._optimizer, self._training, values, place)
        trial = plan_setting(self._workload, self._optimizer.name, number, setting)
        return replace(trial, round=round_, system_attributes=attributes)


def _to_inner_distribution(axis: AxisSpec) -> BaseDistribution:
    return to_distribution(axis) if axis.is_categorical or axis.integer else FloatDistribution(0.0, 1.0)


def _to_inner(axis: AxisSpec, value: Value) -> Any:
    if axis.is_categorical:
        return value
    if axis.integer:
        return int(value)
    # The way to the value and back may leave the cube by a rounding error.
    return min(max(to_unit(axis, value) or 0.0, 0.0), 1.0)


def _values_of_axis(axis: AxisSpec) -> list[Value]:
    if axis.is_categorical:
        return list(axis.choices)
    low, high = axis.ends
    return [float(value) for value in range(int(low), int(high) + 1)]
