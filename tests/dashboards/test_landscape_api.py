"""Landscapes over the API: the numbers of the report, at any moment of a study, in bounded size."""

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from data_server import serve_data
from ended_runs import CHANCE, completed, diverged, end_runs
from recorded_studies import record_study
from sqlalchemy import Engine
from study_runs import drive, make_spec, write_study

from study.axis import AxisSpec
from study.creation import create_study
from study.provenance import describe_environment
from study.report.analysis import Settings
from study.report.folder import replace_folder, write_manifest
from study.report.from_database import read_study
from study.report.measures.robustness.robustness import measure_robustness
from study.report.observations import Observations, observe
from study.report.part_cache import PartCache
from study.report.report import Report, dump_report, make_report
from study.report.steps import QuietSteps
from study.report.writing import describe_report
from study.space import to_value
from study.spec_file import parse_spec
from study.storage.engine import create_database
from study.storage.records import StudyRecord
from study.storage.tables import runs, studies, trials

WORKLOAD = "digits-logistic"
MIXED = """
name = "mixed"
workloads = ["digits-logistic"]
seeds = 2
epochs = 1
[design]
points = 24
[[optimizers]]
name = "padam"
[optimizers.axes]
lr = { low = 1e-3, high = 1.0, scale = "log" }
amsgrad = { choices = [true, false] }
partial = { low = 0.05, high = 0.5, when = "amsgrad" }
[[optimizers]]
name = "sgd"
[optimizers.axes]
lr = { low = 1e-3, high = 1.0, scale = "log" }
"""


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    with create_database(any_database_url) as engine:
        yield engine


@pytest.fixture
def sqlite(database_url: str) -> Iterator[Engine]:
    with create_database(database_url) as engine:
        yield engine


def write_small_report(engine: Engine, name: str, folder: Path) -> Report:
    """The report of a study without its pictures."""
    with engine.connect() as connection:
        observations = observe(*read_study(connection, name))
    report = make_report(observations, Settings(), describe_environment(), cache=PartCache.none(), steps=QuietSteps())

    def fill(new: Path) -> None:
        (new / "report.json").write_bytes(dump_report(report))
        write_manifest(new, describe_report(report))

    replace_folder(folder / name, fill)
    return report


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Path, Report]]:
    """A study that was trained, some of whose runs diverged, and its report."""
    folder = tmp_path_factory.mktemp("trained")
    with create_database(f"sqlite:///{folder}/study.db") as engine:
        write_study(engine, make_spec("real", epochs=1, design={"kind": "sobol", "points": 24}), max_rows=64)
        drive(engine, "real")
        yield engine, folder, write_small_report(engine, "real", folder)


@pytest.fixture(scope="module")
def client(trained: tuple[Engine, Path, Report]) -> Iterator[httpx.Client]:
    with serve_data(trained[0], trained[1]) as client:
        yield client


def ask(client: httpx.Client, study: str, **parameters: Any) -> dict[str, Any]:
    answer = client.get(f"{study}/landscape", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def cell_of(found: dict[str, Any], optimizer: str) -> dict[str, Any]:
    cell: dict[str, Any] = next(cell for cell in found["cells"] if cell["optimizer"] == optimizer)
    return cell


def near(value: float | None) -> Any:
    """Five digits are sent."""
    return None if value is None else pytest.approx(value, rel=6e-5)


@pytest.mark.parametrize("tolerance", [0.01, 0.05, 0.2, 0.5])
def test_as_many_settings_are_good_as_the_robust_volume_of_the_report_says(
    client: httpx.Client, trained: tuple[Engine, Path, Report], tolerance: float
) -> None:
    robustness = trained[2].analysis.robustness
    found = ask(client, "real", x="lr", tolerance=tolerance)
    (yardstick,) = robustness.yardsticks
    assert found["best"] == pytest.approx(yardstick.best, rel=1e-14)
    assert found["reference"] == yardstick.reference == pytest.approx(CHANCE, abs=0.02)
    assert robustness.rows
    for row in robustness.rows:
        cell = cell_of(found, row.optimizer)
        volume = row.volume(tolerance)
        assert volume is not None
        share = volume.study
        assert cell["good"] == {"count": share.count, "of": share.total, "low": share.low, "high": share.high}
        assert cell["why_not"] == ""
        assert cell["best"] == row.best.number
        good = [
            g for g, origin in zip(cell["points"]["good"], cell["points"]["origin"], strict=True) if origin == "design"
        ]
        assert sum(good) == share.count


def test_every_point_says_what_the_report_says(client: httpx.Client, trained: tuple[Engine, Path, Report]) -> None:
    landscapes = trained[2].analysis.landscapes
    assert any(any(landscape.points.diverged) for landscape in landscapes)
    for landscape in landscapes:
        names = [axis.name for axis in landscape.axes]
        for (x, across), (y, up) in itertools.permutations(enumerate(names), 2):
            points = cell_of(ask(client, "real", x=across, y=up), landscape.optimizer)["points"]
            shown = dict(zip(points["trial"], range(len(points["trial"])), strict=True))
            assert len(shown) == len(landscape.points.trial) + 1
            for part in (landscape.points, landscape.default):
                for row, trial in enumerate(part.trial):
                    at = shown[trial]
                    assert points["x"][at] == near(part.values[row][x])
                    assert points["y"][at] == near(part.values[row][y])
                    assert points["value"][at] == near(part.mean[row])
                    assert points["sd"][at] == near(part.sd[row])
                    assert (points["seeds"][at], points["diverged"][at]) == (part.seeds[row], part.diverged[row])


def test_maps_of_the_report_come_with_both_orders_of_axes(
    client: httpx.Client, trained: tuple[Engine, Path, Report]
) -> None:
    landscape = trained[2].analysis.landscapes[0]
    (map_,) = landscape.maps
    assert map_.mean is not None
    straight = cell_of(ask(client, "real", x="lr", y="beta0"), "adai")["grid"]
    turned = cell_of(ask(client, "real", x="beta0", y="lr"), "adai")["grid"]
    assert straight["mean"] == [
        [near(value) if value is None else pytest.approx(value, rel=6e-4) for value in row] for row in map_.mean
    ]
    assert turned["mean"] == [list(column) for column in zip(*straight["mean"], strict=True)]
    assert turned["diverged"] == [list(column) for column in zip(*straight["diverged"], strict=True)]
    assert (turned["x_edges"], turned["y_values"]) == (straight["y_edges"], straight["x_values"])
    assert straight["x_edges"] == list(map_.x_edges)
    lr = landscape.axes[map_.x].spec
    assert straight["x_values"] == [near(float(to_value(lr, place))) for place in map_.x_places]
    assert straight["r2"] == landscape.r2
    assert straight["averaged"] == []


def test_one_axis_has_a_curve(client: httpx.Client, trained: tuple[Engine, Path, Report]) -> None:
    found = ask(client, "real", x="lr")
    cell, landscape = cell_of(found, "sgd"), trained[2].analysis.landscapes[1]
    assert found["y"] is None
    assert cell["y"] is None
    assert cell["points"]["y"] == []
    assert cell["grid"]["averaged"] == ["momentum"]
    assert cell["grid"]["y_edges"] == []
    mean = landscape.curves[0].mean
    assert mean is not None
    assert cell["grid"]["mean"] == [[value if value is None else pytest.approx(value, rel=6e-4) for value in mean]]


def test_an_optimizer_without_the_axis_has_no_points(client: httpx.Client) -> None:
    found = ask(client, "real", x="lr", y="momentum")
    lacking, having = cell_of(found, "adai"), cell_of(found, "sgd")
    assert lacking["y"] is None
    assert lacking["x"]["name"] == "lr"
    assert lacking["points"]["trial"] == []
    assert lacking["grid"] is None
    assert not lacking["thinned"]
    assert lacking["trials"] == 25
    assert lacking["good"] is not None
    assert len(having["points"]["trial"]) == 25


def test_one_scale_serves_all_optimizers(client: httpx.Client) -> None:
    found = ask(client, "real", x="lr")
    values = [value for cell in found["cells"] for value in cell["points"]["value"]]
    assert found["low"] == near(min(values))
    assert found["high"] == near(max(values))
    assert found["is_log"]
    assert (ask(client, "real", x="lr", metric="divergence")["low"], found["metric"]) == (0.0, "objective")


@pytest.mark.parametrize(
    "metric", ["val_error", "val_loss", "test_error", "test_loss", "train_loss", "seconds", "divergence", "sd"]
)
def test_every_metric_is_the_mean_over_the_runs_of_a_trial(
    client: httpx.Client, trained: tuple[Engine, Path, Report], metric: str
) -> None:
    points = cell_of(ask(client, "real", x="lr", metric=metric), "adai")["points"]
    query = sa.select(trials.c.number, runs).join_from(trials, runs).where(trials.c.optimizer == "adai")
    of_trial: dict[int, list[Any]] = {}
    with trained[0].connect() as connection:
        for row in connection.execute(query):
            of_trial.setdefault(row.number, []).append(row)
    assert sorted(of_trial) == points["trial"]
    for number, value, sd in zip(points["trial"], points["value"], points["sd"], strict=True):
        rows = of_trial[number]
        objectives = [row.objective for row in rows]
        mean = sum(objectives) / 2
        deviation = math.sqrt(sum((one - mean) ** 2 for one in objectives))
        if metric == "divergence":
            expected = sum(row.termination == "DIVERGED" for row in rows) / 2
        elif metric == "sd":
            expected = deviation
        else:
            own = [getattr(row, metric) for row in rows]
            expected = None if None in own else sum(own) / 2
        assert value == (None if expected is None else pytest.approx(expected, rel=6e-5, abs=1e-12))
        if metric in ("divergence", "sd"):
            assert sd == pytest.approx(deviation, rel=6e-5, abs=1e-12)


def test_unknown_names_are_answered_with_those_that_there_are(client: httpx.Client) -> None:
    for parameters, words in (
        ({"workload": "mnist"}, [WORKLOAD]),
        ({"optimizer": "adamax"}, ["adai", "sgd"]),
        ({"x": "beta7"}, ["lr", "beta0", "momentum"]),
        ({"x": "lr", "y": "beta7"}, ["beta0"]),
    ):
        answer = client.get("real/landscape", params=parameters)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        for word in words:
            assert word in answer.json()["detail"]
    assert "real" in client.get("unreal/landscape").json()["detail"]


@pytest.mark.parametrize("query", ["metric=beauty", "tolerance=0", "tolerance=1", "tolerance=nan", "x=lr&y=lr"])
def test_what_is_no_question_is_refused(client: httpx.Client, query: str) -> None:
    assert client.get(f"real/landscape?{query}").status_code == 422


def test_what_a_browser_has_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("real/landscape")
    again = client.get("real/landscape", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get("real/landscape?metric=val_loss")
    assert other.headers["etag"] != first.headers["etag"]
    plain = client.get("real/landscape", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert (first.headers["content-encoding"], first.json()) == ("gzip", plain.json())


def test_a_report_of_another_spec_gives_no_maps(trained: tuple[Engine, Path, Report], sqlite: Engine) -> None:
    write_study(sqlite, make_spec("real", epochs=3, design={"kind": "sobol", "points": 24}), max_rows=64)
    with serve_data(sqlite, trained[1]) as client:
        found = ask(client, "real")
    assert found["report_written_at"] is None
    assert all(cell["grid"] is None for cell in found["cells"])


# On each database.


def observed(engine: Engine, name: str) -> Observations:
    with engine.connect() as connection:
        return observe(*read_study(connection, name))


def test_a_study_with_every_kind_of_ending_counts_what_its_report_would(engine: Engine, tmp_path: Path) -> None:
    record_study(engine, points=40)
    observations = observed(engine, "small")
    table = measure_robustness(observations, tolerance=0.3)
    with serve_data(engine, tmp_path) as client:
        found = ask(client, "small", x="lr", tolerance=0.3)
    for row in table.rows:
        cell, volume = cell_of(found, row.optimizer), row.volume(0.3)
        assert volume is not None
        assert (cell["good"]["count"], cell["good"]["of"]) == (volume.study.count, volume.study.total)
        assert cell["trials"] == row.trials_finished < 41
        own = observations.cell(WORKLOAD, row.optimizer)
        assert cell["points"]["trial"] == own.number_N[own.finished_N].tolist()
        assert cell["points"]["value"] == [near(mean) for mean in own.mean_N[own.finished_N]]
        assert cell["points"]["diverged"] == own.diverged_NS[own.finished_N].sum(axis=1).tolist()
    assert found["reference"] == table.yardsticks[0].reference


def mixed_study(engine: Engine) -> StudyRecord:
    study = create_study(engine, parse_spec(MIXED, source="mixed"))
    end_runs(
        engine,
        study.id,
        lambda optimizer, _n, _h, unit, seed: (
            diverged() if optimizer == "sgd" else completed(0.1 + abs((unit["lr"] or 0.0) - 0.4) + 0.01 * seed)
        ),
    )
    return study


def test_axes_of_choices_and_axes_that_are_not_active_in_every_trial(engine: Engine, tmp_path: Path) -> None:
    study = mixed_study(engine)
    with serve_data(engine, tmp_path) as client:
        found = ask(client, "mixed", x="partial", y="amsgrad")
    cell = cell_of(found, "padam")
    assert cell["x"]["conditional"]
    assert cell["y"]["scale"] == "choices"
    assert cell["y"]["choices"] == [True, False]
    pairs = list(zip(cell["points"]["x"], cell["points"]["y"], strict=True))
    assert {y for _, y in pairs} == {True, False}
    design = [pair for pair, origin in zip(pairs, cell["points"]["origin"], strict=True) if origin == "design"]
    assert all((x is None) == (y is False) for x, y in design)
    spec = AxisSpec.model_validate(study.spec.optimizer("padam").axes["partial"])
    assert all(spec.contains(x) for x, _ in design if x is not None)


def test_an_optimizer_that_always_diverged_is_at_chance_and_nothing_of_it_is_good(
    engine: Engine, tmp_path: Path
) -> None:
    mixed_study(engine)
    with serve_data(engine, tmp_path) as client:
        found = ask(client, "mixed", x="lr")
        lost = cell_of(ask(client, "mixed", x="lr", metric="val_loss"), "sgd")
    cell = cell_of(found, "sgd")
    assert cell["points"]["value"] == [CHANCE] * 25
    assert cell["points"]["diverged"] == [2] * 25
    assert (cell["good"]["count"], cell["good"]["of"]) == (0, 24)
    assert lost["points"]["value"] == [None] * 25
    assert found["reference"] == CHANCE
    assert cell["best"] == 0


def test_a_running_study_shows_what_has_finished_so_far(engine: Engine, tmp_path: Path) -> None:
    study = create_study(engine, parse_spec(MIXED, source="mixed"))
    with serve_data(engine, tmp_path) as client:
        empty = ask(client, "mixed")
        assert empty["best"] is None
        assert empty["low"] is None
        assert [cell["points"]["trial"] for cell in empty["cells"]] == [[], []]
        assert "finished" in empty["cells"][0]["why_not"]
        # Of trial 3 one seed is open.
        end_runs(
            engine,
            study.id,
            lambda _o, number, _h, _u, seed: (
                completed(0.1 * number) if number < 3 or (number, seed) == (3, 0) else None
            ),
        )
        some = ask(client, "mixed")
        assert cell_of(some, "sgd")["points"]["trial"] == [0, 1, 2]
        assert some["reference"] == pytest.approx(0.1)
        assert "median" in some["reference_source"]
        assert cell_of(some, "sgd")["good"]["of"] == 2
        end_runs(engine, study.id, lambda _o, number, _h, _u, _s: completed(0.1) if number == 3 else None)
        assert cell_of(ask(client, "mixed"), "sgd")["points"]["trial"] == [0, 1, 2, 3]


def test_a_study_that_runs_is_looked_at_anew_after_a_moment(
    sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = create_study(sqlite, parse_spec(MIXED, source="mixed"))
    with sqlite.begin() as connection:
        connection.execute(sa.update(studies).values(state="running"))

    def end(trial: int) -> None:
        end_runs(sqlite, study.id, lambda _o, number, _h, _u, _s: completed(0.1) if number == trial else None)

    with serve_data(sqlite, tmp_path) as client:
        end(0)
        monkeypatch.setattr("dashboards.known_studies._REST_SECONDS", 600.0)
        assert ask(client, "mixed")["cells"][0]["trials"] == 1
        end(1)
        assert ask(client, "mixed")["cells"][0]["trials"] == 1
        monkeypatch.setattr("dashboards.known_studies._REST_SECONDS", 0.0)
        assert ask(client, "mixed")["cells"][0]["trials"] == 2
        # Once it has ended, nothing is old.
        monkeypatch.setattr("dashboards.known_studies._REST_SECONDS", 600.0)
        end(2)
        with sqlite.begin() as connection:
            connection.execute(sa.update(studies).values(state="completed"))
        assert ask(client, "mixed")["cells"][0]["trials"] == 3


@pytest.mark.parametrize(
    ("tables", "word"),
    [
        ({"design": {"kind": "tpe", "points": 8}}, "sampler"),
        ({"design": {"kind": "one_at_a_time", "levels": 5}}, "lines"),
        ({"pruning": {"kind": "successive_halving"}, "epochs": 8}, "pruning"),
    ],
)
def test_points_that_do_not_stand_for_the_space_are_not_counted(
    sqlite: Engine, tmp_path: Path, tables: dict[str, Any], word: str
) -> None:
    epochs = tables.pop("epochs", 2)
    study = create_study(sqlite, make_spec("chosen", epochs=epochs, **tables))
    end_runs(sqlite, study.id, lambda _o, number, _h, _u, seed: completed(0.1 * number + 0.01 * seed))
    with serve_data(sqlite, tmp_path) as client:
        cell = ask(client, "chosen")["cells"][0]
    assert cell["good"] is None
    assert word in cell["why_not"]
    assert cell["points"]["trial"]


def test_a_study_of_any_size_has_a_bounded_answer(sqlite: Engine, tmp_path: Path) -> None:
    study = create_study(sqlite, make_spec("large", seeds=1, design={"kind": "sobol", "points": 2500}))
    with sqlite.begin() as connection:
        values = {
            "termination": sa.case((runs.c.id % 4 == 0, "DIVERGED"), else_="COMPLETED"),
            "objective": sa.case((runs.c.id % 4 == 0, CHANCE), else_=0.2 + (runs.c.id * 7919 % 1009) / 2500.0),
            "epochs": 2,
        }
        connection.execute(sa.update(runs).values(**values))
    with serve_data(sqlite, tmp_path) as client:
        answer = client.get("large/landscape?x=lr&y=beta0")
        cell = cell_of(answer.json(), "adai")
        assert cell == cell_of(client.get("large/landscape?x=lr&y=beta0&tolerance=0.05").json(), "adai")
    points = cell["points"]
    assert (cell["trials"], cell["thinned"], len(points["trial"])) == (2501, True, 1500)
    assert {cell["best"], cell["default"]} <= set(points["trial"])
    assert sum(points["diverged"]) / 1500 == pytest.approx(0.25, abs=0.02)
    # Six optimizers have a thousand points each, and maps of 31 x 31 cells with four numbers.
    each = len(json.dumps({name: column[:1000] for name, column in points.items()}, separators=(",", ":")))
    assert 6 * (each + 4 * 31 * 31 * 8) < 600_000
    assert study.spec.seeds == 1
