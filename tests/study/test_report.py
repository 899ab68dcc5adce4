"""Reports of real studies through the real command: every number recomputed from the database the boring way."""

import csv
import hashlib
import html
import json
import math
import re
import sqlite3
import statistics
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from study_reports import files_of, write_study_report
from tests_support import Command

from study.creation import create_study
from study.errors import StudyError
from study.report.export import epochs_frame, runs_frame, trials_frame
from study.report.report import dump_report, load_report
from study.report.table_files import write_table
from study.spec import StudySpec
from study.spec_file import parse_spec
from study.storage.engine import create_database, open_database
from study.storage.records import find_study, read_runs

#: Chance level of the digits: nine of ten classes are wrong.
CHANCE = 0.9
#: Tables that reports are made from: their columns are described in docs/reports.md, and no paper prints them.
RAW = {"runs", "trials", "curvature"}


@pytest.fixture(params=["finished", "measured", "two_workloads"])
def reported(request: pytest.FixtureRequest) -> Iterator[tuple[sqlite3.Connection, Path]]:
    """(database, report folder) of a small study, of one with curvature, of one with two workloads."""
    url, folder = request.getfixturevalue(request.param)
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    yield connection, folder
    connection.close()


def wilson(count: int, total: int) -> tuple[float, float]:
    """Wilson's score interval at 95 % (Wilson 1927), written out."""
    z = statistics.NormalDist().inv_cdf(0.975)
    share = count / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def read_csv(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "tables" / f"{name}.csv").read_text().splitlines()))


Trials = dict[tuple[str, str], dict[int, list[dict[str, Any]]]]


def read_trials(connection: sqlite3.Connection) -> Trials:
    """(workload, optimizer) -> number of a trial -> its runs."""
    query = (
        "SELECT t.workload, t.optimizer, t.number, t.origin, r.* FROM adai_runs r "
        "JOIN adai_trials t ON t.id = r.trial_id ORDER BY t.number, r.seed"
    )
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description]
    trials: Trials = {}
    for values in cursor.fetchall():
        run = dict(zip(names, values, strict=True))
        cell = trials.setdefault((run["workload"], run["optimizer"]), {})
        cell.setdefault(run["number"], []).append(run)
    return trials


def means_of(trials: dict[int, list[dict[str, Any]]]) -> dict[int, float]:
    return {number: statistics.fmean(run["objective"] for run in runs) for number, runs in trials.items()}


def test_best_default_and_median_are_those_of_the_database(reported: tuple[sqlite3.Connection, Path]) -> None:
    trials = read_trials(reported[0])
    table = read_csv(reported[1], "robustness")
    assert {(row["workload"], row["optimizer"]) for row in table} == trials.keys()
    for row in table:
        own = trials[row["workload"], row["optimizer"]]
        means = means_of(own)
        best = min(means, key=lambda number, means=means: (means[number], number))
        objectives = [run["objective"] for run in own[best]]
        assert int(row["best_trial"]) == best
        assert float(row["best_mean"]) == pytest.approx(means[best], rel=1e-12)
        assert float(row["best_sd"]) == pytest.approx(statistics.stdev(objectives), rel=1e-9, abs=1e-15)
        assert int(row["best_diverged"]) == sum(run["termination"] == "DIVERGED" for run in own[best])
        tested = [run["test_error"] for run in own[best]]
        if None not in tested:
            assert float(row["best_test_error_mean"]) == pytest.approx(statistics.fmean(tested), rel=1e-12)
        assert float(row["default_mean"]) == pytest.approx(means[0], rel=1e-12)
        assert float(row["default_regret"]) == pytest.approx(means[0] - means[best], rel=1e-9, abs=1e-15)
        design = [mean for number, mean in means.items() if number > 0]
        assert float(row["median"]) == pytest.approx(statistics.median(design), rel=1e-12)


def test_robust_volumes_are_counts_of_the_database(reported: tuple[sqlite3.Connection, Path]) -> None:
    trials = read_trials(reported[0])
    table = read_csv(reported[1], "robust-volumes")
    assert {float(row["tolerance"]) for row in table if row["headline"] == "true"} == {0.05}
    for row in table:
        means = means_of(trials[row["workload"], row["optimizer"]])
        design = [mean for number, mean in means.items() if number > 0]
        lowest = min(min(means_of(t).values()) for (w, _), t in trials.items() if w == row["workload"])
        for column, best in (("volume", lowest), ("volume_own", min(means.values()))):
            level = best + float(row["tolerance"]) * (CHANCE - best)
            good = sum(mean <= level + 1e-12 for mean in design)
            assert float(row[column]) == good / len(design)
            ends = (float(row[f"{column}_low"]), float(row[f"{column}_high"]))
            assert ends == pytest.approx(wilson(good, len(design)), abs=1e-9)


def test_every_run_is_counted_by_how_it_ended(reported: tuple[sqlite3.Connection, Path]) -> None:
    trials = read_trials(reported[0])
    counts = {(row["workload"], row["optimizer"]): row for row in read_csv(reported[1], "divergence")}
    for row in read_csv(reported[1], "endings"):
        key = (row["workload"], row["optimizer"])
        runs = [run for own in trials[key].values() for run in own]
        ends = [run["termination"].lower() for run in runs]
        assert {name: int(row[name]) for name in set(ends)} == {name: ends.count(name) for name in set(ends)}
        assert int(counts[key]["runs"]) == len(runs) == 10
        assert int(counts[key]["runs_diverged"]) == ends.count("diverged")
        assert int(counts[key]["runs_at_chance"]) == sum(run["at_chance"] for run in runs)
        assert int(counts[key]["trials_finished"]) == len(trials[key]) == 5


def test_a_run_has_the_budget_of_its_trial_beside_the_epochs_that_it_trained(measured: tuple[str, Path]) -> None:
    runs = pl.read_csv(measured[1] / "tables" / "runs.csv")
    trials = pl.read_csv(measured[1] / "tables" / "trials.csv")
    with sqlite3.connect(measured[0].removeprefix("sqlite:///")) as database:
        stored = database.execute("SELECT number, hyperparameters FROM adai_trials").fetchall()
    budgets = {number: json.loads(hyperparameters)["epochs"] for number, hyperparameters in stored}
    assert {row["trial"]: row["budget"] for row in runs.to_dicts()} == budgets
    assert {row["trial"]: row["epochs"] for row in trials.to_dicts()} == budgets
    assert len(set(runs["budget"])) > 1
    assert all(row["epochs"] == row["budget"] or row["termination"] == "diverged" for row in runs.to_dicts())


def test_measurements_stand_in_the_tables_as_in_the_database(measured: tuple[str, Path]) -> None:
    runs = pl.read_csv(measured[1] / "tables" / "runs.csv")
    query = (
        "SELECT t.number, r.seed, e.epoch, e.val_error, r.steps_to_target, r.seconds_to_target, r.peak_memory, "
        "t.hyperparameters FROM adai_runs r JOIN adai_trials t ON t.id = r.trial_id JOIN adai_epochs e "
        "ON e.run_id = r.id ORDER BY t.number, r.seed, e.epoch"
    )
    with sqlite3.connect(measured[0].removeprefix("sqlite:///")) as database:
        found = database.execute(query).fetchall()
    reached = [row for row in runs.to_dicts() if row["steps_to_target"] is not None]
    assert 0 < len(reached) < runs.height
    for row in runs.to_dicts():
        own = [f for f in found if f[:2] == (row["trial"], row["seed"])]
        assert (row["steps_to_target"], row["seconds_to_target"], row["peak_memory"]) == own[0][4:7]
        first = next((f[2] for f in own if f[3] <= 0.3), None)
        assert (first is None) == (row["steps_to_target"] is None)
        if first is not None:
            assert row["steps_to_target"] % first == 0


def test_a_study_with_curvature_has_a_table_of_it(measured: tuple[str, Path]) -> None:
    table = pl.read_csv(measured[1] / "tables" / "curvature.csv")
    query = (
        'SELECT t.number, r.seed, c.epoch, c."values" FROM adai_curvature c JOIN adai_runs r ON r.id = c.run_id '
        "JOIN adai_trials t ON t.id = r.trial_id"
    )
    with sqlite3.connect(measured[0].removeprefix("sqlite:///")) as database:
        stored = {row[:3]: json.loads(row[3]) for row in database.execute(query)}
    assert len(stored) == 10
    assert table.height == sum(
        len(v) if isinstance(v, list) else 1 for found in stored.values() for v in found.values()
    )
    for row in table.to_dicts():
        value = stored[row["trial"], row["seed"], row["epoch"]][row["quantity"]]
        assert row["value"] == (value if row["position"] is None else value[row["position"]])
    manifest = json.loads((measured[1] / "manifest.json").read_text())
    assert "tables/curvature.csv" in manifest["files"]


def test_the_report_says_which_optimizers_vary_the_training(measured: tuple[str, Path]) -> None:
    for name in ("report.html", "report.md"):
        text = (measured[1] / name).read_text().replace("\\_", "_")
        assert "2 epochs (an axis of SGD with momentum), batch size 64 (an axis of SGD with momentum), " in text
        assert "target_error = " in text
        assert "label_smoothing (an axis of SGD with momentum)" in text


def test_every_table_is_there_in_every_form_and_in_the_dictionary(reported: tuple[sqlite3.Connection, Path]) -> None:
    folder = reported[1] / "tables"
    names = {path.stem for path in folder.iterdir()}
    described: dict[str, list[str]] = {}
    for row in read_csv(reported[1], "columns"):
        described.setdefault(row["table"], []).append(row["column"])
        assert len(row["meaning"]) > 10, row
    assert described.keys() == names - RAW - {"columns"}
    assert {"runs", "trials", "robustness", "robust-volumes", "landscape-surrogates", "endings"} <= names
    for name in names:
        forms = {path.suffix for path in folder.iterdir() if path.stem == name}
        assert forms == ({".csv", ".parquet"} if name in RAW | {"columns"} else {".csv", ".parquet", ".tex"})
        frame = pl.read_parquet(folder / f"{name}.parquet")
        assert_frame_equal(pl.read_csv(folder / f"{name}.csv", schema=frame.schema), frame, check_exact=True)
        if name in described:
            assert frame.columns == described[name]


def test_report_json_is_the_whole_report_and_dumps_to_the_same_bytes(reported: tuple[sqlite3.Connection, Path]) -> None:
    content = (reported[1] / "report.json").read_bytes()
    report = load_report(content)
    assert dump_report(report) + b"\n" == content
    rows = {(row["workload"], row["optimizer"]): row for row in read_csv(reported[1], "robustness")}
    assert len(report.analysis.robustness.rows) == len(rows)
    for row in report.analysis.robustness.rows:
        assert row.best.mean == float(rows[row.workload, row.optimizer]["best_mean"])
    for text in report.summary:
        assert text in (reported[1] / "report.md").read_text().replace("\\", "")


class _Reader(HTMLParser):
    """What a browser would load, and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset", "data")]
        self.loads += [value or "" for name, value in attrs if tag == "link" and name == "href"]

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def test_the_page_holds_everything_itself_and_nothing_is_undefined(reported: tuple[sqlite3.Connection, Path]) -> None:
    reader = _Reader()
    page = (reported[1] / "report.html").read_text()
    reader.feed(page)
    assert all(source.startswith("data:") for source in reader.loads)
    assert "@import" not in page
    text = " ".join(reader.words)
    for phrase in ("What was run", "Robustness per optimizer", "Landscapes", "Search-space audit"):
        assert phrase in text
    for word in ("Wilson's", "diverged", "torch", "SGD with momentum"):
        assert word in text
    for wrong in ("None", "Undefined", "nan", "inf", "NaN", "null"):
        assert f">{wrong}<" not in page


def test_the_markdown_shows_the_same_numbers_as_the_page(reported: tuple[sqlite3.Connection, Path]) -> None:
    page = (reported[1] / "report.html").read_text()
    said = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    lines = (reported[1] / "report.md").read_text().splitlines()
    cells = {
        cell for line in lines if line.startswith("| ") for cell in line.replace("\\", "").strip("| ").split(" | ")
    }
    numbers = [html.unescape(cell) for cell in cells if re.search(r"\d", cell)]
    assert len(numbers) > 50
    assert [number for number in numbers if " ".join(number.split()) not in said] == []


def test_links_of_the_markdown_resolve(reported: tuple[sqlite3.Connection, Path]) -> None:
    text = (reported[1] / "report.md").read_text()
    links = {part.partition(")")[0] for part in text.split("](")[1:]}
    inside = {link for link in links if link.startswith("#")}
    assert len(inside) > 20
    for link in inside:
        assert f'id="{link[1:]}"' in text, link
    assert len(links - inside) > 5
    assert all((reported[1] / link).is_file() for link in links - inside)


def test_the_manifest_names_spec_versions_device_and_the_hash_of_every_file(finished: tuple[str, Path]) -> None:
    manifest = json.loads((finished[1] / "manifest.json").read_text())
    files = files_of(finished[1])
    assert manifest["files"].keys() == files.keys() - {"manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(files[name]).hexdigest() == digest
    assert StudySpec.model_validate(manifest["spec"]).hash == manifest["spec_hash"]
    assert manifest["devices"] == ["cpu"]
    assert manifest["study_environment"]["packages"]["torch"]
    assert manifest["report_environment"]["packages"]["scipy"]
    assert (manifest["tolerance"], manifest["rope"]) == (0.05, 0.01)
    assert manifest["runs"] == {"completed": 20}


def test_equal_results_make_equal_reports(two_workloads: tuple[str, Path], command: Command) -> None:
    """All numbers computed anew, all files made anew: the same, byte for byte."""
    result = command("verify", two_workloads[1])
    assert result.exit_code == 0, result.output
    assert f"{len(files_of(two_workloads[1])) - 1} files are what its tables give" in result.stdout


def test_a_study_without_finished_trials_has_nothing_to_report(database_url: str, tmp_path: Path) -> None:
    with create_database(database_url) as engine:
        create_study(engine, made_spec(), {}, "cpu")
        with pytest.raises(StudyError, match=r"no trial of study 'made' has finished.*adai-study resume made"):
            write_study_report(engine, "made", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def made_spec() -> StudySpec:
    text = 'name = "made"\nworkloads = ["digits-mlp"]\nseeds = 2\n[design]\npoints = 3\n[[optimizers]]\nname = "sgd"'
    return parse_spec(text, source="made")


def test_a_study_that_was_interrupted_has_a_report_of_what_there_is(
    command: Command, finished: tuple[str, Path], tmp_path: Path
) -> None:
    source = sqlite3.connect(finished[0].removeprefix("sqlite:///"))
    with sqlite3.connect(tmp_path / "half.db") as half:
        source.backup(half)
        source.close()
        waiting = "(SELECT id FROM adai_trials WHERE optimizer = 'sgd' AND number > 1)"
        half.execute(
            "UPDATE adai_runs SET termination = NULL, objective = NULL, attempt_id = NULL, test_error = NULL "
            f"WHERE trial_id IN {waiting}"
        )
        half.execute("UPDATE adai_studies SET state = 'INTERRUPTED'")
    half.close()
    out = tmp_path / "report"
    result = command("report", "small", "--db", f"sqlite:///{tmp_path}/half.db", "--out", out)
    assert result.exit_code == 0, result.output
    text = (out / "report.md").read_text()
    assert "This report is partial: 6 runs have not ended. Run the rest with: adai-study resume small" in text
    rows = {row["optimizer"]: row for row in read_csv(out, "divergence")}
    assert [rows["sgd"][name] for name in ("trials_finished", "trials_pending", "trials_failed")] == ["2", "3", "0"]
    assert rows["adai"]["trials_finished"] == "5"


@pytest.mark.parametrize("format_", ["csv", "parquet", "json"])
def test_tables_are_written_whole_in_every_format(format_: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": [0.1, None]})
    path = tmp_path / "folder" / f"table.{format_}"
    write_table([frame], path, format_)
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet, "json": pl.read_json}[format_]
    assert read(path).equals(frame)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_tables_keep_their_columns_and_types_while_a_study_has_no_results(
    database_url: str, finished: tuple[str, Path]
) -> None:
    frames = []
    with create_database(database_url) as empty, open_database(finished[0]) as full:
        create_study(empty, parse_spec((finished[1].parent / "spec.toml").read_text(), source="small"), {}, "cpu")
        for engine in (empty, full):
            with engine.connect() as connection:
                study = find_study(connection, "small")
                runs = read_runs(connection, study.id)
                frames.append((runs_frame(study, runs), trials_frame(study, runs)))
    assert [frame.schema for frame in frames[0]] == [frame.schema for frame in frames[1]]
    assert [frame.height for frame in (*frames[0], *frames[1])] == [20, 0, 20, 10]
    assert "val_loss" in epochs_frame(study, []).columns
