"""The loss as a function of one run's parameters: its value, its derivatives, and filter-normalised slices through it.

Shapes: ``P`` parameters of the run, ``N`` examples, ``A`` and ``B`` points along the axes of a slice.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from workers.random import Purpose, random_words
from workers.workloads.base import Loss

_STREAMS_PER_STEP = 2**32
#: What torch says when an operation can be differentiated once only.
_ONCE_DIFFERENTIABLE = ("derivative for", "differentiate twice", "ouble backward")


class LossSurface:
    """Mean loss over fixed examples as a function of all parameters, in evaluation mode.

    Batch norm uses its running statistics and dropout is off, so that the loss is a mean over examples and the size
    of the chunks changes only its rounding. Points and vectors are flat, (P,), in the order of
    ``model.named_parameters()``. Nothing that was passed is changed: the model's training flags are put back.

    Attributes:
        point_P: Where the run stands; a copy.
        examples: N.
        hessian_vector_products: How many passes over all examples took a second derivative so far.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        inputs: Tensor,
        labels: Tensor,
        loss: Loss,
        *,
        chunk: int,
    ) -> None:
        """Copy the point; see :func:`workers.curvature.measure_curvature` for the arguments and errors."""
        _check_names(model, parameters, buffers)
        _check_examples(model, inputs, labels, chunk)
        names = [name for name, _ in model.named_parameters() if name in parameters]
        self._shapes = {name: parameters[name].shape for name in names}
        self._model, self._loss = model, loss
        self._buffers = {**dict(model.named_buffers()), **buffers}
        starts = range(0, len(inputs), chunk)
        self._chunks = [(inputs[start : start + chunk], labels[start : start + chunk]) for start in starts]
        self.point_P = torch.cat([parameters[name].detach().flatten() for name in names])
        self.examples = len(inputs)
        self.hessian_vector_products = 0

    def views(self, point_P: Tensor) -> dict[str, Tensor]:
        """The parameters at a point, by name, as views of it."""
        parts = torch.split_with_sizes(point_P, [shape.numel() for shape in self._shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def value(self, point_P: Tensor) -> float:
        """The mean loss at a point; chunks are added in float64. NaN if the point is not finite."""
        if not point_P.isfinite().all():
            return math.nan
        with _evaluation(self._model), torch.no_grad():
            return sum(share.double().item() for share in self._shares(point_P))

    def gradient(self) -> Tensor:
        """The gradient of the mean loss where the run stands, shape (P,)."""
        total_P = torch.zeros_like(self.point_P)
        leaf_P = self.point_P.detach().requires_grad_()
        with _evaluation(self._model):
            for share in self._shares(leaf_P):
                total_P += torch.autograd.grad(share, leaf_P)[0]
        return total_P

    def hessian_vector_product(self, vector_P: Tensor) -> Tensor:
        """The Hessian of the mean loss where the run stands, times a vector: (P,) to (P,).

        Backward through backward (Pearlmutter, Neural Computation 1994), since recurrent layers have no forward mode.
        """
        product_P = torch.zeros_like(vector_P)
        with _evaluation(self._model), _refusing_by_name(self._model):
            for differentiate in self._derivatives_of_gradient():
                product_P += differentiate(vector_P)
        self.hessian_vector_products += 1
        return product_P

    def quadratic_forms(self, vector: Callable[[int], Tensor], count: int) -> npt.NDArray[np.float64]:
        """``v' H v`` of ``vector(0)``, …, ``vector(count - 1)``, shape (count,).

        A chunk's gradient is computed once for all vectors, which are made anew for every chunk and never stored.
        """
        forms = np.zeros(count)
        with _evaluation(self._model), _refusing_by_name(self._model):
            for differentiate in self._derivatives_of_gradient():
                for index in range(count):
                    vector_P = vector(index)
                    forms[index] += (vector_P * differentiate(vector_P)).sum(dtype=torch.float64).item()
        self.hessian_vector_products += count
        return forms

    def _shares(self, point_P: Tensor) -> Iterator[Tensor]:
        """What each chunk adds to the mean loss."""
        for inputs, labels in self._chunks:
            # A forward pass may write to buffers and parameters: each gets its own, or one would change the next.
            values = {**{name: buffer.detach() for name, buffer in self._buffers.items()}, **self.views(point_P)}
            own = {name: value.clone() for name, value in values.items()}
            outputs = functional_call(self._model, own, (inputs,))
            yield self._loss(outputs, labels) * (len(inputs) / self.examples)

    def _derivatives_of_gradient(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """For each chunk, the function that multiplies a vector by its share of the Hessian."""
        leaf_P = self.point_P.detach().requires_grad_()
        for share in self._shares(leaf_P):
            (gradient_P,) = torch.autograd.grad(share, leaf_P, create_graph=True)
            _check_graph(gradient_P)

            def differentiate(vector_P: Tensor, gradient_P: Tensor = gradient_P) -> Tensor:
                if not gradient_P.requires_grad:  # the loss is linear in the parameters
                    return torch.zeros_like(vector_P)
                return torch.autograd.grad(gradient_P, leaf_P, vector_P, retain_graph=True, materialize_grads=True)[0]

            yield differentiate


@dataclass(frozen=True, slots=True)
class LossSlice:
    """Losses along a line: ``losses[a]`` at the run's parameters plus ``alphas[a]`` times the direction."""

    alphas: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LossPlane:
    """Losses on a grid: ``losses[a][b]`` at ``alphas[a]`` along the first direction and ``betas[b]`` along another."""

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]


#: Where slices are evaluated unless told otherwise: the range of the figures of Li et al. 2018.
DEFAULT_ALPHAS = tuple(step / 10 for step in range(-10, 11))


def loss_slice(
    model: nn.Module,
    parameters: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    inputs: Tensor,
    labels: Tensor,
    loss: Loss,
    *,
    study_seed: int,
    seed: int,
    step: int = 0,
    alphas: Sequence[float] = DEFAULT_ALPHAS,
    chunk: int = 500,
) -> LossSlice:
    """Losses along one random direction with the filter norms of the run (Li et al., NeurIPS 2018, section 4).

    Runs with the same ``study_seed``, ``seed`` and ``step`` share the Gaussian direction before its normalisation.
    Parameters with fewer than two dimensions (biases, parameters of normalisation) stay as they are.

    Args:
        model: The module whose forward pass is used; its own parameters are not.
        parameters: One run's value of every parameter of the model.
        buffers: Its buffers; the model's own values stand for those that are missing.
        inputs: (N, ...) examples, N > 0.
        labels: (N, ...) their labels.
        loss: Mean loss of a batch.
        study_seed: First word of the random key.
        seed: Seed index of the run.
        step: Which pair of directions, from 0 to 2**32 - 1.
        alphas: Multiples of the direction; 0 is the run itself, 1 moves every filter by its own norm.
        chunk: Examples in one forward pass.

    Returns:
        The losses; one that is infinite or NaN is returned as it is, and all are NaN if the parameters are not finite.

    Raises:
        ValueError: Names, shapes or numbers do not fit.
    """
    surface = LossSurface(model, parameters, buffers, inputs, labels, loss, chunk=chunk)
    direction_P = _direction(surface, model, study_seed, seed, substream(step, 0))
    losses = tuple(surface.value(surface.point_P + alpha * direction_P) for alpha in alphas)
    return LossSlice(tuple(alphas), losses)


def loss_plane(
    model: nn.Module,
    parameters: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    inputs: Tensor,
    labels: Tensor,
    loss: Loss,
    *,
    study_seed: int,
    seed: int,
    step: int = 0,
    alphas: Sequence[float] = DEFAULT_ALPHAS,
    betas: Sequence[float] = DEFAULT_ALPHAS,
    chunk: int = 500,
) -> LossPlane:
    """Losses on the plane of two such directions; the first is that of :func:`loss_slice`, whose arguments these are.

    The directions are independent and, as in the paper, not made orthogonal.
    """
    surface = LossSurface(model, parameters, buffers, inputs, labels, loss, chunk=chunk)
    first_P, second_P = (_direction(surface, model, study_seed, seed, substream(step, axis)) for axis in (0, 1))
    losses = tuple(
        tuple(surface.value(surface.point_P + alpha * first_P + beta * second_P) for beta in betas) for alpha in alphas
    )
    return LossPlane(tuple(alphas), tuple(betas), losses)


def gaussian(size: int, *, study_seed: int, seed: int, purpose: Purpose, stream: int) -> Tensor:
    """``size`` standard normal numbers, float64, by inversion of Philox words."""
    words = random_words(size, seed=study_seed, index=seed, purpose=purpose, step=stream)
    # With 52 bits, adding one half is exact: neither 0 nor 1, whose quantiles are infinite, can occur.
    probability = ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    quantiles: Tensor = torch.special.ndtri(torch.from_numpy(probability))
    return quantiles


def substream(step: int, position: int) -> int:
    """The counter word of the ``position``-th vector of a step: streams of two steps never meet."""
    if not 0 <= step < _STREAMS_PER_STEP:
        raise ValueError(f"step={step} is outside 0 to 2**32 - 1; number the measurements of a run from 0")
    return step * _STREAMS_PER_STEP + position


def _direction(surface: LossSurface, model: nn.Module, study_seed: int, seed: int, stream: int) -> Tensor:
    point_P = surface.point_P
    noise_P = gaussian(len(point_P), study_seed=study_seed, seed=seed, purpose=Purpose.SLICE, stream=stream)
    return filter_normalised(surface, model, noise_P.to(point_P))


def filter_normalised(surface: LossSurface, model: nn.Module, direction_P: Tensor) -> Tensor:
    """``direction_P`` with every filter scaled to the norm of the run's filter, and zero where there are no filters.

    A filter is what feeds one output unit: a row of a weight matrix, or one output channel of a convolution.
    """
    groups = {
        f"{name}.weight".lstrip("."): module.groups
        for name, module in model.named_modules()
        if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    }
    weights, directions = surface.views(surface.point_P), surface.views(direction_P)
    parts = [_scale_filters(directions[name], weights[name], groups.get(name)) for name in weights]
    return torch.cat([part.flatten() for part in parts])


def _scale_filters(direction: Tensor, weight: Tensor, groups: int | None) -> Tensor:
    """``groups`` is that of a transposed convolution, whose weight is (in, out / groups, ...); None for all others."""
    if weight.ndim <= 1:
        return torch.zeros_like(weight)
    shape = weight.shape if groups is None else (groups, -1, *weight.shape[1:])
    weight, direction = weight.reshape(shape), direction.reshape(shape)
    within = tuple(range(1, weight.ndim)) if groups is None else (1, *range(3, weight.ndim))
    wanted: Tensor = torch.linalg.vector_norm(weight, dim=within, keepdim=True)
    present: Tensor = torch.linalg.vector_norm(direction, dim=within, keepdim=True)
    return direction * (wanted / present)


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, in the parameters' own precision, with kernels that can be differentiated twice."""
    modules = list(model.modules())
    training = [module.training for module in modules]
    # cuDNN's recurrent kernels have no second derivative, and none at all in evaluation mode; nor has fused attention.
    use_cudnn = not any(isinstance(module, nn.RNNBase) for module in modules)
    cudnn = torch.backends.cudnn.flags(enabled=use_cudnn, deterministic=True, allow_tf32=False)
    try:
        model.eval()
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), cudnn, no_autocast():
            yield
    finally:
        for module, flag in zip(modules, training, strict=True):
            module.training = flag


@contextmanager
def no_autocast() -> Iterator[None]:
    """Compute in the dtype of the tensors, whatever the caller has set."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


@contextmanager
def _refusing_by_name(model: nn.Module) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _ONCE_DIFFERENTIABLE):
            raise
        raise NotImplementedError(
            f"the Hessian of {type(model).__name__} needs an operation differentiated twice that torch differentiates "
            f"once ({error}); build the model from operations with a second derivative, and do not compile it"
        ) from error


def _check_graph(gradient: Tensor) -> None:
    """Find functions marked as once differentiable: torch takes their second derivative for 0 and does not tell."""
    waiting, seen = [gradient.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name().endswith("Error"):
            raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
        seen.add(node)
        waiting.extend(before for before, _ in node.next_functions)


def _check_names(model: nn.Module, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
    own = {name for name, _ in model.named_parameters()}
    known = own | {name for name, _ in model.named_buffers()}
    missing, unknown = own - {*parameters, *buffers}, {*parameters, *buffers} - known
    if missing or unknown or not parameters:
        raise ValueError(
            f"parameters and buffers do not fit {type(model).__name__}: missing {sorted(missing)}, unknown "
            f"{sorted(unknown)}, {len(parameters)} parameters; pass a value of every parameter"
        )
    kinds = {(value.dtype, value.device) for value in parameters.values()}
    if len(kinds) > 1:
        raise ValueError(f"parameters are of several kinds, {kinds}; give all of them one dtype and device")


def _check_examples(model: nn.Module, inputs: Tensor, labels: Tensor, chunk: int) -> None:
    if len(inputs) != len(labels) or not len(inputs) or chunk < 1:
        raise ValueError(
            f"{len(inputs)} inputs, {len(labels)} labels and chunk={chunk}; "
            "there must be one label per input, at least one of each, and a chunk of at least 1"
        )
    for name, module in model.named_modules():
        # Its evaluation mixes the examples of a batch: the loss would depend on the size of the chunks.
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"batch norm {name!r} has no running statistics, so the loss is no mean over examples; "
                "build it with track_running_stats=True"
            )
