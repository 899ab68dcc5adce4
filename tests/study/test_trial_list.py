"""Trials, runs and epochs of a study, a page at a time: what reading all of them would give."""

import datetime as dt
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from listed_studies import boring_trials, record_standings
from recorded_studies import add_attempt
from sqlalchemy import Engine

from study.storage.engine import create_database
from study.storage.logs import log_event, read_logs
from study.storage.pace import measure_rate
from study.storage.progress import read_progress
from study.storage.records import StudyRecord, read_runs, stream_epochs
from study.storage.run_pages import list_epochs, list_runs
from study.storage.tables import attempts, logs, runs, studies
from study.storage.trial_detail import read_story
from study.storage.trial_list import TrialFilter, TrialSort, TrialSummary, list_trials, trial_place

PLACE = ("digits-logistic", "adai")


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """An empty database of each supported kind."""
    with create_database(any_database_url) as engine:
        yield engine


@pytest.fixture
def study(engine: Engine) -> StudyRecord:
    """Thirty trials in every standing, beside another study."""
    record_standings(engine, "other")
    return record_standings(engine)


def read_pages(
    engine: Engine, study: StudyRecord, chosen: TrialFilter, sort: TrialSort, limit: int
) -> list[TrialSummary]:
    found: list[TrialSummary] = []
    after, totals = None, set()
    with engine.connect() as connection:
        while True:
            page, total = list_trials(connection, study.id, chosen, sort, after=after, limit=limit)
            totals.add(total)
            if not page:
                assert totals == {len(found)}
                return found
            assert len(page) <= limit
            found += page
            after = trial_place(page[-1], sort)


def expected_order(trials: list[Mapping[str, Any]], sort: TrialSort) -> list[int]:
    if sort == "number":
        return [trial["id"] for trial in sorted(trials, key=lambda trial: (trial["number"], trial["id"]))]
    sign = -1 if sort.startswith("-") else 1
    valued = [trial for trial in trials if trial["objective"] is not None]
    others = [trial["id"] for trial in trials if trial["objective"] is None]
    return [trial["id"] for trial in sorted(valued, key=lambda t: (sign * t["objective"], t["id"]))] + sorted(others)


@pytest.mark.parametrize("sort", ["number", "objective", "-objective"])
def test_pages_hold_every_trial_once_and_in_order(engine: Engine, study: StudyRecord, sort: TrialSort) -> None:
    boring = boring_trials(engine, "small")
    assert {trial["standing"] for trial in boring} == {"waiting", "running", "complete", "pruned", "failed"}
    for limit in (4, 11, 100):
        found = read_pages(engine, study, TrialFilter(), sort, limit)
        assert [trial.id for trial in found] == expected_order(boring, sort)
    by_id = {trial["id"]: trial for trial in boring}
    for trial in found:
        expected = by_id[trial.id]
        assert ((trial.workload, trial.optimizer), trial.number) == (expected["place"], expected["number"])
        assert (trial.runs, trial.ended, trial.diverged) == tuple(expected[k] for k in ("runs", "ended", "diverged"))
        assert trial.standing == expected["standing"]
        if expected["objective"] is None:
            assert (trial.objective, trial.sd) == (None, None)
        else:
            assert trial.objective == pytest.approx(expected["objective"], rel=1e-14)
            assert trial.sd == pytest.approx(statistics.stdev(expected["values"]), rel=1e-14)


def test_trials_are_filtered_by_place_and_by_standing(engine: Engine, study: StudyRecord) -> None:
    boring = boring_trials(engine, "small")
    for standing in ("waiting", "running", "complete", "pruned", "failed"):
        for sort in ("number", "objective"):
            chosen = TrialFilter("digits-logistic", "sgd", standing)
            found = read_pages(engine, study, chosen, sort, 2)
            wanted = [t for t in boring if (t["place"][1], t["standing"]) == ("sgd", standing)]
            assert [trial.id for trial in found] == expected_order(wanted, sort)
            assert found
    for nowhere in (TrialFilter("none"), TrialFilter(None, "x'; --"), TrialFilter("a\0b")):
        assert read_pages(engine, study, nowhere, "number", 5) == []
        assert read_pages(engine, study, nowhere, "objective", 5) == []


def test_a_trial_with_a_run_that_has_not_ended_has_no_objective_though_it_paused_with_one(
    engine: Engine, study: StudyRecord
) -> None:
    with engine.begin() as connection:
        first = list_trials(connection, study.id, TrialFilter(*PLACE), "number", limit=1)[0][0]
        assert first.objective == 0.25
        own = runs.c.trial_id == first.id
        connection.execute(sa.update(runs).where(own, runs.c.seed == 1).values(termination=None))
        paused = list_trials(connection, study.id, TrialFilter(*PLACE), "number", limit=1)[0][0]
    assert (paused.objective, paused.sd, paused.standing, paused.ended) == (None, None, "waiting", 1)


def test_progress_counts_trials_as_they_are_listed(engine: Engine, study: StudyRecord) -> None:
    with engine.connect() as connection:
        parts = read_progress(connection, "small")
    for part in parts:
        own = [t for t in boring_trials(engine, "small") if t["place"] == (part.workload, part.optimizer)]
        ended = [trial for trial in own if trial["ended"] == trial["runs"]]
        assert (part.trials, part.trials_ended, part.study_id) == (len(own), len(ended), study.id)


def test_progress_of_chosen_studies_is_that_of_each(engine: Engine, study: StudyRecord) -> None:
    with engine.connect() as connection:
        assert read_progress(connection, study_ids=[study.id]) == read_progress(connection, "small")
        assert read_progress(connection, study_ids=[study.id, 999]) == read_progress(connection, "small")
        assert read_progress(connection, study_ids=[]) == []


def test_trials_that_a_sampler_will_ask_for_are_counted_until_the_study_is_complete(
    engine: Engine, study: StudyRecord
) -> None:
    with engine.begin() as connection:
        spec = connection.execute(sa.select(studies.c.spec).where(studies.c.id == study.id)).scalar_one()
        for kind, state, expected in (("tpe", "running", 41), ("tpe", "completed", 15), ("sobol", "running", 15)):
            changed = spec | {"design": spec["design"] | {"kind": kind, "points": 40}}
            connection.execute(sa.update(studies).where(studies.c.id == study.id).values(spec=changed, state=state))
            part = read_progress(connection, "small")[0]
            assert (part.trials, part.runs) == (expected, expected * 2)


def test_pages_of_runs_are_all_runs_in_the_plans_order(engine: Engine, study: StudyRecord) -> None:
    with engine.connect() as connection:
        expected = read_runs(connection, study.id)
        found: list[Any] = []
        after = (0, -1)
        while page := list_runs(connection, study.id, TrialFilter(), after=after, limit=7):
            found += page
            after = (page[-1].trial_id, page[-1].seed)
        one = list_runs(connection, study.id, TrialFilter("digits-logistic", "sgd"), trial=3, limit=100)
    assert [(row.trial_id, row.seed) for row in found] == [(run.trial.id, run.seed) for run in expected]
    for row, run in zip(found, expected, strict=True):
        assert row.termination == (None if run.termination is None else run.termination.name)
        assert (row.workload, row.optimizer, row.trial) == (run.trial.workload, run.trial.optimizer, run.trial.number)
        for field in ("objective", "at_chance", "train_loss", "val_error", "test_error", "peak_memory", "engine"):
            assert getattr(row, field) == getattr(run, field), field
    assert [(row.optimizer, row.trial, row.seed) for row in one] == [("sgd", 3, 0), ("sgd", 3, 1)]


def test_pages_of_epochs_are_all_epochs_in_the_plans_order(engine: Engine, study: StudyRecord) -> None:
    with engine.begin() as connection:
        # Trials without epochs among others with some.
        gone = "DELETE FROM adai_epochs WHERE run_id IN (SELECT id FROM adai_runs WHERE trial_id % 3 = 1)"
        connection.execute(sa.text(gone))
        expected = [tuple(row) for row in stream_epochs(connection, study.id)]
        for limit in (3, 1000):
            found: list[Any] = []
            after = (0, -1, -1)
            while page := list_epochs(connection, study.id, TrialFilter(), after=after, limit=limit):
                found += page
                after = (page[-1].trial_id, page[-1].seed, page[-1].epoch)
            fields = ("workload", "optimizer", "trial", "seed", "epoch", "train_loss", "val_loss", "val_error", "lr")
            assert [tuple(getattr(row, field) for field in fields) for row in found] == [row[:9] for row in expected]
        place = TrialFilter("digits-logistic", "sgd")
        some = list_epochs(connection, study.id, place, trial=2, seed=1, limit=50)
    wanted = [row for row in expected if row[1:4] == ("sgd", 2, 1)]
    assert [(row.trial, row.seed, row.epoch, row.seconds) for row in some] == [
        (r[2], r[3], r[4], r[-1]) for r in wanted
    ]


def test_a_trial_is_told_with_its_runs_its_attempts_and_its_curvature(engine: Engine, study: StudyRecord) -> None:
    with engine.begin() as connection:
        lost = add_attempt(connection, study.id, "WORKER_LOST", "the worker died")
        foreign = add_attempt(connection, study.id, "FAILED", "another trial", "sgd")
        for attempt, optimizer, numbers in ((lost, "adai", [1, 0]), (foreign, "sgd", [0]), (foreign, "adai", [10, 20])):
            details = {"attempt": attempt, "workload": "digits-logistic", "optimizer": optimizer, "trials": numbers}
            log_event(connection, study.id, "attempt_started", **details)
        log_event(connection, study.id, "study_started", driver="process 1 on host")
        story = read_story(connection, study.id, *PLACE, 0)
        assert story is not None
        last = story.runs[0].attempt_id
        assert [attempt.id for attempt in story.attempts] == sorted([last, lost])
        assert story.attempts[-1].error == "the worker died"
        assert [run.seed for run in story.runs] == [0, 1]
        assert story.trial.number == 0
        assert story.curvature[0].values == {"trace": 1.5, "slice_losses": [0.5, None], "examples": None}
        optuna_name = sa.text("SELECT study_name FROM studies WHERE study_id = :key")
        name = connection.execute(optuna_name, {"key": story.optuna_study_id}).scalar_one()
        assert name == "small/digits-logistic/adai"
        assert read_story(connection, study.id, *PLACE, 15) is None
        assert read_story(connection, study.id, "digits-logistic", "none", 0) is None


def test_events_are_read_a_page_at_a_time(engine: Engine, study: StudyRecord) -> None:
    with engine.begin() as connection:
        for number in range(7):
            log_event(connection, study.id, "round_asked", number=number)
        everything = list(read_logs(connection, "small"))
        some = list(read_logs(connection, "small", after=everything[2].id, limit=3))
    assert some == everything[3:6]


T0 = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


def write_events(engine: Engine, study: StudyRecord, events: list[tuple[float, str, int]]) -> None:
    rows = [
        {
            "study_id": study.id,
            "at": T0 + dt.timedelta(seconds=seconds),
            "level": "info",
            "event": event,
            "details": {"trials_ended": count} if event == "attempt_finished" else {},
        }
        for seconds, event, count in events
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(logs), rows)


def rate_of(engine: Engine, study: StudyRecord) -> float | None:
    with engine.connect() as connection:
        return measure_rate(connection, study.id)


def test_the_rate_counts_trials_since_the_study_was_started_last(engine: Engine, study: StudyRecord) -> None:
    assert rate_of(engine, study) is None
    write_events(engine, study, [(0, "study_started", 0), (10, "attempt_finished", 1000), (20, "study_interrupted", 0)])
    write_events(engine, study, [(90_000, "study_started", 0)])
    assert rate_of(engine, study) is None
    write_events(engine, study, [(90_020, "attempt_finished", 40)])
    assert rate_of(engine, study) == pytest.approx(2.0)
    write_events(engine, study, [(90_040, "attempt_finished", 20), (90_041, "attempt_started", 0)])
    assert rate_of(engine, study) == pytest.approx(1.5)


def test_the_rate_forgets_what_is_long_ago(engine: Engine, study: StudyRecord) -> None:
    slow = [(100.0 * number, "attempt_finished", 1) for number in range(1, 50)]
    fast = [(4900 + 10.0 * number, "attempt_finished", 50) for number in range(1, 70)]
    write_events(engine, study, [(0.0, "study_started", 0), *slow, *fast])
    assert rate_of(engine, study) == pytest.approx(5.0)


def test_the_rate_falls_when_the_next_attempt_is_overdue(engine: Engine, study: StudyRecord) -> None:
    write_events(engine, study, [(0, "study_started", 0), (10, "attempt_finished", 10), (20, "attempt_finished", 10)])

    def seen_at(seconds: float) -> float | None:
        with engine.begin() as connection:
            last = connection.execute(sa.select(sa.func.max(attempts.c.id))).scalar_one()
            seen = T0 + dt.timedelta(seconds=seconds)
            connection.execute(sa.update(attempts).where(attempts.c.id == last).values(heartbeat_at=seen))
        return rate_of(engine, study)

    assert seen_at(25) == seen_at(30) == pytest.approx(1.0)
    assert seen_at(50) == pytest.approx(20 / 40)
    assert seen_at(210) == pytest.approx(20 / 200)


def test_attempts_with_which_no_trial_ends_give_no_rate(engine: Engine, study: StudyRecord) -> None:
    write_events(engine, study, [(0, "study_started", 0), (10, "attempt_finished", 0)])
    assert rate_of(engine, study) is None
