"""Compiles the lab's device libraries with the machine's C compiler."""

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.errors import BuildFailed, MissingTools

logger = logging.getLogger(__name__)

FLAGS: Final = (
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-pthread",
)


def compile_library(
    output: Path, sources: Sequence[Path], *, include: Sequence[Path], more: Sequence[tuple[str, str]] = ()
) -> None:
    """
    Compile a shared library whose soname is the output's name; `output` appears whole or not at all.

    `more` are sources that are made and not kept: name and text.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise MissingTools(f"No C compiler for the lab's {output.name}; install one: `apt-get install gcc libc6-dev`.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        made = [Path(scratch) / name for name, _ in more]
        for file, (_, text) in zip(made, more, strict=True):
            file.write_text(text, encoding="utf-8")
        built = Path(scratch) / output.name
        command = [compiler, *FLAGS, f"-Wl,-soname,{output.name}", *(f"-I{each}" for each in include)]
        command += ["-o", str(built), *map(str, (*made, *sources))]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if result.returncode != 0:
            raise BuildFailed(f"The lab's {output.name} did not compile:\n{result.stderr[-4000:]}")
        built.replace(output)
    logger.info("built %s", output)
