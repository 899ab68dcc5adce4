"""Adai against what the authors' own code computed, step by step (``tests/assets/vectors``)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adai import Adai, AdaiV2, AdaiW, get_rule

VECTORS = Path(__file__).parents[1] / "assets" / "vectors"
CASES = tuple(sorted(path.stem for path in VECTORS.glob("adai__*.json")))
CASES_V2 = tuple(sorted(path.stem for path in VECTORS.glob("adaiv2__*.json")))
#: Every way to take a step must follow the recorded paths.
WAYS: dict[str, dict[str, bool]] = {
    "compiled": {"fused": True},
    "plain": {"fused": False},
    "capturable": {"capturable": True},
    "running mean": {"fused": True, "running_v_bar": True},
}
every_way = pytest.mark.parametrize("way", WAYS)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


class Vector:
    """One recorded run of the authors' code: ``gradients[t][i]`` leads to ``params_after[t][i]``."""

    def __init__(self, case: str) -> None:
        recorded: dict[str, Any] = json.loads((VECTORS / f"{case}.json").read_text())
        self.dtype = getattr(torch, recorded["dtype"])
        self.steps = recorded["steps"]
        self.hyperparameters = {k: v for k, v in recorded["hyperparameters"].items() if k != "gradient_variant"}
        self.initial = [self._tensor(values) for values in recorded["initial_params"]]
        self.gradients = [[self._tensor(values) for values in step] for step in recorded["gradients"]]
        self.after = [[self._tensor(values) for values in step] for step in recorded["params_after"]]

    def _tensor(self, values: Any) -> Tensor | None:
        return None if values is None else torch.tensor(values, dtype=self.dtype)

    @property
    def decoupled(self) -> bool:
        """Whether weight decay was decoupled."""
        return self.hyperparameters.get("decoupled", False)

    @property
    def gradients_always_exist(self) -> bool:
        """Whether every parameter had a gradient in every step."""
        return all(gradient is not None for step in self.gradients for gradient in step)

    def parameters(self) -> list[torch.nn.Parameter]:
        """Fresh parameters at the start of the run."""
        return [torch.nn.Parameter(values.clone()) for values in self.initial]

    def assert_followed_by(self, optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> None:
        """Check every parameter after every step."""
        for step in range(self.steps):
            for parameter, gradient in zip(parameters, self.gradients[step], strict=True):
                parameter.grad = None if gradient is None else gradient.clone()
            optimizer.step()
            for parameter, expected in zip(parameters, self.after[step], strict=True):
                self.assert_equal(parameter.detach(), expected)

    def assert_equal(self, actual: Tensor, expected: Tensor) -> None:
        """Compare within the tolerance of the run's precision."""
        torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE[self.dtype])

    def row_hyperparameters(self, count: int) -> dict[str, Tensor]:
        """What a rule takes for ``count`` equal rows."""
        values = dict(self.hyperparameters)
        values.pop("decoupled", None)
        values["beta0"], values["beta2"] = values.pop("betas")
        return {name: torch.full((count,), value, dtype=torch.float64) for name, value in values.items()}


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def test_the_recorded_cases_are_there() -> None:
    assert len(CASES) == 6
    assert {Vector(case).hyperparameters["dampening"] for case in CASES_V2} == {1.0, 0.5, 0.0}
    vectors = [Vector(case) for case in CASES]
    assert sum(vector.decoupled for vector in vectors) == 1
    assert sum(vector.dtype is torch.float32 for vector in vectors) == 1
    assert sum(not vector.gradients_always_exist for vector in vectors) == 1


def class_of(case: str) -> type[Adai] | type[AdaiV2]:
    return AdaiV2 if case in CASES_V2 else Adai


@every_way
@pytest.mark.parametrize("case", CASES + CASES_V2)
def test_the_class_follows_the_authors_code(case: str, way: str) -> None:
    vector = Vector(case)
    parameters = vector.parameters()
    vector.assert_followed_by(class_of(case)(parameters, **vector.hyperparameters, **WAYS[way]), parameters)


@every_way
@pytest.mark.parametrize("case", CASES + CASES_V2)
def test_the_class_follows_the_authors_code_with_every_parameter_in_its_own_group(case: str, way: str) -> None:
    vector = Vector(case)
    parameters = vector.parameters()
    groups = [{"params": [parameter], **vector.hyperparameters} for parameter in parameters]
    vector.assert_followed_by(class_of(case)(groups, lr=123.0, **WAYS[way]), parameters)


@every_way
@pytest.mark.parametrize("case", [case for case in CASES if Vector(case).decoupled])
def test_adaiw_follows_the_authors_decoupled_code(case: str, way: str) -> None:
    vector = Vector(case)
    parameters = vector.parameters()
    hyperparameters = {k: v for k, v in vector.hyperparameters.items() if k != "decoupled"}
    vector.assert_followed_by(AdaiW(parameters, **hyperparameters, **WAYS[way]), parameters)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("case", [case for case in CASES + CASES_V2 if Vector(case).gradients_always_exist])
def test_every_row_of_the_rule_follows_the_authors_code(case: str, compiled: bool) -> None:
    vector = Vector(case)
    rule = get_rule("adaiv2" if case in CASES_V2 else "adaiw" if vector.decoupled else "adai")
    rows = 3
    theta_TP = flat(vector.initial).repeat(rows, 1)
    state = rule.init(theta_TP)
    hyperparameters = vector.row_hyperparameters(rows)
    assert rule.is_compiled_for(theta_TP, theta_TP)
    update_ = rule.update_ if compiled else rule.plain_update_
    for gradients, expected in zip(vector.gradients, vector.after, strict=True):
        update_(theta_TP, flat(gradients).repeat(rows, 1), state, hyperparameters)
        for row in theta_TP:
            vector.assert_equal(row, flat(expected))
