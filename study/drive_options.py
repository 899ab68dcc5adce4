"""How a study is driven on one occasion."""

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriveOptions:
    """How a study is driven on this occasion; nothing here changes a number of its runs.

    Attributes:
        lease_seconds: A worker without a training step for so long is taken for hanging.
        heartbeat_seconds: Between two signs of life of the driver.
        database_retry_seconds: How long a database that is away is waited for.
        drain: Set from outside when no further batch is to be started; None never drains.
        drain_seconds: How long batches that have started may go on then.
        leave_as: The state of a study that did not end: ``interrupted``, or ``queued`` for a server's next start.
        retry_failed: Try trials again that failed in an earlier command.
    """

    lease_seconds: float = 600.0
    heartbeat_seconds: float = 2.0
    database_retry_seconds: float = 60.0
    drain: threading.Event | None = None
    drain_seconds: float = 0.0
    leave_as: str = "interrupted"
    retry_failed: bool = False
