"""Watching global generators: who draws is found by name, and every generator is put back."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from workers.global_generators import GeneratorStates, find_hidden_randomness


class Drawing(nn.Module):
    """Draws itself, and holds a module that draws and one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Dropout(0.5)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Two draws in training."""
        return nn.functional.dropout(self.linear(self.inner(x)), 0.5, self.training)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU()), ()),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), ("1 (Dropout)",)),
        (lambda: nn.Sequential(Drawing()), ("0.inner (Dropout)", "0 (Drawing)")),
        (Drawing, ("inner (Dropout)", "the model itself (Drawing)")),
        (lambda: nn.Sequential(nn.RReLU()), ("0 (RReLU)",)),
        (lambda: nn.LSTM(4, 4, num_layers=2, dropout=0.5), ("the model itself (LSTM)",)),
        (lambda: nn.TransformerEncoderLayer(4, 2, dropout=0.0), ()),
    ],
)
def test_modules_that_draw_in_forward_are_found_by_name(model: Callable[[], nn.Module], found: tuple[str, ...]) -> None:
    module = model()
    x = torch.linspace(-1, 1, 32).view(8, 4)
    before = GeneratorStates.read()
    assert find_hidden_randomness(module, lambda: module(x)) == found
    assert before.moved() == ()
    assert find_hidden_randomness(module.eval(), lambda: module(x)) == ()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_draws_outside_the_model_and_from_other_generators_are_found() -> None:
    model = nn.Identity()
    for drawing in (lambda: torch.rand(1), lambda: np.random.rand(), random.random):
        assert find_hidden_randomness(model, drawing) == ("outside the model",)
        model.forward = lambda x, drawing=drawing: (x, drawing())
        assert find_hidden_randomness(model, lambda: model(0)) == ("the model itself (Identity)",)
        del model.forward


def test_generators_are_put_back_when_the_watched_call_fails() -> None:
    before = GeneratorStates.read()
    with pytest.raises(ZeroDivisionError):
        find_hidden_randomness(nn.Identity(), lambda: (torch.rand(1), np.random.rand(), random.gauss(0, 1), 1 // 0))
    assert before.moved() == ()
