"""Studies whose points Optuna's samplers propose: the same table whatever the batches and the interruptions."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from study_runs import drive, drive_with_interruptions, make_spec, write_study
from tests_support import comparable_tables

from study.spec import StudySpec
from study.storage.engine import create_database
from study.storage.optuna_rows import find_optuna_study
from study.storage.optuna_trials import read_frozen_trials


def adaptive(kind: str, **design: Any) -> StudySpec:
    return make_spec(kind, seeds=2, epochs=1, design={"kind": kind, "points": 20} | design)


KINDS = {
    "tpe": adaptive("tpe", batch=6),
    "gp": adaptive("gp", batch=10),
    "cmaes": adaptive("cmaes", batch=5),
    "nsga2": adaptive("nsga2", batch=6, second_objective="val_loss"),
}


@pytest.fixture(scope="module", params=list(KINDS))
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[StudySpec, str]:
    """A study of each sampler, run to its end; only to be read."""
    spec = KINDS[request.param]
    url = f"sqlite:///{tmp_path_factory.mktemp('undisturbed')}/study.db"
    with create_database(url) as engine:
        write_study(engine, spec, max_rows=1000)
        drive(engine, spec.name)
    return spec, url


def load(url: str, spec: StudySpec, optimizer: str) -> list[optuna.trial.FrozenTrial]:
    with create_database(url) as engine, engine.connect() as connection:
        optuna_study_id = find_optuna_study(connection, f"{spec.name}/digits-logistic/{optimizer}")
        assert optuna_study_id is not None
        return read_frozen_trials(connection, optuna_study_id)


def test_interruptions_and_other_batches_lead_to_the_same_points(
    undisturbed: tuple[StudySpec, str], tmp_path: Path
) -> None:
    spec, url = undisturbed
    other = f"sqlite:///{tmp_path}/other.db"
    with create_database(other) as engine:
        write_study(engine, spec, max_rows=4)
        assert drive_with_interruptions(engine, spec.name, every=4) > 2
        found = comparable_tables(engine)
    with create_database(url) as engine:
        assert found == comparable_tables(engine)


def test_every_optimizer_gets_its_default_and_all_points_in_rounds(undisturbed: tuple[StudySpec, str]) -> None:
    spec, url = undisturbed
    batch = spec.design.batch
    for optimizer in ("adai", "sgd"):
        trials = load(url, spec, optimizer)
        assert [trial.number for trial in trials] == list(range(21))
        assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
        assert [trial.user_attrs["origin"] for trial in trials] == ["default"] + ["design"] * 20
    with create_database(url) as engine, engine.connect() as connection:
        query = "SELECT number, round FROM adai_trials WHERE optimizer = 'sgd' ORDER BY number"
        rounds = [row[1] for row in connection.execute(sa.text(query))]
    assert rounds == [0, *((number - 1) // batch for number in range(1, 21))]
    assert spec.trial_count == 42


def test_two_objectives_are_stored_where_the_sampler_has_two(undisturbed: tuple[StudySpec, str]) -> None:
    spec, url = undisturbed
    two = spec.design.second_objective is not None
    for trial in load(url, spec, "adai"):
        assert trial.values is not None
        assert len(trial.values) == (2 if two else 1)
        assert (trial.intermediate_values == {}) == two
    with create_database(url) as engine, engine.connect() as connection:
        query = "SELECT t.number, r.objective, r.val_loss, r.termination FROM adai_runs r JOIN adai_trials t "
        query += "ON t.id = r.trial_id WHERE t.optimizer = 'adai' ORDER BY t.number, r.seed"
        rows = list(connection.execute(sa.text(query)))
    chance = 2.302585092994046  # log(10)
    for trial in load(url, spec, "adai"):
        own = [row for row in rows if row.number == trial.number]
        assert trial.values[0] == pytest.approx(sum(row.objective for row in own) / 2)
        if two:
            losses = [chance if row.termination == "DIVERGED" else min(row.val_loss, chance) for row in own]
            assert trial.values[1] == pytest.approx(sum(losses) / 2)


@pytest.mark.parametrize("undisturbed", ["tpe", "cmaes"], indirect=True)
def test_a_sampler_learns_from_the_rounds_before(undisturbed: tuple[StudySpec, str]) -> None:
    """The last points are better than the first ones, which know nothing: on average over both optimizers."""
    spec, url = undisturbed
    first, last = [], []
    for optimizer in ("adai", "sgd"):
        values = [trial.values[0] for trial in load(url, spec, optimizer) if trial.values is not None]
        first += values[1:9]
        last += values[13:]
    assert sum(last) / len(last) < sum(first) / len(first)


def test_pruned_trials_of_earlier_rounds_are_told_to_the_sampler(tmp_path: Path) -> None:
    """Rounds of TPE, each with successive halving; again the same table when it is interrupted."""
    spec = make_spec(
        "both",
        seeds=2,
        epochs=3,
        design={"kind": "tpe", "points": 14, "batch": 7},
        pruning={"kind": "successive_halving"},
    )
    tables = []
    for place, every in (("once.db", None), ("often.db", 5)):
        url = f"sqlite:///{tmp_path}/{place}"
        with create_database(url) as engine:
            write_study(engine, spec, max_rows=1000 if every is None else 6)
            if every is None:
                drive(engine, spec.name)
            else:
                drive_with_interruptions(engine, spec.name, every=every)
            tables.append(comparable_tables(engine))
        states = [trial.state for trial in load(url, spec, "adai")]
        assert states.count(optuna.trial.TrialState.PRUNED) == 2 * 5
        assert states.count(optuna.trial.TrialState.COMPLETE) == 1 + 2 * 2
    assert tables[0] == tables[1]


def test_brute_force_tries_every_cell_once(database_url: str) -> None:
    spec = StudySpec.model_validate(
        make_spec("cells", seeds=1, epochs=1).model_dump()
        | {
            "design": {"kind": "brute_force", "points": 100, "batch": 5},
            "optimizers": [
                {
                    "name": "adam",
                    "axes": {
                        "lr": {"choices": [1e-3, 1e-2, 1e-1]},
                        "batch_size": {"choices": [64.0, 128.0]},
                        "beta1": {"choices": [0.0, 0.9], "when": "batch_size == 64"},
                    },
                    "constraints": ["lr * batch_size < 10"],
                }
            ],
        }
    )
    with create_database(database_url) as engine:
        write_study(engine, spec, max_rows=1000)
        drive(engine, spec.name)
    params = [trial.params for trial in load(database_url, spec, "adam")[1:]]
    expected = [
        {"lr": lr, "batch_size": size} | ({"beta1": beta1} if beta1 is not None else {})
        for lr in (1e-3, 1e-2, 1e-1)
        for size in (64.0, 128.0)
        for beta1 in ((0.0, 0.9) if size == 64.0 else (None,))
        if lr * size < 10
    ]
    assert sorted(params, key=repr) == sorted(expected, key=repr)
