"""Drawing, robustness per optimizer: robust volumes over the tolerance, and rates of divergence."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, PercentFormatter

from study.report.drawing.style import Drawing, add_legend, dodge, draw_panels, look_of
from study.report.measures.intervals import Estimate, Share
from study.report.measures.robustness.robustness import OptimizerRobustness

#: How far marks of one tolerance spread, in decades.
_ASIDE = 0.12


def draw_volumes(rows: Sequence[OptimizerRobustness], tolerance: float, order: Sequence[str]) -> Drawing:
    """Robust volume over the tolerance: against the best of any optimizer, and against each one's own.

    Args:
        rows: All optimizers of one workload that have robust volumes.
        tolerance: The headline one, which is marked.
        order: Names of all optimizers of the study: each has the same colour in all figures.
    """

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        for axes, own in zip(panels, (False, True), strict=True):
            for row in sorted(rows, key=lambda row: order.index(row.optimizer)):
                _draw_curve(drawing, axes, row, (order.index(row.optimizer), len(order)), own=own)
            axes.axvline(tolerance, color="0.6", linewidth=0.8, zorder=0)
            axes.set_xscale("log")
            ticks = sorted({volume.tolerance for row in rows for volume in row.volumes})
            axes.set_xticks(ticks, labels=[f"{tick:.3g}" for tick in ticks], rotation=45)
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_ylim(0.0, 1.0)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_xlabel("tolerance: share of the way from the best to L0 (log)")
            axes.set_ylabel("share of the search space that is good")
            axes.set_title("from each optimizer's own best" if own else "from the best of any optimizer")
        add_legend(drawing, panels[0])

    return draw_panels(1, 2, draw, panel=(3.6, 3.2))


def _draw_curve(drawing: Drawing, axes: Axes, row: OptimizerRobustness, place: tuple[int, int], *, own: bool) -> None:
    """Shares with whiskers a little aside of each tolerance: bands of many optimizers would hide one another."""
    known = [(v.tolerance, v.own if own else v.study) for v in row.volumes]
    shares = [(tolerance, share) for tolerance, share in known if share is not None]
    if not shares:
        return
    look = look_of(place[0])
    x = [tolerance * 10 ** (_ASIDE * dodge(*place)) for tolerance, _ in shares]
    y = [share.value for _, share in shares]
    axes.plot(x, y, color=look.colour, linestyle=look.line)
    axes.vlines(x, [s.low for _, s in shares], [s.high for _, s in shares], colors=look.colour, linewidths=0.7)
    axes.plot([], [], color=look.colour, linestyle=look.line, marker=look.marker, markersize=4, label=row.title)
    points = axes.scatter(x, y, color=look.colour, marker=look.marker, s=16, zorder=3)
    drawing.say(points, [f"{row.title}: {_say(share)} within {tolerance:.3g}" for tolerance, share in shares])


def draw_divergence(rows: Sequence[OptimizerRobustness], order: Sequence[str]) -> Drawing:
    """Share of points with a diverged run, and share of runs that diverged, with intervals.

    Args:
        rows: All optimizers of one workload whose points are a sample.
        order: Names of all optimizers of the study.
    """

    def draw(drawing: Drawing, panels: list[Axes]) -> None:
        axes = panels[0]
        ordered = sorted(rows, key=lambda row: -order.index(row.optimizer))
        for place, row in enumerate(ordered):
            colour = look_of(order.index(row.optimizer)).colour
            _draw_rate(drawing, axes, row.title, row.divergence_points, place + 0.15, colour, filled=True)
            _draw_rate(drawing, axes, row.title, row.divergence_runs, place - 0.15, colour, filled=False)
        axes.set_yticks(range(len(rows)), labels=[row.title for row in ordered])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("diverged: share of points (filled), of runs (hollow)")

    return draw_panels(1, 1, draw, panel=(4.6, 0.7 + 0.4 * len(rows)))


def _draw_rate(
    drawing: Drawing, axes: Axes, title: str, rate: Share | Estimate | None, y: float, colour: str, *, filled: bool
) -> None:
    if rate is None:
        return
    if rate.low is not None and rate.high is not None:
        axes.plot([rate.low, rate.high], [y, y], color=colour, linewidth=1.0)
    face = colour if filled else "white"
    points = axes.scatter([rate.value], [y], facecolor=face, edgecolor=colour, marker="o" if filled else "s", zorder=3)
    what = "points with a diverged run" if filled else "diverged runs"
    drawing.say(points, [f"{title}: {_say(rate)} {what}"])


def _say(rate: Share | Estimate) -> str:
    counts = f"{rate.count} of {rate.total}, " if isinstance(rate, Share) else ""
    interval = "" if rate.low is None or rate.high is None else f" [{rate.low:.1%}, {rate.high:.1%}]"
    return f"{counts}{rate.value:.1%}{interval}"
