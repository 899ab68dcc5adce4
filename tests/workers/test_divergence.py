"""When a run has diverged."""

import math

import pytest

from workers.divergence import divergence_reason


@pytest.mark.parametrize(
    ("train_loss", "val_loss", "words"),
    [
        (math.nan, 1.0, "training loss became nan"),
        (math.inf, 1.0, "training loss became inf"),
        (1.0, math.nan, "validation loss became nan"),
        (101.0, 1.0, "training loss 101 exceeded the ceiling 100"),
        (1.0, 100.5, "validation loss 100.5 exceeded the ceiling 100"),
    ],
)
def test_a_lost_run_says_which_loss_and_why(train_loss: float, val_loss: float, words: str) -> None:
    assert divergence_reason(train_loss, val_loss, 100.0) == words


def test_a_loss_at_the_ceiling_is_still_training() -> None:
    assert divergence_reason(100.0, 100.0, 100.0) == ""
