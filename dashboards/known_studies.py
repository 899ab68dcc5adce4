"""Studies that requests name: their version in the database, their spec, and what follows from it."""

import time
from dataclasses import dataclass, field

from sqlalchemy import Connection

from dashboards.api.problems import ProblemError
from dashboards.context import Context
from dashboards.recent import Recent
from study.live_landscape import find_sample_fault
from study.search_space import OptimizerSpec
from study.spec import StudySpec
from study.storage.landscape_points import StudyVersion, find_version
from study.storage.progress import unknown_study
from study.storage.records import find_study

#: Specs are some kilobytes each.
_MOST = 200
#: A study that runs is looked at anew no earlier.
_REST_SECONDS = 2.0


@dataclass(frozen=True, eq=False)
class KnownSpec:
    """A spec, which never changes, and what follows from it.

    Attributes:
        spec: The spec.
        fault: Why the points of such a study do not stand for the search space; None if they do.
    """

    spec: StudySpec
    fault: str | None

    def workload(self, name: str | None) -> str:
        """A workload of the study; the first one without a name.

        Raises:
            ProblemError: 404, with those that there are.
        """
        if name and name not in self.spec.workloads:
            raise unknown("workload", name, self.spec.workloads, self.spec.name)
        return name or self.spec.workloads[0]

    def optimizers(self, names: list[str]) -> list[OptimizerSpec]:
        """Optimizers of the study in its order, each once; all without names.

        Raises:
            ProblemError: 404, with those that there are.
        """
        known = [optimizer.name for optimizer in self.spec.optimizers]
        for name in names:
            if name not in known:
                raise unknown("optimizer", name, known, self.spec.name)
        return [optimizer for optimizer in self.spec.optimizers if not names or optimizer.name in names]


@dataclass(frozen=True, eq=False)
class _Part:
    specs: Recent[tuple[int, str], KnownSpec] = field(default_factory=lambda: Recent(_MOST))
    running: dict[int, tuple[StudyVersion, float]] = field(default_factory=dict)

    def settle(self, version: StudyVersion) -> StudyVersion:
        """The version as it is taken for a moment: a driver has many transactions a second."""
        if version.state != "running":
            self.running.pop(version.id, None)
            return version
        known, since = self.running.get(version.id, (version, -_REST_SECONDS))
        if known.spec_hash == version.spec_hash and time.monotonic() - since < _REST_SECONDS:
            return known
        self.running[version.id] = (version, time.monotonic())
        return version


def find_known(context: Context, connection: Connection, name: str) -> tuple[StudyVersion, KnownSpec]:
    """The study called ``name`` as it is now; while it runs, as it was at most a moment ago.

    Raises:
        UnknownStudyError: There is none; the message lists those there are.
        DatabaseError: Its spec cannot be read by this version.
    """
    version = find_version(connection, name)
    if version is None:
        raise unknown_study(connection, name)
    part: _Part = context.parts.setdefault("known studies", _Part())

    def read() -> KnownSpec:
        spec = find_study(connection, name).spec
        return KnownSpec(spec, find_sample_fault(spec))

    return part.settle(version), part.specs.get((version.id, version.spec_hash), read)


def unknown(kind: str, name: str, known: list[str], study: str) -> ProblemError:
    """The problem that a study has no such workload, optimizer or axis."""
    listed = ", ".join(known[:50]) + (", …" if len(known) > 50 else "")
    return ProblemError(404, f"Unknown {kind}", f"study {study!r} has no {kind} {name!r:.100}; it has {listed}")
