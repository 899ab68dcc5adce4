"""The looped engine: the ordinary module, one row after the other, with autograd; compiled where that is asked for.

It works with any layer, needs the activations of one row only, and isolates rows bit for bit.

Shapes: ``T`` rows, ``P`` parameters, ``B`` batch.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor, nn

from workers.dropout import dropout_keys
from workers.engines.compiling import CompilingFailedError, compile_step
from workers.engines.forward import Forward
from workers.engines.rows import Buffers, RowLayout, Rows, StepData
from workers.global_generators import find_hidden_randomness
from workers.workloads.base import Workload

#: Examples that go through the model at once in evaluation: bounds its memory.
EVALUATION_BATCH = 500


class LoopedEngine:
    """Gradients and losses of rows, each computed by the module's own code on a copy of its row.

    Args:
        model: For its code; its own parameters are never used.
        rows: The runs.
        workload: For its loss and error.
        autocast: Type in which autocast computes products; None computes in the rows' own.
        compile_key: Names the compiled step, so that later batches of this process find it; None runs eagerly.
    """

    def __init__(
        self,
        model: nn.Module,
        rows: Rows,
        workload: Workload,
        *,
        autocast: torch.dtype | None = None,
        compile_key: Hashable | None = None,
    ) -> None:
        self._model = model
        self._layout = RowLayout.of(model)
        self._workload = workload
        self._dropout = dropout_keys(model)
        self._train_forward = Forward(model, workload.loss, self._layout.names, autocast=autocast)
        self._compile_key = compile_key
        self._compiled: Callable[..., Tensor] | None = None
        self._compiled_shape: torch.Size | None = None
        self.compiling_failed = ""
        self._checked = False
        self._leaves = self._make_leaves(rows.theta_TP)
        self.set_rows(rows)

    @property
    def name(self) -> str:
        """``looped-compiled`` once the compiled step is in use, else ``looped``."""
        return "looped-compiled" if self._compiled is not None else "looped"

    def set_rows(self, rows: Rows) -> None:
        """Continue with these rows."""
        self.rows = rows
        self.theta_TP = rows.theta_TP
        self.grad_TP = torch.zeros_like(rows.theta_TP)
        grads = list(self._layout.views(self.grad_TP).values())
        self._grads = [[grad[row] for grad in grads] for row in range(len(self.grad_TP))]
        thetas = list(self._layout.views(self.theta_TP).values())
        self._thetas = [[theta[row] for theta in thetas] for row in range(len(self.theta_TP))]

    def _make_leaves(self, like_TP: Tensor) -> list[Tensor]:
        """Where the parameters of the row that is being computed lie.

        Matrix products depend in their last bits on how their factors are aligned in memory (seen with MKL in torch
        2.14), and rows are not: each is copied to the same place before it is used. There, weights of 2-D convolutions
        have their channels innermost, which convolutions, batch norm and pooling in eager mode are fastest with
        (docs/architecture.md); a compiler chooses by itself.
        """
        # In float64 no fast convolutions exist, and the usual order keeps the digits of ordinary code.
        innermost = self._compile_key is None and like_TP.dtype != torch.float64
        leaves = []
        for shape in self._layout.shapes:
            order = torch.channels_last if innermost and len(shape) == 4 else torch.contiguous_format
            leaves.append(torch.empty(shape, dtype=like_TP.dtype, device=like_TP.device, memory_format=order))
        return [leaf.requires_grad_() for leaf in leaves]

    @torch.no_grad()
    def _parameters_of(self, row: int) -> list[Tensor]:
        """The parameters of a row as leaves, until the next call."""
        if self._leaves:
            torch._foreach_copy_(self._leaves, self._thetas[row])
        return self._leaves

    def compute_gradients(self, data: StepData) -> Tensor:
        """Fill ``grad_TP`` with the gradients of each row's mean loss over its batch.

        Returns:
            The mean loss of each row, shape (T,).

        Raises:
            TypeError: The model draws random numbers that are not counter-based.
        """
        self._model.train()
        if not self._checked:
            self._check(data)
        losses = []
        for row, seed in enumerate(data.seed_of_row):
            inputs, labels = data.inputs[seed], data.labels[seed]
            step = self._compiled if inputs.shape == self._compiled_shape else None
            parameters, buffers = self._parameters_of(row), self._buffers_of(row, data, seed)
            loss = (step or self._train_forward)(parameters, buffers, inputs, labels)
            grads = torch.autograd.grad(loss, parameters, materialize_grads=True)
            torch._foreach_copy_(self._grads[row], grads)
            # A captured graph overwrites its outputs when it runs again.
            losses.append(loss.detach().clone())
        return torch.stack(losses)

    def _buffers_of(self, row: int, data: StepData, seed: int) -> Buffers:
        if data.dropout_keys is None:
            return self.rows.buffers[row]
        return self.rows.buffers[row] | dict.fromkeys(self._dropout, data.dropout_keys[seed])

    def _check(self, data: StepData) -> None:
        """Once: refuse hidden randomness by name, and compile if asked to."""
        self._checked = True
        seed = data.seed_of_row[0]
        arguments = (self._parameters_of(0), self._buffers_of(0, data, seed), data.inputs[seed], data.labels[seed])
        # On the CPU, whose generator is watched; a model that draws there draws everywhere.
        hidden = find_hidden_randomness(self._model, lambda: self._train_forward(*_on_cpu(*arguments)))
        if hidden:
            raise TypeError(
                f"the model of workload {self._workload.name!r} draws from a global random generator while it trains, "
                f"in {', '.join(hidden)}: its runs would depend on their company; use nn.Dropout, which is made "
                "counter-based, or layers without randomness (no F.dropout, no dropout inside nn.LSTM, nn.GRU or "
                "attention)"
            )
        if self._compile_key is not None:
            try:
                self._compiled = compile_step(self._compile_key, self._train_forward, lambda: _copied(*arguments))
                self._compiled_shape = data.inputs[seed].shape
            except CompilingFailedError as error:
                self.compiling_failed = str(error)
                self._compile_key = None
                self._leaves = self._make_leaves(self.theta_TP)

    @torch.no_grad()
    def evaluate(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and share of wrong predictions of each row on a whole split, both of shape (T,).

        Labels are never smoothed here. The error is NaN where the workload has none.
        """
        self._model.eval()
        forward = self._train_forward.for_evaluation(self._workload)
        sums = []
        for row, buffers in enumerate(self.rows.buffers):
            parameters = self._parameters_of(row)
            parts = zip(*(torch.split(part, EVALUATION_BATCH) for part in (inputs, labels)), strict=True)
            measured = [forward(parameters, buffers, part, part_labels) * len(part) for part, part_labels in parts]
            sums.append(torch.stack(measured).sum(dim=0))
        loss_T, error_T = (torch.stack(sums) / len(labels)).unbind(1)
        return loss_T, error_T


def _on_cpu(
    leaves: Sequence[Tensor], buffers: Buffers, inputs: Tensor, labels: Tensor
) -> tuple[Sequence[Tensor], Buffers, Tensor, Tensor]:
    copies = {name: buffer.detach().to("cpu", copy=True) for name, buffer in buffers.items()}
    return [leaf.detach().cpu() for leaf in leaves], copies, inputs.cpu(), labels.cpu()


def _copied(
    leaves: Sequence[Tensor], buffers: Buffers, inputs: Tensor, labels: Tensor
) -> tuple[Sequence[Tensor], Buffers, Tensor, Tensor]:
    """The same arguments with buffers that may be changed: a trial step must not advance running statistics."""
    return leaves, {name: buffer.clone() for name, buffer in buffers.items()}, inputs, labels
