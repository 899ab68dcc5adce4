"""The pages of a study and of a trial as the server makes them: what they show, to whom, and that nothing is HTML."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from dashboard_server import OPERATOR, VIEWER, Served, served
from sqlalchemy import select, update
from tests_support import wait_for

from dashboards.api.models import Curvature, State
from dashboards.pages.report_tabs import COMPARISON, SENSITIVITY
from dashboards.pages.spec_view import list_space
from dashboards.pages.study import TABS, choose_axes
from dashboards.pages.study_actions import list_actions
from dashboards.pages.trial import tabulate
from dashboards.security.principals import Principal
from dashboards.snapshots import snapshots_of
from study.claim import this_process
from study.report.composition import compose
from study.report.document import Table
from study.report.forms import walk
from study.report.report import load_report
from study.report.text import read_table
from study.storage.optuna_rows import find_optuna_study
from study.storage.tables import attempts, runs, studies, trials
from study.submission import find_allowed

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'
OPERATOR_HERE = Principal("otto", "operator", "session", "s")
Ask = Callable[..., httpx.Response]


class Tables(HTMLParser):
    """The texts of the cells of each table, by its caption."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._place = ""
        self._caption = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A row or a cell begins."""
        del attrs
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        if tag in ("td", "th", "caption"):
            self._place = tag

    def handle_endtag(self, tag: str) -> None:
        """A table is read."""
        if tag == "table":
            self.found[self._caption] = [[" ".join(cell.split()) for cell in row] for row in self._rows]
        if tag == self._place:
            self._place = ""

    def handle_data(self, data: str) -> None:
        """Text of a cell or caption."""
        if self._place == "caption":
            self._caption += data
        elif self._place:
            self._rows[-1][-1] += data


@pytest.fixture(scope="module")
def dashboard(measured: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A study with a report and curvature; what happens to it is forgotten after the tests of this file."""
    folder = tmp_path_factory.mktemp("study pages")
    shutil.copy(measured[0].removeprefix("sqlite:///"), folder / "study.db")
    shutil.copytree(measured[1], folder / "reports" / "measured")
    with served(f"sqlite:///{folder}/study.db", folder) as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def ask(dashboard: Served) -> Iterator[Ask]:
    """Get a page as somebody; a viewer, unless told otherwise."""
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(dashboard.session(name)) for name in (VIEWER, OPERATOR)}

        def get(path: str, name: str = VIEWER) -> httpx.Response:
            return clients[name].get(path, headers={"Accept": "text/html"})

        yield get


@pytest.mark.parametrize("slug", TABS)
def test_every_tab_is_shown_to_a_viewer_with_itself_as_the_current_one(ask: Ask, slug: str) -> None:
    answer = ask(f"/studies/measured{'/' + slug if slug else ''}")
    assert answer.status_code == 200
    current = re.findall(r'<a href="([^"]+)" aria-current="page">([^<]+)', answer.text)
    assert (f"/studies/measured{'/' + slug if slug else ''}", TABS[slug]) in current
    assert len(answer.content) < 1_000_000
    assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son[a-z]+=", answer.text)


def test_an_unknown_study_and_an_unknown_tab_are_not_found(ask: Ask) -> None:
    for path in ("/studies/nobody", "/studies/nobody/landscape", "/studies/measured/nothing"):
        assert ask(path).status_code == 404


def test_the_overview_counts_each_optimizer_and_leads_to_its_page_in_optuna_dashboard(
    ask: Ask, dashboard: Served
) -> None:
    page = ask("/studies/measured").text
    (row,) = Tables(page).found["Progress on digits-logistic"][1:]
    assert row[0].startswith("SGD")
    assert row[1] == "100 % 10 of 10 runs"
    with dashboard.context.engine.connect() as connection:
        optuna_id = find_optuna_study(connection, "measured/digits-logistic/sgd")
    assert f'href="/dashboard/studies/{optuna_id}"' in page


def tables_of(report: Path, ids: tuple[str, ...]) -> list[Table]:
    document = compose(load_report((report / "report.json").read_bytes()))
    chosen = [section for section in document.sections if section.id in ids]
    return [table for _, section in walk(chosen) for table in section.tables]


@pytest.mark.parametrize(("slug", "ids"), [("sensitivity", SENSITIVITY), ("comparison", COMPARISON)])
def test_report_tabs_show_the_tables_of_the_report_cell_by_cell(
    ask: Ask, measured: tuple[str, Path], slug: str, ids: tuple[str, ...]
) -> None:
    shown = Tables(ask(f"/studies/measured/{slug}").text).found
    tables = tables_of(measured[1], ids)
    assert tables
    for table in tables:
        reading = read_table(table)
        expected = [list(reading.headings), *(list(row) for row in reading.rows)]
        assert shown[table.title] == [[" ".join(cell.split()) for cell in row] for row in expected]


def test_every_section_of_a_report_but_the_study_and_its_landscapes_is_in_one_of_the_tabs(
    measured: tuple[str, Path],
) -> None:
    document = compose(load_report((measured[1] / "report.json").read_bytes()))
    shown = {*SENSITIVITY, *COMPARISON, "study", "landscapes"}
    assert {section.id for section in document.sections} <= shown


def test_every_figure_and_file_that_a_tab_names_is_there(ask: Ask) -> None:
    pages = [ask(f"/studies/measured/{slug}").text for slug in ("sensitivity", "comparison", "downloads", "")]
    named = {path.split("?")[0] for page in pages for path in re.findall(r'(?:src|href)="(/v1/[^"]+)"', page)}
    assert any(path.endswith(".svg") for path in named)
    for path in sorted(named - {"/v1/openapi.json"}):
        assert ask(path).status_code == 200, path


def test_without_a_report_the_tabs_offer_to_write_one(ask: Ask, dashboard: Served) -> None:
    with hidden_report(dashboard):
        for slug in ("sensitivity", "comparison"):
            page = ask(f"/studies/measured/{slug}", OPERATOR).text
            assert "No report yet" in page
            assert '<button type="button" class="primary" data-action="report">' in page
        assert "There is none yet" in ask("/studies/measured/downloads").text
        assert "Your role is viewer" in ask("/studies/measured/sensitivity").text


@contextlib.contextmanager
def hidden_report(dashboard: Served) -> Iterator[None]:
    folder = dashboard.context.options.reports
    (folder / "measured").rename(folder / "away")
    try:
        yield
    finally:
        (folder / "away").rename(folder / "measured")


def test_a_report_that_is_older_than_the_data_says_so(ask: Ask, dashboard: Served) -> None:
    assert "older than the data" not in ask("/studies/measured/sensitivity").text
    with dashboard.context.engine.begin() as connection:
        run = connection.execute(select(runs.c.id, runs.c.termination).limit(1)).one()
        connection.execute(update(runs).where(runs.c.id == run.id).values(termination=None))
        connection.execute(update(studies).values(beat=studies.c.beat + 1))
    try:
        wait_for(lambda: "older than the data" in ask("/studies/measured/sensitivity").text)
        assert "More runs have ended since" in ask("/studies/measured").text
    finally:
        with dashboard.context.engine.begin() as connection:
            connection.execute(update(runs).where(runs.c.id == run.id).values(termination=run.termination))
            connection.execute(update(studies).values(beat=studies.c.beat + 1))


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        ("planned", {"resume", "cancel", "report"}),
        ("queued", {"cancel", "report"}),
        ("running", {"cancel", "report"}),
        ("cancelling", {"report"}),
        ("interrupted", {"resume", "cancel", "report"}),
        ("cancelled", {"resume", "report"}),
        ("failed", {"resume", "cancel", "report"}),
        ("completed", {"report"}),
    ],
)
def test_what_cannot_be_done_says_why(dashboard: Served, state: State, allowed: set[str]) -> None:
    with dashboard.context.engine.connect() as connection:
        connection.execute(update(studies).where(studies.c.name == "measured").values(state=state))
        _, can = find_allowed(connection, "measured")  # and nothing of it is kept
    study = snapshots_of(dashboard.context).detail("measured").model_copy(update={"state": state})
    actions = list_actions(study, OPERATOR_HERE, can)
    assert {action.kind for action in actions if not action.why_not} == allowed
    assert all("load the page" not in action.why_not for action in actions)
    viewer = Principal("vera", "viewer", "session", "s")
    assert {action.why_not for action in list_actions(study, viewer, can)} == {
        "Your role is viewer; an operator can do this."
    }


def test_a_study_in_which_trials_failed_can_be_resumed_and_one_without_results_has_no_report(
    dashboard: Served,
) -> None:
    study = snapshots_of(dashboard.context).detail("measured").model_copy(update={"state": "completed", "failed": 1})
    assert [action.why_not for action in list_actions(study, OPERATOR_HERE, ("resume",))] == [
        "",
        "It is complete: there is nothing to cancel.",
        "No trial has a result yet.",
    ]
    assert list_actions(study, OPERATOR_HERE, ())[0].why_not == "It is complete, and what failed is not tried again."


def test_a_study_whose_driver_has_died_here_can_be_resumed_and_cancelled_from_its_page(
    dashboard: Served, ask: Ask
) -> None:
    dead = f"{this_process()}0"  # one that had this process's id, and started at another time
    changed = update(studies).where(studies.c.name == "measured")
    with dashboard.context.engine.begin() as connection:
        before = connection.execute(select(studies.c.state, studies.c.driver).where(studies.c.name == "measured")).one()
        connection.execute(changed.values(state="running", driver=dead))
    try:
        page = ask("/studies/measured", OPERATOR).text
    finally:
        with dashboard.context.engine.begin() as connection:
            connection.execute(changed.values(state=before.state, driver=before.driver))
    assert page.count("data-action=") == 3
    assert "data-why=" not in page


def test_trials_are_filtered_sorted_and_lead_to_their_pages(ask: Ask) -> None:
    page = ask("/studies/measured/trials?sort=objective&optimizer=sgd").text
    _, *rows = Tables(page).found["Trials"]
    means = [float(row[3].split("±")[0]) for row in rows]
    assert len(rows) == 5
    assert means == sorted(means)
    assert '<option value="sgd" selected>' in page
    assert 'href="/studies/measured/trials/digits-logistic/sgd/0"' in page
    assert "No trial matches" in ask("/studies/measured/trials?state=failed").text


def test_a_trial_shows_its_runs_attempts_and_curvature(ask: Ask, dashboard: Served) -> None:
    page = ask("/studies/measured/trials/digits-logistic/sgd/1").text
    tables = Tables(page).found
    assert [row[0] for row in tables["Runs, one for each seed"][1:]] == ["0", "1"]
    assert tables["Curvature"][0][:4] == ["Seed", "Epoch", "top eigenvalue", "trace"]
    assert len(tables["Attempts at batches with runs of this trial"]) >= 2
    with dashboard.context.engine.connect() as connection:
        optuna_id = find_optuna_study(connection, "measured/digits-logistic/sgd")
        values = connection.execute(select(trials.c.hyperparameters).where(trials.c.number == 1)).scalar_one()
    assert f"/dashboard/studies/{optuna_id}" in page
    assert all(f"<dt>{name}</dt>" in page for name in values)


@pytest.mark.parametrize(("number", "previous", "following"), [(0, None, 1), (2, 1, 3), (4, 3, None)])
def test_a_trial_leads_to_those_beside_it(ask: Ask, number: int, previous: int | None, following: int | None) -> None:
    cell = "/studies/measured/trials/digits-logistic/sgd"
    page = ask(f"{cell}/{number}").text
    found = dict(re.findall(rf'<a class="button" rel="(\w+)" href="{cell}/(\d+)">', page))
    expected = {"prev": previous, "next": following}
    assert found == {name: str(place) for name, place in expected.items() if place is not None}


@pytest.mark.parametrize("path", ["digits-logistic/sgd/5", "digits-logistic/adam/0", "nothing/sgd/0"])
def test_a_trial_that_is_not_there_is_not_found(ask: Ask, path: str) -> None:
    assert ask(f"/studies/measured/trials/{path}").status_code == 404


def test_numbers_near_one_are_told_from_one(dashboard: Served) -> None:
    study = snapshots_of(dashboard.context).detail("measured")
    axis = study.optimizers[0].axes[0].model_copy(update={"name": "beta2", "low": 0.9, "high": 0.99999})
    optimizer = study.optimizers[0].model_copy(update={"axes": [axis]})
    assert list_space(study.model_copy(update={"optimizers": [optimizer]}))[0].values == "0.9 to 0.99999"


def test_the_explorer_begins_with_the_learning_rate_and_the_axis_that_most_optimizers_have(dashboard: Served) -> None:
    study = snapshots_of(dashboard.context).detail("measured")
    axis = study.optimizers[0].axes[0]
    with_axes = [
        study.optimizers[0].model_copy(update={"axes": [axis.model_copy(update={"name": name}) for name in names]})
        for names in (["momentum", "lr"], ["beta1", "beta2", "lr"], ["beta0", "beta2", "lr"])
    ]
    assert choose_axes(study.model_copy(update={"optimizers": with_axes})) == ("lr", "beta2")
    assert choose_axes(study.model_copy(update={"optimizers": []})) == ("", "")


def test_slices_of_the_loss_are_no_columns() -> None:
    values = {"loss": 0.1, "trace": 5.0, "slice": [1.0, 2.0]}
    table = tabulate([Curvature(seed=0, epoch=2, values=values)])
    assert (table.names, table.rows, table.slices) == (["trace", "loss"], [(0, 2, [5.0, 0.1])], True)


@pytest.fixture
def hostile(measured: tuple[str, Path], tmp_path: Path) -> Iterator[httpx.Client]:
    """Texts and values of a study that would do something as HTML."""
    shutil.copy(measured[0].removeprefix("sqlite:///"), tmp_path / "study.db")
    with served(f"sqlite:///{tmp_path}/study.db", tmp_path) as dashboard:
        with dashboard.context.engine.begin() as connection:
            spec = connection.execute(select(studies.c.spec)).scalar_one()
            connection.execute(update(studies).values(spec=spec | {"description": HOSTILE}, error=HOSTILE))
            connection.execute(update(trials).values(hyperparameters={"lr": HOSTILE, HOSTILE: 1.0}))
            connection.execute(update(runs).values(reason=HOSTILE))
            connection.execute(update(attempts).values(error=HOSTILE, worker=HOSTILE, host=HOSTILE))
        with dashboard.session(VIEWER) as client:
            yield client


def test_hostile_texts_and_values_stay_text(hostile: httpx.Client) -> None:
    for path in (*(f"/{slug}" if slug else "" for slug in TABS), "/trials/digits-logistic/sgd/1"):
        page = hostile.get(f"/studies/measured{path}", headers={"Accept": "text/html"})
        assert page.status_code == 200, path
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
