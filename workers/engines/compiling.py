"""Compiled steps: one graph per model and batch shape, kept for the life of the process and compared with eager."""

import types
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from workers.engines.forward import Forward

#: Largest difference of the compiled gradient from the eager one, relative to the largest gradient, per type.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9}

_steps: dict[Hashable, "Step | CompilingFailedError"] = {}
Step = Callable[..., Tensor]


class CompilingFailedError(Exception):
    """The step cannot be compiled here, or computes something else when it is; the message says what happened."""


def compile_step(key: Hashable, forward: Forward, make_arguments: Callable[[], Sequence[Any]]) -> Step:
    """The compiled twin of ``forward``, from an earlier call with the same key or made now.

    Args:
        key: Names everything that ``forward`` depends on: workload, model, loss, types, device, batch shape.
        forward: The eager step.
        make_arguments: Fresh arguments of a typical call: (parameters, buffers, inputs, labels).

    Raises:
        CompilingFailedError: There is no compiler, the model cannot be compiled, or the result differs from eager.
    """
    if key not in _steps:
        try:
            _steps[key] = _compile(forward, make_arguments)
        except CompilingFailedError as error:
            _steps[key] = error
    step = _steps[key]
    if isinstance(step, CompilingFailedError):
        raise step
    return step


def _compile(forward: Forward, make_arguments: Callable[[], Sequence[Any]]) -> Step:
    expected_loss, expected = _gradients(forward, make_arguments())
    on_gpu = expected_loss.is_cuda
    # Worker processes of the compiler would outnumber the processors: every worker of ours has one.
    with torch._inductor.config.patch(compile_threads=1):
        try:
            # The engine's model changes its mode for evaluation, and the next batch's engine has another one.
            step = torch.compile(
                _own_code(forward.copied()), fullgraph=False, dynamic=False, mode="reduce-overhead" if on_gpu else None
            )
            loss, actual = _gradients(step, make_arguments())
        # Compilers fail in many ways of their own; whatever it is, eager still works.
        except Exception as error:
            lines = str(error).strip().splitlines()
            raise CompilingFailedError(f"{type(error).__name__}: {lines[0] if lines else ''}") from error
    _compare(expected_loss, loss, expected, actual)
    return step


def _own_code(forward: Forward) -> Step:
    """A function with a code object of its own: the compiler counts recompilations per code object, and gives up."""

    def step(parameters: Sequence[Tensor], buffers: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        return forward(parameters, buffers, inputs, labels)

    return types.FunctionType(step.__code__.replace(), step.__globals__, step.__name__, None, step.__closure__)


def _gradients(step: Step, arguments: Sequence[Any]) -> tuple[Tensor, list[Tensor]]:
    loss = step(*arguments)
    grads = torch.autograd.grad(loss, arguments[0], materialize_grads=True)
    return loss.detach().clone(), [grad.clone() for grad in grads]


def _compare(expected_loss: Tensor, loss: Tensor, expected: list[Tensor], actual: list[Tensor]) -> None:
    """Refuse a compiled step that computes something else: such compiler faults are known."""
    bound = TOLERANCE.get(expected_loss.dtype, 1e-2)
    pairs = [(expected_loss, loss), *zip(expected, actual, strict=True)]
    scale = max(_largest(eager) for eager, _ in pairs)
    for eager, compiled in pairs:
        same = (eager == compiled) | (eager.isnan() & compiled.isnan())
        difference = (eager - compiled).masked_fill(same, 0.0).abs()
        if not bool((difference <= bound * scale).all()):
            raise CompilingFailedError(f"the compiled step differs from the eager one by {float(difference.max()):.3g}")


def _largest(values: Tensor) -> float:
    """The largest finite magnitude; what is not finite has no scale."""
    return float(values.abs().nan_to_num(0.0, 0.0, 0.0).max()) if values.numel() else 0.0
