"""Image files in class folders, on disk or inside a zip: which there are, what they are labelled, what they show."""

import dataclasses
import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from workers.workloads.base import MissingDataError

#: Height and width of images once they are read.
IMAGE_SIZE = 32
#: The names of image files end in one of these (those that torchvision's ImageFolder takes), in any case.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

#: Names from the outermost folder inwards; not a ``PurePath``, which would take seconds for the files of CIFAR.
Folder = tuple[str, ...]

_PART_OF_FOLDER = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image that was found but not yet read.

    Attributes:
        name: Where it is: its path on disk, or its name inside the zip.
        folder: The folders that it is in, from the outermost.
        size: In bytes.
        version: Changes when the file does: modification time in ns, or its CRC-32 inside a zip.
    """

    name: str
    folder: Folder
    size: int
    version: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in ``source``, a folder or a zip: images, and folders, also empty ones; nothing hidden."""

    source: Path
    images: tuple[ImageFile, ...]
    folders: frozenset[Folder]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images of one part of a data set, and the class index of each."""

    images: tuple[ImageFile, ...]
    labels: tuple[int, ...]

    def take(self, positions: Iterable[int]) -> "Labelled":
        """Those at the given positions, in that order."""
        chosen = list(positions)
        return Labelled(tuple(self.images[i] for i in chosen), tuple(self.labels[i] for i in chosen))


def list_images(source: Path) -> Listing:
    """Find the images in a folder or a zip; hidden files and macOS's ``__MACOSX`` are passed over.

    A zip whose only top-level folder contains everything else counts as if it had been made inside that folder.

    Raises:
        MissingDataError: ``source`` cannot be listed.
    """
    try:
        return _list_folder(source) if source.is_dir() else _list_zip(source)
    except (OSError, zipfile.BadZipFile) as error:
        raise MissingDataError(
            f"{source} cannot be listed ({error}); make it readable, or replace it by a sound folder or zip"
        ) from error


def arrange(listing: Listing) -> tuple[tuple[str, ...], dict[str, Labelled]]:
    """The names of the classes, and the labelled images: of each part, or all under ``all`` if there are no parts.

    Folders are parts if one of them is called ``train``, ``test``, ``val`` or ``validation`` and holds folders itself.
    Classes are numbered by their sorted names, and images sorted within them, as torchvision's ImageFolder does.

    Raises:
        MissingDataError: A class is empty or missing in one of the parts, or folders are neither classes nor parts.
    """
    top = {folder[0] for folder in listing.folders}
    if not any(len(folder) > 1 and folder[0] in _PART_OF_FOLDER for folder in listing.folders):
        classes, images = _label(listing, ())
        return classes, {"all": images}
    _check_parts(listing.source, top)
    parts = {_PART_OF_FOLDER[folder]: _label(listing, (folder,)) for folder in sorted(top)}
    classes = parts["train"][0]
    for part, (names, _) in parts.items():
        if names != classes:
            lacking, added = sorted(set(classes) - set(names)), sorted(set(names) - set(classes))
            raise MissingDataError(
                f"the {part} part of {listing.source} has other classes than the train part: "
                f"lacking {lacking}, added {added}; give both the same class folders"
            )
    return classes, {part: images for part, (_, images) in parts.items()}


def read_images(source: Path, images: Sequence[ImageFile]) -> npt.NDArray[np.uint8]:
    """Pixels (N, 3, 32, 32) in [0, 255]: RGB, turned upright as EXIF says, resized without keeping proportions.

    Gray images and palettes become RGB, transparency is dropped, and of several frames the first counts. Resizing is
    bilinear with antialiasing, bit for bit that of torchvision's ``Resize`` on PIL images.

    Raises:
        MissingDataError: An image cannot be read, which is named.
    """
    pixels = np.empty((len(images), 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    with _reader(source) as read:
        for position, image in enumerate(images):
            try:
                pixels[position] = _decode(read(image.name))
            # Decoders meet whatever bytes a file holds, and raise anything at all.
            except Exception as error:
                raise MissingDataError(
                    f"the image {image.name} in {source} cannot be read ({error}); replace or remove it"
                ) from error
    return pixels


def _decode(data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"its pixels are of mode {image.mode}, and 8 bits per channel are needed")
        # PIL warns about a palette with transparency, which is to be dropped anyway.
        image.info.pop("transparency", None)
        rgb = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(rgb.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


@contextmanager
def _reader(source: Path) -> Iterator[Callable[[str], bytes]]:
    if source.is_dir():
        yield lambda name: Path(name).read_bytes()
    else:
        with zipfile.ZipFile(source) as archive:
            yield archive.read


def _list_folder(source: Path) -> Listing:
    def fail(error: OSError) -> None:
        # Without this a folder that must not be read would silently count as empty.
        raise error

    images, folders = [], set()
    for root, below, files in os.walk(source, followlinks=True, onerror=fail):
        below[:] = filter(_is_visible, below)
        folder = Path(root).relative_to(source).parts
        folders |= {(*folder, name) for name in below}
        for name in filter(_is_image, files):
            path = f"{root}{os.sep}{name}"
            status = os.stat(path)  # noqa: PTH116 -- as fast as it can be: there may be many
            images.append(ImageFile(path, folder, status.st_size, status.st_mtime_ns))
    return Listing(source, tuple(images), frozenset(folders))


def _list_zip(source: Path) -> Listing:
    with zipfile.ZipFile(source) as archive:
        members = {member.filename: member for member in archive.infolist()}
    images, folders = [], set()
    for name, member in members.items():
        *folder, file = name.split("/")  # of a folder's own entry, the file is ""
        if all(map(_is_visible, folder)):
            folders |= {tuple(folder[: depth + 1]) for depth in range(len(folder))}
            if _is_image(file):
                images.append(ImageFile(name, tuple(folder), member.file_size, member.CRC))
    return _unwrap(Listing(source, tuple(images), frozenset(folders)))


def _unwrap(listing: Listing) -> Listing:
    """Without the outermost folder, if there is one that contains everything: one class alone is no data set."""
    top = {folder[0] for folder in listing.folders}
    if len(top) != 1 or top <= set(_PART_OF_FOLDER):
        return listing
    images = [dataclasses.replace(image, folder=image.folder[1:]) for image in listing.images if image.folder]
    return Listing(
        listing.source, tuple(images), frozenset(folder[1:] for folder in listing.folders if len(folder) > 1)
    )


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _is_image(name: str) -> bool:
    return _is_visible(name) and name.lower().endswith(SUFFIXES)


def _check_parts(source: Path, top: Iterable[str]) -> None:
    names = set(top)
    if not names >= {"train", "test"} or not names <= set(_PART_OF_FOLDER) or names >= {"val", "validation"}:
        raise MissingDataError(
            f"{source} contains the folders {', '.join(sorted(names))}; put class folders there, or train/ and test/, "
            "and if you like one of val/ or validation/, with class folders in each, and nothing besides"
        )


def _label(listing: Listing, part: Folder) -> tuple[tuple[str, ...], Labelled]:
    """The classes inside the folder ``part``, and the images in them, at any depth."""
    depth = len(part)
    classes = sorted({folder[depth] for folder in listing.folders if len(folder) > depth and folder[:depth] == part})
    index = {name: label for label, name in enumerate(classes)}
    images = [image for image in listing.images if len(image.folder) > depth and image.folder[:depth] == part]
    images.sort(key=lambda image: (image.folder[depth], "/".join(image.folder), image.name))
    labels = tuple(index[image.folder[depth]] for image in images)
    empty = sorted(set(classes) - {image.folder[depth] for image in images})
    if empty:
        raise MissingDataError(
            f"no images are in the class folders {', '.join(empty)} of {'/'.join((str(listing.source), *part))}; "
            f"put images there whose names end in {', '.join(SUFFIXES)}, or remove the folders"
        )
    return tuple(classes), Labelled(tuple(images), labels)
