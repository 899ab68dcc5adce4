"""Pictures of tests: differences with their intervals, critical differences of ranks, posterior probabilities."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from study.report.drawing.style import COLOURS, Drawing, draw_panels
from study.report.measures.comparison.paired_tests import ALPHA
from study.report.measures.comparison.rank_tests import AverageRank, RankTests
from study.report.measures.comparison.seed_tests import SeedComparison
from study.report.measures.comparison.workload_tests import WorkloadComparison

#: Characters of a pair that stand on one line.
_LONG = 36
_FIRST, _EQUAL, _SECOND = COLOURS[0], "#BBBBBB", COLOURS[1]


def draw_differences(comparisons: Sequence[SeedComparison]) -> Drawing:
    """Mean difference of every pair of optimizers on a workload, with its interval.

    Args:
        comparisons: Those of one workload, at least one.
    """

    def fill(drawing: Drawing, panels: list[Axes]) -> None:
        axes = panels[0]
        rows = range(len(comparisons))
        for row, compared in zip(rows, comparisons, strict=True):
            interval = compared.difference
            if interval.low is not None and interval.high is not None:
                axes.plot([interval.low, interval.high], [row, row], color=_colour(compared), linewidth=1.2)
        for shown, marker in ((True, "o"), (False, "D")):
            chosen = [row for row in rows if (comparisons[row].difference.low is not None) is shown]
            if chosen:
                points = axes.scatter(
                    [comparisons[row].difference.value for row in chosen],
                    chosen,
                    color=[_colour(comparisons[row]) for row in chosen],
                    marker=marker,
                    s=20,
                    zorder=3,
                )
                drawing.say(points, [_say(comparisons[row]) for row in chosen])
        axes.axvline(0.0, color="black", linewidth=0.7, linestyle=":")
        axes.set_yticks(rows, labels=[_name_pair(row, "-") for row in comparisons])
        axes.set_ylim(len(comparisons) - 0.5, -0.5)
        measured = sorted({compared.statistic for compared in comparisons})
        axes.set_xlabel(f"difference of {' or '.join(measured)} (left: first is better)", wrap=True)

    return draw_panels(1, 1, fill, panel=(5.6, _height(comparisons)))


def _name_pair(compared: SeedComparison | WorkloadComparison, sign: str) -> str:
    """Both optimizers, one under the other if their titles are long."""
    line = f"{compared.first_title} {sign} {compared.second_title}"
    return line if len(line) <= _LONG else f"{compared.first_title} {sign}\n{compared.second_title}"


def _height(comparisons: Sequence[SeedComparison] | Sequence[WorkloadComparison]) -> float:
    """Inches of a panel with a row for each pair."""
    lines = max(_name_pair(compared, "-").count("\n") + 1 for compared in comparisons)
    return 1.2 + (0.1 + 0.14 * lines) * len(comparisons)


def _colour(compared: SeedComparison) -> str:
    """Grey where nothing could be shown."""
    shown = compared.p_holm is not None and compared.verdict.endswith(" better")
    return (_FIRST if compared.difference.value < 0 else _SECOND) if shown else "#777777"


def _say(compared: SeedComparison) -> str:
    p = "no test" if compared.p_holm is None else f"p (Holm) {compared.p_holm:.3g}"
    return f"{compared.first_title} - {compared.second_title}: {compared.difference.value:.4g}, {p}"


def draw_critical_difference(ranks: RankTests) -> Drawing:
    """Average ranks on a line; bars join optimizers that Nemenyi's test does not tell apart (Demsar 2006, figure 1)."""
    ordered = sorted(ranks.ranks, key=lambda row: row.rank.value)
    depth = (len(ordered) + 1) // 2
    bottom = -1.0 - 0.35 * len(ranks.groups) - 0.6 * depth

    def fill(drawing: Drawing, panels: list[Axes]) -> None:
        axes = panels[0]
        count = len(ordered)
        points = axes.scatter([row.rank.value for row in ordered], [0.0] * count, color="black", s=14, zorder=3)
        drawing.say(points, [f"{row.title}: average rank {row.rank.value:.3f}" for row in ordered])
        for place, row in enumerate(ordered):
            left = place < depth
            level = bottom + 0.6 * (depth - 1 - place if left else place - depth) + 0.3
            _label(axes, row, level, count, left=left)
        places = {row.optimizer: row.rank.value for row in ordered}
        for level, group in enumerate(ranks.groups):
            ends = [min(places[name] for name in group) - 0.03, max(places[name] for name in group) + 0.03]
            axes.plot(ends, [-0.35 - 0.35 * level] * 2, color="black", linewidth=3.0, solid_capstyle="butt")
        axes.plot([1.0, 1.0 + ranks.critical_difference], [0.8, 0.8], color="black", marker="|", linewidth=1.0)
        axes.text(1.0, 0.95, f"critical difference {ranks.critical_difference:.3f}", va="bottom", ha="left")
        axes.set_ylim(bottom, 1.5)
        axes.set_xlim(1.0 - 0.45 * count, max(count, 1.0 + ranks.critical_difference) + 0.45 * count)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.hlines(0.0, 1.0, count, color="black", linewidth=0.8)
        axes.set_yticks([])
        axes.set_xticks([])
        for rank in range(1, count + 1):
            axes.text(rank, 0.12, str(rank), ha="center", va="bottom", fontsize=7)
        axes.set_title(f"Average rank by {ranks.statistic} over {len(ranks.workloads)} workloads (1 is the best)")

    return draw_panels(1, 1, fill, panel=(6.2, 1.6 + 0.28 * depth + 0.12 * len(ranks.groups)))


def _label(axes: Axes, row: AverageRank, level: float, count: int, *, left: bool) -> None:
    """An optimizer's name beside the line, joined to its rank."""
    edge = 0.9 if left else count + 0.1
    axes.plot([row.rank.value, row.rank.value, edge], [0.0, level, level], color="black", linewidth=0.6)
    text = f"{row.title} ({row.rank.value:.2f})"
    axes.text(edge + (-0.05 if left else 0.05), level, text, ha="right" if left else "left", va="center")


def draw_equivalence(comparisons: Sequence[WorkloadComparison], rope: float) -> Drawing:
    """Posterior probabilities that one optimizer of a pair is better, or that they are equivalent.

    Args:
        comparisons: At least one.
        rope: Half width of the region of practical equivalence.
    """

    def fill(drawing: Drawing, panels: list[Axes]) -> None:
        axes = panels[0]
        rows = list(range(len(comparisons)))
        starts = [0.0] * len(rows)
        parts = (
            ("first is better", _FIRST, "", [row.first_better for row in comparisons]),
            (f"equivalent (within {rope:g})", _EQUAL, "....", [row.equivalent for row in comparisons]),
            ("second is better", _SECOND, "////", [row.second_better for row in comparisons]),
        )
        for label, colour, hatch, shares in parts:
            axes.barh(
                rows, shares, left=starts, color=colour, hatch=hatch, edgecolor="white", label=label, linewidth=0.4
            )
            starts = [start + share for start, share in zip(starts, shares, strict=True)]
        axes.axvline(1 - ALPHA, color="black", linewidth=0.7, linestyle=":")
        axes.axvline(ALPHA, color="black", linewidth=0.7, linestyle=":")
        axes.set_yticks(rows, labels=[_name_pair(row, "/") for row in comparisons])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0.0, 1.0)
        axes.set_xlabel("posterior probability")
        drawing.figure.legend(loc="outside lower center", ncols=3)

    return draw_panels(1, 1, fill, panel=(5.6, _height(comparisons)))
