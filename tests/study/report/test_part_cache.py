"""The cache of parts and pictures: whatever is in it, a report is the same; what is in it is not computed again."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from made_observations import no_curvature
from study_reports import ListedSteps, files_of, made_study, write_made_report
from tests_support import Command

from study.report.observations import Observations, observe
from study.report.part_cache import PartCache, hash_cell
from workers.cache import cache_folder

pytestmark = pytest.mark.reports


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The report without a cache."""
    folder = tmp_path_factory.mktemp("fresh") / "report"
    write_made_report(two_optimizers(), folder)
    return files_of(folder)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, fresh: dict[str, bytes]) -> Path:
    """A cache after that report; only to be read."""
    folder = tmp_path_factory.mktemp("filled")
    write_made_report(two_optimizers(), folder / "report", cache=PartCache(folder / "cache"))
    assert files_of(folder / "report") == fresh
    return folder / "cache"


def two_optimizers(**changes: float) -> Observations:
    """A study whose report is quick: without what speaks of the whole space."""
    return made_study(is_sample=False, is_random=False, **changes)


def changed_study(optimizer: str) -> Observations:
    """The same study, with one other result of one optimizer."""
    study = two_optimizers()
    better = (pl.col("optimizer") == optimizer) & (pl.col("trial") == 2) & (pl.col("seed") == 0)
    runs = study.runs.with_columns(objective=pl.when(better).then(0.2).otherwise(pl.col("objective")))
    return observe(study.info, runs, no_curvature())


def test_what_was_computed_before_is_not_computed_again(filled: Path, fresh: dict[str, bytes], tmp_path: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in filled.iterdir()}
    steps = ListedSteps()
    write_made_report(two_optimizers(), tmp_path / "report", cache=PartCache(filled), steps=steps)
    assert files_of(tmp_path / "report") == fresh
    assert steps.stages["computing"] == []
    assert {path.name: path.stat().st_mtime_ns for path in filled.iterdir()} == before


def test_another_result_of_one_optimizer_computes_its_parts_and_those_of_the_whole(
    filled: Path, tmp_path: Path
) -> None:
    cache = Path(shutil.copytree(filled, tmp_path / "cache"))
    steps = ListedSteps()
    write_made_report(changed_study("b"), tmp_path / "cached", cache=PartCache(cache), steps=steps)
    write_made_report(changed_study("b"), tmp_path / "fresh")
    assert files_of(tmp_path / "cached") == files_of(tmp_path / "fresh")
    kept = {path.name for path in filled.iterdir()}
    # Two parts of the cell, eleven of the study, and the pictures of what has changed.
    new = {path.name for path in cache.iterdir()} - kept
    assert 13 < len(new) < len(kept)


def test_another_tolerance_keeps_the_parts_of_the_cells_and_their_pictures(filled: Path, tmp_path: Path) -> None:
    cache = Path(shutil.copytree(filled, tmp_path / "cache"))
    write_made_report(two_optimizers(), tmp_path / "cached", cache=PartCache(cache), tolerance=0.2)
    write_made_report(two_optimizers(), tmp_path / "fresh", tolerance=0.2)
    assert files_of(tmp_path / "cached") == files_of(tmp_path / "fresh")
    assert len(list(cache.iterdir())) < 2 * len(list(filled.iterdir())) - 4


def spoil_all(change: Callable[[Path], object]) -> Callable[[Path], object]:
    def spoil(cache: Path) -> None:
        for path in list(cache.iterdir()):
            change(path)

    return spoil


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILED: dict[str, Callable[[Path], object]] = {
    "empty files": spoil_all(lambda path: path.write_bytes(b"")),
    "files cut off": spoil_all(lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])),
    "other JSON": spoil_all(lambda path: path.write_text('{"a": [1, 2]}')),
    "no text": spoil_all(lambda path: path.write_bytes(b"\xff\x00" * 50)),
    "folders": spoil_all(make_folder),
    "dangling links": spoil_all(lambda path: (path.unlink(), path.symlink_to("nowhere"))),
    "a file as cache": lambda cache: (shutil.rmtree(cache), cache.write_text("")),
}


def few_figures() -> Observations:
    """A study whose report is quick: of one optimizer, and without what speaks of the whole space."""
    return made_study(optimizers="a", is_sample=False, is_random=False)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Path]:
    """(files of its report, cache after it); only to be read."""
    folder = tmp_path_factory.mktemp("few")
    write_made_report(few_figures(), folder / "report", cache=PartCache(folder / "cache"))
    return files_of(folder / "report"), folder / "cache"


@pytest.mark.parametrize("case", list(SPOILED))
def test_a_spoiled_cache_costs_time_only(case: str, few: tuple[dict[str, bytes], Path], tmp_path: Path) -> None:
    cache = Path(shutil.copytree(few[1], tmp_path / "cache"))
    SPOILED[case](cache)
    steps = ListedSteps()
    write_made_report(few_figures(), tmp_path / "report", cache=PartCache(cache), steps=steps)
    assert len(steps.stages["computing"]) == 12
    assert files_of(tmp_path / "report") == few[0]


def test_a_cache_that_cannot_be_written_is_none(few: tuple[dict[str, bytes], Path], tmp_path: Path) -> None:
    for place in (Path("/proc/adai"), Path("/dev/null/adai")):
        write_made_report(few_figures(), tmp_path / "report", cache=PartCache(place))
        assert files_of(tmp_path / "report") == few[0]


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)  # in no list of users
    assert cache_folder("reports") is None
    assert PartCache.of_user().find(Part, "source") is None
    assert PartCache.of_user().keep(Part, "source", Part(1)) == Part(1)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a report."""

    number: int


@dataclass(frozen=True, slots=True)
class Other:
    """Another part with the same fields."""

    number: int


def test_a_part_is_found_under_its_kind_and_source_alone(tmp_path: Path) -> None:
    cache = PartCache(tmp_path / "cache")
    assert cache.find(Part, "a") is None
    assert cache.keep(Part, "a", Part(1)) == Part(1)
    assert cache.find(Part, "a") == Part(1)
    assert cache.find(Part, "b") is None
    assert cache.find(Other, "a") is None
    assert not any(path.name.startswith(".") for path in (tmp_path / "cache").iterdir())


def test_a_part_that_cannot_be_written_whole_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = PartCache(folder)
    cache.keep(Part, "a", Part(1))
    (kept,) = folder.iterdir()
    make_folder(kept)
    (kept / "in the way").write_text("")
    assert cache.keep(Part, "a", Part(2)) == Part(2)
    assert cache.find(Part, "a") is None
    assert list(folder.iterdir()) == [kept]


def test_the_oldest_parts_are_removed_beyond_two_thousand(tmp_path: Path) -> None:
    cache = PartCache(tmp_path)
    cache.keep(Part, "first", Part(0))
    (first,) = tmp_path.iterdir()
    os.utime(first, (1, 1))
    for number in range(1999):
        (tmp_path / f"{number}.json").write_text("{}")
    assert first.exists()
    cache.keep(Part, "last", Part(1))
    assert not first.exists()
    assert len(list(tmp_path.iterdir())) == 2000
    assert cache.find(Part, "last") == Part(1)


def test_the_key_of_a_cell_is_what_it_was_made_of() -> None:
    cells = [made_study().cells[0] for _ in range(2)]
    key = hash_cell(cells[0])
    assert cells[0].mean_N.size > 0  # computed, and kept by the cell
    assert hash_cell(cells[0]) == hash_cell(cells[1]) == key
    others = [made_study().cells[1], made_study(noise=0.02).cells[0], made_study(points=5).cells[0]]
    assert len({hash_cell(cell) for cell in others} | {key, hash_cell(cells[0], "setting")}) == 5


def test_other_values_at_the_same_places_are_another_cell() -> None:
    """A default off its axis has no place, but a value that figures show."""
    study = made_study(optimizers="a")
    runs = study.runs.with_columns(lr=pl.when(pl.col("trial") == 0).then(7.0).otherwise(pl.col("lr")))
    assert hash_cell(observe(study.info, runs, no_curvature()).cells[0]) != hash_cell(study.cells[0])


def test_fresh_gives_the_bytes_of_a_cached_report(
    command: Command, finished: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["report", "small", "--db", finished[0], "--out"]
    assert command(*words, tmp_path / "fresh", "--fresh").exit_code == 0
    assert not (tmp_path / "cache" / "adai" / "reports").exists()
    assert files_of(tmp_path / "fresh") == files_of(finished[1])
