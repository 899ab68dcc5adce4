"""The looped engine: the ordinary module, one row after the other, with autograd; compiled where that is asked for.

It works with any layer, needs the activations of one row only, and isolates rows bit for bit.

Shapes: ``T`` rows, ``P`` parameters, ``B`` batch.
"""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from workers.dropout import dropout_keys
from workers.engines.audit import audit, perturbed
from workers.engines.compiling import CompilingFailedError, compile_step
from workers.engines.forward import Forward
from workers.engines.rows import Buffers, RowLayout, Rows, StepData
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
        audit_key: Names workload and training, so that later batches of this process are not audited again.
        on_row: Called after each row of a step or an evaluation.
    """

    def __init__(
        self,
        model: nn.Module,
        rows: Rows,
        workload: Workload,
        *,
        autocast: torch.dtype | None = None,
        compile_key: Hashable | None = None,
        audit_key: Hashable | None = None,
        on_row: Callable[[], None] | None = None,
    ) -> None:
        self._model = model
        self._layout = RowLayout.of(model)
        self._workload = workload
        self._dropout = dropout_keys(model)
        self._train_forward = Forward(model, workload.loss, self._layout.names, autocast=autocast)
        self._compile_key = compile_key
        self._audit_key = audit_key
        self._on_row = on_row
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
            TypeError: The model cannot be trained as ordinary code would, see :mod:`workers.engines.audit`.
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
            self._keep_buffers(row, buffers)
            self._tell_progress()
        return torch.stack(losses)

    def _tell_progress(self) -> None:
        if self._on_row is not None:
            self._on_row()

    def _buffers_of(self, row: int, data: StepData, seed: int) -> Buffers:
        if data.dropout_keys is None:
            return dict(self.rows.buffers[row])
        return self.rows.buffers[row] | dict.fromkeys(self._dropout, data.dropout_keys[seed])

    def _keep_buffers(self, row: int, buffers: Buffers) -> None:
        """Those that the model assigned; the others were changed in place."""
        own = self.rows.buffers[row]
        for name, before in own.items():
            if buffers[name] is not before:
                own[name] = buffers[name].clone()

    def _check(self, data: StepData) -> None:
        """Once: refuse by name what would be trained wrong, and compile if asked to."""
        self._checked = True
        seed = data.seed_of_row[0]
        inputs, labels = data.inputs[seed], data.labels[seed]
        audit(self._model, self._workload, inputs, labels, key=self._audit_key)
        if self._compile_key is not None:
            try:
                self._compiled = compile_step(
                    self._compile_key,
                    self._train_forward,
                    lambda: (self._trial_parameters(), self._trial_buffers(data), inputs.clone(), labels.clone()),
                )
                self._compiled_shape = inputs.shape
            except CompilingFailedError as error:
                self.compiling_failed = str(error)
                self._compile_key = None
                self._leaves = self._make_leaves(self.theta_TP)

    @torch.no_grad()
    def _trial_parameters(self) -> list[Tensor]:
        """Where compiled and eager are compared: near initial values, for those of a row may be anything by now."""
        torch._foreach_copy_(self._leaves, [perturbed(parameter) for parameter in self._model.parameters()])
        return self._leaves

    def _trial_buffers(self, data: StepData) -> Buffers:
        """Copies of initial ones: the trial must not advance running statistics."""
        buffers = {name: buffer.clone() for name, buffer in self._model.named_buffers()}
        return buffers if data.dropout_keys is None else buffers | dict.fromkeys(self._dropout, data.dropout_keys[0])

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
            self._tell_progress()
        loss_T, error_T = (torch.stack(sums) / len(labels)).unbind(1)
        return loss_T, error_T
