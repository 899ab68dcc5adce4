"""The feed: batches, augmentation, dropout and schedule of a row hang on its own seed and budget."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_runs import STUDY_SEED, make_batch

from adai.schedules import step
from workers.dropout import dropout_key, replace_dropout
from workers.engines import StepData
from workers.feed import Feed
from workers.global_generators import GeneratorStates
from workers.random import Purpose, permutation, random_words
from workers.workloads import Augmentation, Dataset, Split, Workload, get_workload

EXAMPLES, BATCH, STEPS = 23, 5, 5


def make_data() -> Dataset:
    """Each input is its own number."""
    train = Split(torch.arange(EXAMPLES, dtype=torch.float64).unsqueeze(1), torch.arange(EXAMPLES) % 3)
    return Dataset(train, train, train, classes=3)


def make_feed(
    model: nn.Module | None = None, augment: Augmentation | None = None, study_seed: int = STUDY_SEED
) -> Feed:
    workload: Workload = dataclasses.replace(get_workload("digits-mlp"), batch_size=BATCH, augment=augment)
    batch = make_batch()
    return Feed(workload, make_data(), model or nn.Linear(1, 3), dataclasses.replace(batch, study_seed=study_seed))


def epoch_of(feed: Feed, epoch: int, *seed_of_row: int) -> list[StepData]:
    return list(feed.epoch(epoch, seed_of_row))


def order_of(steps: list[StepData], seed: int = 0) -> list[int]:
    return torch.cat([data.inputs[seed].flatten() for data in steps]).long().tolist()


def test_every_example_is_seen_once_an_epoch_in_whole_batches_and_a_smaller_one() -> None:
    feed = make_feed()
    steps = epoch_of(feed, 1, 4)
    assert feed.steps == len(steps) == STEPS
    assert [len(data.labels[0]) for data in steps] == [5, 5, 5, 5, 3]
    assert sorted(order_of(steps)) == list(range(EXAMPLES))
    for data in steps:
        assert torch.equal(data.labels[0], data.inputs[0].flatten().long() % 3)


def test_a_training_set_of_whole_batches_has_no_empty_one() -> None:
    data = make_data()
    whole = dataclasses.replace(data, train=Split(data.train.inputs[:20], data.train.labels[:20]))
    feed = Feed(dataclasses.replace(get_workload("digits-mlp"), batch_size=5), whole, nn.Linear(1, 3), make_batch())
    assert [len(data.labels[0]) for data in epoch_of(feed, 1, 0)] == [5] * 4


def test_the_order_is_the_permutation_of_study_seed_seed_and_epoch() -> None:
    for epoch, seed in ((1, 0), (2, 0), (1, 3)):
        expected = permutation(EXAMPLES, seed=STUDY_SEED, index=seed, purpose=Purpose.DATA_ORDER, step=epoch)
        assert order_of(epoch_of(make_feed(), epoch, seed)) == expected.tolist()
    assert order_of(epoch_of(make_feed(study_seed=12), 1, 0)) != order_of(epoch_of(make_feed(), 1, 0))


def test_rows_of_one_seed_share_a_batch_that_no_other_row_changes() -> None:
    steps = epoch_of(make_feed(), 2, 3, 0, 3, 3)
    for data in steps:
        assert list(data.seed_of_row) == [0, 1, 0, 0]
        assert len(data.inputs) == len(data.labels) == 2
    assert order_of(steps, 0) == order_of(epoch_of(make_feed(), 2, 3))
    assert order_of(steps, 1) == order_of(epoch_of(make_feed(), 2, 0))


def test_an_example_has_its_own_augmentation_word_wherever_it_stands_in_the_epoch() -> None:
    def put_words_beside(inputs: Tensor, words: Tensor) -> Tensor:
        return torch.stack([inputs.flatten(), words.double()], dim=1)

    feed = make_feed(augment=put_words_beside)
    for epoch, seed in ((1, 0), (2, 0), (1, 5)):
        # The number of the row's seed among those of the batch must not matter.
        steps = epoch_of(feed, epoch, 9, seed)
        rows = torch.cat([data.inputs[1] for data in steps])
        words = random_words(EXAMPLES, seed=STUDY_SEED, index=seed, purpose=Purpose.AUGMENTATION, step=epoch)
        expected = torch.from_numpy(words.view(np.int64)).double()
        assert torch.equal(rows[:, 1], expected[rows[:, 0].long()])


def test_data_that_is_not_augmented_is_as_it_was() -> None:
    data = make_data()
    for step_data in epoch_of(make_feed(), 1, 0):
        chosen = step_data.inputs[0].flatten().long()
        assert torch.equal(step_data.inputs[0], data.train.inputs[chosen])


def test_dropout_keys_count_the_steps_of_the_whole_run() -> None:
    feed = make_feed(model=replace_dropout(nn.Sequential(nn.Linear(1, 3), nn.Dropout(0.5))))
    for epoch in (1, 3):
        for number, data in enumerate(epoch_of(feed, epoch, 2, 7)):
            assert data.dropout_keys is not None
            for key, seed in zip(data.dropout_keys, (2, 7), strict=True):
                step_of_run = (epoch - 1) * STEPS + number
                assert torch.equal(key, dropout_key(study_seed=STUDY_SEED, seed=seed, step=step_of_run))


def test_models_without_dropout_get_no_keys() -> None:
    assert all(data.dropout_keys is None for data in epoch_of(make_feed(), 1, 0))


def test_the_schedule_follows_each_rows_own_budget() -> None:
    workload = dataclasses.replace(get_workload("digits-mlp"), batch_size=BATCH, schedule=step((0.5,), 0.1))
    feed = Feed(workload, make_data(), nn.Linear(1, 3), make_batch())
    factors = [feed.lr_factors(epoch, number, (4, 2)).tolist() for epoch in (1, 2) for number in range(STEPS)]
    # A budget of 4 epochs has 20 steps, of which the first 10 are before its middle; one of 2 has 5 of 10.
    assert factors == [[1.0, 1.0]] * 5 + [[1.0, 0.1]] * 5
    assert feed.lr_factors(3, 0, (4,)).tolist() == [0.1]


def test_factors_are_computed_in_float64_from_the_share_of_steps_that_are_done() -> None:
    workload = dataclasses.replace(get_workload("digits-mlp"), batch_size=BATCH, schedule=lambda done: done)
    feed = Feed(workload, make_data(), nn.Linear(1, 3), make_batch())
    factor_T = feed.lr_factors(2, 3, (7, 3))
    assert factor_T.dtype == torch.float64
    assert factor_T.tolist() == [8 / 35, 8 / 15]
    assert feed.lr_factors(1, 0, (1,)).tolist() == [0.0]
    assert feed.lr_factors(7, STEPS - 1, (7,)).item() < 1.0
    assert math.isclose(feed.lr_factors(7, STEPS - 1, (7,)).item(), 34 / 35)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_second_pass_over_an_epoch_is_the_same(epoch: int) -> None:
    feed = make_feed()
    assert order_of(epoch_of(feed, epoch, 1)) == order_of(epoch_of(feed, epoch, 1))


def test_augmentation_with_randomness_of_its_own_is_refused() -> None:
    model, generator = nn.Linear(1, 3), torch.Generator()
    calls = itertools.count()

    def draw(inputs: Tensor, _: Tensor) -> Tensor:
        return inputs + torch.randn_like(inputs)

    def draw_with_numpy(inputs: Tensor, _: Tensor) -> Tensor:
        return inputs + np.random.rand()

    def draw_from_own(inputs: Tensor, _: Tensor) -> Tensor:
        return inputs + torch.rand(inputs.shape, generator=generator)

    before = GeneratorStates.read()
    for augment, reason in (
        (draw, "draws from the global generator of torch"),
        (draw_with_numpy, "draws from the global generator of numpy.random"),
        (draw_from_own, "changes from call to call"),
        (lambda inputs, _: inputs + next(calls), "changes from call to call"),
    ):
        with pytest.raises(TypeError, match=f"augment of workload 'digits-mlp' {reason}: .* words that augment is"):
            make_feed(model, augment)
    assert before.moved() == ()


def test_augmentation_that_writes_into_its_inputs_leaves_the_training_set() -> None:
    data = make_data()
    expected = data.train.inputs.clone()
    workload = dataclasses.replace(get_workload("digits-mlp"), batch_size=BATCH, augment=lambda x, _: x.mul_(2))
    feed = Feed(workload, data, nn.Linear(1, 3), make_batch())
    assert sorted(order_of(epoch_of(feed, 1, 0))) == list(range(0, 2 * EXAMPLES, 2))
    assert torch.equal(data.train.inputs, expected)
