"""Loss slices: through the run itself, along directions with its filters' norms, equal to a naive evaluation."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workers.loss_slices import (
    DEFAULT_ALPHAS,
    LossPlane,
    LossSlice,
    LossSurface,
    filter_normalised,
    gaussian,
    loss_plane,
    loss_slice,
)
from workers.random import Purpose

KEY = {"study_seed": 11, "seed": 3}
ALPHAS = (-1.0, -0.25, 0.0, 0.5, 2.0)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fill(model: nn.Module) -> nn.Module:
    """The same weights on every machine, float64."""
    model = model.double()
    with torch.no_grad():
        for position, parameter in enumerate(model.parameters()):
            parameter.copy_(0.7 * random_tensor(*parameter.shape, seed=position))
    return model


def make_mlp(bias: bool = True) -> nn.Module:
    return fill(nn.Sequential(nn.Linear(4, 6, bias=bias), nn.ReLU(), nn.Linear(6, 3, bias=bias)))


def make_examples(count: int = 30) -> tuple[Tensor, Tensor]:
    return random_tensor(count, 4, seed=9), torch.arange(count) % 3


def values_of(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return {name: value.detach() for name, value in model.named_parameters()}, dict(model.named_buffers())


def slice_of(model: nn.Module, **options: Any) -> LossSlice:
    return loss_slice(model, *values_of(model), *make_examples(), cross_entropy, **{**KEY, **options})


def plane_of(model: nn.Module, **options: Any) -> LossPlane:
    return loss_plane(model, *values_of(model), *make_examples(), cross_entropy, **{**KEY, **options})


def surface_of(model: nn.Module) -> LossSurface:
    return LossSurface(model, *values_of(model), *make_examples(), cross_entropy, chunk=500)


def direction_of(model: nn.Module, seed: int = 5) -> dict[str, Tensor]:
    surface = surface_of(model)
    return surface.views(filter_normalised(surface, model, random_tensor(len(surface.point_P), seed=seed)))


def test_a_slice_passes_through_the_loss_of_the_run() -> None:
    model = make_mlp()
    inputs, labels = make_examples()
    loss = cross_entropy(model(inputs), labels).item()
    assert slice_of(model, alphas=ALPHAS).losses[2] == pytest.approx(loss, abs=1e-14)
    assert plane_of(model, alphas=(1.0, 0.0), betas=(0.0, 2.0)).losses[1][0] == pytest.approx(loss, abs=1e-14)


def naive_losses(model: nn.Module, stream: int) -> list[float]:
    """Losses of copies of the model, each moved by a direction scaled row by row."""
    noise = gaussian(
        sum(value.numel() for value in model.parameters()),
        study_seed=11,
        seed=3,
        purpose=Purpose.SLICE,
        stream=stream,
    ).tolist()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs, labels = make_examples()
    losses = []
    for alpha in ALPHAS:
        position = 0
        for name, value in before.items():
            moved = value.clone()
            for row in range(len(value)) if value.ndim == 2 else ():
                start = position + row * value.shape[1]
                direction = torch.tensor(noise[start : start + value.shape[1]], dtype=torch.float64)
                moved[row] += alpha * direction / direction.norm() * value[row].norm()
            model.get_parameter(name).data = moved
            position += value.numel()
        losses.append(cross_entropy(model(inputs), labels).item())
    return losses


def test_a_slice_equals_a_naive_evaluation_of_moved_copies() -> None:
    result = slice_of(make_mlp(), alphas=ALPHAS, step=4)
    assert result.alphas == ALPHAS
    assert result.losses == pytest.approx(naive_losses(make_mlp(), 4 * 2**32), abs=1e-12)
    assert max(result.losses) > min(result.losses) + 0.01


def test_the_edges_of_a_plane_are_slices() -> None:
    plane = plane_of(make_mlp(), alphas=ALPHAS, betas=ALPHAS, step=4)
    assert [row[2] for row in plane.losses] == pytest.approx(slice_of(make_mlp(), alphas=ALPHAS, step=4).losses)
    assert plane.losses[2] == pytest.approx(naive_losses(make_mlp(), 4 * 2**32 + 1), abs=1e-12)
    assert (plane.alphas, plane.betas) == (ALPHAS, ALPHAS)
    assert plane.losses[0][0] != pytest.approx(plane.losses[4][4])


def per_row(weight: Tensor) -> list[Tensor]:
    return list(weight)


def per_output_of_transposed(weight: Tensor) -> list[Tensor]:
    """Of two groups, with a weight of (in, out / 2, ...)."""
    return [half[:, output] for half in weight.chunk(2) for output in range(weight.shape[1])]


@pytest.mark.parametrize(
    ("layer", "filters", "count"),
    [
        (lambda: nn.Linear(4, 6), per_row, 6),
        (lambda: nn.Conv2d(4, 6, 3), per_row, 6),
        (lambda: nn.Conv1d(4, 6, 3, groups=2), per_row, 6),
        (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), per_output_of_transposed, 6),
    ],
    ids=["linear", "conv", "grouped", "transposed"],
)
@pytest.mark.parametrize("nested", [False, True])
def test_every_filter_of_a_direction_has_the_norm_of_the_runs_filter(
    layer: Callable[[], nn.Module], filters: Callable[[Tensor], list[Tensor]], count: int, nested: bool
) -> None:
    model = fill(nn.Sequential(nn.Flatten(), layer()) if nested else layer())
    prefix = "1." if nested else ""
    direction = direction_of(model)
    found = [part.norm().item() for part in filters(direction[f"{prefix}weight"])]
    wanted = [part.norm().item() for part in filters(model.get_parameter(f"{prefix}weight").detach())]
    assert found == pytest.approx(wanted, abs=1e-12)
    assert len(found) == count
    assert torch.equal(direction[f"{prefix}bias"], torch.zeros(count).double())


def test_rows_of_recurrent_weights_are_filters() -> None:
    model = fill(nn.GRU(4, 3))
    direction = direction_of(model)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        torch.testing.assert_close(direction[name].norm(dim=1), model.get_parameter(name).detach().norm(dim=1))


def test_normalisation_layers_stay_as_they_are() -> None:
    model = fill(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GroupNorm(1, 2)))
    direction = direction_of(model)
    assert {name for name, part in direction.items() if part.any()} == {"0.weight"}


def test_a_filter_of_zeros_stays_zero() -> None:
    model = make_mlp()
    with torch.no_grad():
        model[0].weight[2] = 0.0  # type: ignore[index, union-attr]
    weight = direction_of(model)["0.weight"]
    assert torch.equal(weight[2], torch.zeros(4).double())
    assert weight.isfinite().all()


def test_slices_of_a_relu_net_do_not_depend_on_the_scale_of_its_layers() -> None:
    model, rescaled = make_mlp(bias=False), make_mlp(bias=False)
    with torch.no_grad():
        rescaled[0].weight *= 16  # type: ignore[index, operator]
        rescaled[2].weight /= 16  # type: ignore[index, operator]
    assert slice_of(rescaled).losses == pytest.approx(slice_of(model).losses, abs=1e-12)


def test_directions_belong_to_study_seed_seed_and_step() -> None:
    result = slice_of(make_mlp(), step=2)
    assert slice_of(make_mlp(), step=2) == result
    assert result.alphas == DEFAULT_ALPHAS
    for other in ({"study_seed": 12}, {"seed": 4}, {"step": 3}):
        assert slice_of(make_mlp(), **{"step": 2, **other}).losses != result.losses


@pytest.mark.parametrize("chunk", [1, 7, 30])
def test_chunks_change_the_rounding_only(chunk: int) -> None:
    assert slice_of(make_mlp(), chunk=chunk).losses == pytest.approx(slice_of(make_mlp()).losses, abs=1e-13)


def test_slicing_leaves_the_model_as_it_was() -> None:
    model = fill(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)))
    model[2].eval()  # type: ignore[index, operator]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert slice_of(model) == slice_of(model)
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_losses_that_are_not_finite_are_told_as_they_are() -> None:
    class Exponential(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((1, 1), 80.0))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.weight.exp().expand(len(inputs), 1)

    def mean(outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.mean() + 0 * labels.sum()

    model, examples = Exponential(), (torch.zeros(2, 1), torch.zeros(2))
    result = loss_slice(model, *values_of(model), *examples, mean, alphas=(-1.0, 0.0, 1.0), **KEY)
    assert sorted(result.losses)[2] == math.inf
    assert result.losses[1] == pytest.approx(math.exp(80), rel=1e-5)
    poisoned = {"weight": torch.full((1, 1), math.nan)}
    losses = loss_slice(model, poisoned, {}, *examples, mean, alphas=(0.0, 1.0), **KEY).losses
    assert all(math.isnan(loss) for loss in losses)


def test_gaussian_numbers_are_standard_normal_and_independent_of_their_number() -> None:
    key: dict[str, Any] = {"study_seed": 1, "seed": 2, "purpose": Purpose.SLICE, "stream": 7}
    numbers = gaussian(100_000, **key)
    assert stats.kstest(numbers.numpy(), "norm").pvalue > 0.01
    assert torch.equal(gaussian(10, **key), numbers[:10])
    assert numbers.dtype == torch.float64
    assert not torch.equal(gaussian(10, **{**key, "stream": 8}), numbers[:10])
