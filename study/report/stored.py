"""A report that was written, read back from its folder."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from study.errors import OutputError
from study.report.folder import read_manifest
from study.report.report import FORMAT

#: The table that says what the columns of the others mean.
DICTIONARY = "columns"
#: Tables without which nothing can be told, and the columns that they must have.
_NEEDED = {
    "runs": {"workload", "optimizer", "trial", "origin", "seed", "termination", "objective"},
    DICTIONARY: {"table", "column", "kind", "low", "high"},
}


@dataclass(frozen=True, eq=False)
class StoredReport:
    """What a folder says, as plain data.

    Attributes:
        folder: Where it is.
        manifest: What it was made from and with.
        content: ``report.json``.
        tables: Name -> table.
    """

    folder: Path
    manifest: Mapping[str, Any]
    content: Mapping[str, Any]
    tables: Mapping[str, pl.DataFrame]

    @functools.cached_property
    def _dictionary(self) -> dict[str, list[dict[str, Any]]]:
        parts = self.tables[DICTIONARY].partition_by("table", as_dict=True, maintain_order=True)
        return {str(key[0]): part.to_dicts() for key, part in parts.items()}

    def interval_columns(self, table: str) -> dict[str, tuple[str, str]]:
        """Column -> the columns of the ends of its interval, of those that have one."""
        columns = self._dictionary.get(table, [])
        return {column["column"]: (column["low"], column["high"]) for column in columns if column["low"]}


def read_report(folder: Path) -> StoredReport:
    """The report in ``folder``.

    Raises:
        OutputError: It is not one of this program, or something of it is missing or cannot be read.
    """
    manifest = read_manifest(folder)
    try:
        content = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        files = sorted((folder / "tables").glob("*.parquet"))
        tables = {file.stem: pl.read_parquet(file) for file in files}
    # Polars panics at some broken files, which is no ordinary exception.
    except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise OutputError(f"the report in {folder} cannot be read ({error!s:.300}); write it anew") from error
    _check_content(folder, content)
    for name, columns in _NEEDED.items():
        if name not in tables or not columns <= set(tables[name].columns):
            state = "missing" if name not in tables else "not of this program"
            raise OutputError(f"{folder}/tables/{name}.parquet is {state}; write the report anew")
    return StoredReport(folder, manifest, content, tables)


def _check_content(folder: Path, content: Any) -> None:
    """See that ``report.json`` is one of this format."""
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT or not all(isinstance(content.get(name), dict) for name in ("info", "settings", "analysis")):
        raise OutputError(
            f"{folder}/report.json has format {found!r:.20}, this version reads {FORMAT}; write the report anew"
        )
