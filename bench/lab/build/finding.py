"""Which parts a lab is made of, by which key they lie in the cache, and where. Builds nothing, imports little."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from bench.errors import MissingTools, WrongUsage
from bench.lab.build.catalogue import PARTS, RECIPES, Part, part_of_program
from bench.lab.build.catalogue import part as part_named
from bench.lab.build.store import Store
from bench.lab.config import LabConfig
from bench.lab.paths import cache_dir

ALWAYS: Final = ("controlplane", "nvml", "cuda", "ollama", "model")
"""What every lab is made of: control plane, device libraries, and the inference server that manifests ask for."""
PARTS_OF_LAB_PART: Final[Mapping[str, tuple[str, ...]]] = {
    "dns": ("coredns",),
    "gateway": ("traefik", "gateway-crds"),
    "prometheus": ("prometheus",),
    "adapter": ("prometheus-adapter",),
    "exporter": ("nvml",),
}
_HERE: Final = Path(__file__).parent
_GPU: Final = _HERE.parent / "gpu"


def parts_for(config: LabConfig) -> tuple[str, ...]:
    """Names of the parts that a lab of this configuration is made of."""
    names = [*ALWAYS, *(name for lab_part in config.parts for name in PARTS_OF_LAB_PART.get(lab_part, ()))]
    return tuple(part.name for part in with_needs(names))


def find(program: str) -> Path:
    """The path of a program that was made before; never builds."""
    part = part_of_program(program)
    found = Store(cache_dir()).find(part.name, part_key(part))
    if found is None:
        raise MissingTools(f"{program} of the lab is not built: run `bench lab build {part.name}`.")
    return found[program]


def with_needs(names: Iterable[str]) -> tuple[Part, ...]:
    """These parts and all that they need, in the order in which they are made."""
    chosen: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name in chosen:
            continue
        try:
            needs = part_named(name).needs
        except KeyError as error:
            raise WrongUsage(f"bench lab build: {error.args[0]}") from error
        chosen.add(name)
        open_names += needs
    return tuple(part for part in PARTS if part.name in chosen)


def part_key(part: Part) -> str:
    """A hash of all that decides what is made: recipe, pinned libraries, own sources, and those of the parts needed."""
    total = hashlib.sha256()
    told: list[object] = []
    if part.go is not None:
        recipe = part.go
        told = [recipe.package, recipe.tags, sorted(recipe.variables.items()), recipe.cgo]
    total.update(json.dumps([part.name, part.version, part.programs, told]).encode())
    for file in _sources(part):
        total.update(f"\0{file.name}\0".encode())
        total.update(file.read_bytes())
    for need in part.needs:
        total.update(part_key(part_named(need)).encode())
    return total.hexdigest()


def _sources(part: Part) -> tuple[Path, ...]:
    """The files of ours that decide what comes out: a change of one makes the part again."""
    if part.go is not None:
        return tuple(sorted(file for file in (RECIPES / part.go.module).iterdir() if file.is_file()))
    if part.name in {"nvml", "cuda"}:
        # state.h is shared, and so is the way to compile
        folders = (_GPU / "nvml",) if part.name == "nvml" else (_GPU / "nvml", _GPU / "cuda")
        own = [file for folder in folders for file in folder.iterdir() if file.suffix in {".c", ".h", ".py", ".txt"}]
        return (_GPU / "compiling.py", *sorted(own))
    if part.name.startswith("model"):
        return (_HERE / "weights.py", _HERE / "makers.py")
    return ()
