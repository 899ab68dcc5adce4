"""Specs from the web: the messages of the command line, no code, no files, and an answer in time whatever they say."""

import time
from pathlib import Path
from typing import Any

import pytest
from tests_support import SMALL_SPEC

from adai import list_optimizers
from study.errors import SpecError
from study.spec_checking import MAX_CHARACTERS, count_trials, find_same, read_web_spec
from study.spec_file import parse_spec
from study.storage.engine import open_database

#: Two are promised; the machines of tests are busy.
SECONDS = 4.0
HEAD = 'name = "x"\nworkloads = ["digits-logistic"]\n'
SGD = '[[optimizers]]\nname = "sgd"\n'
CONTENT = {"name": "x", "workloads": ["digits-logistic"], "optimizers": [{"name": "sgd"}]}


def problems_of(**given: Any) -> tuple[str, ...]:
    """What is wrong, found in time, in a bounded number of bounded messages."""
    began = time.monotonic()
    with pytest.raises(SpecError) as caught:
        count_trials(read_web_spec(**given))
    assert time.monotonic() - began < SECONDS
    assert len(caught.value.problems) <= 51
    assert max(map(len, caught.value.problems)) <= 1003
    return caught.value.problems


def test_a_spec_is_the_same_from_toml_from_json_and_from_a_file() -> None:
    expected = parse_spec(SMALL_SPEC, source="file")
    assert read_web_spec(toml=SMALL_SPEC) == expected
    assert read_web_spec(content=expected.model_dump(mode="json")) == expected
    assert count_trials(expected).trials == expected.trial_count == 10


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seeds = 2", "sedes = 2"),
        ("seeds = 2", "seeds = 0"),
        ('"adai"', '"adamax"'),
        ("fixed =", "axes = { lr = { low = 1.0, high = 1.0 } }\nfixed ="),
        ('"digits-logistic"', '"digits"'),
    ],
)
def test_mistakes_are_told_as_the_command_line_tells_them(old: str, new: str) -> None:
    text = SMALL_SPEC.replace(old, new, 1)
    with pytest.raises(SpecError) as caught:
        parse_spec(text, source="spec.toml")
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert list(problems_of(toml=text)) == list(caught.value.problems) == lines


def test_python_files_are_not_taken_over_the_web(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    code = {"own.py": f"open({str(witness)!r}, 'w').close()"}
    (tmp_path / "own.py").write_text(code["own.py"])
    for given in (
        {"content": CONTENT | {"workload_files": code, "workloads": ["own"]}},
        {"content": CONTENT | {"workload_files": [str(tmp_path / "own.py")]}},
        {"toml": f'workload_files = ["{tmp_path}/own.py"]\n{HEAD}{SGD}'},
        {"toml": f'workload_files = ["/etc/shadow"]\n{HEAD}{SGD}'},
    ):
        (problem,) = problems_of(**given)
        assert problem.startswith("workload_files: Python files are not taken over the web")
        assert "adai-study submit SPEC" in problem
    assert not witness.exists()


def nested(levels: int) -> dict[str, Any]:
    """Tables inside each other."""
    content: dict[str, Any] = {}
    for _ in range(levels):
        content = {"a": content}
    return content


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give either toml"),
        ({"toml": HEAD + SGD, "content": CONTENT}, "give either toml"),
        ({"content": {}}, "name: is missing"),
        ({"toml": "#" * (MAX_CHARACTERS + 1)}, "are the most; make it shorter"),
        ({"content": CONTENT | {"description": "a" * MAX_CHARACTERS}}, "are the most; make it shorter"),
        ({"toml": HEAD + "[design]\npoints = 1000000\n" + SGD}, "less than or equal to 100000, not 1000000"),
        ({"toml": HEAD + "seeds = 1000\n[design]\npoints = 100000\n" + SGD}, "the study has 100,001,000 runs"),
        ({"toml": HEAD + "seeds = 0x" + "f" * 90_000 + "\n" + SGD}, "larger than any float"),
        ({"toml": HEAD + "seeds = " + "9" * 90_000 + "\n" + SGD}, "is not valid TOML"),
        ({"content": CONTENT | {"seeds": 10**400}}, "larger than any float"),
        ({"toml": "a = " + "[" * 40_000}, "is not valid TOML"),
        ({"toml": "a." * 40_000 + "b = 1"}, "dots"),
        ({"toml": '"\\u0061"' + '."\\""' * 18_000 + " = 1"}, "dots"),
        ({"toml": "[" + "1 . " * 24_000 + "b]"}, "dots"),
        ({"content": nested(900)}, "levels inside each other"),
        ({"toml": HEAD + "".join(f"k{n} = 1\n" for n in range(9000)) + SGD}, "unknown key"),
        ({"toml": HEAD + '[[optimizers]]\nname = "q"\n' * 3500}, "unknown optimizer 'q'"),
        ({"toml": HEAD + SGD * 3500}, "'sgd' is listed 3500 times"),
        ({"content": CONTENT | {"workloads": [f"w{n}" for n in range(9000)]}}, "unknown workload 'w0'"),
        ({"content": CONTENT | {"workloads": [1] * 30_000}}, "must be a valid string"),
        ({"toml": HEAD + SGD + 'constraints = ["' + "(" * 240 + "1" + ")" * 240 + ' < 2"]\n'}, "constraints[0]"),
        ({"toml": HEAD + SGD + 'constraints = ["lr < 0"]\n'}, "leave 0 of the first 8192 points"),
        ({"toml": HEAD + SGD + "fixed = { momentum = nan }\n"}, "finite number"),
        ({"toml": HEAD + 'description = "\\u0000"\n' + SGD}, "cannot be stored"),
        ({"content": CONTENT | {"description": "\ud800"}}, "cannot be stored"),
        ({"content": CONTENT | {"name": "../../etc/passwd"}}, "is not a study name"),
        ({"toml": HEAD + "[design]\nkind = 'grid'\nlevels = 1000\n" + SGD}, "has 1000000 points"),
    ],
)
def test_hostile_specs_are_refused_in_time(given: dict[str, Any], words: str) -> None:
    problems = problems_of(**given)
    assert any(
        words in problem.replace("Input should be a valid string", "must be a valid string") for problem in problems
    )


@pytest.mark.parametrize(
    ("toml", "trials", "is_exact"),
    [
        (HEAD + "[design]\npoints = 100000\n" + SGD, 100_001, True),
        (HEAD + "[design]\nkind = 'grid'\nlevels = 300\n" + SGD, 90_001, True),
        (HEAD + "[design]\nkind = 'grid'\nlevels = 5\n" + SGD + 'constraints = ["lr < 0.1"]\n', None, True),
        (HEAD + "[design]\nkind = 'grid'\nlevels = 300\n" + SGD + 'constraints = ["lr < 0.1"]\n', 90_001, False),
        (HEAD + "[design]\nkind = 'one_at_a_time'\nlevels = 7\n" + SGD, None, True),
        (
            HEAD + "[design]\nkind = 'latin_hypercube'\npoints = 100000\n" + SGD + 'constraints = ["lr < 1"]\n',
            100_001,
            False,
        ),
        (HEAD + "[design]\nkind = 'tpe'\npoints = 500\n" + SGD, 501, True),
        (HEAD + "".join(f'[[optimizers]]\nname = "{name}"\n' for name in list_optimizers()), None, True),
        (HEAD + SGD + "constraints = [" + ", ".join(['"lr < 0.1"'] * 6000) + "]\n", 33, True),
    ],
)
def test_trials_are_counted_in_time_exactly_where_that_is_quick(toml: str, trials: int | None, is_exact: bool) -> None:
    began = time.monotonic()
    spec = read_web_spec(toml=toml)
    count = count_trials(spec)
    assert time.monotonic() - began < SECONDS
    assert count.is_exact == is_exact
    assert count.trials == (spec.trial_count if trials is None else trials)


def test_a_large_optimizer_with_many_variants_is_checked_in_time() -> None:
    choices = {"choices": [float(number) for number in range(1, 1001)]}
    others = {name: {"choices": [number / 2000 + 0.1 for number in range(1000)]} for name in ("lr", "beta1", "beta2")}
    began = time.monotonic()
    spec = read_web_spec(
        content=CONTENT | {"optimizers": [{"name": "adashift", "axes": {"keep_num": choices} | others}]}
    )
    assert count_trials(spec).trials == 33
    assert time.monotonic() - began < SECONDS


def test_a_study_that_is_there_is_found_and_its_name_is_taken(finished: tuple[str, Path]) -> None:
    spec = read_web_spec(toml=SMALL_SPEC)
    with open_database(finished[0]) as engine, engine.connect() as connection:
        assert find_same(connection, spec) == "completed"
        assert find_same(connection, spec.model_copy(update={"name": "other"})) is None
        with pytest.raises(SpecError, match="the name 'small' is already used by a study with another spec"):
            find_same(connection, spec.model_copy(update={"seeds": 3}))
