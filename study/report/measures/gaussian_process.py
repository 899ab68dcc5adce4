"""A Gaussian process over the unit cube, with choices and axes that are not active."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg, optimize
from scipy.spatial import distance

from study.report.observations import Floats

#: Added to the diagonal of the covariance, so that it can be inverted.
_JITTER = 1e-8
#: Points of the cube that are predicted at once: what fits into the cache is up to four times faster.
_AT_ONCE = 256
#: Where the search for hyperparameters starts, and what it is bounded by: amplitude, noise, each length.
_START = (1.0, 0.05, 0.5)
_BOUNDS = ((1e-3, 1e3), (1e-8, 1e1), (1e-2, 1e2))


@dataclass(frozen=True, eq=False)
class Kernel:
    """Covariance of two places: Matern 5/2 with one length for each of F coordinates, and white noise.

    ``amplitude (1 + s + s^2 / 3) exp(-s)`` with ``s = sqrt(5) |(x - y) / length|`` (Rasmussen and Williams 2006,
    equation 4.17).
    """

    amplitude: float
    noise: float
    length_F: Floats

    def between(self, one_MF: Floats, other_NF: Floats) -> Floats:
        """Covariance of the function at M and N places, without noise."""
        step_MN = math.sqrt(5.0) * distance.cdist(one_MF / self.length_F, other_NF / self.length_F)
        return np.asarray(self.amplitude * (1.0 + step_MN * (1.0 + step_MN / 3.0)) * np.exp(-step_MN))

    def within(self, place_NF: Floats) -> Floats:
        """Covariance of measurements at N places, with noise."""
        covariance_NN = self.between(place_NF, place_NF)
        covariance_NN[np.diag_indices_from(covariance_NN)] += self.noise + _JITTER
        return covariance_NN


@dataclass(frozen=True, slots=True)
class Encoding:
    """Places as coordinates in which near is alike: choices are corners of a simplex, inactive axes are marked.

    Attributes:
        choices: Of each axis, how many choices it has; 0 for a range.
        partial: Which axes are not active in all points.
    """

    choices: tuple[int, ...]
    partial: tuple[bool, ...]

    @classmethod
    def of(cls, unit_ND: Floats, choices: Sequence[int]) -> "Encoding":
        """For all points of a design, of which some may have other axes than the rest."""
        return cls(tuple(choices), tuple(not np.isfinite(column).all() for column in unit_ND.T))

    def encode(self, unit_MD: Floats) -> Floats:
        """F coordinates of M places, of shape (M, F)."""
        columns = []
        for column, (size, partial) in enumerate(zip(self.choices, self.partial, strict=True)):
            active = np.isfinite(unit_MD[:, column])
            place = np.where(active, unit_MD[:, column], 0.5)
            if size:
                corners = np.eye(size)[np.clip((place * size).astype(int), 0, size - 1)]
                columns += list((corners * active[:, None]).T)
            else:
                columns += [place, active.astype(float)] if partial else [place]
        return np.stack(columns, axis=1)


class GaussianProcess:
    """A Gaussian process with a known kernel. Plain linear algebra: it touches no state of the whole process."""

    def __init__(self, unit_ND: Floats, value_N: Floats, encoding: Encoding, kernel: Kernel) -> None:
        """Learned from N points.

        Args:
            unit_ND: Places; NaN where an axis is not active.
            value_N: The number at each.
            encoding: Of places.
            kernel: Of coordinates, and of values in units of their standard deviation.
        """
        self._encoding, self._kernel = encoding, kernel
        self._mean, self._scale = float(value_N.mean()), float(value_N.std()) or 1.0
        self._place_NF = encoding.encode(unit_ND)
        factor_NN = linalg.cholesky(kernel.within(self._place_NF), lower=True)
        self._weight_N = linalg.cho_solve((factor_NN, True), (value_N - self._mean) / self._scale)

    def predict(self, unit_MD: Floats) -> Floats:
        """See :class:`study.report.measures.surrogate.Model`."""
        parts = [self._kernel.between(place_MF, self._place_NF) @ self._weight_N for place_MF in self._parts(unit_MD)]
        return np.asarray(self._mean + self._scale * np.concatenate([np.empty(0), *parts]))

    def spread(self, unit_MD: Floats) -> Floats:
        """See :class:`study.report.measures.surrogate.Model`: without the noise of another measurement."""
        known = [
            linalg.solve_triangular(self._factor_NN, self._kernel.between(self._place_NF, place_MF), lower=True)
            for place_MF in self._parts(unit_MD)
        ]
        left_M = self._kernel.amplitude - np.concatenate([np.empty(0), *((part**2).sum(axis=0) for part in known)])
        return np.asarray(self._scale * np.sqrt(np.maximum(left_M, 0.0)))

    @cached_property
    def _factor_NN(self) -> Floats:
        """Kept only where it is asked for: of 1,024 points it is 8 MiB, and predictions of folds do without."""
        return np.asarray(linalg.cholesky(self._kernel.within(self._place_NF), lower=True))

    def _parts(self, unit_MD: Floats) -> Iterator[Floats]:
        for start in range(0, len(unit_MD), _AT_ONCE):
            yield self._encoding.encode(unit_MD[start : start + _AT_ONCE])


def learn_kernel(place_NF: Floats, value_N: Floats) -> Kernel:
    """Hyperparameters of the largest marginal likelihood, by L-BFGS-B from one start.

    Args:
        place_NF: Coordinates of N points.
        value_N: The number at each.
    """
    scaled_N = (value_N - value_N.mean()) / (float(value_N.std()) or 1.0)
    square_FNN = (place_NF.T[:, :, None] - place_NF.T[:, None, :]) ** 2
    ends = np.log([*_BOUNDS[:2], *[_BOUNDS[2]] * len(square_FNN)])
    start = np.log([*_START[:2], *[_START[2]] * len(square_FNN)])
    found = optimize.minimize(
        _lose_likelihood, start, (square_FNN, scaled_N), jac=True, method="L-BFGS-B", bounds=ends.tolist()
    )
    amplitude, noise, *lengths = np.exp(np.clip(found.x, ends[:, 0], ends[:, 1])).tolist()
    return Kernel(amplitude, noise, np.array(lengths))


def _lose_likelihood(theta: Floats, square_FNN: Floats, value_N: Floats) -> tuple[float, Floats]:
    """Negative log marginal likelihood and its gradient by the logs of the hyperparameters (equations 2.30 and 5.9)."""
    amplitude, noise, *lengths = np.exp(theta).tolist()
    near_FNN = square_FNN / np.square(lengths)[:, None, None]
    step_NN = np.sqrt(5.0 * near_FNN.sum(axis=0))
    decay_NN = amplitude * np.exp(-step_NN)
    covariance_NN = decay_NN * (1.0 + step_NN * (1.0 + step_NN / 3.0))
    diagonal = np.diag_indices_from(covariance_NN)
    measured_NN = covariance_NN.copy()
    measured_NN[diagonal] += noise + _JITTER
    factor_NN = linalg.cholesky(measured_NN, lower=True)
    weight_N = linalg.cho_solve((factor_NN, True), value_N)
    # Half of the trace of (K^-1 - a a^T) times the derivative of K.
    inverse_NN = linalg.cho_solve((factor_NN, True), np.eye(len(value_N)))
    pull_NN = (inverse_NN - np.outer(weight_N, weight_N)) / 2.0
    by_length_NN = pull_NN * decay_NN * (1.0 + step_NN) * (5.0 / 3.0)
    gradient = [
        float(np.sum(pull_NN * covariance_NN)),
        noise * float(np.trace(pull_NN)),
        *np.einsum("nm,fnm->f", by_length_NN, near_FNN).tolist(),
    ]
    likelihood = (
        -value_N @ weight_N / 2.0 - np.log(factor_NN[diagonal]).sum() - len(value_N) / 2 * math.log(2 * math.pi)
    )
    return -float(likelihood), np.array(gradient)
