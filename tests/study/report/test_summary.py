"""The findings in words: never a difference that the numbers do not allow, and always one that they do."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_observations import BETA, LR, Function, make_observations, no_curvature

from study.report.analysis import Settings
from study.report.measures.importance.importance import LEAST_R2
from study.report.observations import Observations, observe
from study.report.part_cache import PartCache
from study.report.report import Report, make_report
from study.report.steps import QuietSteps
from study.report.summary import summarize

TITLES = ("Ada", "Bea", "Cleo")


def bowl(depth: float, width: float, *, place: float = 0.5, axis: int = 0) -> Function:
    """As low as ``depth`` at ``place`` of one axis."""
    return lambda unit: depth + ((unit[:, axis] - place) / width) ** 2


def report_of(observations: Observations, **changes: float) -> Report:
    return make_report(observations, Settings(**changes), {}, cache=PartCache.none(), steps=QuietSteps())


def made(*functions: Function, **changes: Any) -> Observations:
    """One workload, an optimizer for each function."""
    return make_observations(
        {("task", name.lower()): function for name, function in zip(TITLES, functions, strict=False)}, **changes
    )


def sentence(report: Report, phrase: str) -> str:
    """The finding that has ``phrase``; empty if there is none."""
    found = [text for text in report.summary if phrase in text]
    assert len(found) <= 1
    return found[0] if found else ""


# What a sentence claims, read from its words.

_NAMES = "((?:Ada|Bea|Cleo|, | and )+)"
_LARGER = re.compile(rf"; it is larger for (\w+)(?: than for (?:(every other)|{_NAMES}))?[.;]")


def names_in(text: str) -> list[str]:
    return re.findall("Ada|Bea|Cleo", text)


def check_order(text: str, values: dict[str, tuple[float, float, float]]) -> None:
    """``larger for A than for B`` stands there if and only if all of A's interval lies above B's."""
    top = max(values, key=lambda name: values[name][0])
    below = {name for name, value in values.items() if value[2] < values[top][1]}
    claim = _LARGER.search(text)
    assert (claim is not None) == bool(below), text
    if claim is not None:
        assert claim[1] == top
        assert (set(names_in(claim[3])) if claim[3] else set(values) - {top}) == below


def check_pairs(text: str, report: Report) -> None:
    """``A is before B`` stands there if and only if a corrected test says so."""
    told = set(re.findall(r"(\w+) is before (\w+)", text))
    tested = [test for test in report.analysis.seed_tests.comparisons if test.p_holm is not None]
    expected = set()
    for test in tested:
        low, high = test.difference.low, test.difference.high
        crosses = low is not None and high is not None and low <= 0 <= high
        if (test.p_holm or 0.0) < 0.05 and not crosses and test.first_mean != test.second_mean:
            names = (test.first_title, test.second_title)
            expected.add(names if test.first_mean < test.second_mean else names[::-1])
    assert told == expected, text
    assert ("could be shown" in text) == (len(expected) < len(tested))
    assert ("cannot be told" in text) == (not tested and len(report.analysis.robustness.rows) > 1)


def check_lowest(text: str, observations: Observations) -> None:
    value, titles = re.findall(rf"val_error is ([\d.e+-]+), of {_NAMES} \(", text)[0]
    best = {cell.title: float(np.nanmin(cell.mean_N)) for cell in observations.on("task")}
    assert set(names_in(titles)) == {title for title, mean in best.items() if mean == min(best.values())}
    assert float(value) == pytest.approx(min(best.values()), rel=5e-3)


def check_divergence(report: Report, observations: Observations) -> None:
    runs = observations.runs.filter(pl.col("termination") == "diverged")
    counts = {str(name[0]): part.height for name, part in runs.partition_by("optimizer", as_dict=True).items()}
    text = sentence(report, "diverged")
    if not counts:
        assert text == f"None of {observations.runs.height} runs diverged."
    assert {name.lower(): int(n) for n, _, name in re.findall(r"(\d+) of (\d+) of (\w+)", text)} == counts


def check_defaults(text: str, report: Report) -> None:
    regrets = {r.title: r.default_regret_held_out for r in report.analysis.robustness.rows}
    known = {title: regret for title, regret in regrets.items() if regret is not None}
    worse = {title for title, regret in known.items() if regret.low is not None and regret.low > 0}
    assert (text != "") == bool(known)
    assert ("could not be shown" in text) == (len(worse) < len(known))
    claim = re.search(rf"beats the default setting for {_NAMES}", text)
    assert (set(names_in(claim[1])) if claim else set()) == worse


def check_importance(text: str, report: Report) -> None:
    leaders = {}
    for cell in report.analysis.importances:
        if cell.trusted and len(cell.axes) > 1 and all(axis.total and axis.total.low is not None for axis in cell.axes):
            totals = {axis.axis: axis.total for axis in cell.axes if axis.total}
            for name, total in totals.items():
                if all((total.low or 0) > (other.high or 0) for also, other in totals.items() if also != name):
                    leaders[cell.title] = name
    claimed = {}
    for axis, titles in re.findall(rf"(lr|beta1) for (every optimizer|{_NAMES[1:-1]})", text):
        whose = [cell.title for cell in report.analysis.importances] if "every" in titles else names_in(titles)
        claimed |= dict.fromkeys(whose, axis)
    assert claimed == leaders


def windows_of(report: Report) -> dict[str, tuple[float, float, float]]:
    """Optimizer -> its range of good learning rates with its ends; one that leaves the space has no upper end."""
    windows = {}
    for axis in report.analysis.sensitivity.axes:
        window = axis.window_study
        known = axis.from_points or (axis.r2 or 0.0) >= LEAST_R2
        if axis.axis == "lr" and known and window is not None and window.width.low is not None:
            high = np.inf if window.open_low or window.open_high else window.width.high or 0.0
            windows[axis.title] = (window.width.value, window.width.low, high)
    return windows


@st.composite
def studies(draw: st.DrawFn) -> Observations:
    """Of one to three optimizers, alike or apart, noisy or not, whole or full of holes."""
    functions = [
        bowl(
            draw(st.sampled_from([0.1, 0.11, 0.2, 0.6])),
            draw(st.sampled_from([0.3, 1.0, 3.0])),
            place=draw(st.sampled_from([0.1, 0.5, 0.75])),
            axis=draw(st.sampled_from([0, 1])),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    made_ = made(
        *functions,
        points=draw(st.sampled_from([1, 2, 4, 12])),
        seeds=draw(st.integers(1, 5)),
        noise=draw(st.sampled_from([0.0, 0.001, 0.05])),
        chance=draw(st.sampled_from([None, 0.9])),
        diverge_above=draw(st.sampled_from([0.3, 0.8, np.inf])),
        study_seed=draw(st.integers(0, 50)),
    )
    # Noise that is not shared by the optimizers, and runs without a test error.
    extra = np.random.default_rng(draw(st.integers(0, 50))).normal(
        0, draw(st.sampled_from([0.0, 0.01])), made_.runs.height
    )
    tested = pl.col("test_error") if draw(st.booleans()) else pl.lit(None, pl.Float64)
    runs = made_.runs.with_columns(
        objective=pl.min_horizontal(pl.col("objective") + pl.Series(extra), 0.9)
        if made_.info.workloads[0].chance
        else pl.col("objective") + pl.Series(extra),
        test_error=tested,
    )
    return observe(made_.info, runs, no_curvature())


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(studies(), st.sampled_from([0.01, 0.05, 0.3]))
def test_no_sentence_says_more_than_its_numbers(observations: Observations, tolerance: float) -> None:
    report = report_of(observations, tolerance=tolerance)
    rows = report.analysis.robustness.rows
    check_lowest(sentence(report, "he lowest val_error"), observations)
    check_pairs(sentence(report, "he lowest val_error"), report)
    volumes = {r.title: v.study for r in rows if (v := r.volume(tolerance)) is not None}
    for phrase, values in (
        ("share of good settings", {title: (share.value, share.low, share.high) for title, share in volumes.items()}),
        ("range of good learning rates", windows_of(report)),
    ):
        text = sentence(report, phrase)
        assert (text != "") == (len(values) >= (2 if "range" in phrase else 1))
        if text:
            check_order(text, values)
    check_divergence(report, observations)
    check_defaults(sentence(report, "beats the default setting"), report)
    check_importance(sentence(report, "axis that matters most"), report)
    assert all(text[0].isupper() and text.endswith(".") for text in report.summary)
    assert not re.search(r"\b(None(?! of)|nan|inf)\b", " ".join(report.summary))


def apart(count: int = 2, **changes: Any) -> Observations:
    """Optimizers that are worse one after the other, beyond doubt: each has noise of its own, which is small."""
    study = made(*(bowl(0.1 + 0.2 * n, 0.5) for n in range(count)), **({"seeds": 5, "points": 8} | changes))
    noise = np.random.default_rng(3).normal(0.0, 1e-3, study.runs.height)
    runs = study.runs.with_columns(
        pl.min_horizontal(pl.col(name) + pl.Series(noise), 0.9).alias(name) for name in ("objective", "test_error")
    )
    return observe(study.info, runs, no_curvature())


def test_a_difference_beyond_doubt_is_said() -> None:
    text = sentence(report_of(apart()), "he lowest")
    assert text.endswith("Ada is before Bea (Holm's correction, p < 0.05).")
    assert text.startswith("The lowest val_error is 0.0998, of Ada (a mean over 5 seeds). ")


def test_all_pairs_that_are_apart_are_said() -> None:
    text = sentence(report_of(apart(3)), "he lowest")
    assert "Ada is before Bea, Ada is before Cleo and Bea is before Cleo (Holm" in text
    assert "could be shown" not in text


def test_one_seed_tells_nothing_apart() -> None:
    report = report_of(apart(seeds=1))
    assert "is before" not in " ".join(report.summary)
    text = sentence(report, "he lowest")
    assert text.endswith("another one's best setting is worse cannot be told: that needs more runs of a setting.")
    assert sentence(report, "beats the default setting") == ""


def test_one_optimizer_is_before_nobody() -> None:
    report = report_of(apart(1))
    assert sentence(report, "he lowest").endswith(", of Ada (a mean over 5 seeds).")
    assert re.search(r" is [\d.]+% \[[\d.]+%, [\d.]+%\] for Ada\.$", sentence(report, "share of good settings"))


def test_a_wider_optimum_is_said_if_intervals_lie_apart() -> None:
    report = report_of(made(bowl(0.1, 2.0), bowl(0.1, 0.3), points=64, noise=0.001))
    assert sentence(report, "share of good settings").endswith("(Ada); it is larger for Ada.")


def test_tuning_that_pays_is_said_with_its_interval() -> None:
    report = report_of(made(bowl(0.1, 1.0, place=0.9), points=16, noise=0.001))
    text = sentence(report, "beats the default setting")
    assert text.startswith("Tuning beats the default setting for Ada by 0.15")


def test_the_axis_that_matters_is_said() -> None:
    report = report_of(made(bowl(0.1, 1.0, axis=1), points=64, noise=0.001))
    assert sentence(report, "axis that matters most").endswith("is beta1 for Ada.")


def test_runs_that_diverged_are_said_by_optimizer() -> None:
    report = report_of(made(bowl(0.1, 0.5), bowl(0.1, 9.0), diverge_above=0.5))
    assert re.fullmatch(r"Runs that diverged: \d+ of 99 of Ada; none of the others\.", sentence(report, "uns that"))


def test_an_optimum_at_the_edge_is_said() -> None:
    report = report_of(made(lambda unit: 0.1 + 0.5 * (1 - unit[:, 0]), points=32, noise=0.001, axes={"lr": LR}))
    assert sentence(report, "beyond the edge of the range of lr of Ada (near 1")


def two_workloads(*unfinished: str) -> Observations:
    """Two optimizers on two workloads, of which some have not begun."""
    names = [(workload, name) for workload in ("first", "second") for name in ("ada", "bea")]
    study = make_observations({name: bowl(0.1, 1.0) for name in names}, points=4, axes={"lr": LR, "beta1": BETA})
    waiting = pl.col("workload").is_in(unfinished)
    runs = study.runs.with_columns(
        pl.when(~waiting).then(pl.col(name)).alias(name) for name in ("termination", "objective", "test_error")
    )
    return observe(study.info, runs, no_curvature())


def test_a_workload_on_which_nothing_finished_is_passed_over() -> None:
    summary = report_of(two_workloads("second")).summary
    assert summary
    assert not any("second" in text for text in summary)
    assert summary[0].startswith("first: the lowest val_error is ")


def test_over_workloads_equal_optimizers_are_not_ranked() -> None:
    summary = report_of(two_workloads()).summary
    assert [text for text in summary if "the lowest" in text][1].startswith("second: the lowest val_error is ")
    assert "optimizers rank differently" not in " ".join(summary)


def numbers_of(texts: Sequence[str]) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", " ".join(texts))


def test_findings_follow_the_numbers_of_the_analysis() -> None:
    """What is put into the analysis is what is said, whatever it is."""
    report = report_of(apart())
    (row, other) = report.analysis.robustness.rows
    better = replace(row, best=replace(row.best, mean=0.0123))
    table = replace(report.analysis.robustness, rows=(better, other))
    said = summarize(report.info, replace(report.analysis, robustness=table))
    assert "0.0123" in numbers_of(said)
    assert "0.0123" not in numbers_of(report.summary)
