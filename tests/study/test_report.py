"""The report: every number recomputed from the tables the boring way; the folder whole or not at all."""

import csv
import hashlib
import json
import math
import sqlite3
import statistics
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from tests_support import run_words

from study.axis import AxisSpec
from study.cli import main
from study.creation import create_study
from study.errors import OutputError, StudyError
from study.report.export import epochs_frame, runs_frame, trials_frame
from study.report.figures import axis_ticks, draw_landscape, draw_overview
from study.report.landscape import build_landscape
from study.report.render import build_report, check_output, write_report
from study.report.robustness import measure_robustness, measure_share
from study.report.table_files import write_table
from study.report.trials import summarize_trials
from study.spec import StudySpec
from study.storage.engine import create_database, open_database
from study.storage.records import RunRecord, TrialRecord, find_study, read_runs
from workers.messages import Termination

AXES = {"lr": {"low": 0.01, "high": 1.0, "scale": "log"}, "momentum": {"low": 0.0, "high": 0.9}}


def make_spec(*, seeds: int = 2, points: int = 3, axes: dict[str, object] | None = None) -> StudySpec:
    content = {
        "name": "made",
        "workloads": ["digits-mlp"],
        "optimizers": [{"name": "sgd", "axes": axes or AXES}],
        "seeds": seeds,
        "design": {"points": points},
    }
    return StudySpec.model_validate(content)


def make_runs(
    objectives: list[list[float | None]], *, diverged: frozenset[tuple[int, int]] = frozenset(), optimizer: str = "sgd"
) -> list[RunRecord]:
    """Runs of trials 0 (the default), 1, 2, …: one list of objectives per trial, None for a run that has not ended."""
    runs = []
    for number, values in enumerate(objectives):
        place = 0.1 + 0.8 * number / len(objectives)
        trial = TrialRecord(
            id=number,
            optuna_trial_id=number,
            workload="digits-mlp",
            optimizer=optimizer,
            number=number,
            origin="design" if number else "default",
            hyperparameters={"lr": 0.1, "momentum": 0.5, "weight_decay": 0.0},
            unit={"lr": place, "momentum": 1 - place},
        )
        for seed, value in enumerate(values):
            lost = (number, seed) in diverged
            ended = Termination.DIVERGED if lost else Termination.COMPLETED
            runs.append(
                RunRecord(
                    id=len(runs),
                    trial=trial,
                    seed=seed,
                    termination=None if value is None else ended,
                    reason="",
                    epochs=1,
                    objective=value,
                    at_chance=lost,
                    train_loss=1.0,
                    val_loss=1.0,
                    val_error=value,
                    test_loss=None if lost else 1.0,
                    test_error=None if lost or value is None else value + 0.01,
                    seconds=1.0,
                    steps_to_target=None if lost else 10,
                    seconds_to_target=None if lost else 0.5,
                    peak_memory=2**33,
                    worker="w",
                    device="cpu",
                    engine="stacked",
                )
            )
    return runs


def wilson(count: int, total: int) -> tuple[float, float]:
    """Wilson's score interval at 95 % (Wilson 1927), written out."""
    z = statistics.NormalDist().inv_cdf(0.975)
    share = count / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return centre - half, centre + half


@pytest.mark.parametrize(("count", "total"), [(0, 1), (1, 1), (3, 32), (16, 32), (32, 32)])
def test_shares_have_wilsons_interval(count: int, total: int) -> None:
    share = measure_share(count, total)
    low, high = wilson(count, total)
    assert share.value == count / total
    assert share.low == pytest.approx(max(low, 0.0), abs=1e-12)
    assert share.high == pytest.approx(min(high, 1.0), abs=1e-12)


def test_a_small_table_has_the_answer_worked_out_by_hand() -> None:
    runs = make_runs([[0.3, 0.5], [0.1, 0.3], [0.2, 0.4], [0.9, 0.5]], diverged=frozenset({(3, 0)}))
    (row,) = measure_robustness(make_spec(), runs, tolerance=1.5).rows
    assert row.best.trial.number == 1
    assert row.best.mean == pytest.approx(0.2)
    assert row.best.sd == pytest.approx(math.sqrt(0.02))
    assert row.best.test_error == pytest.approx(0.21)
    assert row.default is not None
    assert row.default.mean == pytest.approx(0.4)
    assert row.median == pytest.approx(0.3)
    assert row.near_own_best is not None
    assert (row.near_own_best.count, row.near_own_best.total) == (2, 3)  # 0.2 and 0.3 are at most 1.5 * 0.2
    assert (row.runs, row.runs_diverged, row.trials_diverged) == (8, 1, 1)
    assert (row.trials_finished, row.trials_planned, row.trials_failed) == (4, 4, 0)


def test_a_trial_with_a_diverged_seed_has_no_test_error_but_counts_with_its_capped_objective() -> None:
    summaries = summarize_trials(make_runs([[0.9, 0.1]], diverged=frozenset({(0, 0)})))
    assert summaries[0].mean == pytest.approx(0.5)
    assert summaries[0].test_error is None
    assert summaries[0].diverged_share == 0.5


def test_trials_that_have_not_ended_are_left_out_and_counted() -> None:
    (row,) = measure_robustness(make_spec(), make_runs([[0.3, 0.3], [0.1, None], [0.2, 0.2]]), tolerance=1.5).rows
    assert row.trials_finished == 2
    assert row.best.mean == pytest.approx(0.2)


def test_one_seed_has_no_spread() -> None:
    (row,) = measure_robustness(make_spec(seeds=1), make_runs([[0.3], [0.1]]), tolerance=1.5).rows
    assert row.best.sd is None
    assert row.best.test_sd is None


def test_a_best_of_zero_is_near_only_to_zero() -> None:
    (row,) = measure_robustness(make_spec(seeds=1), make_runs([[0.3], [0.0], [0.0], [0.1]]), tolerance=9.0).rows
    assert row.near_own_best is not None
    assert row.near_own_best.count == 2


def test_equal_bests_are_decided_by_the_lower_number() -> None:
    (row,) = measure_robustness(make_spec(seeds=1), make_runs([[0.3], [0.1], [0.1]]), tolerance=1.5).rows
    assert row.best.trial.number == 1


def test_every_number_of_the_exported_table_is_recomputed_from_the_database(finished: tuple[str, Path]) -> None:
    url, folder = finished
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    query = (
        "SELECT t.optimizer, t.number, t.origin, r.objective, r.test_error, r.termination, r.at_chance "
        "FROM adai_runs r JOIN adai_trials t ON t.id = r.trial_id"
    )
    runs = connection.execute(query).fetchall()
    connection.close()
    means = {
        (name, number, origin): statistics.fmean([r[3] for r in runs if r[:2] == (name, number)])
        for name, number, origin, *_ in runs
    }
    study_best = min(means.values())
    table = list(csv.DictReader((folder / "tables" / "robustness.csv").read_text().splitlines()))
    assert {row["optimizer"] for row in table} == {"adai", "sgd"}
    for row in table:
        own = {key: mean for key, mean in means.items() if key[0] == row["optimizer"]}
        own_runs = [r for r in runs if r[0] == row["optimizer"]]
        best = min(own, key=lambda key: (own[key], key[1]))
        best_runs = [r for r in own_runs if r[1] == best[1]]
        design = [mean for (_, _, origin), mean in own.items() if origin == "design"]
        near_own = [mean for mean in design if mean <= 1.5 * own[best]]
        near_study = [mean for mean in design if mean <= 1.5 * study_best]
        assert float(row["best_mean"]) == pytest.approx(own[best], rel=1e-12)
        assert float(row["best_sd"]) == pytest.approx(statistics.stdev(r[3] for r in best_runs), rel=1e-9, abs=1e-15)
        if all(r[4] is not None for r in best_runs):
            assert float(row["best_test_error"]) == pytest.approx(statistics.fmean(r[4] for r in best_runs), rel=1e-12)
        assert int(row["best_trial"]) == best[1]
        assert float(row["default_mean"]) == pytest.approx(own[row["optimizer"], 0, "default"], rel=1e-12)
        assert float(row["median"]) == pytest.approx(statistics.median(design), rel=1e-12)
        assert int(row["near_own_best_count"]) == len(near_own)
        assert float(row["near_own_best_low"]) == pytest.approx(max(wilson(len(near_own), 4)[0], 0), abs=1e-9)
        assert int(row["near_study_best_count"]) == len(near_study)
        assert int(row["runs"]) == len(own_runs) == 10
        assert int(row["runs_diverged"]) == sum(r[5] == "DIVERGED" for r in own_runs)
        assert int(row["runs_at_chance"]) == sum(r[6] for r in own_runs)


MEASURED_SPEC = """
name = "measured"
workloads = ["digits-logistic"]
seeds = 2
epochs = 2

[design]
points = 4

[training]
target_error = 0.3
curvature = { examples = 50, slice_points = 3 }

[[optimizers]]
name = "sgd"

[optimizers.axes]
lr = { low = 0.01, high = 0.5, scale = "log" }
epochs = { low = 1, high = 3 }
batch_size = { low = 16, high = 256, scale = "log" }
label_smoothing = { low = 0.0, high = 0.2 }
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[sqlite3.Connection, Path]]:
    """(database, report folder) of a study with axes of the training, a target and curvature; only to be read."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "spec.toml").write_text(MEASURED_SPEC)
    result = CliRunner().invoke(
        main, [str(w) for w in run_words(folder / "spec.toml", f"sqlite:///{folder}/m", folder)]
    )
    assert result.exit_code == 0, result.output
    connection = sqlite3.connect(folder / "m")
    yield connection, folder / "report"
    connection.close()


def test_a_run_has_the_budget_of_its_trial_beside_the_epochs_that_it_trained(
    measured: tuple[sqlite3.Connection, Path],
) -> None:
    runs = pl.read_csv(measured[1] / "tables" / "runs.csv")
    trials = pl.read_csv(measured[1] / "tables" / "trials.csv")
    settings = {n: json.loads(h) for n, h in measured[0].execute("SELECT number, hyperparameters FROM adai_trials")}
    assert {row["trial"]: row["budget"] for row in runs.to_dicts()} == {n: h["epochs"] for n, h in settings.items()}
    assert {row["trial"]: row["epochs"] for row in trials.to_dicts()} == {n: h["epochs"] for n, h in settings.items()}
    assert len(set(runs["budget"])) > 1
    assert all(row["epochs"] == row["budget"] or row["termination"] == "diverged" for row in runs.to_dicts())


def test_measurements_stand_in_the_tables_as_in_the_database(measured: tuple[sqlite3.Connection, Path]) -> None:
    runs = pl.read_csv(measured[1] / "tables" / "runs.csv")
    query = (
        "SELECT t.number, r.seed, e.epoch, e.val_error, r.steps_to_target, r.seconds_to_target, r.peak_memory, "
        "t.hyperparameters FROM adai_runs r JOIN adai_trials t ON t.id = r.trial_id JOIN adai_epochs e "
        "ON e.run_id = r.id ORDER BY t.number, r.seed, e.epoch"
    )
    found = measured[0].execute(query).fetchall()
    reached = [row for row in runs.to_dicts() if row["steps_to_target"] is not None]
    assert 0 < len(reached) < runs.height
    for row in runs.to_dicts():
        own = [f for f in found if f[:2] == (row["trial"], row["seed"])]
        assert (row["steps_to_target"], row["seconds_to_target"], row["peak_memory"]) == own[0][4:7]
        first = next((f[2] for f in own if f[3] <= 0.3), None)
        assert (first is None) == (row["steps_to_target"] is None)
        if first is not None:
            assert row["steps_to_target"] % first == 0


def test_a_study_with_curvature_has_a_table_of_it(measured: tuple[sqlite3.Connection, Path]) -> None:
    table = pl.read_csv(measured[1] / "tables" / "curvature.csv")
    query = (
        'SELECT t.number, r.seed, c.epoch, c."values" FROM adai_curvature c JOIN adai_runs r ON r.id = c.run_id '
        "JOIN adai_trials t ON t.id = r.trial_id"
    )
    stored = {row[:3]: json.loads(row[3]) for row in measured[0].execute(query)}
    assert len(stored) == 10
    assert table.height == sum(
        len(v) if isinstance(v, list) else 1 for found in stored.values() for v in found.values()
    )
    for row in table.to_dicts():
        value = stored[row["trial"], row["seed"], row["epoch"]][row["quantity"]]
        assert row["value"] == (value if row["position"] is None else value[row["position"]])
    manifest = json.loads((measured[1] / "manifest.json").read_text())
    assert "tables/curvature.csv" in manifest["files"]


def test_the_report_says_which_optimizers_vary_the_training(measured: tuple[sqlite3.Connection, Path]) -> None:
    page = (measured[1] / "report.html").read_text()
    for text in (page, (measured[1] / "report.md").read_text()):
        assert "2 epochs (an axis of SGD with momentum), batch size 64 (an axis of SGD with momentum), " in text
        assert "target_error = " in text
        assert "label_smoothing (an axis of SGD with momentum)" in text
        assert "Undefined" not in text
        assert "None" not in text


class _Reader(HTMLParser):
    """What a browser would load, and the headings and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset", "data")]
        self.loads += [value or "" for name, value in attrs if tag == "link" and name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_everything_itself_and_every_section_is_filled(finished: tuple[str, Path]) -> None:
    reader = _Reader()
    page = (finished[1] / "report.html").read_text()
    reader.feed(page)
    assert len(reader.loads) == 3
    assert all(source.startswith("data:image/png;base64,") for source in reader.loads)
    assert "@import" not in page
    assert "url(" not in page
    sections = ("Comparison", "Landscapes", "Search spaces", "How runs ended", "Design and environment")
    assert all(section in reader.text for section in sections)
    for word in ("within 1.5", "Wilson", "diverged", "seeds", "torch", "Adai", "SGD with momentum"):
        assert word in reader.text
    assert "None" not in reader.text
    assert "nan" not in reader.text.lower().split()


def test_the_markdown_shows_the_same_numbers_as_the_page(finished: tuple[str, Path]) -> None:
    text = (finished[1] / "report.md").read_text()
    page = (finished[1] / "report.html").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| Adai |", "| SGD with momentum |"))]
    comparison = [row for row in rows if "±" in row]
    assert len(comparison) == 2
    for row in comparison:
        for cell in row.strip("| ").split(" | "):
            assert f"<td>{cell}</td>" in page


def test_links_of_the_markdown_resolve(finished: tuple[str, Path]) -> None:
    text = (finished[1] / "report.md").read_text()
    links = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert len(links) == 3
    assert all((finished[1] / link).is_file() for link in links)


def test_the_manifest_names_spec_versions_device_and_the_hash_of_every_file(finished: tuple[str, Path]) -> None:
    manifest = json.loads((finished[1] / "manifest.json").read_text())
    files = {str(p.relative_to(finished[1])) for p in finished[1].rglob("*") if p.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == files
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((finished[1] / name).read_bytes()).hexdigest() == digest
    assert StudySpec.model_validate(manifest["spec"]).hash == manifest["spec_hash"]
    assert manifest["devices"] == ["cpu"]
    assert manifest["study_environment"]["packages"]["torch"]
    assert manifest["tolerance"] == 1.5


def test_equal_results_make_equal_reports(finished: tuple[str, Path], tmp_path: Path) -> None:
    with open_database(finished[0]) as engine:
        write_report(build_report(engine, "small", tolerance=1.5), tmp_path / "again")
    for path in sorted(finished[1].rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(finished[1])).read_bytes(), path.name


def test_a_report_replaces_an_earlier_report_and_nothing_else(finished: tuple[str, Path], tmp_path: Path) -> None:
    with open_database(finished[0]) as engine:
        report = build_report(engine, "small", tolerance=2.0)
    write_report(report, tmp_path / "r")
    before = (tmp_path / "r" / "report.md").read_text()
    (tmp_path / "r" / "report.md").write_text("an earlier report")
    write_report(report, tmp_path / "r")
    assert (tmp_path / "r" / "report.md").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
    (tmp_path / "r" / "notes.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"not part of a report of this program, such as notes\.txt"):
        write_report(report, tmp_path / "r")
    assert (tmp_path / "r" / "notes.txt").read_text() == "precious"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    (mine / "manifest.json").write_text('{"name": "a web application", "files": {"thesis.tex": ""}}')
    with pytest.raises(OutputError, match="holds what is not part of a report"):
        write_report(report, mine)
    assert sorted(path.name for path in mine.iterdir()) == ["manifest.json", "thesis.tex"]


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "report", Path("/proc/report"), Path("/dev/null/report")):
        with pytest.raises(OutputError, match=r"--out"):
            check_output(path)
    check_output(tmp_path / "new" / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_study_without_finished_trials_has_nothing_to_report(database_url: str) -> None:
    with create_database(database_url) as engine:
        create_study(engine, make_spec(), {}, "cpu")
        with pytest.raises(StudyError, match=r"no trial of study 'made' has finished.*adai-study resume made"):
            build_report(engine, "made", tolerance=1.5)


def test_the_landscape_puts_the_learning_rate_first_and_names_what_it_hides() -> None:
    axes = {"momentum": AXES["momentum"], "weight_decay": {"low": 0.0, "high": 0.1}, "lr": AXES["lr"]}
    runs = make_runs([[0.1], [0.2]])
    for run in runs:
        run.trial.unit["weight_decay"] = 0.5
    spec = make_spec(seeds=1, axes=axes)
    landscape = build_landscape(
        "digits-mlp", spec.optimizers[0], summarize_trials(runs), objective="val_error", planned=3
    )
    assert (landscape.x_name, landscape.y_name, landscape.hidden_axes) == ("lr", "momentum", ("weight_decay",))
    assert [point.summary.trial.number for point in landscape.points] == [1]
    assert landscape.default is not None


def test_a_default_outside_its_axes_is_not_drawn() -> None:
    runs = make_runs([[0.1], [0.2]])
    runs[0].trial.unit["momentum"] = None
    spec = make_spec(seeds=1)
    landscape = build_landscape(
        "digits-mlp", spec.optimizers[0], summarize_trials(runs), objective="val_error", planned=3
    )
    assert landscape.default is None


@pytest.mark.parametrize("case", ["two axes", "one axis", "one seed", "all diverged", "zero error", "one point"])
def test_every_kind_of_landscape_is_drawn_as_a_picture(case: str) -> None:
    values = [[0.3, 0.5], [0.1, 0.3], [0.2, 0.4], [0.9, 0.5]]
    diverged: frozenset[tuple[int, int]] = frozenset({(3, 0)})
    if case == "one seed":
        values, diverged = [value[:1] for value in values], frozenset()
    elif case == "all diverged":
        values, diverged = [[0.9, 0.9]] * 4, frozenset((t, s) for t in range(4) for s in range(2))
    elif case == "zero error":
        values[1] = [0.0, 0.0]
    elif case == "one point":
        values = values[:2]
    spec = make_spec(axes={"lr": AXES["lr"]} if case == "one axis" else AXES)
    summaries = summarize_trials(make_runs(values, diverged=diverged))
    landscape = build_landscape("digits-mlp", spec.optimizers[0], summaries, objective="val_error", planned=3)
    for png in (draw_landscape(landscape), draw_overview([landscape] * 4)):
        assert png.startswith(b"\x89PNG")
        assert len(png) > 5000


def test_axes_have_ticks_at_round_values_inside_their_range() -> None:
    log = AxisSpec(low=1e-2, high=1e2, scale="log")
    assert axis_ticks(log) == [
        (pytest.approx(k / 4), label) for k, label in enumerate(["0.01", "0.1", "1", "10", "100"])
    ]
    decay = AxisSpec(low=0.0, high=0.9999, scale="log1m")
    assert [label for _, label in axis_ticks(decay)] == ["0", "0.9", "0.99", "0.999", "0.9999"]
    narrow = AxisSpec(low=0.2, high=0.4, scale="log")
    assert [label for _, label in axis_ticks(narrow)] == ["0.2", "0.4"]
    assert len(axis_ticks(AxisSpec(low=-1.0, high=1.0))) >= 3
    assert [label for _, label in axis_ticks(AxisSpec(low=1.0, high=3.0, integer=True))] == ["1", "2", "3"]


@pytest.mark.parametrize("format_", ["csv", "parquet", "json"])
def test_tables_are_written_whole_in_every_format(format_: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": [0.1, None]})
    path = tmp_path / "folder" / f"table.{format_}"
    write_table([frame], path, format_)
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet, "json": pl.read_json}[format_]
    assert read(path).equals(frame)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_tables_keep_their_columns_and_types_while_a_study_has_no_results(database_url: str) -> None:
    with create_database(database_url) as engine:
        create_study(engine, make_spec(), {}, "cpu")
        with engine.connect() as connection:
            study = find_study(connection, "made")
            runs = read_runs(connection, study.id)
    full = make_runs([[0.3, 0.5], [0.1, 0.3]])
    assert runs_frame(study, runs).schema == runs_frame(study, full).schema
    assert trials_frame(study, runs).schema == trials_frame(study, full).schema
    assert trials_frame(study, runs).height == 0
    assert "val_loss" in epochs_frame(study, []).columns
