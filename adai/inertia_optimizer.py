"""Adai, AdaiW and AdaiV2 as ``torch.optim.Optimizer`` classes: one v_bar over all parameters of all groups."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from adai.inertia_tensors import TENSORS, new_state, plain_step, tensors_are_verified
from adai.optimizer import Group, RuleOptimizer


class InertiaOptimizer(RuleOptimizer):
    """What the three classes share: the step, plain or compiled, with one v_bar over all parameters."""

    beta_names = ("beta0", "beta2")
    _mixed = False  # whether the parameters of this step are of several dtypes or devices

    def _step(self, work: list[tuple[Group, Tensor]]) -> None:
        if not work:
            return
        # v_bar is one, so it is all or none; all of them are asked, so that fused=True is heard.
        self._mixed = len({(parameter.dtype, parameter.device) for _, parameter in work}) > 1
        taken = [self._takes_kernel(group, parameter) for group, parameter in work]
        refused = [group for group, _ in work if group["fused"] is False]
        if refused and any(group["fused"] for group, _ in work) and not torch.compiler.is_compiling():
            raise RuntimeError(
                f"{type(self).__name__}: fused=True cannot be had: all groups share one v_bar, and another group has "
                "fused=False; give all groups the same"
            )
        if all(taken):
            self._step_segments()
        else:
            self._segments.clear()  # their running v_bar goes on only from a step that they took
            plain_step([(self._state_of(group, parameter), group, parameter) for group, parameter in work])

    def _why_plain(self, group: Group, parameter: Tensor) -> str:
        if self._mixed:
            return "parameters of several dtypes or devices share one v_bar"
        if parameter.is_cuda:
            return _why_not_on_cuda(group, parameter)
        if group["capturable"]:
            return "capturable=True keeps the step from reading its count, which the compiled step on the CPU does"
        if group["fused"] is None and group.get("dampening", 1) != 1:
            return "its powers, element by element, take longer than torch's"
        reason = super()._why_plain(group, parameter)
        if not reason and not tensors_are_verified(parameter.dtype):
            return "it does not compute on this machine what the plain step does"
        return reason

    def _step_segments(self) -> None:
        # Parameters that once had a gradient stay among the segments while they have none.
        members = [(g, p) for g in self.param_groups for p in g["params"] if p.grad is not None or self.state.get(p)]
        # Those with a gradient are alike; others may be of another precision or on another device.
        like = next(p for _, p in members if p.grad is not None)
        members = [(g, p) for g, p in members if p.dtype is like.dtype and p.device == like.device]
        self._run(self.segments_of(None, members, TENSORS))

    def new_segments(
        self,
        parameters: Sequence[Tensor],
        states: Sequence[dict[str, Any]],
        groups: Sequence[int],
        arrays: Sequence[str],
    ) -> Any:
        """Segments on the CPU or on CUDA, where the parameters are."""
        if parameters[0].is_cuda:
            from adai.inertia_cuda import CudaSegments  # Triton is not everywhere

            return CudaSegments(parameters, states, groups, arrays)
        return super().new_segments(parameters, states, groups, arrays)

    def _step_again(self) -> bool:
        segments = self._segments.get(None)
        if segments is None or torch.compiler.is_compiling():
            return False
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for group in self.param_groups:
            if group["fused"] is False or (group["capturable"] and not parameters[0].is_cuda):
                return False
        groups = [place for place, group in enumerate(self.param_groups) for _ in group["params"]]
        if not segments.hold(parameters, self.state.values(), groups):
            return False
        try:
            self._run(segments)
        except RuntimeError:
            return False  # a gradient has no address: the long way says what is wrong with it
        return True

    def _run(self, segments: Any) -> None:
        gradients = [parameter.grad for parameter in segments.parameters]
        if segments.parameters[0].is_cuda:
            # A learning rate on the device stays there: reading it would wait.
            lr = [group["lr"] for group in self.param_groups]
            numbers = [{**g, "lr": 0.0} if isinstance(g["lr"], Tensor) else g for g in self.param_groups]
            segments.step_inertia(gradients, [self.kernel_values(group) for group in numbers], lr)
            return
        rows = [self.kernel_values(group) for group in self.param_groups]
        segments.run(
            "inertia_tensors", 0, gradients, rows, running_v_bar=all(g["running_v_bar"] for g in self.param_groups)
        )

    def kernel_values(self, group: Group) -> tuple[float, ...]:
        """The rule's hyperparameters, dampening, whether decay is decoupled, and whether the group maximizes."""
        *own, maximize = super().kernel_values(group)
        dampening = () if "dampening" in group else (1.0,)
        return (*own, *dampening, float(group["decoupled"]), maximize)

    def _state_names(self, group: Group) -> tuple[str, ...]:  # noqa: ARG002 - others look at it
        return ("step", *TENSORS)

    def state_sizes(self, group: Group, parameter: Tensor) -> dict[str, int]:  # noqa: ARG002 - others look at it
        """Each tensor has the parameter's shape."""
        return dict.fromkeys(TENSORS, parameter.numel())

    def _state_of(self, group: Group, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        return state or new_state(state, group, parameter)


class Adai(InertiaOptimizer):
    """Adaptive inertia (Xie et al., ICML 2022, Algorithm 2).

    Like the authors' code, ``v_bar`` is one mean over every element, of every parameter group, that has a gradient
    in this step; parameters without a gradient are skipped and their step count stays. Unlike it: closures may call
    ``backward``; ``p.grad`` is never changed; float16 and bfloat16 parameters keep float32 state; a step in which all
    gradients are zero, or none exists, moves nothing (there: NaN, ZeroDivisionError).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, 0 or more. The authors advise that of SGD without momentum, or 10 times that of SGD with
            momentum 0.9.
        betas: ``(beta0, beta2)``: inertia sensitivity, 0 or more without an upper bound; decay of the second
            moment, in [0, 1).
        eps: Inertia bound: mu is at most ``1 - eps``; 0 or more.
        weight_decay: Weight decay, 0 or more.
        decoupled: Shrink weights by ``1 - lr * weight_decay`` (AdaiW) instead of adding to the gradient.
        maximize: Ascend instead of descend.
        fused: Take the step in compiled passes over memory: True insists, False refuses, None does so where a C
            compiler is at hand and all parameters are contiguous, on the CPU, and all float32 or all float64. On CUDA
            (Triton kernels) only True does.
        capturable: Keep step counts on the parameters' device and never wait for it, so that a CUDA graph can capture
            the step.
        running_v_bar: Keep v_bar as a running mean of the mean squared gradient, which saves a pass over v, in the
            compiled step on the CPU. Equal to the exact one but for rounding while all parameters have had a gradient
            in the same number of steps and have one beta2; otherwise the exact mean is taken.

    Raises:
        TypeError: A hyperparameter is not a number.
        ValueError: A hyperparameter is out of its range.
    """

    rule_name = "adai"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        betas: tuple[float, float] = (0.1, 0.99),
        eps: float = 1e-3,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        capturable: bool = False,
        running_v_bar: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled": decoupled,
            "maximize": maximize,
            "fused": fused,
            "capturable": capturable,
            "running_v_bar": running_v_bar,
        }
        super().__init__(params, defaults)


class AdaiW(Adai):
    """Adai with decoupled weight decay; identical in effect to AdaiS (stable weight decay) of the same authors.

    Args:
        params: Parameters or parameter groups.
        lr: As in :class:`Adai`, like the others.
        betas: ``(beta0, beta2)``.
        eps: Inertia bound.
        weight_decay: Weights shrink by ``1 - lr * weight_decay`` before each step.
        maximize: Ascend instead of descend.
        fused: Take the step in compiled passes over memory.
        capturable: Let CUDA graphs capture the step.
        running_v_bar: Keep v_bar as a running mean.
    """

    rule_name = "adaiw"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        betas: tuple[float, float] = (0.1, 0.99),
        eps: float = 1e-3,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        capturable: bool = False,
        running_v_bar: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            decoupled=True,
            maximize=maximize,
            fused=fused,
            capturable=capturable,
            running_v_bar=running_v_bar,
        )


class AdaiV2(InertiaOptimizer):
    """Adai with damped inertia (the authors' ``AdaiV2``, 2022; not in the paper).

    ::

        mu    = clip(1 - beta0 (v_hat / v_bar)^(1 / (3 - 2 dampening)), 0, 1 - eps)
        m     = mu m + (1 - mu)^dampening g
        theta = theta - lr beta0^(1 - dampening) m / (1 - mu_prod)

    With dampening 1 it is AdaiW, bit for bit.

    Args:
        params: Parameters or parameter groups.
        lr: As in :class:`Adai`, like the others.
        betas: ``(beta0, beta2)``.
        eps: Inertia bound.
        weight_decay: Weight decay.
        dampening: In [0, 1]; less damps the gradients' weight less, and towards 0 the moment becomes adaptive.
        decoupled: Whether weight decay is decoupled.
        maximize: Ascend instead of descend.
        fused: Take the step in compiled passes over memory.
        capturable: Let CUDA graphs capture the step.
        running_v_bar: Keep v_bar as a running mean.
    """

    rule_name = "adaiv2"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        betas: tuple[float, float] = (0.1, 0.99),
        eps: float = 1e-3,
        weight_decay: float = 0.0,
        dampening: float = 1.0,
        decoupled: bool = True,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        capturable: bool = False,
        running_v_bar: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "dampening": dampening,
            "decoupled": decoupled,
            "maximize": maximize,
            "fused": fused,
            "capturable": capturable,
            "running_v_bar": running_v_bar,
        }
        super().__init__(params, defaults)


def _why_not_on_cuda(group: Group, parameter: Tensor) -> str:
    if not group["fused"]:
        return "its kernels for CUDA need a C compiler at the first step, so they are taken only when asked for"
    if find_spec("triton") is None:
        return "Triton is not installed"
    if parameter.dtype not in (torch.float32, torch.float64) or not parameter.is_contiguous():
        return "its kernels for CUDA take contiguous float32 and float64 parameters"
    return ""
