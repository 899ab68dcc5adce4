"""Ray itself is killed: the pool says so within seconds, and the same process can make another one."""

import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty_workloads import make_faulty_batch
from pool_events import collect, is_end, is_epoch, wait_for_event

from workers import ray_pool
from workers.fair_pool import FairPool
from workers.messages import BatchFailed, BatchFinished, Termination, Training, WorkloadReference
from workers.planner import PlanRequest
from workers.pool import PoolLostError, WorkerPool
from workers.ray_pool import RayPool, RayUnavailableError

REQUEST = PlanRequest(WorkloadReference("digits-mlp"), Training(), "looped", 1, 2)


#: Ray reads a token once in the life of a process, so each test here has a process of its own.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


def run_alone(call: str) -> None:
    """Call a function of this file in another process, which must live to its end."""
    folders = [Path(__file__).parents[2], Path(__file__).parents[1] / "support", Path(__file__).parent]
    environment = os.environ | TOKEN | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    program = f"from test_lost_pools import *\n{call}\nprint('to the end')"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert result.stdout.endswith("to the end\n"), result.stdout + result.stderr[-5000:]


def processes_with(words: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if words in command:
                found.append(int(entry.name))
    return found


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]


def session_folder() -> str:
    """Of the Ray that this process is connected to; all its processes name it."""
    import ray

    context = ray.get_runtime_context()
    node = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    return str(Path(node["RayletSocketName"]).parent.parent)


def wait_for_loss(pool: WorkerPool, seconds: float) -> str:
    """What the loss says; nothing else may be told of it."""
    deadline = time.monotonic() + seconds
    with pytest.raises(PoolLostError) as lost:  # noqa: PT012 - the loss comes at any time
        while time.monotonic() < deadline:
            event = pool.next_event(0.5)
            assert event is None or is_epoch(1)(event) or type(event).__name__ == "Heartbeat", event
    return str(lost.value)


def assert_is_lost(pool: RayPool, tmp_path: Path) -> None:
    """Whatever is asked of it."""
    pool.cancel(1)
    with pytest.raises(PoolLostError):
        pool.submit(make_faulty_batch(2, tmp_path / "never"))
    with pytest.raises(PoolLostError):
        pool.plan(REQUEST)
    with pytest.raises(PoolLostError):
        pool.check_workload(WorkloadReference("digits-mlp"))


def assert_works(pool: RayPool, tmp_path: Path) -> None:
    pool.check_workload(WorkloadReference("digits-mlp"))
    assert pool.plan(REQUEST).engine == "looped"
    pool.submit(make_faulty_batch(3, tmp_path / "never", epochs=1))
    assert isinstance(wait_for_event(pool, is_end(3))[0], BatchFinished)


@pytest.mark.faults
@pytest.mark.parametrize("process", ["raylet", "gcs_server"])
def test_a_local_ray_that_is_killed_is_told_and_started_again_in_the_same_process(process: str, tmp_path: Path) -> None:
    run_alone(f"kill_local_ray({process!r}, Path({str(tmp_path)!r}))")


def kill_local_ray(process: str, folder: Path) -> None:
    with RayPool(workers=1) as pool:
        pool.submit(make_faulty_batch(1, folder / "never", seconds=0.01))
        wait_for_event(pool, is_epoch(1))
        session = session_folder()
        (killed,) = [pid for pid in processes_with(session) if _program(pid).endswith(process)]
        os.kill(killed, signal.SIGKILL)
        message = wait_for_loss(pool, 20)
        assert message.startswith("the local Ray of this process is gone ("), message
        assert process in message
        assert_is_lost(pool, folder)
    deadline = time.monotonic() + 20
    while processes_with(session):
        assert time.monotonic() < deadline, processes_with(session)
        time.sleep(0.2)
    with RayPool(workers=1) as pool:
        assert_works(pool, folder)


@pytest.fixture
def cluster() -> Iterator["Cluster"]:
    """A head on this machine."""
    cluster = Cluster.free()
    cluster.start()
    yield cluster
    cluster.end()


@dataclass(frozen=True)
class Cluster:
    """``ray start --head`` with a token, whose processes can be killed all at once.

    Its folder is short, because sockets lie there.
    """

    port: int
    folder: str

    @classmethod
    def free(cls) -> "Cluster":
        """Where nothing listens."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        return cls(port, f"/tmp/adai-ray-{port}")  # noqa: S108 - of this test

    @property
    def address(self) -> str:
        """Of its control service."""
        return f"127.0.0.1:{self.port}"

    def start(self, processors: int = 2) -> None:
        """The head."""
        words = ["start", "--head", f"--port={self.port}", f"--num-cpus={processors}", "--include-dashboard=false"]
        more = ["--disable-usage-stats", f"--temp-dir={self.folder}", "--object-store-memory=83886080"]
        ray = str(Path(sys.executable).with_name("ray"))
        started = subprocess.run([ray, *words, *more], env=os.environ | TOKEN, capture_output=True, timeout=120)
        assert started.returncode == 0, started.stderr

    def add_node(self, processors: int = 1) -> None:
        """One machine more."""
        words = ["start", f"--address={self.address}", f"--num-cpus={processors}", "--disable-usage-stats"]
        ray = str(Path(sys.executable).with_name("ray"))
        memory = "--object-store-memory=83886080"
        started = subprocess.run([ray, *words, memory], env=os.environ | TOKEN, capture_output=True, timeout=120)
        assert started.returncode == 0, started.stderr

    def kill_node(self) -> None:
        """The one that was added last: its raylet, and with it what it started."""
        raylets = [pid for pid in processes_with(self.folder) if "raylet/raylet" in _program(pid)]
        os.kill(max(raylets), signal.SIGKILL)

    def kill(self) -> None:
        """As if the machine had lost its power."""
        for pid in processes_with(self.folder):
            os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.mark.faults
@pytest.mark.long
def test_a_cluster_that_is_killed_is_told_to_all_shares_and_used_again_when_it_is_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    run_alone(f"kill_cluster({cluster!r}, Path({str(tmp_path)!r}))")


def kill_cluster(cluster: Cluster, folder: Path) -> None:
    losses: list[str] = []

    def drive(fair: FairPool, batch_id: int) -> None:
        with fair.share(f"study {batch_id}") as share:
            share.submit(make_faulty_batch(batch_id, folder / "never", seconds=0.01))
            try:
                while True:
                    share.next_event(0.5)
            except PoolLostError as error:
                losses.append(str(error))

    with RayPool(address=cluster.address) as pool, FairPool(pool) as fair:
        assert pool.slots == 2
        threads = [threading.Thread(target=drive, args=(fair, batch_id), daemon=True) for batch_id in (1, 2, 3)]
        for thread in threads:
            thread.start()
        time.sleep(5)
        cluster.kill()
        for thread in threads:
            thread.join(20)
        assert len(losses) == 3
        with fair.share("too late") as share, pytest.raises(PoolLostError, match="is gone"):
            share.plan(REQUEST)
        assert_is_lost(pool, folder)
        # Also when another cluster answers there before this one is left.
        cluster.start()
        with pytest.raises(PoolLostError):
            pool.next_event(0.1)
    assert all(f"the Ray cluster at {cluster.address} is gone" in message for message in losses), losses
    with RayPool(address=cluster.address) as pool:
        assert_works(pool, folder)
    cluster.kill()
    with pytest.raises(RayUnavailableError, match="no Ray cluster answers"), RayPool(address=cluster.address):
        pass
    with RayPool(workers=1) as pool:
        assert_works(pool, folder)


@pytest.mark.faults
@pytest.mark.long
def test_a_pool_without_work_sees_the_loss_and_the_process_lives_though_it_does_not_leave(cluster: Cluster) -> None:
    """Ray would end it after a minute."""
    run_alone(f"kill_cluster_without_work({cluster!r})")


def kill_cluster_without_work(cluster: Cluster) -> None:
    with RayPool(address=cluster.address, workers=1) as pool, FairPool(pool) as fair:
        cluster.kill()
        time.sleep(4)
        with pytest.raises(PoolLostError):
            fair.check_lives()
        time.sleep(70)


@pytest.mark.faults
@pytest.mark.long
def test_a_pool_grows_and_shrinks_with_its_cluster(cluster: Cluster, tmp_path: Path) -> None:
    run_alone(f"add_and_kill_a_node({cluster!r}, Path({str(tmp_path)!r}))")


def add_and_kill_a_node(cluster: Cluster, folder: Path) -> None:
    ray_pool._LOOK_SECONDS = 1.0
    with RayPool(address=cluster.address) as pool:
        assert pool.slots == 2
        cluster.add_node()
        _serve_until(pool, lambda: pool.slots == pool.free == 3)
        for batch_id in (1, 2, 3):
            pool.submit(make_faulty_batch(batch_id, folder / "never", seconds=0.01))
        _serve_until(pool, lambda: pool.free == 0)
        cluster.kill_node()
        lost, _ = wait_for_event(pool, lambda event: isinstance(event, BatchFailed))
        assert isinstance(lost, BatchFailed)
        assert lost.termination is Termination.WORKER_LOST
        _serve_until(pool, lambda: pool.slots == 2)
        pool.submit(make_faulty_batch(lost.batch_id + 10, folder / "never", epochs=1))
        assert all(event.batch_id < 10 for event in collect(pool, 5))
        first = next(batch_id for batch_id in (1, 2, 3) if batch_id != lost.batch_id)
        pool.cancel(first)
        assert isinstance(wait_for_event(pool, is_end(lost.batch_id + 10))[0], BatchFinished)
        assert pool.free == 1
        cluster.add_node()
        # At first Ray may count the killed node, too.
        _serve_until(pool, lambda: pool.free == 2 and pool.slots == 3)


@pytest.mark.faults
@pytest.mark.long
def test_a_node_that_goes_while_its_worker_has_nothing_to_do_is_missed(cluster: Cluster, tmp_path: Path) -> None:
    run_alone(f"kill_an_idle_node({cluster!r}, Path({str(tmp_path)!r}))")


def kill_an_idle_node(cluster: Cluster, folder: Path) -> None:
    ray_pool._LOOK_SECONDS = 1.0
    cluster.add_node()
    with RayPool(address=cluster.address) as pool:
        _serve_until(pool, lambda: pool.free == 3)
        cluster.kill_node()
        # Even before anybody has noticed, no study is refused for it.
        pool.check_workload(WorkloadReference("digits-mlp"))
        _serve_until(pool, lambda: pool.slots == pool.free == pool.capacity == 2)
        assert_works(pool, folder)


@pytest.mark.faults
def test_a_node_that_takes_several_workers_with_it_costs_one_answer_and_one_attempt(
    cluster: Cluster, tmp_path: Path
) -> None:
    run_alone(f"kill_a_node_of_three({cluster!r}, Path({str(tmp_path)!r}))")


def kill_a_node_of_three(cluster: Cluster, folder: Path) -> None:
    ray_pool._LOOK_SECONDS = math.inf
    for lose in (_ask_all, _train_to_the_end):
        cluster.add_node(processors=3)
        with RayPool(address=cluster.address) as pool:
            _serve_until(pool, lambda pool=pool: pool.free == 5)
            cluster.kill_node()
            lose(pool, folder)


def _ask_all(pool: RayPool, _folder: Path) -> None:
    # So often that each of the workers would be asked, those that are gone among them.
    for _ in range(5):
        assert pool.plan(REQUEST).engine == "looped"


def _train_to_the_end(pool: RayPool, folder: Path) -> None:
    lost = 0
    for batch_id in range(1, 6):
        _serve_until(pool, lambda: pool.free > 0)
        pool.submit(make_faulty_batch(batch_id, folder / "never", epochs=1))
        lost += isinstance(wait_for_event(pool, is_end(batch_id))[0], BatchFailed)
    assert lost <= 1


@pytest.mark.faults
@pytest.mark.long
def test_a_pool_whose_last_node_goes_says_so_and_works_on_the_next_one(tmp_path: Path) -> None:
    cluster = Cluster.free()
    cluster.start(processors=0)
    try:
        run_alone(f"replace_the_only_node({cluster!r}, Path({str(tmp_path)!r}))")
    finally:
        cluster.end()


def replace_the_only_node(cluster: Cluster, folder: Path) -> None:
    ray_pool._LOOK_SECONDS = 1.0
    cluster.add_node()
    with RayPool(address=cluster.address) as pool:
        _serve_until(pool, lambda: pool.free == pool.capacity == 1)
        cluster.kill_node()
        _serve_until(pool, lambda: pool.capacity == pool.free == 0)
        assert pool.slots == 1
        pool.submit(make_faulty_batch(1, folder / "never", epochs=1))
        assert collect(pool, 3) == []
        cluster.add_node()
        assert isinstance(wait_for_event(pool, is_end(1))[0], BatchFinished)
        assert pool.capacity == pool.slots == 1


def _serve_until(pool: RayPool, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        pool.next_event(0.2)


@pytest.mark.faults
def test_a_cluster_that_wants_a_token_says_so(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.ray_connection._ANSWER_SECONDS", 10.0)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(RayUnavailableError, match="RAY_AUTH_MODE=token"), RayPool(address=cluster.address):
        pass
