"""Where two results differ: plain data walked side by side."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Two computations of one number may differ by so much: processors round sums in different orders, and hyperparameters
#: of a surrogate are found by an iteration that ends near, not at, the optimum.
RELATIVE = 1e-6
ABSOLUTE = 1e-12


def find_differences(
    first: Any, second: Any, path: str = "", *, names: tuple[str, str] = ("the report", "the computation")
) -> Iterator[str]:
    """One line for each place where plain data (as JSON has it) differs.

    Whole numbers and words are equal or not; other numbers are equal within :data:`RELATIVE` of the larger one or
    :data:`ABSOLUTE`.

    Args:
        first: Such as what stands in a report.
        second: Such as what was computed anew.
        path: Where both stand.
        names: What people call the two.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            place = f"{path}.{key}" if path else str(key)
            if key not in first or key not in second:
                yield f"{place}: only in {names[key not in first]}"
            else:
                yield from find_differences(first[key], second[key], place, names=names)
    elif _is_list(first) and _is_list(second):
        if len(first) != len(second):
            yield f"{path}: {names[0]} has {len(first)} entries, {names[1]} {len(second)}"
        for index, (one, other) in enumerate(zip(first, second, strict=False)):
            yield from find_differences(one, other, f"{path}[{index}]", names=names)
    elif not _equal(first, second):
        yield f"{path}: {names[0]} has {_shown(first)}, {names[1]} {_shown(second)}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _equal(one: Any, other: Any) -> bool:
    if not (_is_number(one) and _is_number(other) and float in (type(one), type(other))):
        return type(one) is type(other) and bool(one == other)
    return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE) or (math.isnan(one) and math.isnan(other))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return f"{value!r:.60}"
