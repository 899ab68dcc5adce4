"""Faults of drivers: killed, stopped and continued, two at once, cancelled; nothing is lost, nothing is done twice."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_studies import SLOW, FaultyStudy, assert_undisturbed, faulty_study, wait_until
from tests_support import SMALL_SPEC

from study.creation import create_study
from study.spec_file import parse_spec
from study.storage.engine import create_database

#: Another host's name for a process, which is all that makes it one of another host here.
ELSEWHERE = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh")
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a process another host's name")


@pytest.fixture
def study(tmp_path: Path) -> Iterator[FaultyStudy]:
    """A study that trains slowly until it is resumed."""
    with faulty_study(tmp_path) as study:
        study.order("every step", SLOW)
        yield study


def has_begun(study: FaultyStudy) -> bool:
    """Whether one batch is finished and another one has begun."""
    return study.finished_attempts() >= 1 and study.epochs() > 24 * study.finished_attempts()


@pytest.mark.faults
@pytest.mark.long
@pytest.mark.parametrize("pool", ["ray", "inline"])
def test_a_driver_that_is_killed_leaves_no_processes_and_resume_does_the_rest(study: FaultyStudy, pool: str) -> None:
    driver = study.start("run", "--pool", pool)
    wait_until(lambda: has_begun(study), lambda: study.errors_of(driver))
    if pool == "ray":
        assert any(title.startswith("ray::") for title in study.living().values())
    driver.kill()
    driver.wait()
    wait_until(lambda: not study.orphans(), study.orphans, seconds=30)
    kept = study.finished_runs()
    assert kept
    assert "RUNNING" in study.states_of_trials()
    status = study.command("status", "faulty").output
    assert f"its driver, process {driver.pid} on {os.uname().nodename}, has died" in status
    assert "adai-study resume faulty" in status
    study.resume()
    assert kept.items() <= study.finished_runs().items()  # what was finished was not run again
    (taken,) = study.logs("study_taken_over")
    assert taken["dead_driver"] == f"process {driver.pid} on {os.uname().nodename}"
    (cancelled,) = study.logs("attempts_cancelled")
    lost = study.query("SELECT id, error FROM adai_attempts WHERE termination = 'CANCELLED'")
    assert lost == [(attempt, "the driver ended before this attempt did") for attempt in cancelled["attempts"]]
    assert_undisturbed(study)
    wait_until(lambda: not study.living(), study.living, seconds=120)


@pytest.mark.long
@needs_root
@pytest.mark.faults
def test_a_stopped_driver_whose_study_was_taken_over_writes_nothing_when_it_goes_on(study: FaultyStudy) -> None:
    first = study.start("run", "--pool", "inline", prefix=ELSEWHERE)
    wait_until(lambda: has_begun(study), lambda: study.errors_of(first))
    stop_outside_of_transactions(study, first.pid)
    second = study.start("resume", "--pool", "inline")
    wait_until(lambda: study.logs("study_taken_over"), lambda: study.errors_of(second))
    wait_until(lambda: has_begun(study) and study.logs("attempt_started")[-1]["tries"] == 1)
    os.kill(first.pid, signal.SIGCONT)
    code, errors = study.end_of(first)
    assert code == 1
    told = errors.splitlines()[-1]
    assert told.startswith(
        f"Error: study 'faulty' is not this process's any more (process {second.pid} on {os.uname().nodename} has it): "
    )
    assert "Traceback" not in errors
    assert study.state() == "running"
    study.revoke()
    code, errors = study.end_of(second)
    assert code == 0, errors
    (taken,) = study.logs("study_taken_over")
    assert taken["dead_driver"] == f"process {first.pid} on elsewhere"
    (cancelled,) = study.logs("attempts_cancelled")
    later = f"SELECT DISTINCT driver FROM adai_attempts WHERE id > {max(cancelled['attempts'])}"
    assert [claim.split(":")[1] for (claim,) in study.query(later)] == [str(second.pid)]
    assert_undisturbed(study)


def stop_outside_of_transactions(study: FaultyStudy, pid: int) -> None:
    """Stop a process while it has no lock of the database: others could not write, and that is another fault."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        try:
            with sqlite3.connect(study.file, timeout=0.5) as database:
                database.execute("BEGIN IMMEDIATE")
                return
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.05)


@needs_root
@pytest.mark.faults
def test_a_second_driver_on_another_host_is_refused_and_disturbs_nothing(study: FaultyStudy) -> None:
    first = study.start("run", "--pool", "inline")
    wait_until(lambda: study.epochs() > 0, lambda: study.errors_of(first))
    second = study.start("resume", "--pool", "inline", prefix=ELSEWHERE)
    code, errors = study.end_of(second)
    assert code == 1
    assert errors.startswith(f"Error: study 'faulty' is being run by process {first.pid} on {os.uname().nodename}; ")
    study.revoke()
    code, errors = study.end_of(first)
    assert code == 0, errors
    assert study.terminations() == {"COMPLETED": 8}
    assert_undisturbed(study)


@pytest.mark.faults
def test_of_two_drivers_that_start_at_once_one_runs_the_study(study: FaultyStudy) -> None:
    both = [study.start("run", "--pool", "inline") for _ in range(2)]
    wait_until(lambda: any(process.poll() is not None for process in both) and study.epochs() > 0)
    (loser,) = (process for process in both if process.poll() is not None)
    (winner,) = (process for process in both if process is not loser)
    code, errors = study.end_of(loser)
    assert code == 1
    refusals = (f"is being run by process {winner.pid} on ", "was taken by another process just now")
    assert any(words in errors.splitlines()[-1] for words in refusals), errors
    study.revoke()
    code, errors = study.end_of(winner)
    assert code == 0, errors
    assert study.terminations() == {"COMPLETED": 8}
    assert_undisturbed(study)


_CLAIM = """
import sys, time
from pathlib import Path
from study.errors import StudyBusyError
from study.storage.claims import claim_study
from study.storage.engine import open_database
from study.storage.patience import Patience

with open_database(sys.argv[1]) as engine:
    print("ready", flush=True)
    sys.stdin.readline()
    for study_id in map(int, sys.argv[2:]):
        try:
            claim_study(Patience(engine, seconds=1.0), study_id)
            print(study_id, flush=True)
        except StudyBusyError:
            pass
    sys.stdin.readline()
"""


def test_of_many_processes_that_claim_a_study_at_once_one_has_it(any_database_url: str) -> None:
    spec = parse_spec(SMALL_SPEC, source="small")
    with create_database(any_database_url) as engine:
        ids = [create_study(engine, spec.model_copy(update={"name": f"study-{n}"})).id for n in range(8)]
    words = [sys.executable, "-c", _CLAIM, any_database_url, *map(str, ids)]
    claimants = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for claimant in claimants:
        assert claimant.stdout is not None
        assert claimant.stdout.readline() == "ready\n"
    for claimant in claimants:
        assert claimant.stdin is not None
        claimant.stdin.write("go\n")
        claimant.stdin.flush()
    # They live on until all have claimed, or the dead would be taken over.
    time.sleep(2)
    claimed = [int(line) for claimant in claimants for line in claimant.communicate("end\n", timeout=60)[0].split()]
    assert sorted(claimed) == ids


@pytest.mark.faults
@pytest.mark.parametrize("pool", ["ray", "inline"])
def test_a_study_is_cancelled_within_ten_seconds_in_the_middle_of_an_epoch(study: FaultyStudy, pool: str) -> None:
    driver = study.start("run", "--pool", pool)
    wait_until(lambda: study.finished_attempts() >= 1, lambda: study.errors_of(driver))
    study.order("every step", "time.sleep(0.5)")  # an epoch takes 17 s now
    time.sleep(2)
    asked_at = time.monotonic()
    cancelled = study.command("cancel", "faulty")
    assert time.monotonic() - asked_at < 10
    assert cancelled.output == "faulty: cancelled; run the rest with: adai-study resume faulty\n"
    assert "RUNNING" not in study.states_of_trials()
    assert study.query("SELECT id FROM adai_attempts WHERE finished_at IS NULL") == []
    code, errors = study.end_of(driver)
    assert code == 1
    assert errors.splitlines()[-1].startswith("Error: study 'faulty' was cancelled; what was finished is kept")
    assert [entry["level"] for entry in study.logs("cancel_requested") + study.logs("study_cancelled")] == ["info"] * 2
    study.resume()
    assert_undisturbed(study)
