"""Reports of studies: written as the command does it, read back, and tampered with."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_observations import LR, make_observations
from sqlalchemy import Engine

from study.report.analysis import Settings
from study.report.folder import MANIFEST, hash_files
from study.report.observations import Observations
from study.report.part_cache import PartCache
from study.report.report import Report, load_report
from study.report.reporting import report_study, write_observations
from study.report.steps import QuietSteps, Steps

#: Keys and places from the root of plain data to one value.
Place = tuple[str | int, ...]


def write_study_report(engine: Engine, name: str, folder: Path, **settings: float) -> Report:
    """Write a study's report without any cache, and read it back."""
    report_study(engine, name, folder, Settings(**settings), cache=PartCache.none(), steps=QuietSteps())
    return load_report((folder / "report.json").read_bytes())


def made_study(shift: float = 0.0, *, optimizers: str = "ab", **changes: Any) -> Observations:
    """Optimizers on one workload along the learning rate, quick to report; each is worse by ``shift`` than the last."""
    functions = {
        ("bowl", name): lambda unit, n=n: 0.1 + n * shift + 2.0 * (unit[:, 0] - 0.4 - 0.1 * n) ** 2
        for n, name in enumerate(optimizers)
    }
    fields = {"axes": {"lr": LR}, "points": 6, "seeds": 2, "noise": 0.01, "diverge_above": 0.5, "source": "optuna"}
    return make_observations(functions, **(fields | changes))


def write_made_report(
    observations: Observations,
    folder: Path,
    *,
    cache: PartCache | None = None,
    steps: Steps | None = None,
    **settings: float,
) -> Report:
    """Write the report of observations, and read it back."""
    write_observations(
        observations, folder, Settings(**settings), cache=cache or PartCache.none(), steps=steps or QuietSteps()
    )
    return load_report((folder / "report.json").read_bytes())


class ListedSteps(QuietSteps):
    """Remembers the steps of each stage."""

    def __init__(self) -> None:
        self.stages: dict[str, list[str]] = {}

    def start(self, what: str, total: int) -> None:
        """See :class:`study.report.steps.Steps`."""
        del total
        self.stages[what] = []

    def done(self, name: str) -> None:
        """See :class:`study.report.steps.Steps`."""
        self.stages[list(self.stages)[-1]].append(name)


def files_of(folder: Path) -> dict[str, bytes]:
    """Path of every file below a folder -> its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def renew_hashes(folder: Path) -> None:
    """Make the manifest fit the files, as somebody does it who wants a change to go unnoticed."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = hash_files(folder)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def find_leaves(content: Any, place: Place = ()) -> Iterator[Place]:
    """Where in plain data there are numbers, words, truth values and nulls."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from find_leaves(value, (*place, key))
    else:
        yield place


def name_place(place: Place) -> str:
    """A place as differences name it, such as ``analysis.robustness.rows[0].runs``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).removeprefix(".")


def at(content: Any, place: Sequence[str | int]) -> Any:
    """What stands at a place."""
    for key in place:
        content = content[key]
    return content


def change_leaf(content: Any, place: Place, rng: np.random.Generator) -> None:
    """Put something else of the same kind at a place."""
    at(content, place[:-1])[place[-1]] = _another(at(content, place), rng)


def _another(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + int(rng.choice([-1, 1]))
    if isinstance(value, float):
        return value * rng.uniform(1.001, 2.0) + float(rng.choice([0.001, -0.001]))
    return f"{value} indeed" if isinstance(value, str) else 0.5
