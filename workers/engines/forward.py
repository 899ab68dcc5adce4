"""One run's forward pass as a function of its parameters and buffers."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from workers.engines.rows import Buffers
from workers.workloads.base import CrossEntropy, Loss, Workload


class Forward:
    """From (parameters, buffers, inputs, labels) to the mean loss of the batch, a scalar.

    Buffers that the model changes while it trains, such as running statistics, are changed in place.

    Args:
        model: For its code.
        loss: From outputs and labels to a scalar.
        names: Of the parameters, in the order in which they are passed.
        autocast: Type in which autocast computes products; None computes in the parameters' own.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, names: Sequence[str], *, autocast: torch.dtype | None = None
    ) -> None:
        self._model = model
        self._loss = loss
        self._names = tuple(names)
        self._autocast = autocast

    def copied(self) -> "Forward":
        """The same with a model of its own, which stays in the mode that it is in now."""
        return Forward(copy.deepcopy(self._model), self._loss, self._names, autocast=self._autocast)

    def __call__(self, parameters: Sequence[Tensor], buffers: Buffers, inputs: Tensor, labels: Tensor) -> Tensor:
        """The mean loss."""
        return self._loss(self.outputs(parameters, buffers, inputs), labels)

    def outputs(self, parameters: Sequence[Tensor], buffers: Buffers, inputs: Tensor) -> Tensor:
        """What the model says, in the parameters' own type: losses are not computed in fewer digits."""
        values = {**dict(zip(self._names, parameters, strict=True)), **buffers}
        if self._autocast is None:
            outputs: Tensor = functional_call(self._model, values, (inputs,))
            return outputs
        with torch.autocast(inputs.device.type, dtype=self._autocast):
            outputs = functional_call(self._model, values, (inputs,))
        return outputs.to(parameters[0].dtype)

    def for_evaluation(self, workload: Workload) -> Callable[[Sequence[Tensor], Buffers, Tensor, Tensor], Tensor]:
        """The unsmoothed loss and the error of a batch as a float64 tensor of two."""
        loss = CrossEntropy() if isinstance(workload.loss, CrossEntropy) else workload.loss

        def measure(parameters: Sequence[Tensor], buffers: Buffers, inputs: Tensor, labels: Tensor) -> Tensor:
            outputs = self.outputs(parameters, buffers, inputs)
            error = outputs.new_full((), float("nan")) if workload.error is None else workload.error(outputs, labels)
            return torch.stack([loss(outputs, labels).double(), error.double()])

        return measure
