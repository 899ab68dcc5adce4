"""A real browser: Debian's Chromium, driven by Playwright; what it complains of on a page fails the test."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from dashboard_server import PASSWORD, Served
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

#: Where pictures are kept; pytest's own folder without it. Read here, since tests see no settings of this project.
_PICTURES = os.environ.get("ADAI_SCREENSHOTS")
#: A busy machine is slow; nothing waits so long that is well.
_PATIENCE_MS = 30_000
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@dataclass(frozen=True)
class Chromium:
    """The browser of some tests.

    Attributes:
        browser: Playwright's.
        pictures: Folder of the pictures that tests keep.
    """

    browser: Browser
    pictures: Path

    def keep(self, page: Page, name: str, *, whole: bool = True) -> Path:
        """Keep a picture of a page, all of it or what is in sight."""
        path = self.pictures / f"{name}.png"
        page.screenshot(path=path, full_page=whole)
        return path


@contextmanager
def chromium(pictures: Path) -> Iterator[Chromium]:
    """Chromium, or a skip where there is none.

    Args:
        pictures: Where pictures are kept, unless ADAI_SCREENSHOTS names a folder.
    """
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium (.ci/run does)")
    folder = Path(_PICTURES) if _PICTURES else pictures
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that containers lack.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield Chromium(browser, folder)
        browser.close()


@dataclass
class Complaints:
    """What a browser says of mistakes: errors and warnings, policies that were not met, errors of scripts.

    Attributes:
        expected: Patterns of what is well, such as a refusal that a test is about.
    """

    expected: Sequence[str] = ()
    told: list[str] = field(default_factory=list)

    def hear(self, context: BrowserContext) -> None:
        """Note what is said on all pages of a context."""
        context.on("console", lambda message: message.type in ("error", "warning") and self.told.append(message.text))
        context.on("weberror", lambda error: self.told.append(str(error.error)))

    def check(self) -> None:
        """Nothing was said that is not expected."""
        assert [text for text in self.told if not any(re.search(pattern, text) for pattern in self.expected)] == []


@contextmanager
def visiting(browser: Chromium, address: str, *, expected: Sequence[str] = (), **options: Any) -> Iterator[Page]:
    """A page of somebody who has not been here before; if the test fails, a picture of it is kept.

    Args:
        browser: Where it is opened.
        address: Of the dashboard; paths are relative to it.
        expected: Patterns of complaints that do not fail the test.
        options: Of Playwright's context, such as ``viewport``.
    """
    complaints = Complaints(expected)
    context = browser.browser.new_context(base_url=address, **(DESKTOP | options))
    context.set_default_timeout(_PATIENCE_MS)
    complaints.hear(context)
    page = context.new_page()
    try:
        yield page
        complaints.check()
    except BaseException:
        test = os.environ.get("PYTEST_CURRENT_TEST", "page").partition(" ")[0]
        browser.keep(page, "failed " + re.sub(r"[^\w.-]+", "-", test.rpartition("/")[2]))
        raise
    finally:
        context.close()


@contextmanager
def opened(
    browser: Chromium, dashboard: Served, user: str, path: str = "/", *, expected: Sequence[str] = (), **options: Any
) -> Iterator[Page]:
    """A page as ``user`` sees it, who has signed in before; see :func:`visiting`."""
    with dashboard.session(user) as client:
        cookies = [{"name": cookie.name, "value": cookie.value} for cookie in client.cookies.jar]
    place = {"domain": urlsplit(dashboard.address).hostname, "path": "/"}
    with visiting(browser, dashboard.address, expected=expected, **options) as page:
        page.context.add_cookies([cookie | place for cookie in cookies])  # type: ignore[list-item]
        page.goto(path)
        yield page


def sign_in(page: Page, user: str, password: str = PASSWORD) -> None:
    """Fill in the form that the page shows, and send it."""
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def mark_loaded(page: Page) -> None:
    """Remember that this very page was loaded, for :func:`is_still_loaded`."""
    page.evaluate("window.loadedOnce = true")


def is_still_loaded(page: Page) -> bool:
    """Whether the page was never loaded anew since."""
    return bool(page.evaluate("window.loadedOnce === true"))


def drawn(page: Page, count: int = 1) -> None:
    """Wait until so many plots are drawn."""
    expect(page.locator(".js-plotly-plot")).to_have_count(count)


def scrolls_sideways(page: Page) -> bool:
    """Whether a page is wider than its window."""
    size = page.viewport_size
    assert size is not None
    return int(page.evaluate("document.documentElement.scrollWidth")) > size["width"]


def find_barriers(page: Page) -> list[str]:
    """What keeps people from using a page, as axe-core sees it: the rules of WCAG 2.2 A and AA, and good practice."""
    options = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
    violations = Axe().run(page, options=options).response["violations"]
    return [f"{each['id']} ({each['help']}): {node['html'][:160]}" for each in violations for node in each["nodes"]]


def open_tab(page: Page, title: str) -> None:
    """Go to another tab of a study."""
    page.get_by_role("navigation", name="Of this study").get_by_role("link", name=title).click()
    expect(page.locator(".tabs [aria-current=page]")).to_have_text(title)
