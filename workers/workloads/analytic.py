"""Functions with known minima and exactly known gradient noise, trained like everything else."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from workers.random import Purpose, uniform
from workers.workloads.base import Dataset, Split, Workload
from workers.workloads.datasets import SPLIT_SEED

_NOISE_VECTORS = 2048


def load_noise(dimension: int) -> Dataset:
    """Noise vectors as training inputs; for validation and test, the zero vector: f itself, without noise.

    The training inputs are (2048, dimension) float32, standard normal by inversion, less their mean, so that the mean
    of the noisy losses over all of them is f, too. All labels are 0, and so that of the zero vector is the same for
    validation and test: there is nothing to overfit to.

    Args:
        dimension: Of x.
    """
    numbers = uniform(_NOISE_VECTORS * dimension, seed=SPLIT_SEED, index=0, purpose=Purpose.NOISE)
    noise = torch.special.ndtri(torch.from_numpy(numbers)).view(_NOISE_VECTORS, dimension)
    centred = (noise - noise.mean(dim=0)).float()
    noiseless = Split(torch.zeros(1, dimension), torch.zeros(1))
    return Dataset(Split(centred, torch.zeros(_NOISE_VECTORS)), noiseless, noiseless, classes=None)


def mean_value(values: Tensor, labels: Tensor) -> Tensor:
    """Mean of values (B,) above the labels (B,), which are 0."""
    return (values - labels).mean()


def quadratic(x: Tensor) -> Tensor:
    """1/2 sum_i h_i x_i**2 with h_i log-spaced from 0.01 to 1: minimum 0 at 0.

    Stochastic gradient descent at learning rate a multiplies x_i by (1 - a h_i) a step, without noise. With gradient
    noise of variance s**2 / B that is independent between steps, the variance of x_i tends to
    a s**2 / (B h_i (2 - a h_i)), the fixed point of v = (1 - a h_i)**2 v + a**2 s**2 / B. Epochs draw the noise
    without replacement, which makes it less where a h_i is small against one over the steps of an epoch.

    Args:
        x: (d,)

    Returns:
        A scalar.
    """
    curvature = torch.logspace(-2, 0, len(x), dtype=x.dtype, device=x.device)
    return 0.5 * (curvature * x.square()).sum()


def rosenbrock(x: Tensor) -> Tensor:
    """sum_{i<d} 100 (x_{i+1} - x_i**2)**2 + (1 - x_i)**2: minimum 0 at (1, ..., 1), and no other if d = 2.

    Rosenbrock: An automatic method for finding the greatest or least value of a function, The Computer Journal 3
    (1960), for d = 2.

    Args:
        x: (d,), d at least 2.

    Returns:
        A scalar.
    """
    left, right = x[:-1], x[1:]
    return (100.0 * (right - left.square()).square() + (1.0 - left).square()).sum()


class NoisyFunction(nn.Module):
    """f(x) + s noise . x, with x as the only parameter.

    Its gradient is that of f plus s noise: over batches of B vectors, the noise has variance s**2 / B in each direction
    wherever x is.

    Args:
        function: f, from (d,) to a scalar.
        start: x before training.
        noise_scale: s, at least 0.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], start: tuple[float, ...], noise_scale: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start))
        self._function = function
        self._noise_scale = noise_scale

    def forward(self, noise: Tensor) -> Tensor:
        """Values (B,) for noise vectors (B, d)."""
        return self._function(self.x) + self._noise_scale * (noise @ self.x)


def _build(_: Dataset, function: Callable[[Tensor], Tensor], start: tuple[float, ...], noise_scale: float) -> nn.Module:
    return NoisyFunction(function, start, noise_scale)


def _make_workload(
    name: str,
    title: str,
    citation: str,
    function: Callable[[Tensor], Tensor],
    start: tuple[float, ...],
    *,
    noise_scale: float,
    epochs: int,
    loss_ceiling: float,
) -> Workload:
    return Workload(
        name=name,
        title=title,
        citation=citation,
        load_data=partial(load_noise, len(start)),
        build_model=partial(_build, function=function, start=start, noise_scale=noise_scale),
        batch_size=16,
        epochs=epochs,
        loss_ceiling=loss_ceiling,
        loss=mean_value,
        error=None,
        chance_loss=function(torch.tensor(start, dtype=torch.float64)).item(),
    )


#: Ceilings: no optimizer goes there and comes back. The quadratic's is 400 times its start, and f only grows if it is
#: unstable. Within |x_i| <= 5 Rosenbrock's function stays below 1e5; beyond, its fourth power throws x away.
WORKLOADS: tuple[Workload, ...] = (
    _make_workload(
        "quadratic",
        "noisy quadratic of condition number 100 in 20 dimensions",
        "after the noisy quadratic model of Zhang et al., NeurIPS 2019 (arXiv 1907.04164), with isotropic noise",
        quadratic,
        (1.0,) * 20,
        noise_scale=0.1,
        epochs=10,
        loss_ceiling=1e3,
    ),
    _make_workload(
        "rosenbrock",
        "Rosenbrock's function in 2 dimensions with gradient noise",
        "Rosenbrock: An automatic method for finding the greatest or least value of a function, "
        "The Computer Journal 3, 1960; the noise is added here",
        rosenbrock,
        (-1.2, 1.0),
        noise_scale=1.0,
        epochs=40,
        loss_ceiling=1e5,
    ),
)
