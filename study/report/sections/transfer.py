"""Sections, transfer between workloads."""

from collections.abc import Sequence
from functools import partial

from study.report.document import Column, Figure, Section, Table
from study.report.drawing.transfer import draw_dimensionality, draw_plane, draw_regrets
from study.report.measures.robustness.dimensionality import ENOUGH, Dimensionality
from study.report.measures.robustness.transfer import HyperparameterSensitivity, TransferRegret, TransferTable
from study.report.observations import StudyInfo
from study.report.sections.interval_columns import KEYS, cells_of, with_interval
from study.report.sections.names import count_of, count_points

_REGRET = (
    "Transfer regret, a measure of our own, is what it costs to take the setting that is best on one workload to "
    "another one, instead of the optimizer's best there. Both are minima over noisy means on the same seeds, so that "
    "the regret errs on the high side; held out, the trials are selected without the seed that they are read at."
)
_SENSITIVITY = (
    "Hyperparameter sensitivity (Adkins, Bowling and White 2024, arXiv 2412.07165): the mean over workloads of the "
    "score that is reached when tuned on each, less that of the best single setting for all. A score of 0 is the 95th "
    "percentile of the losses of all optimizers' points on the workload, 1 the 5th. Unlike the paper's code, settings "
    "that diverge are not dropped: they are at chance level. Scores depend on which optimizers are in the study."
)
_DIMENSIONALITY = (
    "Effective dimensionality (the same paper): the least number of axes that must be tuned for each workload, with "
    f"the others at the best shared setting, to reach {ENOUGH:.0%} of the score with all tuned. It is exact on full "
    "grids; elsewhere trials with such settings do not exist, and surrogates stand in, with their R2."
)


def tell_transfer(transfer: TransferTable, info: StudyInfo) -> Section:
    """Whether settings of one workload serve on others.

    Args:
        transfer: Between all workloads.
        info: What is known of the study.
    """
    tables = [_regrets(transfer), _sensitivities(transfer), _dimensionalities(transfer)]
    return Section(
        id="transfer",
        title="Transfer between workloads",
        paragraphs=[_REGRET, _SENSITIVITY, _DIMENSIONALITY] if len(transfer.workloads) > 1 else [],
        tables=[table for table in tables if table.rows],
        figures=_figures(transfer, info),
        missing=transfer.missing,
    )


def _regrets(transfer: TransferTable) -> Table:
    columns = (
        *KEYS[1:],
        Column("source", "tuned on", "Workload on which the setting is the optimizer's best.", "text"),
        Column("target", "used on", "Workload on which it is used.", "text"),
        Column("trial", "trial", "Number of the setting's trial, the same on both; 0 is the default.", "integer"),
        Column("runs", "runs", "Its runs on the target.", "integer", shown=False),
        Column("runs_diverged", "diverged", "How many of them diverged; each is at chance level.", "integer"),
        *with_interval(
            "regret",
            "regret",
            "Mean of that trial on the target less that of the optimizer's best trial there; interval: Student's t "
            "over paired seeds, or Welch's; none where it is that trial.",
        ),
        *with_interval(
            "regret_relative",
            "regret, of L0 - L*",
            "regret / (L0 - L*) on the target, with L* of any optimizer; empty if nothing beats L0 there.",
            "percent",
        ),
        *with_interval(
            "regret_held_out",
            "regret, held out",
            "The same with both trials selected without the seed that they are read at; Student's t over seeds; can be "
            "below 0.",
        ),
    )
    rows = tuple(
        (
            *(row.optimizer, row.title, row.source, row.target, row.trial, row.runs, row.runs_diverged),
            *cells_of(row.regret),
            *cells_of(row.relative),
            *cells_of(row.held_out),
        )
        for row in transfer.regrets
    )
    note = "Diverged runs count as chance level. Intervals take the choice of the trials as given, except held out."
    return Table("transfer-regret", "Transfer regret", columns, rows, note=note)


def _sensitivities(transfer: TransferTable) -> Table:
    jackknife = "jackknife over seeds, none with one seed"
    columns = (
        *KEYS[1:],
        Column("settings", "settings", "Points of the design that have finished on every workload.", "integer"),
        Column("settings_diverged", "diverged", "How many of them have a diverged run somewhere.", "integer"),
        *with_interval("tuned", "tuned per workload", f"Mean over workloads of the best score on each; {jackknife}."),
        *with_interval("shared", "best shared", f"Best mean score of one setting over workloads; {jackknife}."),
        *with_interval("sensitivity", "sensitivity", f"tuned - shared, at least 0; {jackknife}."),
        Column("shared_trial", "shared trial", "Number of the best shared setting.", "integer"),
        *with_interval(
            "tuned_held_out",
            "tuned, held out",
            "tuned, with settings selected without the seed that they are read at; Student's t over seeds.",
        ),
        *with_interval(
            "sensitivity_held_out",
            "sensitivity, held out",
            "The same for the sensitivity, which can be below 0: without the optimism of two maxima over noise.",
        ),
    )
    rows = tuple(
        (
            *(row.optimizer, row.title, row.settings, row.settings_diverged),
            *cells_of(row.tuned),
            *cells_of(row.shared),
            *cells_of(row.sensitivity),
            row.shared_trial,
            *cells_of(row.tuned_held_out),
            *cells_of(row.sensitivity_held_out),
        )
        for row in transfer.sensitivities
    )
    workloads = ", ".join(transfer.workloads)
    note = f"Workloads: {workloads}. Scores are means over seeds. Diverged runs count at chance level, none is dropped."
    return Table("hyperparameter-sensitivity", "Hyperparameter sensitivity", columns, rows, note=note)


def _dimensionalities(transfer: TransferTable) -> Table:
    columns = (
        *KEYS[1:],
        Column("axes", "axes", "Axes that vary.", "integer"),
        Column(
            "effective",
            "effective dimensionality",
            f"Least number of axes to tune for each workload to reach {ENOUGH:.0%} of the score of all tuned.",
            "integer",
        ),
        Column("exact", "exact", "Whether scores are those of trials of a full grid; else of surrogates.", "truth"),
        Column("r2", "lowest R2", "Lowest cross-validated R2 of the surrogates of the workloads; empty for grids."),
        Column("shared_trial", "shared trial", "Number of the setting that untuned axes are held at.", "integer"),
        Column("tuned", "axes tuned", "How many axes are tuned for each workload in this row.", "integer"),
        Column("tuned_axes", "which", "The axes that bring the most then; the first among equals.", "text"),
        Column("score", "score", "Mean score over workloads with these tuned. Diverged runs count at chance level."),
    )
    rows = tuple(
        (
            *(row.optimizer, row.title, len(row.axes), row.effective, row.exact, min(row.r2, default=None)),
            *(row.shared_trial, count, ", ".join(names), score),
        )
        for row in transfer.dimensionalities
        for count, (names, score) in enumerate(zip(row.tuned_axes, row.scores, strict=True))
    )
    note = "Without intervals: maxima over means of the same seeds."
    return Table("effective-dimensionality", "Effective dimensionality", columns, rows, note=note)


def _figures(transfer: TransferTable, info: StudyInfo) -> list[Figure]:
    order = tuple(dict.fromkeys(cell.optimizer for cell in info.cells))
    figures = []
    if transfer.sensitivities:
        figures.append(_plane_figure(transfer.sensitivities, transfer.workloads, info, order))
    if transfer.dimensionalities:
        figures.append(_dimensionality_figure(transfer.dimensionalities, order))
    if any(row.relative is not None for row in transfer.regrets):
        figures.append(_regret_figure(transfer.regrets, transfer.workloads, info))
    return figures


def _plane_figure(
    rows: tuple[HyperparameterSensitivity, ...], workloads: Sequence[str], info: StudyInfo, order: tuple[str, ...]
) -> Figure:
    reference = rows[0]
    counts = count_points([(row.title, row.settings, row.settings_diverged) for row in rows])
    return Figure(
        name="performance-sensitivity-plane",
        title="Performance-sensitivity plane",
        caption=f"Up is better when tuned, left needs less tuning. Dashed: equal score with one shared setting as "
        f"{reference.title}; above it better, below it worse. Whiskers: jackknife over {count_of(info.seeds, 'seed')}. "
        f"Workloads: {', '.join(workloads)}. {counts}.",
        alt="Score tuned for each workload over hyperparameter sensitivity: "
        + "; ".join(f"{r.title} {r.tuned.value:.3g} over {r.sensitivity.value:.3g}" for r in rows)
        + ".",
        draw=partial(draw_plane, rows, reference.optimizer, order),
    )


def _dimensionality_figure(rows: tuple[Dimensionality, ...], order: tuple[str, ...]) -> Figure:
    counts = ", ".join(f"{row.title} {row.effective} of {len(row.axes)}" for row in rows)
    return Figure(
        name="effective-dimensionality",
        title="Score by the number of tuned axes",
        caption="Other axes are held at the best shared setting. Ring: the effective dimensionality. Diverged runs "
        "count at chance level. Exact on full grids, else by surrogates (see the table).",
        alt=f"Scores over the number of axes tuned for each workload; effective dimensionality: {counts}.",
        draw=partial(draw_dimensionality, rows, order),
    )


def _regret_figure(rows: tuple[TransferRegret, ...], workloads: tuple[str, ...], info: StudyInfo) -> Figure:
    worst = max(rows, key=lambda row: 0.0 if row.relative is None else row.relative.value)
    value = 0.0 if worst.relative is None else worst.relative.value
    diverged = sum(row.runs_diverged for row in rows)
    return Figure(
        name="transfer-regrets",
        title="Transfer regret of each optimizer",
        caption=f"Regret of the setting tuned on one workload and used on another, of L0 - L* there; means over "
        f"{count_of(info.seeds, 'seed')}; {diverged} of {sum(row.runs for row in rows)} runs diverged, at chance "
        "level. '?': unknown.",
        alt=f"Matrices of transfer regrets; the highest is {value:.0%}, of {worst.title} from {worst.source} to "
        f"{worst.target}.",
        draw=partial(draw_regrets, rows, workloads),
    )
