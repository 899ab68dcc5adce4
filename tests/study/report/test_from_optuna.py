"""Reports are computed from Optuna studies of anybody's, whatever is in them."""

import contextlib
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import optuna
import polars as pl
import pytest
from foreign_studies import BETA, LR, SPREAD, add, made, observed, only_cell, opened, optimize, said, two_axes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from study.errors import RequestError
from study.report.foreign.from_optuna import read_optuna

pytestmark = pytest.mark.reports


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"journal:{tmp_path}/journal.log"


def test_each_trial_is_a_point_with_one_run(url: str) -> None:
    optimize(url, "mine", two_axes, trials=8)
    seen = observed(url)
    cell, info = only_cell(seen), seen.info
    assert (cell.workload, cell.optimizer, info.name, info.source) == ("optuna", "mine", "mine", "optuna")
    assert [(axis.name, axis.spec.scale, axis.conditional) for axis in cell.axes] == [
        ("lr", "log", False),
        ("beta", "linear", False),
    ]
    assert cell.number_N.tolist() == list(range(8))
    lr, beta = seen.runs["lr"].to_numpy(), seen.runs["beta"].to_numpy()
    assert np.allclose(cell.unit_ND, np.stack([np.log10(lr) / 4 + 1, beta], axis=1))
    assert np.array_equal(cell.mean_N, (lr - 0.1) ** 2 + (beta - 0.5) ** 2)
    assert (info.seeds, info.paired_seeds, info.state, info.cells[0].planned) == (1, False, "completed", 8)
    assert np.isfinite(cell.seconds_NS).all()
    assert info.created.endswith("+00:00")
    assert said(seen, "one run")


def test_tables_have_the_same_columns_whatever_is_in_them(url: str) -> None:
    add(url, "full", [made(1.0, lr=0.1, beta=0.5, user={"seed": 1})])
    add(url, "failed", [made(None, TrialState.FAIL, lr=0.1, beta=0.5)])
    _, full, curvature = read_optuna(url, ["full"], chance=2.0)
    _, failed, other = read_optuna(url, ["failed"])
    assert full.schema == failed.schema
    assert curvature.schema == other.schema
    assert curvature.is_empty()
    assert full.schema["steps_to_target"] == pl.Int64


def test_names_say_workload_and_optimizer(url: str) -> None:
    for name in ("a/digits/adai", "a/digits/sgd", "a/cifar/adai", "plain"):
        add(url, name, [made(1.0, lr=0.1, beta=0.5)])
    seen = observed(url, "a/digits/adai", "plain", "a/digits/sgd", "a/cifar/adai")
    assert seen.workloads == ("digits", "optuna", "cifar")
    assert [(c.workload, c.optimizer) for c in seen.on("digits")] == [("digits", "adai"), ("digits", "sgd")]
    # Every optimizer has a cell on every workload; without a study, one without trials.
    assert len(seen.cells) == 9
    assert seen.cell("cifar", "sgd").mean_N.size == 0
    assert seen.cell("cifar", "sgd").info.planned == 0


def test_studies_that_differ_in_their_prefix_stay_apart(url: str) -> None:
    for name in ("old/digits/adai", "new/digits/adai"):
        add(url, name, [made(1.0, lr=0.1, beta=0.5)])
    assert observed(url, "old/digits/adai", "new/digits/adai").optimizers == ("old/adai", "new/adai")


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_maximized_values_change_their_sign(url: str) -> None:
    trials = [made(value, lr=lr, beta=0.5) for (lr, _), value in zip(SPREAD, (0.9, 0.5, 0.1, 0.05), strict=True)]
    add(url, "mine", trials, direction="maximize")
    assert observed(url).info.objective == "-value"
    with opened(url) as storage:
        optuna.load_study(study_name="mine", storage=storage).set_metric_names(["accuracy"])
    seen = observed(url, chance=0.1)
    cell = only_cell(seen)
    assert seen.info.objective == "-accuracy"
    assert seen.info.workloads[0].chance == -0.1
    assert cell.mean_N.tolist() == [-0.9, -0.5, -0.1, -0.1]
    assert cell.at_chance_NS[:, 0].tolist() == [False, False, True, True]
    assert cell.best == 0
    assert said(seen, "maximize", "-accuracy")
    assert said(seen, "Runs worse than the chance level", ": 1.")


def test_infinite_values_diverge_at_the_worst_finite_one(url: str) -> None:
    add(url, "a", [made(math.inf, lr=0.1, beta=0.5), made(3.0, lr=0.2, beta=0.5), made(-math.inf, lr=0.3, beta=0.5)])
    add(url, "b", [made(7.0, lr=0.1, beta=0.5), made(1.0, lr=0.2, beta=0.5)])
    seen = observed(url, "a", "b")
    first = seen.cells[0]
    assert first.diverged_NS[:, 0].tolist() == [True, False, False]
    assert first.mean_N[:2].tolist() == [7.0, 3.0]
    assert first.finished_N.tolist() == [True, True, False]
    assert not first.at_chance_NS.any()
    assert seen.runs["termination"].to_list() == ["diverged", "completed", "failed", "completed", "completed"]
    assert seen.runs["at_chance"].null_count() == 5
    assert said(seen, "Runs on optuna", "NaN: 1.", "objective there, 7,")
    assert said(seen, "Failed runs: 1.", "NaN")
    (failure,) = seen.info.failures
    assert (failure.optimizer, failure.attempts) == ("a", 1)
    assert "-inf" in failure.reason


def test_infinite_values_diverge_at_chance_level_where_it_is_known(url: str) -> None:
    add(url, "a", [made(-math.inf, lr=0.1, beta=0.5), made(0.7, lr=0.2, beta=0.5)], direction="maximize")
    seen = observed(url, chance=0.1)
    assert only_cell(seen).mean_N.tolist() == [-0.1, -0.7]
    assert only_cell(seen).at_chance_NS[:, 0].tolist() == [True, False]
    assert said(seen, "at the chance level that was given")


def test_without_any_finite_value_nothing_is_finished(url: str) -> None:
    add(url, "a", [made(math.inf, lr=lr, beta=beta) for lr, beta in SPREAD])
    seen = observed(url)
    assert not only_cell(seen).finished_N.any()
    assert only_cell(seen).diverged_NS.all()
    assert said(seen, "give --chance")
    assert observed(url, chance=2.0).cells[0].mean_N.tolist() == [2.0] * 4


def test_every_state_of_a_trial_has_its_termination(url: str) -> None:
    trials = [
        made(1.0, lr=0.1, beta=0.1),
        made(None, TrialState.PRUNED, lr=0.1, beta=0.2),
        made(None, TrialState.FAIL, lr=0.1, beta=0.3, user={"error": "CUDA out of memory"}),
        made(None, TrialState.FAIL, lr=0.1),
        made(None, TrialState.RUNNING, lr=0.1),
        made(None, TrialState.WAITING),
        made(None, TrialState.WAITING),
    ]
    add(url, "mine", trials)
    seen = observed(url, sampler="random")
    cell = only_cell(seen)
    assert seen.runs["termination"].to_list() == ["completed", "pruned", "failed", "failed", None, None, None]
    assert cell.finished_N.tolist() == [True] + [False] * 6
    assert cell.pending_NS[:, 0].tolist() == [False] + [True] * 6
    assert seen.info.state == "running"
    assert {failure.reason[:9] for failure in seen.info.failures} == {"CUDA out ", "it raised"}
    # A trial that failed before it had all parameters makes no axis conditional, nor do equal halves make one setting.
    assert not any(axis.conditional for axis in cell.axes)
    assert seen.info.seeds == 1
    # What pruning left does not stand for the space.
    assert not seen.info.is_sample
    assert said(seen, "Pruned runs: 1.")
    assert said(seen, "Trials that wait or run", ": 3.")


def test_a_run_that_returned_nan_has_failed(url: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        value = two_axes(trial)
        return math.nan if trial.number == 2 else value

    optimize(url, "mine", objective, trials=4)
    seen = observed(url)
    assert seen.runs["termination"].to_list() == ["completed", "completed", "failed", "completed"]
    assert said(seen, "Failed runs: 1.", "NaN")


def test_of_several_objectives_the_first_one_counts(url: str) -> None:
    trials = [made([lr, beta], lr=lr, beta=beta) for lr, beta in SPREAD]
    add(url, "mine", trials, directions=["maximize", "minimize"])
    seen = observed(url)
    assert only_cell(seen).mean_N.tolist() == [-lr for lr, _ in SPREAD]
    assert said(seen, "2 objectives", "first one alone")


def test_studies_that_cannot_be_compared_are_refused(url: str) -> None:
    trial = made(1.0, lr=0.1, beta=0.5)
    add(url, "down", [trial])
    add(url, "up", [trial], direction="maximize")
    add(url, "two", [made([1.0, 2.0], lr=0.1, beta=0.5)], directions=["minimize", "minimize"])
    with pytest.raises(RequestError, match="down minimizes one objective; up maximizes one objective"):
        read_optuna(url, ["down", "up"])
    with pytest.raises(RequestError, match="two minimizes the first of 2 objectives"):
        read_optuna(url, ["down", "two"])


def test_a_study_in_which_nothing_varies_is_refused(url: str) -> None:
    add(url, "empty", [])
    add(url, "bare", [made(1.0), made(2.0)])
    add(url, "held", [made(1.0, distributions={"lr": FloatDistribution(0.1, 0.1)}, lr=0.1)] * 3)
    with pytest.raises(RequestError, match="no trials yet"):
        read_optuna(url, ["empty"])
    with pytest.raises(RequestError, match="no trial has any parameter"):
        read_optuna(url, ["bare"])
    with pytest.raises(RequestError, match="lr always have the same value"):
        read_optuna(url, ["held"])


def test_beside_others_a_study_without_trials_is_an_empty_cell(url: str) -> None:
    add(url, "empty", [])
    add(url, "full", [made(1.0, lr=lr, beta=beta) for lr, beta in SPREAD])
    seen = observed(url, "empty", "full")
    assert seen.cell("optuna", "empty").unit_ND.shape == (0, 0)
    assert seen.cell("optuna", "full").finished_N.all()
    assert said(seen, "empty has no trials")


@pytest.mark.parametrize("chance", [math.nan, math.inf])
def test_a_chance_level_that_is_no_number_is_refused(url: str, chance: float) -> None:
    with pytest.raises(RequestError, match="no finite number"):
        read_optuna(url, [], chance=chance)


def test_violated_constraints_are_told(url: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.set_constraint("memory", 1.0 if trial.number % 2 else -1.0)
        return two_axes(trial)

    optimize(url, "mine", objective, trials=6)
    assert said(observed(url), "Runs that violate constraints", ": 3.")


VALUES = st.one_of(st.floats(allow_nan=False), st.floats(-10, 10), st.sampled_from([math.inf, -math.inf, 0.0]))
KINDS = {
    "lr": LR,
    "beta": BETA,
    "depth": IntDistribution(1, 5),
    "act": CategoricalDistribution([None, "relu", 1, True]),
    "objective": FloatDistribution(-2.0, 2.0),
}
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "lr": st.sampled_from([1e-4, 0.01, 1.0]),
        "beta": st.floats(0, 1),
        "depth": st.integers(1, 5),
        "act": st.sampled_from([None, "relu", 1, True]),
        "objective": st.sampled_from([-2.0, 0.5]),
    },
)


@st.composite
def _trials(draw: st.DrawFn) -> optuna.trial.FrozenTrial:
    state = draw(st.sampled_from([TrialState.COMPLETE] * 4 + list(TrialState)))
    user = draw(st.fixed_dictionaries({}, optional={"seed": st.sampled_from([0, 1, 2, "x", None, 1.5])}))
    system = draw(st.sampled_from([{}, {}, {"fixed_params": {"lr": 0.01}}, {"grid_id": 3}, {"failed_trial": 0}]))
    value = draw(VALUES) if state is TrialState.COMPLETE else None
    return made(value, state, distributions=KINDS, user=user, system=system, **draw(PARAMS))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    trials=st.lists(_trials(), min_size=1, max_size=12),
    direction=st.sampled_from(["minimize", "maximize"]),
    chance=st.one_of(st.none(), st.floats(-5, 5)),
    named=st.booleans(),
)
def test_whatever_a_study_holds_is_counted_once(
    tmp_path_factory: pytest.TempPathFactory,
    trials: list[optuna.trial.FrozenTrial],
    direction: str,
    chance: float | None,
    named: bool,
) -> None:
    url = f"journal:{tmp_path_factory.mktemp('any')}/journal.log"
    add(url, "mine", trials, direction=direction)
    seed = "seed" if named and any("seed" in trial.user_attrs for trial in trials) else None
    if not any(len({repr(t.params[name]) for t in trials if name in t.params}) > 1 for name in KINDS):
        # It may be that nothing varies; then nothing is to be counted.
        with contextlib.suppress(RequestError):
            observed(url, chance=chance, seed_name=seed)
        return
    seen = observed(url, chance=chance, seed_name=seed)
    info, runs, cell = seen.info, seen.runs, only_cell(seen)
    keys = list(zip(runs["trial"], runs["seed"], strict=True))
    assert len(set(keys)) == len(keys)
    assert all(before < after for before, after in pairwise(keys))
    assert cell.objective_NS.shape[1] <= info.seeds
    states = [trial.state for trial in trials]
    ended = runs["termination"].value_counts()
    counts = dict(zip(ended["termination"].to_list(), ended["count"].to_list(), strict=True))
    complete = sum(counts.get(kind, 0) for kind in ("completed", "diverged"))
    assert complete <= states.count(TrialState.COMPLETE)
    assert counts.get("pruned", 0) <= states.count(TrialState.PRUNED)
    if seed is None and not any("seed" in trial.user_attrs for trial in trials):
        superseded = sum(f.attempts for f in info.failures if f.reason == "it was tried again")
        assert len(runs) + superseded == len(trials)
        assert counts.get("pruned", 0) == states.count(TrialState.PRUNED)
    places = cell.unit_ND[cell.design_N]
    assert ((places >= 0) & (places <= 1) | np.isnan(places)).all()
    assert np.isfinite(places[:, list(cell.always_active)]).all()
    counted = cell.objective_NS[np.isfinite(cell.objective_NS)]
    if chance is not None:
        level = -chance if direction == "maximize" else chance
        assert (counted <= level).all()
        assert (cell.objective_NS[cell.diverged_NS] == level).all()
    assert info.cells[0].planned == len(cell.number_N)
