"""What every update rule promises, whichever it is; and the table of rules itself."""

import dataclasses
import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adai import Hyperparameter, UpdateRule, get_optimizer, get_rule, list_rules, select_rows
from adai.rules import decay_power, register_rule

quick = settings(max_examples=15, derandomize=True)
every_rule = pytest.mark.parametrize("name", list_rules())
every_precision = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
DECOUPLED = ("adaiw", "adaiv2", "adamw")
#: Where the default is too small to arrive within the test's steps.
CONVERGING_LR = {
    **dict.fromkeys(("adam", "adamw", "amsgrad", "radam", "adabound", "adashift", "cprop", "cprop_adam"), 0.02),
    "nadam": 0.01,
}
#: AdaShift has no weight decay; a gradient of zero scales CProp's step, and the decay in it, to zero.
WITHOUT_DECAY_AT_ZERO = ("adashift", "cprop", "cprop_sgd")
STEPS = 12
Rows = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def randn(*shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def default_rows(rule: UpdateRule, count: int, **changed: float) -> Rows:
    values = {hyperparameter.name: hyperparameter.default for hyperparameter in rule.hyperparameters} | changed
    return {name: torch.full((count,), value, dtype=torch.float64) for name, value in values.items()}


def random_rows(rule: UpdateRule, count: int, seed: int) -> Rows:
    """Different hyperparameters for each row: search axes over their whole range, the others around the default."""
    generator = torch.Generator().manual_seed(seed)
    rows = {}
    for hyperparameter in rule.hyperparameters:
        unit_T = torch.rand(count, generator=generator, dtype=torch.float64)
        axis = get_optimizer(rule.name).search_space.get(hyperparameter.name)
        if axis is None:
            rows[hyperparameter.name] = (hyperparameter.default or 0.1) * unit_T
        elif axis.scale == "log":
            rows[hyperparameter.name] = axis.low * (axis.high / axis.low) ** unit_T
        elif axis.scale == "log1m":
            rows[hyperparameter.name] = 1 - (1 - axis.low) * ((1 - axis.high) / (1 - axis.low)) ** unit_T
        else:
            rows[hyperparameter.name] = axis.low + (axis.high - axis.low) * unit_T
    return rows


def run(rule: UpdateRule, start_TP: Tensor, gradients: Tensor, rows: Rows) -> Tensor:
    theta_TP = start_TP.clone()
    state = rule.init(theta_TP)
    for grad_TP in gradients:
        rule.update_(theta_TP, grad_TP.clone(), state, rows)
    return theta_TP


def run_alone(rule: UpdateRule, start_TP: Tensor, gradients: Tensor, rows: Rows, row: int) -> Tensor:
    only = slice(row, row + 1)
    alone = {name: values_T[only].clone() for name, values_T in rows.items()}
    return run(rule, start_TP[only].clone(), gradients[:, only].clone(), alone)[0]


def bits(tensor: Tensor) -> Tensor:
    """For comparisons to which NaN equals NaN and 0 is not -0."""
    return tensor.view({torch.float32: torch.int32, torch.float64: torch.int64}[tensor.dtype])


@every_rule
def test_the_same_run_twice_gives_the_same_bits(name: str) -> None:
    rule = get_rule(name)
    start_TP = randn(5, 23, seed=0, dtype=torch.float32)
    gradients = randn(STEPS, 5, 23, seed=1, dtype=torch.float32)
    rows = random_rows(rule, 5, seed=2)
    once, again = (run(rule, start_TP, gradients, rows) for _ in range(2))
    assert torch.equal(bits(once), bits(again))


@every_rule
@every_precision
@quick
@given(count=st.integers(2, 20), size=st.integers(1, 100), seed=st.integers(0, 10_000))
def test_a_row_in_company_has_the_bits_it_has_alone(
    name: str, dtype: torch.dtype, count: int, size: int, seed: int
) -> None:
    rule = get_rule(name)
    start_TP = randn(count, size, seed=seed, dtype=dtype)
    gradients = randn(STEPS, count, size, seed=seed + 1, dtype=dtype)
    rows = random_rows(rule, count, seed + 2)
    together = run(rule, start_TP, gradients, rows)
    for row in range(count):
        assert torch.equal(bits(together[row]), bits(run_alone(rule, start_TP, gradients, rows, row)))


@every_rule
def test_a_large_row_in_company_has_the_bits_it_has_alone(name: str) -> None:
    rule = get_rule(name)
    count, size = 3, 70_001
    start_TP = randn(count, size, seed=3, dtype=torch.float32)
    gradients = randn(3, count, size, seed=4, dtype=torch.float32)
    rows = default_rows(rule, count)
    together = run(rule, start_TP, gradients, rows)
    for row in range(count):
        assert torch.equal(bits(together[row]), bits(run_alone(rule, start_TP, gradients, rows, row)))


@every_rule
@pytest.mark.parametrize("poison", [1e30, math.inf, math.nan])
def test_neighbours_with_exploding_gradients_leave_a_row_as_it_is_alone(name: str, poison: float) -> None:
    rule = get_rule(name)
    count = 5
    start_TP = randn(count, 17, seed=5, dtype=torch.float32)
    gradients = randn(STEPS, count, 17, seed=6, dtype=torch.float32)
    gradients[3:, [0, 3]] *= poison
    rows = default_rows(rule, count)
    together = run(rule, start_TP, gradients, rows)
    for row in (1, 2, 4):
        assert together[row].isfinite().all()
        assert torch.equal(bits(together[row]), bits(run_alone(rule, start_TP, gradients, rows, row)))


def test_a_rows_power_does_not_depend_on_how_many_rows_there_are() -> None:
    count = 300
    for step in range(1, 40):
        generator = torch.Generator().manual_seed(step)
        decay_T = 1 - 10 ** (-5 * torch.rand(count, generator=generator, dtype=torch.float64))
        step_T = torch.full((count,), step)
        alone = [decay_power(decay_T[i : i + 1], step_T[i : i + 1]) for i in range(count)]
        assert torch.equal(decay_power(decay_T, step_T), torch.cat(alone)), f"step {step}"


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_sixteen_equal_rows_have_the_bits_of_one_where_rounding_to_float32_is_a_close_call(name: str) -> None:
    # lr / (1 - beta1 ** 3) lies between two float32 numbers: one float64 ulp in the power decides which is taken.
    rule = get_rule(name)
    values = {"lr": 0.0008647486268754762, "beta1": 0.5133111037012338, "beta2": 0.999, "weight_decay": 0.0}
    gradients = randn(3, 1, 200, seed=0, dtype=torch.float32)
    start_TP = torch.zeros(1, 200)
    alone = run(rule, start_TP, gradients, default_rows(rule, 1, **values))
    company = run(rule, start_TP.repeat(16, 1), gradients.repeat(1, 16, 1), default_rows(rule, 16, **values))
    for row in company:
        assert torch.equal(row, alone[0])


@every_rule
@pytest.mark.parametrize("as_mask", [True, False])
def test_rows_that_go_on_without_the_dropped_ones_are_as_if_those_had_never_been(name: str, as_mask: bool) -> None:
    rule = get_rule(name)
    count, kept = 7, [1, 2, 5]
    start_TP = randn(count, 19, seed=7, dtype=torch.float32)
    gradients = randn(STEPS, count, 19, seed=8, dtype=torch.float32)
    gradients[2:, 0] = math.nan
    rows = random_rows(rule, count, seed=9)
    theta_TP = start_TP.clone()
    state = rule.init(theta_TP)
    for grad_TP in gradients[:5]:
        rule.update_(theta_TP, grad_TP.clone(), state, rows)
    selection = torch.tensor(kept)
    if as_mask:
        selection = torch.zeros(count, dtype=torch.bool).index_fill_(0, selection, True)
    state = select_rows(state, selection)
    theta_TP = theta_TP[kept]
    rows_kept = {key: values_T[kept] for key, values_T in rows.items()}
    for grad_TP in gradients[5:]:
        rule.update_(theta_TP, grad_TP[kept], state, rows_kept)
    never = run(rule, start_TP[kept], gradients[:, kept], rows_kept)
    assert torch.equal(bits(theta_TP), bits(never))


@every_rule
def test_select_rows_keeps_the_order_asked_for_and_the_kind_of_state(name: str) -> None:
    rule = get_rule(name)
    theta_TP = randn(4, 3, seed=10, dtype=torch.float64)
    state = rule.init(theta_TP)
    rule.update_(theta_TP, randn(4, 3, seed=11, dtype=torch.float64), state, default_rows(rule, 4))
    selected = select_rows(state, torch.tensor([3, 0]))
    assert type(selected) is type(state)
    for before, after in zip(state, selected, strict=True):
        assert torch.equal(after, torch.stack([before[3], before[0]]))


@every_rule
def test_state_selected_from_another_shares_no_memory_with_it(name: str) -> None:
    rule = get_rule(name)
    state = rule.init(randn(4, 3, seed=10, dtype=torch.float64))
    before = [tensor.clone() for tensor in state]
    theta_TP = randn(4, 3, seed=11, dtype=torch.float64)
    rule.update_(theta_TP, theta_TP.clone(), select_rows(state, torch.ones(4, dtype=torch.bool)), default_rows(rule, 4))
    for tensor, unchanged in zip(state, before, strict=True):
        assert torch.equal(tensor, unchanged)


@every_rule
def test_a_convex_quadratic_is_minimized(name: str) -> None:
    rule = get_rule(name)
    count, size = 3, 8
    curvature_P = torch.logspace(-1, 0, size, dtype=torch.float64)
    minimum_TP = randn(count, size, seed=12, dtype=torch.float64)
    theta_TP = minimum_TP + randn(count, size, seed=13, dtype=torch.float64)
    start_distance = (theta_TP - minimum_TP).norm(dim=1)
    state = rule.init(theta_TP)
    lr = CONVERGING_LR.get(name, rule.hyperparameter("lr").default)
    rows = default_rows(rule, count, lr=lr, weight_decay=0.0)
    for _ in range(1500):
        rule.update_(theta_TP, curvature_P * (theta_TP - minimum_TP), state, rows)
    assert ((theta_TP - minimum_TP).norm(dim=1) < 1e-4 * start_distance).all()


@every_rule
@every_precision
def test_zero_gradients_move_nothing(name: str, dtype: torch.dtype) -> None:
    rule = get_rule(name)
    start_TP = randn(3, 5, seed=14, dtype=dtype)
    after = run(rule, start_TP, torch.zeros(STEPS, 3, 5, dtype=dtype), default_rows(rule, 3, weight_decay=0.0))
    assert torch.equal(bits(after), bits(start_TP))


@pytest.mark.parametrize("name", [name for name in list_rules() if name not in WITHOUT_DECAY_AT_ZERO])
@every_precision
def test_zero_gradients_leave_only_weight_decay(name: str, dtype: torch.dtype) -> None:
    rule = get_rule(name)
    start_TP = randn(3, 5, seed=15, dtype=dtype)
    zeros = torch.zeros(STEPS, 3, 5, dtype=dtype)
    rows = default_rows(rule, 3, lr=0.1, weight_decay=0.2)
    after = run(rule, start_TP, zeros, rows)
    if name in DECOUPLED:
        expected = start_TP * (1 - 0.1 * 0.2) ** STEPS
    else:
        expected = start_TP.clone()
        state = rule.init(expected)
        for _ in range(STEPS):
            rule.update_(expected, 0.2 * expected, state, default_rows(rule, 3, lr=0.1, weight_decay=0.0))
    assert not torch.equal(after, start_TP)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-13}[dtype]
    torch.testing.assert_close(after, expected, rtol=tolerance, atol=tolerance)


@every_rule
def test_an_element_that_never_sees_a_gradient_never_moves(name: str) -> None:
    rule = get_rule(name)
    start_TP = randn(3, 5, seed=16, dtype=torch.float32)
    gradients = randn(STEPS, 3, 5, seed=17, dtype=torch.float32)
    gradients[:, :, 2] = 0.0
    after = run(rule, start_TP, gradients, default_rows(rule, 3, weight_decay=0.0))
    assert [torch.equal(after[:, i], start_TP[:, i]) for i in range(5)] == [False, False, True, False, False]


@every_rule
def test_a_learning_rate_of_zero_moves_nothing(name: str) -> None:
    rule = get_rule(name)
    start_TP = randn(2, 5, seed=18, dtype=torch.float32)
    gradients = randn(STEPS, 2, 5, seed=19, dtype=torch.float32)
    rows = default_rows(rule, 2, lr=0.0, weight_decay=0.1)
    if name == "adabound":  # whose lower bound is above 0, whatever lr is
        rows["final_lr"].zero_()
    assert torch.equal(run(rule, start_TP, gradients, rows), start_TP)


@every_rule
@every_precision
def test_a_step_changes_parameters_in_place_and_hyperparameters_not_at_all(name: str, dtype: torch.dtype) -> None:
    rule = get_rule(name)
    memory = torch.zeros(4, 11, dtype=dtype)
    theta_TP = memory[:, 2:9]  # rows of a larger tensor, as an engine may keep them
    theta_TP.copy_(randn(4, 7, seed=20, dtype=dtype))
    rows = random_rows(rule, 4, seed=21)
    rows_before = {key: values_T.clone() for key, values_T in rows.items()}
    theta_before_TP = theta_TP.clone()
    gradients = randn(STEPS, 4, 7, seed=22, dtype=dtype)
    expected = run(rule, theta_TP, gradients, rows)
    state = rule.init(theta_TP)
    for grad_TP in gradients:
        rule.update_(theta_TP, grad_TP.clone(), state, rows)
    # Rows with gaps between them take the plain step, the others the compiled one: equal but for rounding.
    tolerance = {torch.float32: 2e-4, torch.float64: 1e-12}[dtype] * expected.abs().amax()
    torch.testing.assert_close(memory[:, 2:9], expected, rtol=0, atol=float(tolerance))
    assert not torch.equal(memory[:, 2:9], theta_before_TP)
    assert not memory[:, :2].any()
    assert not memory[:, 9:].any()
    for key, values_T in rows.items():
        assert torch.equal(values_T, rows_before[key])


@every_rule
@every_precision
def test_state_has_one_entry_a_row_and_the_precision_of_the_parameters(name: str, dtype: torch.dtype) -> None:
    rule = get_rule(name)
    theta_TP = randn(4, 7, seed=23, dtype=dtype)
    state = rule.init(theta_TP)
    rule.update_(theta_TP, torch.ones_like(theta_TP), state, default_rows(rule, 4))
    assert {tensor.shape[0] for tensor in state} == {4}
    # What has an entry per parameter has its precision; one number a row may be kept more exactly.
    assert {tensor.dtype for tensor in state if tensor.shape == theta_TP.shape} <= {dtype}
    assert any(tensor.dtype is dtype for tensor in state if tensor.shape[-1] == 7)


@pytest.mark.parametrize("name", ["adai", "adaiw"])
@quick
@given(exponent=st.integers(-60, 60), seed=st.integers(0, 10_000))
def test_adai_rows_do_not_feel_the_scale_of_gradients(name: str, exponent: int, seed: int) -> None:
    # A power of two changes no digit, so the paths are equal to the bit.
    rule = get_rule(name)
    start_TP = randn(2, 6, seed=seed, dtype=torch.float64)
    gradients = randn(STEPS, 2, 6, seed=seed + 1, dtype=torch.float64)
    scale = 2.0**exponent
    plain = run(rule, start_TP, gradients, default_rows(rule, 2, lr=0.5))
    scaled = run(rule, start_TP, gradients * scale, default_rows(rule, 2, lr=0.5 / scale))
    assert torch.equal(bits(plain), bits(scaled))


@pytest.mark.parametrize("name", ["adai", "adaiw"])
def test_adai_rows_with_no_inertia_bound_and_an_element_without_gradient_stay_finite(name: str) -> None:
    rule = get_rule(name)
    start_TP = randn(2, 4, seed=24, dtype=torch.float64)
    gradients = randn(STEPS, 2, 4, seed=25, dtype=torch.float64)
    gradients[:, 0, 1] = 0.0
    after = run(rule, start_TP, gradients, default_rows(rule, 2, eps=0.0))
    assert after.isfinite().all()
    assert after[0, 1] == start_TP[0, 1]


@every_rule
def test_every_default_is_valid_and_has_a_source(name: str) -> None:
    rule = get_rule(name)
    assert rule.name == name
    for hyperparameter in rule.hyperparameters:
        assert hyperparameter.allows(hyperparameter.default)
        assert hyperparameter.source


@every_rule
def test_hyperparameters_have_different_names_and_start_with_the_learning_rate(name: str) -> None:
    names = [hyperparameter.name for hyperparameter in get_rule(name).hyperparameters]
    assert names[0] == "lr"
    assert len(set(names)) == len(names)


@every_rule
def test_asking_a_rule_for_an_unknown_hyperparameter_lists_those_it_has(name: str) -> None:
    rule = get_rule(name)
    with pytest.raises(KeyError, match="warmth") as caught:
        rule.hyperparameter("warmth")
    for hyperparameter in rule.hyperparameters:
        assert rule.hyperparameter(hyperparameter.name) is hyperparameter
        assert hyperparameter.name in str(caught.value)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [(0.0, True), (0.999, True), (1.0, False), (-1e-9, False), (math.nan, False), (math.inf, False)],
)
def test_a_decay_lies_from_zero_to_below_one(value: float, allowed: bool) -> None:
    decay = Hyperparameter("beta2", 0.99, "here", supremum=1.0)
    assert decay.allows(value) is allowed
    assert decay.valid_range == "[0, 1)"


def test_a_hyperparameter_without_upper_bound_is_finite() -> None:
    rate = Hyperparameter("lr", 1.0, "here")
    assert rate.allows(1e300)
    assert not rate.allows(math.inf)
    assert rate.valid_range == "[0, infinity)"


def test_a_taken_name_is_refused_and_the_rule_that_has_it_stays() -> None:
    adai, sgd = get_rule("adai"), get_rule("sgd")
    with pytest.raises(ValueError, match="'adai' exists already"):
        register_rule(lambda: dataclasses.replace(sgd, name="adai"))
    assert get_rule("adai") is adai


def test_a_rule_is_asked_for_in_a_variant_by_its_options() -> None:
    usual, short = get_rule("adashift"), get_rule("adashift", keep_num=3)
    assert usual.options == {"keep_num": 10, "reduce": "max"}
    assert short.options == {"keep_num": 3, "reduce": "max"}
    assert get_rule("adashift", reduce="max", keep_num=10).options == usual.options
    with pytest.raises(TypeError, match=r"adashift has no option 'window'; it has keep_num, reduce"):
        get_rule("adashift", window=3)
    with pytest.raises(TypeError, match=r"adai has no option 'decoupled'; it has none"):
        get_rule("adai", decoupled=True)


@every_rule
def test_sizes_of_tensors_that_do_not_fill_a_row_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"sizes \(3, 3\) add up to 6, but rows have 7 elements"):
        get_rule(name).init(torch.zeros(2, 7), [3, 3])


def test_a_bound_may_be_allowed_itself() -> None:
    share = Hyperparameter("share", 0.5, "here", maximum=1.0)
    assert share.allows(1.0)
    assert not share.allows(1.0000001)
    assert share.valid_range == "[0, 1]"
    assert share.bounds == (0.0, 1.0, True)
    assert Hyperparameter("decay", 0.5, "here", supremum=1.0).bounds == (0.0, 1.0, False)


def test_rules_are_listed_sorted() -> None:
    assert list(list_rules()) == sorted(list_rules())
    assert {"adai", "adaiw", "sgd", "adam", "adamw", "radam"} <= set(list_rules())
