"""In a browser: signing in and out, what each role may do, and what becomes of a page whose session is gone."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import Chromium, is_still_loaded, mark_loaded, opened, sign_in, visiting
from dashboard_server import OPERATOR, VIEWER, Served, served
from playwright.sync_api import Page, expect
from sqlalchemy import delete, update
from study_pages import add_study

from dashboards.security.state import security_of
from study.storage.engine import create_database
from study.storage.tables import audit, sessions, users

pytestmark = pytest.mark.dashboards

UNAUTHORIZED = r"status of 401"
FORBIDDEN = r"status of 403"
#: By whichever rule comes first.
REFUSED = r"status of 40[135]"
LIMITED = r"status of 429"


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One study, and users of both roles."""
    folder = tmp_path_factory.mktemp("sign in")
    with create_database(f"sqlite:///{folder}/study.db") as engine:
        add_study(engine, "first")
        with served(engine.url.render_as_string(), folder) as dashboard:
            yield dashboard


def links_of(page: Page) -> list[str]:
    """The titles of the main menu."""
    return page.get_by_role("navigation", name="Main").get_by_role("link").all_inner_texts()


@pytest.mark.parametrize(
    ("user", "links"),
    [(VIEWER, ["Studies", "Optuna Dashboard"]), (OPERATOR, ["Studies", "Launch", "Audit", "Optuna Dashboard"])],
)
def test_people_sign_in_reach_what_they_asked_for_and_sign_out(
    browser: Chromium, dashboard: Served, user: str, links: list[str]
) -> None:
    with visiting(browser, dashboard.address) as page:
        page.goto("/studies/first?from=a%20mail")
        assert urlsplit(page.url).path == "/sign-in"
        sign_in(page, user)
        expect(page.get_by_role("heading", name="first", level=1)).to_be_visible()
        assert page.url.endswith("/studies/first?from=a%20mail")
        assert [re.sub(r"\s+", " ", link) for link in links_of(page)] == links
        page.locator("#who summary").click()
        expect(page.locator("#who")).to_contain_text(f"Signed in as {user}")
        page.locator("#who").get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.goto("/studies/first")
        assert urlsplit(page.url).path == "/sign-in"
        page.go_back()
        page.go_back()
        # What was seen before is not kept by the browser.
        expect(page.get_by_role("heading", name="first")).to_have_count(0)


def test_a_wrong_password_is_told_and_the_right_one_is_taken_next(browser: Chromium, dashboard: Served) -> None:
    with visiting(browser, dashboard.address, expected=[UNAUTHORIZED]) as page:
        page.goto("/account")
        sign_in(page, VIEWER, "not the password")
        expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
        expect(page.get_by_label("Password")).to_be_focused()
        expect(page.get_by_label("Password")).to_have_value("")
        expect(page.get_by_label("User name")).to_have_value(VIEWER)
        sign_in(page, VIEWER)
        expect(page.get_by_role("heading", name="Account")).to_be_visible()


def test_who_tries_too_often_is_told_how_long_to_wait(browser: Chromium, dashboard: Served) -> None:
    with dashboard.client() as client:
        for _ in range(10):
            client.post("/sign-in", data={"name": "mallory", "password": "guess"})
    with visiting(browser, dashboard.address, expected=[LIMITED]) as page:
        page.goto("/sign-in")
        sign_in(page, "mallory", "guess")
        expect(page.get_by_role("alert")).to_have_text(
            re.compile(r"Too many wrong passwords from your address; try again in \d+ minutes\.")
        )
        browser.keep(page, "sign-in-limited")
        # Somebody else is not kept out.
        sign_in(page, VIEWER)
        expect(page.get_by_role("heading", name="Studies")).to_be_visible()


def test_without_a_secret_the_printed_link_signs_in_once(browser: Chromium, tmp_path: Path) -> None:
    with create_database(f"sqlite:///{tmp_path}/study.db") as engine:
        url = engine.url.render_as_string()
    with served(url, tmp_path, secret=None) as dashboard:
        link = f"/sign-in?key={security_of(dashboard.context).key.make()}"
        with visiting(browser, dashboard.address) as page:
            page.goto(link)
            expect(page.locator("#who")).to_contain_text("local")
            assert "key=" not in page.url
            expect(page.get_by_role("link", name="Launch", exact=True)).to_be_visible()
        with visiting(browser, dashboard.address, expected=[UNAUTHORIZED]) as page:
            page.goto(link)
            expect(page.get_by_role("alert")).to_contain_text("This link has been used")


@pytest.mark.parametrize("path", ["/launch", "/audit"])
def test_a_viewer_who_asks_for_a_page_of_operators_is_refused(browser: Chromium, dashboard: Served, path: str) -> None:
    with opened(browser, dashboard, VIEWER, path, expected=[FORBIDDEN]) as page:
        expect(page.locator("main")).to_contain_text("Error 403")
        expect(page.locator("main")).to_contain_text("An operator can do it for you.")
        page.get_by_role("link", name="Show all studies").click()
        expect(page.get_by_role("heading", name="Studies")).to_be_visible()


def test_a_viewers_buttons_say_why_not_and_what_is_sent_past_them_is_refused(
    browser: Chromium, dashboard: Served
) -> None:
    with opened(browser, dashboard, VIEWER, "/studies/first", expected=[REFUSED]) as page:
        for title in ("Resume", "Cancel", "Write report"):
            expect(page.get_by_role("button", name=title)).to_have_attribute("aria-disabled", "true")
        page.get_by_role("button", name="Cancel").click(force=True)
        expect(page.locator("#notices")).to_contain_text("Your role is viewer; an operator can do this.")
        # As somebody does it who types into the browser's console: with the page's own token.
        send = """async ([method, path, body]) => (await fetch(path, {method, body: JSON.stringify(body), headers: {
            "Content-Type": "application/json", "X-CSRF-Token": document.querySelector("meta[name=csrf-token]").content,
        }})).status"""
        for path in ("cancel", "resume", "report"):
            assert page.evaluate(send, ["POST", f"/v1/studies/first/{path}", {}]) == 403
        assert page.evaluate(send, ["POST", "/v1/studies", {"toml": ""}]) == 403
        assert page.evaluate(send, ["POST", "/v1/specs/check", {"toml": ""}]) == 403
        assert page.evaluate(send, ["POST", "/v1/tokens", {"name": "mine", "role": "operator"}]) == 403
        assert page.evaluate(send, ["DELETE", "/api/studies/1", {}]) in (403, 405)


def test_a_page_whose_session_was_removed_says_so_and_leads_back(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, OPERATOR, "/studies/first", expected=[UNAUTHORIZED]) as page:
        expect(page.locator("#live")).to_have_text("Live")
        with dashboard.context.engine.begin() as connection:
            connection.execute(delete(sessions))
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#asked")).to_contain_text("Your session has ended; load the page again to sign in.")
        page.reload()
        sign_in(page, OPERATOR)
        expect(page.get_by_role("heading", name="first", level=1)).to_be_visible()


def test_a_role_that_is_taken_away_counts_at_once(browser: Chromium, dashboard: Served) -> None:
    dashboard.add_user("olga", "operator")
    with opened(browser, dashboard, "olga", "/launch", expected=[FORBIDDEN]) as page:
        mark_loaded(page)
        with dashboard.context.engine.begin() as connection:
            connection.execute(update(users).where(users.c.name == "olga").values(role="viewer"))
        page.get_by_role("button", name="Check").click()
        expect(page.locator("#problems")).to_contain_text("Olga is a viewer here")
        assert is_still_loaded(page)
        page.goto("/")
        assert [re.sub(r"\s+", " ", link) for link in links_of(page)] == ["Studies", "Optuna Dashboard"]


def test_what_was_tried_stands_in_the_audit_log(browser: Chromium, dashboard: Served) -> None:
    with opened(browser, dashboard, OPERATOR, "/audit") as page:
        page.get_by_label("User").fill(OPERATOR)
        page.get_by_role("button", name="Show").click()
        expect(page.locator("tbody tr").first).to_contain_text("sign_in")
        assert set(page.locator("td[data-label=Who]").all_inner_texts()) == {OPERATOR}
    with dashboard.context.engine.connect() as connection:
        assert connection.execute(audit.select().where(audit.c.user_name == OPERATOR)).first() is not None
