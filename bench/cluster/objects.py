"""Names of API objects, and the parts that everybody asks for. Objects themselves stay as the API spells them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

Object = dict[str, Any]
"""One API object: a dictionary as JSON gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """The name of one object: enough to find it, to tell it and to delete it."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """The name under which a manifest will be found."""
        metadata = manifest["metadata"]
        return cls(
            api_version=manifest["apiVersion"],
            kind=manifest["kind"],
            name=metadata["name"],
            namespace=metadata.get("namespace", ""),
        )

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {place}{self.name}"


def condition(manifest: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The status condition of this type, or None where the object has none."""
    conditions = manifest.get("status", {}).get("conditions") or ()
    return next((found for found in conditions if found.get("type") == kind), None)


def holds(manifest: Mapping[str, Any], kind: str) -> bool:
    """Whether the status condition of this type is there and True."""
    found = condition(manifest, kind)
    return found is not None and found.get("status") == "True"


def path_of(api_version: str, plural: str, namespace: str = "", name: str = "") -> str:
    """The path of a collection or of one object on the API server."""
    root = "/api/" if "/" not in api_version else "/apis/"
    parts = [root + api_version]
    if namespace:
        parts.append(f"namespaces/{namespace}")
    parts.append(plural)
    if name:
        parts.append(name)
    return "/".join(parts)
