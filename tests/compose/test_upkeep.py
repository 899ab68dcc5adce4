"""Backup, restore and upgrade with a study half done, removal, and what is said where something is wrong."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_project import Project, deployed
from small_disk import small_disk

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

#: About half a minute on two processors, in many batches.
SPEC = """
name = "NAME"
workloads = ["digits-mlp"]
seeds = 3
study_seed = 11
epochs = 60

[design]
points = 24

[training]
engine = "stacked"

[[optimizers]]
name = "adai"

[[optimizers]]
name = "sgd"

[[optimizers]]
name = "adam"
"""
RUNS = 3 * 25 * 3
KINDS = ("container", "volume", "network")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A deployment without a first study, and with an undisturbed one that has ended."""
    folder = tmp_path_factory.mktemp("clone")
    with deployed(folder, "adai-test-upkeep", ADAI_STUDY="", ADAI_WORKERS="2", ADAI_WORKER_CPUS="1") as project:
        project.up("--build")
        submit(project, "undisturbed")
        project.wait_for_state("undisturbed", "completed")
        yield project


def submit(project: Project, name: str) -> None:
    (project.folder / f"specs/{name}.toml").write_text(SPEC.replace("NAME", name))
    project.cli("submit", f"specs/{name}.toml")


def stop_half_way(project: Project, name: str) -> None:
    project.wait_until(lambda: project.ended(name) >= RUNS // 4, f"a quarter of {name} has ended")
    project.compose("stop", "service", "dashboard")
    assert project.state(name) == "queued"
    assert project.ended(name) < RUNS


@pytest.mark.long
def test_an_upgrade_goes_on_with_a_study_that_is_half_done(project: Project) -> None:
    submit(project, "upgraded")
    stop_half_way(project, "upgraded")
    # As the version before it left the database: without the tables that revision 0004 brought.
    tables = "adai_users, adai_sessions, adai_tokens, adai_audit, adai_requests, adai_servers"
    project.sql(f"DROP TABLE {tables}; UPDATE adai_alembic_version SET version_num = '0003'")
    said = project.compose("run", "--rm", "--no-deps", "--no-TTY", "cli", "status", "upgraded", check=False).stdout
    assert "older version (revision 0003)" in said
    project.run("docker", "tag", "adai-study:test", "adai-study:test-next")
    project.change_env(ADAI_IMAGE="adai-study:test-next")
    project.up()
    assert {c["Config"]["Image"] for c in project.containers("service")} == {"adai-study:test-next"}
    project.wait_for_state("upgraded", "completed")
    assert project.table("upgraded") == project.table("undisturbed")
    with project.signed_in() as client:
        assert client.get("/v1/studies/upgraded").json()["state"] == "completed"


@pytest.mark.long
def test_a_backup_is_restored_into_a_new_deployment_which_ends_the_study(project: Project) -> None:
    submit(project, "restored")
    stop_half_way(project, "restored")
    ended = project.ended("restored")
    said = project.run("make", "backup").stdout
    backup = said.partition(":")[0]
    assert {path.name for path in (project.folder / backup).iterdir()} == {"database.dump", "reports.tar"}
    assert (project.folder / backup / "database.dump").stat().st_mode & 0o077 == 0

    project.compose("down", "--volumes")
    left = [project.run("docker", kind, "ls", "--quiet", f"--filter=name={project.name}").stdout for kind in KINDS]
    assert left == [""] * len(KINDS)
    for secret in (project.folder / "secrets").glob("*/*"):
        # Users are in the backup, with the passwords that they had.
        if secret.parent.name != "operator":
            secret.unlink()

    project.up("db")
    project.wait_until(lambda: project.is_healthy("db"), "the database is healthy", 90)
    # A first start that was broken off.
    project.sql("DROP DATABASE adai", database="postgres")
    # And an earlier restore.
    project.sql("CREATE DATABASE adai_before", database="postgres")
    project.run("make", "restore", f"FROM={backup}")
    assert project.ended("restored") >= ended
    project.wait_for_state("restored", "completed")
    assert project.table("restored") == project.table("undisturbed")


@pytest.mark.long
def test_a_backup_that_cannot_be_read_costs_nothing(project: Project) -> None:
    folder = project.folder / "backups/broken"
    folder.mkdir(parents=True)
    (folder / "database.dump").write_bytes(b"PGDMP, but no more")
    assert project.run("make", "restore", "FROM=backups/broken", check=False).returncode != 0
    assert "holds no database.dump" in project.run("make", "restore", "FROM=backups/none", check=False).stdout
    project.up()
    assert project.state("undisturbed") == "completed"


def test_gpus_are_reserved_in_their_profile_only(project: Project) -> None:
    assert "ray-worker-gpu" not in project.compose("config", "--services").stdout
    project.change_env(ADAI_GPU_CPUS="1", ADAI_GPUS="2")
    project.compose("--profile", "gpu", "create", "ray-worker-gpu")
    (container,) = project.containers("ray-worker-gpu")
    (request,) = container["HostConfig"]["DeviceRequests"]
    assert request["Driver"] == "nvidia"
    assert request["Count"] == 2
    assert request["Capabilities"] == [["gpu"]]
    project.compose("--profile", "gpu", "rm", "--force", "ray-worker-gpu")


@pytest.mark.long
def test_another_machine_joins_with_a_file_of_its_own(project: Project) -> None:
    """On one engine here, so the network that spans machines is an ordinary one."""
    network, node = f"{project.name}-spanning", ("docker", "compose", "-p", f"{project.name}-node")
    project.change_env(ADAI_RAY_NETWORK=network, ADAI_WORKERS="1")
    project.run("docker", "network", "create", "--internal", network)
    joined = "SELECT max(workers) FROM adai_servers WHERE now() - seen_at < interval '10 seconds'"
    try:
        files = ("-f", "docker-compose.yml", "-f", "deploy/several-machines.yml")
        project.compose(*files, "up", "--detach")
        project.run(*node, "--env-file", ".env", "-f", "deploy/node.yml", "--profile", "cpu", "up", "--detach")
        project.wait_until(lambda: project.sql(joined) == "2", "the server has a worker on each machine", 120)
    finally:
        project.run(*node, "--env-file", ".env", "-f", "deploy/node.yml", "--profile", "cpu", "down", "--volumes")
        project.compose(*files, "down")
        project.run("docker", "network", "rm", network)
    project.change_env(ADAI_WORKERS="2")
    project.up()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ADAI_WORKERS", "two", "services.ray-worker.deploy.replicas"),
        ("ADAI_PORT", "http", "http"),
        ("ADAI_WORKER_MEMORY", "much", "much"),
        ("ADAI_WORKER_CPUS", "999", "CPUs"),
    ],
)
def test_a_wrong_line_in_env_is_named(project: Project, variable: str, value: str, message: str) -> None:
    before = project.variables
    project.change_env(**{variable: value})
    try:
        result = project.compose("up", "--detach", "--no-build", check=False)
        assert result.returncode != 0
        assert message in result.stdout
    finally:
        project.write_env(before)


@pytest.mark.long
def test_a_wrong_first_study_is_named_in_the_log(project: Project) -> None:
    project.change_env(ADAI_STUDY="specs/nowhere.toml")
    project.up("service")
    wanted = "Error: ADAI_STUDY names a study that cannot be run: specs/nowhere.toml: there is no such file"
    project.wait_until(lambda: wanted in project.logs("service"), "the log names the wrong study", 60)
    project.change_env(ADAI_STUDY="")
    project.up("service")


def test_a_folder_of_another_user_is_named_with_the_line_for_env(project: Project) -> None:
    owner = (project.folder / "reports").stat().st_uid
    project.change_env(ADAI_UID=str(owner + 1))
    try:
        said = project.compose("run", "--rm", "--no-TTY", "init", check=False)
        assert said.returncode != 0
        assert f"Error: the folder reports/ belongs to user {owner}, and user {owner + 1} cannot write" in said.stdout
        assert f"ADAI_UID={owner}" in said.stdout
    finally:
        project.change_env(ADAI_UID=str(owner))


def test_a_taken_port_is_named(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        project.change_env(ADAI_PORT=str(port))
        said = project.compose("up", "--detach", "dashboard", check=False)
        project.change_env(ADAI_PORT=str(project.port))
    assert said.returncode != 0
    assert str(port) in said.stdout
    assert "already" in said.stdout or "in use" in said.stdout
    project.up()


@pytest.mark.long
def test_a_password_that_the_database_wants_is_not_made_anew(project: Project) -> None:
    file = project.folder / "secrets/server/password"
    kept = file.read_text()
    file.unlink()
    try:
        said = project.compose("up", "--detach", check=False)
        assert said.returncode != 0
        said = project.compose("logs", "--no-log-prefix", "init")
        assert "secrets/server/password is missing, and the database that is there wants the password" in said.stdout
        assert not file.exists()
        file.write_text("another password")
        file.chmod(0o444)
        project.compose("up", "--detach", "--force-recreate", check=False)
        assert "the database server refuses its administrator" in project.logs("migrate")
    finally:
        file.unlink(missing_ok=True)
        file.write_text(kept)
        file.chmod(0o444)
    project.up()


@pytest.mark.long
def test_other_secrets_that_are_lost_are_made_anew_and_the_database_follows(project: Project) -> None:
    for name in ("owner/password", "dashboard/password", "dashboard/reader-password"):
        (project.folder / "secrets" / name).unlink()
    project.up("--force-recreate")
    project.wait_until(lambda: project.is_healthy("service"), "the server is healthy", 120)
    assert "undisturbed: completed" in project.cli("status", "undisturbed")
    with project.signed_in() as client:
        assert client.get("/api/studies").status_code == 200


def test_a_full_volume_is_named(project: Project) -> None:
    project.compose("down", "--volumes")
    small = "volumes: {database: {driver_opts: {type: tmpfs, device: tmpfs, o: 'size=32m'}}}\n"
    (project.folder / "small.yml").write_text(small)
    files = ("-f", "docker-compose.yml", "-f", "small.yml")
    assert project.compose(*files, "up", "--detach", check=False).returncode != 0
    assert "MB are free where the database lies, and 200 MB are needed; make room" in project.logs("init")


@pytest.mark.long
def test_a_volume_that_fills_up_costs_nothing_once_there_is_room(project: Project, tmp_path: Path) -> None:
    project.compose("down", "--volumes")
    disk = tmp_path / "disk"
    with small_disk(disk, 400 * 1024):
        disk.chmod(0o1777)
        small = f"volumes: {{database: {{driver_opts: {{type: none, o: bind, device: '{disk}'}}}}}}\n"
        (project.folder / "small.yml").write_text(small)
        project.change_env(COMPOSE_FILE="docker-compose.yml:small.yml")
        project.up()
        submit(project, "crowded")
        project.wait_until(lambda: project.ended("crowded") > 0, "the study has begun")
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"0" * 2**20)
        project.wait_until(lambda: "No space left on device" in project.logs("service", "db"), "the log says so", 90)
        (disk / "filler").unlink()
        project.wait_for_state("crowded", "completed")
        assert len(project.table("crowded")) == RUNS
        project.compose("down", "--volumes")
    project.change_env(COMPOSE_FILE="docker-compose.yml")
