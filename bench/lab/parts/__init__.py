"""
The lab's own services as ordinary workloads: one module a part, found by its name.

A part is a module of this package with::

    version: str                                            of the program
    ready: tuple[Ready, ...]                                what must be true before the part counts as up
    def manifests(config: LabConfig) -> list[Manifest]: ...  its objects, in an order in which they can be applied

Nothing is registered anywhere: a new file is a new part.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Protocol, cast

from bench.errors import WrongUsage
from bench.lab.config import LabConfig
from bench.lab.parts.objects import Manifest, Ready

__all__ = ["LabPart", "Manifest", "Ready", "available", "load", "manifests_of", "ready_of"]


class LabPart(Protocol):
    """What a module of this package offers."""

    version: str
    ready: tuple[Ready, ...]

    def manifests(self, config: LabConfig) -> list[Manifest]: ...


def available() -> tuple[str, ...]:
    """Names of all parts."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "objects"))


def load(name: str) -> LabPart:
    """The part of this name; raises `WrongUsage` that names those that exist."""
    if name not in available():
        raise WrongUsage(f"The lab has no part {name!r}; it has {', '.join(available())}.")
    return cast("LabPart", importlib.import_module(f"{__name__}.{name}"))


def ready_of(name: str, config: LabConfig) -> tuple[Ready, ...]:
    """What must be true before a part counts as up in a lab of this configuration; without devices, no DaemonSet."""
    return tuple(ready for ready in load(name).ready if config.gpus_per_node or ready.kind != "DaemonSet")


def manifests_of(config: LabConfig) -> list[Manifest]:
    """
    The objects of all parts of a lab, in the order in which to apply them: namespaces, then definitions, then the rest.

    Objects of a kind that one of these definitions brings come last: the API server serves it a moment later, and
    answers 404 until then.
    """
    return in_order(manifest for name in config.parts for manifest in load(name).manifests(config))


def in_order(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Sorted for applying, otherwise as given; a Namespace that two parts share occurs once."""
    kept: dict[tuple[str, str, str], Manifest] = {}
    for manifest in manifests:
        metadata = manifest["metadata"]
        kept.setdefault((manifest["kind"], metadata.get("namespace", ""), metadata["name"]), manifest)
    defined = {m["spec"]["group"] for m in kept.values() if m["kind"] == "CustomResourceDefinition"}

    def rank(manifest: Manifest) -> int:
        first = {"Namespace": 0, "CustomResourceDefinition": 1}
        is_custom = manifest["apiVersion"].split("/")[0] in defined
        return first.get(manifest["kind"], 3 if is_custom else 2)

    return sorted(kept.values(), key=rank)
