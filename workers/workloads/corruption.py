"""Harder versions of a data set: fewer training examples, unequal classes, wrong training labels."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from workers.random import Purpose, random_words, uniform
from workers.workloads.base import Dataset, Split
from workers.workloads.datasets import SPLIT_SEED

LabelNoise = Literal["none", "symmetric", "pair", "heteroskedastic"]
Imbalance = Literal["none", "step", "exponential"]

# Steps of the counter: two choices that shared words would not be independent.
_IMBALANCE, _TRAIN, _VALIDATION, _TEST = range(4)
_WHICH, _REPLACEMENT = range(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """What is to be done to a data set, in this order: imbalance, limits, label noise; by itself nothing.

    All choices depend on a fixed seed and on the positions of examples in the data set as loaded, so they are the same
    for every study. Remaining examples keep their order.

    Attributes:
        label_noise: Which training labels become wrong; validation and test labels never do.
            ``symmetric``: of every class, replaced by another class, uniformly.
            ``pair``: of every class c, replaced by c + 1, and the last by 0 (Han et al., Co-teaching, NeurIPS 2018).
            ``heteroskedastic``: of the classes 1, 3, 5 and so on, replaced by another of these, uniformly; labels of
            the other classes are all right. Cao et al. (Heteroskedastic and imbalanced deep learning with adaptive
            regularization, ICLR 2021) exchange labels inside chosen groups of similar classes, at rate 0.4, and leave
            all others alone; which classes are similar is not known of a data set in general.
        noise_rate: Share of wrong labels in every class that gets any, in [0, 1]: of n examples of a class, the whole
            number nearest to rate times n. Labels wrong at one rate are wrong at every higher rate, in the same way.
        imbalance: Which training examples are left out, of C classes (Cao et al., LDAM, NeurIPS 2019, section 4).
            ``step``: all but one in ``imbalance_ratio`` of the last C // 2 classes.
            ``exponential``: class c keeps its number times ``imbalance_ratio`` ** (-c / (C - 1)).
            Numbers are rounded down, and at least 1.
        imbalance_ratio: Of the largest to the smallest class, if they were equal before; at least 1.
        limit_train: Keep at most so many training examples, whatever their class; a smaller limit keeps a subset.
        limit_validation: The same for validation.
        limit_test: The same for test.

    Raises:
        ValueError: A value is not allowed, or a rate or ratio is set that nothing uses.
    """

    label_noise: LabelNoise = "none"
    noise_rate: float = 0.0
    imbalance: Imbalance = "none"
    imbalance_ratio: float = 1.0
    limit_train: int | None = None
    limit_validation: int | None = None
    limit_test: int | None = None

    def __post_init__(self) -> None:
        _check_choice("label_noise", self.label_noise, get_args(LabelNoise))
        _check_choice("imbalance", self.imbalance, get_args(Imbalance))
        if not 0 <= self.noise_rate <= 1:
            raise ValueError(f"noise_rate is {self.noise_rate}; it is a share: set it between 0 and 1")
        if self.label_noise == "none" and self.noise_rate > 0:
            raise ValueError(
                f"noise_rate is {self.noise_rate} without label noise; set label_noise, or noise_rate to 0"
            )
        if not 1 <= self.imbalance_ratio < math.inf:
            raise ValueError(f"imbalance_ratio is {self.imbalance_ratio}; set it to a finite number of at least 1")
        if self.imbalance == "none" and self.imbalance_ratio > 1:
            raise ValueError(
                f"imbalance_ratio is {self.imbalance_ratio} without imbalance; set imbalance, or imbalance_ratio to 1"
            )
        for name in ("limit_train", "limit_validation", "limit_test"):
            limit = getattr(self, name)
            if limit is not None and (type(limit) is not int or limit < 1):
                raise ValueError(f"{name} is {limit!r}; set it to a whole number of at least 1, or leave it out")


def corrupt(dataset: Dataset, options: DataOptions) -> Dataset:
    """The data set with the options applied; what they leave alone is shared with it, not copied.

    Raises:
        ValueError: Imbalance or label noise of a data set that has no class per example, or too few classes for it.
    """
    train = dataset.train
    kept = np.arange(len(train.labels))
    if options.imbalance != "none":
        labels, classes = _class_labels(dataset, f"imbalance {options.imbalance!r}", fewest=2)
        kept = _imbalance(labels, classes, options)
    kept = _limit(kept, len(train.labels), options.limit_train, _TRAIN)
    chosen = _take(train, kept)
    if options.label_noise != "none":
        fewest = 4 if options.label_noise == "heteroskedastic" else 2
        labels, classes = _class_labels(dataset, f"label noise {options.label_noise!r}", fewest=fewest)
        chosen = Split(chosen.inputs, torch.from_numpy(_mislabel(labels, kept, classes, options)).to(train.labels))
    return dataclasses.replace(
        dataset,
        train=chosen,
        validation=_limit_split(dataset.validation, options.limit_validation, _VALIDATION),
        test=_limit_split(dataset.test, options.limit_test, _TEST),
    )


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")


def _class_labels(dataset: Dataset, wish: str, *, fewest: int) -> tuple[npt.NDArray[np.int64], int]:
    if dataset.classes is None or dataset.train.labels.ndim != 1:
        raise ValueError(f"{wish} needs one class per example, which this data set has not; set it to 'none'")
    if dataset.classes < fewest:
        raise ValueError(f"{wish} needs at least {fewest} classes, and there are {dataset.classes}; set it to 'none'")
    return dataset.train.labels.numpy(force=True), dataset.classes


def _imbalance(labels: npt.NDArray[np.int64], classes: int, options: DataOptions) -> npt.NDArray[np.int64]:
    """The positions of the examples that are kept, ascending."""
    words = random_words(len(labels), seed=SPLIT_SEED, index=0, purpose=Purpose.SUBSET, step=_IMBALANCE)
    sizes = np.bincount(labels, minlength=classes)
    if options.imbalance == "step":
        exponents = (np.arange(classes) >= classes - classes // 2).astype(np.float64)
    else:
        exponents = np.arange(classes) / (classes - 1)
    # 98 / 49 must be 2 although rounding makes it a little less.
    shrunk = np.floor(sizes * options.imbalance_ratio**-exponents * (1 + 1e-12)).astype(np.int64)
    return np.flatnonzero(_rank_within(labels, words) < np.maximum(shrunk, 1)[labels])


def _mislabel(
    labels: npt.NDArray[np.int64], kept: npt.NDArray[np.int64], classes: int, options: DataOptions
) -> npt.NDArray[np.int64]:
    """The labels at the positions ``kept``, some of them wrong."""
    words = random_words(len(labels), seed=SPLIT_SEED, index=0, purpose=Purpose.LABEL_NOISE, step=_WHICH)
    draws = uniform(len(labels), seed=SPLIT_SEED, index=0, purpose=Purpose.LABEL_NOISE, step=_REPLACEMENT)
    right, sizes = labels[kept], np.bincount(labels[kept], minlength=classes)
    wrong = _rank_within(right, words[kept]) < np.floor(options.noise_rate * sizes + 0.5)[right]
    if options.label_noise == "pair":
        other = (right + 1) % classes
    elif options.label_noise == "symmetric":
        other = (right + 1 + (draws[kept] * (classes - 1)).astype(np.int64)) % classes
    else:
        odd = classes // 2
        other = (right // 2 + 1 + (draws[kept] * (odd - 1)).astype(np.int64)) % odd * 2 + 1
        wrong &= right % 2 == 1
    return np.where(wrong, other, right)


def _rank_within(labels: npt.NDArray[np.int64], words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The place of each example among those of its class, by its word: 0 for the smallest."""
    order = np.lexsort((words, labels))
    starts = np.cumsum(np.bincount(labels)) - np.bincount(labels)
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - starts[labels[order]]
    return rank


def _limit(kept: npt.NDArray[np.int64], examples: int, limit: int | None, step: int) -> npt.NDArray[np.int64]:
    """Of the positions ``kept`` those with the ``limit`` smallest words, ascending."""
    if limit is None or limit >= len(kept):
        return kept
    words = random_words(examples, seed=SPLIT_SEED, index=0, purpose=Purpose.SUBSET, step=step)
    return np.sort(kept[np.argsort(words[kept], kind="stable")[:limit]])


def _limit_split(split: Split, limit: int | None, step: int) -> Split:
    examples = len(split.labels)
    return _take(split, _limit(np.arange(examples), examples, limit, step))


def _take(split: Split, kept: npt.NDArray[np.int64]) -> Split:
    if len(kept) == len(split.labels):
        return split
    chosen = torch.from_numpy(kept)
    return Split(split.inputs[chosen], split.labels[chosen])
