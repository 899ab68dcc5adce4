"""What is known of each optimizer beside its rule: title, citation, default search space.

Every default search space is centred on the optimizer's defaults and equally wide for all, on the axis's own scale:
two decades to each side for ``lr``, ``1 - beta2`` and ``1 - cprop_beta``, one decade for ``beta0``, ``1 - momentum``,
``1 - beta1`` and ``cprop_c``.
So no optimizer is favoured by a range that happens to fit it.
"""

from dataclasses import dataclass
from typing import Literal

from adai.adabound import ADABOUND
from adai.adam import ADAM, ADAMW, AMSGRAD
from adai.adashift import ADASHIFT
from adai.cprop import CPROP
from adai.cprop_adam import CPROP_ADAM
from adai.cprop_sgd import CPROP_SGD
from adai.inertia import ADAI, ADAIV2, ADAIW
from adai.nadam import NADAM
from adai.padam import PADAM
from adai.radam import RADAM
from adai.rules import UpdateRule
from adai.sgd import NESTEROV, SGD
from adai.yogi import YOGI

#: linear; log of x; log of 1 - x (for decays near 1).
Scale = Literal["linear", "log", "log1m"]


@dataclass(frozen=True, slots=True)
class SearchRange:
    """The default search range of one hyperparameter: [low, high] on ``scale``."""

    low: float
    high: float
    scale: Scale


@dataclass(frozen=True, slots=True)
class PaperSetting:
    """Hyperparameters that a publication used with an optimizer.

    Attributes:
        values: Those that it names.
        task: What was trained.
        source: Where exactly this stands.
    """

    values: dict[str, float]
    task: str
    source: str


@dataclass(frozen=True, slots=True)
class OptimizerEntry:
    """One optimizer of the catalog.

    Attributes:
        rule: Its update rule, which also holds the defaults and valid ranges.
        title: Its name in reports.
        citation: Where it was published.
        search_space: Default axes, in the order in which landscapes use them: the learning rate first.
        paper_settings: What publications used, where that is known from code or text.
    """

    rule: UpdateRule
    title: str
    citation: str
    search_space: dict[str, SearchRange]
    paper_settings: tuple[PaperSetting, ...] = ()

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
_SGD_SPACE = {"lr": SearchRange(1e-3, 1e1, "log"), "momentum": _UP_TO_99}
_ADAI_PAPER = "Xie, Wang, Zhang, Sato, Sugiyama: Adaptive Inertia, ICML 2022 (PMLR 162:24430-24459)"
_CPROP_PAPER = (
    "Preechakul, Kijsirikul: CProp: Adaptive learning rate scaling from past gradient conformity, 2019 "
    "(arXiv 1912.11493)"
)
_SGD_PAPER = "Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum, ICML 2013"


def _adam_space(lr: float) -> dict[str, SearchRange]:
    """The axes of Adam's relatives, around this default of ``lr``."""
    return {
        "lr": SearchRange(lr / 100, lr * 100, "log"),
        "beta1": _UP_TO_99,
        "beta2": SearchRange(0.9, 0.99999, "log1m"),
    }


def _cprop_space(lr: float) -> dict[str, SearchRange]:
    """The axes of CProp's relatives, around this default of ``lr``."""
    return {
        "lr": SearchRange(lr / 100, lr * 100, "log"),
        "cprop_beta": SearchRange(0.9, 0.99999, "log1m"),
        "cprop_c": SearchRange(0.1, 10.0, "log"),
    }


def _adashift_on(task: str, **values: float) -> PaperSetting:
    return PaperSetting(values, f"{task}; max-AdaShift", "READMEs and scripts of the AdaShift authors' code")


def _in_notebook(**values: float) -> PaperSetting:
    return PaperSetting(
        values,
        "CIFAR-10, ResNet18 and VGG16: batches of 128, 200 epochs, lr / 10 after 80 and 160",
        "the Adai authors' code (zeke-xie/adaptive-inertia-adai), Adai_cifar10_demo.ipynb",
    )


def _in_later_notebooks(**values: float) -> PaperSetting:
    return PaperSetting(
        values,
        "CIFAR-10",
        "notebooks of two later papers of Adai's first author (stable weight decay; positive-negative momentum)",
    )


def _in_later_paper(*, cifar: dict[str, float], mnist: dict[str, float]) -> tuple[PaperSetting, PaperSetting]:
    source = (
        "a later paper of Adai's first author ('Investigating the Overlooked Hessian Structure: From CNNs to LLMs'), "
        "appendix C.1.3; not confirmed for the Adai paper"
    )
    return (
        PaperSetting(
            {**cifar, "weight_decay": 5e-4},
            "CIFAR-10 and CIFAR-100: batches of 128, lr / 10 after 80 and 160 epochs (CIFAR-100: 100 and 150)",
            source,
        ),
        PaperSetting(
            mnist,
            "MNIST, 50 epochs, and Fashion-MNIST, 200: lr / 10 after 40 % and 80 % of them",
            source,
        ),
    )


#: What that paper has for every relative of Adam that it names.
_LATER_ADAM = _in_later_paper(cifar={"lr": 1e-3}, mnist={"lr": 1e-3})

_ENTRIES = (
    OptimizerEntry(
        ADAI,
        "Adai",
        _ADAI_PAPER,
        _ADAI_SPACE,
        (
            _in_notebook(lr=1.0, weight_decay=5e-4),
            _in_notebook(lr=0.1, weight_decay=5e-4),
            PaperSetting(
                {"beta0": 0.1, "beta2": 0.99, "eps": 1e-3, "weight_decay": 5e-4},
                "an example, which advises weight decay of 1e-4 or 5e-4 for convolutional networks",
                "the Adai authors' code (zeke-xie/adaptive-inertia-adai), README",
            ),
            *_in_later_paper(cifar={"lr": 1.0}, mnist={"lr": 0.1}),
        ),
    ),
    OptimizerEntry(ADAIW, "AdaiW", _ADAI_PAPER, _ADAI_SPACE),
    # No axis for dampening: its default, which makes AdaiV2 equal to AdaiW, is the largest value allowed, not a centre.
    OptimizerEntry(
        ADAIV2,
        "AdaiV2",
        f"{_ADAI_PAPER}; AdaiV2 is in the authors' code only (zeke-xie/adaptive-inertia-adai, 2022)",
        _ADAI_SPACE,
    ),
    OptimizerEntry(
        SGD,
        "SGD with momentum",
        _SGD_PAPER,
        _SGD_SPACE,
        (
            _in_notebook(lr=0.1, momentum=0.9, weight_decay=5e-4),
            _in_later_notebooks(lr=0.1),
            *_in_later_paper(cifar={"lr": 0.1, "momentum": 0.9}, mnist={"lr": 0.1, "momentum": 0.9}),
            *_in_later_paper(cifar={"lr": 1.0, "momentum": 0.0}, mnist={"lr": 0.1, "momentum": 0.0}),
        ),
    ),
    OptimizerEntry(NESTEROV, "Nesterov's SGD", f"{_SGD_PAPER}; after Nesterov, 1983", _SGD_SPACE),
    OptimizerEntry(
        ADAM,
        "Adam",
        "Kingma, Ba: Adam, ICLR 2015 (arXiv 1412.6980)",
        _adam_space(1e-3),
        (
            _in_notebook(lr=1e-4, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=5e-4),
            _in_later_notebooks(lr=1e-3),
            *_LATER_ADAM,
        ),
    ),
    OptimizerEntry(
        ADAMW,
        "AdamW",
        "Loshchilov, Hutter: Decoupled weight decay regularization, ICLR 2019 (arXiv 1711.05101)",
        _adam_space(1e-3),
        (_in_notebook(lr=1e-4, weight_decay=0.1), _in_later_notebooks(lr=1e-3, weight_decay=0.5)),
    ),
    OptimizerEntry(
        AMSGRAD,
        "AMSGrad",
        "Reddi, Kale, Kumar: On the convergence of Adam and beyond, ICLR 2018 (arXiv 1904.09237)",
        _adam_space(1e-3),
        (_in_notebook(lr=1e-4, weight_decay=5e-4), *_LATER_ADAM),
    ),
    OptimizerEntry(
        RADAM,
        "RAdam",
        "Liu, Jiang, He, Chen, Liu, Gao, Han: On the variance of the adaptive learning rate and beyond, ICLR 2020 "
        "(arXiv 1908.03265)",
        _adam_space(1e-3),
        _LATER_ADAM,
    ),
    OptimizerEntry(
        NADAM,
        "NAdam",
        "Dozat: Incorporating Nesterov momentum into Adam, ICLR 2016 workshop",
        _adam_space(2e-3),
    ),
    OptimizerEntry(
        ADABOUND,
        "AdaBound",
        "Luo, Xiong, Liu, Sun: Adaptive gradient methods with dynamic bound of learning rate, ICLR 2019 "
        "(arXiv 1902.09843)",
        _adam_space(1e-3),
        _LATER_ADAM,
    ),
    OptimizerEntry(
        PADAM,
        "Padam",
        "Chen, Zhou, Tang, Yang, Cao, Gu: Closing the generalization gap of adaptive gradient methods in training deep "
        "neural networks, IJCAI 2020 (arXiv 1806.06763)",
        _adam_space(1e-1),
    ),
    OptimizerEntry(
        YOGI,
        "Yogi",
        "Zaheer, Reddi, Sachan, Kale, Kumar: Adaptive methods for nonconvex optimization, NeurIPS 2018",
        _adam_space(1e-2),
        _LATER_ADAM,
    ),
    OptimizerEntry(
        ADASHIFT,
        "AdaShift",
        "Zhou, Zhang, Lu, Wang, Zhang, Yu: AdaShift: Decorrelation and convergence of adaptive learning rate methods, "
        "ICLR 2019 (arXiv 1810.00143)",
        _adam_space(1e-3),
        (
            _adashift_on(
                "MNIST, two hidden layers of 256, batches of 64, 200 epochs, keep_num 10",
                lr=1e-2,
                beta1=0.0,
                beta2=0.999,
                eps=1e-8,
            ),
            _adashift_on("CIFAR-10, ResNet18, batches of 128, keep_num 10", lr=1e-2, beta1=0.9),
            _adashift_on("CIFAR-10, DenseNet, keep_num 10", lr=1e-2),
            _adashift_on("Tiny-ImageNet, DenseNet (growth 12, depth 28), batches of 64, keep_num 30", lr=1e-2),
            _adashift_on("WGAN-GP", lr=2e-4, beta1=0.0, beta2=0.999),
            PaperSetting(
                {"lr": 1e-2},
                "translation, IWSLT15 Vietnamese to English, 30,000 steps, keep_num 40; max-AdaShift",
                "a reproduction report (mknbv/adashift), not the authors",
            ),
        ),
    ),
    OptimizerEntry(CPROP, "CProp wrapper", _CPROP_PAPER, _cprop_space(1e-3)),
    OptimizerEntry(CPROP_SGD, "CProp-SGD", _CPROP_PAPER, _cprop_space(1e-1)),
    OptimizerEntry(
        CPROP_ADAM,
        "CProp-Adam",
        _CPROP_PAPER,
        _cprop_space(1e-3),
        (
            PaperSetting(
                {"lr": 1e-3, "cprop_beta": 0.999, "cprop_c": 1.0},
                "CIFAR-10, a small convolutional network: batches of 32, 15,000 steps; cdf 'bft'",
                "the authors' notebook",
            ),
        ),
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
