"""Every workload by its name."""

from functools import partial

from workers.workloads.base import (
    ClassificationData,
    MissingDataError,
    Split,
    Workload,
    chance_level,
)
from workers.workloads.datasets import load_digits, load_image_folder
from workers.workloads.models import build_mlp

_DIGITS = "Alpaydin, Kaynak: Optical recognition of handwritten digits, UCI 1998; the copy in scikit-learn"
_FOLDER = "your own images: one folder per class"

# Logistic regression at a large learning rate reaches losses above 100 nats and still classifies well: a ceiling near
# that would call it diverged. A mean loss of 1000 nats is no longer training.
_CEILING = 1000.0

_WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="digits-logistic",
            title="logistic regression on digits",
            citation=_DIGITS,
            load_data=load_digits,
            build_model=partial(build_mlp, hidden=()),
            batch_size=64,
            epochs=15,
            loss_ceiling=_CEILING,
        ),
        Workload(
            name="digits-mlp",
            title="MLP 64-128-10 on digits",
            citation=_DIGITS,
            load_data=load_digits,
            build_model=partial(build_mlp, hidden=(128,)),
            batch_size=64,
            epochs=15,
            loss_ceiling=_CEILING,
        ),
        Workload(
            name="imagefolder-mlp",
            title="MLP 3072-128-classes on an image folder",
            citation=_FOLDER,
            load_data=load_image_folder,
            build_model=partial(build_mlp, hidden=(128,)),
            batch_size=64,
            epochs=15,
            loss_ceiling=_CEILING,
        ),
    )
}


def get_workload(name: str) -> Workload:
    """The workload called ``name``.

    Raises:
        KeyError: There is none; the message lists those there are.
    """
    if name not in _WORKLOADS:
        raise KeyError(f"no workload is called {name!r}; there are {', '.join(_WORKLOADS)}")
    return _WORKLOADS[name]


def check_data(name: str) -> None:
    """Load the data of the workload called ``name``.

    Raises:
        MissingDataError: It cannot be loaded, for whatever reason.
    """
    try:
        get_workload(name).load_data()
    except MissingDataError:
        raise
    # Loading is a user's code and may raise anything; whatever it is, the data is not there.
    except Exception as error:
        raise MissingDataError(
            f"the data of workload {name!r} cannot be loaded: {type(error).__name__}: {error}; "
            "mend the data or the code that loads it"
        ) from error


def list_workloads() -> tuple[str, ...]:
    """The names of all workloads."""
    return tuple(_WORKLOADS)


__all__ = [
    "ClassificationData",
    "MissingDataError",
    "Split",
    "Workload",
    "chance_level",
    "check_data",
    "get_workload",
    "list_workloads",
]
