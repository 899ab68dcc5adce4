"""Faults of Ray's cluster under a study: its processes are killed, and it comes back."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_studies import PATIENCE, SLOW, FaultyStudy, assert_undisturbed, faulty_study, kill, processes_in, wait_until

pytestmark = pytest.mark.faults
#: A command whose workers are gone ends within this time.
SECONDS_TO_NOTICE = 60


class Head:
    """A cluster of one node, as `ray start --head` makes it.

    Attributes:
        address: What ADAI_RAY_ADDRESS is to be.
        environment: Of processes that use it: such a cluster wants a token.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Paths of Unix sockets are short: Ray's own temporary files cannot be among pytest's.
        self._files = tempfile.mkdtemp(prefix="ray-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self._token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment = self._token | {"ADAI_RAY_ADDRESS": self.address}

    def start(self) -> None:
        """Start it, or start it again at the same address."""
        words = ["start", "--head", f"--port={self._port}", "--num-cpus=2"]
        words += ["--include-dashboard=false", f"--temp-dir={self._files}", "--object-store-memory=100000000"]
        subprocess.run(
            [str(Path(sys.executable).with_name("ray")), *words, "--disable-usage-stats"],
            cwd=self.folder,
            env=os.environ | self._token,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
        )

    def kill(self) -> None:
        """End all its processes at once."""
        while living := processes_in(self.folder):
            for pid in living:
                kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        shutil.rmtree(self._files, ignore_errors=True)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[FaultyStudy]:
    """A study that trains slowly until it is resumed."""
    (tmp_path / "study").mkdir()
    with faulty_study(tmp_path / "study") as study:
        study.order("every step", SLOW)
        yield study


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    """A running cluster, whose processes are those in its folder."""
    (tmp_path / "head").mkdir()
    head = Head(tmp_path / "head")
    try:
        head.start()
        yield head
    finally:
        head.close()


def assert_one_clear_message(errors: str, *words: str) -> None:
    """Progress, then one error with these words."""
    before, error, message = errors.partition("Error: ")
    assert error, errors
    assert all(line.startswith("faulty ") for line in before.splitlines()), before
    assert "Error: " not in message
    for word in words:
        assert word in message, message


def test_a_killed_raylet_ends_the_command_with_one_message(study: FaultyStudy) -> None:
    driver = study.start("run", "--workers", "2")
    wait_until(lambda: study.finished_attempts() >= 1, lambda: study.errors_of(driver))
    (raylet,) = [pid for pid, title in study.living().items() if re.match(r"\S*/raylet/raylet ", title)]
    os.kill(raylet, signal.SIGKILL)
    code, errors = study.end_of(driver, within=SECONDS_TO_NOTICE)
    assert code == 1
    assert_one_clear_message(
        errors,
        "the workers were lost while study 'faulty' ran: the local Ray of this process is gone",
        "run the rest with: adai-study resume faulty",
    )
    assert study.state() == "interrupted"
    assert "RUNNING" not in study.states_of_trials()
    assert_lost_attempts_are_told(study)
    study.resume()
    assert_undisturbed(study)


def assert_lost_attempts_are_told(study: FaultyStudy) -> None:
    """What was lost with the cluster is nobody's fault: no trial is one try nearer to being given up."""
    assert study.terminations().keys() == {"COMPLETED", "CANCELLED"}
    (told,) = study.logs("attempts_cancelled")
    lost = study.query("SELECT id FROM adai_attempts WHERE termination = 'CANCELLED' ORDER BY id")
    assert sorted(told["attempts"]) == [attempt for (attempt,) in lost]


@pytest.mark.long
def test_a_cluster_that_is_gone_ends_the_command_and_one_that_is_back_runs_the_rest(
    study: FaultyStudy, head: Head
) -> None:
    driver = study.start("run", **head.environment)
    wait_until(lambda: study.finished_attempts() >= 1, lambda: study.errors_of(driver))
    head.kill()
    code, errors = study.end_of(driver, within=SECONDS_TO_NOTICE)
    assert code == 1
    assert_one_clear_message(errors, f"the Ray cluster at {head.address} is gone", "adai-study resume faulty")
    assert study.state() == "interrupted"
    assert_lost_attempts_are_told(study)
    away = study.start("resume", **head.environment)
    code, errors = study.end_of(away, within=SECONDS_TO_NOTICE)
    assert code == 1
    assert errors.startswith(f"Error: no Ray cluster answers at '{head.address}'")
    assert study.state() == "interrupted"
    head.start()
    study.revoke()
    code, errors = study.end_of(study.start("resume", **head.environment))
    assert code == 0, errors
    workers = study.query("SELECT DISTINCT worker FROM adai_attempts WHERE termination = 'COMPLETED'")
    assert {worker for (worker,) in workers} == {"ray-0", "ray-1"}
    assert_undisturbed(study)


@pytest.mark.long
def test_a_cluster_that_wants_a_token_says_so(study: FaultyStudy, head: Head) -> None:
    code, errors = study.end_of(study.start("run", ADAI_RAY_ADDRESS=head.address), within=SECONDS_TO_NOTICE)
    assert code == 1
    assert_one_clear_message(errors, f"no Ray cluster answers at '{head.address}' (it wants another token, ")


@pytest.mark.long
def test_a_server_survives_the_loss_of_its_cluster(tmp_path: Path, head: Head) -> None:
    (tmp_path / "study").mkdir()
    with faulty_study(tmp_path / "study", queued=True) as study:
        study.order("every step", SLOW)
        server = study.start("serve", "--until-idle", **head.environment)
        wait_until(lambda: study.finished_attempts() >= 1, lambda: study.errors_of(server))
        head.kill()
        wait_until(lambda: study.state() == "queued", lambda: study.errors_of(server), seconds=SECONDS_TO_NOTICE)
        assert "RUNNING" not in study.states_of_trials()
        wait_until(lambda: '"workers_lost"' in study.errors_of(server), lambda: study.errors_of(server))
        assert server.poll() is None
        study.revoke()
        head.start()
        code, errors = study.end_of(server)
        assert code == 0, errors
        assert len(study.logs("study_started")) == 2
        assert_lost_attempts_are_told(study)
        assert_undisturbed(study)
