"""What a result was made with: versions, machine, commit."""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_DISTRIBUTIONS = (
    "adai-study",
    "alembic",
    "baycomp",
    "matplotlib",
    "numpy",
    "opda",
    "optuna",
    "optuna-dashboard",
    "pillow",
    "polars",
    "ray",
    "reportlab",
    "scikit-learn",
    "scikit-posthocs",
    "scipy",
    "sqlalchemy",
    "statsmodels",
    "torch",
    "torchvision",
)


def describe_environment() -> dict[str, Any]:
    """Versions, machine and commit as plain JSON; nothing in it names a user or a secret."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "packages": {name: installed_version(name) for name in _DISTRIBUTIONS},
        "commit": _commit(),
    }


def environment_hash(environment: dict[str, Any]) -> str:
    """SHA-256 of an environment: equal environments are stored once."""
    return hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()


def installed_version(distribution: str) -> str | None:
    """The installed version of a distribution, or None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _commit() -> str | None:
    """The commit of the checkout that this code runs from, with ``-dirty`` if it was changed; None elsewhere."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
