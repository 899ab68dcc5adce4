"""Sees within seconds that a Ray cluster is gone, before Ray does: Ray waits for a minute and then ends the process.

It only needs sockets. Ray's own calls must not be used for it: when another cluster answers at the address of the one
that is gone, ``ray.nodes()`` and ``ray.cluster_resources()`` abort the process (seen in Ray 2.60).
"""

import contextlib
import select
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass

_LOOK_SECONDS = 0.5
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a process of Ray listens.

    Attributes:
        name: How it is called in messages.
        address: (host, port), or the path of a Unix socket.
    """

    name: str
    address: tuple[str, int] | str

    def connect(self) -> socket.socket:
        """A connection that ends when the process or its machine does.

        Raises:
            OSError: Nothing listens.
        """
        if isinstance(self.address, str):
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self.address)
            except OSError:
                connection.close()
                raise
            return connection
        connection = socket.create_connection(self.address, timeout=_CONNECT_SECONDS)
        # A machine that lost its power closes no connection.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return connection


class ClusterWatch:
    """Keeps a connection to each endpoint; one that closes and cannot be made again means that the cluster is gone.

    Args:
        endpoints: What must live.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        #: What is gone, for people; empty while all live.
        self.lost = ""
        self._stop = threading.Event()
        self._connections: dict[socket.socket, Endpoint] = {}
        for endpoint in endpoints:
            self._connect(endpoint)
        threading.Thread(target=self._watch, name="ray-watch", daemon=True).start()

    def close(self) -> None:
        """Watch no longer."""
        self._stop.set()

    def _connect(self, endpoint: Endpoint) -> None:
        try:
            self._connections[endpoint.connect()] = endpoint
        except OSError as error:
            self.lost = f"{endpoint.name} does not answer: {error}"

    def _watch(self) -> None:
        while not self._stop.is_set() and not self.lost:
            readable, _, _ = select.select(list(self._connections), [], [], _LOOK_SECONDS)
            for connection in readable:
                if not _lives(connection):
                    connection.close()
                    # Servers close connections that say nothing, too.
                    self._connect(self._connections.pop(connection))
        for connection in self._connections:
            connection.close()


def _lives(connection: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        return bool(connection.recv(4096))
    return False
