"""How far a report is: lines every few seconds, a bar on a terminal, nothing for a server."""

import io
import re

import pytest

import study.report.steps
from study.report.steps import QuietSteps, StepBar, StepLines, Steps, make_steps


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def walk(steps: Steps) -> None:
    """Two stages, as a report has them."""
    with steps:
        steps.start("computing", 2)
        for name in ("sgd on digits", "budget"):
            steps.done(name)
        steps.start("drawing", 1)
        steps.done("landscape")


def test_a_quick_report_says_nothing_where_nobody_watches() -> None:
    stream = io.StringIO()
    walk(make_steps(stream))
    assert stream.getvalue() == ""


def test_a_long_report_says_how_far_it_is_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study.report.steps, "_LINE_SECONDS", 0.0)
    stream = io.StringIO()
    walk(make_steps(stream))
    assert stream.getvalue().splitlines() == [
        "report: computing 1/2, sgd on digits",
        "report: computing 2/2, budget",
        "report: drawing 1/1, landscape",
    ]


def test_lines_come_every_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(study.report.steps.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    lines = StepLines(stream)
    lines.start("drawing", 60)
    for second in range(1, 61):
        now[0] = float(second) / 2
        lines.done(f"figure-{second}")
    assert stream.getvalue().splitlines() == [f"report: drawing {n}/60, figure-{n}" for n in range(10, 61, 10)]


def test_a_terminal_gets_a_bar_for_each_stage() -> None:
    stream = Terminal()
    steps = make_steps(stream)
    assert isinstance(steps, StepBar)
    walk(steps)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert re.search(r"report: computing +━+ 2/2 ", text)
    assert re.search(r"report: drawing +━+ 1/1 ", text)


def test_a_bar_ends_with_an_error_and_a_step_without_a_stage_is_none() -> None:
    stream = Terminal()

    def fail() -> None:
        with StepBar(stream) as steps:
            steps.done("before any stage")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert stream.getvalue().endswith("\x1b[?25h")  # the cursor is back


def test_a_server_is_told_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    walk(QuietSteps())
    assert capsys.readouterr() == ("", "")
