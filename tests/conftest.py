"""What several tests need: a small study, the command, databases of both kinds."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import settings
from postgresql_server import PostgresqlServer, find_binaries
from tests_support import EXPLORED_SPEC, MEASURED_SPEC, SMALL_SPEC, Command, run_words

from study.cli import main

if TYPE_CHECKING:
    from browser import Chromium

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # So are processes started that a shell runs in the background, and their children; tests send Ctrl-C to some.
    signal.signal(signal.SIGINT, signal.default_int_handler)
# A busy machine is slow, and no example is about time.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Kernels, plans, images and checkpoints of tests do not mix with those of the user who runs them."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Workers use one thread; results are compared with theirs bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the deployment settings of the machine that it runs on."""
    for name in [name for name in os.environ if name.startswith("ADAI_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def command() -> Command:
    """Run ``adai-study`` with the given words in this process."""

    def run(*words: str | Path) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words])

    return run


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    """A file with the small study's spec."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL_SPEC)
    return path


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """An SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path}/study.db"


def run_to_its_end(spec: str, folder: Path) -> tuple[str, Path]:
    """Run a study in one process: (database URL, report folder)."""
    (folder / "spec.toml").write_text(spec)
    url = f"sqlite:///{folder}/study.db"
    result = CliRunner().invoke(main, [str(word) for word in run_words(folder / "spec.toml", url, folder)])
    assert result.exit_code == 0, result.output
    return url, folder / "report"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(database URL, report folder) of the small study, run to its end; only to be read."""
    return run_to_its_end(SMALL_SPEC, tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(database URL, report folder) of a study with axes of the training, a target and curvature; only to be read."""
    return run_to_its_end(MEASURED_SPEC, tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="session")
def two_workloads(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(database URL, report folder) of the small study on two workloads; only to be read."""
    spec = SMALL_SPEC.replace('["digits-logistic"]', '["digits-logistic", "digits-mlp"]').replace('"small"', '"two"')
    return run_to_its_end(spec.replace("epochs = 2", "epochs = 1"), tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(database URL, report folder) of a study with maps of landscapes; only to be read."""
    return run_to_its_end(EXPLORED_SPEC, tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chromium"]:
    """Chromium, for the tests of one module: while it runs, nothing else in this thread can run an event loop."""
    from browser import chromium

    with chromium(tmp_path_factory.mktemp("pictures")) as browser:
        yield browser


@pytest.fixture(scope="session")
def postgresql_binaries() -> Path:
    """The folder of PostgreSQL's programs."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql (.ci/run does)")
    return binaries


@pytest.fixture(scope="session")
def postgresql_server(postgresql_binaries: Path) -> Iterator[PostgresqlServer]:
    """The server of all tests that do not stop it."""
    server = PostgresqlServer(postgresql_binaries)
    try:
        server.start()
        yield server
        server.stop("immediate")
    finally:
        server.remove()


@pytest.fixture
def postgresql_url(postgresql_server: PostgresqlServer, tmp_path: Path) -> str:
    """An empty PostgreSQL database."""
    return postgresql_server.create_database("test_" + tmp_path.name.replace("-", "_").lower())


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each supported kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/any.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url
