"""The stacked engine: linear layers of all rows as one batched product, with a hand-written backward pass.

Activations are feature-major, (T, F, B): the softmax then runs over an outer dimension, which is far faster for few
classes. Each row's numbers do not depend on how many rows there are or where it stands among them.

Shapes: ``T`` rows, ``P`` parameters, ``F`` features of a layer, ``B`` batch, ``C`` classes.
"""

import torch
from torch import Tensor, nn

from workers.engines.rows import RowLayout


def is_stackable(model: nn.Module) -> bool:
    """Whether ``model`` is a chain Flatten, Linear, ReLU, Linear, …, Linear with biases."""
    if not isinstance(model, nn.Sequential) or len(model) % 2 or not isinstance(model[0], nn.Flatten):
        return False
    linear, activation = list(model)[1::2], list(model)[2::2]
    return all(isinstance(layer, nn.Linear) and layer.bias is not None for layer in linear) and all(
        isinstance(layer, nn.ReLU) for layer in activation
    )


class StackedEngine:
    """Gradients and losses of all rows at once, for multilayer perceptrons and logistic regression."""

    name = "stacked"

    def __init__(self, model: nn.Module, theta_TP: Tensor) -> None:
        if not is_stackable(model):
            raise TypeError("the stacked engine takes Flatten, Linear, ReLU, …, Linear only; use the looped engine")
        self._layout = RowLayout.of(model)
        self.set_rows(theta_TP)

    def set_rows(self, theta_TP: Tensor) -> None:
        """Continue with these rows."""
        self.theta_TP = theta_TP
        self.grad_TP = torch.zeros_like(theta_TP)
        self._layers = self._pairs(theta_TP)
        self._grads = self._pairs(self.grad_TP)

    def _pairs(self, rows_TP: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(weight (T, F_out, F_in), bias (T, F_out, 1)) of each layer, as views of the rows."""
        views = list(self._layout.views(rows_TP).values())
        return [(weight, bias.unsqueeze(2)) for weight, bias in zip(views[::2], views[1::2], strict=True)]

    @torch.no_grad()
    def compute_gradients(self, inputs: Tensor, labels: Tensor, example_TB: Tensor) -> Tensor:
        """Fill ``grad_TP`` with the gradients of each row's mean loss over its batch.

        Args:
            inputs: (N, ...) training inputs.
            labels: (N,) their labels.
            example_TB: For each row, the indices of its batch.

        Returns:
            The mean loss of each row, shape (T,).
        """
        activations = [inputs[example_TB].flatten(2).transpose(1, 2)]
        for weight, bias in self._layers[:-1]:
            activations.append(_linear(bias, weight, activations[-1]).relu_())
        weight, bias = self._layers[-1]
        logits_TCB = _linear(bias, weight, activations[-1])
        label_T1B = labels[example_TB].unsqueeze(1)
        log_probability_TCB = logits_TCB.log_softmax(dim=1)
        loss_T = -log_probability_TCB.gather(1, label_T1B).mean(dim=(1, 2))
        # d loss / d logits = (softmax - one-hot) / B
        delta = log_probability_TCB.exp_()
        delta.scatter_add_(1, label_T1B, delta.new_full((), -1.0).expand_as(label_T1B))
        delta.div_(example_TB.shape[1])
        self._backward(activations, delta)
        return loss_T

    def _backward(self, activations: list[Tensor], delta: Tensor) -> None:
        for layer in range(len(self._layers) - 1, -1, -1):
            weight_grad, bias_grad = self._grads[layer]
            weight_grad.copy_(_product(delta, activations[layer].transpose(1, 2)))
            torch.sum(delta, dim=2, keepdim=True, out=bias_grad)
            if layer > 0:
                weight, _ = self._layers[layer]
                delta = _product(weight.transpose(1, 2), delta)
                delta.masked_fill_(activations[layer] <= 0, 0)

    @torch.no_grad()
    def evaluate(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and share of wrong predictions of each row on a whole split, both of shape (T,)."""
        rows = self.theta_TP.shape[0]
        activation = inputs.flatten(1).T.expand(rows, -1, -1)
        for weight, bias in self._layers[:-1]:
            activation = _linear(bias, weight, activation).relu_()
        weight, bias = self._layers[-1]
        logits_TCN = _linear(bias, weight, activation)
        label_T1N = labels.expand(rows, 1, -1)
        loss_T = -logits_TCN.log_softmax(dim=1).gather(1, label_T1N).mean(dim=(1, 2))
        error_T = (logits_TCN.argmax(dim=1) != labels).double().mean(dim=1)
        return loss_T, error_T


def _linear(bias: Tensor, weight: Tensor, activation: Tensor) -> Tensor:
    """``weight @ activation + bias`` of each row; one row alone is computed as two, see :func:`_product`."""
    if len(weight) == 1:
        return torch.baddbmm(_twice(bias), _twice(weight), _twice(activation))[:1]
    return torch.baddbmm(bias, weight, activation)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of each row.

    Older torch (seen in 2.11) sends a batch of one to another kernel, which rounds differently: a run alone would
    not have the bits that it has in company.
    """
    if len(left) == 1:
        return torch.bmm(_twice(left), _twice(right))[:1]
    return torch.bmm(left, right)


def _twice(rows: Tensor) -> Tensor:
    return rows.expand(2, -1, -1)
