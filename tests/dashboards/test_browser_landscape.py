"""In a browser: a landscape is explored by mouse, by keyboard and by its address."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from browser import PHONE, Chromium, drawn, opened
from dashboard_server import VIEWER, Served, served
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.dashboards

PATH = "/studies/explored/landscape"
WORKLOAD = "digits-logistic"
#: Where the point of a trial is drawn, from the corner of the window.
_PLACE = """([map, trial]) => {
    const at = map.data.map(trace => (trace.customdata ?? []).indexOf(trial));
    const which = at.findIndex(place => place >= 0);
    const {xaxis, yaxis} = map._fullLayout;
    const box = map.getBoundingClientRect();
    return [box.x + xaxis._offset + xaxis.d2p(map.data[which].x[at[which]]),
            box.y + yaxis._offset + yaxis.d2p(map.data[which].y[at[which]])];
}"""
#: The ends of every scale of colours on the page.
_SCALES = """() => [...document.querySelectorAll(".js-plotly-plot")].flatMap(map => map.data.flatMap(trace => {
    const {zmin, zmax, colorscale} = trace;
    const {cmin, cmax, colorscale: own} = trace.marker ?? {};
    return [[zmin, zmax, colorscale], [cmin, cmax, own]].filter(([low]) => low !== undefined);
})).map(JSON.stringify)"""


@pytest.fixture(scope="module")
def dashboard(explored: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Three optimizers with maps."""
    folder = tmp_path_factory.mktemp("landscape")
    shutil.copy(explored[0].removeprefix("sqlite:///"), folder / "study.db")
    shutil.copytree(explored[1], folder / "reports" / "explored")
    with served(f"sqlite:///{folder}/study.db", folder) as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def program(dashboard: Served) -> Iterator[httpx.Client]:
    """What the API says of the same."""
    with dashboard.token(VIEWER, "viewer") as client:
        yield client


def ask(program: httpx.Client, path: str, **question: Any) -> Any:
    """JSON of the API."""
    answer = program.get(f"/v1/studies/explored/{path}", params=question)
    assert answer.status_code == 200, answer.text
    return answer.json()


def map_of(page: Page, title: str) -> Locator:
    """The map of an optimizer."""
    return page.locator("figure.map-figure").filter(has=page.get_by_role("heading", name=title, exact=True))


def click_point(page: Page, title: str, trial: int) -> None:
    """Click at a trial, as people do."""
    plot = map_of(page, title).locator(".map")
    plot.scroll_into_view_if_needed()
    x, y = page.evaluate(_PLACE, [plot.element_handle(), trial])
    page.mouse.move(x, y)
    page.mouse.click(x, y)


def test_maps_of_all_optimizers_have_one_scale_of_colours(
    browser: Chromium, dashboard: Served, program: httpx.Client
) -> None:
    with opened(browser, dashboard, VIEWER, f"{PATH}?y=beta0") as page:
        drawn(page, 2)
        for metric in ("objective", "val_loss", "divergence", "sd"):
            page.get_by_label("Metric").select_option(metric)
            told = ask(program, "landscape", workload=WORKLOAD, x="lr", y="beta0", metric=metric, tolerance=0.05)
            expect(page.locator("#bar-title")).to_contain_text(page.locator("#metric option:checked").inner_text())
            expect(page.locator("#maps")).not_to_have_attribute("aria-busy", "true")
            scales = page.evaluate(_SCALES)
            assert len(scales) >= 4
            assert len(set(scales)) == 1
            grounds = page.evaluate(
                "[...document.querySelectorAll('.js-plotly-plot')].filter(m => m.data[0].type === 'heatmap').length"
            )
            assert grounds == (0 if metric == "val_loss" else 2)
            assert told["low"] < told["high"]
        browser.keep(page, "landscape-spread")


def test_a_click_at_a_point_shows_its_runs_and_back_closes_them(
    browser: Chromium, dashboard: Served, program: httpx.Client
) -> None:
    told = ask(program, "landscape", workload=WORKLOAD, x="lr", y="beta0", metric="objective", tolerance=0.05)
    adai = next(cell for cell in told["cells"] if cell["optimizer"] == "adai")
    trial = adai["best"]
    with opened(browser, dashboard, VIEWER, f"{PATH}?y=beta0") as page:
        drawn(page, 2)
        click_point(page, "Adai", trial)
        chosen = page.locator("#chosen")
        expect(chosen.get_by_role("heading")).to_have_text(f"Adai, trial {trial}")
        rows = chosen.locator("tbody tr")
        expect(rows).to_have_count(2)
        detail = ask(program, f"trials/{WORKLOAD}/adai/{trial}")
        assert [row.split()[1] for row in rows.all_inner_texts()] == [
            run["termination"] for run in detail["runs_of_it"]
        ]
        values = dict(zip(chosen.locator("dt").all_inner_texts(), chosen.locator("dd").all_inner_texts(), strict=True))
        assert {name: float(text) for name, text in values.items()} == pytest.approx(
            detail["hyperparameters"], rel=1e-5
        )
        browser.keep(page, "landscape-chosen", whole=False)
        other = next(number for number in adai["points"]["trial"] if number not in (trial, adai["default"]))
        chosen.get_by_role("button", name="Close the trial").click()
        click_point(page, "Adai", other)
        expect(chosen.get_by_role("heading")).to_have_text(f"Adai, trial {other}")
        page.go_back()
        expect(chosen).to_be_hidden()
        page.go_back()
        expect(chosen.get_by_role("heading")).to_have_text(f"Adai, trial {trial}")
        page.go_back()
        expect(chosen).to_be_hidden()
        page.go_forward()
        chosen.get_by_role("link", name="Open trial").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Adai, trial {trial}")


def test_what_is_chosen_stands_in_an_address_that_others_open(
    browser: Chromium, dashboard: Served, program: httpx.Client
) -> None:
    with opened(browser, dashboard, VIEWER, PATH) as page:
        expect(page.locator("#explorer-status")).to_contain_text("Good: at most")
        page.get_by_label("Across").select_option("beta0")
        # The axes change places, since both would be the same.
        expect(page.get_by_label("Up")).to_have_value("lr")
        page.get_by_label("Metric").select_option("test_error")
        page.get_by_role("checkbox", name="SGD").uncheck()
        page.get_by_label("Tolerance of good").last.fill("0.3")
        page.keyboard.press("Tab")
        expect(page.locator("#explorer-status")).to_contain_text("30 %")
        drawn(page, 2)
        address = page.url
        shown = page.locator("#maps").inner_text()
    question = parse_qs(urlsplit(address).query)
    assert question == {
        "x": ["beta0"],
        "y": ["lr"],
        "metric": ["test_error"],
        "tolerance": ["0.3"],
        "optimizer": ["adai", "adaiw"],
    }
    told = ask(program, "landscape", workload=WORKLOAD, **question)
    for cell in told["cells"]:
        assert f"{cell['good']['count']} of {cell['good']['of']} points" in shown
    with opened(browser, dashboard, VIEWER, f"{PATH}?{urlsplit(address).query}", **PHONE) as page:
        drawn(page, 2)
        assert page.locator("#maps").inner_text() == shown
        assert page.get_by_label("Across").input_value() == "beta0"
        assert page.get_by_role("slider", name="Tolerance of good").input_value() == "0.3"


def test_the_tolerance_moves_what_is_good_and_one_axis_shows_the_metric(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, VIEWER, f"{PATH}?y=") as page:
        drawn(page, 3)
        good = page.locator("#maps figcaption p:first-child")
        before = good.all_inner_texts()
        slider = page.get_by_role("slider", name="Tolerance of good")
        slider.focus()
        page.keyboard.press("End")
        expect(page.locator("#explorer-status")).to_contain_text("50 %")
        counts = [
            [int(re.findall(r"(\d+) of", text)[0]) for text in texts] for texts in (before, good.all_inner_texts())
        ]
        assert all(few <= many for few, many in zip(*counts, strict=True))
        assert sum(counts[0]) < sum(counts[1])
        page.get_by_label("Up").select_option("")
        ranges = page.evaluate(
            "[...document.querySelectorAll('.js-plotly-plot')].map(map => map.layout.yaxis.range.join())"
        )
        assert len(set(ranges)) == 1


def test_learning_curves_are_shared_by_their_address(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, VIEWER, "/studies/explored/curves") as page:
        drawn(page)
        page.get_by_label("Trials", exact=True).select_option("latest")
        page.get_by_label("Of each optimizer").fill("4")
        page.keyboard.press("Tab")
        expect(page.locator("#curve-table tbody tr")).to_have_count(12)
        shown = page.locator("#curve-table").inner_text()
        query = urlsplit(page.url).query
        browser.keep(page, "curves-of-many")
    with opened(browser, dashboard, VIEWER, f"/studies/explored/curves?{query}") as page:
        expect(page.locator("#curve-table tbody tr")).to_have_count(12)
        assert page.locator("#curve-table").inner_text() == shown
