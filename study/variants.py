"""The update rules that an optimizer's options choose from, where options are axes."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from adai import Hyperparameter, UpdateRule, get_rule
from study.axis import Value

#: Of combinations of options: each is an update rule of its own.
MAX_VARIANTS = 1000

Option = bool | int | float | str


def to_option(value: Value, usual: Option) -> Option:
    """A value of an axis as an option: numbers of a spec are floats, and a rule that counts wants whole ones."""
    counts = type(usual) is int and isinstance(value, float) and value.is_integer()
    return int(value) if counts else value


def to_axis_value(option: Option) -> Value:
    """An option as a value of an axis: whole numbers are floats."""
    return option if isinstance(option, bool | str) else float(option)


@dataclass(frozen=True)
class Variants:
    """All update rules of one optimizer in a study.

    Attributes:
        rules: The usual one first; one for each combination of choices where options are axes.
    """

    rules: tuple[UpdateRule, ...]

    @cached_property
    def hyperparameters(self) -> tuple[Hyperparameter, ...]:
        """Those of all variants, each once; as the usual variant has it, where it does."""
        found: dict[str, Hyperparameter] = {}
        for rule in self.rules:
            for hyperparameter in rule.hyperparameters:
                found.setdefault(hyperparameter.name, hyperparameter)
        return tuple(found.values())

    @cached_property
    def differing(self) -> frozenset[str]:
        """Hyperparameters that some variants lack, or that have another default there."""
        defaults = [{h.name: h.default for h in rule.hyperparameters} for rule in self.rules]
        names = {name for variant in defaults for name in variant}
        return frozenset(name for name in names if len({variant.get(name) for variant in defaults}) > 1)

    @cached_property
    def partial(self) -> frozenset[str]:
        """Hyperparameters that some variants lack."""
        names = [frozenset(h.name for h in rule.hyperparameters) for rule in self.rules]
        return frozenset().union(*names) - names[0].intersection(*names)

    def check(self, name: str, value: float) -> None:
        """Refuse a value of a hyperparameter that a variant does not allow.

        Raises:
            ValueError: It is outside the valid range.
        """
        for rule in self.rules:
            for hyperparameter in rule.hyperparameters:
                if hyperparameter.name == name and not hyperparameter.allows(value):
                    raise ValueError(f"{name} = {value:g} is outside {rule.name}'s range {hyperparameter.valid_range}")


def build_variants(
    usual: UpdateRule, options: Mapping[str, Option], choices: Mapping[str, Sequence[Value]]
) -> Variants:
    """The variants of a rule.

    Args:
        usual: The rule with ``options``.
        options: Those that all variants have.
        choices: For each option that is an axis, its choices.

    Raises:
        ValueError: There are too many, or the rule refuses a choice.
    """
    count = math.prod(len(values) for values in choices.values())
    if count > MAX_VARIANTS:
        raise ValueError(
            f"the options {', '.join(choices)} have {count} combinations; at most {MAX_VARIANTS} are allowed"
        )
    if not choices:
        return Variants((usual,))
    combinations = (dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values()))
    chosen = [
        dict(options) | {name: to_option(value, usual.options[name]) for name, value in combination.items()}
        for combination in combinations
    ]
    return Variants((usual, *(get_rule(usual.name, **variant) for variant in chosen)))
