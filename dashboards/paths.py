"""Which addresses are whose: our pages, the API, Optuna Dashboard's, and the few that are open to everybody."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

#: Optuna Dashboard's own addresses, which its scripts know: ours stay clear of them.
OPTUNA_ROOTS = ("/dashboard", "/api", "/static", "/csv", "/artifacts", "/favicon.ico")
SIGN_IN = "/sign-in"
#: Answered to everybody; whatever else is added to the application needs a sign-in, whether its author thought of it
#: or not.
_PUBLIC = ("/health", "/assets")
_OPEN = (*_PUBLIC, SIGN_IN)
_API = "/v1"
#: Methods that change nothing.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_MAX_NEXT = 2000


def is_open(path: str) -> bool:
    """Whether nobody has to be signed in for it."""
    return _is_under(path, _OPEN)


def is_public(path: str) -> bool:
    """Whether it is the same for everybody: who asks is not looked up."""
    return _is_under(path, _PUBLIC)


def is_page(path: str) -> bool:
    """Whether it is one of our pages, and not of the API or of Optuna Dashboard."""
    return not _is_under(path, (_API, *OPTUNA_ROOTS, *_PUBLIC))


def wants_page(scope: Scope) -> bool:
    """Whether a request is a browser's for something to look at: a page of ours or of Optuna Dashboard."""
    path = scope["path"]
    return (is_page(path) or _is_under(path, ("/dashboard",))) and "text/html" in Headers(scope=scope).get("accept", "")


def local_path(text: str | None) -> str:
    r"""The address to go to after a sign-in: ``text`` if it is a path of this server, else the first page.

    ``//host``, ``/\host``, schemes and what browsers leave out (tabs, line ends) would lead to other servers.
    """
    if text is None or not 0 < len(text) <= _MAX_NEXT or not text.isprintable():
        return "/"
    if not text.startswith("/") or text.startswith("//") or "\\" in text or _is_under(urlsplit(text).path, (SIGN_IN,)):
        return "/"
    return text


def _is_under(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)
