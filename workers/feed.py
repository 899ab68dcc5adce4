"""What goes into a training step: batches in each seed's own order, augmented, and the schedule's factor.

Everything random is counter-based and keyed by (study seed, seed index, purpose, epoch): it depends neither on the row
nor on its company.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from workers.dropout import dropout_key, dropout_keys
from workers.engines import StepData
from workers.global_generators import GeneratorStates
from workers.messages import TrialBatch
from workers.random import Purpose, permutation, random_words
from workers.workloads import Dataset, Workload


class Feed:
    """The training data of one trial batch.

    Args:
        workload: With batch size, augmentation and schedule as the batch wants them.
        data: Where the rows are.
        model: Tells whether there is dropout.
        batch: Its study seed keys the randomness.

    Raises:
        TypeError: The augmentation has randomness of its own, beside the words that it is given.
    """

    def __init__(self, workload: Workload, data: Dataset, model: nn.Module, batch: TrialBatch) -> None:
        self._workload = workload
        self._train = data.train
        self._study_seed = batch.study_seed
        self._has_dropout = bool(dropout_keys(model))
        #: Steps in an epoch; the last may have a smaller batch.
        self.steps = -(-len(data.train.labels) // workload.batch_size)
        self._check_augmentation()

    def epoch(self, epoch: int, seed_of_row: Sequence[int]) -> Iterator[StepData]:
        """The steps of an epoch.

        Args:
            epoch: 1 for the first.
            seed_of_row: Seed index of each row.
        """
        seeds = list(dict.fromkeys(seed_of_row))
        positions = [seeds.index(seed) for seed in seed_of_row]
        orders = [self._order(seed, epoch) for seed in seeds]
        words = [self._augmentation_words(seed, epoch) for seed in seeds]
        size = self._workload.batch_size
        for step in range(self.steps):
            chosen = [order[step * size : (step + 1) * size] for order in orders]
            yield StepData(
                inputs=[self._inputs(examples, own) for examples, own in zip(chosen, words, strict=True)],
                labels=[self._train.labels[examples] for examples in chosen],
                seed_of_row=positions,
                dropout_keys=self._dropout_keys(seeds, (epoch - 1) * self.steps + step),
            )

    def _order(self, seed: int, epoch: int) -> Tensor:
        order = permutation(
            len(self._train.labels), seed=self._study_seed, index=seed, purpose=Purpose.DATA_ORDER, step=epoch
        )
        return torch.from_numpy(order).to(self._train.labels.device)

    def _augmentation_words(self, seed: int, epoch: int) -> Tensor | None:
        """One word per training example, not per place in the epoch: order and augmentation are independent."""
        if self._workload.augment is None:
            return None
        words = random_words(
            len(self._train.labels), seed=self._study_seed, index=seed, purpose=Purpose.AUGMENTATION, step=epoch
        )
        return torch.from_numpy(words.view(np.int64)).to(self._train.labels.device)

    def _inputs(self, examples: Tensor, words: Tensor | None) -> Tensor:
        inputs = self._train.inputs[examples]
        if self._workload.augment is None or words is None:
            return inputs
        return self._workload.augment(inputs, words[examples])

    def _check_augmentation(self) -> None:
        """Twice the same words, on the CPU, whose generator is watched: what draws there draws everywhere."""
        words = self._augmentation_words(0, 1)
        if self._workload.augment is None or words is None:
            return
        size = self._workload.batch_size
        inputs, words = self._train.inputs[:size].cpu(), words[:size].cpu()
        before = GeneratorStates.read()
        try:
            images = [self._workload.augment(inputs.clone(), words.clone()) for _ in range(2)]
            moved = before.moved()
        finally:
            before.restore()
        if moved or not torch.equal(images[0].nan_to_num(), images[1].nan_to_num()):
            raise TypeError(
                f"augment of workload {self._workload.name!r} "
                + (f"draws from the global generator of {', '.join(moved)}" if moved else "changes from call to call")
                + ": its runs would depend on their company; take all randomness from the words that augment is given "
                "as its second argument, one random 64-bit number (int64) per example"
            )

    def _dropout_keys(self, seeds: Sequence[int], step: int) -> list[Tensor] | None:
        if not self._has_dropout:
            return None
        return [
            dropout_key(study_seed=self._study_seed, seed=seed, step=step).to(self._train.labels.device)
            for seed in seeds
        ]

    def lr_factors(self, epoch: int, step: int, budgets: Sequence[int]) -> Tensor:
        """The schedule's factor for each row, float64 (T,).

        Args:
            epoch: 1 for the first.
            step: In the epoch, from 0.
            budgets: Epochs that each row is trained for.
        """
        done = (epoch - 1) * self.steps + step
        factor_of = {budget: self._workload.schedule(done / (budget * self.steps)) for budget in set(budgets)}
        return torch.tensor(
            [factor_of[budget] for budget in budgets], dtype=torch.float64, device=self._train.labels.device
        )
