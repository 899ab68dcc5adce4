"""Who may use the dashboard, and what proves it: names, roles, passwords as argon2id hashes, secrets of API tokens."""

import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass
from typing import Literal

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from study.errors import RequestError

Role = Literal["viewer", "operator"]
ROLES: tuple[Role, ...] = ("viewer", "operator")

#: Who signs in with the one-time link of a dashboard without users; nobody else may be called so.
LOCAL_USER = "local"
MIN_PASSWORD = 12
#: Longer ones are refused unread: hashing them would take time.
MAX_PASSWORD = 1024

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_NAMES = "lower-case letters, digits and . _ @ + -, at most 64, the first a letter or digit"
# OWASP's Password Storage Cheat Sheet: argon2id with 19 MiB, 2 iterations, 1 degree of parallelism.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)


@dataclass(frozen=True, slots=True)
class Account:
    """A user.

    Attributes:
        name: Unique; lower case.
        role: ``viewer`` reads, ``operator`` also writes.
        password_hash: argon2, with its parameters; empty for the local user, who has no password.
    """

    name: str
    role: Role
    password_hash: str


def check_user_name(name: str) -> str:
    """The name, if a user may have it.

    Raises:
        RequestError: It has other characters, is too long, or is kept for the local user.
    """
    if not _NAME.fullmatch(name):
        raise RequestError(f"{name!r} cannot be a user's name; use {_NAMES}")
    if name == LOCAL_USER:
        raise RequestError(f"the name {LOCAL_USER!r} is kept for the one-time link of a dashboard without users")
    return name


def check_password(password: str) -> str:
    """The password, if it is long enough.

    Raises:
        RequestError: It has fewer than 12 or more than 1,024 characters.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise RequestError(
            f"the password has {len(password)} characters; it needs {MIN_PASSWORD} to {MAX_PASSWORD}: "
            "several words in a row are easy to remember"
        )
    return password


def hash_password(password: str) -> str:
    """Its argon2id hash with a salt of its own; takes about 20 ms and 19 MiB."""
    return _hasher.hash(_normalized(password))


def verify_password(password_hash: str, password: str) -> bool:
    """Whether the password is the one that was hashed."""
    try:
        return _hasher.verify(password_hash, _normalized(password))
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(password_hash: str) -> bool:
    """Whether it was made with other parameters than new ones are."""
    return _hasher.check_needs_rehash(password_hash)


def is_password_hash(text: str) -> bool:
    """Whether the text is an argon2 hash."""
    try:
        extract_parameters(text)
    except InvalidHashError:
        return False
    return True


def make_token_secret() -> str:
    """The secret of a new API token: 256 random bits."""
    return f"adai_{secrets.token_urlsafe(32)}"


def hash_token_secret(secret: str) -> str:
    """What is stored of it: with 256 random bits, a plain SHA-256 cannot be turned back."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _normalized(password: str) -> str:
    """The same bytes, whichever keyboard composed the accents."""
    return unicodedata.normalize("NFC", password)
