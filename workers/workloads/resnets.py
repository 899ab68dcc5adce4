"""Residual networks for small images: ResNet-18 and -34 in the CIFAR shape, ResNet-8 and -20 of the CIFAR section."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn.functional import pad


def resnet18(channels: int, classes: int) -> nn.Module:
    """ResNet-18 with a stem for small images: 3x3 convolution of stride 1, no max-pooling.

    The network of the Adai authors' CIFAR-10 demo: He et al. 2016 (CVPR, table 1) from the first stage on, with
    projections where the shape changes (option B), and torch's own initialization. Everything behind the stem has the
    names and shapes of torchvision's resnet18. 11,173,962 parameters for 3 channels and 10 classes.

    Args:
        channels: Of an image.
        classes: Number of logits.

    Returns:
        A module from (B, channels, H, W), of any H and W, to logits (B, classes). In training, images up to 8x8 need
        B > 1: one number per channel has no variance.
    """
    return _resnet(channels, classes, widths=(64, 128, 256, 512), blocks=(2, 2, 2, 2), projection=True)


def resnet34(channels: int, classes: int) -> nn.Module:
    """ResNet-34, otherwise as :func:`resnet18`. 21,282,122 parameters for 3 channels and 10 classes.

    Args:
        channels: Of an image.
        classes: Number of logits.

    Returns:
        A module from (B, channels, H, W), of any H and W, to logits (B, classes). In training, images up to 8x8 need
        B > 1: one number per channel has no variance.
    """
    return _resnet(channels, classes, widths=(64, 128, 256, 512), blocks=(3, 4, 6, 3), projection=True)


def resnet8(channels: int, classes: int, *, projection: bool = False) -> nn.Module:
    """The network of He et al. 2016 (CVPR, section 4.2) with n = 1, so 6n + 2 = 8 layers.

    75,290 parameters for 3 channels and 10 classes, 78,042 with projections. See :func:`resnet20`.

    Args:
        channels: Of an image.
        classes: Number of logits.
        projection: As in :func:`resnet20`.

    Returns:
        A module from (B, channels, H, W), of any H and W, to logits (B, classes). In training, images up to 4x4 need
        B > 1: one number per channel has no variance.
    """
    return _he_initialized(_resnet(channels, classes, widths=(16, 32, 64), blocks=(1, 1, 1), projection=projection))


def resnet20(channels: int, classes: int, *, projection: bool = False) -> nn.Module:
    """The network of He et al. 2016 (CVPR, section 4.2) with n = 3, so 6n + 2 = 20 layers.

    Three stages of 16, 32 and 64 channels, initialized as in He et al. 2015 (ICCV, section 2.2). 269,722 parameters
    for 3 channels and 10 classes, 272,474 with projections.

    Args:
        channels: Of an image.
        classes: Number of logits.
        projection: False for the paper's shortcuts on CIFAR-10, which have no parameters (its option A); True for 1x1
            convolutions with batch norm where the shape changes (option B), as many implementations have.

    Returns:
        A module from (B, channels, H, W), of any H and W, to logits (B, classes). In training, images up to 4x4 need
        B > 1: one number per channel has no variance.
    """
    return _he_initialized(_resnet(channels, classes, widths=(16, 32, 64), blocks=(3, 3, 3), projection=projection))


class _PaddedShortcut(nn.Module):
    """Option A of He et al. 2016, section 4.1: every second pixel, and zeros for the channels that are not there."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.extra_channels = width_out - width_in

    def forward(self, features: Tensor) -> Tensor:
        # The paper does not say where the zeros stand; here they follow the channels that are there.
        return pad(features[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.extra_channels))


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 5, left), with torchvision's names."""

    def __init__(self, width_in: int, width_out: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width_out)
        self.downsample = shortcut

    def forward(self, features: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        activation: Tensor = self.relu(residual + self.downsample(features))
        return activation


def _stage(width_in: int, width_out: int, blocks: int, *, projection: bool) -> nn.Sequential:
    """``blocks`` blocks, the first of which halves the resolution if the width changes."""
    if width_in == width_out:
        first = _BasicBlock(width_in, width_out, stride=1, shortcut=nn.Identity())
    else:
        shortcut = _projection(width_in, width_out) if projection else _PaddedShortcut(width_in, width_out)
        first = _BasicBlock(width_in, width_out, stride=2, shortcut=shortcut)
    others = [_BasicBlock(width_out, width_out, stride=1, shortcut=nn.Identity()) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others)


def _projection(width_in: int, width_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width_in, width_out, 1, stride=2, bias=False), nn.BatchNorm2d(width_out))


def _resnet(
    channels: int, classes: int, *, widths: tuple[int, ...], blocks: tuple[int, ...], projection: bool
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, widths[0], 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(widths[0]),
        relu=nn.ReLU(inplace=True),
    )
    width_in = widths[0]
    for stage, (width, depth) in enumerate(zip(widths, blocks, strict=True), start=1):
        layers[f"layer{stage}"] = _stage(width_in, width, depth, projection=projection)
        width_in = width
    layers.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(widths[-1], classes))
    return nn.Sequential(layers)


def _he_initialized(model: nn.Module) -> nn.Module:
    """Draw all weights anew as He et al. 2015, section 2.2, do: normal, variance 2 / fan-in, biases zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model
