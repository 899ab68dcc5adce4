"""Watches the random generators that a process shares: whoever draws from them has results that hang on company."""

import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class GeneratorStates:
    """States of the global generators of torch (CPU), NumPy and Python at one moment."""

    torch_state: Tensor
    numpy_state: dict[str, Any]
    python_state: tuple[Any, ...]

    @classmethod
    def read(cls) -> "GeneratorStates":
        """The states as they are now."""
        return cls(torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate())

    def moved(self) -> tuple[str, ...]:
        """Names of the generators that have been drawn from, or seeded, since: torch, numpy.random, random."""
        now = GeneratorStates.read()
        moved = {
            "torch": not torch.equal(self.torch_state, now.torch_state),
            # The dictionary holds arrays, which have no plain comparison.
            "numpy.random": pickle.dumps(self.numpy_state) != pickle.dumps(now.numpy_state),
            "random": self.python_state != now.python_state,
        }
        return tuple(name for name, has_moved in moved.items() if has_moved)

    def restore(self) -> None:
        """Put the generators back into these states."""
        torch.set_rng_state(self.torch_state)
        np.random.set_state(self.numpy_state)
        random.setstate(self.python_state)


def find_hidden_randomness(model: nn.Module, call: Callable[[], object]) -> tuple[str, ...]:
    """Who draws from a global generator while ``call`` runs; the generators are left as they were.

    Run it on the CPU: what modules draw on another device does not move the generators that are watched.

    Args:
        model: Its modules are watched through forward hooks, which are gone afterwards.
        call: Runs ``model``, for example a forward and backward pass of one batch.

    Returns:
        Each module that draws in its own forward, not in that of a module within it, as ``name (Type)``, in the order
        of their first draw; and ``outside the model`` if something else draws. Empty: nothing is hidden.
    """
    found: dict[str, None] = {}
    before_call = GeneratorStates.read()
    hooks = [hook for name, module in model.named_modules() for hook in _watch(module, name, found)]
    try:
        call()
        if before_call.moved():
            found["outside the model"] = None
    finally:
        for hook in hooks:
            hook.remove()
        before_call.restore()
    return tuple(found)


def _watch(module: nn.Module, name: str, found: dict[str, None]) -> tuple[Any, Any]:
    """Hooks that note ``module`` in ``found`` when its forward draws."""
    before: list[GeneratorStates] = []
    label = f"{name or 'the model itself'} ({type(module).__name__})"

    def enter(*_: object) -> None:
        before.append(GeneratorStates.read())

    def leave(*_: object) -> None:
        states = before.pop()
        if states.moved():
            found[label] = None
            # The module around this one then sees its own draws only.
            states.restore()

    return module.register_forward_pre_hook(enter), module.register_forward_hook(leave)
