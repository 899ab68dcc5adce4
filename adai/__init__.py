"""Adaptive inertia (Adai) and the baselines it is compared with.

``Adai`` and ``AdaiW`` are ordinary ``torch.optim.Optimizer`` classes. ``get_rule`` gives the same arithmetic over rows:
many runs, each with its own hyperparameters, stepped together. ``get_optimizer`` gives citation and search space.
"""

from adai.catalog import OptimizerEntry, Scale, SearchRange, get_optimizer, list_optimizers
from adai.optimizer import Adai, AdaiW
from adai.rules import Hyperparameter, UpdateRule, get_rule, list_rules, select_rows

__all__ = [
    "Adai",
    "AdaiW",
    "Hyperparameter",
    "OptimizerEntry",
    "Scale",
    "SearchRange",
    "UpdateRule",
    "get_optimizer",
    "get_rule",
    "list_optimizers",
    "list_rules",
    "select_rows",
]
