"""In a browser: an operator launches, cancels and resumes studies, asks for a report, and downloads everything."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from browser import Chromium, is_still_loaded, mark_loaded, open_tab, opened
from commands import command_running
from dashboard_server import OPERATOR, VIEWER, Served, served
from playwright.sync_api import FilePayload, Page, expect
from tests_support import SMALL_SPEC, Command

from study.report.folder import read_manifest
from study.storage.engine import create_database

pytestmark = pytest.mark.dashboards

BAD_SPEC = """
name = "Bad Name"
workloads = ["no-such-workload"]
seeds = 0

[[optimizers]]
name = "adai"

[optimizers.axes]
lr = { low = 1.0, high = 0.1, scale = "log" }
"""
LONG_SPEC = (
    SMALL_SPEC.replace('"small"', '"long"').replace("epochs = 2", "epochs = 150").replace("seeds = 2", "seeds = 8")
)
#: Training, or a report, on a busy machine.
WORK_MS = 150_000


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An empty database that a server works for; reports are written by the dashboard."""
    folder = tmp_path_factory.mktemp("orders")
    url = f"sqlite:///{folder}/study.db"
    words = ["serve", "--pool", "inline", "--no-reports", "--db", url]
    with create_database(url), served(url, folder) as dashboard, command_running(*words, folder=folder):
        yield dashboard


def file_of(text: str, name: str = "mine.toml") -> FilePayload:
    """A file as somebody chooses it."""
    return FilePayload(name=name, mimeType="application/toml", buffer=text.encode())


def upload(page: Page, text: str, name: str = "mine.toml") -> None:
    """Choose a file, which is checked at once."""
    page.locator("#file").set_input_files(file_of(text, name))
    expect(page.locator("#file-name")).to_contain_text(name)
    expect(page.locator("#state")).to_have_text(re.compile("^(Valid|Not valid)"))


def launch(page: Page) -> None:
    """Start what was checked, and go to its page."""
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#request .state")).to_have_text("done")
    link = page.get_by_role("link", name="Go to study")
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Of this study")).to_be_visible()
    expect(page.locator("#live")).to_have_text("Live")


def state_of(page: Page) -> str:
    """The state of the study as its page has it."""
    return page.locator("#study > .heading [data-field=state]").inner_text()


def expect_state(page: Page, *words: str) -> None:
    """Wait until the study is in one of these states."""
    expect(page.locator("#study > .heading [data-field=state]")).to_have_text(
        re.compile("|".join(words)), timeout=WORK_MS
    )


def facts_of(page: Page, place: str) -> dict[str, str]:
    """Names and values of a list of facts."""
    facts = page.locator(f"{place} .facts > div")
    return {name: value for name, value, *_ in (text.split("\n") for text in facts.all_inner_texts())}


def test_a_shipped_spec_is_checked_and_what_it_costs_is_told_before_it_starts(
    browser: Chromium, dashboard: Served
) -> None:
    with opened(browser, dashboard, OPERATOR, "/launch") as page:
        expect(page.get_by_role("button", name="Start")).to_be_disabled()
        page.get_by_role("link", name="digits", exact=True).click()
        expect(page.get_by_label("Spec", exact=True)).to_have_value(re.compile('name = "digits"'))
        page.wait_for_load_state()  # scripts hear keys from then on
        page.get_by_label("Spec", exact=True).focus()
        page.keyboard.press("Control+Enter")
        expect(page.locator("#state")).to_have_text("Valid. Nothing is written before you start it.")
        facts = facts_of(page, "#estimate")
        trials, runs, epochs = (int(facts[name].replace(",", "")) for name in ("Trials", "Runs", "Epochs of all runs"))
        assert facts["Study"] == "digits"
        assert 100 < trials < runs < epochs
        browser.keep(page, "launch-checked")
        # What was changed must be checked again.
        page.keyboard.press("Control+End")
        page.keyboard.type("# a remark")
        expect(page.get_by_role("button", name="Start")).to_be_disabled()
        expect(page.locator("#state")).to_have_text("Changed since it was checked: check it again.")
    with opened(browser, dashboard, OPERATOR) as page:
        expect(page.get_by_role("heading", name="No studies yet")).to_be_visible()


def test_mistakes_are_told_as_the_command_line_tells_them(
    browser: Chromium, dashboard: Served, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text(BAD_SPEC)
    said = command("submit", tmp_path / "bad.toml", "--db", f"sqlite:///{tmp_path}/other.db").output
    mistakes = [line.strip() for line in said.splitlines()[1:]]
    assert len(mistakes) == 4
    with opened(browser, dashboard, OPERATOR, "/launch") as page:
        upload(page, BAD_SPEC)
        expect(page.locator("#problems .box-title")).to_have_text("4 things are wrong")
        assert page.locator("#problems li").all_inner_texts() == mistakes
        expect(page.get_by_role("button", name="Start")).to_be_disabled()
        expect(page.get_by_label("Spec", exact=True)).to_have_attribute("aria-invalid", "true")
        browser.keep(page, "launch-mistakes")
        upload(page, 'name = "x"\nseeds = = 3\n')
        page.get_by_role("button", name="Go to line 2").click()
        expect(page.get_by_label("Spec", exact=True)).to_be_focused()
        assert page.evaluate("document.activeElement.selectionStart") == len('name = "x"\nseeds = ')
        upload(page, 'workload_files = ["own.py"]\n' + SMALL_SPEC)
        expect(page.locator("#problems")).to_contain_text("Python files are not taken over the web")
        page.locator("#file").set_input_files(file_of("# " + "x" * 1_000_001))
        expect(page.locator("#file-name")).to_contain_text("a spec has at most 1,000,000")


def test_a_study_is_uploaded_run_reported_and_downloaded(browser: Chromium, dashboard: Served, tmp_path: Path) -> None:
    with opened(browser, dashboard, OPERATOR, "/launch") as page:
        upload(page, SMALL_SPEC, "small.toml")
        assert facts_of(page, "#estimate")["Runs"] == "20"
        launch(page)
        mark_loaded(page)
        expect_state(page, "completed")
        expect(page.locator("#study .facts [data-field=runs]")).to_have_text("20 of 20 runs")
        button = page.get_by_role("button", name="Write report")
        expect(button).not_to_have_attribute("aria-disabled", "true")
        button.click()
        expect(page.locator("#asked .state")).to_have_text("done", timeout=WORK_MS)
        page.get_by_role("link", name="Open the report").click(trial=True)
        expect(page.get_by_role("region", name="Training")).to_contain_text("Engine stacked")
        expect(page.locator("#study .facts")).to_contain_text("Finished")
        assert is_still_loaded(page)
        open_tab(page, "Downloads")
        check_downloads(page, dashboard.context.options.reports / "small", tmp_path)
        browser.keep(page, "downloads")
        open_tab(page, "Comparison")
        expect(page.get_by_role("heading", name="Optimizers at a glance")).to_be_visible()
    with opened(browser, dashboard, OPERATOR, "/launch") as page:
        upload(page, SMALL_SPEC)
        expect(page.locator("#estimate")).to_contain_text("This study is there already, completed.")


def download(page: Page, name: str, row: str = "") -> bytes:
    """What somebody gets who clicks at a link."""
    place = page.get_by_role("row", name=re.compile(f"^{row}")) if row else page.locator("main")
    with page.expect_download() as begun:
        place.get_by_role("link", name=name).click()
    return Path(begun.value.path()).read_bytes()


def check_downloads(page: Page, report: Path, folder: Path) -> None:
    """Files are what they say they are."""
    with zipfile.ZipFile(io.BytesIO(download(page, "Whole folder (ZIP)"))) as archive:
        archive.extractall(folder)
    assert read_manifest(folder / "small-report") == read_manifest(report)
    assert json.loads((folder / "small-report" / "report.json").read_text())["info"]["name"] == "small"
    for table, rows in (("Runs", 20), ("Trials", 10), ("Epochs", 40)):
        text = pl.read_csv(download(page, "CSV", table), infer_schema_length=None)
        binary = pl.read_parquet(download(page, "Parquet", table))
        assert text.height == binary.height == rows
        assert text.columns == binary.columns
    assert download(page, "PDF").startswith(b"%PDF-")


def test_a_running_study_is_cancelled_and_resumed(browser: Chromium, dashboard: Served) -> None:
    answers = iter([False, True])
    with opened(browser, dashboard, OPERATOR, "/launch") as page:
        page.on("dialog", lambda dialog: dialog.accept() if next(answers) else dialog.dismiss())
        page.get_by_label("Spec", exact=True).fill(LONG_SPEC)
        page.get_by_role("button", name="Check").click()
        launch(page)
        mark_loaded(page)
        expect_state(page, "running")
        cancel, resume = page.get_by_role("button", name="Cancel"), page.get_by_role("button", name="Resume")
        expect(resume).to_have_attribute("aria-disabled", "true")
        expect(cancel).not_to_have_attribute("aria-disabled", "true")
        cancel.click()  # and think again
        assert page.locator("#asked").inner_text() == ""
        cancel.click()
        expect_state(page, "cancelled")
        expect(page.locator("#asked .state")).to_have_text("done")
        browser.keep(page, "study-cancelled")
        expect(cancel).to_have_attribute("aria-disabled", "true")
        expect(resume).not_to_have_attribute("aria-disabled", "true")
        resume.click()
        expect_state(page, "running", "completed")
        expect_state(page, "completed")
        expect(page.locator("#study .facts [data-field=runs]")).to_have_text("80 of 80 runs")
        assert is_still_loaded(page)
        page.goto("/audit")
        done = page.locator("td[data-label=What]").all_inner_texts()
        assert {"submit", "cancel", "resume", "report"} <= {word for text in done for word in re.findall(r"\w+", text)}


def test_a_viewer_watches_what_an_operator_starts(browser: Chromium, dashboard: Served) -> None:
    spec = SMALL_SPEC.replace('"small"', '"seen"')
    with opened(browser, dashboard, VIEWER) as watching, opened(browser, dashboard, OPERATOR, "/launch") as page:
        expect(watching.locator("#live")).to_have_text("Live")
        upload(page, spec)
        launch(page)
        watching.get_by_role("link", name=re.compile("new stud.*: show")).click()
        row = watching.locator("tr[data-study=seen]")
        expect(row.locator("[data-field=state]")).to_have_text("completed", timeout=WORK_MS)
        expect_state(page, "completed")
