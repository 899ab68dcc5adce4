"""Writes the files of a report, whole or not at all."""

from collections.abc import Callable, Mapping
from pathlib import Path

from study.report.composition import compose
from study.report.document import Document
from study.report.export import summarize_runs
from study.report.folder import check_output, replace_folder, write_manifest
from study.report.forms import list_figures, list_tables
from study.report.forms.data import write_data
from study.report.forms.html import render_html
from study.report.forms.latex import render_latex
from study.report.forms.markdown import render_markdown
from study.report.forms.pdf import render_pdf
from study.report.forms.pictures import Picture
from study.report.observations import Observations
from study.report.part_cache import PartCache
from study.report.picture_cache import draw_cached
from study.report.report import Report, dump_report
from study.report.steps import Steps
from study.report.table_files import write_table


def write_report(report: Report, observations: Observations, folder: Path, *, cache: PartCache, steps: Steps) -> Path:
    """Write a report to ``folder``; an earlier report there is moved away when the new one is whole.

    Args:
        report: What it says.
        observations: The tables that it was computed from.
        folder: Where it goes.
        cache: Pictures that were drawn before.
        steps: Told of every figure and file.

    Returns:
        The path of ``report.html``.

    Raises:
        OutputError: As for :func:`study.report.folder.check_output`.
    """
    check_output(folder)
    document = compose(report)
    pictures = draw_cached(list_figures(document), cache, steps)

    def fill(new: Path) -> None:
        write_files(report, observations, document, pictures, new, steps)
        write_manifest(new, describe_report(report))

    replace_folder(folder, fill)
    return folder / "report.html"


def write_files(
    report: Report,
    observations: Observations,
    document: Document,
    pictures: Mapping[str, Picture],
    folder: Path,
    steps: Steps,
) -> None:
    """Write every file but the manifest into an empty folder."""
    jobs: dict[str, Callable[[], object]] = {
        "figures": lambda: _write_pictures(pictures, folder / "figures"),
        "tables": lambda: _write_tables(observations, document, folder / "tables"),
        "report.json": lambda: (folder / "report.json").write_bytes(dump_report(report) + b"\n"),
        "report.html": lambda: _write_text(folder / "report.html", render_html(document, pictures)),
        "report.md": lambda: _write_text(folder / "report.md", render_markdown(document)),
        "report.pdf": lambda: (folder / "report.pdf").write_bytes(render_pdf(document, pictures)),
    }
    steps.start("writing", len(jobs))
    for name, job in jobs.items():
        job()
        steps.done(name)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_pictures(pictures: Mapping[str, Picture], folder: Path) -> None:
    folder.mkdir()
    for name, picture in pictures.items():
        for ending, content in picture.files.items():
            (folder / f"{name}.{ending}").write_bytes(content)


def _write_tables(observations: Observations, document: Document, folder: Path) -> None:
    folder.mkdir()
    write_data(document, folder)
    for table in list_tables(document):
        _write_text(folder / f"{table.name}.tex", render_latex(table))
    frames = {"runs": observations.runs, "trials": summarize_runs(observations.runs)}
    if observations.curvature.height:
        frames["curvature"] = observations.curvature
    for name, frame in frames.items():
        write_table([frame], folder / f"{name}.csv", "csv")
        write_table([frame], folder / f"{name}.parquet", "parquet")


def describe_report(report: Report) -> dict[str, object]:
    """What the report was made from and with, as its manifest says it."""
    info = report.info
    return {
        "study": info.name,
        "source": info.source,
        "spec": info.spec,
        "spec_hash": info.spec_hash,
        "tolerance": report.settings.tolerance,
        "rope": report.settings.rope,
        "runs": report.analysis.endings.total,
        "devices": sorted({device for cell in report.analysis.endings.cells for device in cell.devices}),
        "engines": sorted({engine for cell in report.analysis.endings.cells for engine in cell.engines}),
        "study_environment": info.environment,
        "report_environment": report.environment,
    }
