"""Reads a study spec from its TOML file; every mistake is listed with its place before anything is written."""

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from study.axis import AxisSpec
from study.design_spec import DesignSpec, PruningSpec
from study.errors import SpecError
from study.search_space import OptimizerSpec
from study.spec import StudySpec
from study.specs import list_shipped_specs, read_shipped_spec
from study.training import CurvatureSpec, TrainingSpec

#: Of a wrong value, what a message shows.
_SHOWN_CHARACTERS = 60


def load_spec(path: Path) -> StudySpec:
    """Read and validate a study spec.

    Raises:
        SpecError: The file cannot be read, is not TOML, or does not describe a study; lists every mistake.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SpecError(
            f"{path}: there is no such file; write one with `adai-study init {path}` "
            "or copy a shipped one: `adai-study specs`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    return parse_spec(text, source=str(path), folder=path.parent)


def load_named_spec(name: str) -> StudySpec:
    """Read a study spec from the file at a path, or the shipped one of that name where there is no such file.

    Raises:
        SpecError: There is neither, or it does not describe a study.
    """
    path = Path(name)
    if not path.exists() and name in list_shipped_specs():
        return parse_spec(read_shipped_spec(name), source=name)
    if not path.exists():
        raise SpecError(
            f"{name}: there is no such file, and no shipped spec of that name ({', '.join(list_shipped_specs())})"
        )
    return load_spec(path)


def parse_spec(text: str, *, source: str, folder: Path = Path()) -> StudySpec:
    """Validate the text of a study spec.

    Args:
        text: TOML.
        source: Names it in messages.
        folder: Where the paths of its workload files start.

    Raises:
        SpecError: As for :func:`load_spec`.
    """
    content = read_toml(text, source=source)
    files = content.get("workload_files", [])
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise SpecError(
            f"{source}: is not a study spec:\n  workload_files: must be a list of paths of Python files, such as "
            f'["my_workload.py"], not {files!r:.60}'
        )
    if "workload_files" in content:
        content["workload_files"] = {name: _read_workload_file(folder, name, source) for name in files}
    return parse_spec_content(content, source=source)


def read_toml(text: str, *, source: str) -> dict[str, Any]:
    """What a TOML text says.

    Raises:
        SpecError: It is not TOML.
    """
    try:
        return tomllib.loads(text)
    # Beside TOMLDecodeError, a ValueError: Python refuses integers of thousands of digits, and deep nesting.
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source}: is not valid TOML: {error}") from error


def _read_workload_file(folder: Path, name: Any, source: str) -> str:
    try:
        return Path(folder, name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise SpecError(
            f"{source}: workload_files: {name!r} cannot be read ({error}); "
            "give paths of Python files, relative to the spec"
        ) from error


def parse_spec_content(content: dict[str, Any], *, source: str) -> StudySpec:
    """Validate a study spec that was read, whose workload files are there as texts.

    Args:
        content: As from TOML or JSON.
        source: Names it in messages.

    Raises:
        SpecError: It does not describe a study; lists every mistake.
    """
    try:
        return StudySpec.model_validate(content)
    except ValidationError as error:
        problems = [_describe(problem) for problem in error.errors()]
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise SpecError(f"{source}: is not a study spec:\n{lines}", problems) from error


def limit_train_of(spec: StudySpec, examples: int) -> StudySpec:
    """The same study on at most ``examples`` training examples: another study, with another hash.

    Raises:
        SpecError: The number is not allowed.
    """
    varied = [optimizer.name for optimizer in spec.optimizers if "limit_train" in optimizer.axes]
    if varied:
        raise SpecError(f"--limit-train: limit_train is an axis of {', '.join(varied)}; leave one of the two out")
    content = spec.model_dump(mode="json")
    content["training"]["limit_train"] = examples
    return parse_spec_content(content, source="--limit-train")


def _describe(problem: Any) -> str:
    """One mistake as ``path.to[0].key: what is wrong``."""
    location = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "extra_forbidden":
        allowed = list(_model_at(problem["loc"][:-1]).model_fields)
        key = str(problem["loc"][-1])
        near = difflib.get_close_matches(key, allowed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        if key in TrainingSpec.model_fields and len(problem["loc"]) == 1:
            hint = "it belongs under [training]; "
        elif key in StudySpec.model_fields and problem["loc"][0] == "training":
            hint = "it belongs to the top of the spec; "
        return f"{location}: unknown key; {hint}allowed: {', '.join(allowed)}"
    if problem["type"] == "missing":
        return f"{location}: is missing"
    given = _show(problem["input"])
    if problem["type"] in ("model_type", "dict_type"):
        return f"{location}: must be a table with keys, not {given}; `adai-study init FILE` shows the form"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] != "value_error" and not isinstance(problem["input"], dict | list):
        message += f", not {given}"
    return f"{location}: {message}" if location else message


def _show(value: Any) -> str:
    try:
        text = repr(value)
    # Hexadecimal numbers of thousands of digits, and tables deep inside each other, are read but not written.
    except (ValueError, RecursionError):
        return f"a value that is too {'large' if isinstance(value, int) else 'deep'} to be shown"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that holds the keys at ``location`` of a spec."""
    if not location:
        return StudySpec
    if location[0] == "design":
        return DesignSpec
    if location[0] == "pruning":
        return PruningSpec
    if location[0] == "training":
        return CurvatureSpec if "curvature" in location else TrainingSpec
    return AxisSpec if "axes" in location else OptimizerSpec
