"""The rehearsal: every mistake of a workload is refused before anything is written, and sound workloads pass."""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from image_folders import write_class_folders
from torch import Tensor, nn

from workers.global_generators import GeneratorStates
from workers.messages import CurvatureRequest, EngineName, Training, WorkloadReference
from workers.planner import PlanRequest
from workers.pool import RefusedError, plan_or_refuse
from workers.rehearsal import rehearse
from workers.workloads import Dataset, MissingDataError, Split, Workload, list_workloads, registry
from workers.workloads.base import share_of_wrong_labels

CPU = torch.device("cpu")
_numbers = itertools.count()
CURVATURE = Training(curvature=CurvatureRequest(examples=10, slice_points=3))


def load(examples: int = 21) -> Dataset:
    """With batches of four, the last step of an epoch has one of 21 examples."""
    part = Split(torch.sin(torch.arange(examples * 6.0)).view(examples, 6), torch.arange(examples) % 3)
    return Dataset(part, part, part, classes=3)


def build(_: Dataset) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


SOUND = Workload(
    name="sound", title="", citation="", load_data=load, build_model=build, batch_size=4, epochs=2, loss_ceiling=10.0
)


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Why a workload with these changes is refused."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def refuse(*, training: Training | None = None, engine: EngineName = "auto", **changes: Any) -> str:
        workload = dataclasses.replace(SOUND, **changes)
        # A new name for every call: data is kept by name.
        name = f"changed-{next(_numbers)}"
        monkeypatch.setitem(registry._SHIPPED, name, dataclasses.replace(workload, name=name))
        request = PlanRequest(WorkloadReference(name), training or Training(), engine, 1, 1)
        with pytest.raises(RefusedError) as caught:
            plan_or_refuse(request, "cpu")
        # A traceback of the cause is there with --debug.
        assert caught.value.__cause__ is not None
        assert f"workload '{name}'" in str(caught.value)
        return str(caught.value)

    return refuse


class _Model(nn.Module):
    """Calls a function on its outputs."""

    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self._change = change

    def forward(self, features: Tensor) -> object:
        return self._change(self.linear(features))


def model(change: Callable[[Tensor], object]) -> Callable[[Dataset], nn.Module]:
    return lambda _: _Model(change)


def fail(*_: object) -> Any:
    raise RuntimeError("no luck")


class _Once(torch.autograd.Function):
    """Its backward pass fails."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(_: Any, *grads: Tensor) -> Tensor:
        del grads
        raise OSError("no way back")


def mean_squares(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs[:, 0] - labels).square().mean()


def fail_in_validation(outputs: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        raise IndexError("only in training")
    return outputs


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "build": ({"build_model": fail}, "build_model: RuntimeError: no luck; mend the workload"),
    "exit": ({"build_model": lambda _: exit(3)}, "build_model: SystemExit: 3"),
    "no model": ({"build_model": lambda _: None}, "build_model: TypeError: .* returned NoneType"),
    "cuda": (
        {"build_model": lambda _: build(load()).to("cuda")},
        "build_model: (AssertionError|RuntimeError): .*(CUDA|NVIDIA)",
    ),
    "shape": (
        {"build_model": lambda _: nn.Linear(7, 3)},
        r"forward pass \(training, batch of 1\): RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    ),
    "batch norm": (
        {"build_model": lambda _: nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))},
        r"forward pass \(training, batch of 1\): ValueError: Expected more than 1 value per channel",
    ),
    "no tensor": ({"build_model": model(lambda outputs: (outputs,))}, "the model's outputs are of type tuple"),
    "few outputs": ({"build_model": lambda _: nn.Linear(6, 2)}, r"outputs are of shape \(1, 2\), but .* 3 classes"),
    "many outputs": ({"build_model": lambda _: nn.Linear(6, 4)}, r"outputs are of shape \(1, 4\), but .* 3 classes"),
    "flat outputs": ({"build_model": model(lambda outputs: outputs[:, 0])}, r"outputs are of shape \(1,\)"),
    "validation": (
        {"build_model": model(fail_in_validation)},
        r"forward pass \(validation\): IndexError: only in training",
    ),
    "loss": ({"loss": fail}, r"loss \(training, batch of 1\): RuntimeError: no luck"),
    "loss of each example": (
        {"loss": lambda outputs, labels: nn.functional.cross_entropy(outputs, labels, reduction="none")},
        r"loss returns a tensor of shape \(1,\); return one without dimensions",
    ),
    "number as loss": ({"loss": lambda *_: 1.0}, "loss returns float; return a tensor"),
    "detached loss": ({"loss": lambda *_: torch.tensor(1.0)}, "backward pass: RuntimeError: "),
    "backward": ({"build_model": model(_Once.apply)}, "backward pass: OSError: no way back"),
    "error": ({"error": fail}, r"error \(validation\): RuntimeError: no luck"),
    "error of each example": (
        {"error": lambda outputs, labels: (outputs.argmax(1) != labels).double()},
        r"error returns a tensor of shape \(8,\)",
    ),
    "number as error": ({"error": lambda *_: 0.5}, "error returns float; return a tensor"),
    "error in percent": (
        {"error": lambda *_: torch.tensor(93.0)},
        "the error in validation is 93; it must be the share",
    ),
    "error below 0": ({"error": lambda *_: torch.tensor(-1.0)}, "the error in validation is -1;"),
    "no error": ({"error": lambda *_: torch.tensor(math.nan)}, "the error in validation is nan;"),
    "augment": ({"augment": fail}, "augment: RuntimeError: no luck"),
    "smaller": (
        {"augment": lambda inputs, _: inputs[:, :3]},
        r"makes inputs of shape \(1, 3\) of those of shape \(1, 6\)",
    ),
    "schedule": ({"schedule": fail}, "schedule: RuntimeError: no luck"),
    "no factor": ({"schedule": lambda _: None}, "gives None at progress 0; the factor of the learning rate must be"),
    "nan": ({"schedule": lambda progress: math.nan if progress == 0.5 else 1.0}, "gives nan at progress 0.5;"),
    # Twelve steps: the last starts when 11/12 are done.
    "negative": ({"schedule": lambda progress: 0.9 - progress}, r"gives -0.016\d+ at progress 0.916667;"),
    "infinite": ({"schedule": lambda _: math.inf}, "gives inf at progress 0;"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_with_the_part_that_it_is_in(mistake: str, refusal: Callable[..., str]) -> None:
    changes, message = MISTAKES[mistake]
    before = GeneratorStates.read()
    if mistake == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    said = refusal(**changes)
    assert re.search(message, said), said
    assert before.moved() == ()


def test_a_mistake_in_the_test_set_is_refused_too(refusal: Callable[..., str]) -> None:
    wider = Split(torch.ones(3, 7), torch.arange(3))
    message = refusal(load_data=lambda: dataclasses.replace(load(), test=wider))
    assert "forward pass (test): RuntimeError: mat1 and mat2" in message


def test_what_only_a_whole_batch_shows_is_refused_by_the_engines_first_step(refusal: Callable[..., str]) -> None:
    def refuse_pairs(outputs: Tensor) -> Tensor:
        if len(outputs) == 4:
            raise RuntimeError("four are too many")
        return outputs

    assert refusal(build_model=model(refuse_pairs)).endswith("like this: RuntimeError: four are too many")


@pytest.mark.parametrize("engine", ["auto", "looped"])
def test_a_run_that_does_not_fit_into_memory_is_refused(engine: EngineName, refusal: Callable[..., str]) -> None:
    def hoard(outputs: Tensor) -> Tensor:
        return outputs + torch.empty(2**60)

    message = refusal(build_model=model(hoard), engine=engine)
    assert message.startswith("not even one run of workload 'changed-")
    assert "fits into the memory of cpu (forward pass (training, batch of 1): RuntimeError: " in message
    assert "use a smaller batch_size, less data, a smaller model, or more memory" in message


def test_missing_data_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADAI_DATA", raising=False)
    with pytest.raises(MissingDataError, match="ADAI_DATA is not set"):
        plan_or_refuse(PlanRequest(WorkloadReference("imagefolder-cnn"), Training(), "auto", 1, 1), "cpu")


def test_curvature_that_cannot_be_measured_is_refused(refusal: Callable[..., str]) -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(_: Any, *grads: Tensor) -> Tensor:
            return grads[0]

    changes = {"build_model": model(Once.apply)}
    assert "curvature: NotImplementedError: " in refusal(training=CURVATURE, **changes)
    rough = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False))
    assert "curvature: ValueError: " in refusal(training=CURVATURE, build_model=lambda _: rough, batch_size=7)


def test_a_slice_that_would_be_flat_is_refused() -> None:
    for workload in ("quadratic", "rosenbrock"):
        with pytest.raises(ValueError, match=r"no parameter of two or more dimensions, .*; leave slice_points out"):
            rehearse(WorkloadReference(workload), CURVATURE, CPU)
        rehearse(WorkloadReference(workload), Training(curvature=CurvatureRequest()), CPU)


@pytest.mark.parametrize("name", [name for name in list_workloads() if not name.startswith("cifar")])
def test_shipped_workloads_pass(name: str, data_folder: Path) -> None:
    if name == "imagefolder-resnet18":
        pytest.skip("millions of parameters")
    write_class_folders(data_folder / "imagefolder")
    training = Training(
        curvature=CurvatureRequest(slice_points=0 if name in ("quadratic", "rosenbrock") else 3),
        batch_size=8,
        # The last step of an epoch has two examples: batch norm cannot do with one after pooling.
        data={"limit_train": 10, "limit_validation": 4, "limit_test": 4},
    )
    rehearse(WorkloadReference(name), training, CPU)


def test_sound_changes_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error and a schedule at the ends of their ranges, no error, and outputs that are no logits."""
    regression = {"loss": mean_squares, "error": None, "chance_loss": 2.0}
    changes: dict[str, dict[str, Any]] = {
        "one": {"error": lambda *_: torch.tensor(1)},
        "zero": {"error": lambda *_: torch.tensor(0.0), "schedule": lambda progress: torch.tensor(1 - progress)},
        "regression": regression | {"build_model": lambda _: nn.Linear(6, 1)},
        "dropout": {
            "build_model": lambda _: nn.Sequential(nn.Dropout(), nn.Linear(6, 3)),
            "error": share_of_wrong_labels,
        },
    }
    for name, change in changes.items():
        monkeypatch.setitem(registry._SHIPPED, name, dataclasses.replace(SOUND, name=name, **change))
        rehearse(WorkloadReference(name), CURVATURE, CPU)
        rehearse(WorkloadReference(name), Training(precision="bfloat16"), CPU)
