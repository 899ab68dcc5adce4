"""Models of what is asked for: specs, their estimates, requests, and the servers that do them."""

import datetime as dt
from typing import Any, Literal

from dashboards.api.models import Model, Page, State


class Estimate(Model):
    """What a study would cost, from what runs of the same workloads took in this database."""

    trials: int
    runs: int
    run_epochs: int
    """The most: runs that diverge or are pruned take fewer."""
    seconds: float | None
    """Of one worker, all runs together; None where nothing comparable has run."""
    seconds_low: float | None
    seconds_high: float | None
    workers: int | None
    """Of the servers that live; None without one."""
    wall_seconds: float | None
    basis: str
    """What the estimate rests on, for people."""


class Verdict(Model):
    """What the validation of a spec found."""

    valid: bool
    problems: list[str]
    """As the command line tells them."""
    name: str | None
    already: State | None
    """State of the study of that name and spec, if there is one."""
    estimate: Estimate | None


class Request(Model):
    """What was asked to be done; a server, or the dashboard itself, does it."""

    id: int
    kind: Literal["submit", "cancel", "resume", "report"]
    study: str
    requested_by: str
    requested_at: dt.datetime
    state: Literal["waiting", "taken", "done", "refused"]
    finished_at: dt.datetime | None
    message: str | None


class RequestPage(Page):
    """Some requests, newest first."""

    items: list[Request]


class SubmitSpec(Model):
    """A study to submit: the text of its TOML file, or the spec as JSON."""

    toml: str | None = None
    spec: dict[str, Any] | None = None


class Server(Model):
    """A server that gave a sign of life lately."""

    process: str
    started_at: dt.datetime
    seen_at: dt.datetime
    workers: int
    studies: int


class Servers(Model):
    """The servers that live."""

    items: list[Server]
