"""The study spec: what it accepts, what it refuses and how it says so."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adai import get_optimizer, get_rule, list_optimizers
from study.axis import AxisSpec
from study.design_spec import DesignKind
from study.errors import SpecError
from study.search_space import OptimizerSpec
from study.spec import StudySpec
from study.spec_file import load_spec, parse_spec
from study.specs import list_shipped_specs, read_shipped_spec, read_starter_spec

GOOD = """
name = "good"
workloads = ["digits-mlp"]
seeds = 3
[design]
points = 8
[[optimizers]]
name = "adai"
fixed = { weight_decay = 5e-4 }
[optimizers.axes]
lr = { low = 1e-2, high = 10, scale = "log" }
beta2 = { low = 0.5, high = 0.999, scale = "log1m" }
"""

#: As version 0.1.0 computed it.
GOOD_HASH = "2874f3694e60b3ea316c06126a0e53aeefaba2ffc20b560b33d04671caa04e49"

#: (what is replaced, by what, words that the message must have)
MISTAKES = {
    "unknown key": ("seeds = 3", "seed = 3", "seed: unknown key; did you mean 'seeds'? allowed: name, description"),
    "unknown key in design": ("points = 8", "point = 8", "design.point: unknown key; did you mean 'points'?"),
    "unknown key in an optimizer": ("fixed =", "fix =", "optimizers[0].fix: unknown key; did you mean 'fixed'?"),
    "unknown key in pruning": (
        "[design]",
        '[pruning]\nkid = "none"\n[design]',
        "pruning.kid: unknown key; did you mean",
    ),
    "unknown key in an axis": ("low = 1e-2", "lo = 1e-2", "optimizers[0].axes.lr.lo: unknown key; did you mean 'low'?"),
    "unknown optimizer": ('"adai"', '"adaii"', "unknown optimizer 'adaii'; did you mean 'adai'? allowed: adai, adaiw"),
    "unknown workload": ('"digits-mlp"', '"digit-mlp"', "unknown workload 'digit-mlp'; did you mean 'digits-mlp'?"),
    "unknown hyperparameter": ("beta2 =", "beta1 =", "unknown hyperparameter of adai 'beta1'"),
    "unknown fixed value": ("weight_decay", "momentum", "unknown hyperparameter of adai 'momentum'"),
    "empty range": ("high = 10", "high = 1e-2", "axes.lr: the range 0.01 to 0.01 is empty; low must be below high"),
    "log range that reaches 0": ("low = 1e-2", "low = 0", "axes.lr: a log range cannot reach 0"),
    "log range below 0": ("low = 1e-2", "low = -1", "axes.lr: a log range cannot reach -1"),
    "log1m range that reaches 1": ("high = 0.999", "high = 1", "axes.beta2: a log1m range cannot reach 1"),
    "value out of range": ("5e-4", "-5e-4", "weight_decay = -0.0005 is outside adai's range [0, infinity)"),
    "axis out of range": (
        'low = 0.5, high = 0.999, scale = "log1m"',
        "low = 0.5, high = 1.0",
        "beta2 = 1 is outside adai's range [0, 1)",
    ),
    "axis and fixed": ("weight_decay =", "lr =", "lr is both an axis and fixed; keep one of the two"),
    "unknown option": (
        "fixed =",
        "options = { dampening = 1 }\nfixed =",
        "adai has no option 'dampening'; it has none",
    ),
    "option out of range": (
        'name = "adai"',
        'name = "adashift"\noptions = { reduce = "median" }',
        "adashift: reduce must be one of 'max', 'mean', 'none', not 'median'",
    ),
    "option of a wrong type": (
        'name = "adai"',
        'name = "adashift"\noptions = { keep_num = "ten" }',
        "adashift: keep_num must be",
    ),
    "no seeds": ("seeds = 3", "seeds = 0", "seeds: Input should be greater than or equal to 1, not 0"),
    "seeds that are no number": ("seeds = 3", 'seeds = "3"', "seeds: Input should be a valid integer, not '3'"),
    "no points": ("points = 8", "points = 0", "design.points: Input should be greater than or equal to 1"),
    "unknown design": (
        "points = 8",
        'kind = "gird"',
        "design.kind: Input should be 'sobol', 'halton', 'latin_hypercube'",
    ),
    "unknown scale": ('"log"', '"ln"', "axes.lr.scale: Input should be 'linear', 'log' or 'log1m', not 'ln'"),
    "infinite range": ("high = 10", "high = inf", "axes.lr.high: Input should be a finite number"),
    "no workloads": ('["digits-mlp"]', "[]", "workloads: List should have at least 1 item"),
    "workload twice": ('["digits-mlp"]', '["digits-mlp", "digits-mlp"]', "'digits-mlp' is listed 2 times"),
    "no name": ('name = "good"', "", "name: is missing"),
    "bad name": ('"good"', '"Good Study"', "'Good Study' is not a study name; use 1 to 64 lower-case letters"),
    "name with a slash": ('"good"', '"a/b"', "'a/b' is not a study name"),
    "range without width on its scale": (
        "high = 10",
        "high = 0.010000000000000002",
        "cannot be divided on the scale log",
    ),
    "range too wide for a float": ('low = 1e-2, high = 10, scale = "log"', "low = 0, high = 1e999", "finite number"),
    "axes that are no table": (
        "[optimizers.axes]",
        "axes = 3\n[other]",
        "optimizers[0].axes: must be a table with keys",
    ),
    "axis that is no table": (
        'lr = { low = 1e-2, high = 10, scale = "log" }',
        "lr = 5",
        "axes.lr: must be a table with keys",
    ),
    "fixed that is no table": ("fixed = { weight_decay = 5e-4 }", "fixed = 5", "fixed: must be a table with keys"),
    "huge number": ("seeds = 3", "seeds = 1" + "0" * 400, "..."),
    "number beyond Python": ("seeds = 3", "seeds = 1" + "0" * 5000, "is not valid TOML"),
    "nesting": ("seeds = 3", "seeds = " + "[" * 5000, "is not valid TOML"),
    "not TOML": ("seeds = 3", "seeds = ", "is not valid TOML"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(mistake: str) -> None:
    old, new, words = MISTAKES[mistake]
    assert GOOD.count(old) >= 1
    with pytest.raises(SpecError) as caught:
        parse_spec(GOOD.replace(old, new, 1), source="my.toml")
    assert str(caught.value).startswith("my.toml: ")
    assert words in str(caught.value)


def test_all_mistakes_of_a_spec_are_listed_at_once() -> None:
    text = GOOD.replace("seeds = 3", "seeds = 0").replace('"adai"', '"adia"').replace("points = 8", "point = 8")
    with pytest.raises(SpecError) as caught:
        parse_spec(text, source="my.toml")
    assert len(str(caught.value).splitlines()) == 4


def test_an_optimizer_listed_twice_is_refused() -> None:
    with pytest.raises(SpecError, match="optimizer 'adai' is listed 2 times; list it once"):
        parse_spec(GOOD + '[[optimizers]]\nname = "adai"\n', source="my.toml")


def test_an_optimizer_without_anything_to_vary_is_refused() -> None:
    text = GOOD + '[[optimizers]]\nname = "sgd"\nfixed = { lr = 0.1, momentum = 0.9 }\n'
    with pytest.raises(SpecError, match=r"optimizers\[1\]: no axis is left to vary; remove one from fixed"):
        parse_spec(text, source="my.toml")


def test_an_optimizer_without_axes_gets_the_catalogs_written_into_the_spec() -> None:
    spec = parse_spec(GOOD + '[[optimizers]]\nname = "sgd"\nfixed = { momentum = 0.5 }\n', source="my.toml")
    assert spec.optimizer("sgd").axes == {"lr": AxisSpec(low=1e-3, high=10.0, scale="log")}


def test_options_choose_the_variant_and_its_hyperparameters() -> None:
    text = GOOD + '[[optimizers]]\nname = "cprop"\noptions = { inner = "sgd", cdf = "normal" }\n'
    optimizer = parse_spec(text, source="my.toml").optimizer("cprop")
    assert optimizer.rule is get_rule("cprop", inner="sgd", cdf="normal")
    names = {hyperparameter.name for hyperparameter in optimizer.rule.hyperparameters}
    assert "momentum" in names
    assert set(optimizer.axes) == set(get_optimizer("cprop").search_space) & names


def test_options_make_another_study_and_their_absence_does_not() -> None:
    text = GOOD + '[[optimizers]]\nname = "adashift"\n'
    usual, same, other = (
        parse_spec(text + more, source="my.toml") for more in ("", "options = {}\n", "options = { keep_num = 3 }\n")
    )
    assert usual.hash == same.hash != other.hash


def test_a_spec_stored_before_there_were_options_keeps_its_hash() -> None:
    assert parse_spec(GOOD, source="my.toml").hash == GOOD_HASH


@pytest.mark.parametrize("wrong", ["false", "[]", '""', "0"])
def test_axes_and_fixed_of_a_wrong_type_are_not_taken_for_absent(wrong: str) -> None:
    for field in ("axes", "fixed", "options"):
        text = f'name = "x"\nworkloads = ["digits-mlp"]\n[[optimizers]]\nname = "sgd"\n{field} = {wrong}\n'
        with pytest.raises(SpecError, match=rf"optimizers\[0\]\.{field}: must be a table with keys"):
            parse_spec(text, source="my.toml")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "windows.toml").write_text(GOOD, encoding="utf-8-sig")
    assert load_spec(tmp_path / "windows.toml") == parse_spec(GOOD, source="")


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nothing\.toml: there is no such file; write one with `adai-study init"):
        load_spec(tmp_path / "nothing.toml")
    with pytest.raises(SpecError, match="cannot be read as UTF-8 text"):
        load_spec(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="cannot be read as UTF-8 text"):
        load_spec(tmp_path / "binary.toml")


def test_the_hash_changes_with_every_field_but_the_description() -> None:
    spec = parse_spec(GOOD, source="")
    changed = {
        "name": "other",
        "seeds": 4,
        "study_seed": 1,
        "epochs": 3,
        "objective": "val_loss",
        "workloads": ["digits-logistic"],
    }
    hashes = {spec.hash} | {spec.model_copy(update={key: value}).hash for key, value in changed.items()}
    assert len(hashes) == len(changed) + 1
    assert spec.model_copy(update={"description": "other words"}).hash == spec.hash


def test_a_stored_spec_reads_back_as_itself() -> None:
    spec = parse_spec(GOOD, source="")
    again = StudySpec.model_validate(spec.model_dump(mode="json"))
    assert again == spec
    assert again.hash == spec.hash


@pytest.mark.parametrize("name", list_shipped_specs())
def test_every_shipped_spec_is_valid(name: str) -> None:
    assert parse_spec(read_shipped_spec(name), source=name).name == name


def test_the_starter_spec_is_valid_and_explains_every_field() -> None:
    text = read_starter_spec()
    spec = parse_spec(text, source="starter")
    for model in (StudySpec, OptimizerSpec, AxisSpec):
        for field in model.model_fields:
            assert field in text
    assert all(kind in text for kind in get_args(DesignKind))
    assert all(name in text for name in list_optimizers())
    assert spec.optimizers


def test_what_the_starter_spec_shows_of_constraints_and_choices_is_valid() -> None:
    text = read_starter_spec()
    for key in ("constraints", "batch_size = { low", "schedule = { choices"):
        assert f"# {key}" in text
        text = text.replace(f"# {key}", key)
    optimizer = parse_spec(text, source="starter").optimizers[0]
    assert optimizer.constraints
    assert {"batch_size", "schedule"} <= set(optimizer.axes)
    assert optimizer.axes["batch_size"].integer


def test_the_demo_study_is_the_one_that_is_promised() -> None:
    spec = parse_spec(read_shipped_spec("digits"), source="digits")
    assert [optimizer.name for optimizer in spec.optimizers] == ["adai", "adaiw", "sgd", "adam", "adamw", "radam"]
    assert (spec.design.kind, spec.design.points, spec.seeds) == ("sobol", 32, 3)
    assert spec.workloads == ["digits-mlp", "digits-logistic"]
    assert spec.trial_count == 2 * 6 * 33


@given(text=st.text(max_size=200))
def test_any_text_is_a_spec_or_a_clear_refusal(text: str) -> None:
    # No random text names workloads and optimizers: whatever else it is, it is refused as a spec.
    with pytest.raises(SpecError, match=r"^any\.toml: "):
        parse_spec(text, source="any.toml")
