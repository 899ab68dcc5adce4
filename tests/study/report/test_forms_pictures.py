"""Pictures: drawn by several processes, inside a page, with points that say the right numbers."""

import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import numpy as np
import pytest
from made_document import draw_map, end_other_process
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from study.report.document import Figure
from study.report.drawing.style import Drawing, draw_panels
from study.report.forms import FormError
from study.report.forms.drawers import draw_all
from study.report.forms.pictures import DrawingError, Hover, Picture, draw_picture
from study.report.forms.svg import inline_svg

Scatter = Callable[[Axes, np.ndarray, np.ndarray], PathCollection]
pytestmark = pytest.mark.reports


SCATTERS: dict[str, Scatter] = {
    "one-look": lambda axes, x, y: axes.scatter(x, y, s=9),
    "colours": lambda axes, x, y: axes.scatter(x, y, s=9, c=np.arange(len(x)), edgecolors="black"),
    "sizes": lambda axes, x, y: axes.scatter(x, y, s=np.linspace(3, 50, len(x))),
    "crosses": lambda axes, x, y: axes.scatter(x, y, marker="x", c=np.arange(len(x))),
}


def draw_points(scatter: str, x_N: np.ndarray, y_N: np.ndarray, *, log: bool = False) -> Drawing:
    """One panel over [0, 1] x [0, 1], whose points say their coordinates."""

    def fill(drawing: Drawing, axes: list[Axes]) -> None:
        points = SCATTERS[scatter](axes[0], x_N, y_N)
        if log:
            axes[0].set_yscale("log")
        else:
            axes[0].set_ylim(0, 1)
        axes[0].set_xlim(0, 1)
        drawing.say(points, [f"{x} {y}" for x, y in zip(x_N, y_N, strict=True)])

    return draw_panels(1, 1, fill)


def make_figure(name: str, draw: Callable[[], Drawing]) -> Figure:
    return Figure(name, "A <title>", "Caption.", 'Alt & "words".', draw)


def picture_points(scatter: str, x_N: np.ndarray, y_N: np.ndarray, *, log: bool = False) -> tuple[Picture, str]:
    picture = draw_picture(make_figure("f", functools.partial(draw_points, scatter, x_N, y_N, log=log)))
    return picture, inline_svg(picture.svg, name="f", title="T", alt="A", hovers=picture.hovers)


def read_uses(svg: str) -> list[tuple[float, float, list[float]]]:
    """Place of each mark that says something, and the coordinates that it says."""
    found = re.findall(r'<use [^>]*?x="([-\d.]+)" y="([-\d.]+)"[^>]*?><title>([^<]*)</title>', svg)
    return [(float(x), float(y), [float(number) for number in text.split()]) for x, y, text in found]


def check_places(marks: list[tuple[float, float, list[float]]], *, log: bool = False) -> None:
    """Axes are linear: places must be one linear function of what points say."""
    places = np.array([[x, y] for x, y, _ in marks])
    said = np.array([text for _, _, text in marks])
    said[:, 1] = np.log(said[:, 1]) if log else said[:, 1]
    for axis, sign in ((0, 1), (1, -1)):
        slope, start = np.polyfit(said[:, axis], places[:, axis], 1)
        assert np.sign(slope) == sign
        np.testing.assert_allclose(start + slope * said[:, axis], places[:, axis], atol=0.02)


@pytest.mark.parametrize("scatter", ["one-look", "colours"])
@pytest.mark.parametrize("case", ["all", "nan", "masked", "ties", "outside", "zero-on-log"])
def test_points_say_their_own_numbers(scatter: str, case: str) -> None:
    x_N, y_N = np.random.default_rng(3).random((2, 30))
    gone = 0
    if case == "nan":
        x_N[[3, 9]], gone = np.nan, 2
    elif case == "masked":
        y_N, gone = np.ma.masked_where(np.arange(30) % 10 == 0, y_N), 3
    elif case == "ties":
        x_N[5:9], y_N[5:9] = x_N[5], y_N[5]
    elif case == "outside":
        y_N[[3, 17]], y_N[29], gone = [60.0, -40.0], 1.01, 2
    elif case == "zero-on-log":
        y_N[4], gone = 0.0, 1
    _, svg = picture_points(scatter, x_N, y_N, log=case == "zero-on-log")
    marks = read_uses(svg)
    assert len(marks) == 30 - gone
    check_places(marks, log=case == "zero-on-log")
    assert f'data-points="{30 - gone}"' in svg


@pytest.mark.parametrize("scatter", ["sizes", "crosses"])
def test_points_that_are_paths_of_their_own_say_their_own_numbers(scatter: str) -> None:
    x_N, y_N = np.random.default_rng(3).random((2, 30))
    x_N[7], y_N[9] = np.nan, 60.0
    _, svg = picture_points(scatter, x_N, y_N)
    found = re.findall(r'<path d="M([-\d.]+) [^"]*"[^>]*><title>([^<]*)</title>', svg)
    said = [float(text.split()[0]) for _, text in found]
    assert said == [x for x in x_N if np.isfinite(x)]
    assert np.corrcoef([float(x) for x, _ in found], said)[0, 1] > 0.9999


def test_points_of_several_panels_are_told_apart() -> None:
    picture = draw_picture(make_figure("f", functools.partial(draw_map, 1, 3, 10)))
    assert list(picture.hovers) == ["points-0", "points-1", "points-2"]
    svg = inline_svg(picture.svg, name="f", title="T", alt="A", hovers=picture.hovers)
    assert svg.count('class="points"') == 3
    assert [int(n) for n in re.findall(r"<title>trial (\d+):", svg)] == [*range(10)] * 3


def test_texts_that_do_not_fit_the_points_are_refused() -> None:
    picture, _ = picture_points("colours", *np.random.default_rng(3).random((2, 5)))
    points = picture.hovers["points-0"]
    moved = {"points-0": (Hover("elsewhere", points[0].x + 1, points[0].y), *points[1:])}
    swapped = {"points-0": (points[1], points[0], *points[2:])}
    for hovers in (moved, swapped, {"points-7": points}):
        with pytest.raises(FormError, match="figure 'f' has no"):
            inline_svg(picture.svg, name="f", title="T", alt="A", hovers=hovers)
    sizes, _ = picture_points("sizes", *np.random.default_rng(3).random((2, 5)))
    with pytest.raises(FormError, match="5 marks for the 4 points"):
        inline_svg(sizes.svg, name="f", title="T", alt="A", hovers={"points-0": sizes.hovers["points-0"][1:]})


def test_a_scatter_with_too_few_texts_is_refused_by_name() -> None:
    def fill(drawing: Drawing, axes: list[Axes]) -> None:
        drawing.say(axes[0].scatter([0, 1], [0, 1]), ["only one"])

    with pytest.raises(DrawingError, match=r"figure 'short' cannot be drawn.*2, and have 1"):
        draw_picture(make_figure("short", lambda: draw_panels(1, 1, fill)))


def parse(svg: str) -> Element:
    return fromstring(svg)  # noqa: S314 - made by this test


def test_an_inline_picture_is_well_formed_and_refers_to_itself_alone() -> None:
    picture = draw_picture(make_figure("f", functools.partial(draw_map, 1, 2, 40)))
    one, other = (
        inline_svg(picture.svg, name=name, title="A <title>", alt='Alt & "words".', hovers=picture.hovers)
        for name in ("one", "other")
    )
    root = parse(one)
    assert root.attrib["role"] == "img"
    assert root.find("title").text == "A <title>"
    assert root.find("desc").text == 'Alt & "words".'
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    assert all(name.startswith("one_") for name in ids)
    assert not set(ids) & set(re.findall(r'id="([^"]*)"', other))
    used = re.findall(r"url\(#([^)]*)\)", one) + re.findall(r'href="#([^"]*)"', one)
    assert set(used) <= set(ids)
    assert set(root.attrib["aria-labelledby"].split()) <= set(ids)
    for boilerplate in ("<metadata", "<style", "<!--", "DOCTYPE", "xmlns", "http", "xlink"):
        assert boilerplate not in one


def test_the_inline_picture_has_all_texts_and_marks_of_the_file() -> None:
    picture = draw_picture(make_figure("f", functools.partial(draw_map, 1, 2, 40)))
    svg = inline_svg(picture.svg, name="f", title="T", alt="A", hovers=picture.hovers)
    before, after = parse(picture.svg.decode()), parse(svg)
    for tag in ("use", "path", "text", "image", "clipPath"):
        space = "{http://www.w3.org/2000/svg}"
        assert len(list(after.iter(tag))) == len(list(before.iter(space + tag))), tag


def test_ten_thousand_points_take_less_than_three_megabytes() -> None:
    picture = draw_picture(make_figure("f", functools.partial(draw_map, 1, 2, 5000)))
    svg = inline_svg(picture.svg, name="f", title="T", alt="A", hovers=picture.hovers)
    assert svg.count("<use") >= 10_000
    assert len(svg) < 3_000_000


def make_figures(count: int) -> list[Figure]:
    return [make_figure(f"map-{number}", functools.partial(draw_map, number, 1, 5)) for number in range(count)]


def test_pictures_are_the_same_whichever_process_draws_them() -> None:
    figures = make_figures(9)
    told: list[str] = []
    several = draw_all(figures, processes=2, on_done=told.append)
    alone = draw_all(figures, processes=1)
    assert several == alone
    assert list(several) == [figure.name for figure in figures]
    assert sorted(told) == sorted(several)
    assert {kind: file[:4] for kind, file in several["map-0"].files.items()} == {
        "svg": b"<?xm",
        "png": b"\x89PNG",
        "pdf": b"%PDF",
    }


@pytest.mark.parametrize("place", [0, 8])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_figure_that_cannot_be_drawn_is_named(place: int, processes: int) -> None:
    figures = make_figures(9)
    figures[place] = make_figure("broken", functools.partial(int, "x"))
    with pytest.raises(DrawingError, match=r"figure 'broken' cannot be drawn.*ValueError"):
        draw_all(figures, processes=processes)


def test_a_figure_that_ends_its_process_is_named() -> None:
    # More than this process draws before the other one has started.
    figures = [make_figure("deadly", functools.partial(end_other_process, os.getpid())), *make_figures(60)]
    with pytest.raises(DrawingError, match="'deadly' cannot be done: the process that did it died with 3"):
        draw_all(figures, processes=2)


def test_a_figure_that_cannot_be_sent_is_named() -> None:
    figures = [make_figure("local", lambda: draw_map(1, 1, 5)), *make_figures(60)]
    with pytest.raises(DrawingError, match="'local' cannot be done by another process"):
        draw_all(figures, processes=2)


_SCRIPT = """
import functools, sys, time
from made_document import draw_map
from study.report.document import Figure
from study.report.forms.drawers import draw_all

def main():
    figures = [Figure(f"m{n}", "t", "c", "a", functools.partial(draw_map, n, 1, 300)) for n in range(400)]
    draw_all(figures, processes=3, on_done=lambda name: print(name, flush=True))

if __name__ == "__main__":
    main()
"""


def test_ctrl_c_ends_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    script = tmp_path / "draw.py"
    script.write_text(_SCRIPT)
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for name in process.stdout:
        if name.strip() == "m0":  # drawn by another process: all have started
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    begun = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - begun < 10
    assert "KeyboardInterrupt" in errors
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt")
    deadline = time.monotonic() + 10
    while left := list_session(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def list_session(leader: int) -> list[str]:
    """Processes of the session that ``leader`` began."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(stat.parent.name)
    return found
