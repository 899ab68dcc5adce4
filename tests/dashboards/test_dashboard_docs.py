"""The documentation of the dashboard: held to the code, and every example of the API run against a real server."""

import contextlib
import itertools
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dashboard_server import OPERATOR, PASSWORD, Served, copy_database, served
from doc_pages import EXAMPLES, FENCE, ROOT, first_names, names, read, rows, section
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from tests_support import ADAI_STUDY, SMALL_SPEC

from dashboards.api import reports
from dashboards.api import tokens as tokens_api
from dashboards.live import _INTERVAL_SECONDS
from dashboards.pages.study import TABS
from dashboards.paths import OPTUNA_ROOTS, is_open
from dashboards.security import sessions, sign_in_limit
from dashboards.security.body_limit import MAX_BODY
from dashboards.security.principals import require_operator
from dashboards.serving import MIN_SECRET
from study import database_roles, spec_checking
from study.accounts import MAX_PASSWORD, MIN_PASSWORD
from study.creation import MOST_RUNS
from study.settings import Settings
from study.storage.servers import SILENCE_SECONDS
from study.storage.tables import audit

STATIC = ROOT / "dashboards" / "static"
TEMPLATES = ROOT / "dashboards" / "templates"


@pytest.fixture(scope="module")
def dashboard(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "reports").mkdir()
    (folder / "reports" / "small").symlink_to(finished[1])
    with served(copy_database(finished[0], folder), folder) as running:
        running.add_user("ana", "operator")
        yield running


def needs_operator(dependant: Dependant) -> bool:
    return dependant.call is require_operator or any(needs_operator(below) for below in dependant.dependencies)


def role_of(route: Any) -> str:
    if is_open(route.path):
        return "all"
    return "operator" if needs_operator(route.dependant) else "viewer"


def routes_of(dashboard: Served) -> dict[tuple[str, str], str]:
    """Method and address of each route that is ours -> the role that it needs."""
    return {
        (method, re.sub(r":\w+}", "}", str(route.path))): role_of(route)
        for route in iter_route_contexts(dashboard.app.routes)
        for method in route.methods or {"GET"}
        if method != "HEAD" and not any(route.path.startswith(root) for root in OPTUNA_ROOTS)
    }


# The API


def documented_routes() -> dict[tuple[str, str], list[str]]:
    table = rows(section("api.md", "All addresses"), "method")
    return {(row[0], names(row[1])[0]): row[2:] for row in table}


def test_every_address_of_the_api_is_documented_with_its_role(dashboard: Served) -> None:
    routes = {key: role for key, role in routes_of(dashboard).items() if key[1].startswith(("/v1", "/health"))}
    assert {key: row[0] for key, row in documented_routes().items()} == routes


def test_every_parameter_of_the_api_is_documented(dashboard: Served) -> None:
    with dashboard.token("ana", "viewer") as client:
        paths = client.get("/v1/openapi.json").json()["paths"]
    documented = {key: names(row[2]) for key, row in documented_routes().items()}
    for path, methods in paths.items():
        for method, operation in methods.items():
            asked = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
            assert sorted(documented[method.upper(), path]) == sorted(asked), path


def keys_of(value: Any) -> Any:
    return {key: keys_of(below) for key, below in value.items()} if isinstance(value, dict) else type(value)


def test_every_example_of_the_api_runs_and_says_what_is_shown(
    dashboard: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [(match[1], match[2]) for match in FENCE.finditer(read("api.md"))]
    scripts = [text for language, text in blocks if language == "sh"]
    marker = "--- the next example ---"
    script = f"\necho; echo '{marker}'\n".join(scripts).replace("http://127.0.0.1:8080", dashboard.address)
    script = script.replace("/studies/digits", "/studies/small").replace("digits-report\n", "small-report\n")
    (tmp_path / "my-study.toml").write_text(SMALL_SPEC.replace('"small"', '"my-study"').replace("= 7", "= 8"))
    monkeypatch.setenv("ADAI_DATABASE_URL", dashboard.context.options.database_url)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{Path('/usr/bin')}:/bin")
    done = subprocess.run(
        ["bash", "-euc", f"set -o pipefail\n{script}"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [part.strip() for part in done.stdout.split(marker)]
    assert len(said) == len(scripts)
    number = -1
    for language, text in blocks:
        number += language == "sh"
        if language == "json":
            assert keys_of(json.loads(said[number])) == keys_of(json.loads(text))
        elif language == "text":
            assert said[number].splitlines() == text.strip().splitlines()
    assert all(said)
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 2 * 5 * 2
    assert (tmp_path / "runs.parquet").read_bytes()[:4] == b"PAR1"
    assert "event: study" in next(text for text in said if "retry:" in text)


# The dashboard


def test_what_each_role_may_do_is_what_the_code_says(dashboard: Served) -> None:
    allowed = {"all": ["yes", "yes", "yes"], "viewer": ["no", "yes", "yes"], "operator": ["no", "no", "yes"]}
    documented = {}
    for row in rows(section("dashboard.md", "What each role may do"), "address"):
        method, path = names(row[0])[0].split()
        documented[method, path] = row[2:]
    tabs = {f"/studies/{{name}}/{tab}" for tab in TABS if tab}
    routes = {key: role for key, role in routes_of(dashboard).items() if key[1] not in tabs}
    # Of the API, everything that writes or is for operators only; api.md has the rest.
    told = {
        key: allowed[role]
        for key, role in routes.items()
        if not key[1].startswith("/v1") or role == "operator" or key[0] != "GET"
    }
    assert documented == told


def test_the_examples_of_users_run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = [m[2] for m in FENCE.finditer(section("dashboard.md", "For several people")) if m[1] == "sh"]
    monkeypatch.setenv("ADAI_DATABASE_URL", database_url)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.setenv("PASSWORD", PASSWORD)
    words = ["bash", "-euc", "\n".join(scripts)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split()[:2] for line in done.stdout.splitlines()]
    assert lines == [["vera", "added,"], ["otto", "operator"], ["vera", "viewer"]]


def test_every_tab_of_a_study_is_documented() -> None:
    assert first_names(section("dashboard.md", "A study"), "tab") == list(TABS.values())


def test_every_setting_of_the_dashboard_has_its_line() -> None:
    told = set(first_names(section("dashboard.md", "Settings"), "variable"))
    fields = {f"ADAI_{name.upper()}" for name in Settings.model_fields if "dashboard" in name or "reader" in name}
    assert told == fields


def test_the_limits_are_those_of_the_code() -> None:
    text = " ".join(section("dashboard.md", "Limits").split())
    assert f"| {MAX_BODY:,} bytes |" in text
    assert f"| {spec_checking.MAX_CHARACTERS:,} characters |" in text
    assert f"| {MOST_RUNS:,} |" in text
    assert f"| {MIN_PASSWORD} to {MAX_PASSWORD:,} characters |" in text
    assert f"| {MIN_SECRET} characters |" in text
    assert f"| {sign_in_limit._OF_PAIR.amount} in {sign_in_limit._MINUTES} minutes |" in text
    assert f"| {sign_in_limit._OF_ADDRESS.amount} in {sign_in_limit._MINUTES} minutes |" in text
    assert f"| {sign_in_limit._REFUSALS.amount} in {sign_in_limit._MINUTES} minutes |" in text
    assert f"| {sessions.LIFETIME.total_seconds() / 3600:g} hours |" in text
    assert f"| {tokens_api._MAX_TOKENS} |" in text
    assert f"| {tokens_api._MAX_DAYS:,} days |" in text
    assert f"| {reports._MOST_WRITTEN} |" in text
    assert f"| {_INTERVAL_SECONDS:g} second |" in text
    assert f"| {SILENCE_SECONDS:g} seconds |" in text


def test_the_rights_of_the_database_roles_are_those_of_the_code() -> None:
    words = {"adai_users": "users", "adai_audit": "the audit log"}
    told = {names(row[0])[0]: row[1] for row in rows(section("dashboard.md", "Roles in PostgreSQL"), "role")}
    private = [words.get(table.name, table.name.removeprefix("adai_")) for table in database_roles._PRIVATE]
    assert told["adai_reader"] == f"read all but {', '.join(private[:-1])} and {private[-1]}"
    kinds: dict[str, list[str]] = {}
    for table, rights in database_roles._WRITTEN.items():
        kinds.setdefault(rights, []).append(words.get(table.name, table.name.removeprefix("adai_")))
    written, added = kinds["INSERT, UPDATE, DELETE"], kinds["INSERT"]
    assert told["adai_dashboard"] == f"read all; write {' and '.join(written)}; add to {' and to '.join(added)}"


def test_every_column_of_the_audit_log_is_documented() -> None:
    told = first_names(section("dashboard.md", "The audit log"), "column")
    assert told == [column.name for column in audit.columns if column.name != "id"]


@pytest.mark.dashboards
def test_the_example_client_submits_waits_and_downloads(
    finished: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = copy_database(finished[0], tmp_path)
    (tmp_path / "spec.toml").write_text(SMALL_SPEC.replace('"small"', '"mine"').replace("points = 4", "points = 2"))
    monkeypatch.chdir(tmp_path)
    with served(url, tmp_path) as dashboard, dashboard.token(OPERATOR, "operator") as program:
        secret = program.headers["Authorization"].removeprefix("Bearer ")
        environment = {"PATH": os.environ["PATH"], "ADDRESS": dashboard.address, "TOKEN": secret}
        words = ["sh", str(EXAMPLES / "run_study.sh"), "spec.toml"]
        with subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as client:
            wait_until(lambda: program.get("/v1/studies/mine").status_code == 200)
            serve = [ADAI_STUDY, "serve", "--db", url, "--pool", "inline", "--until-idle"]
            assert subprocess.run(serve, capture_output=True, check=False, timeout=200).returncode == 0
            said, told = client.communicate(timeout=60)
    assert client.returncode == 0, told
    assert said == "mine-report.zip and mine-runs.csv\n"
    assert "mine: completed, 12 of 12 runs" in told
    assert zipfile.is_zipfile("mine-report.zip")
    assert len(Path("mine-runs.csv").read_text().splitlines()) == 1 + 12


def test_the_example_client_tells_why_it_was_refused(dashboard: Served, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text('name = "mine"')
    words = ["sh", str(EXAMPLES / "run_study.sh"), str(tmp_path / "spec.toml")]
    with dashboard.token(OPERATOR, "operator") as program:
        secret = program.headers["Authorization"].removeprefix("Bearer ")
        environment = {"PATH": os.environ["PATH"], "ADDRESS": dashboard.address, "TOKEN": secret}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "The spec cannot be used" in done.stderr
    assert "workloads" in done.stderr


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_the_configuration_of_nginx_lets_everything_through(finished: tuple[str, Path], tmp_path: Path) -> None:
    (match,) = [match for match in FENCE.finditer(read("dashboard.md")) if match[1] == "nginx"]
    options = {"hosts": ("studies.example",), "tls": True, "proxies": ("127.0.0.1",)}
    with (
        served(copy_database(finished[0], tmp_path), tmp_path, **options) as dashboard,
        proxied(match[2], dashboard.address, tmp_path) as browser,
    ):
        assert browser.get("/v1/me").status_code == 401
        answer = browser.post("/sign-in", data={"name": OPERATOR, "password": PASSWORD})
        assert answer.headers["set-cookie"].startswith("__Host-adai_session=")
        assert "; Secure" in answer.headers["set-cookie"]
        assert browser.get("/v1/me").json()["name"] == OPERATOR
        assert browser.get("/dashboard").status_code == 200
        assert browser.delete("/api/studies/1").status_code == 405
        with browser.stream("GET", "/v1/studies/small/events") as events:
            assert "event: study" in itertools.islice(events.iter_lines(), 10)
        spoofed = {"X-Forwarded-For": "203.0.113.7", "Origin": "https://evil.example"}
        assert browser.post("/v1/studies/small/cancel", headers=spoofed).status_code == 403
        entries = browser.get("/v1/audit").json()["items"]
        assert {entry["address"] for entry in entries} == {"127.0.0.1"}


@contextlib.contextmanager
def proxied(text: str, address: str, folder: Path) -> Iterator[httpx.Client]:
    """A proxy before a dashboard, with a certificate of its own, and a browser that knows it."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=studies.example"]
    names_it = ["-addext", "subjectAltName=DNS:studies.example"]
    subprocess.run([*make, *names_it, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    port = free_port()
    changes = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/ssl/studies.example.pem": str(certificate),
        "/etc/ssl/studies.example.key": str(key),
        "http://127.0.0.1:8080": address,
        "http {": f"http {{ access_log off; client_body_temp_path {folder}/bodies; proxy_temp_path {folder}/answers;"
        f"fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;",
    }
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(f"daemon off; pid {folder}/pid; error_log {folder}/errors;\n{text}")
    with subprocess.Popen(["nginx", "-e", folder / "errors", "-c", folder / "nginx.conf"]) as process:
        try:
            wait_until(lambda: not is_free(port))
            trust = ssl.create_default_context(cafile=str(certificate))
            # The name is looked up nowhere: it is what is asked for, of this machine.
            transport = httpx.HTTPTransport(verify=trust)
            with httpx.Client(
                base_url=f"https://127.0.0.1:{port}",
                transport=transport,
                headers={"Host": f"studies.example:{port}"},
                timeout=30,
            ) as browser:
                browser.event_hooks["request"] = [
                    lambda request: request.extensions.update(sni_hostname="studies.example")
                ]
                yield browser
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_every_script_style_and_template_is_documented() -> None:
    text = section("architecture.md", "dashboards/: what people look at in a browser")
    told = first_names(text, "file") + first_names(text, "template")
    files = [*STATIC.iterdir(), *TEMPLATES.iterdir()]
    assert sorted(told) == sorted(str(file.relative_to(ROOT)) for file in files)
