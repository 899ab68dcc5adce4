"""Landscapes against functions whose marginals, minima, divergence and spread are known."""

import dataclasses
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_observations import BETA, LR, Function, make_observations
from pydantic import TypeAdapter

from study.axis import AxisSpec
from study.report.drawing.landscape import draw_divergence_and_spread, draw_means, draw_overview
from study.report.drawing.style import FORMATS, save
from study.report.measures.landscape.grid import covering_radius, find_neighbours, grid_places, make_grid_axis
from study.report.measures.landscape.landscape import measure_landscape
from study.report.measures.landscape.projection import Activity, make_background
from study.report.measures.landscape.records import CellLandscape, LandscapePoints
from study.report.measures.surrogate import count_choices, fit_surrogate
from study.report.observations import Cell, Observations
from study.report.sections.landscapes import tell_landscapes

WEIGHT_DECAY = AxisSpec(low=1e-5, high=1.0, scale="log")
SCHEDULE = AxisSpec(choices=["constant", "cosine", "step"])
THREE = {"lr": LR, "beta1": BETA, "weight_decay": WEIGHT_DECAY}
CELL = ("digits", "adai")


def smooth(unit: np.ndarray) -> np.ndarray:
    return 0.1 + (unit[:, 0] - 0.4) ** 2 + 0.3 * unit[:, 1]


def land(cell: Cell, surrogate: bool = True) -> CellLandscape:
    rows = cell.design_N
    model = fit_surrogate(cell.unit_ND[rows], cell.mean_N[rows], count_choices(cell), seed=1) if surrogate else None
    return measure_landscape(cell, model, planned=cell.info.planned - 1)


def landscape_of(function: Function, **changes: object) -> CellLandscape:
    return land(cell_of(function, **changes))


def cell_of(function: Function, **changes: object) -> Cell:
    return made(function, **changes).cells[0]


def made(function: Function, **changes: object) -> Observations:
    return make_observations({CELL: function}, **changes)  # type: ignore[arg-type]


def without(cell: Cell, gone_N: np.ndarray) -> Cell:
    """The cell without some of its trials."""
    kept = np.flatnonzero(~gone_N)
    fields = {field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)}
    arrays = {name: value[kept] for name, value in fields.items() if isinstance(value, np.ndarray)}
    return Cell(**(fields | arrays | {"values": [cell.values[row] for row in kept]}))


def array(grid: object) -> np.ndarray:
    return np.array(grid, dtype=float)


def test_a_map_is_the_function_averaged_over_the_other_axis() -> None:
    def separable(u: np.ndarray) -> np.ndarray:
        return 0.1 + (u[:, 0] - 0.4) ** 2 * (0.5 + u[:, 1]) + 0.3 * u[:, 2] ** 2

    landscape = landscape_of(separable, axes=THREE, points=128)
    assert [(map_.x, map_.y, map_.averaged) for map_ in landscape.maps] == [
        (0, 1, ("weight_decay",)),
        (0, 2, ("beta1",)),
        (1, 2, ("lr",)),
    ]
    for map_, marginal in zip(
        landscape.maps,
        (
            lambda x, y: 0.1 + (x - 0.4) ** 2 * (0.5 + y) + 0.3 / 3,
            lambda x, y: 0.1 + (x - 0.4) ** 2 * 1.0 + 0.3 * y**2,
            lambda x, y: 0.1 + (0.6**3 + 0.4**3) / 3 * (0.5 + x) + 0.3 * y**2,
        ),
        strict=True,
    ):
        x, y = np.meshgrid(map_.x_places, map_.y_places)
        assert map_.mean is not None
        assert array(map_.mean) == pytest.approx(marginal(x, y), abs=0.01)
        assert array(map_.error).max() < 0.02


def test_curves_of_an_additive_function_are_its_main_effects() -> None:
    landscape = landscape_of(lambda u: 0.1 + (u[:, 0] - 0.4) ** 2 + 0.3 * u[:, 1], points=64)
    first, second = landscape.curves
    x = np.array(first.places)
    assert array(first.mean) == pytest.approx(0.25 + (x - 0.4) ** 2, abs=0.01)
    assert array(second.mean) == pytest.approx(0.1 + 0.28 / 3 + 0.3 * np.array(second.places), abs=0.01)
    assert array(first.lowest) == pytest.approx(0.1 + (x - 0.4) ** 2, abs=0.01)
    held = landscape.points.places[landscape.points.trial.index(landscape.held_at or 0)]
    assert array(first.through_best) == pytest.approx(0.1 + (x - 0.4) ** 2 + 0.3 * (held[1] or 0.0), abs=0.01)
    assert (array(first.low) <= array(first.mean)).all()
    assert (array(first.mean) <= array(first.high)).all()
    assert (array(first.lowest) <= array(first.through_best)).all()


def test_the_band_of_a_noisy_curve_holds_the_truth_nearly_everywhere() -> None:
    landscape = landscape_of(smooth, points=128, noise=0.05, seeds=2)
    curve = landscape.curves[0]
    truth = 0.25 + (np.array(curve.places) - 0.4) ** 2
    inside = (array(curve.low) <= truth) & (truth <= array(curve.high))
    assert inside.mean() > 0.8
    assert (array(curve.high) - array(curve.low)).min() > 0.001


def test_an_empty_quarter_has_no_data_and_a_full_square_has_no_hole() -> None:
    cell = cell_of(smooth, points=128)
    (whole,) = land(cell).maps
    assert np.array(whole.known).all()
    (map_,) = land(without(cell, (cell.unit_ND > 0.5).all(axis=1) & ~cell.is_default_N)).maps
    x, y = np.meshgrid(map_.x_places, map_.y_places)
    known = np.array(map_.known)
    assert map_.radius == pytest.approx(1.6 / 96**0.5, rel=0.25)
    assert not known[(x > 0.75) & (y > 0.75)].any()
    assert known[(x < 0.5) | (y < 0.5)].all()
    for grid in (map_.mean, map_.error, map_.diverged, map_.spread):
        assert (np.isfinite(array(grid)) == known).all()


def test_a_cell_is_known_exactly_if_a_point_is_within_the_radius() -> None:
    grids = (make_grid_axis(LR, 31), make_grid_axis(BETA, 31))
    points = np.random.default_rng(3).random((20, 2)) * [0.4, 1.0]
    near = find_neighbours(grids, points)
    distance = np.linalg.norm(grid_places(grids)[:, None] - points[None], axis=2).min(axis=1)
    assert (near.known_M == (distance <= near.radius)).all()
    assert near.radius == covering_radius(grids, 20)


def test_a_half_that_diverges_has_a_share_of_one_and_the_other_none() -> None:
    cell = cell_of(lambda u: np.where(u[:, 0] > 0.5, 2.0, 0.2 + u[:, 1] / 10), points=256, diverge_above=1.0)
    (map_,) = land(cell, surrogate=False).maps
    x, _ = np.meshgrid(map_.x_places, map_.y_places)
    share = array(map_.diverged)
    assert (share[x > 0.72] == 1).all()
    assert (share[x < 0.28] == 0).all()
    assert (share >= 0).all()
    assert (share <= 1).all()
    assert share.mean() == pytest.approx(0.5, abs=0.03)


def test_the_share_near_by_counts_runs_and_not_trials() -> None:
    cell = cell_of(smooth, points=64, seeds=4)
    cell.diverged_NS[:, 0] = True
    landscape = land(cell, surrogate=False)
    assert array(landscape.maps[0].diverged) == pytest.approx(np.full((31, 31), 0.25))
    assert sum(landscape.points.diverged) == 64


def test_the_spread_near_by_is_pooled_over_variances() -> None:
    cell = cell_of(smooth, points=256, seeds=2)
    half = np.where(cell.unit_ND[:, 0] > 0.5, 0.04, 0.01)
    cell.objective_NS[:] = smooth(cell.unit_ND)[:, None] + half[:, None] * [-1, 1]
    (map_,) = land(cell, surrogate=False).maps
    x, _ = np.meshgrid(map_.x_places, map_.y_places)
    spread = array(map_.spread)
    assert spread[x < 0.28] == pytest.approx(0.01 * 2**0.5, rel=1e-4)
    assert spread[x > 0.72] == pytest.approx(0.04 * 2**0.5, rel=1e-4)


def test_choices_have_a_band_each_and_nothing_is_smoothed_between_them() -> None:
    def jumpy(u: np.ndarray) -> np.ndarray:
        return np.where(u[:, 1] < 1 / 3, 2.0, np.where(u[:, 1] < 2 / 3, 0.1, 0.5)) + 0.1 * u[:, 0]

    landscape = landscape_of(jumpy, axes={"lr": LR, "schedule": SCHEDULE}, points=96, diverge_above=1.0)
    (map_,) = landscape.maps
    assert map_.y_places == pytest.approx([1 / 6, 1 / 2, 5 / 6], abs=1e-6)
    assert (array(map_.diverged) == [[1.0], [0.0], [0.0]]).all()
    assert array(map_.mean)[:, 15] == pytest.approx([0.9, 0.15, 0.55], abs=0.02)
    curve = landscape.curves[1]
    assert curve.is_stepped
    assert array(curve.mean) == pytest.approx([0.9, 0.15, 0.55], abs=0.02)
    assert curve.diverged == (1.0, 0.0, 0.0)
    # Each choice weighs a third in what is averaged over them.
    assert array(landscape.curves[0].mean).mean() == pytest.approx((0.9 + 0.15 + 0.55) / 3, abs=0.01)


def test_a_choice_without_points_has_no_data() -> None:
    cell = cell_of(smooth, axes={"lr": LR, "schedule": SCHEDULE}, points=64)
    landscape = land(without(cell, (cell.unit_ND[:, 1] > 2 / 3)))
    known = np.array(landscape.maps[0].known)
    assert not known[2].any()
    assert known[:2].all()
    assert landscape.curves[1].known == (True, True, False)


def test_whole_numbers_have_a_cell_each() -> None:
    grid = make_grid_axis(AxisSpec(low=1, high=4, integer=True), 31)
    assert grid.places == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert grid.edges == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    log = make_grid_axis(AxisSpec(low=1, high=4, integer=True, scale="log"), 31)
    assert np.log(9) * log.shares() == pytest.approx(np.log([3, 5 / 3, 7 / 5, 9 / 7]))
    assert len(make_grid_axis(AxisSpec(low=1, high=400, integer=True), 31).places) == 31


def test_the_background_has_each_choice_by_its_share_and_the_midpoints_of_ranges() -> None:
    grids = [make_grid_axis(axis, 31) for axis in (LR, SCHEDULE, BETA)]
    background = make_background(grids, 16)
    weights = [background.weight_K[background.unit_KD[:, 1] == place].sum() for place in grids[1].places]
    assert weights == pytest.approx([1 / 3] * 3)
    assert np.sort(background.unit_KD[:, 0]) == pytest.approx((np.arange(16) + 0.5) / 16)


def conditional_cell(points: int = 128) -> Cell:
    """``momentum`` is active where ``lr`` is in the lower half."""
    axes = {"lr": LR, "momentum": AxisSpec(low=0.0, high=1.0, when="lr < 0.01"), "beta1": BETA}
    cell = cell_of(lambda u: u[:, 0], axes=axes, points=points)
    cell.unit_ND[cell.unit_ND[:, 0] >= 0.5, 1] = np.nan
    active = np.isfinite(cell.unit_ND[:, 1])
    value = 0.1 + 0.2 * cell.unit_ND[:, 2] + np.where(active, 0.4 * np.nan_to_num(cell.unit_ND[:, 1]), 0.1)
    cell.objective_NS[:] = value[:, None]
    return cell


def test_maps_over_a_conditional_axis_are_known_only_where_it_is_active() -> None:
    landscape = land(conditional_cell())
    map_ = landscape.maps[0]
    assert map_.points == 64
    x, y = np.meshgrid(map_.x_places, map_.y_places)
    mean = array(map_.mean)
    assert not np.isfinite(mean[x > 0.72]).any()
    assert mean[x < 0.45] == pytest.approx(0.2 + 0.4 * y[x < 0.45], abs=0.03)
    # Averaged over the part of the prior in which it is active, or not.
    over_lr = array(landscape.curves[0].mean)
    places = np.array(landscape.curves[0].places)
    assert over_lr[places < 0.42] == pytest.approx(0.4, abs=0.03)
    assert over_lr[places > 0.58] == pytest.approx(0.3, abs=0.03)


def test_activity_is_learned_from_the_design() -> None:
    cell = conditional_cell()
    activity = Activity(cell.unit_ND[cell.design_N], cell.axes)
    places = np.random.default_rng(0).random((500, 3))
    active = np.isfinite(activity.apply(places))
    assert active[:, [0, 2]].all()
    clear = abs(places[:, 0] - 0.5) > 0.02
    assert (active[:, 1] == (places[:, 0] < 0.5))[clear].all()


def test_axes_that_are_never_active_together_have_no_data_at_all() -> None:
    axes = {
        "inner": AxisSpec(choices=["sgd", "adam"]),
        "momentum": AxisSpec(low=0.0, high=1.0, when="inner == 'sgd'"),
        "eps": AxisSpec(low=0.0, high=1.0, when="inner == 'adam'"),
    }
    cell = cell_of(lambda u: 0.1 + u[:, 0] / 10 + u[:, 1] / 10, axes=axes, points=64)
    sgd = cell.unit_ND[:, 0] < 0.5
    cell.unit_ND[~sgd, 1] = np.nan
    cell.unit_ND[sgd, 2] = np.nan
    landscape = land(cell)
    never = landscape.maps[2]
    assert (never.points, never.radius) == (0, None)
    assert not np.array(never.known).any()
    assert not np.isfinite(array(landscape.maps[0].mean))[:, 1].any()
    draw_all(landscape)


def test_the_learning_rate_comes_first() -> None:
    landscape = landscape_of(lambda u: u[:, 0], axes={"beta1": BETA, "lr": LR}, points=16)
    assert [axis.name for axis in landscape.axes] == ["lr", "beta1"]
    assert landscape.points.values[0][0] == pytest.approx(
        LR.low * 10 ** (4 * (landscape.points.places[0][0] or 0)), rel=1e-4
    )


def test_one_axis_has_a_curve_and_no_map() -> None:
    landscape = landscape_of(lambda u: 0.1 + (u[:, 0] - 0.4) ** 2, axes={"lr": LR}, points=32)
    assert landscape.maps == ()
    assert array(landscape.curves[0].mean) == pytest.approx(array(landscape.curves[0].lowest))
    draw_all(landscape)


def test_one_point_is_a_point_and_reasons() -> None:
    landscape = landscape_of(smooth, points=1)
    assert len(landscape.points.trial) == 1
    assert [map_.known for map_ in landscape.maps] == [None]
    assert all("1 finished points" in missing.reason for missing in landscape.missing)
    assert len(landscape.missing) == 2
    draw_all(landscape)


def test_no_finished_trial_is_an_empty_landscape() -> None:
    cell = cell_of(smooth, points=4)
    landscape = land(without(cell, np.ones(5, dtype=bool)))
    assert (landscape.best, landscape.held_at, landscape.points.trial, landscape.noise_share) == (None, None, (), None)
    draw_all(landscape)


def test_where_all_runs_diverged_the_share_is_one_and_there_is_no_surrogate() -> None:
    landscape = landscape_of(lambda u: 5.0 + 0 * u[:, 0], points=32, diverge_above=1.0)
    (map_,) = landscape.maps
    assert (map_.mean, map_.error, landscape.r2) == (None, None, None)
    assert (array(map_.diverged) == 1).all()
    assert (array(map_.spread) == 0).all()
    assert "same objective" in landscape.missing[0].reason
    draw_all(landscape)


def test_one_seed_has_no_spread() -> None:
    landscape = land(cell_of(smooth, points=32, seeds=1), surrogate=False)
    assert landscape.maps[0].spread is None
    assert landscape.curves[0].spread is None
    assert set(landscape.points.sd) == {None}
    assert landscape.noise_share is None
    assert any("one seed" in missing.reason for missing in landscape.missing)
    draw_all(landscape)


def test_chosen_points_have_no_surrogate_and_the_reason_is_told() -> None:
    landscape = land(cell_of(smooth, points=32), surrogate=False)
    assert landscape.maps[0].mean is None
    assert "earlier results" in landscape.missing[0].reason


def test_a_default_off_its_axis_is_in_no_map() -> None:
    cell = cell_of(smooth, points=16)
    cell.unit_ND[0] = [0.5, np.nan]
    landscape = land(cell, surrogate=False)
    assert landscape.default.places == ((0.5, None),)
    draw_all(landscape)


def test_negative_objectives_are_drawn_on_a_linear_scale() -> None:
    draw_all(landscape_of(lambda u: u[:, 0] - 3, points=16, chance=None))


def test_a_landscape_is_the_same_each_time_and_after_json() -> None:
    cell = cell_of(smooth, axes={"lr": LR, "beta1": BETA, "schedule": SCHEDULE}, points=32, noise=0.02)
    landscape = land(cell)
    assert landscape == land(cell)
    adapter = TypeAdapter(CellLandscape)
    assert adapter.validate_json(adapter.dump_json(landscape)) == landscape


def test_six_optimizers_of_four_axes_stay_below_two_megabytes() -> None:
    landscape = landscape_of(smooth, axes=THREE | {"eps": WEIGHT_DECAY}, points=64, noise=0.01)
    adapter = TypeAdapter(CellLandscape)
    size, of_points = len(adapter.dump_json(landscape)), len(TypeAdapter(LandscapePoints).dump_json(landscape.points))
    assert 6 * (size + 15 * of_points) < 2_000_000  # with 1,024 points


@settings(max_examples=30)
@given(st.integers(12, 60), st.integers(0, 1000), st.booleans())
def test_shares_near_by_are_between_zero_and_one_and_constants_stay(points: int, seed: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    places = generator.random((points, 2))
    if ties:
        places = np.round(places * 2) / 2
    near = find_neighbours((make_grid_axis(LR, 11), make_grid_axis(SCHEDULE, 11)), places)
    counts = near.sums(np.ones(points))[near.known_M]
    assert (counts > 0).all()
    share = near.sums(generator.integers(0, 2, points).astype(float))[near.known_M] / counts
    assert (share >= 0).all()
    assert (share <= 1 + 1e-12).all()
    assert near.sums(np.full(points, 3.0))[near.known_M] / counts == pytest.approx(3.0)


def draw_all(landscape: CellLandscape) -> None:
    """Every figure, without a warning."""
    draw_overview([landscape], "val_error")
    for drawing in (draw_means(landscape, "val_error"), draw_divergence_and_spread(landscape)):
        save(drawing, "svg")


def test_figures_are_drawn_in_all_forms_with_a_text_for_each_point() -> None:
    observations = make_observations(
        {CELL: smooth, ("digits", "adam"): lambda u: smooth(u) + u[:, 0]},
        axes={"lr": LR, "schedule": SCHEDULE},
        points=12,
        noise=0.02,
        diverge_above=0.6,
    )
    landscapes = [land(cell) for cell in observations.cells]
    for drawing in (draw_overview(landscapes, "val_error"), draw_means(landscapes[0], "val_error")):
        texts = [text for group in drawing.hovers.values() for text in group]
        assert len(texts) == 2 * 13 if drawing.figure.axes[0].get_title() else len(texts) == 13
        files = [save(drawing, format_) for format_ in FORMATS]
        assert [file[:4] for file in files] == [b"<?xm", b"\x89PNG", b"%PDF"]
    point = landscapes[0].points
    said = next(text for text in texts if text.startswith(f"trial {point.trial[3]}:"))
    assert f"lr {point.values[3][0]:.6g}, schedule {point.values[3][1]}" in said
    assert f"mean {point.mean[3]:.5g} ± {point.sd[3]:.3g}" in said
    assert said.endswith(f"{point.diverged[3]}/3 diverged")
    assert {axes.get_title().split("\n")[0] for axes in draw_overview(landscapes, "").figure.axes} >= {"Adai", "Adam"}


def test_no_data_is_hatched_and_the_legend_says_so() -> None:
    cell = cell_of(smooth, points=64)
    holed = land(without(cell, (cell.unit_ND > 0.5).all(axis=1) & ~cell.is_default_N), surrogate=False)
    for landscape, expected in ((holed, True), (land(cell, surrogate=False), False)):
        figure = draw_overview([landscape], "val_error").figure
        hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
        assert bool(hatched) == expected
        names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        assert ("no data here" in names) == expected
    (patch,) = [patch for patch in draw_overview([holed], "").figure.axes[0].patches if patch.get_hatch()]
    assert patch.get_path().contains_point((0.9, 0.9))
    assert not patch.get_path().contains_point((0.2, 0.2))


def test_the_section_tells_each_optimizer_with_figures_that_other_processes_can_draw() -> None:
    observations = make_observations(
        {(workload, optimizer): smooth for workload in ("a/b", "a-b") for optimizer in ("Adai", "adai")},
        points=8,
        seeds=2,
        noise=0.01,
        is_sample=False,
    )
    section = tell_landscapes([land(cell) for cell in observations.cells], observations.info)
    (table,) = section.tables
    assert len(table.rows) == 4
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert any("earlier results" in paragraph for paragraph in section.paragraphs)
    parts = [part for workload in section.sections for part in (workload, *workload.sections)]
    figures = [figure for part in parts for figure in part.figures]
    assert len(figures) == 2 * (1 + 2 * 2)
    assert len({figure.name for figure in figures}) == len(figures)
    assert len({part.id for part in parts}) == len(parts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures[:3]:
            save(pickle.loads(pickle.dumps(figure.draw))(), "svg")  # noqa: S301 - our own


def test_the_section_of_nothing_is_empty() -> None:
    info = made(smooth, points=2).info
    section = tell_landscapes([], info)
    assert (section.tables, section.sections, section.missing) == ((), (), ())


def test_an_axis_of_many_choices_is_left_out_with_a_reason() -> None:
    axes = {"lr": LR, "seed": AxisSpec(choices=[float(choice) for choice in range(60)])}
    landscape = land(cell_of(smooth, axes=axes, points=16), surrogate=False)
    assert landscape.maps[0].known is None
    assert landscape.curves[0].known is not None
    assert any("60 choices" in missing.reason for missing in landscape.missing)
    draw_all(landscape)
