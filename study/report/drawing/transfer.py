"""Drawing, transfer between workloads: the performance-sensitivity plane, regrets, scores by number of tuned axes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from study.report.drawing.style import DIVERGED, Drawing, add_legend, draw_panels, look_of
from study.report.measures.robustness.dimensionality import ENOUGH, Dimensionality
from study.report.measures.robustness.transfer import HyperparameterSensitivity, TransferRegret
from study.report.observations import Floats

#: The scale of regrets ends here at least: less would make much of little.
_LEAST_TOP = 0.01


def draw_plane(rows: Sequence[HyperparameterSensitivity], reference: str, order: Sequence[str]) -> Drawing:
    """The performance-sensitivity plane: score when tuned for each workload over hyperparameter sensitivity.

    Args:
        rows: The optimizers.
        reference: Through which of them the line of slope 1 goes: below it, one shared setting scores lower.
        order: Names of all optimizers of the study: each has the same colour in all figures.
    """

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        axes = panels[0]
        for row in rows:
            _draw_optimizer(drawing, axes, row, order.index(row.optimizer))
        chosen = next(row for row in rows if row.optimizer == reference)
        corner = (chosen.sensitivity.value, chosen.tuned.value)
        axes.axline(corner, slope=1.0, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
        axes.axhline(corner[1], color="0.8", linewidth=0.8, zorder=0)
        axes.axvline(corner[0], color="0.8", linewidth=0.8, zorder=0)
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        axes.set_xlabel("hyperparameter sensitivity (score)")
        axes.set_ylabel("score, tuned for each workload")
        add_legend(drawing, axes)

    return draw_panels(1, 1, draw, panel=(4.2, 3.6))


def _draw_optimizer(drawing: Drawing, axes: Axes, row: HyperparameterSensitivity, place: int) -> None:
    look = look_of(place)
    colour, marker = look.colour, look.marker
    x, y = row.sensitivity, row.tuned
    if x.low is not None and x.high is not None:
        axes.plot([x.low, x.high], [y.value, y.value], color=colour, linewidth=0.8)
    if y.low is not None and y.high is not None:
        axes.plot([x.value, x.value], [y.low, y.high], color=colour, linewidth=0.8)
    points = axes.scatter([x.value], [y.value], color=colour, marker=marker, s=30, label=row.title, zorder=3)
    drawing.say(points, [f"{row.title}: tuned {y.value:.3g}, shared {row.shared.value:.3g}, sensitivity {x.value:.3g}"])


def draw_regrets(rows: Sequence[TransferRegret], workloads: Sequence[str]) -> Drawing:
    """Relative transfer regrets: a panel for each optimizer, rows are sources, columns targets, on one scale.

    Args:
        rows: Of all optimizers, by optimizer; at least one has a relative regret.
        workloads: Their order.
    """
    titles = list(dict.fromkeys(row.title for row in rows))
    columns = min(3, len(titles))
    lines = -(-len(titles) // columns)
    top = max(max(row.relative.value for row in rows if row.relative is not None), _LEAST_TOP)
    side = 0.9 + 0.42 * len(workloads)

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        image = None
        for place, axes in enumerate(panels):
            if place >= len(titles):
                axes.remove()
                continue
            regret_WW = _matrix([row for row in rows if row.title == titles[place]], workloads)
            image = axes.imshow(regret_WW, cmap=DIVERGED, vmin=0.0, vmax=top)
            _write_regrets(axes, regret_WW, top)
            axes.set_title(titles[place])
            bottom = place + columns >= len(titles)
            axes.set_xticks(range(len(workloads)), labels=workloads if bottom else [], rotation=30, ha="right")
            axes.set_yticks(range(len(workloads)), labels=workloads if place % columns == 0 else [])
            axes.set_xlabel("used on" if bottom else "")
            axes.set_ylabel("tuned on" if place % columns == 0 else "")
        assert image is not None  # noqa: S101 - narrows the type: there is a row
        bar = drawing.figure.colorbar(image, ax=panels[: len(titles)], shrink=0.8, format=PercentFormatter(1.0))
        bar.set_label("regret, of L0 - L*")

    return draw_panels(lines, columns, draw, panel=(side + 0.3, side))


def _matrix(rows: Sequence[TransferRegret], workloads: Sequence[str]) -> Floats:
    regret_WW = np.full((len(workloads), len(workloads)), np.nan)
    for row in rows:
        if row.relative is not None:
            regret_WW[workloads.index(row.source), workloads.index(row.target)] = row.relative.value
    return regret_WW


def _write_regrets(axes: Axes, regret_WW: Floats, top: float) -> None:
    for (source, target), value in np.ndenumerate(regret_WW):
        text = f"{value:.1%}" if np.isfinite(value) else "-" if source == target else "?"
        colour = "white" if np.isfinite(value) and value > 0.6 * top else "black"
        axes.text(target, source, text, ha="center", va="center", fontsize=7, color=colour)


def draw_dimensionality(rows: Sequence[Dimensionality], order: Sequence[str]) -> Drawing:
    """Score over the number of axes that are tuned for each workload; a ring where it is enough."""

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        axes = panels[0]
        for row in rows:
            look, counts = look_of(order.index(row.optimizer)), list(range(len(row.scores)))
            colour, marker, line = look.colour, look.marker, look.line
            axes.plot(counts, row.scores, color=colour, linestyle=line)
            axes.plot([], [], color=colour, linestyle=line, marker=marker, markersize=4, label=row.title)
            points = axes.scatter(counts, row.scores, color=colour, marker=marker, s=18, zorder=3)
            texts = [", ".join(names) or "none" for names in row.tuned_axes]
            drawing.say(points, [f"{row.title}: {s:.3g}, tuned {t}" for s, t in zip(row.scores, texts, strict=True)])
            ring = [row.effective], [row.scores[row.effective]]
            axes.scatter(*ring, facecolor="none", edgecolor="black", s=70, zorder=4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("axes tuned for each workload")
        axes.set_ylabel(f"score (ring: {ENOUGH:.0%} of all tuned)")
        add_legend(drawing, axes)

    return draw_panels(1, 1, draw, panel=(4.2, 3.2))
