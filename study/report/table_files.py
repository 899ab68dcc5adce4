"""Tables as files: CSV, Parquet or JSON, of any length in bounded memory, whole or not at all."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import polars as pl

from study.errors import OutputError

TableFormat = Literal["csv", "parquet", "json"]


def write_table(frames: Iterable[pl.DataFrame], path: Path, format_: TableFormat) -> int:
    """Write ``frames``, one below the other, to ``path``, whole or not at all; parent folders are made.

    Args:
        frames: At least one, also where the table has no rows; all of the same columns and types. They are taken one by
            one, and only one is in memory.
        path: The file; one that is there is replaced when the new one is whole.
        format_: Of the file. JSON is one array of objects.

    Returns:
        The number of rows.

    Raises:
        OutputError: It cannot be written there.
    """
    write = {"csv": _write_csv, "parquet": _write_parquet, "json": _write_json}[format_]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise OutputError(f"{path} is a folder; name a file in it with --out")
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            partial = Path(folder) / path.name
            with _system_errors():
                rows = write(frames, partial)
            partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); choose another file with --out"
        ) from error
    return rows


def _write_csv(frames: Iterable[pl.DataFrame], path: Path) -> int:
    rows = 0
    with path.open("wb") as stream:
        for number, frame in enumerate(frames):
            frame.write_csv(stream, include_header=number == 0)
            rows += frame.height
    return rows


def _write_json(frames: Iterable[pl.DataFrame], path: Path) -> int:
    rows = 0
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for frame in frames:
            if frame.height:
                stream.write("," if rows else "")
                stream.write(frame.write_json().removeprefix("[").removesuffix("]"))
            rows += frame.height
        stream.write("]")
    return rows


def _write_parquet(frames: Iterable[pl.DataFrame], path: Path) -> int:
    """Parts first, for a Parquet file says at its end what is in it; then all of them as one."""
    rows, parts = 0, []
    for number, frame in enumerate(frames):
        parts.append(path.with_name(f"part-{number:06}.parquet"))
        frame.write_parquet(parts[-1])
        rows += frame.height
    if len(parts) == 1:
        parts[0].replace(path)
    else:
        pl.scan_parquet(parts, glob=False).sink_parquet(path)
    return rows


@contextlib.contextmanager
def _system_errors() -> Iterator[None]:
    """Polars hides what the system said, such as a full disk, in the text of an error."""
    try:
        yield
    except (pl.exceptions.ComputeError, OSError) as error:
        said = re.search(r"\(os error (\d+)\)", str(error))
        if said is None:
            raise
        raise OSError(int(said[1]), os.strerror(int(said[1]))) from error
