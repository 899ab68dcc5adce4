"""What a server counts for Prometheus: https://prometheus.io/docs/practices/naming."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from study.storage.run_states import RunState
from workers.messages import Termination

#: From a fast SQLite commit to a database that hangs.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._runs = Counter(
            "adai_runs", "Runs that ended, by how; its rate is runs per second", ["termination"], registry=self.registry
        )
        self._epochs = Counter("adai_run_epochs", "Epochs of single runs that were trained", registry=self.registry)
        self._attempts = Counter(
            "adai_attempts", "Attempts at trial batches that ended, by how", ["termination"], registry=self.registry
        )
        self._lease_losses = Counter(
            "adai_lease_losses", "Attempts taken from workers without progress", registry=self.registry
        )
        self._transactions = Histogram(
            "adai_database_seconds", "Time of a driver's transaction", buckets=_BUCKETS, registry=self.registry
        )
        self.queue_length = Gauge("adai_queue_length", "Studies that wait to be run", registry=self.registry)
        self.studies_running = Gauge("adai_studies_running", "Studies that this server runs", registry=self.registry)
        self.workers = Gauge("adai_workers", "Workers that the machines have room for", registry=self.registry)
        for termination in Termination:
            self._runs.labels(termination.name.lower())

    def count_runs(self, ended: Iterable[RunState]) -> None:
        """Runs that ended, diverged ones among them."""
        for run in ended:
            if run.termination is not None:
                self._runs.labels(run.termination.name.lower()).inc()

    def count_epochs(self, rows: int) -> None:
        """An epoch of ``rows`` runs."""
        self._epochs.inc(rows)

    def count_attempt(self, termination: Termination) -> None:
        """An attempt that ended."""
        self._attempts.labels(termination.name.lower()).inc()

    def count_lease_loss(self) -> None:
        """A worker that did not move for as long as its lease."""
        self._lease_losses.inc()

    def observe_transaction(self, seconds: float) -> None:
        """A transaction of a driver took so long, whether it succeeded or not."""
        self._transactions.observe(seconds)
