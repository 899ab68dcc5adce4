"""Users, sessions and API tokens in the database; of sessions and tokens only hashes are there."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from study.accounts import Account, Role
from study.errors import RequestError
from study.storage.tables import sessions, tokens, users

#: Of a user's tokens that are revoked or expired, so many are listed.
_MOST_USELESS = 100


@dataclass(frozen=True, slots=True)
class Proof:
    """What a session or token is known to be.

    Attributes:
        user_name: Whose it is.
        role: The most that it may do; None for a session, which may do what its user may.
        stored: The user, as the database has it now; None if it has no such user.
    """

    user_name: str
    role: Role | None
    stored: Account | None


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """An API token without its secret; times are UTC."""

    id: int
    user_name: str
    name: str
    role: Role
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None


def find_account(connection: Connection, name: str) -> Account | None:
    """The user of that name in the database."""
    row = connection.execute(select(users).where(users.c.name == name)).one_or_none()
    return None if row is None else Account(row.name, row.role, row.password_hash)


def list_accounts(connection: Connection) -> list[tuple[Account, dt.datetime]]:
    """All users in the database by name, and since when each is there."""
    return [
        (Account(row.name, row.role, row.password_hash), row.created_at)
        for row in connection.execute(select(users).order_by(users.c.name))
    ]


def add_account(connection: Connection, account: Account) -> None:
    """Write a new user.

    Raises:
        RequestError: There is one of that name.
    """
    values = {"name": account.name, "role": account.role, "password_hash": account.password_hash}
    try:
        connection.execute(insert(users).values(**values, created_at=_now()))
    except IntegrityError as error:
        raise RequestError(
            f"there is a user {account.name} already; change the password with `adai-study users password`, "
            "or remove the user first"
        ) from error


def remove_account(connection: Connection, name: str) -> None:
    """Forget a user, its sessions and its tokens.

    Raises:
        RequestError: There is none of that name.
    """
    if connection.execute(delete(users).where(users.c.name == name)).rowcount == 0:
        raise _no_user(name)
    connection.execute(delete(sessions).where(sessions.c.user_name == name))
    connection.execute(delete(tokens).where(tokens.c.user_name == name))


def set_password_hash(connection: Connection, name: str, password_hash: str) -> None:
    """Give a user another password, or its password another hash.

    Raises:
        RequestError: There is none of that name.
    """
    changed = update(users).where(users.c.name == name).values(password_hash=password_hash)
    if connection.execute(changed).rowcount == 0:
        raise _no_user(name)


def set_role(connection: Connection, name: str, role: Role) -> None:
    """Give a user another role, which counts from its next request on.

    Raises:
        RequestError: There is none of that name.
    """
    if connection.execute(update(users).where(users.c.name == name).values(role=role)).rowcount == 0:
        raise _no_user(name)


def add_session(connection: Connection, session_hash: str, user_name: str, *, lifetime: dt.timedelta) -> None:
    """Write a new session, and forget those that have expired."""
    now = _now()
    connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
    connection.execute(
        insert(sessions).values(hash=session_hash, user_name=user_name, created_at=now, expires_at=now + lifetime)
    )


def find_session(connection: Connection, session_hash: str) -> Proof | None:
    """Whose session it is; None if there is none or it has expired."""
    query = (
        select(sessions.c.user_name, users)
        .outerjoin(users, users.c.name == sessions.c.user_name)
        .where(sessions.c.hash == session_hash, sessions.c.expires_at > _now())
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Proof(row.user_name, None, _stored(row))


def delete_session(connection: Connection, session_hash: str) -> None:
    """Forget a session, if it is there."""
    connection.execute(delete(sessions).where(sessions.c.hash == session_hash))


def delete_expired_sessions(connection: Connection) -> None:
    """Forget the sessions that have expired."""
    connection.execute(delete(sessions).where(sessions.c.expires_at <= _now()))


def add_token(
    connection: Connection, token_hash: str, *, user_name: str, name: str, role: Role, lifetime: dt.timedelta | None
) -> TokenRecord:
    """Write a new token, which never expires without ``lifetime``."""
    now = _now()
    inserted = insert(tokens).values(
        user_name=user_name,
        name=name,
        role=role,
        hash=token_hash,
        created_at=now,
        expires_at=None if lifetime is None else now + lifetime,
    )
    token_id = connection.execute(inserted.returning(tokens.c.id)).scalar_one()
    return _record(connection.execute(select(tokens).where(tokens.c.id == token_id)).one())


def find_token(connection: Connection, token_hash: str) -> Proof | None:
    """Whose token it is; None if there is none, or it has expired or was revoked."""
    query = (
        select(tokens.c.user_name, tokens.c.role.label("token_role"), users)
        .outerjoin(users, users.c.name == tokens.c.user_name)
        .where(tokens.c.hash == token_hash, _usable())
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Proof(row.user_name, row.token_role, _stored(row))


def list_tokens(connection: Connection, user_name: str | None = None) -> list[TokenRecord]:
    """All tokens of a user, or of everybody, newest first; expired and revoked ones among them.

    Of one user only some of the newest that are worth nothing: making tokens and revoking them has no end.
    """
    query = select(tokens).order_by(tokens.c.id.desc())
    if user_name is None:
        return [_record(row) for row in connection.execute(query)]
    usable = _usable()
    mine = query.where(tokens.c.user_name == user_name)
    rows = [*connection.execute(mine.where(usable)), *connection.execute(mine.where(~usable).limit(_MOST_USELESS))]
    return [_record(row) for row in sorted(rows, key=lambda row: -row.id)]


def count_usable_tokens(connection: Connection, user_name: str) -> int:
    """How many tokens of a user are neither expired nor revoked."""
    query = select(func.count()).select_from(tokens).where(tokens.c.user_name == user_name)
    return int(connection.execute(query.where(_usable())).scalar_one())


def revoke_token(connection: Connection, token_id: int, user_name: str | None = None) -> bool:
    """Make a token, if it is that user's, useless from now on; false if there is none.

    One that was revoked before keeps its time.
    """
    mine = tokens.c.id == token_id
    if user_name is not None:
        mine &= tokens.c.user_name == user_name
    revoked = func.coalesce(tokens.c.revoked_at, _now(), type_=tokens.c.revoked_at.type)
    return connection.execute(update(tokens).where(mine).values(revoked_at=revoked)).rowcount > 0


def _usable() -> ColumnElement[bool]:
    """Neither revoked nor expired."""
    return and_(tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > _now()))


def _stored(row: Row[*tuple[Any, ...]]) -> Account | None:
    return None if row.name is None else Account(row.name, row.role, row.password_hash)


def _record(row: Row[*tuple[Any, ...]]) -> TokenRecord:
    return TokenRecord(
        row.id, row.user_name, row.name, row.role, row.created_at, expires_at=row.expires_at, revoked_at=row.revoked_at
    )


def _no_user(name: str) -> RequestError:
    return RequestError(f"the database has no user {name}; `adai-study users list` shows them")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
