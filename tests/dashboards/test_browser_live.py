"""In a browser: studies are watched while they run; pages outlive a restart of the dashboard and of the database."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Chromium, drawn, is_still_loaded, mark_loaded, opened, sign_in, visiting
from commands import DashboardCommand, add_users, command_running
from dashboard_server import OPERATOR, VIEWER, Served, served
from playwright.sync_api import Page, expect
from postgresql_server import PostgresqlServer
from sqlalchemy import Engine, update
from study_pages import add_study
from tests_support import SMALL_SPEC

from study.storage.engine import create_database
from study.storage.tables import studies

pytestmark = pytest.mark.dashboards

#: Trains for longer than a page takes to be opened on any machine.
LONG_SPEC = (
    SMALL_SPEC.replace('"small"', '"long"').replace("epochs = 2", "epochs = 200").replace("seeds = 2", "seeds = 8")
)
RUNS = 80
#: Chromium's words for a server that is away.
AWAY = r"net::ERR_|status of 503"


def progress_of(page: Page) -> float:
    """How full the bar of the study is."""
    return float(page.locator("#study .facts progress").evaluate("bar => bar.value / bar.max"))


def test_a_study_is_followed_to_its_end_in_the_list_and_on_its_page(browser: Chromium, tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text(LONG_SPEC)
    url = f"sqlite:///{tmp_path}/study.db"
    with create_database(url) as engine:
        add_study(engine, "other")
    words = ["run", "long.toml", "--pool", "inline", "--no-report", "--db", url]
    with served(url, tmp_path) as dashboard, opened(browser, dashboard, VIEWER) as listed:
        expect(listed.locator("#live")).to_have_text("Live")
        with command_running(*words, folder=tmp_path):
            # A list is not moved under the hands of those who read it: what is new is announced.
            listed.get_by_text("1 new study: show").click(timeout=60_000)
            row = listed.locator("tr[data-study=long]")
            page = listed.context.new_page()
            page.goto("/studies/long")
            for each in (listed, page):
                mark_loaded(each)
                each.bring_to_front()
            seen = watch_to_the_end(page)
            listed.bring_to_front()
            expect(row.locator("[data-field=state]")).to_have_text("completed")
        browser.keep(page, "study-that-was-watched")
        assert len(seen) > 2, seen
        assert seen == sorted(seen)
        expect(row.locator(".progress-text")).to_have_text(f"100 % {RUNS} of {RUNS} runs")
        expect(row.locator(".best li")).to_have_count(2)
        for each in (listed, page):
            assert is_still_loaded(each)
            shown = each.locator("main").inner_text()
            each.reload()
            # What the scripts wrote is what the server writes.
            assert without_driver(each.locator("main").inner_text()) == without_driver(shown)


def watch_to_the_end(page: Page) -> list[float]:
    """Every share of the study that its bar shows, until the study is complete."""
    state = page.locator("#study .heading [data-field=state]")
    page.evaluate("""() => {
        const bar = document.querySelector("#study .facts progress");
        window.seen = [bar.value / bar.max];
        new MutationObserver(() => window.seen.push(bar.value / bar.max)).observe(bar, { attributes: true });
    }""")
    expect(state).to_have_text("running")
    expect(page.get_by_role("button", name="Cancel")).to_have_attribute("data-why", re.compile("Your role is viewer"))
    expect(state).to_have_text("completed", timeout=120_000)
    expect(page.locator("#study .facts [data-field=runs]")).to_have_text(f"{RUNS} of {RUNS} runs")
    seen: list[float] = page.evaluate("window.seen")
    assert progress_of(page) == 1
    return seen


def without_driver(text: str) -> str:
    """The text of a page but for when it was created or finished, and who drove it."""
    return re.sub(r"(Created|Finished)\s+\S+ \S+|Driven by .*", "", text)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with users and a study that seems to run."""
    with create_database(f"sqlite:///{tmp_path}/study.db") as engine:
        add_study(engine, "first")
        add_users(engine)
        change_state(engine, "running")
        yield engine


def change_state(engine: Engine, state: str) -> None:
    """Let a study be in another state."""
    with engine.begin() as connection:
        connection.execute(update(studies).values(state=state, beat=studies.c.beat + 1))


def test_a_page_goes_on_after_the_dashboard_was_started_again(
    browser: Chromium, engine: Engine, tmp_path: Path
) -> None:
    dashboard = DashboardCommand(engine.url.render_as_string(), tmp_path)
    with visiting(browser, dashboard.address, expected=[AWAY]) as page:
        state = page.locator("#study .heading [data-field=state]")
        with dashboard.running():
            page.goto("/studies/first")
            sign_in(page, OPERATOR)
            expect(page.locator("#live")).to_have_text("Live")
            expect(state).to_have_text("running")
            mark_loaded(page)
        expect(page.locator("#live")).to_have_text("Reconnecting")
        browser.keep(page, "reconnecting", whole=False)
        change_state(engine, "failed")
        page.get_by_role("button", name="Write report").click(force=True)
        with dashboard.running():
            expect(page.locator("#live")).to_have_text("Live", timeout=60_000)
            expect(state).to_have_text("failed")
            # The session and the token of the page are those of before.
            assert is_still_loaded(page)
            expect(page.get_by_role("button", name="Resume")).not_to_have_attribute("aria-disabled", "true")
            page.get_by_role("button", name="Resume").click()
            expect(page.locator("#asked .state")).to_have_text(re.compile("done|refused"))


@pytest.fixture
def own_postgresql(postgresql_binaries: Path) -> Iterator[PostgresqlServer]:
    """A server that is stopped and started again."""
    server = PostgresqlServer(postgresql_binaries)
    server.start()
    try:
        yield server
        server.stop("immediate")
    finally:
        server.remove()


def test_pages_say_that_the_database_is_away_and_go_on_when_it_is_back(
    browser: Chromium, own_postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    url = own_postgresql.create_database("restarted")
    with create_database(url) as engine:
        add_study(engine, "first")
        change_state(engine, "running")
    with (
        served(url, tmp_path) as dashboard,
        opened(browser, dashboard, VIEWER, "/studies/first", expected=[AWAY]) as page,
    ):
        expect(page.locator("#live")).to_have_text("Live")
        mark_loaded(page)
        other = page.context.new_page()
        own_postgresql.stop("immediate")
        other.goto("/")
        expect(other.locator("main")).to_contain_text("Nothing is lost; load the page again in a moment.")
        browser.keep(other, "database-away")
        page.bring_to_front()
        expect(page.locator("#live")).to_have_text("Database away")
        own_postgresql.start()
        change_state(dashboard.context.engine, "interrupted")
        expect(page.locator("#study .heading [data-field=state]")).to_have_text("interrupted", timeout=60_000)
        expect(page.locator("#live")).to_have_text("Live")
        assert is_still_loaded(page)
        other.get_by_role("link", name="Load the page again").click()
        expect(other.locator("tr[data-study=first]")).to_be_visible()
        follow_curves(other)


def follow_curves(page: Page) -> None:
    """A tab that asks the API works as well."""
    page.goto("/studies/first/curves")
    expect(page.locator("#curves-status")).to_have_text("No trial has an epoch yet.")
    drawn(page, 0)


def test_a_dashboard_that_ends_lets_its_pages_go(browser: Chromium, tmp_path: Path) -> None:
    with create_database(f"sqlite:///{tmp_path}/study.db") as engine:
        add_study(engine, "first")
        url = engine.url.render_as_string()
    with visiting(browser, "http://127.0.0.1", expected=[AWAY]) as page:
        with served(url, tmp_path) as dashboard:
            page.goto(f"{dashboard.address}/sign-in")
            sign_in(page, VIEWER)
            expect(page.locator("#live")).to_have_text("Live")
        assert_ended(dashboard)
        expect(page.locator("#live")).to_have_text("Reconnecting")


def assert_ended(dashboard: Served) -> None:
    """Nothing of it listens any more."""
    with dashboard.client() as client, pytest.raises(Exception, match="refused"):
        client.get("/health")
