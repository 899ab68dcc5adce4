"""When a run counts as diverged, decided at each epoch's end from the losses of that epoch."""

import math


def divergence_reason(train_loss: float, val_loss: float, ceiling: float) -> str:
    """Why a run has diverged, or an empty string if it has not.

    Args:
        train_loss: Mean training loss of the epoch, in nats.
        val_loss: Validation loss after the epoch, in nats.
        ceiling: The workload's bound: a larger loss is no longer training.
    """
    for name, loss in (("training", train_loss), ("validation", val_loss)):
        if not math.isfinite(loss):
            return f"{name} loss became {loss}"
        if loss > ceiling:
            return f"{name} loss {loss:.4g} exceeded the ceiling {ceiling:.4g}"
    return ""
