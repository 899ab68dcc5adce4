"""Measures nothing itself: which optimizers of the catalog are special cases of which others, and where.

Read from the update rules (docs/optimizers.md), after the idea of Choi et al. 2019 (arXiv 1910.05446): a general
optimizer that is tuned well does not lose to its special case. **Not** inclusions, though they look like ones:

* SGD with momentum and Nesterov's: neither has the other's step, unless there is no momentum.
* Adam in AMSGrad, or back: the largest second moment so far cannot be turned off.
* Adam in RAdam: the rectification fades, but no hyperparameter turns it off.
* Adam in NAdam: Nesterov's look-ahead cannot be turned off, unless ``beta1`` is 0.
* Anything in Yogi but SGD, and anything in AdaShift: their second moments are never Adam's.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from study.axis import Value

Setting = Mapping[str, Value]
#: What the general optimizer must have: a value, or a number in a closed interval.
Wanted = Value | tuple[float, float]
#: Smallest and largest number that the general optimizer can have, by name of the hyperparameter.
Reach = Callable[[str], tuple[float, float]]
#: What the general optimizer must have to be the special one with a setting; None where it cannot be.
Embedding = Callable[[Setting, Reach], dict[str, Wanted] | None]
InclusionKind = Literal["exact", "limit"]

#: eps from which on it outweighs the root of the second moment: gradients of single parameters are mostly far below 1.
LARGE_EPS = 1.0
#: beta0 over eps up to which inertia is constant: mean(v_hat / v_bar) is 1, so that at most 1 % exceed 100 (Markov).
SMALL_BETA0 = 0.01
#: cprop_c from which on at most about 1 % of pure noise is scaled: min(c |2 P - 1|, 1) with P uniform.
LARGE_C = 100.0
#: partial up to which ten decades of v change the step by 12 % at most.
SMALL_PARTIAL = 0.005
#: gamma from which on the bounds are within 10 % of final_lr after 100 steps.
LARGE_GAMMA = 0.1
#: gamma up to which the bounds never bind in 1e6 steps: the lower one is final_lr times 0.001.
SMALL_GAMMA = 1e-9
#: momentum_decay from which on NAdam's momentum is within 1 % of beta1 from the first step on.
LARGE_DECAY = 100.0
#: beta2 up to which RAdam never rectifies: 2 / (1 - beta2) - 1 <= 5.
UNRECTIFIED_BETA2 = 2.0 / 3.0


@dataclass(frozen=True, slots=True)
class Inclusion:
    """One optimizer as a special case of another.

    Attributes:
        special: Name of the special case.
        general: Name of the general one.
        kind: Whether the two then make the same steps, or only in a limit, which ``reason`` states.
        reason: How the general one becomes the special one.
        corner: Hyperparameters of the general one that make it the special case: the others are tuned in both.
        embed: What the general one must have to be the special one with this setting; None where it cannot be.
    """

    special: str
    general: str
    kind: InclusionKind
    reason: str
    corner: frozenset[str]
    embed: Embedding


def _number(setting: Setting, name: str) -> float:
    value = setting[name]
    return math.nan if isinstance(value, str) else float(value)


def _same(names: tuple[str, ...], corner: Mapping[str, Wanted], *, without_decay: bool = False) -> Embedding:
    """The same values of ``names``, and ``corner`` beside; with ``without_decay``, only where no weight decays."""

    def embed(setting: Setting, _: Reach) -> dict[str, Wanted] | None:
        if without_decay and _number(setting, "weight_decay") != 0:
            return None
        return {**{name: setting[name] for name in names}, **corner}

    return embed


_ADAM = ("lr", "beta1", "beta2", "eps", "weight_decay")
_ADAI = ("lr", "beta0", "beta2", "eps", "weight_decay")
_SGD = ("lr", "momentum", "weight_decay")


def _averaged(setting: Setting, factor: tuple[float, float] = (1.0, 1.0)) -> dict[str, Wanted] | None:
    """Heavy-ball momentum as an average of gradients: ``b = m / (1 - momentum)``; the rate times ``factor``."""
    lr, momentum = _number(setting, "lr"), _number(setting, "momentum")
    if not 0.0 <= momentum < 1.0:
        return None
    rate = lr / (1.0 - momentum)
    return {
        "lr": (rate * factor[0], rate * factor[1]),
        "beta1": momentum,
        "weight_decay": setting["weight_decay"],
    }


def _by_eps(setting: Setting, reach: Reach) -> dict[str, Wanted] | None:
    low, high = reach("eps")
    wanted = _averaged(setting, (max(low, LARGE_EPS), max(high, LARGE_EPS)))
    return None if wanted is None else wanted | {"eps": (LARGE_EPS, math.inf)}


def _by_eps_without_decay(setting: Setting, reach: Reach) -> dict[str, Wanted] | None:
    return None if _number(setting, "weight_decay") != 0 else _by_eps(setting, reach)


def _nesterov_in_nadam(setting: Setting, reach: Reach) -> dict[str, Wanted] | None:
    wanted = _by_eps(setting, reach)
    return None if wanted is None else wanted | {"momentum_decay": (LARGE_DECAY, math.inf)}


def _in_radam(setting: Setting, _: Reach) -> dict[str, Wanted] | None:
    wanted = _averaged(setting)
    never: dict[str, Wanted] = {"beta2": (0.0, UNRECTIFIED_BETA2), "degenerated_to_sgd": True}
    if _number(setting, "weight_decay") != 0:
        never["decoupled"] = False
    return None if wanted is None else wanted | never


def _in_padam(setting: Setting, _: Reach) -> dict[str, Wanted] | None:
    wanted = _averaged(setting)
    return None if wanted is None else wanted | {"partial": (0.0, SMALL_PARTIAL)}


def _in_adabound(setting: Setting, _: Reach) -> dict[str, Wanted] | None:
    wanted = _averaged(setting)
    if wanted is None:
        return None
    rate = wanted.pop("lr")
    return wanted | {"final_lr": rate, "gamma": (LARGE_GAMMA, 1.0)}


def _in_adai(setting: Setting, _: Reach, *, decoupled: bool, dampened: bool) -> dict[str, Wanted] | None:
    momentum = _number(setting, "momentum")
    if not 0.0 <= momentum < 1.0 or (decoupled and _number(setting, "weight_decay") != 0):
        return None
    wanted: dict[str, Wanted] = {
        "lr": _number(setting, "lr") / (1.0 - momentum),
        "eps": 1.0 - momentum,
        "weight_decay": setting["weight_decay"],
    }
    if momentum > 0.0:  # else inertia is 0 whatever beta0 is
        wanted["beta0"] = (0.0, SMALL_BETA0 * (1.0 - momentum))
    return wanted | ({"dampening": 1.0} if dampened else {})


def _without_momentum(setting: Setting, _: Reach) -> dict[str, Wanted] | None:
    return {name: setting[name] for name in _SGD} if _number(setting, "momentum") == 0 else None


def _adam_in_nadam(setting: Setting, _: Reach) -> dict[str, Wanted] | None:
    return {name: setting[name] for name in _ADAM} if _number(setting, "beta1") == 0 else None


def _adai_in_adaiv2(setting: Setting, _: Reach, *, decoupled: bool) -> dict[str, Wanted]:
    wanted: dict[str, Wanted] = {**{name: setting[name] for name in _ADAI}, "dampening": 1.0}
    return wanted | ({"decoupled": decoupled} if _number(setting, "weight_decay") != 0 else {})


_EPS = (
    "With eps far above the root of the second moment, the step is lr / eps times an average of gradients: momentum "
    "SGD with lr (1 - beta1) / eps, but for bias corrections that fade (Choi et al. 2019)."
)
_DECAY = "Without weight decay the two make the same steps."
_INERTIA = (
    "With beta0 near 0 every parameter has the inertia 1 - eps: momentum SGD with momentum 1 - eps and lr eps, but for "
    "a bias correction that fades."
)
_DAMPENING = "With dampening 1 the two make the same steps."
_SCALE = "With a large cprop_c, the scale of nearly every step is 1."
_HALF = "With partial 1/2 the two make the same steps, but that eps is added before the bias correction."
_OPEN = "With gamma 0 the bounds never close, and the steps are the same but that eps is added before bias correction."


def _catalog() -> tuple[Inclusion, ...]:
    def pair(
        special: str,
        general: str,
        kind: InclusionKind,
        reason: str,
        corner: str,
        embed: Embedding,
    ) -> Inclusion:
        return Inclusion(special, general, kind, reason, frozenset(corner.split()), embed)

    by_eps = [pair("sgd", name, "limit", _EPS, "eps", _by_eps) for name in ("adam", "amsgrad", "yogi")]
    no_momentum = "Without momentum the two make the same steps."
    adais = [
        pair("sgd", name, "limit", _INERTIA, "beta0 eps dampening", partial(_in_adai, decoupled=decoupled, dampened=v2))
        for name, decoupled, v2 in (("adai", False, False), ("adaiw", True, False), ("adaiv2", True, True))
    ]
    scale: dict[str, Wanted] = {"cprop_c": (LARGE_C, math.inf)}
    plain: dict[str, Wanted] = {"dampening": 0.0}
    undampened = "cprop_c nesterov dampening"
    wrapped = [
        pair(name, "cprop", "limit", _SCALE, "cprop_c inner", _same(names, {"inner": name, **scale}))
        for name, names in (
            *((name, _SGD) for name in ("sgd", "nesterov")),
            *((name, _ADAM) for name in ("adam", "adamw", "amsgrad")),
            *((name, _ADAI) for name in ("adai", "adaiw")),
        )
    ]
    twins = [
        pair(special, general, "exact", _DECAY, "", _same(names, {}, without_decay=True))
        for one, other, names in (("adam", "adamw", _ADAM), ("adai", "adaiw", _ADAI))
        for special, general in ((one, other), (other, one))
    ]
    return (
        *by_eps,
        pair("sgd", "adamw", "limit", _EPS, "eps", _by_eps_without_decay),
        pair(
            "nesterov",
            "nadam",
            "limit",
            f"{_EPS} NAdam's look-ahead makes it Nesterov's momentum once its momentum has warmed up.",
            "eps momentum_decay",
            _nesterov_in_nadam,
        ),
        pair(
            "sgd",
            "radam",
            "limit",
            "With beta2 up to 2/3 RAdam never rectifies: momentum SGD with lr (1 - beta1), but for a bias correction "
            "that fades.",
            "beta2 degenerated_to_sgd decoupled",
            _in_radam,
        ),
        pair(
            "sgd",
            "padam",
            "limit",
            "With partial 0 nothing divides: momentum SGD with lr (1 - beta1), but for bias corrections that fade.",
            "partial",
            _in_padam,
        ),
        pair(
            "sgd",
            "adabound",
            "limit",
            "With a large gamma the bounds close at once: momentum SGD with final_lr (1 - beta1).",
            "gamma final_lr",
            _in_adabound,
        ),
        *adais,
        pair("sgd", "nesterov", "exact", no_momentum, "", _without_momentum),
        pair("nesterov", "sgd", "exact", no_momentum, "", _without_momentum),
        pair("adam", "nadam", "exact", "Without beta1 the two make the same steps.", "", _adam_in_nadam),
        *twins,
        pair(
            "adai",
            "adaiv2",
            "exact",
            _DAMPENING,
            "dampening decoupled",
            partial(_adai_in_adaiv2, decoupled=False),
        ),
        pair(
            "adaiw",
            "adaiv2",
            "exact",
            _DAMPENING,
            "dampening decoupled",
            partial(_adai_in_adaiv2, decoupled=True),
        ),
        pair("amsgrad", "padam", "limit", _HALF, "partial amsgrad", _same(_ADAM, {"partial": 0.5, "amsgrad": True})),
        pair("adam", "padam", "limit", _HALF, "partial amsgrad", _same(_ADAM, {"partial": 0.5, "amsgrad": False})),
        pair(
            "adam",
            "adabound",
            "limit",
            _OPEN,
            "gamma amsbound",
            _same(_ADAM, {"gamma": (0.0, SMALL_GAMMA), "amsbound": False}),
        ),
        pair(
            "amsgrad",
            "adabound",
            "limit",
            _OPEN,
            "gamma amsbound",
            _same(_ADAM, {"gamma": (0.0, SMALL_GAMMA), "amsbound": True}),
        ),
        pair("sgd", "cprop_sgd", "limit", _SCALE, undampened, _same(_SGD, {"nesterov": False, **plain, **scale})),
        pair("nesterov", "cprop_sgd", "limit", _SCALE, undampened, _same(_SGD, {"nesterov": True, **plain, **scale})),
        pair("adam", "cprop_adam", "limit", _SCALE, "cprop_c amsgrad", _same(_ADAM, {"amsgrad": False, **scale})),
        pair("amsgrad", "cprop_adam", "limit", _SCALE, "cprop_c amsgrad", _same(_ADAM, {"amsgrad": True, **scale})),
        *wrapped,
    )


#: Every inclusion that holds exactly or in a stated limit.
INCLUSIONS = _catalog()
