"""The command line around the dashboard: where it may listen, secrets, users, tokens."""

import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dashboard_server import PASSWORD
from tests_support import Command, fails

from dashboards.app import create_app
from dashboards.context import Context, DashboardOptions
from dashboards.serving import _where_to_look, check_address, listen, make_secret, read_secret
from study.accounts import hash_password, verify_password
from study.cli import main
from study.errors import OutputError, RequestError
from study.settings import Settings
from study.storage.engine import create_database


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "studies.example", "", "127.0.0.1.evil.example"])  # noqa: S104
def test_without_a_secret_no_other_address_is_listened_at(host: str, command: Command, database_url: str) -> None:
    assert command("db", "upgrade", "--db", database_url).exit_code == 0
    result = command("dashboard", "--host", host, "--db", database_url)
    fails(result, 2, "without a secret", "adai-study dashboard --make-secret FILE", "ADAI_DASHBOARD_SECRET_FILE")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_secret(host: str, tmp_path: Path) -> None:
    check_address(host, DashboardOptions("", "", tmp_path))


def test_with_a_secret_any_address_may_be_listened_at(tmp_path: Path) -> None:
    check_address("0.0.0.0", DashboardOptions("", "", tmp_path, secret="x"))  # noqa: S104, S106
    with listen("0.0.0.0", 0) as listener:  # noqa: S104
        assert listener.getsockname()[1] > 0
    with pytest.raises(RequestError, match=r"port 80 of 192\.0\.2\.1 cannot be used"):
        listen("192.0.2.1", 80)


def test_what_is_missing_behind_a_proxy_is_told(database_url: str, tmp_path: Path) -> None:
    def told(**options: Any) -> str:
        with create_database(database_url) as engine:
            context = Context(engine, DashboardOptions(database_url, database_url, tmp_path, secret="x", **options))  # noqa: S106
            create_app(context)
            return "\n".join(_where_to_look(context, "127.0.0.1", 8080))

    assert "ADAI_DASHBOARD_PROXIES" in told(tls=True)
    assert "ADAI_DASHBOARD_PROXIES" not in told(tls=True, proxies=("127.0.0.1",))
    assert "ADAI_DASHBOARD_PROXIES" not in told()


def test_a_secret_is_made_for_its_owner_only_and_never_over_another(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "secret"
    result = command("dashboard", "--make-secret", path)
    assert result.exit_code == 0
    assert f"adai-study dashboard --secret-file {path}" in result.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_secret(path)) >= 32
    assert read_secret(path) not in result.output
    with pytest.raises(OutputError, match="name a new file"):
        make_secret(path)


def test_a_secret_that_is_short_or_not_there_is_refused(tmp_path: Path, command: Command, database_url: str) -> None:
    path = tmp_path / "secret"
    words = ["dashboard", "--db", database_url, "--secret-file", path]
    fails(command(*words), 2, f"the secret file {path} cannot be read")
    path.write_text("short\n")
    fails(command(*words), 2, "has 5 characters, it needs 32")


def test_a_secret_that_others_may_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "secret"
    make_secret(path)
    read_secret(path)
    assert capsys.readouterr().err == ""
    path.chmod(0o644)
    read_secret(path)
    assert f"chmod 600 {path}" in capsys.readouterr().err


def test_settings_of_the_dashboard_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAI_DASHBOARD_HOSTS", "studies.example, other.example,")
    monkeypatch.setenv("ADAI_DASHBOARD_PROXIES", "10.0.0.0/8")
    monkeypatch.setenv("ADAI_DASHBOARD_TLS", "true")
    monkeypatch.setenv("ADAI_DASHBOARD_SECRET_FILE", "/run/secrets/dashboard")
    monkeypatch.setenv("ADAI_DASHBOARD_USERS_FILE", "")
    settings = Settings()
    assert settings.dashboard_hosts == ("studies.example", "other.example")
    assert settings.dashboard_proxies == ("10.0.0.0/8",)
    assert settings.dashboard_tls
    assert settings.dashboard_secret_file == Path("/run/secrets/dashboard")
    assert settings.dashboard_users_file is None


def with_password(password: str, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, [*words, "--password-stdin"], input=f"{password}\nmore\n")
    return result.exit_code, result.output


def test_users_are_added_listed_changed_and_removed(any_database_url: str, command: Command) -> None:
    db = ("--db", any_database_url)
    assert with_password(PASSWORD, "users", "add", "ana", "--role", "operator", *db) == (0, "ana added, as operator\n")
    assert with_password(PASSWORD, "users", "add", "bea", *db) == (0, "bea added, as viewer\n")
    code, output = with_password(PASSWORD, "users", "add", "ana", *db)
    assert code == 2
    assert "there is a user ana already" in output
    listed = command("users", "list", *db).output.splitlines()
    assert [line.split()[:2] for line in listed] == [["ana", "operator"], ["bea", "viewer"]]
    assert with_password("another long password", "users", "password", "bea", *db) == (0, "password of bea changed\n")
    assert with_password("another long password", "users", "password", "carl", *db)[0] == 2
    assert command("users", "role", "bea", "operator", *db).output == "bea is operator now\n"
    assert [line.split()[1] for line in command("users", "list", *db).output.splitlines()] == ["operator", "operator"]
    fails(command("users", "role", "carl", "viewer", *db), 2, "the database has no user carl")
    assert command("users", "role", "bea", "owner", *db).exit_code == 2
    assert command("users", "remove", "ana", *db).output == "ana removed\n"
    fails(command("users", "remove", "ana", *db), 2, "the database has no user ana")


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 1025])
def test_passwords_that_are_too_short_or_too_long_are_refused(password: str, database_url: str) -> None:
    for words in (["users", "add", "ana", "--db", database_url], ["users", "hash"]):
        code, output = with_password(password, *words)
        assert code == 2
        assert f"the password has {len(password)} characters; it needs 12 to 1024" in output


@pytest.mark.parametrize("name", ["Ana", "a:b", "", "-a", "local", "x" * 65, "a b", "a\n"])
def test_names_that_users_cannot_have_are_refused(name: str, database_url: str) -> None:
    assert with_password(PASSWORD, "users", "add", "--db", database_url, "--", name)[0] == 2


def test_a_password_is_asked_twice_and_not_shown() -> None:
    result = CliRunner().invoke(main, ["users", "hash"], input=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert verify_password(result.stdout.strip().splitlines()[-1], PASSWORD)
    assert CliRunner().invoke(main, ["users", "hash"], input=f"{PASSWORD}\nanother long one\n").exit_code != 0


def test_passwords_composed_in_other_ways_are_the_same() -> None:
    assert verify_password(hash_password("caf\u00e9 au lait, please"), "cafe\u0301 au lait, please")


def test_tokens_are_made_listed_and_revoked(
    any_database_url: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = ("--db", any_database_url)
    with_password(PASSWORD, "users", "add", "ana", *db)
    secret = command("tokens", "create", "ana", "--name", "nightly", *db).output.strip()
    assert secret.startswith("adai_")
    fails(command("tokens", "create", "ana", "--role", "operator", *db), 2, "ana is a viewer")
    fails(command("tokens", "create", "fiona", *db), 2, "there is no user fiona")
    (tmp_path / "users").write_text(f"fiona:operator:{hash_password(PASSWORD)}\n")
    monkeypatch.setenv("ADAI_DASHBOARD_USERS_FILE", str(tmp_path / "users"))
    assert command("tokens", "create", "fiona", "--role", "operator", *db).exit_code == 0
    assert "fiona  operator  in" in command("users", "list", *db).output
    lines = command("tokens", "list", *db).output.splitlines()
    assert [line.split("  ")[1:4] for line in lines] == [
        ["fiona", "operator", "command line"],
        ["ana", "viewer", "nightly"],
    ]
    assert secret not in "".join(lines)
    token_id = command("tokens", "list", "--user", "ana", *db).output.split()[0]
    assert command("tokens", "revoke", token_id, *db).output == f"token {token_id} revoked\n"
    assert "revoked" in command("tokens", "list", "--user", "ana", *db).output
    fails(command("tokens", "revoke", "999", *db), 2, "there is no token 999")
