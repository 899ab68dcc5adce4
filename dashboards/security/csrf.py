"""Writes come from our own pages only: where a request says it is from, and a token that only our pages know."""

import base64
import binascii
import hmac
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from dashboards.security.state import SecurityState

HEADER = "X-CSRF-Token"
FIELD = "csrf_token"
_BYTES = 32
_PURPOSE = "csrf"


def make_token(state: SecurityState, session: str) -> str:
    """A token of the session, another text every time.

    It is hidden under random bytes that stand before it. So pages may be compressed: an attacker who watches how long
    compressed answers are (BREACH) never sees the same token twice.
    """
    mask = secrets.token_bytes(_BYTES)
    return base64.urlsafe_b64encode(mask + _xor(mask, _token(state, session))).decode()


def is_token(state: SecurityState, session: str, given: str) -> bool:
    """Whether the text is a token of this session."""
    try:
        raw = base64.b64decode(given.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return False
    if len(raw) != 2 * _BYTES:
        return False
    return hmac.compare_digest(_xor(raw[:_BYTES], raw[_BYTES:]), _token(state, session))


def is_from_here(headers: Headers, *, tls: bool) -> bool:
    """Whether a write comes from a page of this address, as far as the browser says.

    Browsers send Sec-Fetch-Site and Origin, and pages cannot change them; programs send neither.

    Args:
        headers: Of the request; its Host is known to be ours.
        tls: Whether our pages are reached by https only.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parsed = urlsplit(origin)
    except ValueError:
        return False
    schemes = ("https",) if tls else ("http", "https")
    return parsed.scheme in schemes and parsed.netloc.lower() == headers.get("host", "").lower()


def _token(state: SecurityState, session: str) -> bytes:
    return bytes.fromhex(state.sign(_PURPOSE, session))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
