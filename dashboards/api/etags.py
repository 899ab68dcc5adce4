"""Entity tags: what a browser or a program has already is not sent again."""

import hashlib

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response


def make_etag(body: bytes) -> str:
    """The tag of an answer; weak, for compressed and plain bytes of it have the same."""
    return f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'


def etag_headers(etag: str) -> dict[str, str]:
    """Headers of an answer with this tag: it may be kept, and is asked for again each time."""
    return {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Cookie, Authorization"}


def not_modified(request: Request, etag: str) -> bool:
    """Whether whoever asks has the answer with this tag already: what it gets is then 304 and no more."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return "*" in known or etag.removeprefix("W/") in known


def send(request: Request, model: BaseModel) -> Response:
    """The answer that says ``model``, or 304; numbers that are not finite are null in it."""
    body = model.model_dump_json().encode()
    etag = make_etag(body)
    if not_modified(request, etag):
        return Response(status_code=304, headers=etag_headers(etag))
    return Response(body, media_type="application/json", headers=etag_headers(etag))
