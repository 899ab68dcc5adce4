"""Frozen trials read by us are those that Optuna's own storage reads."""

import math

import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from optuna_support import comparable, counted, plain_storage

from study.storage import optuna_rows
from study.storage.engine import create_database
from study.storage.optuna_rows import AskedTrial
from study.storage.optuna_trials import optuna_trials, read_frozen_trials

RATE = FloatDistribution(1e-3, 10.0, log=True)
ASKED = [
    AskedTrial({"lr": 0.1}, {"lr": RATE}),
    AskedTrial(
        {"lr": 10, "kind": "b", "flag": True, "layers": 3.0},
        {
            "lr": RATE,
            "kind": CategoricalDistribution(["a", "b"]),
            "flag": CategoricalDistribution([False, True]),
            "layers": IntDistribution(1, 5),
        },
        {"origin": "design", "nested": {"a": [1, None]}},
        {"cma:generation": 3, "text": "ü"},
    ),
    *(AskedTrial({}, {}, {"only": number}) for number in range(5)),
]


def test_they_equal_those_of_optunas_storage(any_database_url: str) -> None:
    with create_database(any_database_url) as engine:
        with engine.begin() as connection:
            write_every_state(connection)
        with engine.connect() as connection:
            for study_id, count in ((1, 7), (2, 1), (3, 0)):
                ours = read_frozen_trials(connection, study_id)
                assert len(ours) == count
                theirs = read_as_optuna(any_database_url, study_id) if count else []
                assert [comparable(trial) for trial in ours] == [comparable(trial) for trial in theirs]
                # NaN is not equal to itself: one trial of the first study has one.
                assert [t for t in ours if t.number != 0] == [t for t in theirs if t.number != 0]
            states = [trial.state for trial in read_frozen_trials(connection, 1)]
    assert states == [
        TrialState.RUNNING,
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        *[TrialState.WAITING] * 3,
    ]


def test_the_number_of_queries_does_not_depend_on_the_number_of_trials(any_database_url: str) -> None:
    counts = []
    with create_database(any_database_url) as engine, counted(engine) as statements:
        for total in (1, 1500):
            with engine.begin() as connection:
                study_id = optuna_rows.create_optuna_study(connection, str(total), metrics=["m"], user_attributes={})
                asked = [AskedTrial({"lr": 0.1}, {"lr": RATE}, {"a": 1})] * total
                ids = optuna_rows.enqueue_trials(connection, study_id, asked, first_number=0)
                optuna_rows.start_trials(connection, ids, keep_steps=0)
                optuna_rows.report_trials(connection, 1, dict.fromkeys(ids, 1.0))
                statements.clear()
                found = read_frozen_trials(connection, study_id)
                assert [trial.number for trial in found] == list(range(total))
                assert [trial._trial_id for trial in found] == ids
                counts.append(len(statements))
    assert counts == [6, 6]


def test_only_the_chosen_trials_are_read(database_url: str) -> None:
    with create_database(database_url) as engine, engine.begin() as connection:
        write_every_state(connection)
        running = read_frozen_trials(connection, 1, only=optuna_trials.c.state == TrialState.RUNNING)
    assert [trial.number for trial in running] == [0]
    assert math.isnan(running[0].intermediate_values[2])


def test_a_trial_that_starts_again_keeps_the_steps_of_its_checkpoint(any_database_url: str) -> None:
    with create_database(any_database_url) as engine, engine.begin() as connection:
        study_id = optuna_rows.create_optuna_study(connection, "s", metrics=["m", "n"], user_attributes={})
        ids = optuna_rows.enqueue_trials(connection, study_id, [AskedTrial({}, {})] * 2, first_number=0)
        optuna_rows.start_trials(connection, ids, keep_steps=0)
        for step in (1, 2, 3):
            optuna_rows.report_trials(connection, step, dict.fromkeys(ids, step / 4))
        optuna_rows.release_trials(connection, ids)
        waiting = read_frozen_trials(connection, study_id)
        optuna_rows.start_trials(connection, ids[:1], keep_steps=2)
        optuna_rows.report_trials(connection, 3, {ids[0]: 9.0})
        found = read_frozen_trials(connection, study_id)
    assert [(trial.state, trial.datetime_start) for trial in waiting] == [(TrialState.WAITING, None)] * 2
    assert [trial.intermediate_values for trial in found] == [{1: 0.25, 2: 0.5, 3: 9.0}, {1: 0.25, 2: 0.5, 3: 0.75}]
    assert [trial.state for trial in found] == [TrialState.RUNNING, TrialState.WAITING]
    with plain_storage(any_database_url) as storage:
        assert len(storage.get_study_directions(study_id)) == 2
        assert storage.get_study_system_attrs(study_id) == {"study:metric_names": ["m", "n"]}


def write_every_state(connection: sa.Connection) -> None:
    """One study with trials of every state, and one of two objectives."""
    first = optuna_rows.create_optuna_study(connection, "one", metrics=["m"], user_attributes={})
    ids = optuna_rows.enqueue_trials(connection, first, ASKED, first_number=0)
    assert ids == sorted(ids)
    optuna_rows.start_trials(connection, ids[:5], keep_steps=0)
    optuna_rows.report_trials(connection, 1, {ids[0]: -math.inf, ids[1]: 0.1, ids[2]: 0.7})
    optuna_rows.report_trials(connection, 2, {ids[0]: math.nan, ids[1]: math.inf})
    optuna_rows.complete_trials(connection, {ids[1]: [-math.inf]}, {ids[1]: {"origin": "changed", "new": 1}})
    optuna_rows.prune_trials(connection, {ids[2]: 0.7}, {ids[2]: {"epochs": 1}})
    optuna_rows.fail_trials(connection, ids[3:4])
    optuna_rows.release_trials(connection, ids[4:5])
    second = optuna_rows.create_optuna_study(connection, "two", metrics=["m", "n"], user_attributes={})
    ids = optuna_rows.enqueue_trials(connection, second, [AskedTrial({}, {})], first_number=0)
    optuna_rows.start_trials(connection, ids, keep_steps=0)
    optuna_rows.complete_trials(connection, {ids[0]: [1.5, math.inf]}, {})


def read_as_optuna(url: str, study_id: int) -> list[FrozenTrial]:
    with plain_storage(url) as storage:
        return storage.get_all_trials(study_id)
