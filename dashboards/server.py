"""The web server: uvicorn, that ends its event streams when it is told to stop, and waits long for nobody."""

import array
import asyncio
import fcntl
import socket
import termios
from collections.abc import Callable

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dashboards.live import Live

#: A request has arrived after so many seconds, and whoever asked takes some of a long answer in each such span.
PATIENCE_SECONDS = 60.0


class StreamServer(uvicorn.Server):
    """As uvicorn, but it need not wait for streams, which do not end by themselves.

    Args:
        config: What it serves, and how.
        live: What the streams are fed by.
    """

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; called in the event loop of the application."""
        self._live.end()
        await super().shutdown(sockets)


class ImpatientProtocol(H11Protocol):
    """As uvicorn's, but it ends connections on which nothing goes on.

    Else whoever sends half a request, or takes half of an answer, holds a connection for ever, and with it an export.
    """

    _request: "_Alarm"
    _answer: "_Alarm"
    _untaken = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has come, and is going to ask for something."""
        super().connection_made(transport)
        self._request = _Alarm(self.loop, transport.close)
        self._answer = _Alarm(self.loop, self._look_at_answer)
        self._watch_request()

    def data_received(self, data: bytes) -> None:
        """A part of a request, or all of it."""
        super().data_received(data)
        self._watch_request()

    def on_response_complete(self) -> None:
        """It is answered; of the next request there may be a part already."""
        super().on_response_complete()
        self._watch_request()

    def pause_writing(self) -> None:
        """Whoever asked takes no more for now."""
        super().pause_writing()
        self._untaken = self._count_untaken()
        self._answer.set()

    def resume_writing(self) -> None:
        """It takes more."""
        super().resume_writing()
        self._answer.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        self._request.stop()
        self._answer.stop()

    def _look_at_answer(self) -> None:
        """Go on for those who have taken some of it: a large piece may take minutes."""
        before, self._untaken = self._untaken, self._count_untaken()
        if self._untaken < before:
            self._answer.set()
        else:
            self.transport.abort()

    def _count_untaken(self) -> int:
        """Bytes that are still here: with us, and with the kernel, which takes megabytes at once."""
        of_kernel = array.array("i", [0])
        fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, of_kernel)
        return self.transport.get_write_buffer_size() + of_kernel[0]

    def _watch_request(self) -> None:
        state, is_first = self.conn.their_state, self.cycle is None
        # Between two requests uvicorn has a time of its own.
        if state is h11.SEND_BODY or (state is h11.IDLE and (is_first or self.conn.trailing_data[0])):
            self._request.set()
        else:
            self._request.stop()


class _Alarm:
    """Acts after :data:`PATIENCE_SECONDS`, unless it is stopped before.

    Args:
        loop: In which it acts.
        action: What it does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        self._loop, self._action = loop, action
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Begin to count, if it does not count already."""
        if self._timer is None:
            self._timer = self._loop.call_later(PATIENCE_SECONDS, self._ring)

    def stop(self) -> None:
        """Count no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._action()
