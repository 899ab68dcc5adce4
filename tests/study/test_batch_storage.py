"""Whole batches in one transaction each, for whoever uses Optuna's storage."""

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import TrialState
from optuna_support import comparable, counted, plain_storage

from study.errors import DatabaseUrlError
from study.storage.batch_storage import BatchStorage, ToldTrial
from study.storage.optuna_rows import AskedTrial

RATE = FloatDistribution(1e-3, 10.0, log=True)
COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
numbers = st.floats(allow_nan=False)
keys = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
json_values = st.none() | st.booleans() | st.integers() | st.floats() | keys | st.lists(st.integers(), max_size=2)
attributes = st.dictionaries(keys, json_values, max_size=3)
choices = st.lists(st.none() | st.booleans() | st.integers(2, 99) | keys, min_size=1, max_size=4, unique=True)


@contextlib.contextmanager
def opened(url: str) -> Iterator[BatchStorage]:
    storage = BatchStorage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture
def storage(any_database_url: str) -> Iterator[BatchStorage]:
    """An empty storage of each kind."""
    with opened(any_database_url) as storage:
        yield storage


def run_batch(storage: BatchStorage, study_id: int, total: int) -> None:
    """Ask, report and tell a batch of which a part is pruned and a part fails."""
    ids = storage.ask_trials(study_id, [AskedTrial({"lr": 0.1}, {"lr": RATE}, {"a": 1}, {"b": 2})] * total)
    storage.report_trials(1, dict.fromkeys(ids, 0.5))
    ends = (ToldTrial(COMPLETE, [0.5], {"c": 3}), ToldTrial(PRUNED), ToldTrial(FAIL, (), {"why": "nan"}))
    storage.tell_trials({trial_id: ends[place % 3] for place, trial_id in enumerate(ids)})


def test_the_number_of_transactions_and_statements_does_not_depend_on_the_number_of_trials(
    storage: BatchStorage,
) -> None:
    counts = []
    for total in (3, 30, 900):
        study_id = storage.create_new_study([StudyDirection.MINIMIZE])
        run_batch(storage, study_id, 3)
        with counted(storage.engine) as sent:
            run_batch(storage, study_id, total)
            written = len(sent), sent.count("COMMIT")
            sent.clear()
            assert len(storage.get_all_trials(study_id)) == total + 3
            counts.append((*written, sum(statement.startswith("SELECT") for statement in sent)))
    assert {commits for _, commits, _ in counts} == {3}
    assert counts[0] == counts[1] == counts[2]
    assert counts[0][0] < 30
    assert counts[0][2] == 7


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_plain_storage_reads_what_batches_wrote(storage: BatchStorage, data: st.DataObject) -> None:
    distributions = {
        "lr": RATE,
        "width": IntDistribution(1, 99, step=2),
        "kind": CategoricalDistribution(data.draw(choices)),
        "share": FloatDistribution(-1.0, 1.0, step=0.25),
    }
    values: dict[str, st.SearchStrategy[Any]] = {
        "lr": st.floats(1e-3, 10.0),
        "width": st.integers(0, 49).map(lambda half: 2 * half + 1),
        "kind": st.sampled_from(distributions["kind"].choices),  # type: ignore[attr-defined]
        "share": st.integers(-4, 4).map(lambda quarter: quarter / 4),
    }
    objectives = data.draw(st.integers(1, 2))
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE] * objectives)
    params = data.draw(st.lists(st.fixed_dictionaries({}, optional=values), max_size=5))
    asked = [
        AskedTrial(chosen, {name: distributions[name] for name in chosen}, data.draw(attributes), data.draw(attributes))
        for chosen in params
    ]
    ids = storage.ask_trials(study_id, asked)
    for step in data.draw(st.lists(st.integers(-2, 9), max_size=3)):
        storage.report_trials(step, {trial_id: data.draw(st.floats()) for trial_id in ids})
    results = st.lists(numbers, min_size=objectives, max_size=objectives)
    told = st.builds(ToldTrial, st.just(COMPLETE), results, attributes) | st.builds(
        ToldTrial, st.sampled_from([PRUNED, FAIL]), st.just(()), attributes
    )
    ends = {trial_id: data.draw(told) for trial_id in ids}
    storage.tell_trials(ends)
    with plain_storage(storage.url) as plain:
        theirs = plain.get_all_trials(study_id)
        ours = storage.get_all_trials(study_id)
        cached = optuna.load_study(study_name=plain.get_study_name_from_id(study_id), storage=storage).trials
    assert [comparable(trial) for trial in ours] == [comparable(trial) for trial in theirs]
    assert [comparable(trial) for trial in cached] == [comparable(trial) for trial in theirs]
    assert [trial._trial_id for trial in theirs] == ids
    for trial, question in zip(theirs, asked, strict=True):
        end = ends[trial._trial_id]
        assert trial.params == question.params
        assert trial.distributions == question.distributions
        # By their text: NaN is not equal to itself.
        assert repr(sorted(trial.system_attrs.items())) == repr(sorted(question.system_attributes.items()))
        user_attributes = {**question.user_attributes, **end.user_attributes}
        assert repr(sorted(trial.user_attrs.items())) == repr(sorted(user_attributes.items()))
        assert trial.state is end.state
        assert trial.values == (list(end.values) if end.state is COMPLETE else last_value(trial, objectives, end.state))


def last_value(trial: optuna.trial.FrozenTrial, objectives: int, state: TrialState) -> list[float] | None:
    """What Optuna's ``tell`` makes the value of a trial without one."""
    if state is FAIL or objectives > 1 or trial.last_step is None:
        return None
    value = trial.intermediate_values[trial.last_step]
    return None if math.isnan(value) else [value]


def test_pruned_and_two_objective_trials_are_those_that_optunas_tell_writes(storage: BatchStorage) -> None:
    found = []
    for batch in (True, False):
        single = optuna.create_study(storage=storage)
        ids = [single.ask({"lr": RATE})._trial_id for _ in range(3)]
        storage.report_trials(1, dict.fromkeys(ids[:2], 0.5))
        storage.report_trials(2, {ids[0]: math.nan, ids[1]: math.inf})
        pair = optuna.create_study(storage=storage, directions=["minimize", "maximize"])
        pair_ids = [pair.ask()._trial_id for _ in range(2)]
        pair_numbers = [trial.number for trial in pair.trials]
        if batch:
            storage.tell_trials({trial_id: ToldTrial(PRUNED) for trial_id in ids})
            storage.tell_trials({pair_ids[0]: ToldTrial(COMPLETE, [1.0, -math.inf]), pair_ids[1]: ToldTrial(FAIL)})
        else:
            for number in range(3):
                single.tell(number, state=PRUNED)
            pair.tell(pair_numbers[0], [1.0, -math.inf])
            pair.tell(pair_numbers[1], state=FAIL)
        found.append([(trial.state, trial.values) for trial in (*single.trials, *pair.trials)])
    assert found[0] == found[1]


def test_threads_and_optuna_itself_asking_at_once_get_different_numbers(storage: BatchStorage) -> None:
    study_id = storage.create_new_study([StudyDirection.MINIMIZE], "shared")
    asked = [AskedTrial({"lr": 0.1}, {"lr": RATE})] * 7
    batches: list[list[int]] = []
    errors: list[BaseException] = []
    start = threading.Barrier(5)

    def ask_batches() -> None:
        try:
            start.wait()
            for _ in range(10):
                batches.append(storage.ask_trials(study_id, asked))
        except BaseException as error:
            errors.append(error)

    def ask_as_optuna() -> None:
        try:
            with plain_storage(storage.url) as plain:
                start.wait()
                for _ in range(10):
                    plain.create_new_trial(study_id)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask_batches) for _ in range(4)] + [threading.Thread(target=ask_as_optuna)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    trials = storage.get_all_trials(study_id)
    assert [trial.number for trial in trials] == list(range(4 * 10 * 7 + 10))
    number_of = {trial._trial_id: trial.number for trial in trials}
    assert len(batches) == 40
    for batch in batches:
        first = number_of[batch[0]]
        assert [number_of[trial_id] for trial_id in batch] == list(range(first, first + 7))


@pytest.mark.parametrize("sampler", [optuna.samplers.TPESampler, optuna.samplers.RandomSampler])
def test_optuna_itself_runs_on_it_as_on_its_own(
    storage: BatchStorage, sampler: type[optuna.samplers.BaseSampler], tmp_path_factory: pytest.TempPathFactory
) -> None:
    def objective(trial: optuna.Trial) -> float:
        loss = trial.suggest_float("x", -3, 3) ** 2 + (trial.suggest_categorical("kind", ["a", "b"]) == "a")
        trial.report(loss, 1)
        if trial.should_prune():
            raise optuna.TrialPruned
        return loss

    found = []
    with plain_storage(f"sqlite:///{tmp_path_factory.mktemp('plain')}/plain.db") as plain:
        for used in (storage, plain):
            pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
            chosen = sampler(seed=1)  # type: ignore[call-arg]
            optuna_study = optuna.create_study(storage=used, sampler=chosen, pruner=pruner)
            optuna_study.optimize(objective, n_trials=15)
            found.append([(trial.state, trial.params, trial.values) for trial in optuna_study.trials])
            assert optuna_study.best_trial == min(
                (trial for trial in optuna_study.trials if trial.state is COMPLETE), key=lambda trial: trial.values
            )
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (AskedTrial({"lr": 0.1}, {}), "give one distribution for each"),
        (AskedTrial({"lr": 20.0}, {"lr": RATE}), "lr = 20.0 is not in its distribution"),
        (AskedTrial({"lr": 0.1}, {"lr": FloatDistribution(0, 1)}), "different log configuration"),
        (AskedTrial({"k": "b"}, {"k": CategoricalDistribution(["b"])}), "does not support dynamic value space"),
    ],
)
def test_a_batch_with_a_trial_that_is_wrong_is_refused_as_a_whole(
    storage: BatchStorage, asked: AskedTrial, message: str
) -> None:
    study_id = storage.create_new_study([StudyDirection.MINIMIZE])
    good = AskedTrial({"lr": 0.1, "k": "a"}, {"lr": RATE, "k": CategoricalDistribution(["a", "b"])})
    with pytest.raises(ValueError, match=message):
        storage.ask_trials(study_id, [good, asked])
    assert storage.get_all_trials(study_id) == []
    storage.ask_trials(study_id, [good])
    with pytest.raises(ValueError, match=message):
        storage.ask_trials(study_id, [asked])
    assert len(storage.get_all_trials(study_id)) == 1


def test_what_cannot_be_told_or_reported_changes_nothing(storage: BatchStorage) -> None:
    study_id = storage.create_new_study([StudyDirection.MINIMIZE])
    done, running = storage.ask_trials(study_id, [AskedTrial({}, {})] * 2)
    waiting = storage.create_new_trial(study_id, optuna.create_trial(state=TrialState.WAITING))
    storage.tell_trials({done: ToldTrial(COMPLETE, [1.0])})
    before = storage.get_all_trials(study_id)
    good = ToldTrial(COMPLETE, [2.0])
    for other, told, error, message in (
        (done, good, UpdateFinishedTrialError, "trial 0 is COMPLETE"),
        (waiting, good, ValueError, "trial 2 is WAITING; only a RUNNING"),
        (waiting + 1, good, KeyError, f"no trial has the id {waiting + 1}"),
    ):
        with pytest.raises(error, match=message):
            storage.tell_trials({running: good, other: told})
    for told, message in (
        (ToldTrial(COMPLETE), "with 0 values; it takes 1"),
        (ToldTrial(COMPLETE, [1.0, 2.0]), "with 2 values"),
        (ToldTrial(COMPLETE, [math.nan]), "is told NaN"),
        (ToldTrial(PRUNED, [1.0]), "PRUNED with 1 values; it takes 0"),
        (ToldTrial(TrialState.WAITING), "told WAITING"),
    ):
        with pytest.raises(ValueError, match=message):
            storage.tell_trials({running: told})
    for other, error in ((done, UpdateFinishedTrialError), (waiting + 1, KeyError)):
        with pytest.raises(error):
            storage.report_trials(1, {running: 1.0, other: 1.0})
    with pytest.raises(KeyError, match="no study has the id 99"):
        storage.ask_trials(99, [])
    assert storage.get_all_trials(study_id) == before


def test_a_database_that_fails_in_the_middle_of_a_batch_keeps_nothing_of_it(storage: BatchStorage) -> None:
    study_id = storage.create_new_study([StudyDirection.MINIMIZE])
    ids = storage.ask_trials(study_id, [AskedTrial({}, {})] * 2)
    before = storage.get_all_trials(study_id)
    # Values are written after attributes.
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE trial_values RENAME TO hidden")
    with pytest.raises(StorageInternalError, match="nothing of this batch was written"):
        storage.tell_trials(dict.fromkeys(ids, ToldTrial(COMPLETE, [1.0], {"a": 1})))
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE hidden RENAME TO trial_values")
    assert storage.get_all_trials(study_id) == before
    storage.tell_trials(dict.fromkeys(ids, ToldTrial(COMPLETE, [1.0], {"a": 1})))
    assert [trial.user_attrs for trial in storage.get_all_trials(study_id)] == [{"a": 1}] * 2


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(DatabaseUrlError, match="would be gone at the end"):
        BatchStorage("sqlite://")


def test_sqlite_files_are_in_wal_mode(database_url: str) -> None:
    with opened(database_url) as storage, storage.engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert found == ["wal", 1]
