"""What is known of each optimizer beside its rule: title, citation, default search space.

Every default search space is centred on the optimizer's defaults and equally wide for all, on the axis's own scale:
two decades to each side for ``lr`` and for ``1 - beta2``, one decade for ``beta0``, ``1 - momentum``, ``1 - beta1``.
So no optimizer is favoured by a range that happens to fit it.
"""

from dataclasses import dataclass
from typing import Literal

from adai.adam import ADAM, ADAMW
from adai.inertia import ADAI, ADAIW
from adai.radam import RADAM
from adai.rules import UpdateRule
from adai.sgd import SGD

#: linear; log of x; log of 1 - x (for decays near 1).
Scale = Literal["linear", "log", "log1m"]


@dataclass(frozen=True, slots=True)
class SearchRange:
    """The default search range of one hyperparameter: [low, high] on ``scale``."""

    low: float
    high: float
    scale: Scale


@dataclass(frozen=True, slots=True)
class OptimizerEntry:
    """One optimizer of the catalog.

    Attributes:
        rule: Its update rule, which also holds the defaults and valid ranges.
        title: Its name in reports.
        citation: Where it was published.
        search_space: Default axes, in the order in which landscapes use them: the learning rate first.
    """

    rule: UpdateRule
    title: str
    citation: str
    search_space: dict[str, SearchRange]

    @property
    def name(self) -> str:
        """Its name in specs, which is its rule's."""
        return self.rule.name


_UP_TO_99 = SearchRange(0.0, 0.99, "log1m")
_ADAI_SPACE = {
    "lr": SearchRange(1e-2, 1e2, "log"),
    "beta0": SearchRange(1e-2, 1.0, "log"),
    "beta2": SearchRange(0.0, 0.9999, "log1m"),
}
_ADAM_SPACE = {
    "lr": SearchRange(1e-5, 1e-1, "log"),
    "beta1": _UP_TO_99,
    "beta2": SearchRange(0.9, 0.99999, "log1m"),
}
_ADAI_PAPER = "Xie, Wang, Zhang, Sato, Sugiyama: Adaptive Inertia, ICML 2022 (PMLR 162:24430-24459)"

_ENTRIES = (
    OptimizerEntry(ADAI, "Adai", _ADAI_PAPER, _ADAI_SPACE),
    OptimizerEntry(ADAIW, "AdaiW", _ADAI_PAPER, _ADAI_SPACE),
    OptimizerEntry(
        SGD,
        "SGD with momentum",
        "Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum, ICML 2013",
        {"lr": SearchRange(1e-3, 1e1, "log"), "momentum": _UP_TO_99},
    ),
    OptimizerEntry(ADAM, "Adam", "Kingma, Ba: Adam, ICLR 2015 (arXiv 1412.6980)", _ADAM_SPACE),
    OptimizerEntry(
        ADAMW,
        "AdamW",
        "Loshchilov, Hutter: Decoupled weight decay regularization, ICLR 2019 (arXiv 1711.05101)",
        _ADAM_SPACE,
    ),
    OptimizerEntry(
        RADAM,
        "RAdam",
        "Liu et al.: On the variance of the adaptive learning rate and beyond, ICLR 2020 (arXiv 1908.03265)",
        _ADAM_SPACE,
    ),
)
_CATALOG = {entry.name: entry for entry in _ENTRIES}


def get_optimizer(name: str) -> OptimizerEntry:
    """The catalog's entry for the optimizer called ``name``.

    Raises:
        KeyError: There is none; the message lists those there are.
    """
    if name not in _CATALOG:
        raise KeyError(f"no optimizer is called {name!r}; there are {', '.join(_CATALOG)}")
    return _CATALOG[name]


def list_optimizers() -> tuple[str, ...]:
    """The names of all optimizers, Adai first."""
    return tuple(_CATALOG)
