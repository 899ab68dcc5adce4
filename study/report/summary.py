"""What the numbers of a report say in words, never more than their intervals allow."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from study.report.analysis import Analysis
from study.report.measures.comparison.paired_tests import ALPHA
from study.report.measures.comparison.seed_tests import NO_DIFFERENCE, SeedComparison
from study.report.measures.importance.importance import LEAST_R2, CellImportance
from study.report.measures.intervals import Estimate, Share
from study.report.measures.robustness.learning_rate import LR_NAMES
from study.report.measures.robustness.robustness import OptimizerRobustness
from study.report.measures.robustness.sensitivity import AxisSensitivity
from study.report.measures.robustness.yardstick import Yardstick
from study.report.observations import StudyInfo
from study.report.text import format_percent

#: With more workloads than these, only what decides is said of each; the rest is in the tables.
_MANY_WORKLOADS = 3
#: Names that are listed; further ones are counted.
_LISTED = 4


def summarize(info: StudyInfo, analysis: Analysis) -> tuple[str, ...]:
    """Findings, a sentence or two each: what makes others doubtful, then by workload, then over workloads.

    One optimizer is said to be before another only where a corrected test over seeds, or the intervals of both, tell
    them apart.

    Args:
        info: What is known of the study.
        analysis: Every number.
    """
    over = _say_ranks(analysis)
    ranks = analysis.workload_tests.ranks
    told = ranks is not None and ranks.friedman_p is not None and ranks.friedman_p < ALPHA
    sentences = [_say_violations(analysis), over if told else ""]
    for workload in info.workloads:
        rows = analysis.robustness.on(workload.name)
        if not rows:
            continue
        prefix = f"{workload.name}: " if len(info.workloads) > 1 else ""
        found = _say_workload(rows, info, analysis)
        sentences += [prefix + sentence if prefix else _capitalized(sentence) for sentence in found if sentence]
    return tuple(sentence for sentence in (*sentences, "" if told else over) if sentence)


def _say_workload(rows: Sequence[OptimizerRobustness], info: StudyInfo, analysis: Analysis) -> list[str]:
    """Of one workload, what decides first."""
    workload = rows[0].workload
    tests = [test for test in analysis.seed_tests.comparisons if test.workload == workload]
    decides = [_say_best(rows, tests, info), _say_edges(analysis, workload)]
    if len(info.workloads) > _MANY_WORKLOADS:
        return decides
    yardstick = next(y for y in analysis.robustness.yardsticks if y.workload == workload)
    axes = [axis for axis in analysis.sensitivity.axes if axis.workload == workload and axis.axis in LR_NAMES]
    return [
        *decides,
        _say_volumes(rows, analysis.robustness.tolerance, yardstick),
        _say_windows(axes),
        _say_defaults(rows),
        _say_divergence(rows, info),
        _say_importance([cell for cell in analysis.importances if cell.workload == workload]),
    ]


def _say_best(rows: Sequence[OptimizerRobustness], tests: Sequence[SeedComparison], info: StudyInfo) -> str:
    first = rows[0]
    ties = [row.title for row in rows if row.best.mean == first.best.mean]
    over = f"a mean over {first.best.seeds} seeds" if first.best.seeds > 1 else "a single run"
    what, value = f"lowest {info.objective}", first.best.mean
    if info.objective.startswith("-"):  # it was maximized
        what, value = f"highest {info.objective[1:]}", -first.best.mean
    best = f"the {what} is {_number(value)}, of {_name(ties)} ({over})"
    if len(rows) == 1:
        return f"{best}."
    tested = [test for test in tests if test.p_holm is not None]
    if not tested:
        return f"{best}; whether another one's best setting is worse cannot be told: that needs more runs of a setting."
    told = [test for test in tested if test.verdict != NO_DIFFERENCE]
    of = f"{len(tested)} pairs"
    if not told:
        count = f"none of {of}, " if len(tested) > 1 else ""
        corrected = ", Holm's correction" if len(tested) > 1 else ""
        whose = _number_of(len(rows), "the")
        how = f"{count}by {tested[0].statistic} over {tested[0].first_runs} seeds{corrected}"
        return f"{best}; no difference between the best settings of {whose} could be shown ({how})."
    pairs = f"{len(told)} of {of} differ, as the table of tests lists"
    if len(told) <= _LISTED:
        pairs = _list([_say_pair(test) for test in told])
    others = "; between the others no difference could be shown" if len(told) < len(tested) else ""
    by = f"By the {told[0].statistic} of the best settings"
    return f"{best}. {by}, {pairs} (Holm's correction, p < {ALPHA:g}){others}."


def _say_pair(test: SeedComparison) -> str:
    first, second = test.first_title, test.second_title
    return f"{first} is before {second}" if test.difference.value < 0 else f"{second} is before {first}"


def _say_volumes(rows: Sequence[OptimizerRobustness], tolerance: float, yardstick: Yardstick) -> str:
    shares = [(row.title, volume.study) for row in rows if (volume := row.volume(tolerance)) is not None]
    if not shares:
        return ""
    far = "chance level" if yardstick.is_chance else "the median trial"
    what = f"the share of good settings in the search space (within {tolerance:.3g} of the way from the best to {far})"
    bounds = [_Bounds(title, share.value, _share(share), share.low, share.high) for title, share in shares]
    return f"{what} {_order(bounds)}"


def _say_windows(axes: Sequence[AxisSensitivity]) -> str:
    bounds = [
        _Bounds(
            axis.title,
            window.width.value,
            f"{'at least ' if is_open else ''}{_estimate(window.width)} decades",
            window.width.low,
            math.inf if is_open else window.width.high,
        )
        for axis in axes
        if (window := axis.window_study) is not None and axis.unit == "decades" and window.width.low is not None
        if axis.from_points or (axis.r2 or 0.0) >= LEAST_R2
        for is_open in [window.open_low or window.open_high]
    ]
    if len(bounds) < 2:
        return ""
    held = "default setting" if all(axis.at_default for axis in axes) else "best setting"
    return f"the range of good learning rates, with the other axes held at the {held}, {_order(bounds)}"


def _say_divergence(rows: Sequence[OptimizerRobustness], info: StudyInfo) -> str:
    failed = sum(row.trials_failed for row in rows)
    lost = f"{failed} trial{'s' if failed > 1 else ''} failed, in no comparison"
    diverged = sorted((row for row in rows if row.runs_diverged), key=lambda row: -row.runs_diverged / row.runs)
    runs = sum(row.runs for row in rows)
    if not diverged and info.source == "optuna":  # Optuna keeps a run whose value is NaN as a failure
        return f"{lost}; whether they diverged is not known." if failed else ""
    if not diverged:
        return f"none of {runs} runs diverged{f'; {lost}' if failed else ''}."
    counts = _list([f"{row.runs_diverged} of {row.runs} of {row.title}" for row in diverged[:_LISTED]])
    more = len(diverged) - _LISTED
    others = "" if len(diverged) == len(rows) else "; none of the others"
    others = f"; fewer of {more} more optimizers{others.replace('the others', 'the rest')}" if more > 0 else others
    return f"runs that diverged: {counts}{others}{f'; {lost}' if failed else ''}."


def _say_defaults(rows: Sequence[OptimizerRobustness]) -> str:
    regrets = [(row.title, row.default_regret_held_out) for row in rows if row.default_regret_held_out is not None]
    worse = [(title, regret) for title, regret in regrets if (regret.low or 0.0) > 0]
    if not regrets:
        return ""
    if not worse:
        return "that tuning beats the default setting could not be shown for any optimizer."
    worse.sort(key=lambda pair: -pair[1].value)
    title, most = worse[0]
    gains = f", most for {title}, by {_estimate(most)}" if len(worse) > 1 else f" by {_estimate(most)}"
    others = "" if len(worse) == len(regrets) else "; for the rest that could not be shown"
    return (
        f"tuning beats the default setting for {_name([title for title, _ in worse])}{gains} (on seeds that did not "
        f"choose, {'each by its own' if len(worse) > 1 else 'by its'} 95 % interval){others}."
    )


def _say_importance(cells: Sequence[CellImportance]) -> str:
    leaders: dict[str, list[str]] = {}
    trusted = [cell for cell in cells if cell.trusted and len(cell.axes) > 1]
    for cell in trusted:
        known = [(axis.axis, axis.total) for axis in cell.axes if axis.total and axis.total.low is not None]
        lowest = {name: total.low or 0.0 for name, total in known}
        leading = [
            name for name in lowest if all(lowest[name] > (other.high or 0.0) for also, other in known if also != name)
        ]
        if leading and len(known) == len(cell.axes):
            leaders.setdefault(leading[0], []).append(cell.title)
    count = sum(len(titles) for titles in leaders.values())
    if not count:
        return ""
    whole = len(leaders) == 1 and count == len(cells) > 1
    told = [f"{axis} for {'every optimizer' if whole else _name(titles)}" for axis, titles in leaders.items()]
    others = "" if count == len(cells) else "; for the rest no axis stands out beyond doubt"
    return f"the axis that matters most (total Sobol' index) is {_list(told)}{others}."


def _say_edges(analysis: Analysis, workload: str) -> str:
    titles = {(row.workload, row.optimizer): row.title for row in analysis.robustness.rows}
    beyond = [
        f"{audit.axis} of {titles.get((audit.workload, audit.optimizer), audit.optimizer)} (near {edge.value})"
        for audit in analysis.audit.axes
        if audit.workload == workload
        for edge in (audit.low, audit.high)
        if edge is not None and edge.beyond
    ]
    if not beyond:
        return ""
    return f"the optimum may lie beyond the edge of the range of {_list(beyond)}: widen it before you rank optimizers."


def _say_ranks(analysis: Analysis) -> str:
    ranks = analysis.workload_tests.ranks
    if ranks is None or ranks.friedman_p is None:
        return ""
    workloads = len(ranks.workloads)
    if ranks.friedman_p >= ALPHA:
        return (
            f"Over {workloads} workloads no difference of ranks could be shown (Friedman, p = {ranks.friedman_p:.2g}); "
            "few workloads show little."
        )
    titles = {row.optimizer: row.title for row in ranks.ranks}
    apart = [f"{titles[first]} and {titles[second]}" for first, second, p in ranks.nemenyi if p < ALPHA]
    told = f"; Nemenyi's test tells {_list(apart)} apart" if apart else "; Nemenyi's test tells no two apart"
    return f"Over {workloads} workloads optimizers rank differently (Friedman, p = {ranks.friedman_p:.2g}){told}."


def _say_violations(analysis: Analysis) -> str:
    titles = {row.optimizer: row.title for row in analysis.robustness.rows}
    lost = [
        f"{titles.get(check.general, check.general)} lost to its special case "
        f"{titles.get(check.special, check.special)} on {check.workload}"
        for check in analysis.audit.inclusions.checks
        if check.verdict == "violated"
    ]
    if not lost:
        return ""
    whose = "its" if len(lost) == 1 else "their"
    return (
        f"{_list(lost)}: with as good tuning that cannot be, so {whose} search space or budget is too small, and "
        f"{whose} numbers say nothing against the general optimizer{'s' if len(lost) > 1 else ''}."
    )


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What is compared of one optimizer: a number, how it is written, and between which ends it lies."""

    title: str
    value: float
    text: str
    low: float | None
    high: float | None


def _order(found: Sequence[_Bounds]) -> str:
    """The smallest and the largest, and which of them the largest is beyond doubt larger than."""
    ordered = sorted(found, key=lambda one: one.value, reverse=True)
    top, least = ordered[0], ordered[-1]
    if len(ordered) == 1:
        return f"is {top.text} for {top.title}."
    ends = {sign: [one.title for one in ordered if one.value == sign.value] for sign in (top, least)}
    if top.value == least.value:
        return f"is {top.text} for {_number_of(len(ordered))}."
    said = f"is from {least.text} ({_name(ends[least])}) to {top.text} ({_name(ends[top])})"
    apart = [one.title for one in ordered if one.high is not None and top.low is not None and one.high < top.low]
    if not apart:
        return f"{said}; the intervals overlap, so that no difference could be shown."
    if len(apart) == len(ordered) - 1:
        return f"{said}; it is larger for {top.title}{' than for every other' if len(apart) > 1 else ''}."
    return (
        f"{said}; it is larger for {_name(ends[top][:1])} than for {_name(apart)}; beyond that nothing could be shown."
    )


def _number_of(optimizers: int, article: str = "all") -> str:
    return "both optimizers" if optimizers == 2 else f"{article} {optimizers} optimizers"


def _name(titles: Sequence[str]) -> str:
    """Titles as a list; many are counted."""
    if len(titles) <= _LISTED + 1:
        return _list(titles)
    return f"{', '.join(titles[:_LISTED])} and {len(titles) - _LISTED} more"


def _capitalized(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _share(share: Share) -> str:
    return f"{format_percent(share.value)} [{format_percent(share.low)}, {format_percent(share.high)}]"


def _estimate(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return _number(estimate.value)
    return f"{_number(estimate.value)} [{_number(estimate.low)}, {_number(estimate.high)}]"


def _number(value: float) -> str:
    return f"{value:.3g}"


def _list(words: Iterable[str]) -> str:
    """``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
