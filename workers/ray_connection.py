"""Connections to Ray: to a cluster, or to one that is started on this machine."""

import os
import socket
import subprocess
import sys
from typing import Any

from workers.ray_watch import Endpoint

#: Ray's smallest object store; epoch metrics are a few kilobytes.
_OBJECT_STORE_BYTES = 80 * 2**20
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_RAY_PATIENCE_SECONDS = 3600
#: Of a cluster that refuses this process; Ray says so at once, or when it has tried for long.
_REFUSED = (
    "it wants another token, or one at all: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN if there is no file of it"
)


class RayUnavailableError(Exception):
    """Ray is not installed, does not answer or has no free processors; the message says what to do."""


def import_ray() -> Any:
    """The module, imported here only: adai and workers also run where it is not installed.

    Raises:
        RayUnavailableError: It is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise RayUnavailableError(
            f"Ray is not installed ({error}); do: pip install ray, or use --pool inline"
        ) from error
    return ray


def connect(ray: Any, address: str | None, workers: int | None) -> list[Endpoint]:
    """Connect this process.

    Args:
        ray: The module.
        address: Of a cluster; None starts one on this machine.
        workers: How many there will be; None for one per processor.

    Returns:
        What must live for as long as the connection is of use.

    Raises:
        RayUnavailableError: Nothing answers, or not like Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would blank the variable for actors without GPUs, and warns that it will stop doing so.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        processors = workers or os.cpu_count() or 1
        ray.init(
            address="local",
            num_cpus=processors,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **options,
        )
    else:
        _check_listens(address)
        _check_answers(address)
        # Or Ray would end this process when the cluster has been gone for a minute, even if it is left soon after.
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(_RAY_PATIENCE_SECONDS))
        try:
            ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
            raise _unusable(address, f"{error}: {error.__cause__}" if error.__cause__ else str(error)) from error
    return _endpoints(ray, address)


def _endpoints(ray: Any, address: str | None) -> list[Endpoint]:
    """The cluster's control service, and the raylet through which this process uses it."""
    if address is not None and address.startswith("ray://"):
        return [Endpoint("its client server", _host_and_port(address))]
    context = ray.get_runtime_context()
    node = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    return [
        Endpoint("its control service (gcs_server)", _host_and_port(context.gcs_address)),
        Endpoint("the raylet of this machine", node["RayletSocketName"]),
    ]


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), int(port)


def _check_listens(address: str) -> None:
    """Refuse an address on which nothing listens; Ray itself would try for a minute."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise RayUnavailableError(
            f"the Ray address {address!r} is not host:port, ray://host:port or auto; correct ADAI_RAY_ADDRESS"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unusable(address, str(error)) from error


def _check_answers(address: str) -> None:
    """Connect once from a child process, which can be ended: Ray's client waits for a silent peer without limit."""
    program = "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False)"
    try:
        subprocess.run(  # noqa: S603 - fixed words, and the address as an argument
            [sys.executable, "-c", program, address],
            check=True,
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        if b"AuthToken" in (error.stderr or b""):
            raise _unusable(address, _REFUSED) from error
        raise _unusable(address, f"something listens there, but is silent for {_ANSWER_SECONDS:.0f} s") from error
    except subprocess.CalledProcessError as error:
        if "AuthToken" in error.stderr:
            raise _unusable(address, _REFUSED) from error
        lines = error.stderr.strip().splitlines()
        raise _unusable(address, lines[-1] if lines else f"exit code {error.returncode}") from error


def _unusable(address: str, reason: str) -> RayUnavailableError:
    return RayUnavailableError(
        f"no Ray cluster answers at {address!r} ({reason}); start one with `ray start --head`, check that it runs the "
        "same Ray and Python versions, correct ADAI_RAY_ADDRESS, or unset it to use this machine"
    )
