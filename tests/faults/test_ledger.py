"""The ledger: each transaction of a study's driver is written exactly once, and only while the study is its own."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import sqlalchemy as sa
from cutting_proxy import Cut, CuttingProxy
from postgresql_server import PostgresqlServer
from sqlalchemy import Connection, Engine
from tests_support import SMALL_SPEC

from study.claim import this_process
from study.creation import create_study
from study.errors import StudyBusyError, StudyLostError
from study.spec_file import parse_spec
from study.storage.claims import bury_driver, claim_study, find_row, release_study
from study.storage.engine import create_database, open_database
from study.storage.ledger import Ledger
from study.storage.logs import log_event
from study.storage.patience import Patience

SPEC = parse_spec(SMALL_SPEC, source="small")
#: A driver on another machine, whose life cannot be seen from here.
ELSEWHERE = "elsewhere:1:1"


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """A database of each kind with the small study in it."""
    with create_database(any_database_url) as engine:
        create_study(engine, SPEC)
        yield engine


def begin(engine: Engine, *, seconds: float = 30.0, observe: Callable[[float], None] | None = None) -> Ledger:
    """This process claims the study."""
    patience = Patience(engine, seconds=seconds, observe=observe)
    return Ledger(patience, 1, claim=this_process(), beat=claim_study(patience, 1))


def begin_elsewhere(engine: Engine) -> Ledger:
    """The study is driven from another machine."""
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE adai_studies SET driver = :driver, beat = 7"), {"driver": ELSEWHERE})
    return Ledger(Patience(engine, seconds=30.0), 1, claim=ELSEWHERE, beat=7)


def say(word: str) -> Callable[[Connection], None]:
    """Work that can be counted."""
    return partial(log_event, study_id=1, event=word)


def heard(engine: Engine, word: str) -> int:
    with engine.connect() as connection:
        query = sa.text("SELECT COUNT(*) FROM adai_logs WHERE event = :word")
        return int(connection.execute(query, {"word": word}).scalar_one())


def beat(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(find_row(connection, "small").beat)


def test_every_write_is_a_beat_and_no_read_is(engine: Engine) -> None:
    ledger = begin(engine)
    first = beat(engine)
    ledger.write(say("one"))
    ledger.write(say("two"))
    assert ledger.read(lambda connection: find_row(connection, "small").beat) == first + 2
    assert (heard(engine, "one"), heard(engine, "two"), beat(engine)) == (1, 1, first + 2)


def test_work_that_fails_leaves_nothing_and_the_next_is_written(engine: Engine) -> None:
    ledger = begin(engine)
    before = beat(engine)

    def fail(connection: Connection) -> None:
        say("half")(connection)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ledger.write(fail)
    assert (heard(engine, "half"), beat(engine)) == (0, before)
    ledger.write(say("next"))
    assert (heard(engine, "next"), beat(engine)) == (1, before + 1)


def test_a_driver_whose_study_was_taken_over_writes_nothing_more(engine: Engine) -> None:
    old = begin_elsewhere(engine)
    old.write(say("mine"))
    claim_study(Patience(engine, seconds=1.0), 1, takeover_seconds=0.6)
    with pytest.raises(StudyLostError, match=r"'small' is not this process's any more .* has it"):
        old.write(say("late"))
    assert (heard(engine, "mine"), heard(engine, "late"), heard(engine, "study_taken_over")) == (1, 0, 1)


def test_a_driver_that_was_buried_writes_nothing_more(engine: Engine) -> None:
    old = begin(engine)
    with engine.begin() as connection:
        assert bury_driver(connection, find_row(connection, "small"))
    with pytest.raises(StudyLostError, match="nobody has it"):
        old.write(say("late"))
    assert heard(engine, "late") == 0


def test_a_driver_elsewhere_that_gives_signs_of_life_keeps_its_study(engine: Engine) -> None:
    driver = begin_elsewhere(engine)
    refused = threading.Event()

    def write_on() -> None:
        while not refused.wait(0.05):
            driver.write(say("alive"))

    thread = threading.Thread(target=write_on)
    thread.start()
    try:
        with pytest.raises(StudyBusyError, match="process 1 on elsewhere"):
            claim_study(Patience(engine, seconds=1.0), 1, takeover_seconds=30)
    finally:
        refused.set()
        thread.join()
    assert heard(engine, "alive") > 0
    driver.write(say("still mine"))


def test_two_threads_write_everything_once(engine: Engine) -> None:
    ledger = begin(engine)
    before = beat(engine)

    def write_many(word: str) -> None:
        for _ in range(20):
            ledger.write(say(word))

    threads = [threading.Thread(target=write_many, args=(word,)) for word in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (heard(engine, "one"), heard(engine, "two"), beat(engine)) == (20, 20, before + 40)


def test_ctrl_c_between_a_commit_and_the_note_of_it_does_no_harm(engine: Engine) -> None:
    interrupts: list[type[BaseException]] = []

    def observe(_: float) -> None:
        if interrupts:
            raise interrupts.pop()

    ledger = begin(engine, observe=observe)
    interrupts.append(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        ledger.write(say("committed"))
    assert heard(engine, "committed") == 1
    ledger.write(say("next"))
    assert (heard(engine, "committed"), heard(engine, "next")) == (1, 1)


@contextlib.contextmanager
def cut_off(server: PostgresqlServer, url: str, cuts: list[Cut]) -> Iterator[Engine]:
    """An engine whose next commits are lost as ``cuts`` says."""
    with CuttingProxy(server.port, lambda _: cuts.pop(0) if cuts else None) as proxy:
        through = url.replace(f":{server.port}/", f":{proxy.port}/") + "?sslmode=disable"
        with open_database(through) as engine:
            yield engine


@pytest.mark.parametrize("cut", Cut)
def test_a_commit_whose_connection_is_lost_is_done_once(
    cut: Cut, postgresql_server: PostgresqlServer, postgresql_url: str
) -> None:
    cuts: list[Cut] = []
    with create_database(postgresql_url) as direct, cut_off(postgresql_server, postgresql_url, cuts) as engine:
        create_study(direct, SPEC)
        cuts.extend([cut, cut, cut])
        ledger = begin(engine)
        assert heard(direct, "study_started") == 1
        before = beat(direct)
        cuts.extend([cut, cut, cut])
        assert ledger.write(lambda connection: say("once")(connection) or 7) == 7
        assert (heard(direct, "once"), beat(direct)) == (1, before + 1)
        cuts.append(cut)
        ledger.write(partial(release_study, study_id=1, state="completed"))
        with direct.connect() as connection:
            row = find_row(connection, "small")
        assert not cuts
        assert (row.state, row.driver, row.beat) == ("completed", None, before + 2)
        assert heard(direct, "study_completed") == 1


@pytest.mark.parametrize("cut", Cut)
def test_a_study_whose_creation_is_cut_is_there_once(
    cut: Cut, postgresql_server: PostgresqlServer, postgresql_url: str
) -> None:
    cuts: list[Cut] = []
    with create_database(postgresql_url) as direct, cut_off(postgresql_server, postgresql_url, cuts) as engine:
        cuts.extend([cut, cut])
        assert create_study(engine, SPEC, retry_seconds=30).name == "small"
        assert not cuts
        assert heard(direct, "study_created") == 1
        with direct.connect() as connection:
            for table, rows in {
                "adai_studies": 1,
                "adai_trials": 10,
                "adai_runs": 20,
                "studies": 2,
                "trials": 10,
            }.items():
                assert connection.execute(sa.text(f"SELECT COUNT(*) FROM {table}")).scalar_one() == rows


@pytest.mark.parametrize("cut", Cut)
def test_a_study_that_is_buried_while_its_driver_is_cut_off_is_lost_to_it(
    cut: Cut, postgresql_server: PostgresqlServer, postgresql_url: str
) -> None:
    """Also if the transaction that was lost would have given it back: a burial does not look like it."""
    cuts: list[Cut] = []
    is_lost: list[bool] = []
    with create_database(postgresql_url) as direct, cut_off(postgresql_server, postgresql_url, cuts) as engine:
        create_study(direct, SPEC)

        def bury(_: float) -> None:
            if is_lost and is_lost.pop():
                with direct.begin() as connection:
                    assert bury_driver(connection, find_row(connection, "small"))

        ledger = begin(engine, observe=bury)
        cuts.append(cut)
        is_lost.append(True)
        with pytest.raises(StudyLostError, match="nobody has it"):
            ledger.write(say("once"))
        assert heard(direct, "once") == (cut is Cut.AFTER)
