"""Every import contract of pyproject.toml is seen to break when somebody breaks it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BREAKS = {
    "Imports go down": ("bench/errors.py", "import bench.lab.config"),
    "The bench knows no scenario and no workload": ("bench/lab/truth.py", "import workloads"),
    "Workloads know nothing of ours": ("workloads/__init__.py", "import bench.errors"),
    "Scenarios know neither targets nor clients": ("scenarios/__init__.py", "import kubernetes"),
    "The lab shares no code with the clients it answers": ("bench/lab/truth.py", "import kubernetes"),
}


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(
        [program, "--no-cache"], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for package in ("bench", "workloads", "scenarios"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "target"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("contract", BREAKS)
def test_a_broken_contract_is_named(tree: Path, contract: str) -> None:
    file, statement = BREAKS[contract]
    module = tree / file
    module.write_text(module.read_text() + f"\n{statement}\n")

    outcome = lint(tree)

    assert outcome.returncode != 0
    assert f"{contract} BROKEN" in outcome.stdout


def test_every_contract_is_broken_here_once() -> None:
    declared = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("name = ")]
    contracts = {line.removeprefix("name = ").strip('"') for line in declared} - {"gpu-bench"}

    assert contracts == set(BREAKS)
