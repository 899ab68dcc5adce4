"""Workloads: real data, disjoint splits, models that fit; missing data is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from workers.workloads import MissingDataError, chance_level, get_workload, list_workloads

BUNDLED = [name for name in list_workloads() if name.startswith("digits")]


@pytest.fixture
def image_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty real digits, of classes 0 and 1, as PNG files."""
    digits = load_digits()
    for label in (0, 1):
        folder = tmp_path / "imagefolder" / str(label)
        folder.mkdir(parents=True)
        for index in np.flatnonzero(digits.target == label)[:20]:
            pixels = (digits.images[index] * 15.9).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    monkeypatch.setenv("ADAI_DATA", str(tmp_path))
    return tmp_path / "imagefolder"


@pytest.mark.parametrize("name", BUNDLED)
def test_a_workload_has_data_and_a_model_that_fit_each_other(name: str) -> None:
    workload = get_workload(name)
    data = workload.load_data()
    logits = workload.build_model(data)(data.validation.inputs)
    assert logits.shape == (len(data.validation.labels), data.classes)
    assert torch.isfinite(logits).all()


def test_digits_are_the_real_images_each_once() -> None:
    data = get_workload("digits-mlp").load_data()
    splits = (data.train, data.validation, data.test)
    assert [len(split.labels) for split in splits] == [1079, 359, 359]
    ours = torch.cat([torch.cat([s.inputs, s.labels.unsqueeze(1)], dim=1) for s in splits]).double() * 16
    digits = load_digits()
    theirs = np.concatenate([digits.data, digits.target[:, None] * 16.0], axis=1)
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))


def test_every_split_of_digits_holds_every_class() -> None:
    data = get_workload("digits-mlp").load_data()
    for split in (data.train, data.validation, data.test):
        assert set(split.labels.tolist()) == set(range(10))


def test_chance_levels_are_those_of_uniform_guessing() -> None:
    data = get_workload("digits-mlp").load_data()
    assert chance_level("val_error", data) == pytest.approx(0.9)
    assert chance_level("val_loss", data) == pytest.approx(2.302585092994046)


def test_an_image_folder_becomes_a_data_set(image_folder: Path) -> None:
    del image_folder
    data = get_workload("imagefolder-mlp").load_data()
    assert data.classes == 2
    assert data.train.inputs.shape == (24, 3, 32, 32)
    assert 0 <= data.train.inputs.min() < data.train.inputs.max() <= 1


def test_missing_data_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADAI_DATA", raising=False)
    with pytest.raises(MissingDataError, match="ADAI_DATA is not set; set it to"):
        get_workload("imagefolder-mlp").load_data()


def test_a_folder_without_images_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAI_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match="imagefolder is not a folder with one folder of images per class"):
        get_workload("imagefolder-mlp").load_data()


def test_an_image_that_cannot_be_read_is_reported(image_folder: Path) -> None:
    (image_folder / "0" / "broken.png").write_bytes(b"not an image")
    with pytest.raises(MissingDataError, match="cannot be read"):
        get_workload("imagefolder-mlp").load_data()
