"""The points of the unit cube that all optimizers of a study share."""

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from study.design_spec import DesignKind
from workers.random import Purpose, uniform

#: The column of the unit cube that each axis reads. Shared between optimizers: point k has the same quantile of lr, of
#: inertia (beta0, momentum, beta1), of beta2 and of weight decay for all of them. Adding an optimizer or an axis to a
#: spec moves no other point.
COLUMNS = {
    "lr": 0,
    "beta0": 1,
    "momentum": 1,
    "beta1": 1,
    "beta2": 2,
    "weight_decay": 3,
    "eps": 4,
    "final_lr": 5,
    "gamma": 6,
    "partial": 7,
    "momentum_decay": 8,
    "dampening": 9,
    "cprop_beta": 10,
    "cprop_c": 11,
    "cprop_eps": 12,
    "batch_size": 13,
    "epochs": 14,
    "limit_train": 15,
    "label_smoothing": 16,
    "noise_rate": 17,
    "imbalance_ratio": 18,
    "schedule": 19,
    "amsgrad": 20,
    "amsbound": 20,
    "decoupled": 21,
    "nesterov": 22,
    "inner": 23,
    "cdf": 24,
    "keep_num": 25,
    "reduce": 26,
    "degenerated_to_sgd": 27,
    "initial_accumulator": 28,
}
#: Columns are made in blocks of 16, each with its own scrambling: a further block moves no point of the others.
_BLOCK = 16
#: More than are used: a further column would else move the points of every study.
DIMENSIONS = 2 * _BLOCK

Points = npt.NDArray[np.float64]


def unit_points(kind: DesignKind, count: int, study_seed: int) -> Points:
    """The first points of a design, shape (count, DIMENSIONS), in [0, 1).

    More points keep the first ones, except those of a Latin hypercube: its strata are 1 / count wide.

    Args:
        kind: ``sobol``, ``halton``, ``latin_hypercube`` or ``random``.
        count: How many, at least 1.
        study_seed: Keys the scrambling or the random numbers.
    """
    return np.hstack([_BLOCKS[kind](count, study_seed, block) for block in range(DIMENSIONS // _BLOCK)])


def _random(count: int, study_seed: int, block: int) -> Points:
    words = uniform(count * _BLOCK, seed=study_seed, index=0, purpose=Purpose.DESIGN, step=block)
    return words.reshape(count, _BLOCK)


# A later block is the end of a longer sequence: the same columns scrambled anew would be tied to the first ones.


def _sobol(count: int, study_seed: int, block: int) -> Points:
    sequence = qmc.Sobol(d=_BLOCK * (block + 1), scramble=True, rng=_generator(study_seed, block))
    exponent = max(count - 1, 0).bit_length()  # the least power of 2 that holds all points
    return np.asarray(sequence.random_base2(exponent)[:count, block * _BLOCK :])


def _halton(count: int, study_seed: int, block: int) -> Points:
    sequence = qmc.Halton(d=_BLOCK * (block + 1), scramble=True, rng=_generator(study_seed, block))
    return np.asarray(sequence.random(count)[:, block * _BLOCK :])


def _latin_hypercube(count: int, study_seed: int, block: int) -> Points:
    """Columns are permuted independently of each other, so blocks are."""
    return np.asarray(qmc.LatinHypercube(d=_BLOCK, rng=_generator(study_seed, block)).random(count))


_BLOCKS = {"sobol": _sobol, "halton": _halton, "latin_hypercube": _latin_hypercube, "random": _random}


def _generator(study_seed: int, block: int) -> np.random.Generator:
    key = np.random.SeedSequence([study_seed, int(Purpose.DESIGN), *([block] if block else [])])
    return np.random.Generator(np.random.Philox(key))
