"""The planner: what it chooses was measured here, fits into memory, is remembered, and is refused before anything."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from workers import planner
from workers.engines import looped
from workers.messages import EngineName, EnginePlan, Training, WorkloadReference
from workers.planner import LOOPED_ROWS, PlanRequest, plan_engine
from workers.workloads import MissingDataError

ROOT = Path(__file__).parent.parent.parent
SOURCE = """
import torch
from torch import nn
from workers.workloads import Dataset, Split, Workload

class Noise(nn.Module):
    def forward(self, features):
        return features + torch.randn_like(features) if self.training else features

def load_data(examples=64):
    labels = torch.arange(examples) % 4
    part = Split(torch.sin(torch.arange(examples * 50.0)).view(examples, 2, 5, 5), labels)
    return Dataset(part, part, part, classes=4)

def make(name, *layers, examples=64):
    return Workload(
        name=name, title=name, citation="", load_data=lambda: load_data(examples),
        build_model=lambda data: nn.Sequential(*(layer() for layer in layers)),
        batch_size=16, epochs=1, loss_ceiling=100.0,
    )

convolutional = make(
    "convolutional", lambda: nn.Conv2d(2, 8, 3), lambda: nn.BatchNorm2d(8), nn.ReLU, nn.Flatten, nn.Dropout,
    lambda: nn.Linear(72, 4),
)
wide = make("wide", nn.Flatten, lambda: nn.Linear(50, 2000), nn.ReLU, lambda: nn.Linear(2000, 4))
busy = make("busy", nn.Flatten, lambda: nn.Linear(50, 1000), nn.ReLU, lambda: nn.Linear(1000, 4), examples=1000)
noisy = make("noisy", nn.Flatten, Noise, lambda: nn.Linear(50, 4))
"""
#: Parameters of the wide model, and bytes that a row of it keeps with 14 numbers of four bytes per parameter.
WIDE = 50 * 2000 + 2000 + 2000 * 4 + 4
WIDE_ROW = 56 * WIDE
BUSY_ROW = 56 * (50 * 1000 + 1000 + 1000 * 4 + 4)


@pytest.fixture(autouse=True)
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where plans are remembered: a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "adai" / "plans"


def plan(
    name: str,
    engine: EngineName = "auto",
    *,
    row_epochs: int = 10,
    workers: int = 1,
    training: Training | None = None,
) -> EnginePlan:
    source = SOURCE if f'"{name}"' in SOURCE else ""
    reference = WorkloadReference(name, source)
    return plan_engine(PlanRequest(reference, training or Training(), engine, row_epochs, workers), device="cpu")


@pytest.mark.parametrize("name", ["digits-logistic", "digits-mlp"])
def test_chains_of_linear_layers_are_stacked_in_a_size_that_was_measured(name: str, plans: Path) -> None:
    chosen = plan(name)
    assert chosen.engine == "stacked"
    assert chosen.max_rows in planner._STACK_ROWS
    for rows in planner._STACK_ROWS:
        assert f"us per row and step in stacks of {rows}" in chosen.reason
    assert not plans.exists()


def test_other_models_are_looped_and_not_compiled_for_little_work() -> None:
    chosen = plan("convolutional")
    assert (chosen.engine, chosen.max_rows) == ("looped", LOOPED_ROWS)
    # Four steps of 16 examples make an epoch.
    assert "ms per step eager; 40 steps per worker" in chosen.reason
    assert "compiled" not in chosen.reason


def test_in_fewer_digits_everything_is_looped() -> None:
    assert plan("digits-mlp", training=Training(precision="bfloat16")).engine == "looped"


def test_the_engine_of_the_spec_is_taken() -> None:
    assert plan("digits-mlp", "stacked").engine == "stacked"
    assert plan("digits-mlp", "looped") == EnginePlan("looped", LOOPED_ROWS, "chosen by the spec")


def test_what_cannot_be_trained_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"stacked engine cannot train workload 'convolutional'.*; use engine looped"):
        plan("convolutional", "stacked")
    with pytest.raises(TypeError, match="stacked engine does not compute in bfloat16"):
        plan("digits-mlp", "stacked", training=Training(precision="bfloat16"))
    for engine in ("auto", "looped"):
        with pytest.raises(TypeError, match=r"'noisy' draws from a global random generator .*, in 1 \(Noise\)"):
            plan("noisy", engine)
    with pytest.raises(KeyError, match="no workload is called 'nothing'"):
        plan("nothing")
    with pytest.raises(ValueError, match=r"'quadratic' has no cross-entropy loss, so label_smoothing = 0\.1 means"):
        plan("quadratic", training=Training(label_smoothing=0.1))
    monkeypatch.delenv("ADAI_DATA", raising=False)
    with pytest.raises(MissingDataError, match="ADAI_DATA is not set"):
        plan("imagefolder-cnn")


def remember(plans: Path, **content: object) -> Path:
    """Replace what was measured by recognisable numbers."""
    (file,) = plans.iterdir()
    file.write_text(json.dumps({"eager": 0.123, "compiled": math.nan, "compiling": math.nan} | content))
    return file


def test_what_was_measured_is_remembered_for_the_same_training_only(plans: Path) -> None:
    first = plan("convolutional")
    assert "123.00 ms" not in first.reason
    remember(plans)
    assert plan("convolutional").reason == "123.00 ms per step eager; 40 steps per worker"
    assert plan("convolutional", row_epochs=20).reason == "123.00 ms per step eager; 80 steps per worker"
    assert "123.00 ms" not in plan("convolutional", training=Training(batch_size=8)).reason
    assert "123.00 ms" not in plan("mnist1d-cnn").reason
    assert len(list(plans.iterdir())) == 3


def test_a_remembered_compiled_step_is_taken_if_it_pays_for_its_compilation(plans: Path) -> None:
    plan("convolutional")
    remember(plans, eager=0.003, compiled=0.001, compiling=10.0)
    little, much = plan("convolutional", row_epochs=1249), plan("convolutional", row_epochs=1251)
    assert (little.engine, much.engine) == ("looped", "looped-compiled")
    assert much.reason == "3.00 ms per step eager, 1.00 ms compiled after 10 s; 5004 steps per worker"


def test_a_model_that_hides_randomness_is_refused_even_if_its_speed_is_remembered(plans: Path) -> None:
    plan("convolutional")
    (file,) = plans.iterdir()
    request = PlanRequest(WorkloadReference("noisy", SOURCE), Training(), "looped", 1, 1)
    key = planner._memory_key(request, torch.device("cpu"))
    (plans / f"{key}.json").write_text(file.read_text())
    with pytest.raises(TypeError, match="draws from a global random generator"):
        plan("noisy")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"null",
        b"\xff\xfe",
        b'{"eager": 0.123}',
        b'{"eager": "0.123", "compiled": NaN, "compiling": NaN}',
        b'{"eager": -0.123, "compiled": NaN, "compiling": NaN}',
        b'{"eager": NaN, "compiled": 0.123, "compiling": 1.0}',
        b'{"eager": 0.123, "compiled": null, "compiling": NaN}',
        b'{"eager": 0.123, "compiled": NaN, "compiling": NaN, "more": 1}',
    ],
)
def test_a_file_that_holds_no_measurement_is_replaced(content: bytes, plans: Path) -> None:
    plan("convolutional")
    (file,) = plans.iterdir()
    file.write_bytes(content)
    if content == b'{"eager": 0.123}':
        assert "123.00 ms" in plan("convolutional").reason  # all that there is to know without compiling
        return
    assert "123.00 ms" not in plan("convolutional").reason
    assert set(json.loads(file.read_text())) == {"eager", "compiled", "compiling"}
    assert list(plans.iterdir()) == [file]


@pytest.mark.parametrize("place", ["/proc", "/dev/null"])
def test_without_a_place_to_remember_it_is_measured_every_time(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    assert plan("convolutional").engine == "looped"
    assert plan("convolutional").engine == "looped"


@pytest.mark.parametrize("workers", [1, 4])
def test_rows_of_a_stack_fit_into_a_workers_share_of_the_memory(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan("wide")  # libraries take the memory of their own
    available = 2 * 16 * WIDE_ROW * workers
    monkeypatch.setattr(planner, "read_available_memory", lambda _: available)
    chosen = plan("wide", workers=workers)
    assert chosen.engine == "stacked"
    assert 4 <= chosen.max_rows <= 16
    assert "stacks of 24" not in chosen.reason
    monkeypatch.setattr(planner, "read_available_memory", lambda _: 0)
    assert plan("wide").max_rows == 1


def test_the_activations_of_a_stack_are_measured_and_count(monkeypatch: pytest.MonkeyPatch) -> None:
    plan("wide")  # libraries take the memory of their own
    # A hidden layer of 1,000 examples is 4 MB in each row; the share is 48 MB more than what 24 rows keep.
    monkeypatch.setattr(planner, "read_available_memory", lambda _: 2 * (24 * BUSY_ROW + 48 * 10**6))
    chosen = plan("busy", training=Training(batch_size=1000))
    assert 4 <= chosen.max_rows < 24
    assert chosen.reason.endswith(f"memory is left for {chosen.max_rows} rows")


def test_rows_of_a_loop_fit_into_a_workers_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    plan("wide", "looped")  # libraries take the memory of their own
    monkeypatch.setattr(planner, "read_available_memory", lambda _: 2 * 10 * WIDE_ROW)
    assert 5 <= plan("wide", "looped").max_rows <= 10
    monkeypatch.setattr(planner, "read_available_memory", lambda _: 0)
    assert plan("wide", "looped").max_rows == 1
    monkeypatch.setattr(planner, "read_available_memory", lambda _: None)
    assert plan("wide", "looped").max_rows == LOOPED_ROWS


def test_a_plan_under_a_real_limit_trains_under_it() -> None:
    program = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import torch
torch.set_num_threads(1)
from test_planner import SOURCE, WIDE_ROW, plan
from adai import get_rule
from workers.messages import TrialBatch, WorkloadReference
from workers.trainer import train_batch
plan("digits-logistic")
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (1024 * size + 24 * WIDE_ROW, resource.RLIM_INFINITY))
rows = plan("wide").max_rows
defaults = {{h.name: (h.default,) * rows for h in get_rule("adam").hyperparameters}}
batch = TrialBatch(1, WorkloadReference("wide", SOURCE), "adam", tuple(range(rows)), tuple(range(rows)), defaults,
                   0, (1,) * rows, "val_error", engine="stacked")
*_, finished = train_batch(batch, worker="test")
print(rows, len(finished.outcomes))
"""
    environment = {**os.environ, "ADAI_CHECKPOINT_SECONDS": "inf", "PYTHONPATH": str(ROOT / "tests" / "support")}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stderr
    rows, outcomes = map(int, result.stdout.split())
    assert 1 <= rows < 12
    assert outcomes == rows


def test_if_compiling_fails_much_work_is_looped_and_a_later_compiler_is_tried(plans: Path) -> None:
    training = Training(batch_size=8)
    with torch.compiler.set_stance("fail_on_recompile"):
        automatic = plan("convolutional", row_epochs=10**8, training=training)
        forced = plan("convolutional", "looped-compiled", training=training)
    assert automatic.engine == "looped"
    assert "800000000 steps per worker; not compiled: RuntimeError: Detected recompile" in automatic.reason
    assert forced.engine == "looped-compiled"
    assert forced.reason.startswith("chosen by the spec; not compiled: RuntimeError: Detected recompile")
    (file,) = plans.iterdir()
    assert math.isnan(json.loads(file.read_text())["compiled"])


def test_much_work_is_compiled_once_if_that_pays(plans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, original = [], looped.compile_step

    def compile_step(*arguments: object) -> object:
        compiled.append(1)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(looped, "compile_step", compile_step)
    chosen = plan("convolutional", row_epochs=10**8)
    if "not compiled: " in chosen.reason and "Compiler" in chosen.reason:
        pytest.skip("there is no C++ compiler here")
    assert chosen.engine == "looped-compiled"
    assert "ms compiled after " in chosen.reason
    assert len(compiled) == 1
    again = plan("convolutional", row_epochs=10**8)
    assert again == chosen
    assert len(compiled) == 1
    (file,) = plans.iterdir()
    assert json.loads(file.read_text())["compiled"] > 0
