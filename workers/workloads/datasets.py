"""Data sets as tensors in memory, split by a fixed seed of their own: the same for every study."""

import functools
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from workers.random import Purpose, permutation
from workers.workloads.base import ClassificationData, MissingDataError, Split

#: Splits must not change with the study's seed, or results of two studies could not be compared.
SPLIT_SEED = 2022
DATA_VARIABLE = "ADAI_DATA"


@functools.cache
def load_digits() -> ClassificationData:
    """scikit-learn's bundled digits: 1,797 real 8x8 images, pixels scaled to [0, 1], split 60/20/20.

    Raises:
        MissingDataError: scikit-learn is not installed, or lacks its data file.
    """
    try:
        from sklearn.datasets import load_digits as sklearn_digits

        bunch = sklearn_digits()
    except (ImportError, OSError) as error:
        raise MissingDataError(
            f"the digits data set comes with scikit-learn, which does not load here ({error}); "
            "do: pip install --force-reinstall scikit-learn"
        ) from error
    return split_examples(bunch.data.astype(np.float32) / 16.0, bunch.target.astype(np.int64))


def load_image_folder() -> ClassificationData:
    """Images in ``$ADAI_DATA/imagefolder/<class>/``, resized to 32x32 RGB, pixels in [0, 1], split 60/20/20.

    Raises:
        MissingDataError: No such folder, too few images, or an image that cannot be read.
    """
    return _read_image_folder(_data_directory() / "imagefolder")


@functools.cache
def _read_image_folder(folder: Path) -> ClassificationData:
    try:
        # torchvision takes a second to import, which a study of bundled data need not wait for.
        from torchvision.datasets import ImageFolder
        from torchvision.transforms import Compose, Resize, ToTensor
    except (ImportError, RuntimeError) as error:
        raise MissingDataError(
            f"reading images needs torchvision, which does not load here ({error}); "
            "install torch and torchvision of the same build"
        ) from error

    transform = Compose([Resize((32, 32)), ToTensor()])
    try:
        images = ImageFolder(str(folder), transform=transform)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingDataError(
            f"{folder} is not a folder with one folder of images per class ({error}); "
            f"put images there, or set {DATA_VARIABLE} to the folder that contains imagefolder/"
        ) from error
    if len(images.classes) < 2 or len(images) < 10:
        raise MissingDataError(
            f"{folder} holds {len(images)} images in {len(images.classes)} classes; "
            "at least 10 images in 2 classes are needed: add some"
        )
    try:
        pixels = torch.stack([image for image, _ in images])
    except OSError as error:
        raise MissingDataError(f"an image in {folder} cannot be read ({error}); replace or remove it") from error
    return split_examples(pixels.numpy(), np.asarray(images.targets, dtype=np.int64))


def split_examples(inputs: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> ClassificationData:
    """Shuffle and cut examples into training (60 %), validation and test (20 % each, rounded down).

    Args:
        inputs: (N, ...) examples.
        labels: (N,) class indices from 0.
    """
    order = permutation(len(labels), seed=SPLIT_SEED, index=0, purpose=Purpose.SPLIT)
    held_out = len(labels) // 5
    validation, test, train = order[:held_out], order[held_out : 2 * held_out], order[2 * held_out :]

    def part(chosen: npt.NDArray[np.int64]) -> Split:
        return Split(torch.from_numpy(inputs[chosen]), torch.from_numpy(labels[chosen]))

    return ClassificationData(part(train), part(validation), part(test), classes=int(labels.max()) + 1)


def _data_directory() -> Path:
    if DATA_VARIABLE not in os.environ:
        raise MissingDataError(
            f"the environment variable {DATA_VARIABLE} is not set; set it to the folder that contains imagefolder/"
        )
    return Path(os.environ[DATA_VARIABLE])
