"""Random crops and flips: as a loop over pixels makes them, and equally frequent."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.random import Purpose, random_words
from workers.workloads.images import crop_and_flip


def crop_and_flip_one(image: torch.Tensor, word: int) -> torch.Tensor:
    """As in the docstring, with Python's integers and pixel by pixel."""
    bits = word % 2**64
    mirrored, down, right = bits & 1, (bits >> 1) % 2**31 * 9 // 2**31, (bits >> 32) % 2**31 * 9 // 2**31
    height, width = image.shape[1:]
    result = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            y = row + down - 4
            x = (width - 1 - column if mirrored else column) + right - 4
            if 0 <= y < height and 0 <= x < width:
                result[:, row, column] = image[:, y, x]
    return result


def make_images(*shape: int) -> torch.Tensor:
    return torch.arange(1.0, 1 + np.prod(shape)).reshape(shape)


WORDS = st.integers(-(2**63), 2**63 - 1)


@given(words=st.lists(WORDS, min_size=1, max_size=4), height=st.integers(1, 12), width=st.integers(1, 12))
def test_crops_and_flips_are_those_of_a_loop_over_pixels(words: list[int], height: int, width: int) -> None:
    images = make_images(len(words), 2, height, width)
    before = images.clone()
    together = crop_and_flip(images, torch.tensor(words))
    assert torch.equal(images, before)
    for number, word in enumerate(words):
        assert torch.equal(together[number], crop_and_flip_one(images[number], word))
        alone = crop_and_flip(images[number : number + 1], torch.tensor([word]))
        assert torch.equal(alone[0], together[number])


def outcomes(words: torch.Tensor) -> torch.Tensor:
    """(mirrored, down, right) per word, seen in where the pixels of a 9x9 image come from."""
    image = make_images(1, 1, 9, 9).expand(len(words), 1, 9, 9)
    centre = crop_and_flip(image, words)[:, 0, 4]  # its middle row, of which the middle is never padding
    middle = centre[:, 4].long() - 1
    right_to_left = centre[:, 3] > centre[:, 4]
    right_to_left |= (centre[:, 5] < centre[:, 4]) & (centre[:, 5] > 0)
    return torch.stack([right_to_left.long(), middle // 9, middle % 9], dim=1)


def test_all_shifts_and_both_sides_are_equally_frequent() -> None:
    words = random_words(162 * 300, seed=1, index=2, purpose=Purpose.AUGMENTATION)
    seen = outcomes(torch.from_numpy(words.view(np.int64)))
    counts = torch.bincount(seen @ torch.tensor([81, 9, 1]), minlength=162).double()
    assert len(counts) == 162
    assert ((counts - 300) ** 2 / 300).sum() < 221.0  # chi-squared with 161 degrees of freedom, p = 0.001


@pytest.mark.parametrize("first_bit", [1, 32])
def test_each_shift_has_a_ninth_of_the_values_within_one(first_bit: int) -> None:
    bounds = [-(-shift * 2**31 // 9) for shift in range(10)]
    assert {high - low for low, high in itertools.pairwise(bounds)} == {2**31 // 9, 2**31 // 9 + 1}
    ends = [value for low, high in itertools.pairwise(bounds) for value in (low, high - 1)]
    seen = outcomes(torch.tensor([value << first_bit for value in ends]))
    expected = [shift for shift in range(9) for _ in range(2)]
    assert seen[:, 1 if first_bit == 1 else 2].tolist() == expected
    assert not seen[:, 0].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.uint8])
def test_crops_keep_type_and_device(dtype: torch.dtype) -> None:
    images = make_images(3, 2, 6, 5).to(dtype).to(memory_format=torch.channels_last)
    words = torch.tensor([5 << 40, 3 << 20, -1])
    cropped = crop_and_flip(images, words)
    assert cropped.dtype == dtype
    assert torch.equal(cropped.double(), crop_and_flip(images.double(), words))
    elsewhere = crop_and_flip(images.to("meta"), words.to("meta"))
    assert elsewhere.shape == images.shape
