"""Packs trials into trial batches of a size that trains fast, without splitting the seeds of a trial."""

import itertools
from collections.abc import Sequence
from typing import TypeVar

Trial = TypeVar("Trial")


def pack_trials(trials: Sequence[Trial], *, seeds: int, max_rows: int, workers: int = 1) -> list[list[Trial]]:
    """Cut ``trials`` into consecutive groups of at most ``max_rows`` runs, as equal in size as possible.

    All seeds of a trial stay together, so that their mean is known at every epoch; a trial with more seeds than
    ``max_rows`` is a group of its own. The number of groups is a multiple of ``workers`` where there are enough
    trials, so that none of them idles at the end.

    Args:
        trials: Trials of one workload and optimizer that can be trained together.
        seeds: Runs per trial.
        max_rows: Largest number of runs in a group.
        workers: How many train at once.
    """
    if not trials:
        return []
    per_group = max(1, max_rows // seeds)
    groups = -(-len(trials) // per_group)
    groups = min(len(trials), -(-groups // workers) * workers)
    bounds = [len(trials) * group // groups for group in range(groups + 1)]
    return [list(trials[start:end]) for start, end in itertools.pairwise(bounds)]
