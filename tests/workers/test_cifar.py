"""CIFAR from a small copy in its published format: read as torchvision reads it, checked, downloaded only if asked."""

import functools
import hashlib
import pickle
import shutil
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from image_folders import draw, rows
from torchvision import transforms
from torchvision.datasets import CIFAR10, CIFAR100

from workers.workloads.base import Dataset, MissingDataError, Split
from workers.workloads.images import load_cifar


def write_batch(path: Path, first: int, count: int, classes: int) -> str:
    """A batch of digits in the format of the published files; returns its MD5 checksum."""
    pixels = [np.asarray(draw(number).resize((32, 32))).transpose(2, 0, 1) for number in range(first, first + count)]
    batch = {
        "batch_label": path.name,
        "filenames": [f"{number}.png" for number in range(first, first + count)],
        "data": np.stack(pixels).reshape(count, 3072),
    }
    labels = [number * 7 % classes for number in range(first, first + count)]
    batch |= {"labels": labels} if classes == 10 else {"fine_labels": labels, "coarse_labels": [0] * count}
    path.write_bytes(pickle.dumps(batch, protocol=2))
    return hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324


@pytest.fixture(params=[10, 100])
def cifar(request: pytest.FixtureRequest, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, int]:
    """The class of torchvision, told the checksums of a small copy: 100 training and 30 test images."""
    classes = request.param
    published = CIFAR10 if classes == 10 else CIFAR100
    folder = data_folder / published.base_folder
    folder.mkdir()
    train = [name for name, _ in published.train_list]
    count = 100 // len(train)
    sums = [[name, write_batch(folder / name, count * i, count, classes)] for i, name in enumerate(train)]
    monkeypatch.setattr(published, "train_list", sums)
    [[name, _]] = published.test_list
    monkeypatch.setattr(published, "test_list", [[name, write_batch(folder / name, 700, 30, classes)]])
    meta = folder / published.meta["filename"]
    meta.write_bytes(pickle.dumps({published.meta["key"]: [str(label) for label in range(classes)]}, protocol=2))
    checksum = hashlib.md5(meta.read_bytes()).hexdigest()  # noqa: S324
    monkeypatch.setattr(published, "meta", published.meta | {"md5": checksum})
    return published, classes


def as_torchvision_reads_cifar(published: Any, directory: Path, *, train: bool) -> Split:
    mean, std = (
        ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
        if published is CIFAR10
        else ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    )
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    images = published(directory, train=train, transform=transform)
    return Split(torch.stack([image for image, _ in images]), torch.tensor(images.targets))


def load(classes: int) -> Dataset:
    which: Literal[10, 100] = 10 if classes == 10 else 100
    return load_cifar(which)


def test_cifar_is_read_as_torchvision_reads_it_and_a_tenth_of_train_validates(data_folder: Path, cifar: Any) -> None:
    published, classes = cifar
    dataset = load(classes)
    test = as_torchvision_reads_cifar(published, data_folder, train=False)
    assert torch.equal(dataset.test.inputs, test.inputs)
    assert torch.equal(dataset.test.labels, test.labels)
    assert [len(s.labels) for s in (dataset.train, dataset.validation, dataset.test)] == [90, 10, 30]
    assert rows(dataset.train, dataset.validation) == rows(
        as_torchvision_reads_cifar(published, data_folder, train=True)
    )
    assert dataset.classes == classes


@pytest.mark.parametrize("which", ["train", "test", "meta"])
def test_a_corrupt_cifar_file_is_named(data_folder: Path, cifar: Any, which: str) -> None:
    published, classes = cifar
    (train, _), (test, _), meta = published.train_list[-1], published.test_list[0], published.meta["filename"]
    path = data_folder / published.base_folder / {"train": train, "test": test, "meta": meta}[which]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(MissingDataError, match=f"{path} is corrupt: its MD5 checksum is not [0-9a-f]{{32}}, the publi"):
        load(classes)
    path.unlink()
    with pytest.raises(MissingDataError, match=f"{path} is not there; set ADAI_DATA to .*or set ADAI_DOWNLOAD=1 to"):
        load(classes)


@pytest.mark.usefixtures("data_folder")
def test_missing_cifar_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDataError, match=r"contains cifar-10-batches-py/, or set ADAI_DOWNLOAD=1 to .*170 MB"):
        load_cifar(10)
    with pytest.raises(MissingDataError, match=r"contains cifar-100-python/, or set ADAI_DOWNLOAD=1 to .*169 MB"):
        load_cifar(100)
    monkeypatch.delenv("ADAI_DATA")
    with pytest.raises(MissingDataError, match="ADAI_DATA is not set; set it to the folder that contains cifar-100-py"):
        load_cifar(100)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which this machine serves what is in it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def test_cifar_is_downloaded_only_if_asked_for(
    data_folder: Path, cifar: Any, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published, classes = cifar
    folder, address = served
    archive = folder / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(data_folder / published.base_folder, published.base_folder)
    monkeypatch.setattr(published, "url", f"{address}/archive.tar.gz")
    monkeypatch.setattr(published, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())  # noqa: S324
    expected = as_torchvision_reads_cifar(published, data_folder, train=False)
    broken = data_folder / published.base_folder / published.test_list[0][0]
    broken.write_bytes(b"half a file")
    with pytest.raises(MissingDataError, match="is corrupt"):
        load(classes)
    monkeypatch.setenv("ADAI_DOWNLOAD", "1")
    assert torch.equal(load(classes).test.inputs, expected.inputs)
    assert [path.name for path in data_folder.iterdir()] == [published.base_folder]


@pytest.mark.parametrize("content", [None, b"another archive"])
def test_a_failed_download_is_reported(
    data_folder: Path, cifar: Any, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    published, classes = cifar
    folder, address = served
    if content is not None:
        (folder / "archive.tar.gz").write_bytes(content)
    shutil.rmtree(data_folder / published.base_folder)
    monkeypatch.setattr(published, "url", f"{address}/archive.tar.gz")
    monkeypatch.setenv("ADAI_DOWNLOAD", "1")
    with pytest.raises(
        MissingDataError, match=f"cannot be downloaded into {data_folder} .*{published.base_folder}/ there"
    ):
        load(classes)
    assert list(data_folder.iterdir()) == []


def test_what_is_already_there_is_not_downloaded(cifar: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    published, classes = cifar
    monkeypatch.setattr(published, "url", "http://127.0.0.1:1/nobody listens here")
    monkeypatch.setenv("ADAI_DOWNLOAD", "1")
    assert len(load(classes).train.labels) == 90
