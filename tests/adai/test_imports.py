"""``adai`` needs torch only."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import adai

BLOCKED = [
    "ray",
    "optuna",
    "optuna_dashboard",
    "sqlalchemy",
    "alembic",
    "psycopg",
    "pydantic",
    "pydantic_settings",
    "starlette",
    "uvicorn",
    "a2wsgi",
    "click",
    "jinja2",
    "rich",
    "polars",
    "matplotlib",
    "scipy",
    "sklearn",
    "torchvision",
    "workers",
    "study",
    "dashboards",
]
USE_ADAI = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # any import of it raises
import torch
import adai
parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
parameter.grad = torch.ones(3, dtype=torch.float64)
adai.Adai([parameter], lr=0.5).step()
print(parameter.tolist())
"""


def test_adai_works_where_nothing_but_torch_is_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", USE_ADAI, *BLOCKED]
    environment = os.environ | {"PYTHONPATH": str(Path(adai.__file__).parent.parent)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[-0.5, -0.5, -0.5]"


@pytest.mark.parametrize("path", sorted(Path(adai.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_module_imports_only_torch_and_the_standard_library(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).split(".")[0])
    extra = {"triton"} if path.name == "inertia_cuda.py" else set()  # imported for parameters on CUDA only
    assert imported <= {"adai", "torch"} | sys.stdlib_module_names | extra


def test_every_public_name_exists() -> None:
    assert [name for name in adai.__all__ if not hasattr(adai, name)] == []
