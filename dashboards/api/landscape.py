"""The landscape of a study: bounded points, one yardstick and one scale of colours, and the maps of its report."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from dashboards.api.answers import Answer, make_answer
from dashboards.api.landscape_answers import LandscapeQuestion, tell_landscape
from dashboards.api.landscape_models import Landscape, Metric
from dashboards.api.problems import ProblemError
from dashboards.context import Context, context_of
from dashboards.known_studies import KnownSpec, find_known, unknown
from dashboards.recent import Recent
from dashboards.report_store import KnownReport, find_report
from study.axis import AxisSpec
from study.live_landscape import Looker, count_points, measure_yardstick
from study.report.analysis import Settings
from study.search_space import OptimizerSpec
from study.storage.landscape_points import FinishedTrials, StudyVersion, find_chance, read_finished_trials

router = APIRouter(tags=["landscape"])
#: Answers have up to 600 kB, and the means behind them 50 bytes a trial.
_MOST_ANSWERS, _MOST_MEANS = 64, 8
_USUAL_AXIS = "lr"


@dataclass(frozen=True, slots=True)
class _Means:
    """Of a workload: its finished trials by optimizer, and its chance level if a run told it."""

    finished: dict[str, FinishedTrials]
    chance: float | None


@dataclass(frozen=True, eq=False)
class _Part:
    answers: Recent[tuple[StudyVersion, str, LandscapeQuestion], Answer] = field(
        default_factory=lambda: Recent(_MOST_ANSWERS)
    )
    means: Recent[tuple[StudyVersion, str], _Means] = field(default_factory=lambda: Recent(_MOST_MEANS))


@router.get("/v1/studies/{name}/landscape", response_model=Landscape, summary="The landscape over one or two axes")
def get_landscape(
    request: Request,
    name: str,
    workload: Annotated[str, Query(description="The first of the study if left out.")] = "",
    x: Annotated[str, Query(description="Axis across; the learning rate if left out.")] = "",
    y: Annotated[str, Query(description="Axis up; none if left out.")] = "",
    metric: Annotated[Metric, Query(description="What points show.")] = "objective",
    tolerance: Annotated[
        float | None,
        Query(gt=0, lt=1, description="Share of the way from the best to chance; that of the report if left out."),
    ] = None,
    optimizer: Annotated[list[str], Query(description="All if left out.")] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Points, their yardstick and scale, and the report's maps, of some or all optimizers of a workload."""
    context = context_of(request)
    with context.engine.connect() as connection:
        study, known = find_known(context, connection, name)
    report = find_report(context, study)
    usual = report.report.settings.tolerance if report else Settings().tolerance
    question = LandscapeQuestion(
        known.workload(workload),
        *_check_axes(known, x, y),
        metric,
        usual if tolerance is None else tolerance,
        tuple(one.name for one in known.optimizers(optimizer)),
    )
    part: _Part = context.parts.setdefault("landscape", _Part())
    written = f"{report.tag} {report.written_at.timestamp()}" if report else ""
    answer = part.answers.get(
        (study, written, question), lambda: make_answer(_look(context, part, study, known, report, question))
    )
    return answer.send(request)


def _check_axes(known: KnownSpec, x: str, y: str) -> tuple[str, str | None]:
    """The axes that are asked for.

    Raises:
        ProblemError: 404: no optimizer has one; 422: both are the same.
    """
    names = list(dict.fromkeys(name for optimizer in known.spec.optimizers for name in optimizer.axes))
    for name in (x, y):
        if name and name not in names:
            raise unknown("axis", name, names, known.spec.name)
    across = x or next((name for name in (_USUAL_AXIS, *names) if name in names and name != y), names[0])
    if across == y:
        raise ProblemError(422, "One axis twice", f"x and y are both {y!r}; name two axes, or leave y out")
    return across, y or None


def _look(
    context: Context,
    part: _Part,
    study: StudyVersion,
    known: KnownSpec,
    report: KnownReport | None,
    question: LandscapeQuestion,
) -> Landscape:
    axes = [question.x] if question.y is None else [question.x, question.y]
    optimizers = known.optimizers(list(question.optimizers))
    with context.engine.connect() as connection:

        def read() -> _Means:
            finished = read_finished_trials(connection, study.id, question.workload)
            return _Means(finished, find_chance(connection, study.id, question.workload))

        means = part.means.get((study, question.workload), read)
        yardstick = measure_yardstick(means.finished, *_find_chance(means, report, question.workload))
        looker = Looker(
            connection,
            axes,
            question.metric,
            yardstick,
            tolerance=question.tolerance,
            limit=count_points(len(optimizers), known.spec.seeds),
            fault=known.fault,
        )
        cells = {
            one.name: looker.look(means.finished.get(one.name), [_axis(one, axis) for axis in axes])
            for one in optimizers
        }
    return tell_landscape(known, report, question, yardstick, cells)


def _find_chance(means: _Means, report: KnownReport | None, workload: str) -> tuple[float | None, str]:
    """Chance level and how it is known; no data of a workload is loaded for a request."""
    if means.chance is not None:
        return means.chance, "chance level of the workload, at which diverged runs are counted"
    told = [one for one in report.report.info.workloads if one.name == workload] if report else []
    if told and told[0].chance is not None:
        return told[0].chance, f"{told[0].chance_source}, as the report says"
    return None, (
        "the median of the finished trials stands in for chance level, which no diverged run and no report tells"
    )


def _axis(optimizer: OptimizerSpec, name: str) -> tuple[AxisSpec, bool] | None:
    axis = optimizer.axes.get(name)
    return None if axis is None else (axis, name in optimizer.conditional_axes)
