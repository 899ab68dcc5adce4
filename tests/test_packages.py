"""The house: which package may know which, and that our names are ours."""

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("adai", "workers", "study", "dashboards")
#: What each package may import of the four, and which libraries belong to which package alone.
ALLOWED = {
    "adai": {"adai"},
    "workers": {"adai", "workers"},
    "study": {"adai", "workers", "study"},
    "dashboards": set(PACKAGES),
}
ONE_EXCEPTION = ("study/cli.py", "dashboards")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported_names(path: Path) -> set[str]:
    """The top-level names of everything that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    ours = imported_names(path) & set(PACKAGES)
    exception = {ONE_EXCEPTION[1]} if relative == ONE_EXCEPTION[0] else set()
    assert ours <= ALLOWED[path.relative_to(ROOT).parts[0]] | exception


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    relative, package = str(path.relative_to(ROOT)), path.relative_to(ROOT).parts[0]
    names = imported_names(path)
    if package in ("adai", "workers"):
        assert not names & {"optuna", "sqlalchemy", "alembic", "pydantic", "starlette", "click"}
    if package == "adai":
        # Triton comes with torch's CUDA builds; this one module is imported only for parameters on CUDA.
        extra = {"triton"} if relative == "adai/inertia_cuda.py" else set()
        assert names <= {"adai", "torch", *sys.stdlib_module_names} | extra
    if str(path.relative_to(ROOT)) != "workers/ray_connection.py":
        assert "ray" not in names


def test_no_other_distribution_owns_our_package_names() -> None:
    owners = importlib.metadata.packages_distributions()
    for package in PACKAGES:
        assert set(owners.get(package, [])) <= {"adai-study"}


def test_workers_train_where_ray_optuna_and_the_database_are_not_installed() -> None:
    program = """
import sys
for name in ("ray", "optuna", "sqlalchemy", "alembic", "pydantic", "click", "polars", "matplotlib"):
    sys.modules[name] = None
from workers.messages import TrialBatch, WorkloadReference
from workers.trainer import train_batch
import workers.pool, workers.ray_pool
batch = TrialBatch(0, WorkloadReference("digits-logistic"), "sgd", (1,), (0,),
                   {"lr": (0.1,), "momentum": (0.9,), "weight_decay": (0.0,)}, 0, (1,), "val_error")
*_, finished = train_batch(batch, worker="test")
print(finished.outcomes[0].termination.name)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "COMPLETED", result.stderr


def test_modules_stay_short_enough_to_read() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: lines for path, lines in long.items() if lines > 400} == {}
