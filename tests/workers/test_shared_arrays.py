"""Pixels on disk: decoded once, mapped by every process, made again when they or the images have changed."""

import copy
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import as_torchvision_reads, assert_equal, draw, write_class_folders

from workers.workloads.datasets import split_examples
from workers.workloads.images import load_image_folder, read_image_folder


def kept(data_folder: Path) -> list[Path]:
    """Everything in the cache folder."""
    return sorted((data_folder.parent / "cache" / "adai" / "images").iterdir())


def overwrite(path: Path, content: bytes) -> None:
    """New content of the same size, and the same time of modification."""
    status = path.stat()
    assert len(content) == status.st_size
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_images_are_decoded_once_and_mapped_from_then_on(data_folder: Path) -> None:
    write_class_folders(data_folder / "imagefolder")
    first = read_image_folder(data_folder / "imagefolder", normalize=True)
    for path in (data_folder / "imagefolder").rglob("*.png"):
        overwrite(path, bytes(path.stat().st_size))  # nobody could decode this
    second = read_image_folder(data_folder / "imagefolder", normalize=True)
    assert_equal(second, first)
    [file] = kept(data_folder)
    with Path("/proc/self/maps").open() as maps:
        address = second.train.inputs.data_ptr()
        mapped = [line for line in maps if line.rstrip().endswith(str(file))]
        ranges = [[int(end, 16) for end in line.split()[0].split("-")] for line in mapped]
    assert any(low <= address < high for low, high in ranges)


def test_writing_to_the_images_reaches_nobody_else(data_folder: Path) -> None:
    write_class_folders(data_folder / "imagefolder")
    first, second = (read_image_folder(data_folder / "imagefolder", normalize=False) for _ in range(2))
    before = second.train.inputs.clone()
    first.train.inputs.fill_(7)
    assert torch.equal(second.train.inputs, before)
    assert torch.equal(read_image_folder(data_folder / "imagefolder", normalize=False).train.inputs, before)


def test_plain_and_normalized_pixels_are_kept_side_by_side(data_folder: Path) -> None:
    write_class_folders(data_folder / "imagefolder")
    for _ in range(2):
        plain, normalized = (read_image_folder(data_folder / "imagefolder", normalize=flag) for flag in (False, True))
        assert plain.train.inputs.min() >= 0 > normalized.train.inputs.min()
    assert len(kept(data_folder)) == 2


@pytest.mark.parametrize("change", ["touched", "replaced", "added", "removed", "renamed"])
def test_changed_images_are_read_again_and_the_old_pixels_removed(data_folder: Path, change: str) -> None:
    folder = data_folder / "imagefolder"
    write_class_folders(folder)
    path = folder / "cat" / "0.png"
    draw(300).save(path)
    os.utime(path, ns=(10**18, 10**18))
    read_image_folder(folder, normalize=False)
    [old] = kept(data_folder)
    if change == "touched":
        overwrite(path, path.read_bytes()[:-1] + b"\0")
        os.utime(path, ns=(10**18, 10**18 + 1))
    elif change == "replaced":
        draw(301).resize((50, 50)).save(path)
        os.utime(path, ns=(10**18, 10**18))
    elif change == "added":
        draw(302).save(folder / "cat" / "new.png")
    elif change == "removed":
        path.unlink()
    else:
        path.rename(folder / "dog" / "zero.png")
    inputs, labels = as_torchvision_reads(folder)
    expected = split_examples(inputs.numpy(), labels.numpy())
    assert_equal(read_image_folder(folder, normalize=False), expected)
    [new] = kept(data_folder)
    assert new != old


@pytest.mark.parametrize("size", [0, 60, 500, -1])
def test_a_truncated_file_of_pixels_is_made_again(data_folder: Path, size: int) -> None:
    write_class_folders(data_folder / "imagefolder")
    expected = copy.deepcopy(read_image_folder(data_folder / "imagefolder", normalize=True))
    [file] = kept(data_folder)
    whole = file.read_bytes()
    truncated = data_folder / "truncated"
    truncated.write_bytes(whole[:size])
    truncated.replace(file)
    assert_equal(read_image_folder(data_folder / "imagefolder", normalize=True), expected)
    assert kept(data_folder) == [file]
    assert file.read_bytes() == whole


@pytest.mark.parametrize("array", [np.zeros((24, 3, 32, 32)), np.zeros((23, 3, 32, 32), np.float32), np.array([None])])
def test_a_file_of_other_pixels_is_made_again(data_folder: Path, array: np.ndarray) -> None:
    write_class_folders(data_folder / "imagefolder")
    expected = read_image_folder(data_folder / "imagefolder", normalize=True).train.inputs.clone()
    [file] = kept(data_folder)
    file.unlink()
    np.save(file, array)
    assert torch.equal(read_image_folder(data_folder / "imagefolder", normalize=True).train.inputs, expected)


def test_a_cache_that_cannot_be_written_is_done_without(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_class_folders(data_folder / "imagefolder")
    expected = read_image_folder(data_folder / "imagefolder", normalize=True)
    (data_folder / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(data_folder / "a file"))
    assert_equal(read_image_folder(data_folder / "imagefolder", normalize=True), expected)


def test_without_a_cache_variable_pixels_are_kept_in_the_home_folder(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_class_folders(data_folder / "imagefolder")
    monkeypatch.setenv("HOME", str(data_folder / "home"))
    for setting in ("", "a relative path"):
        monkeypatch.setenv("XDG_CACHE_HOME", setting)
        read_image_folder(data_folder / "imagefolder", normalize=True)
        assert len(list((data_folder / "home" / ".cache" / "adai" / "images").glob("*.npy"))) == 1
        shutil.rmtree(data_folder / "home")


PROCESS = """
import hashlib, sys, time
from pathlib import Path
from workers.workloads.images import load_image_folder
Path(sys.argv[1]).touch()
while not Path(sys.argv[2]).exists():
    time.sleep(0.001)
print(hashlib.sha256(load_image_folder().train.inputs.numpy()).hexdigest())
"""


def test_two_processes_may_read_the_same_images_at_once(data_folder: Path) -> None:
    write_class_folders(data_folder / "imagefolder", count=90)
    go, ready = data_folder / "go", data_folder / "ready"
    with subprocess.Popen([sys.executable, "-c", PROCESS, ready, go], stdout=subprocess.PIPE, text=True) as other:
        while not ready.exists() and other.poll() is None:
            time.sleep(0.01)
        go.touch()
        ours = load_image_folder().train.inputs
        theirs = other.communicate(timeout=60)[0].strip()
    assert theirs == hashlib.sha256(ours.numpy()).hexdigest()
    assert [path.suffix for path in kept(data_folder)] == [".npy"]
    again = read_image_folder(data_folder / "imagefolder", normalize=True)
    assert torch.equal(again.train.inputs, ours)
