"""One axis of the search space: a range of numbers, or a list of choices."""

import math
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from adai import Scale
from study.training import Strict

#: What a hyperparameter, an option or an axis may be. Whole numbers are floats, too.
Value = float | bool | str


class AxisSpec(Strict):
    """The range of one hyperparameter, both ends included, or the values that it may take."""

    low: float | None = None
    """Smallest value."""
    high: float | None = None
    """Largest value."""
    scale: Scale = "linear"
    """How values spread: `linear`, `log` (of x), or `log1m` (log of 1 - x, for decays near 1)."""
    integer: bool = False
    """Whole numbers only; always so for `batch_size`, `epochs` and `limit_train`."""
    choices: Annotated[list[bool | float | str], Field(max_length=1000)] = Field(default=[])
    """Instead of a range: all values that are tried, at least two, all numbers, all texts or all true and false."""
    when: str = ""
    """The axis varies only in trials where this condition holds; in the others it keeps its default."""

    @field_validator("choices", mode="before")
    @classmethod
    def _check_kinds(cls, choices: Any) -> Any:
        for choice in choices if isinstance(choices, list) else ():
            if not _is_value(choice):
                raise ValueError(f"{choice!r:.60} cannot be a choice; allowed: finite numbers, texts, true and false")
        return choices

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        if "choices" in self.model_fields_set and (self.choices or self.low is None):
            self._check_choices()
        elif self.low is None or self.high is None:
            raise ValueError(f"{'low' if self.low is None else 'high'} is missing; give low and high, or choices")
        else:
            self._check_range(self.low, self.high)
        return self

    def _check_choices(self) -> None:
        for name, given in (("low", self.low), ("high", self.high)):
            if given is not None:
                raise ValueError(f"{name} and choices exclude each other; keep the range or the choices")
        if self.scale != "linear" or self.integer:
            raise ValueError("choices have neither scale nor integer; leave both out")
        if len({type(choice) for choice in self.choices}) > 1:
            raise ValueError(f"the choices {self.choices} are of several kinds; take numbers, texts, or true and false")
        if len(set(self.choices)) < max(len(self.choices), 2):
            raise ValueError(f"the choices {self.choices} must be at least two, all different")

    def _check_range(self, low: float, high: float) -> None:
        if not low < high:
            raise ValueError(
                f"the range {low:g} to {high:g} is empty; low must be below high (for one value, write it under fixed)"
            )
        if self.scale == "log" and low <= 0:
            raise ValueError(f"a log range cannot reach {low:g}; low must be above 0, or scale linear")
        if self.integer and not (low.is_integer() and high.is_integer()):
            raise ValueError(f"the ends of {low:g} to {high:g} must be whole numbers, as all values between")
        if self.scale == "log1m" and high >= 1:
            raise ValueError(f"a log1m range cannot reach {high:g}; high must be below 1, or scale linear")
        width = self.scaled(high) - self.scaled(low)
        if not 0 < width < math.inf:
            raise ValueError(
                f"the range {low!r} to {high!r} cannot be divided on the scale {self.scale} "
                "with the digits of a float; choose ends that are further apart, or nearer if they are huge"
            )

    @property
    def is_categorical(self) -> bool:
        """Whether it has choices, not a range."""
        return bool(self.choices)

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest value of a range.

        Raises:
            ValueError: The axis has choices.
        """
        if self.low is None or self.high is None:
            raise ValueError(f"an axis with the choices {self.choices} has no ends")
        return self.low, self.high

    def scaled(self, value: float) -> float:
        """``value`` on the axis's scale, increasing: itself, its log, or -log(1 - value)."""
        if self.scale == "log":
            return math.log(value)
        if self.scale == "log1m":
            return -math.log(1.0 - value)
        return value

    def contains(self, value: Value) -> bool:
        """Whether ``value`` is one of the choices, or a number that lies in the range."""
        if self.is_categorical:
            return any(type(choice) is type(value) and choice == value for choice in self.choices)
        low, high = self.ends
        return not isinstance(value, str) and low <= value <= high


def _is_value(choice: Any) -> bool:
    try:
        return isinstance(choice, str) or (isinstance(choice, bool | int | float) and math.isfinite(choice))
    except OverflowError:  # a whole number beyond floats
        return False


def format_value(value: Value) -> str:
    """A value as people read it: ``true``, ``cosine``, or a number with the digits that tell 0.99999 from 1."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:.6g}"
