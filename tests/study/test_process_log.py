"""The log of a process: whatever an event has to tell, telling it fails nothing."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator

import sqlalchemy as sa
from tests_support import SMALL_SPEC

from study.creation import create_study
from study.serving import configure_log
from study.spec_file import parse_spec
from study.storage.engine import create_database
from study.storage.logs import process_log
from study.storage.requests import ask, find_request, finish_request, take_request
from study.storage.tables import logs


@contextlib.contextmanager
def kept_log() -> Iterator[io.StringIO]:
    """The log as servers and dashboards have it: what it says."""
    log, said = logging.getLogger("adai-study"), io.StringIO()
    handlers, level, propagate = log.handlers, log.level, log.propagate
    with contextlib.redirect_stderr(said):
        configure_log("json")
    try:
        yield said
    finally:
        log.handlers, log.propagate = handlers, propagate
        log.setLevel(level)


def test_every_name_of_a_detail_is_taken() -> None:
    names = ["message", "name", "args", "module", "process", "thread", "asctime", "filename", "study", "level_of_it"]
    with kept_log() as said:
        process_log.warning("said", **dict.fromkeys(names, 1))
    event = json.loads(said.getvalue())
    assert event["event"] == "said"
    assert {name for name, value in event.items() if value == 1} == {*(f"{name}_" for name in names[:8]), *names[8:]}


def test_a_process_that_keeps_a_log_finishes_what_it_was_asked_for(any_database_url: str) -> None:
    with create_database(any_database_url) as engine, kept_log() as said:
        create_study(engine, parse_spec(SMALL_SPEC, source="small"))
        with engine.begin() as connection:
            ask(connection, "report", "small", "otto")
        with engine.begin() as connection:
            taken = take_request(connection, ["report"])
        assert taken is not None
        with engine.begin() as connection:
            assert finish_request(connection, taken[0], "done", "it is written")
        with engine.connect() as connection:
            found = find_request(connection, taken[0].id)
            (details,) = connection.execute(sa.select(logs.c.details).where(logs.c.event == "request_done")).scalars()
    assert found is not None
    assert (found.state, found.message) == ("done", "it is written")
    assert details["result"] == "it is written"
    assert '"result": "it is written"' in said.getvalue()
