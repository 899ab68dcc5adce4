"""The curvature of the loss where a run ended: extreme Hessian eigenvalues, trace, and sharpness as SAM defines it.

Shapes: ``P`` parameters of the run, ``M`` Lanczos vectors.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from workers.loss_slices import LossSurface, gaussian, no_autocast, substream
from workers.random import Purpose, random_words
from workers.workloads.base import Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvatureSettings:
    """How exactly to measure; at most ``lanczos_steps + 2 + probes`` Hessian-vector products.

    Attributes:
        probes: Random vectors of the trace estimate, at least 2.
        lanczos_steps: Most Lanczos steps; each keeps a vector of P numbers until the trace is known.
        tolerance: Lanczos ends once its residual of the top eigenvalue is below this share of the largest magnitude;
            with 0 it takes all its steps, unless it has seen all that its first vector contains.
        sam_rho: Radius of the ball of SAM; 0.05 in Foret et al., ICLR 2021.
        asam_rho: Radius of the scaled ball of ASAM; 0.5 in Kwon et al., ICML 2021.
        asam_eta: Added to every |w| in ASAM; 0.01 in the same paper.
        chunk: Examples in one forward pass; changes the memory and the rounding only.
    """

    probes: int = 16
    lanczos_steps: int = 40
    tolerance: float = 1e-4
    sam_rho: float = 0.05
    asam_rho: float = 0.5
    asam_eta: float = 0.01
    chunk: int = 500

    def __post_init__(self) -> None:
        """Refuse numbers that measure nothing."""
        least = {
            "probes": 2,
            "lanczos_steps": 1,
            "tolerance": 0,
            "sam_rho": 0,
            "asam_rho": 0,
            "asam_eta": 0,
            "chunk": 1,
        }
        for name, bound in least.items():
            if not bound <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)!r} is out of range; set a finite {name} >= {bound}")


#: The default.
THOROUGH = CurvatureSettings()
#: At most 20 Hessian-vector products: rough numbers during training, with their errors beside them.
QUICK = CurvatureSettings(probes=8, lanczos_steps=10, tolerance=1e-2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curvature:
    """Curvature of the mean loss over fixed examples, in evaluation mode; NaN is what could not be computed.

    All are nats per unit of the parameters as the loss is in nats. At kinks (ReLU, max pooling) the Hessian is that
    of the smooth piece where the run stands.

    Attributes:
        loss: Mean loss at the run's parameters.
        gradient_norm: Euclidean norm of its gradient; far from 0, the run has not ended in a minimum.
        top_eigenvalue: Algebraically largest Ritz value of the Hessian: never above the true largest eigenvalue, but
            for rounding.
        top_eigenvalue_residual: ||Hu - theta u|| of its unit vector, measured with one more product: some eigenvalue
            lies within this distance of it.
        bottom_eigenvalue: Algebraically smallest Ritz value, never below the true smallest eigenvalue: negative means
            that there is negative curvature. Lanczos does not wait for it to converge; see its residual.
        bottom_eigenvalue_residual: The same of that one.
        trace: Estimate of the Hessian's trace.
        trace_standard_error: Its standard error, from ``probes - 1`` degrees of freedom.
        sam_sharpness: Increase of the loss by SAM's step, rho along the gradient; 0 where the gradient is 0. Negative
            where the loss curves so that this step goes down.
        asam_sharpness: The same by ASAM's step, rho in the metric of |w| + eta.
        examples: How many examples the loss is a mean over.
        hessian_vector_products: What it cost: passes over all examples with a second derivative.
    """

    loss: float
    gradient_norm: float
    top_eigenvalue: float
    top_eigenvalue_residual: float
    bottom_eigenvalue: float
    bottom_eigenvalue_residual: float
    trace: float
    trace_standard_error: float
    sam_sharpness: float
    asam_sharpness: float
    examples: int
    hessian_vector_products: int


@no_autocast()
def measure_curvature(
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
    settings: CurvatureSettings = THOROUGH,
) -> Curvature:
    """Curvature where one run stands; changes nothing that is passed.

    Args:
        model: The module whose forward pass is used; its own parameters are not. Its training flags are put back.
        parameters: One run's value of every trained parameter, of one dtype, in which all is computed.
        buffers: Its buffers, and its frozen parameters; the model's own values stand for buffers that are missing.
        inputs: (N, ...) examples, N > 0.
        labels: (N, ...) their labels.
        loss: Mean loss of a batch.
        study_seed: First word of the random key.
        seed: Seed index of the run: runs that share it are measured with the same random vectors.
        step: Which measurement of the run this is, for example its epoch, from 0 to 2**32 - 1.
        settings: How exactly to measure; :data:`QUICK` is the cheaper one.

    Returns:
        The curvature. Where parameters, loss or gradient are not finite, all but the loss is NaN.

    Raises:
        ValueError: Names, shapes or numbers do not fit, or batch norm has no running statistics.
        NotImplementedError: An operation of the model has no second derivative.
    """
    surface = LossSurface(model, parameters, buffers, inputs, labels, loss, chunk=settings.chunk)
    level = surface.value(surface.point_P)
    gradient_P = surface.gradient() if math.isfinite(level) else torch.full_like(surface.point_P, math.nan)
    key = _Key(study_seed, seed, step)
    krylov = _build_krylov_space(surface, key, settings) if gradient_P.isfinite().all() else None
    top, top_residual = _ritz_pair(surface, krylov, -1)
    bottom, bottom_residual = _ritz_pair(surface, krylov, 0)
    trace, trace_standard_error = _estimate_trace(surface, krylov, key, settings.probes)
    scale_P = surface.point_P.abs() + settings.asam_eta
    return Curvature(
        loss=level,
        gradient_norm=_norm(gradient_P),
        top_eigenvalue=top,
        top_eigenvalue_residual=top_residual,
        bottom_eigenvalue=bottom,
        bottom_eigenvalue_residual=bottom_residual,
        trace=trace,
        trace_standard_error=trace_standard_error,
        sam_sharpness=_sharpness(surface, level, gradient_P, torch.ones_like(scale_P), settings.sam_rho),
        asam_sharpness=_sharpness(surface, level, gradient_P, scale_P, settings.asam_rho),
        examples=surface.examples,
        hessian_vector_products=surface.hessian_vector_products,
    )


@dataclass(frozen=True, slots=True)
class _Key:
    """Which random vectors a measurement uses."""

    study_seed: int
    seed: int
    step: int

    def start(self, like_P: Tensor) -> Tensor:
        """A Gaussian vector: no eigenvector is orthogonal to it, as one of signs could be."""
        stream = substream(self.step, 0)
        kind = Purpose.CURVATURE
        vector = gaussian(len(like_P), study_seed=self.study_seed, seed=self.seed, purpose=kind, stream=stream)
        return vector.to(like_P)

    def signs(self, like_P: Tensor, probe: int) -> Tensor:
        """A vector of independent signs, -1 or 1: one bit each of Philox words."""
        stream = substream(self.step, 1 + probe)
        size = len(like_P)
        words = random_words(
            -(-size // 64), seed=self.study_seed, index=self.seed, purpose=Purpose.CURVATURE, step=stream
        )
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), count=size)
        return torch.from_numpy(bits).to(like_P).mul_(2).sub_(1)


@dataclass(frozen=True, slots=True)
class _KrylovSpace:
    """Orthonormal rows that span {g, Hg, H²g, …}, and the Hessian in that basis, tridiagonal in exact arithmetic."""

    basis_MP: Tensor
    hessian_MM: npt.NDArray[np.float64]


def _build_krylov_space(surface: LossSurface, key: _Key, settings: CurvatureSettings) -> _KrylovSpace | None:
    """Lanczos with full reorthogonalisation (Golub and Van Loan, 4th ed., section 10.3); None if a product overflows.

    Without reorthogonalisation, rounding makes copies of eigenvalues that have converged.
    """
    most = min(settings.lanczos_steps, len(surface.point_P))
    basis_MP = surface.point_P.new_empty(most, len(surface.point_P))
    hessian_MM = np.zeros((most + 1, most + 1))
    vector_P = key.start(surface.point_P)
    length = _norm(vector_P)
    rounding = torch.finfo(vector_P.dtype).eps
    for last in range(most):
        basis_MP[last] = vector_P / length
        known = basis_MP[: last + 1]
        vector_P = surface.hessian_vector_product(known[last])
        hessian_MM[last, last] = torch.dot(known[last], vector_P).item()
        # Twice is enough (Giraud et al., Numerische Mathematik 2005).
        vector_P = _project_out(known, _project_out(known, vector_P))
        length = _norm(vector_P)
        if not math.isfinite(length + hessian_MM[last, last]):
            return None
        if _has_converged(hessian_MM[: last + 1, : last + 1], length, settings.tolerance, rounding):
            break
        hessian_MM[last, last + 1] = hessian_MM[last + 1, last] = length
    return _KrylovSpace(known, hessian_MM[: last + 1, : last + 1])


def _project_out(basis_MP: Tensor, vector_P: Tensor) -> Tensor:
    return vector_P - basis_MP.T @ (basis_MP @ vector_P)


def _has_converged(hessian_MM: npt.NDArray[np.float64], length: float, tolerance: float, rounding: float) -> bool:
    """Whether the residual that Lanczos predicts for the top eigenvalue is small, or the space is invariant.

    What is left of a vector in an invariant space is rounding, and not orthogonal to that space.
    """
    values, vectors = np.linalg.eigh(hessian_MM)
    largest = np.abs(values).max()
    return bool(length * abs(vectors[-1, -1]) < tolerance * largest or length <= rounding * largest)


def _ritz_pair(surface: LossSurface, krylov: _KrylovSpace | None, index: int) -> tuple[float, float]:
    """The ``index``-th eigenvalue in the Krylov space, from the smallest, and the residual of its vector."""
    if krylov is None:
        return math.nan, math.nan
    values, vectors = np.linalg.eigh(krylov.hessian_MM)
    value = float(values[index])
    vector_P = krylov.basis_MP.T @ torch.from_numpy(vectors[:, index].copy()).to(krylov.basis_MP)
    vector_P /= _norm(vector_P)
    return value, _norm(surface.hessian_vector_product(vector_P) - value * vector_P)


def _estimate_trace(surface: LossSurface, krylov: _KrylovSpace | None, key: _Key, probes: int) -> tuple[float, float]:
    """The trace and its standard error: exact in the Krylov space, by Hutchinson's estimator outside of it.

    tr H = tr QHQ' + E[z' (I - Q'Q) H (I - Q'Q) z] with random signs z. As in Hutch++ (Meyer et al., SOSA 2021) the few
    large eigenvalues add no variance; here the space comes free from Lanczos. It does not depend on the probes, so
    that the mean is unbiased and the usual standard error of a mean is right.
    """
    if krylov is None:
        return math.nan, math.nan
    basis_MP = krylov.basis_MP
    forms = surface.quadratic_forms(lambda probe: _project_out(basis_MP, key.signs(basis_MP[0], probe)), probes)
    return float(np.trace(krylov.hessian_MM) + forms.mean()), float(forms.std(ddof=1) / math.sqrt(probes))


def _sharpness(surface: LossSurface, level: float, gradient_P: Tensor, scale_P: Tensor, rho: float) -> float:
    """Increase of the loss by e = rho s² g / ||s g||, the first-order maximiser over ||e / s|| <= rho.

    With s = 1 it is SAM's (Foret et al. 2021, equation 2), with s = |w| + eta ASAM's (Kwon et al. 2021, equation 8),
    here of every parameter: their published code leaves biases unscaled, and then rescaled layers are not equal.
    """
    scaled_P = scale_P * gradient_P
    length = _norm(scaled_P)
    if length == 0:
        return 0.0
    return surface.value(surface.point_P + rho * scale_P * (scaled_P / length)) - level


def _norm(vector_P: Tensor) -> float:
    """Euclidean norm, accumulated in float64: squares of float32 numbers overflow and vanish early."""
    return float(torch.linalg.vector_norm(vector_P, dtype=torch.float64))
