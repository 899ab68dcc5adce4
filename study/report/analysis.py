"""Everything that a report computes, part by part: from observations to frozen dataclasses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from study.report.cells import CellParts, measure_cell
from study.report.measures.audit.audit import Audit, measure_audit
from study.report.measures.comparison.budget import BudgetComparison, measure_budget
from study.report.measures.comparison.profiles import ProfileComparison, measure_profiles
from study.report.measures.comparison.seed_tests import SeedTests, measure_seed_tests
from study.report.measures.comparison.workload_tests import WorkloadTests, measure_workload_tests
from study.report.measures.endings import Endings, count_endings
from study.report.measures.flatness.flatness import Flatness, measure_flatness
from study.report.measures.importance.importance import CellImportance
from study.report.measures.landscape.records import CellLandscape
from study.report.measures.robustness.local import LocalTable, measure_local
from study.report.measures.robustness.robustness import RobustnessTable, measure_robustness
from study.report.measures.robustness.sensitivity import SensitivityTable, measure_sensitivity
from study.report.measures.robustness.transfer import TransferTable, measure_transfer
from study.report.measures.surrogate import Surrogate
from study.report.observations import Cell, Observations, StudyInfo
from study.report.part_cache import PartCache, hash_cell, hash_study
from study.report.processes import Job, count_processors, do_all
from study.report.steps import Steps

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a reader may choose.

    Attributes:
        tolerance: eps: a point is good if its mean objective lies at most this share of the way from the best of any
            optimizer to chance level; above 0, below 1.
        rope: Differences of test error, or of the objective, that are taken for equal; at least 0.
    """

    tolerance: float = 0.05
    rope: float = 0.01


@dataclass(frozen=True, slots=True)
class Analysis:
    """Every number of a report."""

    endings: Endings
    robustness: RobustnessTable
    local: LocalTable
    landscapes: tuple[CellLandscape, ...]
    importances: tuple[CellImportance, ...]
    sensitivity: SensitivityTable
    transfer: TransferTable
    budget: BudgetComparison
    profiles: ProfileComparison
    seed_tests: SeedTests
    workload_tests: WorkloadTests
    audit: Audit
    flatness: Flatness


#: With fewer points in all cells together, the start of other processes takes longer than they save.
_WORTH = 150


def analyse(observations: Observations, settings: Settings, *, cache: PartCache, steps: Steps) -> Analysis:
    """Compute everything, parts that are in ``cache`` excepted, in as many processes as there are processors.

    Args:
        observations: A study.
        settings: What the reader chose.
        cache: What was computed before.
        steps: Told of every part.
    """
    wholes = _Wholes(observations, settings, cache)
    cells = [_CellJob(cell, observations.info, cache) for cell in observations.cells]
    needed = [job for job in cells if job.is_missing or wholes.needs_surrogates]
    jobs: list[Job[Any]] = [Job(job.name, job.work) for job in needed]
    jobs += [Job(name, compute) for name, compute in wholes.missing.items()]
    steps.start("computing", len(jobs) + len(wholes.of_surrogates))
    points = sum(int(cell.design_N.sum()) for cell in observations.cells)
    processes = count_processors() if points >= _WORTH else 1
    done = do_all(jobs, processes=processes, on_done=steps.done)
    for job, parts in zip(needed, done, strict=False):
        job.keep(parts)
    wholes.keep(dict(zip(wholes.missing, done[len(needed) :], strict=True)))
    surrogates = {(job.cell.workload, job.cell.optimizer): job.surrogate for job in cells}
    wholes.finish(surrogates, steps)
    return Analysis(
        landscapes=tuple(job.landscape for job in cells),
        importances=tuple(job.importance for job in cells),
        **wholes.parts,
    )


class _CellJob:
    """The parts of one cell: those that are kept, and what computes the others."""

    def __init__(self, cell: Cell, info: StudyInfo, cache: PartCache) -> None:
        self.cell = cell
        self.name = f"{cell.optimizer} on {cell.workload}"
        self.surrogate: Surrogate | None = None
        self._info, self._cache = info, cache
        self._source = hash_cell(cell, info.is_sample)
        self._landscape = cache.find(CellLandscape, self._source)
        self._importance = cache.find(CellImportance, self._source)

    @property
    def is_missing(self) -> bool:
        """Whether something has to be computed."""
        return self._landscape is None or self._importance is None

    @property
    def work(self) -> Callable[[], CellParts]:
        """What computes the parts that are missing."""
        wanted = {"landscape": self._landscape is None, "importance": self._importance is None}
        return partial(measure_cell, self.cell, self._info, **wanted)

    def keep(self, parts: CellParts) -> None:
        """Take what was computed."""
        self.surrogate = parts.surrogate
        if parts.landscape is not None:
            self._landscape = self._cache.keep(CellLandscape, self._source, parts.landscape)
        if parts.importance is not None:
            self._importance = self._cache.keep(CellImportance, self._source, parts.importance)

    @property
    def landscape(self) -> CellLandscape:
        """The cell's curves and maps."""
        return _present(self._landscape)

    @property
    def importance(self) -> CellImportance:
        """Which of the cell's axes matter."""
        return _present(self._importance)


class _Wholes:
    """The parts about a whole study: those that are kept, and what computes the others."""

    def __init__(self, observations: Observations, settings: Settings, cache: PartCache) -> None:
        self._observations, self._settings, self._cache = observations, settings, cache
        self._source = hash_study(observations.info, observations.runs, observations.curvature, settings)
        tolerance = settings.tolerance
        computed: dict[str, tuple[type, Callable[[], Any]]] = {
            "budget": (BudgetComparison, partial(measure_budget, observations)),
            "flatness": (Flatness, partial(measure_flatness, observations)),
            "audit": (Audit, partial(measure_audit, observations, tolerance)),
            "workload_tests": (WorkloadTests, partial(measure_workload_tests, observations, settings.rope)),
            "robustness": (RobustnessTable, partial(measure_robustness, observations, tolerance=tolerance)),
            "seed_tests": (SeedTests, partial(measure_seed_tests, observations)),
            "profiles": (ProfileComparison, partial(measure_profiles, observations)),
            "endings": (Endings, partial(count_endings, observations)),
        }
        self._kinds = {name: kind for name, (kind, _) in computed.items()} | _OF_SURROGATES
        found = {name: cache.find(kind, self._source) for name, kind in self._kinds.items()}
        self.parts: dict[str, Any] = {name: part for name, part in found.items() if part is not None}
        self.missing = {name: compute for name, (_, compute) in computed.items() if name not in self.parts}
        self.of_surrogates = [name for name in _OF_SURROGATES if name not in self.parts]

    @property
    def needs_surrogates(self) -> bool:
        """Whether a part has to be computed that needs the surrogate of every cell."""
        return bool(self.of_surrogates)

    def keep(self, parts: Mapping[str, Any]) -> None:
        """Take what was computed."""
        for name, part in parts.items():
            self.parts[name] = self._cache.keep(self._kinds[name], self._source, part)

    def finish(self, surrogates: Mapping[tuple[str, str], Surrogate | None], steps: Steps) -> None:
        """Compute what needs the surrogate of every cell."""
        tolerance = self._settings.tolerance
        compute: dict[str, Callable[[], Any]] = {
            "sensitivity": lambda: measure_sensitivity(self._observations, surrogates, tolerance=tolerance),
            "local": lambda: measure_local(self._observations, surrogates),
            "transfer": lambda: measure_transfer(self._observations, surrogates),
        }
        with threadpool_limits(1):
            for name in self.of_surrogates:
                self.keep({name: compute[name]()})
                steps.done(name)


#: Parts about a whole study that need the surrogate of every cell.
_OF_SURROGATES: dict[str, type] = {"sensitivity": SensitivityTable, "local": LocalTable, "transfer": TransferTable}


def _present(part: _Part | None) -> _Part:
    if part is None:
        raise RuntimeError("a part of the report was not computed")  # it is asked for before it was
    return part
