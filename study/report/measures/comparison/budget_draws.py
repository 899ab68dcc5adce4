"""Resampled points and seeds of the optimizers on a workload: what budget measures make their intervals from."""

from collections.abc import Sequence

import numpy as np

from study.report.measures.surrogate import cell_seed
from study.report.observations import Cell, Floats, StudyInfo

#: Keys the resamples of points, and of seeds.
_POINTS, _SEEDS = 41, 42


def resample_values(cells: Sequence[Cell], info: StudyInfo, resamples: int) -> list[Floats]:
    """Values of resampled points with resampled seeds, increasing: an array (R, N) for each optimizer on a workload.

    Points are resampled for each optimizer by itself. Seeds are resampled for all of them together if they are paired.
    """
    width = max(cell.objective_NS.shape[1] for cell in cells)
    shared_RS = _seed_counts(cell_seed(cells[0], _SEEDS), resamples, width)
    drawn = []
    for cell in cells:
        count_RS = shared_RS
        if not info.paired_seeds:
            count_RS = _seed_counts(cell_seed(cell, _SEEDS), resamples, cell.objective_NS.shape[1])
        means_RN = _weigh_seeds(cell, count_RS)
        generator = np.random.Generator(np.random.Philox(cell_seed(cell, _POINTS)))
        points_RN = generator.integers(0, means_RN.shape[1], means_RN.shape)
        drawn.append(np.sort(np.take_along_axis(means_RN, points_RN, axis=1), axis=1))
    return drawn


def _seed_counts(seed: int, resamples: int, seeds: int) -> Floats:
    generator = np.random.Generator(np.random.Philox(seed))
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), resamples).astype(np.float64)


def _weigh_seeds(cell: Cell, count_RS: Floats) -> Floats:
    """Mean of each point of the design over resampled seeds; over all its seeds where none of them was drawn.

    Summed seed by seed, so that points with equal runs stay tied.
    """
    values_NS = cell.objective_NS[cell.design_N]
    known_NS = np.isfinite(values_NS)
    total_RN = np.zeros((len(count_RS), len(values_NS)))
    weight_RN = np.zeros_like(total_RN)
    for count_R, value_N, known_N in zip(count_RS.T, np.where(known_NS, values_NS, 0.0).T, known_NS.T, strict=False):
        total_RN += count_R[:, None] * value_N
        weight_RN += count_R[:, None] * known_N
    return np.where(weight_RN > 0, total_RN / np.maximum(weight_RN, 1), cell.mean_N[cell.design_N])
