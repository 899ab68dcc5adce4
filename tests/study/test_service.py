"""The service: queue, server, cancelling, watching, logs and metrics, through the real command."""

import json
import re
import socket
import subprocess
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests_support import ADAI_STUDY, SMALL_SPEC, Command, comparable_tables, count, fails, wait_for

from study.storage.engine import open_database
from workers.messages import Termination

pytestmark = pytest.mark.processes


def write_spec(folder: Path, name: str, **changes: str) -> Path:
    text = SMALL_SPEC.replace('"small"', f'"{name}"')
    for old, new in changes.items():
        text = re.sub(rf"^{old} = .*$", f"{old} = {new}", text, flags=re.MULTILINE)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def serve(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A server that stops when it is idle; without reports unless asked for."""
    report = [] if "--out" in words else ["--no-reports"]
    command = [ADAI_STUDY, "serve", "--until-idle", "--pool", "inline", "--db", url, *report, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def states(url: str) -> dict[str, str]:
    with open_database(url) as engine, engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT name, state FROM adai_studies ORDER BY id"))
        return {row.name: row.state for row in rows}


def events(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines()]


def test_a_server_runs_queued_studies_side_by_side_and_writes_their_reports(
    command: Command, any_database_url: str, tmp_path: Path, finished: tuple[str, Path]
) -> None:
    for name in ("first", "second", "third"):
        result = command("submit", write_spec(tmp_path, name), "--db", any_database_url)
        assert result.output == f"{name}: queued, 10 trials; watch it with: adai-study watch {name}\n"
    assert set(states(any_database_url).values()) == {"queued"}
    server = serve(any_database_url, "--studies", "2", "--out", str(tmp_path / "reports"))
    assert server.returncode == 0, server.stderr
    assert states(any_database_url) == dict.fromkeys(("first", "second", "third"), "completed")
    with open_database(finished[0]) as engine:
        undisturbed = comparable_tables(engine)
    with open_database(any_database_url) as engine:
        for name in ("first", "second", "third"):
            assert comparable_tables(engine, name) == undisturbed
            assert (tmp_path / "reports" / name / "report.html").is_file()
    log = events(server.stderr)
    started = [event["study"] for event in log if event["event"] == "study_started"]
    assert sorted(started) == ["first", "second", "third"]
    # Two at once: the second starts before the first has ended.
    names = [event["event"] for event in log if event["event"] in ("study_started", "study_completed")]
    assert names[:2] == ["study_started"] * 2
    for event in log:
        assert {"event", "level", "timestamp"} <= set(event)
        if event["event"].startswith("attempt_"):
            assert {"study", "study_id", "attempt", "trials"} <= set(event)


def test_a_study_that_is_there_is_not_written_again(command: Command, database_url: str, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, "once")
    command("submit", spec, "--db", database_url)
    again = command("submit", spec, "--db", database_url)
    assert (again.exit_code, again.output) == (0, "once: queued already; nothing was done\n")
    other = write_spec(tmp_path, "once", seeds="3")
    fails(command("submit", other, "--db", database_url), 2, "the name 'once' is already used", "another name")
    assert serve(database_url).returncode == 0
    assert "report_written" not in command("logs", "once", "--db", database_url).output
    result = command("submit", write_spec(tmp_path, "once"), "--db", database_url)
    assert result.output == "once: completed already; nothing was done\n"


def test_a_cancelled_study_is_passed_over_and_may_be_queued_again(
    command: Command, database_url: str, tmp_path: Path
) -> None:
    for name in ("goes", "waits"):
        command("submit", write_spec(tmp_path, name), "--db", database_url)
    assert command("cancel", "goes", "--db", database_url).output == "goes: cancelled\n"
    assert serve(database_url).returncode == 0
    assert states(database_url) == {"goes": "cancelled", "waits": "completed"}
    assert command("cancel", "waits", "--db", database_url).output == "waits: completed\n"
    again = command("submit", tmp_path / "goes.toml", "--db", database_url)
    assert again.output == "goes: queued again; it was cancelled\n"
    assert serve(database_url).returncode == 0
    assert states(database_url)["goes"] == "completed"
    fails(command("cancel", "nobody", "--db", database_url), 2, "no study is called 'nobody'", "goes, waits")


def test_a_study_that_cannot_run_fails_with_its_reason_and_the_next_one_runs(
    command: Command, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAI_DATA", str(tmp_path / "nothing"))
    command("submit", write_spec(tmp_path, "no-data", workloads='["imagefolder-mlp"]'), "--db", database_url)
    command("submit", write_spec(tmp_path, "sound"), "--db", database_url)
    server = serve(database_url)
    assert server.returncode == 0
    assert "Traceback" not in server.stderr
    assert states(database_url) == {"no-data": "failed", "sound": "completed"}
    status = command("status", "no-data", "--db", database_url).output
    assert "failed" in status
    assert "MissingDataError" in status
    assert "study_failed" in command("logs", "no-data", "--db", database_url).output


def test_a_study_can_be_watched_to_its_end(command: Command, database_url: str, tmp_path: Path) -> None:
    command("submit", write_spec(tmp_path, "seen"), "--db", database_url)
    with subprocess.Popen(
        [ADAI_STUDY, "watch", "seen", "--db", database_url, "--interval", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watcher:
        assert serve(database_url).returncode == 0
        out, shown = watcher.communicate(timeout=60)
    assert (watcher.returncode, out) == (0, "seen: completed\n")
    lines = shown.splitlines()
    assert lines[0].startswith("seen   0% · 0/10 trials")
    assert lines[-1].startswith("seen 100% · 10/10 trials")
    command("submit", write_spec(tmp_path, "stopped"), "--db", database_url)
    command("cancel", "stopped", "--db", database_url)
    result = command("watch", "stopped", "--db", database_url)
    assert result.exit_code == 1
    assert result.output.endswith("stopped: cancelled\n")


def test_logs_tell_what_happened_as_text_and_as_json(command: Command, finished: tuple[str, Path]) -> None:
    text = command("logs", "small", "--db", finished[0]).output.splitlines()
    entries = [json.loads(line) for line in command("logs", "small", "--json", "--db", finished[0]).output.splitlines()]
    assert len(text) == len(entries)
    assert [entry["event"] for entry in entries][:2] == ["study_created", "study_started"]
    assert entries[-1]["event"] == "study_completed"
    kinds = Counter(entry["event"] for entry in entries)
    assert kinds["attempt_started"] == kinds["attempt_finished"] >= 2
    trained = [
        (entry["optimizer"], n) for entry in entries if entry["event"] == "attempt_finished" for n in entry["trials"]
    ]
    assert sorted(trained) == [(name, number) for name in ("adai", "sgd") for number in range(5)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info    study_completed", text[-1])


def test_prometheus_finds_what_a_server_counts(command: Command, database_url: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # One study runs at a time, so that the other one waits.
    for name in ("long", "next"):
        command("submit", write_spec(tmp_path, name, epochs="30", seeds="40"), "--db", database_url)
    words = ["serve", "--pool", "inline", "--studies", "1", "--metrics-port", str(port), "--db", database_url]
    with subprocess.Popen([ADAI_STUDY, *words, "--no-reports"], stderr=subprocess.PIPE, text=True) as server:
        path = Path(database_url.removeprefix("sqlite:///"))
        wait_for(lambda: count(path, "SELECT COUNT(*) FROM adai_runs WHERE termination IS NOT NULL") > 0)
        wait_for(lambda: 'adai_runs_total{termination="completed"} 0.0' not in scrape(port))
        metrics = scrape(port)
        server.terminate()
        _, log = server.communicate(timeout=60)
    assert server.returncode == 0, log
    for line in (
        "adai_queue_length 1.0",
        "adai_studies_running 1.0",
        "adai_workers 1.0",
        "adai_lease_losses_total 0.0",
    ):
        assert line in metrics.splitlines(), metrics
    value = {name: float(number) for name, number in re.findall(r"^(\S+) (\S+)$", metrics, re.MULTILINE)}
    assert value['adai_runs_total{termination="completed"}'] >= 40
    assert value["adai_run_epochs_total"] >= value['adai_runs_total{termination="completed"}']
    assert value["adai_database_seconds_count"] > value['adai_attempts_total{termination="completed"}'] > 0
    for termination in Termination:
        assert f'adai_runs_total{{termination="{termination.name.lower()}"}}' in value


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_server_says_what_it_cannot_use(command: Command, database_url: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["serve", "--until-idle", "--pool", "inline", "--db", database_url, "--out", tmp_path / "reports"]
        fails(command(*words, "--metrics-port", port), 2, f"port {port} of 127.0.0.1 cannot be used", "--metrics-port")
    (tmp_path / "file").write_text("mine")
    fails(command(*words[:-1], tmp_path / "file"), 2, "name")
    both = command(*words, "--no-reports")
    assert both.exit_code == 2
    assert "--out names the folder of the reports, --no-reports writes none; leave one out" in both.output


def test_a_wrong_environment_is_named(command: Command, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAI_LEASE_SECONDS", "soon")
    fails(command("list", "--db", database_url), 2, "ADAI_LEASE_SECONDS is 'soon'", "correct or unset it")
