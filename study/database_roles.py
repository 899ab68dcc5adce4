"""PostgreSQL roles with no more rights than they need: to read studies, and to serve the dashboard."""

from collections.abc import Iterator
from typing import Literal

from sqlalchemy import Connection, text

from study.errors import DatabaseUrlError, RequestError
from study.storage.engine import open_database, parse_url, shown
from study.storage.tables import audit, requests, sessions, tokens, users

Purpose = Literal["reader", "dashboard"]

#: What a reader of studies does not see.
_PRIVATE = (users, sessions, tokens, audit, requests)
#: What the dashboard writes; it cannot change what it wrote into the audit log or asked for.
_WRITTEN = {
    sessions: "INSERT, UPDATE, DELETE",
    tokens: "INSERT, UPDATE, DELETE",
    audit: "INSERT",
    requests: "INSERT",
}


def grant_role(url: str, role: str, purpose: Purpose) -> list[str]:
    """Give a role of PostgreSQL the rights that it needs, and take all others on tables; may be repeated.

    Args:
        url: The database, as the owner of its tables.
        role: An existing role that can log in.
        purpose: ``reader`` reads all but users, sessions, tokens, the audit log and requests; ``dashboard`` reads
            all, and writes sessions, tokens, the audit log and requests.

    Returns:
        What is still to be done, for people; usually nothing.

    Raises:
        RequestError: The database is no PostgreSQL, or the role does not exist or is not bound by rights.
        DatabaseError: The rights could not be given; none were.
    """
    if parse_url(url).get_backend_name() != "postgresql":
        raise DatabaseUrlError(
            f"{shown(url)} has no roles: only PostgreSQL does; SQLite's pages of Optuna Dashboard are read-only anyway"
        )
    with open_database(url) as engine, engine.begin() as connection:
        _check_role(connection, role)
        quote = connection.dialect.identifier_preparer.quote_identifier
        schema, database = connection.execute(text("SELECT current_schema(), current_database()")).one()
        for statement in _statements(quote(schema), quote(database), quote(role), purpose):
            connection.execute(text(statement))
        return _remarks(connection, role, schema)


def _statements(schema: str, database: str, role: str, purpose: Purpose) -> Iterator[str]:
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}"
    yield f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {role}"
    yield f"GRANT CONNECT ON DATABASE {database} TO {role}"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    yield f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
    # Of tables that a later version adds.
    yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}"
    if purpose == "reader":
        for table in _PRIVATE:
            yield f"REVOKE ALL ON {schema}.{table.name} FROM {role}"
        return
    for table, rights in _WRITTEN.items():
        yield f"GRANT {rights} ON {schema}.{table.name} TO {role}"
        if table is not sessions:
            yield f"GRANT USAGE ON SEQUENCE {schema}.{table.name}_id_seq TO {role}"


def _check_role(connection: Connection, role: str) -> None:
    query = text("SELECT rolsuper, rolcanlogin FROM pg_roles WHERE rolname = :role")
    found = connection.execute(query, {"role": role}).one_or_none()
    if found is None:
        raise RequestError(
            f"PostgreSQL has no role {role}; make it first, as its administrator: "
            f"CREATE ROLE {role} LOGIN PASSWORD '...'"
        )
    owned = text(
        "SELECT count(*) FROM pg_tables "
        "WHERE schemaname = current_schema() AND pg_has_role(:role, tableowner, 'MEMBER')"
    )
    if found.rolsuper or connection.execute(owned, {"role": role}).scalar_one():
        raise RequestError(
            f"the role {role} is a superuser or owns the tables: it could write whatever is granted; take another role"
        )


def _remarks(connection: Connection, role: str, schema: str) -> list[str]:
    query = text("SELECT has_schema_privilege(:role, :schema, 'CREATE')")
    if not connection.execute(query, {"role": role, "schema": schema}).scalar_one():
        return []
    remark = (
        f"{role} may still make tables of its own, as everybody may in this database; "
        f"to end that: REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
    )
    return [remark]
