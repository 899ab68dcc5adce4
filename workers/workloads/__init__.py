"""What can be trained: workloads by name, their data and models."""

from workers.workloads.base import (
    Augmentation,
    CrossEntropy,
    Dataset,
    Loss,
    MissingDataError,
    Split,
    Workload,
    share_of_wrong_labels,
)
from workers.workloads.registry import (
    WorkloadSourceError,
    check_data,
    get_workload,
    list_workloads,
    read_workloads,
)

__all__ = [
    "Augmentation",
    "CrossEntropy",
    "Dataset",
    "Loss",
    "MissingDataError",
    "Split",
    "Workload",
    "WorkloadSourceError",
    "check_data",
    "get_workload",
    "list_workloads",
    "read_workloads",
    "share_of_wrong_labels",
]
