"""What an update rule is: two functions over rows of flat parameters, found by name.

Shapes: ``T`` rows (one run each), ``P`` parameters of one model. ``theta_TP`` is (T, P), a hyperparameter is (T,).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One hyperparameter of an update rule.

    Attributes:
        name: As users write it in a study spec.
        default: The value that trial 0 of every study uses.
        source: Where the default comes from.
        minimum: Smallest allowed value, included.
        supremum: Bound that values must stay below; infinity where there is none.
    """

    name: str
    default: float
    source: str
    minimum: float = 0.0
    supremum: float = math.inf

    def allows(self, value: float) -> bool:
        """Whether ``value`` lies in the valid range."""
        return self.minimum <= value < self.supremum

    @property
    def valid_range(self) -> str:
        """The valid range as people write it, such as ``[0, 1)``."""
        upper = "infinity" if math.isinf(self.supremum) else f"{self.supremum:g}"
        return f"[{self.minimum:g}, {upper})"


#: Elements that torch's vectorized loops take at once, at most: two AVX-512 registers of float64.
_VECTOR = 16

#: The state of a rule: a NamedTuple of tensors whose first dimension is T.
State = Any


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """An optimizer as two functions over rows.

    Attributes:
        name: The optimizer's name in specs and reports.
        hyperparameters: What ``update_`` expects in its mapping, in the order in which reports show them.
        init: ``init(theta_TP) -> state``.
        update_: ``update_(theta_TP, grad_TP, state, hyperparameters)`` steps in place. It may overwrite
            ``grad_TP``. Every hyperparameter is a float64 tensor of shape (T,). Rows never influence each other.
    """

    name: str
    hyperparameters: tuple[Hyperparameter, ...]
    init: Callable[[Tensor], State]
    update_: Callable[[Tensor, Tensor, State, Mapping[str, Tensor]], None]

    def hyperparameter(self, name: str) -> Hyperparameter:
        """The hyperparameter called ``name``.

        Raises:
            KeyError: This rule has none of that name.
        """
        for hyperparameter in self.hyperparameters:
            if hyperparameter.name == name:
                return hyperparameter
        allowed = ", ".join(h.name for h in self.hyperparameters)
        raise KeyError(f"{self.name} has no hyperparameter {name!r}; it has {allowed}")


_RULES: dict[str, UpdateRule] = {}


def register_rule(rule: UpdateRule) -> UpdateRule:
    """Make ``rule`` known to :func:`get_rule`.

    Raises:
        ValueError: The name is taken.
    """
    if rule.name in _RULES:
        raise ValueError(f"an update rule called {rule.name!r} exists already; choose another name")
    _RULES[rule.name] = rule
    return rule


def get_rule(name: str) -> UpdateRule:
    """The update rule called ``name``.

    Raises:
        KeyError: There is none; the message lists those there are.
    """
    if name not in _RULES:
        raise KeyError(f"no update rule is called {name!r}; there are {', '.join(list_rules())}")
    return _RULES[name]


def list_rules() -> tuple[str, ...]:
    """The names of all update rules, sorted."""
    return tuple(sorted(_RULES))


class MomentState(NamedTuple):
    """State of rules that keep a mean of gradients and of their squares."""

    step_T: Tensor  # int64: steps taken by the row
    m_TP: Tensor
    v_TP: Tensor


def init_moments(theta_TP: Tensor) -> MomentState:
    """A zero :class:`MomentState` for rows ``theta_TP``."""
    step_T = torch.zeros(theta_TP.shape[0], dtype=torch.int64, device=theta_TP.device)
    return MomentState(step_T, torch.zeros_like(theta_TP), torch.zeros_like(theta_TP))


def select_rows(state: State, rows: Tensor) -> State:
    """The state of ``rows`` only (a boolean mask of shape (T,) or an index tensor), in that order."""
    return type(state)._make(tensor[rows] for tensor in state)


def as_column(values_T: Tensor, like: Tensor) -> Tensor:
    """Per-row values as a (T, 1) column in the dtype and on the device of ``like``."""
    return values_T.to(like).unsqueeze(1)


def decay_power(decay_T: Tensor, step_T: Tensor) -> Tensor:
    """``decay ** step`` for each row, in float64: bias corrections lose digits in float32 when a decay is near 1.

    Processors take powers of several elements at once and round those left over at the end differently, by one unit
    in the last place. Filled up to whole vectors, a row's bits do not depend on how many rows there are.
    """
    rows = decay_T.shape[0]
    padding = (0, -rows % _VECTOR)
    return (pad(decay_T.double(), padding) ** pad(step_T, padding))[:rows]
