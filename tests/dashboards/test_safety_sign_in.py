"""Signing in and out: passwords, limits, sessions, cookies, the one-time link, users of a file."""

import datetime as dt
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from dashboard_server import OPERATOR, PASSWORD, VIEWER, Served, copy_database, served
from sqlalchemy import delete, func, select, update

from dashboards.security import passwords
from dashboards.security.sign_in_limit import SignInLimits
from dashboards.security.state import security_of
from study.accounts import Account, hash_password, needs_rehash, verify_password
from study.storage.accounts import (
    find_account,
    list_tokens,
    remove_account,
    set_password_hash,
)
from study.storage.audit_log import AuditRecord, read_entries
from study.storage.engine import open_database
from study.storage.tables import audit, sessions, users
from study.users_file import UsersFile, UsersFileError, parse_users


@pytest.fixture(scope="module")
def url(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_database(finished[0], tmp_path_factory.mktemp("sign-in"))


@pytest.fixture
def dashboard(url: str, tmp_path: Path) -> Iterator[Served]:
    with fresh(url, tmp_path, proxies=("127.0.0.1",)) as running:
        yield running


def fresh(url: str, folder: Path, **options: Any) -> AbstractContextManager[Served]:
    """A dashboard of a database that had no users."""
    with open_database(url) as engine, engine.begin() as connection:
        for table in (users, sessions, audit):
            connection.execute(delete(table))
    return served(url, folder, **options)


def sign_in(client: httpx.Client, name: str, password: str, *, address: str | None = None) -> httpx.Response:
    """A try, from an address that the trusted proxy tells."""
    headers = {} if address is None else {"X-Forwarded-For": address}
    return client.post("/sign-in", data={"name": name, "password": password}, headers=headers)


def audited(dashboard: Served) -> list[AuditRecord]:
    with dashboard.context.engine.connect() as connection:
        return read_entries(connection, limit=500)


def test_the_right_password_signs_in_and_others_do_not(dashboard: Served) -> None:
    with dashboard.client() as client:
        for name, password in ((VIEWER, "wrong"), (VIEWER, ""), ("nobody", PASSWORD), ("", ""), ("local", "")):
            answer = sign_in(client, name, password)
            assert answer.status_code == 401
            assert "The name or the password is wrong." in answer.text
            assert "set-cookie" not in answer.headers
        assert sign_in(client, f" {VIEWER.upper()} ", PASSWORD).status_code == 303
        assert client.get("/v1/me").json() == {"name": VIEWER, "role": "viewer", "by": "session"}


@pytest.mark.parametrize("name", ["\0", "x" * 100, "'; DROP TABLE adai_users; --", "é"])
def test_strange_names_are_nobodys(name: str, dashboard: Served) -> None:
    with dashboard.client() as client:
        assert sign_in(client, name, PASSWORD).status_code == 401
        assert sign_in(client, VIEWER, "x" * 5000).status_code == 401


def test_as_much_work_is_done_for_names_that_nobody_has() -> None:
    account = Account(VIEWER, "viewer", hash_password(PASSWORD))
    passwords.matches(None, "warms up")

    def seconds(account: Account | None) -> float:
        begin = time.process_time()
        for _ in range(5):
            assert not passwords.matches(account, "wrong wrong wrong")
        return time.process_time() - begin

    assert 0.5 < seconds(None) / seconds(account) < 2


def test_a_thousand_wrong_passwords_take_no_time_and_lock_nobody_out(
    dashboard: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def count(account: Account | None, password: str) -> bool:
        computed.append(password)
        return passwords.matches(account, password)

    monkeypatch.setattr("dashboards.security.sign_in.matches", count)
    with dashboard.client() as client:
        begin = time.monotonic()
        answers = [sign_in(client, VIEWER, f"wrong {i}", address="192.0.2.1") for i in range(1000)]
        assert time.monotonic() - begin < 60
        assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 990
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 300
        assert len(computed) == 10
        # Not even the right one from there; but from elsewhere, and others from there.
        assert sign_in(client, VIEWER, PASSWORD, address="192.0.2.1").status_code == 429
        assert sign_in(client, VIEWER, PASSWORD, address="192.0.2.2").status_code == 303
        assert sign_in(client, OPERATOR, PASSWORD, address="192.0.2.1").status_code == 303
    entries = audited(dashboard)
    of_attacker = [entry for entry in entries if entry.address == "192.0.2.1" and entry.user_name is None]
    assert len(of_attacker) == 101
    assert of_attacker[0].action == "more_refusals"


def test_passwords_tried_at_once_are_counted_as_those_tried_in_a_row(dashboard: Served) -> None:
    statuses: list[int] = []

    def attack() -> None:
        with dashboard.client() as client:
            for i in range(5):
                statuses.append(sign_in(client, VIEWER, f"wrong {i}", address="192.0.2.3").status_code)

    threads = [threading.Thread(target=attack) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [401] * 10 + [429] * 30


def test_an_address_has_so_many_failures_whatever_the_names_and_a_success_takes_none_back() -> None:
    limits = SignInLimits()
    for i in range(49):
        limits.count_failure("192.0.2.1", f"user{i}")
    assert limits.seconds_to_wait("192.0.2.1", "another") is None
    limits.count_failure("192.0.2.1", "user49")
    assert limits.seconds_to_wait("192.0.2.1", "another") is not None
    assert limits.seconds_to_wait("192.0.2.2", "another") is None


def test_a_host_with_many_addresses_is_one_host() -> None:
    limits = SignInLimits()
    for i in range(10):
        limits.count_failure(f"2001:db8:1:2::{i:x}", "vera")
    assert limits.seconds_to_wait("2001:db8:1:2:ffff::1", "vera") is not None
    assert limits.seconds_to_wait("2001:db8:1:3::1", "vera") is None
    for _ in range(10):
        limits.count_failure("::ffff:192.0.2.9", "vera")
    assert limits.seconds_to_wait("192.0.2.9", "vera") is not None


def test_the_word_of_proxies_that_are_not_trusted_is_not_taken(url: str, tmp_path: Path) -> None:
    with fresh(url, tmp_path) as dashboard, dashboard.client() as client:
        answers = [sign_in(client, VIEWER, "wrong", address=f"192.0.2.{i}").status_code for i in range(12)]
        assert answers == [401] * 10 + [429] * 2


def test_signing_in_gives_a_new_session_and_ends_the_one_that_was_there(dashboard: Served) -> None:
    with dashboard.client() as client:
        forced = f"{'A' * 43}.{'0' * 64}"
        client.cookies.set("adai_session", forced)
        assert client.get("/v1/me").status_code == 401
        assert sign_in(client, VIEWER, PASSWORD).status_code == 303
    with dashboard.session(VIEWER) as client:
        old = dict(client.cookies)
        assert sign_in(client, VIEWER, PASSWORD).status_code == 303
        assert dict(client.cookies) != old
        assert forced not in client.cookies.values()
        with dashboard.client(cookies=old) as other:
            assert other.get("/v1/me").status_code == 401


def test_signing_out_ends_the_session_in_the_database(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        cookies = dict(client.cookies)
        answer = client.post("/sign-out")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert 'adai_session=""' in answer.headers["set-cookie"]
        with dashboard.client(cookies=cookies) as other:
            assert other.get("/v1/me").status_code == 401
    with dashboard.context.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(sessions)).scalar_one() == 0


def test_only_hashes_of_sessions_are_stored(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client, dashboard.context.engine.connect() as connection:
        (stored,) = connection.execute(select(sessions.c.hash)).scalars()
        assert stored not in client.cookies["adai_session"]
        with dashboard.client(cookies={"adai_session": f"{stored[:43]}.{'0' * 64}"}) as thief:
            assert thief.get("/v1/me").status_code == 401


def test_a_cookie_is_worth_nothing_with_another_part_changed(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        session_id, _, proof = client.cookies["adai_session"].partition(".")
        for forged in (session_id, f"{session_id}.", f"{session_id}.{'0' * 64}", f"{'A' * 43}.{proof}", proof):
            with dashboard.client(cookies={"adai_session": forged}) as thief:
                assert thief.get("/v1/me").status_code == 401


def test_sessions_end_after_twelve_hours_and_are_removed(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        with dashboard.context.engine.begin() as connection:
            (row,) = connection.execute(select(sessions))
            assert row.expires_at - row.created_at == dt.timedelta(hours=12)
            connection.execute(update(sessions).values(expires_at=dt.datetime.now(dt.UTC)))
        assert client.get("/v1/me").status_code == 401
        assert client.get("/").headers["location"] == "/sign-in?next=%2F"
        assert sign_in(client, VIEWER, PASSWORD).status_code == 303
    with dashboard.context.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(sessions)).scalar_one() == 1


def test_changed_roles_removed_users_and_new_passwords_count_at_once(dashboard: Served) -> None:
    engine = dashboard.context.engine
    with dashboard.session(OPERATOR) as client, dashboard.token(OPERATOR, "operator") as program:
        for who in (client, program):
            assert who.get("/v1/audit").status_code == 200
        with engine.begin() as connection:
            connection.execute(update(users).where(users.c.name == OPERATOR).values(role="viewer"))
        for who in (client, program):
            assert who.get("/v1/audit").status_code == 403
            assert who.get("/v1/me").json()["role"] == "viewer"
        with engine.begin() as connection:
            set_password_hash(connection, OPERATOR, hash_password("another long password"))
        assert client.get("/v1/me").status_code == 401
        assert program.get("/v1/me").status_code == 200
        with engine.begin() as connection:
            remove_account(connection, OPERATOR)
            assert list_tokens(connection, OPERATOR) == []
        assert program.get("/v1/me").status_code == 401


@pytest.mark.parametrize("tls", [False, True])
def test_cookies_have_their_flags(tls: bool, url: str, tmp_path: Path) -> None:
    with fresh(url, tmp_path, tls=tls) as dashboard, dashboard.client() as client:
        answer = sign_in(client, VIEWER, PASSWORD)
        name, *flags = answer.headers["set-cookie"].split("; ")
        assert name.startswith("__Host-adai_session=" if tls else "adai_session=")
        assert set(flags) == {"HttpOnly", "Max-Age=43200", "Path=/", "SameSite=lax", *(["Secure"] if tls else [])}
        assert ("strict-transport-security" in answer.headers) is tls


def test_behind_tls_a_page_without_it_is_another_site(url: str, tmp_path: Path) -> None:
    with fresh(url, tmp_path, tls=True) as dashboard, dashboard.client() as client:
        secure = dashboard.address.replace("http://", "https://")
        data = {"name": VIEWER, "password": PASSWORD}
        assert client.post("/sign-in", data=data, headers={"Origin": dashboard.address}).status_code == 403
        assert client.post("/sign-in", data=data, headers={"Origin": secure}).status_code == 303


def test_the_link_signs_in_once_as_the_local_operator(url: str, tmp_path: Path) -> None:
    with fresh(url, tmp_path, secret=None, users=False) as dashboard:
        key = security_of(dashboard.context).key.make()
        with dashboard.client() as client, dashboard.client() as other:
            assert client.get("/sign-in", params={"key": "x"}).status_code == 401
            # Previews of links ask for headers only.
            assert client.head("/sign-in", params={"key": key}).status_code == 200
            answer = client.get("/sign-in", params={"key": key})
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            assert client.get("/v1/me").json() == {"name": "local", "role": "operator", "by": "session"}
            assert other.get("/sign-in", params={"key": key}).status_code == 401
        assert [(entry.user_name, entry.status) for entry in audited(dashboard)] == [
            (None, 401),
            ("local", 303),
            (None, 401),
        ]


def test_with_a_secret_there_is_no_local_user(dashboard: Served) -> None:
    with dashboard.client() as client:
        assert client.get("/sign-in", params={"key": security_of(dashboard.context).key.make()}).status_code == 401


def test_hashes_with_old_parameters_are_renewed_at_the_sign_in(dashboard: Served) -> None:
    engine = dashboard.context.engine
    with engine.begin() as connection:
        set_password_hash(connection, VIEWER, PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD))
    with dashboard.session(VIEWER) as client:
        assert client.get("/v1/me").status_code == 200
    with engine.connect() as connection:
        account = find_account(connection, VIEWER)
    assert account is not None
    assert not needs_rehash(account.password_hash)
    assert verify_password(account.password_hash, PASSWORD)
    assert account.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_every_sign_in_and_out_is_written_down_but_never_a_password(dashboard: Served) -> None:
    typed = "typed into the wrong field"
    with dashboard.client() as client:
        sign_in(client, typed, "wrong password")
        sign_in(client, VIEWER, "wrong password")
    with dashboard.session(VIEWER) as client:
        client.post("/sign-out")
    entries = [(entry.user_name, entry.action, entry.subject, entry.status) for entry in audited(dashboard)]
    assert entries == [
        (VIEWER, "sign_out", VIEWER, 303),
        (VIEWER, "sign_in", VIEWER, 303),
        (None, "sign_in", VIEWER, 401),
        (None, "sign_in", "a name that nobody has", 401),
    ]
    everything = repr(audited(dashboard))
    assert typed not in everything
    assert PASSWORD not in everything
    assert "wrong password" not in everything


def test_users_of_a_file_sign_in_and_the_file_counts_as_it_is_now(url: str, tmp_path: Path) -> None:
    path = tmp_path / "users"
    line = f"fiona:operator:{hash_password(PASSWORD)}\n"
    path.write_text(f"# people\n\n{line}{VIEWER}:operator:{hash_password('of the file, not the database')}\n")
    with (
        fresh(url, tmp_path, users_file=path) as dashboard,
        dashboard.session("fiona") as client,
        dashboard.token("fiona", "operator") as program,
    ):
        assert client.get("/v1/audit").status_code == program.get("/v1/audit").status_code == 200
        path.write_text(line.replace("operator", "viewer"))
        assert client.get("/v1/audit").status_code == program.get("/v1/audit").status_code == 403
        path.write_text(f"fiona:viewer:{hash_password('another long password')}\n")
        assert client.get("/v1/me").status_code == 401
        path.write_text("")
        assert program.get("/v1/me").status_code == 401
        path.write_text("a mistake\n")
        answer = program.get("/v1/me")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        with dashboard.client() as stranger:
            refused = sign_in(stranger, "fiona", PASSWORD)
        assert refused.status_code == 503
        # What is wrong is for those who run the dashboard, not for strangers.
        for text in (answer.text, refused.text):
            assert "the server's log says what is wrong" in text
            assert str(path) not in text
            assert "line 1" not in text
        path.unlink()
        assert program.get("/v1/me").status_code == 503


HASH = hash_password(PASSWORD)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ana", "line 1: a line is NAME:ROLE:HASH"),
        ("\nana:viewer", "line 2: a line is NAME:ROLE:HASH"),
        (f"Ana:viewer:{HASH}", "line 1: 'Ana' cannot be a user's name"),
        (f"local:viewer:{HASH}", "line 1: the name 'local' is kept"),
        (f"ana:admin:{HASH}", "line 1: 'admin' is no role; write viewer or operator"),
        (f"{HASH}:viewer:ana", "line 1: the hash stands first; a line is NAME:ROLE:HASH"),
        ("ana:viewer:a-password", "line 1: what stands for the hash of ana is no argon2 hash"),
        (f"ana:viewer:{HASH}\nana:operator:{HASH}", "line 2: ana stands there twice"),
    ],
)
def test_mistakes_in_the_file_of_users_are_told_with_their_line_but_not_what_stands_there(
    text: str, words: str
) -> None:
    with pytest.raises(UsersFileError) as caught:
        parse_users(text, Path("users"))
    assert words in str(caught.value)
    assert "a-password" not in str(caught.value)
    assert HASH not in str(caught.value)


def test_a_file_of_users_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsersFileError, match="cannot be read"):
        UsersFile(tmp_path / "users").read()
    (tmp_path / "users").write_bytes(b"\xff\xfe")
    with pytest.raises(UsersFileError, match="cannot be read"):
        UsersFile(tmp_path / "users").read()
