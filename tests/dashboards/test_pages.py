"""The pages as the server makes them: what they show to whom, and that nothing in them is read as HTML."""

import contextlib
import datetime as dt
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import jinja2
import pytest
from dashboard_server import OPERATOR, VIEWER, Served, served
from sqlalchemy import Engine, insert, update
from starlette.requests import Request
from study_pages import add_study

from dashboards.api.models import Problem
from dashboards.pages.problem import show_problem
from dashboards.pages.rendering import render
from study.storage import audit_log
from study.storage.engine import create_database
from study.storage.servers import give_sign_of_life
from study.storage.tables import studies, tokens

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Seven studies, made a day apart."""
    with create_database(f"sqlite:///{tmp_path_factory.mktemp('pages')}/study.db") as engine:
        for day, name in enumerate(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"]):
            add_study(engine, name, HOSTILE if name == "beta" else f"about {name}", queued=name == "delta")
            made = dt.datetime(2026, 11, day + 1, tzinfo=dt.UTC)
            state = {"gamma": "failed", "zeta": "completed"}.get(name)
            values = {"created_at": made} | ({"state": state, "error": HOSTILE} if state else {})
            with engine.begin() as connection:
                connection.execute(update(studies).where(studies.c.name == name).values(values))
        yield engine


@pytest.fixture(scope="module")
def dashboard(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(engine.url.render_as_string(), tmp_path_factory.mktemp("reports")) as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def ask(dashboard: Served) -> Iterator[Ask]:
    """Get a page as somebody; an operator, unless told otherwise."""
    with contextlib.ExitStack() as stack:
        clients = {None: stack.enter_context(dashboard.client())}
        clients |= {name: stack.enter_context(dashboard.session(name)) for name in (VIEWER, OPERATOR)}

        def get(path: str, name: str | None = OPERATOR) -> httpx.Response:
            return clients[name].get(path, headers={"Accept": "text/html"})

        yield get


class Elements(HTMLParser):
    """All elements of a page: (name, attributes), and the text of each row of a table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.all.append((tag, dict(attrs)))

    def find(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of each element of that name which has those."""
        return [given for name, given in self.all if name == tag and attributes.items() <= given.items()]


def listed(page: str) -> list[str]:
    return re.findall(r'data-study="([^"]+)"', page)


def links(page: str) -> dict[str, str]:
    return {str(link["rel"]): str(link["href"]) for link in Elements(page).find("a") if "rel" in link}


NEWEST = ["eta", "zeta", "epsilon", "delta", "gamma", "beta", "alpha"]


def test_studies_are_listed_newest_first(ask: Ask) -> None:
    answer = ask("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert listed(answer.text) == NEWEST


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=eta", ["eta", "zeta", "beta"]),
        ("q=ABOUT+DELTA", ["delta"]),
        ("q=%25", []),
        ("state=queued", ["delta"]),
        ("state=failed&q=alpha", []),
        ("sort=name&q=ta", ["beta", "delta", "eta", "zeta"]),
        ("sort=-name&state=planned", ["eta", "epsilon", "beta", "alpha"]),
        ("state=&sort=created", NEWEST[::-1]),
    ],
)
def test_the_list_is_searched_filtered_and_sorted_by_its_address(ask: Ask, query: str, names: list[str]) -> None:
    assert listed(ask(f"/?{query}").text) == names


def test_pages_of_the_list_follow_each_other_and_keep_what_was_chosen(ask: Ask) -> None:
    seen: list[str] = []
    path = "/?sort=name&q=a&limit=3"
    for _ in range(3):
        page = ask(path).text
        seen += listed(page)
        assert ("first" in links(page)) == (len(seen) > 3)
        if "next" not in links(page):
            break
        path = links(page)["next"]
        assert path.startswith("/?q=a&sort=name&limit=3&cursor=")
    assert seen == ["alpha", "beta", "delta", "epsilon", "eta", "gamma", "zeta"]
    assert links(page)["first"] == "/?q=a&sort=name&limit=3"


def test_headings_say_how_the_list_is_sorted_and_turn_it_round(ask: Ask) -> None:
    page = Elements(ask("/?sort=name&q=a").text)
    assert [head.get("aria-sort") for head in page.find("th", scope="col") if "aria-sort" in head] == ["ascending"]
    assert page.find("a", href="/?q=a&sort=-name")
    turned = Elements(ask("/?sort=-name&q=a").text)
    assert [head["aria-sort"] for head in turned.find("th", scope="col") if "aria-sort" in head] == ["descending"]
    assert turned.find("a", href="/?q=a&sort=name")


@pytest.mark.parametrize("query", ["sort=size", "state=lost", "limit=0", "limit=100000", f"q={'x' * 300}"])
def test_an_address_that_makes_no_sense_is_refused(ask: Ask, query: str) -> None:
    assert ask(f"/?{query}").status_code == 422


def test_texts_of_studies_are_never_read_as_html(ask: Ask) -> None:
    for path in ("/", f"/?q={HOSTILE}", "/?q=zzz'\"<b>"):
        page = Elements(ask(path).text)
        assert not [given for _, given in page.all if "onerror" in given]
        assert all(str(script["src"]).startswith("/assets/") for script in page.find("script"))
        assert not page.find("b", src="x")
        assert {image["src"] for image in page.find("img")} == {page.find("link", rel="icon")[0]["href"]}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in ask("/?q=beta").text


def test_every_page_allows_scripts_of_this_server_only_and_has_none_of_its_own(ask: Ask) -> None:
    for path in ("/", "/launch", "/account", "/audit"):
        answer = ask(path)
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        page = Elements(answer.text)
        assert all(script.get("src") for script in page.find("script"))
        assert not page.find("style")
        assert not [given for _, given in page.all if "style" in given or any(name[:2] == "on" for name in given)]


def test_queued_studies_that_no_server_will_run_are_told(ask: Ask, tmp_path: Path) -> None:
    assert re.search(r'<div id="waiting">.*?1 queued study waits', ask("/").text, re.DOTALL)
    with create_database(f"sqlite:///{tmp_path}/none.db") as none:
        add_study(none, "alone")
        with served(none.url.render_as_string(), tmp_path) as other, other.session(VIEWER) as client:
            assert '<div id="waiting" hidden>' in client.get("/").text
            add_study(none, "waits", queued=True)
            assert '<div id="waiting">' in client.get("/").text
            with none.begin() as connection:
                give_sign_of_life(connection, workers=2, studies=0)
            assert '<div id="waiting" hidden>' in client.get("/").text


def test_an_empty_list_says_how_to_begin_to_those_who_can(tmp_path: Path) -> None:
    pages = {}
    url = f"sqlite:///{tmp_path}/empty.db"
    with create_database(url), served(url, tmp_path) as dashboard:
        for name in (VIEWER, OPERATOR):
            with dashboard.session(name) as client:
                pages[name] = client.get("/").text
    assert all("adai-study submit my-study.toml" in page for page in pages.values())
    assert 'href="/launch"' in pages[OPERATOR]
    assert 'href="/launch"' not in pages[VIEWER]


def test_viewers_see_no_page_of_operators(ask: Ask) -> None:
    for path in ("/launch", "/audit"):
        assert ask(path, VIEWER).status_code == 403
        assert ask(path, OPERATOR).status_code == 200
    page = Elements(ask("/", VIEWER).text)
    assert not page.find("a", href="/launch")
    assert not page.find("a", href="/audit")


def test_strangers_get_no_page(ask: Ask) -> None:
    for path in ("/", "/launch", "/account", "/audit"):
        answer = ask(path, None)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={quote_plus(path)}")


def test_forms_that_write_carry_the_token_of_the_session(ask: Ask) -> None:
    page = Elements(ask("/account").text)
    posts = page.find("form", method="post")
    fields = page.find("input", name="csrf_token")
    token = page.find("meta", name="csrf-token")[0]["content"]
    assert len(posts) == len(fields) > 0
    assert len(str(token)) >= 32
    assert {field["value"] for field in fields} == {token}


def test_the_launch_page_begins_with_a_shipped_spec(ask: Ask) -> None:
    assert "name = &#34;my-study&#34;" in ask("/launch").text
    assert "name = &#34;digits&#34;" in ask("/launch?spec=digits").text
    missing = ask("/launch?spec=..%2f..%2fpyproject")
    assert missing.status_code == 404
    assert "there are starter, digits, images" in missing.text


def test_the_account_page_shows_the_tokens_of_its_owner_and_their_state(engine: Engine, ask: Ask) -> None:
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    made = [
        (OPERATOR, "works", None, None),
        (OPERATOR, "is over", now - day, None),
        (OPERATOR, "was <b>taken</b>", now + day, now),
        (VIEWER, "of another", None, None),
    ]
    with engine.begin() as connection:
        for user, name, expires, revoked in made:
            row = {"user_name": user, "name": name, "role": "viewer", "hash": f"{user} {name}", "created_at": now}
            connection.execute(insert(tokens).values(**row, expires_at=expires, revoked_at=revoked))
    page = ask("/account").text
    assert re.findall(r'data-state="(\w+)"', page) == ["revoked", "expired", "usable"]
    assert "was &lt;b&gt;taken&lt;/b&gt;" in page
    assert "of another" not in page
    assert page.count("data-revoke") == 1


def test_the_audit_log_is_paged_and_read_as_text(engine: Engine, ask: Ask) -> None:
    with engine.begin() as connection:
        for number in range(130):
            audit_log.append_entry(
                connection,
                user_name=None if number == 129 else ("ann" if number % 2 else "bo"),
                address="192.168.1.9",
                action="submit",
                subject=f"{HOSTILE} {number}",
                status=403,
                details={"note": HOSTILE},
            )
    page = ask("/audit").text
    numbers = [int(number) for number in re.findall(r"&gt; (\d+)</td>", page)]
    assert numbers == list(range(129, 29, -1))
    assert "<script>alert" not in page
    assert "nobody" in page
    rest = ask(links(page)["next"]).text
    assert [int(number) for number in re.findall(r"&gt; (\d+)</td>", rest)] == list(range(29, -1, -1))
    assert "next" not in links(rest)
    assert links(rest)["first"] == "/audit"
    own = ask("/audit?user=bo").text
    assert {int(number) % 2 for number in re.findall(r"&gt; (\d+)</td>", own)} == {0}


def request_of(dashboard: Served) -> Request:
    """One of a stranger."""
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "app": dashboard.app}
    return Request(scope | {"server": ("127.0.0.1", 80), "scheme": "http"})


@pytest.mark.parametrize("status", [401, 403, 404, 405, 413, 422, 429, 500, 503])
def test_a_problem_has_a_page_with_its_own_status(dashboard: Served, status: int) -> None:
    problem = Problem(status=status, title="It failed", detail=f"no study is called {HOSTILE!r}", problems=[HOSTILE])
    answer = show_problem(request_of(dashboard), problem)
    page = bytes(answer.body).decode()
    assert answer.status_code == status
    assert f"Error {status}" in page
    assert "<script>alert" not in page
    # A database that is away may be back: the same page is the way on, not another sign-in.
    assert Elements(page).find("a", href="/" if status == 503 else "/sign-in")


def test_the_sign_in_page_ties_its_error_to_the_fields(dashboard: Served) -> None:
    first = Elements(
        bytes(render(request_of(dashboard), "sign_in.html.j2", None, next="/x", name="", error=None).body).decode()
    )
    assert first.find("input", name="next", value="/x")
    assert first.find("form", method="post", action="/sign-in")
    assert not first.find("nav")
    wrong = render(request_of(dashboard), "sign_in.html.j2", None, next="/", name="ann", error=HOSTILE, status=401)
    page = Elements(bytes(wrong.body).decode())
    assert {field["aria-describedby"] for field in page.find("input") if field["type"] != "hidden"} == {"problem"}
    assert page.find("div", id="problem")
    assert not page.find("img", onerror="alert(2)")


def test_a_value_that_is_missing_is_an_error_and_not_a_blank(dashboard: Served) -> None:
    with pytest.raises(jinja2.UndefinedError, match="error"):
        render(request_of(dashboard), "sign_in.html.j2", None, next="/", name="")
