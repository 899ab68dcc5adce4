"""Passwords at the door: as much work for names that nobody has as for those that somebody has."""

from functools import cache

from study.accounts import LOCAL_USER, MAX_PASSWORD, Account, hash_password, make_token_secret, verify_password


def matches(account: Account | None, password: str) -> bool:
    """Whether the password is the account's.

    Without an account one hash is computed all the same: how long an answer takes does not tell who has an account.
    """
    if len(password) > MAX_PASSWORD:
        return False
    if account is None or account.name == LOCAL_USER:
        verify_password(_nobodys_hash(), password)
        return False
    return verify_password(account.password_hash, password)


@cache
def _nobodys_hash() -> str:
    return hash_password(make_token_secret())
