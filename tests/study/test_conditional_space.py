"""Mixed spaces: choices, options and schedules as axes, conditions and constraints, down to the database."""

from typing import Any

import optuna
import polars as pl
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution

from adai import get_rule
from study.axis import AxisSpec, Value
from study.cli import main
from study.creation import create_study
from study.design import PlannedTrial, plan_trials
from study.driver import Driver
from study.errors import SpecError
from study.search_space import OptimizerSpec
from study.space import spread_values, to_distribution, to_unit, to_value
from study.spec import StudySpec
from study.spec_file import parse_spec
from study.storage.engine import create_database
from study.storage.optuna_rows import optuna_study_name
from study.storage.records import find_study
from workers.pool import InlinePool

MIXED = """
name = "mixed"
workloads = ["digits-logistic"]
seeds = 2
epochs = 1
[design]
kind = "sobol"
points = 24
[[optimizers]]
name = "cprop"
constraints = ["beta1 < beta2", 'schedule != "constant" or lr <= 0.1']
[optimizers.axes]
lr = { low = 1e-3, high = 1.0, scale = "log" }
inner = { choices = ["adamw", "sgd"] }
beta1 = { low = 0.5, high = 0.999, scale = "log1m" }
beta2 = { low = 0.5, high = 0.999, scale = "log1m" }
momentum = { choices = [0.0, 0.9], when = "lr < 0.1" }
schedule = { choices = ["constant", "cosine"] }
batch_size = { choices = [64, 128] }
[[optimizers]]
name = "padam"
[optimizers.axes]
amsgrad = { choices = [true, false] }
partial = { low = 0.05, high = 0.5, when = "amsgrad" }
"""


def mixed() -> StudySpec:
    return parse_spec(MIXED, source="mixed.toml")


def optimizer_of(lines: str, name: str = "adam") -> OptimizerSpec:
    text = f'name = "s"\nworkloads = ["digits-logistic"]\n[[optimizers]]\nname = "{name}"\n{lines}\n'
    return parse_spec(text, source="s.toml").optimizers[0]


# One axis


@st.composite
def axes(draw: st.DrawFn) -> AxisSpec:
    """Any kind of axis."""
    if draw(st.booleans()):
        kind = draw(st.sampled_from([st.floats(-1e6, 1e6), st.booleans(), st.text(max_size=5)]))
        return AxisSpec(choices=draw(st.lists(kind, min_size=2, max_size=9, unique=True)))
    scale = draw(st.sampled_from(["linear", "log", "log1m"]))
    if draw(st.booleans()) and scale != "log1m":
        low = draw(st.integers(1, 1000))
        return AxisSpec(low=low, high=low + draw(st.integers(1, 1000)), scale=scale, integer=True)
    ends = st.floats(1e-6, 0.9) if scale != "linear" else st.floats(-1e3, 1e3)
    low_end = draw(ends)
    return AxisSpec(low=low_end, high=low_end + draw(st.floats(1e-3, 0.09)), scale=scale)


@given(axis=axes(), unit=st.floats(0, 1))
def test_a_value_and_its_place_belong_together_on_every_kind_of_axis(axis: AxisSpec, unit: float) -> None:
    value = to_value(axis, unit)
    assert axis.contains(value)
    place = to_unit(axis, value)
    assert place is not None
    assert -1e-9 <= place <= 1 + 1e-9
    again = to_value(axis, min(max(place, 0.0), 1.0))
    assert again == value if axis.is_categorical or axis.integer else again == pytest.approx(value, rel=1e-9, abs=1e-9)
    distribution = to_distribution(axis)
    assert distribution.to_external_repr(distribution.to_internal_repr(value)) == value


@given(axis=axes(), levels=st.integers(2, 30))
def test_levels_increase_from_end_to_end_and_are_distinct(axis: AxisSpec, levels: int) -> None:
    values = spread_values(axis, levels)
    if axis.is_categorical:
        assert values == axis.choices
        return
    assert (values[0], values[-1]) == axis.ends
    assert values == sorted(set(values))
    assert len(values) == levels if not axis.integer else len(values) <= levels
    assert all(axis.contains(value) for value in values)


def test_choices_have_equal_shares_in_their_order() -> None:
    axis = AxisSpec(choices=["a", "b", "c", "d"])
    assert [to_value(axis, unit) for unit in (0.0, 0.2499, 0.25, 0.5, 0.999, 1.0)] == ["a", "a", "b", "c", "d", "d"]
    assert [to_unit(axis, value) for value in "abcd"] == [0.125, 0.375, 0.625, 0.875]
    assert to_unit(axis, "e") is None
    assert to_distribution(axis) == CategoricalDistribution(["a", "b", "c", "d"])


def test_true_is_not_the_number_1() -> None:
    assert not AxisSpec(choices=[0, 1]).contains(True)
    assert not AxisSpec(choices=[True, False]).contains(1.0)
    assert AxisSpec(choices=[0, 1]).contains(1.0)


#: (axes of adam or padam, words of the message)
MISTAKES = [
    ("lr = { choices = [0.1] }", "axes.lr: the choices [0.1] must be at least two, all different"),
    ("lr = { choices = [] }", "axes.lr: the choices [] must be at least two, all different"),
    ("lr = { choices = [0.1, 0.10] }", "must be at least two, all different"),
    ("lr = { choices = [1, 1.0] }", "must be at least two, all different"),
    ('lr = { choices = [0.1, "a"] }', "are of several kinds; take numbers, texts, or true and false"),
    ("lr = { choices = [1, true] }", "are of several kinds"),
    ("lr = { choices = [0.1, 0.2], low = 0.1 }", "axes.lr: low and choices exclude each other"),
    ("lr = { choices = [0.1, 0.2], high = 1 }", "axes.lr: high and choices exclude each other"),
    ('lr = { choices = [0.1, 0.2], scale = "log" }', "choices have neither scale nor integer"),
    ("lr = { choices = [0.1, 0.2], integer = true }", "choices have neither scale nor integer"),
    ("lr = { choices = [0.1, inf] }", "axes.lr.choices: inf cannot be a choice; allowed: finite numbers, texts"),
    ("lr = { choices = [[1], 2] }", "axes.lr.choices: [1] cannot be a choice"),
    ("lr = { choices = [1" + "0" * 400 + ", 2] }", "cannot be a choice"),
    ("lr = { choices = 3 }", "axes.lr.choices: Input should be a valid list, not 3"),
    ("lr = { low = 1, high = 2, when = 3 }", "axes.lr.when: Input should be a valid string, not 3"),
    ("lr = { high = 1 }", "axes.lr: low is missing; give low and high, or choices"),
    ("lr = { low = 1 }", "axes.lr: high is missing; give low and high, or choices"),
    ('lr = { choices = ["small", "large"] }', "lr = 'small' is no number; lr takes numbers only"),
    ("lr = { choices = [true, false] }", "lr = True is no number; lr takes numbers only"),
    ("lr = { choices = [0.1, -1] }", "lr = -1 is outside padam's range [0, infinity)"),
    ("batch_size = { choices = [32, 0] }", "batch_size = 0 is outside its range 1 to"),
    ("batch_size = { choices = [32, 64.5] }", "batch_size = 64.5 must be a whole number"),
    ('schedule = { choices = ["cosine", "cosin"] }', "unknown schedule 'cosin'; did you mean 'cosine'?"),
    ("schedule = { low = 0, high = 1 }", "axes.schedule: give choices, not a range: constant, step"),
    ("amsgrad = { low = 0, high = 1 }", "axes.amsgrad: is an option of padam; give its choices, not a range"),
    ('amsgrad = { choices = ["yes", "no"] }', "axes.amsgrad: each choice must be a truth value, such as True"),
    ("amsgrad = { choices = [0, 1] }", "axes.amsgrad: each choice must be a truth value"),
    ("amsgrat = { choices = [true, false] }", "did you mean 'amsgrad'?"),
    ('lr = { low = 0.1, high = 1, when = "beta1 <" }', "axes.lr.when: 'beta1 <' cannot be read"),
    ('lr = { low = 0.1, high = 1, when = "beta3 > 0" }', "axes.lr.when: 'beta3 > 0': 'beta3' at character 1"),
    ('lr = { low = 0.1, high = 1, when = "batch_size > 0" }', "'batch_size' at character 1 is an unknown name"),
    ('lr = { low = 0.1, high = 1, when = "lr > 0" }', "the axes lr depend on each other"),
    (
        'lr = { low = 0.1, high = 1, when = "eps > 0" }\neps = { low = 0.1, high = 1, when = "lr > 0" }',
        "the axes lr, eps depend on each other",
    ),
]


@pytest.mark.parametrize(("lines", "words"), MISTAKES)
def test_a_mistake_in_an_axis_is_named(lines: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        optimizer_of(f"[optimizers.axes]\n{lines}", name="padam")
    assert "optimizers[0]" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('constraints = ["beta1 < beta2", "beta1 < beta4"]', "constraints[1]: 'beta1 < beta4': 'beta4' at character 9"),
        ('constraints = ["lr"]', "constraints[0]: 'lr': 'lr' at character 1 is a number"),
        ('constraints = "beta1 < beta2"', "optimizers[0].constraints: Input should be a valid list"),
        ("constraints = [1]", "optimizers[0].constraints[0]: Input should be a valid string"),
        (
            "options = { amsgrad = true }\naxes = { amsgrad = { choices = [true, false] } }",
            "both an axis and an option",
        ),
    ],
)
def test_a_mistake_in_a_constraint_is_named_with_its_place(lines: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        optimizer_of(lines, name="padam")
    assert words in str(caught.value)


def test_a_circle_through_the_variant_of_an_option_is_refused() -> None:
    lines = """axes.inner = { choices = ["adamw", "sgd"], when = "momentum > 0.5" }
axes.momentum = { low = 0.1, high = 0.9 }"""
    with pytest.raises(SpecError, match="the axes inner, momentum depend on each other"):
        optimizer_of(lines, name="cprop")


# Options, schedules and the training


def test_an_option_axis_chooses_the_rule_and_whole_numbers_stay_whole() -> None:
    optimizer = optimizer_of('options = { reduce = "mean" }\naxes.keep_num = { choices = [3, 20] }', name="adashift")
    assert optimizer.options_of({"keep_num": 20.0}) == {"reduce": "mean", "keep_num": 20}
    assert optimizer.rule_of({"keep_num": 20.0}) is get_rule("adashift", reduce="mean", keep_num=20)
    assert optimizer.options_of({"lr": 1.0}) == {"reduce": "mean"}
    assert optimizer.rule is get_rule("adashift", reduce="mean")


def test_a_choice_that_the_rule_refuses_is_refused() -> None:
    with pytest.raises(SpecError, match="adashift: keep_num must be"):
        optimizer_of("axes.keep_num = { choices = [3, 2.5] }", name="adashift")
    with pytest.raises(SpecError, match="reduce must be one of 'max', 'mean', 'none', not 'median'"):
        optimizer_of('axes.reduce = { choices = ["max", "median"] }', name="adashift")


def test_a_trial_is_trained_with_its_own_schedule() -> None:
    spec = mixed()
    assert spec.training_of_trial({"schedule": "cosine"}).schedule == "cosine"
    assert spec.training_of_trial({"schedule": "own"}).schedule is None
    assert spec.training_of_trial({}).schedule is None
    assert spec.training_of_trial({"batch_size": 128.0, "lr": 1.0}).batch_size == 128


def test_the_default_schedule_is_the_studys_or_the_workloads_own() -> None:
    assert plan_trials(mixed())[0].hyperparameters["schedule"] == "own"
    own = parse_spec(MIXED.replace("[design]", '[training]\nschedule = "cosine"\n[design]'), source="s")
    default = plan_trials(own)[0]
    assert default.hyperparameters["schedule"] == "cosine"
    assert default.unit["schedule"] == 0.75


# Conditions


def test_an_axis_varies_where_its_condition_holds_and_keeps_its_default_elsewhere() -> None:
    optimizer = optimizer_of(
        "fixed = { eps = 1e-6 }\n"
        'axes.beta1 = { low = 0.5, high = 0.95, when = "lr < 0.1" }\n'
        'axes.lr = { low = 0.01, high = 1.0, scale = "log" }'
    )
    assert optimizer.ordered_axes == ("lr", "beta1")
    assert optimizer.is_active("beta1", {"lr": 0.05})
    assert not optimizer.is_active("beta1", {"lr": 0.1})
    assert optimizer.is_active("lr", {})


def test_a_hyperparameter_of_other_variants_is_not_active() -> None:
    optimizer = mixed().optimizer("cprop")
    assert optimizer.is_active("momentum", {"inner": "sgd", "lr": 0.01})
    assert not optimizer.is_active("momentum", {"inner": "sgd", "lr": 0.5})
    assert not optimizer.is_active("momentum", {"inner": "adamw", "lr": 0.01})
    assert optimizer.is_active("beta1", {"inner": "adamw"})
    assert not optimizer.is_active("beta1", {"inner": "sgd"})
    assert not optimizer.is_active("beta1", {"inner": "sgd", "beta1": 0.7})


def test_constraints_look_at_defaults_fixed_values_and_options_too() -> None:
    optimizer = optimizer_of('constraints = ["beta1 < beta2 and amsgrad"]\nfixed = { beta2 = 0.8 }', name="padam")
    assert not optimizer.allows({})  # beta1 is 0.9 by default
    assert optimizer.allows({"beta1": 0.7})
    assert not optimizer.allows({"beta1": 0.7, "amsgrad": False})
    assert optimizer.allows({"beta1": 0.9, "beta2": 0.95})


def expected_activity(trial: PlannedTrial) -> set[str]:
    """The axes of MIXED that vary in a trial, by hand."""
    values = trial.hyperparameters
    if trial.optimizer == "padam":
        return {"amsgrad", "partial"} if values["amsgrad"] is True else {"amsgrad"}
    own = {"beta1", "beta2"}
    if values["inner"] == "sgd":
        lr = values["lr"]
        assert isinstance(lr, float)
        own = {"momentum"} if lr < 0.1 else set()
    return {"lr", "inner", "schedule", "batch_size"} | own


def violates(trial: PlannedTrial) -> bool:
    """Whether a trial of MIXED breaks a constraint, by hand; betas of SGD inside are AdamW's defaults."""
    values: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999} | trial.hyperparameters
    if trial.optimizer == "padam":
        return False
    return not (values["beta1"] < values["beta2"] and (values["schedule"] != "constant" or values["lr"] <= 0.1))


@pytest.mark.parametrize("kind", ["sobol", "halton", "random", "latin_hypercube", "grid", "one_at_a_time"])
def test_every_design_keeps_to_conditions_and_constraints(kind: str) -> None:
    size = "levels = 3" if kind in ("grid", "one_at_a_time") else "points = 24"
    spec = parse_spec(MIXED.replace('"sobol"', f'"{kind}"').replace("points = 24", size), source="s")
    plan = plan_trials(spec)
    assert len(plan) == spec.trial_count
    assert {trial.hyperparameters.get("inner") for trial in plan} >= {"sgd", "adamw"}
    for trial in plan:
        active = expected_activity(trial)
        rule = spec.optimizer(trial.optimizer).rule_of(trial.hyperparameters)
        names = {h.name for h in rule.hyperparameters}
        assert names <= set(trial.hyperparameters)
        if trial.number:
            assert not violates(trial)
            if kind != "one_at_a_time":  # there, defaults may lie off their axes
                assert {name for name, unit in trial.unit.items() if unit is not None} == active
        for name, axis in spec.optimizer(trial.optimizer).axes.items():
            if name not in active and name in names:
                assert trial.hyperparameters[name] == rule.hyperparameter(name).default
            if name in active and trial.number and kind != "one_at_a_time":
                assert axis.contains(trial.hyperparameters[name])


def test_a_mixed_study_runs_to_its_end_and_its_database_says_what_was_tried(database_url: str) -> None:
    spec = mixed()
    with create_database(database_url) as engine:
        study = create_study(engine, spec)
        with InlinePool() as pool:
            Driver(engine, study, pool, lambda _: None).run()
        with engine.connect() as connection:
            state = find_study(connection, "mixed").state
            ended = connection.execute(sa.text("SELECT COUNT(*) FROM adai_runs WHERE objective IS NOT NULL")).scalar()
    assert state == "completed"
    assert ended == spec.trial_count * 2 == 2 * 25 * 2
    planned = {(trial.optimizer, trial.number): trial for trial in plan_trials(spec)}
    storage = optuna.storages.RDBStorage(database_url)
    for optimizer in ("cprop", "padam"):
        name = optuna_study_name("mixed", "digits-logistic", optimizer)
        for optuna_trial in optuna.load_study(study_name=name, storage=storage).trials:
            trial = planned[optimizer, optuna_trial.number]
            on_axes = expected_activity(trial)
            if trial.number == 0:  # the workload's own schedule is no choice of the axis
                on_axes -= {"schedule"}
            assert set(optuna_trial.params) == on_axes
            assert optuna_trial.params == {name: trial.hyperparameters[name] for name in on_axes}
            assert trial.number == 0 or not violates(trial)
            assert optuna_trial.state == optuna.trial.TrialState.COMPLETE


def test_a_choice_of_schedule_batch_size_or_option_is_what_workers_train(database_url: str) -> None:
    text = MIXED.replace("points = 24", "points = 8")
    spec = parse_spec(text, source="s")
    batches = []

    class Watching(InlinePool):
        def submit(self, batch: Any) -> None:
            batches.append(batch)
            super().submit(batch)

    with create_database(database_url) as engine, Watching() as pool:
        Driver(engine, create_study(engine, spec), pool, lambda _: None).run()
    asked = {(b.optimizer, b.training.schedule, b.training.batch_size, b.options.get("inner")) for b in batches}
    wanted: set[tuple[str, Value | None, int | None, Value | None]] = set()
    for trial in plan_trials(spec):
        values = trial.hyperparameters
        if trial.optimizer == "cprop":
            schedule = values["schedule"] if values["schedule"] != "own" else None
            wanted.add(("cprop", schedule, int(values["batch_size"]), values["inner"]))
        else:
            wanted.add(("padam", None, None, None))
    assert asked == wanted
    assert {batch.options.get("amsgrad") for batch in batches if batch.optimizer == "padam"} == {True, False}
    assert all(isinstance(value, float) for b in batches for row in b.hyperparameters.values() for value in row)


def test_tables_and_report_have_columns_of_texts_and_truth_values(database_url: str, tmp_path: Any) -> None:
    (tmp_path / "s.toml").write_text(MIXED.replace("points = 24", "points = 8"))
    words = ["--pool", "inline", "--db", database_url, "--out", str(tmp_path / "report")]
    result = CliRunner().invoke(main, ["run", str(tmp_path / "s.toml"), *words])
    assert result.exit_code == 0, result.output
    out = tmp_path / "runs.parquet"
    words = ["export", "mixed", "--format", "parquet", "--out", str(out), "--db", database_url]
    assert CliRunner().invoke(main, words).exit_code == 0
    runs = pl.read_parquet(out)
    kinds = {"schedule": pl.String, "inner": pl.String, "amsgrad": pl.Boolean, "lr": pl.Float64, "momentum": pl.Float64}
    assert {name: runs.schema[name] for name in kinds} == kinds
    assert set(runs["schedule"].unique()) == {"own", "constant", "cosine", None}
    text = (tmp_path / "report" / "report.md").read_text()
    assert "Some axes are active in some trials only." in text
    assert "| constant, cosine | \\- | choices |" in text
    assert "| 0, 0.9 | \\- | choices | lr &lt; 0.1 |" in text
    assert 'meet: beta1 &lt; beta2, schedule != "constant" or lr &lt;= 0.1.' in text
