"""Verification: a report is what its tables give, and whatever was changed in it is named."""

import json
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from study_reports import (
    Place,
    at,
    change_leaf,
    files_of,
    find_leaves,
    made_study,
    name_place,
    renew_hashes,
    write_made_report,
)
from tests_support import Command, fails

from study.errors import OutputError, StudyError
from study.report.differences import find_differences
from study.report.export import CURVATURE_TYPES
from study.report.observations import observe
from study.report.report import load_report
from study.report.steps import QuietSteps
from study.report.stored import read_report
from study.report.verify import verify_report

pytestmark = pytest.mark.reports


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of one optimizer, some runs of which diverged, with few figures; only to be read."""
    folder = tmp_path_factory.mktemp("made") / "report"
    write_made_report(made_study(optimizers="a", is_sample=False, is_random=False), folder)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of that report."""
    return Path(shutil.copytree(made, tmp_path / "report"))


def differences_of(folder: Path) -> set[str]:
    """What differs, without the details."""
    return {line.partition(":")[0] for line in verify_report(folder, QuietSteps()).differences}


def rewrite_json(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n")


@pytest.mark.parametrize("name", ["finished", "measured"])
def test_a_fresh_report_of_a_real_study_is_what_its_tables_give(
    name: str, request: pytest.FixtureRequest, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere, without its database, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(request.getfixturevalue(name)[1], tmp_path / "moved")
    before = files_of(tmp_path)
    result = command("verify", "moved")
    assert result.exit_code == 0, result.output
    said = re.search(r"^moved: ([\d,]+) values and (\d+) files are what its tables give$", result.stdout, re.MULTILINE)
    assert said is not None
    assert int(said[1].replace(",", "")) == len(list(find_leaves(json.loads(before["moved/report.json"]))))
    assert int(said[2]) == len(before) - 1  # all but the manifest
    assert files_of(tmp_path) == before


@pytest.fixture
def read_only(copy: Path) -> Iterator[Path]:
    """A copy that nobody can write to, root excepted."""
    folders = [copy, copy / "tables", copy / "figures"]
    for folder in folders:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    yield copy
    for folder in folders:
        folder.chmod(stat.S_IRWXU)


def test_every_file_that_was_changed_is_named_though_the_manifest_fits(copy: Path) -> None:
    frame = pl.read_parquet(copy / "tables" / "robustness.parquet")
    frame.with_columns(best_mean=pl.col("best_mean") * 0.9).write_parquet(copy / "tables" / "robustness.parquet")
    table = (copy / "tables" / "audit-losses.csv").read_text()
    table = re.sub(r",(\d)", lambda match: f",{(int(match[1]) + 1) % 10}", table, count=1)
    (copy / "tables" / "audit-losses.csv").write_text(table)
    for name in ("report.md", "report.html", "tables/endings.tex"):
        text = (copy / name).read_text()
        number = re.findall(r"\b\d\.\d{3}\b", text) or re.findall(r"\b\d+\b", text)
        (copy / name).write_text(text.replace(number[-1], "7"))
    figures = sorted((copy / "figures").glob("*.svg"))
    figures[0].write_bytes(figures[1].read_bytes())
    figures[0].with_suffix(".png").write_bytes(figures[1].with_suffix(".png").read_bytes())
    figures[2].with_suffix(".pdf").unlink()
    (copy / "report.pdf").write_bytes((copy / "report.pdf").read_bytes() + b"%")
    (copy / "tables" / "winners.csv").write_text("optimizer\na\n")
    runs = pl.read_parquet(copy / "tables" / "runs.parquet")
    runs.with_columns(pl.col("objective") * 2).write_csv(copy / "tables" / "runs.csv")
    renew_hashes(copy)
    first, third = figures[0].stem, figures[2].stem
    assert differences_of(copy) == {
        *("tables/robustness.parquet", "tables/audit-losses.csv", "tables/endings.tex", "tables/runs.csv"),
        *("report.md", "report.html", "report.pdf", "tables/winners.csv"),
        *(f"figures/{first}.svg", f"figures/{first}.png", f"figures/{third}.pdf"),
    }


def test_files_that_are_not_those_of_the_manifest_are_named_by_their_hash(copy: Path) -> None:
    (copy / "report.md").write_text((copy / "report.md").read_text().replace("diverged", "converged"))
    (copy / "notes.txt").write_text("mine")
    (copy / "tables" / "robustness.tex").unlink()
    lines = verify_report(copy, QuietSteps()).differences
    assert "report.md: not the file that was written: its SHA-256 is not that of the manifest" in lines
    assert "report.md: not what the numbers of the report give" in lines
    assert "notes.txt: not listed in the manifest" in lines
    assert "notes.txt: not a file of a report" in lines
    assert "tables/robustness.tex: listed in the manifest, and missing" in lines


@pytest.mark.parametrize("seed", [1, 2])
def test_any_number_or_word_of_the_analysis_that_was_changed_is_named(copy: Path, seed: int) -> None:
    """Forty leaves at a time; a leaf that only a few words may stand at makes the report unreadable."""
    rng = np.random.default_rng(seed)
    content = json.loads((copy / "report.json").read_text())
    leaves = [place for place in find_leaves(content) if place[0] in ("analysis", "summary")]
    changed: list[Place] = []
    while len(changed) < 40:
        place = leaves[rng.integers(len(leaves))]
        if place in changed:
            continue
        before = at(content, place)
        change_leaf(content, place, rng)
        try:
            load_report(json.dumps(content).encode())
            changed.append(place)
        except ValueError:
            at(content, place[:-1])[place[-1]] = before
    rewrite_json(copy / "report.json", lambda found: found.update(content))
    renew_hashes(copy)
    assert {name_place(place) for place in changed} <= differences_of(copy)


#: Places of what is said of the study, beside the runs.
TOLD: list[Place] = [
    ("summary", 0),
    ("settings", "tolerance"),
    ("settings", "rope"),
    ("info", "workloads", 0, "chance"),
    ("info", "cells", 0, "planned"),
    ("info", "cells", 0, "axes", 0, "spec", "low"),
    ("info", "seeds"),
    ("info", "state"),
    ("info", "paired_seeds"),
    ("environment", "python"),
]


def test_what_is_said_of_the_study_cannot_be_changed_alone(made: Path, tmp_path: Path) -> None:
    for number, place in enumerate(TOLD):
        folder = Path(shutil.copytree(made, tmp_path / str(number)))
        rewrite_json(
            folder / "report.json", lambda found, place=place: change_leaf(found, place, np.random.default_rng(0))
        )
        renew_hashes(folder)
        assert not_confirmed(folder), place


def not_confirmed(folder: Path) -> bool:
    """Whether somebody who verifies the report is told that something is wrong with it."""
    try:
        return bool(verify_report(folder, QuietSteps()).differences)
    except StudyError as error:
        return "write the report anew" in str(error)


def test_what_the_spec_says_cannot_be_changed_beside_it(finished: tuple[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished[1], tmp_path / "report"))

    def change(content: Any) -> None:
        content["info"].update(design_kind="random", shared_points=False, spec_hash="0" * 64, cautions=["None."])

    rewrite_json(folder / "report.json", change)
    rewrite_json(folder / "manifest.json", lambda manifest: manifest.update(spec_hash="0" * 64))
    renew_hashes(folder)
    found = differences_of(folder)
    assert {"info.design_kind", "info.shared_points", "info.spec_hash", "info.cautions"} <= found


def test_a_range_that_was_changed_is_found_though_the_whole_report_was_made_anew_with_it(
    finished: tuple[str, Path], tmp_path: Path
) -> None:
    report = load_report((finished[1] / "report.json").read_bytes())
    cell = report.info.cells[0]
    wider = cell.axes[0].spec.model_copy(update={"high": 100 * cell.axes[0].spec.ends[1]})
    axes = (replace(cell.axes[0], spec=wider), *cell.axes[1:])
    info = replace(report.info, cells=(replace(cell, axes=axes), *report.info.cells[1:]))
    stored = read_report(finished[1])
    observations = observe(info, stored.tables["runs"], pl.DataFrame(schema=CURVATURE_TYPES))
    write_made_report(observations, tmp_path / "report")
    assert {line.partition(":")[0] for line in verify_report(tmp_path / "report", QuietSteps()).differences} == {
        "info.cells[0].axes[0].spec.high",
        f"info.cells.{cell.workload}.{cell.optimizer}.{cell.axes[0].name}",
    }


def test_one_objective_that_was_changed_in_the_runs_is_told_by_the_numbers_that_it_changes(copy: Path) -> None:
    path = copy / "tables" / "runs.parquet"
    runs = pl.read_parquet(path)
    better = pl.when(pl.int_range(pl.len()) == 3).then(-0.5).otherwise(pl.col("objective")).alias("objective")
    runs.with_columns(better).write_parquet(path)
    runs.with_columns(better).write_csv(path.with_suffix(".csv"))
    renew_hashes(copy)
    found = differences_of(copy)
    assert {"analysis.robustness.rows[0].best.mean", "analysis.robustness.yardsticks[0].best"} <= found
    assert "tables/trials.csv" in found
    assert not any(name.startswith("info") for name in found)


def test_the_chance_level_must_be_that_of_the_runs_that_diverged(copy: Path) -> None:
    rewrite_json(copy / "report.json", lambda found: found["info"]["workloads"][0].update(chance=0.95))
    renew_hashes(copy)
    assert {"info.workloads.bowl.chance", "analysis.robustness.yardsticks[0].reference"} <= differences_of(copy)


def test_pictures_by_other_versions_of_libraries_are_left_to_the_manifest_and_the_rest_is_not(copy: Path) -> None:
    def change(content: Any) -> None:
        content["packages"]["matplotlib"] = "1.0"

    rewrite_json(copy / "report.json", lambda found: change(found["environment"]))
    rewrite_json(copy / "manifest.json", lambda found: change(found["report_environment"]))
    page = (copy / "report.html").read_text()
    (copy / "report.html").write_text(
        page.replace("<title>figure", "<title>other").replace("matplotlib 3", "matplotlib")
    )
    renew_hashes(copy)
    result = verify_report(copy, QuietSteps())
    assert {line.partition(":")[0] for line in result.differences} == {"report.html", "report.md"}  # their last lines
    assert "report.pdf" in result.unchecked
    assert set(result.unchecked) == {name for name in files_of(copy) if name.endswith((".png", ".pdf", ".svg"))}


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def replaced(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def cut(folder: Path) -> None:
    path = folder / "tables" / "runs.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def runs_changed(**columns: pl.Expr) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "tables" / "runs.parquet"
        pl.read_parquet(path).with_columns(**columns).write_parquet(path)

    return change


def retyped(folder: Path) -> None:
    rewrite_json(folder / "report.json", lambda found: found["analysis"].update(robustness=3))


GARBAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "is not a report of this program"),
    "an empty folder": (empty, "is not a report of this program"),
    "another manifest": (replaced("manifest.json", b'{"name": "an app"}'), "is not a report of this program"),
    "a list as manifest": (replaced("manifest.json", b"[]"), "is not a report of this program"),
    "no text as manifest": (replaced("manifest.json", b"\xff\xfe"), "is not a report of this program"),
    "deep nesting": (replaced("manifest.json", b"[" * 100_000), "is not a report of this program"),
    "no report.json": (lambda folder: (folder / "report.json").unlink(), "cannot be read"),
    "no JSON": (replaced("report.json", b"{"), "cannot be read"),
    "a list": (replaced("report.json", b"[1]"), "has format None, this version reads 1"),
    "another format": (replaced("report.json", b'{"format": 99}'), "has format 99, this version reads 1"),
    "parts missing": (replaced("report.json", b'{"format": 1}'), "has format 1, this version reads 1"),
    "another type": (retyped, "report.json cannot be read by this version"),
    "no runs": (lambda folder: (folder / "tables" / "runs.parquet").unlink(), "runs.parquet is missing"),
    "no dictionary": (lambda folder: (folder / "tables" / "columns.parquet").unlink(), "columns.parquet is missing"),
    "runs cut off": (cut, "cannot be read"),
    "runs of something else": (
        lambda folder: pl.DataFrame({"a": [1]}).write_parquet(folder / "tables" / "runs.parquet"),
        "runs.parquet is not of this program",
    ),
    "a seed of a billion": (runs_changed(seed=pl.col("seed") + 10**9), "seeds"),
    "no seeds": (runs_changed(seed=pl.lit(None, pl.Int64)), "is no table of runs"),
    "seeds as texts": (runs_changed(seed=pl.col("seed").cast(pl.String)), "is no table of runs"),
    "trials as texts": (runs_changed(trial=pl.lit("first")), "is no table of runs"),
    "objectives as texts": (runs_changed(objective=pl.lit("good")), "is no table of runs"),
}


@pytest.mark.parametrize("case", list(GARBAGE))
def test_what_is_no_report_is_refused_in_one_sentence(case: str, copy: Path, command: Command) -> None:
    spoil, said = GARBAGE[case]
    spoil(copy)
    result = command("verify", copy)
    fails(result, 2, said, str(copy))
    assert "fault of the program" not in result.output


def test_a_file_is_no_report(tmp_path: Path, command: Command) -> None:
    (tmp_path / "report").write_text("")
    fails(command("verify", tmp_path / "report"), 2, "is not a report of this program")


def test_runs_with_any_bytes_changed_are_read_or_refused(copy: Path) -> None:
    """Polars panics at some of them."""
    path = copy / "tables" / "runs.parquet"
    content, rng = path.read_bytes(), np.random.default_rng(5)
    refused = 0
    for _ in range(60):
        spoiled = bytearray(content)
        for _ in range(3):
            spoiled[rng.integers(len(spoiled))] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoiled)
        try:
            read_report(copy)
        except OutputError:
            refused += 1
    assert refused > 10


def test_the_command_names_what_differs_and_fails(copy: Path, command: Command) -> None:
    (copy / "report.md").write_text("everything is fine")
    renew_hashes(copy)
    result = command("verify", copy)
    assert result.exit_code == 1
    # On a busy machine lines of progress come before it.
    assert result.stderr.splitlines()[-2:] == [
        "differs: report.md: not what the numbers of the report give",
        f"Error: 1 differences; {copy} is not what its tables give",
    ]


def test_a_report_in_a_folder_that_cannot_be_written_is_verified(read_only: Path) -> None:
    assert verify_report(read_only, QuietSteps()).differences == ()


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"a": 1.0}, {"a": 1.0 + 1e-7}, []),
        ({"a": 20_260_101}, {"a": 20_260_102}, ["a: the report has 20260101, the computation 20260102"]),
        ({"a": 1.0}, {"a": 1.0 + 1e-5}, ["a: the report has 1.0, the computation 1.00001"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a: the report has 2 entries, the computation 1"]),
        ({"a": True}, {"a": 1}, ["a: the report has True, the computation 1"]),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": None}, {"a": 0}, ["a: the report has None, the computation 0"]),
        ({"a": "1"}, {"a": 1}, ["a: the report has '1', the computation 1"]),
        ({"a": {"b": 1}}, {}, ["a: only in the report"]),
        ({}, {"a": [{}]}, ["a: only in the computation"]),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}, ["a[0].b: the report has 'x', the computation 'y'"]),
    ],
)
def test_differences_are_told_by_their_place(one: Any, other: Any, found: list[str]) -> None:
    assert list(find_differences(one, other)) == found
