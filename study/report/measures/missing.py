"""What could not be computed, and why."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Missing:
    """A measure that could not be computed.

    Attributes:
        measure: Its name, and of what.
        reason: Why not, and what would make it possible, as a sentence.
    """

    measure: str
    reason: str
