"""A made report with what a real one has: sections in sections, wide and long tables, maps of many points."""

import functools
import os

import numpy as np
from matplotlib.axes import Axes

from study.axis import AxisSpec
from study.report.document import Column, Document, Figure, Section, Table
from study.report.drawing.style import COLOURS, LINES, Drawing, axis_label, draw_panels, set_ticks
from study.report.measures.missing import Missing

OPTIMIZERS = ("SGD", "SGDM", "Adam", "AdamW", "Adai", "AdaiV2")
LR = AxisSpec(low=1e-4, high=1.0, scale="log")


def draw_map(seed: int, panels: int, points: int) -> Drawing:
    """Maps of ``points`` points each, which say where they lie."""
    random = np.random.default_rng(seed)

    def fill(drawing: Drawing, axes: list[Axes]) -> None:
        for number, panel in enumerate(axes):
            x_N, y_N = random.random((2, points))
            loss_N = (x_N - 0.6) ** 2 + 0.3 * (y_N - 0.4) ** 2
            scatter = panel.scatter(x_N, y_N, c=loss_N, cmap="viridis_r", s=14, edgecolors="black", linewidths=0.3)
            set_ticks(LR, panel.set_xticks)
            panel.set_xlabel(axis_label("lr", LR))
            panel.set_ylabel("β₁ (log of 1 - β₁)")
            panel.set_title(f"{OPTIMIZERS[number]}: {points} points, 3 diverged")
            drawing.say(scatter, describe_points(x_N, y_N, loss_N))
        drawing.figure.colorbar(scatter, ax=axes, label="validation error")

    return draw_panels(1, panels, fill)


def describe_points(x_N: np.ndarray, y_N: np.ndarray, loss_N: np.ndarray) -> list[str]:
    """What the points of a map say."""
    return [
        f"trial {n}: lr = {10 ** (4 * x - 4):.4g}, beta1 = {y:.4g}\nvalidation error {loss:.4g}, 3 seeds"
        for n, (x, y, loss) in enumerate(zip(x_N, y_N, loss_N, strict=True))
    ]


def draw_curves(seed: int) -> Drawing:
    """Curves with bands, on a log axis."""
    random = np.random.default_rng(seed)

    def fill(_: Drawing, axes: list[Axes]) -> None:
        budget_K = np.arange(1, 65)
        for name, colour, line in zip(OPTIMIZERS, COLOURS, LINES, strict=False):
            curve_K = 0.1 + 0.5 * budget_K ** -random.uniform(0.3, 0.9)
            axes[0].plot(budget_K, curve_K, color=colour, linestyle=line, label=name)
            axes[0].fill_between(budget_K, curve_K * 0.95, curve_K * 1.05, color=colour, alpha=0.15, linewidth=0)
        axes[0].set_xscale("log", base=2)
        axes[0].set_xlabel("tuning budget (trials)")
        axes[0].set_ylabel("expected best validation error")
        axes[0].legend()

    return draw_panels(1, 1, fill, panel=(4.5, 3.0))


def make_table(name: str, *, numbers: int = 4, rows: int = 6, longest: int = 40) -> Table:
    """A table of optimizers with estimates and their intervals."""
    random = np.random.default_rng(len(name))
    columns = [
        Column("optimizer", "optimizer", "The optimizer, with the options that make it a variant.", "text"),
        Column("trials", "trials", "Finished trials of the design, without the default setting.", "integer"),
    ]
    for number in range(numbers):
        unit = "decades" if number == 1 else ""
        kind = ("percent", "number", "p", "number")[number % 4]
        ends = {"low": f"m{number}_low", "high": f"m{number}_high"} if kind != "p" else {}
        meaning = f"Measure {number} over the search space; a diverged run counts as chance level; 95% interval."
        columns.append(Column(f"m{number}", f"robust measure {number}", meaning, kind, unit, **ends))
        for end in ends.values():
            columns.append(Column(end, end, f"End of the interval of m{number}.", kind, unit, shown=False))
    cells = []
    for row in range(rows):
        cell: list[str | int | float | None] = [OPTIMIZERS[row % 6], 256 - row]
        for column in columns[2:]:
            value = float(random.random()) if row != 3 else None
            cell.append(value if column.kind != "p" or value is None else value**8)
        cells.append(tuple(cell))
    title = f"Robustness of each optimizer, {name}"
    note = "Intervals: 95%, bootstrap over trials. Diverged runs count as chance level."
    return Table(name, title, tuple(columns), tuple(cells), note, longest)


def make_map(name: str, seed: int, *, panels: int = 3, points: int = 256) -> Figure:
    """A figure of maps."""
    caption = f"{points} Sobol' points per optimizer, 3 seeds each; colour: mean validation error, 3 runs diverged."
    alt = f"{panels} maps. The best region is near a learning rate of 0.03 and wide for Adai."
    return Figure(
        name, f"Maps of the search space, {name}", caption, alt, functools.partial(draw_map, seed, panels, points)
    )


def make_curves(name: str, seed: int) -> Figure:
    """A figure of curves."""
    caption = "Bands: 95%, bootstrap over trials. Budgets of up to 64 trials."
    return Figure(
        name, f"Tuning curves, {name}", caption, "Adai is best from 4 trials on.", functools.partial(draw_curves, seed)
    )


def make_document(*, figures: int = 20, points: int = 256, title: str = "Robustness of optimizers: digits") -> Document:
    """Five sections, twelve tables, and so many figures."""
    titles = (
        "How robust is each optimizer?",
        "Maps of the search space",
        "Tuning budgets",
        "Interactions",
        "Comparisons",
    )
    per_section = [range(place, figures, 5) for place in range(5)]
    sections = []
    for number, heading in enumerate(titles):
        pictures = [
            make_map(f"map-{k}", k, points=points) if k % 4 < 3 else make_curves(f"curves-{k}", k)
            for k in per_section[number]
        ]
        parts = [
            Section(
                f"part-{number}-{part}",
                f"Part {part + 1}: {('validation error', 'test error')[part]}",
                ["Each number is over all seeds of a trial; diverged runs count as chance level (ε = 0.05)."],
                tables=[make_table(f"measures-{number}-{part}", numbers=(4, 12)[part], rows=(6, 60)[number == 1])],
                figures=pictures[part::2],
                missing=[Missing("ANOVA of AdaiV2", "its design is adaptive; run a Sobol' design.")] if part else [],
                sections=[Section(f"detail-{number}", "Detail", ["Deeper."], tables=[make_table(f"detail-{number}")])]
                if part and number < 2
                else [],
            )
            for part in range(2)
        ]
        text = (
            "Robustness is the share of the search space in which a trial is good (Sivaprasad et al. 2020, section 3)."
        )
        sections.append(Section(f"section-{number}", heading, [text], sections=parts))
    return Document(
        title,
        lead=[
            "6 optimizers on digits, 256 Sobol' points each, 3 seeds: 4,608 runs, of which 31 diverged and none failed."
        ],
        warnings=["AdaiV2 has 12 trials that have not ended: its numbers are of a part of its design."],
        summary=[
            "Adai has the widest good region: 31.2% [27.5%, 35.1%] of its search space is within 5% of the best.",
            "SGDM is within the noise of Adai when tuned with 32 trials (Holm-adjusted p = 0.21).",
        ],
        sections=sections,
        footer=["adai-study 0.1.0, report schema 2", "spec sha256 4f1d…, data sha256 91ab…"],
    )


def end_other_process(this: int) -> Drawing:
    """End the process that draws this, unless it is ``this``."""
    if os.getpid() == this:
        raise RuntimeError("drawn by the process that must not end")
    os._exit(3)
