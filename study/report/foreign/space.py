"""The search space of an Optuna study that nobody declared: axes from the distributions of its trials."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from study.axis import AxisSpec, Value
from study.space import to_unit

#: With so many settings, a parameter that always has the same value was not drawn from its choices.
_ENOUGH_TO_SEE_NO_VARIATION = 8


@dataclass(frozen=True, slots=True)
class Parameter:
    """What is known of one parameter of a study.

    Attributes:
        column: Its name in tables and as an axis.
        axis: Its range or choices; None if it has one value only.
        labels: What each choice is called, by the choice's ``repr``; None for numbers.
        conditional: Whether some trials have no such parameter.
    """

    column: str
    axis: AxisSpec | None
    labels: Mapping[str, Value] | None
    conditional: bool

    @property
    def kind(self) -> type:
        """What its values are: ``bool``, ``float`` or ``str``."""
        return float if self.labels is None else type(next(iter(self.labels.values())))

    def to_value(self, stored: Any) -> Value | None:
        """What Optuna stores as a value of ours; None if it is none of the choices."""
        return float(stored) if self.labels is None else self.labels.get(repr(stored))

    def to_place(self, value: Value) -> float | None:
        """The place of a value in the unit cube; None if the axis has none for it, or there is no axis."""
        return None if self.axis is None else to_unit(self.axis, value)


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters of a study, in the order in which they were first suggested.

    Attributes:
        parameters: By the names that Optuna has.
        is_uneven: Whether trials drew a parameter from different ranges, so that not all parts of their union were
            equally likely.
        cautions: What was assumed, as sentences.
    """

    parameters: Mapping[str, Parameter]
    is_uneven: bool
    cautions: tuple[str, ...]

    @property
    def axes(self) -> dict[str, AxisSpec]:
        """What varies, by column."""
        return {p.column: p.axis for p in self.parameters.values() if p.axis is not None}

    def values_of(self, stored: Mapping[str, Any]) -> dict[str, Value]:
        """The values of a trial, by column."""
        found = {p.column: p.to_value(stored[name]) for name, p in self.parameters.items() if name in stored}
        return {column: value for column, value in found.items() if value is not None}

    def places_of(self, values: Mapping[str, Value]) -> dict[str, float | None]:
        """The places of such values on the axes that the trial has; None where an axis has no place for one."""
        return {
            p.column: p.to_place(values[p.column])
            for p in self.parameters.values()
            if p.axis is not None and p.column in values
        }


@dataclass(slots=True)
class _Seen:
    """What the trials of a study say of one parameter."""

    distributions: dict[BaseDistribution, None] = field(default_factory=dict)
    values: set[str] = field(default_factory=set)
    complete: int = 0


def name_columns(names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Parameter -> column; ``params_NAME``, as Optuna's own tables have it, where a table has that column already.

    Args:
        names: Of the parameters of all studies.
        taken: Columns that every table has.
    """
    names = list(dict.fromkeys(names))
    used = set(taken)
    columns: dict[str, str] = {}
    for name in names:
        column = name
        while used & {column, f"unit_{column}"} or (column != name and column in names):
            column = f"params_{column}"
        used |= {column, f"unit_{column}"}
        columns[name] = column
    return columns


def read_space(trials: Sequence[FrozenTrial], columns: Mapping[str, str], *, seed: str | None) -> Space:
    """The axes that the trials of one study were drawn from.

    Args:
        trials: In any state.
        columns: As :func:`name_columns` gives them.
        seed: The parameter that is the seed, and no axis.
    """
    seen = _look(trials, seed)
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    settings = _count_settings(complete, seed)
    parameters, cautions = {}, []
    for name, found in seen.items():
        axis, labels, remarks = _read_parameter(name, list(found.distributions))
        cautions += remarks
        if labels is not None and not labels:
            continue  # What it is cannot be told; the remarks say so.
        if axis is not None and len(found.values) == 1 and settings >= _settings_to_judge(axis):
            cautions.append(f"{name} has a range or choices, but the same value in all trials: it counts as held.")
            axis = None
        parameters[name] = Parameter(columns[name], axis, labels, conditional=found.complete < len(complete))
    is_uneven = any(len(_ranges(found.distributions)) > 1 for found in seen.values())
    return Space(parameters, is_uneven, tuple(cautions))


def _settings_to_judge(axis: AxisSpec) -> int:
    """Complete settings from which a parameter that never varies counts as held."""
    return _ENOUGH_TO_SEE_NO_VARIATION if axis.is_categorical or axis.integer else 2


def _ranges(distributions: Iterable[BaseDistribution]) -> set[tuple[float, float]]:
    """The different ranges among numeric distributions."""
    return {(d.low, d.high) for d in distributions if isinstance(d, FloatDistribution | IntDistribution)}


def _look(trials: Sequence[FrozenTrial], seed: str | None) -> dict[str, _Seen]:
    seen: dict[str, _Seen] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if name == seed:
                continue
            found = seen.setdefault(name, _Seen())
            found.distributions[distribution] = None
            found.complete += trial.state is TrialState.COMPLETE
            if len(found.values) < 2:  # More need not be told apart.
                found.values.add(repr(trial.params[name]))
    return seen


def _count_settings(trials: Iterable[FrozenTrial], seed: str | None) -> int:
    """Different settings, counted as far as it matters."""
    found: set[frozenset[tuple[str, str]]] = set()
    for trial in trials:
        found.add(frozenset((name, repr(value)) for name, value in trial.params.items() if name != seed))
        if len(found) == _ENOUGH_TO_SEE_NO_VARIATION:
            break
    return len(found)


def _read_parameter(
    name: str, distributions: Sequence[BaseDistribution]
) -> tuple[AxisSpec | None, Mapping[str, Value] | None, list[str]]:
    """Its axis, the labels of its choices (none at all if it cannot be used), and remarks."""
    numeric = [d for d in distributions if isinstance(d, FloatDistribution | IntDistribution)]
    categorical = [d for d in distributions if isinstance(d, CategoricalDistribution)]
    if len(numeric) + len(categorical) < len(distributions) or (numeric and categorical):
        return None, {}, [f"{name} is left out: its trials have distributions of several kinds."]
    if categorical:
        return _read_choices(name, [choice for d in categorical for choice in d.choices])
    return _read_range(name, numeric)


def _read_range(
    name: str, distributions: Sequence[FloatDistribution | IntDistribution]
) -> tuple[AxisSpec | None, Mapping[str, Value] | None, list[str]]:
    low, high = min(d.low for d in distributions), max(d.high for d in distributions)
    useless = [f"{name} is left out: its range cannot be divided with the digits of a float."]
    if not _is_finite_number(low) or not _is_finite_number(high):
        return None, {}, useless
    if low == high:
        return None, None, []
    remarks = []
    if len(_ranges(distributions)) > 1:
        remarks.append(
            f"The range of {name} differs between trials: it is taken as {low:g} to {high:g}, which covers them all, "
            "and whose parts were not all equally likely."
        )
    is_log = low > 0 and any(d.log for d in distributions)
    axis = _try_axis(
        lambda: AxisSpec(
            low=float(low),
            high=float(high),
            scale="log" if is_log else "linear",
            integer=all(isinstance(d, IntDistribution) for d in distributions),
        )
    )
    if axis is None:
        return None, {}, useless
    return axis, None, remarks


def _read_choices(name: str, choices: Sequence[Any]) -> tuple[AxisSpec | None, Mapping[str, Value] | None, list[str]]:
    labels = _label_choices(list({repr(choice): choice for choice in choices}.values()))
    if len(labels) == 1:
        return None, labels, []
    axis = _try_axis(lambda: AxisSpec(choices=list(labels.values())))
    if axis is None:
        return None, {}, [f"{name} is left out: {len(labels)} choices are more than an axis can have."]
    is_renamed = any(isinstance(v, str) and key != repr(v) for key, v in labels.items())
    return axis, labels, [f"The choices of {name} are of several kinds; they count as texts."] if is_renamed else []


def _label_choices(choices: Sequence[Any]) -> dict[str, Value]:
    """Choices of one kind as they are, whole numbers as floats; others as texts."""
    labels: list[Value] = [str(choice) for choice in choices]
    if all(isinstance(choice, bool) for choice in choices):
        labels = [bool(choice) for choice in choices]
    elif all(_is_finite_number(choice) for choice in choices):
        labels = [float(choice) for choice in choices]
    if len(set(labels)) < len(choices):
        labels = [repr(choice) for choice in choices]
    return {repr(choice): label for choice, label in zip(choices, labels, strict=True)}


def _is_finite_number(choice: Any) -> bool:
    try:
        return isinstance(choice, int | float) and not isinstance(choice, bool) and math.isfinite(choice)
    except OverflowError:  # A whole number beyond floats.
        return False


def _try_axis(make: Callable[[], AxisSpec]) -> AxisSpec | None:
    try:
        return make()
    except (ValidationError, OverflowError):
        return None
