"""Optuna Dashboard behind the door: read-only for everybody, by connections and roles that cannot write."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from dashboard_server import OPERATOR, PASSWORD, VIEWER, Served, copy_database, served
from postgresql_server import PostgresqlServer
from sqlalchemy.exc import DBAPIError, ProgrammingError
from starlette.responses import Response
from tests_support import SMALL_SPEC, Command, fails, run_words

from dashboards.optuna_app import OptunaApp, read_only_url
from study.errors import DatabaseError
from study.storage.engine import open_database
from study.storage.tables import metadata


@pytest.fixture(scope="module")
def dashboard(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("optuna")
    with served(copy_database(finished[0], folder), folder) as running:
        yield running


@pytest.mark.parametrize("name", [VIEWER, OPERATOR])
def test_nobody_deletes_a_study_or_writes_into_one_through_it(name: str, dashboard: Served) -> None:
    with dashboard.session(name) as client:
        before = client.get("/api/studies").json()
        study = before["study_summaries"][0]["study_id"]
        writes = [
            ("DELETE", f"/api/studies/{study}", None),
            ("POST", "/api/studies", {"study_name": "mine", "directions": ["minimize"]}),
            ("POST", f"/api/studies/{study}/rename", {"study_name": "mine"}),
            ("PUT", f"/api/studies/{study}/note", {"body": "x", "version": 1}),
            ("POST", "/api/trials/1/tell", {"state": "fail"}),
            ("POST", "/api/trials/1/user-attrs", {"user_attrs": {"a": 1}}),
            ("DELETE", f"/api/studies/{study}/", None),
            ("PROPFIND", "/api/studies", None),
        ]
        for method, path, body in writes:
            answer = client.request(method, path, json=body)
            assert answer.status_code == 405, (method, path)
            assert answer.headers["allow"] == "GET, HEAD"
        for trick in ("X-HTTP-Method-Override", "X-Method-Override"):
            assert client.get(f"/api/studies/{study}", headers={trick: "DELETE"}).status_code == 200
        assert client.get(f"/api/studies/{study}?_method=DELETE").status_code == 200
        assert client.get("/api/studies").json() == before


def test_its_pages_keep_their_own_policy_and_get_our_other_headers(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        page = client.get("/dashboard/studies/1")
        assert page.headers["content-type"].startswith("text/html")
        assert "'unsafe-eval'" in page.headers["content-security-policy"]
        assert page.headers["x-frame-options"] == "DENY"
        script = client.get("/static/bundle.js")
        assert script.status_code == 200
        assert script.headers["content-encoding"] == "gzip"
        assert script.headers["cache-control"] == "private, no-cache"
        unchanged = client.get("/static/bundle.js", headers={"If-None-Match": script.headers["etag"]})
        assert unchanged.status_code == 304
        assert client.get("/favicon.ico", headers={"Accept-Encoding": ""}).status_code == 200


def test_other_sites_may_read_nothing_whatever_an_application_says(dashboard: Served) -> None:
    dashboard.app.add_api_route(
        "/v1/test/open", lambda: Response("x", headers={"Access-Control-Allow-Origin": "*"}), methods=["GET"]
    )
    with dashboard.session(VIEWER) as client:
        answer = client.get("/v1/test/open", headers={"Origin": "https://evil.example"})
        assert (answer.status_code, answer.text) == (200, "x")
        assert "access-control-allow-origin" not in answer.headers


def test_its_page_asks_browsers_to_sign_in_and_tells_programs(dashboard: Served) -> None:
    with dashboard.client() as client:
        page = client.get("/dashboard/studies/1", headers={"Accept": "text/html"})
        assert page.headers["location"] == "/sign-in?next=%2Fdashboard%2Fstudies%2F1"
        assert client.get("/dashboard/studies/1").status_code == 401
        assert client.get("/api/studies", headers={"Accept": "text/html"}).status_code == 401


def test_its_connections_cannot_write(dashboard: Served) -> None:
    engine = sa.create_engine(read_only_url(dashboard.context.options.database_url))
    try:
        with engine.begin() as connection, pytest.raises(DBAPIError, match="readonly"):
            connection.execute(sa.text("DELETE FROM studies"))
    finally:
        engine.dispose()


@pytest.mark.parametrize("name", ["a b.db", "a?b#c%20d.db", "ä.db"])
def test_files_of_all_names_are_opened_for_reading(name: str, finished: tuple[str, Path], tmp_path: Path) -> None:
    Path(copy_database(finished[0], tmp_path).removeprefix("sqlite:///")).rename(tmp_path / name)
    app = OptunaApp(sa.URL.create("sqlite", database=str(tmp_path / name)).render_as_string())
    app.close()


def test_options_that_a_url_has_are_kept() -> None:
    url = "postgresql+psycopg://ana:secret@host/name?options=-c%20statement_timeout%3D5000&sslmode=require"
    parsed = sa.make_url(read_only_url(url))
    assert parsed.query["options"] == "-c statement_timeout=5000 -c default_transaction_read_only=on"
    assert (parsed.password, parsed.query["sslmode"]) == ("secret", "require")


def test_without_its_tables_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"Optuna's tables cannot be read .*db grant --reader"):
        OptunaApp(f"sqlite:///{tmp_path}/empty.db")


@pytest.fixture(scope="module")
def roles(postgresql_server: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """URLs of a PostgreSQL database with a finished study: of its owner, a reader and the dashboard's role."""
    folder = tmp_path_factory.mktemp("roles")
    owner = postgresql_server.create_database("safety")
    (folder / "spec.toml").write_text(SMALL_SPEC)
    invoke(run_words(folder / "spec.toml", owner, folder))
    with psycopg.connect(owner.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute('CREATE ROLE "the reader" LOGIN; CREATE ROLE dash LOGIN; CREATE ROLE boss SUPERUSER LOGIN')
    for _ in range(2):
        invoke(["db", "grant", "--reader", "the reader", "--dashboard", "dash", "--db", owner])
    as_role = owner.replace("adai@", "{}@")
    return {"owner": owner, "reader": as_role.format("the%20reader"), "dash": as_role.format("dash")}


def invoke(words: list[str | Path]) -> None:
    from click.testing import CliRunner

    from study.cli import main

    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output


def can(url: str, statement: str) -> bool:
    """Whether a role may do it; nothing is kept."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            try:
                connection.execute(sa.text(statement))
            except ProgrammingError as error:
                if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                    return False
                raise
            connection.rollback()
            return True
    finally:
        engine.dispose()


PRIVATE = {"adai_users", "adai_sessions", "adai_tokens", "adai_audit", "adai_requests"}


def tables_of(url: str) -> list[str]:
    engine = sa.create_engine(url)
    tables = sa.inspect(engine).get_table_names()
    engine.dispose()
    assert set(metadata.tables) < set(tables)
    return tables


def test_the_reader_reads_studies_only_and_writes_nothing(roles: dict[str, str]) -> None:
    for table in tables_of(roles["owner"]):
        assert can(roles["reader"], f"SELECT * FROM {table}") is (table not in PRIVATE), table
        assert not can(roles["reader"], f"DELETE FROM {table}")
        assert not can(roles["reader"], f"TRUNCATE {table} CASCADE")
    assert not can(roles["reader"], "UPDATE studies SET study_name = 'x'")
    assert not can(roles["reader"], "DROP TABLE studies")


def test_the_role_of_the_dashboard_writes_what_is_its_own_and_no_trial(roles: dict[str, str]) -> None:
    for table in tables_of(roles["owner"]):
        assert can(roles["dash"], f"SELECT * FROM {table}")
        assert can(roles["dash"], f"DELETE FROM {table}") is (table in ("adai_sessions", "adai_tokens")), table
    assert not can(roles["dash"], "UPDATE adai_trials SET number = 1")
    assert not can(roles["dash"], "UPDATE adai_users SET role = 'operator'")
    assert not can(roles["dash"], "UPDATE adai_audit SET status = 1")
    assert not can(roles["dash"], "UPDATE adai_requests SET state = 'done'")
    values = "(at, address, action, subject, status, details) VALUES (now(), '', '', '', 1, '{}')"
    assert can(roles["dash"], f"INSERT INTO adai_audit {values}")


def test_tables_of_later_versions_are_readable_too(roles: dict[str, str]) -> None:
    with psycopg.connect(roles["owner"].replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE later (id int)")
        assert can(roles["reader"], "SELECT * FROM later")
        assert not can(roles["reader"], "INSERT INTO later VALUES (1)")
        connection.execute("DROP TABLE later")


def test_the_whole_dashboard_works_with_both_roles(roles: dict[str, str], tmp_path: Path) -> None:
    with open_database(roles["owner"]) as engine, engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM adai_users"))
    with served(roles["owner"], tmp_path):
        pass  # makes the users, which the dashboard's role must not
    with served_without_users(roles, tmp_path) as dashboard, dashboard.session(OPERATOR) as client:
        studies = client.get("/api/studies").json()["study_summaries"]
        assert {study["study_name"] for study in studies} == {"small/digits-logistic/adai", "small/digits-logistic/sgd"}
        detail = client.get(f"/api/studies/{studies[0]['study_id']}?after=0").json()
        assert len(detail["trials"]) == 5
        assert client.get("/dashboard").status_code == 200
        assert client.get(f"/csv/{studies[0]['study_id']}").text.count("\n") == 6
        made = client.post("/v1/tokens", json={"name": "x"}).json()
        assert client.delete(f"/v1/tokens/{made['id']}").status_code == 204
        assert client.delete("/api/studies/1").status_code == 405
        actions = [entry["action"] for entry in client.get("/v1/audit").json()["items"]]
        assert actions[:4] == ["request", "revoke_token", "create_token", "sign_in"]
        assert client.post("/sign-out").status_code == 303


def served_without_users(roles: dict[str, str], folder: Path) -> AbstractContextManager[Served]:
    return served(roles["dash"], folder, reader_url=roles["reader"], users=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reader", "nobody"], "PostgreSQL has no role nobody; make it first"),
        (["--reader", "boss"], "boss is a superuser or owns the tables"),
        (["--dashboard", "adai"], "adai is a superuser or owns the tables"),
        (["--reader", 'x"; DROP TABLE studies; --'], "PostgreSQL has no role x"),
        ([], "no role is named"),
    ],
)
def test_roles_that_would_not_be_bound_are_refused(
    words: list[str], said: str, roles: dict[str, str], command: Command
) -> None:
    fails(command("db", "grant", *words, "--db", roles["owner"]), 2, said)


def test_sqlite_has_no_roles(finished: tuple[str, Path], command: Command) -> None:
    fails(command("db", "grant", "--reader", "ana", "--db", finished[0]), 2, "only PostgreSQL does")


def test_a_database_that_is_away_is_told_and_the_dashboard_comes_back_with_it(
    postgresql_binaries: Path, tmp_path: Path
) -> None:
    server = PostgresqlServer(postgresql_binaries)
    server.start()
    try:
        url = server.create_database("away")
        invoke(["db", "upgrade", "--db", url])
        with served(url, tmp_path) as dashboard, dashboard.session(VIEWER) as client:
            assert client.get("/health").status_code == 200
            server.stop("fast")
            for answer in (client.get("/health"), client.get("/v1/me"), client.get("/api/studies")):
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
                assert "password" not in answer.text
                assert str(server.port) not in answer.text
            wrong = client.post("/sign-in", data={"name": VIEWER, "password": PASSWORD})
            assert wrong.status_code == 503
            server.start()
            assert client.get("/health").status_code == 200
            assert client.get("/v1/me").status_code == 200
            assert client.get("/api/studies").status_code == 200
        server.stop("immediate")
    finally:
        server.remove()
