"""Where every run of a study stands, as far as its driver needs to know."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, exists, select

from study.storage.tables import runs, trials
from workers.messages import RunOutcome, Termination


@dataclass(slots=True)
class RunState:
    """One run, as the database has it.

    Attributes:
        id: Its key.
        trial_id: Its trial.
        seed: Its seed index.
        termination: Why it ended; None while it has not.
        epochs: Epochs trained when it ended or paused; 0 before.
        objective: Objective then, capped at chance level; None before, and for a run without a result.
        test_error: Test error at the end; None where there is none.
    """

    id: int
    trial_id: int
    seed: int
    termination: Termination | None = None
    epochs: int = 0
    objective: float | None = None
    test_error: float | None = None


class RunBook:
    """The runs of a study, by id and by trial."""

    def __init__(self, states: Iterable[RunState] = ()) -> None:
        self._runs: dict[int, RunState] = {}
        self._by_trial: dict[int, list[RunState]] = defaultdict(list)
        self.add(states)

    def add(self, states: Iterable[RunState]) -> None:
        """More runs, those of a trial in the order of their seeds."""
        for run in states:
            self._runs[run.id] = run
            self._by_trial[run.trial_id].append(run)

    def __iter__(self) -> Iterator[RunState]:
        return iter(self._runs.values())

    def __getitem__(self, run_id: int) -> RunState:
        return self._runs[run_id]

    def of_trial(self, trial_id: int) -> Sequence[RunState]:
        """The runs of a trial, by seed."""
        return self._by_trial[trial_id]

    def has_ended(self, trial_id: int) -> bool:
        """Whether all runs of a trial have ended."""
        return all(run.termination is not None for run in self._by_trial[trial_id])

    def note_outcomes(self, outcomes: Iterable[RunOutcome], paused: Mapping[int, tuple[int, float]]) -> list[RunState]:
        """A batch ended.

        Args:
            outcomes: Of the runs that ended.
            paused: For each run that paused, its epochs and its objective.

        Returns:
            The runs that ended.
        """
        for run_id, (epochs, objective) in paused.items():
            self._runs[run_id].epochs, self._runs[run_id].objective = epochs, objective
        ended = []
        for outcome in outcomes:
            run = self._runs[outcome.run_id]
            run.termination, run.epochs = outcome.termination, outcome.epochs
            run.objective, run.test_error = outcome.objective, outcome.test_error
            ended.append(run)
        return ended

    def note_pruned(self, run_ids: Iterable[int]) -> list[RunState]:
        """Runs stop where they stand; returns them."""
        pruned = [self._runs[run_id] for run_id in run_ids]
        for run in pruned:
            run.termination = Termination.PRUNED
        return pruned

    def note_failed(self, trial_ids: Collection[int], termination: Termination) -> list[RunState]:
        """The open runs of trials end without a result; returns them."""
        failed = [run for trial_id in trial_ids for run in self._by_trial[trial_id] if run.termination is None]
        for run in failed:
            run.termination, run.objective = termination, None
        return failed

    def objectives(self, trial_id: int, seeds: Iterable[int]) -> list[float] | None:
        """The objectives of a trial's runs with ``seeds`` as they stand; None if one has none."""
        found = [self._by_trial[trial_id][seed].objective for seed in seeds]
        known = [value for value in found if value is not None]
        return known if len(known) == len(found) else None


def read_run_states(connection: Connection, study_id: int, *, after: int = 0) -> list[RunState]:
    """The runs of a study with ids above ``after``, by trial and seed."""
    names = ("id", "trial_id", "seed", "termination", "epochs", "objective", "test_error")
    query = (
        select(*(runs.c[name] for name in names))
        .join(trials)
        .where(trials.c.study_id == study_id, runs.c.id > after)
        .order_by(runs.c.trial_id, runs.c.seed)
    )
    return [
        RunState(
            row.id,
            row.trial_id,
            row.seed,
            None if row.termination is None else Termination[row.termination],
            row.epochs or 0,
            row.objective,
            row.test_error,
        )
        for row in connection.execute(query)
    ]


def find_pending(connection: Connection, study_id: int) -> list[int]:
    """Optuna ids of the trials of a study whose runs have not all ended."""
    is_open = exists().where(runs.c.trial_id == trials.c.id, runs.c.termination.is_(None))
    query = select(trials.c.optuna_trial_id).where(trials.c.study_id == study_id, is_open)
    return list(connection.execute(query).scalars())
