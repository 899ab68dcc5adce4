"""Cursors: where the next page of a list begins, as text that nobody but its list understands."""

import base64
import binascii
import datetime as dt
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from dashboards.api.problems import ProblemError

Key = TypeVar("Key")

#: The parameter of every list.
CursorText = Annotated[
    str | None,
    Query(
        max_length=1000, description="`next_cursor` of the page before, with the same sort; without it, the first page."
    ),
]


def _to_utc(at: dt.datetime) -> dt.datetime:
    try:
        return at.astimezone(dt.UTC)
    except OverflowError as error:
        raise ValueError("in UTC it has no year") from error


#: A point in time that databases can hold.
Moment = Annotated[dt.datetime, AfterValidator(_to_utc)]
#: A whole number that databases can hold.
Whole = Annotated[int, Field(ge=-1, lt=2**63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Cursor(Generic[Key]):
    """The cursors of one list in one order.

    Args:
        name: Of the list and its order; cursors of another one are refused.
        key: Type of what tells an item's place: a tuple.
    """

    def __init__(self, name: str, key: type[Key]) -> None:
        self._name = name
        self._adapter: TypeAdapter[tuple[str, Key]] = TypeAdapter(tuple[str, key])  # type: ignore[valid-type]

    def encode(self, key: Key) -> str:
        """The cursor of the page that begins after the item at ``key``."""
        text = self._adapter.dump_json((self._name, key))
        return base64.urlsafe_b64encode(text).decode().rstrip("=")

    def decode(self, cursor: str | None) -> Key | None:
        """The key in a cursor; None without one.

        Raises:
            ProblemError: 400: it is none of this list.
        """
        if cursor is None:
            return None
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            name, key = self._adapter.validate_json(text, strict=True)
        except (binascii.Error, ValidationError, ValueError) as error:
            raise _wrong(cursor) from error
        if name != self._name:
            raise _wrong(cursor)
        return key


def _wrong(cursor: str) -> ProblemError:
    return ProblemError(
        400,
        "Wrong cursor",
        f"cursor {cursor!r:.100} is none of this list in this order; take next_cursor of the page before and keep its "
        "sort, or leave the cursor out for the first page",
    )
