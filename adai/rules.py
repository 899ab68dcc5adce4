"""What an update rule is: functions over rows of flat parameters, found by name.

Shapes: ``T`` rows (one run each), ``P`` parameters of one model. ``theta_TP`` is (T, P), a hyperparameter is (T,).
"""

import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from adai.compiled import CHUNK, Kernel


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One hyperparameter of an update rule.

    Attributes:
        name: As users write it in a study spec.
        default: The value that trial 0 of every study uses.
        source: Where the default comes from.
        minimum: Smallest allowed value, included.
        supremum: Bound that values must stay below; infinity where there is none.
        maximum: Largest allowed value, included, where the bound itself is allowed.
    """

    name: str
    default: float
    source: str
    minimum: float = 0.0
    supremum: float = math.inf
    maximum: float | None = None

    def allows(self, value: float) -> bool:
        """Whether ``value`` lies in the valid range."""
        return self.minimum <= value < self.supremum and (self.maximum is None or value <= self.maximum)

    @property
    def bounds(self) -> tuple[float, float, bool]:
        """Smallest value, upper bound, and whether the bound itself is allowed."""
        return (self.minimum, self.supremum, False) if self.maximum is None else (self.minimum, self.maximum, True)

    @property
    def valid_range(self) -> str:
        """The valid range as people write it, such as ``[0, 1)``."""
        if self.maximum is not None:
            return f"[{self.minimum:g}, {self.maximum:g}]"
        upper = "infinity" if math.isinf(self.supremum) else f"{self.supremum:g}"
        return f"[{self.minimum:g}, {upper})"


#: Elements that torch's vectorized loops take at once, at most: two AVX-512 registers of float64.
_VECTOR = 16

#: The state of a rule: a NamedTuple of tensors whose first dimension is T.
State = Any
Hyperparameters = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """An optimizer as functions over rows.

    Attributes:
        name: The optimizer's name in specs and reports.
        hyperparameters: What ``update_`` expects in its mapping, in the order in which reports show them.
        init_state: ``init_state(theta_TP, sizes)`` gives the state before the first step; called by :meth:`init`.
        plain_update_: The step in ordinary torch operations; called by :meth:`update_` and compared with the kernel.
        kernel: The same step as one compiled function for rows in main memory, or None.
        options: What distinguishes this variant and cannot differ between rows, such as the length of a window.
    """

    name: str
    hyperparameters: tuple[Hyperparameter, ...]
    init_state: Callable[[Tensor, tuple[int, ...]], State]
    plain_update_: Callable[[Tensor, Tensor, State, Hyperparameters], None]
    kernel: Kernel | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def init(self, theta_TP: Tensor, sizes: Sequence[int] | None = None) -> State:
        """The state before the first step.

        Args:
            theta_TP: The rows.
            sizes: How many elements each parameter tensor of the model has, in the order in which they lie in a row;
                without it, a row is one tensor. Only rules that treat tensors as blocks (AdaShift) look at it.

        Returns:
            A NamedTuple of tensors whose first dimension is T; :func:`select_rows` drops rows of it.

        Raises:
            ValueError: ``sizes`` does not add up to P.
        """
        sizes = (theta_TP.shape[1],) if sizes is None else tuple(sizes)
        if sum(sizes) != theta_TP.shape[1]:
            raise ValueError(f"sizes {sizes} add up to {sum(sizes)}, but rows have {theta_TP.shape[1]} elements")
        return self.init_state(theta_TP, sizes)

    def update_(self, theta_TP: Tensor, grad_TP: Tensor, state: State, hyperparameters: Hyperparameters) -> None:
        """Step every row in place, by the compiled kernel where there is one, else by torch operations.

        Rows never influence each other: a row's numbers do not depend on how many there are or where it stands.

        Args:
            theta_TP: Parameters, float32 or float64; changed.
            grad_TP: Gradients, of the same shape and dtype; may be overwritten.
            state: From :meth:`init`; changed.
            hyperparameters: A float64 tensor of shape (T,) for each of ``hyperparameters``.

        Raises:
            TypeError: The rows are not float32 or float64.
            ValueError: A hyperparameter has another shape than (T,).
        """
        self._check_rows(theta_TP, hyperparameters)
        if len(theta_TP) == 0:
            return
        kernel = self.kernel
        if kernel is not None and kernel.takes(theta_TP, grad_TP, state) and is_verified(self, theta_TP.dtype):
            kernel.step_rows_(theta_TP, grad_TP, state, [hyperparameters[h.name] for h in self.hyperparameters])
        else:
            self.plain_update_(theta_TP, grad_TP, state, hyperparameters)

    def _check_rows(self, theta_TP: Tensor, hyperparameters: Hyperparameters) -> None:
        if theta_TP.dtype not in TOLERANCE:
            raise TypeError(f"{self.name}: rows must be float32 or float64, not {theta_TP.dtype}")
        for h in self.hyperparameters:
            shape = hyperparameters[h.name].shape
            if shape != theta_TP.shape[:1]:
                raise ValueError(
                    f"{self.name}: {h.name} must have one value for each of {theta_TP.shape[0]} rows, not the shape "
                    f"{tuple(shape)}"
                )

    def is_compiled_for(self, theta_TP: Tensor, grad_TP: Tensor) -> bool:
        """Whether :meth:`update_` takes the compiled step for rows like these, here and now."""
        return self.kernel is not None and self.kernel.takes(theta_TP, grad_TP) and is_verified(self, theta_TP.dtype)

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


#: Kernels that were compared with their plain rule in this process, and what came out.
_VERIFIED: dict[tuple[str, int, torch.dtype], bool] = {}
#: Between a kernel and its plain rule, after a few steps.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


def is_verified(rule: UpdateRule, dtype: torch.dtype) -> bool:
    """Whether the rule's kernel computes here what the plain rule does: compilers have returned wrong results.

    Tried once a process on a few small rows; a kernel that fails is reported by a warning and not used.
    """
    assert rule.kernel is not None  # noqa: S101 - narrows the type: asked of rules with a kernel
    key = (rule.kernel.function, rule.kernel.option, dtype)
    if key not in _VERIFIED:
        if rule.kernel.slots > _FEW_SLOTS:  # nothing moves before the window is full: the same kernel, sooner
            rule = get_rule(rule.name, **{**rule.options, "keep_num": _FEW_SLOTS})
        assert rule.kernel is not None  # noqa: S101 - narrows the type: variants of one rule
        _VERIFIED[key] = _agrees(rule, rule.kernel, dtype)
        if not _VERIFIED[key]:
            warnings.warn(
                f"the compiled step of {rule.name} in {dtype} does not compute what the rule says on this machine, so "
                "the plain one is used; please report the compiler and the processor",
                RuntimeWarning,
                stacklevel=3,
            )
    return _VERIFIED[key]


#: What verification multiplies the defaults by, one row each, so that every path of a kernel is taken.
_FACTORS = (1.0, 0.5, 0.9)
_FEW_SLOTS = 3


def verification_values(h: Hyperparameter) -> list[float]:
    """Values of a hyperparameter that a kernel is verified with: the default first, then smaller ones."""
    return [(h.default or (0.02 if row else 0.0)) * factor for row, factor in enumerate(_FACTORS)]


def _agrees(rule: UpdateRule, kernel: Kernel, dtype: torch.dtype) -> bool:
    rows, size, steps = len(_FACTORS), CHUNK + 150, 4 + kernel.slots
    numbers = torch.arange((steps + 1) * rows * size, dtype=torch.float64, device="cpu").mul_(0.7).sin_()
    start_TP, *gradients = numbers.view(-1, rows, size).to(dtype).unbind()
    values = [torch.tensor(verification_values(h), dtype=torch.float64, device="cpu") for h in rule.hyperparameters]
    named = {h.name: values_T for h, values_T in zip(rule.hyperparameters, values, strict=True)}
    compiled_TP, plain_TP = start_TP.clone(), start_TP.clone()
    compiled_state, plain_state = rule.init(compiled_TP), rule.init(plain_TP)
    for grad_TP in gradients:
        kernel.step_rows_(compiled_TP, grad_TP.clone(), compiled_state, values)
        rule.plain_update_(plain_TP, grad_TP.clone(), plain_state, named)
    return torch.allclose(compiled_TP, plain_TP, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


_BUILDERS: dict[str, Callable[..., UpdateRule]] = {}
_BUILT: dict[tuple[str, Any], UpdateRule] = {}


def register_rule(build: Callable[..., UpdateRule]) -> UpdateRule:
    """Make the rule that ``build`` returns known to :func:`get_rule`; its keyword arguments are the rule's options.

    Returns:
        The rule with its default options.

    Raises:
        ValueError: The name is taken.
    """
    rule = build()
    if rule.name in _BUILDERS:
        raise ValueError(f"an update rule called {rule.name!r} exists already; choose another name")
    _BUILDERS[rule.name] = build
    return get_rule(rule.name)


def get_rule(name: str, **options: Any) -> UpdateRule:
    """The update rule called ``name``, in the variant that ``options`` choose.

    Raises:
        KeyError: There is none; the message lists those there are.
        TypeError: The rule has no such option; the message lists those it has.
        ValueError: An option has a value that is not allowed.
    """
    # 7 equals 7.0 and True equals 1, but they are not the same option.
    key = tuple((option, type(options[option]).__name__, repr(options[option])) for option in sorted(options))
    if (name, key) not in _BUILT:
        _BUILT[name, key] = _build_rule(name, options)
    return _BUILT[name, key]


def _build_rule(name: str, options: Mapping[str, Any]) -> UpdateRule:
    if name not in _BUILDERS:
        raise KeyError(f"no update rule is called {name!r}; there are {', '.join(list_rules())}")
    build = _BUILDERS[name]
    allowed = inspect.signature(build).parameters
    for option in options:
        if option not in allowed:
            raise TypeError(f"{name} has no option {option!r}; it has {', '.join(allowed) or 'none'}")
    return build(**options)


def list_rules() -> tuple[str, ...]:
    """The names of all update rules, sorted."""
    return tuple(sorted(_BUILDERS))


def check_choice(rule: str, option: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse an option's value that is not among ``allowed``.

    Raises:
        ValueError: It is not.
    """
    if value not in allowed:
        raise ValueError(f"{rule}: {option} must be one of {', '.join(map(repr, allowed))}, not {value!r}")


class MomentState(NamedTuple):
    """State of rules that keep a mean of gradients and of their squares."""

    step_T: Tensor  # int64: steps taken by the row
    m_TP: Tensor
    v_TP: Tensor


def zero_steps(theta_TP: Tensor) -> Tensor:
    """A count of steps for each row, at 0."""
    return torch.zeros(theta_TP.shape[0], dtype=torch.int64, device=theta_TP.device)


def init_moments(theta_TP: Tensor, sizes: tuple[int, ...]) -> MomentState:  # noqa: ARG001 - every rule is told
    """A zero :class:`MomentState` for rows ``theta_TP``."""
    return MomentState(zero_steps(theta_TP), torch.zeros_like(theta_TP), torch.zeros_like(theta_TP))


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
