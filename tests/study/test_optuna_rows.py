"""What we write for Optuna is what Optuna itself would have written."""

from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from tests_support import SMALL_SPEC

from study.creation import create_study
from study.driver import Driver
from study.spec import StudySpec
from study.spec_file import parse_spec
from study.storage import optuna_rows
from study.storage.engine import create_database
from study.storage.optuna_rows import AskedTrial
from workers.pool import InlinePool

TABLES = {
    "studies": ["study_name"],
    "study_directions": ["direction", "study_id", "objective"],
    "study_user_attributes": ["study_id", "key", "value_json"],
    "study_system_attributes": ["study_id", "key", "value_json"],
    "trials": ["number", "study_id", "state"],
    "trial_params": ["trial_id", "param_name", "param_value", "distribution_json"],
    "trial_values": ["trial_id", "objective", "value", "value_type"],
    "trial_intermediate_values": ["trial_id", "step", "intermediate_value", "intermediate_value_type"],
    "trial_user_attributes": ["trial_id", "key", "value_json"],
}
DISTRIBUTIONS = {
    "lr": optuna.distributions.FloatDistribution(1e-3, 10.0, log=True),
    "beta0": optuna.distributions.FloatDistribution(0.0, 1.0),
    "batch_size": optuna.distributions.IntDistribution(16, 256, log=True),
    "epochs": optuna.distributions.IntDistribution(1, 40),
}
PARAMS = [
    {"lr": 0.1, "beta0": 0.25, "batch_size": 16, "epochs": 40},
    {"lr": 2.0, "beta0": 0.5, "batch_size": 100, "epochs": 1},
    {"lr": 0.003, "beta0": 1.0, "batch_size": 256, "epochs": 7},
]


def rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """The contents of Optuna's tables, less keys and times."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = {
            table: sorted(
                (tuple(row) for row in connection.execute(sa.text(f"SELECT {', '.join(names)} FROM {table}"))),
                key=repr,
            )
            for table, names in TABLES.items()
        }
    engine.dispose()
    return found


def write_ours(url: str) -> None:
    with create_database(url) as engine, engine.begin() as connection:
        study_id = optuna_rows.create_optuna_study(connection, "s", metrics=["val_error"], user_attributes={"k": "v"})
        # Our plans hold whole numbers as floats.
        asked = [
            AskedTrial({name: float(value) for name, value in params.items()}, DISTRIBUTIONS, {"origin": "design"})
            for params in PARAMS
        ]
        ids = optuna_rows.enqueue_trials(connection, study_id, asked[:1], first_number=0)
        ids += optuna_rows.enqueue_trials(connection, study_id, asked[1:], first_number=1)
        optuna_rows.start_trials(connection, ids, keep_steps=0)
        for step in (1, 2):
            optuna_rows.report_trials(connection, step, {trial: 0.5 / (trial + step) for trial in ids})
        optuna_rows.complete_trials(connection, {ids[0]: [0.25], ids[1]: [0.125]}, {ids[0]: {"diverged": 1}})
        optuna_rows.fail_trials(connection, ids[2:])


def write_as_optuna(url: str) -> None:
    with create_database(url):
        pass
    optuna_study = optuna.create_study(storage=url, study_name="s", direction="minimize")
    optuna_study.set_user_attr("k", "v")
    optuna_study.set_metric_names(["val_error"])
    trials = []
    for params in PARAMS:
        optuna_study.enqueue_trial(params)
    for _ in PARAMS:
        optuna_trial = optuna_study.ask(DISTRIBUTIONS)
        optuna_trial.set_user_attr("origin", "design")
        trials.append(optuna_trial)
    for step in (1, 2):
        for optuna_trial in trials:
            optuna_trial.report(0.5 / (optuna_trial._trial_id + step), step)
    trials[0].set_user_attr("diverged", 1)
    optuna_study.tell(trials[0], 0.25)
    optuna_study.tell(trials[1], 0.125)
    optuna_study.tell(trials[2], state=optuna.trial.TrialState.FAIL)
    storage = optuna_study._storage
    storage.remove_session()
    storage._backend.engine.dispose()


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_our_rows_equal_those_that_optunas_own_calls_write(database_url: str) -> None:
    twin = database_url.replace("study.db", "optuna.db")
    write_ours(database_url)
    write_as_optuna(twin)
    ours, theirs = rows(database_url), rows(twin)
    for table in TABLES:
        assert ours[table] == theirs[table], table


def test_optuna_reads_what_we_wrote(any_database_url: str) -> None:
    write_ours(any_database_url)
    trials = load(any_database_url, "s")
    states = optuna.trial.TrialState
    assert [trial.state for trial in trials] == [states.COMPLETE, states.COMPLETE, states.FAIL]
    assert [trial.params for trial in trials] == PARAMS
    assert all(type(trial.params["batch_size"]) is int for trial in trials)
    assert [trial.value for trial in trials] == [0.25, 0.125, None]
    assert trials[1].distributions == DISTRIBUTIONS
    assert list(trials[0].intermediate_values) == [1, 2]
    assert trials[0].duration is not None
    assert trials[0].duration.total_seconds() < 60  # times are in the same zone


def test_a_new_study_waits_in_optuna_with_all_its_points(any_database_url: str) -> None:
    spec = parse_spec(SMALL_SPEC, source="small")
    with create_database(any_database_url) as engine:
        create_study(engine, spec, {}, "cpu")
    for optimizer in ("adai", "sgd"):
        trials = load(any_database_url, f"small/digits-logistic/{optimizer}")
        assert [trial.number for trial in trials] == list(range(5))
        assert {trial.state for trial in trials} == {optuna.trial.TrialState.WAITING}
        assert all(set(trial.params) == set(spec.optimizer(optimizer).axes) for trial in trials)


@pytest.mark.filterwarnings("ignore:Some regimes for parameter")
def test_a_default_off_its_axis_does_not_break_optuna(database_url: str) -> None:
    spec = StudySpec.model_validate(
        {
            "name": "off",
            "workloads": ["digits-logistic"],
            "seeds": 1,
            "epochs": 1,
            "design": {"points": 12},
            "optimizers": [
                {
                    "name": "sgd",
                    "axes": {
                        "lr": {"low": 1e-4, "high": 1e-2, "scale": "log"},
                        "momentum": {"low": 0.0, "high": 0.99, "scale": "log1m"},
                        "weight_decay": {"low": 1e-6, "high": 1e-2, "scale": "log"},
                    },
                }
            ],
        }
    )
    with create_database(database_url) as engine:
        study = create_study(engine, spec, {}, "cpu")
        with InlinePool() as pool:
            Driver(engine, study, pool, lambda _: None).run()
    trials = load(database_url, "off/digits-logistic/sgd")
    assert trials[0].params == {"momentum": 0.9}
    assert (trials[0].user_attrs["lr"], trials[0].user_attrs["weight_decay"]) == (0.1, 0.0)
    assert all(set(trial.params) == {"lr", "momentum", "weight_decay"} for trial in trials[1:])
    copy = optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=2, seed=0))
    copy.add_trials(trials)
    importances = optuna.importance.get_param_importances(copy)
    assert set(importances) == {"lr", "momentum", "weight_decay"}
    assert all(0 <= value <= 1 for value in importances.values())
    asked = copy.ask()
    assert 1e-6 <= asked.suggest_float("weight_decay", 1e-6, 1e-2, log=True) <= 1e-2


def load(url: str, name: str) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.RDBStorage(url)
    try:
        return optuna.load_study(storage=storage, study_name=name).get_trials()
    finally:
        storage.remove_session()
        storage.engine.dispose()
