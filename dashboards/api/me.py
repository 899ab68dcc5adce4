"""``/v1/me``: who asks."""

from fastapi import APIRouter

from dashboards.api.account_models import Me
from dashboards.security.principals import Viewer

router = APIRouter(tags=["me"])


@router.get("/v1/me")
def read_me(principal: Viewer) -> Me:
    """Who asks, what it may do, and whether it came with a session or a token."""
    return Me(name=principal.name, role=principal.role, by=principal.by)
