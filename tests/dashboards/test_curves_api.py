"""Learning curves over the API: seeds summed up, divergences marked, bounded, while a study runs."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from data_server import serve_data
from ended_runs import add_epochs, completed, diverged, end_runs
from optuna_support import counted
from sqlalchemy import Engine
from study_runs import make_spec

from study.creation import create_study
from study.live_curves import thin_epochs
from study.storage.engine import create_database, open_database
from study.storage.records import StudyRecord
from study.storage.tables import epochs, runs, trials


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    with create_database(any_database_url) as engine:
        yield engine


@pytest.fixture
def study(engine: Engine) -> StudyRecord:
    """Trial n has objective 0.9 - 0.1 n; its seed 1 diverged in epoch 2 if n is 2; no run of trial 6 or later ended."""
    study = create_study(engine, make_spec("curved", design={"kind": "sobol", "points": 8}))
    end_runs(
        engine,
        study.id,
        lambda _o, number, _h, _u, seed: (
            None if number > 5 else diverged(2) if (number, seed) == (2, 1) else completed(0.9 - 0.1 * number)
        ),
    )
    return study


def ask(client: httpx.Client, **parameters: Any) -> dict[str, Any]:
    answer = client.get("curved/curves", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_best_of_each_optimizer_are_shown_best_first(engine: Engine, study: StudyRecord, tmp_path: Path) -> None:
    add_epochs(engine, study.id, 3, lambda number, seed, epoch: number + seed / 4 + epoch / 100)
    with serve_data(engine, tmp_path) as client:
        found = ask(client, count=2)
        assert ask(client)["curves"] == [found["curves"][0], found["curves"][2]]
    assert [(curve["optimizer"], curve["trial"]) for curve in found["curves"]] == [
        ("adai", 5),
        ("adai", 4),
        ("sgd", 5),
        ("sgd", 4),
    ]
    assert found["trials"] == 12
    assert not found["thinned"]
    first = found["curves"][0]
    assert first["objective"] == pytest.approx(0.4)
    assert first["seeds"] == 2
    assert set(first["hyperparameters"]) >= {"lr", "beta0"}
    assert first["epochs"] == [1, 2, 3]
    assert first["low"] == pytest.approx([5.01, 5.02, 5.03])
    assert first["high"] == pytest.approx([5.26, 5.27, 5.28])
    assert first["mean"] == pytest.approx([5.135, 5.145, 5.155])
    assert first["count"] == [2, 2, 2]


def test_seeds_that_diverged_are_marked_and_leave_the_mean(engine: Engine, study: StudyRecord, tmp_path: Path) -> None:
    add_epochs(engine, study.id, 3, lambda _n, seed, epoch: None if (seed, epoch) == (1, 2) else 1.0 + seed, number=2)
    with engine.begin() as connection:
        gone = sa.select(runs.c.id).join(trials).where(trials.c.number == 2, runs.c.seed == 1)
        connection.execute(sa.delete(epochs).where(epochs.c.run_id.in_(gone), epochs.c.epoch == 3))
    with serve_data(engine, tmp_path) as client:
        (curve,) = ask(client, optimizer="adai", trial=2)["curves"]
    assert curve["count"] == [2, 1, 1]
    assert curve["mean"] == [1.5, 1.0, 1.0]
    assert curve["diverged_at"] == [2]
    assert curve["objective"] == pytest.approx((0.7 + 0.9) / 2)


def test_an_epoch_without_any_finite_number_has_none(engine: Engine, study: StudyRecord, tmp_path: Path) -> None:
    add_epochs(engine, study.id, 2, lambda _n, _s, epoch: None if epoch == 2 else 0.5, number=1)
    with serve_data(engine, tmp_path) as client:
        (curve,) = ask(client, optimizer="sgd", trial=1)["curves"]
        assert ask(client, optimizer="sgd", trial=1, metric="grad_norm")["curves"][0]["mean"] == [None, None]
        assert ask(client, optimizer="sgd", trial=1, metric="lr")["curves"][0]["high"] == [0.1, 0.1]
    assert (curve["mean"], curve["low"], curve["count"]) == ([0.5, None], [0.5, None], [2, 0])


def test_while_a_study_runs_the_newest_trials_in_training_come_first(
    engine: Engine, study: StudyRecord, tmp_path: Path
) -> None:
    with serve_data(engine, tmp_path) as client:
        assert [curve["trial"] for curve in ask(client, choose="latest", optimizer="sgd")["curves"]] == [5]
        add_epochs(engine, study.id, 1, lambda *_: 0.5, number=6)
        found = ask(client, choose="latest", optimizer="sgd", count=3)
        default = ask(client, choose="default", optimizer="sgd", count=3)
    assert sorted(curve["trial"] for curve in found["curves"]) == [4, 5, 6]
    running = next(curve for curve in found["curves"] if curve["trial"] == 6)
    assert (running["objective"], running["epochs"]) == (None, [1])
    assert [curve["trial"] for curve in default["curves"]] == [0]
    assert default["trials"] == 1


def test_a_trial_without_an_epoch_has_an_empty_curve(engine: Engine, study: StudyRecord, tmp_path: Path) -> None:
    del study
    with serve_data(engine, tmp_path) as client:
        (curve,) = ask(client, optimizer="sgd", trial=8)["curves"]
    assert (curve["epochs"], curve["mean"], curve["seeds"]) == ([], [], 2)


def test_long_curves_are_thinned_between_their_ends(engine: Engine, study: StudyRecord, tmp_path: Path) -> None:
    add_epochs(engine, study.id, 1003, lambda _n, _s, epoch: float(epoch), number=1, optimizer="adai")
    with serve_data(engine, tmp_path) as client:
        found = ask(client, optimizer="adai", trial=[1, 2])
    shown = next(curve for curve in found["curves"] if curve["trial"] == 1)
    assert found["thinned"]
    assert (shown["epochs"][0], shown["epochs"][-1], len(shown["epochs"])) == (1, 1003, 200)
    assert shown["mean"] == shown["epochs"]


@pytest.mark.parametrize(
    ("first", "last"), [(1, 0), (1, 1), (1, 2), (1, 199), (1, 200), (1, 201), (7, 1000), (1, 100_000)]
)
def test_thinned_epochs_are_even_and_have_both_ends(first: int, last: int) -> None:
    chosen = thin_epochs(first, last)
    assert len(chosen) == min(last - first + 1, 200)
    assert len(set(chosen)) == len(chosen)
    if chosen:
        assert (chosen[0], chosen[-1]) == (first, last)
        gaps = {b - a for a, b in itertools.pairwise(chosen)}
        assert len(gaps) < 2 or max(gaps) - min(gaps) == 1


def test_unknown_names_are_answered_with_those_that_there_are(
    engine: Engine, study: StudyRecord, tmp_path: Path
) -> None:
    del study
    with serve_data(engine, tmp_path) as client:
        answers = {
            query: client.get(f"curved/curves?{query}")
            for query in ("workload=x", "optimizer=x", "optimizer=sgd&trial=99", "trial=1", "count=11", "metric=x")
        }
    assert {query: answer.status_code for query, answer in answers.items()} == {
        "workload=x": 404,
        "optimizer=x": 404,
        "optimizer=sgd&trial=99": 404,
        "trial=1": 422,
        "count=11": 422,
        "metric=x": 422,
    }
    assert "sgd" in answers["trial=1"].json()["detail"] or "optimizer" in answers["trial=1"].json()["detail"]
    assert "99" in answers["optimizer=sgd&trial=99"].json()["detail"]


def test_as_many_queries_for_many_curves_as_for_one(engine: Engine, study: StudyRecord, tmp_path: Path) -> None:
    add_epochs(engine, study.id, 3, lambda *_: 0.5)
    with serve_data(engine, tmp_path) as client:
        ask(client)
        with counted(engine) as one:
            ask(client, choose="latest", optimizer="sgd", count=1)
        with counted(engine) as many:
            ask(client, choose="latest", count=10)
    assert len(one) == len(many)


def test_curves_of_a_trained_study_are_its_epochs(finished: tuple[str, Path], tmp_path: Path) -> None:
    with open_database(finished[0]) as engine, serve_data(engine, tmp_path) as client:
        answer = client.get("small/curves?optimizer=adai&trial=1&metric=train_loss")
        (curve,) = answer.json()["curves"]
        query = sa.select(epochs.c.epoch, epochs.c.train_loss).join_from(trials, runs).join(epochs)
        with engine.connect() as connection:
            found = connection.execute(query.where(trials.c.optimizer == "adai", trials.c.number == 1)).all()
    assert curve["epochs"] == sorted({epoch for epoch, _ in found})
    for place, epoch in enumerate(curve["epochs"]):
        losses = [loss for at, loss in found if at == epoch and loss is not None]
        assert curve["low"][place] == pytest.approx(min(losses), rel=6e-5)
        assert curve["mean"][place] == pytest.approx(sum(losses) / len(losses), rel=6e-5)
