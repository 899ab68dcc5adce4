"""Where the points of an Optuna study come from, as far as its samplers leave traces."""

from collections.abc import Sequence
from typing import Literal

from study.report.foreign.database import ForeignStudy
from study.report.foreign.seeds import is_enqueued

SamplerKind = Literal["unknown", "random", "qmc", "grid", "adaptive"]

# The first part of the keys under which samplers keep what they need of a trial. Independent TPE, random search and
# brute force keep nothing.
_ADAPTIVE = ("tpe:", "gp:", "cma:", "sepcma:", "cma_es:", "nsga2:", "NSGAII", "BaseGA", "motpe:")


def find_sampler(study: ForeignStudy) -> SamplerKind:
    """What chose the points of the design; ``unknown`` if some of them may have come from anything.

    Args:
        study: With trials in any state.
    """
    sampled = [trial for trial in study.trials if not is_enqueued(trial) and trial.params]
    if any(_is_adaptive(key) for trial in sampled for key in trial.system_attrs):
        return "adaptive"
    if sampled and all("grid_id" in trial.system_attrs for trial in sampled):
        return "grid"
    # The first trial shows the sampler the space: it is drawn at random.
    if 0 < len(sampled) - 1 <= _count_qmc_points(study):
        return "qmc"
    return "unknown"


def settle_sampler(studies: Sequence[ForeignStudy], told: SamplerKind) -> tuple[SamplerKind, str | None]:
    """What all studies together are taken for, and a caution about it.

    Traces of a sampler count more than what one is told: they cannot be there otherwise.

    Args:
        studies: Those that are compared.
        told: What the user says, or ``unknown``.
    """
    found = {find_sampler(study) for study in studies}
    if "adaptive" in found:
        return "adaptive", (
            "Points were proposed by a sampler from the results of earlier ones: they are no draws from the search "
            "space, so nothing that speaks of the whole space is computed."
            + (
                f" This is stored with the trials, although {told} was given."
                if told not in ("unknown", "adaptive")
                else ""
            )
        )
    if told == "adaptive":
        return told, (
            "Points were proposed from the results of earlier ones, as was given: nothing that speaks of the whole "
            "space is computed."
        )
    if "grid" in found and told in ("random", "qmc"):
        return "grid", f"The stored attributes say that points are of a grid, although {told} was given."
    if told != "unknown":
        return told, f"That points are draws from the search space ({told}) is not stored; it was given."
    if len(found) == 1 and found != {"unknown"}:
        return found.pop(), None
    return "unknown", (
        "The sampler is not stored: points may have been proposed from earlier results, so nothing that speaks of the "
        "whole space is computed. If they are draws from the space, give --sampler random, qmc or grid."
    )


def _is_adaptive(key: str) -> bool:
    return key.startswith(_ADAPTIVE) or key.endswith(":generation")


def _count_qmc_points(study: ForeignStudy) -> int:
    """Points of quasi-random sequences: each sequence keeps the number of its last point, from 0."""
    last = [value for key, value in study.system_attributes.items() if key.startswith("qmc:")]
    return sum(value + 1 for value in last if isinstance(value, int))
