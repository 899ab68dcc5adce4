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

    Buffers that the model changes while it trains, such as running statistics, are changed in place; where it assigns
    others, those stand in their places in ``buffers`` afterwards.

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
        outputs = self._call(values, inputs)
        for name, buffer in buffers.items():
            # functional_call leaves in values what the model assigned.
            if values[name] is not buffer:
                buffers[name] = values[name].detach()
        if self._autocast is None:
            return outputs
        if not isinstance(outputs, Tensor):
            raise TypeError(
                f"the model ({type(self._model).__name__}) returns a {type(outputs).__name__}; in bfloat16 it must "
                "return one tensor, which is then turned back: use precision float32"
            )
        return outputs.to(parameters[0].dtype)

    def _call(self, values: dict[str, Tensor], inputs: Tensor) -> Tensor:
        if self._autocast is None:
            outputs: Tensor = functional_call(self._model, values, (inputs,))
        else:
            with torch.autocast(inputs.device.type, dtype=self._autocast):
                outputs = functional_call(self._model, values, (inputs,))
        return outputs

    def for_evaluation(self, workload: Workload) -> Callable[[Sequence[Tensor], Buffers, Tensor, Tensor], Tensor]:
        """The unsmoothed loss and the error of a batch as a float64 tensor of two."""
        loss = CrossEntropy() if isinstance(workload.loss, CrossEntropy) else workload.loss

        def measure(parameters: Sequence[Tensor], buffers: Buffers, inputs: Tensor, labels: Tensor) -> Tensor:
            outputs = self.outputs(parameters, buffers, inputs)
            value = loss(outputs, labels).double()
            error = torch.full_like(value, torch.nan) if workload.error is None else workload.error(outputs, labels)
            return torch.stack([value, error.double()])

        return measure
