"""Image folders: read as torchvision reads them, split and labelled rightly, and what is wrong with them named."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_folders import as_torchvision_reads, assert_equal, draw, rows, write_class_folders
from PIL import Image

from workers.workloads.base import MissingDataError, Split
from workers.workloads.datasets import split_examples
from workers.workloads.images import load_image_folder, read_image_folder


def zip_folder(folder: Path, archive: Path, inside: str = "", order: int = 1) -> None:
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted(folder.rglob("*"))[::order]:
            zipped.write(path, inside + path.relative_to(folder).as_posix())


def test_a_folder_is_read_as_torchvision_reads_it(data_folder: Path) -> None:
    folder = data_folder / "imagefolder"
    write_class_folders(folder, classes=("cat", "Dog", "a b"))
    (folder / "cat" / "deep").mkdir()
    (folder / "cat" / "deep-er").mkdir()
    draw(500).convert("L").save(folder / "cat" / "deep" / "00.JPG")
    draw(501).convert("CMYK").save(folder / "cat" / "deep-er" / "print.tiff")
    draw(502).convert("P").save(folder / "Dog" / "palette.bmp")
    draw(503).convert("RGBA").save(folder / "Dog" / "alpha.webp", lossless=True)
    (folder / "Dog" / "notes.txt").write_text("not an image")
    (folder / "README").write_text("beside the classes")
    inputs, labels = as_torchvision_reads(folder)
    assert len(labels) == 40
    assert_equal(load_image_folder(normalize=False), split_examples(inputs.numpy(), labels.numpy()))


def test_normalized_pixels_have_mean_0_and_deviation_1_over_the_training_images(data_folder: Path) -> None:
    write_class_folders(data_folder / "imagefolder")
    plain, normalized = load_image_folder(normalize=False), load_image_folder()
    pixels = plain.train.inputs.double()
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3), correction=0)
    for part in ("train", "validation", "test"):
        expected = (getattr(plain, part).inputs.double() - mean[:, None, None]) / std[:, None, None]
        torch.testing.assert_close(getattr(normalized, part).inputs.double(), expected, rtol=1e-6, atol=1e-6)


def test_a_channel_without_variation_becomes_zero(data_folder: Path) -> None:
    for name in ("dark", "light"):
        (data_folder / "imagefolder" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (32, 32), (number * 30, 7, 0)).save(data_folder / "imagefolder" / name / f"{number}.png")
    train = load_image_folder().train.inputs
    assert train[:, 0].abs().max() > 1
    assert not train[:, 1:].any()


def test_train_and_test_folders_are_the_parts_and_a_tenth_of_train_validates(data_folder: Path) -> None:
    folder = data_folder / "imagefolder"
    write_class_folders(folder / "train", count=17)
    write_class_folders(folder / "test", count=5, first=50)
    dataset = load_image_folder(normalize=False)
    train, test = (Split(*as_torchvision_reads(folder / part)) for part in ("train", "test"))
    assert [len(s.labels) for s in (dataset.train, dataset.validation, dataset.test)] == [31, 3, 10]
    assert rows(dataset.train, dataset.validation) == rows(train)
    assert torch.equal(dataset.test.inputs, test.inputs)
    assert torch.equal(dataset.test.labels, test.labels)
    assert 0 < dataset.train.labels[:10].sum() < 10  # shuffled


def test_classes_may_have_the_names_of_parts(data_folder: Path) -> None:
    write_class_folders(data_folder / "imagefolder", classes=("bus", "train"))
    assert load_image_folder().classes == 2


@pytest.mark.parametrize("name", ["val", "validation"])
def test_a_validation_folder_is_used_where_there_is_one(data_folder: Path, name: str) -> None:
    for part, count in (("train", 9), ("test", 3), (name, 4)):
        write_class_folders(data_folder / "imagefolder" / part, count=count, first=20 * count)
    dataset = load_image_folder(normalize=False)
    for part, split in (("train", dataset.train), ("test", dataset.test), (name, dataset.validation)):
        assert rows(split) == rows(Split(*as_torchvision_reads(data_folder / "imagefolder" / part)))


@pytest.mark.parametrize("parts", [("",), ("train/", "test/")])
@pytest.mark.parametrize("inside", ["", "imagefolder/", "my holiday/"])
def test_a_zip_gives_the_same_data_as_the_folder(
    data_folder: Path, parts: tuple[str, ...], inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, part in enumerate(parts):
        write_class_folders(data_folder / "imagefolder" / part, first=50 * number)
    from_folder = load_image_folder()
    zipped = data_folder.parent / "zipped"
    zipped.mkdir()
    zip_folder(data_folder / "imagefolder", zipped / "imagefolder.zip", inside, order=-1)
    with zipfile.ZipFile(zipped / "imagefolder.zip", "a") as archive:
        archive.writestr(f"__MACOSX/{inside}cat/._0.png", b"what macOS adds")
        archive.writestr(f"{inside}.DS_Store", b"and more of it")
        archive.writestr(f"{inside}{parts[0]}cat/.hidden.png", b"not an image")
        archive.writestr(f"{inside}.trash/x/old.png", b"not an image")
    monkeypatch.setenv("ADAI_DATA", str(zipped))
    assert_equal(load_image_folder(), from_folder)
    assert sorted(path.name for path in zipped.iterdir()) == ["imagefolder.zip"]


def test_hidden_files_and_folders_are_passed_over(data_folder: Path) -> None:
    folder = data_folder / "imagefolder"
    write_class_folders(folder)
    expected = read_image_folder(folder, normalize=False)
    for name in (".ipynb_checkpoints", "__MACOSX", "cat/.thumbnails"):
        (folder / name).mkdir()
        draw(0).save(folder / name / "copy.png")
    (folder / "cat" / "._0.png").write_bytes(b"what macOS adds")
    assert_equal(read_image_folder(folder, normalize=False), expected)


def first_image(folder: Path, image: Image.Image, **how: Any) -> torch.Tensor:
    """The pixels that ``image`` has once it is read, (3, 32, 32) in 0 to 255."""
    for part, count in (("train", 5), ("test", 0)):
        write_class_folders(folder / part, count=count)
        image.save(folder / part / "cat" / "0.png", **how)
        image.save(folder / part / "dog" / "0.png", **how)
    return read_image_folder(folder, normalize=False).test.inputs[0] * 255


def test_transparency_is_dropped_without_a_warning(data_folder: Path) -> None:
    rgba = Image.new("RGBA", (10, 10), (250, 100, 50, 3))
    assert first_image(data_folder / "rgba", rgba).round().unique().tolist() == [50, 100, 250]
    palette = Image.new("P", (10, 10), 1)
    palette.putpalette([0, 0, 0, 200, 100, 0])
    pixels = first_image(data_folder / "palette", palette, transparency=bytes([255, 128]))
    assert pixels.round().unique().tolist() == [0, 100, 200]


def test_images_are_turned_upright_as_their_camera_noted(data_folder: Path) -> None:
    image = Image.new("RGB", (64, 64))
    image.paste((255, 255, 255), (0, 0, 64, 32))  # bright above
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn by 90 degrees clockwise
    pixels = first_image(data_folder / "turned", image, exif=exif)
    assert pixels[:, :, 17:].min() == 255  # bright on the right
    assert pixels[:, :, :15].max() == 0


def test_images_of_16_bits_are_refused_because_8_would_cut_them_off(data_folder: Path) -> None:
    write_class_folders(data_folder / "imagefolder")
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(data_folder / "imagefolder" / "cat" / "deep.png")
    with pytest.raises(MissingDataError, match=r"deep\.png.*mode I;16, and 8 bits per channel are needed"):
        load_image_folder()


@pytest.mark.parametrize("damage", [lambda _: b"not an image", lambda data: data[:-40], lambda _: b""])
def test_an_unreadable_image_is_named(data_folder: Path, damage: Callable[[bytes], bytes]) -> None:
    write_class_folders(data_folder / "imagefolder")
    path = data_folder / "imagefolder" / "dog" / "5.png"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MissingDataError, match=rf"the image {path} in .* cannot be read .*; replace or remove it"):
        load_image_folder()
    zip_folder(data_folder / "imagefolder", data_folder / "imagefolder.zip")
    shutil.rmtree(data_folder / "imagefolder")
    with pytest.raises(MissingDataError, match=r"the image dog/5\.png in .*imagefolder\.zip cannot be read"):
        load_image_folder()


def test_a_damaged_zip_is_named(data_folder: Path) -> None:
    write_class_folders(data_folder / "folder")
    archive = data_folder / "imagefolder.zip"
    zip_folder(data_folder / "folder", archive)
    content = bytearray(archive.read_bytes())
    content[200] ^= 1  # within the first image, whose checksum no longer fits
    archive.write_bytes(content)
    with pytest.raises(MissingDataError, match=r"the image cat/0\.png in .* cannot be read \(Bad CRC-32"):
        load_image_folder()
    archive.write_bytes(content[:500])
    with pytest.raises(MissingDataError, match=r"imagefolder\.zip cannot be listed \(File is not a zip file\)"):
        load_image_folder()


def test_folder_and_zip_together_are_refused(data_folder: Path) -> None:
    write_class_folders(data_folder / "imagefolder")
    zip_folder(data_folder / "imagefolder", data_folder / "imagefolder.zip")
    with pytest.raises(MissingDataError, match=r"both .*imagefolder and .*imagefolder\.zip are there.*remove the"):
        load_image_folder()


PARTS = r"put class folders there, or train/ and test/"


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["train/cat", "train/dog", "test/cat", "test/cow"], r"test part .* lacking \['dog'\], added \['cow'"),
        (["train/cat", "train/dog", "test/cat", "test/dog", "val/cat"], r"validation part .* lacking \['dog'\]"),
        (["train/cat", "train/dog"], rf"contains the folders train; {PARTS}"),
        (["train/cat", "train/dog", "val/cat", "val/dog"], rf"contains the folders train, val; {PARTS}"),
        (["train/cat", "test/cat", "unlabelled/x"], rf"contains the folders test, train, unlabelled; {PARTS}"),
        (["train/cat", "test/cat", "val/cat", "validation/cat"], "one of val/ or validation/"),
        (["train/cat", "test/cat"], "holds 6 images in 1 classes to train on; at least 10 images in 2 classes"),
        (["cat"], "holds 6 images in 1 classes"),
    ],
)
def test_folders_that_do_not_fit_together_are_named(data_folder: Path, folders: list[str], message: str) -> None:
    for folder in folders:
        path = data_folder / "imagefolder" / folder
        write_class_folders(path.parent, count=6, classes=(path.name,))
    with pytest.raises(MissingDataError, match=message):
        load_image_folder()


def test_a_zip_of_training_images_alone_is_not_taken_for_a_whole_data_set(data_folder: Path) -> None:
    write_class_folders(data_folder / "parts" / "train")
    zip_folder(data_folder / "parts", data_folder / "imagefolder.zip")
    with pytest.raises(MissingDataError, match=f"contains the folders train; {PARTS}"):
        load_image_folder()


def test_a_class_without_images_is_named(data_folder: Path) -> None:
    write_class_folders(data_folder / "imagefolder")
    (data_folder / "imagefolder" / "emu").mkdir()
    with pytest.raises(MissingDataError, match=r"no images are in the class folders emu of .*imagefolder; put images"):
        load_image_folder()


def test_missing_images_are_reported(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDataError, match="imagefolder is not a folder with one folder of images per class; put"):
        load_image_folder()
    (data_folder / "imagefolder").mkdir()
    with pytest.raises(MissingDataError, match="holds 0 images in 0 classes"):
        load_image_folder()
    monkeypatch.delenv("ADAI_DATA")
    with pytest.raises(MissingDataError, match="ADAI_DATA is not set; set it to the folder that contains imagefolder/"):
        load_image_folder()
