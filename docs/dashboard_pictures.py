"""Makes docs/images/dashboard-*.png: runs the shipped study and others, and takes pictures of them in Chromium.

Run by hand, as it takes some minutes: ``python docs/dashboard_pictures.py FOLDER``. What it runs is kept in FOLDER,
and is there the next time.
"""

import contextlib
import io
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

IMAGES = Path(__file__).with_name("images")
COMMAND = str(Path(sys.executable).with_name("adai-study"))
SPECS = Path(__file__).parents[1] / "study" / "specs"
SHIPPED = SPECS / "digits.toml"
PORT = 8497
ADDRESS = f"http://127.0.0.1:{PORT}"
USER = "ana"
STUDY = "/studies/digits"
#: Where Adai's landscapes are at their most telling: some runs diverge, and one optimizer lacks an axis.
VIEW = "workload=digits-mlp&y=beta2&optimizer=adai&optimizer=adaiw&optimizer=adam"
MOST_BYTES = 150_000
PATIENCE_MS = 300_000


def run(folder: Path, *words: str | Path, typed: str | None = None) -> None:
    """Run a command to its end."""
    environment = os.environ | {"ADAI_DATABASE_URL": f"sqlite:///{folder}/study.db"}
    words = (COMMAND, *map(str, words))
    subprocess.run(words, cwd=folder, env=environment, input=typed, text=True, check=True)  # noqa: S603 - our own


@contextlib.contextmanager
def started(folder: Path, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on until the block ends."""
    environment = os.environ | {"ADAI_DATABASE_URL": f"sqlite:///{folder}/study.db"}
    words = (COMMAND, *map(str, words))
    process = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE)  # noqa: S603 - our own
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def prepare(folder: Path) -> str:
    """Run the shipped study, and make a user; the password."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "reports" / "digits").exists():
        run(folder, "run", SHIPPED, "--pool", "inline", "--out", folder / "reports" / "digits")
        run(folder, "run", SPECS / "starter.toml", "--pool", "inline", "--no-report")
    if not (folder / "password").exists():
        (folder / "password").write_text(secrets.token_urlsafe(16))
        run(folder, "dashboard", "--make-secret", folder / "secret")
        words = ("users", "add", USER, "--role", "operator", "--password-stdin")
        run(folder, *words, typed=(folder / "password").read_text())
    return (folder / "password").read_text()


def write_long_spec(folder: Path) -> Path:
    """The shipped study under a new name, so long that it can be looked at."""
    number = len(list(folder.glob("digits-long*.toml")))
    name = f"digits-long-{number + 1}" if number else "digits-long"
    text = SHIPPED.read_text().replace('name = "digits"', f'name = "{name}"', 1)
    text = re.sub(r"^epochs = \d+", "epochs = 60", text, count=1, flags=re.MULTILINE)
    path = folder / f"{name}.toml"
    path.write_text(re.sub(r"^curvature = .*\n", "", text, count=1, flags=re.MULTILINE))
    return path


def keep(page: Page, name: str, *, height: int | None = None) -> None:
    """Keep a picture of a page with as many colours as its size allows; ``height`` cuts it off."""
    page.evaluate("""Promise.all([...document.images].map((image) => {
        image.loading = "eager";
        return image.decode();
    }))""")
    page.mouse.move(0, 0)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=height is None))).convert("RGB")
    if height is not None:
        picture = picture.crop((0, 0, picture.width, min(height, picture.height)))
    for colours in (256, 128, 64, 32):
        content = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
        if content.tell() < MOST_BYTES:
            break
    (IMAGES / f"dashboard-{name}.png").write_bytes(content.getvalue())


def drawn(page: Page, count: int) -> None:
    """Wait until so many plots are drawn, and everything else is there."""
    expect(page.locator(".js-plotly-plot")).to_have_count(count)
    expect(page.locator("[aria-busy]")).to_have_count(0)


def show_signing_in(page: Page, password: str) -> None:
    """The form, and then the list."""
    page.goto(ADDRESS)
    keep(page, "sign-in", height=460)
    page.get_by_label("User name").fill(USER)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Studies")).to_be_visible()


def show_running(page: Page, phone: Page, name: str) -> None:
    """A study while it runs, in the list and on its own page."""
    page.goto("/")
    page.get_by_text("1 new study: show").click()
    page.get_by_role("link", name=name).click()
    expect(page.locator("#study .facts [data-field=share]")).to_have_text(re.compile(r"^[3-6]\d %"))
    expect(page.locator("#study [data-field=left]")).to_contain_text(re.compile(r"\d"))
    expect(page.locator("#live")).to_have_text("Live")
    keep(page, "study")
    for each, picture in ((page, "studies"), (phone, "phone")):
        each.goto("/")
        expect(each.locator("#live")).to_have_text("Live")
        keep(each, picture, height=1000 if each is phone else 660)


def show_tabs(page: Page) -> None:
    """What a finished study shows."""
    page.goto(f"{STUDY}/landscape?{VIEW}")
    drawn(page, 3)
    keep(page, "landscape")
    page.goto(f"{STUDY}/curves?workload=digits-mlp")
    drawn(page, 1)
    keep(page, "curves")
    for tab, height in (
        ("sensitivity", 1100),
        ("comparison", 1100),
        ("trials", 900),
        ("spec", 900),
        ("downloads", None),
    ):
        page.goto(f"{STUDY}/{tab}{'?sort=objective' if tab == 'trials' else ''}")
        keep(page, tab, height=height)
    page.goto(f"{STUDY}/failures")
    drawn(page, 0)
    keep(page, "failures", height=900)
    page.goto(f"{STUDY}/trials/digits-mlp/adai/10")
    expect(page.locator(".js-plotly-plot").nth(3)).to_be_visible()
    keep(page, "trial", height=1250)


def show_optuna(page: Page) -> None:
    """Optuna Dashboard, with our note."""
    page.goto(f"{STUDY}")
    page.locator("tr[data-optimizer=adai]").first.get_by_role("link", name="Optuna").click()
    expect(page.locator("[id^='user-defined-plot:']")).to_have_count(3)
    page.goto(f"{page.url.rstrip('/')}/note")
    expect(page.get_by_text("Good settings:")).to_be_visible()
    keep(page, "optuna", height=560)


def show_operators_pages(page: Page) -> None:
    """Launching, the account, the audit log."""
    page.goto("/launch?spec=digits")
    text = SHIPPED.read_text().replace('name = "digits"', 'name = "digits-again"', 1)
    page.get_by_label("Spec", exact=True).fill(text)
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#state")).to_contain_text("Valid.")
    page.locator("#toml").evaluate("field => { field.scrollTop = 0; }")
    keep(page, "launch")
    page.goto("/account")
    if not page.get_by_role("row", name="Nightly figures").count():
        page.get_by_label("Name of a new token").fill("Nightly figures")
        page.get_by_role("button", name="Make a token").click()
        expect(page.get_by_label("Secret")).to_be_visible()
        page.reload()
    keep(page, "account", height=560)
    page.goto("/audit")
    keep(page, "audit", height=560)


def take_pictures(browser: Browser, folder: Path, password: str) -> None:
    """All pictures, of a dashboard that runs."""
    wide = browser.new_context(base_url=ADDRESS, viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = wide.new_page()
    page.set_default_timeout(PATIENCE_MS)
    show_signing_in(page, password)
    dark = browser.new_context(
        base_url=ADDRESS,
        storage_state=wide.storage_state(),
        viewport={"width": 390, "height": 1000},
        color_scheme="dark",
        is_mobile=True,
        has_touch=True,
    )
    spec = write_long_spec(folder)
    with started(folder, "run", spec, "--pool", "inline", "--no-report"):
        show_running(page, dark.new_page(), spec.stem)
    show_tabs(page)
    show_optuna(page)
    show_operators_pages(page)


def make_pictures(folder: Path) -> None:
    """Run what is missing, and take all pictures."""
    password = prepare(folder)
    words = ("dashboard", "--port", str(PORT), "--reports", folder / "reports", "--secret-file", folder / "secret")
    expect.set_options(timeout=PATIENCE_MS)
    with started(folder, *words) as dashboard, sync_playwright() as playwright:
        if dashboard.stdout:
            dashboard.stdout.readline()  # it says where it listens
        # Chromium's own sandbox needs rights that containers lack.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        take_pictures(browser, folder, password)
        browser.close()


if __name__ == "__main__":
    make_pictures(Path(sys.argv[1]).absolute())
