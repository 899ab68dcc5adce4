"""The dashboard: the real command, with Optuna Dashboard live, and only for reading."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from dashboard_server import copy_database
from tests_support import ADAI_STUDY, SMALL_SPEC

from dashboards.context import DashboardOptions
from dashboards.serving import serve
from study.errors import RequestError

#: Where a body of any size could be sent.
PATHS = ["/sign-in", "/v1/tokens", "/api/studies", "/sign-out", "/nothing"]


@dataclass(frozen=True)
class Started:
    """The command, and a browser that has signed in with its link."""

    process: subprocess.Popen[str]
    port: int
    browser: httpx.Client

    def get(self, path: str) -> httpx.Response:
        """What the browser is shown."""
        answer = self.browser.get(path)
        assert answer.status_code == 200, answer.text
        return answer

    def studies(self) -> dict[str, int]:
        """Name of each Optuna study -> its id."""
        return {s["study_name"]: s["study_id"] for s in self.get("/api/studies").json()["study_summaries"]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started_dashboard(url: str) -> Iterator[Started]:
    port = free_port()
    words = [ADAI_STUDY, "dashboard", "--port", str(port), "--db", url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = f"http://127.0.0.1:{port}/"
            told = f"Dashboard: {address} (Optuna Dashboard: {address}dashboard; Ctrl-C ends it)\n"
            assert process.stdout.readline() == told
            link = process.stdout.readline().removeprefix("Sign in, once: ").strip()
            assert link.startswith(f"{address}sign-in?key=")
            with httpx.Client(base_url=address, timeout=30, transport=httpx.HTTPTransport(retries=5)) as browser:
                assert browser.get(link).status_code == 303
                yield Started(process, port, browser)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def dashboard(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with started_dashboard(copy_database(finished[0], tmp_path_factory.mktemp("app"))) as running:
        yield running
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(timeout=20) in (0, 130)
        assert running.process.stderr is not None
        assert "Traceback" not in running.process.stderr.read()


def test_the_page_and_its_script_are_served_from_here(dashboard: Started) -> None:
    page = dashboard.get("/dashboard").text
    scripts = re.findall(r'src="([^"]+)"', page)
    assert scripts
    assert all(script.startswith("/") for script in scripts)
    assert len(dashboard.get(scripts[0]).content) > 100_000


def test_every_trial_of_a_study_is_shown_with_values_and_curves(dashboard: Started) -> None:
    found = dashboard.studies()
    assert set(found) == {"small/digits-logistic/adai", "small/digits-logistic/sgd"}
    detail = dashboard.get(f"/api/studies/{found['small/digits-logistic/adai']}?after=0").json()
    assert len(detail["trials"]) == 5
    for trial in detail["trials"]:
        assert trial["state"] == "Complete"
        assert {param["name"] for param in trial["params"]} == {"lr", "beta0", "beta2"}
        assert len(trial["values"]) == 1
        assert next(value["step"] for value in trial["intermediate_values"]) == 1


@pytest.mark.parametrize("plot", ["contour", "slice", "parallel_coordinate", "rank", "edf", "timeline"])
def test_every_plot_of_a_study_is_drawn(plot: str, dashboard: Started) -> None:
    study_id = dashboard.studies()["small/digits-logistic/adai"]
    assert "data" in dashboard.get(f"/api/studies/{study_id}/plot/{plot}").json()


def test_it_listens_on_the_loopback_address_only(dashboard: Started) -> None:
    listening = {line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "0A"}
    assert [address for address in listening if address.endswith(f":{dashboard.port:04X}")] == [
        f"0100007F:{dashboard.port:04X}"
    ]


def test_a_taken_port_is_named(dashboard: Started, finished: tuple[str, Path], tmp_path: Path) -> None:
    url = copy_database(finished[0], tmp_path)
    options = DashboardOptions(database_url=url, reader_url=url, reports=tmp_path)
    with pytest.raises(RequestError, match=f"port {dashboard.port} of 127.0.0.1 cannot be used .*another with --port"):
        serve(options, "127.0.0.1", dashboard.port)


def test_a_body_of_100_mb_in_chunks_is_refused_and_never_held(dashboard: Started) -> None:
    before = peak_memory(dashboard.process.pid)
    assert max(send_chunks(dashboard.port, path, 100) for path in PATHS) < 20_000_000
    assert peak_memory(dashboard.process.pid) < before + 30_000


def peak_memory(pid: int) -> int:
    """KiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1))


def send_chunks(port: int, path: str, megabytes: int) -> int:
    """How many bytes of a form could be sent before the server cut the connection."""
    chunk = b"%x\r\n%s\r\n" % (1_000_000, b"x" * 1_000_000)
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        kind = "Content-Type: application/x-www-form-urlencoded"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        try:
            for _ in range(megabytes):
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    return sent


def test_trials_appear_while_the_study_runs(tmp_path: Path) -> None:
    # So many seeds that the five trials of an optimizer are more than one batch.
    text = SMALL_SPEC.replace("epochs = 2", "epochs = 400").replace("seeds = 2", "seeds = 60")
    (tmp_path / "long.toml").write_text(text)
    url = f"sqlite:///{tmp_path}/study.db"
    words = [ADAI_STUDY, "run", "long.toml", "--pool", "inline", "--db", url]
    driver = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "study.db").exists() or not started(tmp_path / "study.db"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    try:
        with started_dashboard(url) as dashboard:
            assert states_seen(dashboard, time.monotonic() + 150) >= {"Waiting", "Running", "Complete", "live curve"}
            assert driver.poll() is None  # all of that was seen while the study ran, and the driver was not disturbed
            dashboard.process.send_signal(signal.SIGTERM)
            assert dashboard.process.wait(timeout=20) == 0
    finally:
        os.killpg(driver.pid, signal.SIGINT)
        driver.communicate(timeout=30)
    assert driver.returncode == 130


def states_seen(dashboard: Started, deadline: float) -> set[str]:
    seen: set[str] = set()
    while not {"Waiting", "Running", "Complete", "live curve"} <= seen:
        assert time.monotonic() < deadline, seen
        for study in dashboard.studies().values():
            for trial in dashboard.get(f"/api/studies/{study}?after=0").json()["trials"]:
                seen.add(trial["state"])
                if trial["state"] == "Running" and trial["intermediate_values"]:
                    seen.add("live curve")
        time.sleep(0.2)
    return seen


def started(path: Path) -> bool:
    """Whether a run has begun, asked of a database that is being written."""
    import sqlite3

    connection = sqlite3.connect(path)
    try:
        return bool(connection.execute("SELECT COUNT(*) FROM adai_epochs").fetchone()[0])
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
