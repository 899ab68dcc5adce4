"""The only source of randomness: counter-based Philox words, keyed by study seed, seed index, purpose and step.

Nothing here has state, so a run sees the same numbers alone or in company, in any worker, and after a resume.
Words come from NumPy's Philox4x64-10 (Salmon et al., SC 2011), whose raw output is fixed by the algorithm; the
conversions below are ours, because NumPy may change those of its ``Generator`` between versions.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

_COUNTER_SIZE = 4
_WORD = 2**64


class Purpose(IntEnum):
    """What random words are for; part of the counter, so that streams of different purposes never meet."""

    SPLIT = 0
    INITIAL_WEIGHTS = 1
    DATA_ORDER = 2
    DESIGN = 3
    AUGMENTATION = 4
    CURVATURE = 5
    SLICE = 6
    LABEL_NOISE = 7
    SUBSET = 8
    NOISE = 9
    DROPOUT = 10


def random_words(size: int, *, seed: int, index: int, purpose: Purpose, step: int = 0) -> npt.NDArray[np.uint64]:
    """``size`` uniform 64-bit words.

    Args:
        size: How many.
        seed: The study's seed, 0 to 2**64 - 1; first word of the key.
        index: The seed index of the run; second word of the key.
        purpose: Third word of the counter.
        step: Epoch, or position of the parameter tensor; second word of the counter.
    """
    counter = (step % _WORD) * _WORD + int(purpose) * _WORD**2
    # NumPy increments the counter before it makes the first block.
    before_first = (counter - 1) % _WORD**_COUNTER_SIZE
    generator = np.random.Philox(key=seed % _WORD + (index % _WORD) * _WORD, counter=before_first)
    return np.asarray(generator.random_raw(size), dtype=np.uint64)


def uniform(size: int, *, seed: int, index: int, purpose: Purpose, step: int = 0) -> npt.NDArray[np.float64]:
    """``size`` numbers uniform in [0, 1), multiples of 2**-53."""
    words = random_words(size, seed=seed, index=index, purpose=purpose, step=step)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(size: int, *, seed: int, index: int, purpose: Purpose, step: int = 0) -> npt.NDArray[np.int64]:
    """A uniform permutation of ``range(size)``: the order of random words."""
    words = random_words(size, seed=seed, index=index, purpose=purpose, step=step)
    return np.argsort(words, kind="stable")
