"""Compiles libnvidia-ml.so.1: the answers in the C files, and NOT_SUPPORTED for every other symbol of NVML."""

import re
from pathlib import Path
from typing import Final

from bench.lab.gpu import compiling

SONAME: Final = "libnvidia-ml.so.1"
SOURCE_DIR: Final = Path(__file__).parent
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
    compiling.compile_library(output, sources(), include=[SOURCE_DIR], more=[("stubs.c", stub_source())])
