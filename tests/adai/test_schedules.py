"""Learning rate schedules beside torch's schedulers, closed forms and numbers worked out by hand."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adai.schedules import Schedule, constant, cosine, one_cycle, step, warm_up

quick = settings(max_examples=50, derandomize=True)
shares = st.floats(0, 1)
inside = st.floats(0.01, 0.99)
schedules = st.recursive(
    st.one_of(
        st.builds(constant),
        st.builds(step, st.lists(inside, max_size=5, unique=True).map(sorted), st.floats(1e-3, 1)),
        st.builds(cosine, shares),
        st.builds(one_cycle, inside, shares, shares),
    ),
    lambda inner: st.builds(warm_up, st.floats(0, 0.99), inner, shares),
    max_leaves=3,
)
EXAMPLES = [constant(), step(), cosine(0.1), warm_up(0.2, cosine()), one_cycle()]


def grid(points: int = 1001) -> list[float]:
    return [i / (points - 1) for i in range(points)]


def torch_factors(make: Callable[[torch.optim.Optimizer], Any], epochs: int) -> list[float]:
    """The learning rates of ``epochs`` epochs under one of torch's schedulers, relative to the base rate."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in range(epochs):
        factors.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return factors


def test_constant_changes_nothing() -> None:
    assert {constant()(progress) for progress in grid()} == {1.0}


def test_step_divides_by_ten_exactly_at_epochs_80_and_160_of_200() -> None:
    factors = [step()(epoch / 200) for epoch in range(200)]
    assert factors == pytest.approx([1.0] * 80 + [0.1] * 80 + [0.01] * 40, rel=1e-15)


def test_step_is_torchs_multi_step_schedule() -> None:
    factors = [step((0.25, 0.5, 0.75), 0.5)(epoch / 100) for epoch in range(100)]
    expected = torch_factors(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [25, 50, 75], gamma=0.5), 100)
    assert factors == pytest.approx(expected, rel=1e-12)


def test_step_without_milestones_is_constant_and_may_raise_the_rate() -> None:
    assert step(())(0.7) == 1.0
    assert [step((0.5,), 3.0)(progress) for progress in (0.0, 0.499, 0.5, 1.0)] == [1.0, 1.0, 3.0, 3.0]


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_cosine_is_torchs_annealing(final: float) -> None:
    # T_max is the number of epochs: torch gets to eta_min after the last one.
    expected = torch_factors(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40, eta_min=final), 40)
    assert [cosine(final)(epoch / 40) for epoch in range(40)] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_cosine_goes_through_known_points() -> None:
    half = math.sqrt(0.5) / 2
    expected = [1.0, 0.5 + half, 0.5, 0.5 - half, 0.0]
    assert [cosine()(progress) for progress in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(expected, abs=1e-15)
    assert cosine(0.2)(1.0) == pytest.approx(0.2)


def test_warm_up_rises_linearly_and_then_follows_the_rest_of_the_budget() -> None:
    schedule = warm_up(0.2, step((0.5,), 0.1), start=0.4)
    # 0.6 is half of what is left after 0.2.
    at = {0.0: 0.4, 0.05: 0.55, 0.1: 0.7, 0.15: 0.85, 0.2: 1.0, 0.5999: 1.0, 0.6001: 0.1, 1.0: 0.1}
    assert [schedule(progress) for progress in at] == pytest.approx(list(at.values()), rel=1e-12)


def test_warm_up_and_cosine_are_torchs_linear_then_cosine_schedules() -> None:
    def make(optimizer: torch.optim.Optimizer) -> Any:
        rise = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=10)
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
        return torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[10])

    factors = [warm_up(0.2, cosine(), start=0.1)(epoch / 50) for epoch in range(50)]
    assert factors == pytest.approx(torch_factors(make, 50), rel=1e-9, abs=1e-12)


def test_warm_up_over_nothing_is_the_schedule_after_it() -> None:
    assert [warm_up(0.0, cosine())(p) for p in grid()] == [cosine()(p) for p in grid()]


def test_warm_up_rises_to_where_the_schedule_after_it_starts() -> None:
    schedule = warm_up(0.5, one_cycle(start=0.25), start=0.05)
    assert [schedule(p) for p in (0.0, 0.25, 0.5)] == pytest.approx([0.05, 0.15, 0.25])


def one_cycle_by_hand(progress: float, peak: float, start: float, final: float) -> float:
    """A cosine between two values, ``a + (b - a) sin(pi x / 2)^2``, up to the peak and down from it."""
    low, high, x = (start, 1.0, progress / peak) if progress < peak else (1.0, final, (progress - peak) / (1 - peak))
    return low + (high - low) * math.sin(math.pi * x / 2) ** 2


@quick
@given(progress=shares, peak=inside, start=shares, final=shares)
def test_one_cycle_is_two_half_waves(progress: float, peak: float, start: float, final: float) -> None:
    expected = one_cycle_by_hand(progress, peak, start, final)
    assert one_cycle(peak, start, final)(progress) == pytest.approx(expected, abs=1e-12)


def test_one_cycle_by_default_is_torchs() -> None:
    # Torch counts the peak from 1: of 1001 steps, the 301st has progress 0.3 and the last has progress 1.
    expected = torch_factors(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=1001, pct_start=301 / 1001), 1001
    )
    assert [one_cycle()(progress) for progress in grid()] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert [one_cycle()(progress) for progress in (0.0, 0.3, 1.0)] == pytest.approx([1 / 25, 1, 1 / 25e4], abs=1e-15)


@quick
@given(schedule=schedules, progress=shares)
def test_a_factor_lies_between_zero_and_one(schedule: Schedule, progress: float) -> None:
    assert 0 <= schedule(progress) <= 1


@quick
@given(schedule=schedules, order=st.lists(shares, min_size=1, max_size=8))
def test_a_schedule_remembers_nothing(schedule: Schedule, order: list[float]) -> None:
    alone = {progress: schedule(progress) for progress in sorted(order)}
    assert [schedule(progress) for progress in order] == [alone[progress] for progress in order]


def test_a_list_of_milestones_may_change_afterwards() -> None:
    milestones = [0.5]
    schedule = step(milestones)
    milestones[0] = 0.1
    assert [schedule(progress) for progress in (0.2, 0.5)] == [1.0, 0.1]


def test_a_warm_up_over_next_to_nothing_does_not_overshoot() -> None:
    # The smallest numbers there are: a product with one of them is rounded to a whole multiple.
    assert 0.7 <= warm_up(3 * 5e-324, constant(), start=0.7)(2 * 5e-324) <= 1


def falls(values: Sequence[float]) -> bool:
    return all(a >= b for a, b in itertools.pairwise(values))


def test_schedules_rise_and_fall_where_they_should() -> None:
    assert falls([step()(p) for p in grid()])
    assert falls([cosine(0.3)(p) for p in grid()])
    for schedule, turn in ((warm_up(0.2, cosine()), 200), (one_cycle(), 300)):
        values = [schedule(p) for p in grid()]
        assert falls(values[turn::-1])
        assert falls(values[turn:])
        assert values[turn] == pytest.approx(1.0)
        assert max(values[0], values[-1]) < 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: step((0.5, 0.4)), r"step: milestones must increase and lie in \(0, 1\), not \(0.5, 0.4\)"),
        (lambda: step((0.5, 0.5)), r"milestones .* not \(0.5, 0.5\)"),
        (lambda: step((0.0, 0.5)), r"milestones .* not \(0.0, 0.5\)"),
        (lambda: step((0.5, 1.0)), r"milestones .* not \(0.5, 1.0\)"),
        (lambda: step((math.nan,)), r"milestones .* not \(nan,\)"),
        (lambda: step(factor=0.0), r"step: factor must be above 0 and finite, not 0.0"),
        (lambda: step(factor=math.inf), "factor .* not inf"),
        (lambda: step(factor=math.nan), "factor .* not nan"),
        (lambda: cosine(-0.1), "cosine: final must be from 0 to 1, not -0.1"),
        (lambda: cosine(1.5), "cosine: final .* not 1.5"),
        (lambda: cosine(math.nan), "cosine: final .* not nan"),
        (lambda: warm_up(1.0, constant()), "warm_up: share must be at least 0 and below 1, not 1.0"),
        (lambda: warm_up(-0.1, constant()), "warm_up: share .* not -0.1"),
        (lambda: warm_up(math.nan, constant()), "warm_up: share .* not nan"),
        (lambda: warm_up(0.1, constant(), start=2.0), "warm_up: start must be from 0 to 1, not 2.0"),
        (lambda: one_cycle(0.0), r"one_cycle: peak must lie in \(0, 1\), not 0.0"),
        (lambda: one_cycle(1.0), "one_cycle: peak .* not 1.0"),
        (lambda: one_cycle(start=1.1), "one_cycle: start must be from 0 to 1, not 1.1"),
        (lambda: one_cycle(final=-1.0), "one_cycle: final must be from 0 to 1, not -1.0"),
    ],
)
def test_an_argument_out_of_its_range_is_refused_by_name_and_value(make: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("progress", [-1e-9, 1.0000001, math.nan, math.inf])
@pytest.mark.parametrize("schedule", EXAMPLES, ids=["constant", "step", "cosine", "warm_up", "one_cycle"])
def test_progress_outside_the_budget_is_refused(schedule: Schedule, progress: float) -> None:
    with pytest.raises(ValueError, match=f"progress must be from 0 to 1, not {progress!r}".replace("+", r"\+")):
        schedule(progress)
