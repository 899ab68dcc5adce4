"""Which workers train, as it was asked for."""

from dataclasses import dataclass
from typing import Literal

PoolKind = Literal["ray", "inline"]


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Which workers train.

    Attributes:
        pool: Ray actors, or this process.
        workers: Number of Ray actors; None for one per processor.
        gpu_share: Share of a GPU for each.
        deterministic: Only operations that give the same bits every time.
    """

    pool: PoolKind
    workers: int | None
    gpu_share: float
    deterministic: bool
