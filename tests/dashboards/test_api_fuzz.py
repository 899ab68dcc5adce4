"""The API attacked along its OpenAPI document: right and wrong requests to every operation, alone and in sequence.

The dashboard is a process of its own, over a finished study with a report: once over PostgreSQL with roles that may
only ask and only read, as an operator with a token; once over SQLite, as a viewer in a browser.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import schemathesis
from dashboard_server import PASSWORD, SECRET, copy_database
from postgresql_server import PostgresqlServer
from schemathesis.checks import CheckContext
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from sqlalchemy import update
from tests_support import ADAI_STUDY, SMALL_SPEC, comparable_tables, run_words, wait_for

from study.accounts import Account, Role, hash_password, hash_token_secret, make_token_secret
from study.database_roles import grant_role
from study.storage.accounts import add_account, add_token
from study.storage.engine import open_database
from study.storage.tables import tokens

pytestmark = [pytest.mark.dashboards, pytest.mark.timeout(900)]

SEED = 20_261_126
#: Random cases of each operation, beside those that the document itself calls for.
EXAMPLES = 140
#: Requests of each attacker, at least: 10,000 of both.
CASES = 5000
#: The token that the attacker comes with: revoked, it would find nothing more.
OWN_TOKEN = 2**31 - 2
#: Names that there are: with random ones only, nothing would ever be found.
NAMES: dict[str, list[str | int]] = {
    "name": ["small"],
    "workload": ["digits-logistic"],
    "optimizer": ["adai", "sgd"],
    "number": [0, 1, 4],
    "path": ["report.html", "report.json", "manifest.json", "tables/trials.csv", "figures/../report.json"],
    "table": ["runs", "trials", "epochs", "curvature"],
    "kind": ["csv", "parquet"],
    "request_id": [1, 2],
    "token_id": [1, 2],
}
AXES: list[str | int] = ["lr", "beta0", "beta2", "momentum"]
SPECS: list[str | int] = [SMALL_SPEC, SMALL_SPEC.replace('"small"', '"smaller"')]
#: What a document cannot say: which texts are cursors, which axes go together, which texts are specs.
REFUSED_ALTHOUGH_VALID = ["2xx", "3xx", "400", "403", "404", "409", "422"]
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True)
class Target:
    """A dashboard, and who attacks it.

    Attributes:
        url: Its database, as the owner of the tables.
        address: Of the dashboard.
        headers: Of every request: they say who asks.
        log: What the dashboard has to say.
    """

    url: str
    address: str
    headers: dict[str, str]
    log: Path


@dataclass
class Findings:
    """What came of an attack.

    Attributes:
        cases: How many requests were sent, by phase.
        answers: How many there were of each status, by operation.
        failures: What was wrong with an answer, and how to get it again.
    """

    cases: Counter[str] = field(default_factory=Counter)
    answers: dict[str, Counter[int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def never(self, *statuses: int) -> set[str]:
        """Operations that never answered with any of these."""
        return {name for name, counts in self.answers.items() if not any(counts[status] for status in statuses)}


@pytest.fixture(scope="module")
def operators_token(
    finished: tuple[str, Path], postgresql_server: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """A dashboard whose roles may only ask and only read."""
    folder = tmp_path_factory.mktemp("fuzz_postgresql")
    url = postgresql_server.create_database("fuzz")
    (folder / "spec.toml").write_text(SMALL_SPEC)
    subprocess.run([ADAI_STUDY, *run_words(folder / "spec.toml", url)], check=True, stdout=subprocess.DEVNULL)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE ROLE fuzz_dashboard LOGIN; CREATE ROLE fuzz_reader LOGIN")
    grant_role(url, "fuzz_dashboard", "dashboard")
    grant_role(url, "fuzz_reader", "reader")
    urls = {
        "ADAI_DATABASE_URL": url.replace("adai@", "fuzz_dashboard@"),
        "ADAI_READER_DATABASE_URL": url.replace("adai@", "fuzz_reader@"),
    }
    secret = add_user(url, "otto", "operator")
    with serving(folder, finished[1], urls) as address:
        yield Target(url, address, {"Authorization": f"Bearer {secret}"}, folder / "log")


@pytest.fixture(scope="module")
def viewers_session(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A dashboard that may write everything in its database, and would do what it is asked for."""
    folder = tmp_path_factory.mktemp("fuzz_sqlite")
    url = copy_database(finished[0], folder)
    add_user(url, "vera", "viewer")
    with serving(folder, finished[1], {"ADAI_DATABASE_URL": url}) as address, httpx.Client(base_url=address) as browser:
        assert browser.post("/sign-in", data={"name": "vera", "password": PASSWORD}).status_code == 303
        (csrf_token,) = re.findall(r'name="csrf-token" content="([^"]+)"', browser.get("/account").text)
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        yield Target(url, address, {"Cookie": cookie, "X-CSRF-Token": csrf_token}, folder / "log")


def add_user(url: str, name: str, role: Role) -> str:
    """A user with three tokens; the secret of the one that is kept."""
    with open_database(url) as engine, engine.begin() as connection:
        add_account(connection, Account(name, role, hash_password(PASSWORD)))
        for _ in range(3):
            secret = make_token_secret()
            record = add_token(
                connection, hash_token_secret(secret), user_name=name, name="fuzz", role=role, lifetime=None
            )
        connection.execute(update(tokens).where(tokens.c.id == record.id).values(id=OWN_TOKEN))
    return secret


@contextlib.contextmanager
def serving(folder: Path, report: Path, settings: dict[str, str]) -> Iterator[str]:
    """A dashboard with the report of the small study: its address."""
    shutil.copytree(report, folder / "reports" / "small")
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = ["dashboard", "--port", str(port), "--secret-file", folder / "secret", "--reports", folder / "reports"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([ADAI_STUDY, *words], env=os.environ | settings, stdout=log, stderr=log) as process,
    ):
        try:
            wait_for(lambda: process.poll() is not None or answers(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
        assert process.wait(30) == 0


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.TransportError:
        return False


@schemathesis.check
def is_safe(ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """Every answer has the headers; every error is a problem that tells nothing of the program."""
    del ctx, case
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    policy = headers["content-security-policy"]
    is_stream = headers.get("content-type", "").startswith("text/event-stream")
    assert {name: headers.get(name) for name in HEADERS} == HEADERS
    assert "frame-ancestors 'none'" in policy or "sandbox" in policy
    assert headers["cache-control"] in (("no-cache",) if is_stream else ("no-store", "private, no-cache"))
    assert "access-control-allow-origin" not in headers
    if response.status_code >= 400:
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(response.content)["status"] == response.status_code
        assert not re.search(r"Traceback|SELECT |psycopg|sqlite3|site-packages", response.text), response.text


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """The attacker keeps the token that it comes with."""
    del context, kwargs
    if case.method == "DELETE" and str(case.path_parameters.get("token_id")) == str(OWN_TOKEN):
        case.path_parameters["token_id"] = OWN_TOKEN - 1


def attack(target: Target, *, examples: int, seed: int) -> Findings:
    """Send everything that the document calls for, random requests beside it, and sequences of them."""
    settings = {
        "seed": seed,
        "headers": target.headers,
        "continue-on-failure": True,
        "request-timeout": 60,
        # An event stream has no end: one event is enough.
        "max-stream-events": 1,
        "generation": {"max-examples": examples, "with-security-parameters": False, "database": "none"},
        "checks": {"positive_data_acceptance": {"expected-statuses": REFUSED_ALTHOUGH_VALID}},
        "dictionaries": {
            **{name: {"values": values} for name, values in NAMES.items()},
            "axes": {"values": AXES},
            "specs": {"values": SPECS},
        },
        "parameters": {
            **{f"path.{name}": {"dictionary": name, "probability": 0.7} for name in NAMES},
            **{f"query.{name}": {"dictionary": name, "probability": 0.5} for name in ("workload", "optimizer")},
            **{f"query.{name}": {"dictionary": "axes", "probability": 0.5} for name in ("x", "y")},
            "body.toml": {"dictionary": "specs", "probability": 0.5},
        },
    }
    schema = schemathesis.openapi.from_url(
        f"{target.address}/v1/openapi.json", config=SchemathesisConfig.from_dict(settings), headers=target.headers
    )
    found = Findings()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            take_down(found, event)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            found.failures.append(
                f"{event.label}: {event.info.format()}" if isinstance(event, events.NonFatalError) else repr(event)
            )
    return found


def take_down(found: Findings, scenario: events.ScenarioFinished) -> None:
    """Count a scenario's answers, and what was wrong with them."""
    recorder = scenario.recorder
    for case_id, interaction in recorder.interactions.items():
        case = recorder.cases[case_id].value
        found.cases[scenario.phase.value] += 1
        status = 0 if interaction.response is None else interaction.response.status_code
        found.answers.setdefault(case.operation.label, Counter())[status] += 1
        found.failures += [
            f"{check.name}: {check.failure_info.failure.message}: {case.as_curl_command()}"
            for check in recorder.checks.get(case_id, [])
            if check.failure_info is not None
        ]


def see_that_nothing_broke(target: Target, found: Findings) -> None:
    """No answer was wrong, and nothing went wrong that no answer tells of."""
    assert not found.failures, "\n".join([f"{len(found.failures)} failures", *found.failures[:10]])
    assert {status for counts in found.answers.values() for status in counts if status == 0 or status >= 500} == set()
    assert not re.search(r"unexpected_error|fault_of_the_program|Traceback|database_away", target.log.read_text())


def test_an_operator_with_a_token_breaks_nothing_of_a_dashboard_that_may_only_ask(operators_token: Target) -> None:
    with open_database(operators_token.url) as engine:
        before = comparable_tables(engine, "small")
        found = attack(operators_token, examples=EXAMPLES, seed=SEED)
        see_that_nothing_broke(operators_token, found)
        assert comparable_tables(engine, "small") == before
    assert found.cases.total() >= CASES
    # A token makes no tokens, and a study that is complete is neither cancelled nor resumed.
    closed = {"POST /v1/tokens", "POST /v1/studies/{name}/cancel", "POST /v1/studies/{name}/resume"}
    assert found.never(200, 201, 202, 204) == closed


def test_a_viewer_in_a_browser_changes_nothing_but_tokens_of_its_own(viewers_session: Target) -> None:
    with open_database(viewers_session.url) as engine:
        before = comparable_tables(engine)
        found = attack(viewers_session, examples=EXAMPLES, seed=SEED)
        see_that_nothing_broke(viewers_session, found)
        assert comparable_tables(engine) == before
    assert found.cases.total() >= CASES
    operators_only = {name for name in found.answers if name.startswith("POST /v1/s") or name == "GET /v1/audit"}
    assert found.never(200, 201, 202, 204) == operators_only | {"GET /v1/requests/{request_id}"}
