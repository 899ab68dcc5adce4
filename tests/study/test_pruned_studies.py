"""Studies with pruning: who stops does not depend on batches, workers or interruptions, and stopped runs keep all."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from scipy.stats import wilcoxon
from sqlalchemy import Engine
from study_reports import write_study_report
from study_runs import drive, drive_with_interruptions, make_spec, write_study
from tests_support import comparable_tables

from study.driver import Driver
from study.pruning import bracket_sizes
from study.spec import StudySpec
from study.storage.engine import create_database
from study.storage.progress import read_progress
from study.storage.records import find_study
from workers.messages import TrialBatch
from workers.pool import InlinePool

KINDS = {
    "successive_halving": make_spec("halving", epochs=9, pruning={"kind": "successive_halving"}, design={"points": 12}),
    "hyperband": make_spec("band", epochs=9, pruning={"kind": "hyperband"}, design={"points": 14}),
    "wilcoxon": make_spec(
        "seeds", seeds=7, epochs=2, pruning={"kind": "wilcoxon", "startup_seeds": 5}, design={"points": 6}
    ),
}


@pytest.fixture(scope="module", params=list(KINDS))
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[StudySpec, str]:
    """A study of each kind of pruning, run to its end in large batches; only to be read."""
    spec = KINDS[request.param]
    url = f"sqlite:///{tmp_path_factory.mktemp('undisturbed')}/study.db"
    with create_database(url) as engine:
        write_study(engine, spec, max_rows=1000)
        drive(engine, spec.name)
    return spec, url


def tables(url: str) -> dict[str, list[dict[str, Any]]]:
    with create_database(url) as engine:
        return comparable_tables(engine)


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.text(query)))


@pytest.mark.parametrize(("max_rows", "every"), [(4, 3), (14, 5), (1000, 2)])
def test_interruptions_and_other_batches_prune_the_same_trials(
    undisturbed: tuple[StudySpec, str], tmp_path: Path, max_rows: int, every: int
) -> None:
    spec, url = undisturbed
    other = f"sqlite:///{tmp_path}/other.db"
    with create_database(other) as engine:
        write_study(engine, spec, max_rows=max_rows)
        assert drive_with_interruptions(engine, spec.name, every=every) > 0
        assert not rows(engine, "SELECT 1 FROM trials WHERE state IN ('RUNNING', 'WAITING')")
    assert tables(other) == tables(url)


def test_the_table_does_not_depend_on_checkpoints(
    undisturbed: tuple[StudySpec, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a worker that has none, as on another machine, a later stage trains the epochs before it again."""
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "inf")
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", "/proc/none")
    spec, url = undisturbed
    other = f"sqlite:///{tmp_path}/other.db"
    with create_database(other) as engine:
        write_study(engine, spec, max_rows=12)
        drive(engine, spec.name)
    assert tables(other) == tables(url)


@pytest.mark.parametrize("undisturbed", ["successive_halving"], indirect=True)
def test_no_checkpoint_outlives_a_study(
    undisturbed: tuple[StudySpec, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor those of batches all of whose trials were pruned."""
    folder = tmp_path / "checkpoints"
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(folder))
    spec, url = undisturbed
    other = f"sqlite:///{tmp_path}/other.db"
    with create_database(other) as engine:
        write_study(engine, spec, max_rows=4)
        drive(engine, spec.name)
        attempts = rows(engine, "SELECT COUNT(*) FROM adai_attempts WHERE termination <> 'COMPLETED'")[0][0]
    assert attempts == 0
    assert folder.is_dir()
    assert list(folder.iterdir()) == []
    assert tables(other) == tables(url)


@pytest.mark.parametrize("undisturbed", ["successive_halving"], indirect=True)
def test_a_cluster_that_grows_between_stages_changes_no_batch(
    undisturbed: tuple[StudySpec, str], tmp_path: Path
) -> None:
    """Checkpoints are those of whole batches: others would begin anew."""
    spec, url = undisturbed
    batches: dict[int, set[tuple[int, ...]]] = {}

    class Growing(InlinePool):
        def submit(self, batch: TrialBatch) -> None:
            batches.setdefault(batch.start_epoch, set()).add(batch.run_ids)
            self.slots = 3
            super().submit(batch)

    other = f"sqlite:///{tmp_path}/other.db"
    with create_database(other) as engine, Growing() as pool:
        write_study(engine, spec, max_rows=1000)
        with engine.connect() as connection:
            study = find_study(connection, spec.name)
        Driver(engine, study, pool, lambda _: None).run()
    first = batches.pop(0)
    assert len(batches) == 2
    # What no stage needs any more is only forgotten.
    assert all(of_stage <= first for of_stage in batches.values())
    assert tables(other) == tables(url)


def test_a_pruned_run_keeps_its_epochs_its_objective_and_why_it_stopped(undisturbed: tuple[StudySpec, str]) -> None:
    spec, url = undisturbed
    with create_database(url) as engine:
        pruned = rows(
            engine,
            "SELECT r.epochs, r.objective, r.reason, r.val_error, r.test_error, "
            "(SELECT COUNT(*) FROM adai_epochs e WHERE e.run_id = r.id) AS stored, "
            "(SELECT e.val_error FROM adai_epochs e WHERE e.run_id = r.id ORDER BY e.epoch DESC LIMIT 1) AS last "
            "FROM adai_runs r WHERE r.termination = 'PRUNED'",
        )
    assert pruned
    for run in pruned:
        assert run.test_error is None
        if spec.pruning.by_epochs:
            assert run.stored == run.epochs < spec.epochs_of("digits-logistic")
            assert run.val_error == run.last
            assert run.objective == min(run.last, 0.9)
            assert f"stopped after epoch {run.epochs}: rank" in run.reason
        else:
            assert (run.stored, run.epochs, run.objective) == (0, None, None)
            assert "later not run: p = " in run.reason


@pytest.mark.parametrize("undisturbed", ["successive_halving"], indirect=True)
def test_successive_halving_keeps_the_best_third_after_each_rung(undisturbed: tuple[StudySpec, str]) -> None:
    """Recomputed from the epochs: 12 points train 1 epoch, the best 4 train 3, the best of these trains all 9."""
    _, url = undisturbed
    query = (
        "SELECT t.optimizer, t.number, e.epoch, AVG(MIN(e.val_error, 0.9)) FROM adai_epochs e "
        "JOIN adai_runs r ON r.id = e.run_id JOIN adai_trials t ON t.id = r.trial_id GROUP BY 1, 2, 3"
    )
    with create_database(url) as engine:
        values = {(row[0], row[1], row[2]): row[3] for row in rows(engine, query)}
    for optimizer in ("adai", "sgd"):
        alive = list(range(1, 13))
        for rung, kept in ((1, 4), (3, 1)):
            ranked = sorted(alive, key=lambda number, rung=rung: (values[optimizer, number, rung], number))
            alive = sorted(ranked[:kept])
            assert [n for n in range(1, 13) if (optimizer, n, rung + 1) in values] == alive
        assert (optimizer, 0, 9) in values  # the default setting is never stopped


def test_trials_that_diverged_take_no_places_from_those_that_go_on(database_url: str) -> None:
    """Of 16 points the best 8 train 2 epochs, the best 4 of those that still train go on, then 2, then 1."""
    optimizer = {
        "name": "sgd",
        "axes": {
            "lr": {"low": 1e-2, "high": 1e6, "scale": "log"},
            "momentum": {"low": 0.0, "high": 0.99, "scale": "log1m"},
        },
    }
    changes = {
        "optimizers": [optimizer],
        "design": {"points": 16},
        "pruning": {"kind": "successive_halving", "reduction_factor": 2},
    }
    spec = StudySpec.model_validate(make_spec("wide", epochs=8).model_dump() | changes)
    query = (
        "SELECT t.number, MIN(r.epochs) AS least, MAX(r.epochs) AS most, "
        "SUM(r.termination = 'DIVERGED') AS diverged FROM adai_runs r JOIN adai_trials t ON t.id = r.trial_id "
        "WHERE t.number > 0 GROUP BY t.number"
    )
    with create_database(database_url) as engine:
        write_study(engine, spec, max_rows=1000)
        drive(engine, "wide")
        trials = rows(engine, query)
        reasons = {row[0] for row in rows(engine, "SELECT DISTINCT reason FROM adai_runs WHERE termination = 'PRUNED'")}
    assert sum(trial.diverged == 2 and trial.most == 1 for trial in trials) >= 5
    assert sum(trial.most > 1 for trial in trials) <= 8
    assert sum(trial.most > 2 for trial in trials) <= 4
    assert sum(trial.most > 4 for trial in trials) <= 2
    assert all(" of 16, " in reason for reason in reasons if "after epoch 1:" in reason)
    assert not any(" of 15, " in reason for reason in reasons)


@pytest.mark.parametrize("undisturbed", ["hyperband"], indirect=True)
def test_hyperband_gives_its_brackets_the_proportions_of_the_paper(undisturbed: tuple[StudySpec, str]) -> None:
    """R = 9, eta = 3: n = 9, 5, 3 trials of 1, 3 and 9 epochs at least (Li et al. 2018, Algorithm 1); here of 14."""
    spec, url = undisturbed
    assert bracket_sizes(spec.pruning, 9) == {2: 9, 1: 5, 0: 3}
    query = (
        "SELECT t.optimizer, t.number, MAX(r.epochs) FROM adai_runs r JOIN adai_trials t ON t.id = r.trial_id "
        "GROUP BY t.optimizer, t.number"
    )
    with create_database(url) as engine:
        trained = {(row[0], row[1]): row[2] for row in rows(engine, query)}
        never_pruned = rows(
            engine,
            "SELECT COUNT(*) FROM adai_runs r JOIN adai_trials t ON t.id = r.trial_id "
            "WHERE r.termination = 'PRUNED' AND (t.number = 0 OR t.number > 11)",
        )
    # 7 points start with one epoch: 2 go on, then 1. 4 start with three: 1 goes on. 3 train all nine.
    for optimizer in ("adai", "sgd"):
        first = [trained[optimizer, number] for number in range(1, 8)]
        assert (sum(epochs > 1 for epochs in first), sum(epochs > 3 for epochs in first)) == (2, 1)
        assert sum(trained[optimizer, number] > 3 for number in range(8, 12)) == 1
    assert never_pruned[0][0] == 0


@pytest.mark.parametrize("undisturbed", ["wilcoxon"], indirect=True)
def test_seeds_are_pruned_by_the_paired_test_against_the_best(undisturbed: tuple[StudySpec, str]) -> None:
    _, url = undisturbed
    query = "SELECT t.optimizer, t.number, r.seed, r.objective FROM adai_runs r JOIN adai_trials t ON t.id = r.trial_id"
    with create_database(url) as engine:
        objective = {(row[0], row[1], row[2]): row[3] for row in rows(engine, query)}
    for optimizer in ("adai", "sgd"):
        first = {n: [objective[optimizer, n, seed] for seed in range(5)] for n in range(7)}
        best = min(first, key=lambda n, first=first: (sum(first[n]), n))
        for number in range(1, 7):
            if number == best:
                continue
            differences = [a - b for a, b in zip(first[number], first[best], strict=True)]
            p = wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue
            assert (objective[optimizer, number, 5] is None) == (p < 0.1), (optimizer, number, p)


def test_optuna_sees_pruned_trials_with_their_intermediate_values(undisturbed: tuple[StudySpec, str]) -> None:
    spec, url = undisturbed
    storage = optuna.storages.RDBStorage(url)
    try:
        for optimizer in ("adai", "sgd"):
            loaded = optuna.load_study(storage=storage, study_name=f"{spec.name}/digits-logistic/{optimizer}")
            pruned = loaded.get_trials(states=[optuna.trial.TrialState.PRUNED])
            assert pruned
            for trial in pruned:
                assert trial.value is not None
                steps = sorted(trial.intermediate_values)
                if spec.pruning.by_epochs:
                    assert trial.value == trial.intermediate_values[steps[-1]]
                else:
                    assert steps == list(range(len(steps)))
                    assert trial.value == pytest.approx(sum(trial.intermediate_values.values()) / len(steps))
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_reports_and_progress_count_pruned_trials_as_ended_and_compare_none(
    undisturbed: tuple[StudySpec, str], tmp_path: Path
) -> None:
    spec, url = undisturbed
    folder = tmp_path / "report"
    with create_database(url) as engine:
        report = write_study_report(engine, spec.name, folder)
        with engine.connect() as connection:
            progress = read_progress(connection, spec.name)
        complete = rows(
            engine,
            "SELECT COUNT(*) FROM adai_trials t WHERE t.optimizer = 'adai' AND NOT EXISTS "
            "(SELECT 1 FROM adai_runs r WHERE r.trial_id = t.id AND r.termination = 'PRUNED')",
        )[0][0]
    assert all(part.ended == part.runs for part in progress)
    adai = next(row for row in report.analysis.robustness.rows if row.optimizer == "adai")
    assert adai.trials_finished == complete < adai.trials_planned
    assert adai.trials_failed == adai.trials_pending == 0
    assert adai.trials_pruned == adai.trials_planned - complete
    # What was not stopped says nothing about the space.
    assert (adai.median, adai.volumes, adai.divergence_points) == (None, (), None)
    assert all(not cell.axes for cell in report.analysis.importances)
    for page in ("report.md", "report.html"):
        assert f"Trials were stopped early by {spec.pruning.kind}" in (folder / page).read_text()
