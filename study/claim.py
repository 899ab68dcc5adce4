"""Which process drives a study, and whether it still lives, so that two never drive one study."""

import os
import platform
from pathlib import Path


def this_process() -> str:
    """A claim that names this process: its host, process id and start, since ids are used again."""
    return f"{platform.node()}:{os.getpid()}:{_started(os.getpid())}"


def is_alive(claim: str) -> bool:
    """Whether the process of ``claim`` runs on this host; false for other hosts, whose processes cannot be seen."""
    host, process, started = claim.rsplit(":", 2)
    return host == platform.node() and started != "" and _started(int(process)) == started


def describe(claim: str) -> str:
    """A claim for people."""
    host, process, _ = claim.rsplit(":", 2)
    return f"process {process} on {host}"


def _started(process: int) -> str:
    """When a process started, in clock ticks since boot; an empty string if there is none, or no /proc."""
    try:
        # The second field is the program's name in parentheses, which may hold spaces.
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return fields[19]
