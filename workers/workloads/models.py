"""Models that several workloads share, as ordinary modules."""

import itertools
import math

from torch import nn

from workers.workloads.base import Dataset


def build_mlp(data: Dataset, hidden: tuple[int, ...]) -> nn.Sequential:
    """A multilayer perceptron with ReLU between layers; none hidden is logistic regression.

    Args:
        data: Its input size and number of classes set the first and last layer.
        hidden: Width of each hidden layer.
    """
    inputs = math.prod(data.train.inputs.shape[1:])
    if data.classes is None:
        raise ValueError("a classifier needs classes, and the data set has none; set Dataset.classes")
    widths = (inputs, *hidden, data.classes)
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
