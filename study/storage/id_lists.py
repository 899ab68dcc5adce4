"""Conditions on rows whose keys the program holds: one parameter and one statement, however many keys there are."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Integer, any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY


def among(connection: Connection, column: Column[Any], ids: Iterable[int]) -> ColumnElement[bool]:
    """Whether the whole number in ``column`` is one of ``ids``.

    An ordinary ``IN`` has a parameter for each: databases limit their number, and every length is another statement.
    """
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(ids), ARRAY(Integer)))
    return column.in_(select(func.json_each(json.dumps(list(ids))).table_valued("value").c.value))
