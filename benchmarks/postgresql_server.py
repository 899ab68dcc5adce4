"""A PostgreSQL server of the machine's own binaries, private to one benchmark, with the settings that it comes with."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def postgresql_server(parent: Path) -> Iterator[str]:
    """Start it with its files under ``parent``, a folder that its user may enter; gives its URL with a database."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        sys.exit("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    binaries = programs[-1].parent
    # PostgreSQL refuses to run as root.
    user = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir=parent))
    os.chown(folder, user.pw_uid, user.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def as_owner(*words: str) -> None:
        environment = {"PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
        owner = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        subprocess.run(words, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL, **owner)  # noqa: S603

    data = str(folder / "data")
    as_owner("initdb", "-D", data, "-U", "adai", "-A", "trust", "-E", "UTF8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    as_owner("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://adai@127.0.0.1:{port}"
    finally:
        as_owner("pg_ctl", "-D", data, "-m", "fast", "-w", "stop")
        shutil.rmtree(folder)
