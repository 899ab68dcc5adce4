"""Curvature: known Hessians, torch's own dense Hessian, naive sharpness, and errors that mean what they say."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from workers.curvature import QUICK, THOROUGH, Curvature, CurvatureSettings, measure_curvature

EXACT = CurvatureSettings(probes=2, lanczos_steps=1000, tolerance=0.0)
KEY = {"study_seed": 11, "seed": 3}


def mean_output(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.mean() + 0 * labels.sum()


class Quadratic(nn.Module):
    """w'Aw / 2 + b'w for every example: its Hessian is A."""

    def __init__(self, A: Tensor, w: Tensor, b: Tensor | None = None) -> None:
        super().__init__()
        self.w = nn.Parameter(w)
        self.register_buffer("A", A)
        self.register_buffer("b", torch.zeros_like(w) if b is None else b)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, ...) inputs to outputs."""
        return (self.w @ self.A @ self.w / 2 + self.b @ self.w).expand(len(inputs))


class LastOutput(nn.Module):
    """A recurrent layer and a linear one on its last output."""

    def __init__(self, layer: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer: nn.Module = layer(3, 2, batch_first=True)
        self.head = nn.Linear(2, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, ...) inputs to outputs."""
        return self.head(self.layer(inputs)[0][:, -1])


class Attention(nn.Module):
    """One head of attention, by torch's fused function."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(3, 9)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, ...) inputs to outputs."""
        query, key, value = self.project(inputs).unsqueeze(1).chunk(3, dim=-1)
        return scaled_dot_product_attention(query, key, value).mean(dim=(1, 2))


def values_of(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return {name: value.detach() for name, value in model.named_parameters()}, dict(model.named_buffers())


def measure(model: nn.Module, inputs: Tensor, labels: Tensor, loss: Any = cross_entropy, **options: Any) -> Curvature:
    return measure_curvature(model, *values_of(model), inputs, labels, loss, **{**KEY, **options})


def measure_quadratic(A: Tensor, w: Tensor, b: Tensor | None = None, **options: Any) -> Curvature:
    return measure(Quadratic(A, w, b), torch.zeros(4, 1), torch.zeros(4), mean_output, **options)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fill(model: nn.Module, seed: int = 0, scale: float = 0.7) -> nn.Module:
    """The same weights on every machine, float64."""
    model = model.double()
    with torch.no_grad():
        for position, parameter in enumerate(model.parameters()):
            parameter.copy_(scale * random_tensor(*parameter.shape, seed=1000 * seed + position))
    return model


def random_symmetric(size: int, seed: int = 0) -> Tensor:
    A = random_tensor(size, size, seed=seed)
    return (A + A.T) / 2


def make_examples(*shape: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return random_tensor(*shape, seed=9), torch.randint(classes, (shape[0],), generator=generator)


def dense_hessian(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """The whole Hessian by torch's own function, in evaluation mode."""
    parameters, _ = values_of(model)
    flat = torch.cat([value.flatten() for value in parameters.values()])

    def loss(point: Tensor) -> Tensor:
        parts = point.split([value.numel() for value in parameters.values()])
        views = {name: part.view_as(value) for (name, value), part in zip(parameters.items(), parts, strict=True)}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return cross_entropy(functional_call(model.eval(), views, (inputs,)), labels)

    hessian = torch.autograd.functional.hessian(loss, flat)
    assert isinstance(hessian, Tensor)
    return hessian


def make_mlp(activation: type[nn.Module] = nn.Tanh, bias: bool = True) -> nn.Module:
    return fill(nn.Sequential(nn.Linear(4, 6, bias=bias), activation(), nn.Linear(6, 3, bias=bias)))


def make_batch_norm_net() -> nn.Module:
    model = fill(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)))
    model[1].running_mean.copy_(random_tensor(3, seed=21))  # type: ignore[index, operator]
    model[1].running_var.copy_(random_tensor(3, seed=22).square() + 0.5)  # type: ignore[index, operator]
    return model


def test_a_diagonal_quadratic_gives_its_eigenvalues_and_trace() -> None:
    eigenvalues = torch.tensor([5.0, 3.0, 1.0, 0.5, -2.0], dtype=torch.float64)
    result = measure_quadratic(torch.diag(eigenvalues), torch.ones(5, dtype=torch.float64), settings=EXACT)
    assert result.loss == pytest.approx(7.5 / 2, abs=1e-12)
    assert result.gradient_norm == pytest.approx(math.sqrt(25 + 9 + 1 + 0.25 + 4), abs=1e-12)
    assert result.top_eigenvalue == pytest.approx(5.0, abs=1e-10)
    assert result.bottom_eigenvalue == pytest.approx(-2.0, abs=1e-10)
    assert result.trace == pytest.approx(7.5, abs=1e-10)
    assert max(result.top_eigenvalue_residual, result.bottom_eigenvalue_residual) < 1e-9
    assert result.trace_standard_error < 1e-9
    assert (result.examples, result.hessian_vector_products) == (4, 5 + 2 + 2)


@pytest.mark.parametrize("steps", [1, 2, 5, 12, 40])
def test_a_residual_bounds_the_distance_to_an_eigenvalue_however_early_lanczos_ends(steps: int) -> None:
    A = random_symmetric(40)
    eigenvalues = torch.linalg.eigvalsh(A).numpy()
    settings = CurvatureSettings(lanczos_steps=steps, tolerance=0.0)
    result = measure_quadratic(A, torch.zeros(40, dtype=torch.float64), settings=settings)
    for value, residual in (
        (result.top_eigenvalue, result.top_eigenvalue_residual),
        (result.bottom_eigenvalue, result.bottom_eigenvalue_residual),
    ):
        assert np.abs(eigenvalues - value).min() <= residual + 1e-9
        assert eigenvalues[0] - 1e-9 <= value <= eigenvalues[-1] + 1e-9
    assert result.top_eigenvalue_residual > 1e-3 or steps > 5


def test_lanczos_ends_when_its_residual_is_below_the_tolerance() -> None:
    A = random_symmetric(200)
    A += 100 * torch.eye(200)[:, :1] @ torch.eye(200)[:1]  # one eigenvalue far above the others
    settings = CurvatureSettings(probes=2, lanczos_steps=200, tolerance=1e-3)
    result = measure_quadratic(A, torch.zeros(200, dtype=torch.float64), settings=settings)
    assert 0 < result.top_eigenvalue_residual <= 1e-3 * result.top_eigenvalue
    assert result.hessian_vector_products < 30


def test_a_hessian_of_low_rank_ends_lanczos_early() -> None:
    direction = random_tensor(50)
    A = 3 * torch.outer(direction, direction) / direction.square().sum()
    result = measure_quadratic(A, torch.zeros(50, dtype=torch.float64))
    assert result.top_eigenvalue == pytest.approx(3.0, abs=1e-9)
    assert result.trace == pytest.approx(3.0, abs=1e-9)
    assert result.hessian_vector_products == 2 + 2 + THOROUGH.probes


def test_full_reorthogonalisation_leaves_no_copies_of_eigenvalues() -> None:
    eigenvalues = torch.cat([torch.tensor([1e4, 1e3]), torch.linspace(0.0, 1.0, 98)]).double()
    rotation, _ = torch.linalg.qr(random_tensor(100, 100))
    A = rotation @ torch.diag(eigenvalues) @ rotation.T
    settings = CurvatureSettings(probes=2, lanczos_steps=60, tolerance=0.0)
    result = measure_quadratic((A + A.T) / 2, torch.zeros(100, dtype=torch.float64), settings=settings)
    # A second copy of 1e4 in the Krylov space would add 1e4 to the trace.
    assert result.trace == pytest.approx(eigenvalues.sum().item(), abs=5.0)
    assert result.top_eigenvalue == pytest.approx(1e4, rel=1e-10)


def test_at_a_maximum_the_top_eigenvalue_is_the_algebraically_largest() -> None:
    A = torch.diag(torch.tensor([-1.0, -4.0, -2.0], dtype=torch.float64))
    result = measure_quadratic(A, torch.zeros(3, dtype=torch.float64), settings=EXACT)
    assert result.top_eigenvalue == pytest.approx(-1.0, abs=1e-10)
    assert result.bottom_eigenvalue == pytest.approx(-4.0, abs=1e-10)
    assert (result.sam_sharpness, result.asam_sharpness, result.gradient_norm) == (0.0, 0.0, 0.0)


def test_a_linear_loss_has_no_curvature() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, dtype=torch.float64))

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs @ self.w

    inputs = torch.tensor([[3.0, 0.0, 4.0]], dtype=torch.float64)
    result = measure(Linear(), inputs, torch.zeros(1), mean_output)
    assert (result.top_eigenvalue, result.bottom_eigenvalue, result.trace) == (0.0, 0.0, 0.0)
    assert result.sam_sharpness == pytest.approx(0.05 * 5, abs=1e-12)
    assert result.gradient_norm == pytest.approx(5.0, abs=1e-12)


def test_softmax_regression_gives_its_analytic_hessian() -> None:
    inputs, labels = make_examples(25, 4)
    model = fill(nn.Linear(4, 3, bias=False))
    p = model(inputs).softmax(dim=1).detach().numpy()
    x = inputs.numpy()
    # Bishop, Pattern Recognition and Machine Learning, equation 4.110
    hessian = np.mean(
        [np.kron(np.diag(p[n]) - np.outer(p[n], p[n]), np.outer(x[n], x[n])) for n in range(len(x))], axis=0
    )
    result = measure(model, inputs, labels, settings=EXACT)
    assert result.top_eigenvalue == pytest.approx(np.linalg.eigvalsh(hessian)[-1], abs=1e-9)
    assert result.bottom_eigenvalue == pytest.approx(0.0, abs=1e-9)
    assert result.trace == pytest.approx(np.trace(hessian), abs=1e-9)


MODELS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (make_mlp, (30, 4)),
    (lambda: make_mlp(nn.ReLU), (30, 4)),
    (make_batch_norm_net, (10, 2, 4, 4)),
    (lambda: fill(LastOutput(nn.GRU)), (10, 5, 3)),
    (lambda: fill(LastOutput(nn.LSTM)), (10, 5, 3)),
    (lambda: fill(LastOutput(nn.RNN)), (10, 5, 3)),
    (lambda: fill(Attention()), (10, 5, 3)),
]


@pytest.mark.parametrize(
    ("make", "shape"), MODELS, ids=["mlp", "relu", "batch-norm", "gru", "lstm", "rnn", "attention"]
)
@pytest.mark.parametrize("chunk", [4, 500])
def test_models_give_the_eigenvalues_and_trace_of_the_dense_hessian(
    make: Callable[[], nn.Module], shape: tuple[int, ...], chunk: int
) -> None:
    inputs, labels = make_examples(*shape)
    eigenvalues = torch.linalg.eigvalsh(dense_hessian(make(), inputs, labels))
    result = measure(make(), inputs, labels, settings=dataclasses.replace(EXACT, chunk=chunk))
    assert result.top_eigenvalue == pytest.approx(eigenvalues[-1].item(), abs=1e-6)
    assert result.bottom_eigenvalue == pytest.approx(eigenvalues[0].item(), abs=1e-6)
    assert result.trace == pytest.approx(eigenvalues.sum().item(), abs=1e-6)
    assert max(result.top_eigenvalue_residual, result.bottom_eigenvalue_residual) < 1e-6


def test_float32_gives_the_numbers_of_float64_within_its_own_residual() -> None:
    inputs, labels = make_examples(30, 4)
    exact = measure(make_mlp(), inputs, labels)
    rough = measure(make_mlp().float(), inputs.float(), labels)
    assert rough.top_eigenvalue == pytest.approx(exact.top_eigenvalue, abs=2 * rough.top_eigenvalue_residual + 1e-5)
    assert rough.trace == pytest.approx(exact.trace, abs=1e-3)
    assert rough.sam_sharpness == pytest.approx(exact.sam_sharpness, abs=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 30])
def test_chunks_change_the_rounding_only(chunk: int) -> None:
    inputs, labels = make_examples(30, 4)
    whole = dataclasses.astuple(measure(make_mlp(), inputs, labels))
    parts = measure(make_mlp(), inputs, labels, settings=CurvatureSettings(chunk=chunk))
    assert dataclasses.astuple(parts) == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_interval_of_the_trace_covers_it_as_often_as_it_says(steps: int) -> None:
    eigenvalues = torch.cat([torch.tensor([30.0, 10.0, 5.0]), torch.linspace(-1.0, 1.5, 37)]).double()
    rotation, _ = torch.linalg.qr(random_tensor(40, 40, seed=2))
    A = rotation @ torch.diag(eigenvalues) @ rotation.T
    model = Quadratic((A + A.T) / 2, torch.zeros(40, dtype=torch.float64))
    settings = CurvatureSettings(probes=8, lanczos_steps=steps, tolerance=0.0)
    reach = stats.t.ppf(0.9, 7)  # an 80 % interval: coverage that is too high shows as well
    runs, scores = 250, []
    for seed in range(runs):
        result = measure(model, torch.zeros(1, 1), torch.zeros(1), mean_output, seed=seed, settings=settings)
        scores.append((result.trace - eigenvalues.sum().item()) / result.trace_standard_error)
    covered = int((np.abs(scores) < reach).sum())
    # Outside of this in less than 1 of 1,000 sets of seeds, if the coverage is 80 %.
    low, high = stats.binom.interval(0.999, runs, 0.8)
    assert low <= covered <= high


def test_the_krylov_space_makes_the_trace_more_certain_at_the_same_number_of_probes() -> None:
    eigenvalues = torch.cat([torch.tensor([30.0, 10.0, 5.0]), torch.linspace(-1.0, 1.5, 37)]).double()
    rotation, _ = torch.linalg.qr(random_tensor(40, 40, seed=2))
    A = rotation @ torch.diag(eigenvalues) @ rotation.T
    errors = [
        measure_quadratic(A, torch.zeros(40).double(), settings=CurvatureSettings(lanczos_steps=steps, tolerance=0.0))
        for steps in (1, 12)
    ]
    assert errors[1].trace_standard_error < errors[0].trace_standard_error / 3


def test_the_standard_error_is_that_of_a_mean_with_one_degree_of_freedom_less_than_probes() -> None:
    def measured(probes: int) -> tuple[float, float]:
        settings = CurvatureSettings(probes=probes, lanczos_steps=2, tolerance=0.0)
        result = measure_quadratic(random_symmetric(30), torch.zeros(30, dtype=torch.float64), settings=settings)
        return result.trace, result.trace_standard_error

    # More probes begin with the fewer ones, so that differences of sums are single probes; two are their mean +- error.
    mean, error = measured(2)
    probes = [mean - error, mean + error]
    for count in range(3, 7):
        probes.append(count * measured(count)[0] - sum(probes))
    assert measured(6) == pytest.approx((np.mean(probes), stats.sem(probes)), rel=1e-9)


def naive_sharpness(model: nn.Module, inputs: Tensor, labels: Tensor, rho: float, eta: float | None) -> float:
    """SAM's step (or ASAM's, with ``eta``) as an optimizer takes it, tensor by tensor."""
    before = cross_entropy(model(inputs), labels)
    gradients = torch.autograd.grad(before, list(model.parameters()))
    scales = [torch.ones_like(w) if eta is None else w.detach().abs() + eta for w in model.parameters()]
    norm = math.sqrt(sum(((s * g) ** 2).sum().item() for s, g in zip(scales, gradients, strict=True)))
    with torch.no_grad():
        for parameter, scale, gradient in zip(model.parameters(), scales, gradients, strict=True):
            parameter += rho * scale**2 * gradient / norm
        return (cross_entropy(model(inputs), labels) - before).item()


def test_sharpness_is_the_loss_after_the_step_of_sam_and_of_asam() -> None:
    inputs, labels = make_examples(30, 4)
    settings = CurvatureSettings(sam_rho=0.3, asam_rho=0.7, asam_eta=0.2, lanczos_steps=1, probes=2)
    result = measure(make_mlp(), inputs, labels, settings=settings)
    assert result.sam_sharpness == pytest.approx(naive_sharpness(make_mlp(), inputs, labels, 0.3, None), abs=1e-12)
    assert result.asam_sharpness == pytest.approx(naive_sharpness(make_mlp(), inputs, labels, 0.7, 0.2), abs=1e-12)
    assert result.sam_sharpness > 0.01


def test_the_radii_are_those_of_the_papers_unless_told_otherwise() -> None:
    inputs, labels = make_examples(30, 4)
    result = measure(make_mlp(), inputs, labels, settings=QUICK)
    assert result.sam_sharpness == pytest.approx(naive_sharpness(make_mlp(), inputs, labels, 0.05, None), abs=1e-12)
    assert result.asam_sharpness == pytest.approx(naive_sharpness(make_mlp(), inputs, labels, 0.5, 0.01), abs=1e-12)


def test_rescaling_the_layers_of_a_relu_net_changes_sam_and_leaves_asam() -> None:
    inputs, labels = make_examples(30, 4)
    model, rescaled = make_mlp(nn.ReLU), make_mlp(nn.ReLU)
    with torch.no_grad():
        first, _, second = rescaled  # type: ignore[misc]
        first.weight *= 8
        first.bias *= 8
        second.weight /= 8
    settings = CurvatureSettings(asam_eta=0.0)
    one, other = (measure(net, inputs, labels, settings=settings) for net in (model, rescaled))
    assert other.loss == pytest.approx(one.loss, abs=1e-12)
    assert other.asam_sharpness == pytest.approx(one.asam_sharpness, abs=1e-12)
    assert one.asam_sharpness > 0.01
    assert abs(other.sam_sharpness - one.sam_sharpness) > 1e-3
    assert abs(other.top_eigenvalue - one.top_eigenvalue) > 0.1


def test_a_tiny_gradient_is_not_taken_for_zero() -> None:
    # The squares of this gradient vanish in float32.
    result = measure_quadratic(torch.zeros(2, 2), torch.zeros(2), torch.tensor([3e-30, 4e-30]))
    assert result.gradient_norm == pytest.approx(5e-30, rel=1e-5)
    assert result.sam_sharpness == pytest.approx(0.05 * 5e-30, rel=1e-5)


def test_batch_norm_uses_its_running_statistics_and_keeps_them() -> None:
    inputs, labels = make_examples(10, 2, 4, 4)
    model = make_batch_norm_net()
    model[1].eval()  # type: ignore[index, operator]
    parameters, buffers = values_of(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    assert len(set(flags)) == 2

    def again(**changed: Tensor) -> Curvature:
        named = {name.replace("_", ".", 1): value for name, value in changed.items()}
        return measure_curvature(model, parameters, {**buffers, **named}, inputs, labels, cross_entropy, **KEY)

    result = again()
    assert again(**{"1_num_batches_tracked": torch.tensor(77)}) == result
    assert again(**{"1_running_mean": torch.ones(3).double()}).top_eigenvalue != result.top_eigenvalue
    assert measure_curvature(model, parameters, {}, inputs, labels, cross_entropy, **KEY) == result
    assert [module.training for module in model.modules()] == flags
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_batch_norm_without_running_statistics_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)).double()
    with pytest.raises(ValueError, match=r"'1' has no running statistics.*track_running_stats=True"):
        measure(model, *make_examples(10, 4))


def test_a_model_that_writes_to_its_buffers_and_weights_changes_nothing_that_was_passed() -> None:
    class Writer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(5, 3, max_norm=0.1)  # shrinks its weights in the forward pass
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, inputs: Tensor) -> Tensor:
            self.calls += 1
            return self.embedding(inputs) * self.calls

    model = Writer()
    parameters, buffers = values_of(model)
    before = parameters["embedding.weight"].clone()
    tokens = torch.arange(5).repeat(2)
    settings = CurvatureSettings(chunk=2)
    measure_curvature(model, parameters, buffers, tokens, tokens % 3, cross_entropy, settings=settings, **KEY)
    assert torch.equal(parameters["embedding.weight"], before)
    assert buffers["calls"] == 0


@pytest.mark.parametrize("rows", [1, 2])
def test_views_of_rows_give_the_numbers_of_the_model_itself(rows: int) -> None:
    inputs, labels = make_examples(30, 4)
    model = make_mlp()
    parameters, buffers = values_of(model)
    theta_TP = torch.cat([value.flatten() for value in parameters.values()]).repeat(rows, 1)
    parts = theta_TP[-1].split([value.numel() for value in parameters.values()])
    views = {name: part.view_as(parameters[name]) for name, part in zip(parameters, parts, strict=True)}
    with torch.no_grad():  # as an engine evaluates
        backwards = dict(reversed(views.items()))
        result = measure_curvature(make_mlp(nn.Tanh), backwards, buffers, inputs, labels, cross_entropy, **KEY)
    assert result == measure(model, inputs, labels)


def test_random_vectors_belong_to_study_seed_seed_and_step() -> None:
    inputs, labels = make_examples(30, 4)
    again = {"study_seed": 11, "seed": 3, "step": 2, "settings": QUICK}
    result = measure(make_mlp(), inputs, labels, **again)
    assert measure(make_mlp(), inputs, labels, **again) == result
    for other in ({"study_seed": 12}, {"seed": 4}, {"step": 3}):
        assert measure(make_mlp(), inputs, labels, **{**again, **other}).trace != result.trace


def test_the_cheaper_setting_costs_what_it_says() -> None:
    A = random_symmetric(100)
    result = measure_quadratic(A, torch.zeros(100, dtype=torch.float64), settings=QUICK)
    assert result.hessian_vector_products == 20
    assert measure_quadratic(A, torch.zeros(100).double()).hessian_vector_products <= 58


def numbers(result: Curvature) -> Mapping[str, float]:
    counts = ("examples", "hessian_vector_products")
    return {name: value for name, value in dataclasses.asdict(result).items() if name not in counts}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_parameters_that_are_not_finite_give_nan_at_once(bad: float) -> None:
    inputs, labels = make_examples(30, 4)
    model = make_mlp(nn.ReLU)
    with torch.no_grad():
        model[0].bias[0] = bad  # type: ignore[index, union-attr]  # -inf dies in ReLU: the loss would be finite
    result = measure(model, inputs, labels)
    assert all(math.isnan(value) for value in numbers(result).values())
    assert (result.examples, result.hessian_vector_products) == (30, 0)


def test_a_loss_that_is_not_finite_is_told_and_the_rest_is_nan() -> None:
    result = measure_quadratic(torch.eye(2), torch.full((2,), 3e38))
    assert result.loss == math.inf
    assert all(math.isnan(value) for name, value in numbers(result).items() if name != "loss")


def test_a_hessian_that_is_not_finite_gives_nan_beside_finite_sharpness() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2))

        def forward(self, inputs: Tensor) -> Tensor:
            return (self.w.abs() ** 1.5).sum().expand(len(inputs))

    result = measure(Root(), torch.zeros(1, 1), torch.zeros(1), mean_output)
    assert all(math.isnan(value) for value in (result.top_eigenvalue, result.bottom_eigenvalue, result.trace))
    assert (result.loss, result.sam_sharpness, result.hessian_vector_products) == (0.0, 0.0, 1)


def test_an_operation_without_second_derivative_is_refused_by_name() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return 2 * ctx.saved_tensors[0] * gradient

    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))

        def forward(self, inputs: Tensor) -> Tensor:
            return Square.apply(self.w).sum().exp().expand(len(inputs))

    model = Once()
    with pytest.raises(NotImplementedError, match=r"Hessian of Once needs an operation differentiated twice"):
        measure(model, torch.zeros(1, 1), torch.zeros(1), mean_output)
    assert model.training


def test_autocast_around_the_call_changes_nothing() -> None:
    inputs, labels = make_examples(30, 4)
    model = make_mlp().float()
    outside = measure(model, inputs.float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert measure(model, inputs.float(), labels) == outside


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": None}, r"missing \['w'\], unknown \[\], 0 parameters; pass"),
        ({"v": torch.zeros(2)}, r"missing \[\], unknown \['v'\]"),
    ],
)
def test_parameters_that_do_not_fit_the_model_are_named(change: dict[str, Tensor | None], message: str) -> None:
    model = Quadratic(torch.eye(2), torch.zeros(2))
    given = {name: value for name, value in {"w": torch.zeros(2), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        measure_curvature(model, given, {}, torch.zeros(1, 1), torch.zeros(1), mean_output, **KEY)


def test_parameters_of_two_dtypes_are_refused() -> None:
    model = make_mlp()
    model[0].float()  # type: ignore[index, operator]
    with pytest.raises(ValueError, match=r"several kinds.*float32.*one dtype"):
        measure(model, *make_examples(3, 4))


@pytest.mark.parametrize(("inputs", "labels"), [(0, 0), (3, 2)])
def test_examples_that_do_not_fit_are_counted(inputs: int, labels: int) -> None:
    with pytest.raises(ValueError, match=f"{inputs} inputs, {labels} labels and chunk=500; there must be"):
        measure(make_mlp(), torch.zeros(inputs, 4), torch.zeros(labels, dtype=torch.int64))


@pytest.mark.parametrize("name", ["probes", "lanczos_steps", "tolerance", "sam_rho", "asam_rho", "asam_eta", "chunk"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_settings_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}={value!r} is out of range; set a finite {name} >= "):
        CurvatureSettings(**{name: value})  # type: ignore[arg-type]


def test_a_negative_step_is_refused() -> None:
    with pytest.raises(ValueError, match=r"step=-1 is outside 0 to 2\*\*32 - 1"):
        measure(make_mlp(), *make_examples(3, 4), step=-1)
