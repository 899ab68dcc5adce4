"""What workers measure, from their messages through the database to the tables that people read."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from tests_support import SMALL_SPEC

from study.design import plan_trials
from study.report.export import curvature_frame, epochs_frame, runs_frame, trials_frame
from study.report.from_database import read_study
from study.report.observations import observe
from study.spec import StudySpec
from study.spec_file import parse_spec
from study.storage import attempts, endings, studies
from study.storage.endings import TrialEnd, TrialEndState
from study.storage.engine import create_database
from study.storage.progress import FailureKind, read_failures, read_plans, read_progress
from study.storage.records import (
    StudyRecord,
    TrialRecord,
    find_study,
    read_runs,
    read_trials,
    stream_curvature,
    stream_epochs,
)
from study.storage.run_states import RunBook, find_pending, read_run_states
from workers.messages import (
    BatchFailed,
    BatchFinished,
    EnginePlan,
    EpochMetrics,
    Placement,
    RunOutcome,
    Termination,
)

INF, NAN = math.inf, math.nan
PLACEMENT = Placement("inline", "host", 1, "cpu", "looped-compiled, bfloat16, compiled step", "2.14")
MEASURED: dict[str, float | tuple[float, ...]] = {
    "top_eigenvalue": 12.5,
    "trace": NAN,
    "examples": 500,
    "slice_alphas": (-1.0, 0.0, 1.0),
    "slice_losses": (INF, 0.25, 0.5),
}


def write_study(engine: Engine, spec: StudySpec) -> StudyRecord:
    """A study with its trials, none of which has run."""
    with engine.begin() as connection:
        studies.create_study(connection, spec, plan_trials(spec), {})
        return find_study(connection, spec.name)


@pytest.fixture
def study(any_database_url: str) -> Iterator[tuple[Engine, StudyRecord]]:
    """A study of 2 optimizers, 5 trials each, 2 seeds, in a database of each supported kind."""
    with create_database(any_database_url) as engine:
        yield engine, write_study(engine, parse_spec(SMALL_SPEC, source="small"))


def begin(connection: Connection, study: StudyRecord) -> tuple[int, list[TrialRecord], list[int]]:
    """An attempt of the first two trials: its id, they, and their runs."""
    batch = read_trials(connection, study.id)[:2]
    run_ids = runs_of(connection, study, batch)
    return begin_attempt(connection, study, batch, run_ids), batch, run_ids


def runs_of(connection: Connection, study: StudyRecord, batch: Sequence[TrialRecord]) -> list[int]:
    book = RunBook(read_run_states(connection, study.id))
    return [run.id for trial in batch for run in book.of_trial(trial.id)]


def begin_attempt(
    connection: Connection, study: StudyRecord, batch: Sequence[TrialRecord], run_ids: Sequence[int]
) -> int:
    plan = attempts.BatchPlan(batch, batch, range(2))
    return attempts.begin_attempt(connection, study.id, plan, run_ids, keep_steps=0, environment_hash="e")


def make_metrics(run_ids: Sequence[int], **changes: Any) -> EpochMetrics:
    count = len(run_ids)
    metrics = EpochMetrics(
        batch_id=1,
        epoch=1,
        run_ids=tuple(run_ids),
        train_loss=(2.0,) * count,
        val_loss=(1.5,) * count,
        val_error=(0.5,) * count,
        objective=(0.5,) * count,
        lr=(0.1,) * count,
        grad_norm=tuple(1.0 + row for row in range(count)),
        seconds=0.25,
    )
    return replace(metrics, **changes)


def make_outcome(run_id: int, **changes: Any) -> RunOutcome:
    outcome = RunOutcome(
        run_id=run_id,
        termination=Termination.COMPLETED,
        reason="",
        epochs=1,
        objective=0.5,
        at_chance=False,
        train_loss=2.0,
        val_loss=1.5,
        val_error=0.5,
        test_loss=1.25,
        test_error=0.375,
        seconds=0.25,
    )
    return replace(outcome, **changes)


def finish(
    connection: Connection,
    study: StudyRecord,
    attempt_id: int,
    batch: Sequence[TrialRecord],
    outcomes: Sequence[RunOutcome],
) -> None:
    """The attempt ended with two runs per trial."""
    values = [(outcomes[2 * i].objective + outcomes[2 * i + 1].objective) / 2 for i in range(len(batch))]
    ends = [
        TrialEnd(trial.optuna_trial_id, TrialEndState.COMPLETE, (value,))
        for trial, value in zip(batch, values, strict=True)
    ]
    finished = BatchFinished(attempt_id, tuple(outcomes), PLACEMENT, math.log(10))
    result = attempts.StageResult(paused={}, seed_values={}, ends=ends, waiting=[])
    plan = attempts.BatchPlan(batch, batch, range(2))
    attempts.finish_attempt(connection, study.id, plan, finished, result)


def count_failed_trials(engine: Engine) -> int:
    """As reports count them."""
    with engine.connect() as connection:
        observations = observe(*read_study(connection, "small"))
    return sum(int(cell.failed_N.sum()) for cell in observations.cells)


def test_gradient_norms_are_kept_by_epoch_and_infinite_ones_are_null(study: tuple[Engine, StudyRecord]) -> None:
    engine, record = study
    with engine.begin() as connection:
        _, batch, run_ids = begin(connection, record)
        values = {trial.optuna_trial_id: 0.5 for trial in batch}
        norms = (0.5, INF, NAN, 4.0)
        attempts.record_epochs(connection, [(make_metrics(run_ids, grad_norm=norms), values)])
        attempts.record_epochs(connection, [(make_metrics(run_ids[:1], epoch=2), values)])
        table = epochs_frame(record, stream_epochs(connection, record.id))
    assert table.sort("epoch")["grad_norm"].to_list() == [0.5, None, None, 4.0, 1.0]
    assert table.columns[-2:] == ["grad_norm", "seconds"]


def test_curvature_is_exported_in_long_form_with_positions_only_in_slices(study: tuple[Engine, StudyRecord]) -> None:
    engine, record = study
    with engine.begin() as connection:
        _, batch, run_ids = begin(connection, record)
        metrics = make_metrics(run_ids, epoch=3, curvature={run_ids[3]: MEASURED, run_ids[0]: {"trace": 1.0}})
        attempts.record_epochs(connection, [(metrics, {trial.optuna_trial_id: 0.5 for trial in batch})])
        table = curvature_frame(record, stream_curvature(connection, record.id))
    place = ("small", "digits-logistic", "adai")
    assert table.columns == [
        *("study", "workload", "optimizer", "trial", "seed"),
        *("epoch", "quantity", "position", "value"),
    ]
    assert table.rows() == [
        (*place, 0, 0, 3, "trace", None, 1.0),
        (*place, 1, 1, 3, "top_eigenvalue", None, 12.5),
        (*place, 1, 1, 3, "trace", None, None),
        (*place, 1, 1, 3, "examples", None, 500.0),
        *((*place, 1, 1, 3, "slice_alphas", position, alpha) for position, alpha in enumerate((-1.0, 0.0, 1.0))),
        *((*place, 1, 1, 3, "slice_losses", position, loss) for position, loss in enumerate((None, 0.25, 0.5))),
    ]


def test_a_table_of_curvature_without_rows_has_the_same_columns_and_types(study: tuple[Engine, StudyRecord]) -> None:
    engine, record = study
    row = ("w", "o", 0, 0, 1, {"trace": 1.0})
    with engine.connect() as connection:
        empty = curvature_frame(record, stream_curvature(connection, record.id))
    assert empty.height == 0
    assert empty.schema == curvature_frame(record, [row]).schema


def test_another_attempt_forgets_what_the_first_one_measured_of_its_trials_only(
    study: tuple[Engine, StudyRecord],
) -> None:
    engine, record = study
    with engine.begin() as connection:
        attempt_id, batch, run_ids = begin(connection, record)
        metrics = make_metrics(run_ids, curvature=dict.fromkeys(run_ids, MEASURED))
        attempts.record_epochs(connection, [(metrics, {trial.optuna_trial_id: 0.5 for trial in batch})])
        lost = BatchFailed(attempt_id, Termination.WORKER_LOST, "gone")
        endings.abandon_attempt(connection, record.id, lost, batch, tries=1, what_next="again")
        begin_attempt(connection, record, batch[:1], run_ids[:2])
        assert [row.trial for row in stream_epochs(connection, record.id)] == [1, 1]
        assert [row.trial for row in stream_curvature(connection, record.id)] == [1, 1]


def test_time_to_target_and_memory_are_kept_by_run(study: tuple[Engine, StudyRecord]) -> None:
    engine, record = study
    with engine.begin() as connection:
        attempt_id, batch, run_ids = begin(connection, record)
        reached = {"steps_to_target": 40, "seconds_to_target": 0.125, "peak_memory": 3 * 2**40}
        outcomes = [make_outcome(run_id) for run_id in run_ids]
        outcomes[2] = replace(outcomes[2], **reached)
        finish(connection, record, attempt_id, batch, outcomes)
        runs = read_runs(connection, record.id)
    table = runs_frame(record, runs)
    assert runs[0].engine == "looped-compiled, bfloat16, compiled step"
    for name, value in reached.items():
        assert table[name].to_list() == [None, None, value] + [None] * 17


def test_runs_without_classes_have_no_errors(study: tuple[Engine, StudyRecord]) -> None:
    engine, record = study
    with engine.begin() as connection:
        attempt_id, batch, run_ids = begin(connection, record)
        metrics = make_metrics(run_ids, val_error=(NAN,) * 4)
        attempts.record_epochs(connection, [(metrics, {trial.optuna_trial_id: 0.5 for trial in batch})])
        outcomes = [make_outcome(run_id, val_error=NAN, test_error=None) for run_id in run_ids]
        finish(connection, record, attempt_id, batch, outcomes)
        runs = read_runs(connection, record.id)
        epochs = list(stream_epochs(connection, record.id))
    assert [row.val_error for row in epochs] == [None] * 4
    assert (runs[0].val_error, runs[0].test_error, runs[0].test_loss) == (None, None, 1.25)
    assert trials_frame(record, runs)["test_error_mean"][0] is None


@pytest.mark.parametrize("termination", [Termination.FAILED, Termination.WORKER_LOST, Termination.OUT_OF_MEMORY])
def test_every_trial_that_ended_without_a_result_counts_as_failed(
    study: tuple[Engine, StudyRecord], termination: Termination
) -> None:
    engine, record = study
    with engine.begin() as connection:
        attempt_id, batch, _ = begin(connection, record)
        failed = BatchFailed(attempt_id, termination, "first\nlast")
        endings.fail_attempt(connection, record.id, failed, batch, tries=3, what_next="never")
        progress = read_progress(connection, "small")[0]
        runs = read_runs(connection, record.id)
        failures = read_failures(connection, record.id, limit=9)
        assert failures.kinds == (FailureKind("digits-logistic", "adai", termination, "last", 1, "first\nlast"),)
    assert (progress.ended, progress.failed, progress.diverged, progress.best_objective) == (4, 4, 0, None)
    assert count_failed_trials(engine) == 2
    assert runs[0].reason == "last"


def test_trials_that_did_not_fit_into_memory_together_wait_for_smaller_batches(
    study: tuple[Engine, StudyRecord],
) -> None:
    engine, record = study
    with engine.begin() as connection:
        attempt_id, batch, _ = begin(connection, record)
        starved = BatchFailed(attempt_id, Termination.OUT_OF_MEMORY, "no memory for 4 rows")
        endings.abandon_attempt(connection, record.id, starved, batch, tries=1, what_next="halves")
        assert find_pending(connection, record.id)[:2] == [trial.optuna_trial_id for trial in batch]
        assert read_progress(connection, "small")[0].failed == 0
        (failure,) = read_failures(connection, record.id, limit=9).kinds
        assert (failure.termination, failure.error) == (Termination.OUT_OF_MEMORY, "no memory for 4 rows")
        states = connection.execute(sa.text("SELECT DISTINCT state FROM trials")).scalars().all()
    assert states == ["WAITING"]


def test_a_pruned_trial_has_ended_but_neither_failed_nor_a_value_to_compare(study: tuple[Engine, StudyRecord]) -> None:
    engine, record = study
    with engine.begin() as connection:
        attempt_id, batch, run_ids = begin(connection, record)
        outcomes = [make_outcome(run_id, objective=0.25) for run_id in run_ids]
        outcomes[0] = replace(outcomes[0], termination=Termination.PRUNED, objective=0.0)
        outcomes[1] = replace(outcomes[1], termination=Termination.PRUNED, objective=0.0)
        finish(connection, record, attempt_id, batch, outcomes)
        progress = read_progress(connection, "small")[0]
        runs = read_runs(connection, record.id)
        assert read_failures(connection, record.id, limit=9).attempts == 0
    assert (progress.ended, progress.failed, progress.best_objective) == (4, 0, 0.25)
    assert count_failed_trials(engine) == 0
    assert trials_frame(record, runs)["trial"].to_list() == [1]


def test_a_plan_is_kept_by_workload_and_replaced_by_a_newer_one(study: tuple[Engine, StudyRecord]) -> None:
    engine, record = study
    first, second = EnginePlan("stacked", 96, "fast"), EnginePlan("looped-compiled", 12, "r" * 1000)
    with engine.begin() as connection:
        other = studies.create_study(connection, (spec := parse_spec(OTHER, source="other")), plan_trials(spec), {})
        both = {"digits-logistic": first, "digits-mlp": first}
        studies.store_plans(connection, record.id, both, device="cpu")
        studies.store_plans(connection, other, {"digits-logistic": first}, device="cpu")
        studies.store_plans(connection, record.id, {"digits-logistic": second}, device="cuda")
        assert read_plans(connection, record.id) == {"digits-logistic": second, "digits-mlp": first}
        assert read_plans(connection, other) == {"digits-logistic": first}
        devices = connection.execute(sa.text("SELECT device FROM adai_plans ORDER BY id")).scalars().all()
    assert devices == ["cpu", "cpu", "cuda"]


OTHER = SMALL_SPEC.replace('"small"', '"other"')


def test_the_number_of_queries_does_not_grow_with_what_was_measured(database_url: str) -> None:
    statements: list[str] = []
    counts = []
    with create_database(database_url) as engine:
        sa.event.listen(engine, "before_cursor_execute", lambda *words: statements.append(words[2]))
        for points in (1, 60):
            text = SMALL_SPEC.replace('"small"', f'"with-{points}"').replace("points = 4", f"points = {points}")
            record = write_study(engine, parse_spec(text, source="made"))
            with engine.begin() as connection:
                batch = read_trials(connection, record.id)[: points + 1]
                of_batch = runs_of(connection, record, batch)
                statements.clear()
                attempt_id = begin_attempt(connection, record, batch, of_batch)
                metrics = make_metrics(of_batch, curvature=dict.fromkeys(of_batch, MEASURED))
                attempts.record_epochs(connection, [(metrics, {trial.optuna_trial_id: 0.5 for trial in batch})])
                finish(connection, record, attempt_id, batch, [make_outcome(run_id) for run_id in of_batch])
                written = len(statements)
                statements.clear()
                runs_frame(record, read_runs(connection, record.id))
                table = epochs_frame(record, stream_epochs(connection, record.id))
                curvature = curvature_frame(record, stream_curvature(connection, record.id))
                counts.append((written, len(statements)))
            assert table.height == 2 * (points + 1)
            assert curvature.height == 9 * table.height
    assert counts[0] == counts[1]
