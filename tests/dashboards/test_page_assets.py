"""Style, scripts and Plotly: addresses that change with the content, kept for ever, compressed once."""

import contextlib
import gzip
import http.client
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import httpx
import plotly
import pytest
from dashboard_server import Served, served

from dashboards.pages import assets
from dashboards.pages.assets import Assets, assets_of, load_assets
from study.storage.engine import create_database


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("assets")
    with create_database(f"sqlite:///{folder}/study.db"), served(f"sqlite:///{folder}/study.db", folder) as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def client(dashboard: Served) -> Iterator[httpx.Client]:
    """A stranger: whoever signs in needs the style sheet before."""
    with dashboard.client() as client:
        yield client


@pytest.fixture(scope="module")
def files(dashboard: Served) -> Assets:
    return assets_of(dashboard.context)


def test_each_file_is_sent_with_its_type_and_may_be_kept_for_ever(client: httpx.Client, files: Assets) -> None:
    kinds = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
    assert {"style.css", "theme.js", "api.js", "live.js", "icon.svg", "plotly.min.js"} <= set(files.files)
    for name in files.files:
        answer = client.get(files.url(name))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kinds[name.rsplit(".", 1)[1]]
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "Accept-Encoding" in answer.headers["vary"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_plotly_is_the_one_of_the_installed_package(client: httpx.Client, files: Assets) -> None:
    installed = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes()
    assert client.get(files.url("plotly.min.js")).content == installed


def test_what_is_compressed_is_the_same_file_and_is_sent_to_those_only_who_ask(
    client: httpx.Client, files: Assets
) -> None:
    deadline = time.monotonic() + 30
    while files.files["plotly.min.js"].zipped is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for name in ("style.css", "plotly.min.js"):
        with client.stream("GET", files.url(name), headers={"Accept-Encoding": "br, gzip;q=0.8"}) as answer:
            sent = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) == len(sent)
        assert gzip.decompress(sent) == files.files[name].content
        assert len(sent) < 0.4 * len(files.files[name].content)
        for refused in ("identity", "br"):
            plain = client.get(files.url(name), headers={"Accept-Encoding": refused})
            assert "content-encoding" not in plain.headers
            assert plain.content == files.files[name].content


def test_a_file_that_the_browser_has_is_not_sent_again(client: httpx.Client, files: Assets) -> None:
    url = files.url("style.css")
    etag = client.get(url).headers["etag"]
    again = client.get(url, headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status_code, again.content) == (304, b"")


def test_scripts_import_each_other_under_one_hash_and_a_change_of_any_changes_it(
    files: Assets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    static = resources.files("dashboards") / "static"
    hashes = {asset.hash for name, asset in files.files.items() if name != "plotly.min.js"}
    assert len(hashes) == 1
    for file in static.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(assets, "_list_static", lambda: list(tmp_path.iterdir()))
    assert load_assets().files["api.js"].hash in hashes
    (tmp_path / "dom.js").write_text("// changed\n")
    assert load_assets().files["api.js"].hash not in hashes


@pytest.mark.parametrize(
    "name",
    [
        "../pages/assets.py",
        "..%2fpages%2fassets.py",
        "%2e%2e/context.py",
        "..%5ccontext.py",
        "style.css%00",
        ".",
        "..",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "missing.js",
    ],
)
def test_no_other_file_can_be_reached(client: httpx.Client, files: Assets, name: str) -> None:
    folder = files.url("style.css").rsplit("/", 1)[0]
    # httpx would tidy the path before it is sent.
    host = http.client.HTTPConnection(client.base_url.host, client.base_url.port or 80, timeout=10)
    with contextlib.closing(host) as connection:
        connection.request("GET", f"{folder}/{name}")
        answer = connection.getresponse()
        assert answer.status == 404
        assert b"import" not in answer.read()


def test_a_file_of_another_version_is_not_there(client: httpx.Client, files: Assets) -> None:
    url = files.url("style.css").replace(files.files["style.css"].hash, "0" * 16)
    assert client.get(url).status_code == 404
