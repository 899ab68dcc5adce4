"""Where files lie that can be made again: checkpoints, plans."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path | None:
    """The folder ``adai/kind`` in this user's cache, which may not exist yet; None for a user without a home.

    ``$XDG_CACHE_HOME`` or ``~/.cache``, as the XDG base directory specification says, which has relative paths
    ignored. Containers often run as a user who is in no list of users.
    """
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = configured if configured.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "adai" / kind
