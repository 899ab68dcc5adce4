"""Signing in: by name and password, or by the one-time key."""

import math
from http import HTTPStatus

from sqlalchemy.exc import SQLAlchemyError

from dashboards.api.problems import ProblemError
from dashboards.context import Context
from dashboards.security.passwords import matches
from dashboards.security.state import SecurityState, security_of
from study.accounts import LOCAL_USER, Account, hash_password, needs_rehash
from study.storage.accounts import find_account, list_accounts, set_password_hash
from study.storage.logs import process_log


def check_limit(state: SecurityState, address: str, name: str) -> None:
    """See that a password may be tried: no hash is computed for those that may not.

    Raises:
        ProblemError: 429; there were too many wrong ones from that address.
    """
    seconds = state.sign_ins.seconds_to_wait(address, name)
    if seconds is not None:
        wait = f"{math.ceil(seconds / 60)} minutes" if seconds > 60 else f"{seconds} s"
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "Too many wrong passwords",
            f"too many wrong passwords from your address; try again in {wait}",
            headers={"Retry-After": str(seconds)},
        )


def try_password(context: Context, address: str, name: str, password: str) -> Account | None:
    """The user, if the password is right; else the failure is counted.

    To be called one at a time: of a hundred tries at once, none else would see the failures of the others, and each
    takes 20 ms of a processor.

    Raises:
        ProblemError: 429; there were too many wrong ones from that address.
    """
    state = security_of(context)
    check_limit(state, address, name)
    account = look_up(context, name)
    if not matches(account, password) or account is None:
        state.sign_ins.count_failure(address, name)
        return None
    return _with_newest_hash(context, account, password)


def use_key(context: Context, key: str) -> Account | None:
    """The local user, if the one-time key is right; it is worth nothing afterwards."""
    state = security_of(context)
    return state.account(LOCAL_USER, None) if state.is_local and state.key.use(key) else None


def look_up(context: Context, name: str) -> Account | None:
    """The user of that name, from the file or the database."""
    if "\0" in name:
        return None
    with context.engine.connect() as connection:
        return security_of(context).account(name, find_account(connection, name))


def has_users(context: Context) -> bool:
    """Whether anybody could sign in with a password."""
    state = security_of(context)
    if state.users_file is not None and state.users_file.read():
        return True
    with context.engine.connect() as connection:
        return bool(list_accounts(connection))


def _with_newest_hash(context: Context, account: Account, password: str) -> Account:
    """The user; a hash made with older parameters is replaced in the database, where that is allowed."""
    if not needs_rehash(account.password_hash):
        return account
    newer = Account(account.name, account.role, hash_password(password))
    try:
        with context.engine.begin() as connection:
            if find_account(connection, account.name) != account:
                return account
            set_password_hash(connection, account.name, newer.password_hash)
    except SQLAlchemyError as error:
        process_log.info("password_hash_kept", reason=str(getattr(error, "orig", None) or error))
        return account
    return newer
