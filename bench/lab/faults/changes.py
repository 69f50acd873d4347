"""
Changes of a lab's cluster or network that a fault makes, each of a kind that can be put back.

What was there before is written down, as plain data, before anything is changed: whoever clears need not be the process
that planted.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from bench.errors import LabFailed, MissingTools
from bench.lab import preflight
from bench.lab.api import JSON_PATCH, ApiClient, ApiError
from bench.lab.exec import entering
from bench.lab.paths import LabPaths

Undo = Mapping[str, Any]
_NFT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A running lab, as far as planting reaches."""

    api: ApiClient
    paths: LabPaths
    pid: int
    """Of its first process, on the host."""


class Change(Protocol):
    """One thing that is made different."""

    async def remember(self, lab: Lab) -> Undo:
        """What `put_back` will need."""
        ...

    async def make(self, lab: Lab) -> None:
        """Change it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One field of an object of the cluster gets another value."""

    path: str
    """Of the object in the API."""
    field: tuple[str, ...]
    """From the object's top; numbers are places in lists."""
    value: Any

    async def remember(self, lab: Lab) -> Undo:
        """The value that is there, if any."""
        found: Any = await lab.api.get(self.path)
        for key in self.field:
            found = found[int(key)] if isinstance(found, list) else found.get(key, _MISSING)
            if found is _MISSING:
                return {"kind": "edit", "path": self.path, "field": list(self.field)}
        return {"kind": "edit", "path": self.path, "field": list(self.field), "before": found}

    async def make(self, lab: Lab) -> None:
        await _patch(lab.api, self.path, {"op": "add", "path": _pointer(self.field), "value": self.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """An object that was not there."""

    collection: str
    body: Mapping[str, Any]

    async def remember(self, lab: Lab) -> Undo:  # noqa: ARG002 - nothing is there to be read
        return {"kind": "creation", "path": f"{self.collection}/{self.body['metadata']['name']}"}

    async def make(self, lab: Lab) -> None:
        await lab.api.create(self.collection, self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketRules:
    """A table of nftables in the lab's own network namespace; kube-proxy's stay as they are."""

    table: str
    content: str
    """What stands between the table's braces."""

    async def remember(self, lab: Lab) -> Undo:  # noqa: ARG002 - nothing is there to be read
        return {"kind": "packet-rules", "table": self.table}

    async def make(self, lab: Lab) -> None:
        _nft(lab, f"table inet {self.table} {{\n{self.content}\n}}\n")


async def put_back(lab: Lab, undo: Undo) -> None:
    """As it was before; what was removed meanwhile stays away."""
    match undo["kind"]:
        case "edit":
            pointer = _pointer(tuple(undo["field"]))
            if "before" in undo:
                operation = {"op": "add", "path": pointer, "value": undo["before"]}
            else:
                operation = {"op": "remove", "path": pointer}
            await _unless_gone(_patch(lab.api, undo["path"], operation))
        case "creation":
            await _unless_gone(lab.api.delete(undo["path"]))
        case "packet-rules":
            # Adding first makes removing succeed where there is none.
            _nft(lab, f"table inet {undo['table']} {{ }}\ndelete table inet {undo['table']}\n")


_MISSING: Final = object()


def _pointer(field: tuple[str, ...]) -> str:
    """As RFC 6901 writes it."""
    return "".join(f"/{key.replace('~', '~0').replace('/', '~1')}" for key in field)


async def _patch(api: ApiClient, path: str, operation: Mapping[str, Any]) -> None:
    await api.patch(path, [operation], content_type=JSON_PATCH)


async def _unless_gone(call: Any) -> None:
    try:
        await call
    except ApiError as error:
        # 422: the field that was added is gone already.
        if error.status not in {404, 422}:
            raise


def _nft(lab: Lab, rules: str) -> None:
    nft = preflight.find_tool("nft")
    if nft is None:
        raise MissingTools("nft is missing; it is part of the package nftables.")
    command = [*entering(lab.pid, "--net"), "--", nft, "-f", "-"]
    done = subprocess.run(command, input=rules, capture_output=True, text=True, timeout=_NFT_SECONDS, check=False)
    if done.returncode != 0:
        raise LabFailed(f"nft refused the rules of a fault: {done.stderr.strip()}")
