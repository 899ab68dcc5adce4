"""Parts of reports that were computed before: kept by a hash of what they were computed from, and by which code."""

import contextlib
import functools
import hashlib
import os
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from pydantic import TypeAdapter, ValidationError

from study.provenance import installed_version
from study.report.observations import Cell, StudyInfo
from workers.cache import cache_folder

_Part = TypeVar("_Part")
#: What the numbers of a report come from beside our own code.
_LIBRARIES = (
    "matplotlib",
    "numpy",
    "scipy",
    "scikit-learn",
    "optuna",
    "opda",
    "baycomp",
    "scikit-posthocs",
    "statsmodels",
)
#: Parts that are kept; the oldest are removed beyond that.
_MOST_PARTS = 2000


class PartCache:
    """Results by key, each a JSON file; without a folder nothing is kept.

    A file that cannot be read or written costs the computation only. Nothing is ever executed that was read.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @classmethod
    def of_user(cls) -> "PartCache":
        """The cache of this user, ``~/.cache/adai/reports``."""
        return cls(cache_folder("reports"))

    @classmethod
    def none(cls) -> "PartCache":
        """Keeps nothing: everything is computed, as `adai-study verify` wants it."""
        return cls(None)

    def find(self, kind: type[_Part], source: str) -> _Part | None:
        """A part that was kept by the same code; None if there is none.

        Args:
            kind: Its dataclass.
            source: Hash of everything that it is made from.
        """
        if self._folder is None:
            return None
        try:
            return _adapter(kind).validate_json(self._file(self._folder, kind, source).read_bytes())
        except (OSError, ValidationError):
            return None

    def keep(self, kind: type[_Part], source: str, part: _Part) -> _Part:
        """Keep a part, and give it back; where that cannot be, it is made again another time."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._write(self._file(self._folder, kind, source), _adapter(kind).dump_json(part))
        return part

    @staticmethod
    def _file(folder: Path, kind: type, source: str) -> Path:
        return folder / f"{_hash(f'{kind.__module__}.{kind.__qualname__}', source, _code_hash())}.json"

    @staticmethod
    def _write(file: Path, content: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        # The folder is removed however this ends: a full disk leaves no half a file.
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".new-") as folder:
            new = Path(folder) / file.name
            new.write_bytes(content)
            new.replace(file)
        kept = sorted(file.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for old in kept[:-_MOST_PARTS]:
            old.unlink(missing_ok=True)


def _adapter(kind: type[_Part]) -> TypeAdapter[_Part]:
    return TypeAdapter(kind)


def hash_cell(cell: Cell, *settings: Any) -> str:
    """A hash of what the parts of a cell are computed from, and of ``settings``.

    Seconds are not among it: equal results have equal parts, however long their runs took.
    """
    # Only what it was made of: what it has computed of that so far says nothing more.
    given = [getattr(cell, field.name) for field in fields(cell) if field.name != "seconds_NS"]
    arrays = [value for value in given if isinstance(value, np.ndarray)]
    info = TypeAdapter(type(cell.info)).dump_json(cell.info)
    contents = [f"{array.dtype}{array.shape}".encode() + array.tobytes() for array in arrays]
    return _hash(info, *contents, repr(cell.values), repr(settings))


def hash_study(info: StudyInfo, *tables: Any) -> str:
    """A hash of everything that a report is computed from: what is known of the study, tables, settings."""
    parts = [
        part.hash_rows(0).to_numpy().tobytes() if isinstance(part, pl.DataFrame) else repr(part) for part in tables
    ]
    columns = [repr(part.schema) for part in tables if isinstance(part, pl.DataFrame)]
    return _hash(TypeAdapter(StudyInfo).dump_json(info), *columns, *parts)


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()


@functools.cache
def _code_hash() -> str:
    """Our own modules, and the versions of what they call."""
    root = Path(__file__).parents[2]
    sources = sorted(path for package in ("adai", "study", "workers") for path in (root / package).rglob("*.py"))
    versions = [f"{name} {installed_version(name)}" for name in _LIBRARIES]
    return _hash(*(path.read_bytes() for path in sources), *versions, os.uname().machine)
