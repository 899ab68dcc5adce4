"""Ctrl-C and SIGTERM wait for the end of a transaction.

A ``KeyboardInterrupt`` inside of a driver's call leaves the connection in nobody's hands: its traceback keeps the
statement, the statement keeps SQLite's lock, and what must still be written of an interrupted study is refused.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def interruptions_wait() -> Iterator[None]:
    """The first signal that asks for the end within the block acts after it; a second one acts at once.

    Only the main thread hears signals: in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[signal.Signals] = []
    handlers: dict[int, Callable[[int, FrameType | None], object]] = {
        number: handler for number in _SIGNALS if callable(handler := signal.getsignal(number))
    }

    def act(frame: FrameType | None) -> None:
        while came:
            number = came.pop(0)
            handlers[number](number, frame)

    def remember(number: int, frame: FrameType | None) -> None:
        came.append(signal.Signals(number))
        if len(came) > 1:
            act(frame)

    try:
        with contextlib.ExitStack() as restored:
            for number, handler in handlers.items():
                restored.callback(signal.signal, number, handler)
                signal.signal(number, remember)
            yield
    finally:
        act(None)
