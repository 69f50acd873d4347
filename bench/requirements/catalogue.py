"""
Reads the catalogue: one file a Kubernetes version, and one file with the meaning of each requirement.

A level belongs to a requirement *and* a version: requirements come, harden and go. The programme's own sentences are
not kept here; who writes a submission takes them from the programme's checklist of that version, unchanged.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

import yaml

from bench.errors import WrongUsage


class Level(StrEnum):
    """How much the programme demands it."""

    MUST = "MUST"
    SHOULD = "SHOULD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement of one Kubernetes version."""

    id: str
    category: str
    level: Level
    meaning: str
    is_conditional: bool
    upstream_test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The requirements of one Kubernetes version, in the order of its checklist."""

    release: str
    requirements: tuple[Requirement, ...]

    def find(self, requirement_id: str) -> Requirement | None:
        """The requirement of that id in this version; None where the version does not have it."""
        return next((each for each in self.requirements if each.id == requirement_id), None)


def _read(name: str) -> dict[str, Any]:
    text = resources.files("bench.requirements").joinpath(name).read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    if not isinstance(document, dict):
        raise TypeError(f"{name} of the requirement catalogue is not a mapping")
    return document


@cache
def releases() -> tuple[str, ...]:
    """The Kubernetes versions that the catalogue knows, oldest first."""
    names = [each.name for each in resources.files("bench.requirements").iterdir()]
    versions = [name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and name[0].isdigit()]
    return tuple(sorted(versions, key=lambda version: [int(part) for part in version.split(".")]))


@cache
def all_requirement_ids() -> frozenset[str]:
    """Every id that any version has or had."""
    return frozenset(_read("meanings.yaml"))


@cache
def load_catalogue(release: str) -> Catalogue:
    """
    The catalogue of one Kubernetes version, such as ``1.36``.

    Raises:
        WrongUsage: the catalogue does not know that version.

    """
    if release not in releases():
        raise WrongUsage(
            f"The requirement catalogue does not know Kubernetes {release}; it has {', '.join(releases())}."
        )
    meanings = _read("meanings.yaml")
    levels = _read(f"{release}.yaml")
    requirements = tuple(
        _requirement(requirement_id, category, level, meanings[requirement_id])
        for category, entries in levels.items()
        for requirement_id, level in entries.items()
    )
    return Catalogue(release=release, requirements=requirements)


def _requirement(requirement_id: str, category: str, level: str, entry: dict[str, Any]) -> Requirement:
    return Requirement(
        id=requirement_id,
        category=category,
        level=Level(level),
        meaning=" ".join(str(entry["meaning"]).split()),
        is_conditional=bool(entry.get("conditional", False)),
        upstream_test=str(entry.get("upstream_test", "")),
    )
