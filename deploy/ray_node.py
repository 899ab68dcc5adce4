"""Keeps this container a node of a Ray cluster whose head may go and come back, and runs a driver beside it.

``ray_node.py head``, ``ray_node.py worker [OPTIONS OF RAY START]``, ``ray_node.py driver COMMAND...``
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from workers.ray_watch import ClusterWatch, Endpoint

#: Ray's smallest object store; what workers say is small. /dev/shm has to be larger.
_OBJECT_STORE_BYTES = 80 * 2**20
_COMMON = (
    "--block",
    "--disable-usage-stats",
    "--include-log-monitor=false",
    f"--object-store-memory={_OBJECT_STORE_BYTES}",
)
_LOOK_SECONDS = 0.5
_PAUSE_SECONDS = 2.0
_END_SECONDS = 15.0
#: How long the head may be away before it is said again.
_SAY_SECONDS = 60.0
_WORKERS_CHECK = (sys.executable, str(Path(__file__).with_name("healthy.py")), "workers")


class Node:
    """A node that joins the head, and joins it again when it was away.

    Args:
        head: Host and port of the head.
        options: Of ``ray start``.
        driver: A command that runs while this node does, and with which it ends; None for a worker.
    """

    def __init__(self, head: tuple[str, int], options: list[str], driver: list[str] | None) -> None:
        self._head = head
        self._options = options
        self._driver_words = driver
        self._told = False
        # Just after the start there are none yet.
        self._said = time.monotonic() - _SAY_SECONDS / 2
        self._driver: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def run(self) -> int:
        """Until told to stop, or until the driver ends; returns the exit code."""
        while not self._is_over():
            address = self._wait_for_head()
            if address is not None:
                self._join(address)
                self._pause(_PAUSE_SECONDS)
        if self._driver is None:
            return 0
        return self._driver.wait()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._told = True
        # It is the one that drains; Ray ends after it.
        if self._driver is not None and self._driver.poll() is None:
            self._driver.send_signal(number)

    def _is_over(self) -> bool:
        """A driver that still drains needs its node."""
        if self._driver is None:
            return self._told
        return self._driver.poll() is not None

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_over() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)

    def _wait_for_head(self) -> str | None:
        """The address of this container in the network of the head, once that answers; None if all is over."""
        said = -_SAY_SECONDS
        while not self._is_over():
            try:
                with socket.create_connection(self._head, timeout=5) as connection:
                    return str(connection.getsockname()[0])
            except OSError as error:
                if time.monotonic() - said > _SAY_SECONDS:
                    said = time.monotonic()
                    _say(f"waiting for the head of Ray at {self._head[0]}:{self._head[1]} ({error})")
                self._pause(_PAUSE_SECONDS)
        return None

    def _join(self, address: str) -> None:
        """Be a node until the head is gone, the node ends, or all is over."""
        host, port = self._head
        words = ["ray", "start", f"--address={host}:{port}", f"--node-ip-address={address}"]
        watch = ClusterWatch([Endpoint("the head of Ray", self._head)])
        node = subprocess.Popen([*words, *_COMMON, *self._options], stdout=subprocess.DEVNULL)
        try:
            while node.poll() is None and not watch.lost and not self._is_over():
                self._start_driver()
                time.sleep(_LOOK_SECONDS)
            if not self._is_over():
                _say(watch.lost or f"Ray ended here with code {node.returncode}")
        finally:
            watch.close()
            _end(node)

    def _start_driver(self) -> None:
        """Once there are workers: at its start a driver refuses a cluster without; it outlives one that loses them."""
        if self._driver is not None or self._driver_words is None or self._told:
            return
        if _has_workers():
            self._driver = subprocess.Popen(self._driver_words)
        elif time.monotonic() - self._said > _SAY_SECONDS:
            self._said = time.monotonic()
            _say("waiting for workers that train; are there any? docker compose ps")


def head_address() -> tuple[str, int]:
    """Host and port of the head, as the environment says."""
    host, _, port = os.environ["ADAI_RAY_ADDRESS"].rpartition(":")
    return host, int(port)


def _has_workers() -> bool:
    """Whether the cluster knows this node and has others that train; to ask takes a second or two."""
    return subprocess.run(_WORKERS_CHECK, capture_output=True, check=False).returncode == 0


def _end(node: "subprocess.Popen[bytes]") -> None:
    """End Ray here, and all that it started."""
    node.terminate()
    try:
        node.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()
    subprocess.run(["ray", "stop", "--force", "--grace-period", "1"], capture_output=True, check=False)


def _say(words: str) -> None:
    print(f"ray: {words}", file=sys.stderr, flush=True)


def main(role: str, *words: str) -> int:
    """Be a head, a worker or a driver; returns the exit code."""
    address = head_address()
    if role == "head":
        ip = socket.gethostbyname(socket.gethostname())
        _say(f"the head is at {ip}:{address[1]}")
        # What Ray says then is how people start further nodes by hand.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        options = ["--head", f"--port={address[1]}", f"--node-ip-address={ip}", "--num-cpus=0", "--num-gpus=0"]
        os.execvp("ray", ["ray", "start", *options, "--include-dashboard=false", *_COMMON])
    if role == "worker":
        return Node(address, list(words), None).run()
    if role == "driver":
        return Node(address, ["--num-cpus=0", "--num-gpus=0"], list(words)).run()
    raise SystemExit(f"{role!r} is none of head, worker, driver")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
