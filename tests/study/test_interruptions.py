"""Ctrl-C and SIGTERM at any moment of a transaction."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from study.storage.engine import create_database
from study.storage.interruptions import interruptions_wait
from study.storage.patience import Patience


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    with create_database(any_database_url) as engine:
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE counted (n INTEGER)"))
            connection.execute(sa.text("INSERT INTO counted VALUES (0)"))
        yield engine


def add_one(connection: Connection) -> None:
    connection.execute(sa.text("UPDATE counted SET n = n + 1"))


def count(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT n FROM counted")).scalar_one()


def test_a_transaction_is_finished_before_ctrl_c_acts(engine: Engine) -> None:
    def interrupted(connection: Connection) -> None:
        add_one(connection)
        signal.raise_signal(signal.SIGINT)
        add_one(connection)

    with pytest.raises(KeyboardInterrupt):
        Patience(engine, seconds=10).transact(interrupted)
    assert count(engine) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_acts_at_once(engine: Engine) -> None:
    def interrupted(connection: Connection) -> None:
        add_one(connection)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("nothing acted")

    with pytest.raises(KeyboardInterrupt):
        Patience(engine, seconds=10).transact(interrupted)
    assert count(engine) == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_is_heard_although_the_transaction_fails(engine: Engine) -> None:
    def interrupted(connection: Connection) -> None:
        signal.raise_signal(signal.SIGINT)
        connection.execute(sa.text("SELECT * FROM nowhere"))

    with pytest.raises(KeyboardInterrupt):
        Patience(engine, seconds=10).transact(interrupted)


def test_every_handler_is_told_once_and_put_back() -> None:
    told: list[int] = []

    def tell(number: int, frame: FrameType | None) -> None:
        del frame
        told.append(number)

    previous = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with interruptions_wait():
            signal.raise_signal(signal.SIGTERM)
            assert told == []
            signal.raise_signal(signal.SIGINT)
            assert told == [signal.SIGTERM, signal.SIGINT]
        assert told == [signal.SIGTERM, signal.SIGINT]
        assert {signal.getsignal(number) for number in previous} == {tell}
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def test_other_threads_do_transactions_as_always(engine: Engine) -> None:
    thread = threading.Thread(target=Patience(engine, seconds=10).transact, args=(add_one,))
    thread.start()
    thread.join()
    assert count(engine) == 1


STORM = """
import os, random, signal, sys, threading
import sqlalchemy as sa
from study.storage.engine import open_database
from study.storage.patience import Patience

draw = random.Random(1)
add_one = lambda connection: connection.execute(sa.text("UPDATE counted SET n = n + 1"))
with open_database(sys.argv[1]) as engine:
    for _ in range(300):
        patience = Patience(engine, seconds=10)
        interrupt = threading.Timer(draw.uniform(0.0005, 0.01), os.kill, (os.getpid(), signal.SIGINT))
        try:
            interrupt.start()
            while True:
                patience.transact(add_one)
        except KeyboardInterrupt:
            # As the driver does it, which gives its study back.
            patience.stop_waiting()
            patience.transact(add_one)
        interrupt.join()
print("done")
"""


def test_what_must_be_written_after_ctrl_c_is_written_whenever_it_came(engine: Engine, any_database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STORM, any_database_url],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout == "done\n", done.stderr
    assert count(engine) > 300
