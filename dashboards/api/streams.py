"""Answers that are too long to hold: sent piece by piece, and what they hold is let go of whatever happens."""

import datetime as dt
import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Generator, Mapping
from typing import BinaryIO, Literal

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

#: Bytes that are in memory at once.
PIECE = 2**18


class ChangedFileError(Exception):
    """A file was changed while it was being read."""


class HeldResponse(StreamingResponse):
    """A streamed answer that lets go of what it holds: at its end, at a failure, or when the client has gone.

    Args:
        pieces: Its bytes. What they raise breaks the connection off, so that nobody takes a part for the whole.
        release: Lets go.
        media_type: Of the bytes.
        headers: Further ones.
    """

    def __init__(
        self,
        pieces: Generator[bytes, None, None],
        release: Callable[[], None],
        *,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers)
        self._pieces, self._release = pieces, release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Where the client has gone they stand still, with a file open.
            self._pieces.close()
            self._release()


def file_response(
    file: BinaryIO, release: Callable[[], None], *, media_type: str, headers: Mapping[str, str]
) -> HeldResponse:
    """The whole of an open file.

    Args:
        file: At its beginning.
        release: Closes it, and lets go of whatever else was held for it.
        media_type: Of its bytes.
        headers: Further ones.
    """
    size = os.fstat(file.fileno()).st_size

    def pieces() -> Generator[bytes, None, None]:
        left = size
        while left and (piece := file.read(min(PIECE, left))):
            left -= len(piece)
            yield piece

    return HeldResponse(pieces(), release, media_type=media_type, headers={**headers, "Content-Length": str(size)})


def disposition(name: str, kind: Literal["attachment", "inline"] = "attachment") -> str:
    """The header that names a file: of the name only what is safe on every system."""
    return f'{kind}; filename="{re.sub(r"[^A-Za-z0-9._-]+", "-", name)}"'


class _Sink:
    """What a ZIP archive is written to: a stream without a way back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes, /) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """All of it is here already."""

    def close(self) -> None:
        """The archive's owner ends it."""

    def take(self) -> bytes:
        """What was written since."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


#: Files that are compressed already.
_STORED = (".png", ".pdf", ".parquet")


def zip_pieces(
    files: Mapping[str, str | None], open_: Callable[[str], BinaryIO], *, folder: str, written_at: dt.datetime
) -> Generator[bytes, None, None]:
    """A ZIP archive, piece by piece, in bounded memory.

    Args:
        files: Path of each file -> its SHA-256; None if it is not known.
        open_: Opens one; what it raises is raised.
        folder: In which they lie in the archive.
        written_at: Time of all files.

    Raises:
        ChangedFileError: A file is not the one that was meant; what was given until then is no archive.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for path, expected in files.items():
            entry = zipfile.ZipInfo(f"{folder}/{path}", written_at.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_STORED if path.endswith(_STORED) else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            found = hashlib.sha256()
            with open_(path) as file, archive.open(entry, "w") as target:
                while piece := file.read(PIECE):
                    found.update(piece)
                    target.write(piece)
                    yield sink.take()
            if expected not in (None, found.hexdigest()):
                raise ChangedFileError(f"{path} has the SHA-256 {found.hexdigest()}, not {expected}")
    yield sink.take()
