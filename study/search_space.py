"""The search space of one optimizer: what varies, what is held, and which settings are left out."""

import itertools
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from adai import Hyperparameter, UpdateRule, get_optimizer, get_rule, list_optimizers
from study.axis import AxisSpec, Value
from study.expressions import Expression, Kind, parse_expression
from study.training import INTEGER_AXES, SCHEDULE, TRAINING_AXES, Strict, check_known, schedule_choices

#: Of combinations of options that are axes: each is an update rule of its own.
_MAX_VARIANTS = 1000


class OptimizerSpec(Strict):
    """One optimizer of the study, its axes and what it holds fixed."""

    name: str
    """An optimizer of the catalog."""
    axes: dict[str, AxisSpec] = Field(default={})
    """What varies: hyperparameter, option, or axis of the training -> range or choices. Empty means the catalog's
    search space, less what is fixed."""
    fixed: dict[str, float] = Field(default={})
    """What is held: hyperparameter -> value. Everything else keeps its default."""
    options: dict[str, bool | int | float | str] = Field(default={})
    """Which variant of the optimizer, such as `keep_num = 20` of `adashift`; without it, the usual one."""
    constraints: list[str] = Field(default=[])
    """Conditions that every point of the design meets, such as `beta1 < beta2`."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        check_known("optimizer", name, list_optimizers())
        return name

    @model_validator(mode="before")
    @classmethod
    def _fill_axes(cls, data: Any) -> Any:
        """Write the catalog's search space into the spec, so that a stored spec says all by itself."""
        if not isinstance(data, dict) or data.get("name") not in list_optimizers():
            return data
        fixed = data.get("fixed", {})
        if data.get("axes", {}) != {} or not isinstance(fixed, dict):
            return data
        space = get_optimizer(data["name"]).search_space
        try:
            known = {h.name for h in get_rule(data["name"], **data.get("options", {})).hyperparameters}
        except (TypeError, ValueError, AttributeError):
            known = set(space)  # what is wrong with the options is said when they are checked
        axes = {
            name: {"low": default.low, "high": default.high, "scale": default.scale}
            for name, default in space.items()
            if name not in fixed and name in known
        }
        return {**data, "axes": axes}

    @field_validator("axes", mode="before")
    @classmethod
    def _count_in_whole_numbers(cls, axes: Any) -> Any:
        """Batch sizes and the like are whole numbers without being told so."""
        if not isinstance(axes, dict):
            return axes
        return {
            name: {**axis, "integer": True}
            if name in INTEGER_AXES and isinstance(axis, dict) and not axis.get("choices")
            else axis
            for name, axis in axes.items()
        }

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        try:
            options = get_rule(self.name, **self.options).options
        except TypeError as error:
            raise ValueError(str(error)) from error
        for name, axis in self.axes.items():
            if name not in options:
                continue
            if name in self.options:
                raise ValueError(f"{name} is both an axis and an option; keep one of the two")
            if not axis.is_categorical:
                raise ValueError(f"axes.{name}: is an option of {self.name}; give its choices, not a range")
            kind = _kind_of(options[name])
            if _kind_of(axis.choices[0]) != kind:
                raise ValueError(f"axes.{name}: each choice must be a {kind}, such as {options[name]!r}")
        self._variants  # noqa: B018 - builds each, or says what is wrong with it
        return self

    @model_validator(mode="after")
    def _check_hyperparameters(self) -> Self:
        allowed = tuple(hyperparameter.name for hyperparameter in self.hyperparameters)
        for name in self.axes:
            check_known(
                f"hyperparameter of {self.name}", name, (*allowed, *self.rule.options, *TRAINING_AXES, SCHEDULE)
            )
        for name in self.fixed:
            check_known(f"hyperparameter of {self.name}", name, allowed)
        if not self.axes:
            raise ValueError("no axis is left to vary; remove one from fixed")
        both = sorted(set(self.axes) & set(self.fixed))
        if both:
            raise ValueError(f"{', '.join(both)} is both an axis and fixed; keep one of the two")
        for name, value in self.fixed.items():
            self._check_number(name, value)
        for name, axis in self.axes.items():
            self._check_axis(name, axis)
        return self

    @model_validator(mode="after")
    def _check_conditions(self) -> Self:
        self._conditions  # noqa: B018 - reads every condition, or says what is wrong with it
        self._constraints  # noqa: B018 - the same
        self.ordered_axes  # noqa: B018 - finds circles
        return self

    def _check_axis(self, name: str, axis: AxisSpec) -> None:
        if name == SCHEDULE:
            if not axis.is_categorical:
                raise ValueError(f"axes.{name}: give choices, not a range: {', '.join(schedule_choices())}")
            for choice in axis.choices:
                check_known("schedule", str(choice), schedule_choices())
        elif name not in self.rule.options:
            for value in axis.choices or axis.ends:
                self._check_number(name, value)

    def _check_number(self, name: str, value: Value) -> None:
        if isinstance(value, bool | str):
            raise ValueError(f"{name} = {value!r} is no number; {name} takes numbers only")  # noqa: TRY004 - pydantic's
        if name in TRAINING_AXES:
            low, high = TRAINING_AXES[name]
            if not low <= value <= high:
                raise ValueError(f"{name} = {value:g} is outside its range {low:g} to {high:g}")
            if name in INTEGER_AXES and not value.is_integer():
                raise ValueError(f"{name} = {value:g} must be a whole number")
            return
        for variant in self._variants:
            for hyperparameter in variant.hyperparameters:
                if hyperparameter.name == name and not hyperparameter.allows(value):
                    raise ValueError(f"{name} = {value:g} is outside {self.name}'s range {hyperparameter.valid_range}")

    @cached_property
    def _variants(self) -> tuple[UpdateRule, ...]:
        """The rule for every combination of options that are axes; the usual one first."""
        base = self.rule
        varied = [name for name in self.axes if name in base.options]
        count = 1
        for name in varied:
            count *= len(self.axes[name].choices)
        if count > _MAX_VARIANTS:
            raise ValueError(
                f"the options {', '.join(varied)} have {count} combinations; at most {_MAX_VARIANTS} are allowed"
            )
        combinations = itertools.product(*(self.axes[name].choices for name in varied))
        chosen = (dict(zip(varied, combination, strict=True)) for combination in combinations)
        return (base, *(self.rule_of(values) for values in chosen if values))

    @property
    def rule(self) -> UpdateRule:
        """The optimizer's update rule in the variant that the options choose; of options that are axes, the usual."""
        return get_rule(self.name, **self.options)

    def options_of(self, values: Mapping[str, Value]) -> dict[str, bool | int | float | str]:
        """The options of a trial: the spec's, and what it has on axes that are options."""
        usual = self.rule.options
        options = dict(self.options)
        for name in self.axes:
            if name in usual and name in values:
                value = values[name]
                # Numbers of a spec are floats; a rule that counts wants whole ones.
                counts = type(usual[name]) is int and isinstance(value, float) and value.is_integer()
                options[name] = int(value) if counts else value
        return options

    def rule_of(self, values: Mapping[str, Value]) -> UpdateRule:
        """The update rule of a trial that has ``values`` on its axes."""
        return get_rule(self.name, **self.options_of(values))

    @cached_property
    def hyperparameters(self) -> tuple[Hyperparameter, ...]:
        """The hyperparameters of all variants that the axes choose from, each once."""
        return tuple({h.name: h for variant in reversed(self._variants) for h in variant.hyperparameters}.values())

    @property
    def title(self) -> str:
        """What people call it, with the options that make it a variant."""
        options = ", ".join(f"{name} = {value}" for name, value in self.options.items())
        return f"{get_optimizer(self.name).title} ({options})" if options else get_optimizer(self.name).title

    @property
    def citation(self) -> str:
        """Where it was published."""
        return get_optimizer(self.name).citation

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        """What conditions may speak of."""
        kinds: dict[str, Kind] = {h.name: "number" for h in self.hyperparameters}
        kinds |= {name: "number" for name in self.axes if name in TRAINING_AXES}
        if SCHEDULE in self.axes:
            kinds[SCHEDULE] = "text"
        return kinds | {name: _kind_of(value) for name, value in self.rule.options.items()}

    @cached_property
    def _conditions(self) -> dict[str, Expression]:
        """The conditions of the axes that have one."""
        return {
            name: _parse(f"axes.{name}.when", axis.when, self._kinds) for name, axis in self.axes.items() if axis.when
        }

    @cached_property
    def _constraints(self) -> tuple[Expression, ...]:
        return tuple(_parse(f"constraints[{index}]", text, self._kinds) for index, text in enumerate(self.constraints))

    def defaults_of(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """What a trial that has ``values`` on its option axes has everywhere else: defaults, and what is fixed."""
        usual = self.rule.options
        variant = self.rule_of(values)
        options = {name: values.get(name, _as_value(usual[name])) for name in self.axes if name in usual}
        own = {h.name: self.fixed.get(h.name, h.default) for h in variant.hyperparameters}
        return own | options

    @cached_property
    def ordered_axes(self) -> tuple[str, ...]:
        """All axes, each after those that its condition looks at; else in the spec's order.

        Raises:
            ValueError: Conditions look at each other.
        """
        ordered: list[str] = []
        waiting = list(self.axes)
        while waiting:
            ready = [name for name in waiting if not self._looks_at(name) - set(ordered)]
            if not ready:
                raise ValueError(
                    f"the axes {', '.join(waiting)} depend on each other; a condition (when) may look at axes only "
                    "that do not depend on its own"
                )
            ordered += ready
            waiting = [name for name in waiting if name not in ready]
        return tuple(ordered)

    def _looks_at(self, name: str) -> set[str]:
        """The axes that decide whether ``name`` is active."""
        named = self._conditions[name].names if name in self._conditions else frozenset()
        varied = any(other in self._depends_on_options for other in (name, *named))
        options = self.rule.options if varied else {}
        return {other for other in self.axes if other in named or other in options}

    @cached_property
    def _depends_on_options(self) -> frozenset[str]:
        """Hyperparameters that some variants lack, or that have another default there."""
        defaults = [{h.name: h.default for h in variant.hyperparameters} for variant in self._variants]
        names = {name for variant in defaults for name in variant}
        return frozenset(name for name in names if len({variant.get(name) for variant in defaults}) > 1)

    @cached_property
    def _of_some_variants(self) -> frozenset[str]:
        """Hyperparameters that exist for some options only."""
        names = [frozenset(h.name for h in variant.hyperparameters) for variant in self._variants]
        return frozenset().union(*names) - names[0].intersection(*names)

    @cached_property
    def is_conditional(self) -> bool:
        """Whether some axis varies in some trials only."""
        return bool(self._conditions) or not self._of_some_variants.isdisjoint(self.axes)

    def is_active(self, name: str, values: Mapping[str, Value]) -> bool:
        """Whether the axis ``name`` varies where the hyperparameters have ``values``.

        Args:
            name: One of the axes.
            values: At least those of the axes that come before it in :attr:`ordered_axes`.
        """
        condition = self._conditions.get(name)
        if condition is not None and not condition.holds(self._known(values)):
            return False
        return name not in self._of_some_variants or any(h.name == name for h in self.rule_of(values).hyperparameters)

    def allows(self, values: Mapping[str, Value]) -> bool:
        """Whether a setting meets all constraints; one that has no value there, as x / 0, is not met."""
        if not self._constraints:
            return True
        known = self._known(values)
        return all(constraint.holds(known) for constraint in self._constraints)

    def _known(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """What conditions find: ``values``, and the usual where they say nothing."""
        return self._usual | self.defaults_of(values) | dict(values)

    @cached_property
    def _usual(self) -> dict[str, Value]:
        """Options, and hyperparameters that only other variants have."""
        options = {name: _as_value(value) for name, value in self.rule.options.items()}
        return {h.name: self.fixed.get(h.name, h.default) for h in self.hyperparameters} | options


def _as_value(option: Any) -> Value:
    """An option as a value of an axis: whole numbers are floats."""
    return option if isinstance(option, bool | str) else float(option)


def _kind_of(value: Any) -> Kind:
    if isinstance(value, bool):
        return "truth value"
    return "text" if isinstance(value, str) else "number"


def _parse(place: str, text: str, kinds: Mapping[str, Kind]) -> Expression:
    try:
        return parse_expression(text, kinds)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
