"""The registry: workloads of a user's file and of other packages, found, refused by reason, and trained like ours."""

import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch
from image_folders import write_class_folders

from adai import get_rule
from workers.global_generators import GeneratorStates
from workers.messages import BatchFinished, Termination, TrialBatch, WorkloadReference
from workers.preparation import prepare_data
from workers.trainer import train_batch
from workers.workloads import (
    MissingDataError,
    WorkloadSourceError,
    check_data,
    get_workload,
    list_workloads,
    read_workloads,
)

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = (ROOT / "docs" / "examples" / "my_workload.py").read_text(encoding="utf-8")
BEGINNING = """
import torch
from torch import nn
from workers.workloads import Dataset, Split, Workload, get_workload

def load_data():
    part = Split(torch.eye(4), torch.tensor([0, 1, 0, 1]))
    return Dataset(part, part, part, classes=2)

def make(name, load_data=load_data):
    return Workload(
        name=name, title=name, citation="", load_data=load_data, build_model=lambda data: nn.Linear(4, 2),
        batch_size=2, epochs=1, loss_ceiling=10.0,
    )
"""


def make_batch(reference: WorkloadReference, rows: int = 3, epochs: int = 2) -> TrialBatch:
    defaults = {h.name: (h.default,) * rows for h in get_rule("adam").hyperparameters}
    return TrialBatch(
        batch_id=1,
        workload=reference,
        optimizer="adam",
        run_ids=tuple(range(rows)),
        seeds=tuple(range(rows)),
        hyperparameters=defaults | {"lr": (0.01,) * rows},
        study_seed=0,
        epochs=(epochs,) * rows,
        objective="val_error",
    )


def test_the_example_of_the_manual_is_a_complete_workload_that_learns() -> None:
    (name,) = read_workloads(EXAMPLE)
    *epochs, finished = train_batch(make_batch(WorkloadReference(name, EXAMPLE)), worker="test")
    assert len(epochs) == 2
    assert isinstance(finished, BatchFinished)
    assert finished.placement.engine.startswith("looped")
    for outcome in finished.outcomes:
        assert outcome.termination is Termination.COMPLETED
        assert not outcome.at_chance
        assert outcome.test_error is not None
        assert outcome.test_error < 0.2
    assert len({outcome.val_loss for outcome in finished.outcomes}) == 3


def test_several_workloads_of_a_file_are_found_by_their_names() -> None:
    source = BEGINNING + "first = make('one')\nsecond = make('two')\nalias = second\nothers = [make('hidden')]\n"
    assert list(read_workloads(source)) == ["one", "two"]
    assert get_workload(WorkloadReference("two", source)).title == "two"
    with pytest.raises(KeyError, match="no workload is called 'three' in the study's file; it has one, two"):
        get_workload(WorkloadReference("three", source))


def test_a_file_is_run_once_whoever_asks(tmp_path: Path) -> None:
    source = BEGINNING + (
        f"with open({str(tmp_path / 'trace')!r}, 'a') as file:\n    file.write('x')\nmine = make('mine')\n"
    )
    assert get_workload(WorkloadReference("mine", source)) is get_workload(WorkloadReference("mine", source))
    assert (tmp_path / "trace").read_text() == "x"


def test_a_file_may_start_from_a_shipped_workload() -> None:
    source = (
        "import dataclasses\nfrom workers.workloads import get_workload\n"
        "shipped = get_workload('digits-mlp')\nlonger = dataclasses.replace(shipped, name='longer', epochs=99)\n"
    )
    (longer,) = read_workloads(source).values()
    assert (longer.name, longer.epochs) == ("longer", 99)


def test_messages_name_the_file_and_it_is_run_once_whatever_it_is_called(tmp_path: Path) -> None:
    with pytest.raises(WorkloadSourceError, match=r"^workload file own\.py: defines no workload; assign a"):
        read_workloads("y = 1\n", "own.py")
    with pytest.raises(WorkloadSourceError, match=r"^workload file own\.py: raises OSError in line 1: lost; mend it"):
        read_workloads("raise OSError('lost')\n", "own.py")
    with pytest.raises(WorkloadSourceError, match=r"^the workload file defines no workload"):
        read_workloads("y = 1\n")
    source = BEGINNING + (
        f"with open({str(tmp_path / 'trace')!r}, 'a') as file:\n    file.write('x')\nmine = make('mine')\n"
    )
    assert read_workloads(source, "own.py")["mine"] is read_workloads(source, "other.py")["mine"]
    assert get_workload(WorkloadReference("mine", source)) is read_workloads(source, "own.py")["mine"]
    assert (tmp_path / "trace").read_text() == "x"


@pytest.mark.parametrize("start", ["\ufeff", "# -*- coding: utf-8 -*-\n"])
def test_editors_marks_at_the_start_of_a_file_do_no_harm(start: str) -> None:
    assert list(read_workloads(start + BEGINNING + "mine = make('mine')\n")) == ["mine"]


REFUSED = {
    "if True print(1)\n": r"raises SyntaxError: .*line 1.*; mend it",
    "x = 1\0\n": r"raises (SyntaxError|ValueError): .*null bytes; mend it",
    "x = 1\n": "defines no workload; assign a workers.workloads.Workload to a name",
    "\n\nimport not_installed_anywhere\n": "raises ModuleNotFoundError in line 3: No module named 'not_installed_anywh",
    BEGINNING + "one = make('same')\ntwo = make('same')\n": "defines 2 workloads called 'same'",
    BEGINNING + "one = make('digits-mlp')\n": "'digits-mlp' belongs to a shipped workload; choose another",
    BEGINNING + "one = make('Mine!')\n": "raises ValueError in line 11: 'Mine!' is not a workload name; use 1 to 64",
    "import sys\nsys.exit('bye')\n": "raises SystemExit in line 2: bye",
    "class Stop(Exception): pass\nraise Stop('no')\n": "raises Stop in line 2: no",
    "from workers.workloads import get_workload\nshipped = get_workload('digits-mlp')\n": "defines no workload",
}


@pytest.mark.parametrize("source", REFUSED, ids=lambda source: source[-30:].strip())
def test_a_file_without_usable_workloads_is_refused_by_reason(source: str) -> None:
    modules = set(sys.modules)
    for _ in range(2):
        with pytest.raises(WorkloadSourceError, match=REFUSED[source]):
            read_workloads(source)
    if "defines" not in REFUSED[source] and "belongs" not in REFUSED[source]:
        assert set(sys.modules) == modules


def test_tracebacks_show_the_line_of_the_users_file() -> None:
    source = BEGINNING + "def broken():\n    return 1 / 0  # here it is\n\nmine = make('mine', broken)\n"
    workload = get_workload(WorkloadReference("mine", source))
    with pytest.raises(ZeroDivisionError) as divided:
        workload.load_data()
    assert "return 1 / 0  # here it is" in "".join(traceback.format_exception(divided.value))
    with pytest.raises(WorkloadSourceError) as caught:
        read_workloads("def f():\n    raise OSError('in f')  # and here\n\nf()\n")
    assert "raise OSError('in f')  # and here" in "".join(traceback.format_exception(caught.value))


def test_what_a_users_file_defines_can_be_pickled_and_inspected() -> None:
    import inspect

    source = BEGINNING + (
        "from dataclasses import dataclass\n@dataclass(slots=True)\nclass Options:\n    width: int = 3\n"
        "def double(x):\n    return 2 * x\n\nmine = make('mine')\n"
    )
    read_workloads(source)
    module = next(
        module
        for name, module in sys.modules.items()
        if name.startswith("adai_study_workloads_") and hasattr(module, "Options")
    )
    assert pickle.loads(pickle.dumps(module.Options(width=5))) == module.Options(width=5)  # noqa: S301
    assert inspect.getsource(module.double) == "def double(x):\n    return 2 * x\n"


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(
        KeyError, match=r"no workload is called 'digits'; there are digits-logistic, digits-mlp, .*quad"
    ):
        get_workload("digits")


def test_data_that_does_not_load_is_missing_whatever_went_wrong() -> None:
    def check(statement: str) -> None:
        check_data(
            WorkloadReference("mine", BEGINNING + f"def load():\n    {statement}\n\nmine = make('mine', load)\n")
        )

    with pytest.raises(MissingDataError, match="of workload 'mine' cannot be loaded: OSError: no disk; mend the data"):
        check("raise OSError('no disk')")
    with pytest.raises(MissingDataError, match="cannot be loaded: SystemExit: 2"):
        check("raise SystemExit(2)")
    with pytest.raises(MissingDataError, match=r"returns NoneType; return a workers\.workloads\.Dataset"):
        check("pass")
    with pytest.raises(MissingDataError, match="cannot be loaded: ValueError: a Split has 2 inputs and 3 labels"):
        check("return Split(torch.ones(2, 1), torch.ones(3))")
    with pytest.raises(
        MissingDataError, match=r"TypeError: load_data of workload 'mine' draws .* \(torch\): each worker"
    ):
        check("return Split(torch.randn(2, 1), torch.ones(2))")
    check("return load_data()")


DRAWING = {
    "torch": "torch.randn(4, 4)",
    "numpy.random": "torch.from_numpy(__import__('numpy').random.rand(4, 4))",
    "random": "torch.eye(4) * __import__('random').random()",
}


@pytest.mark.parametrize("generator", DRAWING)
def test_data_that_hangs_on_a_global_generator_is_refused_and_the_generator_put_back(generator: str) -> None:
    source = BEGINNING + (
        f"def load():\n    part = Split({DRAWING[generator]}, torch.tensor([0, 1, 0, 1]))\n"
        "    return Dataset(part, part, part, classes=2)\n\nmine = make('mine', load)\n"
    )
    reference = WorkloadReference("mine", source)
    before = GeneratorStates.read()
    with pytest.raises(TypeError, match=rf"load_data .* global random generator \({generator}\): .*workers\.random"):
        prepare_data(reference, {}, device=torch.device("cpu"), dtype=torch.float32)
    with pytest.raises(MissingDataError, match="load_data of workload 'mine' draws"):
        check_data(reference)
    assert before.moved() == ()


@pytest.mark.parametrize(
    "draw",
    [
        "torch.randn(4, 4, generator=torch.Generator().manual_seed(0))",
        "torch.from_numpy(__import__('numpy').random.default_rng(0).random((4, 4)))",
        "torch.eye(4) * __import__('random').Random(0).random()",
    ],
)
def test_data_from_a_generator_of_its_own_is_taken(draw: str) -> None:
    source = BEGINNING + (
        f"def load():\n    part = Split({draw}, torch.tensor([0, 1, 0, 1]))\n"
        "    return Dataset(part, part, part, classes=2)\n\nmine = make('mine', load)\n"
    )
    check_data(WorkloadReference("mine", source))


@pytest.mark.parametrize("decorator", ["", "@functools.cache"])
def test_an_import_that_draws_does_not_make_data_random_and_data_that_is_random_is_found_beside_it(
    decorator: str, tmp_path: Path
) -> None:
    """As scikit-learn's sklearn.datasets does when it is imported for the first time."""
    (tmp_path / "drawing_module.py").write_text("import random\nrandom.random()\n")
    program = """
import sys
from workers.messages import WorkloadReference
from workers.workloads import MissingDataError, check_data
for draw in ("torch.eye(4)", "torch.randn(4, 4)"):
    source = sys.argv[1].replace("DRAW", draw)
    sys.modules.pop("drawing_module", None)
    try:
        check_data(WorkloadReference("mine", source))
        print("taken")
    except MissingDataError as error:
        print(error)
"""
    source = BEGINNING + (
        f"import functools\n{decorator}\ndef load():\n    import drawing_module\n"
        "    part = Split(DRAW, torch.tensor([0, 1, 0, 1]))\n"
        "    return Dataset(part, part, part, classes=2)\n\nmine = make('mine', load)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program, source]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stderr
    taken, refused = result.stdout.splitlines()
    assert taken == "taken"
    assert "draws from a global random generator (torch)" in refused


def test_loading_shipped_data_for_the_first_time_in_a_process_draws_nothing(data_folder: Path) -> None:
    """Nor does importing what they import."""
    write_class_folders(data_folder / "imagefolder")
    program = """
import sys
from workers.workloads import check_data, list_workloads
for name in list_workloads():
    if not name.startswith("cifar"):
        check_data(name)
print("all loaded")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout == "all loaded\n", result.stderr


def test_a_workload_that_is_not_there_is_not_called_missing_data() -> None:
    with pytest.raises(KeyError, match="no workload is called 'nothing'"):
        check_data("nothing")
    with pytest.raises(WorkloadSourceError, match="defines no workload"):
        check_data(WorkloadReference("mine", "x = 1\n"))


PACKAGE = (
    BEGINNING
    + """
def build():
    return make("built")

ready = make("ready")
misnamed = make("something-else")
number = 7

def broken():
    raise RuntimeError("out of order")

def leaving():
    raise SystemExit(3)
"""
)


def install(folder: Path, package: str, entry_points: dict[str, str]) -> None:
    """What an installer leaves of a package: its module, and what it says about itself."""
    folder.mkdir(exist_ok=True)
    (folder / f"{package}.py").write_text(PACKAGE)
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}\n" for name, value in entry_points.items()]
    (about / "entry_points.txt").write_text("[adai_study.workloads]\n" + "".join(lines))


def test_installed_packages_bring_workloads_and_references_travel(tmp_path: Path) -> None:
    names = {
        "ready": "pets:ready",
        "built": "pets:build",
        "wrong-name": "pets:misnamed",
        "number": "pets:number",
        "broken": "pets:broken",
        "leaving": "pets:leaving",
        "absent": "pets:nothing",
        "twice": "pets:ready",
        "digits-mlp": "pets:ready",
    }
    install(tmp_path, "pets", names)
    install(tmp_path, "cats", {"twice": "cats:ready"})
    # The same package once more, further back on the path: it is never imported.
    install(tmp_path / "behind", "pets", {"ready": "pets:ready", "older": "pets:ready"})
    program = """
import pickle, sys
from workers.workloads import *
print(*list_workloads())
print(get_workload("digits-mlp").title)
for reference in pickle.load(sys.stdin.buffer):
    print(get_workload(reference).title)
    check_data(reference)
for name in ("wrong-name", "number", "broken", "leaving", "absent", "twice"):
    try:
        get_workload(name)
    except WorkloadSourceError as error:
        print(error)
"""
    references = [WorkloadReference("ready"), WorkloadReference("built"), WorkloadReference("breast-cancer", EXAMPLE)]
    result = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(references),
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(tmp_path / "behind")])},
    )
    assert result.returncode == 0, result.stderr.decode()
    listed, shipped, *titles, wrong, number, broken, leaving, absent, twice = result.stdout.decode().splitlines()
    own = [name for name in names if name != "digits-mlp"]
    assert set(listed.split()) == {*list_workloads(), *own}
    assert len(listed.split()) == len(set(listed.split()))
    assert shipped == "MLP 64-128-10 on digits"
    assert titles == ["ready", "built", "MLP 30-16-2 with dropout on breast cancer"]
    assert wrong.endswith(
        "'pets:misnamed' must give a Workload with the name 'wrong-name', not one called 'something-else'"
    )
    assert "'number' of entry point 'pets:number' does not load: TypeError" in number
    assert broken.endswith("does not load: RuntimeError: out of order")
    assert leaving.endswith("does not load: SystemExit: 3")
    assert "'absent' of entry point 'pets:nothing' does not load: AttributeError" in absent
    assert "'twice' comes from" in twice
    assert twice.endswith("uninstall all but one of the packages")
