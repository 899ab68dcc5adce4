"""A deployment by Docker Compose of a copy of this project, for tests, as somebody has it who cloned it."""

import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parent.parent.parent
#: What a folder of reports and so on belongs to in a test that runs as root; else to the user who runs it.
USER = 1000 if os.getuid() == 0 else os.getuid()
#: Of a run's row: what differs although nothing went wrong.
_OF_THE_OCCASION = {"study", "seconds", "seconds_to_target", "peak_memory", "worker"}
_PATIENCE = 240.0


def why_no_engine() -> str | None:
    """Why there is no engine to test with, for people; None if there is one."""
    if shutil.which("docker") is None:
        return "there is no `docker` on this machine"
    if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        return "no Docker engine answers (`docker info`)"
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0:
        return "`docker compose` is not installed"
    return None


class Project:
    """A copy of the project's files, and what Compose makes of it.

    Args:
        folder: A new folder for it.
        name: Of the Compose project.
        variables: What its ``.env`` says beside user, group, port and image.

    Attributes:
        port: At which its dashboard is published.
        listening: What listened on the host since it started, where a test noted it.
    """

    def __init__(self, folder: Path, name: str, **variables: str) -> None:
        self.folder, self.name, self.port = folder, name, free_port()
        self.listening: set[tuple[str, int]] = set()
        words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(words, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        for file in filter(None, files.split("\0")):
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, target)
        if os.getuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, USER, USER)
        settings = {"ADAI_UID": str(USER), "ADAI_GID": str(USER), "ADAI_PORT": str(self.port)}
        self.write_env(settings | {"ADAI_IMAGE": "adai-study:test"} | variables)

    def write_env(self, variables: dict[str, str]) -> None:
        """Write ``.env`` anew."""
        self.variables = variables
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))

    def change_env(self, **variables: str) -> None:
        """Change some lines of ``.env``."""
        self.write_env(self.variables | variables)

    def run(self, *words: str, check: bool = True, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run a command in its folder; what it says is shown when it fails."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("ADAI_", "MAKE", "MFLAGS"))
        }
        result = subprocess.run(
            words,
            cwd=self.folder,
            env=environment | {"COMPOSE_PROJECT_NAME": self.name},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        assert not check or result.returncode == 0, f"{words}: {result.returncode}\n{result.stdout}\n{self.logs()}"
        return result

    def compose(self, *words: str, check: bool = True, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run ``docker compose`` with these words."""
        return self.run("docker", "compose", *words, check=check, **options)

    def logs(self, *services: str) -> str:
        """The last lines of what its containers said."""
        words = ["docker", "compose", "-p", self.name, "logs", "--no-color", "--tail", "80", *services]
        return subprocess.run(words, cwd=self.folder, capture_output=True, text=True).stdout

    def up(self, *words: str) -> None:
        """Start what is not running."""
        self.compose("up", "--detach", *words)

    def cli(self, *words: str, check: bool = True) -> str:
        """What the command line says, in a container of its own."""
        result = self.compose("run", "--rm", "--no-TTY", "--quiet-pull", "cli", *words, check=check)
        return result.stdout

    def sql(self, query: str, *, user: str = "postgres", database: str = "adai") -> str:
        """The answer of the database to its administrator, unaligned."""
        words = ["exec", "--no-TTY", "db", "psql", "-U", user, "-d", database, "-v", "ON_ERROR_STOP=1", "-qtAc", query]
        return self.compose(*words).stdout.strip()

    def state(self, study: str) -> str:
        """The state of a study."""
        return self.sql(f"SELECT state FROM adai_studies WHERE name = '{study}'")

    def ended(self, study: str) -> int:
        """How many runs of a study have ended; -1 while the database is away."""
        query = f"""SELECT count(*) FROM adai_runs r JOIN adai_trials t ON t.id = r.trial_id
            JOIN adai_studies s ON s.id = t.study_id WHERE s.name = '{study}' AND r.termination IS NOT NULL"""
        words = ["exec", "--no-TTY", "db", "psql", "-U", "postgres", "-d", "adai", "-qtAc", query]
        result = self.compose(*words, check=False)
        return int(result.stdout) if result.returncode == 0 else -1

    def wait_until(self, reached: Callable[[], bool], what: str, seconds: float = _PATIENCE) -> None:
        """Wait for something; what the containers say is shown if it does not happen."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.logs()}"
            time.sleep(0.3)

    def wait_for_state(self, study: str, state: str, seconds: float = _PATIENCE) -> None:
        """Wait until a study is in a state."""
        self.wait_until(lambda: self.state(study) == state, f"{study} is {state}", seconds)

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """What the engine knows of its containers."""
        only = [f"--filter=label=com.docker.compose.service={service}"] if service else []
        words = ["docker", "ps", "--all", "--quiet", f"--filter=label=com.docker.compose.project={self.name}", *only]
        ids = self.run(*words).stdout.split()
        found: list[dict[str, Any]] = json.loads(self.run("docker", "inspect", *ids).stdout) if ids else []
        return found

    def networks(self) -> list[str]:
        """The keys of its networks."""
        label = f"--filter=label=com.docker.compose.project={self.name}"
        return self.run("docker", "network", "ls", "--quiet", label).stdout.split()

    def is_healthy(self, service: str) -> bool:
        """Whether all containers of a service pass its health check."""
        return {c["State"]["Health"]["Status"] for c in self.containers(service)} == {"healthy"}

    def kill(self, service: str) -> None:
        """SIGKILL to the first process of a container, from outside: the engine takes it for a crash."""
        container = self.containers(service)[0]
        os.kill(container["State"]["Pid"], signal.SIGKILL)

    def table(self, study: str) -> list[tuple[tuple[str, str], ...]]:
        """The runs table of a study, without what differs from one occasion to the next; sorted."""
        file = self.folder / "reports" / f"{study}-runs.csv"
        self.cli("export", study, "--format", "csv", "--out", f"reports/{file.name}")
        rows = csv.DictReader(io.StringIO(file.read_text()))
        kept = [tuple(sorted((k, v) for k, v in row.items() if k not in _OF_THE_OCCASION)) for row in rows]
        file.unlink()
        return sorted(kept)

    @cached_property
    def password(self) -> str:
        """The first operator's, as a person reads it."""
        return (self.folder / "secrets/operator/password").read_text().strip()

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        """The dashboard, for the first operator, once it answers."""
        self.wait_until(lambda: self.is_healthy("dashboard"), "the dashboard is healthy", 90)
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60) as client:
            answer = client.post("/sign-in", data={"name": "operator", "password": self.password})
            assert answer.status_code == 303, answer.text
            yield client

    def remove(self) -> None:
        """All of it but the image."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def deployed(folder: Path, name: str, **variables: str) -> Iterator[Project]:
    """A project of its own, from which nothing remains after the block."""
    reason = why_no_engine()
    if reason is not None:
        pytest.skip(reason)
    project = Project(folder, name, **variables)
    project.remove()
    try:
        yield project
    finally:
        project.remove()
