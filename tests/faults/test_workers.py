"""Faults of Ray's workers in the middle of a study: they cost attempts, and not one number of the result."""

import os
import signal
from pathlib import Path

import pytest
from faulty_studies import (
    ONE_TRIAL,
    SLOW,
    FaultyStudy,
    assert_undisturbed,
    assert_undisturbed_but_for,
    faulty_study,
    kill,
    wait_until,
)
from pool_events import state_of
from tests_support import ray_workers

from study.drive_options import DriveOptions
from study.driver import Driver
from study.progress import Progress
from study.storage.engine import open_database
from study.storage.records import find_study
from workers.ray_pool import RayPool

pytestmark = pytest.mark.faults
#: On a busy machine a worker needs seconds for its first step.
LEASE = 15.0
#: What is known of workers is written twice a second.
QUICK = {"ADAI_HEARTBEAT_SECONDS": "0.5"}
HASTY = QUICK | {"ADAI_LEASE_SECONDS": str(LEASE)}


def open_attempt_of(study: FaultyStudy, trials: list[int]) -> tuple[int, int] | None:
    """(attempt, process of its worker) of adai's trials while a worker has them."""
    started = [
        entry for entry in study.logs("attempt_started") if (entry["optimizer"], entry["trials"]) == ("adai", trials)
    ]
    query = "SELECT id, pid FROM adai_attempts WHERE finished_at IS NULL AND pid IS NOT NULL AND id = {}"
    rows = [row for entry in started for row in study.query(query.format(entry["attempt"]))]
    return rows[0] if rows else None


def test_a_batch_whose_worker_is_killed_three_times_is_halved_and_nobody_suffers(tmp_path: Path) -> None:
    with faulty_study(tmp_path) as study:
        study.order("every step", SLOW)
        process = study.start("run", "--workers", "2", **QUICK)
        killed = []
        for _ in range(3):
            wait_until(lambda: open_attempt_of(study, [0, 1, 2]), lambda: study.errors_of(process))
            attempt, pid = open_attempt_of(study, [0, 1, 2]) or (0, 0)
            assert study.living()[pid].startswith("ray::")
            os.kill(pid, signal.SIGKILL)
            killed.append((attempt, pid))
            wait_until(lambda: study.terminations().get("WORKER_LOST") == len(killed))
        study.revoke()
        code, errors = study.end_of(process)
        assert code == 0, errors
        lost = study.query(
            "SELECT id, pid, tries, error FROM adai_attempts WHERE termination = 'WORKER_LOST' ORDER BY id"
        )
        assert [row[:3] for row in lost] == [(*who, tries) for tries, who in enumerate(killed, 1)]
        assert all(error.startswith("ActorDiedError: ") for *_, error in lost)
        assert study.terminations() == {"COMPLETED": 9, "WORKER_LOST": 3}
        halves = [e for e in study.logs("attempt_started") if e["trials"] in ([0], [1, 2]) and e["optimizer"] == "adai"]
        assert [entry["tries"] for entry in halves] == [3, 3]
        told = study.logs("attempt_failed")
        assert [entry["attempt"] for entry in told] == [attempt for attempt, _ in killed]
        assert ["half" in entry["next"] for entry in told] == [False, False, True]
        assert_undisturbed(study)


def test_a_trial_that_kills_its_worker_ends_alone(tmp_path: Path) -> None:
    with faulty_study(tmp_path) as study:
        study.order("every gradient", ONE_TRIAL + "os.kill(os.getpid(), signal.SIGKILL)")
        code, errors = study.end_of(study.start("run", "--workers", "2"))
        assert code == 1, errors
        assert "1 trials of study 'faulty' failed and have no result" in errors
        assert [entry["trials"] for entry in study.logs("attempt_failed")] == [[9, 10, 11]] * 3 + [[9]]
        assert study.terminations() == {"COMPLETED": 8, "WORKER_LOST": 4}
        assert_undisturbed_but_for(study, {("adai", 9): "WORKER_LOST"})
        study.resume()
        assert_undisturbed(study)


@pytest.mark.long
def test_a_workload_that_hangs_loses_its_lease_and_its_worker(tmp_path: Path) -> None:
    with faulty_study(tmp_path) as study:
        study.order("once", "(FOLDER / 'hanging').write_text(str(os.getpid())); time.sleep(3600)")
        process = study.start("run", "--workers", "2", **HASTY)
        wait_until((tmp_path / "hanging").exists, lambda: study.errors_of(process))
        code, errors = study.end_of(process)
        assert code == 0, errors
        pid = int((tmp_path / "hanging").read_text())
        assert state_of(pid) == ""
        ((known, error),) = study.query("SELECT pid, error FROM adai_attempts WHERE termination = 'TIMED_OUT'")
        assert known == pid
        assert f"the lease is {LEASE:g} s (it lives, its last sign of life came " in error
        assert study.terminations() == {"COMPLETED": 8, "TIMED_OUT": 1}
        (told,) = study.logs("attempt_failed")
        assert (told["termination"], told["next"]) == ("timed_out", "the same batch, on another worker")
        assert_undisturbed(study)


@pytest.mark.long
def test_what_a_stopped_worker_says_after_its_batch_was_given_away_counts_for_nothing(tmp_path: Path) -> None:
    with faulty_study(tmp_path) as study:
        study.order("every step", SLOW)
        process = study.start("run", "--workers", "2", **HASTY)
        wait_until(lambda: study.epochs() >= 12 and open_attempt_of(study, [0, 1, 2]), lambda: study.errors_of(process))
        attempt, pid = open_attempt_of(study, [0, 1, 2]) or (0, 0)
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: study.terminations().get("TIMED_OUT"), lambda: study.errors_of(process))
        kill(pid, signal.SIGCONT)
        study.revoke()
        code, errors = study.end_of(process)
        assert code == 0, errors
        assert study.query("SELECT id, pid FROM adai_attempts WHERE termination = 'TIMED_OUT'") == [(attempt, pid)]
        assert study.terminations() == {"COMPLETED": 8, "TIMED_OUT": 1}
        assert_undisturbed(study)


@pytest.mark.long
def test_a_worker_that_stops_as_it_gets_its_first_batch_loses_it(tmp_path: Path) -> None:
    """It has said nothing yet, and its lease runs out nevertheless."""
    stopped: list[int] = []

    def stop_one(_: Progress) -> None:
        """Called for the first time when all workers are up and none has a batch."""
        if not stopped:
            pids = [pid for pid, title in ray_workers().items() if "Worker" in title]
            os.kill(pids[0], signal.SIGSTOP)
            stopped.append(pids[0])

    with faulty_study(tmp_path) as study, open_database(study.url) as engine:
        with engine.connect() as connection:
            record = find_study(connection, study.name)
        options = DriveOptions(lease_seconds=LEASE, heartbeat_seconds=0.5)
        with RayPool(workers=2) as pool:
            # One that is stopped before it is up gets no batch.
            wait_until(lambda: pool.next_event(0.1) is None and pool.free == 2)
            Driver(engine, record, pool, stop_one, options=options).run()
            wait_until(lambda: state_of(stopped[0]) in ("", "Z"))
        ((pid, error),) = study.query("SELECT pid, error FROM adai_attempts WHERE termination = 'TIMED_OUT'")
        assert pid == stopped[0]
        assert "after 0 steps" in error
        assert study.terminations() == {"COMPLETED": 8, "TIMED_OUT": 1}
        assert_undisturbed(study)
