"""
The image catalogue: image names mapped to programs of this machine.

Nothing is downloaded: a container of a lab runs a program that is here already, and `images.yaml` says which. A name
that stands in no catalogue does not exist, exactly as for a registry that lacks it.
"""

import fnmatch
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import yaml

from bench.errors import WrongUsage

_OWN: Final = Path(__file__).with_name("images.yaml")
_KEYS: Final = frozenset(
    {"images", "entrypoint", "command", "environment", "working_directory", "user", "programs", "python", "files"}
)


class PythonNeed(StrEnum):
    """How much of this machine's Python a container sees."""

    NONE = ""
    INTERPRETER = "interpreter"
    BENCH = "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownProgram:
    """A program of the lab, and where the container finds it."""

    show: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFile:
    """A file or folder of the host; a writable one is the container's own copy."""

    host: str
    container: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One entry of a catalogue, in the words of an image's configuration."""

    images: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    user: int = 0
    programs: tuple[ShownProgram, ...] = ()
    python: PythonNeed = PythonNeed.NONE
    files: tuple[ShownFile, ...] = ()

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any], place: str) -> Self:
        """An entry of a YAML file; `place` tells where, should it be wrong."""
        unknown = sorted(set(raw) - _KEYS)
        if unknown or not raw.get("images"):
            fault = f"unknown keys {', '.join(unknown)}" if unknown else "no `images`"
            raise WrongUsage(f"{place}: {fault}. An entry has these keys: {', '.join(sorted(_KEYS))}.")
        try:
            return cls(
                images=tuple(str(each) for each in raw["images"]),
                entrypoint=tuple(str(each) for each in raw.get("entrypoint", ())),
                command=tuple(str(each) for each in raw.get("command", ())),
                environment={str(key): str(value) for key, value in raw.get("environment", {}).items()},
                working_directory=str(raw.get("working_directory", "/")),
                user=int(raw.get("user", 0)),
                programs=tuple(ShownProgram(**each) for each in raw.get("programs", ())),
                python=PythonNeed(raw.get("python", "")),
                files=tuple(ShownFile(**each) for each in raw.get("files", ())),
            )
        except (TypeError, ValueError) as error:
            raise WrongUsage(f"{place}: {error}. Compare with the entries of {_OWN}.") from error

    @property
    def digest(self) -> str:
        """Stands in for a content digest: changes when the entry changes."""
        text = json.dumps(asdict(self), sort_keys=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image name as registries understand it: ``busybox`` is ``docker.io/library/busybox:latest``."""

    repository: str
    tag: str
    digest: str = ""

    @classmethod
    def parse(cls, name: str) -> Self:
        rest, _, digest = name.partition("@")
        first, slash, _ = rest.partition("/")
        has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
        last_colon = rest.rfind(":")
        tag = ""
        if last_colon > rest.rfind("/"):
            rest, tag = rest[:last_colon], rest[last_colon + 1 :]
        if not has_registry:
            rest = f"docker.io/{rest}" if slash else f"docker.io/library/{rest}"
        return cls(repository=rest, tag=tag or ("" if digest else "latest"), digest=digest)

    @property
    def is_latest(self) -> bool:
        """Kubernetes pulls always by default where the tag is `latest`."""
        return self.tag == "latest"

    def matches(self, pattern: str) -> bool:
        """Whether a catalogue's pattern, with or without a tag, means this image."""
        repository, _, tag = pattern.partition(":")
        return fnmatch.fnmatchcase(self.repository, repository) and (not tag or fnmatch.fnmatchcase(self.tag, tag))


class Catalogue:
    """All entries, in the order in which they are asked."""

    def __init__(self, entries: Sequence[Image]) -> None:
        self._entries = tuple(entries)

    @classmethod
    def load(cls, additions: Sequence[str] = ()) -> Self:
        """The user's files, in their order, then the lab's own."""
        entries: list[Image] = []
        for path in (*map(Path, additions), _OWN):
            entries += _read(path)
        return cls(entries)

    def find(self, name: str) -> Image | None:
        """The entry that plays this image."""
        reference = Reference.parse(name)
        for entry in self._entries:
            if any(reference.matches(pattern) for pattern in entry.images):
                return entry
        return None


def _read(path: Path) -> list[Image]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise WrongUsage(f"The image catalogue {path} cannot be read: {error}") from error
    entries = raw.get("images") if isinstance(raw, dict) else None
    if not isinstance(entries, list):
        raise WrongUsage(f"The image catalogue {path} has no list `images`. Compare with {_OWN}.")
    return [Image.from_raw(entry, f"{path}, entry {number}") for number, entry in enumerate(entries, 1)]
