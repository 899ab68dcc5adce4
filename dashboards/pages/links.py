"""Addresses of the pages with their query."""

from urllib.parse import urlencode


def link(path: str, **query: str | int | None) -> str:
    """``path`` with a query; what is empty is left out."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path
