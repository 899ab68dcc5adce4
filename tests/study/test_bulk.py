"""Rows written in bulk are those that ordinary statements write, on both engines."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from optuna_support import counted

from study.storage import bulk
from study.storage.tables import UtcDateTime

metadata = sa.MetaData()
things = sa.Table(
    "things",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("number", sa.Double),
    sa.Column("text", sa.Text),
    sa.Column("flag", sa.Boolean),
    sa.Column("state", sa.Enum(TrialState), nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("at", UtcDateTime),
    sa.UniqueConstraint("kind", "step"),
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
contents = st.fixed_dictionaries(
    {
        "number": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "text": st.none() | texts,
        "flag": st.none() | st.booleans(),
        "state": st.sampled_from(TrialState),
        "details": st.dictionaries(texts, st.integers() | st.lists(st.booleans()) | texts, max_size=3),
        "at": st.none() | st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC)),
    }
)


@pytest.fixture
def engine(any_database_url: str) -> Iterator[sa.Engine]:
    """An empty table on each engine."""
    engine = sa.create_engine(any_database_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def stored(connection: sa.Connection) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(sa.select(things).order_by(things.c.id)).mappings()]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(contents, min_size=1, max_size=6), changes=st.data())
def test_every_kind_of_column_is_kept(engine: sa.Engine, rows: list[dict[str, Any]], changes: st.DataObject) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(things))
        numbered = [{"id": number, "kind": "a", "step": number, **row} for number, row in enumerate(rows)]
        bulk.insert_rows(connection, things, numbered)
        assert stored(connection) == numbered
        changed = [{**row, **changes.draw(contents)} for row in numbered[::2]]
        bulk.update_rows(connection, things, changed)
        expected = [changed[place // 2] if place % 2 == 0 else row for place, row in enumerate(numbered)]
        assert stored(connection) == expected
        replaced = [{**row, **changes.draw(contents)} for row in numbered[1:]]
        new = {"id": 99, "kind": "b", "step": 2**40, **changes.draw(contents)}
        bulk.upsert_rows(connection, things, [*replaced, new], keys=("kind", "step"))
        assert stored(connection) == [expected[0], *replaced, new]


def test_ids_are_given_back_with_what_tells_the_rows_apart(engine: sa.Engine) -> None:
    rows = [
        {"kind": "a", "step": step, "state": TrialState.WAITING, "details": {"step": step}} for step in range(23_000)
    ]
    with counted(engine) as sent, engine.begin() as connection:
        found = bulk.insert_returning(connection, things, rows, (things.c.step, things.c.id))
        assert sum(statement.startswith("INSERT") for statement in sent) <= 40
        assert sorted(step for step, _ in found) == list(range(23_000))
        by_id = {row["id"]: row["step"] for row in stored(connection)}
        assert {row_id: step for step, row_id in found} == by_id
        assert sorted(by_id, key=lambda row_id: by_id[row_id]) == sorted(by_id)


def test_rows_that_are_there_are_refused_and_no_rows_are_no_statement(engine: sa.Engine) -> None:
    row = {"kind": "a", "step": 1, "state": TrialState.FAIL, "details": {}}
    with engine.begin() as connection:
        bulk.insert_rows(connection, things, [row])
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        bulk.insert_rows(connection, things, [{**row, "step": 2}, row])
    with counted(engine) as sent, engine.connect() as connection:
        bulk.insert_rows(connection, things, [])
        bulk.update_rows(connection, things, [])
        bulk.upsert_rows(connection, things, [], keys=("kind", "step"))
        assert bulk.insert_returning(connection, things, [], (things.c.id,)) == []
        assert sent == []
        assert len(stored(connection)) == 1
