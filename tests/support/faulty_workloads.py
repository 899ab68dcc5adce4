"""Workloads that go wrong when a file appears, as the files of users; and batches of them."""

from pathlib import Path

from workers.messages import TrialBatch, WorkloadReference

#: What augment does as soon as the file is there.
FAULTS = {
    "sleeps": "time.sleep(3600)",
    # Such a call does not release the interpreter: no other thread of the process can say that it lives.
    "sleeps in C": "ctypes.PyDLL(None).sleep(3600)",
    "raises": "raise RuntimeError('out of order')",
    "exits": "sys.exit(3)",
    "crashes": "os.abort()",
    "allocates": "torch.empty(2**50)",
    "nothing": "pass",
}
_SOURCE = """
import ctypes, dataclasses, os, sys, time
from pathlib import Path
import torch
from workers.workloads import get_workload

def augment(inputs, words):
    if Path({path!r}).exists():
        {fault}
    time.sleep({seconds})
    return inputs

faulty = dataclasses.replace(get_workload("digits-mlp"), name="faulty", augment=augment)
"""


def make_faulty_batch(
    batch_id: int, path: Path, fault: str = "nothing", *, epochs: int = 100_000, seconds: float = 0.0
) -> TrialBatch:
    """Two runs, one of which diverges; each step takes ``seconds`` more than it needs."""
    source = _SOURCE.format(path=str(path), fault=FAULTS[fault], seconds=seconds)
    hyperparameters = {"lr": (0.1, 1e3), "momentum": (0.9, 0.9), "weight_decay": (0.0, 0.0)}
    runs = (2 * batch_id, 2 * batch_id + 1)
    reference = WorkloadReference("faulty", source)
    return TrialBatch(batch_id, reference, "sgd", runs, (batch_id, 0), hyperparameters, 5, (epochs,) * 2, "val_error")
