"""Whether what runs in this container does what it is there for: ``healthy.py node|workers|server|dashboard``."""

import datetime as dt
import os
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

_SECONDS = 10


def is_node() -> bool:
    """Whether the head of Ray counts this container among its living nodes."""
    from ray_node import head_address

    with socket.create_connection(head_address(), timeout=_SECONDS) as connection:
        address = connection.getsockname()[0]
    return any(node.node_manager_address == address for node in _read_living_nodes())


def has_workers() -> bool:
    """Whether this container is a node of Ray, and there are nodes that train."""
    return is_node() and any(node.resources_total.get("CPU", 0) >= 1 for node in _read_living_nodes())


def _read_living_nodes() -> list[Any]:
    from ray._raylet import GcsClient
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    nodes = GcsClient(address=os.environ["ADAI_RAY_ADDRESS"]).get_all_node_info(timeout=_SECONDS).values()
    return [node for node in nodes if node.state == GcsNodeInfo.ALIVE]


def is_server() -> bool:
    """Whether the server of this container has workers, and has lately said so in the database."""
    from study.claim import is_here
    from study.database_passwords import add_passwords
    from study.settings import Settings
    from study.storage.engine import open_database
    from study.storage.servers import SILENCE_SECONDS, read_living_servers

    with open_database(add_passwords(Settings()).database_url) as engine, engine.connect() as connection:
        ours = [server for server in read_living_servers(connection) if is_here(server.process)]
    # Of a process of the same machine it is enough for others that it exists; it may hang.
    return any((dt.datetime.now(dt.UTC) - server.seen_at).total_seconds() < SILENCE_SECONDS for server in ours)


def is_dashboard() -> bool:
    """Whether the dashboard answers and reaches its database."""
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['ADAI_PORT']}/health", timeout=_SECONDS) as answer:
        return bool(answer.status == 200)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    _CHECKS = {"node": is_node, "workers": has_workers, "server": is_server, "dashboard": is_dashboard}
    sys.exit(0 if _CHECKS[sys.argv[1]]() else 1)
