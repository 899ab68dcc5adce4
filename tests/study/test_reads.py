"""What is read of a database: as many queries for a large study as for a small one, and what they sum up."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from recorded_studies import add_attempt, record_study
from sqlalchemy import Engine
from tests_support import Command

from study.report.table_export import table_frames
from study.storage.engine import create_database
from study.storage.progress import (
    FailureKind,
    StudyProgress,
    find_summary,
    read_failures,
    read_plans,
    read_progress,
)
from study.storage.records import (
    find_spec_hash,
    find_study,
    read_runs,
    read_trials,
)
from study.storage.run_states import find_pending, read_run_states
from workers.messages import Termination

_ENDED_BADLY = {"FAILED", "WORKER_LOST", "OUT_OF_MEMORY", "TIMED_OUT"}


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """An empty database of each supported kind."""
    with create_database(any_database_url) as engine:
        yield engine


def naive_progress(engine: Engine, name: str) -> list[tuple[str, str, int, int, int, int, float | None]]:
    """Progress of one study, counted run by run."""
    query = (
        "SELECT t.workload, t.optimizer, t.number, r.termination, r.objective FROM adai_runs r "
        "JOIN adai_trials t ON t.id = r.trial_id JOIN adai_studies s ON s.id = t.study_id "
        "WHERE s.name = :name ORDER BY t.id, r.seed"
    )
    with engine.connect() as connection:
        rows = connection.execute(sa.text(query), {"name": name}).all()
    found = []
    for pair in dict.fromkeys((workload, optimizer) for workload, optimizer, *_ in rows):
        own = [row for row in rows if (row[0], row[1]) == pair]
        values = []
        for number in {row[2] for row in own}:
            of_trial = [(termination, objective) for _, _, k, termination, objective in own if k == number]
            if all(termination != "PRUNED" and objective is not None for termination, objective in of_trial):
                values.append(sum(objective for _, objective in of_trial) / len(of_trial))
        endings = Counter(termination for *_, termination, _ in own)
        failed = sum(count for ending, count in endings.items() if ending in _ENDED_BADLY)
        best = min(values) if values else None
        found.append((*pair, len(own), len(own) - endings[None], endings["DIVERGED"], failed, best))
    return found


def counts(part: StudyProgress) -> tuple[str, str, int, int, int, int, float | None]:
    return (part.workload, part.optimizer, part.runs, part.ended, part.diverged, part.failed, part.best_objective)


def test_progress_is_what_counting_run_by_run_gives(engine: Engine) -> None:
    for name, points in (("small", 4), ("other", 13)):
        record_study(engine, name, points=points)
    with engine.connect() as connection:
        for name in ("small", "other"):
            parts = read_progress(connection, name)
            assert {part.study for part in parts} == {name}
            for part, expected in zip(parts, naive_progress(engine, name), strict=True):
                assert counts(part) == (*expected[:-1], pytest.approx(expected[-1], rel=1e-12))
                assert 0 < part.failed < part.ended < part.runs
        both = read_progress(connection)
        assert both == [*read_progress(connection, "small"), *read_progress(connection, "other")]
        assert read_progress(connection, "none") == []


def test_a_trial_with_a_pruned_or_a_missing_run_is_no_best_one(engine: Engine) -> None:
    study = record_study(engine)
    with engine.begin() as connection:
        ids = connection.execute(sa.text("SELECT id FROM adai_runs ORDER BY trial_id, seed")).scalars().all()
        best = "UPDATE adai_runs SET objective = :value, termination = :ending WHERE id = :id"
        for run_id, value, ending in (
            (ids[0], -9.0, "PRUNED"),
            (ids[1], -9.0, "COMPLETED"),
            (ids[2], -8.0, "COMPLETED"),
            (ids[3], None, "WORKER_LOST"),
            (ids[4], -2.0, "COMPLETED"),
            (ids[5], -4.0, "DIVERGED"),
        ):
            connection.execute(sa.text(best), {"id": run_id, "value": value, "ending": ending})
        progress = read_progress(connection, study.name)[0]
    assert progress.best_objective == -3.0


def test_failures_of_one_kind_are_counted_together_and_the_newest_is_shown_whole(engine: Engine) -> None:
    study = record_study(engine)
    other = record_study(engine, "other")
    long = "é" * 3000
    with engine.begin() as connection:
        for number in range(5):
            add_attempt(connection, study.id, "FAILED", f"line {number}\n{long}\nRuntimeError: no model\n")
        add_attempt(connection, study.id, "WORKER_LOST", "RuntimeError: no model")
        add_attempt(connection, study.id, "TIMED_OUT", None)
        add_attempt(connection, study.id, "FAILED", "RuntimeError: no model", optimizer="sgd")
        add_attempt(connection, study.id, "CANCELLED", "the driver ended")
        add_attempt(connection, other.id, "FAILED", "RuntimeError: no model")
        failures = read_failures(connection, study.id, limit=3)
        everything = read_failures(connection, study.id, limit=100)
        nothing = read_failures(connection, study.id + 7, limit=3)
    place = ("digits-logistic", "adai")
    whole = f"line 4\n{long}\nRuntimeError: no model\n"
    assert failures.kinds == (
        FailureKind(*place, Termination.FAILED, "RuntimeError: no model", 5, whole),
        FailureKind(*place, Termination.WORKER_LOST, "RuntimeError: no model", 1, "RuntimeError: no model"),
        FailureKind(*place, Termination.TIMED_OUT, "", 1, ""),
    )
    assert (failures.more, failures.attempts) == (1, 8)
    assert everything.kinds[:3] == failures.kinds
    assert (len(everything.kinds), everything.more, everything.kinds[3].optimizer) == (4, 0, "sgd")
    assert (nothing.kinds, nothing.more, nothing.attempts) == ((), 0, 0)


def test_status_shows_ten_kinds_of_failure_and_says_how_many_more_there_are(
    command: Command, database_url: str
) -> None:
    with create_database(database_url) as engine:
        study = record_study(engine)
        with engine.begin() as connection:
            for number in range(30):
                add_attempt(connection, study.id, "FAILED", f"Traceback\nRuntimeError: kind {number % 13}")
    lines = command("status", "small", "--db", database_url).output.splitlines()
    shown = [line for line in lines if "RuntimeError" in line]
    assert len(shown) == 10
    assert shown[0] == "digits-logistic, adai: failed (3 attempts): RuntimeError: kind 0"
    assert lines[-1] == "and 3 more kinds of failure; 30 attempts failed in all"


def test_the_number_of_queries_does_not_depend_on_the_size_of_the_study(engine: Engine) -> None:
    studies = [record_study(engine, "few", points=1), record_study(engine, "many", points=150)]
    with engine.begin() as connection:
        for study, attempts in zip(studies, (1, 300), strict=True):
            for number in range(attempts):
                add_attempt(connection, study.id, "FAILED", f"kind {number}")
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *words: statements.append(words[2]))
    reads = {
        "find_study": lambda connection, study: find_study(connection, study.name),
        "find_spec_hash": lambda connection, study: find_spec_hash(connection, study.name),
        "find_summary": lambda connection, study: find_summary(connection, study.name),
        "read_progress": lambda connection, study: read_progress(connection, study.name),
        "read_failures": lambda connection, study: read_failures(connection, study.id, limit=1000),
        "read_plans": lambda connection, study: read_plans(connection, study.id),
        "find_pending": lambda connection, study: find_pending(connection, study.id),
        "read_trials": lambda connection, study: read_trials(connection, study.id),
        "read_run_states": lambda connection, study: read_run_states(connection, study.id),
        "read_runs": lambda connection, study: read_runs(connection, study.id),
        "runs": lambda connection, study: list(table_frames(connection, study, "runs", rows_at_once=10)),
        "trials": lambda connection, study: list(table_frames(connection, study, "trials", rows_at_once=10)),
        "epochs": lambda connection, study: list(table_frames(connection, study, "epochs", rows_at_once=10)),
        "curvature": lambda connection, study: list(table_frames(connection, study, "curvature", rows_at_once=10)),
    }
    for name, read in reads.items():
        needed = []
        for study in studies:
            with engine.connect() as connection:
                statements.clear()
                assert read(connection, study) is not None
                needed.append(len(statements))
        # What is in the plan's order takes a look at whether trials were asked in rounds.
        expected = (
            2 if name in ("read_failures", "read_trials", "read_runs", "runs", "trials", "epochs", "curvature") else 1
        )
        assert needed == [expected] * 2, name


@pytest.mark.parametrize("words", [["status", "small"], ["list"]])
def test_looking_at_studies_needs_neither_torch_nor_optuna(words: list[str], database_url: str) -> None:
    with create_database(database_url) as engine:
        record_study(engine)
    program = f"""
import sys
from study.cli import main
main([*{words!r}, "--db", {database_url!r}], standalone_mode=False)
heavy = {{"torch", "optuna", "ray", "polars", "scipy", "sklearn", "matplotlib", "alembic"}} & sys.modules.keys()
assert not heavy, heavy
"""
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert seen.returncode == 0, seen.stderr
    assert "small" in seen.stdout
