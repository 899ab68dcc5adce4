"""Computes every number of a report anew from its tables alone, and says what differs."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal
from pydantic import TypeAdapter, ValidationError

from study.errors import OutputError, StudyError
from study.provenance import installed_version
from study.report.composition import compose
from study.report.differences import find_differences
from study.report.export import CURVATURE_TYPES
from study.report.folder import hash_files
from study.report.forms import list_figures
from study.report.from_database import describe_cells, describe_spec
from study.report.measures.endings import PENDING
from study.report.observations import CellInfo, Observations, StudyInfo, observe
from study.report.part_cache import PartCache
from study.report.picture_cache import draw_cached
from study.report.report import Report, load_report, make_report, to_plain
from study.report.steps import Steps
from study.report.stored import StoredReport, read_report
from study.report.writing import describe_report, write_files
from study.space import to_unit
from study.spec import StudySpec

#: What pictures, and the PDF that holds them, depend on beside the numbers: byte for byte only where these are equal.
_PICTURE_LIBRARIES = ("matplotlib", "pillow", "reportlab")
_PICTURES = (".png", ".pdf", ".svg")
#: A figure within a page.
_INLINE = re.compile(rb"<svg\b.*?</svg>", re.DOTALL)
#: What no figure of ours has.
_FOREIGN = re.compile(rb"<(foreignObject|script|a)\b", re.IGNORECASE)
#: Between a value and its place.
_ROUNDING = 1e-6
_CELLS: TypeAdapter[tuple[CellInfo, ...]] = TypeAdapter(tuple[CellInfo, ...])


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of computing a report anew.

    Attributes:
        differences: What is not as computed, a line each; none if all is well.
        numbers: Numbers and words of ``report.json`` that were compared.
        files: Files that were made anew and compared, byte for byte, tables value for value.
        unchecked: Pictures that could only be held against the manifest's hash, for they were drawn by other versions
            of libraries; so are those within the page, the rest of which is compared.
    """

    differences: tuple[str, ...]
    numbers: int
    files: int
    unchecked: tuple[str, ...]


def verify_report(folder: Path, steps: Steps) -> Verification:
    """Hold a report against its own tables.

    The files must be those of the manifest. ``report.json`` must be what ``tables/runs.parquet`` (and, where there is
    one, ``tables/curvature.parquet``) give when everything is computed anew, nothing from the cache. Every other file
    must be what ``report.json`` gives: pages and tables to the letter, pictures byte for byte where the same versions
    of libraries draw them. There may be no other file.

    Args:
        folder: Of the report.
        steps: Told of every part.

    Raises:
        OutputError: It is not a report that this version can read.
        StudyError: Nothing can be computed from its tables with what ``report.json`` says of the study.
    """
    stored = read_report(folder)
    report = _load(folder)
    differences = [*_check_hashes(stored), *find_differences(_manifest_of(stored), describe_report(report), "manifest")]
    observations = _observe(stored, report)
    runs = observations.runs
    differences += [*_check_spec(report, runs), *_check_places(report.info, runs), *_check_info(report.info, runs)]
    computed = _compute(stored, report, observations, steps)
    differences += find_differences(to_plain(report), to_plain(computed))
    try:
        unchecked, files, found = _check_files(stored, report, observations, steps)
    # What was changed by hand may be anything, such as a range whose ends are equal.
    except Exception as error:
        if not differences:
            raise
        unchecked, files, found = (), 0, [f"no other file could be made from report.json: {_shown(error)}"]
    return Verification((*differences, *found), _count(to_plain(report)), files, unchecked)


def _load(folder: Path) -> Report:
    try:
        report = load_report((folder / "report.json").read_bytes())
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{folder}/report.json cannot be read by this version: {error!s:.500}\nwrite the report anew"
        ) from error
    return report


def _observe(stored: StoredReport, report: Report) -> Observations:
    """The tables as arrays."""
    runs = stored.tables["runs"]
    try:
        _check_seeds(report.info, runs)
        return observe(report.info, runs, stored.tables.get("curvature", pl.DataFrame(schema=CURVATURE_TYPES)))
    except (pl.exceptions.PolarsError, LookupError, ValueError, TypeError) as error:
        raise OutputError(
            f"tables/runs.parquet of {stored.folder} is no table of runs of the study in its report.json: "
            f"{_shown(error)}; write the report anew"
        ) from error


def _check_seeds(info: StudyInfo, runs: pl.DataFrame) -> None:
    """Arrays are as wide as the largest seed."""
    seeds = set(runs["seed"])
    if any(not isinstance(seed, int) or not 0 <= seed < info.seeds for seed in seeds):
        raise ValueError(f"seeds {sorted(seeds, key=repr)[-3:]} of a study with {info.seeds} seeds")


def _compute(stored: StoredReport, report: Report, observations: Observations, steps: Steps) -> Report:
    """The report that the tables give."""
    try:
        return make_report(observations, report.settings, report.environment, cache=PartCache.none(), steps=steps)
    # What was changed by hand may be anything, such as a tolerance of 2 or a column of texts.
    except Exception as error:
        raise StudyError(
            f"nothing can be computed from the tables of {stored.folder} with what its report.json says of the study: "
            f"{_shown(error)}; write the report anew"
        ) from error


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error) or 'no details'!s:.300}"


def _manifest_of(stored: StoredReport) -> dict[str, object]:
    """What the manifest says beside its mark and the files."""
    return {name: value for name, value in stored.manifest.items() if name not in ("kind", "files")}


def _check_hashes(stored: StoredReport) -> Iterator[str]:
    listed, found = stored.manifest["files"], hash_files(stored.folder)
    for name in dict.fromkeys([*listed, *found]):
        if name not in found:
            yield f"{name}: listed in the manifest, and missing"
        elif name not in listed:
            yield f"{name}: not listed in the manifest"
        elif listed[name] != found[name]:
            yield f"{name}: not the file that was written: its SHA-256 is not that of the manifest"


def _check_spec(report: Report, runs: pl.DataFrame) -> Iterator[str]:
    """What is said of a study of this service, where its spec says it too."""
    if report.info.source != "service":
        if report.info.spec is not None:
            yield "info.spec: studies that this service did not run have none"
        return
    try:
        spec = StudySpec.model_validate(report.info.spec)
    except ValidationError as error:
        yield f"info.spec: not a spec of this version: {error!s:.200}"
        return
    said = describe_spec(spec, pruned=runs.filter(pl.col("termination") == "pruned").height)
    info = to_plain(report)["info"]
    yield from find_differences({name: info[name] for name in said}, said, "info")
    trials = {(w, o): n for w, o, n in runs.group_by("workload", "optimizer").agg(pl.col("trial").n_unique()).rows()}
    cells = _CELLS.dump_python(describe_cells(spec, trials), mode="json")
    yield from find_differences(_with_known_defaults(info["cells"], cells), cells, "info.cells")


def _with_known_defaults(stored: list[dict[str, Any]], said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells without defaults that cannot be told here: those of a workload that is not defined on this machine."""
    unknown = {
        (cell["workload"], cell["optimizer"], axis["name"])
        for cell in said
        for axis in cell["axes"]
        if axis["default"] is None
    }
    return [
        cell
        | {
            "axes": [
                axis | {"default": None} if (cell["workload"], cell["optimizer"], axis["name"]) in unknown else axis
                for axis in cell["axes"]
            ]
        }
        for cell in stored
    ]


def _check_places(info: StudyInfo, runs: pl.DataFrame) -> Iterator[str]:
    """Places in the unit cube are those that the ranges of the axes give to the values."""
    for cell in info.cells:
        own = runs.filter((pl.col("workload") == cell.workload) & (pl.col("optimizer") == cell.optimizer))
        for axis in cell.axes:
            column = "budget" if axis.name == "epochs" else axis.name
            if column not in own.columns:
                continue
            for value, place in own.select(column, f"unit_{axis.name}").unique(maintain_order=True).iter_rows():
                if value is None or place is None:
                    continue
                there = to_unit(axis.spec, value)
                if there is None or abs(there - place) > _ROUNDING:
                    where = f"info.cells.{cell.workload}.{cell.optimizer}.{axis.name}"
                    yield f"{where}: {value!r} is at {place!r} in the table of runs, and at {there!r} in this range"
                    break


def _check_info(info: StudyInfo, runs: pl.DataFrame) -> Iterator[str]:
    """What is said of the study beside the runs, where the runs know it too."""
    diverged = runs.filter(pl.col("termination") == "diverged")
    for workload in info.workloads:
        levels = diverged.filter(pl.col("workload") == workload.name)["objective"].drop_nulls().unique().to_list()
        if workload.chance is not None and any(level != workload.chance for level in levels):
            place = f"info.workloads.{workload.name}.chance"
            yield f"{place}: the report says {workload.chance!r}, diverged runs have {levels}"
    cells = {(cell.workload, cell.optimizer): cell for cell in info.cells}
    for (workload_name, optimizer), part in runs.partition_by("workload", "optimizer", as_dict=True).items():
        cell = cells.pop((str(workload_name), str(optimizer)), None)
        trials = part["trial"].n_unique()
        if cell is None:
            yield f"tables/runs: {optimizer} on {workload_name} is in no cell of the report"
        elif trials > cell.planned:
            place = f"info.cells.{workload_name}.{optimizer}.planned"
            yield f"{place}: the report says {cell.planned}, there are {trials} trials"
    pending = runs["termination"].is_null().any()
    if info.state == "completed" and pending:
        yield f"info.state: the report says completed, and runs are {PENDING}"


def _check_files(
    stored: StoredReport, report: Report, observations: Observations, steps: Steps
) -> tuple[tuple[str, ...], int, list[str]]:
    """Everything written anew from ``report.json``: what could not be compared, how many were, what differs."""
    document = compose(report)
    pictures = draw_cached(list_figures(document), PartCache.none(), steps)
    same = _same_libraries(stored)
    unchecked, compared, differences = [], 0, []
    with tempfile.TemporaryDirectory(prefix="adai-verify-") as scratch:
        new = Path(scratch)
        write_files(report, observations, document, pictures, new, steps)
        made = {path.relative_to(new).as_posix(): path for path in sorted(new.rglob("*")) if path.is_file()}
        for name, path in made.items():
            if not same and path.suffix in _PICTURES:
                unchecked.append(name)
                continue
            compared += 1
            if not _is_same(stored.folder / name, path, with_pictures=same):
                differences.append(f"{name}: not what the numbers of the report give")
        differences += [f"{name}: not a file of a report" for name in hash_files(stored.folder) if name not in made]
    return tuple(unchecked), compared, differences


def _is_same(old: Path, new: Path, *, with_pictures: bool) -> bool:
    if not old.is_file():
        return False
    if new.suffix == ".html" and not with_pictures:
        pages = old.read_bytes(), new.read_bytes()
        own = not any(_FOREIGN.search(picture) for picture in _INLINE.findall(pages[0]))
        return own and _INLINE.sub(b"<svg/>", pages[0]) == _INLINE.sub(b"<svg/>", pages[1])
    if new.suffix != ".parquet":
        return old.read_bytes() == new.read_bytes()
    try:
        assert_frame_equal(pl.read_parquet(old), pl.read_parquet(new), check_exact=True)
    except (AssertionError, pl.exceptions.PolarsError, OSError):
        return False
    return True


def _same_libraries(stored: StoredReport) -> bool:
    then = stored.manifest.get("report_environment", {}).get("packages", {})
    return all(then.get(name) == installed_version(name) for name in _PICTURE_LIBRARIES)


def _count(plain: object) -> int:
    """Leaves of plain data."""
    if isinstance(plain, dict):
        return sum(_count(value) for value in plain.values())
    if isinstance(plain, list):
        return sum(_count(value) for value in plain)
    return 1
