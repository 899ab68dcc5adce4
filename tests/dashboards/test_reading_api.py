"""The routes that read studies: pages without gaps, cursors that cannot be misused, tags, and clear errors."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from httpx import Client
from listed_studies import list_study, record_standings
from reading_app import make_context, served
from recorded_studies import add_attempt
from sqlalchemy import Engine

from dashboards.api.models import Epoch, Run, TrialRow
from study.claim import this_process
from study.spec import StudySpec
from study.storage.engine import create_database
from study.storage.logs import log_event
from study.storage.tables import runs, servers

NAME = "/v1/studies/small"


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """A database of each supported kind with a study in every standing."""
    with create_database(any_database_url) as engine:
        record_standings(engine)
        yield engine


@pytest.fixture
def client(engine: Engine, tmp_path: Path) -> Iterator[Client]:
    """Of an application on that database."""
    with served(make_context(engine, tmp_path)) as address, Client(base_url=address, timeout=30) as client:
        yield client


def get(client: Client, path: str, **parameters: Any) -> Any:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def read_all(client: Client, path: str, **parameters: Any) -> list[Any]:
    items: list[Any] = []
    cursor = None
    while True:
        page = get(client, path, **parameters, **({"cursor": cursor} if cursor else {}))
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


def test_every_list_gives_the_same_whatever_the_size_of_its_pages(client: Client) -> None:
    for path, count in (("trials", 30), ("runs", 60), ("epochs", 120)):
        whole = get(client, f"{NAME}/{path}", limit=200)
        assert (len(whole["items"]), whole["next_cursor"]) == (count, None)
        assert read_all(client, f"{NAME}/{path}", limit=7) == whole["items"]
    for sort in ("number", "objective", "-objective"):
        whole = get(client, f"{NAME}/trials", sort=sort, limit=30)
        assert whole["total"] == 30
        assert read_all(client, f"{NAME}/trials", sort=sort, limit=4) == whole["items"]


def test_items_have_the_fields_of_their_models(client: Client) -> None:
    for path, model in (("trials", TrialRow), ("runs", Run), ("epochs", Epoch)):
        items = get(client, f"{NAME}/{path}", workload="digits-logistic", optimizer="sgd")["items"]
        assert items
        for item in items:
            model.model_validate_json(json.dumps(item))
            assert item["optimizer"] == "sgd"
    endings = {run["termination"] for run in get(client, f"{NAME}/runs")["items"]}
    assert endings == {"completed", "diverged", "pruned", "failed", None}


def test_studies_are_listed_searched_and_sorted(client: Client, engine: Engine) -> None:
    with engine.begin() as connection:
        for number in range(9):
            list_study(connection, f"s{number}", state="completed", description=f"100% number {number}")
    assert [study["name"] for study in read_all(client, "/v1/studies", sort="name", limit=3)] == [
        *(["small"] if "small" < "s0" else []),
        *(f"s{number}" for number in range(9)),
        *(["small"] if "small" > "s0" else []),
    ]
    page = get(client, "/v1/studies", q="100%", state="completed", limit=4)
    assert (len(page["items"]), page["total"]) == (4, 9)
    assert get(client, "/v1/studies", q="100_")["total"] == 0
    both = client.get("/v1/studies", params=[("state", "completed"), ("state", "planned")]).json()
    assert both["total"] == 10


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "äöü",
        "%00",
        "e30",
        base64.urlsafe_b64encode(b'["trials by number",[1,2,3]]').decode(),
        base64.urlsafe_b64encode(b'["trials by number",["1",2]]').decode(),
        base64.urlsafe_b64encode(b'["trials by number",[NaN,2]]').decode(),
        base64.urlsafe_b64encode(b'["trials by number",[1,99999999999999999999]]').decode(),
        base64.urlsafe_b64encode(b'["trials by objective",[0.5,2]]').decode(),
        base64.urlsafe_b64encode(b'["runs",[0,2]]').decode(),
        base64.urlsafe_b64encode(b"[" * 500).decode(),
    ],
)
def test_a_cursor_of_another_list_is_refused_with_its_value(client: Client, cursor: str) -> None:
    for path in ("/v1/studies", f"{NAME}/trials", f"{NAME}/epochs", f"{NAME}/logs"):
        answer = client.get(path, params={"cursor": cursor})
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert repr(cursor)[1:20] in answer.json()["detail"]
        assert "leave the cursor out" in answer.json()["detail"]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_cursor_with_a_time_that_no_database_can_hold_is_the_readers_mistake(client: Client, at: str) -> None:
    key = f'["studies by time, falling",["{at}",1]]'
    answer = client.get("/v1/studies", params={"cursor": base64.urlsafe_b64encode(key.encode()).decode()})
    assert answer.status_code == 400, answer.text
    assert "is none of this list" in answer.json()["detail"]


def test_parameters_out_of_range_are_refused(client: Client) -> None:
    for path, parameters in (
        ("/v1/studies", {"limit": 0}),
        ("/v1/studies", {"limit": 201}),
        ("/v1/studies", {"state": "gone"}),
        ("/v1/studies", {"sort": "-state"}),
        (f"{NAME}/trials", {"limit": 501}),
        (f"{NAME}/trials", {"state": "done"}),
        (f"{NAME}/trials/digits-logistic/adai/-1", {}),
        (f"{NAME}/trials/digits-logistic/adai/{2**63}", {}),
        (f"{NAME}/runs", {"trial": 2**40}),
        (f"{NAME}/epochs", {"limit": 10_001}),
    ):
        assert client.get(path, params=parameters).status_code == 422, (path, parameters)


def test_unknown_studies_and_trials_are_not_found(client: Client) -> None:
    for path in ("", "/trials", "/runs", "/epochs", "/failures", "/logs", "/spec", "/events"):
        for name in ("none", "SMALL", "a%00b", "%27"):
            answer = client.get(f"/v1/studies/{name}{path}")
            assert answer.status_code == 404, (name, path, answer.text)
    answer = client.get(f"{NAME}/trials/digits-logistic/adai/15")
    assert answer.status_code == 404
    assert "has no trial 15 of 'adai' on 'digits-logistic'" in answer.json()["detail"]
    assert client.get(f"{NAME}/trials/a%00/adai/1").status_code == 404
    assert get(client, f"{NAME}/runs", workload="a\0")["items"] == []


def test_what_has_not_changed_is_not_sent_again(client: Client, engine: Engine) -> None:
    for path in ("/v1/studies", NAME, f"{NAME}/trials", f"{NAME}/runs", f"{NAME}/epochs", f"{NAME}/spec"):
        first = client.get(path)
        tag = first.headers["etag"]
        assert tag.startswith('W/"')
        assert first.headers["cache-control"] == "private, no-cache"
        for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            again = client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        assert client.get(path, headers={"If-None-Match": 'W/"other"'}).status_code == 200
    tag = client.get(f"{NAME}/runs").headers["etag"]
    with engine.begin() as connection:
        connection.execute(sa.update(runs).values(seconds=3.0))
    changed = client.get(f"{NAME}/runs", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_a_spec_is_one_that_can_be_submitted_again(client: Client) -> None:
    spec = StudySpec.model_validate_json(json.dumps(get(client, f"{NAME}/spec")))
    assert spec.hash == get(client, NAME)["spec_hash"]


def test_failures_and_events_are_told(client: Client, engine: Engine) -> None:
    with engine.begin() as connection:
        for _ in range(2):
            add_attempt(connection, 1, "OUT_OF_MEMORY", "Traceback\nMemoryError: 8 GB")
        for number in range(5):
            log_event(connection, 1, "round_asked", number=number)
    failures = get(client, f"{NAME}/failures")
    assert failures["attempts"] == 2
    assert failures["items"][0]["reason"] == "MemoryError: 8 GB"
    assert failures["items"][0]["termination"] == "out_of_memory"
    entries = read_all(client, f"{NAME}/logs", limit=2)
    assert [entry["details"].get("number") for entry in entries][-5:] == list(range(5))
    assert [entry["id"] for entry in entries] == sorted(entry["id"] for entry in entries)


def test_a_trial_has_its_runs_attempts_and_optuna_study(client: Client) -> None:
    trial = get(client, f"{NAME}/trials/digits-logistic/sgd/1")
    assert [run["seed"] for run in trial["runs_of_it"]] == [0, 1]
    assert {run["trial"] for run in trial["runs_of_it"]} == {1}
    assert [attempt["termination"] for attempt in trial["attempts"]] == ["completed"]
    listed = get(client, f"{NAME}/trials", optimizer="sgd", limit=2)["items"][1]
    assert {name: trial[name] for name in listed} == listed
    assert trial["optuna_study_id"] > 0


def test_servers_that_live_are_listed(client: Client, engine: Engine) -> None:
    assert get(client, "/v1/servers") == {"items": []}
    with engine.begin() as connection:
        row = {"process": this_process(), "started_at": sa.func.now(), "seen_at": sa.func.now(), "workers": 3}
        connection.execute(sa.insert(servers).values(row | {"studies": 1}))
    (server,) = get(client, "/v1/servers")["items"]
    assert server["process"].startswith("process ")
    assert (server["workers"], server["studies"]) == (3, 1)


def test_numbers_that_are_not_finite_are_null(client: Client, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(runs).values(objective=float("inf"), val_loss=float("-inf")))
    for path in ("/trials?sort=objective", "/runs", "/trials/digits-logistic/sgd/0", ""):
        answer = client.get(f"{NAME}{path}")
        assert answer.status_code == 200
        json.loads(answer.text, parse_constant=lambda constant: pytest.fail(constant))


def test_the_routes_are_described(client: Client) -> None:
    document = client.get("/openapi.json").json()
    schema = document["paths"]["/v1/studies/{name}/trials"]["get"]["responses"]["200"]["content"]["application/json"]
    assert schema["schema"]["$ref"].endswith("/TrialPage")
    assert "text/event-stream" in document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]
