"""The verbs of users, API tokens and database roles: ``users``, ``tokens``, ``db grant``. Wiring only."""

import datetime as dt
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from study.accounts import (
    ROLES,
    Account,
    Role,
    check_password,
    check_user_name,
    hash_password,
    hash_token_secret,
    make_token_secret,
)
from study.cli_options import common_options, debug_option
from study.errors import RequestError
from study.settings import Settings

# Commands import what they need when they run, as in study.cli.
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input; else it is asked."
)


@click.group()
def users() -> None:
    """Manage who may sign in to the dashboard.

    Example: adai-study users add ana --role operator
    """


@users.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="Operators also write.")
@_password_stdin
@common_options
def add(settings: Settings, name: str, role: Role, password_stdin: bool) -> None:
    """Add the user NAME to the database.

    Example: adai-study users add ana --role operator
    """
    from study.storage.accounts import add_account

    check_user_name(name)
    account = Account(name, role, hash_password(_read_password(from_stdin=password_stdin)))
    with _writing(settings) as connection:
        add_account(connection, account)
    click.echo(f"{name} added, as {role}")


@users.command("list")
@common_options
def list_users(settings: Settings) -> None:
    """List the users of the database and of the file of users.

    Example: adai-study users list
    """
    from study.storage.accounts import list_accounts
    from study.storage.engine import open_database
    from study.users_file import UsersFile

    path = settings.dashboard_users_file
    of_file = {} if path is None else UsersFile(path).read()
    for account in of_file.values():
        click.echo(f"{account.name}  {account.role}  in {path}")
    with open_database(settings.database_url) as engine, engine.connect() as connection:
        for account, created_at in list_accounts(connection):
            hidden = ", but the file counts" if account.name in of_file else ""
            click.echo(f"{account.name}  {account.role}  since {created_at:%Y-%m-%d}{hidden}")


@users.command()
@click.argument("name")
@common_options
def remove(settings: Settings, name: str) -> None:
    """Remove the user NAME from the database, with all sessions and tokens.

    Example: adai-study users remove ana
    """
    from study.storage.accounts import remove_account

    with _writing(settings) as connection:
        remove_account(connection, name)
    click.echo(f"{name} removed")


@users.command()
@click.argument("name")
@_password_stdin
@common_options
def password(settings: Settings, name: str, password_stdin: bool) -> None:
    """Change the password of the user NAME, which ends all sessions; API tokens stay.

    Example: adai-study users password ana
    """
    from study.storage.accounts import set_password_hash

    password_hash = hash_password(_read_password(from_stdin=password_stdin))
    with _writing(settings) as connection:
        set_password_hash(connection, name, password_hash)
    click.echo(f"password of {name} changed")


@users.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@common_options
def change_role(settings: Settings, name: str, role: Role) -> None:
    """Give the user NAME the ROLE viewer or operator, from now on; its tokens may do no more than it.

    Example: adai-study users role ana operator
    """
    from study.storage.accounts import set_role

    with _writing(settings) as connection:
        set_role(connection, name, role)
    click.echo(f"{name} is {role} now")


@users.command("hash")
@_password_stdin
@debug_option
def print_hash(password_stdin: bool) -> None:
    """Print the hash of a password, for a line NAME:ROLE:HASH of the file of users.

    Example: adai-study users hash
    """
    click.echo(hash_password(_read_password(from_stdin=password_stdin)))


@click.group()
def tokens() -> None:
    """Manage the API tokens of programs.

    Example: adai-study tokens list
    """


@tokens.command("list")
@click.option("--user", metavar="NAME", help="Of this user only.")
@common_options
def list_all_tokens(settings: Settings, user: str | None) -> None:
    """List API tokens, newest first, without their secrets.

    Example: adai-study tokens list --user ana
    """
    from study.storage.accounts import list_tokens
    from study.storage.engine import open_database

    with open_database(settings.database_url) as engine, engine.connect() as connection:
        for token in list_tokens(connection, user):
            end = "never expires" if token.expires_at is None else f"expires {token.expires_at:%Y-%m-%d}"
            end = end if token.revoked_at is None else f"revoked {token.revoked_at:%Y-%m-%d}"
            click.echo(f"{token.id}  {token.user_name}  {token.role}  {token.name}  {end}")


@tokens.command()
@click.argument("id_", metavar="ID", type=click.IntRange(1, 2**31 - 1))
@common_options
def revoke(settings: Settings, id_: int) -> None:
    """Revoke the token ID, which is worth nothing from now on.

    Example: adai-study tokens revoke 3
    """
    from study.storage.accounts import revoke_token

    with _writing(settings) as connection:
        if not revoke_token(connection, id_):
            raise RequestError(f"there is no token {id_}; `adai-study tokens list` shows them")
    click.echo(f"token {id_} revoked")


@tokens.command()
@click.argument("user")
@click.option("--name", default="command line", show_default=True, help="What the token is for.")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="At most the user's.")
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="Until it expires.")
@common_options
def create(settings: Settings, user: str, name: str, role: Role, days: int) -> None:
    """Make an API token of USER and print its secret, this once.

    Example: adai-study tokens create ana --name nightly --days 30
    """
    from study.storage.accounts import add_token, find_account
    from study.users_file import UsersFile

    secret, path = make_token_secret(), settings.dashboard_users_file
    with _writing(settings) as connection:
        account = (UsersFile(path).read().get(user) if path is not None else None) or find_account(connection, user)
        if account is None:
            raise RequestError(f"there is no user {user}; add it first: adai-study users add {user}")
        if role == "operator" and account.role != "operator":
            raise RequestError(f"{user} is a viewer, and its tokens can be no more; leave --role out")
        lifetime = dt.timedelta(days=days)
        add_token(connection, hash_token_secret(secret), user_name=user, name=name, role=role, lifetime=lifetime)
    click.echo(secret)


@click.command()
@click.option("--reader", metavar="ROLE", help="A role that only reads studies, for Optuna Dashboard's pages.")
@click.option("--dashboard", metavar="ROLE", help="A role that serves the dashboard: it cannot write trials.")
@common_options
def grant(settings: Settings, reader: str | None, dashboard: str | None) -> None:
    """Give PostgreSQL roles the rights that the dashboard needs, and no others.

    The roles must exist, and --db must name the owner of the tables. Repeat it after an upgrade.

    Example: adai-study db grant --reader adai_reader --dashboard adai_dashboard
    """
    from study.database_roles import grant_role

    if reader is None and dashboard is None:
        raise RequestError("no role is named; say --reader ROLE, --dashboard ROLE, or both")
    if reader is not None:
        _tell(reader, "reads studies", grant_role(settings.database_url, reader, "reader"))
    if dashboard is not None:
        _tell(dashboard, "serves the dashboard", grant_role(settings.database_url, dashboard, "dashboard"))


def _tell(role: str, what: str, remarks: list[str]) -> None:
    click.echo(f"{role} {what}")
    for remark in remarks:
        click.echo(f"Warning: {remark}", err=True)


@contextmanager
def _writing(settings: Settings) -> "Iterator[Connection]":
    from study.storage.engine import create_database

    with create_database(settings.database_url) as engine, engine.begin() as connection:
        yield connection


def _read_password(*, from_stdin: bool) -> str:
    """From a terminal without showing it, twice; never from the arguments, which every process can see."""
    if from_stdin:
        return check_password(sys.stdin.readline().rstrip("\r\n"))
    text: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return check_password(text)
