"""Estimates of what a study would cost, from what runs took in this database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, event
from tests_support import SMALL_SPEC

from study.creation import create_study
from study.estimate import Estimate, estimate
from study.spec_file import parse_spec
from study.storage.engine import create_database, open_database
from study.storage.servers import give_sign_of_life, remove_own_sign

OTHER = SMALL_SPEC.replace('"small"', '"other"')


@pytest.fixture
def engine(finished: tuple[str, Path]) -> Iterator[Engine]:
    """The database of the small study, run to its end."""
    with open_database(finished[0]) as engine:
        yield engine


def estimate_of(engine: Engine, text: str) -> Estimate:
    with engine.connect() as connection:
        return estimate(connection, parse_spec(text, source="spec"))


def quantiles(engine: Engine, optimizer: str) -> Any:
    """Recomputed from the tables, without our queries."""
    query = (
        "SELECT r.seconds / r.epochs FROM adai_runs r JOIN adai_trials t ON t.id = r.trial_id WHERE optimizer = :name"
    )
    with engine.connect() as connection:
        times = connection.execute(sa.text(query), {"name": optimizer}).scalars().all()
    return np.quantile(times, [0.1, 0.5, 0.9])


def test_the_time_is_that_of_the_same_optimizers_with_the_same_training(engine: Engine) -> None:
    found = estimate_of(engine, OTHER.replace("points = 4", "points = 8").replace("epochs = 2", "epochs = 3"))
    assert (found.trials, found.runs, found.run_epochs) == (18, 36, 108)
    expected = 54 * quantiles(engine, "adai") + 54 * quantiles(engine, "sgd")
    assert [found.seconds_low, found.seconds, found.seconds_high] == pytest.approx(list(expected))
    assert found.basis == "From 20 runs of digits-logistic in this database."
    assert (found.workers, found.wall_seconds) == (None, None)


def test_an_optimizer_that_never_ran_takes_what_the_others_took(engine: Engine) -> None:
    found = estimate_of(
        engine, OTHER.replace('"adai"', '"adam"').replace('name = "sgd"', 'name = "yogi"').split("fixed")[0]
    )
    assert found.seconds is not None
    with engine.connect() as connection:
        times = connection.execute(sa.text("SELECT seconds / epochs FROM adai_runs")).scalars().all()
    assert found.seconds == pytest.approx(found.run_epochs * np.median(times))


def test_other_training_options_are_said(engine: Engine) -> None:
    found = estimate_of(engine, OTHER + "[training]\nbatch_size = 8\n")
    assert found.seconds is not None
    assert found.basis == "From 20 runs of digits-logistic with other training options in this database."
    same = estimate_of(engine, OTHER + "[training]\ntarget_error = 0.2\n")
    assert same.basis == "From 20 runs of digits-logistic in this database."


def test_workloads_that_never_ran_are_named_and_not_in_the_time(engine: Engine) -> None:
    both = estimate_of(engine, OTHER.replace('["digits-logistic"]', '["digits-logistic", "digits-mlp"]'))
    alone = estimate_of(engine, OTHER)
    assert both.seconds == alone.seconds
    assert both.run_epochs == 2 * alone.run_epochs
    assert (
        "Nothing is known of digits-mlp: no run of it has ended in this database, so its time is not in" in both.basis
    )
    none = estimate_of(engine, OTHER.replace("digits-logistic", "imagefolder-mlp"))
    assert (none.seconds, none.seconds_low, none.seconds_high, none.wall_seconds) == (None, None, None, None)
    assert none.basis.startswith("Nothing is known of imagefolder-mlp: ")
    assert "so there is no estimate of the time" in none.basis
    assert "Whether the workers have its data shows when they start." in none.basis


def test_an_axis_of_epochs_counts_with_its_largest(engine: Engine) -> None:
    axes = "axes = { lr = { low = 0.1, high = 1.0 }, epochs = { low = 1, high = 9 } }\nfixed"
    found = estimate_of(engine, OTHER.replace("fixed", axes))
    assert found.run_epochs == 10 * 2 + 10 * 9


def test_all_workers_of_living_servers_share_the_work(any_database_url: str) -> None:
    with create_database(any_database_url) as engine:
        with engine.begin() as connection:
            give_sign_of_life(connection, workers=4, studies=0)
        assert estimate_of(engine, SMALL_SPEC).workers == 4
        with engine.begin() as connection:
            remove_own_sign(connection)
        assert estimate_of(engine, SMALL_SPEC).workers is None


def test_conditions_make_it_an_upper_limit(engine: Engine) -> None:
    grid = "kind = 'grid'\nlevels = 300\n[[optimizers]]\nname = 'sgd'\nconstraints = ['lr < 0.1']\n"
    found = estimate_of(engine, OTHER.split("kind = ")[0] + grid)
    assert found.trials == 90_001
    assert "may leave fewer trials" in found.basis


def test_the_queries_do_not_grow_with_the_studies(
    any_database_url: str,
    finished: tuple[str, Path],
) -> None:
    del finished
    counts = []
    with create_database(any_database_url) as engine:
        for number in range(2):
            for name in range(1 + 10 * number):
                create_study(engine, parse_spec(SMALL_SPEC.replace('"small"', f'"s{number}-{name}"'), source="spec"))
            statements: list[str] = []
            listener = lambda *words: statements.append(words[2])  # noqa: B023, E731 - removed before the next round
            event.listen(engine, "before_cursor_execute", listener)
            estimate_of(engine, OTHER)
            event.remove(engine, "before_cursor_execute", listener)
            counts.append(len(statements))
    assert counts[0] == counts[1] <= 5
