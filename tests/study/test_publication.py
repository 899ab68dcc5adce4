"""Reports in Optuna's study pages, read back through the real Optuna Dashboard."""

import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import optuna
import optuna_dashboard
import pytest
import sqlalchemy as sa
from optuna_support import counted, plain_storage
from recorded_studies import record_study
from sqlalchemy import Engine

from study.provenance import describe_environment
from study.publication import publish_report, publish_to_optuna
from study.report.analysis import Settings
from study.report.from_database import read_study
from study.report.observations import observe
from study.report.part_cache import PartCache
from study.report.report import Report, make_report
from study.report.steps import QuietSteps
from study.storage.engine import create_database

ADAI = "small/digits-logistic/adai"
POINTS = 60


def report_of(engine: Engine, **settings: float) -> Report:
    with engine.connect() as connection:
        observations = observe(*read_study(connection, "small"))
    environment = describe_environment()
    return make_report(observations, Settings(**settings), environment, cache=PartCache.none(), steps=QuietSteps())


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """A study with every kind of ending."""
    with create_database(any_database_url) as engine:
        record_study(engine, points=POINTS)
        yield engine


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Report]:
    """Reports of the same study, which is the same in any database, with tolerances of 0.05 and 0.5."""
    with create_database(f"sqlite:///{tmp_path_factory.mktemp('reports')}/study.db") as engine:
        record_study(engine, points=POINTS)
        return report_of(engine), report_of(engine, tolerance=0.5)


@pytest.fixture
def report(reports: tuple[Report, Report]) -> Report:
    return reports[0]


@contextlib.contextmanager
def dashboard(url: str) -> Iterator[httpx.Client]:
    """The real Optuna Dashboard."""
    with plain_storage(url) as storage:
        app = optuna_dashboard.wsgi(optuna.storages.get_storage(storage))
        with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://127.0.0.1") as client:
            yield client


def page_of(url: str, name: str) -> dict[str, Any]:
    """What the page of an Optuna study shows."""
    with dashboard(url) as client:
        summaries = client.get("/api/studies").json()["study_summaries"]
        study_id = next(study["study_id"] for study in summaries if study["study_name"] == name)
        found: dict[str, Any] = client.get(f"/api/studies/{study_id}").json()
        return found


def attributes(engine: Engine) -> dict[tuple[int, str], str]:
    query = sa.text("SELECT study_id, key, value_json FROM study_system_attributes")
    with engine.connect() as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def test_a_study_that_was_run_has_a_note_and_figures_on_each_of_its_pages(finished: tuple[str, Path]) -> None:
    for optimizer, title in (("adai", "Adai"), ("sgd", "SGD")):
        page = page_of(finished[0], f"small/digits-logistic/{optimizer}")
        assert page["note"]["version"] >= 1  # reports with other settings, of other tests, come later
        assert f"### {title}" in page["note"]["body"]
        assert "**Good settings:**" in page["note"]["body"]
        assert "(/studies/small)" in page["note"]["body"]
        figures = {one["id"]: json.loads(one["graph_object"]) for one in page["plotly_graph_objects"]}
        assert 1 <= len(figures) <= 3
        assert all(name.startswith(("adai-landscape-lr", "adai-landscape-beta")) for name in figures)


def test_the_note_has_the_numbers_of_the_report(any_database_url: str, engine: Engine, report: Report) -> None:
    assert publish_to_optuna(engine, "small", report) == 2
    note = page_of(any_database_url, ADAI)["note"]["body"]
    row = next(row for row in report.analysis.robustness.rows if row.optimizer == "adai")
    assert f"(trial {row.best.number}" in note
    assert f"{row.runs_diverged} of {row.runs} runs" in note
    volume = row.volume(0.05)
    assert volume is not None
    assert f"{volume.study.value:.1%}" in note
    assert f"{row.trials_finished} of {row.trials_planned} finished" in note
    assert f"{row.trials_failed} failed" in note


def test_figures_are_small_and_have_the_points_and_the_map(
    any_database_url: str, engine: Engine, report: Report
) -> None:
    publish_to_optuna(engine, "small", report)
    page = page_of(any_database_url, ADAI)
    assert {one["id"] for one in page["plotly_graph_objects"]} == {
        "adai-landscape-lr-beta0",
        "adai-landscape-lr-beta2",
        "adai-landscape-beta0-beta2",
    }
    landscape = report.analysis.landscapes[0]
    for one in page["plotly_graph_objects"]:
        assert len(one["graph_object"]) < 30_000
        figure = json.loads(one["graph_object"])
        points = [trace for trace in figure["data"] if trace["type"] == "scatter"]
        texts = [text for trace in points for text in trace["text"]]
        assert {int(text.split()[1].rstrip(":")) for text in texts} == {
            *landscape.points.trial,
            *landscape.default.trial,
        }
        (ground,) = [trace for trace in figure["data"] if trace["type"] == "heatmap"]
        assert len(ground["z"]) == len(ground["y"]) - 1
        assert figure["layout"]["title"]["text"].startswith("Adai on digits-logistic")


def test_the_same_report_again_writes_nothing(any_database_url: str, engine: Engine, report: Report) -> None:
    publish_to_optuna(engine, "small", report)
    before = attributes(engine)
    assert publish_to_optuna(engine, "small", report) == 0
    assert attributes(engine) == before
    assert page_of(any_database_url, ADAI)["note"]["version"] == 1


def test_all_of_a_study_is_one_transaction(engine: Engine, report: Report) -> None:
    with counted(engine) as sent:
        publish_to_optuna(engine, "small", report)
    assert sent.count("COMMIT") == 1


def test_another_report_takes_the_place_of_the_last_one(
    any_database_url: str, engine: Engine, reports: tuple[Report, Report]
) -> None:
    report, other = reports
    publish_to_optuna(engine, "small", report)
    first = page_of(any_database_url, ADAI)
    cells = report.analysis.landscapes
    fewer = tuple(dataclasses.replace(cell, maps=cell.maps[:1], points=cell.default) for cell in cells)
    other = dataclasses.replace(other, analysis=dataclasses.replace(other.analysis, landscapes=fewer))
    assert publish_to_optuna(engine, "small", other) == 2
    second = page_of(any_database_url, ADAI)
    assert second["note"]["version"] == first["note"]["version"] + 1
    assert "within 50.0%" in second["note"]["body"]
    assert second["note"]["body"].count("### ") == 1
    (figure,) = second["plotly_graph_objects"]
    assert json.loads(figure["graph_object"])["layout"]
    assert len(figure["graph_object"]) < len(first["plotly_graph_objects"][0]["graph_object"])


def test_notes_and_figures_of_people_stay(
    any_database_url: str, engine: Engine, reports: tuple[Report, Report]
) -> None:
    import plotly.graph_objects as go

    with plain_storage(any_database_url) as storage:
        optuna_study = optuna.load_study(study_name=ADAI, storage=storage)
        optuna_dashboard.save_note(optuna_study, "My *own* thoughts.\n" * 300)
        optuna_dashboard.save_plotly_graph_object(optuna_study, go.Figure(), graph_object_id="mine")
        publish_to_optuna(engine, "small", reports[0])
        body = optuna_dashboard.get_note(optuna_study)
        assert body.startswith("My *own* thoughts.\n" * 300)
        assert "### Adai" in body
        optuna_dashboard.save_note(optuna_study, body + "\n\nMore of them.")
    publish_to_optuna(engine, "small", reports[1])
    page = page_of(any_database_url, ADAI)
    assert page["note"]["body"].startswith("My *own* thoughts.\n" * 300)
    assert page["note"]["body"].endswith("More of them.")
    assert page["note"]["body"].count("### Adai") == 1
    assert "within 50.0%" in page["note"]["body"]
    assert "mine" in {one["id"] for one in page["plotly_graph_objects"]}


def test_a_note_can_be_edited_in_the_page_afterwards(any_database_url: str, engine: Engine, report: Report) -> None:
    publish_to_optuna(engine, "small", report)
    page = page_of(any_database_url, ADAI)
    with dashboard(any_database_url) as client:
        summaries = client.get("/api/studies").json()["study_summaries"]
        study_id = next(study["study_id"] for study in summaries if study["study_name"] == ADAI)
        edited = {"body": page["note"]["body"] + "\n\nMine.", "version": page["note"]["version"] + 1}
        assert client.put(f"/api/studies/{study_id}/note", json=edited).status_code == 204
    assert publish_to_optuna(engine, "small", report) == 0
    assert page_of(any_database_url, ADAI)["note"]["body"].endswith("Mine.")


def test_titles_are_shown_as_they_are(any_database_url: str, engine: Engine, report: Report) -> None:
    hostile = '<img src=x onerror="alert(1)">[x](javascript:alert(1))'
    info = dataclasses.replace(
        report.info, workloads=tuple(dataclasses.replace(one, title=hostile) for one in report.info.workloads)
    )
    landscapes = tuple(dataclasses.replace(one, title=hostile) for one in report.analysis.landscapes)
    rows = tuple(dataclasses.replace(row, title=hostile) for row in report.analysis.robustness.rows)
    robustness = dataclasses.replace(report.analysis.robustness, rows=rows)
    analysis = dataclasses.replace(report.analysis, landscapes=landscapes, robustness=robustness)
    publish_to_optuna(engine, "small", dataclasses.replace(report, info=info, analysis=analysis))
    page = page_of(any_database_url, ADAI)
    assert "<img" not in page["note"]["body"]
    assert "[x](" not in page["note"]["body"]
    assert "\\[x\\](" in page["note"]["body"]
    assert all("<img" not in one["graph_object"] for one in page["plotly_graph_objects"])


def test_an_optuna_study_that_somebody_deleted_is_left_out(
    any_database_url: str, engine: Engine, report: Report
) -> None:
    with plain_storage(any_database_url) as storage:
        storage.delete_study(storage.get_study_id_from_name(ADAI))
    assert publish_to_optuna(engine, "small", report) == 1


def test_a_database_that_may_only_be_read_fails_no_report(
    engine: Engine, report: Report, caplog: pytest.LogCaptureFixture
) -> None:
    before = attributes(engine)
    forbid = "PRAGMA query_only = ON" if engine.dialect.name == "sqlite" else "SET default_transaction_read_only = on"

    @sa.event.listens_for(engine, "connect")
    def _read_only(connection: Any, _: object) -> None:
        connection.execute(forbid)
        connection.commit()

    engine.dispose()
    publish_report(engine, report)
    assert "report_not_published" in caplog.text
    assert attributes(engine) == before


def test_commands_that_publish_nothing_load_no_plotly() -> None:
    program = (
        "import sys, study.cli, study.publication, study.report.reporting\n"
        "print(sorted({'plotly', 'optuna_dashboard'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
