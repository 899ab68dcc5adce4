"""What can go wrong in a study, as people are told it.

::

    StudyError              exit code 1: something outside the request failed
    ├── DatabaseError       not reachable, not ours, of another version
    ├── InterruptedStudyError  Ctrl-C, or a server that ends (exit code 130)
    ├── CancelledStudyError the study was cancelled while it ran
    ├── StudyBusyError      another process runs the study
    ├── StudyLostError      another process has taken the study over
    ├── FailedTrialsError   the study ended, but some trials failed
    └── RequestError        exit code 2: the request itself is wrong
        ├── SpecError       the study spec
        ├── DatabaseUrlError  the database's URL
        ├── UnknownStudyError  no such study
        └── OutputError     the output cannot be written there
"""

from collections.abc import Sequence


class StudyError(Exception):
    """Something failed; the message says what, where, and what to do next."""

    exit_code = 1


class DatabaseError(StudyError):
    """The database cannot be used."""


class StudyBusyError(StudyError):
    """Another process drives the study."""


class StudyLostError(StudyError):
    """This process drove the study until another one took it for dead; nothing was written since."""


class CancelledStudyError(StudyError):
    """Somebody cancelled the study; what was finished is kept."""


class FailedTrialsError(StudyError):
    """A study came to its end, but some of its trials have no result."""


class InterruptedStudyError(StudyError):
    """The user stopped a study; what was finished is kept."""

    exit_code = 130  # what shells report for a process that Ctrl-C ended


class RequestError(StudyError):
    """The request is wrong in itself; nothing was written."""

    exit_code = 2


class SpecError(RequestError):
    """A study spec cannot be used.

    Attributes:
        problems: Each mistake, where there may be several; else the message itself.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class DatabaseUrlError(RequestError):
    """A database URL cannot be used, whatever answers there."""


class UnknownStudyError(RequestError):
    """The database holds no study of that name."""


class OutputError(RequestError):
    """A file or folder cannot be written there."""
