"""Draws sharpness against learning rate and test error, and between optimizers at equal training loss."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from matplotlib.axes import Axes

from study.report.drawing.style import COLOURS, Drawing, add_legend, draw_panels, look_of, set_log_ticks
from study.report.measures.flatness.flatness import QUANTITIES, CellFlatness, FlatPoint
from study.report.measures.flatness.matched_loss import LossMatched

#: Names with units, as axes show them.
LABELS = {
    "top_eigenvalue": "largest eigenvalue",
    "trace": "trace of the Hessian",
    "sam_sharpness": "SAM sharpness, nats",
    "asam_sharpness": "ASAM sharpness, nats",
}
#: Inches of one scatter, of one row of whiskers, and of what is above and below.
_SCATTER = (3.3, 2.3)
_ROW, _AROUND, _WIDTH = 0.24, 0.9, 2.5

#: No optimizer has another title than its name.
EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Names:
    """The optimizers of a study in their order, and what people call them."""

    optimizers: tuple[str, ...]
    titles: Mapping[str, str]

    def of(self, optimizer: str) -> str:
        """Its title, or its name."""
        return self.titles.get(optimizer, optimizer)


def draw_sharpness(
    cells: tuple[CellFlatness, ...], optimizers: tuple[str, ...], titles: Mapping[str, str] = EMPTY
) -> Drawing:
    """Every measured trial of a workload: sharpness over learning rate, and over test error.

    Args:
        cells: Of one workload.
        optimizers: All of the study, so that each has one colour everywhere.
        titles: What people call them; a name stands for itself.
    """
    names = _Names(optimizers, titles)

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        for place, quantity in enumerate(QUANTITIES):
            _draw_quantity(drawing, (panels[2 * place], panels[2 * place + 1]), cells, names, quantity)
        add_legend(drawing, panels[0])

    return draw_panels(len(QUANTITIES), 2, draw, panel=_SCATTER)


def _draw_quantity(
    drawing: Drawing,
    pair: tuple[Axes, Axes],
    cells: tuple[CellFlatness, ...],
    names: _Names,
    quantity: str,
) -> None:
    left, right = pair
    place = QUANTITIES.index(quantity)
    outcome = " or ".join(dict.fromkeys(cell.outcome for cell in cells))
    for panel, by_lr, label in ((left, True, "learning rate"), (right, False, outcome)):
        drawn, unshown, positive = 0, 0, True
        for cell in cells:
            points = [(_across(point, by_lr=by_lr), point.sharpness[place], point) for point in cell.points]
            known = [(x, y, point) for x, y, point in points if x is not None and y is not None]
            shown = [(x, y, point) for x, y, point in known if y > 0 and (x > 0 or not by_lr)]
            unshown += len(known) - len(shown)
            drawn += len(shown)
            positive = positive and all(x > 0 for x, _, _ in shown)
            _scatter(drawing, panel, cell, names, shown)
        panel.set_xlabel(label)
        panel.set_ylabel(LABELS[quantity])
        if drawn:
            panel.set_yscale("log")
            set_log_ticks(panel.yaxis)
            if positive:
                panel.set_xscale("log")
                set_log_ticks(panel.xaxis)
        else:
            panel.set_xticks([])
            panel.set_yticks([])
            panel.text(0.5, 0.5, "nothing to draw", transform=panel.transAxes, ha="center", color="#555555")
        diverged, runs = sum(cell.diverged for cell in cells), sum(cell.runs for cell in cells)
        lost = f"; {unshown} not above 0" if unshown else ""
        panel.set_title(f"{drawn} trials; {diverged} of {runs} runs diverged{lost}", fontsize=7.5)


def _across(point: FlatPoint, *, by_lr: bool) -> float | None:
    return point.lr if by_lr else point.outcome


def _scatter(
    drawing: Drawing,
    panel: Axes,
    cell: CellFlatness,
    names: _Names,
    shown: Sequence[tuple[float, float, FlatPoint]],
) -> None:
    look = look_of(names.optimizers.index(cell.optimizer))
    dots = panel.scatter(
        [x for x, _, _ in shown],
        [y for _, y, _ in shown],
        s=14,
        marker=look.marker,
        color=look.colour,
        alpha=0.8,
        linewidths=0.3,
        edgecolors="white",
        label=names.of(cell.optimizer),
    )
    drawing.say(dots, [_say(cell, names.of(cell.optimizer), y, point) for _, y, point in shown])


def _say(cell: CellFlatness, title: str, sharpness: float, point: FlatPoint) -> str:
    numbers = [("lr", point.lr), (cell.outcome, point.outcome), ("training loss", point.loss), ("sharpness", sharpness)]
    texts = [f"{name} {value:.4g}" for name, value in numbers if value is not None]
    return f"{title}, trial {point.trial}: {', '.join(texts)}"


def draw_matched(pairs: tuple[LossMatched, ...], titles: Mapping[str, str] = EMPTY) -> Drawing:
    """Ratios of sharpness at equal training loss, one panel for each measure; whiskers are intervals of the median."""
    names = list(dict.fromkeys((pair.first, pair.second) for pair in pairs))
    labels = [f"{titles.get(first, first)} / {titles.get(second, second)}" for first, second in names]

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        for panel, quantity in zip(panels, QUANTITIES, strict=True):
            for pair in pairs:
                if pair.quantity == quantity and pair.ratio is not None:
                    _draw_pair(drawing, panel, names.index((pair.first, pair.second)), pair)
            panel.axvline(1.0, color="#555555", linestyle=":", linewidth=0.8, zorder=0)
            panel.set_xscale("log")
            low, high = panel.get_xlim()
            # A decade at least: less makes much of little.
            reach = max(abs(math.log10(low)), abs(math.log10(high)), 0.5)
            panel.set_xlim(10**-reach, 10**reach)
            set_log_ticks(panel.xaxis)
            panel.set_ylim(len(names) - 0.5, -0.5)
            panel.set_yticks(range(len(names)), labels=labels if panel is panels[0] else [])
            panel.set_xlabel(f"ratio of {LABELS[quantity].split(',')[0]}")
        panels[0].set_title(f"{len(names)} pairs of optimizers; filled: a difference was shown", loc="left")

    return draw_panels(1, len(QUANTITIES), draw, panel=(_WIDTH, _ROW * len(names) + _AROUND))


def _draw_pair(drawing: Drawing, panel: Axes, row: int, pair: LossMatched) -> None:
    ratio = pair.ratio
    assert ratio is not None  # noqa: S101 - narrows the type: the caller has looked
    colour = COLOURS[0]
    if ratio.low is not None and ratio.high is not None:
        panel.plot([ratio.low, ratio.high], [row, row], color=colour, zorder=1)
    shown = pair.verdict.endswith("is flatter")
    dot = panel.scatter([ratio.value], [row], s=22, color=colour if shown else "white", edgecolors=colour, zorder=2)
    interval = "" if ratio.low is None else f" [{ratio.low:.3g}, {ratio.high:.3g}]"
    drawing.say(
        dot,
        [f"{pair.first} / {pair.second}: {ratio.value:.3g}{interval}, {pair.pairs} pairs of trials: {pair.verdict}"],
    )
