"""The compiled engine: what eager computes, the same bits in any company, and eager where it cannot be.

One model is compiled to be used, one to be refused, and one in another process from the compiler's cache.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import training_runs
from torch._dynamo.utils import counters
from training_runs import (
    concatenate,
    histories,
    histories_of,
    make_batch,
    select_runs,
    train,
    train_and_keep_checkpoints,
    unzip,
)

import workers.engines.compiling
from workers.messages import EngineName, TrialBatch
from workers.trainer import train_batch

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler: apt-get install g++")


def three_runs(engine: EngineName) -> TrialBatch:
    """Convolution, batch norm and dropout; four steps an epoch, the last with two examples; the third run diverges."""
    return concatenate(
        make_batch("sgd", workload="small-cnn", seeds=(0, 3), epochs=(3, 4), engine=engine),
        make_batch("sgd", workload="small-cnn", seeds=(3,), epochs=3, values={"lr": 1e30}),
    )


@needs_compiler
def test_compiled_training_equals_eager_training_with_its_running_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path))
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "0")
    graphs = counters["stats"]["unique_graphs"]
    (compiled, saved), (eager, expected) = (
        train_and_keep_checkpoints(three_runs(engine), torch.float64) for engine in ("looped-compiled", "looped")
    )
    for ours, theirs in zip(compiled, eager, strict=True):
        assert ours.run_ids == theirs.run_ids
        for name in ("train_loss", "val_loss", "val_error", "grad_norm"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-12, nan_ok=True)
    for mine, other in zip(saved, expected, strict=True):
        torch.testing.assert_close(mine["theta"], other["theta"], rtol=1e-12, atol=1e-12)
        for buffers, eager_buffers in zip(mine["buffers"], other["buffers"], strict=True):
            assert buffers["1.num_batches_tracked"] == eager_buffers["1.num_batches_tracked"]
            for name, value in eager_buffers.items():
                torch.testing.assert_close(buffers[name], value, rtol=1e-12, atol=1e-12)
    # One graph, for the whole batches; the smaller one is not worth another. Its roundings are not those of eager.
    assert counters["stats"]["unique_graphs"] == graphs + 1
    assert [epoch.grad_norm for epoch in compiled] != [epoch.grad_norm for epoch in eager]


@needs_compiler
def test_later_batches_take_the_step_that_is_there_with_the_same_bits_in_any_company() -> None:
    """Also after the first batch, whose model is gone, was evaluated."""
    batch = three_runs("looped-compiled")
    epochs, finished = train(batch, torch.float64)
    assert finished.placement.engine.startswith("looped-compiled")
    graphs = counters["stats"]["unique_graphs"]
    assert graphs >= 1
    together = histories_of(epochs, finished)
    assert [histories(select_runs(batch, row), torch.float64)[0] for row in range(3)] == together
    assert histories(select_runs(batch, 2, 1, 0), torch.float64) == together[::-1]
    assert counters["stats"]["unique_graphs"] == graphs


@needs_compiler
@pytest.mark.parametrize("received", [1, 2, 3])
def test_an_interrupted_batch_goes_on_with_the_same_bits(
    received: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path))
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", "0")
    batch = three_runs("looped-compiled")
    attempt = train_batch(batch, worker="first", dtype=torch.float64)
    before = [next(attempt) for _ in range(received)]
    attempt.close()
    epochs, finished = unzip(list(train_batch(batch, worker="second", dtype=torch.float64)))
    assert repr(epochs[: received - 1]) == repr(before[:-1])
    assert histories_of(epochs, finished) == histories(batch, torch.float64)


_IN_ANOTHER_PROCESS = """
import json, sys
import torch
torch.set_num_threads(1)
import training_runs
from workers.engines import compiling
batch = training_runs.make_batch("sgd", workload=sys.argv[1], engine="looped-compiled", epochs=2)
epochs, finished = training_runs.train(batch, torch.float64)
failures = [str(step) for step in compiling._steps.values() if isinstance(step, Exception)]
print(json.dumps([training_runs.histories_of(epochs, finished), finished.placement.engine, failures]))
"""


def train_elsewhere(workload: str, **environment: str) -> Any:
    """History, engine and why compiling failed, from another process."""
    folders = [str(Path(training_runs.__file__).parent), str(Path(__file__).parents[2])]
    said = subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER_PROCESS, workload],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return json.loads(said.stdout)


def as_json(batch: TrialBatch) -> Any:
    return json.loads(json.dumps(histories(batch, torch.float64)))


@needs_compiler
def test_another_process_computes_the_same_bits() -> None:
    history, engine, failures = train_elsewhere("small-cnn")
    assert failures == []
    assert engine.startswith("looped-compiled")
    assert history == as_json(make_batch("sgd", workload="small-cnn", engine="looped-compiled"))


def test_without_a_compiler_training_is_eager_and_says_why(tmp_path: Path) -> None:
    history, engine, failures = train_elsewhere(
        "small-dropout", CXX="/bin/false", TORCHINDUCTOR_CACHE_DIR=str(tmp_path)
    )
    assert engine.startswith("looped,")
    assert len(failures) == 1
    assert failures[0]
    assert history == as_json(make_batch("sgd", workload="small-dropout", engine="looped"))


@needs_compiler
def test_a_step_that_computes_something_else_when_compiled_is_not_used() -> None:
    batch = make_batch("sgd", workload="small-otherwise-when-compiled", engine="looped-compiled")
    epochs, finished = train(batch, torch.float64)
    assert finished.placement.engine.startswith("looped,")
    failures = [str(step) for step in workers.engines.compiling._steps.values() if isinstance(step, Exception)]
    assert any("differs from the eager one by" in failure for failure in failures)
    eager = make_batch("sgd", workload="small-otherwise-when-compiled", engine="looped")
    assert histories_of(epochs, finished) == histories(eager, torch.float64)
    # It is not tried again.
    graphs = counters["stats"]["unique_graphs"]
    assert histories(batch, torch.float64) == histories(eager, torch.float64)
    assert counters["stats"]["unique_graphs"] == graphs


def test_hidden_randomness_is_refused_before_anything_is_compiled() -> None:
    graphs = counters["stats"]["unique_graphs"]
    with pytest.raises(TypeError, match="draws from a global random generator"):
        train(make_batch("sgd", workload="small-hidden-dropout", engine="looped-compiled"))
    assert counters["stats"]["unique_graphs"] == graphs


@needs_compiler
def test_compiled_steps_keep_buffers_that_the_model_assigns() -> None:
    batch = make_batch("sgd", workload="small-assigning", seeds=(0, 3), engine="looped-compiled")
    epochs, finished = train(batch, torch.float64)
    assert finished.placement.engine.startswith("looped-compiled")
    eager, _ = train(dataclasses.replace(batch, engine="looped"), torch.float64)
    for ours, theirs in zip(epochs, eager, strict=True):
        assert ours.val_loss == pytest.approx(theirs.val_loss, rel=1e-12)
    assert len(set(epochs[-1].val_loss)) == 2


def test_gradients_are_compared_where_they_are_numbers() -> None:
    compare = workers.engines.compiling._compare
    loss, nan = torch.tensor(1.0), torch.nan
    compare(loss * nan, loss * nan, [torch.tensor([nan, 2.0])], [torch.tensor([nan, 2.0])])
    compare(
        loss, loss, [torch.tensor([torch.inf, 2.0]), torch.zeros(0)], [torch.tensor([torch.inf, 2.0]), torch.zeros(0)]
    )
    for other in ([nan, 2.1], [1.0, 2.0], [nan, nan], [nan, torch.inf]):
        with pytest.raises(workers.engines.compiling.CompilingFailedError, match="differs from the eager one"):
            compare(loss, loss, [torch.tensor([nan, 2.0])], [torch.tensor(other)])
