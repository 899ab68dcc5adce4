"""A TCP proxy in front of PostgreSQL that loses connections at commits, as a failing network does."""

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self


class Cut(Enum):
    """Where a connection is lost."""

    BEFORE = "the server never hears of the commit"
    AFTER = "the server commits, and its answer is lost"


#: Number of a commit, counted from 0 over all connections -> whether and where its connection is lost.
Decision = Callable[[int], Cut | None]
_COMMIT = b"Q" + struct.pack("!i", 4 + len(b"COMMIT\0")) + b"COMMIT\0"
#: ReadyForQuery: the server has answered a query, and is in no transaction.
_READY = b"Z" + struct.pack("!i", 5) + b"I"


class CuttingProxy:
    """Forwards bytes between clients and a server on 127.0.0.1 until ``decide`` says otherwise.

    The URL of its clients needs ``sslmode=disable``: it reads what they say.

    Args:
        port: Of the server.
        decide: Called for every commit, before it is forwarded.
    """

    def __init__(self, port: int, decide: Decision) -> None:
        self._server_port = port
        self._decide = decide
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.commits = 0
        self.cuts: list[Cut] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        self._listener.settimeout(0.1)
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        # A server that is away, or a connection that ends on either side, ends the other side too.
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            client.setblocking(True)
            with selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ)
                selector.register(server, selectors.EVENT_READ)
                while not self._stopped.is_set():
                    for key, _ in selector.select(timeout=0.1):
                        if not self._forward(client, server, from_client=key.fileobj is client):
                            return

    def _forward(self, client: socket.socket, server: socket.socket, *, from_client: bool) -> bool:
        """Pass on what has come; false if the connection ends here."""
        data = (client if from_client else server).recv(65536)
        cut = self._judge(data) if from_client else None
        if not data or cut is Cut.BEFORE:
            return False
        (server if from_client else client).sendall(data)
        if cut is Cut.AFTER:
            answer = b""
            while not answer.endswith(_READY):
                answer += server.recv(65536)
        return cut is None

    def _judge(self, data: bytes) -> Cut | None:
        """A client that commits waits for the answer: nothing else comes with it."""
        if data != _COMMIT:
            return None
        with self._lock:
            cut = self._decide(self.commits)
            self.commits += 1
            if cut is not None:
                self.cuts.append(cut)
        return cut
