"""CProp: its scale, the rules that have it, and the wrapper around any rule."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from adai import CProp, CPropAdam, CPropSGD, UpdateRule, get_rule, list_rules, select_rows
from adai.cprop import CDFS, Cdf, conformity, init_statistics, scale_rows_
from adai.reference import cprop_scale

VECTORS = Path(__file__).parents[1] / "assets" / "vectors"
CASES = tuple(sorted(path.stem for path in VECTORS.glob("cprop_*.json")))
INNER = tuple(name for name in list_rules() if not name.startswith("cprop"))
STEPS = 12

quick = settings(max_examples=20, derandomize=True)
every_cdf = pytest.mark.parametrize("cdf", CDFS)
every_precision = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
Gradients = Sequence[Sequence[Tensor | None]]


def randn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def row_values(rule: UpdateRule, count: int, **values: float) -> dict[str, Tensor]:
    defaults = {h.name: h.default for h in rule.hyperparameters}
    assert values.keys() <= defaults.keys()
    return {k: torch.full((count,), v, dtype=torch.float64) for k, v in (defaults | values).items()}


def walk_rows(rule: UpdateRule, start_TP: Tensor, gradients: Tensor, **values: float) -> list[Tensor]:
    """The rows after each step, all with the same hyperparameters."""
    theta_TP = start_TP.clone()
    state = rule.init(theta_TP)
    path = []
    for grad_TP in gradients:
        rule.update_(theta_TP, grad_TP.clone(), state, row_values(rule, len(theta_TP), **values))
        path.append(theta_TP.clone())
    return path


def walk(optimizer: torch.optim.Optimizer, parameters: Sequence[Parameter], gradients: Gradients) -> list[list[Tensor]]:
    """The parameters after each step."""
    path = []
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.step()
        path.append([parameter.detach().clone() for parameter in parameters])
    return path


def scales(
    gradients: Tensor, *, beta: float = 0.999, c: float = 1.0, eps: float = 1e-8, cdf: Cdf = "bft"
) -> list[Tensor]:
    """The scale after each gradient, of shape (T, P)."""
    statistics = init_statistics(gradients[0])
    rows = len(gradients[0])
    values = {"cprop_beta": beta, "cprop_c": c, "cprop_eps": eps}
    hyperparameters = {k: torch.full((rows,), v, dtype=torch.float64) for k, v in values.items()}
    path = []
    for grad_TP in gradients:
        statistics.step_T.add_(1)
        path.append(scale_rows_(grad_TP, statistics, statistics.step_T, hyperparameters, cdf))
    return path


# The authors' runs


class Recorded:
    """One run of the authors' code."""

    def __init__(self, case: str) -> None:
        recorded: dict[str, Any] = json.loads((VECTORS / f"{case}.json").read_text())
        self.kind = case.partition("__")[0]
        self.values = {k: v for k, v in recorded["hyperparameters"].items() if k != "gradient_variant"}
        self.initial = [torch.tensor(v, dtype=torch.float64) for v in recorded["initial_params"]]
        self.gradients = [
            [None if v is None else torch.tensor(v, dtype=torch.float64) for v in step]
            for step in recorded["gradients"]
        ]
        self.after = [[torch.tensor(v, dtype=torch.float64) for v in step] for step in recorded["params_after"]]

    @property
    def complete(self) -> bool:
        """Whether every parameter had a gradient in every step."""
        return all(gradient is not None for step in self.gradients for gradient in step)

    def optimizer(self, parameters: list[Parameter]) -> torch.optim.Optimizer:
        """Ours with the same arguments."""
        if self.kind != "cprop_universal":
            return {"cprop_sgd": CPropSGD, "cprop_adam": CPropAdam}[self.kind](parameters, **self.values)
        inner = getattr(torch.optim, self.values["inner"].rpartition(".")[2])
        own = {name: self.values[name] for name in ("beta", "c", "eps", "cdf")}
        return CProp(inner(parameters, **self.values["inner_hyperparameters"]), **own)

    def rule(self) -> tuple[UpdateRule, dict[str, float]]:
        """Ours over rows, and its hyperparameters."""
        values = dict(self.values)
        if self.kind == "cprop_universal":
            inner = values["inner"].rpartition(".")[2].lower()
            inner_values = {k: v for k, v in values["inner_hyperparameters"].items() if k != "foreach"}
            own = {f"cprop_{name}": values[name] for name in ("beta", "c", "eps")}
            return get_rule("cprop", inner=inner, cdf=values["cdf"]), inner_values | own
        rule = get_rule(self.kind, cdf=values.pop("cprop_cdf"))
        if "betas" in values:
            values["beta1"], values["beta2"] = values.pop("betas")
        return rule, values


def test_the_eight_recorded_cases_are_there() -> None:
    kinds = [Recorded(case).kind for case in CASES]
    assert sorted(kinds) == ["cprop_adam"] * 2 + ["cprop_sgd"] * 4 + ["cprop_universal"] * 2
    assert sum(not Recorded(case).complete for case in CASES) == 1


@pytest.mark.parametrize("case", CASES)
def test_the_classes_follow_the_authors_code(case: str) -> None:
    run = Recorded(case)
    parameters = [Parameter(values.clone()) for values in run.initial]
    for after, expected in zip(walk(run.optimizer(parameters), parameters, run.gradients), run.after, strict=True):
        torch.testing.assert_close(after, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if Recorded(case).complete])
def test_every_row_of_the_rules_follows_the_authors_code(case: str) -> None:
    run = Recorded(case)
    rows = 3
    rule, values = run.rule()
    gradients = torch.stack([flat(step).repeat(rows, 1) for step in run.gradients])
    path = walk_rows(rule, flat(run.initial).repeat(rows, 1), gradients, **values)
    for after_TP, expected in zip(path, run.after, strict=True):
        torch.testing.assert_close(after_TP, flat(expected).repeat(rows, 1), rtol=0, atol=1e-12)


def test_the_default_approximation_is_near_the_exact_one_over_twenty_steps() -> None:
    approximate, exact = (Recorded(f"cprop_sgd__{name}") for name in ("default_bft", "normal"))
    parameters = [Parameter(values.clone()) for values in approximate.initial]
    after = walk(approximate.optimizer(parameters), parameters, approximate.gradients)[-1]
    assert 5e-4 < max((a - b).abs().max().item() for a, b in zip(after, exact.after[-1], strict=True)) < 1.5e-3


# The scale


@every_cdf
@quick
@given(
    # Near 0 the effective sample is so near 1 that its float64 excess has few digits, as in the authors' code.
    beta=st.one_of(st.floats(0.1, 0.9), st.sampled_from([0.0, 0.99, 0.999, 0.9999])),
    c=st.floats(0.0, 10.0),
    eps=st.sampled_from([1e-8, 1e-4, 0.1]),
    size=st.integers(1, 20),
    mean=st.floats(-2.0, 2.0),
    seed=st.integers(0, 10_000),
)
def test_the_scale_is_that_of_the_naive_transcription(
    cdf: Cdf, beta: float, c: float, eps: float, size: int, mean: float, seed: int
) -> None:
    gradients = randn(STEPS, 1, size, seed=seed) + mean
    state: dict[str, list[float]] = {}
    for grad_TP, scale_TP in zip(gradients, scales(gradients, beta=beta, c=c, eps=eps, cdf=cdf), strict=True):
        expected = cprop_scale(grad_TP[0].tolist(), state, beta=beta, c=c, eps=eps, cdf=cdf)
        torch.testing.assert_close(scale_TP[0].tolist(), expected, rtol=1e-9, atol=1e-11)


@every_cdf
def test_the_conformity_is_twice_the_distance_of_the_probability_from_a_half(cdf: Cdf) -> None:
    for value in (-5.0, -1.3, -0.2, 0.0, 0.7, 2.0, 30.0):
        cubic = 0.07056 * value**3 + 1.5976 * value
        logit = {"bft": cubic, "bfo": 1.702 * value, "logistic": value * math.pi / math.sqrt(3)}.get(cdf)
        p = math.erfc(-value / math.sqrt(2)) / 2 if logit is None else 1 / (1 + math.exp(-logit))
        actual = conformity(torch.tensor([value], dtype=torch.float64), cdf).item()
        assert actual == pytest.approx(abs(2 * p - 1), abs=1e-15)


@every_cdf
def test_the_conformity_of_certainty_is_one_and_of_next_to_nothing_keeps_its_digits(cdf: Cdf) -> None:
    slope = {"normal": math.sqrt(2 / math.pi), "bft": 1.5976 / 2, "bfo": 0.851, "logistic": math.pi / math.sqrt(12)}
    z = torch.tensor([math.inf, -math.inf, 1e30, 1e-30, 0.0])
    torch.testing.assert_close(conformity(z, cdf).tolist(), [1.0, 1.0, 1.0, slope[cdf] * 1e-30, 0.0])


@every_cdf
@every_precision
def test_the_first_scale_is_one_but_zero_where_the_gradient_is_zero(cdf: Cdf, dtype: torch.dtype) -> None:
    # The authors' float32 has 1.5 % of elements at 0.18 to 0.5 here: rounding noise in place of a variance of 0.
    grad_TP = randn(1, 10_000, seed=0, dtype=dtype)
    grad_TP[0, ::100] = 0
    (scale_TP,) = scales(grad_TP.unsqueeze(0), cdf=cdf)
    assert torch.equal(scale_TP, (grad_TP != 0).to(dtype))


@pytest.mark.parametrize(("step", "mean_scale"), [(2, 0.63), (200, 0.485)])
def test_pure_noise_is_scaled_as_in_the_authors_code(step: int, mean_scale: float) -> None:
    gradients = randn(step, 1, 20_000, seed=1)
    assert scales(gradients)[-1].mean().item() == pytest.approx(mean_scale, abs=0.01)


@every_cdf
def test_gradients_that_always_agree_are_not_scaled_down(cdf: Cdf) -> None:
    gradients = torch.full((50, 1, 4), 0.3, dtype=torch.float64)
    for scale_TP in scales(gradients, cdf=cdf):
        assert torch.equal(scale_TP, torch.ones_like(scale_TP))


@every_cdf
@quick
@given(exponent=st.integers(-100, 100), seed=st.integers(0, 10_000))
def test_without_eps_the_scale_does_not_feel_the_scale_of_gradients(cdf: Cdf, exponent: int, seed: int) -> None:
    gradients = randn(STEPS, 2, 5, seed=seed)
    for plain, scaled in zip(
        scales(gradients, eps=0.0, cdf=cdf), scales(gradients * 2.0**exponent, eps=0.0, cdf=cdf), strict=True
    ):
        torch.testing.assert_close(plain, scaled, rtol=1e-12, atol=0)


@quick
@given(c=st.floats(0.0, 20.0), seed=st.integers(0, 10_000))
def test_c_multiplies_the_scale_up_to_one(c: float, seed: int) -> None:
    gradients = randn(STEPS, 1, 30, seed=seed)
    for one, many in zip(scales(gradients), scales(gradients, c=c), strict=True):
        torch.testing.assert_close(many, (c * one).clamp(max=1))


@every_cdf
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.999])
def test_a_standard_error_of_zero_means_certainty_except_about_zero(cdf: Cdf, beta: float) -> None:
    gradients = torch.tensor([0.0, -2.0, 1e-30]).expand(4, 1, 3)
    for scale_TP in scales(gradients, beta=beta, eps=0.0, cdf=cdf):
        assert scale_TP.tolist() == [[0.0, 1.0, 1.0]]


def test_in_single_precision_the_variance_of_gradients_far_from_zero_keeps_its_digits() -> None:
    # mean 1000, deviation 1: v_hat - m_hat^2 in float32 has an error of 0.06 or more, against a variance of 1.
    gradients = randn(300, 1, 50, seed=2) + 1000
    rule = get_rule("cprop_sgd")
    states = []
    for dtype in (torch.float32, torch.float64):
        theta_TP = torch.zeros(1, 50, dtype=dtype)
        state = rule.init(theta_TP)
        for grad_TP in gradients:
            rule.update_(theta_TP, grad_TP.to(dtype), state, row_values(rule, 1))
        states.append(state)
    torch.testing.assert_close(states[0].variance_TP.double(), states[1].variance_TP, rtol=1e-3, atol=0)
    weights = 0.999 ** torch.arange(299, -1, -1, dtype=torch.float64).view(-1, 1, 1)
    mean = (weights * gradients).sum(0) / weights.sum()
    variance = (weights * (gradients - mean) ** 2).sum(0) / weights.sum()
    torch.testing.assert_close(states[1].variance_TP, variance, rtol=1e-10, atol=0)


# Rows


@pytest.mark.parametrize("rule", ["cprop", "cprop_sgd", "cprop_adam"])
@every_cdf
@every_precision
@quick
@given(count=st.integers(2, 20), size=st.integers(1, 100), seed=st.integers(0, 10_000))
def test_a_row_in_company_has_the_bits_it_has_alone(
    rule: str, cdf: Cdf, dtype: torch.dtype, count: int, size: int, seed: int
) -> None:
    chosen = get_rule(rule, cdf=cdf)
    start_TP = randn(count, size, seed=seed, dtype=dtype)
    gradients = randn(4, count, size, seed=seed + 1, dtype=dtype)
    together = walk_rows(chosen, start_TP, gradients)[-1]
    for row in range(count):
        only = slice(row, row + 1)
        alone = walk_rows(chosen, start_TP[only].clone(), gradients[:, only].clone())[-1]
        assert torch.equal(together[row], alone[0])


@pytest.mark.parametrize("inner", INNER)
def test_the_wrapping_rule_scales_the_movement_of_the_inner_one(inner: str) -> None:
    start_TP, gradients = randn(2, 6, seed=3), randn(STEPS, 2, 6, seed=4)
    rule, inner_rule = get_rule("cprop", inner=inner), get_rule(inner)
    theta_TP = start_TP.clone()
    state = inner_rule.init(theta_TP)
    path = walk_rows(rule, start_TP, gradients)
    for grad_TP, scale_TP, after_TP in zip(gradients, scales(gradients), path, strict=True):
        before_TP = theta_TP.clone()
        inner_rule.update_(theta_TP, grad_TP.clone(), state, row_values(inner_rule, 2))
        theta_TP = before_TP + (theta_TP - before_TP) * scale_TP
        torch.testing.assert_close(after_TP, theta_TP, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("inner", INNER)
def test_the_state_around_a_rule_keeps_its_kind_when_rows_are_dropped(inner: str) -> None:
    rule = get_rule("cprop", inner=inner)
    start_TP, gradients = randn(3, 5, seed=5), randn(STEPS, 3, 5, seed=6)
    kept = torch.tensor([2, 0])
    theta_TP = start_TP.clone()
    state = rule.init(theta_TP, [3, 2])
    for grad_TP in gradients[:5]:
        rule.update_(theta_TP, grad_TP.clone(), state, row_values(rule, 3))
    selected, theta_TP = select_rows(state, kept), theta_TP[kept]
    assert type(selected) is type(state)
    for grad_TP in gradients[5:]:
        rule.update_(theta_TP, grad_TP[kept], selected, row_values(rule, 2))
    never = start_TP[kept]
    state = rule.init(never, [3, 2])
    for grad_TP in gradients:
        rule.update_(never, grad_TP[kept], state, row_values(rule, 2))
    assert torch.equal(theta_TP, never)


def test_a_large_c_leaves_the_inner_rule_as_it_is() -> None:
    start_TP, gradients = randn(2, 6, seed=7), randn(STEPS, 2, 6, seed=8)
    for name, inner in (("cprop", "adamw"), ("cprop_adam", "adam"), ("cprop_sgd", "sgd")):
        values = {"momentum": 0.9} if inner == "sgd" else {}
        after_TP = walk_rows(get_rule(name), start_TP, gradients, cprop_c=1e12, **values)[-1]
        torch.testing.assert_close(after_TP, walk_rows(get_rule(inner), start_TP, gradients)[-1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["cprop", "cprop_sgd", "cprop_adam"])
def test_a_c_of_zero_moves_nothing(name: str) -> None:
    start_TP, gradients = randn(2, 6, seed=9), randn(STEPS, 2, 6, seed=10)
    assert torch.equal(walk_rows(get_rule(name), start_TP, gradients, cprop_c=0.0)[-1], start_TP)


def test_where_gradients_are_zero_weight_decay_shows_only_where_the_statistics_see_it() -> None:
    start_TP, zeros = randn(2, 6, seed=11), torch.zeros(STEPS, 2, 6, dtype=torch.float64)
    for name, decays in (("cprop", False), ("cprop_sgd", False), ("cprop_adam", True)):
        after_TP = walk_rows(get_rule(name), start_TP, zeros, weight_decay=0.1)[-1]
        assert torch.equal(after_TP, start_TP) is not decays
        assert (after_TP.abs() <= start_TP.abs()).all()


# The two ways of having CProp


TORCH_SGD = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "dampening": {"momentum": 0.8, "dampening": 0.4},
    "dampening alone": {"dampening": 0.4},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "weight decay": {"momentum": 0.5, "weight_decay": 0.1},
    "maximize": {"momentum": 0.5, "maximize": True},
}


@every_cdf
@pytest.mark.parametrize("arguments", TORCH_SGD.values(), ids=TORCH_SGD.keys())
def test_cprop_sgd_is_cprop_around_torchs_sgd(arguments: dict[str, Any], cdf: Cdf) -> None:
    start, gradients = randn(7, seed=12), randn(20, 7, seed=13)
    ours, wrapped = Parameter(start.clone()), Parameter(start.clone())
    path = walk(CPropSGD([ours], 0.1, cprop_cdf=cdf, **arguments), [ours], [[g] for g in gradients])
    expected = walk(CProp(torch.optim.SGD([wrapped], 0.1, **arguments), cdf=cdf), [wrapped], [[g] for g in gradients])
    torch.testing.assert_close(path, expected, rtol=0, atol=1e-14)
    names = ("momentum", "dampening", "weight_decay")
    if not arguments.get("maximize"):
        rule = get_rule("cprop_sgd", cdf=cdf, nesterov=arguments.get("nesterov", False))
        values = {name: arguments[name] for name in names if name in arguments}
        rows = walk_rows(rule, start.unsqueeze(0), gradients.unsqueeze(1), **values)
        torch.testing.assert_close([row[0] for row in rows], [step[0] for step in expected], rtol=0, atol=1e-14)


@every_cdf
@pytest.mark.parametrize("amsgrad", [False, True])
def test_cprop_adam_is_cprop_around_torchs_adam(amsgrad: bool, cdf: Cdf) -> None:
    start, gradients = randn(7, seed=14), randn(20, 7, seed=15)
    ours, wrapped = Parameter(start.clone()), Parameter(start.clone())
    optimizer = CPropAdam([ours], 0.1, cprop_cdf=cdf, betas=(0.8, 0.9), amsgrad=amsgrad)
    path = walk(optimizer, [ours], [[g] for g in gradients])
    inner = torch.optim.Adam([wrapped], 0.1, betas=(0.8, 0.9), amsgrad=amsgrad)
    expected = walk(CProp(inner, cdf=cdf), [wrapped], [[g] for g in gradients])
    torch.testing.assert_close(path, expected, rtol=0, atol=1e-14)
    rule = get_rule("cprop_adam", cdf=cdf, amsgrad=amsgrad)
    values = {"lr": 0.1, "beta1": 0.8, "beta2": 0.9}
    rows = walk_rows(rule, start.unsqueeze(0), gradients.unsqueeze(1), **values)
    torch.testing.assert_close([row[0] for row in rows], [step[0] for step in expected], rtol=0, atol=1e-14)


@quick
@given(
    lr=st.floats(1e-4, 1.0),
    beta=st.sampled_from([0.0, 0.5, 0.999]),
    c=st.floats(0.1, 5.0),
    eps=st.sampled_from([0.0, 1e-8, 1e-3]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    size=st.integers(1, 9),
    seed=st.integers(0, 10_000),
)
def test_rows_of_the_wrapping_rule_are_the_wrapper_around_torchs_adamw(
    lr: float, beta: float, c: float, eps: float, weight_decay: float, size: int, seed: int
) -> None:
    start, gradients = randn(size, seed=seed), randn(STEPS, size, seed=seed + 1)
    parameter = Parameter(start.clone())
    optimizer = CProp(torch.optim.AdamW([parameter], lr, weight_decay=weight_decay), beta, c, eps)
    path = walk(optimizer, [parameter], [[g] for g in gradients])
    values = {"lr": lr, "weight_decay": weight_decay, "cprop_beta": beta, "cprop_c": c, "cprop_eps": eps}
    rows = walk_rows(get_rule("cprop"), start.unsqueeze(0), gradients.unsqueeze(1), **values)
    torch.testing.assert_close([row[0] for row in rows], [step[0] for step in path], rtol=0, atol=1e-12)


# Options


@pytest.mark.parametrize("name", ["cprop", "cprop_sgd", "cprop_adam"])
def test_an_unknown_cdf_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: cdf must be one of 'bft', 'normal', 'bfo', 'logistic', not 'cubic'"):
        get_rule(name, cdf="cubic")


@pytest.mark.parametrize("inner", ["cprop", "cprop_adam", "nothing"])
def test_an_inner_rule_that_is_unknown_or_has_the_scale_already_is_refused(inner: str) -> None:
    with pytest.raises(ValueError, match=f"cprop: inner must be one of .*'adamw'.*, not '{inner}'"):
        get_rule("cprop", inner=inner)


def test_the_wrapping_rule_has_the_inner_ones_hyperparameters_and_three_more() -> None:
    own = ("cprop_beta", "cprop_c", "cprop_eps")
    for inner in INNER:
        rule = get_rule("cprop", inner=inner)
        assert rule.options == {"inner": inner, "cdf": "bft"}
        assert [h.name for h in rule.hyperparameters] == [*(h.name for h in get_rule(inner).hyperparameters), *own]
    assert [h.name for h in get_rule("cprop").hyperparameters[:1]] == ["lr"]
