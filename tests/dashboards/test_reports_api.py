"""Reports and tables over the API: whole or not at all, nothing beside them, and harmless in a browser."""

import gc
import hashlib
import io
import json
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
from browser import Chromium, visiting
from data_server import serve_data
from sqlalchemy import Engine

from study.report.folder import MANIFEST, hash_files, read_manifest, replace_folder, write_manifest
from study.report.forms.html import CONTENT_SECURITY_POLICY
from study.storage.engine import open_database

#: The page's own policy at work.
BLOCKED = r"Content Security Policy|CORS policy|ERR_FAILED"


@pytest.fixture
def engine(finished: tuple[str, Path]) -> Iterator[Engine]:
    with open_database(finished[0]) as engine:
        yield engine


@pytest.fixture
def reports(finished: tuple[str, Path], tmp_path: Path) -> Path:
    """A folder of reports with a copy of the one of the small study, which a test may change."""
    shutil.copytree(finished[1], tmp_path / "reports" / "small")
    return tmp_path / "reports"


@pytest.fixture
def client(engine: Engine, reports: Path) -> Iterator[httpx.Client]:
    with serve_data(engine, reports) as client:
        yield client


def unpack(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_archive_is_the_folder(client: httpx.Client, reports: Path) -> None:
    answer = client.get("small/report.zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="small-report.zip"'
    found = unpack(answer.content)
    folder = reports / "small"
    files = {
        f"small-report/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert found == files
    again = client.get("small/report.zip", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_every_file_of_the_manifest_is_served_and_its_tag_is_its_hash(client: httpx.Client, reports: Path) -> None:
    files = read_manifest(reports / "small")["files"]
    assert len(files) > 20
    for path, expected in files.items():
        answer = client.get(f"small/report/files/{path}")
        assert answer.status_code == 200
        assert hashlib.sha256(answer.content).hexdigest() == expected
        assert answer.headers["etag"] == f'W/"{expected}"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        shown = path.endswith((".html", ".svg", ".png"))
        assert answer.headers["content-disposition"].startswith("inline" if shown else "attachment")
    again = client.get("small/report/files/report.md", headers={"If-None-Match": f'"{files["report.md"]}"'})
    assert again.status_code == 304
    assert client.get("small/report").content == (reports / "small" / "report.json").read_bytes()
    assert client.get("small/report/files/manifest.json").json()["study"] == "small"


def test_the_page_keeps_its_own_policy_in_a_sandbox(client: httpx.Client) -> None:
    answer = client.get("small/report/files/report.html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy == f"{CONTENT_SECURITY_POLICY}; sandbox allow-scripts allow-downloads"
    assert "allow-same-origin" not in policy


@pytest.mark.dashboards
def test_in_a_browser_the_page_works_and_is_a_stranger_to_this_address(browser: Chromium, client: httpx.Client) -> None:
    base = str(client.base_url)
    with visiting(browser, base, expected=[BLOCKED]) as page:
        page.context.add_cookies([{"name": "session", "value": "secret", "url": base}])
        page.goto(f"{base}small/report/files/report.html")
        assert page.evaluate("self.origin") == "null"
        assert (
            page.evaluate("() => { try { return document.cookie } catch (error) { return error.name } }")
            == "SecurityError"
        )
        assert page.evaluate("fetch('/v1/studies/small/report').then(() => 'read', () => 'refused')") == "refused"
        assert page.locator("input[type=range]").count() > 0  # its own script has run
        with page.expect_download() as download:
            page.locator("a[href$='.csv']").first.evaluate(
                "link => { link.closest('details')?.setAttribute('open', ''); link.click(); }"
            )
        assert download.value.suggested_filename.startswith("small-")


@pytest.mark.parametrize(
    "path",
    [
        "../../study.db",
        "..%2F..%2Fstudy.db",
        "%2e%2e/%2e%2e/study.db",
        "tables/../../../study.db",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "report.html%00.png",
        "tables",
        "",
        ".",
        "REPORT.HTML",
        "secret.txt",
        "link.txt",
        "figures/escape/passwd",
        "pipe",
        "..\\..\\study.db",
    ],
)
def test_nothing_beside_the_files_of_the_report_is_served(client: httpx.Client, reports: Path, path: str) -> None:
    folder = reports / "small"
    (folder / "secret.txt").write_text("secret")
    (reports / "other.txt").write_text("secret")
    (folder / "link.txt").symlink_to("/etc/passwd")
    (folder / "figures" / "escape").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    answer = client.get(f"small/report/files/{path}", follow_redirects=True)
    assert answer.status_code == 404
    assert b"root:" not in answer.content
    assert b"secret" not in answer.content.replace(b"secret.txt", b"")


@pytest.mark.parametrize(
    "path", ["link.txt", "figures/escape/passwd", "../small2", "/etc/passwd", "pipe", "gone.txt", "tables"]
)
def test_not_even_a_manifest_leads_out_of_the_folder(engine: Engine, reports: Path, path: str) -> None:
    folder = reports / "small"
    (reports / "small2").write_text("root: secret")
    (folder / "link.txt").symlink_to("/etc/passwd")
    (folder / "figures" / "escape").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][path] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with serve_data(engine, reports) as client:
        answer = client.get("small/report/files/" + path.replace("/", "%2F"))
        assert answer.status_code in (404, 409)
        assert b"root:" not in answer.content
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("small/report.zip")


def test_a_study_without_a_report_says_how_to_get_one(engine: Engine, tmp_path: Path) -> None:
    with serve_data(engine, tmp_path) as client:
        for path in ("report", "report.zip", "report/files/report.html"):
            answer = client.get(f"small/{path}")
            assert answer.status_code == 404
            assert "adai-study report small" in answer.json()["detail"]
            assert str(tmp_path) not in answer.text
        assert client.get("large/report").status_code == 404


def test_what_is_no_report_of_this_study_is_told_apart(engine: Engine, reports: Path) -> None:
    manifest = reports / "small" / MANIFEST
    whole = json.loads(manifest.read_text())
    broken = {
        "no mark": {**whole, "kind": "other"},
        "another study": {**whole, "study": "<script>other"},
        "another spec": {**whole, "spec_hash": "0"},
        "no hashes": {**whole, "files": {"report.html": 3}},
        "a list": [],
    }
    with serve_data(engine, reports) as client:
        for content in broken.values():
            manifest.write_text(json.dumps(content))
            answer = client.get("small/report.zip")
            assert answer.status_code == 409
            assert "adai-study report small" in answer.json()["detail"]
        for text in ("", "{", "[" * 100_000):
            manifest.write_text(text)
            assert client.get("small/report").status_code == 409
        manifest.unlink()
        assert client.get("small/report").status_code == 409
        # The landscape needs no report.
        assert client.get("small/landscape").json()["report_written_at"] is None


def test_a_report_that_is_replaced_meanwhile_is_never_mixed(engine: Engine, reports: Path) -> None:
    """Somebody writes two reports in turn while others download: each archive is one of them, or breaks off."""
    folder, over = reports / "small", threading.Event()
    base = read_manifest(folder)

    def write(mark: str) -> None:
        def fill(new: Path) -> None:
            for number in range(60):
                (new / f"file-{number}.txt").write_text(mark * 50_000)
            write_manifest(new, {key: value for key, value in base.items() if key not in ("kind", "files")})

        replace_folder(folder, fill)

    def keep_writing() -> None:
        for turn in range(1000):
            if over.is_set():
                return
            write("ab"[turn % 2])

    write("a")
    writer = threading.Thread(target=keep_writing)
    writer.start()
    whole, broken = 0, 0
    deadline = time.monotonic() + 20
    try:
        with serve_data(engine, reports) as client:
            while (whole < 10 or broken < 1) and time.monotonic() < deadline:
                try:
                    answer = client.get("small/report.zip")
                except httpx.RemoteProtocolError:
                    broken += 1
                    continue
                assert answer.status_code == 200, answer.text
                found = unpack(answer.content)
                letters = {content[:1] for name, content in found.items() if name.endswith(".txt")}
                assert len(letters) == 1
                assert len(found) == 61
                whole += 1
    finally:
        over.set()
        writer.join()
    assert whole > 0


def test_a_file_that_was_changed_breaks_the_archive_off(client: httpx.Client, reports: Path) -> None:
    (reports / "small" / "report.md").write_text("something else")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("small/report.zip")


def test_what_was_held_is_let_go_of(client: httpx.Client, reports: Path) -> None:
    def held() -> int:
        return sum("small" in os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = held()
    for path in ("report.zip", "report", "report/files/report.pdf", "report/files/nothing", "tables/runs.csv"):
        client.get(f"small/{path}")
    gc.disable()  # nothing waits for it
    try:
        for _ in range(3):
            with client.stream("GET", "small/report.zip") as stream:
                next(stream.iter_raw())
    finally:
        gc.enable()
    (reports / "small" / "report.md").write_text("broken")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("small/report.zip")
    deadline = time.monotonic() + 10
    while held() > before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("table", ["runs", "trials", "epochs", "curvature"])
def test_tables_are_those_of_the_command(client: httpx.Client, table: str) -> None:
    text = client.get(f"small/tables/{table}.csv", headers={"Accept-Encoding": "identity"})
    binary = client.get(f"small/tables/{table}.parquet")
    assert text.headers["content-disposition"] == f'attachment; filename="small-{table}.csv"'
    assert text.headers["content-length"] == str(len(text.content))
    frame = pl.read_parquet(binary.content)
    assert frame.write_csv().encode() == text.content
    assert frame.height == {"runs": 20, "trials": 10, "epochs": 40, "curvature": 0}[table]
    again = client.get(f"small/tables/{table}.csv", headers={"If-None-Match": text.headers["etag"]})
    assert again.status_code == 304


def test_there_are_no_other_tables_nor_formats(client: httpx.Client) -> None:
    for name in ("users.csv", "runs.sql", "runs", "..%2Fruns.csv"):
        assert client.get(f"small/tables/{name}").status_code in (404, 422)


def test_too_many_exports_are_refused_until_some_are_sent(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.api.reports._MOST_EXPORTS", 1)
    for _ in range(3):
        assert client.get("small/tables/runs.csv").status_code == 200
    assert client.get("small/tables/nothing.csv").status_code == 422
    assert client.get("unknown/tables/runs.csv").status_code == 404
    assert client.get("small/tables/runs.csv").status_code == 200


def test_without_room_for_an_export_people_are_told_when_to_ask_again(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.api.reports._MOST_EXPORTS", 0)
    answer = client.get("small/tables/runs.csv")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert "adai-study export small" in answer.json()["detail"]


def test_exports_leave_no_file_and_more_than_a_few_have_to_wait(
    client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.get("small/tables/runs.csv").status_code))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8
    assert list(scratch.iterdir()) == []


def test_an_export_without_room_says_so(client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    answer = client.get("small/tables/runs.csv")
    assert answer.status_code == 507
    assert "TMPDIR" in answer.json()["detail"]


def test_hashes_of_a_copy_are_those_of_the_manifest(reports: Path) -> None:
    assert hash_files(reports / "small") == read_manifest(reports / "small")["files"]
