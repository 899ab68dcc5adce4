"""``/v1``: the servers that run queued studies."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dashboards.api.etags import send
from dashboards.api.request_models import Server, Servers
from dashboards.context import context_of
from study.claim import describe
from study.storage.servers import read_living_servers

router = APIRouter(tags=["servers"])


@router.get("/v1/servers", response_model=Servers)
def list_servers(request: Request) -> Response:
    """The servers that gave a sign of life lately."""
    with context_of(request).engine.connect() as connection:
        found = read_living_servers(connection)
    items = [
        Server(
            process=describe(server.process),
            started_at=server.started_at,
            seen_at=server.seen_at,
            workers=server.workers,
            studies=server.studies,
        )
        for server in found
    ]
    return send(request, Servers(items=items))
