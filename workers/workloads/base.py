"""What a workload is: data, model, loss, batch size, budget and metric under one name."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from workers.messages import Objective


class MissingDataError(Exception):
    """A workload's data is not on this machine; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Split:
    """Examples of one part of a data set: ``inputs`` (N, ...) float, ``labels`` (N,) int64."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class ClassificationData:
    """The three parts of a data set, disjoint, and the number of classes."""

    train: Split
    validation: Split
    test: Split
    classes: int


@dataclass(frozen=True, slots=True)
class Workload:
    """A classification task with cross-entropy loss.

    Attributes:
        name: As users write it in a study spec.
        title: Its name in reports.
        citation: Where the data comes from.
        load_data: Reads the data set into memory, split by a fixed seed. Raises MissingDataError.
        build_model: Makes the untrained model for data of that shape.
        batch_size: Examples in a step; the last batch of an epoch may be smaller.
        epochs: Budget if the spec sets none.
        loss_ceiling: A run whose loss exceeds it has diverged, in nats.
    """

    name: str
    title: str
    citation: str
    load_data: Callable[[], ClassificationData]
    build_model: Callable[[ClassificationData], nn.Module]
    batch_size: int
    epochs: int
    loss_ceiling: float


def chance_level(objective: Objective, data: ClassificationData) -> float:
    """What guessing uniformly reaches: the value of a diverged run, and the cap of every other.

    Wortsman et al. 2023 (arXiv 2309.14322, section 2.2) cap in the same way.
    """
    if objective == "val_error":
        return 1.0 - 1.0 / data.classes
    return math.log(data.classes)
