"""Checks specs that come over the web: like a file's, but they run no code, read no file, and take no time."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from study.creation import MOST_RUNS, is_known
from study.errors import SpecError
from study.placement import count_settings, most_settings, place_settings, tried_settings
from study.search_space import OptimizerSpec
from study.spec import StudySpec
from study.spec_file import parse_spec_content, read_toml
from study.storage.claims import find_row

#: Characters of a spec; one without workload files has a few thousand.
MAX_CHARACTERS = 100_000
#: Levels of tables and lists inside each other; a spec has five.
_MAX_DEPTH = 20
#: Points that are looked at to count trials exactly: they take some tenths of a second.
_MOST_TRIED = 20_000
#: Designs whose points are not as many as the spec says, but those that constraints and conditions leave.
_COUNTED = ("grid", "one_at_a_time", "latin_hypercube", "brute_force")
#: Mistakes that are told, and characters of each.
_MOST_PROBLEMS = 50
_PROBLEM_CHARACTERS = 1000
_SOURCE = "the spec"
#: Dots in a line, but for those of numbers.
_MAX_DOTS = 100
_FLOAT = re.compile(r"(?<![\w.])\d++\.\d++(?![\w.])")


@dataclass(frozen=True, slots=True)
class TrialCount:
    """How many trials a study has, the default settings among them.

    Attributes:
        cells: Workload and optimizer -> trials.
        is_exact: Whether they are not only upper limits.
    """

    cells: dict[tuple[str, str], int]
    is_exact: bool

    @property
    def trials(self) -> int:
        """All of them."""
        return sum(self.cells.values())


def read_web_spec(*, toml: str | None = None, content: Mapping[str, Any] | None = None) -> StudySpec:
    """The spec that somebody sent.

    Args:
        toml: The text of its file.
        content: Or the spec as JSON.

    Raises:
        SpecError: Both or none are given, it is too large, it has Python files, or it describes no study; its
            ``problems`` are those that the command line tells, a bounded number of them.
    """
    if (toml is None) == (content is None):
        raise SpecError("give either toml, the text of the spec's file, or spec, the same as JSON")
    try:
        return _read(toml, content)
    except SpecError as error:
        raise _bounded(error) from error


def _read(toml: str | None, content: Mapping[str, Any] | None) -> StudySpec:
    given = dict(content or {}) if toml is None else read_toml(_check_text(toml), source=_SOURCE)
    _check_plain(given)
    if content is not None:
        _check_length(json.dumps(given))
    if given.pop("workload_files", None):
        raise SpecError(
            "workload_files: Python files are not taken over the web, as they would run on the server; submit such a "
            "study on the server's machine with: adai-study submit SPEC"
        )
    return parse_spec_content(given, source=_SOURCE)


def _check_text(text: str) -> str:
    """Refuse what Python's reader of TOML would take minutes for: names of thousands of parts, as in ``a.a.a = 1``.

    Such a name cannot go on in the next line, and has dots that are not those of numbers.
    """
    for number, line in enumerate(_check_length(text).split("\n"), start=1):
        dots = line.count(".")
        if dots > _MAX_DOTS and dots - len(_FLOAT.findall(line)) > _MAX_DOTS:
            raise SpecError(f"line {number} has more than {_MAX_DOTS} dots, those of numbers not counted; break it")
    return text


def _check_length(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise SpecError(f"the spec has {len(text):,} characters, and {MAX_CHARACTERS:,} are the most; make it shorter")
    return text


def _check_plain(content: dict[str, Any]) -> None:
    """Refuse depth that no spec has, and texts and numbers that no database has room for."""
    level: list[Any] = [content]
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value, *value.values()]
            elif isinstance(value, list):
                below += value
            else:
                _check_value(value)
        level = below
    if level:
        raise SpecError(f"tables and lists are more than {_MAX_DEPTH} levels inside each other; a spec has five")


def _check_value(value: Any) -> None:
    if isinstance(value, str) and ("\0" in value or (not value.isascii() and _has_surrogates(value))):
        raise SpecError(f"the text {value[:60]!r} has characters that cannot be stored; leave them out")
    if isinstance(value, int) and value.bit_length() > 1024:
        raise SpecError("a number is larger than any float; the largest is 1.8e308")


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def count_trials(spec: StudySpec) -> TrialCount:
    """How many trials a study has: exactly where that is quickly counted, else at most.

    Raises:
        SpecError: It has too many runs, or its constraints leave too few points.
    """
    cells: dict[tuple[str, str], int] = {}
    is_exact, looked_at = True, 0
    for optimizer in spec.optimizers:
        cost = tried_settings(optimizer, spec.design) * (1 + len(optimizer.constraints))
        for workload in spec.workloads:
            looked_at += cost
            if cost == 0 or looked_at > _MOST_TRIED:
                is_exact &= cost == 0 or spec.design.kind not in _COUNTED
                cells[workload, optimizer.name] = 1 + most_settings(optimizer, spec.design)
            else:
                cells[workload, optimizer.name] = 1 + _count(spec, workload, optimizer)
    count = TrialCount(cells, is_exact)
    runs = count.trials * spec.seeds
    if runs > MOST_RUNS:
        told = f"{runs:,}" if is_exact else f"up to {runs:,}"
        raise SpecError(f"the study has {told} runs, and {MOST_RUNS:,} are the most; use fewer points or seeds")
    return count


def _count(spec: StudySpec, workload: str, optimizer: OptimizerSpec) -> int:
    defaults = spec.training_defaults(workload, optimizer)
    if spec.design.is_adaptive:
        return count_settings(optimizer, spec.design, spec.study_seed, defaults)
    return len(place_settings(optimizer, spec.design, spec.study_seed, defaults))


def find_same(connection: Connection, spec: StudySpec) -> str | None:
    """The state of the study of this spec, if it is there; None if not.

    Raises:
        SpecError: A study with another spec has its name.
    """
    return str(find_row(connection, spec.name).state) if is_known(connection, spec) else None


def _bounded(error: SpecError) -> SpecError:
    problems = [
        text if len(text) <= _PROBLEM_CHARACTERS else f"{text[:_PROBLEM_CHARACTERS]}..." for text in error.problems
    ]
    if len(problems) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [f"and {len(problems) - _MOST_PROBLEMS} more mistakes"]
    message = (
        problems[0]
        if len(problems) == 1
        else f"{_SOURCE}: has {len(error.problems)} mistakes; the first: {problems[0]}"
    )
    return SpecError(message, problems)
