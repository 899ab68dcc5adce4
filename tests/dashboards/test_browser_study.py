"""The pages of a study in a real browser, under the policy of the pages: plots, addresses, keyboard, phone, live."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Chromium, drawn, opened
from dashboard_server import OPERATOR, VIEWER, Served, served
from playwright.sync_api import expect
from sqlalchemy import func, select, update

from study.storage.tables import runs, studies, trials

pytestmark = pytest.mark.dashboards

HOSTILE = '<img src=x onerror="document.title=1"><b>bold</b>'
ADDRESS = "/studies/small"


@pytest.fixture(scope="module")
def dashboard(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two optimizers with a report; tests may change what is in its database."""
    folder = tmp_path_factory.mktemp("study in a browser")
    shutil.copy(finished[0].removeprefix("sqlite:///"), folder / "study.db")
    shutil.copytree(finished[1], folder / "reports" / "small")
    with served(f"sqlite:///{folder}/study.db", folder) as dashboard:
        yield dashboard


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_maps_are_drawn_side_by_side_on_one_scale_without_any_complaint_of_the_browser(
    browser: Chromium, dashboard: Served, scheme: str
) -> None:
    with opened(browser, dashboard, VIEWER, f"{ADDRESS}/landscape?y=", color_scheme=scheme) as page:
        drawn(page, 2)
        expect(page.locator("#maps h2")).to_have_text(["Adai", re.compile("SGD")])
        expect(page.locator("#bar")).to_have_attribute("aria-label", re.compile("Objective .*: from"))
        ranges = page.evaluate("[...document.querySelectorAll('.map')].map(m => m.layout.yaxis.range.join())")
        assert len(set(ranges)) == 1
        expect(page.locator("#maps figcaption p:first-child").first).to_have_text(re.compile(r"^(Good|No good share)"))


def test_an_optimizer_without_an_axis_says_so_and_leads_to_its_own(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, VIEWER, f"{ADDRESS}/landscape?y=beta0") as page:
        drawn(page)
        lacking = page.locator(".lacking").filter(has_text="has no axis beta0")
        lacking.get_by_role("link").click()
        expect(page.locator("#maps h2")).to_have_text([re.compile("SGD")])
        drawn(page)


def test_a_chosen_trial_stands_in_the_address_so_that_it_can_be_shared_and_gone_back_from(
    browser: Chromium, dashboard: Served
) -> None:
    with opened(browser, dashboard, VIEWER, f"{ADDRESS}/landscape") as page:
        drawn(page)
        page.locator("#maps .reader:visible button").first.click()
        expect(page.locator("#chosen h2")).to_have_text(re.compile(r"trial \d"))
        expect(page.locator("#chosen tbody tr")).to_have_count(2)
        shared = page.url
        assert re.search(r"trial=adai%3A\d", shared)
        page.go_back()
        expect(page.locator("#chosen")).to_be_hidden()
    with opened(browser, dashboard, VIEWER, shared.removeprefix(dashboard.address)) as page:
        expect(page.locator("#chosen h2")).to_have_text(re.compile(r"Adai, trial \d"))
        page.locator("#chosen").get_by_role("link", name="Open trial").click()
        expect(page.locator("h1")).to_have_text(re.compile(r"Adai, trial \d"))


def test_points_are_read_and_chosen_by_keyboard_and_stand_in_a_table(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, VIEWER, f"{ADDRESS}/landscape?optimizer=adai") as page:
        drawn(page)
        page.locator("#maps input[type=range]").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#maps output")).to_have_text(re.compile(r"Adai, trial \d.*objective.*seeds"))
        page.keyboard.press("Enter")
        expect(page.locator("#chosen h2")).to_be_focused()
        page.get_by_text("Points as a table").click()
        expect(page.locator(".as-table tbody tr")).to_have_count(5)
        page.locator(".as-table").get_by_role("button", name="lr", exact=True).click()
        shown = page.locator(".as-table tbody td:nth-child(2)").all_inner_texts()
        assert [float(text) for text in shown] == sorted(map(float, shown))


def test_learning_curves_are_drawn_with_a_table_of_the_same(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, VIEWER, f"{ADDRESS}/curves") as page:
        drawn(page)
        expect(page.locator("#curve-table tbody tr")).to_have_count(2)
        page.locator("#count").fill("3")
        page.keyboard.press("Tab")
        expect(page.locator("#curve-table tbody tr")).to_have_count(6)
        assert "count=3" in page.url


def test_a_trial_has_a_plot_for_each_metric(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, VIEWER, f"{ADDRESS}/trials/digits-logistic/adai/1") as page:
        expect(page.locator("#trial-curves h3").first).to_have_text("Validation error")
        expect(page.locator("#trial-status")).to_have_text(re.compile("2 seeds"))
        expect(page.locator(".js-plotly-plot").nth(2)).to_be_visible()


def test_progress_follows_the_study_without_a_reload(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, OPERATOR, ADDRESS) as page:
        row = page.locator('tr[data-optimizer="adai"] [data-field="runs"]')
        expect(row).to_have_text("10 of 10 runs")
        expect(page.locator("#live")).to_have_text("Live")
        with dashboard.context.engine.begin() as connection:
            first = connection.execute(select(func.min(runs.c.id))).scalar_one()
            connection.execute(update(runs).where(runs.c.id == first).values(termination=None))
            connection.execute(update(studies).values(state="running", beat=studies.c.beat + 1))
        try:
            expect(row).to_have_text("9 of 10 runs", timeout=15_000)
            expect(page.locator('.heading [data-field="state"]')).to_have_text("running")
            expect(page.locator('[data-action="cancel"]')).not_to_have_attribute("aria-disabled", "true")
        finally:
            with dashboard.context.engine.begin() as connection:
                connection.execute(update(runs).where(runs.c.id == first).values(termination="COMPLETED"))
                connection.execute(update(studies).values(state="completed", beat=studies.c.beat + 1))


def test_what_cannot_be_done_is_told_and_not_asked_for(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, VIEWER, ADDRESS) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.method))
        page.get_by_role("button", name="Write report").click(force=True)
        expect(page.locator("#notices")).to_contain_text("Your role is viewer")
        assert "POST" not in asked


def test_values_that_are_html_stay_text_in_plots_and_panels(browser: Chromium, dashboard: Served) -> None:
    with dashboard.context.engine.begin() as connection:
        number = connection.execute(select(trials.c.hyperparameters).where(trials.c.number == 0)).scalars().first()
        changed = (number or {}) | {"weight_decay": HOSTILE}
        connection.execute(update(trials).where(trials.c.number == 0).values(hyperparameters=changed))
        connection.execute(update(runs).values(reason=HOSTILE))
        connection.execute(update(studies).values(beat=studies.c.beat + 1))
    for path in ("landscape?trial=adai:0", "curves?choose=default", "trials/digits-logistic/adai/0"):
        with opened(browser, dashboard, VIEWER, f"{ADDRESS}/{path}") as page:
            expect(page.locator("main")).to_contain_text(HOSTILE)
            assert page.locator("main img[src=x], main b:text('bold')").count() == 0
