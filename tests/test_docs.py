"""The documentation: complete, up to date, and every link, command and example in it works."""

import ast
import dataclasses
import graphlib
import inspect
import itertools
import json
import os
import platform
import re
import runpy
import shlex
import subprocess
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from doc_pages import DOCS, EXAMPLES, FENCE, PAGES, ROOT, blocks, first_names, names, prose, read, rows, section
from pydantic_core import PydanticUndefined

import adai
from adai import Adai, get_optimizer, get_rule, list_optimizers, schedules
from adai.optimizer import RuleOptimizer
from adai.schedules import get_schedule, list_schedules
from study import cli_report
from study.axis import AxisSpec
from study.cli import main
from study.cube import COLUMNS
from study.design_spec import ADAPTIVE_KINDS, DesignSpec, PruningSpec, SecondObjective
from study.errors import StudyError
from study.pruning import bracket_sizes
from study.report import differences, part_cache, steps
from study.report.analysis import Settings as ReportSettings
from study.report.measures import intervals, surrogate
from study.report.measures.audit import audit, coverage
from study.report.measures.comparison import bands, workload_tests
from study.report.measures.comparison import profiles as target_profiles
from study.report.measures.flatness import matched_loss, rank_correlation
from study.report.measures.importance import importance, ped_anova, variance
from study.report.measures.landscape.records import FEWEST
from study.report.measures.robustness import dimensionality, local, profiles, yardstick
from study.report.measures.surrogate import least_points
from study.retries import MAX_ATTEMPTS
from study.search_space import OptimizerSpec
from study.settings import Settings
from study.spec import StudySpec
from study.spec_file import parse_spec
from study.storage.tables import VERSION_TABLE, metadata
from study.training import TRAINING_AXES, CurvatureSpec, TrainingSpec
from workers import checkpoints, planner
from workers.curvature import THOROUGH, Curvature
from workers.messages import Objective, Termination
from workers.random import Purpose
from workers.workloads import CrossEntropy, Dataset, MissingDataError, Split, Workload, get_workload, list_workloads
from workers.workloads.registry import ENTRY_POINT_GROUP

PACKAGES = ("adai", "workers", "study", "dashboards")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def walk(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from walk(below, (*words, name))


COMMANDS = dict(walk(main))


# Commands


def test_the_page_of_commands_is_up_to_date_whatever_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rendered = runpy.run_path(str(DOCS / "generate.py"))["render_page"]()
    assert rendered == read("commands.md"), "run `make docs`"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_its_section(words: tuple[str, ...]) -> None:
    text = section("commands.md", " ".join(["adai-study", *words]))
    for parameter in COMMANDS[words].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert all(re.search(rf"(?<!\S){re.escape(name)}(?![\w-])", text) for name in parameter.opts), (
                parameter.opts
            )
        elif isinstance(parameter, click.Argument):
            assert str(parameter.metavar or parameter.name).upper() in text


def command_lines() -> list[Any]:
    """Every ``adai-study …`` in a fenced block or in backticks, in every page."""
    found: list[Any] = []
    for page in PAGES:
        text = read(page)
        pieces = [line for match in FENCE.finditer(text) for line in match[2].splitlines()]
        pieces += re.findall(r"`([^`\n]+)`", prose(text))
        for piece in pieces:
            match = re.search(r"(?:^|\s|/)adai-study(?: (.+)|$)", piece)
            if match and "`" not in piece:
                found.append(pytest.param(match[1] or "", id=f"{page.name}-{piece.strip()[:60]}"))
    return found


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_names_a_command_and_options_that_exist(line: str) -> None:
    check_command_line(line)


@pytest.mark.parametrize("line", ["ran digits", "run --wokers 2 x.toml", "export digits --format xml", "db sink"])
def test_a_wrong_command_line_would_be_found(line: str) -> None:
    with pytest.raises(AssertionError):
        check_command_line(line)


def check_command_line(line: str) -> None:
    words = shlex.split(line.partition(" # ")[0].partition(" > ")[0])
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith(("-", "[")):
        name = words.pop(0)
        assert name in command.commands, f"no command {name!r}"
        command = command.commands[name]
    options = {name: p for p in command.params if isinstance(p, click.Option) for name in p.opts}
    for word, following in itertools.pairwise([*words, ""]):
        if word.startswith("-") and word not in ("-h", "--help"):
            assert word in options, f"no option {word!r}"
            kind = options[word].type
            assert not isinstance(kind, click.Choice) or following in kind.choices, f"{word} {following}"


# The spec


@pytest.mark.parametrize(
    ("model", "heading"),
    [
        (StudySpec, "The study"),
        (TrainingSpec, "Training"),
        (CurvatureSpec, "Curvature"),
        (OptimizerSpec, "Optimizers"),
        (AxisSpec, "Axes"),
        (DesignSpec, "Design"),
        (PruningSpec, "Pruning"),
    ],
)
def test_every_field_of_the_spec_is_documented_with_its_default(model: Any, heading: str) -> None:
    documented = {names(row[0])[0]: row[2] for row in rows(section("spec.md", heading), "field")}
    assert list(documented) == list(model.model_fields)
    for name, field in model.model_fields.items():
        if field.default is PydanticUndefined:
            assert documented[name] == "required"
        elif isinstance(field.default, str | int | float):
            assert documented[name] == f"`{json.dumps(field.default)}`"


@pytest.mark.parametrize(
    ("field", "heading", "head"),
    [
        (AxisSpec.model_fields["scale"], "Axes", "scale"),
        (DesignSpec.model_fields["kind"], "Design", "kind"),
        (PruningSpec.model_fields["kind"], "Pruning", "kind"),
        (StudySpec.model_fields["objective"], "Objectives", "objective"),
        (TrainingSpec.model_fields["label_noise"], "Training", "label_noise"),
        (TrainingSpec.model_fields["imbalance"], "Training", "imbalance"),
        (TrainingSpec.model_fields["engine"], "Training", "engine"),
        (TrainingSpec.model_fields["precision"], "Training", "precision"),
    ],
)
def test_every_choice_of_the_spec_is_documented(field: Any, heading: str, head: str) -> None:
    choices = list(typing.get_args(field.annotation))
    assert len(choices) >= 2
    assert first_names(section("spec.md", heading), head) == choices


def test_every_sampler_and_second_objective_is_documented() -> None:
    text = section("spec.md", "Adaptive designs")
    assert set(first_names(text, "sampler")) == ADAPTIVE_KINDS
    assert first_names(text, "second_objective") == list(typing.get_args(SecondObjective))


def test_the_proportions_of_the_brackets_in_the_text_are_those_of_the_code() -> None:
    sizes = bracket_sizes(PruningSpec(kind="hyperband"), 27)
    assert f"here {' : '.join(map(str, sizes.values()))}," in " ".join(section("spec.md", "Pruning").split())


def test_every_schedule_of_the_spec_is_documented() -> None:
    assert tuple(first_names(section("spec.md", "Training"), "schedule")) == list_schedules()


def test_every_axis_of_the_training_is_documented_with_its_range() -> None:
    table = {names(row[0])[0]: row[1] for row in rows(section("spec.md", "Training axes"), "axis")}
    ranges = {name: tuple(float(end) for end in text.split(" to ")) for name, text in table.items()}
    assert ranges == TRAINING_AXES


def test_the_columns_of_the_cube_are_documented() -> None:
    table = rows(section("spec.md", "Design"), "column")
    assert {name: int(row[0]) for row in table for name in names(row[1])} == COLUMNS


# Workloads


def stand_in(name: str, classes: int) -> Dataset:
    """Data in the shape of a workload whose own is not on this machine, or has another number of classes here."""
    image = name.startswith(("imagefolder", "cifar"))
    inputs = torch.zeros(2, 3, 32, 32) if image else torch.zeros(2, 64, dtype=torch.int64)
    part = Split(inputs, torch.zeros(2, dtype=torch.int64))
    return Dataset(part, part, part, classes)


def load_as_documented(workload: Workload, table: dict[str, str]) -> tuple[Dataset, bool]:
    """The workload's data, and whether it is the real one; with as many classes as its section says."""
    stated = re.search(r" for (\d+) (?:classes|characters)$", table["parameters"])
    try:
        data = workload.load_data()
    except MissingDataError:
        assert workload.name.startswith(("imagefolder", "cifar"))
        return stand_in(workload.name, int(stated[1]) if stated else 100 if "cifar100" in workload.name else 10), False
    if stated and data.classes != int(stated[1]):  # of another version of Python, or of this machine's own
        return stand_in(workload.name, int(stated[1])), False
    return data, True


@pytest.mark.parametrize("name", list_workloads())
def test_every_workload_is_documented_with_its_settings(name: str) -> None:
    workload = get_workload(name)
    text = " ".join(section("workloads.md", name).split())
    table = {row[0]: row[1] for row in rows(section("workloads.md", name))}
    assert workload.title.lower() in text.lower()
    assert table["citation"] == workload.citation.replace(f"Python {platform.python_version()}", "Python 3.11.7")
    assert table["batch size"].startswith(f"{workload.batch_size};")
    assert table["epochs"].startswith(f"{workload.epochs} ")
    unit = " nats" if isinstance(workload.loss, CrossEntropy) else ""
    assert table["loss ceiling"] == f"{workload.loss_ceiling:g}{unit}"
    assert table["loss"].startswith("mean cross-entropy") == isinstance(workload.loss, CrossEntropy)
    assert table["metric"].startswith("none") == (workload.error is None)
    assert (table["augmentation"] == "none") == (workload.augment is None)
    assert table["target error"] == ("none" if workload.target_error is None else f"{workload.target_error:g}")
    schedule = get_schedule(names(table["schedule"])[0])
    assert [workload.schedule(step / 100) for step in range(101)] == [schedule(step / 100) for step in range(101)]
    assert table["a good setting reaches"]


@pytest.mark.parametrize("name", list_workloads())
def test_every_workload_is_documented_with_its_numbers(name: str) -> None:
    workload = get_workload(name)
    table = {row[0]: row[1] for row in rows(section("workloads.md", name))}
    data, is_real = load_as_documented(workload, table)
    parameters = sum(parameter.numel() for parameter in workload.build_model(data).parameters())
    assert table["parameters"].partition(" for ")[0] == f"{parameters:,}"
    objectives: tuple[Objective, ...] = ("val_loss",) if workload.error is None else ("val_error", "val_loss")
    assert tuple(names(table["chance level"])) == objectives
    if not name.startswith("imagefolder"):
        chance = [float(number) for number in re.findall(r"\d+\.\d+", table["chance level"])]
        expected = [pytest.approx(workload.chance_level(objective, data), abs=5e-4) for objective in objectives]
        assert chance == expected
    if is_real and not name.startswith("imagefolder"):
        sizes = [len(part.labels) for part in (data.train, data.validation, data.test)]
        assert re.findall(r"[\d,]+(?= [tvi])", table["split"]) == [f"{size:,}" for size in sizes]


def test_no_workload_is_documented_that_does_not_exist() -> None:
    headings = re.findall(r"^### ([a-z0-9._-]+)$", read("workloads.md"), re.MULTILINE)
    assert headings == list(list_workloads())


def test_every_purpose_of_random_words_is_documented() -> None:
    documented = [row[0] for row in rows(section("workloads.md", "Paired randomness"), "purpose")]
    assert documented == [purpose.name.lower().replace("_", " ") for purpose in Purpose]


def test_everything_that_is_measured_of_the_loss_surface_is_documented() -> None:
    text = " ".join(section("workloads.md", "What is measured").split())
    quantities = [field.name for field in dataclasses.fields(Curvature)]
    assert first_names(section("workloads.md", "What is measured"), "quantity") == [
        *quantities,
        "slice_alphas",
        "slice_losses",
    ]
    assert f"at most {THOROUGH.lanczos_steps} steps" in text
    assert f"with {THOROUGH.probes} random sign vectors" in text
    assert f"SAM's step, {THOROUGH.sam_rho:g} along" in text
    assert f"ASAM's step, {THOROUGH.asam_rho:g} in" in text
    assert f"magnitude of each parameter + {THOROUGH.asam_eta:g} " in text
    products = THOROUGH.lanczos_steps + 2 + THOROUGH.probes
    assert f"costs at most {products} passes" in " ".join(section("spec.md", "Curvature").split())


def test_the_workload_of_ones_own_is_the_example_file_to_the_letter() -> None:
    text = section("workloads.md", "A workload of your own")
    assert python_blocks(text) == [(EXAMPLES / "my_workload.py").read_text(encoding="utf-8")]
    assert f"`{ENTRY_POINT_GROUP}`" in text


# Optimizers


@pytest.mark.parametrize("name", list_optimizers())
def test_every_hyperparameter_is_documented_with_default_range_and_source(name: str) -> None:
    entry = get_optimizer(name)
    table = {names(row[0])[0]: row for row in rows(section("optimizers.md", name), "hyperparameter")}
    assert list(table) == [h.name for h in entry.rule.hyperparameters]
    for h in entry.rule.hyperparameters:
        _, default, valid, search, source = table[h.name]
        assert float(default) == h.default
        assert valid == h.valid_range
        assert source == h.source
        if h.name in entry.search_space:
            axis = entry.search_space[h.name]
            low, high, scale = re.fullmatch(r"(\S+) to (\S+), (\w+)", search).groups()  # type: ignore[union-attr]
            assert (float(low), float(high), scale) == (axis.low, axis.high, axis.scale)
        else:
            assert search == ""


@pytest.mark.parametrize("name", list_optimizers())
def test_every_optimizer_is_documented_with_its_citation(name: str) -> None:
    text = " ".join(section("optimizers.md", name).split())
    assert get_optimizer(name).citation in text
    assert "```text" in text, "its update rule"


def test_the_optimizers_are_documented_in_the_catalogs_order_and_counted() -> None:
    text = read("optimizers.md")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert tuple(headings[: len(list_optimizers())]) == list_optimizers()
    assert not {*headings[len(list_optimizers()) :]} & {*list_optimizers()}
    assert text.startswith(f"# Optimizers\n\n{len(list_optimizers())} optimizers, ")


@pytest.mark.parametrize("name", list_optimizers())
def test_every_option_is_documented_with_its_default_and_values(name: str) -> None:
    options = get_rule(name).options
    table = rows(section("optimizers.md", name), "option")
    assert [names(row[0]) for row in table] == [[option] for option in options]
    for row, (option, default) in zip(table, options.items(), strict=True):
        assert [ast.literal_eval(value) for value in names(row[1])] == [default]
        assert {ast.literal_eval(value) for value in names(row[2])} == set(allowed_values(name, option, default))


def allowed_values(name: str, option: str, default: object) -> list[object]:
    """The values between which an option chooses; none where it is a number or another rule."""
    if isinstance(default, bool):
        return [True, False]
    if not isinstance(default, str) or default in list_optimizers():
        return []
    with pytest.raises(ValueError, match="must be one of") as refusal:
        get_rule(name, **{option: "no such value"})
    return list(re.findall(r"'([^']+)'", str(refusal.value).partition(", not ")[0]))


@pytest.mark.parametrize("name", list_optimizers())
def test_every_setting_of_a_publication_is_documented_with_task_and_source(name: str) -> None:
    expected = [
        [", ".join(f"`{key}` {value:g}" for key, value in setting.values.items()), setting.task, setting.source]
        for setting in get_optimizer(name).paper_settings
    ]
    assert rows(section("optimizers.md", name), "setting") == expected


def test_the_compiled_rules_are_those_that_are_named() -> None:
    text = section("optimizers.md", "Compiled steps")
    compiled = [name for name in list_optimizers() if get_rule(name).kernel is not None]
    first = text.strip().partition("\n\n")[0]
    assert names(first) == compiled
    assert first.startswith(f"{len(compiled)} of the {len(list_optimizers())} have a compiled step")


def test_every_class_is_documented_with_its_rule_and_options() -> None:
    table = {names(row[0])[0]: row for row in rows(section("optimizers.md", "In your own training loop"), "class")}
    classes = {name: getattr(adai, name) for name in adai.__all__}
    optimizers = {
        name: cls for name, cls in classes.items() if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)
    }
    assert set(table) == set(optimizers)
    for name, cls in optimizers.items():
        _, rule, options = table[name]
        assert set(names(options)) <= set(get_rule(names(rule)[0]).options) | set(inspect.signature(cls).parameters)
        if issubclass(cls, RuleOptimizer):
            assert names(rule) == [cls.rule_name]
            assert set(cls.option_names) <= set(names(options))


# Adai


def python_blocks(text: str) -> list[str]:
    return [match[2] for match in FENCE.finditer(text) if match[1] == "python"]


def run_example(code: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "example", "exec"), namespace)  # noqa: S102 - our own documentation
    return namespace


def test_the_first_example_with_adai_has_ten_lines_at_most_and_lowers_the_loss() -> None:
    code = python_blocks(read("adai.md"))[0]
    assert "Adai(" in code
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    losses = run_example(code)["losses"]
    assert losses[-1] < losses[0] / 10


def test_the_example_with_rows_steps_each_by_its_own_rate_and_drops_what_has_diverged() -> None:
    (code,) = python_blocks(section("adai.md", "Rows: many runs at once"))
    found = run_example(code)
    assert found["kept"].tolist() == [True, True, True, False]
    still, slow, fast = found["theta_TP"].square().sum(dim=1).tolist()
    assert still == 10
    assert max(slow, fast) < still
    assert {len(tensor) for tensor in (*found["state"], *found["values"].values())} == {3}


def test_the_example_with_a_schedule_lowers_the_loss_and_ends_with_a_rate_of_zero() -> None:
    (code,) = python_blocks(section("adai.md", "Learning rate schedules"))
    found = run_example(code)
    assert found["weight"].square().sum() < 1e-3
    assert found["optimizer"].param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def signature_of(function: Any) -> str:
    """A function's call with its defaults, as people write it."""
    parameters = inspect.signature(function).parameters.values()
    return ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters)


def test_every_schedule_is_documented_with_its_defaults() -> None:
    functions = {
        name: function
        for name, function in vars(schedules).items()
        if inspect.isfunction(function)
        and function.__module__ == schedules.__name__
        and not name.startswith("_")
        and function not in (get_schedule, list_schedules)
    }
    expected = [f"{name}({signature_of(function)})" for name, function in functions.items()]
    assert first_names(section("adai.md", "Learning rate schedules"), "schedule") == expected


def test_every_argument_of_adai_is_documented_with_its_default() -> None:
    table = {names(row[0])[0]: row[1] for row in rows(section("adai.md", "The algorithm"), "argument")}
    parameters = inspect.signature(Adai).parameters
    assert list(table) == list(parameters)
    for name, parameter in parameters.items():
        assert table[name] == ("required" if parameter.default is parameter.empty else f"`{parameter.default!r}`")


def test_the_state_of_adai_is_documented() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    optimizer = Adai([parameter], lr=1.0)
    optimizer.step()
    documented = first_names(section("adai.md", "Differences from the conventions of torch.optim"), "state")
    assert documented == list(optimizer.state[parameter])


# Reports


#: What is said of each measure, in this order.
ASPECTS = ["definition", "unit", "interval", "divergence", "source", "not computed", "tables", "modules"]
REPORT = ROOT / "study" / "report"
#: What every report has beside the tables of its sections.
RAW_TABLES = ["runs", "trials", "curvature", "columns"]


@pytest.fixture(scope="module")
def frames(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The tables of a real study, by their heading in docs/reports.md."""
    url, report = finished
    epochs = tmp_path_factory.mktemp("docs") / "epochs.csv"
    words = ["export", "small", "--table", "epochs", "--format", "csv", "--out", str(epochs), "--db", url]
    assert CliRunner().invoke(main, words).exit_code == 0
    tables = {f"{name}.csv": report / "tables" / f"{name}.csv" for name in ("trials", "runs")}
    return {heading: pl.read_csv(path) for heading, path in {**tables, "epochs (export only)": epochs}.items()}


@pytest.mark.parametrize("heading", ["trials.csv", "runs.csv"])
def test_every_column_is_documented_and_every_documented_column_exists(
    heading: str, frames: dict[str, pl.DataFrame]
) -> None:
    columns = {"unit_AXIS" if name.startswith("unit_") else name for name in frames[heading].columns}
    documented = first_names(section("reports.md", heading))
    assert len(documented) == len(set(documented))
    # The small study lacks the hyperparameters of optimizers that it does not have.
    assert set(documented) - set(COLUMNS) == columns - set(COLUMNS)
    assert columns & set(COLUMNS) <= set(documented)
    # In the table of runs "epochs" are those that were trained; as an axis they are its "budget".
    assert set(COLUMNS) <= set(documented)


def test_every_column_of_the_epochs_is_documented(frames: dict[str, pl.DataFrame]) -> None:
    heading = "epochs (export only)"
    sentence = section("reports.md", heading)
    assert set(frames[heading].columns) == set(names(sentence))


def test_every_file_of_a_report_is_documented(finished: tuple[str, Path]) -> None:
    documented = set(first_names(section("reports.md", "The folder"), "file"))
    files = {path.relative_to(finished[1]).as_posix() for path in finished[1].rglob("*") if path.is_file()}
    special = {name for name in documented if "NAME" not in name}
    assert special <= files
    assert {re.sub(r"(figures|tables)/[\w-]+", r"\1/NAME", name) for name in files - special} == documented - special


def list_table_names() -> list[str]:
    """Every table that a section of a report may have, as the sections' code names them."""
    found = []
    for path in sorted((REPORT / "sections").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Table":
                name = node.args[0] if node.args else next(k.value for k in node.keywords if k.arg == "name")
                found.append(ast.literal_eval(name))
    return found


def test_every_table_of_a_report_is_documented(finished: tuple[str, Path]) -> None:
    documented = first_names(section("reports.md", "Tables"), "table")
    assert len(documented) == len(set(documented))
    assert set(documented) == {*list_table_names(), *RAW_TABLES}
    assert {path.stem for path in (finished[1] / "tables").iterdir()} <= set(documented)


def measures() -> dict[str, dict[str, str]]:
    """Heading of each measure -> what is said of it, by aspect."""
    text = section("reports.md", "Measures")
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)[1:]
    return {
        heading: {row[0]: row[1] for row in rows(part)} for heading, part in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("heading", measures())
def test_every_measure_has_all_that_must_be_known_of_it(heading: str) -> None:
    aspects = measures()[heading]
    assert list(aspects) == ASPECTS
    assert all(aspects.values())


def test_every_table_is_told_with_its_measures_and_every_measure_with_its_tables() -> None:
    told = {(table, slug(heading)) for heading, said in measures().items() for table in names(said["tables"])}
    told -= {(name, anchor) for name, anchor in told if name == "report.json" or name.startswith("analysis.")}
    linked = {
        (names(row[0])[0], target.removeprefix("#"))
        for row in rows(section("reports.md", "Tables"), "table")
        if names(row[0])[0] not in RAW_TABLES
        for target in _LINK.findall(row[2])
    }
    assert linked == told


def test_every_module_of_measures_is_told() -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (REPORT / "measures").rglob("*.py")}
    told = set(re.findall(r"`(study/report/measures/[\w/]+\.py)`", section("reports.md", "Measures")))
    assert told == {name for name in modules if not name.endswith("__init__.py")}


@pytest.mark.parametrize("verb", ["report", "verify", "compare"])
def test_every_option_of_reports_is_explained(verb: str) -> None:
    told = set(re.findall(r"`(--[a-z]+)", read("reports.md")))
    options = {name for p in COMMANDS[verb,].params if isinstance(p, click.Option) and not p.hidden for name in p.opts}
    assert {name for name in options if name.startswith("--")} - {"--db", "--debug", "--help"} <= told


def test_the_defaults_of_the_options_of_reports_are_those_of_the_code() -> None:
    table = {names(row[0])[0]: row[1] for row in rows(read("reports.md").partition("\n## ")[0], "option")}
    defaults = ReportSettings()
    assert f"; {defaults.tolerance:g} by default" in table["--tolerance"]
    assert f"; {defaults.rope:g} by default" in table["--rope"]


def test_the_options_for_optuna_studies_are_explained_with_their_choices() -> None:
    table = {names(row[0])[0]: row[1] for row in rows(section("reports.md", "Any Optuna study"), "option")}
    options = {p.opts[0]: p for p in COMMANDS["report",].params if isinstance(p, click.Option)}
    assert set(table) == {name for name, p in options.items() if name == "--optuna" or "--optuna:" in str(p.help)}
    sampler = options["--sampler"].type
    assert isinstance(sampler, click.Choice)
    assert set(names(table["--sampler"])) == set(sampler.choices)


def test_the_limits_of_cache_and_lists_of_reports_are_those_of_the_code() -> None:
    assert f"Up to {part_cache._MOST_PARTS:,} files are kept" in " ".join(section("reports.md", "Caching").split())
    assert f"up to {part_cache._MOST_PARTS:,} |" in section("operating.md", "The cache")
    assert f"It lists {cli_report._SHOWN} of each kind" in " ".join(section("reports.md", "Compare").split())
    assert f"every {steps._LINE_SECONDS:g} seconds".replace("5", "five") in " ".join(read("operating.md").split())


def test_the_readme_tells_the_size_of_the_demo() -> None:
    spec = parse_spec((ROOT / "study" / "specs" / "digits.toml").read_text(encoding="utf-8"), source="demo")
    text = " ".join(read(ROOT / "README.md").split())
    points = spec.design.points + 1
    factors = (
        f"{len(spec.workloads)} workloads x {len(spec.optimizers)} optimizers x {points} trials x {spec.seeds} seeds"
    )
    assert f"{factors} = {spec.trial_count * spec.seeds:,} runs" in text
    assert f"{spec.trial_count}/{spec.trial_count} trials" in text
    assert f"queued, {spec.trial_count} trials" in read("operating.md")


def test_the_numbers_of_measures_are_those_of_the_code() -> None:
    text = " ".join(read("reports.md").split())
    said = {heading: " ".join(aspects.values()) for heading, aspects in measures().items()}
    assert f"for ε = {', '.join(f'{eps:g}' for eps in yardstick.TOLERANCES)} and" in said["Robust volume"]
    assert f"All intervals are at {intervals.CONFIDENCE:.0%}".replace("95%", "95 %") in text
    assert f"percentiles of {intervals.RESAMPLES:,} resamples" in text
    (factor, share), (wider, larger) = local.BOXES
    assert f"a factor of {factor:g} to each side" in said["Loss round the best"]
    assert f"and {share:g} of the range on linear ones; {wider:g} and {larger:g}." in said["Loss round the best"]
    assert local.ALPHA == 1 / 5
    assert f"max({least_points(0)}, {least_points(100) // 100} per axis)" in said["Surrogate"]
    assert f"({surrogate.TREES} trees" in said["Surrogate"]
    assert f"fewer than {FEWEST} points on the axes" in said["Landscape"]
    assert f"at {profiles.PLACES} even places" in said["Learning-rate sensitivity"]
    assert f"From {variance.SAMPLES:,} scrambled" in said["Sobol' indices"]
    assert f"at most {importance.MOST_RANKED} of them" in said["Sobol' indices"]
    assert f"R² below {importance.LEAST_R2:g}" in said["Sobol' indices"]
    assert f"fewer than {round((ped_anova.LEAST_TOP - 1) / ped_anova.TOP) + 1} points" in said["PED-ANOVA"]
    assert f"Beyond {bands.MOST_EXACT:,} points" in said["Expected best of k trials"]
    assert f"τ from 1 to {target_profiles.R_MAX:g}" in said["Time to a target"]
    assert f"Posterior ({workload_tests.DRAWS:,} draws)" in said["Signed ranks over workloads"]
    assert f"reach {dimensionality.ENOUGH:.0%}".replace("%", " %") in said["Effective dimensionality"]
    assert f"outermost {audit.HIT:g} of the same end" in said["Edges of the ranges"]
    assert f"outermost {audit.OUTER:g}, beside" in said["Edges of the ranges"]
    assert f"of {coverage.PLACES:,} Sobol' places" in said["Coverage"]
    assert f"from {rank_correlation.LEAST_FOR_INTERVAL} points on" in said["Sharpness"]
    assert f"within {matched_loss.CALIPER:g} decades" in said["Sharpness at equal training loss"]
    assert f"fewer than {matched_loss.LEAST_PAIRS} pairs" in said["Sharpness at equal training loss"]
    assert f"within {differences.RELATIVE:g} of the larger one, or {differences.ABSOLUTE:g};".replace("e-0", "e-") in (
        text.replace("e-0", "e-")
    )


def test_every_termination_is_documented() -> None:
    documented = first_names(section("reports.md", "How runs end"), "termination")
    assert documented == [termination.name.lower() for termination in Termination]


# Operating


def test_every_environment_variable_is_documented() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in MODULES)
    used = set(re.findall(r"(?<![A-Z_])(?:ADAI|XDG)_[A-Z]+(?:_[A-Z]+)*", text))
    used |= {f"ADAI_{field.upper()}" for field in Settings.model_fields}
    assert used == set(first_names(section("operating.md", "Environment variables")))
    # Of Compose: those of .env.example, whose comments document them.
    used |= set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert {name for page in PAGES for name in re.findall(r"ADAI_[A-Z_]+", read(page))} <= used


def test_the_example_of_env_has_every_variable_of_compose_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example, re.MULTILINE))
    files = [ROOT / "docker-compose.yml", *(ROOT / "deploy").glob("*.yml")]
    used = {
        match for file in files for match in re.findall(r"\$\{([A-Z_]+):?-([^}]*)\}", file.read_text(encoding="utf-8"))
    }
    assert {name for name, _ in used} | {"COMPOSE_PROFILES"} == set(documented)
    switched_on = {"ADAI_GPU_SHARE": "0"}
    assert {(name, default) for name, default in used if switched_on.get(name, documented[name]) != default} == set()


def test_every_exit_code_is_documented() -> None:
    def codes(error: type[StudyError]) -> set[int]:
        return {error.exit_code}.union(*(codes(below) for below in error.__subclasses__()))

    table = {int(row[0]) for row in rows(section("operating.md", "Exit codes"))}
    assert table == {0} | codes(StudyError)


# Architecture


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in MODULES if path.name != "__init__.py"])
def test_every_module_is_documented(path: str) -> None:
    package = next(name for name in PACKAGES if path.startswith(f"{name}/"))
    tables = [
        section("architecture.md", h) for h in re.findall(r"^## (\w+/.*)$", read("architecture.md"), re.MULTILINE)
    ]
    documented = [name for table in tables for name in first_names(table) if name.startswith(f"{package}/")]
    assert documented.count(path) == 1


def report_imports() -> dict[str, set[str]]:
    """Module of study/report -> those that it imports, but for annotations only."""
    found: dict[str, set[str]] = {}
    for path in REPORT.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        typing_only = {
            id(below)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for below in ast.walk(node)
        }
        imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and id(node) not in typing_only]
        own = ".".join(path.relative_to(REPORT).with_suffix("").parts)
        modules = [node.module or "" for node in imported]
        found[own] = {name.removeprefix("study.report.") for name in modules if name.startswith("study.report.")}
    return found


def test_the_parts_of_a_report_import_what_is_documented_and_no_circle() -> None:
    heading = "study/report/: from a table of runs to a report"
    documented = {names(row[0])[0]: set(names(row[1])) for row in rows(section("architecture.md", heading), "part")}
    imports = report_imports()
    parts: dict[str, set[str]] = {part: set() for part in documented}
    for own, others in imports.items():
        part = own.partition(".")[0]
        parts.setdefault(part, set()).update({other.partition(".")[0] for other in others} - {part})
    assert {part: parts[part] for part in documented} == documented
    graphlib.TopologicalSorter(imports).prepare()  # raises where there is a circle


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    reported = first_names(section("reports.md", "The folder"), "file")
    named = [name for name in names(prose(read(page))) if re.fullmatch(r"[a-z]+/[\w./-]*\.(py|toml|md|png)", name)]
    missing = [name for name in named if not (ROOT / name).exists() and name not in reported]
    assert not missing


def test_every_table_and_column_of_the_database_is_documented() -> None:
    documented = {names(row[0])[0]: names(row[2]) for row in rows(section("architecture.md", "The database"), "table")}
    assert documented == {table.name: [column.name for column in table.columns] for table in metadata.tables.values()}
    assert f"`{VERSION_TABLE}`" in read("architecture.md")


def test_the_limits_in_the_text_are_those_of_the_code() -> None:
    text = " ".join(read("architecture.md").split())
    *small, largest = planner._STACK_ROWS
    assert f"in stacks of {', '.join(map(str, small))} and {largest} rows" in text
    assert f"at most {planner.LOOPED_ROWS} rows" in text
    assert f"{planner._WORTH_COMPILING_SECONDS:g} seconds of eager work" in text
    assert f"every {checkpoints.DEFAULT_SECONDS:g} seconds" in text
    assert f"{checkpoints._STALE_SECONDS / 86400:g} days" in text
    assert MAX_ATTEMPTS == 3
    assert "three attempts in all" in text


# Every page


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_images_and_anchors_resolve(page: Path) -> None:
    text = prose(read(page))
    for target in _LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(read(path)), re.MULTILINE)
            assert anchor in [slug(heading) for heading in headings], target


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in _LINK.findall(read(ROOT / "README.md"))}
    assert set(PAGES) - {ROOT / "README.md"} <= linked


@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_example_runs(
    code: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "reports/" in code:  # It reads the report of a study that has run.
        (tmp_path / "reports").mkdir()
        (tmp_path / "reports" / "digits").symlink_to(request.getfixturevalue("finished")[1])
        monkeypatch.chdir(tmp_path)
    run_example(code)


def test_the_example_with_a_report_tells_every_share(
    finished: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "digits").symlink_to(finished[1])
    monkeypatch.chdir(tmp_path)
    run_example(python_blocks(section("reports.md", "report.json"))[0])
    printed = capsys.readouterr().out.splitlines()
    table = pl.read_csv(finished[1] / "tables" / "robust-volumes.csv").filter(pl.col("headline"))
    assert len(printed) == table.height > 0
    for line, row in zip(printed, table.iter_rows(named=True), strict=True):
        assert f"{row['workload']}, {row['title']}: {row['volume']:.0%}" in line


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_toml_example_is_a_study_spec(text: str) -> None:
    assert parse_spec(text, source="example", folder=EXAMPLES).name == tomllib.loads(text)["name"]


def test_the_number_of_runs_of_the_example_is_right() -> None:
    spec = parse_spec(next(iter(blocks("toml"))).values[0], source="example")
    assert f"{spec.trial_count * spec.seeds} runs" in section("spec.md", "An example")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = read(page)
    lines = [line for match in FENCE.finditer(text) for line in match[2].splitlines()]
    named = {match[1] for line in [*lines, *names(prose(text))] if (match := re.match(r"(?:\$ )?make ([a-z]+)", line))}
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert named <= targets
    assert named or page.name not in ("README.md", "CONTRIBUTING.md")


def test_pre_commit_runs_what_make_check_runs() -> None:
    dry = subprocess.run(
        ["make", "--dry-run", "--always-make", "check"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    checks = [line for line in dry.stdout.splitlines() if re.match(r"\.venv/bin/(?!pip)", line)]
    hooks = re.findall(r"entry: (.+)$", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(checks) >= 3
    assert hooks == checks
