"""AdaShift against the authors' recorded runs, a naive transcription, and what its rule implies."""

import copy
import io
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

from adai import AdaShift, UpdateRule, get_rule, select_rows
from adai.reference import adashift_step

VECTORS = Path(__file__).parents[1] / "assets" / "vectors"
CASES = tuple(sorted(path.stem for path in VECTORS.glob("adashift__*.json")))
REDUCTIONS = ("max", "mean", "none")
STEPS = 14

quick = settings(max_examples=20, derandomize=True)
every_reduction = pytest.mark.parametrize("reduce", REDUCTIONS)
Gradients = Sequence[Sequence[Tensor | None]]


def randn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def row_values(count: int, **values: float) -> dict[str, Tensor]:
    defaults = {h.name: h.default for h in get_rule("adashift").hyperparameters}
    return {k: torch.full((count,), v, dtype=torch.float64) for k, v in (defaults | values).items()}


def walk_rows(
    rule: UpdateRule, start_TP: Tensor, gradients: Tensor, values: dict[str, Tensor], sizes: Sequence[int] | None = None
) -> list[Tensor]:
    """The rows after each step."""
    theta_TP = start_TP.clone()
    state = rule.init(theta_TP, sizes)
    path = []
    for grad_TP in gradients:
        rule.update_(theta_TP, grad_TP.clone(), state, values)
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


# The authors' runs


class Recorded:
    """One run of the authors' code."""

    def __init__(self, case: str) -> None:
        recorded: dict[str, Any] = json.loads((VECTORS / f"{case}.json").read_text())
        values = recorded["hyperparameters"]
        self.values = {"lr": values["learning_rate"], "eps": values["epsilon"]}
        self.betas = (values["beta1"], values["beta2"])
        self.options = {"keep_num": values["keep_num"], "reduce": values["pred_g_op"]}
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


def test_the_four_recorded_cases_are_there() -> None:
    assert len(CASES) == 4
    assert {Recorded(case).options["reduce"] for case in CASES} == set(REDUCTIONS)
    assert sum(Recorded(case).complete for case in CASES) == 3


@pytest.mark.parametrize("case", CASES)
def test_the_class_follows_the_authors_code(case: str) -> None:
    run = Recorded(case)
    parameters = [Parameter(values.clone()) for values in run.initial]
    optimizer = AdaShift(parameters, betas=run.betas, **run.values, **run.options)
    for after, expected in zip(walk(optimizer, parameters, run.gradients), run.after, strict=True):
        torch.testing.assert_close(after, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if Recorded(case).complete])
def test_every_row_of_the_rule_follows_the_authors_code(case: str) -> None:
    run = Recorded(case)
    rows = 3
    values = row_values(rows, **run.values, beta1=run.betas[0], beta2=run.betas[1])
    gradients = torch.stack([flat(step).repeat(rows, 1) for step in run.gradients])
    sizes = [tensor.numel() for tensor in run.initial]
    path = walk_rows(get_rule("adashift", **run.options), flat(run.initial).repeat(rows, 1), gradients, values, sizes)
    for after_TP, expected in zip(path, run.after, strict=True):
        torch.testing.assert_close(after_TP, flat(expected).repeat(rows, 1), rtol=0, atol=1e-12)


# The naive transcription


RUNS = {
    "lr": st.floats(1e-4, 1.0),
    "beta1": st.one_of(st.just(0.0), st.floats(0.0, 0.999)),
    "beta2": st.one_of(st.just(0.0), st.floats(0.0, 0.99999)),
    "eps": st.sampled_from([1e-10, 1e-8, 1e-3]),
}


@every_reduction
@quick
@given(
    runs=st.lists(st.fixed_dictionaries(RUNS), min_size=1, max_size=3),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    keep_num=st.integers(1, 12),
    zero_steps=st.integers(0, 4),
    pause=st.integers(0, 3),
    seed=st.integers(0, 10_000),
)
def test_reference_rule_and_class_agree_on_random_gradients(
    reduce: str, runs: list[dict[str, float]], sizes: list[int], keep_num: int, zero_steps: int, pause: int, seed: int
) -> None:
    start_TP = randn(len(runs), sum(sizes), seed=seed)
    gradients = randn(STEPS, len(runs), sum(sizes), seed=seed + 1)
    gradients[:zero_steps, :, : sizes[0]] = 0  # the first tensor starts later than the others
    gradients[6 : 6 + pause, :, : sizes[0]] = 0  # with beta2 = 0 its v returns to 0
    rule = get_rule("adashift", keep_num=keep_num, reduce=reduce)
    values = {name: torch.tensor([run[name] for run in runs], dtype=torch.float64) for name in RUNS}
    path = walk_rows(rule, start_TP, gradients, values, sizes)
    for i, run in enumerate(runs):
        parameters = [Parameter(block.clone()) for block in start_TP[i].split(sizes)]
        betas = (run["beta1"], run["beta2"])
        optimizer = AdaShift(parameters, run["lr"], betas, keep_num, run["eps"], reduce)
        steps = walk(optimizer, parameters, [grad_TP[i].split(sizes) for grad_TP in gradients])
        tensors = [block.tolist() for block in start_TP[i].split(sizes)]
        states: list[dict[str, Any]] = [{} for _ in sizes]
        for grad_TP, after_TP, after in zip(gradients, path, steps, strict=True):
            for tensor, grad, state in zip(tensors, grad_TP[i].split(sizes), states, strict=True):
                adashift_step(tensor, grad.tolist(), state, **run, keep_num=keep_num, reduce=reduce)
            expected = torch.tensor([value for tensor in tensors for value in tensor], dtype=torch.float64)
            torch.testing.assert_close(after_TP[i], expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(flat(after), after_TP[i], rtol=1e-12, atol=1e-12)


# What the rule implies


@every_reduction
@pytest.mark.parametrize("keep_num", [1, 2, 10])
def test_the_first_movement_is_at_the_step_after_the_window_is_full(reduce: str, keep_num: int) -> None:
    start_TP = randn(2, 6, seed=0)
    gradients = randn(keep_num + 1, 2, 6, seed=1)
    rule = get_rule("adashift", keep_num=keep_num, reduce=reduce)
    path = walk_rows(rule, start_TP, gradients, row_values(2), [4, 2])
    for after_TP in path[:-1]:
        assert torch.equal(after_TP, start_TP)
    assert (path[-1] != start_TP).all()


@every_reduction
def test_the_first_movement_divides_by_the_oldest_gradient_alone(reduce: str) -> None:
    # By hand: n = 2, beta1 = 0.5, so m = (g3 + g2 / 2) / 1.5, and v corrected for bias is phi(g1^2).
    g1, g2, g3 = ([4.0, -2.0, 1.0], [6.0, 0.0, 2.0], [-3.0, 3.0, 5.0])
    phi = {"max": [16.0] * 3, "mean": [7.0] * 3, "none": [16.0, 4.0, 1.0]}[reduce]
    expected = [-0.1 * ((c + b / 2) / 1.5) / math.sqrt(p) for b, c, p in zip(g2, g3, phi, strict=True)]
    gradients = torch.tensor([g1, g2, g3], dtype=torch.float64).unsqueeze(1)
    start_TP = torch.zeros(1, 3, dtype=torch.float64)
    rule = get_rule("adashift", keep_num=2, reduce=reduce)
    after_TP = walk_rows(rule, start_TP, gradients, row_values(1, lr=0.1, beta1=0.5, eps=0.0))[-1]
    torch.testing.assert_close(after_TP[0].tolist(), expected, rtol=1e-13, atol=1e-15)


def test_without_beta1_only_the_current_gradient_moves_but_v_stays_n_steps_old() -> None:
    gradients = randn(4, 1, 5, seed=2)
    start_TP = randn(1, 5, seed=3)
    path = walk_rows(get_rule("adashift", keep_num=3), start_TP, gradients, row_values(1, lr=0.5, beta1=0.0, eps=0.0))
    expected = start_TP - 0.5 * gradients[3] / gradients[0].abs().max()
    torch.testing.assert_close(path[-1], expected, rtol=1e-13, atol=1e-15)


@every_reduction
def test_the_scale_of_one_tensors_gradients_changes_neither_its_path_nor_the_others(reduce: str) -> None:
    sizes = [4, 3, 5]
    start_TP = randn(2, 12, seed=4)
    gradients = randn(STEPS, 2, 12, seed=5)
    louder = gradients.clone()
    louder[:, :, 4:7] *= 1024  # a power of two changes no digit
    rule = get_rule("adashift", keep_num=3, reduce=reduce)
    plain, scaled = (walk_rows(rule, start_TP, g, row_values(2, eps=0.0), sizes)[-1] for g in (gradients, louder))
    assert torch.equal(plain, scaled)
    assert not torch.equal(plain, start_TP)


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_without_sizes_a_row_is_one_tensor(reduce: str) -> None:
    start_TP, gradients = randn(2, 6, seed=6), randn(STEPS, 2, 6, seed=7)
    rule = get_rule("adashift", keep_num=3, reduce=reduce)
    whole, split = (walk_rows(rule, start_TP, gradients, row_values(2), sizes)[-1] for sizes in (None, [3, 3]))
    assert torch.equal(whole, walk_rows(rule, start_TP, gradients, row_values(2), [6])[-1])
    assert not torch.equal(whole, split)


@every_reduction
@pytest.mark.parametrize("eps", [1e-10, 0.0])
def test_zero_gradients_move_nothing(reduce: str, eps: float) -> None:
    start_TP = randn(2, 5, seed=8)
    rule = get_rule("adashift", keep_num=2, reduce=reduce)
    zeros = torch.zeros(STEPS, 2, 5, dtype=torch.float64)
    assert torch.equal(walk_rows(rule, start_TP, zeros, row_values(2, eps=eps), [2, 3])[-1], start_TP)


@every_reduction
def test_a_tensor_whose_gradients_begin_late_takes_the_path_of_one_that_begins_then(reduce: str) -> None:
    start_TP, gradients = randn(1, 4, seed=9), randn(STEPS, 1, 4, seed=10)
    late = torch.cat([torch.zeros(5, 1, 4, dtype=torch.float64), gradients])
    rule = get_rule("adashift", keep_num=3, reduce=reduce)
    path, late_path = (walk_rows(rule, start_TP, g, row_values(1)) for g in (gradients, late))
    torch.testing.assert_close(late_path[5:], path, rtol=1e-13, atol=1e-15)


def test_a_second_moment_that_decays_to_zero_with_no_eps_moves_nothing_and_is_no_nan() -> None:
    # beta2 = 0 and n = 1: v is the square of the last gradient, which is 0 in step 4.
    start_TP = randn(1, 3, seed=11)
    gradients = torch.tensor([1.0, 2.0, 0.0, 3.0, 1.0], dtype=torch.float64).view(5, 1, 1).expand(5, 1, 3)
    rule = get_rule("adashift", keep_num=1)
    path = walk_rows(rule, start_TP, gradients, row_values(1, beta2=0.0, eps=0.0))
    assert torch.equal(path[3], path[2])
    assert path[-1].isfinite().all()
    assert not torch.equal(path[-1], path[3])


def test_a_large_gradient_that_has_left_the_window_leaves_no_trace_in_m() -> None:
    # In float32 a recursion that adds and subtracts 1e9 would keep an error of the size of 1.
    rule = get_rule("adashift", keep_num=3, reduce="none")
    theta_TP = torch.zeros(1, 2)
    state = rule.init(theta_TP)
    values = row_values(1, lr=1.0, beta1=0.9)
    for value in (1.0, 1e9, 1.0, 1.0, 1.0):
        rule.update_(theta_TP, torch.full_like(theta_TP, value), state, values)
    theta_TP.zero_()
    rule.update_(theta_TP, torch.ones_like(theta_TP), state, values)
    m_TP = -theta_TP * (state.v_TB / state.weight_TB).sqrt()
    torch.testing.assert_close(m_TP, torch.ones_like(m_TP), rtol=1e-6, atol=0)


# Rows


@every_reduction
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@quick
@given(
    count=st.integers(2, 20),
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    keep_num=st.integers(1, 5),
    seed=st.integers(0, 10_000),
)
def test_a_row_in_company_has_the_bits_it_has_alone(
    reduce: str, dtype: torch.dtype, count: int, sizes: list[int], keep_num: int, seed: int
) -> None:
    rule = get_rule("adashift", keep_num=keep_num, reduce=reduce)
    start_TP = randn(count, sum(sizes), seed=seed, dtype=dtype)
    gradients = randn(8, count, sum(sizes), seed=seed + 1, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(3, count, generator=generator, dtype=torch.float64)
    values = row_values(count) | {"lr": unit[0], "beta1": unit[1], "beta2": 1 - 0.1 * unit[2]}
    together = walk_rows(rule, start_TP, gradients, values, sizes)[-1]
    for row in range(count):
        only = slice(row, row + 1)
        own = {name: values_T[only].clone() for name, values_T in values.items()}
        alone = walk_rows(rule, start_TP[only].clone(), gradients[:, only].clone(), own, sizes)[-1]
        assert torch.equal(together[row], alone[0])


@every_reduction
def test_rows_go_on_from_the_middle_of_the_window_when_others_are_dropped(reduce: str) -> None:
    sizes, kept = [3, 2], torch.tensor([3, 1])
    start_TP, gradients = randn(4, 5, seed=12), randn(STEPS, 4, 5, seed=13)
    gradients[3:, 0] = math.nan
    rule = get_rule("adashift", keep_num=3, reduce=reduce)
    theta_TP = start_TP.clone()
    state = rule.init(theta_TP, sizes)
    for grad_TP in gradients[:5]:
        rule.update_(theta_TP, grad_TP.clone(), state, row_values(4))
    state, theta_TP = select_rows(state, kept), theta_TP[kept]
    for grad_TP in gradients[5:]:
        rule.update_(theta_TP, grad_TP[kept], state, row_values(2))
    assert torch.equal(theta_TP, walk_rows(rule, start_TP[kept], gradients[:, kept], row_values(2), sizes)[-1])


def test_rows_that_have_taken_different_numbers_of_steps_may_stand_together() -> None:
    rule = get_rule("adashift", keep_num=3)
    start_TP, gradients = randn(2, 4, seed=14), randn(STEPS, 2, 4, seed=15)
    theta_TP = start_TP.clone()
    ahead = rule.init(theta_TP)
    rule.update_(theta_TP, gradients[0].clone(), ahead, row_values(2))
    behind = rule.init(theta_TP)
    mixed = type(ahead)._make(torch.stack([a[0], b[1]]) for a, b in zip(ahead, behind, strict=True))
    for grad_TP in gradients[1:]:
        rule.update_(theta_TP, grad_TP.clone(), mixed, row_values(2))
    first = walk_rows(rule, start_TP[:1], gradients[:, :1], row_values(1))[-1]
    second = walk_rows(rule, start_TP[1:], gradients[1:, 1:], row_values(1))[-1]
    assert torch.equal(theta_TP, torch.cat([first, second]))


def test_no_rows_at_all_are_no_trouble() -> None:
    rule = get_rule("adashift")
    assert walk_rows(rule, torch.zeros(0, 5), torch.zeros(2, 0, 5), row_values(0), [2, 3])[-1].shape == (0, 5)


def test_single_precision_follows_double_precision() -> None:
    start_TP, gradients = randn(2, 50, seed=16), randn(200, 2, 50, seed=17)
    exact = walk_rows(get_rule("adashift"), start_TP, gradients, row_values(2, lr=0.01), [20, 30])[-1]
    single = walk_rows(get_rule("adashift"), start_TP.float(), gradients.float(), row_values(2, lr=0.01), [20, 30])[-1]
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-5)


# The class


def new_parameters(dtype: torch.dtype = torch.float64) -> list[Parameter]:
    return [Parameter(randn(*shape, seed=i, dtype=dtype)) for i, shape in enumerate([(3, 2), (4,)])]


def new_gradients(dtype: torch.dtype = torch.float64) -> Gradients:
    return [[randn(3, 2, seed=50 + t, dtype=dtype), randn(4, seed=90 + t, dtype=dtype)] for t in range(STEPS)]


@every_reduction
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_saved_and_loaded_optimizer_goes_on_with_the_same_bits(reduce: str, dtype: torch.dtype) -> None:
    gradients = new_gradients(dtype)
    through = new_parameters(dtype)
    expected = walk(AdaShift(through, keep_num=3, reduce=reduce), through, gradients)[-1]
    parameters = new_parameters(dtype)
    first = AdaShift(parameters, keep_num=3, reduce=reduce)
    walk(first, parameters, gradients[:5])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    continued = [Parameter(parameter.detach().clone()) for parameter in parameters]
    second = AdaShift(continued, lr=9.0, keep_num=3, reduce=reduce)
    second.load_state_dict(torch.load(file))
    for parameter in continued:
        assert second.state[parameter]["window"].dtype is (dtype if dtype.itemsize > 2 else torch.float32)
    for actual, wanted in zip(walk(second, continued, gradients[5:])[-1], expected, strict=True):
        assert torch.equal(actual, wanted)


def test_groups_have_their_own_windows_and_reductions() -> None:
    gradients = new_gradients()
    parameters = new_parameters()
    groups = [
        {"params": parameters[:1], "keep_num": 2, "reduce": "none"},
        {"params": parameters[1:], "lr": 0.1, "betas": (0.0, 0.9), "eps": 1e-3},
    ]
    after = walk(AdaShift(groups, keep_num=4, reduce="mean"), parameters, gradients)[-1]
    for i, arguments in enumerate(
        [
            {"keep_num": 2, "reduce": "none"},
            {"lr": 0.1, "betas": (0.0, 0.9), "eps": 1e-3, "keep_num": 4, "reduce": "mean"},
        ]
    ):
        alone = new_parameters()[i]
        expected = walk(AdaShift([alone], **arguments), [alone], [[step[i]] for step in gradients])[-1]
        assert torch.equal(after[i], expected[0])


def test_a_step_without_gradient_does_not_shift_the_window() -> None:
    gradients = new_gradients()
    parameters, uninterrupted = new_parameters(), new_parameters()
    with_pauses = [list(step) for step in gradients]
    with_pauses[3:3] = [[None, gradients[0][1]], [None, gradients[1][1]]]
    after = walk(AdaShift(parameters, keep_num=3), parameters, with_pauses)[-1]
    expected = walk(AdaShift(uninterrupted, keep_num=3), uninterrupted, gradients)[-1]
    assert torch.equal(after[0], expected[0])


def test_maximizing_is_minimizing_the_negative() -> None:
    gradients = new_gradients()
    up, down = new_parameters(), new_parameters()
    ascent = walk(AdaShift(up, keep_num=2, maximize=True), up, gradients)[-1]
    negative = [[-g for g in step if g is not None] for step in gradients]
    descent = walk(AdaShift(down, keep_num=2), down, negative)[-1]
    for a, b in zip(ascent, descent, strict=True):
        assert torch.equal(a, b)


def test_a_parameter_without_elements_is_no_trouble() -> None:
    parameters = [Parameter(torch.zeros(0, 3)), Parameter(torch.ones(2))]
    after = walk(AdaShift(parameters, keep_num=1), parameters, [[torch.zeros(0, 3), torch.ones(2)]] * 3)[-1]
    assert after[0].shape == (0, 3)
    assert (after[1] < 1).all()


def test_a_copy_of_the_optimizer_keeps_its_own_window() -> None:
    parameters = new_parameters()
    optimizer = AdaShift(parameters, keep_num=2)
    walk(optimizer, parameters, new_gradients()[:4])
    before = optimizer.state[parameters[0]]["window"].clone()
    twin = copy.deepcopy(optimizer)
    twins = [parameter for group in twin.param_groups for parameter in group["params"]]
    walk(twin, twins, new_gradients()[4:])
    assert torch.equal(optimizer.state[parameters[0]]["window"], before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": -1.0}, "lr must be at least 0 and finite, not -1.0"),
        ({"betas": (1.0, 0.9)}, r"betas\[0\] \(beta1\) must be at least 0 and below 1, not 1.0"),
        ({"betas": (0.9, 1.5)}, r"betas\[1\] \(beta2\) must be at least 0 and below 1, not 1.5"),
        ({"eps": -1e-9}, "eps must be at least 0 and finite, not -1e-09"),
        ({"keep_num": 0}, "keep_num must be an integer of at least 1, not 0"),
        ({"keep_num": 2.5}, "keep_num must be an integer of at least 1, not 2.5"),
        ({"reduce": "median"}, "reduce must be one of 'max', 'mean', 'none', not 'median'"),
    ],
)
def test_a_bad_argument_is_refused_by_name_bound_and_value(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdaShift(new_parameters(), **arguments)
    with pytest.raises(ValueError, match=message):
        AdaShift(new_parameters()).add_param_group({"params": [Parameter(torch.ones(1))], **arguments})


def test_the_rule_says_which_variant_it_is() -> None:
    assert get_rule("adashift").options == {"keep_num": 10, "reduce": "max"}
    assert get_rule("adashift", keep_num=3, reduce="none").options == {"keep_num": 3, "reduce": "none"}
