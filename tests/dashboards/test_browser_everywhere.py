"""In a browser: every page at two widths, light and dark; with the keyboard alone; without scripts; hostile texts."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from browser import DESKTOP, PHONE, Chromium, drawn, find_barriers, opened, scrolls_sideways, sign_in, visiting
from dashboard_server import OPERATOR, VIEWER, Served, served
from playwright.sync_api import Page, expect
from study_pages import add_study
from tests_support import SMALL_SPEC

from dashboards.pages.study import TABS
from study.storage.engine import open_database

pytestmark = pytest.mark.dashboards

HOSTILE = (
    '<script>document.title="taken"</script><img src=x onerror="document.title=1"> '
    "{{ 7*7 }} ${7*7} \N{RIGHT-TO-LEFT OVERRIDE}&amp;"
)
LONG = "a" * 64
TRIAL = "/studies/explored/trials/digits-logistic/adai/3"
#: Name of a picture -> page, how many plots it has.
PAGES: dict[str, tuple[str, int]] = {
    "studies": ("/", 0),
    **{
        f"study-{slug or 'overview'}": (
            f"/studies/explored/{slug}".rstrip("/"),
            {"landscape": 2, "curves": 1}.get(slug, 0),
        )
        for slug in TABS
    },
    "study-planned": (f"/studies/{LONG}", 0),
    "study-planned-landscape": (f"/studies/{LONG}/landscape", 0),
    "study-planned-comparison": (f"/studies/{LONG}/comparison", 0),
    "landscape-trial": ("/studies/explored/landscape?trial=adai%3A3", 2),
    "landscape-one-axis": ("/studies/explored/landscape?y=", 3),
    "trial": (TRIAL, 4),
    "launch": ("/launch", 0),
    "launch-digits": ("/launch?spec=digits", 0),
    "account": ("/account", 0),
    "audit": ("/audit", 0),
    "nowhere": ("/studies/nowhere", 0),
}
NOT_FOUND = r"status of 404"
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
#: What fingers are to touch, and is lower than WCAG 2.2's larger target size of 44 px.
_LOW = """() => [...document.querySelectorAll(
        "button, select, input:not([type=hidden], [type=checkbox], [type=file]), .button, header a"
    )]
    .map((element) => [element.getBoundingClientRect().height, element.outerHTML.slice(0, 120)])
    .filter(([height]) => 0 < height && height < 44)"""


@pytest.fixture(scope="module")
def dashboard(explored: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A study with a report, and studies with names and texts that are long or hostile."""
    folder = tmp_path_factory.mktemp("everywhere")
    shutil.copy(explored[0].removeprefix("sqlite:///"), folder / "study.db")
    shutil.copytree(explored[1], folder / "reports" / "explored")
    url = f"sqlite:///{folder}/study.db"
    with open_database(url) as engine:
        add_study(engine, LONG, "word " * 60 + "x" * 200, queued=True)
        add_study(engine, "hostile", HOSTILE)
    with served(url, folder) as dashboard:
        yield dashboard


def settle(page: Page, plots: int) -> None:
    """Wait until everything that a page asks for is there."""
    page.wait_for_load_state("networkidle" if page.locator("#live").count() == 0 else "load")
    for busy in ("#maps[aria-busy]", "#failure-list[aria-busy]", "#event-list[aria-busy]"):
        expect(page.locator(busy)).to_have_count(0)
    drawn(page, plots)
    page.evaluate(
        "Promise.all([...document.images].map((image) => { image.loading = 'eager'; return image.decode(); }))"
    )


@pytest.mark.parametrize("width", ["wide", "phone"])
def test_every_page_fits_its_window_and_is_accessible_in_light_and_dark(
    browser: Chromium, dashboard: Served, width: str
) -> None:
    size: dict[str, Any] = PHONE if width == "phone" else DESKTOP
    with opened(browser, dashboard, OPERATOR, expected=[NOT_FOUND], **size) as page:
        wrong: list[str] = []
        for name, (path, plots) in PAGES.items():
            page.goto(path)
            settle(page, plots)
            if scrolls_sideways(page):
                wrong.append(f"{path} scrolls sideways")
            if width == "phone":
                wrong += [f"{path}: {height} px high: {element}" for height, element in page.evaluate(_LOW)]
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                browser.keep(page, f"{name}-{width}-{scheme}", whole=name != "landscape-trial")
                wrong += [f"{path}, {scheme}: {barrier}" for barrier in find_barriers(page)]
        assert wrong == []


def test_signed_out_pages_fit_their_window_too(browser: Chromium, dashboard: Served) -> None:
    for width, size in (("wide", DESKTOP), ("phone", PHONE)):
        with visiting(browser, dashboard.address, **size) as page:
            page.goto("/sign-in")
            assert not scrolls_sideways(page)
            browser.keep(page, f"sign-in-{width}-light")
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                assert find_barriers(page) == []


def test_the_report_that_people_download_is_accessible_in_light_and_dark(
    browser: Chromium, dashboard: Served, explored: tuple[str, Path]
) -> None:
    for size in (DESKTOP, PHONE):
        with visiting(browser, dashboard.address, **size) as page:
            page.goto((explored[1] / "report.html").as_uri())
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                assert find_barriers(page) == []


def press_until(page: Page, key: str, selector: str, most: int = 60) -> None:
    """Go on with a key until an element has the focus."""
    for _ in range(most):
        page.keyboard.press(key)
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} is not reached with {key}")


def test_the_keyboard_alone_signs_in_and_explores_a_landscape(browser: Chromium, dashboard: Served) -> None:
    with visiting(browser, dashboard.address) as page:
        page.goto("/")
        page.keyboard.type(VIEWER)
        page.keyboard.press("Tab")
        page.keyboard.type("correct horse battery")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Studies")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        press_until(page, "Tab", 'a[href="/studies/explored"]')
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="explored")).to_be_visible()
        press_until(page, "Tab", '.tabs a[href$="/landscape"]')
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        drawn(page, 2)
        press_until(page, "Tab", "#y")
        page.keyboard.type("beta2")
        expect(page).to_have_url(re.compile("y=beta2"))
        press_until(page, "Tab", ".reader input")
        page.keyboard.press("ArrowRight")
        expect(page.locator(".reader output").first).to_contain_text("Adai, trial")
        page.keyboard.press("Enter")
        expect(page.locator("#chosen h2")).to_be_focused()
        press_until(page, "Tab", "#chosen a.primary")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"Adai, trial \d+"))


def test_the_keyboard_alone_launches_a_study(browser: Chromium, dashboard: Served) -> None:
    spec = SMALL_SPEC.replace('"small"', '"typed"')
    with opened(browser, dashboard, OPERATOR) as page:
        press_until(page, "Tab", 'nav a[href="/launch"]')
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Launch a study")).to_be_visible()
        page.wait_for_load_state()  # scripts hear keys from then on
        press_until(page, "Tab", "#toml")
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(spec)
        page.keyboard.press("Control+Enter")
        expect(page.locator("#state")).to_have_text("Valid. Nothing is written before you start it.")
        press_until(page, "Tab", "#start")
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Go to study typed")).to_be_focused()


def test_without_scripts_studies_and_trials_can_be_read(browser: Chromium, dashboard: Served) -> None:
    with visiting(browser, dashboard.address, java_script_enabled=False, **PHONE) as page:
        page.goto("/")
        sign_in(page, VIEWER)
        page.get_by_label("Search").fill("explored")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("tr[data-study]")).to_have_count(1)
        page.get_by_role("link", name="explored").click()
        expect(page.locator("tr[data-optimizer=adai]")).to_contain_text("26 of 26 runs")
        page.get_by_role("link", name="Trials", exact=True).first.click()
        page.get_by_label("Optimizer").select_option("adai")
        page.get_by_label("Order").select_option("objective")
        page.get_by_role("button", name="Show").click()
        expect(page.locator(".trials tbody tr")).to_have_count(13)
        page.locator(".trials tbody a").first.click()
        expect(page.get_by_role("region", name="Runs").locator("tbody tr")).to_have_count(2)
        for path in ("/studies/explored/landscape", "/studies/explored/failures", "/studies/explored/downloads"):
            page.goto(path)
            expect(page.locator("h1")).to_have_text("explored")
        page.goto("/studies/explored/comparison")
        expect(page.get_by_role("heading", name="Optimizers at a glance")).to_be_visible()
        page.locator("#who summary").click()
        page.locator("#who").get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_texts_that_are_html_stay_texts(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, OPERATOR, "/?q=hostile") as page:
        expect(page.locator("tr[data-study=hostile] .about").first).to_have_text(HOSTILE)
        for slug in TABS:
            page.goto(f"/studies/hostile/{slug}".rstrip("/"))
            settle(page, 0)
            expect(page.locator("h1")).to_have_text("hostile")
            assert page.locator("main .about").inner_text() == HOSTILE
            assert page.title().startswith("hostile")
            assert page.locator("main img[src=x]").count() == 0
        page.goto(f"/?q={HOSTILE.replace('&', '%26')}")
        assert page.get_by_label("Search").input_value() == HOSTILE
        page.goto("/audit?user=<img src=x>")
        expect(page.locator("main")).to_contain_text("<img src=x>")
    with opened(browser, dashboard, OPERATOR, "/launch", expected=[r"status of 422"]) as page:
        page.get_by_label("Spec", exact=True).fill(
            f'name = "x"\ndescription = """{HOSTILE}"""\nworkloads = ["<b>b</b>"]\n'
        )
        page.get_by_role("button", name="Check").click()
        expect(page.locator("#problems")).to_contain_text("<b>b</b>")
        assert page.locator("#problems b").count() == 0
