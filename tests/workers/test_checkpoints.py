"""Checkpoints: what was interrupted goes on as if it had not been; what cannot be read or written costs time only."""

import dataclasses
import itertools
import os
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from workers.cache import cache_folder
from workers.checkpoints import Checkpoints, CheckpointSettingsError
from workers.messages import BatchFinished, CurvatureRequest, EngineName, EpochMetrics, Training, TrialBatch
from workers.messages import WorkloadReference as Reference
from workers.preparation import fingerprint
from workers.trainer import train_batch
from workers.workloads import Dataset, Split

ROOT = Path(__file__).parent.parent.parent
CPU = torch.device("cpu")
#: Batch norm, dropout and augmentation: everything that a run has besides its parameters.
SOURCE = """
import torch
from torch import nn
from workers.workloads import Dataset, Split, Workload
from workers.workloads.images import crop_and_flip

def load_data():
    labels = torch.arange(60) % 3
    inputs = torch.sin(torch.arange(60 * 32.0)).view(60, 2, 4, 4) + (labels - 1.0).view(-1, 1, 1, 1)
    parts = zip(inputs.split(20), labels.split(20))
    return Dataset(*(Split(*part) for part in parts), classes=3)

def convolutional(data):
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(12, 3)
    )

def linear(data):
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 3))

def make(name, build_model):
    return Workload(
        name=name, title=name, citation="", load_data=load_data, build_model=build_model, batch_size=8, epochs=5,
        loss_ceiling=1000.0, augment=crop_and_flip, target_error=0.5,
    )

convolutional_workload = make("convolutional", convolutional)
linear_workload = make("linear", linear)
"""
Event = EpochMetrics | BatchFinished


@pytest.fixture(autouse=True)
def checkpoint_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint after every epoch, in a folder of the test's own."""
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "0")
    return tmp_path / "checkpoints"


def make_batch(engine: EngineName = "looped", batch_id: int = 1) -> TrialBatch:
    """Two rows of one seed that end at different epochs, one of another, one that diverges, all measured."""
    return TrialBatch(
        batch_id=batch_id,
        workload=Reference("linear" if engine == "stacked" else "convolutional", SOURCE),
        optimizer="sgd",
        run_ids=(7, 5, 9, 8),
        seeds=(1, 0, 1, 2),
        hyperparameters={"lr": (0.05, 0.1, 0.05, 1e4), "momentum": (0.9,) * 4, "weight_decay": (0.01,) * 4},
        study_seed=3,
        epochs=(5, 4, 3, 5),
        objective="val_loss",
        training=Training(schedule="cosine", label_smoothing=0.1, curvature=CurvatureRequest(every=3, examples=8)),
        engine=engine,
    )


def without_times(event: Event, batch_id: int = 1) -> str:
    """Everything that must be equal; ``repr`` writes numbers to their last bit, and NaN equals itself."""
    if isinstance(event, EpochMetrics):
        assert event.batch_id == batch_id
        return repr(dataclasses.replace(event, batch_id=0, seconds=0.0))
    outcomes = [
        dataclasses.replace(outcome, seconds=0.0, seconds_to_target=None, peak_memory=None)
        for outcome in event.outcomes
    ]
    return repr((outcomes, event.placement.engine))


def train(batch: TrialBatch, epochs: int | None = None, dtype: torch.dtype = torch.float32) -> list[str]:
    """What training says; with ``epochs`` it is left in the middle of the epoch after so many."""
    events = train_batch(batch, worker="test", dtype=dtype)
    return [without_times(event, batch.batch_id) for event in itertools.islice(events, epochs and epochs + 1)]


def count_trained_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with each epoch that is really trained."""
    from workers.feed import Feed

    trained, original = [], Feed.epoch

    def epoch(self: Feed, number: int, seeds: Any) -> Iterator[Any]:
        trained.append(number)
        return original(self, number, seeds)

    monkeypatch.setattr(Feed, "epoch", epoch)
    return trained


@pytest.mark.parametrize(
    ("engine", "epochs"), [("looped", 2), ("stacked", 1), ("stacked", 2), ("stacked", 3), ("stacked", 4)]
)
def test_an_interrupted_batch_goes_on_as_if_it_had_not_been(
    engine: EngineName, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = train(make_batch(engine))
    assert len(undisturbed) == 6
    assert all(word in undisturbed[-1] for word in ("COMPLETED", "DIVERGED"))
    train(make_batch(engine), epochs)
    trained = count_trained_epochs(monkeypatch)
    assert train(make_batch(engine, batch_id=2)) == undisturbed
    assert trained == list(range(epochs + 1, 6))


def test_a_killed_process_loses_only_the_epoch_it_was_in(
    checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"""
import sys, time
import torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_checkpoints import make_batch
from workers.trainer import train_batch
torch.set_num_threads(1)
for event in train_batch(make_batch(), worker="killed"):
    print(event.epoch, flush=True)
    if event.epoch == 4:
        time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    with process.stdout:
        while process.stdout.readline().strip() != "4":
            assert process.poll() is None, "the process ended too early"
        process.kill()
    assert process.wait() == -9
    (left,) = checkpoint_folder.iterdir()
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(checkpoint_folder / "nothing here"))
    undisturbed = train(make_batch())
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(checkpoint_folder))
    trained = count_trained_epochs(monkeypatch)
    assert train(make_batch(batch_id=2)) == undisturbed
    assert trained == [4, 5]
    assert not left.exists()


def spoil(whole: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "garbage": b"not a checkpoint",
        "cut off": whole[: len(whole) // 2],
        "without its end": whole[:-30],
        "lost in a crash": bytes(len(whole)),
        "a zip of something else": b"PK\x03\x04" + whole[4:200],
        "another tensor": save_to_bytes(torch.ones(3)),
        "another dictionary": save_to_bytes({"epoch": 1, "content": {"epoch": 1}}),
        "a list": save_to_bytes([1, 2]),
        "a foreign pickle": pickle.dumps({"runs": Path("/")}),
    }


def save_to_bytes(content: object) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", spoil(b""))
def test_a_file_that_is_not_a_whole_checkpoint_is_replaced_by_training_anew(kind: str, checkpoint_folder: Path) -> None:
    undisturbed = train(make_batch("stacked"))
    train(make_batch("stacked"), 3)
    (file,) = checkpoint_folder.iterdir()
    file.write_bytes(spoil(file.read_bytes())[kind])
    assert train(make_batch("stacked")) == undisturbed
    assert list(checkpoint_folder.iterdir()) == []


class Intruder:
    """Runs a command when it is loaded as pickles usually are."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._trace}",)


def test_a_checkpoint_cannot_run_code(checkpoint_folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "code ran".replace(" ", "-")
    undisturbed = train(make_batch("stacked"))
    for content in (pickle.dumps(Intruder(trace)), save_to_bytes({"runs": Intruder(trace)})):
        train(make_batch("stacked"), 2)
        (file,) = checkpoint_folder.iterdir()
        file.write_bytes(content)
        assert train(make_batch("stacked")) == undisturbed
        assert not trace.exists()
    pickle.loads(pickle.dumps(Intruder(trace)))  # noqa: S301 - shows that it would have run
    assert trace.exists()


def assert_trains_without_checkpoints(undisturbed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    train(make_batch("stacked"), 3)
    trained = count_trained_epochs(monkeypatch)
    assert train(make_batch("stacked")) == undisturbed
    assert trained == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("place", ["/proc/adai", "/dev/null/adai", "/dev/full"])
def test_a_folder_that_cannot_be_written_costs_the_checkpoint_only(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = train(make_batch("stacked"))
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", place)
    assert_trains_without_checkpoints(undisturbed, monkeypatch)


def test_a_disk_that_fills_up_in_the_middle_costs_the_checkpoint_only(
    checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = train(make_batch("stacked"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        assert_trains_without_checkpoints(undisturbed, monkeypatch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(checkpoint_folder.iterdir()) == []


def test_a_really_full_disk_costs_the_checkpoint_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "adai-test", str(full)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk; the limit on a file's size stands for it")
    try:
        undisturbed = train(make_batch("stacked"))
        monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(full))
        assert_trains_without_checkpoints(undisturbed, monkeypatch)
        assert list(full.iterdir()) == []
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_a_checkpoint_that_cannot_be_replaced_keeps_the_one_before(checkpoint_folder: Path) -> None:
    train(make_batch("stacked"), 2)
    (file,) = checkpoint_folder.iterdir()
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        train(make_batch("stacked"), 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == before


def test_a_batch_that_ends_leaves_nothing(checkpoint_folder: Path) -> None:
    train(make_batch("stacked"), 2)
    assert len(list(checkpoint_folder.iterdir())) == 1
    train(make_batch("stacked"))
    assert list(checkpoint_folder.iterdir()) == []


def test_files_of_given_up_studies_are_removed_and_nothing_else_is(checkpoint_folder: Path) -> None:
    checkpoint_folder.mkdir()
    old, recent = time.time() - 15 * 24 * 3600, time.time() - 13 * 24 * 3600
    files = {"a.pt": old, "b.tmp": old, "c.pt": recent, "d.tmp": recent, "notes.txt": old}
    for name, when in files.items():
        (checkpoint_folder / name).touch()
        os.utime(checkpoint_folder / name, (when, when))
    # As if another worker had removed the file after it was listed.
    (checkpoint_folder / "gone.tmp").symlink_to("nowhere")
    train(make_batch("stacked"), 2)
    left = {file.name for file in checkpoint_folder.iterdir()}
    assert left > {"c.pt", "d.tmp", "notes.txt"}
    assert not left & {"a.pt", "b.tmp"}
    assert len(left) == 5, "the checkpoint itself is missing"


def save(batch: TrialBatch, dtype: torch.dtype = torch.float32, device: torch.device = CPU, of: str = "data") -> None:
    Checkpoints(batch, dtype=dtype, device=device, fingerprint=lambda: of).save({"epoch": 2})


def load(
    batch: TrialBatch, dtype: torch.dtype = torch.float32, device: torch.device = CPU, of: str = "data"
) -> dict[str, Any] | None:
    return Checkpoints(batch, dtype=dtype, device=device, fingerprint=lambda: of).load()


def test_equal_runs_find_the_checkpoint_whatever_the_attempt_the_stage_and_the_order_of_names() -> None:
    batch = dataclasses.replace(make_batch(), training=Training(data={"limit_train": 9, "limit_test": 8}))
    save(batch)
    turned = dataclasses.replace(
        batch,
        batch_id=99,
        dropped=(7, 8),
        start_epoch=1,
        stop_epoch=3,
        hyperparameters=dict(reversed(batch.hyperparameters.items())),
        training=Training(data={"limit_test": 8, "limit_train": 9}),
    )
    assert load(turned) == {"epoch": 2}


OTHERS: dict[str, dict[str, Any]] = {
    "optimizer": {"optimizer": "adam"},
    "runs": {"run_ids": (1, 2, 3, 4)},
    "seeds": {"seeds": (1, 0, 1, 3)},
    "hyperparameters": {"hyperparameters": {"lr": (0.05, 0.1, 0.05, 2e4)}},
    "study seed": {"study_seed": 4},
    "budgets": {"epochs": (5, 4, 3, 6)},
    "engine": {"engine": "stacked"},
    "training": {"training": Training(batch_size=4)},
    "user's file": {"workload": Reference("convolutional", SOURCE + "\n")},
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_runs_do_not_find_the_checkpoint(what: str) -> None:
    save(make_batch())
    assert load(dataclasses.replace(make_batch(), **OTHERS[what])) is None
    assert load(make_batch()) is not None


def test_another_type_device_or_torch_does_not_find_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    save(make_batch())
    assert load(make_batch(), dtype=torch.float64) is None
    assert load(make_batch(), device=torch.device("cuda")) is None
    with monkeypatch.context() as context:
        context.setattr(torch, "__version__", "2.0.0")
        assert load(make_batch()) is None
    assert load(make_batch()) == {"epoch": 2}


def test_other_data_under_the_same_name_is_trained_from_the_start(checkpoint_folder: Path) -> None:
    save(make_batch(), of="data")
    assert load(make_batch(), of="other data") is None
    assert list(checkpoint_folder.iterdir()) == []


def test_the_fingerprint_sees_every_bit_of_data_and_the_models_structure() -> None:
    def make(last: float = 1.0, label: int = 0) -> Dataset:
        part = Split(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
        inputs, labels = torch.ones(3, 2), torch.tensor([0, 1, label])
        inputs[-1, -1] = last
        return Dataset(part, part, Split(inputs, labels), classes=2)

    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    others = [
        fingerprint(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), make()),
        fingerprint(model, make(last=1.0 + 2**-23)),
        fingerprint(model, make(label=1)),
    ]
    assert fingerprint(model, make()) == fingerprint(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), make())
    assert len({fingerprint(model, make()), *others}) == 4


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "1 minute"])
def test_a_setting_that_is_no_number_of_seconds_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", text)
    with pytest.raises(CheckpointSettingsError, match=f"ADAI_CHECKPOINT_SECONDS is '{text}'; it must be a number"):
        train(make_batch("stacked"), 1)


def test_checkpoints_can_be_turned_off_and_are_rare_by_default(
    checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("inf", "30", ""):
        monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", text)
        train(make_batch("stacked"), 3)
        assert not checkpoint_folder.exists()


def test_without_a_setting_checkpoints_lie_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADAI_CHECKPOINT_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    train(make_batch("stacked"), 2)
    assert len(list((tmp_path / "cache" / "adai" / "checkpoints").iterdir())) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("checkpoints") == tmp_path / "home" / ".cache" / "adai" / "checkpoints"


def test_a_user_without_a_home_trains_without_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root may become a user that is in no list of users")
    undisturbed = train(make_batch("stacked"))
    for name in ("ADAI_CHECKPOINT_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    os.setresuid(54321, 0, 0)
    try:
        assert cache_folder("checkpoints") is None
        assert_trains_without_checkpoints(undisturbed, monkeypatch)
    finally:
        os.setresuid(0, 0, 0)
