"""Conditions in specs: what they mean, what is refused and how, and that nothing in them ever runs."""

import contextlib
import functools
import math
import operator
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.axis import Value
from study.expressions import MAX_CHARACTERS, MAX_DEPTH, Kind, parse_expression

KINDS: dict[str, Kind] = {
    "lr": "number",
    "beta1": "number",
    "beta2": "number",
    "schedule": "text",
    "nesterov": "truth value",
}
VALUES: dict[str, Value] = {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "schedule": "cosine", "nesterov": True}


def holds(text: str, **changes: Value) -> bool:
    return parse_expression(text, KINDS).holds(VALUES | changes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("beta1 < beta2", True),
        ("beta1 > beta2", False),
        ("lr <= 0.01", True),
        ("lr < 0.01", False),
        ("lr >= 1e-2 and lr != 1", True),
        ("0 < beta1 < beta2 < 1", True),
        ("0 < beta1 < 0.5 < beta2", False),
        ("2 * 3 + 4 == 10", True),
        ("2 + 3 * 4 == 14", True),
        ("(2 + 3) * 4 == 20", True),
        ("7 - 2 - 1 == 4", True),
        ("2 ** 3 ** 2 == 512", True),
        ("-2 ** 2 == -4", True),
        ("8 / 4 / 2 == 1", True),
        ("log10(lr) == -2", True),
        ("log(exp(2)) == 2", True),
        ("abs(-lr) == lr", True),
        ("min(beta1, beta2, 3) == beta1 and max(beta1, beta2) == beta2", True),
        ('schedule == "cosine"', True),
        ("schedule != 'cosine'", False),
        ('schedule in ["step", "cosine"]', True),
        ('schedule not in ["step", "cosine"]', False),
        ("lr in [0.1, 0.01]", True),
        ("nesterov", True),
        ("not nesterov", False),
        ("nesterov == true and not false and True", True),
        ("not nesterov or lr < 1", True),
        ("lr > 1 or lr < 0 or nesterov", True),
        ("lr > 1 or lr < 0.1 and not nesterov", False),
        ("not (lr > 1 and nesterov)", True),
        ("  lr < 1  ", True),
    ],
)
def test_conditions_mean_what_they_mean_in_python(text: str, expected: bool) -> None:
    assert holds(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "1 / (lr - lr) > 0",
        "not 1 / (lr - lr) > 0",
        "log(0 * lr) < 1",
        "log10(-lr) < 1",
        "(0 - lr) ** 0.5 > 0",
        "exp(1000 / lr) > 0",
        "10 ** 10 ** 10 > 1",
        "1e308 * 10 > 0",
        "1e308 * 10 - 1e308 * 10 != 0",
        "0 ** -1 > 0",
    ],
)
def test_a_condition_without_a_value_is_not_met(text: str) -> None:
    assert holds(text) is False


def test_a_name_without_a_value_is_not_met() -> None:
    assert parse_expression("beta1 < 1", KINDS).holds({"lr": 1.0}) is False


def test_what_comes_after_the_deciding_part_is_not_computed() -> None:
    assert holds("lr == 0.01 or 1 / (lr - lr) > 0")
    assert not holds("lr != 0.01 and 1 / (lr - lr) > 0")


def test_a_condition_says_whose_values_it_looks_at() -> None:
    assert parse_expression('beta1 < 0.5 and schedule == "beta2"', KINDS).names == {"beta1", "schedule"}


#: (text, words of the message)
MISTAKES = [
    ("beta3 < 1", "'beta3' at character 1 is an unknown name; did you mean 'beta"),
    ("lr < momentun", "'momentun' at character 6 is an unknown name; there are lr, beta1"),
    ("lr <", "'lr <' cannot be read: invalid syntax; allowed: numbers"),
    ("lr = 1", "cannot be read"),
    ("", "cannot be read"),
    ("lr", "'lr' at character 1 is a number, where a truth value is needed"),
    ("lr + 1", "'lr + 1' at character 1 is a number, where a truth value is needed"),
    ("lr < schedule", "'schedule' at character 6 is a text, where a number is needed"),
    ('schedule < "z"', "'schedule' at character 1 is a text, where a number is needed"),
    ("schedule == 3", "'3' at character 13 is a number, where a text is needed"),
    ("nesterov == 1", "'1' at character 13 is a number, where a truth value is needed"),
    ("nesterov + 1 > 0", "'nesterov' at character 1 is a truth value, where a number is needed"),
    ("not lr", "'lr' at character 5 is a number, where a truth value is needed"),
    ("lr and nesterov", "'lr' at character 1 is a number"),
    ("lr in []", "'[]' at character 7 is compared in a way that is not allowed"),
    ("lr in (0, 1)", "'(0, 1)' at character 7 is compared in a way that is not allowed"),
    ("lr is 1", "is compared in a way that is not allowed"),
    ("log(lr, 2) > 1", "'log(lr, 2)' at character 1 needs one number"),
    ("min(lr) > 1", "'min(lr)' at character 1 needs at least two numbers"),
    ("max() > 1", "needs at least two numbers"),
    ("lr < 1" + "0" * 400, "is too large a number"),
    ("lr < 1e999", "is too large a number"),
    ("lr // 2 > 0", "'lr // 2' at character 1 is not allowed; allowed: numbers, text in quotes"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_a_mistake_is_named_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        parse_expression(text, KINDS)
    assert text[:40] in str(caught.value)


#: Of the events that Python tells of everything that runs, opens or starts something.
DANGEROUS = ("exec", "import", "os.", "subprocess", "socket", "ctypes", "open")


class Watch:
    """Records dangerous events while it is on; a hook can never be removed again, so there is one."""

    def __init__(self) -> None:
        self.is_on = False
        self.events: list[str] = []
        sys.addaudithook(self._record)

    def _record(self, event: str, _: object) -> None:
        if self.is_on and event.startswith(DANGEROUS):
            self.events.append(event)


@functools.cache
def the_watch() -> Watch:
    return Watch()


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """The dangerous events of a block."""
    watch = the_watch()
    watch.events.clear()
    watch.is_on = True
    try:
        yield watch.events
    finally:
        watch.is_on = False


HOSTILE = [
    '__import__("os").system("touch WITNESS")',
    '__import__("os")',
    "lr.__class__ == 1",
    "().__class__.__bases__[0].__subclasses__() == 1",
    "(lambda: 1)() == 1",
    "[x for x in [1]] == 1",
    "{x: 1 for x in [1]} == 1",
    "(x for x in [1]) == 1",
    "any([lr > 0])",
    'f"{lr}" == "1"',
    'f"{open(chr(47))}" == "1"',
    'b"a" == b"a"',
    '"%s" % lr == "1"',
    '"a" * 9999999999 == "a"',
    '"a" + "b" == "ab"',
    "(lr := 1) == 1",
    "lr if nesterov else 1",
    "await lr",
    "yield",
    "exec('1') == 1",
    "eval('1') == 1",
    "compile('1', '', 'eval') == 1",
    "open('/etc/passwd') == 1",
    "getattr(lr, 'real') == 1",
    "globals() == 1",
    "lr[0] == 1",
    "lr[0:1] == 1",
    "*lr == 1",
    "min(*[1, 2]) == 1",
    "min(1, 2, key=abs) == 1",
    "abs(x=1) == 1",
    "abs.real(1) == 1",
    "abs == 1",
    "log.__self__ == 1",
    "1 << 99999999 == 1",
    "lr % 2 == 1",
    "lr @ lr == 1",
    "~1 == 1",
    "+lr == 1",
    "lr & 1 == 1",
    "... == 1",
    "None == None",
    "1j == 1j",
    "{} == {}",
    "{1} == {1}",
    "[1] == [1]",
    "lr < 1; import os",
    "lr < 1\nimport os",
    "lr < 1 # comment\n",
    "import os",
    "lr < 1\x00",
    "lr < \\\n1",
    '"\\x41" == "A"',
    "\uff4c\uff52 < 1",  # full width: Python would read lr
    "b\u0435ta1 < 1",  # with a Cyrillic letter
    "lr \uff1c 1",
    "lr < 1\u200b",
    "lr < \u0661",  # an Arabic 1
    "1and 2",
    "0x1for x in [1]",
    "lr is 'a'",
    "\ud800 < 1",
    "(" * 201 + "lr" + ")" * 201 + " < 1",
    "(" * 5000 + "lr" + ")" * 5000 + " < 1",
    "-" * 400 + "1 < 2",
    "not " * 100 + "nesterov",
    "[" * 200 + "]" * 200 + " == 1",
    " and ".join(["nesterov"] * 5000),
    "abs(" * 60 + "lr" + ")" * 60 + " < 1",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_not_in_the_language_is_refused_and_nothing_runs(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        watched() as events,
        pytest.raises(ValueError, match=r"cannot be read|allowed|unknown name|needed|needs|nested"),
    ):
        parse_expression(text, KINDS)
    assert events == []
    assert list(tmp_path.iterdir()) == []


def test_the_watch_over_hostile_text_sees_what_runs() -> None:
    with watched() as events:
        Path(os.devnull).open().close()
    assert "open" in events


def test_lengths_and_depths_just_within_the_limits_are_read() -> None:
    terms = " or ".join(["lr < 1"] * 50)
    assert len(terms) <= MAX_CHARACTERS
    assert holds(terms)
    assert holds("not " * (MAX_DEPTH - 2) + "nesterov")
    with pytest.raises(ValueError, match="nested more than"):
        holds("not " * (MAX_DEPTH + 1) + "nesterov")
    with pytest.raises(ValueError, match=f"at most {MAX_CHARACTERS} are allowed"):
        holds("lr < 1" + " " * MAX_CHARACTERS)


@given(text=st.text(max_size=60))
def test_any_text_is_a_condition_or_a_value_error(text: str) -> None:
    try:
        expression = parse_expression(text, KINDS)
    except ValueError:
        return
    assert expression.holds(VALUES) in (True, False)


@given(text=st.text(alphabet="lr beta12<>=()+-*/.,'\"[]notandi0e", max_size=30))
def test_any_text_of_the_languages_own_letters_is_a_condition_or_a_value_error(text: str) -> None:
    test_any_text_is_a_condition_or_a_value_error.hypothesis.inner_test(text)  # type: ignore[attr-defined]


Compute = Callable[[dict[str, float]], float]
NUMBERS = st.floats(-100, 100).map(lambda x: round(x, 3))


def joined(parts: st.SearchStrategy[tuple[str, Compute]]) -> st.SearchStrategy[tuple[str, Compute]]:
    """Longer expressions beside what they mean, without any parser."""
    signs = st.sampled_from([("+", operator.add), ("-", operator.sub), ("*", operator.mul)])
    return st.tuples(parts, signs, parts).map(
        lambda t: (f"({t[0][0]} {t[1][0]} {t[2][0]})", lambda v: t[1][1](t[0][1](v), t[2][1](v)))
    )


EXPRESSIONS: st.SearchStrategy[tuple[str, Compute]] = st.recursive(
    st.one_of(
        NUMBERS.map(lambda x: (repr(x), lambda _: x)),
        st.sampled_from(["lr", "beta1"]).map(lambda name: (name, lambda v: v[name])),
    ),
    joined,
    max_leaves=8,
)


@given(left=EXPRESSIONS, right=EXPRESSIONS, lr=NUMBERS, beta1=NUMBERS)
def test_numbers_agree_with_an_independent_computation(
    left: tuple[str, Compute], right: tuple[str, Compute], lr: float, beta1: float
) -> None:
    values = {"lr": lr, "beta1": beta1}
    first, second = left[1](values), right[1](values)
    assert math.isfinite(first)
    assert math.isfinite(second)
    assert parse_expression(f"{left[0]} < {right[0]}", KINDS).holds(values) is (first < second)
    assert parse_expression(f"{left[0]} == {right[0]}", KINDS).holds(values) is (first == second)
