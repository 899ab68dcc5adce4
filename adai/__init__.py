"""Adaptive inertia (Adai) and the baselines it is compared with.

``Adai``, ``AdaiW``, ``AdaiV2`` and those that torch lacks are ordinary ``torch.optim.Optimizer`` classes. ``get_rule``
gives the same arithmetic over rows: many runs, each with its own hyperparameters, stepped together. ``get_optimizer``
gives citation, search space and settings of publications; ``adai.schedules`` has learning rates over time.
"""

from adai.adabound import AdaBound
from adai.adashift import AdaShift
from adai.catalog import OptimizerEntry, PaperSetting, Scale, SearchRange, get_optimizer, list_optimizers
from adai.cprop import CProp
from adai.cprop_adam import CPropAdam
from adai.cprop_sgd import CPropSGD
from adai.inertia_optimizer import Adai, AdaiV2, AdaiW
from adai.padam import Padam
from adai.rules import Hyperparameter, UpdateRule, get_rule, list_rules, select_rows
from adai.yogi import Yogi

__all__ = [
    "AdaBound",
    "AdaShift",
    "Adai",
    "AdaiV2",
    "AdaiW",
    "CProp",
    "CPropAdam",
    "CPropSGD",
    "Hyperparameter",
    "OptimizerEntry",
    "Padam",
    "PaperSetting",
    "Scale",
    "SearchRange",
    "UpdateRule",
    "Yogi",
    "get_optimizer",
    "get_rule",
    "list_optimizers",
    "list_rules",
    "select_rows",
]
