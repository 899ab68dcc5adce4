"""What can be done with a study from its page, and why something cannot be done now."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from dashboards.api.models import StudyDetail
from dashboards.security.principals import Principal

Kind = Literal["resume", "cancel", "report"]
#: Why it cannot be cancelled or resumed, by its state; and where that has changed between two looks.
_NOT_CANCELLED = {
    "completed": "It is complete: there is nothing to cancel.",
    "cancelled": "It is cancelled already.",
    "cancelling": "It is being cancelled already.",
}
_NOT_RESUMED = {
    "queued": "It waits for a server already.",
    "running": "It is running.",
    "cancelling": "It is being cancelled; resume it when that is done.",
}
_NOT_NOW = "This cannot be done now; load the page again."


@dataclass(frozen=True, slots=True)
class Action:
    """A button.

    Attributes:
        kind: Last part of its address in the API.
        title: What it says.
        question: What is asked before it is done; empty where it does no harm.
        why_not: Why it cannot be done now, as a sentence; empty where it can.
    """

    kind: Kind
    title: str
    question: str
    why_not: str


def list_actions(study: StudyDetail, principal: Principal, allowed: Collection[str]) -> list[Action]:
    """All actions in their order, those that cannot be done now among them.

    Args:
        study: The study.
        principal: Who looks at it.
        allowed: What may be asked of it now, as :func:`study.submission.find_allowed` says: the API asks it too.
    """
    reasons: dict[Kind, str] = {
        "resume": _why_not_resumed(study),
        "cancel": _NOT_CANCELLED.get(study.state, _NOT_NOW),
        "report": "No trial has a result yet.",
    }
    if principal.role == "operator":
        reasons = {kind: "" if kind in allowed else why_not for kind, why_not in reasons.items()}
    else:
        reasons = dict.fromkeys(reasons, "Your role is viewer; an operator can do this.")
    question = f"Cancel {study.name}? What has finished is kept, and the rest can be resumed."
    return [
        Action("resume", "Resume", "", reasons["resume"]),
        Action("cancel", "Cancel", question, reasons["cancel"]),
        Action("report", "Write report", "", reasons["report"]),
    ]


def _why_not_resumed(study: StudyDetail) -> str:
    if study.state == "completed":
        return f"It is complete, and {'what failed is not tried again' if study.failed else 'nothing in it failed'}."
    return _NOT_RESUMED.get(study.state, _NOT_NOW)
