"""What the verb ``dashboard`` is told; the verb itself is in :mod:`study.cli`, which alone may import dashboards."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from study.settings import Settings


@dataclass(frozen=True, slots=True)
class DashboardWords:
    """Where and how to serve, from the command line and the settings.

    Attributes:
        host: Address to listen at.
        port: TCP port.
        reports: Folder of the reports.
        secret_file: File with the secret; None without one.
        make_secret: Only write a new secret to this file.
        hosts: Names under which it answers, beside loopback.
        tls: Whether a proxy ends TLS before it.
    """

    host: str
    port: int
    reports: Path
    secret_file: Path | None
    make_secret: Path | None
    hosts: tuple[str, ...]
    tls: bool


def dashboard_options(function: Callable[..., None]) -> Callable[..., None]:
    """Where and how to serve, as one argument ``words``."""

    @click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
    @click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port to listen at.")
    @click.option(
        "--reports",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("reports"),
        show_default=True,
        help="Folder of the reports.",
    )
    @click.option(
        "--secret-file",
        type=click.Path(path_type=Path),
        help="File with the secret that signs sessions; other addresses than 127.0.0.1 need one.  "
        "[default: ADAI_DASHBOARD_SECRET_FILE]",
    )
    @click.option("--make-secret", type=click.Path(path_type=Path), metavar="FILE", help="Write a new secret, and end.")
    @click.option(
        "--allow-host", multiple=True, metavar="NAME", help="A name that people type for it; also ADAI_DASHBOARD_HOSTS."
    )
    @click.option("--behind-tls", is_flag=True, help="A proxy before it ends TLS; also ADAI_DASHBOARD_TLS.")
    @functools.wraps(function)
    def wrapped(
        settings: Settings,
        *,
        secret_file: Path | None,
        allow_host: tuple[str, ...],
        behind_tls: bool,
        **words: Any,
    ) -> None:
        told = DashboardWords(
            secret_file=secret_file or settings.dashboard_secret_file,
            hosts=(*settings.dashboard_hosts, *allow_host),
            tls=behind_tls or settings.dashboard_tls,
            **words,
        )
        function(settings, words=told)

    return wrapped
