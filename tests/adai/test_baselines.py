"""The baselines' row rules against their twins in torch.optim."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from adai import get_rule

STEPS = 100
Run = dict[str, float]
Twin = Callable[[list[torch.nn.Parameter], Run], torch.optim.Optimizer]


@pytest.fixture(autouse=True)
def _float64_by_default() -> Iterator[None]:
    # torch keeps NAdam's product of momenta in the default precision, we in float64: with float32 paths part by 4e-11.
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def sgd_like(**options: bool) -> Twin:
    def twin(parameters: list[torch.nn.Parameter], run: Run) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, **run, **options)

    return twin


def adam_like(make: Callable[..., torch.optim.Optimizer], **options: bool) -> Twin:
    def twin(parameters: list[torch.nn.Parameter], run: Run) -> torch.optim.Optimizer:
        others = {name: value for name, value in run.items() if not name.startswith("beta")}
        return make(parameters, betas=(run["beta1"], run["beta2"]), **others, **options)

    return twin


TWINS: dict[str, Twin] = {
    "sgd": sgd_like(),
    "nesterov": sgd_like(nesterov=True),
    "adam": adam_like(torch.optim.Adam),
    "adamw": adam_like(torch.optim.AdamW),
    "amsgrad": adam_like(torch.optim.Adam, amsgrad=True),
    "radam": adam_like(torch.optim.RAdam),
    "nadam": adam_like(torch.optim.NAdam),
}
SGD_RUNS = [
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0},
    {"lr": 0.03, "momentum": 0.0, "weight_decay": 0.0},
    {"lr": 0.01, "momentum": 0.99, "weight_decay": 0.05},
    {"lr": 0.3, "momentum": 0.5, "weight_decay": 5e-4},
]
ADAM_RUNS = [
    {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    {"lr": 0.1, "beta1": 0.0, "beta2": 0.99999, "eps": 1e-8, "weight_decay": 0.0},
    {"lr": 0.02, "beta1": 0.99, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.05},
    {"lr": 0.01, "beta1": 0.5, "beta2": 0.6, "eps": 1.0, "weight_decay": 0.1},
    {"lr": 0.0, "beta1": 0.9, "beta2": 0.0, "eps": 1e-8, "weight_decay": 0.1},
]
RUNS = {
    **dict.fromkeys(("adam", "adamw", "amsgrad", "radam"), ADAM_RUNS),
    "sgd": SGD_RUNS,
    "nesterov": [run for run in SGD_RUNS if run["momentum"] > 0],  # torch refuses Nesterov's without momentum
    "nadam": [{**run, "momentum_decay": d} for run, d in zip(ADAM_RUNS, (4e-3, 0.0, 0.5, 4e-3, 1e-2), strict=True)],
}


def problem(rows: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Start values and gradients of very different sizes, one element of which is always zero."""
    generator = torch.Generator().manual_seed(0)
    start_TP = torch.randn(rows, 9, generator=generator, dtype=torch.float64)
    scale_P = torch.tensor([1.0, 1e-3, 30.0, 0.1, 1.0, 2.0, 0.0, 1e-2, 5.0], dtype=torch.float64)
    gradients = torch.randn(STEPS, rows, 9, generator=generator, dtype=torch.float64) * scale_P
    gradients[10:14] = 0.0
    # From here on float32 and float64 start from the same numbers.
    return start_TP.float().to(dtype), gradients.float().to(dtype)


def rule_path(name: str, runs: list[Run], start_TP: Tensor, gradients: Tensor, **options: bool) -> Tensor:
    rule = get_rule(name, **options)
    theta_TP = start_TP.clone()
    state = rule.init(theta_TP)
    rows = {key: torch.tensor([run[key] for run in runs], dtype=torch.float64) for key in runs[0]}
    path = []
    for grad_TP in gradients:
        rule.update_(theta_TP, grad_TP.clone(), state, rows)
        path.append(theta_TP.clone())
    return torch.stack(path)


def torch_path(name: str, runs: list[Run], start_TP: Tensor, gradients: Tensor) -> Tensor:
    return twin_path(TWINS[name], runs, start_TP, gradients)


def twin_path(twin: Twin, runs: list[Run], start_TP: Tensor, gradients: Tensor) -> Tensor:
    parameters = [torch.nn.Parameter(row.clone()) for row in start_TP]
    twins = [twin([parameter], run) for parameter, run in zip(parameters, runs, strict=True)]
    path = []
    for grad_TP in gradients:
        for parameter, grad, optimizer in zip(parameters, grad_TP, twins, strict=True):
            parameter.grad = grad.clone()
            optimizer.step()
        path.append(torch.stack([parameter.detach().clone() for parameter in parameters]))
    return torch.stack(path)


@pytest.mark.parametrize("name", TWINS)
def test_rows_of_the_rule_step_as_their_twin_in_torch(name: str) -> None:
    problem_TP = problem(len(RUNS[name]), torch.float64)
    ours = rule_path(name, RUNS[name], *problem_TP)
    torch.testing.assert_close(ours, torch_path(name, RUNS[name], *problem_TP), rtol=1e-12, atol=1e-12)


def test_radam_with_decoupled_decay_steps_as_its_twin_in_torch() -> None:
    runs = [{**run, "weight_decay": run["weight_decay"] or 0.3} for run in ADAM_RUNS]
    problem_TP = problem(len(runs), torch.float64)
    twin = adam_like(torch.optim.RAdam, decoupled_weight_decay=True)
    ours = rule_path("radam", runs, *problem_TP, decoupled=True)
    torch.testing.assert_close(ours, twin_path(twin, runs, *problem_TP), rtol=1e-12, atol=1e-12)
    coupled = rule_path("radam", runs, *problem_TP)
    differ = [(a - b).abs().max().item() > 1e-6 for a, b in zip(ours[-1], coupled[-1], strict=True)]
    assert differ == [run["lr"] > 0 for run in runs]


def test_radam_that_does_not_degenerate_waits_and_then_steps_as_its_twin_in_torch() -> None:
    # torch cannot wait. But moments do not depend on the parameters where nothing decays: the movements are the same.
    runs = [{**run, "weight_decay": 0.0} for run in ADAM_RUNS]
    start_TP, gradients = problem(len(runs), torch.float64)
    ours = rule_path("radam", runs, start_TP, gradients, degenerated_to_sgd=False)
    torch_steps = torch_path("radam", runs, start_TP, gradients).diff(dim=0, prepend=start_TP.unsqueeze(0))
    for row, run in enumerate(runs):
        limit = 2 / (1 - run["beta2"]) - 1
        rho = [limit - 2 * t * run["beta2"] ** t / (1 - run["beta2"] ** t) for t in range(1, STEPS + 1)]
        rectified = torch.tensor([value > 5 for value in rho])
        expected = start_TP[row] + torch.where(rectified.unsqueeze(1), torch_steps[:, row], 0.0).cumsum(dim=0)
        torch.testing.assert_close(ours[:, row], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", TWINS)
def test_every_run_of_the_comparison_with_torch_moves_unless_its_learning_rate_is_zero(name: str) -> None:
    start_TP, gradients = problem(len(RUNS[name]), torch.float64)
    moved_T = (rule_path(name, RUNS[name], start_TP, gradients)[-1] - start_TP).abs().amax(dim=1)
    assert [moved > 1e-3 for moved in moved_T.tolist()] == [run["lr"] > 0 for run in RUNS[name]]


@pytest.mark.parametrize("beta2", [0.9, 0.999, 0.99999])
@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "radam", "nadam"])
def test_in_float32_the_rule_is_as_exact_as_its_twin_in_torch(name: str, beta2: float) -> None:
    runs = [{**RUNS[name][0], "lr": 1e-2, "beta2": beta2}]
    exact = torch_path(name, runs, *problem(1, torch.float64))
    single = problem(1, torch.float32)
    our_error = (rule_path(name, runs, *single).double() - exact).abs().max()
    torch_error = (torch_path(name, runs, *single).double() - exact).abs().max()
    assert our_error <= 4 * torch_error


def test_radam_takes_momentum_steps_until_the_sixth_and_rectified_ones_from_there() -> None:
    # Momentum steps are proportional to the gradient, rectified ones do not feel its scale.
    values = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 0.0, "weight_decay": 0.0}
    start_TP = torch.zeros(2, 3, dtype=torch.float64)
    gradients = torch.tensor([1.0, 1000.0], dtype=torch.float64).reshape(1, 2, 1).expand(12, 2, 3)
    path = rule_path("radam", [values, values], start_TP, gradients)
    steps = torch.cat([path[:1], path.diff(dim=0)])
    ratios = (steps[:, 1] / steps[:, 0])[:, 0]
    torch.testing.assert_close(ratios, torch.tensor([1000.0] * 5 + [1.0] * 7, dtype=torch.float64))


def test_radam_with_beta2_of_0_6_never_rectifies() -> None:
    values = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.6, "eps": 1e-8, "weight_decay": 0.0}
    start_TP = torch.zeros(1, 3, dtype=torch.float64)
    gradients = torch.full((STEPS, 1, 3), 7.0, dtype=torch.float64)
    path = rule_path("radam", [values], start_TP, gradients)
    expected = -7e-3 * torch.arange(1, STEPS + 1, dtype=torch.float64)
    torch.testing.assert_close(path[:, 0, 0], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", [name for name in TWINS if name != "adamw"])
def test_coupled_weight_decay_is_a_gradient(name: str) -> None:
    start_TP, gradients = problem(1, torch.float64)
    (run, *_) = RUNS[name]
    decayed = rule_path(name, [{**run, "weight_decay": 0.3}], start_TP, gradients[:1])
    by_hand = rule_path(name, [run], start_TP, gradients[:1] + 0.3 * start_TP)
    torch.testing.assert_close(decayed, by_hand, rtol=1e-14, atol=1e-15)


def test_decoupled_weight_decay_shrinks_weights_whatever_their_gradients() -> None:
    start_TP, gradients = problem(1, torch.float64)
    run = {**ADAM_RUNS[0], "lr": 0.1}
    shrunk = rule_path("adamw", [{**run, "weight_decay": 0.5}], start_TP, gradients[:1])
    plain = rule_path("adamw", [{**run, "weight_decay": 0.0}], start_TP, gradients[:1])
    torch.testing.assert_close(plain[0] - shrunk[0], 0.1 * 0.5 * start_TP, rtol=1e-12, atol=1e-15)
