"""Lists of studies: pages that leave nothing out, searches that take every character as it stands."""

import datetime as dt
import itertools
from collections.abc import Iterator

import pytest
from listed_studies import CREATED, change_study, list_study
from sqlalchemy import Engine

from study.errors import UnknownStudyError
from study.storage.engine import create_database
from study.storage.study_list import (
    StudyFilter,
    StudyRow,
    StudySort,
    count_studies,
    find_study_row,
    find_study_rows,
    list_studies,
    read_marks,
    sort_key,
)

STATES = ("planned", "running", "completed")


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """An empty database of each supported kind."""
    with create_database(any_database_url) as engine:
        yield engine


@pytest.fixture
def twenty(engine: Engine) -> Engine:
    """Twenty studies, several of a time and of a state."""
    with engine.begin() as connection:
        for number in range(20):
            created_at = CREATED + dt.timedelta(seconds=number % 4, microseconds=number % 3)
            list_study(connection, f"s{number * 7 % 20:02}", state=STATES[number % 3], created_at=created_at)
    return engine


def read_pages(engine: Engine, sort: StudySort, limit: int, chosen: StudyFilter) -> list[list[StudyRow]]:
    pages = []
    after: tuple[object, ...] = ()
    with engine.connect() as connection:
        while page := list_studies(connection, chosen, sort, after=after, limit=limit):
            pages.append(page)
            after = sort_key(page[-1], sort)
    return pages


@pytest.mark.parametrize("sort", ["name", "-name", "created", "-created", "state"])
def test_pages_hold_every_study_once_and_in_order(twenty: Engine, sort: StudySort) -> None:
    keys = {
        "name": lambda row: (row.name,),
        "created": lambda row: (row.created_at, row.id),
        "state": lambda row: (row.state, row.name),
    }
    for limit in (1, 3, 7, 20, 50):
        pages = read_pages(twenty, sort, limit, StudyFilter())
        assert all(len(page) == limit for page in pages[:-1])
        rows = [row for page in pages for row in page]
        assert len({row.id for row in rows}) == len(rows) == 20
        assert rows == sorted(rows, key=keys[sort.removeprefix("-")], reverse=sort.startswith("-"))


def test_a_study_that_comes_while_pages_are_turned_moves_no_other_one(twenty: Engine) -> None:
    with twenty.begin() as connection:
        first = list_studies(connection, StudyFilter(), "name", limit=5)
        list_study(connection, "a-new-one")
        second = list_studies(connection, StudyFilter(), "name", after=sort_key(first[-1], "name"), limit=5)
    assert [row.name for row in (*first, *second)] == [f"s{number:02}" for number in range(10)]


def test_a_search_takes_every_character_as_it_stands(engine: Engine) -> None:
    described = {
        "percent": "100% sure",
        "under": "a_b",
        "quote": 'it\'s "quoted" \\ slash /',
        "plain": "100 sure, ab, its",
        "upper": "Adai AGAINST Adam",
    }
    with engine.begin() as connection:
        for name, description in described.items():
            list_study(connection, name, description=description)

    def found(text: str) -> set[str]:
        with engine.connect() as connection:
            chosen = StudyFilter(text)
            names = {row.name for row in list_studies(connection, chosen, "name", limit=50)}
            assert count_studies(connection, chosen) == len(names)
        return names

    assert found("%") == {"percent"}
    assert found("_") == {"under"}
    assert found("a_b") == {"under"}
    assert found("'") == {"quote"}
    assert found('"quoted"') == {"quote"}
    assert found("\\") == {"quote"}
    assert found("/") == {"quote"}
    assert found("adai against") == {"upper"}
    assert found("UPP") == {"upper"}
    assert found("100") == {"percent", "plain"}
    assert found("' OR 1=1 --") == set()
    assert found("\0") == set()
    assert found("") == set(described)


def test_studies_are_filtered_by_any_of_some_states(twenty: Engine) -> None:
    chosen = StudyFilter("s", ("running", "completed"))
    rows = [row for page in read_pages(twenty, "-created", 4, chosen) for row in page]
    assert {row.state for row in rows} == {"running", "completed"}
    with twenty.connect() as connection:
        assert len(rows) == count_studies(connection, chosen) == 13


def test_a_study_is_found_by_its_name_or_the_others_are_named(twenty: Engine) -> None:
    with twenty.begin() as connection:
        row = find_study_row(connection, "s07")
        assert (row.name, row.description, row.objective, row.beat) == ("s07", "", "val_error", 0)
        assert find_study_rows(connection, [row.id, 10_000]) == [row]
        with pytest.raises(UnknownStudyError, match="there are s00, s07"):
            find_study_row(connection, "s0")
        with pytest.raises(UnknownStudyError, match="no study is called"):
            find_study_row(connection, "s07\0")
        for number in range(60):
            list_study(connection, f"more-{number}")
        with pytest.raises(UnknownStudyError, match=r", others$") as raised:
            find_study_row(connection, "x" * 10_000)
    assert len(str(raised.value)) < 2000


def test_every_change_of_a_study_is_seen_in_its_mark(engine: Engine) -> None:
    with engine.begin() as connection:
        study_id = list_study(connection, "one")
        other = list_study(connection, "other")
        seen = [read_marks(connection)]
        for change in ({}, {"state": "running", "beat": 1}, {"driver": "host:1:1", "beat": 1}):
            change_study(connection, study_id, **change)
            seen.append(read_marks(connection))
    assert all(before[0] != after[0] for before, after in itertools.pairwise(seen))
    assert len({marks[1] for marks in seen}) == 1
    assert [mark.id for mark in seen[-1]] == [study_id, other]
