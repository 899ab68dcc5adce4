"""AdaShift (Zhou, Zhang, Lu, Wang, Zhang, Yu: AdaShift, ICLR 2019, arXiv 1810.00143), over rows and as a class.

Shapes: ``B`` blocks, the parameter tensors of a model (``P`` columns where every element is a block of its own);
``N`` gradients in the window.
"""

import ctypes
import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.optim.optimizer import ParamsT

from adai.compiled import Job, Kernel, addresses, call, threads_for
from adai.optimizer import RuleOptimizer
from adai.rules import (
    Hyperparameter,
    Hyperparameters,
    UpdateRule,
    as_column,
    check_choice,
    register_rule,
    zero_steps,
)

_AUTHORS = "the authors' first release"
#: The authors' lower bound of the bias correction.
_LEAST_WEIGHT = 1e-8

#: What becomes of the squares of a block's old gradient before they enter v.
Reduce = Literal["max", "mean", "none"]
REDUCTIONS: tuple[Reduce, ...] = ("max", "mean", "none")


class AdaShiftState(NamedTuple):
    """The last gradients, and the second moment of those that have left the window."""

    step_T: Tensor
    sizes_TB: Tensor  # int64: elements of each block, the same in every row
    window_TNP: Tensor  # a ring: step s writes slot s mod N
    v_TB: Tensor
    weight_TB: Tensor  # total weight of the squares in v, 0 until v is first above 0


def _init(theta_TP: Tensor, sizes: tuple[int, ...], *, keep_num: int, reduce: Reduce) -> AdaShiftState:
    rows, size = theta_TP.shape
    window_TNP = theta_TP.new_zeros(rows, keep_num, size)
    if reduce == "none":
        sizes = (size,)
    v_TB = theta_TP.new_zeros(rows, size if reduce == "none" else len(sizes))
    sizes_TB = torch.tensor(sizes, dtype=torch.int64, device=theta_TP.device).repeat(rows, 1)
    return AdaShiftState(zero_steps(theta_TP), sizes_TB, window_TNP, v_TB, torch.zeros_like(v_TB))


def _sizes_of(state: AdaShiftState, size: int) -> list[int]:
    """The sizes of the blocks; a single one is known without waiting for the device."""
    if state.sizes_TB.shape[1] == 1:
        return [size]
    sizes: list[int] = state.sizes_TB[0].tolist()
    return sizes


def _reduce_blocks(square_TP: Tensor, sizes: Sequence[int], reduce: Reduce) -> Tensor:
    """``phi``: for each block the largest or the mean square; or all squares as they are."""
    if reduce == "none":
        return square_TP
    blocks = torch.split(square_TP, list(sizes), dim=1)
    take = torch.amax if reduce == "max" else torch.mean
    return torch.stack([take(b, dim=1) if b.shape[1] else b.new_zeros(len(b)) for b in blocks], dim=1)


def _scale_blocks_(values_TP: Tensor, scale_TB: Tensor, sizes: Sequence[int]) -> Tensor:
    """Multiply every block by its factor, or every element by its own."""
    if len(sizes) == 1:
        return values_TP.mul_(scale_TB)
    for i, block in enumerate(torch.split(values_TP, list(sizes), dim=1)):
        block.mul_(scale_TB[:, i : i + 1])
    return values_TP


def _window_mean(window_TNP: Tensor, newest_T: Tensor, beta1_T: Tensor) -> Tensor:
    """``m``: the window's mean with weights in proportion to ``beta1 ** age``.

    Summed anew from the window each step: a recursion that subtracts what leaves the window drifts. Slot after slot,
    elementwise: a product of matrices may add up differently for one row and for many.
    """
    slots = window_TNP.shape[1]
    first = torch.ones_like(beta1_T).unsqueeze(1)
    power_TN = torch.cat([first, beta1_T.unsqueeze(1).expand(-1, slots - 1)], dim=1).cumprod(dim=1)
    age_TN = (newest_T.unsqueeze(1) - torch.arange(slots, device=newest_T.device)) % slots
    weight_TN = (power_TN / power_TN.cumsum(dim=1)[:, -1:]).gather(1, age_TN).to(window_TNP)
    m_TP = window_TNP[:, 0] * weight_TN[:, :1]
    for slot in range(1, slots):
        m_TP.addcmul_(window_TNP[:, slot], weight_TN[:, slot : slot + 1])
    return m_TP


def _update_(
    theta_TP: Tensor, grad_TP: Tensor, state: AdaShiftState, hyperparameters: Hyperparameters, *, reduce: Reduce
) -> None:
    """One step (Zhou et al., Algorithm 2 and section 4.4, with the bias correction of the authors' first release).

    ::

        v      <- beta2 v + (1 - beta2) phi(g_{t-n}^2)                phi over each block; g is 0 before the first step
        m       = sum_{i<n} beta1^i g_{t-i} / sum_{i<n} beta1^i
        weight <- beta2 weight + (1 - beta2)                          from the step on in which v is first above 0
        theta  <- theta - lr m / (sqrt(v / max(weight, 1e-8)) + eps)  where weight > 0

    Nothing moves in the first n steps, nor does a block while all gradients that v has seen are 0. With eps = 0 it
    does not move where v has decayed to 0.
    """
    if len(theta_TP) == 0:
        return
    columns = {name: as_column(values_T, theta_TP) for name, values_T in hyperparameters.items()}
    sizes = _sizes_of(state, theta_TP.shape[1])
    newest_T = state.step_T % state.window_TNP.shape[1]
    place = (torch.arange(len(theta_TP), device=theta_TP.device), newest_T)
    phi_TB = _reduce_blocks(state.window_TNP[place].square_(), sizes, reduce)
    state.window_TNP[place] = grad_TP
    state.step_T.add_(1)

    square_weight = as_column(1 - hyperparameters["beta2"], theta_TP)
    state.v_TB.mul_(columns["beta2"]).add_(phi_TB.mul_(square_weight))
    started_TB = (state.v_TB > 0) | (state.weight_TB > 0)
    state.weight_TB.mul_(columns["beta2"]).add_(started_TB * square_weight)
    denominator = (state.v_TB / state.weight_TB.clamp(min=_LEAST_WEIGHT)).sqrt_().add_(columns["eps"])
    scale_TB = started_TB * columns["lr"] / denominator.masked_fill_(denominator == 0, math.inf)
    m_TP = _window_mean(state.window_TNP, newest_T, hyperparameters["beta1"])
    theta_TP.sub_(_scale_blocks_(m_TP, scale_TB, sizes))


def _step_blocks_(
    kernel: Kernel, theta_TP: Tensor, grad_TP: Tensor, state: AdaShiftState, values: Sequence[Tensor]
) -> None:
    """The compiled step: every block of every row is a segment."""
    rows, slots, size = state.window_TNP.shape
    blocks = state.sizes_TB.shape[1]
    row_TB = torch.arange(rows, device="cpu").unsqueeze(1).expand(rows, blocks)
    offset_TB = state.sizes_TB.cumsum(dim=1) - state.sizes_TB + size * row_TB
    own_TB = (
        offset_TB
        if state.v_TB.shape[1] == size != blocks
        else torch.arange(rows * blocks, device="cpu").view(rows, blocks)
    )
    places = (
        (theta_TP, offset_TB),
        (grad_TP, offset_TB),
        (state.window_TNP, offset_TB + row_TB * (slots - 1) * size),
        (state.v_TB, own_TB),
        (state.weight_TB, own_TB),
    )
    arrays = torch.stack([tensor.data_ptr() + tensor.element_size() * place for tensor, place in places])
    hyper = torch.stack([value.double() for value in values]).repeat_interleave(blocks, dim=1)
    step = state.step_T.repeat_interleave(blocks)
    hyper_addresses = addresses([row.data_ptr() for row in hyper])
    job = Job(
        count=rows * blocks,
        size=state.sizes_TB.data_ptr(),
        arrays=arrays.data_ptr(),
        hyper=ctypes.addressof(hyper_addresses),
        step=step.data_ptr(),
        option=kernel.option,
        threads=threads_for(rows * size),
        slots=slots,
        slot_size=size,
    )
    call(theta_TP.dtype, kernel.function, job)
    increment_version(theta_TP)
    state.step_T.add_(1)


_HYPERPARAMETERS = (
    Hyperparameter("lr", 1e-3, _AUTHORS),
    Hyperparameter("beta1", 0.9, _AUTHORS, supremum=1.0),
    Hyperparameter("beta2", 0.999, _AUTHORS, supremum=1.0),
    Hyperparameter("eps", 1e-10, _AUTHORS),
)


def _build(*, keep_num: int = 10, reduce: Reduce = "max") -> UpdateRule:
    if type(keep_num) is not int or keep_num < 1:
        raise ValueError(f"adashift: keep_num must be an integer of at least 1, not {keep_num!r}")
    check_choice("adashift", "reduce", reduce, REDUCTIONS)
    return UpdateRule(
        "adashift",
        _HYPERPARAMETERS,
        partial(_init, keep_num=keep_num, reduce=reduce),
        partial(_update_, reduce=reduce),
        Kernel(
            "adashift",
            ("window_TNP", "v_TB", "weight_TB"),
            option=REDUCTIONS.index(reduce),
            slots=keep_num,
            step_rows=_step_blocks_,
        ),
        options={"keep_num": keep_num, "reduce": reduce},
    )


ADASHIFT = register_rule(_build)


class AdaShift(RuleOptimizer):
    """AdaShift (Zhou et al., ICLR 2019): the step size comes from gradients too old to correlate with the current one.

    As the authors' first release, which made the paper's experiments; their later versions differ in the bias
    correction. Nothing moves in the first ``keep_num`` steps of a parameter, and nothing while its gradients are 0.
    With ``eps=0`` a parameter whose second moment has decayed to 0 does not move (there: infinity).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate, 0 or more. The authors use 0.01 for image classification.
        betas: ``(beta1, beta2)``: decay of the weights in the window, and of the second moment, in [0, 1).
        keep_num: n, the number of gradients in the window, 1 or more; memory grows with it.
        eps: Added to the root of the second moment; 0 or more.
        reduce: The second moment is one number a tensor, of the ``"max"`` (max-AdaShift) or the ``"mean"`` of the
            squares; or ``"none"``, one an element (non-AdaShift).
        maximize: Ascend instead of descend.
        fused: Take the step in compiled passes over memory: True insists, False refuses, None does so where it can.

    Raises:
        ValueError: An argument is out of its range.
    """

    rule_name = "adashift"
    option_names = ("keep_num", "reduce")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        keep_num: int = 10,
        eps: float = 1e-10,
        reduce: Reduce = "max",
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "keep_num": keep_num,
            "eps": eps,
            "reduce": reduce,
            "maximize": maximize,
            "fused": fused,
        }
        super().__init__(params, defaults)
