"""Brings the database to this version: roles with the passwords of their files, tables, rights, the first operator."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
from psycopg import sql

_SECRETS = Path("/secrets")
_OPERATOR = "operator"
#: Among PostgreSQL's advisory locks; another one than that of the tables' upgrade.
_LOCK = 0x6D696772
#: Roles that log in, and the files of their passwords. The first owns the tables.
_ROLES = {
    "adai": "owner/password",
    "adai_dashboard": "dashboard/password",
    "adai_reader": "dashboard/reader-password",
}


def main(*words: str) -> int:
    """Do all of it, or with the word ``roles`` no more than roles; all may be repeated. Returns the exit code."""
    try:
        with psycopg.connect(
            host="db", dbname="postgres", user="postgres", password=_read("server/password"), autocommit=True
        ) as connection:
            # Until the connection ends: two of us at once would disturb each other.
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            _set_roles(connection)
            _make_database(connection)
            if words == ("roles",):
                return 0
            _command("db", "upgrade")
            _command("db", "grant", "--reader", "adai_reader", "--dashboard", "adai_dashboard")
            _add_operator()
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        print(
            f"Error: the database server refuses its administrator ({reason}); the password in secrets/server/password "
            "must be the one with which the database was made: put that file back, or set another password as "
            "docs/operating.md says",
            file=sys.stderr,
        )
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


def _read(name: str) -> str:
    return (_SECRETS / name).read_text(encoding="utf-8").strip()


def _set_roles(connection: psycopg.Connection) -> None:
    """Roles with their passwords, of which the server only sees what it stores itself."""
    for role, file in _ROLES.items():
        found = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
        verb = sql.SQL("CREATE" if found is None else "ALTER")
        verifier = connection.pgconn.encrypt_password(_read(file).encode(), role.encode(), b"scram-sha-256")
        statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
        connection.execute(statement.format(verb, sql.Identifier(role), sql.Literal(verifier.decode())))


def _make_database(connection: psycopg.Connection) -> None:
    """The database, which the server makes at its first start unless that was broken off."""
    if connection.execute("SELECT FROM pg_database WHERE datname = 'adai'").fetchone() is None:
        connection.execute("CREATE DATABASE adai")
    connection.execute("ALTER DATABASE adai OWNER TO adai")


def _add_operator() -> None:
    """Somebody who may sign in, where nobody may yet."""
    if _command("users", "list", capture=True):
        return
    _command("users", "add", _OPERATOR, "--role", "operator", "--password-stdin", text=_read("operator/password"))


def _command(*words: str, text: str | None = None, capture: bool = False) -> str:
    """Run ``adai-study`` as the owner of the tables."""
    result = subprocess.run(
        ["adai-study", *words],
        input=text,
        stdout=subprocess.PIPE if capture else None,
        env=os.environ,
        text=True,
        check=True,
    )
    return result.stdout or ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
