"""Convolutional networks without residual sums: VGG-16, DenseNet-121, GoogLeNet and a small one for 8x8 digits."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

#: Widths of VGG-16's convolutions between max-poolings (Simonyan and Zisserman, ICLR 2015, table 1, column D).
_VGG16_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
#: Layers in each dense block of DenseNet-121, and channels that a layer adds (Huang et al., CVPR 2017, table 1).
_DENSENET121_LAYERS = (6, 12, 24, 16)
_GROWTH = 32
#: Widths of GoogLeNet's inception modules (Szegedy et al., CVPR 2015, table 1): 1x1, 3x3 reduce, 3x3, 5x5 reduce,
#: 5x5, pool projection.
_INCEPTION_WIDTHS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def small_cnn(channels: int, classes: int) -> nn.Module:
    """Two 3x3 convolutions with batch norm (16 and 32 channels), max-pooling to 4x4, one linear layer.

    9,978 parameters for 1 channel and 10 classes; torch's own initialization.

    Args:
        channels: Of an image.
        classes: Number of logits.

    Returns:
        A module from (B, channels, H, W) to logits (B, classes); 8x8 images are pooled in windows of 2x2.
    """
    return nn.Sequential(
        _convolution(channels, 16, 3),
        _convolution(16, 32, 3),
        nn.AdaptiveMaxPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, classes),
    )


def vgg16(channels: int, classes: int) -> nn.Module:
    """VGG-16 with batch norm, and one linear layer from 512 features instead of three with dropout.

    The network of the Adai authors' CIFAR-10 demo, with torch's own initialization: column D of Simonyan and
    Zisserman (ICLR 2015, table 1), batch norm behind each convolution. ``features`` has the names and shapes of
    torchvision's vgg16_bn. 14,728,266 parameters for 3 channels and 10 classes.

    Args:
        channels: Of an image.
        classes: Number of logits.

    Returns:
        A module from (B, channels, H, W), of any H and W, to logits (B, classes): the five poolings round odd
        resolutions up, which torchvision's do not. In training, images up to 16x16 need B > 1: one number per
        channel has no variance.
    """
    features: list[nn.Module] = []
    width_in = channels
    for widths in _VGG16_WIDTHS:
        for width in widths:
            features += [nn.Conv2d(width_in, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            width_in = width
        features.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*features),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(width_in, classes),
        )
    )


def densenet121(channels: int, classes: int) -> nn.Module:
    """DenseNet-121 with a stem for small images: one 3x3 convolution of stride 1, no max-pooling.

    Huang et al. (CVPR 2017, table 1) from the first dense block on; the stem is that of their section 3
    (implementation details), a bare convolution with 64 channels, as in the Adai authors' code. Torch's own
    initialization. Names and shapes behind the stem are those of torchvision's densenet121. 6,956,298 parameters for 3
    channels and 10 classes.

    Args:
        channels: Of an image.
        classes: Number of logits.

    Returns:
        A module from (B, channels, H, W), both at least 8, to logits (B, classes). In training, images below 16x16
        need B > 1: one number per channel has no variance.
    """
    width = 2 * _GROWTH
    features: OrderedDict[str, nn.Module] = OrderedDict(conv0=nn.Conv2d(channels, width, 3, padding=1, bias=False))
    for block, layers in enumerate(_DENSENET121_LAYERS, start=1):
        features[f"denseblock{block}"] = _dense_block(width, layers)
        width += layers * _GROWTH
        if block < len(_DENSENET121_LAYERS):
            features[f"transition{block}"] = _transition(width)
            width //= 2
    features["norm5"] = nn.BatchNorm2d(width)
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(features),
            relu=nn.ReLU(inplace=True),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(width, classes),
        )
    )


def googlenet(channels: int, classes: int) -> nn.Module:
    """GoogLeNet with batch norm and a stem for small images: one 3x3 convolution of stride 1, no max-pooling.

    Szegedy et al. (CVPR 2015, table 1) from module 3a on, without dropout and auxiliary classifiers. Each 5x5
    convolution is two of 3x3, as in Ioffe and Szegedy (ICML 2015, section 4.2) and in the Adai authors' code, which
    also has dropout, and a batch norm there whose eps is the number of channels, by a slip. Torchvision's googlenet has
    one of 3x3, which it documents as a bug that it keeps. Torch's own initialization.
    6,158,346 parameters for 3 channels and 10 classes.

    Args:
        channels: Of an image.
        classes: Number of logits.

    Returns:
        A module from (B, channels, H, W), of any H and W, to logits (B, classes). In training, images up to 4x4 need
        B > 1: one number per channel has no variance.
    """
    width = 192
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=_convolution(channels, width, 3))
    for name, widths in _INCEPTION_WIDTHS.items():
        if name in ("4a", "5a"):
            layers[f"maxpool{int(name[0]) - 1}"] = nn.MaxPool2d(3, stride=2, padding=1)
        module = _Inception(width, *widths)
        layers[f"inception{name}"] = module
        width = module.width_out
    layers.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(width, classes))
    return nn.Sequential(layers)


def _convolution(width_in: int, width_out: int, kernel_size: int) -> nn.Sequential:
    """Convolution that keeps the resolution, batch norm and ReLU; no bias, which batch norm would cancel."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(width_in, width_out, kernel_size, padding=kernel_size // 2, bias=False),
            bn=nn.BatchNorm2d(width_out),
            relu=nn.ReLU(inplace=True),
        )
    )


class _DenseLayer(nn.Module):
    """A bottleneck (DenseNet-B, section 3) whose output is appended to its input: (B, C, H, W) to (B, C + 32, H, W)."""

    def __init__(self, width_in: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, 4 * _GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * _GROWTH)
        self.conv2 = nn.Conv2d(4 * _GROWTH, _GROWTH, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        narrow = self.conv1(self.relu(self.norm1(features)))
        return torch.cat([features, self.conv2(self.relu(self.norm2(narrow)))], dim=1)


def _dense_block(width_in: int, layers: int) -> nn.Sequential:
    named = {f"denselayer{layer + 1}": _DenseLayer(width_in + layer * _GROWTH) for layer in range(layers)}
    return nn.Sequential(OrderedDict(named))


def _transition(width_in: int) -> nn.Sequential:
    """Half the channels at half the resolution (DenseNet-C, section 3)."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(width_in),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(width_in, width_in // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


class _Inception(nn.Module):
    """Four branches side by side (Szegedy et al. 2015, figure 2b): 1x1, 3x3, twice 3x3, and max-pooling."""

    def __init__(
        self, width_in: int, one: int, three_reduced: int, three: int, five_reduced: int, five: int, pooled: int
    ) -> None:
        super().__init__()
        self.branch1 = _convolution(width_in, one, 1)
        self.branch2 = nn.Sequential(_convolution(width_in, three_reduced, 1), _convolution(three_reduced, three, 3))
        self.branch3 = nn.Sequential(
            _convolution(width_in, five_reduced, 1), _convolution(five_reduced, five, 3), _convolution(five, five, 3)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), _convolution(width_in, pooled, 1))
        self.width_out = one + three + five + pooled

    def forward(self, features: Tensor) -> Tensor:
        branches = [self.branch1(features), self.branch2(features), self.branch3(features), self.branch4(features)]
        return torch.cat(branches, dim=1)
