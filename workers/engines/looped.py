"""The looped engine: the ordinary module, one row after the other, with autograd. Works with any layer.

Shapes: ``T`` rows, ``P`` parameters, ``B`` batch.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from workers.engines.rows import RowLayout


class LoopedEngine:
    """Gradients and losses of rows, each computed by the module's own code on views of its row."""

    name = "looped"

    def __init__(self, model: nn.Module, theta_TP: Tensor) -> None:
        if any(True for _ in model.buffers()):
            raise TypeError("the looped engine does not keep buffers (batch norm) per row yet; use layers without")
        self._model = model
        self._layout = RowLayout.of(model)
        self.set_rows(theta_TP)

    def set_rows(self, theta_TP: Tensor) -> None:
        """Continue with these rows."""
        self.theta_TP = theta_TP
        self.grad_TP = torch.zeros_like(theta_TP)
        self._parameters = self._leaves(self._layout.views(theta_TP), self._layout.views(self.grad_TP))

    def _leaves(self, values: dict[str, Tensor], grads: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        rows = []
        for row in range(self.theta_TP.shape[0]):
            leaves = {name: value[row].detach().requires_grad_() for name, value in values.items()}
            for name, leaf in leaves.items():
                leaf.grad = grads[name][row]
            rows.append(leaves)
        return rows

    def compute_gradients(self, inputs: Tensor, labels: Tensor, example_TB: Tensor) -> Tensor:
        """Fill ``grad_TP`` with the gradients of each row's mean loss over its batch.

        Args:
            inputs: (N, ...) training inputs.
            labels: (N,) their labels.
            example_TB: For each row, the indices of its batch.

        Returns:
            The mean loss of each row, shape (T,).
        """
        self.grad_TP.zero_()
        losses = []
        for parameters, example_B in zip(self._parameters, example_TB, strict=True):
            logits = functional_call(self._model, parameters, (inputs[example_B],))
            loss = cross_entropy(logits, labels[example_B])
            torch.autograd.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses)

    @torch.no_grad()
    def evaluate(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and share of wrong predictions of each row on a whole split, both of shape (T,)."""
        losses, errors = [], []
        for parameters in self._parameters:
            logits = functional_call(self._model, parameters, (inputs,))
            losses.append(cross_entropy(logits, labels))
            errors.append((logits.argmax(dim=1) != labels).double().mean())
        return torch.stack(losses), torch.stack(errors)
