"""The catalog: names, citations, and search spaces that favour no optimizer."""

import math
from collections.abc import Callable

import pytest

from adai import Scale, SearchRange, get_optimizer, get_rule, list_optimizers, list_rules

AXES = [(name, axis) for name in list_optimizers() for axis in get_optimizer(name).search_space]
#: What the catalog promises: decades from the default to either end.
HALF_WIDTHS = {"lr": 2, "beta2": 2, "cprop_beta": 2, "beta0": 1, "beta1": 1, "momentum": 1, "cprop_c": 1}


def on_scale(value: float, scale: Scale) -> float:
    return {"linear": lambda x: x, "log": math.log, "log1m": lambda x: math.log(1 - x)}[scale](value)


def unit_position(value: float, axis: SearchRange) -> float:
    low, high = on_scale(axis.low, axis.scale), on_scale(axis.high, axis.scale)
    return (on_scale(value, axis.scale) - low) / (high - low)


@pytest.mark.parametrize(("name", "axis"), AXES)
def test_default_lies_at_the_centre_of_its_axis(name: str, axis: str) -> None:
    entry = get_optimizer(name)
    position = unit_position(entry.rule.hyperparameter(axis).default, entry.search_space[axis])
    assert position == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize(("name", "axis"), AXES)
def test_axis_lies_in_the_valid_range_of_the_rules_hyperparameter(name: str, axis: str) -> None:
    entry = get_optimizer(name)
    search = entry.search_space[axis]
    hyperparameter = entry.rule.hyperparameter(axis)
    assert search.low < search.high
    assert hyperparameter.allows(search.low)
    assert hyperparameter.allows(search.high)


@pytest.mark.parametrize(("name", "axis"), AXES)
def test_axis_is_as_wide_as_the_same_axis_of_every_optimizer(name: str, axis: str) -> None:
    search = get_optimizer(name).search_space[axis]
    width = abs(on_scale(search.high, search.scale) - on_scale(search.low, search.scale))
    assert width / math.log(10) == pytest.approx(2 * HALF_WIDTHS[axis], abs=1e-9)


@pytest.mark.parametrize("name", list_optimizers())
def test_learning_rate_is_the_first_axis_of_every_landscape(name: str) -> None:
    assert next(iter(get_optimizer(name).search_space)) == "lr"


def test_every_rule_is_in_the_catalog_and_every_entry_has_a_rule() -> None:
    assert sorted(list_optimizers()) == list(list_rules())
    for name in list_optimizers():
        assert get_optimizer(name).rule is get_rule(name)


def test_adai_comes_first() -> None:
    assert list_optimizers()[0] == "adai"


@pytest.mark.parametrize("name", list_optimizers())
def test_entry_says_what_it_is_and_where_it_was_published(name: str) -> None:
    entry = get_optimizer(name)
    assert entry.name == name
    assert entry.title.lower().replace("-", "_").startswith(name)
    assert any(str(year) in entry.citation for year in range(1960, 2030))


def test_titles_tell_the_optimizers_apart() -> None:
    titles = [get_optimizer(name).title for name in list_optimizers()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("lookup", [get_optimizer, get_rule])
def test_looking_up_an_unknown_name_lists_the_known_ones(lookup: Callable[[str], object]) -> None:
    with pytest.raises(KeyError, match="adaii") as caught:
        lookup("adaii")
    for name in list_optimizers():
        assert name in str(caught.value)


@pytest.mark.parametrize("name", list_optimizers())
def test_settings_of_publications_are_valid_and_say_where_they_stand(name: str) -> None:
    entry = get_optimizer(name)
    for setting in entry.paper_settings:
        assert setting.values
        for hyperparameter, value in setting.values.items():
            assert entry.rule.hyperparameter(hyperparameter).allows(value)
        assert setting.task
        assert setting.source
    assert len({repr(setting) for setting in entry.paper_settings}) == len(entry.paper_settings)


def test_the_adai_authors_notebook_gives_the_settings_that_it_has() -> None:
    found = {
        name: [s.values for s in get_optimizer(name).paper_settings if "Adai_cifar10_demo.ipynb" in s.source]
        for name in list_optimizers()
    }
    assert {name: values for name, values in found.items() if values} == {
        "adai": [{"lr": 1.0, "weight_decay": 5e-4}, {"lr": 0.1, "weight_decay": 5e-4}],
        "sgd": [{"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}],
        "adam": [{"lr": 1e-4, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 5e-4}],
        "adamw": [{"lr": 1e-4, "weight_decay": 0.1}],
        "amsgrad": [{"lr": 1e-4, "weight_decay": 5e-4}],
    }
