"""Image classification: digits, CIFAR and your own images, each with models of several sizes."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn

from adai.schedules import step
from workers.workloads.base import Dataset, Workload
from workers.workloads.convnets import densenet121, googlenet, small_cnn, vgg16
from workers.workloads.datasets import load_digits
from workers.workloads.images import crop_and_flip, load_cifar, load_image_folder
from workers.workloads.models import build_mlp
from workers.workloads.resnets import resnet8, resnet18, resnet20, resnet34

#: (channels, classes) to a model of 32x32 images.
_Architecture = Callable[[int, int], nn.Module]

_DIGITS = "data: Alpaydin, Kaynak: Optical recognition of handwritten digits, UCI 1998; the copy in scikit-learn"
_FOLDER = "data: your own images, one folder per class"
_CIFAR = "data: Krizhevsky: Learning multiple layers of features from tiny images, 2009"
_PROTOCOL = "protocol: Xie et al.: Adaptive inertia, ICML 2022, the authors' CIFAR notebook"
_RESNET = "model: He et al.: Deep residual learning for image recognition, CVPR 2016"

_INCEPTION = "model: Szegedy et al.: Going deeper with convolutions, CVPR 2015"

# Logistic regression at a large learning rate reaches losses above 100 nats and still classifies well: a ceiling near
# that would call it diverged. A mean loss of 1000 nats is no longer training.
_CEILING = 1000.0


def _build_digits_cnn(data: Dataset) -> nn.Module:
    """Digits come as 64 numbers, convolutions want 8x8 images of one channel."""
    return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), small_cnn(1, _classes(data)))


def _build(architecture: _Architecture, data: Dataset) -> nn.Module:
    return architecture(data.train.inputs.shape[1], _classes(data))


def _classes(data: Dataset) -> int:
    if data.classes is None:
        raise ValueError("an image classifier needs classes, and the data set has none; set Dataset.classes")
    return data.classes


def _digits(name: str, title: str, build_model: Callable[[Dataset], nn.Module], target_error: float) -> Workload:
    return Workload(
        name=f"digits-{name}",
        title=f"{title} on digits",
        citation=_DIGITS,
        load_data=load_digits,
        build_model=build_model,
        batch_size=64,
        epochs=15,
        loss_ceiling=_CEILING,
        target_error=target_error,
    )


def _folder(name: str, title: str, architecture: _Architecture, citation: str = "") -> Workload:
    return Workload(
        name=f"imagefolder-{name}",
        title=f"{title} on an image folder",
        citation=f"{_FOLDER}; {citation}" if citation else _FOLDER,
        load_data=load_image_folder,
        build_model=partial(_build, architecture),
        batch_size=128,
        epochs=30,
        loss_ceiling=_CEILING,
        schedule=step(),
        augment=crop_and_flip,
    )


def _cifar(classes: Literal[10, 100], name: str, title: str, architecture: _Architecture, citation: str) -> Workload:
    return Workload(
        name=f"cifar{classes}-{name}",
        title=f"{title} on CIFAR-{classes}",
        citation=f"{_CIFAR}; {citation}; {_PROTOCOL}",
        load_data=partial(load_cifar, classes),
        build_model=partial(_build, architecture),
        batch_size=128,
        epochs=200,
        loss_ceiling=_CEILING,
        schedule=step(),
        augment=crop_and_flip,
    )


WORKLOADS = (
    _digits("logistic", "logistic regression", partial(build_mlp, hidden=()), 0.05),
    _digits("mlp", "MLP 64-128-10", partial(build_mlp, hidden=(128,)), 0.03),
    _digits("cnn", "small CNN with batch norm", _build_digits_cnn, 0.02),
    Workload(
        name="imagefolder-mlp",
        title="MLP 3072-128-classes on an image folder",
        citation=_FOLDER,
        load_data=partial(load_image_folder, normalize=False),
        build_model=partial(build_mlp, hidden=(128,)),
        batch_size=64,
        epochs=15,
        loss_ceiling=_CEILING,
    ),
    _folder("cnn", "small CNN with batch norm", small_cnn),
    _folder("resnet8", "ResNet-8", resnet8, _RESNET),
    _folder("resnet20", "ResNet-20", resnet20, _RESNET),
    _folder("resnet18", "ResNet-18", resnet18, _RESNET),
    _cifar(10, "resnet8", "ResNet-8", resnet8, _RESNET),
    _cifar(10, "resnet20", "ResNet-20", resnet20, _RESNET),
    _cifar(10, "resnet18", "ResNet-18", resnet18, _RESNET),
    _cifar(10, "vgg16", "VGG-16", vgg16, "model: Simonyan, Zisserman: Very deep convolutional networks, ICLR 2015"),
    _cifar(100, "resnet34", "ResNet-34", resnet34, _RESNET),
    _cifar(
        100, "densenet121", "DenseNet-121", densenet121, "model: Huang et al.: Densely connected networks, CVPR 2017"
    ),
    _cifar(100, "googlenet", "GoogLeNet", googlenet, _INCEPTION),
)
