"""Comparison of two reports: what was added, removed and changed, told by its row, and nothing else."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from made_observations import no_curvature
from study_reports import made_study, write_made_report
from tests_support import Command, fails

from study.report.compare import Change, compare_reports
from study.report.observations import Observations, observe
from study.report.part_cache import PartCache

pytestmark = pytest.mark.reports


def b_changed() -> Observations:
    """Optimizer ``b`` has other results, and one run of it diverged that had not."""
    study = made_study()
    own = pl.col("optimizer") == "b"
    first = own & (pl.col("trial") == 1) & (pl.col("seed") == 0)
    runs = study.runs.with_columns(
        objective=pl.when(first).then(0.9).when(own).then(pl.col("objective") * 0.5).otherwise(pl.col("objective")),
        termination=pl.when(first).then(pl.lit("diverged")).otherwise(pl.col("termination")),
    )
    return observe(study.info, runs, no_curvature())


KINDS: dict[str, Callable[[], tuple[Observations, dict[str, float]]]] = {
    "base": lambda: (made_study(), {}),
    "again": lambda: (made_study(), {}),
    "tolerance": lambda: (made_study(), {"tolerance": 0.3}),
    "changed": lambda: (b_changed(), {}),
    "more": lambda: (made_study(optimizers="abc"), {}),
    "other": lambda: (made_study(optimizers="a", name="other", points=5, is_sample=False, is_random=False), {}),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report of each kind; only to be read."""
    folder = tmp_path_factory.mktemp("compared")
    for name, make in KINDS.items():
        study, settings = make()
        write_made_report(study, folder / name, cache=PartCache(folder / "cache"), **settings)
    return folder


def read_csv(report: Path, table: str) -> dict[tuple[str, ...], dict[str, str]]:
    """Rows of a table by workload, optimizer and tolerance."""
    rows = csv.DictReader((report / "tables" / f"{table}.csv").read_text().splitlines())
    return {(r["workload"], r["optimizer"], r.get("tolerance", "")): r for r in rows}


def test_equal_reports_have_no_changes(reports: Path, command: Command) -> None:
    found = compare_reports(reports / "base", reports / "again")
    assert (found.study, found.added, found.removed, found.changes, found.runs) == ((), (), (), (), (0, 0, 0))
    assert found.unchanged > 500
    result = command("compare", reports / "base", reports / "again")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "runs: 0 added, 0 removed, 0 with another result",
        f"0 values changed, {found.unchanged} did not",
    ]


def test_another_tolerance_changes_settings_and_rows_of_that_tolerance_alone(reports: Path) -> None:
    found = compare_reports(reports / "base", reports / "tolerance")
    assert found.study == ("settings.tolerance: the first report has 0.05, the second 0.3",)
    assert found.runs == (0, 0, 0)
    volumes = [line for line in found.added if line.startswith("robust-volumes")]
    assert sorted(volumes) == ["robust-volumes: bowl, a, A, 0.3", "robust-volumes: bowl, b, B, 0.3"]
    assert not [line for line in found.removed if line.startswith("robust-volumes")]
    told = [change for change in found.changes if change.table == "robust-volumes"]
    assert {(change.column, change.row[-4:]) for change in told} == {("headline", "0.05")}


def test_every_number_that_changed_is_told_with_its_row(reports: Path) -> None:
    found = compare_reports(reports / "base", reports / "changed")
    assert found.study == ()
    assert found.runs == (0, 0, 14)
    assert found.added == found.removed == ()
    for table, column in (("robustness", "best_mean"), ("robustness", "median"), ("divergence", "runs_diverged")):
        before, after = read_csv(reports / "base", table), read_csv(reports / "changed", table)
        told = {c.row: (c.before, c.after) for c in found.changes if (c.table, c.column) == (table, column)}
        assert told.keys() == {f"bowl, {key[1]}" for key in before if before[key][column] != after[key][column]}
        assert told.keys() == {"bowl, b"}
        for said, row in zip(told["bowl, b"], (before["bowl", "b", ""], after["bowl", "b", ""]), strict=True):
            assert float(said.partition(" [")[0]) == pytest.approx(float(row[column]), rel=1e-3)


def test_intervals_say_whether_they_are_apart(reports: Path) -> None:
    found = compare_reports(reports / "base", reports / "changed")
    for table, column in (("robustness", "median"), ("robustness", "held_out"), ("robust-volumes", "volume")):
        before, after = read_csv(reports / "base", table), read_csv(reports / "changed", table)
        for key, row in before.items():
            ends = [float(r[f"{column}_{end}"] or "nan") for r in (row, after[key]) for end in ("low", "high")]
            name = ", ".join((*key[:2], *((row["title"], key[2]) if key[2] else ())))
            told = [c for c in found.changes if (c.table, c.row, c.column) == (table, name, column)]
            assert len(told) == (row[column] != after[key][column]), name
            for change in told:
                assert change.apart == (ends[1] < ends[2] or ends[3] < ends[0])
    assert {change.apart for change in found.changes} == {None, False}


@pytest.mark.parametrize(
    ("ends", "apart"),
    [
        ({"volume_high": pl.col("volume_high") * 1.01}, False),
        ({"volume_low": pl.lit(1.5), "volume_high": pl.lit(1.6)}, True),
        ({"volume_low": pl.lit(-0.6), "volume_high": pl.lit(-0.5)}, True),
        ({"volume_low": pl.lit(None, pl.Float64)}, None),
    ],
)
def test_a_value_whose_interval_alone_changed_is_a_change(
    ends: dict[str, pl.Expr], apart: bool | None, reports: Path, tmp_path: Path
) -> None:
    after = Path(shutil.copytree(reports / "base", tmp_path / "after"))
    path = after / "tables" / "robust-volumes.parquet"
    pl.read_parquet(path).with_columns(**ends).write_parquet(path)
    found = compare_reports(reports / "base", after)
    assert len(found.changes) == pl.read_parquet(path).height
    assert {(c.table, c.column, c.apart) for c in found.changes} == {("robust-volumes", "volume", apart)}


def test_an_optimizer_that_was_added_or_removed_is_told_as_rows(reports: Path) -> None:
    more = compare_reports(reports / "base", reports / "more")
    assert more.runs == (14, 0, 0)
    assert "robustness: bowl, c" in more.added
    assert more.removed == ()
    assert not [change for change in more.changes if change.table == "divergence"]
    less = compare_reports(reports / "more", reports / "base")
    assert less.runs == (0, 14, 0)
    assert less.removed == more.added
    assert {(c.table, c.row, c.column, c.before, c.after) for c in less.changes} == {
        (c.table, c.row, c.column, c.after, c.before) for c in more.changes
    }


def test_reports_of_different_studies_are_told_apart(reports: Path) -> None:
    found = compare_reports(reports / "base", reports / "other")
    assert "name: the first report has 'made', the second 'other'" in found.study
    assert "design: the first report has '6 sobol points', the second '5 sobol points'" in found.study
    assert found.removed


def test_versions_of_libraries_are_told(reports: Path, tmp_path: Path) -> None:
    after = Path(shutil.copytree(reports / "base", tmp_path / "after"))
    content = json.loads((after / "report.json").read_text())
    content["environment"]["packages"]["scipy"] = "0.1"
    (after / "report.json").write_text(json.dumps(content))
    (line,) = compare_reports(reports / "base", after).study
    assert line.startswith("made with.packages.scipy: the first report has '1.")
    assert line.endswith("the second '0.1'")


def test_the_command_shows_fifty_changes_and_all_on_demand(reports: Path, command: Command) -> None:
    found = compare_reports(reports / "base", reports / "changed")
    few = command("compare", reports / "base", reports / "changed")
    everything = command("compare", reports / "base", reports / "changed", "--all")
    assert (few.exit_code, everything.exit_code) == (0, 0)
    assert f"{len(found.changes) - 50} more; --all lists them" in few.stdout
    assert "more; --all" not in everything.stdout
    counts = f"{len(found.changes)} values changed, {found.unchanged} did not"
    assert few.stdout.splitlines()[-1] == everything.stdout.splitlines()[-1] == counts

    def rows(text: str) -> int:
        return len([line for line in text[text.index("intervals") :].splitlines()[1:] if line.startswith(" ")])

    assert rows(few.stdout) == 50
    assert rows(everything.stdout) == len(found.changes)
    assert "runs: 0 added, 0 removed, 14 with another result" in few.stdout


def spoil(name: str, content: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def rename_trial(folder: Path) -> None:
    path = folder / "tables" / "runs.parquet"
    pl.read_parquet(path).with_columns(trial=pl.col("trial").cast(pl.String)).write_parquet(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (shutil.rmtree, "is not a report of this program"),
        (spoil("manifest.json", b"{}"), "is not a report of this program"),
        (spoil("report.json", b"nonsense"), "cannot be read"),
        (spoil("report.json", b'{"format": 2}'), "has format 2, this version reads 1"),
        (spoil("tables/robustness.parquet", b"PAR1nonsensePAR1"), "cannot be read"),
        (spoil("tables/runs.parquet", b""), "cannot be read"),
        (rename_trial, "cannot be compared"),
    ],
)
@pytest.mark.parametrize("place", ["first", "second"])
def test_garbage_is_refused_in_one_sentence(
    place: str, change: Callable[[Path], object], said: str, reports: Path, tmp_path: Path, command: Command
) -> None:
    spoiled = Path(shutil.copytree(reports / "base", tmp_path / "spoiled"))
    change(spoiled)
    words = [spoiled, reports / "base"] if place == "first" else [reports / "base", spoiled]
    result = command("compare", *words)
    fails(result, 2, said, str(spoiled))
    assert "fault of the program" not in result.output


def test_a_table_that_only_one_report_has_is_all_added_or_removed(reports: Path, tmp_path: Path) -> None:
    after = Path(shutil.copytree(reports / "base", tmp_path / "after"))
    (after / "tables" / "divergence.parquet").unlink()
    found = compare_reports(reports / "base", after)
    assert sorted(found.removed) == ["divergence: bowl, a", "divergence: bowl, b"]
    assert found.added == found.changes == ()


def test_rows_that_nothing_tells_apart_are_numbered(reports: Path, tmp_path: Path) -> None:
    both = [Path(shutil.copytree(reports / "base", tmp_path / name)) for name in ("one", "other")]
    for folder, last in zip(both, (1.0, 2.0), strict=True):
        pl.DataFrame({"a": ["x"] * 3, "b": [1.0, 1.0, last]}).write_parquet(folder / "tables" / "twins.parquet")
    found = compare_reports(*both)
    assert found.removed == ("twins: x, 1 #3",)
    assert found.added == ("twins: x, 2",)
    assert not [change for change in found.changes if isinstance(change, Change)]
