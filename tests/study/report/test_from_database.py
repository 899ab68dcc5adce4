"""What a report knows of a study of this service: as its spec and its runs in the database say it."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter
from recorded_studies import add_attempt, record_study
from sqlalchemy import Engine
from tests_support import SMALL_SPEC

import workers.workloads.registry
from study.creation import create_study
from study.errors import UnknownStudyError
from study.report.from_database import read_study
from study.report.observations import Observations, StudyInfo, observe
from study.spec_file import parse_spec
from study.storage.engine import create_database
from study.storage.records import find_study
from workers.workloads import MissingDataError, get_workload


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """An empty database of each supported kind."""
    with create_database(any_database_url) as engine:
        yield engine


def read(engine: Engine, name: str = "small") -> Observations:
    with engine.connect() as connection:
        return observe(*read_study(connection, name))


def query(engine: Engine, text: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.text(text)).all())


def test_runs_stand_where_their_trial_and_seed_say(engine: Engine) -> None:
    record_study(engine, points=6)
    record_study(engine, "other")
    seen = read(engine)
    rows = query(
        engine,
        "SELECT t.optimizer, t.number, r.seed, r.objective, r.termination, r.test_error FROM adai_runs r "
        "JOIN adai_trials t ON t.id = r.trial_id JOIN adai_studies s ON s.id = t.study_id WHERE s.name = 'small'",
    )
    assert seen.runs.height == len(rows) == 28
    for optimizer, number, seed, objective, termination, test_error in rows:
        cell = seen.cell("digits-logistic", optimizer)
        counts = termination in ("COMPLETED", "DIVERGED") and objective is not None
        assert cell.number_N.tolist() == list(range(7))
        assert cell.objective_NS[number, seed] == objective if counts else np.isnan(cell.objective_NS[number, seed])
        assert cell.diverged_NS[number, seed] == (termination == "DIVERGED")
        assert cell.pending_NS[number, seed] == (not counts)
        if termination == "FAILED":
            assert cell.failed_N[number]
        known = np.isfinite(cell.test_error_NS[number, seed])
        assert known == (test_error is not None)
    assert seen.curvature.height > 0
    assert seen.curvature["study"].unique().to_list() == ["small"]


def test_what_the_spec_says_is_said(engine: Engine) -> None:
    create_study(engine, parse_spec(SMALL_SPEC, source="small"))
    info = read(engine).info
    assert (info.name, info.source, info.state) == ("small", "service", "planned")
    assert (info.objective, info.unit) == ("val_error", "share of examples")
    assert (info.design, info.design_kind, info.seeds, info.study_seed) == ("4 sobol points", "sobol", 2, 7)
    assert (info.is_sample, info.is_random, info.shared_points, info.paired_seeds) == (True, True, True, True)
    (workload,) = info.workloads
    assert (workload.name, workload.title, workload.target) == (
        "digits-logistic",
        "logistic regression on digits",
        0.05,
    )
    assert workload.training == "2 epochs, batch size 64"
    assert workload.chance == pytest.approx(0.9, abs=0.02)
    assert [(c.optimizer, c.title, c.planned) for c in info.cells] == [
        ("adai", "Adai", 5),
        ("sgd", "SGD with momentum", 5),
    ]
    adai, sgd = info.cells
    assert [(axis.name, axis.default, axis.conditional) for axis in adai.axes] == [
        ("lr", 1.0, False),
        ("beta0", 0.1, False),
        ("beta2", 0.99, False),
    ]
    assert (adai.fixed, sgd.fixed, sgd.constraints) == ({}, {"weight_decay": 1e-4}, ())
    with engine.connect() as connection:
        study = find_study(connection, "small")
    assert info.spec == study.spec.model_dump(mode="json")
    assert info.spec_hash == study.spec.hash
    assert info.cautions == info.failures == ()


def test_what_is_known_goes_to_json_and_back(engine: Engine) -> None:
    record_study(engine)
    info = read(engine).info
    adapter = TypeAdapter(StudyInfo)
    assert adapter.validate_json(adapter.dump_json(info)) == info


@pytest.mark.parametrize(
    ("design", "sample", "random", "shared", "words"),
    [
        ('kind = "random"\npoints = 4', True, True, True, "4 random points"),
        ('kind = "grid"\nlevels = 2', True, False, True, "grid points of 2 levels"),
        ('kind = "tpe"\npoints = 20\nbatch = 5', False, False, False, "20 tpe points"),
    ],
)
def test_designs_say_whether_their_points_stand_for_the_space(
    engine: Engine, design: str, sample: bool, random: bool, shared: bool, words: str
) -> None:
    text = SMALL_SPEC.replace('kind = "sobol"\npoints = 4', design)
    create_study(engine, parse_spec(text, source="made"))
    info = read(engine).info
    assert (info.is_sample, info.is_random, info.shared_points, info.design) == (sample, random, shared, words)
    assert any("proposed by tpe" in text for text in info.cautions) == (not shared)
    assert {cell.planned for cell in info.cells} == ({21} if not shared else {5, 9} if "grid" in design else {5})


def test_pruned_studies_and_single_seeds_are_cautioned(engine: Engine) -> None:
    text = SMALL_SPEC.replace("seeds = 2", "seeds = 1").replace("epochs = 2", "epochs = 4")
    create_study(engine, parse_spec(text + '\n[pruning]\nkind = "successive_halving"\n', source="made"))
    info = read(engine).info
    assert not info.is_sample
    assert any("One seed only" in text for text in info.cautions)
    assert any("stopped early by successive_halving (0 runs were)" in text for text in info.cautions)


def test_chance_is_what_runs_that_diverged_have(engine: Engine) -> None:
    record_study(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE adai_runs SET objective = 0.875 WHERE termination = 'DIVERGED'"))
    (workload,) = read(engine).info.workloads
    assert workload.chance == 0.875
    assert "at which diverged runs are counted" in workload.chance_source


def test_without_data_or_divergence_chance_is_unknown(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise MissingDataError("no data on this machine")

    elsewhere = dataclasses.replace(get_workload("digits-logistic"), load_data=missing)
    create_study(engine, parse_spec(SMALL_SPEC, source="made"))
    monkeypatch.setitem(workers.workloads.registry._SHIPPED, "digits-logistic", elsewhere)
    (workload,) = read(engine).info.workloads
    assert workload.chance is None
    assert workload.chance_source.startswith("unknown: no run diverged")


def test_a_workload_that_is_gone_leaves_its_name(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record_study(engine)
    # Another mapping: an entry that is put back would stand last.
    registry = workers.workloads.registry
    others = {name: made for name, made in registry._SHIPPED.items() if name != "digits-logistic"}
    monkeypatch.setattr(registry, "_SHIPPED", others)
    info = read(engine).info
    (workload,) = info.workloads
    assert (workload.name, workload.title, workload.citation) == ("digits-logistic", "digits-logistic", "")
    assert workload.training == "2 epochs, batch size unknown"
    assert workload.chance is not None  # of the runs that diverged
    assert [axis.default for axis in info.cells[0].axes] == [1.0, 0.1, 0.99]


def test_failures_are_listed_with_their_reasons(engine: Engine) -> None:
    study = record_study(engine)
    with engine.begin() as connection:
        for _ in range(3):
            add_attempt(connection, study.id, "FAILED", "Traceback\nValueError: no model today", "sgd")
    failure = next(f for f in read(engine).info.failures if "no model today" in f.error)
    assert (failure.workload, failure.optimizer, failure.termination, failure.attempts) == (
        *("digits-logistic", "sgd", "failed", 3),
    )
    assert failure.reason == "ValueError: no model today"


def test_the_training_that_a_study_changes_is_told(engine: Engine) -> None:
    text = SMALL_SPEC.replace(
        "[design]", "[training]\nbatch_size = 32\nlabel_smoothing = 0.1\ncurvature = { examples = 50 }\n\n[design]"
    )
    create_study(engine, parse_spec(text, source="made"))
    (workload,) = read(engine).info.workloads
    assert workload.training.startswith("2 epochs, batch size 32, ")
    assert "label_smoothing = 0.1" in workload.training
    assert "curvature = (examples = 50)" in workload.training


def test_a_study_that_is_not_there_is_refused(engine: Engine) -> None:
    record_study(engine)
    with engine.connect() as connection, pytest.raises(UnknownStudyError, match="there are small"):
        read_study(connection, "smal")
