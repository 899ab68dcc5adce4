"""Faults of servers: told to end, killed. The queue is finished by the next one."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_studies import SLOW, FaultyStudy, assert_undisturbed, faulty_study, wait_until

pytestmark = pytest.mark.faults
DRAIN = 4.0
#: Ray's end and a last transaction of a busy machine.
SECONDS_TO_END = 30.0


@pytest.fixture
def study(tmp_path: Path) -> Iterator[FaultyStudy]:
    """A queued study that trains slowly."""
    with faulty_study(tmp_path, queued=True) as study:
        study.order("every step", SLOW)
        yield study


def finish(study: FaultyStudy) -> None:
    """The next server runs the rest."""
    study.revoke()
    server = study.start("serve", "--pool", "inline", "--until-idle")
    code, errors = study.end_of(server)
    assert code == 0, errors
    assert_undisturbed(study)


@pytest.mark.long
@pytest.mark.parametrize("pool", ["ray", "inline"])
def test_a_server_that_is_told_to_end_drains_and_leaves_the_rest_to_the_next(study: FaultyStudy, pool: str) -> None:
    server = study.start("serve", "--pool", pool, "--drain-seconds", str(DRAIN))
    wait_until(lambda: study.finished_attempts() >= 1, lambda: study.errors_of(server))
    study.order("every step", "time.sleep(0.5)")  # an epoch takes 17 s now, and cannot be waited for
    time.sleep(1)
    server.send_signal(signal.SIGTERM)
    code, errors = study.end_of(server, within=DRAIN + SECONDS_TO_END)
    assert code == 0, errors
    assert study.state() == "queued"
    assert "RUNNING" not in study.states_of_trials()
    assert study.query("SELECT id FROM adai_attempts WHERE finished_at IS NULL") == []
    assert study.query("SELECT driver FROM adai_studies") == [(None,)]
    assert study.logs("attempts_cancelled")
    finish(study)


@pytest.mark.long
def test_batches_that_end_within_the_time_for_draining_are_kept(study: FaultyStudy) -> None:
    server = study.start("serve", "--pool", "inline", "--drain-seconds", "60")
    wait_until(lambda: study.finished_attempts() >= 1 and study.epochs() > 24, lambda: study.errors_of(server))
    server.send_signal(signal.SIGTERM)
    code, errors = study.end_of(server)
    assert code == 0, errors
    assert study.state() == "queued"
    begun = len(study.logs("attempt_started"))
    assert 1 < begun < 8
    assert study.terminations() == {"COMPLETED": begun}
    finish(study)


@pytest.mark.parametrize("pool", ["ray", "inline"])
def test_the_next_server_finishes_what_a_killed_one_left(study: FaultyStudy, pool: str) -> None:
    server = study.start("serve", "--pool", pool)
    wait_until(lambda: study.finished_attempts() >= 1, lambda: study.errors_of(server))
    server.kill()
    server.wait()
    wait_until(lambda: not study.orphans(), study.orphans, seconds=30)
    assert study.state() == "running"
    kept = study.finished_runs()
    finish(study)
    assert kept.items() <= study.finished_runs().items()
    (died,) = study.logs("driver_died")
    assert died["dead_driver"].startswith(f"process {server.pid} on ")
    assert study.logs("attempts_cancelled")
