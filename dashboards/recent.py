"""What was made lately, by key: bounded, and made once however many ask for it at the same time."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Recent(Generic[_Key, _Value]):
    """The values that were asked for last.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, Future[_Value]] = OrderedDict()

    def get(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        """The value of ``key``, made now if it is not kept.

        Threads that ask meanwhile wait for the one that makes it. What it raises they raise too, and it is not kept.

        Args:
            key: Names the value, and everything that it follows from.
            make: Makes it.
        """
        with self._lock:
            future = self._kept.get(key)
            if is_mine := future is None:
                future = self._kept[key] = Future()
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        if is_mine:
            self._make(key, future, make)
        return future.result()

    def _make(self, key: _Key, future: Future[_Value], make: Callable[[], _Value]) -> None:
        try:
            future.set_result(make())
        except BaseException as error:
            with self._lock:
                if self._kept.get(key) is future:
                    del self._kept[key]
            future.set_exception(error)
