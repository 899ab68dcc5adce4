"""Data sets as tensors in memory, split by a fixed seed of their own: the same for every study."""

import functools
import importlib.util
import inspect
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from workers.global_generators import GeneratorStates
from workers.random import Purpose, permutation
from workers.workloads.base import Dataset, MissingDataError, Split, Workload

#: Splits must not change with the study's seed, or results of two studies could not be compared.
SPLIT_SEED = 2022


def load_checked(workload: Workload) -> Dataset:
    """What the workload's ``load_data`` returns, provided that every worker would load the same.

    Loaders often keep what they loaded, so only their first call in a process tells for sure whether they draw.

    Raises:
        TypeError: ``load_data`` returns something else, or draws from a global random generator or seeds it; the
            generators are then as they were before.
        MissingDataError: The data is not on this machine.
    """
    before, modules = GeneratorStates.read(), len(sys.modules)
    data = workload.load_data()
    moved = before.moved()
    if moved and len(sys.modules) > modules:
        # Some modules draw when they are imported (scikit-learn's sklearn.datasets, for one); a second call imports
        # nothing. It must not find what functools.cache kept of the first.
        before.restore()
        inspect.unwrap(workload.load_data)()
        moved = before.moved()
    before.restore()
    if moved:
        raise TypeError(
            f"load_data of workload {workload.name!r} draws from a global random generator ({', '.join(moved)}): each "
            "worker would load other data; draw from workers.random, or from a generator of its own with a fixed seed "
            "(torch.Generator().manual_seed(0), np.random.default_rng(0), random.Random(0))"
        )
    if not isinstance(data, Dataset):
        raise TypeError(
            f"load_data of workload {workload.name!r} returns {type(data).__name__}; return a workers.workloads.Dataset"
        )
    return data


@functools.cache
def load_digits() -> Dataset:
    """scikit-learn's bundled digits: 1,797 real 8x8 images, pixels scaled to [0, 1], split 60/20/20.

    Raises:
        MissingDataError: scikit-learn is not installed, or lacks its data file.
    """
    # Its file is read as it lies there: importing scikit-learn takes a second in every worker.
    package = importlib.util.find_spec("sklearn")
    try:
        if package is None or package.origin is None:
            raise FileNotFoundError("scikit-learn is not installed")
        table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    except (OSError, EOFError, ValueError) as error:
        raise MissingDataError(
            f"the digits data set comes with scikit-learn, whose copy cannot be read here ({error}); "
            "do: pip install --force-reinstall scikit-learn"
        ) from error
    return split_examples(table[:, :-1].astype(np.float32) / 16.0, table[:, -1].astype(np.int64))


def split_examples(inputs: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Dataset:
    """Shuffle and cut examples into training (60 %), validation and test (20 % each, rounded down).

    Args:
        inputs: (N, ...) examples.
        labels: (N,) class indices from 0.
    """
    held_out = len(labels) // 5

    def part(chosen: npt.NDArray[np.int64]) -> Split:
        return Split(torch.from_numpy(inputs[chosen]), torch.from_numpy(labels[chosen]))

    validation, test, train = map(part, shuffle_and_cut(len(labels), held_out, held_out))
    return Dataset(train, validation, test, classes=int(labels.max()) + 1)


def shuffle_and_cut(examples: int, *held_out: int) -> list[npt.NDArray[np.int64]]:
    """The positions of examples, shuffled by the fixed seed: one part of each ``held_out`` size, then the rest."""
    order = permutation(examples, seed=SPLIT_SEED, index=0, purpose=Purpose.SPLIT)
    return np.split(order, np.cumsum(held_out))
