"""
Builds the engine in place: ``python -m bench.load.engine.build``.

An installation with a Rust toolchain does it by itself.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.errors import BuildFailed, MissingTools

CRATE = Path(__file__).parent
MODULE = CRATE / "_engine.abi3.so"


def target_dir() -> Path:
    """Where cargo keeps what it built: outside the source tree."""
    told = os.environ.get("CARGO_TARGET_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(told) if told else cache / "gpu-bench" / "cargo"


def build(jobs: int | None = None) -> Path:
    """Compiles the crate and puts the module beside it."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise MissingTools("no cargo on the PATH; install a Rust toolchain (1.88 or newer), or use the Python engine")
    command = [
        cargo,
        "build",
        "--release",
        "--locked",
        "--features",
        "python",
        "--manifest-path",
        str(CRATE / "Cargo.toml"),
    ]
    if jobs is not None:
        command += ["-j", str(jobs)]
    done = subprocess.run(command, env=os.environ | {"CARGO_TARGET_DIR": str(target_dir())}, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"cargo exited {done.returncode} in {CRATE}; its messages stand above")
    # Written beside and moved over, so that a process that has the old one mapped keeps it whole.
    fresh = MODULE.with_suffix(".new")
    shutil.copyfile(target_dir() / "release" / "lib_engine.so", fresh)
    fresh.replace(MODULE)
    # What an installation built before would be found first.
    for old in CRATE.glob("_engine.*.so"):
        if old != MODULE:
            old.unlink()
    return MODULE


if __name__ == "__main__":
    sys.stdout.write(f"{build(int(sys.argv[1]) if len(sys.argv) > 1 else None)}\n")
