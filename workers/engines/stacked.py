"""The stacked engine: linear layers of all rows as one batched product, with a hand-written backward pass.

Activations are feature-major, (T, F, B): the softmax then runs over an outer dimension, which is far faster for few
classes. Rows of one seed share their batch. Each row's numbers do not depend on how many rows
there are or where it stands among them.

Shapes: ``T`` rows, ``P`` parameters, ``F`` features of a layer, ``B`` batch, ``C`` classes.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from workers.engines.rows import RowLayout, Rows, StepData
from workers.workloads.base import CrossEntropy, Workload, share_of_wrong_labels

#: Values of activations that evaluation holds at once per layer: bounds its memory and keeps it near the processor.
_EVALUATION_VALUES = 2**21
#: Bytes. Tensors start at multiples of it, and here their rows do, too: how factors and products are aligned in memory
#: decides the last bits (seen with MKL in torch 2.14), so a row's numbers would depend on where it stands.
_ALIGNMENT = 64
#: Where torch keeps what is called when a module is called, and when a parameter gets its gradient.
_MODULE_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def why_not_stackable(model: nn.Module, workload: Workload) -> str:
    """What the stacked engine cannot represent of ``model`` and ``workload``; empty if it can represent all."""
    layers = list(model) if type(model) is nn.Sequential else []
    if not _is_linear_chain(layers):
        return "its model is not a chain Flatten, Linear, ReLU, Linear, …, Linear with biases"
    if not isinstance(workload.loss, CrossEntropy) or workload.error is not share_of_wrong_labels:
        return "its loss is not cross-entropy, or its error not the share of wrong labels"
    for name, module in model.named_modules():
        if _does_more_than_its_type(module):
            place = f"layer {name}" if name else "model"
            return f"its {place} has hooks, buffers (as masks of pruning are) or a forward of its own"
    own = [f"{layer}.{name}" for layer in list(model._modules)[1::2] for name in ("weight", "bias")]
    if [name for name, _ in model.named_parameters()] != own:  # each is listed once, under the first of its names
        return "its parameters are not just a weight and a bias of each Linear, in this order and unshared"
    return ""


def _is_linear_chain(layers: list[nn.Module]) -> bool:
    return (
        len(layers) >= 2
        and len(layers) % 2 == 0
        and type(layers[0]) is nn.Flatten
        and (layers[0].start_dim, layers[0].end_dim) == (1, -1)
        and all(type(layer) is nn.Linear and layer.bias is not None for layer in layers[1::2])
        and all(type(layer) is nn.ReLU for layer in layers[2::2])
    )


def _does_more_than_its_type(module: nn.Module) -> bool:
    """Whether something was added that the type does not tell: hooks, buffers, another forward."""
    return bool(
        any(vars(module).get(hooks) for hooks in _MODULE_HOOKS)
        or any(getattr(p, hooks, None) for p in module._parameters.values() for hooks in _PARAMETER_HOOKS)
        or module._buffers
        or "forward" in vars(module)
    )


class StackedEngine:
    """Gradients and losses of all rows at once, for multilayer perceptrons and logistic regression.

    Args:
        model: Tells the layers.
        rows: The runs.
        workload: Its loss is cross-entropy.

    Raises:
        TypeError: The engine cannot represent the model or the workload.
    """

    name = "stacked"

    def __init__(self, model: nn.Module, rows: Rows, workload: Workload) -> None:
        reason = why_not_stackable(model, workload)
        if reason:
            raise TypeError(f"the stacked engine cannot train workload {workload.name!r}: {reason}; use engine looped")
        assert isinstance(workload.loss, CrossEntropy)  # noqa: S101 - seen above; tells the type checker
        self._label_smoothing = workload.loss.label_smoothing
        self._layout = RowLayout.of(model)
        self.set_rows(rows)

    def set_rows(self, rows: Rows) -> None:
        """Continue with these rows."""
        self.rows = rows
        self.theta_TP = rows.theta_TP
        self.grad_TP = torch.zeros_like(self.theta_TP)
        rows_count, size = self.theta_TP.shape
        padded = size + _missing(size, self.theta_TP)
        self._aligned_TP = self.theta_TP.new_zeros(rows_count, padded)[:, :size]
        self._layers = self._pairs(self._aligned_TP)
        self._grads = self._pairs(self.grad_TP)

    def _pairs(self, rows_TP: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(weight (T, F_out, F_in), bias (T, F_out, 1)) of each layer, as views of the rows."""
        views = list(self._layout.views(rows_TP).values())
        return [(weight, bias.unsqueeze(2)) for weight, bias in zip(views[::2], views[1::2], strict=True)]

    @torch.no_grad()
    def compute_gradients(self, data: StepData) -> Tensor:
        """Fill ``grad_TP`` with the gradients of each row's mean loss over its batch.

        Returns:
            The mean loss of each row, shape (T,).
        """
        shared = _SharedInputs(data)
        self._aligned_TP.copy_(self.theta_TP)
        activations: list[Tensor] = []
        for weight, bias in self._layers:
            activation = _linear(bias, weight, activations[-1]) if activations else shared.linear(bias, weight)
            activations.append(activation if weight is self._layers[-1][0] else activation.relu_())
        loss_T, delta = self._loss(activations.pop(), shared.labels_of_rows(), shared.size)
        self._backward(shared, activations, delta)
        return loss_T

    def _loss(self, logits_TCB: Tensor, labels_TB: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Mean loss of each row, and its derivative with respect to the logits: (softmax - target) / B.

        Only the first ``size`` examples count.
        """
        classes = logits_TCB.shape[1]
        labels_T1B = labels_TB.unsqueeze(1)
        smoothing = self._label_smoothing
        log_probability_TCB = logits_TCB.log_softmax(dim=1)
        loss_T = -(1 - smoothing) * log_probability_TCB.gather(1, labels_T1B)[:, 0, :size].mean(dim=1)
        if smoothing:
            loss_T -= smoothing * log_probability_TCB[:, :, :size].mean(dim=(1, 2))
        delta = log_probability_TCB.exp_()
        delta.scatter_add_(1, labels_T1B, delta.new_full((), smoothing - 1.0).expand_as(labels_T1B))
        if smoothing:
            delta.sub_(smoothing / classes)
        if size < delta.shape[2]:
            delta[:, :, size:] = 0
        return loss_T, delta.div_(size)

    def _backward(self, shared: "_SharedInputs", activations: list[Tensor], delta: Tensor) -> None:
        for layer in range(len(self._layers) - 1, -1, -1):
            weight_grad, bias_grad = self._grads[layer]
            torch.sum(delta, dim=2, keepdim=True, out=bias_grad)
            if layer == 0:
                shared.weight_gradient(delta, weight_grad)
                return
            activation = activations[layer - 1]
            missing = _missing_features(weight_grad)
            features = pad(activation, (0, 0, 0, missing)) if missing else activation
            product = _product(delta, features.transpose(1, 2))
            weight_grad.copy_(product[:, :, :-missing] if missing else product)
            weight, _ = self._layers[layer]
            delta = _product(weight.transpose(1, 2), delta)
            delta.masked_fill_(activation <= 0, 0)

    @torch.no_grad()
    def evaluate(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and share of wrong predictions of each row on a whole split, both of shape (T,).

        Labels are never smoothed here.
        """
        rows = self.theta_TP.shape[0]
        widest = max(weight.shape[1] for weight, _ in self._layers)
        # The size must not depend on the number of rows: sums over parts would be rounded differently.
        size = 64 * max(1, _EVALUATION_VALUES // (64 * 32 * widest))
        self._aligned_TP.copy_(self.theta_TP)
        sums_2T = torch.zeros(2, rows, dtype=torch.float64, device=inputs.device)
        for part, part_labels in zip(torch.split(inputs, size), torch.split(labels, size), strict=True):
            features = _whole_lines(part).flatten(1).T
            sums_2T += self._evaluate_part(features.expand(rows, -1, -1), part_labels)
        loss_T, error_T = (sums_2T / len(labels)).unbind()
        return loss_T, error_T

    def _evaluate_part(self, activation: Tensor, labels: Tensor) -> Tensor:
        """Sums of losses and of errors over some examples, shape (2, T)."""
        for weight, bias in self._layers[:-1]:
            activation = _linear(bias, weight, activation).relu_()
        weight, bias = self._layers[-1]
        logits_TCN = _linear(bias, weight, activation)[:, :, : len(labels)]
        labels_T1N = labels.expand(len(logits_TCN), 1, -1)
        loss_TN = -logits_TCN.log_softmax(dim=1).gather(1, labels_T1N).squeeze(1)
        wrong_TN = _is_wrong(logits_TCN, labels)
        return torch.stack([loss_TN.double().sum(dim=1), wrong_TN.double().sum(dim=1)])


class _SharedInputs:
    """The first layer's inputs: rows of one seed that stand together share theirs without a copy."""

    def __init__(self, data: StepData) -> None:
        self._data = data
        #: Examples that count; those behind them only fill lines.
        self.size = len(data.labels[0])
        self._features = [_whole_lines(inputs).flatten(1).T for inputs in data.inputs]
        self._groups: list[tuple[slice, int]] = []
        start = 0
        for seed, group in itertools.groupby(data.seed_of_row):
            end = start + len(list(group))
            self._groups.append((slice(start, end), seed))
            start = end

    def linear(self, bias: Tensor, weight: Tensor) -> Tensor:
        """``weight @ inputs + bias`` of each row."""
        parts = [
            _linear(bias[rows], weight[rows], self._features[seed].expand(rows.stop - rows.start, -1, -1))
            for rows, seed in self._groups
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def weight_gradient(self, delta: Tensor, weight_grad: Tensor) -> None:
        """Fill ``weight_grad`` with ``delta @ inputs.T`` of each row."""
        missing = _missing_features(weight_grad)
        for rows, seed in self._groups:
            inputs = pad(self._features[seed].T, (0, missing)) if missing else self._features[seed].T
            product = _product(delta[rows], inputs.expand(rows.stop - rows.start, -1, -1))
            weight_grad[rows].copy_(product[:, :, :-missing] if missing else product)

    def labels_of_rows(self) -> Tensor:
        """Labels of each row, (T, B)."""
        labels = [_filled(labels, self._features[0].shape[1]) for labels in self._data.labels]
        return torch.stack([labels[seed] for seed in self._data.seed_of_row])


def _is_wrong(logits_TCN: Tensor, labels_N: Tensor) -> Tensor:
    """``logits_TCN.argmax(dim=1) != labels_N``, ties included, without argmax, which takes longer than all the rest."""
    largest = logits_TCN.amax(dim=1, keepdim=True)
    if largest.isnan().any():  # argmax takes the first NaN
        return logits_TCN.argmax(dim=1) != labels_N
    is_largest = logits_TCN == largest
    classes = torch.arange(logits_TCN.shape[1], device=labels_N.device).unsqueeze(1)
    is_first = ~(is_largest & (classes < labels_N)).any(dim=1)
    is_label = is_largest.gather(1, labels_N.expand(len(logits_TCN), 1, -1)).squeeze(1)
    return ~(is_label & is_first)


def _linear(bias: Tensor, weight: Tensor, activation: Tensor) -> Tensor:
    """``weight @ activation + bias`` of each row; one row alone is computed as two, see :func:`_product`."""
    if len(weight) == 1:
        return torch.baddbmm(_twice(bias), _twice(weight), _twice(activation))[:1]
    return torch.baddbmm(bias, weight, activation)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of each row; a product must be a multiple of _ALIGNMENT long.

    Older torch (seen in 2.11) sends a batch of one to another kernel, which rounds differently: a run alone would
    not have the bits that it has in company.
    """
    if len(left) == 1:
        return torch.bmm(_twice(left), _twice(right))[:1]
    return torch.bmm(left, right)


def _whole_lines(examples: Tensor) -> Tensor:
    """The examples, the last one repeated until matrices of so many columns are as long as _ALIGNMENT asks for."""
    return _filled(examples, len(examples) + _missing(len(examples), examples))


def _filled(examples: Tensor, size: int) -> Tensor:
    """``size`` examples: those given, and the last one again and again."""
    missing = size - len(examples)
    return torch.cat([examples, examples[-1:].expand(missing, *examples.shape[1:])]) if missing else examples


def _missing_features(weight_grad: Tensor) -> int:
    """How many features the inputs lack until products of the shape of (T, F_out, F_in) are as long as _ALIGNMENT asks.

    Writing the product into rows that are longer than it was slower than multiplying a few zeros.
    """
    _, fan_out, fan_in = weight_grad.shape
    values = _ALIGNMENT // weight_grad.element_size()
    return -fan_in % (values // math.gcd(values, fan_out))


def _missing(values: int, like: Tensor) -> int:
    """How many values of that type are missing to a multiple of _ALIGNMENT."""
    return -values % (_ALIGNMENT // like.element_size())


def _twice(rows: Tensor) -> Tensor:
    return rows.expand(2, -1, -1)
