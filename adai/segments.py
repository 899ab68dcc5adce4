"""The parameters of an optimizer as segments of a kernel's job: addresses are looked up once, gradients each step."""

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter, is_, itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from adai.compiled import CHUNK, Job, addresses, call, threads_for


class Segments:
    """Parameters of one dtype, with their state, that one kernel steps together.

    Args:
        parameters: Contiguous CPU tensors of one dtype.
        states: The state of each. Their ``step`` becomes a view of one tensor that the kernel advances.
        groups: Which row of hyperparameters each takes, by its place.
        arrays: Names in the states of what the kernel takes after theta and grad, in its order.
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
        self._names = (*arrays, "step")
        self._sizes = sizes = [parameter.numel() for parameter in parameters]
        self._dtype = self.parameters[0].dtype
        self._elements = sum(sizes)
        self._size = addresses(sizes)
        self._theta = [parameter.data_ptr() for parameter in parameters]
        state_addresses = [state[name].data_ptr() for name in arrays for state in states]
        self._arrays = addresses([*self._theta, *([0] * len(sizes)), *state_addresses])
        self._rows: list[tuple[float, ...]] = []
        self._hyper = torch.empty(0, device="cpu")
        self._sign: Tensor | None = None
        self._step = torch.tensor([int(state["step"]) for state in states], dtype=torch.int64, device="cpu")
        for state, step in zip(states, self._step, strict=True):
            state["step"] = step
        self._tensors = list(self._tensors_of(self._states))
        self._retired = torch.zeros(sum(-(-size // CHUNK) for size in sizes), dtype=torch.uint8, device="cpu")
        self._v_bar_running = torch.zeros(2, dtype=torch.float64, device="cpu")

    def hold(self, parameters: Sequence[Tensor], states: Iterable[dict[str, Any]], groups: Sequence[int]) -> bool:
        """Whether these are the parameters, states and groups, in this order, and still lie where they lay.

        Asked in every step, so it looks at everything with as little Python as possible.
        """
        states = list(states)
        try:
            return (
                len(parameters) == len(self.parameters)
                and len(states) == len(self._states)
                and groups == self._groups
                and all(map(is_, parameters, self.parameters))
                and all(map(is_, states, self._states))
                and all(map(is_, self._tensors_of(states), self._tensors))
                and list(map(Tensor.data_ptr, parameters)) == self._theta
                and list(map(Tensor.numel, parameters)) == self._sizes
                and all(map(Tensor.is_contiguous, parameters))
            )
        except KeyError:
            return False  # something of a state is gone

    def _tensors_of(self, states: Sequence[dict[str, Any]]) -> Iterator[Any]:
        return chain.from_iterable(map(itemgetter(*self._names), states))

    def run(
        self,
        function: str,
        option: int,
        gradients: Sequence[Tensor | None],
        rows: list[tuple[float, ...]],
        *,
        slots: int = 0,
        running_v_bar: bool = False,
    ) -> None:
        """Take one step.

        Args:
            function: The kernel's.
            option: Its variant.
            gradients: One for each parameter; those that are None are left out.
            rows: For each group its hyperparameters in the kernel's order, and at the end whether it maximizes.
            slots: Of AdaShift's window.
            running_v_bar: Adai's running mean instead of the exact one, where it stands for the same.

        Raises:
            RuntimeError: A gradient has no address, or another precision than its parameter; nothing was changed.
            MemoryError: There was none for the segments' scalars; nothing was changed.
        """
        count = len(self.parameters)
        addresses_of, kept = _addresses_of(gradients, self._dtype, self._sizes)
        self._arrays[count : 2 * count] = addresses_of
        if rows != self._rows:
            self._rows = rows
            values = torch.tensor([rows[group] for group in self._groups], dtype=torch.float64, device="cpu")
            columns = values.T.contiguous()
            self._hyper, maximize = columns[:-1], columns[-1]
            self._sign = 1 - 2 * maximize if maximize.any() else None
        row_bytes = count * self._hyper.element_size()
        hyper = addresses([self._hyper.data_ptr() + place * row_bytes for place in range(len(self._hyper))])
        job = Job(
            count=count,
            size=ctypes.addressof(self._size),
            arrays=ctypes.addressof(self._arrays),
            hyper=ctypes.addressof(hyper),
            step=self._step.data_ptr(),
            sign=None if self._sign is None else self._sign.data_ptr(),
            retired=self._retired.data_ptr(),
            v_bar_running=self._v_bar_running.data_ptr() if running_v_bar else None,
            option=option,
            slots=slots,
            threads=threads_for(self._elements),
        )
        call(self._dtype, function, job)
        del kept  # was read until here
        # So that autograd refuses to go back through what has been overwritten.
        increment_version([p for p, gradient in zip(self.parameters, gradients, strict=True) if gradient is not None])


def _addresses_of(
    gradients: Sequence[Tensor | None], dtype: torch.dtype, sizes: Sequence[int]
) -> tuple[list[int], Sequence[Tensor | None]]:
    """Where contiguous gradients lie (0 for those that are None), and what must be kept alive for it to be true."""
    try:
        sizes_of = list(map(Tensor.numel, gradients))  # type: ignore[arg-type]
        given: Sequence[Tensor] = gradients  # type: ignore[assignment]
    except TypeError:  # one is None
        sizes_of = [size if g is None else g.numel() for g, size in zip(gradients, sizes, strict=True)]
        given = [gradient for gradient in gradients if gradient is not None]
    if set(map(attrgetter("dtype"), given)) - {dtype}:
        raise RuntimeError("a gradient has another precision than its parameter")
    if sizes_of != sizes:
        raise RuntimeError("a gradient has another size than its parameter")
    kept = gradients
    # Autograd may leave a gradient lazily negated (through conj), whose memory has the other sign.
    if not all(map(Tensor.is_contiguous, given)) or any(map(Tensor.is_neg, given)):
        kept = [gradient if gradient is None else gradient.contiguous().resolve_neg() for gradient in gradients]
        given = [gradient for gradient in kept if gradient is not None]
    # Gradients without elements lie nowhere: any address but 0 says that they are there.
    found = [address or 1 for address in map(Tensor.data_ptr, given)]
    if len(given) == len(gradients):
        return found, kept
    following = iter(found)
    return [0 if gradient is None else next(following) for gradient in gradients], kept
