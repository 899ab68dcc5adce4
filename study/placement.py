"""Where the trials of one optimizer lie: its default setting, and the points of the design."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from study.axis import AxisSpec, Value
from study.cube import COLUMNS, unit_points
from study.design_spec import DesignSpec
from study.errors import SpecError
from study.search_space import OptimizerSpec
from study.space import spread_values, to_unit, to_value

#: Points of a grid, and combinations of values that are looked at in search of those that constraints allow.
MAX_CELLS = 100_000
#: Points of a sequence that are tried for each that is wanted, and in all: fewer than one in 256 is next to nothing.
_TRIED_PER_POINT = 256
_FEWEST_TRIED, _MOST_TRIED = 4096, 2**20

#: Where a trial lies on each axis of its optimizer; None where the axis is not active or has no such place.
Unit = dict[str, float | None]
#: What trials have on axes of the training where these do not vary.
TrainingDefaults = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the search space.

    Attributes:
        hyperparameters: Every hyperparameter of the optimizer, option that is an axis, and axis of the training.
        unit: For each axis its place in the unit cube.
    """

    hyperparameters: dict[str, Value]
    unit: Unit


def default_setting(optimizer: OptimizerSpec, training: TrainingDefaults) -> Setting:
    """The default setting, with what is fixed in place; it is tried whether or not it meets the constraints."""
    return settle(optimizer, training, {}, {})


def place_settings(
    optimizer: OptimizerSpec, design: DesignSpec, study_seed: int, training: TrainingDefaults
) -> list[Setting]:
    """The points of a design that is made up front, in the order of their numbers; all meet the constraints.

    Args:
        optimizer: Its axes and constraints.
        design: Not adaptive.
        study_seed: Keys the points.
        training: What trials have on axes of the training that are not active.

    Raises:
        SpecError: The constraints leave too few points.
    """
    if design.kind == "grid":
        return _checked(optimizer, design, _distinct(optimizer, _grid(optimizer, design, training)))
    if design.kind == "one_at_a_time":
        around = _distinct(optimizer, _one_at_a_time(optimizer, design, training))
        return _checked(optimizer, design, around)
    if design.kind == "latin_hypercube":
        settings = _from_cube(optimizer, design, study_seed, training, slice(0, design.points))
        return _checked(optimizer, design, [s for s in settings if optimizer.allows(s.hyperparameters)])
    return _first_allowed(optimizer, design, study_seed, training)


def count_settings(optimizer: OptimizerSpec, design: DesignSpec, study_seed: int, training: TrainingDefaults) -> int:
    """How many points :func:`place_settings`, or an adaptive design, tries beside the default setting.

    Raises:
        SpecError: The constraints leave too few points.
    """
    if design.kind in ("grid", "one_at_a_time") or (design.kind == "latin_hypercube" and optimizer.constraints):
        return len(place_settings(optimizer, design, study_seed, training))
    if design.kind == "brute_force":
        return _count_cells(optimizer, design, training)
    return design.points


def most_settings(optimizer: OptimizerSpec, design: DesignSpec) -> int:
    """How many points :func:`count_settings` gives at most, without making one; exact without conditions."""
    if design.kind == "grid":
        return grid_size(optimizer, design.levels or 0)
    if design.kind == "one_at_a_time":
        return sum(len(spread_values(axis, design.levels or 0)) for axis in optimizer.axes.values())
    if design.kind == "brute_force":
        return min(design.points, math.prod(len(_all_values(axis)) for axis in optimizer.axes.values()))
    return design.points


def tried_settings(optimizer: OptimizerSpec, design: DesignSpec) -> int:
    """How many points have to be looked at, in the worst case, to know how many there are; 0 where that is plain."""
    if design.kind == "brute_force":
        return math.prod(len(_all_values(axis)) for axis in optimizer.axes.values())
    if design.kind == "one_at_a_time" or (
        design.kind == "grid" and (optimizer.constraints or optimizer.is_conditional)
    ):
        return most_settings(optimizer, design)
    if not optimizer.constraints or design.kind == "grid" or design.is_adaptive:
        return 0
    return design.points if design.kind == "latin_hypercube" else _most_tried(design)


def grid_size(optimizer: OptimizerSpec, levels: int) -> int:
    """Cells of the full grid, before any are left out."""
    size = 1
    for axis in optimizer.axes.values():
        size *= len(spread_values(axis, levels))
    return size


def _first_allowed(
    optimizer: OptimizerSpec, design: DesignSpec, study_seed: int, training: TrainingDefaults
) -> list[Setting]:
    """The first points of a sequence that meet the constraints."""
    limit = _most_tried(design)
    allowed: list[Setting] = []
    done, tried = 0, design.points
    while True:
        settings = _from_cube(optimizer, design, study_seed, training, slice(done, tried))
        allowed += [setting for setting in settings if optimizer.allows(setting.hyperparameters)]
        if len(allowed) >= design.points:
            return allowed[: design.points]
        if tried >= limit:
            raise SpecError(
                f"the constraints of {optimizer.name} leave {len(allowed)} of the first {tried} points of the design "
                f"{design.kind}, and {design.points} are wanted; loosen them, narrow the axes, or take fewer points"
            )
        # As many as should do by the share that was met, and a few more.
        enough = int(1.1 * tried * design.points / max(len(allowed), 1)) + 64
        done, tried = tried, min(max(enough, tried + 64), limit)


def _most_tried(design: DesignSpec) -> int:
    return min(max(_TRIED_PER_POINT * design.points, _FEWEST_TRIED), _MOST_TRIED)


def _from_cube(
    optimizer: OptimizerSpec, design: DesignSpec, study_seed: int, training: TrainingDefaults, part: slice
) -> Iterator[Setting]:
    """The settings at ``part`` of the first ``part.stop`` points."""
    columns = [COLUMNS[name] for name in optimizer.axes]
    for point in unit_points(design.kind, part.stop, study_seed)[part, columns].tolist():
        place = dict(zip(optimizer.axes, point, strict=True))
        values = {name: to_value(axis, place[name]) for name, axis in optimizer.axes.items()}
        yield settle(optimizer, training, values, place)


def _grid(optimizer: OptimizerSpec, design: DesignSpec, training: TrainingDefaults) -> Iterator[Setting]:
    """All combinations of levels; the last axis changes first."""
    levels = {name: _levels(axis, design) for name, axis in optimizer.axes.items()}
    for combination in itertools.product(*levels.values()):
        values = {name: value for name, (value, _) in zip(levels, combination, strict=True)}
        place = {name: unit for name, (_, unit) in zip(levels, combination, strict=True)}
        yield settle(optimizer, training, values, place)


def _one_at_a_time(optimizer: OptimizerSpec, design: DesignSpec, training: TrainingDefaults) -> Iterator[Setting]:
    """One axis after the other over its levels, all others at their defaults; without the default setting itself."""
    centre = settle(optimizer, training, {}, {})
    for name, axis in optimizer.axes.items():
        for value, unit in _levels(axis, design):
            setting = settle(optimizer, training, {name: value}, {name: unit})
            if setting.hyperparameters != centre.hyperparameters:
                yield setting


def _levels(axis: AxisSpec, design: DesignSpec) -> list[tuple[Value, float]]:
    """Values of an axis, evenly spread on its scale, with their places."""
    values = spread_values(axis, design.levels or 0)
    # Between a value and its place, rounding may leave the unit interval by a unit in the last place.
    return [(value, min(max(to_unit(axis, value) or 0.0, 0.0), 1.0)) for value in values]


def settle(
    optimizer: OptimizerSpec, training: TrainingDefaults, values: Mapping[str, Value], place: Mapping[str, float]
) -> Setting:
    """The setting with ``values`` on the axes that are active in it, and defaults on all others.

    Args:
        optimizer: Its axes, defaults and conditions.
        training: Defaults of axes of the training.
        values: What is wanted on axes; those that are missing keep their defaults.
        place: Where each of ``values`` lies.
    """
    if optimizer.is_conditional:
        chosen: dict[str, Value] = {}
        for name in optimizer.ordered_axes:
            known = {**training, **optimizer.defaults_of(chosen), **chosen}
            if name in values and optimizer.is_active(name, known):
                chosen[name] = values[name]
    else:
        chosen = dict(values)
    hyperparameters = {**optimizer.defaults_of(chosen), **training, **chosen}
    unit: Unit = {}
    for name, axis in optimizer.axes.items():
        if name not in hyperparameters or not optimizer.is_active(name, hyperparameters):
            unit[name] = None
        elif name in chosen and not (axis.integer or axis.is_categorical):
            unit[name] = place[name]
        else:  # a whole number or choice stands where it is, not where the point was before it was rounded
            unit[name] = to_unit(axis, hyperparameters[name])
    return Setting(hyperparameters, unit)


def _distinct(optimizer: OptimizerSpec, settings: Iterable[Setting]) -> list[Setting]:
    """Those that meet the constraints, each once: axes that are not active make cells equal."""
    once: dict[tuple[tuple[str, Value], ...], Setting] = {}
    for setting in settings:
        once.setdefault(tuple(setting.hyperparameters.items()), setting)
    return [setting for setting in once.values() if optimizer.allows(setting.hyperparameters)]


def _checked(optimizer: OptimizerSpec, design: DesignSpec, settings: list[Setting]) -> list[Setting]:
    if not settings:
        raise SpecError(
            f"the constraints of {optimizer.name} leave no point of the design {design.kind}; loosen them, or take "
            "another design"
        )
    return settings


def _count_cells(optimizer: OptimizerSpec, design: DesignSpec, training: TrainingDefaults) -> int:
    """Distinct settings that meet the constraints, where all axes are finite; no further than they are wanted."""
    axes = optimizer.axes
    if not all(axis.is_categorical or axis.integer for axis in axes.values()):
        return design.points
    seen: set[tuple[tuple[str, Value], ...]] = set()
    for tried, cell in enumerate(_cells([_all_values(axis) for axis in axes.values()])):
        if len(seen) == design.points:
            break
        if tried == MAX_CELLS:
            raise SpecError(
                f"the constraints of {optimizer.name} allow {len(seen)} of the first {tried} combinations, and "
                f"{design.points} points are wanted; loosen them, narrow the axes, or take fewer points"
            )
        setting = settle(optimizer, training, dict(zip(axes, cell, strict=True)), {})
        if optimizer.allows(setting.hyperparameters):
            seen.add(tuple(setting.hyperparameters.items()))
    return len(seen)


def _all_values(axis: AxisSpec) -> Sequence[Value]:
    if axis.is_categorical:
        return axis.choices
    low, high = axis.ends
    return range(int(low), int(high) + 1)


def _cells(values: Sequence[Sequence[Value]]) -> Iterator[tuple[Value, ...]]:
    """The product, without the lists that `itertools.product` makes of ranges."""
    if not values:
        yield ()
        return
    for value in values[0]:
        for rest in _cells(values[1:]):
            yield (value, *rest)
