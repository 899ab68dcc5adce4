"""Small image folders made of real digits, and how their data sets are compared."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision import transforms
from torchvision.datasets import ImageFolder

from workers.workloads.base import Dataset, Split

DIGITS = load_digits()


def draw(number: int) -> Image.Image:
    """A real digit, scaled up and coloured by its number: no two are alike, nor are their three channels."""
    gray = Image.fromarray((DIGITS.images[number] * 15.9).astype(np.uint8)).resize((40 + number % 9, 37))
    tint = np.array([1.0, (number % 7) / 7, (number % 5) / 5])
    return Image.fromarray((np.asarray(gray)[:, :, None] * tint).astype(np.uint8))


def write_class_folders(folder: Path, count: int = 12, first: int = 0, classes: Sequence[str] = ("cat", "dog")) -> None:
    """``count`` images in a folder for each class, the first of them ``first``."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            draw(first + 100 * label + number).save(folder / name / f"{number}.png")


def assert_equal(ours: Dataset, theirs: Dataset) -> None:
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(ours, part).inputs, getattr(theirs, part).inputs)
        assert torch.equal(getattr(ours, part).labels, getattr(theirs, part).labels)
    assert ours.classes == theirs.classes


def as_torchvision_reads(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    images = ImageFolder(str(folder), transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()]))
    return torch.stack([image for image, _ in images]), torch.tensor(images.targets)


def rows(*splits: Split) -> list[tuple[float, ...]]:
    """Images and labels in an order of their own, to compare sets of them."""
    return sorted(
        (*image.flatten().tolist(), label)
        for split in splits
        for image, label in zip(split.inputs, split.labels.tolist(), strict=True)
    )
