"""Designs made up front: where their points lie, how many there are, and what moves none of them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from study.cube import DIMENSIONS, unit_points
from study.design import PlannedTrial, plan_trials
from study.errors import SpecError
from study.placement import count_settings
from study.spec import StudySpec
from study.spec_file import parse_spec
from workers.random import Purpose

BASE = """
name = "s"
workloads = ["digits-logistic"]
study_seed = {seed}
[design]
{design}
[[optimizers]]
name = "adam"
{optimizer}
"""
#: The hash that version 0.3.0 gave beta1 from 0 to 0.5 with 4 points.
BETA_FROM_0 = "92ade1ed64638f6510b721bcc42267fe44ff4f43372ba0e9b158889bf6ca658a"
LR_AND_BETA = """[optimizers.axes]
lr = { low = 1e-3, high = 10.0, scale = "log" }
beta1 = { low = 0.5, high = 0.75 }
"""


def spec_of(design: str, optimizer: str = LR_AND_BETA, *, seed: int = 0) -> StudySpec:
    return parse_spec(BASE.format(seed=seed, design=design, optimizer=optimizer), source="s.toml")


def points_of(spec: StudySpec) -> list[PlannedTrial]:
    return [trial for trial in plan_trials(spec) if trial.origin == "design"]


def settings_of(spec: StudySpec, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(trial.hyperparameters[name] for name in names) for trial in points_of(spec)]


# Points of the cube


@pytest.mark.parametrize("kind", ["halton", "latin_hypercube"])
def test_points_are_more_even_than_random_ones(kind: Any) -> None:
    for seed in range(3):
        even = unit_points(kind, 128, seed)
        random = unit_points("random", 128, seed)
        assert even.shape == (128, DIMENSIONS)
        assert ((even >= 0) & (even < 1)).all()
        # A Latin hypercube is even along each axis, Halton points in the first ones together.
        columns = [[0, 1, 2, 3]] if kind == "halton" else [[column] for column in range(DIMENSIONS)]
        for chosen in columns:
            assert qmc.discrepancy(even[:, chosen]) < qmc.discrepancy(random[:, chosen]) / 2


@given(points=st.integers(1, 60), seed=st.integers(0, 2**63 - 1))
def test_a_latin_hypercube_has_one_point_in_each_stratum_of_each_axis(points: int, seed: int) -> None:
    cube = unit_points("latin_hypercube", points, seed)
    for column in cube.T:
        assert sorted(np.floor(column * points).astype(int)) == list(range(points))


@given(points=st.integers(1, 60), more=st.integers(0, 60), seed=st.integers(0, 2**63 - 1))
def test_more_halton_points_keep_the_first_ones(points: int, more: int, seed: int) -> None:
    many = unit_points("halton", points + more, seed)
    assert (many[:points] == unit_points("halton", points, seed)).all()


def test_halton_points_are_scrambled_radical_inverses() -> None:
    """In base b, the first b**k points have one point in each of b**k intervals, whatever the scrambling."""
    primes = (2, 3, 5, 7, 11, 13)
    cube = unit_points("halton", 13**2, 5)
    for column, base in enumerate(primes):
        count = base**2
        assert sorted(np.floor(cube[:count, column] * count).astype(int)) == list(range(count))


@pytest.mark.parametrize("kind", ["halton", "latin_hypercube"])
def test_columns_of_a_block_do_not_know_how_many_blocks_there_are(kind: Any) -> None:
    """The first 16 columns come from SciPy's sequence of 16 dimensions alone."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([7, int(Purpose.DESIGN)])))
    sequence = qmc.Halton(16, rng=rng) if kind == "halton" else qmc.LatinHypercube(16, rng=rng)
    assert (unit_points(kind, 20, 7)[:, :16] == sequence.random(20)).all()


@pytest.mark.parametrize("kind", ["halton", "latin_hypercube"])
def test_another_study_seed_makes_other_points(kind: Any) -> None:
    assert not (unit_points(kind, 8, 0) == unit_points(kind, 8, 1)).any()


@pytest.mark.parametrize("kind", ["sobol", "halton", "latin_hypercube", "random"])
def test_adding_an_axis_or_an_optimizer_moves_no_point(kind: str) -> None:
    few = points_of(spec_of(f'kind = "{kind}"\npoints = 9'))
    more_axes = LR_AND_BETA + "beta2 = { low = 0.8, high = 0.99 }\nschedule = { choices = ['cosine', 'step'] }\n"
    more = points_of(spec_of(f'kind = "{kind}"\npoints = 9', more_axes + '[[optimizers]]\nname = "adai"\n'))
    for one, other in zip(few, more[:9], strict=True):
        for name in ("lr", "beta1"):
            assert one.unit[name] == other.unit[name]
            assert one.hyperparameters[name] == other.hyperparameters[name]


# Grids


def test_a_grid_is_the_full_product_with_both_ends() -> None:
    spec = spec_of('kind = "grid"\nlevels = 3')
    lrs, betas = (1e-3, 0.1, 10.0), (0.5, 0.625, 0.75)
    expected = [(lr, beta) for lr in lrs for beta in betas]
    assert settings_of(spec, "lr", "beta1") == [pytest.approx(cell) for cell in expected]
    assert [(t.unit["lr"], t.unit["beta1"]) for t in points_of(spec)] == [
        pytest.approx((x, y)) for x in (0, 0.5, 1) for y in (0, 0.5, 1)
    ]
    assert spec.trial_count == 10


def test_a_grid_takes_all_choices_and_whole_numbers_once() -> None:
    axes = """[optimizers.axes]
batch_size = { low = 1, high = 3 }
limit_train = { low = 16, high = 256, scale = "log" }
schedule = { choices = ["step", "cosine"] }
"""
    spec = spec_of('kind = "grid"\nlevels = 5', axes)
    cells = settings_of(spec, "batch_size", "limit_train", "schedule")
    limits = (16.0, 32.0, 64.0, 128.0, 256.0)
    assert cells == [(b, n, s) for b in (1.0, 2.0, 3.0) for n in limits for s in ("step", "cosine")]


def test_a_grid_leaves_out_what_violates_and_takes_equal_cells_once() -> None:
    axes = """constraints = ["beta1 < beta2"]
[optimizers.axes]
beta1 = { choices = [0.5, 0.9] }
beta2 = { choices = [0.8, 0.95] }
eps = { choices = [1e-8, 1e-4], when = "beta1 > 0.7" }
"""
    spec = spec_of('kind = "grid"\nlevels = 2', axes)
    assert settings_of(spec, "beta1", "beta2", "eps") == [
        (0.5, 0.8, 1e-8),
        (0.5, 0.95, 1e-8),
        (0.9, 0.95, 1e-8),
        (0.9, 0.95, 1e-4),
    ]
    assert spec.trial_count == 5


def test_one_at_a_time_varies_one_axis_around_the_defaults() -> None:
    axes = """[optimizers.axes]
lr = { low = 1e-4, high = 1e-2, scale = "log" }
beta1 = { low = 0.8, high = 0.9 }
schedule = { choices = ["step", "cosine"] }
"""
    spec = spec_of('kind = "one_at_a_time"\nlevels = 3', axes)
    # Adam's defaults: lr = 1e-3, beta1 = 0.9; both lie on their axes and are trial 0 already.
    assert settings_of(spec, "lr", "beta1", "schedule") == [
        pytest.approx((1e-4, 0.9, "own")),
        pytest.approx((1e-2, 0.9, "own")),
        pytest.approx((1e-3, 0.8, "own")),
        pytest.approx((1e-3, 0.85, "own")),
        pytest.approx((1e-3, 0.9, "step")),
        pytest.approx((1e-3, 0.9, "cosine")),
    ]
    assert spec.trial_count == 7


def test_a_grid_that_is_too_large_is_refused_with_its_size() -> None:
    axes = LR_AND_BETA + "beta2 = { low = 0.8, high = 0.99 }\n"
    with pytest.raises(SpecError, match="a grid of 47 levels has 103823 points for adam, more than 100000"):
        spec_of('kind = "grid"\nlevels = 47', axes)
    assert spec_of('kind = "grid"\nlevels = 46', axes).design.levels == 46


@pytest.mark.parametrize(
    ("design", "words"),
    [
        ('kind = "grid"', "design: levels is missing: how many values per axis grid takes"),
        ('kind = "one_at_a_time"', "design: levels is missing"),
        ('kind = "grid"\nlevels = 3\npoints = 32', "points = 32 is not for grid, which has levels; leave points out"),
        ('kind = "sobol"\nlevels = 3', "levels = 3 is for grid and one_at_a_time; sobol has points"),
        ('kind = "grid"\nlevels = 1', "design.levels: Input should be greater than or equal to 2"),
        ('kind = "grid"\nlevels = 1001', "design.levels: Input should be less than or equal to 1000"),
        ('kind = "grid"\nlevel = 3', "design.level: unknown key; did you mean 'levels'?"),
    ],
)
def test_a_mistake_in_a_design_is_named(design: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(design)
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["grid", "one_at_a_time"])
def test_a_stored_grid_reads_back_as_itself(kind: str) -> None:
    spec = spec_of(f'kind = "{kind}"\nlevels = 4')
    again = StudySpec.model_validate(spec.model_dump(mode="json"))
    assert again == spec
    assert again.hash == spec.hash != spec_of(f'kind = "{kind}"\nlevels = 5').hash
    assert "points" not in spec.model_dump(mode="json")["design"]


# Constraints


@pytest.mark.parametrize("kind", ["sobol", "halton", "random"])
def test_a_sequence_goes_on_until_enough_points_meet_the_constraints(kind: str) -> None:
    design = f'kind = "{kind}"\npoints = '
    constrained = 'constraints = ["lr < 0.1"]\n' + LR_AND_BETA
    wanted = [cell for cell in settings_of(spec_of(design + "200"), "lr", "beta1") if cell[0] < 0.1]
    assert settings_of(spec_of(design + "20", constrained), "lr", "beta1") == wanted[:20]
    assert [trial.number for trial in points_of(spec_of(design + "20", constrained))] == list(range(1, 21))
    assert spec_of(design + "20", constrained).trial_count == 21


def test_a_latin_hypercube_leaves_out_what_violates() -> None:
    design = 'kind = "latin_hypercube"\npoints = 40'
    spec = spec_of(design, 'constraints = ["lr < 0.1"]\n' + LR_AND_BETA)
    wanted = [cell for cell in settings_of(spec_of(design), "lr", "beta1") if cell[0] < 0.1]
    assert settings_of(spec, "lr", "beta1") == wanted
    assert spec.trial_count == 1 + len(wanted) == 1 + 20


@pytest.mark.parametrize(
    ("design", "words"),
    [
        ('kind = "sobol"\npoints = 16', "the constraints of adam leave 0 of the first 4096 points of the design sobol"),
        ('kind = "halton"\npoints = 16', "leave 0 of the first 4096 points of the design halton"),
        ('kind = "random"\npoints = 16', "leave 0 of the first 4096 points of the design random"),
        ('kind = "latin_hypercube"\npoints = 16', "the constraints of adam leave no point of the design latin_hyperc"),
        ('kind = "grid"\nlevels = 3', "the constraints of adam leave no point of the design grid; loosen them"),
        ('kind = "one_at_a_time"\nlevels = 3', "leave no point of the design one_at_a_time"),
    ],
)
def test_constraints_that_leave_nothing_are_refused(design: str, words: str) -> None:
    spec = spec_of(design, 'constraints = ["lr > 10"]\n' + LR_AND_BETA)
    with pytest.raises(SpecError) as caught:
        plan_trials(spec)
    assert words in str(caught.value)


def test_constraints_that_leave_almost_nothing_are_refused_after_a_bounded_search() -> None:
    spec = spec_of('kind = "sobol"\npoints = 16', 'constraints = ["lr < 0.00101"]\n' + LR_AND_BETA)
    with pytest.raises(SpecError, match=r"leave [1-9] of the first 4096 points .* and 16 are wanted; loosen them"):
        plan_trials(spec)


def test_the_default_setting_is_tried_even_where_constraints_forbid_it() -> None:
    spec = spec_of('kind = "sobol"\npoints = 4', 'constraints = ["lr > 0.1"]\n' + LR_AND_BETA)
    assert plan_trials(spec)[0].hyperparameters["lr"] == 1e-3


def test_constraints_and_conditions_make_another_study_and_their_absence_does_not() -> None:
    plain = spec_of("points = 4")
    constrained = spec_of("points = 4", 'constraints = ["lr > 0.1"]\n' + LR_AND_BETA)
    conditional = spec_of("points = 4", LR_AND_BETA.replace("0.75 }", '0.75, when = "lr > 0.1" }'))
    assert len({plain.hash, constrained.hash, conditional.hash}) == 3
    assert spec_of("points = 4", "constraints = []\n" + LR_AND_BETA).hash == plain.hash
    assert spec_of("points = 4", LR_AND_BETA.replace("0.75 }", '0.75, when = "" }')).hash == plain.hash


def test_an_end_at_0_counts_in_the_hash() -> None:
    """It equals `false`, which an axis has where it is not of whole numbers."""
    hashes = {spec_of("points = 4", f"axes.beta1 = {{ low = {low}, high = 0.5 }}").hash for low in ("0.0", "0.1")}
    assert len(hashes) == 2
    assert spec_of("points = 4", "axes.beta1 = { low = 0.0, high = 0.5 }").hash == BETA_FROM_0


# Adaptive designs: how many trials they have


def test_an_adaptive_design_plans_its_default_and_counts_its_points() -> None:
    spec = spec_of('kind = "tpe"\npoints = 12')
    assert [trial.origin for trial in plan_trials(spec)] == ["default"]
    assert spec.trial_count == 13


def test_brute_force_counts_distinct_cells_up_to_its_points() -> None:
    axes = """constraints = ["batch_size <= 3 or schedule == 'step'"]
[optimizers.axes]
batch_size = { low = 1, high = 5 }
schedule = { choices = ["step", "cosine"] }
eps = { choices = [1e-8, 1e-4], when = "schedule == 'step'" }
"""
    optimizer = spec_of("points = 4", axes).optimizers[0]
    training = {"batch_size": 5.0, "schedule": "own"}
    # By hand: step has 5 sizes x 2 eps, cosine only 3 sizes.
    for points, cells in ((5, 5), (13, 13), (100, 13)):
        design = spec_of(f'kind = "brute_force"\npoints = {points}', axes).design
        assert count_settings(optimizer, design, 0, training) == cells


def test_units_of_a_design_lie_in_the_unit_interval() -> None:
    for design in ('kind = "grid"\nlevels = 7', 'kind = "halton"\npoints = 50', 'kind = "random"\npoints = 50'):
        for trial in points_of(spec_of(design)):
            for unit in trial.unit.values():
                assert unit is not None
                assert math.isfinite(unit)
                assert 0 <= unit <= 1
