"""Workloads of the tests, as the file of a user: each kind of layer that an engine must know, in tiny models."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from workers.workloads import Augmentation, Dataset, Split, Workload
from workers.workloads.images import crop_and_flip

_CLASSES = 3


def _load_images() -> Dataset:
    """Images (2, 6, 6) of three classes that differ in their mean: 26 to train on, so that the last batch has two."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(66) % _CLASSES
    inputs = torch.randn(66, 2, 6, 6, generator=generator) + (labels - 1.0).view(-1, 1, 1, 1)
    parts = [Split(part, own) for part, own in zip(inputs.split([26, 20, 20]), labels.split([26, 20, 20]), strict=True)]
    return Dataset(*parts, classes=_CLASSES)


def _load_words() -> Dataset:
    """Sequences of six symbols, each followed by the next one of three, with a jump here and there."""
    generator = torch.Generator().manual_seed(0)
    jumps = (torch.rand(44, 7, generator=generator) < 0.2).long().cumsum(1)
    symbols = (torch.arange(44).unsqueeze(1) + torch.arange(7) + jumps) % _CLASSES
    parts = [Split(part[:, :-1], part[:, 1:]) for part in symbols.split([20, 12, 12])]
    return Dataset(*parts, classes=_CLASSES)


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_CLASSES, 4)
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.head = nn.Linear(5, _CLASSES)

    def forward(self, symbols: Tensor) -> Tensor:
        logits: Tensor = self.head(self.gru(self.embedding(symbols))[0])
        return logits.transpose(1, 2)


class _HiddenDropout(nn.Module):
    """Draws masks from torch's global generator."""

    def forward(self, features: Tensor) -> Tensor:
        return dropout(features, 0.5, training=self.training)


class _OtherwiseWhenCompiled(nn.Module):
    """Stands for a compiler that computes something else."""

    def forward(self, features: Tensor) -> Tensor:
        return features * 1.5 if torch.compiler.is_compiling() else features


class _Assigning(nn.Module):
    """Subtracts a running mean, which it puts into the place of the one before."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(5))

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * features.detach().mean(0)
        return features - self.mean


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(144, _CLASSES),
    )


def _mlp(between: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 5), between(), nn.Linear(5, _CLASSES))


def _frozen() -> nn.Module:
    model = _mlp()
    next(model.parameters()).requires_grad_(False)
    return model


def _make(
    name: str,
    build: Callable[[], nn.Module],
    load: Callable[[], Dataset] = _load_images,
    augment: Augmentation | None = None,
) -> Workload:
    return Workload(
        name=f"small-{name}",
        title=name,
        citation="made for the tests",
        load_data=load,
        build_model=lambda _: build(),
        batch_size=8,
        epochs=3,
        loss_ceiling=1000.0,
        augment=augment,
    )


mlp = _make("mlp", _mlp)
dropout_mlp = _make("dropout", lambda: _mlp(nn.Dropout))
cnn = _make("cnn", _cnn)
augmented = _make("augmented", _mlp, augment=crop_and_flip)
recurrent = _make("recurrent", _Recurrent, _load_words)
hidden_dropout = _make("hidden-dropout", lambda: _mlp(_HiddenDropout))
frozen = _make("frozen", _frozen)
assigning = _make("assigning", lambda: _mlp(_Assigning))
otherwise_when_compiled = _make("otherwise-when-compiled", lambda: _mlp(_OtherwiseWhenCompiled))
