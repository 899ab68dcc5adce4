"""Inclusion checks: verdicts of known cases, and every inclusion of the catalog against the update rules themselves."""

import dataclasses
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from made_observations import LR, make_observations
from scipy import stats

from adai import get_rule
from study.axis import AxisSpec
from study.report.measures.audit.inclusion import InclusionCheck, Inclusions, measure_inclusions
from study.report.measures.audit.inclusion_catalog import INCLUSIONS, Inclusion
from study.report.observations import Observations, observe

EPS = AxisSpec(low=1e-8, high=1e4, scale="log")
MOMENTUM = AxisSpec(low=0.0, high=0.99, scale="log1m")


def level(value: float) -> Any:
    return lambda unit: value + 0.3 * np.abs(unit[:, 0] - 0.5)


def with_cells(observations: Observations, changes: dict[str, dict[str, Any]], **info: Any) -> Observations:
    cells = tuple(dataclasses.replace(cell, **changes.get(cell.optimizer, {})) for cell in observations.info.cells)
    return observe(
        dataclasses.replace(observations.info, cells=cells, **info), observations.runs, observations.curvature
    )


def adam_in_adamw(adam: float, adamw: float, *, noise: float = 0.01, decay: float = 0.0, **more: Any) -> InclusionCheck:
    observations = make_observations(
        {("w", "adam"): level(adam), ("w", "adamw"): level(adamw)}, noise=noise, **({"seeds": 5} | more)
    )
    # Paired seeds have the same noise in both; each needs some of its own for a spread of differences.
    own = np.random.default_rng(3).normal(0, noise / 2, len(observations.runs))
    runs = observations.runs.with_columns((observations.runs["objective"] + own).alias("objective"))
    observations = dataclasses.replace(observations, runs=runs)
    return find(with_cells(observations, {"adamw": {"fixed": {"weight_decay": decay}}}), "adam", "adamw")


def find(observations: Observations, special: str, general: str) -> InclusionCheck:
    checks = measure_inclusions(observations).checks
    return next(check for check in checks if (check.special, check.general) == (special, general))


def test_a_general_optimizer_that_is_worse_violates_the_inclusion() -> None:
    check = adam_in_adamw(0.1, 0.2)
    assert check.verdict == "violated"
    assert check.difference is not None
    assert check.difference.value == pytest.approx(0.1, abs=0.02)
    assert check.p_adjusted is not None
    assert check.p is not None
    assert check.p_adjusted >= check.p
    assert (check.blocked, check.outside, check.kind) == ((), (), "exact")


def test_one_that_is_as_good_or_better_keeps_it() -> None:
    assert adam_in_adamw(0.2, 0.1).verdict == "holds"
    assert adam_in_adamw(0.1, 0.1).verdict == "holds"
    assert adam_in_adamw(0.1, 0.1, noise=0.0).verdict == "holds"


def test_wide_noise_and_one_seed_cannot_tell() -> None:
    assert adam_in_adamw(0.3, 0.32, noise=0.15).verdict == "cannot be told"
    single = adam_in_adamw(0.1, 0.2, seeds=1)
    assert single.verdict == "cannot be told"
    assert single.difference is not None
    assert single.difference.low is None


def test_differences_without_spread_are_held_against_the_margin() -> None:
    assert adam_in_adamw(0.1, 0.2, noise=0.0).verdict == "violated"
    assert adam_in_adamw(0.1, 0.11, noise=0.0).verdict == "holds"


def test_the_interval_is_the_paired_t_of_the_two_bests() -> None:
    observations = make_observations({("w", "adam"): level(0.1), ("w", "adamw"): level(0.12)}, seeds=4, noise=0.01)
    own = np.random.default_rng(3).normal(0, 0.02, len(observations.runs))
    runs = observations.runs.with_columns((observations.runs["objective"] + own).alias("objective"))
    observations = with_cells(dataclasses.replace(observations, runs=runs), {"adamw": {"fixed": {"weight_decay": 0.0}}})
    check = find(observations, "adam", "adamw")
    special, general = observations.cell("w", "adam"), observations.cell("w", "adamw")
    result = stats.ttest_rel(general.objective_NS[general.best], special.objective_NS[special.best])
    interval = result.confidence_interval()
    assert check.difference is not None
    assert (check.difference.low, check.difference.high) == pytest.approx((interval.low, interval.high))
    assert check.p == pytest.approx(result.pvalue)
    unpaired = find(
        dataclasses.replace(observations, info=dataclasses.replace(observations.info, paired_seeds=False)),
        "adam",
        "adamw",
    )
    welch = stats.ttest_ind(general.objective_NS[general.best], special.objective_NS[special.best], equal_var=False)
    assert unpaired.p == pytest.approx(welch.pvalue)


def test_what_is_held_elsewhere_makes_it_not_applicable() -> None:
    check = adam_in_adamw(0.1, 0.2, decay=0.01)
    assert check.verdict == "not applicable"
    assert check.blocked == ("weight_decay would have to be 0, and it is held at 0.01",)
    assert check.difference is None


def sgd_in_adam(lr: AxisSpec, eps: AxisSpec | None) -> InclusionCheck:
    axes = {"lr": LR, "momentum": MOMENTUM}
    observations = make_observations({("w", "sgd"): level(0.1), ("w", "adam"): level(0.2)}, axes=axes, noise=0.0)
    general = {"lr": lr, "beta1": MOMENTUM} | ({} if eps is None else {"eps": eps})
    infos = tuple(
        dataclasses.replace(observations.info.cells[1].axes[0], name=name, spec=spec) for name, spec in general.items()
    )
    runs = observations.runs.with_columns(
        pl.col("momentum").alias("beta1"),
        pl.col("unit_momentum").alias("unit_beta1"),
        pl.col("lr").alias("eps"),
        pl.col("unit_lr").alias("unit_eps"),
    )
    return find(with_cells(dataclasses.replace(observations, runs=runs), {"adam": {"axes": infos}}), "sgd", "adam")


def test_adam_with_its_eps_held_cannot_be_momentum_sgd() -> None:
    check = sgd_in_adam(LR, None)
    assert check.verdict == "not applicable"
    assert check.blocked == ("eps would have to be at least 1, and it is held at 1e-08",)


def test_adam_with_an_axis_of_eps_must_not_lose_to_momentum_sgd() -> None:
    check = sgd_in_adam(AxisSpec(low=1e-4, high=1e6, scale="log"), EPS)
    assert (check.verdict, check.outside) == ("violated", ())


def test_a_range_of_lr_that_ends_too_early_is_named() -> None:
    check = sgd_in_adam(AxisSpec(low=1e-6, high=1e-5, scale="log"), EPS)
    assert check.verdict == "violated"
    assert len(check.outside) == 1
    assert check.outside[0].startswith("lr would have to be")


def test_special_cases_that_learned_nothing_tell_nothing() -> None:
    check = adam_in_adamw(2.0, 2.0, noise=0.0)
    assert check.verdict == "cannot be told"
    assert check.blocked


def test_studies_without_pairs_or_of_others_say_so() -> None:
    alone = measure_inclusions(make_observations({("w", "adam"): level(0.1)}))
    assert alone == Inclusions(0.05, (), alone.missing)
    assert "special case" in alone.missing[0].reason
    foreign = measure_inclusions(
        make_observations({("w", "adam"): level(0.1), ("w", "adamw"): level(0.1)}, source="optuna")
    )
    assert foreign.checks == ()
    assert foreign.missing


def test_several_checks_are_corrected_for_their_number() -> None:
    names = ("adai", "adaiw", "adaiv2")
    observations = make_observations({("w", name): level(0.1) for name in names}, seeds=5, noise=0.01)
    own = np.random.default_rng(3).normal(0, 0.02, len(observations.runs))
    runs = observations.runs.with_columns((observations.runs["objective"] + own).alias("objective"))
    checks = measure_inclusions(with_cells(dataclasses.replace(observations, runs=runs), {})).checks
    assert {(check.special, check.general) for check in checks} == {
        ("adai", "adaiw"),
        ("adaiw", "adai"),
        ("adai", "adaiv2"),
        ("adaiw", "adaiv2"),
    }
    for check in checks:
        assert check.p_adjusted is not None
        assert check.p is not None
        assert check.p <= check.p_adjusted <= min(4 * check.p, 1.0) + 1e-12


# The catalog against the rules: the special case and the general one, side by side on the same gradients.

SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.0},
    "adam": {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.0},
    "adai": {"lr": 0.1, "beta0": 0.3, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.0},
}
SETTINGS |= {
    "nesterov": SETTINGS["sgd"],
    "adamw": SETTINGS["adam"],
    "amsgrad": SETTINGS["adam"],
    "adaiw": SETTINGS["adai"],
}
#: What an interval stands for: far in the limit.
FAR = {
    "eps": 1e6,
    "momentum_decay": 1e6,
    "cprop_c": 1e9,
    "gamma": 1.0 - 1e-9,
    "partial": 0.0,
    "beta0": 0.0,
    "beta2": 0.5,
}


def trajectory(name: str, values: dict[str, Any]) -> torch.Tensor:
    known = {h.name for h in get_rule(name).hyperparameters}
    options = {key: value for key, value in values.items() if isinstance(value, str | bool)}
    rule = get_rule(name, **options)
    numbers = {h.name: h.default for h in rule.hyperparameters} | {k: v for k, v in values.items() if k not in options}
    assert set(numbers) <= known | {h.name for h in rule.hyperparameters}
    hyperparameters = {key: torch.tensor([float(value)], dtype=torch.float64) for key, value in numbers.items()}
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(1, 6, generator=generator, dtype=torch.float64)
    scale = torch.tensor([[0.5, 1.0, 2.0, 3.0, 5.0, 8.0]], dtype=torch.float64)
    state = rule.init(theta)
    path = []
    for _ in range(400):
        noise = 0.01 * torch.randn(1, 6, generator=generator, dtype=torch.float64)
        rule.update_(theta, 0.1 * scale * theta + noise, state, hyperparameters)
        path.append(theta.clone())
    return torch.cat(path)


def concrete(inclusion: Inclusion, setting: dict[str, Any]) -> dict[str, Any] | None:
    """What the general optimizer has, with every interval of a limit taken far inside."""
    wanted = inclusion.embed(setting, lambda name: (FAR.get(name, math.nan),) * 2)
    if wanted is None:
        return None
    values: dict[str, Any] = {}
    for name, value in wanted.items():
        if isinstance(value, tuple):
            low, high = value
            values[name] = low if low == high else 0.0 if (name, low) == ("gamma", 0.0) else FAR[name]
        else:
            values[name] = value
    if inclusion.general == "padam":
        values.setdefault("beta2", 0.9)  # no part of the limit, but how fast its bias correction fades
    return values


@pytest.mark.parametrize("inclusion", INCLUSIONS, ids=lambda pair: f"{pair.special} in {pair.general}")
def test_the_general_optimizer_makes_the_special_steps(inclusion: Inclusion) -> None:
    setting = dict(SETTINGS[inclusion.special])
    values = concrete(inclusion, setting)
    if values is None:  # only without momentum
        setting |= {"momentum": 0.0} if "momentum" in setting else {"beta1": 0.0}
        values = concrete(inclusion, setting)
    assert values is not None
    special, general = trajectory(inclusion.special, setting), trajectory(inclusion.general, values)
    moved = float((special[0] - special[-1]).norm())
    if inclusion.kind == "exact":
        torch.testing.assert_close(general, special, rtol=1e-9, atol=1e-12)
    else:
        # Limits differ in the first steps, where biases are corrected; both then go to the same place by the same way.
        assert float((special - general)[200:].norm(dim=1).max()) < 0.1 * moved


@pytest.mark.parametrize("name", ["adam", "adai"])
def test_weight_decay_is_what_tells_coupled_and_decoupled_apart(name: str) -> None:
    twin = next(pair for pair in INCLUSIONS if (pair.special, pair.general) == (name, f"{name}w"))
    assert concrete(twin, SETTINGS[name] | {"weight_decay": 0.1}) is None


def test_decay_of_momentum_sgd_is_not_radams_decoupled_one() -> None:
    pair = next(pair for pair in INCLUSIONS if (pair.special, pair.general) == ("sgd", "radam"))
    decaying = SETTINGS["sgd"] | {"weight_decay": 0.3}
    wanted = concrete(pair, decaying)
    assert wanted is not None
    assert wanted["decoupled"] is False
    apart = trajectory("radam", wanted | {"decoupled": True}) - trajectory("radam", wanted)
    assert float(apart.norm()) > 0.1  # the option matters, so that it has to be asked for
    assert "decoupled" not in (concrete(pair, SETTINGS["sgd"]) or {})


@pytest.mark.parametrize("name", ["sgd", "nesterov"])
def test_a_dampened_gradient_is_no_momentum_sgd_with_the_same_rate(name: str) -> None:
    def check(dampening: float) -> InclusionCheck:
        observations = make_observations({("w", name): level(0.1), ("w", "cprop_sgd"): level(0.1)}, axes={"lr": LR})
        fixed = {"momentum": 0.9, "cprop_c": 1e6, "dampening": dampening}
        cells = {"cprop_sgd": {"fixed": fixed}, name: {"fixed": {"momentum": 0.9}}}
        spec = {"optimizers": [{"name": "cprop_sgd", "options": {"nesterov": name == "nesterov"}}]}
        return find(with_cells(observations, cells, spec=spec), name, "cprop_sgd")

    assert check(0.0).verdict == "holds"
    dampened = check(0.5)
    assert dampened.verdict == "not applicable"
    assert dampened.blocked == ("dampening would have to be 0, and it is held at 0.5",)


def test_what_looks_like_an_inclusion_and_is_none_is_not_in_the_catalog() -> None:
    pairs = {(pair.special, pair.general) for pair in INCLUSIONS}
    assert len(pairs) == len(INCLUSIONS)
    assert not pairs & {("adam", "amsgrad"), ("amsgrad", "adam"), ("adam", "radam"), ("adam", "yogi"), ("adam", "adai")}
    heavy_ball = next(pair for pair in INCLUSIONS if (pair.special, pair.general) == ("sgd", "nesterov"))
    assert concrete(heavy_ball, SETTINGS["sgd"]) is None
