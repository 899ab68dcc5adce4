"""MNIST-1D: digits as noisy signals of 40 numbers, with the four models of its authors."""

import functools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from workers.workloads.base import Dataset, MissingDataError, Split, Workload
from workers.workloads.datasets import shuffle_and_cut

_VALIDATION_EXAMPLES = 500

# As for every cross-entropy here: large learning rates reach losses above 100 nats and come back; 1000 do not.
_LOSS_CEILING = 1000.0

_CITATION = (
    "data and model: Greydanus, Kobak: Scaling Down Deep Learning with MNIST-1D, ICML 2024 (arXiv 2011.14439); "
    "the generator in the package mnist1d, the models in notebooks/models.py of the repository greydanus/mnist1d"
)


@functools.cache
def load_mnist1d() -> Dataset:
    """The data set as published: 4,000 training and 1,000 test signals of 10 classes, mean 0, variance 1 over all.

    500 of the training signals, chosen by a fixed seed, are kept for validation. Inputs are (N, 40) float32. The
    signals are generated, not downloaded, and differ from the authors' file by at most 1e-15.

    Raises:
        MissingDataError: The package mnist1d is not installed, or does not work here.
    """
    published = _generate()
    inputs, labels = published["x"].astype(np.float32), published["y"].astype(np.int64)
    validation, train = shuffle_and_cut(len(labels), _VALIDATION_EXAMPLES)
    test_inputs, test_labels = published["x_test"].astype(np.float32), published["y_test"].astype(np.int64)
    return Dataset(
        Split(torch.from_numpy(inputs[train]), torch.from_numpy(labels[train])),
        Split(torch.from_numpy(inputs[validation]), torch.from_numpy(labels[validation])),
        Split(torch.from_numpy(test_inputs), torch.from_numpy(test_labels)),
        classes=int(labels.max()) + 1,
    )


def _generate() -> dict[str, np.ndarray]:
    try:
        # The package draws in matplotlib, which takes seconds to import.
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise MissingDataError(
            f"MNIST-1D comes from the package mnist1d, which does not load here ({error}); "
            "do: pip install --force-reinstall mnist1d"
        ) from error
    with _global_generators_kept():
        published: dict[str, np.ndarray] = make_dataset(get_dataset_args())
    return published


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    """Put the global generators of ``random`` and NumPy back: the package seeds them, and others may use them."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


class ResidualMLP(nn.Module):
    """The authors' ``MLPBase``, 40-100-100-10: two hidden layers of ReLU, the second beside a skip connection."""

    def __init__(self, features: int, classes: int, hidden: int = 100) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, hidden)
        self.linear2 = nn.Linear(hidden, hidden)
        self.linear3 = nn.Linear(hidden, classes)

    def forward(self, signals: Tensor) -> Tensor:
        """Logits (B, classes) of signals (B, features)."""
        hidden = self.linear1(signals).relu()
        hidden = hidden + self.linear2(hidden).relu()
        logits: Tensor = self.linear3(hidden)
        return logits


class BidirectionalGRU(nn.Module):
    """The authors' ``GRUBase``: a GRU that reads one number a step, both ways; a linear layer on all its outputs."""

    def __init__(self, features: int, classes: int, hidden: int = 6) -> None:
        super().__init__()
        self.gru = nn.GRU(input_size=1, hidden_size=hidden, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * hidden * features, classes)

    def forward(self, signals: Tensor) -> Tensor:
        """Logits (B, classes) of signals (B, features)."""
        outputs, _ = self.gru(signals.unsqueeze(2))
        logits: Tensor = self.linear(outputs.flatten(1))
        return logits


def build_logistic(data: Dataset) -> nn.Module:
    """The authors' ``LinearBase``: 410 parameters."""
    return nn.Sequential(nn.Flatten(), nn.Linear(*_sizes(data)))


def build_mlp(data: Dataset) -> nn.Module:
    """The authors' ``MLPBase``: 15,210 parameters."""
    return ResidualMLP(*_sizes(data))


def build_cnn(data: Dataset) -> nn.Module:
    """The authors' ``ConvBase``: 5,210 parameters; lengths 40, 19, 10, 5 in 25 channels."""
    features, classes = _sizes(data)
    return nn.Sequential(
        nn.Unflatten(1, (1, features)),
        nn.Conv1d(1, 25, kernel_size=5, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(25, 25, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(25, 25, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(125, classes),
    )


def build_gru(data: Dataset) -> nn.Module:
    """The authors' ``GRUBase``: 5,134 parameters."""
    return BidirectionalGRU(*_sizes(data))


def _sizes(data: Dataset) -> tuple[int, int]:
    if data.classes is None:
        raise ValueError("a classifier needs classes, and the data set has classes=None; give their number")
    return data.train.inputs.shape[1], data.classes


def _make_workload(name: str, title: str, build_model: Callable[[Dataset], nn.Module], epochs: int) -> Workload:
    return Workload(
        name=name,
        title=title,
        citation=_CITATION,
        load_data=load_mnist1d,
        build_model=build_model,
        batch_size=100,
        epochs=epochs,
        loss_ceiling=_LOSS_CEILING,
    )


#: The authors train 6,000 steps of this batch size with Adam at a learning rate of 0.01; the test accuracies in the
#: README of their repository are 32, 68, 94 and 91 %. With that setting, these budgets (35 steps an epoch) end within
#: 2 points of the test accuracy after 5,250 steps (two seeds).
WORKLOADS: tuple[Workload, ...] = (
    _make_workload("mnist1d-logistic", "logistic regression on MNIST-1D", build_logistic, epochs=20),
    _make_workload("mnist1d-mlp", "MLP 40-100-100-10 with a skip connection on MNIST-1D", build_mlp, epochs=50),
    _make_workload("mnist1d-cnn", "three-layer convolutional network on MNIST-1D", build_cnn, epochs=50),
    _make_workload("mnist1d-gru", "bidirectional GRU on MNIST-1D", build_gru, epochs=40),
)
