"""Image data sets as float tensors, of your own or CIFAR, that worker processes share; and their augmentation."""

import functools
import os
import tempfile
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import PIL
import torch
from torch import Tensor
from torch.nn.functional import pad

from workers.workloads.base import Dataset, MissingDataError, Split
from workers.workloads.datasets import shuffle_and_cut
from workers.workloads.image_files import IMAGE_SIZE, Labelled, arrange, list_images, read_images
from workers.workloads.shared_arrays import share_array

DATA_VARIABLE = "ADAI_DATA"
DOWNLOAD_VARIABLE = "ADAI_DOWNLOAD"

#: To be raised when the same files come to give other floats, or those that are on disk would still be used.
_READING = 1
_FEWEST_IMAGES = 10
_PADDING = 4
#: Per channel: as Adai's authors normalise CIFAR-10 (and as is usual), and what is usual for CIFAR-100.
_CIFAR_STATISTICS = {
    10: ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    100: ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
_CIFAR_FOLDER = {10: "cifar-10-batches-py/", 100: "cifar-100-python/"}
_CIFAR_DOWNLOAD = {10: "170 MB", 100: "169 MB"}


def load_image_folder(*, normalize: bool = True) -> Dataset:
    """Your own images, in ``$ADAI_DATA/imagefolder/`` or ``$ADAI_DATA/imagefolder.zip``; read once per process.

    Args:
        normalize: As in :func:`read_image_folder`.

    Raises:
        MissingDataError: Neither or both are there, or the images cannot be used; see :func:`read_image_folder`.
    """
    directory = _data_directory("imagefolder/ or imagefolder.zip")
    folder, archive = directory / "imagefolder", directory / "imagefolder.zip"
    if folder.exists() and archive.exists():
        raise MissingDataError(f"both {folder} and {archive} are there, and only one can be meant; remove the other")
    if not archive.exists() and not folder.is_dir():
        raise MissingDataError(
            f"{folder} is not a folder with one folder of images per class; put images there, "
            f"or set {DATA_VARIABLE} to the folder that contains imagefolder/ or imagefolder.zip"
        )
    return _read_once(archive if archive.exists() else folder, normalize=normalize)


def read_image_folder(source: Path, *, normalize: bool) -> Dataset:
    """Images (N, 3, 32, 32) of a folder or a zip, RGB, resized, float32, labelled by the folder that they are in.

    ``source`` holds one folder per class, and is shuffled and split 60/20/20; or it holds ``train`` and ``test``, and
    perhaps ``val`` or ``validation``, with the same class folders in each. Without a validation folder 10 % of the
    training images, rounded down, are held out for validation. The seed of either split is fixed.

    The floats are kept in ``$XDG_CACHE_HOME/adai/images`` (``~/.cache/adai/images``), 12 KiB per image, and mapped
    from there into every process that asks for the same images. Where that folder cannot be written, each process
    reads the images for itself.

    Args:
        source: The folder or the zip.
        normalize: Subtract from each channel its mean over all pixels of the training images, and divide it by their
            standard deviation (1 if that is 0). Otherwise pixels are in [0, 1].

    Raises:
        MissingDataError: Fewer than 10 images (to train, if there are parts) or 2 classes; folders that do not fit
            together; an image that cannot be read. The message names which.
    """
    classes, labelled = arrange(list_images(source))
    shuffled = labelled["all"] if "all" in labelled else labelled["train"]
    if len(classes) < 2 or len(shuffled.images) < _FEWEST_IMAGES:
        raise MissingDataError(
            f"{source} holds {len(shuffled.images)} images in {len(classes)} classes to train on; "
            f"at least {_FEWEST_IMAGES} images in 2 classes are needed: add some"
        )
    parts = _split(labelled)
    images = [image for part in parts.values() for image in part.images]

    def compute() -> npt.NDArray[np.float32]:
        pixels = read_images(source, images)
        mean, std = _statistics(pixels[: len(parts["train"].images)]) if normalize else ((0.0,) * 3, (1.0,) * 3)
        return _to_floats(pixels, mean, std)

    versions = [[(image.name, image.size, image.version) for image in part.images] for part in parts.values()]
    inputs = share_array(
        compute,
        (len(images), 3, IMAGE_SIZE, IMAGE_SIZE),
        owner=(source.resolve(), normalize),
        version=(_READING, PIL.__version__, versions),
    )
    return _cut(inputs, [np.asarray(part.labels, dtype=np.int64) for part in parts.values()], len(classes))


def load_cifar(classes: Literal[10, 100]) -> Dataset:
    """CIFAR-10 or CIFAR-100 (Krizhevsky, Learning multiple layers of features from tiny images, 2009), normalised.

    45,000 training and 5,000 validation images (3, 32, 32), float32, which are the published training images in a fixed
    permutation, and the 10,000 published test images. They are looked for in ``$ADAI_DATA/cifar-10-batches-py/`` or
    ``$ADAI_DATA/cifar-100-python/``, and downloaded to there if they are not there and ``ADAI_DOWNLOAD`` is 1. Files
    are read only if they have the published checksums. The floats are shared as in :func:`read_image_folder`.

    Args:
        classes: Which of the two.

    Raises:
        MissingDataError: Files are not there, differ from the published ones, or cannot be downloaded.
    """
    return _read_cifar(_data_directory(_CIFAR_FOLDER[classes]), classes)


def crop_and_flip(images: Tensor, words: Tensor) -> Tensor:
    """Move each image by -4 to 4 pixels in both directions and mirror half of them (He et al., CVPR 2016, section 4.2).

    What comes in at an edge is 0, which in normalised images is the channel's mean over the training set, where
    padding before normalisation would give black. Bit 0 of a word says whether to mirror, bits 1 to 31 choose the
    vertical and bits 32 to 62 the horizontal shift, by multiplication: each of the 9 shifts has one ninth of the 2**31
    values, within one value. So an image's result depends on nothing but its own word, on any device.

    Args:
        images: (B, C, H, W).
        words: (B,) int64, one random 64-bit word per image, on the device of the images.

    Returns:
        (B, C, H, W), a new tensor.
    """
    batch, channels, height, width = images.shape
    shifts, mask = 2 * _PADDING + 1, 2**31 - 1
    mirrored = (words & 1).bool().unsqueeze(1)
    top, left = ((words >> first & mask) * shifts >> 31 for first in (1, 32))
    columns = torch.arange(width, device=images.device)
    row_BH = top.unsqueeze(1) + torch.arange(height, device=images.device)
    column_BW = left.unsqueeze(1) + torch.where(mirrored, columns.flip(0), columns)
    position_BHW = row_BH.unsqueeze(2) * (width + 2 * _PADDING) + column_BW.unsqueeze(1)
    # One gather over the flattened image took a sixth of the time of indexing with four tensors (on a CPU).
    index = position_BHW.reshape(batch, 1, -1).expand(-1, channels, -1)
    return pad(images, (_PADDING,) * 4).flatten(2).gather(2, index).view(batch, channels, height, width)


_read_once = functools.cache(read_image_folder)


def _data_directory(contents: str) -> Path:
    if DATA_VARIABLE not in os.environ:
        raise MissingDataError(
            f"the environment variable {DATA_VARIABLE} is not set; set it to the folder that contains {contents}"
        )
    return Path(os.environ[DATA_VARIABLE])


def _split(labelled: dict[str, Labelled]) -> dict[str, Labelled]:
    """Training, validation and test images, in this order."""
    if "all" in labelled:
        every = labelled["all"]
        examples = len(every.images)
        validation, test, train = shuffle_and_cut(examples, examples // 5, examples // 5)
        return {"train": every.take(train), "validation": every.take(validation), "test": every.take(test)}
    if "validation" in labelled:
        return {part: labelled[part] for part in ("train", "validation", "test")}
    examples = len(labelled["train"].images)
    validation, train = shuffle_and_cut(examples, examples // 10)
    trained = labelled["train"]
    return {"train": trained.take(train), "validation": trained.take(validation), "test": labelled["test"]}


def _cut(inputs: npt.NDArray[np.float32], labels: list[npt.NDArray[np.int64]], classes: int) -> Dataset:
    """Training, validation and test part as consecutive pieces of ``inputs``, without a copy."""
    pieces = np.split(inputs, np.cumsum([len(part) for part in labels])[:-1])
    train, validation, test = (
        Split(torch.from_numpy(piece), torch.from_numpy(part)) for piece, part in zip(pieces, labels, strict=True)
    )
    return Dataset(train, validation, test, classes)


def _statistics(pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of each channel in units of 255, exact up to the last rounding: from counts."""
    counts = np.stack([np.bincount(pixels[:, channel].ravel(), minlength=256) for channel in range(pixels.shape[1])])
    share, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
    mean = share @ levels
    std = np.sqrt((share * (levels - mean[:, None]) ** 2).sum(axis=1))
    return mean, np.where(std > 0, std, 1.0)


def _to_floats(pixels: npt.NDArray[np.uint8], mean: npt.ArrayLike, std: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """(pixels / 255 - mean) / std, rounded as torchvision's ``ToTensor`` and ``Normalize`` do."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    mean_C, std_C = np.asarray(mean, dtype=np.float32), np.asarray(std, dtype=np.float32)
    floats = np.empty(pixels.shape, dtype=np.float32)
    for channel in range(pixels.shape[1]):
        floats[:, channel] = ((levels - mean_C[channel]) / std_C[channel])[pixels[:, channel]]
    return floats


@functools.cache
def _read_cifar(directory: Path, classes: Literal[10, 100]) -> Dataset:
    published = _published_cifar(classes)
    if os.environ.get(DOWNLOAD_VARIABLE) == "1":
        _download(published, directory)
    _check_files(published, directory, _CIFAR_DOWNLOAD[classes])
    train, test = (published(directory, train=flag) for flag in (True, False))
    examples = len(train.targets)
    validation, kept = shuffle_and_cut(examples, examples // 10)

    def compute() -> npt.NDArray[np.float32]:
        pixels = np.concatenate([train.data[kept], train.data[validation], test.data])
        return _to_floats(pixels.transpose(0, 3, 1, 2), *_CIFAR_STATISTICS[classes])

    inputs = share_array(
        compute,
        (examples + len(test.targets), 3, IMAGE_SIZE, IMAGE_SIZE),
        owner=(directory.resolve(), published.base_folder),
        version=(_READING, published.train_list, published.test_list),
    )
    labels = np.asarray(train.targets, dtype=np.int64)
    return _cut(inputs, [labels[kept], labels[validation], np.asarray(test.targets, dtype=np.int64)], classes)


def _published_cifar(classes: Literal[10, 100]) -> Any:
    """The class of torchvision, which knows the address, the files and their checksums."""
    try:
        from torchvision.datasets import CIFAR10, CIFAR100
    except (ImportError, RuntimeError) as error:
        raise MissingDataError(
            f"CIFAR is read with torchvision, which does not load here ({error}); "
            "install torch and torchvision of the same build"
        ) from error
    return CIFAR10 if classes == 10 else CIFAR100


def _check_files(published: Any, directory: Path, size: str) -> None:
    from torchvision.datasets.utils import check_integrity

    folder = directory / published.base_folder
    files = [*published.train_list, *published.test_list, (published.meta["filename"], published.meta["md5"])]
    for name, checksum in files:
        path = folder / name
        if not path.is_file():
            raise MissingDataError(
                f"{path} is not there; set {DATA_VARIABLE} to the folder that contains {folder.name}/, "
                f"or set {DOWNLOAD_VARIABLE}=1 to download {size} into {directory}"
            )
        if not check_integrity(path, checksum):
            raise MissingDataError(
                f"{path} is corrupt: its MD5 checksum is not {checksum}, the published one; "
                f"replace it, or set {DOWNLOAD_VARIABLE}=1 to download {size} into {directory}"
            )


def _download(published: Any, directory: Path) -> None:
    """Download what is missing or corrupt; into a folder beside it first, for several processes may do so at once."""
    with suppress(MissingDataError):
        _check_files(published, directory, "")
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            published(folder, download=True)
            (directory / published.base_folder).mkdir(exist_ok=True)
            for file in (Path(folder) / published.base_folder).iterdir():
                file.replace(directory / published.base_folder / file.name)
    except (OSError, RuntimeError, HTTPException) as error:
        raise MissingDataError(
            f"{published.url} cannot be downloaded into {directory} ({error}); mend the connection and try again, "
            f"or put the folder {published.base_folder}/ there yourself"
        ) from error
