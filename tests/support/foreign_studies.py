"""Optuna studies as other people make them, in databases and journals of every kind."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.pool import NullPool

from study.report.foreign.from_optuna import read_optuna
from study.report.observations import Cell, Observations, observe

optuna.logging.set_verbosity(optuna.logging.ERROR)

LR = FloatDistribution(1e-4, 1.0, log=True)
BETA = FloatDistribution(0.0, 1.0)
#: Some values of (lr, beta).
SPREAD = [(0.001, 0.1), (0.01, 0.2), (0.1, 0.3), (1.0, 0.4)]


@contextlib.contextmanager
def opened(url: str) -> Iterator[optuna.storages.BaseStorage]:
    """Optuna's own storage; nothing of it stays open."""
    if url.startswith("journal:"):
        yield optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(url.removeprefix("journal:")))
        return
    storage = optuna.storages.RDBStorage(url, {"poolclass": NullPool})
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def optimize(
    url: str,
    name: str,
    objective: Callable[[optuna.Trial], float],
    *,
    trials: int = 8,
    sampler: optuna.samplers.BaseSampler | None = None,
    enqueue: Sequence[Mapping[str, Any]] = (),
    **options: Any,
) -> None:
    """Make a study and run it; errors of the objective are failures."""
    with opened(url) as storage:
        sampler = sampler or optuna.samplers.RandomSampler(seed=1)
        study = optuna.create_study(storage=storage, study_name=name, sampler=sampler, **options)
        for params in enqueue:
            study.enqueue_trial(dict(params))
        study.optimize(objective, n_trials=trials, catch=(ArithmeticError,))


def add(url: str, name: str, trials: Sequence[FrozenTrial], **options: Any) -> None:
    """Make a study of given trials."""
    with opened(url) as storage:
        study = optuna.create_study(storage=storage, study_name=name, **options)
        study.add_trials(trials)


def made(
    value: float | Sequence[float] | None,
    state: TrialState = TrialState.COMPLETE,
    *,
    distributions: Mapping[str, BaseDistribution] | None = None,
    user: Mapping[str, Any] | None = None,
    system: Mapping[str, Any] | None = None,
    **params: Any,
) -> FrozenTrial:
    """A trial of ``lr`` and ``beta``, or of other distributions, with what it came to."""
    known = {"lr": LR, "beta": BETA, **(distributions or {})}
    given: dict[str, Any] = {"value": value} if isinstance(value, float | int) else {"values": value}
    return create_trial(
        state=state,
        params=params,
        distributions={key: known[key] for key in params},
        user_attrs=dict(user or {}),
        system_attrs=dict(system or {}),
        **given,
    )


def two_axes(trial: optuna.Trial) -> float:
    """A bowl over a log axis and a linear one."""
    lr, beta = trial.suggest_float("lr", 1e-4, 1.0, log=True), trial.suggest_float("beta", 0.0, 1.0)
    return (lr - 0.1) ** 2 + (beta - 0.5) ** 2


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    """Everything in a folder: names, contents and times of change."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.iterdir())
    }


def observed(url: str, *names: str, **options: Any) -> Observations:
    """What a report on these studies is computed from."""
    return observe(*read_optuna(url, names, **options))


def only_cell(observations: Observations) -> Cell:
    """The cell of a single study."""
    (cell,) = observations.cells
    return cell


def said(observations: Observations, *words: str) -> bool:
    """Whether some caution has all these words."""
    return any(all(word in caution for word in words) for caution in observations.info.cautions)
