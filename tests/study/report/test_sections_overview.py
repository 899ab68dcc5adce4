"""The first table and the findings: what they say of known studies, and what they leave out."""

from dataclasses import replace

import pytest
from made_observations import BETA, LR, make_observations

from study.report.analysis import Settings, analyse
from study.report.document import Section
from study.report.part_cache import PartCache
from study.report.sections.overview import tell_overview
from study.report.steps import Steps
from study.report.summary import summarize
from study.report.text import read_table


class _Quiet(Steps):
    """Tells nobody."""


def _bowl(centre: float, floor: float):
    return lambda unit: floor + 1.5 * (unit[:, 0] - centre) ** 2 + 0.1 * (unit[:, 1] - 0.5) ** 2


def _analyse(functions, **changes):
    observations = make_observations(functions, axes={"lr": LR, "beta1": BETA}, points=16, **changes)
    steps = _Quiet()
    return observations.info, analyse(observations, Settings(), cache=PartCache.none(), steps=steps)


def _overview(info, analysis) -> Section:
    return tell_overview(analysis.robustness, analysis.sensitivity, info)


@pytest.fixture(scope="module")
def apart():
    return _analyse({("w", "adam"): _bowl(0.4, 0.05), ("w", "sgd"): _bowl(0.9, 0.3)}, noise=0.002, diverge_above=0.5)


def test_the_overview_has_a_row_for_each_optimizer_with_the_numbers_of_the_sections(apart):
    info, analysis = apart
    table = _overview(info, analysis).tables[0]
    rows = [dict(zip([column.name for column in table.columns], row, strict=True)) for row in table.rows]
    assert [row["optimizer"] for row in rows] == ["adam", "sgd"]
    for row, known in zip(rows, analysis.robustness.rows, strict=True):
        assert row["best"] == known.best.mean
        assert row["volume"] == known.volume(0.05).study.value
        assert row["diverged"] == known.divergence_runs.value
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_window_that_the_range_cuts_is_at_least_as_wide(apart):
    info, analysis = apart
    reading = read_table(_overview(info, analysis).tables[0])
    place = [column.name for column in reading.columns].index("lr_window_text")
    axes = {axis.optimizer: axis.window_study for axis in analysis.sensitivity.axes if axis.axis == "lr"}
    for row in _overview(info, analysis).tables[0].rows:
        window = axes[row[1]]
        assert row[[c.name for c in _overview(info, analysis).tables[0].columns].index("lr_window_open")] == (
            window.open_low or window.open_high
        )
    assert all(row[place].startswith("≥ ") or row[place][0].isdigit() for row in reading.rows)


def test_findings_say_who_is_before_whom_only_where_a_test_tells(apart):
    info, analysis = apart
    best = summarize(info, analysis)[0]
    assert "of Adam (a mean over 3 seeds)" in best
    assert "Adam is before Sgd (Holm's correction, p < 0.05)." in best
    same = {("w", name): _bowl(0.5, 0.1) for name in ("adam", "sgd")}
    info, analysis = _analyse(same, noise=0.01)
    best = summarize(info, analysis)[0]
    assert "of Adam and Sgd" in best
    assert "no difference between the best settings of both optimizers could be shown" in best


def test_findings_of_one_seed_claim_no_order():
    info, analysis = _analyse({("w", "adam"): _bowl(0.4, 0.05), ("w", "sgd"): _bowl(0.4, 0.3)}, seeds=1)
    said = summarize(info, analysis)
    assert "(a single run); whether another one's best setting is worse cannot be told" in said[0]
    assert not any("tuning" in sentence.lower() for sentence in said)


def test_what_was_maximized_is_told_as_it_was():
    info, analysis = _analyse({("w", "adam"): lambda unit: -_bowl(0.4, 0.05)(unit)}, chance=None, objective="-accuracy")
    assert summarize(info, analysis)[0].startswith("The highest accuracy is ")


def test_findings_of_a_study_without_a_sample_say_nothing_of_the_space():
    functions = {("w", "adam"): _bowl(0.4, 0.05), ("w", "sgd"): _bowl(0.5, 0.06)}
    info, analysis = _analyse(functions, is_sample=False, is_random=False, design_kind="tpe")
    said = " ".join(summarize(info, analysis))
    assert "share of good settings" not in said
    assert "good learning rates" not in said
    assert "A setting is good" not in _overview(info, analysis).paragraphs[0]


def test_findings_of_many_workloads_are_those_that_decide():
    functions = {
        (name, o): _bowl(0.4, 0.1 * k + 0.05) for name in "abcd" for k, o in enumerate(("adam", "sgd", "lion"))
    }
    info, analysis = _analyse(functions, noise=0.01)
    said = summarize(info, analysis)
    assert sum("the lowest val_error is" in sentence for sentence in said) == 4
    assert not any("share of good settings" in sentence for sentence in said)
    assert sum("workloads" in sentence for sentence in said) == 1


def test_optuna_failures_are_not_called_runs_that_did_not_diverge():
    info, analysis = _analyse({("w", "adam"): _bowl(0.4, 0.05)})
    assert any("none of 51 runs diverged" in sentence.lower() for sentence in summarize(info, analysis))
    foreign = replace(info, source="optuna")
    assert not any("diverged" in sentence for sentence in summarize(foreign, analysis))
    table = _overview(foreign, analysis).tables[0]
    assert table.rows[0][[column.name for column in table.columns].index("diverged")] is None
