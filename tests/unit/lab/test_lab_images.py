"""Which program plays which image."""

from pathlib import Path

import pytest

from bench.errors import WrongUsage
from bench.lab.images import Catalogue, PythonNeed, Reference


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [
        ("busybox", "docker.io/library/busybox", "latest"),
        ("ollama/ollama:0.9.6", "docker.io/ollama/ollama", "0.9.6"),
        ("quay.io/prometheus/prometheus:v3", "quay.io/prometheus/prometheus", "v3"),
        ("localhost:5000/a/b", "localhost:5000/a/b", "latest"),
        ("registry:5000/a:1", "registry:5000/a", "1"),
        ("alpine@sha256:00", "docker.io/library/alpine", ""),
    ],
)
def test_names_are_read_as_registries_do(name: str, repository: str, tag: str) -> None:
    reference = Reference.parse(name)

    assert (reference.repository, reference.tag) == (repository, tag)


@pytest.mark.parametrize(
    "name",
    [
        "busybox",
        "docker.io/library/busybox:1.36",
        "alpine:3",
        "ubuntu:24.04",
        "debian",
        "python:3.12-slim",
        "ollama/ollama:0.9.6",
        "traefik:v3.7",
        "prom/prometheus",
        "quay.io/prometheus/prometheus:v3.10.0",
        "registry.k8s.io/prometheus-adapter/prometheus-adapter:v0.12.0",
        "coredns/coredns:1.12",
        "nvcr.io/nvidia/k8s/dcgm-exporter:4.2.0-4.1.0-ubuntu22.04",
        "nvcr.io/nvidia/k8s/cuda-sample:nbody-cuda11.7.1-ubuntu18.04",
        "registry.k8s.io/pause:3.10",
        "gpu-bench",
    ],
)
def test_images_that_scenarios_use_are_in_the_catalogue(name: str) -> None:
    assert Catalogue.load().find(name) is not None


@pytest.mark.parametrize(
    "name", ["nginx", "registry.example/ollama/ollama", "nvcr.io/nvidia/k8s/cuda-sample:vectorAdd"]
)
def test_what_is_not_in_the_catalogue_does_not_exist(name: str) -> None:
    assert Catalogue.load().find(name) is None


def test_a_user_s_entry_comes_before_ours(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("images:\n- {images: ['docker.io/library/busybox:2*'], entrypoint: [mine], python: bench}\n")
    catalogue = Catalogue.load([str(own)])

    found, other = catalogue.find("busybox:2.0"), catalogue.find("busybox:1.0")

    assert found is not None
    assert (found.entrypoint, found.python) == (("mine",), PythonNeed.BENCH)
    assert other is not None
    assert other.entrypoint == ()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("images:\n- {images: [x], entripoint: [y]}\n", "entripoint"),
        ("images:\n- {command: [y]}\n", "no `images`"),
        ("images:\n- {images: [x], python: all}\n", "all"),
        ("- x\n", "no list `images`"),
        ("images: [", "cannot be read"),
    ],
)
def test_a_mistake_in_a_catalogue_is_named_with_its_place(tmp_path: Path, text: str, word: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text)

    with pytest.raises(WrongUsage, match=word) as caught:
        Catalogue.load([str(own)])
    assert str(own) in str(caught.value)


def test_the_digest_changes_with_the_entry() -> None:
    catalogue = Catalogue.load()
    busybox, python = catalogue.find("busybox"), catalogue.find("python")

    assert busybox is not None
    assert python is not None
    assert busybox.digest != python.digest
    assert busybox == catalogue.find("ubuntu")
