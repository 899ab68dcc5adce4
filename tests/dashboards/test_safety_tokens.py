"""API tokens and the audit log, over the API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_server import OPERATOR, VIEWER, Served, copy_database, served
from sqlalchemy import select

from study.storage.audit_log import append_entry
from study.storage.tables import audit, tokens


@pytest.fixture(scope="module")
def dashboard(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("tokens")
    with served(copy_database(finished[0], folder), folder) as running:
        yield running


def test_a_token_is_shown_once_stored_as_a_hash_and_worth_nothing_when_revoked(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        made = client.post("/v1/tokens", json={"name": "nightly", "days": 30})
        assert made.status_code == 201
        secret = made.json()["secret"]
        assert secret.startswith("adai_")
        listed = client.get("/v1/tokens").json()
        assert secret not in str(listed)
        assert listed[0]["name"] == "nightly"
        with dashboard.context.engine.connect() as connection:
            assert secret not in repr(connection.execute(select(tokens)).all())
        with dashboard.client(headers={"Authorization": f"Bearer {secret}"}) as program:
            assert program.get("/v1/me").json() == {"name": VIEWER, "role": "viewer", "by": "token"}
            assert client.delete(f"/v1/tokens/{listed[0]['id']}").status_code == 204
            assert program.get("/v1/me").status_code == 401
        assert client.get("/v1/tokens").json()[0]["revoked_at"] is not None


def test_nobody_makes_a_token_with_more_rights_or_revokes_those_of_others(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as viewer, dashboard.session(OPERATOR) as operator:
        assert viewer.post("/v1/tokens", json={"name": "x", "role": "operator"}).status_code == 403
        made = operator.post("/v1/tokens", json={"name": "x", "role": "operator", "days": None}).json()
        assert made["expires_at"] is None
        assert viewer.delete(f"/v1/tokens/{made['id']}").status_code == 404
        assert made["id"] not in {token["id"] for token in viewer.get("/v1/tokens").json()}
        with dashboard.client(headers={"Authorization": f"bearer {made['secret']}"}) as program:
            assert program.get("/v1/audit").status_code == 200
            assert program.post("/v1/tokens", json={"name": "child"}).status_code == 403


def test_a_viewers_token_of_an_operator_revokes_itself_but_no_operators_token(dashboard: Served) -> None:
    with dashboard.session(OPERATOR) as operator:
        strong = operator.post("/v1/tokens", json={"name": "strong", "role": "operator"}).json()
        weak = operator.post("/v1/tokens", json={"name": "weak"}).json()
        with dashboard.client(headers={"Authorization": f"Bearer {weak['secret']}"}) as program:
            assert program.delete(f"/v1/tokens/{strong['id']}").status_code == 403
            assert program.delete(f"/v1/tokens/{weak['id']}").status_code == 204
            assert program.get("/v1/me").status_code == 401
        assert operator.delete(f"/v1/tokens/{strong['id']}").status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 65},
        {"name": "a\0b"},
        {"name": "x", "days": 0},
        {"name": "x", "days": 10**9},
        {"name": "x", "role": "admin"},
        {"name": "x", "more": 1},
    ],
)
def test_tokens_that_cannot_be_are_refused_with_each_mistake(body: dict[str, object], dashboard: Served) -> None:
    with dashboard.session(OPERATOR) as client:
        answer = client.post("/v1/tokens", json=body)
        assert answer.status_code == 422
        assert answer.json()["problems"]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Bearer adai_", "Basic dmVyYTp4", f"Bearer adai_{'x' * 9999}"]
)
def test_a_wrong_authorization_is_not_made_up_for_by_a_cookie(header: str, dashboard: Served) -> None:
    with dashboard.session(OPERATOR) as client:
        answer = client.get("/v1/me", headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_the_audit_log_has_every_write_and_every_refused_one_with_who_and_why(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        client.post("/v1/tokens", json={"name": "mine"})
        client.post("/v1/tokens", json={"name": "too much", "role": "operator"})
        client.delete("/api/studies/1")
        client.delete("/v1/nothing")
        client.post("/v1/tokens", json={"name": "forged"}, headers={"X-CSRF-Token": "x"})
        client.get("/v1/me")
    with dashboard.client() as client:
        client.post("/v1/tokens", json={})
        client.post("/v1/tokens", json={}, headers={"Host": "evil.example"})
    with dashboard.session(OPERATOR) as client:
        page = client.get("/v1/audit", params={"limit": 8}).json()
    entries = [
        (entry["user_name"], entry["action"], entry["subject"], entry["status"], entry["details"].get("problem"))
        for entry in page["items"]
    ]
    assert entries[0][:4] == (OPERATOR, "sign_in", OPERATOR, 303)
    assert entries[1:] == [
        (None, "request", "/v1/tokens", 421, "Not a name of this dashboard"),
        (None, "request", "/v1/tokens", 401, "Not signed in"),
        (VIEWER, "create_token", "/v1/tokens", 403, "Not from our page"),
        (VIEWER, "request", "/v1/nothing", 404, "Not Found"),
        (VIEWER, "request", "/api/studies/1", 405, "Only for reading"),
        (VIEWER, "create_token", "too much", 403, "Operators only"),
        (VIEWER, "create_token", "mine", 201, None),
    ]
    assert {entry["address"] for entry in page["items"]} == {"127.0.0.1"}


def test_the_audit_log_is_read_page_by_page_and_by_user(dashboard: Served) -> None:
    with dashboard.context.engine.begin() as connection:
        connection.execute(audit.delete())
        for i in range(7):
            who = "ana" if i % 2 else "otto"
            append_entry(
                connection,
                user_name=who,
                address="x" * 100,
                action="a" * 100,
                subject=f"{i}\0\ud800",
                status=200,
                details={},
            )
    with dashboard.token(OPERATOR, "operator") as client:
        seen, cursor = [], None
        while True:
            page = client.get("/v1/audit", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
            seen += [entry["subject"][0] for entry in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == list("6543210")
        assert [entry["subject"][0] for entry in client.get("/v1/audit?user=ana").json()["items"]] == list("531")
        assert client.get("/v1/audit?cursor=x").status_code == 422
        assert client.get("/v1/audit?cursor=999999999999999999").status_code == 200
        assert client.get("/v1/audit?limit=501").status_code == 422
        assert client.get("/v1/audit", params={"user": "a\0b"}).status_code == 200


def test_the_openapi_document_tells_how_to_prove_who_asks_and_what_errors_look_like(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        document = client.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["security"] == [{"token": []}, {"session": []}]
    assert set(document["components"]["securitySchemes"]) == {"token", "session"}
    for path, operations in document["paths"].items():
        assert path.startswith("/v1/")
        for operation in operations.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]
