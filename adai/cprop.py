"""CProp (Preechakul, Kijsirikul: CProp, 2019, arXiv 1912.11493): steps scaled by how well past gradients agree.

The scale, and the two universal wrappers: ``cprop`` around any update rule, :class:`CProp` around any torch optimizer.
"""

import math
from collections import defaultdict, namedtuple
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from adai.adam import ADAMW
from adai.compiled import Kernel
from adai.optimizer import check_gradient, check_value, state_dtype
from adai.rules import (
    Hyperparameter,
    Hyperparameters,
    UpdateRule,
    as_column,
    check_choice,
    decay_power,
    get_rule,
    list_rules,
    register_rule,
    zero_steps,
)

AUTHORS = "the authors' code"
#: How the probability is computed: exactly, or by an approximation of the normal distribution's.
Cdf = Literal["bft", "normal", "bfo", "logistic"]
CDFS: tuple[Cdf, ...] = ("bft", "normal", "bfo", "logistic")
#: Those that are logistic functions, as the kernels number them.
KERNEL_CDFS: tuple[Cdf, ...] = ("bft", "bfo", "logistic")
CPROP_HYPERPARAMETERS = (
    Hyperparameter("cprop_beta", 0.999, AUTHORS, supremum=1.0),
    Hyperparameter("cprop_c", 1.0, AUTHORS),
    Hyperparameter("cprop_eps", 1e-8, AUTHORS),
)


class Statistics(NamedTuple):
    """Weighted mean and variance of the gradients so far, corrected for bias."""

    step_T: Tensor
    mean_TP: Tensor
    variance_TP: Tensor


def init_statistics(theta_TP: Tensor) -> Statistics:
    """The statistics before the first gradient."""
    return Statistics(zero_steps(theta_TP), torch.zeros_like(theta_TP), torch.zeros_like(theta_TP))


def conformity(z: Tensor, cdf: Cdf) -> Tensor:
    """``|2 P - 1|`` for ``P = CDF(z)``, to full precision near 0 too, where ``P - 0.5`` would cancel; changes z.

    tanh and erf, unlike the sigmoid, have the same bits wherever an element lies: rows stay independent.
    """
    if cdf == "normal":
        return z.mul_(math.sqrt(0.5)).erf_().abs_()
    if cdf == "bft":  # Bowling et al. 2009: a logistic function of a cubic polynomial
        return (z.square().mul_(0.07056).add_(1.5976)).mul_(z).div_(2).tanh_().abs_()
    slope = 1.702 if cdf == "bfo" else math.pi / math.sqrt(3)
    return z.mul_(slope / 2).tanh_().abs_()


def scale_by_conformity_(
    grad: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    newest: Tensor | float,
    older: Tensor | float,
    freedom: Tensor | float,
    c: Tensor | float,
    eps: Tensor | float,
    cdf: Cdf,
) -> Tensor:
    """Take one more gradient into the statistics, in place, and scale by them (Preechakul and Kijsirikul, section 3).

    ::

        variance <- (1 - a) (variance + a (g - mean)^2)          a = (1 - beta) / (1 - beta^t), 1 at the first step
        mean     <- mean + a (g - mean)
        se        = sqrt(variance / (n - 1 + eps)) + eps         n = (1 - beta^t) / (1 - beta)
        scale     = min(c |2 P - 1|, 1)                          P = CDF(-mean / se)

    The authors keep biased means of g and g^2 and subtract, ``v_hat - m_hat^2``; the recursion here (West 1979) gives
    the same numbers, but not the cancellation, which in float32 leaves noise where the variance is 0.

    A standard error of 0 (possible if eps is 0) means certainty: P is 0 or 1, but 0.5 where the mean is 0.

    Args:
        grad: Gradients.
        mean: Their mean so far, of the shape of ``grad``, as is the next.
        variance: Their variance so far.
        newest: a; a number or broadcastable, as the next four.
        older: ``1 - a``.
        freedom: ``n - 1 + eps``, or 1 where that is 0 (the variance is 0 there).
        c: Factor of the scale.
        eps: Numerical guard.
        cdf: How P is computed.

    Returns:
        The scale, in [0, 1], of the shape of ``grad``.
    """
    deviation = grad - mean
    variance.add_(deviation.square().mul_(newest)).mul_(older)
    mean.add_(deviation.mul_(newest))
    se = (variance / freedom).sqrt_().add_(eps)
    se.masked_fill_(mean == 0, 1)
    return conformity(mean / se, cdf).mul_(c).clamp_(max=1)


def scale_rows_(
    grad_TP: Tensor, statistics: Statistics, step_T: Tensor, hyperparameters: Hyperparameters, cdf: Cdf
) -> Tensor:
    """:func:`scale_by_conformity_` for rows; ``step_T`` counts this step. Scalars are float64 until they are used."""
    beta_T, eps_T = hyperparameters["cprop_beta"], hyperparameters["cprop_eps"]
    correction_T = 1 - decay_power(beta_T, step_T)
    newest_T = (1 - beta_T) / correction_T
    freedom_T = correction_T / (1 - beta_T) - 1 + eps_T
    return scale_by_conformity_(
        grad_TP,
        statistics.mean_TP,
        statistics.variance_TP,
        newest=as_column(newest_T, grad_TP),
        older=as_column(1 - newest_T, grad_TP),
        freedom=as_column(torch.where(freedom_T == 0, 1.0, freedom_T), grad_TP),
        c=as_column(hyperparameters["cprop_c"], grad_TP),
        eps=as_column(eps_T, grad_TP),
        cdf=cdf,
    )


def scale_kernel(function: str, arrays: tuple[str, ...], cdf: Cdf, option: int) -> Kernel | None:
    """The compiled step of a rule with a scale of its own; the exact normal distribution has none."""
    return None if cdf == "normal" else Kernel(function, arrays, option=option + 4 * KERNEL_CDFS.index(cdf))


@cache
def _wrapped_state(inner_state: Any) -> Any:
    """The NamedTuple of ``cprop`` around a rule with this one: flat, so that rows of it can be selected."""
    own = tuple(f"cprop_{name}" for name in Statistics._fields)
    make: Any = namedtuple
    kind = make(f"CProp{inner_state.__name__}", (*own, *inner_state._fields), module=__name__)
    globals()[kind.__name__] = kind  # where pickle looks for it
    return kind


def _init(theta_TP: Tensor, sizes: tuple[int, ...], *, inner: UpdateRule) -> Any:
    state = inner.init(theta_TP, sizes)
    kind: Any = type(state)
    return _wrapped_state(kind)._make((*init_statistics(theta_TP), *state))


def _update_(
    theta_TP: Tensor,
    grad_TP: Tensor,
    state: Any,
    hyperparameters: Hyperparameters,
    *,
    inner: UpdateRule,
    inner_state: Any,
    cdf: Cdf,
) -> None:
    """``theta <- theta_before + scale (theta_after - theta_before)``: decoupled weight decay is scaled as well.

    The statistics see the gradient as it comes, without the decay that a coupled inner rule adds to it.
    """
    own = len(Statistics._fields)
    statistics = Statistics._make(state[:own])
    statistics.step_T.add_(1)
    scale_TP = scale_rows_(grad_TP, statistics, statistics.step_T, hyperparameters, cdf)
    before_TP = theta_TP.clone()
    inner.update_(
        theta_TP,
        grad_TP,
        inner_state._make(state[own:]),
        {h.name: hyperparameters[h.name] for h in inner.hyperparameters},
    )
    theta_TP.sub_(before_TP).mul_(scale_TP).add_(before_TP)


def _build(*, inner: str = ADAMW.name, cdf: Cdf = "bft") -> UpdateRule:
    check_choice("cprop", "inner", inner, [name for name in list_rules() if not name.startswith("cprop")])
    check_choice("cprop", "cdf", cdf, CDFS)
    rule = get_rule(inner)
    # Not on the device "meta", which would import sympy: half a second for a name.
    inner_state = type(rule.init(torch.empty(1, 1, device="cpu")))
    return UpdateRule(
        "cprop",
        (*rule.hyperparameters, *CPROP_HYPERPARAMETERS),
        partial(_init, inner=rule),
        partial(_update_, inner=rule, inner_state=inner_state, cdf=cdf),
        options={"inner": inner, "cdf": cdf},
    )


CPROP = register_rule(_build)


class CProp(Optimizer):
    """Any torch optimizer, with each element's movement scaled by how well its past gradients agree.

    Parameters are copied, the wrapped optimizer steps, and then ``theta = before + scale * (after - before)``,
    decoupled weight decay included. The statistics see ``p.grad`` as the wrapped optimizer leaves it. They count the
    steps of each parameter; one without a gradient keeps its count. Half-precision parameters have float32 statistics.

    ``param_groups`` are the wrapped optimizer's own: schedulers, ``zero_grad`` and ``add_param_group`` work on either.

    Args:
        optimizer: The optimizer to wrap; from here on, step this one instead.
        beta: Decay of the statistics, in [0, 1). The authors advise 0.999 to 0.9999, more for longer training.
        c: Factor of the scale, which is at most 1; 0 or more.
        eps: Numerical guard, 0 or more.
        cdf: ``"normal"`` is exact; ``"bft"``, ``"bfo"`` and ``"logistic"`` approximate it.

    Raises:
        TypeError: ``optimizer`` is not a torch optimizer.
        ValueError: An argument is out of its range.
    """

    _SETTINGS = ("beta", "c", "eps", "cdf")

    def __init__(
        self, optimizer: Optimizer, beta: float = 0.999, c: float = 1.0, eps: float = 1e-8, cdf: Cdf = "bft"
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"CProp: optimizer must be a torch.optim.Optimizer, not {optimizer!r}")
        for hyperparameter, value in zip(CPROP_HYPERPARAMETERS, (beta, c, eps), strict=True):
            check_value("CProp", hyperparameter.name.removeprefix("cprop_"), value, hyperparameter.bounds)
        check_choice("CProp", "cdf", cdf, CDFS)
        self.optimizer = optimizer
        self.beta, self.c, self.eps, self.cdf = beta, c, eps, cdf
        # Not Optimizer.__init__, which would make groups of its own.
        super().__setstate__({"defaults": dict(optimizer.defaults), "state": defaultdict(dict)})

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The wrapped optimizer's groups themselves."""
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.optimizer.param_groups = groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters to the wrapped optimizer."""
        self.optimizer.add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step of the wrapped optimizer and scale its movement.

        Args:
            closure: Passed on to the wrapped optimizer.

        Returns:
            What the wrapped optimizer's ``step`` returned.

        Raises:
            RuntimeError: A gradient is sparse or complex; nothing has changed.
        """
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        if closure is None:
            _check_gradients(parameters)
            before = [(parameter, parameter.clone()) for parameter in parameters if parameter.grad is not None]
            loss = self.optimizer.step()
        else:
            # Only the closure knows which parameters will have a gradient.
            before = [(parameter, parameter.clone()) for parameter in parameters]
            loss = self.optimizer.step(_checked(closure, parameters))
        for parameter, start in before:
            if parameter.grad is not None:
                self._scale_movement_(parameter, start)
        return loss

    def _scale_movement_(self, parameter: Tensor, before: Tensor) -> None:
        """Go back to ``before`` and on by the scaled movement, in the precision of the statistics."""
        dtype = state_dtype(parameter)
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            for name in ("mean", "variance"):
                state[name] = torch.zeros_like(parameter, dtype=dtype)
        state["step"] += 1
        assert parameter.grad is not None  # noqa: S101 - narrows the type: step() left out those without
        correction = 1 - self.beta ** state["step"]
        newest = (1 - self.beta) / correction
        scale = scale_by_conformity_(
            parameter.grad.to(dtype),
            state["mean"],
            state["variance"],
            newest=newest,
            older=1 - newest,
            freedom=(correction / (1 - self.beta) - 1 + self.eps) or 1.0,
            c=self.c,
            eps=self.eps,
            cdf=self.cdf,
        )
        start = before.to(dtype)
        parameter.copy_(parameter.to(dtype).sub(start).mul_(scale).add_(start))

    def state_dict(self) -> dict[str, Any]:
        """The statistics, as ``state``, and beside it the wrapped optimizer's own state and the settings."""
        settings = {name: getattr(self, name) for name in self._SETTINGS}
        return {**super().state_dict(), "optimizer": self.optimizer.state_dict(), "cprop": settings}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state made by :meth:`state_dict`, into the wrapped optimizer too.

        Raises:
            ValueError: It was not made by this class, or for other parameter groups.
        """
        if not {"optimizer", "cprop"} <= state_dict.keys():
            raise ValueError("CProp: this is not the state of a CProp; load it into the wrapped optimizer instead")
        self.optimizer.load_state_dict(state_dict["optimizer"])
        super().load_state_dict(state_dict)
        for name in self._SETTINGS:
            setattr(self, name, state_dict["cprop"][name])
        # torch has cast the statistics to the parameters' precision, and shares what was not cast.
        saved = [index for group in state_dict["param_groups"] for index in group["params"]]
        own = [parameter for group in self.param_groups for parameter in group["params"]]
        for index, parameter in zip(saved, own, strict=True):
            for name, value in state_dict["state"].get(index, {}).items():
                if isinstance(value, Tensor):
                    value = value.detach().clone().to(device=parameter.device, dtype=state_dtype(parameter))
                self.state[parameter][name] = value

    def __getstate__(self) -> dict[str, Any]:
        settings = {name: getattr(self, name) for name in self._SETTINGS}
        return {"optimizer": self.optimizer, "defaults": self.defaults, "state": self.state, **settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The groups are the wrapped optimizer's, which has them already.
        super().__setstate__({key: value for key, value in state.items() if key != "param_groups"})


def _check_gradients(parameters: Sequence[Tensor]) -> None:
    for parameter in parameters:
        if parameter.grad is not None:
            check_gradient("CProp", parameter.grad)


def _checked(closure: Callable[[], float], parameters: Sequence[Tensor]) -> Callable[[], float]:
    """The closure, refusing the gradients that it makes before they move anything."""

    def evaluate() -> float:
        loss = closure()
        _check_gradients(parameters)
        return loss

    return evaluate
