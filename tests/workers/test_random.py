"""Randomness: known answers, and independence of everything but its key."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.random import Purpose, permutation, random_words, uniform

WORDS = st.integers(0, 2**64 - 1)


def philox4x64_10(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 as printed in Salmon et al. (SC 2011), table 2 and section 3.3, in Python integers."""
    mask = 2**64 - 1
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * c[2], 2**64)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return c


def test_philox_transcription_gives_the_known_answers_of_random123() -> None:
    assert philox4x64_10([0] * 4, [0] * 2) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]


@given(seed=WORDS, index=WORDS, purpose=st.sampled_from(Purpose), step=st.integers(0, 2**40))
def test_words_are_philox_of_the_stated_counter_and_key(seed: int, index: int, purpose: Purpose, step: int) -> None:
    words = random_words(8, seed=seed, index=index, purpose=purpose, step=step)
    expected = [w for block in (0, 1) for w in philox4x64_10([block, step, int(purpose), 0], [seed, index])]
    assert [int(word) for word in words] == expected


def test_words_do_not_touch_the_global_generator() -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    random_words(100, seed=1, index=2, purpose=Purpose.SPLIT)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("other", [{"seed": 4}, {"index": 1}, {"purpose": Purpose.SPLIT}, {"step": 1}])
def test_every_part_of_the_key_makes_another_stream(other: dict[str, int]) -> None:
    key = {"seed": 3, "index": 0, "purpose": Purpose.DATA_ORDER, "step": 0}
    assert not set(random_words(1000, **key)) & set(random_words(1000, **(key | other)))


def test_a_longer_stream_begins_with_the_shorter() -> None:
    long = random_words(100, seed=0, index=0, purpose=Purpose.DESIGN)
    assert (long[:7] == random_words(7, seed=0, index=0, purpose=Purpose.DESIGN)).all()


def test_uniform_numbers_fill_the_unit_interval_evenly() -> None:
    numbers = uniform(100_000, seed=5, index=0, purpose=Purpose.INITIAL_WEIGHTS)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=20, range=(0, 1))
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8  # chi-squared with 19 degrees of freedom, p = 0.001


@given(size=st.integers(0, 300), step=st.integers(0, 1000))
def test_a_permutation_holds_each_index_once(size: int, step: int) -> None:
    order = permutation(size, seed=9, index=1, purpose=Purpose.DATA_ORDER, step=step)
    assert sorted(order) == list(range(size))
