"""Shipped workloads: models that fit their data and train, honest chance levels, disjoint splits, named refusals."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_folders import write_class_folders
from sklearn.datasets import load_digits
from torch import nn

from adai import get_rule
from workers.messages import BatchFinished, EpochMetrics, Training, TrialBatch, WorkloadReference
from workers.trainer import train_batch
from workers.workloads import (
    CrossEntropy,
    Dataset,
    MissingDataError,
    Split,
    Workload,
    get_workload,
    list_workloads,
    share_of_wrong_labels,
)

SHIPPED = list_workloads()
CIFAR = [name for name in SHIPPED if name.startswith("cifar")]
HERE = [name for name in SHIPPED if name not in CIFAR]
#: Models of millions of parameters take part in one step, and no more.
LARGE = ("imagefolder-resnet18",)


@pytest.fixture
def images(data_folder: Path) -> Path:
    """Twenty-four real digits of two classes as image files; all other data comes with packages."""
    write_class_folders(data_folder / "imagefolder")
    return data_folder


def test_the_shipped_workloads_are_these() -> None:
    families = {name.partition("-")[0] for name in SHIPPED}
    assert families >= {"digits", "imagefolder", "cifar10", "cifar100", "mnist1d", "charlm", "quadratic", "rosenbrock"}
    assert len(SHIPPED) == len(set(SHIPPED))
    for name in SHIPPED:
        workload = get_workload(name)
        assert workload.name == name
        assert workload.title
        assert workload.citation


@pytest.mark.parametrize("name", HERE)
def test_a_shipped_workload_trains(name: str, images: Path) -> None:
    del images
    optimizer = "sgd"
    defaults = {h.name: (h.default,) for h in get_rule(optimizer).hyperparameters}
    few = 3 if name in LARGE else 8
    limits = {"limit_train": few, "limit_validation": 4, "limit_test": 4}
    batch = TrialBatch(
        batch_id=1,
        workload=WorkloadReference(name),
        optimizer=optimizer,
        run_ids=(1,),
        seeds=(0,),
        hyperparameters=defaults | {"lr": (1e-4,)},
        study_seed=0,
        epochs=(1,),
        objective="val_loss",
        training=Training(data=limits, batch_size=few),
        engine="looped",
    )
    metrics, finished = train_batch(batch, worker="test")
    assert isinstance(metrics, EpochMetrics)
    assert isinstance(finished, BatchFinished)
    assert finished.outcomes[0].termination.name == "COMPLETED"
    assert math.isfinite(metrics.train_loss[0])
    assert math.isfinite(metrics.val_loss[0])
    assert metrics.grad_norm[0] > 0
    has_classes = name not in ("quadratic", "rosenbrock")
    assert math.isnan(metrics.val_error[0]) != has_classes
    assert finished.outcomes[0].test_error is None or has_classes


@pytest.mark.parametrize("name", CIFAR)
def test_a_cifar_model_fits_images_of_its_shape(name: str) -> None:
    workload = get_workload(name)
    classes = int(name.removeprefix("cifar").partition("-")[0])
    # Two images that share their memory: no model sees more here.
    part = Split(torch.zeros(1, 3, 32, 32).expand(2, -1, -1, -1), torch.tensor([0, classes - 1]))
    with torch.device("meta"):
        model = workload.build_model(Dataset(part, part, part, classes)).eval()
    model = model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.fill_(0.5 if tensor.is_floating_point() else 0)
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, 32, 32))
    assert logits.shape == (1, classes)
    assert (workload.batch_size, workload.epochs) == (128, 200)
    assert workload.augment is not None
    # The authors' schedule: a tenth of the rate after each of two steps.
    assert [workload.schedule(done) for done in (0.0, 0.39, 0.99)] == pytest.approx([1.0, 1.0, 0.01])


@pytest.mark.parametrize("name", CIFAR)
def test_missing_cifar_says_what_to_do(name: str, data_folder: Path) -> None:
    del data_folder
    with pytest.raises(MissingDataError, match="ADAI_DOWNLOAD"):
        get_workload(name).load_data()


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


@pytest.mark.parametrize("name", ["digits-mlp", "mnist1d-mlp", "imagefolder-mlp", "imagefolder-cnn"])
def test_no_example_is_in_two_splits(name: str, images: Path) -> None:
    del images
    data = get_workload(name).load_data()
    seen = [
        {tuple(row) for row in split.inputs.flatten(1).tolist()} for split in (data.train, data.validation, data.test)
    ]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


@pytest.mark.parametrize("name", [name for name in HERE if name not in ("quadratic", "rosenbrock")])
def test_chance_levels_are_those_of_uniform_guessing(name: str, images: Path) -> None:
    del images
    workload = get_workload(name)
    data = workload.load_data()
    assert data.classes is not None
    assert workload.chance_level("val_error", data) == pytest.approx(1 - 1 / data.classes)
    labels = data.validation.labels
    uniform = torch.zeros(len(labels), data.classes, *labels.shape[1:])
    assert workload.chance_level("val_loss", data) == pytest.approx(CrossEntropy()(uniform, labels).item(), rel=1e-6)


@pytest.mark.parametrize("name", ["quadratic", "rosenbrock"])
def test_a_function_has_learned_nothing_at_its_start_and_has_no_errors(name: str) -> None:
    workload = get_workload(name)
    data = workload.load_data()
    start = workload.build_model(data)(data.validation.inputs).item()
    assert workload.chance_level("val_loss", data) == pytest.approx(start, rel=1e-6)
    with pytest.raises(ValueError, match=f"'{name}' has no predictions of classes to be wrong; use objective val_loss"):
        workload.chance_level("val_error", data)


def make(**changes: Any) -> Workload:
    shipped = get_workload("digits-mlp")
    return dataclasses.replace(shipped, **changes)


def test_a_workload_without_classes_must_say_what_learning_nothing_reaches() -> None:
    part = Split(torch.ones(2, 1), torch.ones(2))
    data = Dataset(part, part, part, classes=None)
    regression = make(name="regression", loss=nn.functional.mse_loss, error=None)
    with pytest.raises(
        ValueError, match="'regression' has no classes, so no chance level of val_loss; set chance_loss"
    ):
        regression.chance_level("val_loss", data)
    assert dataclasses.replace(regression, chance_loss=2.5).chance_level("val_loss", data) == 2.5
    with pytest.raises(ValueError, match="no predictions of classes"):
        make(name="guess", error=None).chance_level("val_error", get_workload("digits-mlp").load_data())


def test_losses_and_errors_are_means_over_examples_and_positions() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(4, 5, 3, generator=generator), torch.randint(5, (4, 3), generator=generator)
    by_hand = [-logits[b, :, t].log_softmax(0)[labels[b, t]].item() for b in range(4) for t in range(3)]
    assert CrossEntropy()(logits, labels).item() == pytest.approx(sum(by_hand) / 12, rel=1e-6)
    evenly = [-logits[b, :, t].log_softmax(0).mean().item() for b in range(4) for t in range(3)]
    smoothed = sum(0.8 * own + 0.2 * even for own, even in zip(by_hand, evenly, strict=True)) / 12
    assert CrossEntropy(0.2)(logits, labels).item() == pytest.approx(smoothed, rel=1e-6)
    wrong = [logits[b, :, t].argmax().item() != labels[b, t].item() for b in range(4) for t in range(3)]
    assert share_of_wrong_labels(logits, labels).item() == pytest.approx(sum(wrong) / 12)


GOOD = Split(torch.ones(3, 2), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Digits MLP"}, "'Digits MLP' is not a workload name; use 1 to 64 lower-case"),
        ({"name": ""}, "'' is not a workload name"),
        ({"name": "a" * 65}, "is not a workload name"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, not 0"),
        ({"epochs": 2.5}, "epochs must be a whole number of at least 1, not 2.5"),
        ({"loss_ceiling": 0.0}, "loss_ceiling must be above 0, not 0.0"),
        ({"loss_ceiling": math.nan}, "loss_ceiling must be above 0, not nan"),
        ({"loss_ceiling": "10"}, "loss_ceiling must be above 0, not '10'"),
        ({"name": 7}, "7 is not a workload name; use 1 to 64 lower-case"),
        ({"epochs": True}, "epochs must be a whole number of at least 1, not True"),
        ({"target_error": 5.0}, "target_error is a share and must be from 0 to 1, not 5.0"),
        ({"target_error": -0.1}, "target_error is a share and must be from 0 to 1, not -0.1"),
        ({"target_error": math.nan}, "target_error is a share and must be from 0 to 1, not nan"),
        ({"target_error": "0.1"}, "target_error is a share and must be from 0 to 1, not '0.1'"),
        ({"chance_loss": math.inf}, "chance_loss must be a finite number, not inf"),
        ({"chance_loss": math.nan}, "chance_loss must be a finite number, not nan"),
        ({"chance_loss": "2"}, "chance_loss must be a finite number, not '2'"),
        ({"load_data": GOOD}, r"'digits-mlp': load_data must be a function, not Split\("),
        ({"build_model": nn.Linear}, None),
        ({"build_model": None}, "'digits-mlp': build_model must be a function, not None; pass it uncalled"),
        ({"schedule": "cosine"}, "schedule must be a function, not 'cosine'"),
        ({"schedule": None}, "schedule must be a function, not None"),
        ({"loss": None}, "loss must be a function, not None"),
        ({"error": 0.5}, "error must be a function, not 0.5"),
        ({"augment": "flip"}, "augment must be a function, not 'flip'"),
        ({"error": None, "augment": None, "target_error": 0, "chance_loss": np.float32(2)}, None),
        ({"target_error": 1, "loss_ceiling": math.inf}, None),
    ],
)
def test_a_workload_that_cannot_be_trained_is_refused_by_name(changes: dict[str, Any], message: str | None) -> None:
    if message is None:
        make(**changes)
        return
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.ones((3, 2)), torch.arange(3), "inputs of a Split are ndarray; give a tensor"),
        (torch.ones(3, 2), [0, 1, 2], "labels of a Split are list; give a tensor"),
        (torch.ones(3, 2), torch.tensor(1), "labels of a Split are Tensor; give a tensor whose first dimension"),
        (torch.ones(3, 2), torch.arange(2), "a Split has 3 inputs and 2 labels"),
        (torch.ones(0, 2), torch.arange(0), "a Split has 0 inputs and 0 labels; .* at least 1"),
        (torch.ones(3, 2), torch.ones(3), r"the test labels are torch.float32; .* give int64, for example .long\(\)"),
        (
            torch.ones(3, 2),
            torch.arange(1, 4),
            "the test labels go from 1 to 3; with classes=3 they must be from 0 to 2",
        ),
        (torch.ones(3, 2), torch.arange(-1, 2), "the test labels go from -1 to 1"),
        (torch.tensor([1.0, math.nan, 0.0]), torch.arange(3), "the test inputs have infinite numbers or NaN"),
        (torch.tensor([1.0, -math.inf, 0.0]), torch.arange(3), "the test inputs have infinite numbers or NaN"),
    ],
)
def test_data_that_no_run_could_learn_from_is_refused_when_it_is_made(inputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset(GOOD, GOOD, Split(inputs, labels), classes=3)


def test_data_without_classes_may_have_any_labels() -> None:
    part = Split(torch.ones(3, 2), torch.tensor([0.5, -7.0, 1e9]))
    assert Dataset(part, part, part, classes=None).train is part
