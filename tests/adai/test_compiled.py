"""The compiled kernels beside the plain rules, and machines whose compiler or cache is missing, broken or lying."""

import math
import os
import shutil
import stat
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from fresh_process import FreshProcesses, take_steps
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import adai
from adai import UpdateRule, get_rule, list_rules, select_rows
from adai.compiled import CHUNK, Kernel, library, threads_for, why_unavailable
from adai.rules import State

KERNELS = Path(adai.__file__).with_name("kernels.c")
GCC = shutil.which("gcc") or ""
# Only where there is none: a compiler that cannot compile our source is a failure.
pytestmark = pytest.mark.skipif(not GCC, reason="there is no gcc: apt-get install gcc (.ci/run does)")

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in list_rules() if get_rule(name).kernel is not None),
    ("adabound", {"amsbound": True}),
    ("adaiv2", {"decoupled": False}),
    ("adashift", {"reduce": "mean", "keep_num": 3}),
    ("adashift", {"reduce": "none", "keep_num": 1}),
    ("cprop_adam", {"cdf": "bfo", "amsgrad": True}),
    ("cprop_sgd", {"cdf": "logistic", "nesterov": True}),
    ("padam", {"amsgrad": False}),
    ("radam", {"degenerated_to_sgd": False}),
    ("radam", {"decoupled": True}),
    ("radam", {"degenerated_to_sgd": False, "decoupled": True}),
    ("yogi", {"initial_accumulator": 0.0}),
]
every_variant = pytest.mark.parametrize(
    "variant", VARIANTS, ids=["-".join([name, *map(str, options)]) for name, options in VARIANTS]
)
every_precision = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
quick = settings(max_examples=4, derandomize=True)
#: Where chunks, blocks and lanes of the kernels end.
EDGES = [1, 2, 15, 16, 17, 127, 128, 129, 1023, 1024, 1025, 8191, 8192, 8193, 9216, 16384, 16385, 20_000]
ROUNDING = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
STEPS = 40
Rows = dict[str, Tensor]
Update = Callable[[Tensor, Tensor, State, Rows], None]


def rule_of(variant: tuple[str, dict[str, Any]]) -> UpdateRule:
    name, options = variant
    return get_rule(name, **options)


def kernel_of(rule: UpdateRule) -> Kernel:
    assert rule.kernel is not None
    return rule.kernel


def compiled_update(rule: UpdateRule) -> Update:
    """The kernel itself: nothing here may fall back to the plain rule unseen."""
    kernel = kernel_of(rule)

    def update_(theta_TP: Tensor, grad_TP: Tensor, state: State, rows: Rows) -> None:
        assert kernel.takes(theta_TP, grad_TP, state)
        kernel.step_rows_(theta_TP, grad_TP, state, [rows[h.name] for h in rule.hyperparameters])

    return update_


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, generator=generator_of(seed), dtype=dtype)


def default_rows(rule: UpdateRule, count: int, **changed: float) -> Rows:
    values = {h.name: h.default for h in rule.hyperparameters} | changed
    return {name: torch.full((count,), value, dtype=torch.float64) for name, value in values.items()}


def drawn(name: str, rule: UpdateRule, unit_T: Tensor, choice_T: Tensor) -> Tensor:
    """Valid values of one hyperparameter, the ends of its range among them."""

    def log(low: float, high: float) -> Tensor:
        return low * (high / low) ** unit_T

    inertia = rule.name.startswith("adai")
    special, values = {
        "lr": ((0.0,), log(1e-6, 10)),
        "momentum": ((0.0,), 1 - log(1e-3, 1)),
        "beta0": ((0.0, 0.1), log(1e-3, 1e3)),
        "beta1": ((0.0,), 1 - log(1e-3, 1)),
        # Where it is 0, v is g^2 alone, and rounding of g = gradient + decay theta near 0 moves theta by any amount.
        "beta2": ((0.0,), 1 - log(1e-3, 1)) if inertia else ((0.5,), 1 - log(1e-3, 0.5)),
        # With less than 1e-3, 1 - mu_prod has few digits, in the plain rule too.
        "eps": ((1.0, 1.5), log(1e-3, 1)) if inertia else ((0.0,), log(1e-12, 1)),
        "weight_decay": ((0.0, 0.0), log(1e-5, 0.1)),
        "dampening": ((0.0, 1.0), unit_T),
        "partial": ((0.0, 0.125, 0.25, 0.5), 0.5 * unit_T),
        "final_lr": ((0.0,), log(1e-4, 1)),
        "gamma": ((0.0,), log(1e-5, 0.999)),
        "momentum_decay": ((0.0,), log(1e-4, 1)),
        "cprop_beta": ((0.999,), 1 - log(1e-3, 0.5)),
        "cprop_c": ((0.0, 1.0), log(1e-2, 1e2)),
        "cprop_eps": ((1e-8,), log(1e-12, 1e-2)),
    }[name]
    for place, value in enumerate(special):
        values = torch.where((choice_T * 12).long() == place, value, values)
    return values


def drawn_rows(rule: UpdateRule, count: int, seed: int) -> Rows:
    generator = generator_of(seed)
    rows = {}
    for h in rule.hyperparameters:
        unit_T, choice_T = torch.rand(2, count, generator=generator, dtype=torch.float64)
        rows[h.name] = drawn(h.name, rule, unit_T, choice_T)
        assert all(map(h.allows, rows[h.name].tolist()))
    return rows


def drawn_gradients(steps: int, rows: int, size: int, seed: int, dtype: torch.dtype) -> Iterator[Tensor]:
    """Of another scale for each row; a tenth of the elements is always zero."""
    scale_T1 = 10 ** (6 * torch.rand(rows, 1, generator=generator_of(seed), dtype=torch.float64) - 3)
    seen_P = torch.rand(size, generator=generator_of(seed)) < 0.9
    for step in range(steps):
        yield randn(rows, size, seed=seed + step, dtype=dtype).mul_(scale_T1).mul_(seen_P)


def allowance(rows: Rows, dtype: torch.dtype) -> Tensor:
    """Some roundings, relative to a movement, as a column: more where ``1 - beta^t`` or ``1 - mu_prod`` is small."""
    rest_T = torch.ones_like(rows["lr"])
    for name in {"beta1", "beta2", "momentum"} & set(rows):
        rest_T = torch.minimum(rest_T, 1 - rows[name])
    if "beta0" in rows:
        rest_T = torch.minimum(rest_T, rows["eps"])
    # CProp's scale is of a ratio of a mean and the root of a variance, in each of which digits cancel.
    roundings = 1024 if "cprop_beta" in rows else 64
    return (roundings * ROUNDING[dtype] / rest_T).unsqueeze(1)


def is_decoupled(rule: UpdateRule) -> bool:
    return rule.name in ("adaiw", "adamw") or rule.options.get("decoupled", False)


def copy_of(state: State) -> State:
    return type(state)._make(tensor.clone() for tensor in state)


def assert_within(actual_TP: Tensor, expected_TP: Tensor, allowed_TP: Tensor) -> None:
    """Finite where expected, and there no further off than allowed."""
    assert torch.equal(actual_TP.isfinite(), expected_TP.isfinite())
    off_TP = (actual_TP - expected_TP).abs()
    assert (off_TP <= allowed_TP)[expected_TP.isfinite()].all(), f"off by {(off_TP / allowed_TP).nan_to_num(0).max()}"


def sized_rows(rows: int, size: int) -> int:
    """As many rows as asked for, if that is not too many elements for a test."""
    return max(1, min(rows, 30_000 // size))


# The kernels beside the plain rules


def test_the_rules_with_a_kernel_are_these() -> None:
    adams = {"adam", "adamw", "amsgrad", "radam", "nadam", "padam", "adabound", "yogi", "adashift", "cprop_adam"}
    assert {name for name, _ in VARIANTS} == {"adai", "adaiw", "adaiv2", "sgd", "nesterov", "cprop_sgd"} | adams


@every_variant
@every_precision
@quick
@given(rows=st.integers(1, 40), size=st.sampled_from(EDGES) | st.integers(1, 20_000), seed=st.integers(0, 10_000))
def test_each_step_of_a_kernel_is_the_plain_step_from_the_same_place(
    variant: tuple[str, dict[str, Any]], dtype: torch.dtype, rows: int, size: int, seed: int
) -> None:
    rule = rule_of(variant)
    rows = sized_rows(rows, size)
    values, update_ = drawn_rows(rule, rows, seed), compiled_update(rule)
    theta_TP = randn(rows, size, seed=seed, dtype=dtype)
    state = rule.init(theta_TP)
    for grad_TP in drawn_gradients(STEPS, rows, size, seed + 1, dtype):
        compiled_TP, before_TP = theta_TP.clone(), theta_TP.clone()
        update_(compiled_TP, grad_TP.clone(), copy_of(state), values)
        rule.plain_update_(theta_TP, grad_TP.clone(), state, values)
        scale_TP = before_TP.abs() + (theta_TP - before_TP).abs()
        assert_within(compiled_TP, theta_TP, scale_TP * allowance(values, dtype))


@every_variant
@every_precision
@quick
@given(rows=st.integers(1, 40), size=st.sampled_from(EDGES) | st.integers(1, 20_000), seed=st.integers(0, 10_000))
def test_a_path_of_forty_steps_of_a_kernel_is_the_plain_path(
    variant: tuple[str, dict[str, Any]], dtype: torch.dtype, rows: int, size: int, seed: int
) -> None:
    rule = rule_of(variant)
    rows = sized_rows(rows, size)
    values, update_ = drawn_rows(rule, rows, seed), compiled_update(rule)
    if "weight_decay" in values and not is_decoupled(rule):
        values["weight_decay"].zero_()  # with it, gradients depend on the path, and rounding is fed back
    compiled_TP = randn(rows, size, seed=seed, dtype=dtype)
    plain_TP, way_TP = compiled_TP.clone(), compiled_TP.abs()
    compiled_state, plain_state = rule.init(compiled_TP), rule.init(plain_TP)
    for grad_TP in drawn_gradients(STEPS, rows, size, seed + 1, dtype):
        before_TP = plain_TP.clone()
        update_(compiled_TP, grad_TP.clone(), compiled_state, values)
        rule.plain_update_(plain_TP, grad_TP.clone(), plain_state, values)
        way_TP += (plain_TP - before_TP).abs()
        assert_within(compiled_TP, plain_TP, way_TP * allowance(values, dtype))


@pytest.mark.parametrize("name", ["adai", "adaiw"])
@every_precision
def test_without_inertia_bound_the_first_step_of_the_kernel_is_the_gradient(name: str, dtype: torch.dtype) -> None:
    # With eps = 0, 1 - mu and 1 - mu_prod are equal and may have hardly a digit; the gradient keeps all of its own.
    rule = get_rule(name)
    theta_TP = torch.zeros(3, 9000, dtype=dtype)
    grad_TP = randn(3, 9000, seed=0, dtype=dtype)
    grad_TP[:, 5] = 0
    rows = default_rows(rule, 3, eps=0.0, lr=0.5)
    compiled_update(rule)(theta_TP, grad_TP.clone(), rule.init(theta_TP), rows)
    # Where so little is left of 1 - mu that it rounds to 0, nothing moves.
    moved_TP = theta_TP != 0
    assert moved_TP[grad_TP.abs() > 100 * ROUNDING[dtype] ** 0.5].all()
    torch.testing.assert_close(theta_TP[moved_TP], -0.5 * grad_TP[moved_TP], rtol=4 * ROUNDING[dtype], atol=0)


def test_yogis_second_moment_stays_where_it_is_the_square_of_the_gradient() -> None:
    rule = get_rule("yogi", initial_accumulator=0.0)
    theta_TP = torch.zeros(1, 20)
    state = rule.init(theta_TP)
    for _ in range(3):
        compiled_update(rule)(theta_TP, torch.full((1, 20), 2.0), state, default_rows(rule, 1, beta2=0.0))
        assert (state.v_TP == 4).all()


# What bits may depend on


@every_variant
def test_a_kernels_bits_do_not_depend_on_the_number_of_threads(variant: tuple[str, dict[str, Any]]) -> None:
    rule = rule_of(variant)
    rows, size = 5, 95_003
    values = default_rows(rule, rows, weight_decay=0.01)
    start_TP = randn(rows, size, seed=0, dtype=torch.float32)
    gradients = [randn(rows, size, seed=1 + step, dtype=torch.float32) for step in range(2)]
    paths = []
    for threads in (1, 2, 3, 7):
        torch.set_num_threads(threads)
        assert threads_for(rows * size) == threads
        theta_TP = start_TP.clone()
        state = rule.init(theta_TP)
        for grad_TP in gradients:
            compiled_update(rule)(theta_TP, grad_TP.clone(), state, values)
        paths.append([theta_TP, *state])
    for path in paths[1:]:
        assert all(map(torch.equal, path, paths[0]))


def test_small_jobs_start_no_threads_and_no_job_more_than_torch_uses() -> None:
    torch.set_num_threads(3)
    assert [threads_for(elements) for elements in (0, 1, 131_071, 131_072, 10**9)] == [1, 1, 1, 2, 3]


@every_variant
@every_precision
def test_a_rows_bits_do_not_depend_on_its_place_or_company(
    variant: tuple[str, dict[str, Any]], dtype: torch.dtype
) -> None:
    rule = rule_of(variant)
    rows, size = 6, 8193
    values = drawn_rows(rule, rows, seed=3)
    start_TP = randn(rows, size, seed=0, dtype=dtype)
    gradients = list(drawn_gradients(6, rows, size, 1, dtype))

    def path(selection: list[int]) -> Tensor:
        theta_TP = start_TP[selection].clone()
        state = rule.init(theta_TP)
        chosen = {name: values_T[selection] for name, values_T in values.items()}
        for grad_TP in gradients:
            compiled_update(rule)(theta_TP, grad_TP[selection], state, chosen)
        return theta_TP

    together = path(list(range(rows)))
    for selection in ([5, 4, 3, 2, 1, 0], [2, 2, 2], *([row] for row in range(rows))):
        assert_same_bits(path(selection), together[selection])


def assert_same_bits(actual: Tensor, expected: Tensor) -> None:
    """NaN equals NaN, and 0 is not -0."""
    whole = {torch.float32: torch.int32, torch.float64: torch.int64}[actual.dtype]
    assert torch.equal(actual.view(whole), expected.view(whole))


@every_variant
@every_precision
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_poisoned_gradient_spoils_what_it_spoils_by_the_plain_rule_and_no_other_row(
    variant: tuple[str, dict[str, Any]], dtype: torch.dtype, poison: float
) -> None:
    rule = rule_of(variant)
    rows, size, poisoned = 4, 1030, (1, 3)
    values = default_rows(rule, rows, weight_decay=0.01)
    start_TP = randn(rows, size, seed=0, dtype=dtype)

    def path(update_: Update, poison: float) -> Tensor:
        theta_TP = start_TP.clone()
        state = rule.init(theta_TP)
        for step in range(8):
            grad_TP = randn(rows, size, seed=1 + step, dtype=dtype)
            if step == 3:
                grad_TP[poisoned, (7, 1029)] *= poison
            update_(theta_TP, grad_TP, state, values)
        return theta_TP

    compiled, plain = (path(update_, poison) for update_ in (compiled_update(rule), rule.plain_update_))
    clean = path(compiled_update(rule), 1.0)
    assert torch.equal(compiled.isnan(), plain.isnan())
    assert torch.equal(compiled.isinf(), plain.isinf())
    assert not compiled[poisoned, (7, 1029)].isfinite().any()
    for row in {0, 1, 2, 3} - set(poisoned):
        assert_same_bits(compiled[row], clean[row])


@every_variant
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_rows_without_elements_and_no_rows_are_stepped_without_harm(
    variant: tuple[str, dict[str, Any]], shape: tuple[int, int]
) -> None:
    rule = rule_of(variant)
    theta_TP = torch.zeros(shape)
    state = rule.init(theta_TP)
    for _ in range(2):
        rule.update_(theta_TP, theta_TP.clone(), state, default_rows(rule, shape[0]))
    assert theta_TP.shape == shape
    if hasattr(state, "step_T"):
        assert state.step_T.tolist() == [2] * shape[0]


# Chunks whose product of inertias no longer matters


def retired_run(eps: float, *, steps: int = STEPS, renew: bool = False, **changed: float) -> tuple[Tensor, Any, Tensor]:
    """Two rows of three chunks each; the first element never sees a gradient, and so its inertia stays at the bound.

    Returns:
        Parameters and state of the kernel, and parameters of the plain rule.
    """
    rule = get_rule("adai")
    rows = default_rows(rule, 2, eps=eps, lr=0.1, **changed)
    theta_TP = randn(2, 2 * CHUNK + 100, seed=0, dtype=torch.float32)
    plain_TP = theta_TP.clone()
    state, plain_state = rule.init(theta_TP), rule.init(plain_TP)
    for step in range(steps):
        grad_TP = randn(*theta_TP.shape, seed=1 + step, dtype=torch.float32)
        grad_TP[:, 0] = 0
        if renew:
            state.retired_TC.zero_()
        flagged = state.retired_TC.bool()
        compiled_update(rule)(theta_TP, grad_TP.clone(), state, rows)
        rule.plain_update_(plain_TP, grad_TP, plain_state, rows)
        largest_TC = torch.stack([c.abs().amax(dim=1) for c in state.mu_prod_TP.split(CHUNK, dim=1)], dim=1)
        plain_TC = torch.stack([c.abs().amax(dim=1) for c in plain_state.mu_prod_TP.split(CHUNK, dim=1)], dim=1)
        # A flag is never set while a product matters, never withdrawn, and set as soon as none does.
        assert (1 - largest_TC[state.retired_TC.bool()] == 1).all()
        assert state.retired_TC.bool()[flagged].all()
        if eps <= 1:
            assert torch.equal(state.retired_TC.bool(), plain_TC <= 2.0**-25)
    return theta_TP, state, plain_TP


def test_chunks_are_retired_once_their_products_are_negligible_and_the_path_is_the_same_to_the_bit() -> None:
    retired_TP, state, plain_TP = retired_run(eps=0.5)
    assert state.retired_TC.all()
    watched_TP, _, _ = retired_run(eps=0.5, renew=True)
    assert_same_bits(retired_TP, watched_TP)
    torch.testing.assert_close(retired_TP, plain_TP, rtol=1e-6, atol=1e-6)


def test_a_chunk_with_one_product_that_matters_is_not_retired_while_others_are() -> None:
    # beta0 so large that all inertias are 0, but that of the element without gradient.
    _, state, _ = retired_run(eps=1e-3, beta0=1e12)
    assert state.retired_TC.tolist() == [[0, 1, 1], [0, 1, 1]]


def test_products_that_stay_near_one_are_never_retired() -> None:
    _, state, _ = retired_run(eps=1e-3, beta0=0.0)
    assert not state.retired_TC.any()


@pytest.mark.parametrize("eps", [1.2, 2.5])
def test_with_an_inertia_bound_below_zero_nothing_is_retired_because_products_may_grow(eps: float) -> None:
    # 2.5: mu is -1.5. The first step's product may be small, the last one's is not.
    theta_TP, state, plain_TP = retired_run(eps=eps, steps=30)
    assert not state.retired_TC.any()
    torch.testing.assert_close(theta_TP, plain_TP, rtol=1e-4, atol=1e-4)
    if eps < 2:
        assert (state.mu_prod_TP.abs() < 2.0**-25).all()


def test_dampened_inertia_is_never_retired() -> None:
    rule = get_rule("adaiv2")
    theta_TP = torch.zeros(1, 10)
    state = rule.init(theta_TP)
    for step in range(STEPS):
        rows = default_rows(rule, 1, eps=0.9, dampening=0.5)
        compiled_update(rule)(theta_TP, randn(1, 10, seed=step, dtype=torch.float32), state, rows)
    assert (state.mu_prod_TP < 2.0**-25).all()
    assert not state.retired_TC.any()


def test_rows_that_are_selected_keep_the_flags_of_their_chunks() -> None:
    rule = get_rule("adai")
    rows = default_rows(rule, 3)
    rows["eps"] = torch.tensor([0.5, 1e-3, 0.5], dtype=torch.float64)
    rows["beta0"] = torch.zeros(3, dtype=torch.float64)  # so that mu is 1 - eps, and only eps tells who is retired
    theta_TP = torch.zeros(3, CHUNK + 1)
    state = rule.init(theta_TP)
    for step in range(30):
        compiled_update(rule)(theta_TP, randn(3, CHUNK + 1, seed=step, dtype=torch.float32), state, rows)
    assert select_rows(state, torch.tensor([2, 1])).retired_TC.tolist() == [[1, 1], [0, 0]]
    kept = select_rows(state, torch.tensor([False, True, True]))
    assert kept.retired_TC.tolist() == [[0, 0], [1, 1]]
    alone_TP = theta_TP[1:].clone()
    grad_TP = randn(3, CHUNK + 1, seed=99, dtype=torch.float32)
    compiled_update(rule)(theta_TP, grad_TP.clone(), state, rows)
    compiled_update(rule)(alone_TP, grad_TP[1:].clone(), kept, {name: values[1:] for name, values in rows.items()})
    assert_same_bits(alone_TP, theta_TP[1:])


# What kernels do not take


def as_slice(tensor: Tensor) -> Tensor:
    *shape, size = tensor.shape
    wide = tensor.new_zeros(*shape, size + 7)
    wide[..., 3:-4] = tensor
    return wide[..., 3:-4]


def as_transposed(tensor: Tensor) -> Tensor:
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


@every_variant
@pytest.mark.parametrize("layout", [as_slice, as_transposed])
@pytest.mark.parametrize("which", ["rows", "gradients", "both", "state"])
def test_rows_that_are_not_contiguous_are_stepped_by_the_plain_rule_to_the_same_numbers(
    variant: tuple[str, dict[str, Any]], layout: Callable[[Tensor], Tensor], which: str
) -> None:
    rule = rule_of(variant)
    kernel = kernel_of(rule)
    values = default_rows(rule, 3, weight_decay=0.01)
    start_TP = randn(3, 50, seed=0, dtype=torch.float64)
    theta_TP = layout(start_TP) if which in ("rows", "both") else start_TP.clone()
    plain_TP, compiled_TP = start_TP.clone(), start_TP.clone()
    state, plain_state, compiled_state = (rule.init(rows_TP) for rows_TP in (start_TP, plain_TP, compiled_TP))
    if which == "state":
        state = state._replace(**{kernel.arrays[0]: layout(getattr(state, kernel.arrays[0]))})
    for step in range(4):
        grad_TP = randn(3, 50, seed=1 + step, dtype=torch.float64)
        laid_TP = layout(grad_TP) if which in ("gradients", "both") else grad_TP.clone()
        assert not kernel.takes(theta_TP, laid_TP, state)
        rule.update_(theta_TP, laid_TP, state, values)
        rule.plain_update_(plain_TP, grad_TP.clone(), plain_state, values)
        compiled_update(rule)(compiled_TP, grad_TP.clone(), compiled_state, values)
    torch.testing.assert_close(theta_TP, plain_TP, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(theta_TP, compiled_TP, rtol=1e-12, atol=1e-12)


@every_variant
def test_a_state_of_other_rows_is_refused_before_a_kernel_reads_beyond_it(
    variant: tuple[str, dict[str, Any]],
) -> None:
    rule = rule_of(variant)
    theta_TP = torch.ones(3, 50)
    for other_TP in (torch.ones(2, 50), torch.ones(3, 49), torch.ones(3, 50, dtype=torch.float64)):
        assert not kernel_of(rule).takes(theta_TP, torch.ones(3, 50), rule.init(other_TP))
    with pytest.raises((RuntimeError, IndexError), match=r"size|shape"):
        rule.update_(theta_TP, torch.ones(3, 50), rule.init(torch.ones(2, 50)), default_rows(rule, 3))
    assert not kernel_of(rule).takes(theta_TP, torch.ones(1, 50))


@every_variant
@pytest.mark.parametrize(
    ("rows", "gradients"),
    [
        ({"dtype": torch.float16}, {"dtype": torch.float16}),
        ({"dtype": torch.bfloat16}, {"dtype": torch.bfloat16}),
        ({"dtype": torch.float64}, {"dtype": torch.float32}),
        ({"dtype": torch.float32}, {"dtype": torch.float64}),
        ({"device": "meta"}, {"device": "meta"}),
    ],
)
def test_other_precisions_and_devices_are_not_taken(
    variant: tuple[str, dict[str, Any]], rows: dict[str, Any], gradients: dict[str, Any]
) -> None:
    rule = rule_of(variant)
    assert not kernel_of(rule).takes(torch.ones(2, 3, **rows), torch.ones(2, 3, **gradients))
    assert kernel_of(rule).takes(torch.ones(2, 3), torch.ones(2, 3))


@every_variant
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_in_half_precision_are_refused(variant: tuple[str, dict[str, Any]], dtype: torch.dtype) -> None:
    rule = rule_of(variant)
    theta_TP = torch.ones(2, 5, dtype=dtype)
    with pytest.raises(TypeError, match=f"{rule.name}: rows must be float32 or float64, not {dtype}"):
        rule.update_(theta_TP, torch.ones_like(theta_TP), rule.init(theta_TP), default_rows(rule, 2))
    assert (theta_TP == 1).all()
    assert str(dtype) in why_unavailable(dtype)


def test_autograd_refuses_to_go_back_through_rows_that_a_kernel_has_overwritten() -> None:
    rule = get_rule("sgd")
    theta_TP = torch.ones(2, 3)
    inputs_TP = torch.ones(2, 3, requires_grad=True)
    loss = (theta_TP * inputs_TP).sum()
    compiled_update(rule)(theta_TP, torch.ones(2, 3), rule.init(theta_TP), default_rows(rule, 2))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# Compilers and caches that are missing, broken or lying


@pytest.fixture(scope="module")
def processes() -> Iterator[FreshProcesses]:
    server = FreshProcesses()
    yield server
    server.close()


@pytest.fixture(scope="module")
def quick_compiler(tmp_path_factory: pytest.TempPathFactory) -> str:
    """gcc, told not to spend time on making the result fast."""
    body = f'for word; do shift; [ "$word" = -O3 ] && word=-O0; set -- "$@" "$word"; done; exec {GCC} "$@"'
    return compiler_script(tmp_path_factory.mktemp("compiler") / "cc", body)


@pytest.fixture
def environment(tmp_path: Path, quick_compiler: str) -> dict[str, str]:
    """A process's own cache and temporary folder, and the quick compiler."""
    (tmp_path / "tmp").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "CC": quick_compiler,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path / "tmp"),
    }


#: Of a compiler that has made its file elsewhere.
COPY_TO_OUTPUT = 'while [ $# -gt 0 ]; do [ "$1" = -o ] && cp "$0.so" "$2"; shift; done'


def compiler_script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def patching_compiler(path: Path, expression: str) -> str:
    """gcc, but for a change of the source, and without optimization."""
    return compiler_script(
        path,
        f"""
for word; do
    shift
    case "$word" in
        *kernels.c) sed '{expression}' "$word" > "$0.c"; word="$0.c" ;;
        -O3) word=-O0 ;;
    esac
    set -- "$@" "$word"
done
exec {GCC} "$@"
""",
    )


def assert_compiled(said: Mapping[str, Any]) -> None:
    assert said["compiled"]
    assert said["refusal"] is None
    assert said["warnings"] == []
    assert said["insisted"] == said["unasked"] != said["plain"]
    assert_right(said)


def assert_plain(said: Mapping[str, Any], *reasons: str) -> None:
    """The plain step was taken unasked, and the compiled one refused with all these reasons."""
    assert said["unasked"] == said["plain"]
    assert "insisted" not in said
    for reason in ("Adai: fused=True cannot be had", *reasons, "use fused=None or False"):
        assert reason in said["refusal"]
    assert_right(said)


def assert_right(said: Mapping[str, Any]) -> None:
    expected = torch.tensor(take_steps(fused=False))
    for way in {"unasked", "insisted", "plain"} & set(said):
        torch.testing.assert_close(torch.tensor(said[way]), expected, rtol=1e-12, atol=1e-12)


def cached_libraries(environment: Mapping[str, str]) -> list[Path]:
    return sorted(Path(environment["XDG_CACHE_HOME"], "adai").glob("*.so"))


def test_a_new_process_compiles_once_and_the_next_one_takes_what_it_kept(
    processes: FreshProcesses, environment: dict[str, str]
) -> None:
    del environment["CC"]  # all as users have it
    assert_compiled(processes.run(environment))
    (kept,) = cached_libraries(environment)
    before = kept.stat()
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    said = processes.run(environment)
    assert_compiled(said)
    assert said["libraries"] == [str(kept)]
    assert (before.st_ino, before.st_mtime_ns) == (kept.stat().st_ino, kept.stat().st_mtime_ns)
    assert list(kept.parent.iterdir()) == [kept]


@pytest.mark.parametrize(
    ("cc", "reason"),
    [
        (None, "no C compiler was found (cc, gcc, clang); install one or set CC to its path"),
        ("", "no C compiler was found (cc, gcc, clang); install one or set CC to its path"),
        ("gcc", "CC is 'gcc', and there is no program 'gcc'; set CC to a C compiler"),
    ],
)
def test_without_a_compiler_the_plain_step_is_taken_silently_and_insisting_names_the_reason(
    processes: FreshProcesses, environment: dict[str, str], tmp_path: Path, cc: str | None, reason: str
) -> None:
    del environment["CC"]
    nowhere = {**environment, "PATH": str(tmp_path / "empty")} | ({} if cc is None else {"CC": cc})
    said = processes.run(nowhere)
    assert_plain(said, reason)
    assert said["warnings"] == []
    assert not said["compiled"]


@pytest.mark.parametrize("cc", ["/nonexistent/cc", "/nonexistent/cc -O1", "'unbalanced"])
def test_a_compiler_that_is_asked_for_and_does_not_exist_is_not_silently_replaced(
    processes: FreshProcesses, environment: dict[str, str], cc: str
) -> None:
    said = processes.run({**environment, "CC": cc})
    assert_plain(said, f"CC is {cc!r}")
    assert said["warnings"] == []


def test_a_compiler_may_be_asked_for_with_options(processes: FreshProcesses, environment: dict[str, str]) -> None:
    assert_compiled(processes.run({**environment, "CC": f"{environment['CC']} -DNAMED_BY_CC"}))
    assert_compiled(processes.run(environment))
    assert len(cached_libraries(environment)) == 2  # what options make is not taken for what is made without them


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("exit 1", "cannot compile"),
        ('[ "$1" = --version ] && exit 0; echo "no space left" >&2; exit 1', "no space left"),
        ('[ "$1" = --version ] && exit 0; exit 0', "cannot be built or loaded"),
        ("""printf '\\377\\376\\n'; [ "$1" = --version ] && exit 0; printf '\\377' >&2; exit 1""", "cannot compile"),
        ('while [ $# -gt 0 ]; do [ "$1" = -o ] && yes garbage | head -1000 > "$2"; shift; done', "invalid ELF header"),
        ('while [ $# -gt 0 ]; do [ "$1" = -o ] && : > "$2"; shift; done', "file too short"),
        (
            f'[ "$1" = --version ] && exit 0; echo | {GCC} -shared -x c -o "$0.so" -; {COPY_TO_OUTPUT}',
            "without functions",
        ),
        ("exec /nonexistent/interpreter", "cannot compile"),
    ],
    ids=["false", "fails", "nothing", "not-utf8", "garbage", "empty", "other-library", "not-found"],
)
def test_a_broken_compiler_is_as_good_as_none_and_named(
    processes: FreshProcesses, environment: dict[str, str], tmp_path: Path, body: str, reason: str
) -> None:
    compiler = compiler_script(tmp_path / "cc", body)
    for _ in range(2):  # what it left behind does no harm either
        said = processes.run({**environment, "CC": compiler})
        assert_plain(said, compiler, reason)
        assert said["warnings"] == []
        assert not said["compiled"]


def test_bin_false_is_no_compiler(processes: FreshProcesses, environment: dict[str, str]) -> None:
    assert_plain(processes.run({**environment, "CC": "/bin/false"}), "/bin/false cannot compile")


@pytest.mark.parametrize(
    "expression",
    [
        r"s/lr \* move/lr * move * 2/",
        r"s/lr \* move/lr * move * 1.0000001/",
        r"s/t \* shrink - lr/t - lr/;s/sign \* grad\[k\] + couple \* t;/sign * grad[k];/",
        r"s/m\[k\] = m_new;/m[k] = 0;/",
        r"s/return total\[0\]/return total[0] * 0.5/",
        r"s/v\[k\] = beta2 \* v\[k\] + rest2 \* (g \* g)/v[k] = g * g/",
    ],
)
def test_a_compiler_that_makes_wrong_kernels_is_found_out_and_the_plain_step_taken(
    processes: FreshProcesses, environment: dict[str, str], tmp_path: Path, expression: str
) -> None:
    compiler = patching_compiler(tmp_path / "cc", expression)
    said = processes.run({**environment, "CC": compiler})
    assert Path(f"{compiler}.c").read_text() != KERNELS.read_text()
    assert said["compiled"]  # it can be loaded
    (warning,) = said["warnings"]
    assert warning.startswith("RuntimeWarning: the compiled step of adai in torch.float64 does not compute")
    assert_plain(said, "it does not compute on this machine what the rule says")


@pytest.mark.parametrize("keep", [0, 3, 100, 1000, 4096, 10_000, -5000, -1])
def test_a_cached_library_that_was_cut_off_is_compiled_anew(
    processes: FreshProcesses, environment: dict[str, str], keep: int
) -> None:
    # The loader maps such a file and the process dies by SIGBUS.
    assert_compiled(processes.run(environment))
    (kept,) = cached_libraries(environment)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:keep])
    assert_compiled(processes.run(environment))
    assert cached_libraries(environment) == [kept]
    assert kept.read_bytes() == whole


def test_a_cached_library_with_a_changed_byte_is_not_loaded(
    processes: FreshProcesses, environment: dict[str, str]
) -> None:
    processes.run(environment)
    (kept,) = cached_libraries(environment)
    whole = kept.read_bytes()
    middle = len(whole) // 2
    kept.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert_compiled(processes.run(environment))
    assert kept.read_bytes() == whole


def plant(environment: Mapping[str, str], marker: Path) -> None:
    """Put in the place of the cached library one that leaves a trace where it is loaded."""
    (kept,) = cached_libraries(environment)
    source = f'#include <stdio.h>\n__attribute__((constructor)) void run(void) {{ fclose(fopen("{marker}", "w")); }}'
    evil = marker.with_suffix(".so")
    subprocess.run([GCC, "-shared", "-fPIC", "-x", "c", "-", "-o", evil], input=source, text=True, check=True)
    name = kept.stem.rpartition("-")[0]
    kept.unlink()
    shutil.copy(evil, kept.with_name(f"{name}-{sha256(evil.read_bytes()).hexdigest()[:24]}.so"))


def test_what_lies_in_the_users_own_cache_is_run(
    processes: FreshProcesses, environment: dict[str, str], tmp_path: Path
) -> None:
    # So the tests below would notice.
    processes.run(environment)
    plant(environment, tmp_path / "marker")
    assert_plain(processes.run(environment), "without functions")
    assert (tmp_path / "marker").exists()


def let_others_write(folder: Path) -> None:
    folder.chmod(0o777)


def let_the_group_write(folder: Path) -> None:
    folder.chmod(0o770)


def give_away(folder: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(folder, 54321, 54321)


@pytest.mark.parametrize("expose", [let_others_write, let_the_group_write, give_away])
def test_nothing_is_run_from_a_cache_that_others_can_write(
    processes: FreshProcesses, environment: dict[str, str], tmp_path: Path, expose: Callable[[Path], None]
) -> None:
    processes.run(environment)
    plant(environment, tmp_path / "marker")
    (planted,) = cached_libraries(environment)
    content = planted.read_bytes()
    expose(planted.parent)
    said = processes.run(environment)
    assert_compiled(said)
    assert not (tmp_path / "marker").exists()
    assert not any(library.startswith(environment["XDG_CACHE_HOME"]) for library in said["libraries"])
    assert planted.read_bytes() == content
    assert list(Path(environment["TMPDIR"]).glob("adai-*")) == []


@pytest.mark.parametrize("place", ["/dev/null", "/proc/self"])
def test_a_cache_that_cannot_be_written_is_done_without_and_nothing_is_left_behind(
    processes: FreshProcesses, environment: dict[str, str], place: str
) -> None:
    said = processes.run({**environment, "XDG_CACHE_HOME": place})
    assert_compiled(said)
    assert len(said["libraries"]) == 1
    assert list(Path(environment["TMPDIR"]).glob("adai-*")) == []


def test_a_read_only_cache_is_done_without(processes: FreshProcesses, environment: dict[str, str]) -> None:
    folder = Path(environment["XDG_CACHE_HOME"], "adai")
    folder.mkdir(parents=True)
    folder.chmod(0o500)  # which does not stop root
    assert_compiled(processes.run(environment))
    folder.chmod(0o700)
    assert (cached_libraries(environment) != []) == (os.getuid() == 0)


def test_a_user_without_a_home_gets_numbers(processes: FreshProcesses, environment: dict[str, str]) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become a user without a home")
    Path(environment["TMPDIR"]).chmod(0o777)
    nobody = {"PATH": environment["PATH"], "TMPDIR": environment["TMPDIR"]}
    said = processes.run(nobody, uid=54321)
    assert_right(said)
    assert said["warnings"] == []


def test_processes_that_compile_at_the_same_time_all_get_the_right_numbers(
    processes: FreshProcesses, environment: dict[str, str]
) -> None:
    together = processes.run_together(6, environment)
    assert len(together) == 6
    for said in together:
        assert_compiled(said)
    assert len({tuple(said["insisted"]) for said in together}) == 1
    (kept,) = cached_libraries(environment)
    assert list(kept.parent.iterdir()) == [kept]


def test_a_process_forked_after_threads_were_used_gets_the_same_numbers(
    processes: FreshProcesses, environment: dict[str, str]
) -> None:
    said = processes.run(environment, fork=True)
    assert_compiled(said)
    assert said["forked"] is True


def test_this_machines_own_compiler_is_not_found_out() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for variant in VARIANTS:
            rule = rule_of(variant)
            for dtype in (torch.float32, torch.float64):
                assert library(dtype) is not None, why_unavailable(dtype)
                theta_TP = torch.ones(1, 3, dtype=dtype)
                assert rule.is_compiled_for(theta_TP, theta_TP)
