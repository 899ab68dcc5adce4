"""Counter-based initial weights of any module: torch's random functions, served from the words of workers.random.

A module's constructor draws its weights from torch's global generator, so they hang on everything that was drawn
before in the process. Under :func:`counter_based` every random call of torch takes words keyed by (study seed, seed
index, number of the call) instead, whatever the device and the number of threads.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from workers.global_generators import GeneratorStates
from workers.random import Purpose, permutation, random_words, uniform

aten = torch.ops.aten


@contextmanager
def counter_based(*, study_seed: int, seed: int) -> Iterator[None]:
    """Random calls of torch within depend on the seeds and on the code alone; torch's generator is not touched.

    The n-th random call (from 0, calls for no elements not counted) has the words of Purpose.INITIAL_WEIGHTS, step n.
    Uniform numbers are low + (high - low) * u with u a multiple of 2**-53 in [0, 1), rounded to the tensor's dtype and
    kept below ``high``; all other distributions invert their distribution function at the midpoints of 2**52 equal
    intervals, so no normal or exponential is infinite. Memory that torch leaves unset (``torch.empty``) is NaN,
    or 0 for integers: what the code forgets to initialize is the same in every run, and shows.

    Args:
        study_seed: The study's seed, 0 to 2**64 - 1.
        seed: The seed index of the run.

    Raises:
        TypeError: Within: a call brings its own ``torch.Generator``, or draws in a way that is not served.
    """
    with _CounterBased(study_seed, seed):
        yield


def build_model(build: Callable[[], nn.Module], *, study_seed: int, seed: int) -> nn.Module:
    """The model that ``build`` makes, on the CPU and in float32 unless it says otherwise, under :func:`counter_based`.

    Global generators, torch's default dtype and its default device are afterwards what they were before.

    Args:
        build: Makes the model; takes all randomness from torch's functions without a generator of its own.
        study_seed: The study's seed, 0 to 2**64 - 1.
        seed: The seed index of the run.

    Raises:
        TypeError: ``build`` returns no module, or draws from (or seeds) a generator that cannot be served.
        ValueError: A parameter or buffer is not on the CPU, has no shape yet, or holds NaN (was never given a value).
    """
    before = GeneratorStates.read()
    default_dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float32)
        with torch.device("cpu"), counter_based(study_seed=study_seed, seed=seed):
            model = build()
        moved = before.moved()
    finally:
        torch.set_default_dtype(default_dtype)
        before.restore()
    if moved:
        raise TypeError(
            f"building the model drew from, or seeded, the global generator of {' and '.join(moved)}; initial weights "
            "come from the study's seeds: remove calls that set seeds, and draw with torch.rand, torch.randn, "
            "torch.randint, torch.randperm or torch.nn.init"
        )
    _check_model(model)
    return model


def _check_model(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"building the model returned {type(model).__name__}; return a torch.nn.Module")
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise ValueError(f"{name} has no shape yet; use modules that are told their sizes, not lazy ones")
        if tensor.device.type != "cpu":
            raise ValueError(f"{name} was made on {tensor.device}; build on the CPU, the engine moves the model")
        if tensor.isnan().any():
            raise ValueError(f"{name} holds NaN: its memory was never given values; initialize it with torch.nn.init")


def midpoints(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Numbers in (0, 1) from random words: the midpoints of 2**52 intervals, since those of 2**53 would round to 1."""
    numbers = (words >> np.uint64(12)).astype(np.float64)
    numbers += 0.5
    numbers *= 2.0**-52
    return numbers


class _Words:
    """Random words of consecutive calls."""

    def __init__(self, study_seed: int, seed: int) -> None:
        self._key = {"seed": study_seed, "index": seed, "purpose": Purpose.INITIAL_WEIGHTS}
        self._calls = 0

    def _next(self) -> dict[str, Any]:
        self._calls += 1
        return {**self._key, "step": self._calls - 1}

    def words(self, size: int) -> npt.NDArray[np.uint64]:
        return random_words(size, **self._next())

    def unit(self, shape: torch.Size) -> Tensor:
        """Uniform in [0, 1), float64."""
        return torch.from_numpy(uniform(math.prod(shape), **self._next())).view(shape)

    def inner(self, shape: torch.Size) -> Tensor:
        """Uniform in (0, 1), float64."""
        return torch.from_numpy(midpoints(self.words(math.prod(shape)))).view(shape)

    def order(self, size: int) -> Tensor:
        return torch.from_numpy(permutation(size, **self._next()))


def _uniform(words: _Words, shape: torch.Size, low: float = 0.0, high: float = 1.0) -> Tensor:
    return words.unit(shape).mul_(high - low).add_(low)


def _normal(words: _Words, shape: torch.Size, mean: float | Tensor = 0.0, std: float | Tensor = 1.0) -> Tensor:
    standard = words.inner(shape)
    torch.special.ndtri(standard, out=standard)
    return standard.mul_(std).add_(mean)


def _log_normal(words: _Words, shape: torch.Size, mean: float = 1.0, std: float = 2.0) -> Tensor:
    return _normal(words, shape, mean, std).exp_()


def _exponential(words: _Words, shape: torch.Size, rate: float = 1.0) -> Tensor:
    return words.inner(shape).log_().div_(-rate)


def _cauchy(words: _Words, shape: torch.Size, median: float = 0.0, scale: float = 1.0) -> Tensor:
    return words.inner(shape).sub_(0.5).mul_(math.pi).tan_().mul_(scale).add_(median)


def _geometric(words: _Words, shape: torch.Size, p: float) -> Tensor:
    return words.inner(shape).log_().div_(math.log1p(-p)).ceil_()


def _bernoulli(words: _Words, shape: torch.Size, p: float | Tensor = 0.5) -> Tensor:
    return words.unit(shape) < p


def _integers(words: _Words, shape: torch.Size, *bounds: int) -> Tensor:
    """Integers from ``low`` (0 if only ``high`` is given) to ``high`` - 1; their bias is below range / 2**64."""
    low, high = bounds if len(bounds) == 2 else (0, *bounds)
    values = words.words(math.prod(shape)) % np.uint64(high - low)
    return torch.from_numpy(values.astype(np.int64)).view(shape).add_(low)


_Sampler = Callable[..., Tensor]
_DISCRETE = {_geometric, _bernoulli, _integers}

#: (self, *parameters), in place.
_IN_PLACE: dict[object, _Sampler] = {
    aten.uniform_.default: _uniform,
    aten.normal_.default: _normal,
    aten.log_normal_.default: _log_normal,
    aten.exponential_.default: _exponential,
    aten.cauchy_.default: _cauchy,
    aten.geometric_.default: _geometric,
    aten.bernoulli_.float: _bernoulli,
    aten.random_.to: _integers,
    getattr(aten.random_, "from"): _integers,
}
#: (*parameters, size) to a new tensor.
_NEW: dict[object, _Sampler] = {
    aten.rand.default: _uniform,
    aten.randn.default: _normal,
    aten.normal.float_float: _normal,
    aten.randint.default: _integers,
    aten.randint.low: _integers,
}
#: (tensor, *parameters) to a tensor like it.
_LIKE: dict[object, _Sampler] = {
    aten.rand_like.default: _uniform,
    aten.randn_like.default: _normal,
    aten.randint_like.default: _integers,
    aten.randint_like.low_dtype: _integers,
    aten.bernoulli.p: _bernoulli,
}
#: (mean, std), at least one of them a tensor.
_NORMAL_OF_TENSORS = {aten.normal.Tensor_float, aten.normal.float_Tensor, aten.normal.Tensor_Tensor}
_UNSET = {
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.empty_permuted.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
}


class _CounterBased(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Serves random operations; all others go their way."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import its compiler to keep it out of here: 1.5 s in every process. Models are built without."""
        return False

    def __init__(self, study_seed: int, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._words = _Words(study_seed, seed)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _UNSET:
            return _make_unset_visible(func(*args, **kwargs))
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        if any(isinstance(value, torch.Generator) for value in (*args, *kwargs.values())):
            raise TypeError(f"{func} was given a torch.Generator, whose state no seed of the study sets; leave it out")
        served = self._serve(func, args, kwargs)
        return served if served is not None else _run_unless_it_draws(func, args, kwargs)

    def _serve(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
        """The result of a random operation, or None if there is no rule for it."""
        if func in _IN_PLACE and None not in args:
            out, *parameters = args
            func(torch.empty(0, dtype=out.dtype), *parameters)  # torch's own checks of the parameters; draws nothing
            return self._fill(out, _IN_PLACE[func], parameters)
        if func in _NEW:
            *parameters, size = args
            return self._fill(func(*parameters, [0], **kwargs).new_empty(size), _NEW[func], parameters)
        if func in _LIKE:
            like, *parameters = args
            out = torch.empty_like(like, **kwargs)
            func(torch.empty(0, dtype=out.dtype), *parameters)
            return self._fill(out, _LIKE[func], parameters)
        if func in _NORMAL_OF_TENSORS:
            return self._normal_of_tensors(*args)
        if func is aten.bernoulli.default or func is aten.bernoulli_.Tensor:
            return self._bernoulli_of_tensor(args[0], args[-1])
        if func is aten.randperm.default:
            order: Tensor = func(0, **kwargs).new_empty(*args)
            return order.copy_(self._words.order(*args)) if order.numel() else order
        return None

    def _fill(self, out: Tensor, sampler: _Sampler, parameters: list[Any]) -> Tensor:
        if out.numel() == 0:
            return out
        if not out.is_floating_point() and not out.is_complex() and sampler not in _DISCRETE:
            raise TypeError(f"continuous random numbers do not fit into {out.dtype}; use a floating dtype")
        if out.is_complex():
            return self._fill_complex(out, sampler, parameters)
        out.copy_(sampler(self._words, out.shape, *parameters))
        if sampler is _uniform:
            bounds = out.new_tensor(parameters + [0.0, 1.0][len(parameters) :])
            out.clamp_(max=torch.nextafter(bounds[1], bounds[0]))
        return out

    def _fill_complex(self, out: Tensor, sampler: _Sampler, parameters: list[Any]) -> Tensor:
        """As torch does: independent real and imaginary parts, which share the variance of a normal."""
        if sampler is not _normal:
            self._fill(torch.view_as_real(out), sampler, parameters)
            return out
        mean, std = parameters + [0.0, 1.0][len(parameters) :]
        self._fill(torch.view_as_real(out), _normal, [0.0, math.sqrt(0.5)])
        return out.mul_(std).add_(mean)

    def _normal_of_tensors(self, mean: float | Tensor, std: float | Tensor = 1.0) -> Tensor:
        tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
        if (torch.as_tensor(std) < 0).any():
            raise ValueError("torch.normal was given a negative standard deviation; give numbers from 0")
        shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))  # type: ignore[no-untyped-call]
        out = tensors[0].new_empty(shape, dtype=torch.result_type(mean, std))
        return self._fill(out, _normal, [_on_cpu(mean), _on_cpu(std)])

    def _bernoulli_of_tensor(self, out: Tensor, p: Tensor) -> Tensor:
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError("bernoulli was given a probability outside [0, 1]; give numbers within")
        return self._fill(torch.empty_like(out) if out is p else out, _bernoulli, [_on_cpu(p)])


def _on_cpu(value: float | Tensor) -> float | Tensor:
    return value.cpu() if isinstance(value, Tensor) else value


def _make_unset_visible(tensor: Tensor) -> Tensor:
    return tensor.fill_(math.nan if tensor.is_floating_point() or tensor.is_complex() else 0)


def _run_unless_it_draws(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operation's own result; torch tags some as random that only may be, as attention without dropout."""
    if all(value.device.type == "cpu" for value in args if isinstance(value, Tensor)):
        before = torch.get_rng_state()
        result = func(*args, **kwargs)
        if torch.equal(before, torch.get_rng_state()):
            return result
        torch.set_rng_state(before)
    raise TypeError(
        f"{func} draws from torch's global generator, and has no counter-based form; make initial weights with "
        "torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal, the in-place uniform_, normal_, "
        "bernoulli_, exponential_, or torch.nn.init"
    )
