"""The pages in a real browser: live, on a phone, by keyboard, in light and dark."""

import datetime as dt
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Chromium, opened, scrolls_sideways
from dashboard_server import OPERATOR, VIEWER, Served, served
from playwright.sync_api import Page, expect
from sqlalchemy import insert, select, update
from study_pages import add_study
from tests_support import SMALL_SPEC

from dashboards.pages import formats
from dashboards.request_worker import request_worker
from study.axis import format_value as format_setting
from study.storage.engine import create_database
from study.storage.tables import studies

pytestmark = pytest.mark.dashboards

PATHS = ("/", "/launch", "/account", "/audit")
#: Of WCAG 2.2's larger target size.
TOUCH = 44


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Studies with long names and texts."""
    folder = tmp_path_factory.mktemp("browser")
    with create_database(f"sqlite:///{folder}/study.db") as engine:
        add_study(engine, "short")
        add_study(engine, "a" * 64, "word " * 60 + "x" * 200)
        with engine.begin() as connection:
            connection.execute(update(studies).where(studies.c.name == "short").values(state="failed", error="y" * 300))
        with served(engine.url.render_as_string(), folder) as dashboard:
            yield dashboard


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [360, 768])
def test_no_page_scrolls_sideways_and_fingers_find_what_they_touch(
    browser: Chromium, dashboard: Served, path: str, width: int
) -> None:
    viewport = {"width": width, "height": 740}
    with opened(browser, dashboard, OPERATOR, path, viewport=viewport, has_touch=width < 500) as page:
        assert not scrolls_sideways(page)
        if width < 500:
            controls = page.locator("button, select, input:not([type=hidden], [type=file]), nav a, .button")
            heights = controls.evaluate_all("all => all.map(e => e.getBoundingClientRect().height)")
            assert [height for height in heights if 0 < height < TOUCH] == []


@pytest.mark.parametrize("path", PATHS)
def test_pages_have_landmarks_headings_in_order_and_a_name_for_every_control(
    browser: Chromium, dashboard: Served, path: str
) -> None:
    nameless = """all => all.filter(e => e.checkVisibility())
        .filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map(e => e.outerHTML)"""
    dangling = """all => all.flatMap(e => e.getAttribute("aria-describedby").split(" "))
        .filter(id => !document.getElementById(id))"""
    with opened(browser, dashboard, OPERATOR, path) as page:
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.title().endswith(" \N{MIDDLE DOT} Adai studies")
        assert page.locator("h1").count() == 1
        levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(e => Number(e.tagName[1]))")
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        for landmark in ("banner", "main", "contentinfo"):
            assert page.get_by_role(landmark).count() == 1  # type: ignore[arg-type]
        controls = page.locator("a, button, input:not([type=hidden]), select, textarea, summary")
        assert controls.evaluate_all(nameless) == []
        assert page.locator("[aria-describedby]").evaluate_all(dangling) == []
        ids = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
        assert len(ids) == len(set(ids))


def test_the_keyboard_skips_to_the_content_and_closes_the_menu(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, OPERATOR) as page:
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        page.keyboard.press("Tab")
        assert page.evaluate("document.querySelector('#main').contains(document.activeElement)")
        page.locator("#who summary").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("Account and tokens")).to_be_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(page.get_by_text("Account and tokens")).to_be_hidden()
        expect(page.locator("#who summary")).to_be_focused()


def module_of(page: Page, name: str) -> str:
    """The address of a module, beside those that the page has."""
    source = page.locator("script[type=module]").first.get_attribute("src")
    assert source is not None
    return f"{source.rsplit('/', 1)[0]}/{name}"


def test_colours_follow_the_system_until_people_choose_and_then_stay(browser: Chromium, dashboard: Served) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, dashboard, VIEWER, color_scheme="dark") as page:
        dark = page.evaluate(ground)
        page.emulate_media(color_scheme="light")
        assert page.evaluate(ground) != dark
        button = page.get_by_role("button", name="Colours")
        button.click()
        button.click()
        assert page.evaluate(ground) == dark
        page.goto("/account")
        assert page.evaluate(ground) == dark
        series = page.evaluate(f"import('{module_of(page, 'colours.js')}').then(m => m.readColours().series)")
        assert len(set(series)) == 8
        assert all(colour.startswith("rgb(") for colour in series)


def test_scripts_write_numbers_as_the_server_does(browser: Chromium, dashboard: Served) -> None:
    at = dt.datetime(2026, 11, 26, 1, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    numbers = [0, 1, -1, 0.0278, 1.23456e-5, 9.9996e-5, 123456.4, 999999.7, 2.5e20, -0.5, 1e-300, 37, 0.99999, None]
    seconds = [0, 0.4, 1, 59.4, 61, 3599, 3600, 86399, 86400, 1e6, None]
    given: dict[str, tuple[Any, list[Any]]] = {
        "formatNumber": (formats.format_number, numbers),
        "formatValue": (formats.format_value, [*numbers, "cosine", True, False]),
        "formatCount": (formats.format_count, [0, 7, 999, 1000, 1234567, None]),
        "formatDuration": (formats.format_duration, seconds),
        "formatShare": (formats.format_share, [0, 1e-9, 0.005, 0.0149, 0.125, 0.994, 0.9999, 1, None]),
        "formatSentence": (formats.format_sentence, ["", "too many tries", "try it: adai-study serve", "Éa.", "`ls`"]),
        "formatRate": (formats.format_rate, [100.0, 3.14159, 0.2, 0.01, 1e-4, None]),
    }
    with opened(browser, dashboard, VIEWER) as page:
        source = module_of(page, "format.js")
        for name, (write, values) in given.items():
            script = f"values => import('{source}').then(m => values.map(value => m.{name}(value)))"
            assert page.evaluate(script, values) == [write(value) for value in values]
        settings = [1e-8, 1.5e-5, 0.0001, 0.99999, 0.0888377123, 123456.7, 1e6, 0, -0.25, True, "cosine"]
        script = f"all => import('{module_of(page, 'scales.js')}').then(m => all.map(value => m.formatSetting(value)))"
        assert page.evaluate(script, settings) == [format_setting(value) for value in settings]
        written = page.evaluate(f"at => import('{source}').then(m => m.formatTime(at))", at.isoformat())
        assert f">{written}<" in formats.format_time(at)


def turn_away(page: Page, *, away: bool) -> None:
    """What happens to a page whose tab is left, or looked at again."""
    hidden = f"Object.defineProperty(document, 'hidden', {{ configurable: true, value: {str(away).lower()} }});"
    page.evaluate(f"{hidden} document.dispatchEvent(new Event('visibilitychange'))")


def test_a_page_whose_session_has_ended_says_so(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, VIEWER, expected=["status of 401"]) as page:
        expect(page.locator("#live")).to_have_text("Live")
        page.context.clear_cookies()
        turn_away(page, away=True)
        turn_away(page, away=False)
        expect(page.get_by_text("Signed out: sign in again")).to_have_attribute("href", "/sign-in?next=%2F")


def test_what_happened_while_nobody_looked_is_made_up_for(browser: Chromium, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    with create_database(url) as engine:
        add_study(engine, "old")
        with engine.begin() as connection:
            connection.execute(update(studies).values(state="running"))
            old = dict(connection.execute(select(studies)).mappings().one())
            # So many newer ones that nothing is told of it by itself.
            newer = [old | {"id": None, "name": f"newer-{number}", "state": "completed"} for number in range(60)]
            connection.execute(insert(studies), newer)
        with served(url, tmp_path) as dashboard, opened(browser, dashboard, VIEWER, "/?q=old") as page:
            state = page.locator("tr[data-study=old] [data-field=state]")
            expect(page.locator("#live")).to_have_text("Live")
            other = page.context.new_page()
            other.goto("/?q=old")
            expect(other.locator("#live")).to_have_text("Live")
            turn_away(page, away=True)
            with engine.begin() as connection:
                connection.execute(update(studies).where(studies.c.name == "old").values(state="completed"))
            expect(other.locator("tr[data-study=old] [data-field=state]")).to_have_text("completed")
            expect(state).to_have_text("running")
            turn_away(page, away=False)
            expect(state).to_have_text("completed", timeout=15_000)


def test_a_token_is_shown_once_and_revoked(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, OPERATOR, "/account") as page:
        page.get_by_label("Name of a new token").fill("<b>notebook</b>")
        page.get_by_role("button", name="Make a token").click()
        secret = page.get_by_label("Secret").input_value()
        expect(page.get_by_role("button", name="Copy")).to_be_focused()
        with dashboard.client(headers={"Authorization": f"Bearer {secret}"}) as program:
            assert program.get("/v1/me").json()["by"] == "token"
            page.reload()
            assert secret not in page.content()
            page.on("dialog", lambda dialog: dialog.accept())
            page.get_by_role("button", name="Revoke <b>notebook</b>").click()
            expect(page.locator("#tokens .state")).to_have_text("revoked")
            assert program.get("/v1/me").status_code == 401


def test_a_spec_is_checked_corrected_and_started_by_keyboard(browser: Chromium, dashboard: Served) -> None:
    with request_worker(dashboard.context), opened(browser, dashboard, OPERATOR, "/launch") as page:
        field = page.get_by_label("Spec")
        start = page.get_by_role("button", name="Start")
        expect(start).to_be_disabled()
        field.fill(SMALL_SPEC.replace("seeds = 2", "seeds == 2"))
        field.press("Control+Enter")
        page.get_by_role("button", name="Go to line 4").click()
        expect(field).to_be_focused()
        assert field.evaluate("f => f.value.slice(f.selectionStart - 7, f.selectionStart)") == "seeds ="
        field.fill(SMALL_SPEC.replace("seeds = 2", "seeds = 0\nsedes = 1"))
        field.press("Control+Enter")
        expect(page.locator("#problems")).to_contain_text("2 things are wrong")
        expect(page.locator("#problems")).to_contain_text("did you mean 'seeds'?")
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(start).to_be_disabled()
        field.fill(SMALL_SPEC.replace('"small"', '"launched"'))
        field.press("Control+Enter")
        expect(page.locator("#estimate")).to_contain_text("launched")
        expect(page.locator("#problems")).to_be_empty()
        field.press("End")
        page.keyboard.type("#")
        expect(start).to_be_disabled()
        field.press("Control+Enter")
        expect(start).to_be_enabled()
        start.press("Enter")
        link = page.get_by_role("link", name="Go to study launched")
        expect(link).to_be_focused(timeout=30_000)
        page.keyboard.press("Enter")
        page.wait_for_url("**/studies/launched")
    with dashboard.session(VIEWER) as client:
        assert client.get("/v1/studies/launched").json()["state"] == "queued"


def test_a_spec_file_is_read_and_checked_at_once(browser: Chromium, dashboard: Served, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SMALL_SPEC.replace('"small"', '"mine"'))
    (tmp_path / "large.toml").write_text("#" * 1_000_001)
    with opened(browser, dashboard, OPERATOR, "/launch") as page:
        page.get_by_label("Your own file").set_input_files(tmp_path / "large.toml")
        expect(page.locator("#file-name")).to_have_text("large.toml has 1,000,001 bytes; a spec has at most 1,000,000.")
        page.get_by_label("Your own file").set_input_files(tmp_path / "mine.toml")
        expect(page.locator("#estimate")).to_contain_text("mine")
        expect(page.get_by_role("button", name="Start")).to_be_enabled()
        assert page.get_by_label("Spec", exact=True).input_value() == (tmp_path / "mine.toml").read_text()
