"""In a browser: Optuna Dashboard is one click away, for the same people, with our note and figures, and only read."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Chromium, opened, sign_in, visiting
from dashboard_server import OPERATOR, VIEWER, Served, served
from playwright.sync_api import expect

pytestmark = pytest.mark.dashboards

#: What Optuna Dashboard's own scripts say of themselves, and what it says of a write that was refused.
ITS_OWN = (r"React|MUI|Warning:", r"status of 405")
UNAUTHORIZED = r"status of 401"
PAINTED = "plot => plot.querySelectorAll('.heatmaplayer image, .scatterlayer .point').length"


@pytest.fixture(scope="module")
def dashboard(explored: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A study whose report is published to Optuna's pages."""
    folder = tmp_path_factory.mktemp("optuna")
    shutil.copy(explored[0].removeprefix("sqlite:///"), folder / "study.db")
    with served(f"sqlite:///{folder}/study.db", folder) as dashboard:
        yield dashboard


def test_every_optimizer_has_its_page_one_click_away_with_our_note_and_figures(
    browser: Chromium, dashboard: Served
) -> None:
    with opened(browser, dashboard, VIEWER, "/studies/explored", expected=ITS_OWN) as page:
        row = page.locator("tr[data-optimizer=adai]")
        row.get_by_role("link", name="Optuna").click()
        expect(page.get_by_text("explored/digits-logistic/adai").first).to_be_visible()
        figures = page.locator("[id^='user-defined-plot:adai-landscape-']")
        expect(figures).to_have_count(3)
        for figure in figures.all():
            expect(figure).to_contain_text("Adai on digits-logistic")
            expect(figure.locator(".heatmaplayer image")).to_have_count(1)
            assert figure.evaluate(PAINTED) > 5
        browser.keep(page, "optuna-figures")
        page.goto(f"{page.url.rstrip('/')}/note")
        note = page.get_by_role("main").or_(page.locator("#root, #dashboard")).first
        expect(note).to_contain_text("Good settings:")
        expect(note).to_contain_text(re.compile(r"Diverged: \d+ of 26 runs"))
        browser.keep(page, "optuna-note")
        page.get_by_role("link", name="the study's page").click()
        expect(page.get_by_role("heading", name="explored", level=1)).to_be_visible()


def test_the_sign_in_is_the_same_for_both(browser: Chromium, dashboard: Served) -> None:
    with visiting(browser, dashboard.address, expected=ITS_OWN) as page:
        page.goto("/dashboard/studies/1")
        sign_in(page, VIEWER)
        expect(page.get_by_text("explored/digits-logistic/adai").first).to_be_visible()
        assert page.url.startswith(f"{dashboard.address}/dashboard/studies/1")
        page.goto("/")
        page.get_by_role("link", name="Optuna Dashboard").click()
        expect(page.get_by_text("explored/digits-logistic/sgd")).to_be_visible()


@pytest.mark.parametrize("user", [VIEWER, OPERATOR])
def test_nobody_deletes_a_study_through_it(browser: Chromium, dashboard: Served, user: str) -> None:
    with opened(browser, dashboard, user, "/dashboard", expected=ITS_OWN) as page:
        expect(page.get_by_text("explored/digits-logistic/adai").first).to_be_visible()
        page.get_by_role("button", name="delete").first.click()
        with page.expect_response(lambda answer: answer.request.method == "DELETE") as answered:
            page.get_by_role("button", name=re.compile("yes", re.IGNORECASE)).click()
        assert answered.value.status in (403, 405)
        page.reload()
        expect(page.get_by_text("explored/digits-logistic/", exact=False)).to_have_count(3)
