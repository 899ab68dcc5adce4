"""What the safety of one process rests on: its secret, its users, its limits, its one-time key."""

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass, field
from typing import cast

from dashboards.context import Context, DashboardOptions
from dashboards.security.sign_in_limit import RefusalLimit, SignInLimits
from study.accounts import LOCAL_USER, Account
from study.users_file import UsersFile

_NAME = "security"


@dataclass(slots=True)
class OneTimeKey:
    """Signs in once whoever has it."""

    _value: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self) -> str:
        """A new key; an older one is worth nothing from now on."""
        with self._lock:
            self._value = secrets.token_urlsafe(32)
            return self._value

    def use(self, given: str) -> bool:
        """Whether ``given`` is the key, which it then was."""
        with self._lock:
            if self._value is None or not hmac.compare_digest(self._value.encode(), given.encode()):
                return False
            self._value = None
            return True


@dataclass(slots=True)
class SecurityState:
    """Of one process.

    Attributes:
        secret: Keys everything that is signed.
        is_local: Whether no secret was configured: the user ``local`` then exists, who signs in by the one-time key.
        users_file: Users beside those of the database.
        key: The one-time key.
        sign_ins: How often one may try to sign in.
        refusals: How many refusals of strangers the audit log takes.
    """

    secret: bytes
    is_local: bool
    users_file: UsersFile | None
    key: OneTimeKey = field(default_factory=OneTimeKey)
    sign_ins: SignInLimits = field(default_factory=SignInLimits)
    refusals: RefusalLimit = field(default_factory=RefusalLimit)

    def sign(self, purpose: str, *parts: str) -> str:
        """A keyed hash, hexadecimal, that only this secret makes of the parts, and for no other purpose."""
        message = "\0".join((purpose, *parts)).encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()

    def account(self, name: str, stored: Account | None) -> Account | None:
        """The user of that name, as it is now.

        Args:
            name: Of the user.
            stored: What the database has of it.

        Returns:
            The user; a file's line counts more than the database. None if there is none.

        Raises:
            UsersFileError: The file of users cannot be used.
        """
        if self.users_file is not None and name in (accounts := self.users_file.read()):
            return accounts[name]
        if stored is None and name == LOCAL_USER and self.is_local:
            return Account(LOCAL_USER, "operator", "")
        return stored


def prepare_security(context: Context) -> SecurityState:
    """Make the state and keep it in the context."""
    state = _of_options(context.options)
    context.parts[_NAME] = state
    return state


def security_of(context: Context) -> SecurityState:
    """The state that :func:`prepare_security` made."""
    return cast("SecurityState", context.parts[_NAME])


def _of_options(options: DashboardOptions) -> SecurityState:
    secret = (options.secret or secrets.token_urlsafe(32)).encode()
    users_file = None if options.users_file is None else UsersFile(options.users_file)
    return SecurityState(secret, options.secret is None, users_file)
