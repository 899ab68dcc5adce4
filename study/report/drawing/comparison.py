"""Pictures of optimizers at equal tuning budgets, and of their profiles over workloads."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from study.report.drawing.style import Drawing, add_legend, dodge, draw_panels, look_of, set_log_ticks
from study.report.measures.comparison.budget import BudgetCurve
from study.report.measures.comparison.budget_chances import BestChances
from study.report.measures.comparison.budget_scores import RelativePerformance
from study.report.measures.comparison.profiles import R_MAX, Profile
from study.report.measures.intervals import Estimate

#: From this ratio of the largest to the smallest on, a logarithmic axis says more.
_LOG_FROM = 4.0
#: So many bands can be told apart.
_FEW = 3
#: Width and height of a panel with a legend under it.
_WIDE = (5.2, 3.6)
#: How far marks of one budget spread, in doublings of the budget.
_ASIDE = 0.4


def draw_budget(
    curves: Sequence[BudgetCurve], order: Sequence[str], objective: str, chance: float | None = None
) -> Drawing:
    """Expected and median best of k trials of the optimizers on a workload, over k, with their bands.

    The objective is on a logarithmic axis if it spans a factor of four: what tuning brings is seen at its low end.

    Args:
        curves: Those of one workload.
        order: Names of the study's optimizers, which fix their colours.
        objective: The objective with its unit.
        chance: Chance level of the workload, which is marked; None where it is unknown.
    """
    lowest = min(min(*curve.mean, *curve.median) for curve in curves)
    highest = max(max(*curve.mean, *curve.median) for curve in curves)
    is_log = lowest > 0 and highest >= _LOG_FROM * lowest

    def fill(drawing: Drawing, panels: list[Axes]) -> None:
        for axes, means in zip(panels, (True, False), strict=True):
            for curve in curves:
                _draw_curve(drawing, axes, curve, (order.index(curve.optimizer), len(curves)), means=means)
            _count_trials(axes, max(curve.points for curve in curves))
            if is_log:
                axes.set_yscale("log")
                axes.set_ylim(bottom=lowest / 2)
                set_log_ticks(axes.yaxis)
            if chance is not None:
                _mark_chance(axes, chance)
            axes.set_ylabel(f"{'expected' if means else 'median'} best {objective}{', log' if is_log else ''}")
            axes.set_title("Expected best of k, and default setting (dotted)" if means else "Median best of k")
        add_legend(drawing, panels[0])

    return draw_panels(1, 2, fill, panel=(4.3, 3.7))


def _draw_curve(drawing: Drawing, axes: Axes, curve: BudgetCurve, place: tuple[int, int], *, means: bool) -> None:
    """A line with its band, or with whiskers at doubled budgets: the bands of many optimizers would hide one another.

    Args:
        drawing: Told what points say.
        axes: The panel.
        curve: Of one optimizer.
        place: Of the optimizer in the study, and how many curves there are.
        means: Whether the expected best is drawn, else the median.
    """
    value = curve.mean if means else curve.median
    low, high = (curve.mean_low, curve.mean_high) if means else (curve.median_low, curve.median_high)
    look = look_of(place[0])
    colour = look.colour
    label = f"{curve.title} ({curve.points} points, {curve.diverged} diverged)"
    axes.plot(curve.budgets, value, color=colour, linestyle=look.line)
    axes.plot([], [], color=colour, linestyle=look.line, marker=look.marker, markersize=4, label=label)
    ends = [(k, a, b) for k, a, b in zip(curve.budgets, low, high, strict=True) if a is not None and b is not None]
    if len(ends) and place[1] > _FEW:
        few = [(k, a, b) for k, a, b in ends if _is_doubled(k, curve.points)]
        aside = [k * 2.0 ** (_ASIDE * dodge(place[0] % place[1], place[1])) for k, _, _ in few]
        axes.vlines(aside, [a for _, a, _ in few], [b for _, _, b in few], colors=colour, linewidths=0.7, alpha=0.8)
    elif ends:
        held, lows, highs = ([end[part] for end in ends] for part in range(3))
        axes.fill_between(held, lows, highs, color=colour, alpha=0.07, linewidth=0)
        for edge in (lows, highs):
            axes.plot(held, edge, color=colour, linewidth=0.4, alpha=0.7)
    if means and curve.default is not None:
        axes.axhline(curve.default, color=colour, linestyle=":", linewidth=0.8)
    doubled = [(k, v) for k, v in zip(curve.budgets, value, strict=True) if _is_doubled(k, curve.points)]
    budgets, values = [k for k, _ in doubled], [v for _, v in doubled]
    marks = axes.scatter(budgets, values, color=colour, marker=look.marker, s=12, zorder=3)
    drawing.say(marks, [f"{curve.title}, {k} trials: {v:.4g}" for k, v in doubled])


def _is_doubled(budget: int, points: int) -> bool:
    return budget & (budget - 1) == 0 or budget == points


def _mark_chance(axes: Axes, chance: float) -> None:
    axes.axhline(chance, color="0.6", linewidth=0.8, linestyle=(0, (1, 3)), zorder=0)
    place = (0.99, chance)
    axes.annotate(
        "chance level", place, xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=6, color="0.4"
    )


def draw_chances(chances: BestChances, order: Sequence[str]) -> Drawing:
    """How often each optimizer is the best of all, over the budget that each is given."""

    def fill(drawing: Drawing, panels: list[Axes]) -> None:
        axes = panels[0]
        for optimizer, title, row in zip(chances.optimizers, chances.titles, chances.chances, strict=True):
            _draw_estimates(drawing, axes, chances.budgets, row, title, (order.index(optimizer), len(order)))
        _count_trials(axes, chances.budgets[-1])
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("probability of being the best")
        add_legend(drawing, axes)

    return draw_panels(1, 1, fill, panel=_WIDE)


def draw_relative(relative: Sequence[RelativePerformance], order: Sequence[str]) -> Drawing:
    """Performance relative to the best optimizer, averaged over workloads, over the budget."""

    def fill(drawing: Drawing, panels: list[Axes]) -> None:
        axes = panels[0]
        for row in relative:
            place = (order.index(row.optimizer), len(order))
            _draw_estimates(drawing, axes, row.budgets, row.values, row.title, place)
        _count_trials(axes, relative[0].budgets[-1])
        axes.set_ylabel("relative performance (1 is the best)")
        add_legend(drawing, axes)

    return draw_panels(1, 1, fill, panel=_WIDE)


def _draw_estimates(
    drawing: Drawing,
    axes: Axes,
    budgets: Sequence[int],
    estimates: Sequence[Estimate],
    title: str,
    place: tuple[int, int],
) -> None:
    """A line of estimates over budgets; marks and whiskers stand a little aside, so that none hides another.

    Args:
        drawing: Told what points say.
        axes: The panel.
        budgets: Along x.
        estimates: Along y.
        title: Of the optimizer.
        place: Of the optimizer, and how many there are.
    """
    look = look_of(place[0])
    values = [estimate.value for estimate in estimates]
    beside = [budget * 2.0 ** (_ASIDE * dodge(*place)) for budget in budgets]
    style: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 4}
    axes.plot(beside, values, label=title, **style)
    marks = axes.scatter(beside, values, color=look.colour, marker=look.marker, s=16, zorder=3)
    drawing.say(marks, [f"{title}, {k} trials: {_say(one)}" for k, one in zip(budgets, estimates, strict=True)])
    for x, estimate in zip(beside, estimates, strict=True):
        if estimate.low is not None and estimate.high is not None:
            axes.plot([x, x], [estimate.low, estimate.high], color=look.colour, linewidth=0.7, alpha=0.8)


def _say(estimate: Estimate) -> str:
    ends = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.3g}, {estimate.high:.3g}]"
    return f"{estimate.value:.3g}{ends}"


def draw_profiles(profiles: Sequence[Profile], workloads: int, order: Sequence[str]) -> Drawing:
    """Performance profiles: the share of workloads on which each optimizer needs at most tau times the fewest steps."""

    def fill(drawing: Drawing, panels: list[Axes]) -> None:
        axes = panels[0]
        for profile in profiles:
            look = look_of(order.index(profile.optimizer))
            label = f"{profile.title}: score {profile.score.value:.3f}"
            axes.step(profile.taus, profile.shares, where="post", color=look.colour, linestyle=look.line)
            axes.plot([], [], color=look.colour, linestyle=look.line, marker=look.marker, markersize=4, label=label)
            marks = axes.scatter(profile.taus, profile.shares, color=look.colour, marker=look.marker, s=14, zorder=3)
            steps = zip(profile.taus, profile.shares, strict=True)
            drawing.say(marks, [f"{profile.title}: {share:.0%} of workloads at tau {tau:.3g}" for tau, share in steps])
        axes.set_xlim(1.0, R_MAX)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("tau: steps to the target, relative to the fastest optimizer")
        axes.set_ylabel(f"share of {workloads} workload{'s' if workloads > 1 else ''}")
        add_legend(drawing, axes)

    return draw_panels(1, 1, fill, panel=_WIDE)


def _count_trials(axes: Axes, most: int) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda budget, _: f"{budget:g}"))
    axes.set_xlim(0.8, most * 1.25)
    axes.set_xlabel("k: trials of each optimizer (log)")
