"""The compiled step of Adai on CUDA: two Triton kernels over all parameters, nothing that waits for the device.

Taken when asked for by ``fused=True`` and never by default: Triton needs a C compiler at the first step, and what is
gained was not measured. Triton comes with torch's CUDA builds; this module is imported only where it is needed.
"""

from collections.abc import Iterable, Sequence
from operator import is_
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Elements that one program of a kernel handles.
BLOCK = 2048
_DTYPES = {torch.float32: tl.float32, torch.float64: tl.float64}
#: Places in the table of scalars, one row for each parameter.
_LR, _BETA0, _BOUND, _SHRINK, _COUPLE, _SIGN, _BETA2, _BIAS2, _DAMPENING, _SCALARS = range(10)


@triton.jit
def _second_moment(  # type: ignore[no-untyped-def]
    addresses, sizes, tensor_of, start_of, scalars, partial, count,
    DTYPE: tl.constexpr, BLOCK: tl.constexpr, SCALARS: tl.constexpr,
    COUPLE: tl.constexpr, SIGN: tl.constexpr, BETA2: tl.constexpr, BIAS2: tl.constexpr,
):  # fmt: skip
    """``v <- beta2 v + (1 - beta2) g^2``; the sum of v_hat over this block goes to ``partial``."""
    chunk = tl.program_id(0)
    tensor = tl.load(tensor_of + chunk)
    grad_address = tl.load(addresses + count + tensor)
    if grad_address != 0:
        place = tl.load(start_of + chunk) + tl.arange(0, BLOCK)
        inside = place < tl.load(sizes + tensor)
        theta_at = tl.load(addresses + tensor).to(tl.pointer_type(DTYPE)) + place
        v_at = tl.load(addresses + 3 * count + tensor).to(tl.pointer_type(DTYPE)) + place
        scalar = scalars + tensor * SCALARS
        couple = tl.load(scalar + COUPLE)
        g = tl.load(grad_address.to(tl.pointer_type(DTYPE)) + place, mask=inside, other=0.0) * tl.load(scalar + SIGN)
        if couple != 0:
            g += couple * tl.load(theta_at, mask=inside, other=0.0)
        beta2 = tl.load(scalar + BETA2)
        v = beta2 * tl.load(v_at, mask=inside, other=0.0) + (1 - beta2) * (g * g)
        tl.store(v_at, v.to(DTYPE), mask=inside)
        tl.store(partial + chunk, tl.sum(v, axis=0) / tl.load(scalar + BIAS2))
    else:
        tl.store(partial + chunk, 0.0)


@triton.jit
def _inertia(  # type: ignore[no-untyped-def]
    addresses, sizes, tensor_of, start_of, scalars, v_bar_at, count,
    DTYPE: tl.constexpr, BLOCK: tl.constexpr, DAMPED: tl.constexpr, SCALARS: tl.constexpr,
    LR: tl.constexpr, BETA0: tl.constexpr, BOUND: tl.constexpr, SHRINK: tl.constexpr, COUPLE: tl.constexpr,
    SIGN: tl.constexpr, BIAS2: tl.constexpr, DAMPENING: tl.constexpr,
):  # fmt: skip
    """Inertia, momentum, bias correction, movement: as ``adai.inertia.inertia_step_``."""
    chunk = tl.program_id(0)
    tensor = tl.load(tensor_of + chunk)
    grad_address = tl.load(addresses + count + tensor)
    if grad_address != 0:
        place = tl.load(start_of + chunk) + tl.arange(0, BLOCK)
        inside = place < tl.load(sizes + tensor)
        theta_at = tl.load(addresses + tensor).to(tl.pointer_type(DTYPE)) + place
        m_at = tl.load(addresses + 2 * count + tensor).to(tl.pointer_type(DTYPE)) + place
        v_at = tl.load(addresses + 3 * count + tensor).to(tl.pointer_type(DTYPE)) + place
        product_at = tl.load(addresses + 4 * count + tensor).to(tl.pointer_type(DTYPE)) + place
        scalar = scalars + tensor * SCALARS
        theta = tl.load(theta_at, mask=inside, other=0.0)
        g = tl.load(grad_address.to(tl.pointer_type(DTYPE)) + place, mask=inside, other=0.0) * tl.load(scalar + SIGN)
        g += tl.load(scalar + COUPLE) * theta
        v_bar = tl.load(v_bar_at) * tl.load(scalar + BIAS2)
        relative = tl.load(v_at, mask=inside, other=0.0) / tl.where(v_bar == 0, 1.0, v_bar)
        if DAMPED:
            dampening = tl.load(scalar + DAMPENING)
            relative = tl.exp2(tl.log2(relative) / (3 - 2 * dampening))
        mu = 1 - relative * tl.load(scalar + BETA0)
        # Comparisons are such that NaN stays NaN.
        mu = tl.where(mu < 0, 0.0, mu)
        bound = tl.load(scalar + BOUND)
        mu = tl.where(mu > bound, bound, mu)
        weight = 1 - mu
        if DAMPED:
            weight = tl.where(weight == 0, tl.where(dampening == 0, 1.0, 0.0), tl.exp2(tl.log2(weight) * dampening))
        product = tl.load(product_at, mask=inside, other=1.0) * mu
        m = mu * tl.load(m_at, mask=inside, other=0.0) + weight * g
        correction = 1 - product
        correction = tl.where(correction == 0, 1.0, correction)
        tl.store(product_at, product.to(DTYPE), mask=inside)
        tl.store(m_at, m.to(DTYPE), mask=inside)
        theta = theta * tl.load(scalar + SHRINK) - tl.load(scalar + LR) * (m / correction)
        tl.store(theta_at, theta.to(DTYPE), mask=inside)


class CudaSegments:
    """Parameters of one dtype on one device, with their state, that the two kernels step together.

    Args:
        parameters: Contiguous tensors.
        states: The state of each. Their ``step`` becomes a view of one tensor on the device.
        groups: Which row of hyperparameters each takes, by its place.
        arrays: Names in the states of m, v and mu_prod.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        states: Sequence[dict[str, Any]],
        groups: Sequence[int],
        arrays: Sequence[str],
    ) -> None:
        self.parameters = list(parameters)
        self._states = list(states)
        self._groups = list(groups)
        self._device = parameters[0].device
        self._dtype = parameters[0].dtype
        self._theta = [parameter.data_ptr() for parameter in parameters]
        self._kept = [state[name] for name in arrays for state in states]
        self._step = torch.tensor([int(state["step"]) for state in states], device=self._device)
        for state, step in zip(states, self._step, strict=True):
            state["step"] = step
        self._steps = [state["step"] for state in states]
        sizes = [parameter.numel() for parameter in parameters]
        self._sizes = sizes
        chunks = [(tensor, start) for tensor, size in enumerate(sizes) for start in range(0, size, BLOCK)]
        self._chunks = len(chunks)
        self._tensor_of, self._start_of = (self._upload(list(column)) for column in zip(*chunks, strict=True))
        self._size_of = self._upload(sizes)
        self._gradients: list[int] = []
        self._rows: list[tuple[float, ...]] = []

    def _upload(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self._device)

    def hold(self, parameters: Sequence[Tensor], states: Iterable[dict[str, Any]], groups: Sequence[int]) -> bool:
        """Whether these are the parameters, states and groups, in this order, and still lie where they lay."""
        states = list(states)
        return (
            len(parameters) == len(self.parameters)
            and len(states) == len(self._states)
            and groups == self._groups
            and all(map(is_, parameters, self.parameters))
            and all(map(is_, states, self._states))
            and list(map(Tensor.data_ptr, parameters)) == self._theta
            and states[0].get("step") is self._steps[0]
            and states[-1].get("step") is self._steps[-1]
        )

    def step_inertia(
        self, gradients: Sequence[Tensor | None], rows: list[tuple[float, ...]], lr: Sequence[Any]
    ) -> None:
        """Take one step.

        What differs from the last step is uploaded first: addresses of gradients, hyperparameters. In a CUDA graph
        neither may change, except a learning rate that is a tensor on the device.

        Args:
            gradients: One for each parameter; those that are None are left out.
            rows: For each group lr, beta0, beta2, eps, weight decay, dampening, decoupled and maximize.
            lr: The learning rate of each group, a number or a tensor on the device.
        """
        kept = [gradient if gradient is None else gradient.contiguous().resolve_neg() for gradient in gradients]
        addresses = [0 if gradient is None else gradient.data_ptr() for gradient in kept]
        if addresses != self._gradients:
            self._gradients = addresses
            self._addresses = self._upload(self._theta + addresses + [tensor.data_ptr() for tensor in self._kept])
            self._advance = self._upload([int(address != 0) for address in addresses])
            self._elements = sum(size for size, address in zip(self._sizes, addresses, strict=True) if address)
        if rows != self._rows:
            self._rows = rows
            self._hyper = torch.tensor(rows, dtype=torch.float64, device=self._device)[self._upload(self._groups)]
        self._step.add_(self._advance)
        scalars = self._scalars(lr)
        partial = torch.empty(self._chunks, dtype=self._dtype, device=self._device)
        common = (self._addresses, self._size_of, self._tensor_of, self._start_of, scalars)
        places = {"DTYPE": _DTYPES[self._dtype], "BLOCK": BLOCK, "SCALARS": _SCALARS, "SIGN": _SIGN, "COUPLE": _COUPLE}
        count = len(self.parameters)
        _second_moment[(self._chunks,)](*common, partial, count, **places, BETA2=_BETA2, BIAS2=_BIAS2)
        v_bar = (partial.sum(dtype=torch.float64) / self._elements).to(self._dtype)
        _inertia[(self._chunks,)](
            *common, v_bar, count, **places, LR=_LR, BETA0=_BETA0, BOUND=_BOUND, SHRINK=_SHRINK, BIAS2=_BIAS2,
            DAMPENING=_DAMPENING, DAMPED=any(row[5] != 1 for row in rows),
        )  # fmt: skip
        del kept  # was read until here

    def _scalars(self, lr: Sequence[Any]) -> Tensor:
        """What the kernels take for each parameter, computed in float64 on the device."""
        hyper = self._hyper
        rate, beta0, beta2, eps, decay, dampening, decoupled, maximize = hyper.unbind(dim=1)
        if any(isinstance(value, Tensor) for value in lr):
            rates = [torch.as_tensor(value, dtype=torch.float64, device=self._device).reshape(()) for value in lr]
            rate = torch.stack([rates[group] for group in self._groups])
        columns = [
            rate * beta0 ** (1 - dampening),
            beta0,
            1 - eps,
            1 - rate * decay * decoupled,
            decay * (1 - decoupled),
            1 - 2 * maximize,
            beta2,
            1 - beta2 ** self._step.clamp(min=1),
            dampening,
        ]
        return torch.stack(columns, dim=1).to(self._dtype).contiguous()
