"""What several tests need: a small study, the command, databases of both kinds."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from tests_support import SMALL_SPEC, Command

from study.cli import main


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


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(database URL, report folder) of the small study, run to its end in one process; only to be read."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.toml").write_text(SMALL_SPEC)
    url = f"sqlite:///{folder}/study.db"
    words = ["run", str(folder / "small.toml"), "--pool", "inline", "--db", url, "--out", str(folder / "report")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return url, folder / "report"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL server of the machine's own binaries; gives its URL up to the database's name."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql (.ci/run does)")
    binaries = programs[-1].parent
    # PostgreSQL refuses to run as root, and its user must be able to enter the folder.
    folder = Path(tempfile.mkdtemp(prefix="adai-postgresql-"))
    user = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    os.chown(folder, user.pw_uid, user.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def as_owner(*words: str) -> None:
        environment = {"PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
        owner = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        subprocess.run(words, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL, **owner)

    data = str(folder / "data")
    as_owner("initdb", "-D", data, "-U", "adai", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    as_owner("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://adai@127.0.0.1:{port}"
    finally:
        as_owner("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each supported kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/any.db"
    import psycopg

    server: str = request.getfixturevalue("postgresql_server")
    name = "test_" + tmp_path.name.replace("-", "_").lower()
    with psycopg.connect(server.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{server}/{name}"
