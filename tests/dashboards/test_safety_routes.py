"""Every route for every role, in one table: a route without an entry fails."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from dashboard_server import OPERATOR, VIEWER, Served, copy_database, served
from fastapi.routing import iter_route_contexts

#: Who may: ``all`` without a sign-in, ``viewer`` whoever has signed in, ``operator`` operators only; ``optuna`` is
#: Optuna Dashboard's: whoever has signed in, and for reading only.
API = {
    ("GET", "/health"): "all",
    ("GET", "/v1/openapi.json"): "viewer",
    ("GET", "/v1/me"): "viewer",
    ("GET", "/v1/studies"): "viewer",
    ("GET", "/v1/studies/{name}"): "viewer",
    ("GET", "/v1/studies/{name}/failures"): "viewer",
    ("GET", "/v1/studies/{name}/logs"): "viewer",
    ("GET", "/v1/studies/{name}/trials"): "viewer",
    ("GET", "/v1/studies/{name}/trials/{workload}/{optimizer}/{number}"): "viewer",
    ("GET", "/v1/studies/{name}/runs"): "viewer",
    ("GET", "/v1/studies/{name}/epochs"): "viewer",
    ("GET", "/v1/studies/{name}/curves"): "viewer",
    ("GET", "/v1/studies/{name}/landscape"): "viewer",
    ("GET", "/v1/studies/{name}/report"): "viewer",
    ("GET", "/v1/studies/{name}/report.zip"): "viewer",
    ("GET", "/v1/studies/{name}/report/files/{path}"): "viewer",
    ("GET", "/v1/studies/{name}/tables/{table}.{kind}"): "viewer",
    ("GET", "/v1/studies/{name}/spec"): "viewer",
    ("GET", "/v1/studies/{name}/events"): "viewer",
    ("GET", "/v1/events"): "viewer",
    ("GET", "/v1/requests"): "viewer",
    ("GET", "/v1/requests/{request_id}"): "viewer",
    ("GET", "/v1/servers"): "viewer",
    ("GET", "/v1/tokens"): "viewer",
    ("POST", "/v1/tokens"): "viewer",
    ("DELETE", "/v1/tokens/{token_id}"): "viewer",
    ("GET", "/v1/audit"): "operator",
    ("POST", "/v1/specs/check"): "operator",
    ("POST", "/v1/studies"): "operator",
    ("POST", "/v1/studies/{name}/cancel"): "operator",
    ("POST", "/v1/studies/{name}/resume"): "operator",
    ("POST", "/v1/studies/{name}/report"): "operator",
}
PAGES = {
    ("GET", "/"): "viewer",
    ("GET", "/studies/{name}"): "viewer",
    ("GET", "/studies/{name}/landscape"): "viewer",
    ("GET", "/studies/{name}/curves"): "viewer",
    ("GET", "/studies/{name}/sensitivity"): "viewer",
    ("GET", "/studies/{name}/comparison"): "viewer",
    ("GET", "/studies/{name}/trials"): "viewer",
    ("GET", "/studies/{name}/failures"): "viewer",
    ("GET", "/studies/{name}/spec"): "viewer",
    ("GET", "/studies/{name}/downloads"): "viewer",
    ("GET", "/studies/{name}/trials/{workload}/{optimizer}/{number}"): "viewer",
    ("GET", "/launch"): "operator",
    ("GET", "/account"): "viewer",
    ("GET", "/audit"): "operator",
    ("GET", "/sign-in"): "all",
    ("POST", "/sign-in"): "all",
    ("POST", "/sign-out"): "viewer",
    ("GET", "/assets/{content_hash}/{name}"): "all",
}
OPTUNA = {
    ("GET", path): "optuna"
    for root in ("/dashboard", "/api", "/static", "/csv", "/artifacts", "/favicon.ico")
    for path in (root, f"{root}/{{path}}")
}
TABLE = API | PAGES | OPTUNA
VALUES = {
    "name": "small",
    "workload": "digits-logistic",
    "optimizer": "adai",
    "number": "0",
    "path": "nothing",
    "table": "runs",
    "kind": "csv",
    "request_id": "999",
    "token_id": "999",
    "content_hash": "0",
}
#: For each role: whether it may (each kind of route), and whether it has signed in.
ROLES = {
    "anonymous": {"all"},
    "revoked token": {"all"},
    "expired token": {"all"},
    "wrong token": {"all"},
    "viewer": {"all", "viewer", "optuna"},
    "viewer token": {"all", "viewer", "optuna"},
    "viewer token of an operator": {"all", "viewer", "optuna"},
    "operator": {"all", "viewer", "operator", "optuna"},
    "operator token": {"all", "viewer", "operator", "optuna"},
}
#: A token neither makes tokens nor has a session to end.
NOT_WITH_TOKENS = {("POST", "/v1/tokens")}


@pytest.fixture(scope="module")
def dashboard(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("routes")
    with served(copy_database(finished[0], folder), folder) as running:
        yield running


def routes_of(dashboard: Served) -> set[tuple[str, str]]:
    found = set()
    for route in iter_route_contexts(dashboard.app.routes):
        path = str(route.path).replace(":path}", "}").replace(":int}", "}")
        found |= {(method, path) for method in (route.methods or {"GET"}) if method != "HEAD"}
    return found


def client_of(dashboard: Served, role: str, stack: ExitStack) -> httpx.Client:
    clients = {
        "anonymous": dashboard.client,
        "revoked token": lambda: dashboard.token(OPERATOR, "operator", revoked=True),
        "expired token": lambda: dashboard.token(OPERATOR, "operator", days=-0.001),
        "wrong token": lambda: dashboard.client(headers={"Authorization": f"Bearer adai_{'x' * 43}"}),
        "viewer": lambda: dashboard.session(VIEWER),
        "viewer token": lambda: dashboard.token(VIEWER, "viewer"),
        "viewer token of an operator": lambda: dashboard.token(OPERATOR, "viewer"),
        "operator": lambda: dashboard.session(OPERATOR),
        "operator token": lambda: dashboard.token(OPERATOR, "operator", days=None),
    }
    return stack.enter_context(clients[role]())


def ask(client: httpx.Client, method: str, path: str) -> httpx.Response:
    """The answer without its body: event streams have no end. Studies that are there are only read."""
    target = path.format(**VALUES | ({} if method == "GET" else {"name": "not-there"}))
    with client.stream(method, target, json={"name": "x"} if method == "POST" else None) as answer:
        return answer


def test_every_route_has_an_entry(dashboard: Served) -> None:
    assert routes_of(dashboard) == TABLE.keys()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reaches_its_routes_and_no_others(role: str, dashboard: Served) -> None:
    wrong = []
    with ExitStack() as stack:
        client = client_of(dashboard, role, stack)
        # Signing in or out last: it changes who asks.
        for method, path in sorted(TABLE, key=lambda route: "/sign" in route[1]):
            kind = TABLE[method, path]
            answer = ask(client, method, path)
            allowed = kind in ROLES[role] and not ("token" in role and (method, path) in NOT_WITH_TOKENS)
            if not allowed and ROLES[role] == {"all"}:
                to_sign_in = answer.headers.get("location", "").startswith("/sign-in")
                right = to_sign_in if (method, path) in PAGES else answer.status_code == 401
            elif not allowed:
                right = answer.status_code == 403
            elif (method, path) == ("POST", "/sign-in"):
                right = answer.status_code == 401
            else:
                right = answer.status_code not in (401, 403) and answer.status_code < 500
            if not right:
                wrong.append((method, path, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("name", [VIEWER, OPERATOR])
def test_no_write_by_cookie_is_done_without_the_token_of_the_page(name: str, dashboard: Served) -> None:
    with dashboard.session(name, with_csrf=False) as client:
        writes = [route for route in routes_of(dashboard) if route[0] != "GET" and route[1] != "/sign-in"]
        assert {route: ask(client, *route).status_code for route in writes} == dict.fromkeys(writes, 403)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("name", [VIEWER, OPERATOR])
def test_nobody_writes_through_optuna_dashboard(name: str, method: str, dashboard: Served) -> None:
    with dashboard.session(name) as client:
        for _, path in OPTUNA:
            assert ask(client, method, path).status_code == 405


def test_head_is_answered_wherever_get_is(dashboard: Served) -> None:
    with dashboard.session(OPERATOR) as client:
        for method, path in sorted(routes_of(dashboard)):
            if method == "GET":
                answer = client.head(path.format(**VALUES))
                assert answer.status_code == ask(client, "GET", path).status_code, path
                assert answer.content == b""


def test_other_methods_are_not_allowed_and_the_answer_says_which_are(dashboard: Served) -> None:
    with dashboard.session(OPERATOR) as client:
        answer = client.put("/v1/tokens", json={})
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, POST"
        assert client.request("OPTIONS", "/v1/me").status_code == 405


def test_paths_that_are_not_there_are_told_from_others_after_a_sign_in_only(dashboard: Served) -> None:
    with dashboard.client() as client:
        assert client.get("/v1/nothing").status_code == 401
        assert client.get("/nothing").headers["location"] == "/sign-in?next=%2Fnothing"
    with dashboard.session(VIEWER) as client:
        assert client.get("/v1/nothing").headers["content-type"] == "application/problem+json"
        page = client.get("/nothing", headers={"Accept": "text/html"})
        assert page.status_code == 404
        assert page.headers["content-type"].startswith("text/html")


def test_a_slash_too_many_leads_to_the_path_without_it(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        answer = client.get("/v1/me/?a=b")
        assert (answer.status_code, answer.headers["location"]) == (308, "/v1/me?a=b")
        assert client.get(f"{dashboard.address}//evil.example/").status_code == 404
        assert client.get("/nothing/").status_code == 404
