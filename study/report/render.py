"""Writes a report folder: HTML, Markdown, figures, tables and a manifest, whole or not at all."""

import base64
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from sqlalchemy import Engine

from study.axis import AxisSpec, Value, format_value
from study.design_spec import DesignSpec
from study.errors import FailedTrialsError, OutputError, StudyError
from study.provenance import describe_environment
from study.report import export, figures
from study.report.landscape import Landscape, build_landscape
from study.report.robustness import CONFIDENCE, RobustnessTable, Share, count_failed_trials, measure_robustness
from study.report.table_files import write_table
from study.report.trials import TrialSummary, count_points, summarize_trials
from study.search_space import OptimizerSpec
from study.spec import StudySpec
from study.storage.progress import Failures, read_failures
from study.storage.records import RunRecord, StudyRecord, find_study, read_runs, stream_curvature
from study.training import SCHEDULE, TRAINING_AXES
from workers.messages import Termination
from workers.workloads import Workload, WorkloadSourceError

MANIFEST = "manifest.json"
_MARKER = "adai-study report"
_UNKNOWN = "-"
#: Kinds of failure that a report shows.
_FAILURES_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report says, before it is drawn or written.

    Attributes:
        study: The study.
        runs: All its runs.
        robustness: The comparison of optimizers.
        landscapes: One per workload and optimizer that has a finished design point.
        terminations: How many runs ended how; key None for those that have not.
        failures: Attempts that brought no result for a reason.
        curvature: Every measurement of the loss surface, as :func:`study.storage.records.stream_curvature` gives them.
    """

    study: StudyRecord
    runs: Sequence[RunRecord]
    robustness: RobustnessTable
    landscapes: Sequence[Landscape]
    terminations: dict[Termination | None, int]
    failures: Failures
    curvature: Sequence[tuple[Any, ...]]

    def count_failed_trials(self) -> int:
        """Trials that have no result and never will."""
        return count_failed_trials(self.runs)


def build_report(engine: Engine, name: str, *, tolerance: float) -> Report:
    """Read a study and compute its report.

    Args:
        engine: The database.
        name: Of the study.
        tolerance: A point is near the best if its mean objective is at most this many times the best's.

    Raises:
        UnknownStudyError: There is no such study.
        StudyError: No trial of it has finished.
    """
    with engine.connect() as connection:
        study = find_study(connection, name)
        runs = read_runs(connection, study.id)
        failures = read_failures(connection, study.id, limit=_FAILURES_SHOWN)
        curvature = list(stream_curvature(connection, study.id))
    summaries = summarize_trials(runs)
    if not summaries:
        if failures.kinds:
            raise FailedTrialsError(
                f"no trial of study {name!r} has a result, so there is nothing to report: {failures.attempts} attempts "
                f"failed, most of them with: {failures.kinds[0].reason or 'unknown'}\n"
                f"see all with: adai-study status {name}"
            )
        raise StudyError(
            f"no trial of study {name!r} has finished, so there is nothing to report; "
            f"run it with: adai-study resume {name}"
        )
    return Report(
        study=study,
        runs=runs,
        robustness=measure_robustness(study.spec, runs, tolerance=tolerance),
        landscapes=_build_landscapes(study, runs, summaries),
        terminations=_count_terminations(runs),
        failures=failures,
        curvature=curvature,
    )


def check_output(folder: Path) -> None:
    """See that a report can be written to ``folder``, without leaving anything there.

    Raises:
        OutputError: It is a file, a folder of something else, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder for the report with --out")
    try:
        if Path.cwd().is_relative_to(folder.resolve()):
            raise OutputError(f"{folder} is or holds the current directory; name a folder of its own with --out")
        foreign = _foreign_files(folder)
        if foreign:
            raise OutputError(
                f"{folder} holds what is not part of a report of this program, such as {foreign[0]}; "
                "name another folder with --out"
            )
        parent = folder.absolute().parent
        while not parent.exists():
            parent = parent.parent
        with tempfile.TemporaryDirectory(dir=parent, prefix=".adai-study-"):
            pass
    except OSError as error:
        raise _not_writable(folder, error) from error


def _foreign_files(folder: Path) -> list[str]:
    """Files in ``folder`` that an earlier report there does not list as its own."""
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        own = {MANIFEST, *manifest["files"]} if manifest["kind"] == _MARKER else set()
    except (OSError, ValueError, KeyError, TypeError):
        own = set()
    return sorted(files - own)


def write_report(report: Report, folder: Path) -> Path:
    """Write ``report`` to ``folder``; an earlier report there is moved away when the new one is whole.

    Returns:
        The path of ``report.html``.

    Raises:
        OutputError: As for :func:`check_output`.
    """
    check_output(folder)
    target = folder.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
            new = Path(scratch) / "new"
            _write_files(report, new)
            if target.exists():
                target.replace(Path(scratch) / "old")
            new.replace(target)
    except OSError as error:
        raise _not_writable(folder, error) from error
    return folder / "report.html"


def _write_files(report: Report, folder: Path) -> None:
    (folder / "figures").mkdir(parents=True)
    images = _draw_figures(report)
    for name, png in images.items():
        (folder / "figures" / name).write_bytes(png)
    frames = {
        "robustness": export.robustness_frame(report.robustness),
        "trials": export.trials_frame(report.study, report.runs),
        "runs": export.runs_frame(report.study, report.runs),
    }
    if report.curvature:
        frames["curvature"] = export.curvature_frame(report.study, report.curvature)
    for name, frame in frames.items():
        write_table([frame], folder / "tables" / f"{name}.csv", "csv")
    context = _context(report, images)
    for template in ("report.html", "report.md"):
        (folder / template).write_text(_templates().get_template(f"{template}.j2").render(context), encoding="utf-8")
    manifest = _manifest(report, folder)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    shutil.copymode(folder.parent.parent, folder)  # the scratch folder was private to this user


def _build_landscapes(
    study: StudyRecord, runs: Sequence[RunRecord], summaries: Sequence[TrialSummary]
) -> list[Landscape]:
    if study.spec.pruning.kind != "none":
        return []  # a map would show the survivors' colours where others were stopped
    landscapes = [
        build_landscape(
            workload,
            optimizer,
            summaries,
            objective=study.spec.objective,
            planned=count_points(study.spec, runs, workload, optimizer.name),
        )
        for workload in study.spec.workloads
        for optimizer in study.spec.optimizers
    ]
    return [landscape for landscape in landscapes if landscape.points]


def _count_terminations(runs: Sequence[RunRecord]) -> dict[Termination | None, int]:
    kinds: list[Termination | None] = [*Termination, None]
    counts = {kind: sum(run.termination is kind for run in runs) for kind in kinds}
    return {kind: count for kind, count in counts.items() if count}


def _draw_figures(report: Report) -> dict[str, bytes]:
    """File name -> PNG, the overview of each workload first."""
    images: dict[str, bytes] = {}
    for workload in report.study.spec.workloads:
        here = [landscape for landscape in report.landscapes if landscape.workload == workload]
        if here:
            images[f"{workload}.png"] = figures.draw_overview(here)
        for landscape in here:
            images[_figure_name(landscape)] = figures.draw_landscape(landscape)
    return images


def _figure_name(landscape: Landscape) -> str:
    return f"{landscape.workload}-{landscape.optimizer}.png"


def _context(report: Report, images: dict[str, bytes]) -> dict[str, Any]:
    embedded = {name: "data:image/png;base64," + base64.b64encode(png).decode() for name, png in images.items()}
    return {
        "report": report,
        "study": report.study,
        "spec": report.study.spec,
        "confidence": f"{CONFIDENCE:.0%}",
        "embedded": embedded,
        "environment": report.study.environment,
        "ended": sum(count for kind, count in report.terminations.items() if kind is not None),
    }


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("study.report"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["mean_sd"] = _mean_sd
    environment.filters["share"] = _format_share
    environment.filters["percent"] = _format_percent
    environment.filters["number"] = _format_number
    environment.filters["setting"] = _format_setting
    environment.globals["describe_axis"] = _describe_axis
    environment.globals["describe_design"] = _describe_design
    environment.globals["list_cautions"] = _list_cautions
    environment.globals["figure_name"] = _figure_name
    environment.globals["describe_training"] = _describe_training
    environment.globals["find_workload"] = _find_workload
    environment.globals["describe_default"] = _describe_default
    return environment


def _list_cautions(report: Report) -> list[str]:
    """What a reader must know before comparing optimizers of this study."""
    spec = report.study.spec
    cautions = []
    if spec.design.is_adaptive:
        cautions.append(
            f"Points were proposed by {spec.design.kind} from the results of earlier ones: they are no draws from the "
            "search space, so there are no medians or shares, and maps show where the sampler looked."
        )
    if spec.pruning.kind != "none":
        pruned = report.terminations.get(Termination.PRUNED, 0)
        cautions.append(
            f"Trials were stopped early by {spec.pruning.kind} ({pruned} runs were): stopped trials are in no "
            "comparison, so there are no medians, shares or maps; the best is the best of the others."
        )
    if spec.design.second_objective is not None:
        cautions.append(
            f"The study has a second objective, {spec.design.second_objective}: what stands here is about the first "
            f"one, {spec.objective}, alone. Optuna's study has both."
        )
    return cautions


def _find_workload(spec: StudySpec, name: str) -> Workload | None:
    """The workload's definition; None where it came from a file or package that is not usable here any more."""
    try:
        return spec.workload(name)
    except (KeyError, WorkloadSourceError):
        return None


def _describe_training(spec: StudySpec, workload: str) -> str:
    """Epochs, batch size and everything else that is not the workload's own, and whose trials have their own."""
    defined = _find_workload(spec, workload)
    parts = {
        "epochs": f"{spec.epochs or (defined.epochs if defined else _UNKNOWN)} epochs",
        "batch_size": f"batch size {spec.training.batch_size or (defined.batch_size if defined else _UNKNOWN)}",
    }
    changed = spec.training.model_dump(exclude_defaults=True)
    parts |= {name: f"{name} = {value}" for name, value in changed.items() if name != "batch_size"}
    for name in (*TRAINING_AXES, SCHEDULE):
        varied = [optimizer.title for optimizer in spec.optimizers if name in optimizer.axes]
        if varied:
            parts[name] = f"{parts.get(name, name)} (an axis of {', '.join(varied)})"
    return ", ".join(parts.values())


def _describe_default(optimizer: OptimizerSpec, name: str) -> tuple[str, str]:
    """The default of an axis or a fixed hyperparameter, and its source."""
    if name in TRAINING_AXES or name == SCHEDULE:
        return _UNKNOWN, "as the workload is trained without the axis"
    if name in optimizer.rule.options:
        return _format_setting(optimizer.rule.options[name]), "the usual variant"
    hyperparameter = next(h for h in optimizer.hyperparameters if h.name == name)
    return _format_setting(hyperparameter.default), hyperparameter.source


def _describe_axis(axis: AxisSpec) -> tuple[str, str, str]:
    """Low and high or the choices, the scale, and the condition."""
    condition = f", when {axis.when}" if axis.when else ""
    if axis.is_categorical:
        return ", ".join(format_value(choice) for choice in axis.choices), "", f"choices{condition}"
    low, high = axis.ends
    return format_value(low), format_value(high), f"{axis.scale}{condition}"


def _describe_design(design: DesignSpec) -> str:
    """Such as ``32 sobol points``."""
    if design.levels is not None:
        return f"{design.kind} points of {design.levels} levels"
    return f"{design.points} {design.kind} points"


def _format_number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4g}"


def _format_setting(value: Value | None) -> str:
    """A hyperparameter; one that the variant of a trial lacks is unknown."""
    return _UNKNOWN if value is None else format_value(value)


def _mean_sd(mean: float | None, sd: float | None) -> str:
    """``mean ± sd``, or what of it is known."""
    if mean is None:
        return _UNKNOWN
    return f"{mean:.4g}" if sd is None else f"{mean:.4g} ± {sd:.2g}"


def _format_share(share: Share | None) -> str:
    if share is None:
        return _UNKNOWN
    return f"{share.count}/{share.total} = {share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"


def _format_percent(count: int, total: int) -> str:
    return f"{count / total:.0%}"


def _manifest(report: Report, folder: Path) -> dict[str, Any]:
    """What the report was made from and with, and the hash of each file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "kind": _MARKER,
        "study": report.study.name,
        "spec": report.study.spec.model_dump(mode="json"),
        "spec_hash": report.study.spec.hash,
        "tolerance": report.robustness.tolerance,
        "runs": {("pending" if k is None else k.name.lower()): n for k, n in report.terminations.items()},
        "devices": sorted({run.device for run in report.runs if run.device}),
        "engines": sorted({run.engine for run in report.runs if run.engine}),
        "study_environment": report.study.environment,
        "report_environment": describe_environment(),
        "files": {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }


def _not_writable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"the report cannot be written to {folder} ({error.strerror or error}); name another folder with --out"
    )
