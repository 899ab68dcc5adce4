"""The search space of one optimizer: what varies, what is held, and which settings are left out."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from adai import Hyperparameter, UpdateRule, get_optimizer, get_rule, list_optimizers
from study.axis import AxisSpec, Value
from study.expressions import Expression, Kind, parse_expression
from study.training import INTEGER_AXES, SCHEDULE, TRAINING_AXES, Strict, check_known, schedule_choices
from study.variants import Option, Variants, build_variants, to_axis_value, to_option


class OptimizerSpec(Strict):
    """One optimizer of the study, its axes and what it holds fixed."""

    name: str
    """An optimizer of the catalog."""
    axes: dict[str, AxisSpec] = Field(default={})
    """What varies: hyperparameter, option, or axis of the training -> range or choices. Empty means the catalog's
    search space, less what is fixed."""
    fixed: dict[str, float] = Field(default={})
    """What is held: hyperparameter -> value. Everything else keeps its default."""
    options: dict[str, Option] = Field(default={})
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
        else:
            self._variants.check(name, value)

    @cached_property
    def _variants(self) -> Variants:
        """The rule for every combination of options that are axes."""
        usual = self.rule
        choices = {name: axis.choices for name, axis in self.axes.items() if name in usual.options}
        return build_variants(usual, self.options, choices)

    @cached_property
    def rule(self) -> UpdateRule:
        """The optimizer's update rule in the variant that the options choose; of options that are axes, the usual."""
        return get_rule(self.name, **self.options)

    def options_of(self, values: Mapping[str, Value]) -> dict[str, Option]:
        """The options of a trial: the spec's, and what it has on axes that are options."""
        usual = self.rule.options
        chosen = {n: to_option(values[n], usual[n]) for n in self.axes if n in usual and n in values}
        return self.options | chosen

    def rule_of(self, values: Mapping[str, Value]) -> UpdateRule:
        """The update rule of a trial that has ``values`` on its axes."""
        return get_rule(self.name, **self.options_of(values)) if self._option_axes else self.rule

    @cached_property
    def _option_axes(self) -> dict[str, Value]:
        """Options that are axes, and what they usually are."""
        return {name: to_axis_value(option) for name, option in self.rule.options.items() if name in self.axes}

    @property
    def hyperparameters(self) -> tuple[Hyperparameter, ...]:
        """The hyperparameters of all variants that the axes choose from, each once."""
        return self._variants.hyperparameters

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
        if not self._option_axes:
            return dict(self._usual_defaults)
        options = {name: values.get(name, usual) for name, usual in self._option_axes.items()}
        return self._defaults_in(self.rule_of(values)) | options

    @cached_property
    def _usual_defaults(self) -> dict[str, Value]:
        return self._defaults_in(self.rule)

    def _defaults_in(self, rule: UpdateRule) -> dict[str, Value]:
        return {h.name: self.fixed.get(h.name, h.default) for h in rule.hyperparameters}

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
        varied = any(other in self._variants.differing for other in (name, *named))
        options = self.rule.options if varied else {}
        return {other for other in self.axes if other in named or other in options}

    @cached_property
    def is_conditional(self) -> bool:
        """Whether some axis varies in some trials only."""
        return bool(self.conditional_axes)

    @cached_property
    def conditional_axes(self) -> frozenset[str]:
        """The axes that vary in some trials only."""
        return frozenset(self._conditions) | (self._variants.partial & frozenset(self.axes))

    def is_active(self, name: str, values: Mapping[str, Value]) -> bool:
        """Whether the axis ``name`` varies where the hyperparameters have ``values``.

        Args:
            name: One of the axes.
            values: At least those of the axes that come before it in :attr:`ordered_axes`.
        """
        condition = self._conditions.get(name)
        if condition is not None and not condition.holds(self._known(values)):
            return False
        return name not in self._variants.partial or any(h.name == name for h in self.rule_of(values).hyperparameters)

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
        options = {name: to_axis_value(value) for name, value in self.rule.options.items()}
        return {h.name: self.fixed.get(h.name, h.default) for h in self.hyperparameters} | options


def _kind_of(value: Any) -> Kind:
    if isinstance(value, bool):
        return "truth value"
    return "text" if isinstance(value, str) else "number"


def _parse(place: str, text: str, kinds: Mapping[str, Kind]) -> Expression:
    try:
        return parse_expression(text, kinds)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
