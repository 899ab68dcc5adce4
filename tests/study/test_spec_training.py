"""How workloads are trained, in a spec: every mistake is named, own workloads come from files."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests_support import ADAI_STUDY, Command, fails

from study.errors import SpecError
from study.spec import STORED, StudySpec
from study.spec_file import limit_train_of, load_spec, parse_spec
from workers.workloads import WorkloadSourceError

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "my_workload.py"
BASE = """
name = "s"
workloads = ["digits-logistic"]
{top}
[training]
{training}
[design]
points = 2
[[optimizers]]
name = "sgd"
{optimizer}
"""


def spec_of(training: str = "", *, top: str = "", optimizer: str = "") -> StudySpec:
    return parse_spec(BASE.format(training=training, top=top, optimizer=optimizer), source="s.toml")


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ("batch_size = 0", ["training.batch_size", "greater than or equal to 1", "0"]),
        ("batch_size = 1.5", ["training.batch_size", "1.5"]),
        ('schedule = "cosin"', ["unknown schedule 'cosin'", "cosine", "one_cycle"]),
        ("label_smoothing = 1.0", ["training.label_smoothing", "less than 1"]),
        ("noise_rate = 0.2", ["noise_rate = 0.2 needs a kind of noise", "symmetric, pair or heteroskedastic"]),
        ('label_noise = "pair"', ['label_noise = "pair" does nothing without noise_rate']),
        ("imbalance_ratio = 10.0", ["needs a kind of imbalance", "step or exponential"]),
        ('imbalance = "step"', ['imbalance = "step" does nothing without imbalance_ratio']),
        ("target_error = 5.0", ["training.target_error"]),
        ('engine = "fast"', ["training.engine", "'stacked'", "'looped-compiled'"]),
        ('precision = "int8"', ["training.precision", "'bfloat16'"]),
        ("curvature = { every = -1 }", ["training.curvature.every"]),
        ("curvature = { evry = 1 }", ["training.curvature.evry: unknown key", "did you mean 'every'?"]),
        ("epochs = 3", ["training.epochs: unknown key", "it belongs to the top of the spec"]),
        ("batch_sise = 3", ["did you mean 'batch_size'?"]),
    ],
)
def test_a_mistake_in_training_is_named(training: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(training)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        ("axes = { batch_size = { low = 0, high = 8 } }", ["batch_size = 0 is outside its range 1 to"]),
        ("axes = { batch_size = { low = 1.5, high = 8 } }", ["must be whole numbers"]),
        ("axes = { label_smoothing = { low = 0.0, high = 1.0 } }", ["label_smoothing = 1 is outside its range"]),
        ("axes = { noise_rate = { low = 0.0, high = 0.5 } }", ["the axis noise_rate of sgd needs label_noise"]),
        ("axes = { imbalance_ratio = { low = 1.0, high = 9.0 } }", ["the axis imbalance_ratio of sgd needs imbalance"]),
        ("axes = { batchsize = { low = 1, high = 9 } }", ["did you mean 'batch_size'?"]),
        ("fixed = { batch_size = 8 }", ["hyperparameter of sgd", "'batch_size'"]),
    ],
)
def test_a_mistake_in_an_axis_of_the_training_is_named(optimizer: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(optimizer=optimizer)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("key", ["batch_size = 8", 'schedule = "cosine"', 'label_noise = "pair"'])
def test_a_key_of_training_at_the_top_is_sent_to_its_table(key: str) -> None:
    with pytest.raises(SpecError, match=r"unknown key; it belongs under \[training\]"):
        spec_of(top=key)


def test_a_workload_without_an_error_rate_is_judged_by_its_loss() -> None:
    with pytest.raises(SpecError, match="workload 'quadratic' has no error rate; set objective"):
        parse_spec(BASE.format(training="", top="", optimizer="").replace("digits-logistic", "quadratic"), source="s")


def test_defaults_of_training_written_out_are_the_same_study() -> None:
    plain = spec_of()
    assert spec_of('engine = "auto"\nlabel_smoothing = 0.0\nprecision = "float32"').hash == plain.hash
    assert spec_of("batch_size = 64").hash != plain.hash


def test_limiting_the_training_set_makes_another_study_and_refuses_a_second_limit() -> None:
    limited = limit_train_of(spec_of(), 100)
    assert limited.training.limit_train == 100
    assert limited.hash == spec_of("limit_train = 100").hash != spec_of().hash
    with pytest.raises(SpecError, match="limit_train is an axis of sgd; leave one of the two out"):
        limit_train_of(spec_of(optimizer="axes = { limit_train = { low = 10, high = 90 } }"), 50)


def test_a_workload_file_beside_the_spec_is_read_into_it(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "mine.py")
    text = BASE.format(training="", top='workload_files = ["mine.py"]', optimizer="")
    (tmp_path / "s.toml").write_text(text.replace("digits-logistic", "breast-cancer"))
    spec = load_spec(tmp_path / "s.toml")
    assert spec.workload_files == {"mine.py": EXAMPLE.read_text()}
    assert spec.workload("breast-cancer").name == "breast-cancer"
    (tmp_path / "mine.py").write_text(EXAMPLE.read_text() + "\n# changed\n")
    assert load_spec(tmp_path / "s.toml").hash != spec.hash


@pytest.mark.parametrize("value", ['"own.py"', '{ "own.py" = "raise SystemExit" }', "[1]"])
def test_workload_files_are_a_list_of_paths(value: str) -> None:
    with pytest.raises(SpecError, match="workload_files: must be a list of paths of Python files"):
        spec_of(top=f"workload_files = {value}")


def test_a_workload_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    text = BASE.format(training="", top='workload_files = ["own.py"]', optimizer="")
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(SpecError, match=r"workload_files: 'own\.py' cannot be read"):
        load_spec(tmp_path / "s.toml")
    (tmp_path / "own.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(SpecError, match="nothing_of_that_name"):
        load_spec(tmp_path / "s.toml")


def test_a_stored_spec_is_looked_at_without_running_its_files(tmp_path: Path) -> None:
    content = spec_of().model_dump(mode="json")
    witness = tmp_path / "ran"
    content["workload_files"] = {"own.py": f"open({str(witness)!r}, 'w').close()"}
    content["workloads"] = ["own"]
    spec = StudySpec.model_validate(content, context=STORED)
    assert not witness.exists()
    with pytest.raises(WorkloadSourceError):
        spec.workload("own")


def test_a_finished_study_is_read_where_its_workload_is_gone(
    command: Command, tmp_path: Path, database_url: str
) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    (tmp_path / "mine.py").write_text(f"open({str(flag)!r}).close()\n" + EXAMPLE.read_text())
    text = BASE.format(training="", top='workload_files = ["mine.py"]\nepochs = 1\nseeds = 1', optimizer="")
    (tmp_path / "s.toml").write_text(text.replace("digits-logistic", "breast-cancer"))
    words = ("--db", database_url)
    ran = command("run", tmp_path / "s.toml", "--pool", "inline", *words, "--no-report")
    assert ran.exit_code == 0, ran.output
    flag.unlink()
    for arguments in (
        ["status", "s"],
        ["report", "s", "--out", tmp_path / "again"],
        ["export", "s", "--format", "csv", "--out", tmp_path / "runs.csv"],
    ):
        # In another process, which has not run the file yet.
        done = subprocess.run([ADAI_STUDY, *arguments, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    text = (tmp_path / "again" / "report.md").read_text()
    assert "### breast-cancer" in text
    assert "[](" not in text
    assert (tmp_path / "runs.csv").read_text().count("\n") == 4


def test_what_no_engine_can_train_is_refused_before_anything_is_written(
    command: Command, tmp_path: Path, database_url: str
) -> None:
    for name, training, words in (
        ("digits-cnn", 'engine = "stacked"', ["the stacked engine cannot train workload 'digits-cnn'"]),
        ("digits-mlp", 'engine = "stacked"\nprecision = "bfloat16"', ["does not compute in bfloat16"]),
        ("quadratic", "label_smoothing = 0.1", ["no cross-entropy loss", "leave it out"]),
    ):
        top = 'objective = "val_loss"'
        text = BASE.format(training=training, top=top, optimizer="").replace("digits-logistic", name)
        (tmp_path / "s.toml").write_text(text)
        result = command("run", tmp_path / "s.toml", "--pool", "inline", "--db", database_url, "--out", tmp_path / "r")
        fails(result, 2, *words)
        assert not (tmp_path / "r").exists()


def test_the_ends_of_training_axes_are_tried_before_anything_is_written(
    command: Command, tmp_path: Path, database_url: str
) -> None:
    axes = "axes = { label_smoothing = { low = 0.0, high = 0.3 } }"
    text = BASE.format(training="", top='objective = "val_loss"', optimizer=axes)
    (tmp_path / "s.toml").write_text(text.replace("digits-logistic", "quadratic"))
    result = command("run", tmp_path / "s.toml", "--pool", "inline", "--db", database_url, "--out", tmp_path / "r")
    fails(result, 2, "axis label_smoothing of sgd at 0.3", "no cross-entropy loss")
