"""Which points of many a picture shows."""

import numpy as np
import pytest

from study.point_choice import choose_points


def points(count: int, axes: int = 2) -> np.ndarray:
    return np.random.default_rng(3).random((count, axes))


def test_few_points_are_all_shown() -> None:
    chosen = choose_points(points(10), np.zeros(10, bool), np.zeros(10, bool), 10)
    assert chosen.tolist() == list(range(10))


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("limit", [1, 7, 100, 999])
def test_never_more_than_asked_for_each_once_and_the_same_ones_each_time(axes: int, limit: int) -> None:
    diverged = np.random.default_rng(4).random(1000) < 0.3
    first = choose_points(points(1000, axes), diverged, np.zeros(1000, bool), limit)
    assert len(set(first.tolist())) == len(first) == limit
    assert first.tolist() == sorted(first.tolist())
    assert first.tolist() == choose_points(points(1000, axes), diverged, np.zeros(1000, bool), limit).tolist()


def test_points_that_must_be_there_are_there() -> None:
    kept = np.zeros(1000, bool)
    kept[[3, 998]] = True
    chosen = choose_points(points(1000), np.zeros(1000, bool), kept, 20)
    assert {3, 998} <= set(chosen.tolist())
    assert len(chosen) == 20


def test_diverged_points_keep_their_share() -> None:
    diverged = np.random.default_rng(5).random(4000) < 0.25
    chosen = choose_points(points(4000), diverged, np.zeros(4000, bool), 400)
    assert diverged[chosen].mean() == pytest.approx(diverged.mean(), abs=0.01)


def test_a_single_diverged_point_is_not_lost() -> None:
    diverged = np.zeros(4000, bool)
    diverged[1234] = True
    assert 1234 in choose_points(points(4000), diverged, np.zeros(4000, bool), 50)


def test_sparse_parts_of_the_space_keep_their_points() -> None:
    # Nine in ten lie in a hundredth of the square.
    place = points(2000)
    place[:1800] *= 0.1
    chosen = choose_points(place, np.zeros(2000, bool), np.zeros(2000, bool), 150)
    outside = (place[chosen] > 0.1).any(axis=1)
    assert outside.mean() > 0.6  # by chance it would be a tenth


def test_points_without_a_place_on_an_axis_are_among_them() -> None:
    place = points(1000)
    place[::4, 1] = np.nan
    chosen = choose_points(place, np.zeros(1000, bool), np.zeros(1000, bool), 100)
    assert np.isnan(place[chosen, 1]).sum() > 5


def test_points_outside_the_cube_are_no_mistake() -> None:
    place = points(50)
    place[0] = (-3.0, 7.0)
    assert len(choose_points(place, np.zeros(50, bool), np.zeros(50, bool), 10)) == 10
