"""The driver: writes everything once, keeps what is finished, runs the rest, whatever goes wrong."""

import dataclasses
import os
import signal
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
import torch
from sqlalchemy import Engine
from tests_support import SMALL_SPEC, comparable_tables, ray_workers

import workers.trainer
import workers.workloads.registry
from study.creation import create_study
from study.driver import Driver
from study.errors import InterruptedStudyError
from study.progress import Progress
from study.spec import StudySpec
from study.spec_file import parse_spec
from study.storage.engine import create_database
from study.storage.progress import read_failures, read_progress
from study.storage.records import find_study
from workers.messages import EnginePlan, Termination
from workers.pool import InlinePool
from workers.ray_pool import RayPool
from workers.workloads import get_workload

SMALL = parse_spec(SMALL_SPEC, source="small")
#: Many batches, so that something is finished and something is not.
MANY = SMALL.model_copy(update={"seeds": 12, "name": "many"})
SEVERAL_BATCHES = {"digits-logistic": EnginePlan("stacked", 24, "so that there are three for each optimizer")}


def ignore(_: Progress) -> None:
    """Watch nothing."""


def drive(engine: Engine, name: str, show: Callable[[Progress], None] = ignore) -> None:
    with engine.connect() as connection:
        study = find_study(connection, name)
    with InlinePool() as pool:
        Driver(engine, study, pool, show).run()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tables of the study MANY when nothing goes wrong."""
    torch.set_num_threads(1)
    url = f"sqlite:///{tmp_path_factory.mktemp('undisturbed')}/study.db"
    with create_database(url) as engine:
        create_study(engine, MANY, SEVERAL_BATCHES)
        drive(engine, "many")
        return comparable_tables(engine)


def optuna_states(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT state, COUNT(*) FROM trials GROUP BY state")).all()
    return dict(rows)


def test_every_run_epoch_and_trial_is_written_once(undisturbed: dict[str, Any]) -> None:
    runs, epochs = undisturbed["adai_runs"], undisturbed["adai_epochs"]
    assert len(runs) == 2 * 5 * 12
    assert {run["termination"] for run in runs} <= {"COMPLETED", "DIVERGED"}
    assert len(epochs) == sum(run["epochs"] for run in runs)


def test_a_trials_value_is_the_mean_over_its_seeds_and_its_last_intermediate_value(database_url: str) -> None:
    with create_database(database_url) as engine:
        create_study(engine, SMALL)
        drive(engine, "small")
        with engine.connect() as connection:
            objectives = connection.execute(
                sa.text("SELECT optimizer, number, objective FROM adai_runs JOIN adai_trials t ON t.id = trial_id")
            ).all()
    for optimizer in ("adai", "sgd"):
        storage = optuna.storages.RDBStorage(database_url)
        optuna_study = optuna.load_study(storage=storage, study_name=f"small/digits-logistic/{optimizer}")
        assert optuna_study.metric_names == ["val_error"]
        for trial in optuna_study.trials:
            own = [value for name, number, value in objectives if (name, number) == (optimizer, trial.number)]
            assert len(own) == 2
            assert trial.value == sum(own) / 2
            assert trial.intermediate_values[max(trial.intermediate_values)] == trial.value
        storage.remove_session()
        storage.engine.dispose()


@pytest.mark.parametrize("stop_after", [0, 1, 3, 7])
def test_an_interrupted_study_keeps_what_is_finished_and_resumes_to_the_same_tables(
    stop_after: int, database_url: str, undisturbed: dict[str, Any]
) -> None:
    seen = 0

    def interrupt(_: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen > stop_after:
            raise KeyboardInterrupt

    with create_database(database_url) as engine:
        create_study(engine, MANY, SEVERAL_BATCHES)
        with pytest.raises(InterruptedStudyError, match="run the rest with: adai-study resume many"):
            drive(engine, "many", interrupt)
        states = optuna_states(engine)
        assert "RUNNING" not in states
        with engine.connect() as connection:
            assert find_study(connection, "many").state == "interrupted"
            ended = sum(part.ended for part in read_progress(connection, "many"))
            assert (
                connection.execute(sa.text("SELECT COUNT(*) FROM adai_attempts WHERE finished_at IS NULL")).scalar()
                == 0
            )
        assert ended == states.get("COMPLETE", 0) * 12
        drive(engine, "many")
        assert comparable_tables(engine) == undisturbed
        with engine.connect() as connection:
            assert find_study(connection, "many").state == "completed"


def test_a_driver_killed_without_a_word_leaves_nothing_that_resume_cannot_finish(
    database_url: str, undisturbed: dict[str, Any]
) -> None:
    class Killed(BaseException):
        """Nothing may run after it, as after kill -9."""

    seen = 0

    def die(_: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == 5:
            raise Killed

    with create_database(database_url) as engine:
        create_study(engine, MANY, SEVERAL_BATCHES)
        with pytest.raises(Killed):
            drive(engine, "many", die)
        assert "RUNNING" in optuna_states(engine)
        drive(engine, "many")
        assert optuna_states(engine) == {"COMPLETE": 10}
        assert comparable_tables(engine) == undisturbed


def test_progress_counts_up_to_the_whole_study(database_url: str) -> None:
    shown: list[Progress] = []
    with create_database(database_url) as engine:
        create_study(engine, MANY, SEVERAL_BATCHES)
        drive(engine, "many", shown.append)
    assert (shown[0].trials_ended, shown[0].run_epochs_ended) == (0, 0)
    assert (shown[-1].trials_ended, shown[-1].run_epochs_ended) == (10, 10 * 12 * 2)
    assert [p.run_epochs_ended for p in shown] == sorted(p.run_epochs_ended for p in shown)
    assert shown[-1].best is not None


def test_a_killed_ray_worker_costs_one_attempt_and_no_result(database_url: str) -> None:
    killed = False

    def kill_one(progress: Progress) -> None:
        nonlocal killed
        training = [pid for pid, title in ray_workers().items() if "train" in title]
        if progress.run_epochs_ended and training and not killed:
            os.kill(training[0], signal.SIGKILL)
            killed = True

    longer = MANY.model_copy(update={"epochs": 40, "name": "longer"})
    with create_database(database_url) as engine:
        study = create_study(engine, longer)
        with RayPool(workers=2) as pool:
            Driver(engine, study, pool, kill_one).run()
        assert killed
        with engine.connect() as connection:
            failures = read_failures(connection, study.id, limit=9)
        assert [kind.termination for kind in failures.kinds] == [Termination.WORKER_LOST]
        assert optuna_states(engine) == {"COMPLETE": 10}
        disturbed = comparable_tables(engine)
    with create_database(database_url.replace("study.db", "again.db")) as engine:
        create_study(engine, longer)
        drive(engine, "longer")
        assert comparable_tables(engine) == disturbed


def test_intermediate_values_do_not_depend_on_a_trials_company(database_url: str) -> None:
    """A trial whose runs have all diverged reports no more, however long the others of its batch train."""
    with create_database(database_url) as engine:
        axes = {"lr": {"low": 1e-2, "high": 1e8, "scale": "log"}}
        changes = {"workloads": ["digits-mlp"], "epochs": 3, "optimizers": [{"name": "sgd", "axes": axes}]}
        create_study(engine, StudySpec.model_validate(SMALL.model_dump() | changes))
        drive(engine, "small")
        query = (
            "SELECT t.id, MAX(r.epochs), (SELECT COUNT(*) FROM trial_intermediate_values i "
            "WHERE i.trial_id = t.optuna_trial_id) FROM adai_trials t "
            "JOIN adai_runs r ON r.trial_id = t.id GROUP BY t.id"
        )
        with engine.connect() as connection:
            rows = connection.execute(sa.text(query)).all()
    assert all(epochs == reported for _, epochs, reported in rows)
    assert {epochs for _, epochs, _ in rows} >= {1, 3}


def test_a_workload_that_raises_fails_its_trials_and_not_the_others(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_: object) -> torch.nn.Module:
        raise RuntimeError("no model today")

    broken = dataclasses.replace(get_workload("digits-mlp"), name="broken", build_model=explode)
    monkeypatch.setitem(workers.workloads.registry._SHIPPED, "broken", broken)
    content = SMALL.model_dump() | {"workloads": ["broken", "digits-logistic"], "name": "half"}
    spec = StudySpec.model_validate(content)
    with create_database(database_url) as engine:
        # Planning would refuse it: this is what happens when it explodes later.
        study = create_study(engine, spec, {name: EnginePlan("looped", 24, "") for name in spec.workloads})
        drive(engine, "half")
        assert optuna_states(engine) == {"COMPLETE": 10, "FAIL": 10}
        with engine.connect() as connection:
            failures = read_failures(connection, study.id, limit=9)
            progress = read_progress(connection, "half")
        assert {kind.termination for kind in failures.kinds} == {Termination.FAILED}
        assert all("RuntimeError: no model today" in kind.error for kind in failures.kinds)
        assert {part.workload: part.failed for part in progress} == {"broken": 10, "digits-logistic": 0}
        with engine.connect() as connection:
            assert find_study(connection, "half").state == "completed"


def test_two_studies_of_one_database_do_not_touch_each_other(database_url: str, undisturbed: dict[str, Any]) -> None:
    with create_database(database_url) as engine:
        create_study(engine, MANY, SEVERAL_BATCHES)
        create_study(engine, SMALL)
        drive(engine, "small")
        with engine.connect() as connection:
            assert {(p.study, p.ended) for p in read_progress(connection)} == {("many", 0), ("small", 10)}
        drive(engine, "many")
        many = comparable_tables(engine, study="many")
    assert many["adai_runs"] == undisturbed["adai_runs"]


def test_the_number_of_queries_of_a_status_does_not_grow_with_the_study(database_url: str) -> None:
    statements: list[str] = []
    with create_database(database_url) as engine:
        create_study(engine, SMALL)
        create_study(engine, SMALL.model_copy(update={"name": "big", "seeds": 50}))
        sa.event.listen(engine, "before_cursor_execute", lambda *words: statements.append(words[2]))
        counts = []
        for name in ("small", "big"):
            with engine.connect() as connection:
                statements.clear()
                read_progress(connection, name)
                counts.append(len(statements))
    assert counts == [1, 1]


def test_a_batch_that_does_not_fit_into_memory_is_halved_until_it_does(
    database_url: str, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out while more than 24 runs train together."""
    make = workers.trainer.initial_rows

    def scarce(*arguments: Any, seeds: list[int], **others: Any) -> Any:
        if len(seeds) > 24:
            raise MemoryError(f"no room for {len(seeds)} rows")
        return make(*arguments, seeds=seeds, **others)

    monkeypatch.setattr(workers.trainer, "initial_rows", scarce)
    with create_database(database_url) as engine:
        create_study(engine, MANY, {"digits-logistic": EnginePlan("stacked", 1000, "so that all trials are one batch")})
        drive(engine, "many")
        assert comparable_tables(engine) == undisturbed
        with engine.connect() as connection:
            attempts = connection.execute(sa.text("SELECT termination, runs FROM adai_attempts ORDER BY id")).all()
    assert ("OUT_OF_MEMORY", 60) in [tuple(row) for row in attempts]
    assert max(runs for termination, runs in attempts if termination == "COMPLETED") <= 24


def test_a_study_that_fails_outside_of_its_batches_does_not_seem_to_run(database_url: str) -> None:
    def fail(_: Progress) -> None:
        raise OSError("the terminal is gone")

    with create_database(database_url) as engine:
        create_study(engine, SMALL)
        with pytest.raises(OSError, match="terminal"):
            drive(engine, "small", fail)
        with engine.connect() as connection:
            assert find_study(connection, "small").state == "interrupted"
        drive(engine, "small")
        assert optuna_states(engine) == {"COMPLETE": 10}
