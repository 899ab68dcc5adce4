"""``/assets``: style, scripts and Plotly, under addresses that change with their content and so may be kept."""

import gzip
import hashlib
import threading
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from typing import cast

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dashboards.context import Context, context_of

router = APIRouter(include_in_schema=False)

#: Plotly as its Python package brings it: nothing is loaded from elsewhere.
PLOTLY = "plotly.min.js"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_KEPT = "public, max-age=31536000, immutable"
_LARGE = 1_000_000


@dataclass(slots=True)
class Asset:
    """A file that browsers ask for.

    Attributes:
        hash: Its place in the address.
        content: Its bytes.
        media_type: Of the bytes.
        zipped: The bytes with gzip; None until they are made, or where that saves nothing.
    """

    hash: str
    content: bytes
    media_type: str
    zipped: bytes | None = None

    def zip(self) -> None:
        """Make ``zipped``."""
        zipped = gzip.compress(self.content, compresslevel=9, mtime=0)
        self.zipped = zipped if len(zipped) < len(self.content) else None


@dataclass(frozen=True, slots=True)
class Assets:
    """All files that browsers ask for, in memory.

    Files of ``static`` share one hash, that of all of them: scripts then import each other by their plain names.
    """

    files: dict[str, Asset] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """The address of a file.

        Raises:
            KeyError: There is no such file.
        """
        return f"/assets/{self.files[name].hash}/{name}"

    def find(self, content_hash: str, name: str) -> Asset | None:
        """The file at an address; None where there is none, or where it was another one."""
        asset = self.files.get(name)
        return asset if asset is not None and asset.hash == content_hash else None


def load_assets() -> Assets:
    """Read all files; the large one is compressed in the background, and sent as it is until then."""
    contents = {file.name: file.read_bytes() for file in _list_static()}
    joined = hashlib.sha256()
    for name, content in sorted(contents.items()):
        joined.update(f"{name} {len(content)} ".encode() + content)
    plotly = (resources.files("plotly") / "package_data" / PLOTLY).read_bytes()
    assets = Assets({name: _make(name, content, joined.hexdigest()) for name, content in contents.items()})
    assets.files[PLOTLY] = _make(PLOTLY, plotly, hashlib.sha256(plotly).hexdigest())
    return assets


def _list_static() -> list[Traversable]:
    static = resources.files("dashboards") / "static"
    return [file for file in static.iterdir() if any(file.name.endswith(end) for end in _TYPES)]


def _make(name: str, content: bytes, content_hash: str) -> Asset:
    asset = Asset(content_hash[:16], content, _TYPES[name[name.rindex(".") :]])
    if len(content) < _LARGE:
        asset.zip()
    else:
        threading.Thread(target=asset.zip, name=f"zip {name}", daemon=True).start()
    return asset


def assets_of(context: Context) -> Assets:
    """The files, read when they are first asked for."""
    if "assets" not in context.parts:
        context.parts["assets"] = load_assets()
    return cast("Assets", context.parts["assets"])


@router.get("/assets/{content_hash}/{name}")
def read_asset(request: Request, content_hash: str, name: str) -> Response:
    """A file; only names that are known are looked up, so no path leads out."""
    asset = assets_of(context_of(request)).find(content_hash, name)
    if asset is None:
        raise HTTPException(404, f"there is no file {name!r} of that version; load the page again")
    headers = {"Cache-Control": _KEPT, "Vary": "Accept-Encoding", "ETag": f'"{asset.hash}"'}
    if _names_etag(request, asset):
        return Response(status_code=304, headers=headers)
    zipped = asset.zipped
    if zipped is not None and _accepts_gzip(request):
        return Response(zipped, media_type=asset.media_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(asset.content, media_type=asset.media_type, headers=headers)


def _names_etag(request: Request, asset: Asset) -> bool:
    named = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return f'"{asset.hash}"' in named


def _accepts_gzip(request: Request) -> bool:
    """Whether gzip is among the encodings that are asked for, and not with weight nothing."""
    for word in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, weight = word.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
