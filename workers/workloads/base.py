"""What a workload is: data, model, loss, batch size, budget and metric under one name."""

import math
import numbers
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adai.schedules import Schedule, constant
from workers.messages import Objective


class MissingDataError(Exception):
    """A workload's data is not on this machine; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Split:
    """Examples of one part of a data set: ``inputs`` (N, ...), ``labels`` (N,), or (N, L) for sequences.

    Raises:
        ValueError: They are not tensors, not equally many, or none.
    """

    inputs: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Refuse what cannot be trained on."""
        for name, value in (("inputs", self.inputs), ("labels", self.labels)):
            if not isinstance(value, Tensor) or value.dim() < 1:
                raise ValueError(
                    f"{name} of a Split are {type(value).__name__}; give a tensor whose first dimension is examples, "
                    "for example of torch.from_numpy"
                )
        if not len(self.inputs) == len(self.labels) > 0:
            raise ValueError(
                f"a Split has {len(self.inputs)} inputs and {len(self.labels)} labels; give as many of both, at least 1"
            )


@dataclass(frozen=True, slots=True)
class Dataset:
    """The three parts of a data set, disjoint, and the number of classes; None where there are no classes.

    Raises:
        ValueError: With classes, labels are no int64 from 0 to below their number; inputs are not finite.
    """

    train: Split
    validation: Split
    test: Split
    classes: int | None

    def __post_init__(self) -> None:
        """Refuse what no run could learn from."""
        for part in ("train", "validation", "test"):
            split: Split = getattr(self, part)
            if self.classes is not None:
                _check_labels(part, split.labels, self.classes)
            # A minimum is NaN if anything is, and needs no memory.
            if split.inputs.is_floating_point() and not torch.stack(split.inputs.aminmax()).isfinite().all():
                raise ValueError(f"the {part} inputs have infinite numbers or NaN; replace them or leave examples out")


def _check_labels(part: str, labels: Tensor, classes: int) -> None:
    if labels.dtype != torch.int64:
        raise ValueError(f"the {part} labels are {labels.dtype}; classes are indices: give int64, for example .long()")
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= classes:
        raise ValueError(
            f"the {part} labels go from {low} to {high}; with classes={classes} they must be from 0 to {classes - 1}"
        )


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Mean cross-entropy in nats of logits (B, C) or (B, C, L) against labels (B,) or (B, L).

    Attributes:
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1) (Szegedy et al., CVPR
            2016, section 7). Used in training only: validation and test losses are never smoothed.
    """

    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over examples and positions, a scalar."""
        return cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


def share_of_wrong_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of wrong predictions among examples (and positions), a float64 scalar in [0, 1]."""
    return (logits.argmax(dim=1) != labels).to(torch.float64).mean()


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
#: Mean loss of a batch: (outputs, labels) to a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]
#: (images of a batch (B, ...), one random 64-bit word per image (B,) int64) to images of the same shape.
Augmentation = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A training task.

    Attributes:
        name: As users write it in a study spec.
        title: Its name in reports.
        citation: Where the data, and the model if it is published, come from.
        load_data: Reads the data set into memory, split by a fixed seed. Raises MissingDataError.
        build_model: Makes the untrained model for data of that shape, with its initial weights from torch's own
            random functions: the engine makes them counter-based (workers/initialization.py).
        batch_size: Examples in a step; the last batch of an epoch may be smaller.
        epochs: Budget if the spec sets none.
        loss_ceiling: A run whose loss exceeds it has diverged.
        schedule: Factor of the learning rate over the budget, if the spec sets none.
        loss: Mean loss of a batch in training; a CrossEntropy for everything that has classes.
        error: Share of wrong predictions; None where there are no predictions to be wrong, and the objective can only
            be the loss.
        augment: Changes training images at random; None leaves them as they are.
        chance_loss: Validation loss of a model that learned nothing; None means log(classes).
        target_error: Validation error that counts as reached in "time to target"; None where nobody has named one.

    Raises:
        ValueError: One of them is of the wrong kind or out of its range.
    """

    name: str
    title: str
    citation: str
    load_data: Callable[[], Dataset]
    build_model: Callable[[Dataset], nn.Module]
    batch_size: int
    epochs: int
    loss_ceiling: float
    schedule: Schedule = field(default_factory=constant)
    loss: Loss = CrossEntropy()
    error: Callable[[Tensor, Tensor], Tensor] | None = share_of_wrong_labels
    augment: Augmentation | None = None
    chance_loss: float | None = None
    target_error: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is not a workload name; use 1 to 64 lower-case letters, digits, '.', '_' or '-', the "
                "first a letter or digit"
            )
        for count in ("batch_size", "epochs"):
            value = getattr(self, count)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"workload {self.name!r}: {count} must be a whole number of at least 1, not {value!r}")
        if not (_is_number(self.loss_ceiling) and self.loss_ceiling > 0):
            raise ValueError(f"workload {self.name!r}: loss_ceiling must be above 0, not {self.loss_ceiling!r}")
        if self.chance_loss is not None and not (_is_number(self.chance_loss) and math.isfinite(self.chance_loss)):
            raise ValueError(f"workload {self.name!r}: chance_loss must be a finite number, not {self.chance_loss!r}")
        if self.target_error is not None and not (_is_number(self.target_error) and 0 <= self.target_error <= 1):
            raise ValueError(
                f"workload {self.name!r}: target_error is a share and must be from 0 to 1, not {self.target_error!r}"
            )
        self._check_functions()

    def _check_functions(self) -> None:
        for function in ("load_data", "build_model", "schedule", "loss", "error", "augment"):
            value = getattr(self, function)
            if value is None and function in ("error", "augment"):
                continue
            if not callable(value):
                raise ValueError(  # noqa: TRY004 - all that is wrong with a workload is one kind of error
                    f"workload {self.name!r}: {function} must be a function, not {value!r}; pass it uncalled"
                )

    def chance_level(self, objective: Objective, data: Dataset) -> float:
        """What learning nothing reaches: the value of a diverged run, and the cap of every other.

        With classes, guessing uniformly. Wortsman et al. 2023 (arXiv 2309.14322, section 2.2) cap in the same way.

        Raises:
            ValueError: There is no such level: no predictions or no classes, and nothing that says it.
        """
        if objective == "val_loss" and self.chance_loss is not None:
            return self.chance_loss
        if objective == "val_error" and (self.error is None or data.classes is None):
            raise ValueError(
                f"workload {self.name!r} has no predictions of classes to be wrong; use objective val_loss"
            )
        if data.classes is None:
            raise ValueError(f"workload {self.name!r} has no classes, so no chance level of val_loss; set chance_loss")
        return 1.0 - 1.0 / data.classes if objective == "val_error" else math.log(data.classes)
