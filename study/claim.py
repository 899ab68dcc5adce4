"""Which process drives a study, and whether it still lives, so that two never drive one study."""

import os
import platform
from pathlib import Path

_NAMESPACE = "#"


def this_process() -> str:
    """A claim that names this process: its host, process id and start, since ids are used again."""
    return f"{_machine()}:{os.getpid()}:{_started(os.getpid())}"


def is_here(claim: str) -> bool:
    """Whether the process of ``claim`` is one of this host; those of others cannot be seen."""
    return claim.rsplit(":", 2)[0] == _machine()


def is_alive(claim: str) -> bool:
    """Whether the process of ``claim`` runs, on this host."""
    _, process, started = claim.rsplit(":", 2)
    return is_here(claim) and started != "" and _started(int(process)) == started


def describe(claim: str) -> str:
    """A claim for people."""
    machine, process, _ = claim.rsplit(":", 2)
    return f"process {process} on {machine.partition(_NAMESPACE)[0]}"


def _machine() -> str:
    """This host, and among which process ids: containers may share a host's name, and do not see each other's."""
    try:
        # Such as pid:[4026531836]; claims are cut at colons.
        return platform.node() + _NAMESPACE + Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return platform.node()


def _started(process: int) -> str:
    """When a process started, in clock ticks since boot; an empty string if it has ended, or without /proc."""
    try:
        # The second field is the program's name in parentheses, which may hold spaces.
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie has ended; it only waits for its parent to ask how.
    return "" if fields[0] in ("Z", "X") else fields[19]
