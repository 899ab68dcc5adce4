"""Checks of an installation, each a line: ok, or what to do."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from study.errors import StudyError
from study.provenance import installed_version
from study.settings import Settings
from study.storage.engine import current_revision, database_exists, open_database, shown
from workers.ray_pool import RayPool, RayUnavailableError
from workers.workloads import MissingDataError, check_data, get_workload, list_workloads

_FREE_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is well, what was seen or what to do."""

    subject: str
    ok: bool
    detail: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Run every check, one after the other."""
    yield _python()
    for distribution in ("torch", "torchvision", "optuna", "optuna-dashboard", "ray", "sqlalchemy"):
        yield _distribution(distribution)
    yield _database(settings)
    yield _ray(settings)
    yield _devices()
    yield _disk()
    for workload in list_workloads():
        yield _workload(workload)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Finding("Python", ok, version if ok else f"{version} is too old: use 3.11 or newer")


def _distribution(name: str) -> Finding:
    version = installed_version(name)
    return Finding(name, version is not None, version or f"is not installed; do: pip install {name}")


def _database(settings: Settings) -> Finding:
    url = settings.database_url
    try:
        if not database_exists(url):
            return Finding("database", True, f"{shown(url)} will be made by the first study")
        with open_database(url) as engine:
            return Finding("database", True, f"{shown(url)}, revision {current_revision(engine)}")
    except StudyError as error:
        return Finding("database", False, str(error))


def _ray(settings: Settings) -> Finding:
    try:
        with RayPool(address=settings.ray_address) as pool:
            return Finding("Ray", True, f"{pool.description} starts {pool.slots} workers")
    except RayUnavailableError as error:
        return Finding("Ray", False, str(error))


def _devices() -> Finding:
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    gpus = ", ".join(names) if names else "no GPU (not needed)"
    return Finding("devices", True, f"{os.cpu_count()} processors, {gpus}")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{free / 2**30:.1f} GiB free in {Path.cwd()}"
    return Finding("disk", free >= _FREE_BYTES, text if free >= _FREE_BYTES else f"only {text}: free at least 1 GiB")


def _workload(name: str) -> Finding:
    """Data that a user must bring is no fault of the installation: it is named, but well."""
    try:
        check_data(name)
    except MissingDataError as error:
        return Finding(f"workload {name}", name.startswith(("imagefolder", "cifar")), f"no data: {error}")
    data = get_workload(name).load_data()
    return Finding(
        f"workload {name}", True, f"{len(data.train.labels)} training examples, {data.classes or 'no'} classes"
    )
