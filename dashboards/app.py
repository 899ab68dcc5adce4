"""The web application: one address for our pages, the API, and Optuna Dashboard."""

import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from types import ModuleType

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from dashboards.api import (
    audit,
    curves,
    events,
    landscape,
    me,
    reports,
    requests,
    runs,
    servers,
    studies,
    tokens,
    trials,
)
from dashboards.api.openapi import describe
from dashboards.api.problems import RESPONSES, install_handlers, respond
from dashboards.context import Context, context_of
from dashboards.middleware import Errors, HeadAsGet
from dashboards.optuna_app import OptunaApp
from dashboards.pages import account, assets, launch, sign_in, study, trial
from dashboards.pages import audit as audit_page
from dashboards.pages import studies as studies_page
from dashboards.pages.problem import show_problem
from dashboards.paths import OPTUNA_ROOTS, local_path
from dashboards.request_worker import request_worker
from dashboards.security.audit import Audit
from dashboards.security.body_limit import BodyLimit
from dashboards.security.gate import Gate
from dashboards.security.headers import SecurityHeaders
from dashboards.security.hosts import AllowedHosts
from dashboards.security.state import prepare_security
from study.provenance import installed_version
from study.storage.accounts import delete_expired_sessions

#: Each has a ``router``; a router's lifespan begins and ends with the application's.
_API: tuple[ModuleType, ...] = (
    studies,
    trials,
    runs,
    landscape,
    curves,
    reports,
    events,
    requests,
    tokens,
    servers,
    audit,
    me,
)
_PAGES: tuple[ModuleType, ...] = (
    studies_page,
    study,
    trial,
    launch,
    account,
    audit_page,
    sign_in,
    assets,
)
#: Compressed already; event streams would wait in the compressor.
_NOT_COMPRESSED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/pdf", "application/vnd.apache.parquet")
_COMPRESSION_LEVEL = 6


def create_app(context: Context) -> FastAPI:
    """The ASGI application.

    Pages may be compressed although they hold secrets (BREACH): the CSRF token in them is another text each time, and
    a new API token is shown once.

    Raises:
        DatabaseError: Optuna's tables cannot be read.
    """
    prepare_security(context)
    optuna_app = OptunaApp(context.options.reader_url)
    app = FastAPI(
        title="adai-study",
        summary="Hyperparameter studies of Adai and its baselines.",
        version=installed_version("adai-study") or "0",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=_middleware(context),
        lifespan=_lifespan,
    )
    app.state.context = context
    app.state.optuna_app = optuna_app
    app.state.problem_page = show_problem
    install_handlers(app)
    app.add_exception_handler(HTTPException, _answer_http_error)
    for module in _API:
        app.include_router(module.router, responses=RESPONSES)
    for module in _PAGES:
        app.include_router(module.router)
    app.add_api_route("/v1/openapi.json", _read_openapi, include_in_schema=False)
    app.add_api_route("/health", _read_health, include_in_schema=False)
    for root in OPTUNA_ROOTS:
        app.router.routes += [Route(root, optuna_app), Route(f"{root}/{{path:path}}", optuna_app)]
    return app


def _middleware(context: Context) -> list[Middleware]:
    """From the outside to the routes: what is refused early costs little, and has headers and an entry all the same."""
    options = context.options
    return [
        Middleware(SecurityHeaders, tls=options.tls),
        Middleware(Audit, context=context),
        Middleware(AllowedHosts, hosts=options.hosts),
        Middleware(BodyLimit),
        Middleware(GZipMiddleware, compresslevel=_COMPRESSION_LEVEL, exclude_content_types=_NOT_COMPRESSED),
        Middleware(Errors),
        Middleware(Gate, context=context),
        Middleware(HeadAsGet),
    ]


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    # Without a database the dashboard still answers, that it has none.
    with contextlib.suppress(SQLAlchemyError), context.engine.begin() as connection:
        delete_expired_sessions(connection)
    with request_worker(context):
        yield
    optuna_app: OptunaApp = app.state.optuna_app
    optuna_app.close()


def _read_openapi(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    app: FastAPI = request.app
    return JSONResponse(describe(app, context_of(request).options))


def _read_health(request: Request) -> dict[str, str]:
    """Whether the dashboard answers and reaches its database; for those who watch it, without a sign-in."""
    with context_of(request).engine.connect() as connection:
        connection.execute(select(1))
    return {"status": "ok"}


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """Errors of the routing: a path with a slash too many leads to the one without, 405 says what is allowed."""
    path = request.url.path
    status = error.status_code if isinstance(error, HTTPException) else None
    if status == HTTPStatus.NOT_FOUND and path.endswith("/") and request.method == "GET":
        target = local_path(path.rstrip("/"))
        if target != "/" and _methods_of(request, target):
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{target}{query}", HTTPStatus.PERMANENT_REDIRECT)
    response = respond(request, error)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(sorted(_methods_of(request, path)))
    return response


def _methods_of(request: Request, path: str) -> set[str]:
    """The methods that a path has, whichever routes they belong to."""
    app: FastAPI = request.app
    methods: set[str] = set()
    for route in iter_route_contexts(app.routes):
        if route.path_regex.match(path):
            methods |= route.methods or set()
    return methods | ({"HEAD"} if "GET" in methods else set())
