"""A clock that a test moves while processes run, as an administrator or a time server does."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


class MovingClock:
    """The wall clock of the processes that get its environment; their monotonic clock goes on as it does.

    Args:
        folder: Where its files go.
    """

    def __init__(self, folder: Path) -> None:
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        if compiler is None:
            pytest.skip("a C compiler is needed to move a process's clock: apt-get install gcc")
        library = folder / "moving_clock.so"
        source = Path(__file__).with_name("moving_clock.c")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self._offset = folder / "offset"
        self.move_to(0)
        self.environment = os.environ | {"LD_PRELOAD": str(library), "MOVING_CLOCK": str(self._offset)}

    def move_to(self, seconds: int) -> None:
        """The clock is off by so many seconds from now on."""
        # Readers see the old file or the new one.
        new = self._offset.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self._offset)
