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


@given(trials=st.integers(1, 300), seeds=st.integers(1, 8), workers=st.integers(1, 5))
def test_batches_differ_by_at_most_one_trial(trials: int, seeds: int, workers: int) -> None:
    sizes = [len(group) for group in pack_trials(range(trials), seeds=seeds, max_rows=24, workers=workers)]
    assert max(sizes) - min(sizes) <= 1


@given(trials=st.integers(1, 300), seeds=st.integers(1, 8), workers=st.integers(1, 5))
def test_no_worker_idles_in_the_last_round_while_there_are_trials(trials: int, seeds: int, workers: int) -> None:
    groups = len(pack_trials(range(trials), seeds=seeds, max_rows=24, workers=workers))
    assert groups % workers == 0 or groups == trials
