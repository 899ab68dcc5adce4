"""Models of who asks, of tokens, and of the audit log."""

import datetime as dt
from typing import Any, Literal

from dashboards.api.models import Model, Page


class Token(Model):
    """An API token, without its secret."""

    id: int
    name: str
    role: Literal["viewer", "operator"]
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None


class NewToken(Model):
    """A token to make."""

    name: str
    role: Literal["viewer", "operator"] = "viewer"
    days: int | None = 90
    """Until it expires; None for never."""


class TokenWithSecret(Token):
    """A token that was just made: the only time that its secret is shown."""

    secret: str


class Me(Model):
    """Who is asking."""

    name: str
    role: Literal["viewer", "operator"]
    by: Literal["session", "token"]


class AuditEntry(Model):
    """A write, or a try of one, through the dashboard."""

    id: int
    at: dt.datetime
    user_name: str | None
    address: str
    action: str
    subject: str
    status: int
    details: dict[str, Any]


class AuditPage(Page):
    """Some entries of the audit log, newest first."""

    items: list[AuditEntry]
