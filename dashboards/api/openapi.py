"""The OpenAPI document of the API, with the two ways to prove who asks."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from dashboards.context import DashboardOptions
from dashboards.security.sessions import cookie_name


def describe(app: FastAPI, options: DashboardOptions) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        document.setdefault("components", {})["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "description": "An API token, `adai_...`."},
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": cookie_name(options),
                "description": "Of a browser; a write also needs the header X-CSRF-Token.",
            },
        }
        document["security"] = [{"token": []}, {"session": []}]
        app.openapi_schema = document
    return app.openapi_schema
