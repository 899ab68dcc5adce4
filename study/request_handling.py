"""Handles what was asked of studies, in threads of a process that may write them: a server, or a dashboard."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from study.database_passwords import url_for_child
from study.errors import SpecError, StudyError
from study.spec_checking import read_web_spec
from study.storage import requests, servers
from study.storage.claims import find_row
from study.storage.logs import process_log
from study.storage.patience import Patience, is_passing
from study.storage.requests import QUICK, Kind, Outcome, Request
from study.submission import ask_to_stop, requeue_study, submit_study

_REPORTS: tuple[Kind, ...] = ("report",)
_LOOK_SECONDS = 0.5
#: After the database failed.
_PAUSE_SECONDS = 2.0
#: For a request that is being done when this process is told to end.
_STOP_SECONDS = 10.0
_KILL_SECONDS = 5.0
#: A report that takes longer hangs, and would hold up those after it for ever.
_REPORT_SECONDS = 2 * 3600.0
#: At the end of what the command says, for a message.
_OUTPUT_BYTES = 4000
#: The command, wherever it is installed, and whatever lies in the current folder.
_COMMAND = (sys.executable, "-P", "-c", "from study.cli import main; main()")


class _StoppedError(Exception):
    """This process was told to end; the request waits for another one."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What a process says of itself with every sign of life.

    Attributes:
        workers: How many train for it; 0 for one that only handles requests, or whose cluster has no nodes.
        studies: How many it drives.
    """

    workers: int = 0
    studies: int = 0


@dataclass(slots=True)
class RequestHandler:
    """Handles requests from entering to leaving its context, and gives signs of life.

    Args:
        engine: The database, as a user who may write studies.
        reports: Folder of the reports, each study's in one of its own; None leaves requests of reports to others.
        tolerance: Of reports: which settings are good, as :class:`study.report.analysis.Settings` says.
        retry_seconds: How long a database that is away is waited for.
        presence: What this process says of itself.
    """

    engine: Engine
    reports: Path | None
    tolerance: float = 0.05
    retry_seconds: float = 60.0
    presence: Callable[[], Presence] = Presence
    _stop: threading.Event = field(default_factory=threading.Event)
    _present: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What it can do."""
        return QUICK if self.reports is None else (*QUICK, *_REPORTS)

    def __enter__(self) -> Self:
        loops: list[Callable[[], None]] = [self._give_signs, partial(self._handle, QUICK)]
        if self.reports is not None:
            loops.append(partial(self._handle, _REPORTS))
        self._threads = [threading.Thread(target=loop, name="requests", daemon=True) for loop in loops]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take nothing more, and wait a moment for what is being done; a report that is being written is given up."""
        self._stop.set()
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def count_open(self) -> int:
        """How many requests that it can do wait or are being done, here or elsewhere."""
        with self.engine.connect() as connection:
            return requests.count_open(connection, self.kinds)

    def _give_signs(self) -> None:
        """Say that this process lives, and look after requests of those that died."""
        while not self._stop.is_set():
            try:
                self._give_sign()
            except SQLAlchemyError as error:
                _warn("sign_of_life_failed", error)
            # The thread's own last line of defence.
            except Exception:
                process_log.exception("fault_of_the_program")
            self._stop.wait(servers.SIGN_SECONDS)
        with contextlib.suppress(SQLAlchemyError), self.engine.begin() as connection:
            servers.remove_own_sign(connection)

    def _give_sign(self) -> None:
        presence = self.presence()
        with self.engine.begin() as connection:
            servers.give_sign_of_life(connection, workers=presence.workers, studies=presence.studies)
            # Before anything is taken: others would give it back at once.
            self._present.set()
            servers.remove_dead_servers(connection)
            given_back = requests.give_back_of_the_dead(connection)
        if given_back:
            process_log.warning("requests_given_back", requests=given_back)

    def _handle(self, kinds: tuple[Kind, ...]) -> None:
        """Do one request after the other."""
        while not self._stop.is_set():
            try:
                if not (self._present.is_set() and self._handle_one(kinds)):
                    self._stop.wait(_LOOK_SECONDS)
            except SQLAlchemyError as error:
                _warn("request_not_taken", error)
                self._stop.wait(_PAUSE_SECONDS)
            # The thread's own last line of defence.
            except Exception:
                process_log.exception("fault_of_the_program")
                self._stop.wait(_PAUSE_SECONDS)

    def _handle_one(self, kinds: tuple[Kind, ...]) -> bool:
        """Take a request and do it; false if none waits."""
        with self.engine.begin() as connection:
            taken = requests.take_request(connection, kinds)
        if taken is None:
            return False
        request, spec = taken
        try:
            outcome, message = self._try(request, spec)
        except (_StoppedError, DBAPIError) as error:
            if isinstance(error, DBAPIError):
                _warn("request_given_back", error, request=request.id)
                self._stop.wait(_PAUSE_SECONDS)
            self._write(partial(requests.give_back_request, request=request))
        else:
            process_log.info("request_" + outcome, kind=request.kind, request=request.id, by=request.requested_by)
            self._write(partial(requests.finish_request, request=request, outcome=outcome, message=message))
        return True

    def _write(self, work: Callable[..., Any]) -> None:
        """Write what became of a request, however long the database is away: nobody else will while this lives."""
        while True:
            try:
                Patience(self.engine, seconds=self.retry_seconds).transact(work)
            except SQLAlchemyError as error:
                _warn("request_not_written", error)
                if self._stop.wait(_PAUSE_SECONDS):
                    return
            else:
                return

    def _try(self, request: Request, spec: dict[str, Any] | None) -> tuple[Outcome, str]:
        """Do a request.

        Raises:
            _StoppedError: This process was told to end meanwhile.
            DBAPIError: The database is away.
        """
        try:
            return "done", self._do(request, spec)
        except StudyError as error:
            return "refused", str(error)
        except _StoppedError:
            raise
        # A server outlives a fault in one request, and whoever asked is told of it.
        except Exception as error:
            if isinstance(error, DBAPIError) and is_passing(error):
                raise
            process_log.exception("fault_of_the_program", request=request.id)
            return "refused", f"this is a fault of the program: {type(error).__name__}: {error}"

    def _do(self, request: Request, spec: dict[str, Any] | None) -> str:
        match request.kind:
            case "submit":
                # Whoever may write requests need not be trusted with more than that: it is checked again.
                checked = read_web_spec(content=spec or {})
                if checked.name != request.study:
                    raise SpecError(f"the request is of study {request.study!r}, its spec of {checked.name!r}")
                return submit_study(self.engine, checked, retry_seconds=self.retry_seconds)
            case "cancel":
                return ask_to_stop(self.engine, request.study)
            case "resume":
                return requeue_study(self.engine, request.study)
            case "report":
                return self._report(request.study)
        raise StudyError(f"nothing is known of requests to {request.kind}; upgrade adai-study")

    def _report(self, name: str) -> str:
        """Write a report in a process of its own: Matplotlib is not made for threads."""
        with self.engine.connect() as connection:
            known = find_row(connection, name).name
        folder = Path(self.reports or Path()).absolute() / known
        # Not among the words, which everybody on the machine can read: the address may hold a password.
        url = url_for_child(self.engine.url)
        words = (*_COMMAND, "report", "--out", str(folder), "--tolerance", str(self.tolerance), "--", known)
        with tempfile.TemporaryFile() as output:
            code = self._run(words, output, os.environ | {"ADAI_DATABASE_URL": url})
            said = _end_of(output)
        if code != 0:
            raise StudyError(said.rpartition("Error: ")[2].strip() or f"the report ended with exit code {code}")
        # Not where it lies: that is nobody's business who only looks at the dashboard.
        return f"{known}: its report is written"

    def _run(self, words: tuple[str, ...], output: BinaryIO, environment: dict[str, str]) -> int:
        """Run a command that may be given up; returns its exit code.

        Raises:
            _StoppedError: It was given up, for this handler ends.
            StudyError: It took too long.
        """
        deadline = time.monotonic() + _REPORT_SECONDS
        with subprocess.Popen(  # noqa: S603 - our own command; the only word from outside is a study's name
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        ) as process:
            while (code := process.poll()) is None:
                if self._stop.wait(_LOOK_SECONDS):
                    _end(process)
                    raise _StoppedError
                if time.monotonic() > deadline:
                    _end(process)
                    raise StudyError(
                        f"the report had not ended after {_REPORT_SECONDS / 3600:g} hours and was given up; "
                        "see where it stands with: adai-study report NAME"
                    )
        return code


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and those that it started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_KILL_SECONDS)


def _end_of(output: BinaryIO) -> str:
    """The end of what a command said."""
    length = output.seek(0, os.SEEK_END)
    output.seek(max(0, length - _OUTPUT_BYTES))
    return output.read().decode("utf-8", "replace").strip()


def _warn(event: str, error: SQLAlchemyError, **details: Any) -> None:
    process_log.warning(event, error=str(getattr(error, "orig", None) or error), **details)
