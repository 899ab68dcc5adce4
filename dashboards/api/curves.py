"""Learning curves of chosen trials of a study."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from dashboards.api.answers import Answer, make_answer
from dashboards.api.landscape_models import Curve, CurveMetric, Curves
from dashboards.api.problems import ProblemError
from dashboards.context import context_of
from dashboards.known_studies import KnownSpec, find_known
from dashboards.recent import Recent
from study.live_curves import LiveCurve, read_curves
from study.storage.landscape_points import StudyVersion
from study.storage.learning_curves import choose_trials, find_trials

router = APIRouter(tags=["curves"])
#: Curves of one answer: 60 of them with 200 epochs are half a megabyte.
_MOST_CURVES = 60
_MOST_ANSWERS = 64
_DIGITS = 5


@dataclass(frozen=True, slots=True)
class _Question:
    """What was asked; ``trials`` are numbers of trials of the one optimizer, instead of a choice."""

    workload: str
    optimizers: tuple[str, ...]
    metric: CurveMetric
    choose: Literal["best", "default", "latest"]
    count: int
    trials: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Part:
    answers: Recent[tuple[StudyVersion, _Question], Answer] = field(default_factory=lambda: Recent(_MOST_ANSWERS))


@router.get("/v1/studies/{name}/curves", response_model=Curves, summary="Learning curves of chosen trials")
def get_curves(
    request: Request,
    name: str,
    workload: Annotated[str, Query(description="The first of the study if left out.")] = "",
    optimizer: Annotated[list[str], Query(description="All if left out.")] = [],  # noqa: B006 - FastAPI copies it
    metric: Annotated[CurveMetric, Query(description="What curves show.")] = "val_error",
    choose: Annotated[
        Literal["best", "default", "latest"], Query(description="Which trials of each optimizer; latest: in training.")
    ] = "best",
    count: Annotated[int, Query(ge=1, le=10, description="Trials of each optimizer.")] = 1,
    trial: Annotated[
        list[Annotated[int, Query(ge=0, le=2**31 - 1)]],
        Query(description="Numbers of trials of one optimizer, instead of a choice.", max_length=_MOST_CURVES),
    ] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Mean, smallest and largest over seeds at each epoch, while the study runs, too."""
    context = context_of(request)
    with context.engine.connect() as connection:
        study, known = find_known(context, connection, name)
    optimizers = tuple(one.name for one in known.optimizers(optimizer))
    if trial and len(optimizers) != 1:
        raise ProblemError(
            422, "Trials of several optimizers", "trials are numbered by optimizer: name one optimizer beside them"
        )
    bounded = min(count, max(_MOST_CURVES // len(optimizers), 1))
    question = _Question(known.workload(workload), optimizers, metric, choose, bounded, tuple(dict.fromkeys(trial)))

    def make() -> Answer:
        with context.engine.connect() as own:
            return make_answer(_look(own, study, known, question))

    part: _Part = context.parts.setdefault("curves", _Part())
    return part.answers.get((study, question), make).send(request)


def _look(connection: Connection, study: StudyVersion, known: KnownSpec, question: _Question) -> Curves:
    if question.trials:
        keys = _find_trials(connection, study, question)
        trials = len(keys)
    else:
        asked = (question.workload, question.optimizers, question.choose, question.count)
        keys, trials = choose_trials(connection, study.id, *asked)
    curves = read_curves(connection, keys, question.metric)
    order = {optimizer.name: place for place, optimizer in enumerate(known.spec.optimizers)}
    curves.sort(key=lambda curve: (order[curve.trial.optimizer], _by_objective(curve), curve.trial.number))
    return Curves(
        metric=question.metric,
        curves=[_tell(curve, question.workload) for curve in curves],
        thinned=any(curve.is_thinned for curve in curves),
        trials=trials,
    )


def _find_trials(connection: Connection, study: StudyVersion, question: _Question) -> list[int]:
    """Keys of the trials that were named.

    Raises:
        ProblemError: 404: one is not there.
    """
    (optimizer,) = question.optimizers
    found = find_trials(connection, study.id, question.workload, optimizer, question.trials)
    for number in question.trials:
        if number not in found:
            # Those that were found are not all that there are.
            raise ProblemError(
                404,
                "No such trial",
                f"study {study.name!r} has no trial {number} of {optimizer!r} on {question.workload!r}; "
                f"/v1/studies/{study.name}/trials lists those it has",
            )
    return [found[number] for number in question.trials]


def _by_objective(curve: LiveCurve) -> float:
    """The best first; those without an objective last."""
    return float("inf") if curve.trial.objective is None else curve.trial.objective


def _tell(curve: LiveCurve, workload: str) -> Curve:
    return Curve(
        workload=workload,
        optimizer=curve.trial.optimizer,
        trial=curve.trial.number,
        hyperparameters=curve.trial.hyperparameters,
        objective=curve.trial.objective,
        seeds=curve.trial.seeds,
        epochs=[point.epoch for point in curve.points],
        mean=[_round(point.mean) for point in curve.points],
        low=[_round(point.low) for point in curve.points],
        high=[_round(point.high) for point in curve.points],
        count=[point.count for point in curve.points],
        diverged_at=list(curve.trial.diverged_at),
    )


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")
