"""Corruption of data sets: exact rates, the right classes, and the same choices whatever else is asked for."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.workloads.base import Dataset, Split
from workers.workloads.corruption import DataOptions, corrupt


def make_split(labels: list[int]) -> Split:
    """Inputs are positions, so that an example is known by its input."""
    return Split(torch.arange(len(labels)), torch.tensor(labels, dtype=torch.int64))


def make_dataset(sizes: list[int]) -> Dataset:
    """Labels in a fixed order that is neither sorted nor periodic; a tenth as many to validate and to test."""
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    labels = [labels[i] for i in np.random.default_rng(0).permutation(len(labels))]
    few = labels[: max(1, len(labels) // 10)]
    return Dataset(make_split(labels), make_split(few), make_split(few[::-1]), classes=len(sizes))


def sizes_of(dataset: Dataset) -> list[int]:
    assert dataset.classes is not None
    return torch.bincount(dataset.train.labels, minlength=dataset.classes).tolist()


def transitions(dataset: Dataset, corrupted: Dataset) -> torch.Tensor:
    """(C, C) counts of training examples by right and by new label."""
    right, new = dataset.train.labels[corrupted.train.inputs], corrupted.train.labels
    assert dataset.classes is not None
    return torch.bincount(right * dataset.classes + new, minlength=dataset.classes**2).view(dataset.classes, -1)


@st.composite
def options(draw: st.DrawFn) -> DataOptions:
    noise = draw(st.sampled_from(["none", "symmetric", "pair", "heteroskedastic"]))
    imbalance = draw(st.sampled_from(["none", "step", "exponential"]))
    limits = st.none() | st.integers(1, 200)
    return DataOptions(
        label_noise=noise,
        noise_rate=0.0 if noise == "none" else draw(st.floats(0, 1)),
        imbalance=imbalance,
        imbalance_ratio=1.0 if imbalance == "none" else draw(st.floats(1, 200)),
        limit_train=draw(limits),
        limit_validation=draw(limits),
        limit_test=draw(limits),
    )


SIZES = st.lists(st.integers(1, 40), min_size=4, max_size=8)


@given(sizes=SIZES, wish=options())
def test_examples_stay_themselves_and_only_training_labels_become_wrong(sizes: list[int], wish: DataOptions) -> None:
    before = make_dataset(sizes)
    after = corrupt(before, wish)
    for part, limit in (("train", None), ("validation", wish.limit_validation), ("test", wish.limit_test)):
        old, new = getattr(before, part), getattr(after, part)
        positions = new.inputs.tolist()
        assert positions == sorted(set(positions))
        if part != "train":
            assert len(positions) == min(len(old.labels), limit or len(old.labels))
            assert torch.equal(new.labels, old.labels[new.inputs])
    assert after.train.labels.dtype == torch.int64
    assert torch.equal(before.train.labels, make_dataset(sizes).train.labels)
    assert after.classes == before.classes


@given(sizes=SIZES, wish=options())
def test_the_same_wish_gives_the_same_data(sizes: list[int], wish: DataOptions) -> None:
    first, second = (corrupt(make_dataset(sizes), wish) for _ in range(2))
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert torch.equal(first.train.labels, second.train.labels)


def test_no_option_leaves_everything_as_it_is_without_a_copy() -> None:
    before = make_dataset([5, 6, 7])
    after = corrupt(before, DataOptions())
    for part in ("train", "validation", "test"):
        assert getattr(after, part) is getattr(before, part)


def test_label_noise_shares_the_images_with_the_clean_data() -> None:
    before = make_dataset([50, 60, 70])
    after = corrupt(before, DataOptions(label_noise="symmetric", noise_rate=0.5))
    assert after.train.inputs is before.train.inputs
    assert not torch.equal(after.train.labels, before.train.labels)


@given(sizes=SIZES, rate=st.floats(0, 1), noise=st.sampled_from(["symmetric", "pair"]))
def test_every_class_has_the_whole_number_of_wrong_labels_nearest_to_its_share(
    sizes: list[int], rate: float, noise: Any
) -> None:
    before = make_dataset(sizes)
    counts = transitions(before, corrupt(before, DataOptions(label_noise=noise, noise_rate=rate)))
    wrong = counts.sum(1) - counts.diagonal()
    assert counts.sum(1).tolist() == sizes
    for label, size in enumerate(sizes):
        assert abs(wrong[label].item() - rate * size) <= 0.5 + 1e-9


def test_pair_noise_has_the_transition_matrix_of_co_teaching() -> None:
    before = make_dataset([100] * 5)
    counts = transitions(before, corrupt(before, DataOptions(label_noise="pair", noise_rate=0.45)))
    assert counts.tolist() == [
        [55, 45, 0, 0, 0],
        [0, 55, 45, 0, 0],
        [0, 0, 55, 45, 0],
        [0, 0, 0, 55, 45],
        [45, 0, 0, 0, 55],
    ]


def test_symmetric_noise_spreads_evenly_over_the_other_classes() -> None:
    before = make_dataset([5000] * 5)
    counts = transitions(before, corrupt(before, DataOptions(label_noise="symmetric", noise_rate=0.8)))
    assert counts.diagonal().tolist() == [1000] * 5
    others = counts[~torch.eye(5, dtype=torch.bool)].double()
    assert ((others - 1000) ** 2 / 1000).sum() < 37.7  # chi-squared, 15 degrees of freedom, p = 0.001


def test_heteroskedastic_noise_exchanges_labels_among_every_other_class_only() -> None:
    before = make_dataset([3000] * 7)
    counts = transitions(before, corrupt(before, DataOptions(label_noise="heteroskedastic", noise_rate=0.4)))
    noisy = [1, 3, 5]
    assert counts.diagonal().tolist() == [3000, 1800, 3000, 1800, 3000, 1800, 3000]
    between = counts[noisy][:, noisy]
    assert between.sum(1).tolist() == [3000] * 3
    others = between[~torch.eye(3, dtype=torch.bool)].double()
    assert ((others - 600) ** 2 / 600).sum() < 16.3  # chi-squared, 3 degrees of freedom, p = 0.001


@given(sizes=SIZES, rates=st.tuples(st.floats(0, 1), st.floats(0, 1)))
@pytest.mark.parametrize("noise", ["symmetric", "pair", "heteroskedastic"])
def test_labels_wrong_at_one_rate_are_wrong_in_the_same_way_at_every_higher_rate(
    noise: Any, sizes: list[int], rates: tuple[float, float]
) -> None:
    before = make_dataset(sizes)
    low, high = (
        corrupt(before, DataOptions(label_noise=noise, noise_rate=rate)).train.labels for rate in sorted(rates)
    )
    wrong = low != before.train.labels
    assert torch.equal(high[wrong], low[wrong])


@given(sizes=SIZES, limits=st.tuples(st.integers(1, 300), st.integers(1, 300)), wish=options())
def test_a_smaller_limit_keeps_a_subset(sizes: list[int], limits: tuple[int, int], wish: DataOptions) -> None:
    before = make_dataset(sizes)
    whole = set(corrupt(before, dataclasses.replace(wish, limit_train=None)).train.inputs.tolist())
    small, large = (
        set(corrupt(before, dataclasses.replace(wish, limit_train=limit)).train.inputs.tolist())
        for limit in sorted(limits)
    )
    assert small <= large <= whole
    assert [len(small), len(large)] == [min(limit, len(whole)) for limit in sorted(limits)]


@given(sizes=SIZES, wish=options())
def test_label_noise_does_not_choose_which_examples_are_kept(sizes: list[int], wish: DataOptions) -> None:
    before = make_dataset(sizes)
    clean = corrupt(before, dataclasses.replace(wish, label_noise="none", noise_rate=0.0))
    assert torch.equal(corrupt(before, wish).train.inputs, clean.train.inputs)


def test_a_limit_after_imbalance_keeps_the_shares_of_the_classes() -> None:
    """It would not if both used the same words: rare classes keep those of the smallest."""
    wish = DataOptions(imbalance="step", imbalance_ratio=10.0)
    before = make_dataset([4000] * 4)
    assert sizes_of(corrupt(before, wish)) == [4000, 4000, 400, 400]
    limited = sizes_of(corrupt(before, dataclasses.replace(wish, limit_train=4400)))
    expected = np.array([2000, 2000, 200, 200])
    assert (np.abs(limited - expected) < 4 * np.sqrt(expected)).all()


def test_a_limit_is_drawn_from_all_positions_alike() -> None:
    kept = corrupt(make_dataset([1000] * 10), DataOptions(limit_train=2000)).train.inputs
    counts = torch.histc(kept.double(), bins=20, min=0, max=10_000)
    assert ((counts - 100) ** 2 / 100).sum() < 43.8  # chi-squared, 19 degrees of freedom, p = 0.001


def test_exponential_imbalance_gives_the_class_sizes_of_long_tailed_cifar() -> None:
    """Those that LDAM's code makes of CIFAR-10 at ratio 100: int(5000 * 0.01 ** (i / 9))."""
    before = make_dataset([5000] * 10)
    after = corrupt(before, DataOptions(imbalance="exponential", imbalance_ratio=100.0))
    assert sizes_of(after) == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_a_class_that_divides_evenly_does_not_lose_an_example_to_rounding() -> None:
    after = corrupt(make_dataset([98] * 2), DataOptions(imbalance="step", imbalance_ratio=49.0))
    assert sizes_of(after) == [98, 2]


def test_step_imbalance_shrinks_the_last_half_of_the_classes() -> None:
    for classes, sizes in ((4, [500, 500, 50, 50]), (5, [500, 500, 500, 50, 50])):
        before = make_dataset([500] * classes)
        assert sizes_of(corrupt(before, DataOptions(imbalance="step", imbalance_ratio=10.0))) == sizes


@given(
    sizes=SIZES, kind=st.sampled_from(["step", "exponential"]), ratios=st.tuples(st.floats(1, 1e6), st.floats(1, 1e6))
)
def test_a_higher_ratio_keeps_a_subset_and_no_class_dies(
    sizes: list[int], kind: Any, ratios: tuple[float, float]
) -> None:
    before = make_dataset(sizes)
    mild, severe = (corrupt(before, DataOptions(imbalance=kind, imbalance_ratio=ratio)) for ratio in sorted(ratios))
    assert set(severe.train.inputs.tolist()) <= set(mild.train.inputs.tolist())
    assert min(sizes_of(severe)) >= 1
    assert sizes_of(severe)[0] == sizes[0]


def test_label_noise_is_counted_after_imbalance_and_limit() -> None:
    before = make_dataset([1000] * 4)
    wish = DataOptions(label_noise="pair", noise_rate=0.25, imbalance="step", imbalance_ratio=100.0, limit_train=1500)
    counts = transitions(before, corrupt(before, wish))
    assert counts.sum() == 1500
    for label, size in enumerate(counts.sum(1).tolist()):
        assert counts[label, label] == size - int(size * 0.25 + 0.5)


SEQUENCES = Dataset(
    *(Split(torch.arange(30), torch.arange(60).view(30, 2) % 4) for _ in range(3)),
    classes=4,
)


@pytest.mark.parametrize("dataset", [SEQUENCES, dataclasses.replace(make_dataset([10] * 4), classes=None)])
def test_data_without_a_class_per_example_may_be_limited_but_not_corrupted(dataset: Dataset) -> None:
    limited = corrupt(dataset, DataOptions(limit_train=7))
    assert len(limited.train.inputs) == 7
    assert torch.equal(limited.train.labels, dataset.train.labels[limited.train.inputs])
    with pytest.raises(ValueError, match="label noise 'pair' needs one class per example, which this data set has not"):
        corrupt(dataset, DataOptions(label_noise="pair", noise_rate=0.1))
    with pytest.raises(ValueError, match="imbalance 'step' needs one class per example"):
        corrupt(dataset, DataOptions(imbalance="step", imbalance_ratio=2.0))


def test_noise_among_every_other_class_needs_two_of_these() -> None:
    with pytest.raises(ValueError, match="'heteroskedastic' needs at least 4 classes, and there are 3"):
        corrupt(make_dataset([9, 9, 9]), DataOptions(label_noise="heteroskedastic", noise_rate=0.1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label_noise": "gaussian"}, "label_noise is 'gaussian'; choose one of none, symmetric, pair, heterosk"),
        ({"imbalance": "linear"}, "imbalance is 'linear'; choose one of none, step, exponential"),
        ({"label_noise": "pair", "noise_rate": 1.5}, "noise_rate is 1.5"),
        ({"label_noise": "pair", "noise_rate": float("nan")}, "noise_rate is nan"),
        ({"noise_rate": 0.2}, "noise_rate is 0.2 without label noise"),
        ({"imbalance": "step", "imbalance_ratio": 0.1}, "imbalance_ratio is 0.1"),
        ({"imbalance": "step", "imbalance_ratio": float("inf")}, "imbalance_ratio is inf"),
        ({"imbalance_ratio": 10.0}, "imbalance_ratio is 10.0 without imbalance"),
        ({"limit_train": 0}, "limit_train is 0"),
        ({"limit_validation": 2.5}, "limit_validation is 2.5"),
        ({"limit_test": True}, "limit_test is True"),
    ],
)
def test_values_that_mean_nothing_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataOptions(**values)


def test_choices_are_those_of_earlier_versions() -> None:
    """A known answer of our own: changing which labels are wrong would make results of two versions incomparable."""
    wish = DataOptions(
        label_noise="symmetric", noise_rate=0.4, imbalance="exponential", imbalance_ratio=3.0, limit_train=8
    )
    after = corrupt(make_dataset([6] * 4), wish)
    assert after.train.inputs.tolist() == [1, 2, 9, 12, 13, 17, 18, 22]
    assert after.train.labels.tolist() == [0, 3, 3, 3, 2, 1, 0, 0]
