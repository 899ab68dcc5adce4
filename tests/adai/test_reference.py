"""The naive transcription of the paper, the row rule and the optimizer class take the same path."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adai import Adai, get_rule
from adai.reference import adai_step

quick = settings(max_examples=20, derandomize=True)
RUNS = {
    "lr": st.floats(1e-3, 1.0),
    "beta0": st.floats(1e-2, 5.0),
    "beta2": st.floats(0.0, 0.9999),
    "eps": st.floats(1e-3, 1.0),
    "weight_decay": st.sampled_from([0.0, 5e-4, 0.1]),
}
STEPS = 10


@quick
@given(
    runs=st.lists(st.fixed_dictionaries(RUNS), min_size=1, max_size=4),
    size=st.integers(1, 12),
    decoupled=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_reference_rule_and_class_agree_on_random_gradients(
    runs: list[dict[str, float]], size: int, decoupled: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    start_TP = torch.randn(len(runs), size, generator=generator, dtype=torch.float64)
    gradients = torch.randn(STEPS, len(runs), size, generator=generator, dtype=torch.float64)
    rule = get_rule("adaiw" if decoupled else "adai")
    theta_TP = start_TP.clone()
    state = rule.init(theta_TP)
    rows = {name: torch.tensor([run[name] for run in runs], dtype=torch.float64) for name in RUNS}
    theta_lists = start_TP.tolist()
    list_states: list[dict[str, list[float]]] = [{} for _ in runs]
    parameters = [torch.nn.Parameter(row.clone()) for row in start_TP]
    optimizers = [
        Adai([p], r["lr"], (r["beta0"], r["beta2"]), r["eps"], r["weight_decay"], decoupled)
        for p, r in zip(parameters, runs, strict=True)
    ]
    for grad_TP in gradients:
        rule.update_(theta_TP, grad_TP.clone(), state, rows)
        for i, run in enumerate(runs):
            adai_step(theta_lists[i], grad_TP[i].tolist(), list_states[i], **run, decoupled=decoupled)
            parameters[i].grad = grad_TP[i].clone()
            optimizers[i].step()
        expected = torch.tensor(theta_lists, dtype=torch.float64)
        torch.testing.assert_close(theta_TP, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(torch.stack([p.detach() for p in parameters]), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("beta0", "inertia"),
    [(0.1, "at the mean 0.9"), (1e9, "clipped to 0"), (0.0, "clipped to 1 - eps")],
)
def test_inertia_of_equal_gradients_is_what_the_paper_says(beta0: float, inertia: str) -> None:
    expected = {"at the mean 0.9": 0.9, "clipped to 0": 0.0, "clipped to 1 - eps": 0.999}[inertia]
    rule = get_rule("adai")
    theta_TP = torch.zeros(1, 4, dtype=torch.float64)
    state = rule.init(theta_TP)
    values = {"lr": 1.0, "beta0": beta0, "beta2": 0.99, "eps": 1e-3, "weight_decay": 0.0}
    rows = {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}
    rule.update_(theta_TP, torch.ones_like(theta_TP), state, rows)
    torch.testing.assert_close(state.mu_prod_TP, torch.full_like(theta_TP, expected), rtol=0, atol=1e-15)
    rule.update_(theta_TP, torch.ones_like(theta_TP), state, rows)
    torch.testing.assert_close(state.mu_prod_TP, torch.full_like(theta_TP, expected**2), rtol=0, atol=1e-15)
