"""`docker compose up` from nothing: the demo study to its report, what is closed, and a study that is disturbed."""

import contextlib
import io
import ipaddress
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_project import USER, Project, deployed

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

SERVICES = {"db", "ray-head", "ray-worker", "service", "dashboard"}
ONE_SHOTS = {"init", "migrate"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A clone in which somebody said `docker compose up`, with two workers of one processor."""
    folder = tmp_path_factory.mktemp("clone")
    with deployed(folder, "adai-test-deployment", ADAI_WORKERS="2", ADAI_WORKER_CPUS="1") as project:
        before = listening()
        project.up("--build")
        project.listening = listening() - before
        yield project


@pytest.fixture(scope="module")
def demo(project: Project) -> Project:
    """The same, once the demo study has ended and its report is written."""
    project.wait_for_state("digits", "completed")
    report = project.folder / "reports/digits/report.html"
    project.wait_until(report.exists, "the report of the demo is written", 300)
    return project


def listening() -> set[tuple[str, int]]:
    """Address and port of every TCP socket of this machine on which the engine listens, or somebody unknown."""
    others = sockets_of_others()
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            address, port = words[1].split(":")
            if words[3] == "0A" and f"socket:[{words[9]}]" not in others:
                raw = bytes.fromhex(address)
                groups = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
                found.add((str(ipaddress.ip_address(groups)), int(port, 16)))
    return found


def sockets_of_others() -> set[str]:
    """The sockets of all processes of the machine that are not the engine's."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if not (process / "comm").read_text().startswith(("docker", "containerd")):
                found |= {str(handle.readlink()) for handle in (process / "fd").iterdir()}
    return found


def test_nothing_but_the_dashboard_listens_and_only_on_this_machine(project: Project) -> None:
    assert project.listening == {("127.0.0.1", project.port)}
    published = [c["NetworkSettings"]["Ports"] for c in project.containers()]
    assert [ports for ports in published if any((ports or {}).values())] == [
        {f"{project.port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(project.port)}]}
    ]


def test_the_log_says_where_to_look_and_how_the_first_password_is_got(project: Project) -> None:
    said = project.logs("dashboard")
    assert f"Open http://127.0.0.1:{project.port}/ and sign in as: operator" in said
    assert "secrets/operator/password" in said
    assert f"http://127.0.0.1:{project.port}/dashboard" in said


def test_every_container_is_locked_down(project: Project) -> None:
    containers = project.containers()
    assert {c["Config"]["Labels"]["com.docker.compose.service"] for c in containers} == SERVICES | ONE_SHOTS
    for container in containers:
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"] not in ("", "0", "root"), name
        assert host["ReadonlyRootfs"], name
        assert host["Init"], name
        assert host["CapDrop"] == ["ALL"], name
        assert host["CapAdd"] in (None, []), name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert host["Memory"] > 0, name
        assert host["NanoCpus"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}, name
        assert not host["Privileged"], name
        assert host["NetworkMode"] != "host", name


def test_all_services_come_to_be_healthy(project: Project) -> None:
    for service in SERVICES:
        project.wait_until(lambda service=service: project.is_healthy(service), f"{service} is healthy", 120)


def test_no_secret_is_in_an_image_or_in_a_variable(project: Project) -> None:
    files = [path for path in (project.folder / "secrets").rglob("*") if path.is_file() and path.stat().st_size]
    assert len(files) == 7
    image = project.run("docker", "image", "inspect", "adai-study:test").stdout
    image += project.run("docker", "history", "--no-trunc", "adai-study:test").stdout
    known = json.dumps(project.containers()) + image
    for file in files:
        assert file.read_text().strip() not in known, file
        assert not file.stat().st_mode & 0o022, file
    # Other users of the host do not get in, whatever the modes of the files within are.
    assert (project.folder / "secrets").stat().st_mode & 0o777 == 0o700


def test_the_image_has_the_wheel_and_nothing_of_the_source_tree(project: Project) -> None:
    listed = project.compose("exec", "--no-TTY", "service", "ls", "-A", "/work", "/build", "/work/specs", check=False)
    assert "pyproject.toml" not in listed.stdout
    words = ["python", "-c", "import study, importlib.metadata as m; print(study.__file__, m.version('adai-study'))"]
    said = project.compose("exec", "--no-TTY", "service", *words).stdout
    assert said.startswith("/opt/adai/lib/python3.11/site-packages/study/__init__.py ")
    pytest_there = project.compose("exec", "--no-TTY", "service", "python", "-c", "import pytest", check=False)
    assert "ModuleNotFoundError" in pytest_there.stdout


def test_each_container_reaches_only_what_it_needs(project: Project) -> None:
    def reaches(service: str, host: str, port: int) -> bool:
        program = f"import socket; socket.create_connection(({host!r}, {port}), timeout=3)"
        return project.compose("exec", "--no-TTY", service, "python", "-c", program, check=False).returncode == 0

    assert reaches("service", "db", 5432)
    assert reaches("service", "ray-head", 6379)
    assert reaches("dashboard", "db", 5432)
    assert not reaches("dashboard", "ray-head", 6379)
    assert not reaches("ray-worker", "db", 5432)
    networks = json.loads(project.run("docker", "network", "inspect", *project.networks()).stdout)
    assert {network["Name"].rpartition("_")[2]: network["Internal"] for network in networks} == {
        "database": True,
        "ray": True,
        "outside": False,
    }


@pytest.mark.long
def test_ray_wants_its_token(project: Project) -> None:
    program = "import ray; ray.init(address='ray-head:6379', logging_level='ERROR'); print('welcome')"

    def join(*options: str) -> str:
        words = ["exec", "--no-TTY", *options, "service", "timeout", "60", "python", "-c", program]
        return project.compose(*words, check=False).stdout

    assert "welcome" in join()
    assert "welcome" not in join("--env=RAY_AUTH_TOKEN=another", "--env=RAY_AUTH_TOKEN_PATH=")
    assert "welcome" not in join("--env=RAY_AUTH_MODE=disabled")


@pytest.mark.parametrize("role", ["adai_dashboard", "adai_reader"])
def test_the_roles_of_the_dashboard_cannot_write_trials(project: Project, role: str) -> None:
    file = {"adai_dashboard": "password", "adai_reader": "reader-password"}[role]
    password = (project.folder / "secrets/dashboard" / file).read_text().strip()
    for query in ("SELECT count(*) FROM trials", "UPDATE trials SET number = 0", "DELETE FROM adai_runs"):
        words = ["psql", "-h", "db", "-U", role, "-d", "adai", "-qtAc", query]
        result = project.compose("exec", "--no-TTY", "-e", f"PGPASSWORD={password}", "db", *words, check=False)
        assert (result.returncode == 0) == query.startswith("SELECT"), result.stdout
        assert result.returncode == 0 or "permission denied" in result.stdout


def test_the_demo_study_ends_and_its_report_is_fetched_with_a_login(demo: Project) -> None:
    with demo.signed_in() as client:
        study = client.get("/v1/studies/digits").json()
        assert study["state"] == "completed"
        answer = client.get("/v1/studies/digits/report.zip")
        assert answer.status_code == 200
        names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
        assert any(name.endswith("report.html") for name in names)
        assert client.get("/").status_code == 200
    report = demo.folder / "reports/digits"
    assert {path.stat().st_uid for path in (report, *report.rglob("*"))} == {USER}


def test_optuna_dashboard_shows_the_trials(demo: Project) -> None:
    with demo.signed_in() as client:
        assert client.get("/dashboard").status_code == 200
        studies = client.get("/api/studies").json()["study_summaries"]
        assert len(studies) == 12
        trials = [client.get(f"/api/studies/{study['study_id']}").json()["trials"] for study in studies]
        assert [len(of_study) for of_study in trials] == [33] * 12
        assert {trial["state"] for of_study in trials for trial in of_study} == {"Complete"}


def test_the_command_line_reads_specs_and_writes_reports_of_the_host(demo: Project) -> None:
    assert "digits: completed" in demo.cli("status", "digits")
    demo.cli("export", "digits", "--format", "parquet", "--out", "reports/digits.parquet")
    assert (demo.folder / "reports/digits.parquet").stat().st_uid == USER
    assert "specs/mine.toml written" in demo.cli("init", "specs/mine.toml")
    assert (demo.folder / "specs/mine.toml").stat().st_uid == USER
    (demo.folder / "specs/mine.toml").write_text("wrong = 1")
    assert "unknown key" in demo.cli("submit", "specs/mine.toml", check=False)


@pytest.mark.long
def test_a_study_that_everything_happens_to_equals_an_undisturbed_one(demo: Project) -> None:
    spec = (demo.folder / "study/specs/digits.toml").read_text().replace('name = "digits"', 'name = "disturbed"', 1)
    (demo.folder / "specs/disturbed.toml").write_text(spec)
    demo.cli("submit", "specs/disturbed.toml")
    reached = iter((30, 130, 230, 330, 430))

    def wait_for_more() -> None:
        wanted = next(reached)
        demo.wait_until(lambda: demo.ended("disturbed") >= wanted, f"{wanted} runs of the disturbed study ended")
        # After a restart it waits for a moment, until a server takes it.
        assert demo.state("disturbed") in ("running", "queued")

    wait_for_more()
    demo.kill("ray-worker")
    wait_for_more()
    demo.compose("restart", "db")
    wait_for_more()
    demo.compose("restart", "ray-head")
    wait_for_more()
    demo.compose("restart", "service")
    wait_for_more()
    demo.compose("stop")
    demo.compose("start")
    demo.up("--no-recreate", "--scale", "ray-worker=3")
    demo.up("--no-recreate", "--scale", "ray-worker=1")
    demo.wait_for_state("disturbed", "completed", 400)
    disturbed = demo.table("disturbed")
    assert len(disturbed) == 1188
    assert disturbed == demo.table("digits")


def test_down_and_up_keep_everything(demo: Project) -> None:
    before = demo.sql("SELECT count(*), sum(objective) FROM adai_runs")
    demo.compose("down")
    assert demo.containers() == []
    demo.up()
    assert demo.sql("SELECT count(*), sum(objective) FROM adai_runs") == before
    with demo.signed_in() as client:
        assert client.get("/v1/studies/digits/report.zip").status_code == 200
