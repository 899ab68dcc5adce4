"""What a server tells of itself: in the database, for those who wait for it, and in its metrics."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine
from tests_support import wait_for

from study.driver import DriveOptions
from study.metrics import Metrics
from study.service import Service, ServiceOptions
from study.storage import servers
from study.storage.engine import create_database
from study.storage.servers import read_living_processes, read_living_servers
from workers.pool import InlinePool


class _Cluster(InlinePool):
    """A pool that keeps a place for work while its machines are gone, as that of a cluster does."""

    capacity = 0


def workers_told(engine: Engine, registry: CollectorRegistry) -> tuple[list[int], float | None]:
    """Of servers that have some, in the database; and by the metric."""
    with engine.connect() as connection:
        told = [server.workers for server in read_living_servers(connection)]
    return told, registry.get_sample_value("adai_workers")


def test_a_server_whose_machines_are_gone_has_no_workers_until_they_are_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "SIGN_SECONDS", 0.1)
    pool, metrics = _Cluster(), Metrics()
    seen: list[Any] = []

    def watch(engine: Engine, stop: Callable[[], None]) -> None:
        try:
            with engine.connect() as connection:
                wait_for(lambda: bool(read_living_processes(connection)))
            wait_for(lambda: workers_told(engine, metrics.registry)[1] is not None)
            seen.append(workers_told(engine, metrics.registry))
            pool.capacity = 3
            wait_for(lambda: workers_told(engine, metrics.registry) == ([3], 3.0))
            seen.append("back")
        finally:
            stop()

    options = ServiceOptions(studies=1, reports=None, tolerance=0.05, until_idle=False, drive=DriveOptions())
    with create_database(database_url) as engine:
        service = Service(engine, lambda: pool, options, metrics)
        watcher = threading.Thread(target=watch, args=(engine, service.stop))
        watcher.start()
        service.run()
        watcher.join()
    assert seen == [([], 0.0), "back"]
