"""The native engine, if it was built; what stands in for it is `bench.load.fallback`."""

import importlib
from types import ModuleType


def find_native() -> ModuleType | None:
    """The compiled module, or None where no Rust toolchain was there at installation."""
    try:
        return importlib.import_module("bench.load.engine._engine")
    except ImportError:
        return None
