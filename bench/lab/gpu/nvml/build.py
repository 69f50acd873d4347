"""Compiles libnvidia-ml.so.1: the answers in the C files, and NOT_SUPPORTED for every other symbol of NVML."""

import logging
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from bench.errors import BuildFailed, MissingTools

logger = logging.getLogger(__name__)

SONAME: Final = "libnvidia-ml.so.1"
SOURCE_DIR: Final = Path(__file__).parent
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

_DEFINED: Final = re.compile(
    r"^(?:API \w[\w ]*?\**\s*\*?(?P<function>nvml\w+)\("
    r"|(?:[A-Z]+_)?GETTER\((?P<getter>nvml\w+),"
    r"|PROCESS_LIST\((?P<processes>nvml\w+)\)"
    r"|ALIAS\((?P<alias>nvml\w+),)",
    re.MULTILINE,
)


def sources() -> tuple[Path, ...]:
    """The C files, in a stable order; with the headers and the symbol list they are the recipe."""
    return tuple(sorted(SOURCE_DIR.glob("*.c")))


def known_symbols() -> tuple[str, ...]:
    """Every C symbol that the pynvml module may look up."""
    return tuple((SOURCE_DIR / "symbols.txt").read_text(encoding="utf-8").split())


def answered_symbols() -> frozenset[str]:
    """Those that the C files define."""
    found = (match for source in sources() for match in _DEFINED.finditer(source.read_text(encoding="utf-8")))
    return frozenset(name for match in found for name in match.groups() if name)


def stub_source() -> str:
    """
    A function for every symbol that no C file answers.

    They take no arguments: a caller's arguments are left where the calling convention put them.
    """
    rest = sorted(set(known_symbols()) - answered_symbols())
    functions = "\n".join(f"API nvmlReturn_t {name}(void)\n{{\n    return unsupported();\n}}\n" for name in rest)
    return f'#include "library.h"\n\n{functions}'


def build_nvml(output: Path) -> None:
    """Compile into `output`, which appears whole or not at all."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise MissingTools("No C compiler for the lab's NVML library; install one: `apt-get install gcc libc6-dev`.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        stubs = Path(scratch) / "stubs.c"
        stubs.write_text(stub_source(), encoding="utf-8")
        built = Path(scratch) / SONAME
        command = [compiler, *FLAGS, f"-Wl,-soname,{SONAME}", f"-I{SOURCE_DIR}", "-o", str(built), str(stubs)]
        result = subprocess.run(
            [*command, *map(str, sources())], capture_output=True, text=True, check=False, timeout=300
        )
        if result.returncode != 0:
            raise BuildFailed(f"The lab's NVML library did not compile:\n{result.stderr[-4000:]}")
        built.replace(output)
    logger.info("built %s", output)
