"""Packing trials into batches."""

from hypothesis import given
from hypothesis import strategies as st

from workers.batching import pack_trials


@given(trials=st.integers(0, 300), seeds=st.integers(1, 40), max_rows=st.integers(1, 64))
def test_batches_hold_every_trial_once_in_order_within_the_limit(trials: int, seeds: int, max_rows: int) -> None:
    groups = pack_trials(range(trials), seeds=seeds, max_rows=max_rows)
    assert [trial for group in groups for trial in group] == list(range(trials))
    assert all(len(group) * seeds <= max_rows or len(group) == 1 for group in groups)
    assert all(groups)


@given(trials=st.integers(1, 300), seeds=st.integers(1, 8))
def test_batches_differ_by_at_most_one_trial(trials: int, seeds: int) -> None:
    sizes = [len(group) for group in pack_trials(range(trials), seeds=seeds)]
    assert max(sizes) - min(sizes) <= 1
