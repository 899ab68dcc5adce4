"""The dashboard: Optuna Dashboard over a real server, live, and only for reading."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests_support import SMALL_SPEC

from study.errors import RequestError

ADAI_STUDY = str(Path(sys.executable).with_name("adai-study"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_dashboard(url: str) -> tuple[subprocess.Popen[str], int]:
    port = free_port()
    words = [ADAI_STUDY, "dashboard", "--port", str(port), "--db", url]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"Optuna Dashboard: http://127.0.0.1:{port}/dashboard (Ctrl-C ends it)\n"
    return process, port


@pytest.fixture(scope="module")
def port(finished: tuple[str, Path]) -> Iterator[int]:
    process, port = start_dashboard(finished[0])
    yield port
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) in (0, 130)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.communicate()


def get(port: int, path: str) -> bytes:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                return bytes(answer.read())
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def ask(port: int, method: str, path: str, *, host: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}"})
    status = connection.getresponse().status
    connection.close()
    return status


def studies(port: int) -> dict[str, int]:
    return {s["study_name"]: s["study_id"] for s in json.loads(get(port, "/api/studies"))["study_summaries"]}


def test_the_page_and_its_script_are_served_from_here(port: int) -> None:
    page = get(port, "/dashboard").decode()
    scripts = re.findall(r'src="([^"]+)"', page)
    assert scripts
    assert all(script.startswith("/") for script in scripts)
    assert len(get(port, scripts[0])) > 100_000


def test_every_trial_of_a_study_is_shown_with_values_and_curves(port: int) -> None:
    found = studies(port)
    assert set(found) == {"small/digits-logistic/adai", "small/digits-logistic/sgd"}
    detail = json.loads(get(port, f"/api/studies/{found['small/digits-logistic/adai']}?after=0"))
    assert len(detail["trials"]) == 5
    for trial in detail["trials"]:
        assert trial["state"] == "Complete"
        assert {param["name"] for param in trial["params"]} == {"lr", "beta0", "beta2"}
        assert len(trial["values"]) == 1
        assert next(value["step"] for value in trial["intermediate_values"]) == 1


@pytest.mark.parametrize("plot", ["contour", "slice", "parallel_coordinate", "rank", "edf", "timeline"])
def test_every_plot_of_a_study_is_drawn(plot: str, port: int) -> None:
    study_id = studies(port)["small/digits-logistic/adai"]
    assert "data" in json.loads(get(port, f"/api/studies/{study_id}/plot/{plot}"))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed_through_it(method: str, port: int) -> None:
    study_id = next(iter(studies(port).values()))
    assert ask(port, method, f"/api/studies/{study_id}") == 405
    assert ask(port, method, "/api/studies") == 405
    assert len(studies(port)) == 2


def test_only_this_machines_names_are_answered(port: int) -> None:
    assert ask(port, "GET", "/api/studies") == 200
    assert ask(port, "GET", "/api/studies", host=f"localhost:{port}") == 200
    assert ask(port, "GET", "/api/studies", host="evil.example") == 400


def test_it_listens_on_the_loopback_address_only(port: int) -> None:
    listening = {line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "0A"}
    assert [address for address in listening if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_a_taken_port_is_named(port: int, database_url: str) -> None:
    from dashboards.app import serve

    with pytest.raises(RequestError, match=f"port {port} of 127.0.0.1 cannot be used .*; choose another with --port"):
        serve(database_url, port)


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
    dashboard, port = start_dashboard(url)
    try:
        seen: set[str] = set()
        while not {"Waiting", "Running", "Complete"} <= seen:
            assert time.monotonic() < deadline, seen
            for study in studies(port).values():
                for trial in json.loads(get(port, f"/api/studies/{study}?after=0"))["trials"]:
                    seen.add(trial["state"])
                    if trial["state"] == "Running" and trial["intermediate_values"]:
                        seen.add("live curve")
            time.sleep(0.2)
        assert "live curve" in seen
        assert driver.poll() is None  # all of that was seen while the study ran, and the driver was not disturbed
    finally:
        os.killpg(driver.pid, signal.SIGINT)
        dashboard.send_signal(signal.SIGINT)
        for process in (driver, dashboard):
            process.communicate(timeout=30)
    assert driver.returncode == 130


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
