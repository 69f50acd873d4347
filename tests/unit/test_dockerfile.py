"""The Dockerfile against the tree that it is built from: nothing here builds an image."""

import shlex
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def instructions() -> list[list[str]]:
    """The Dockerfile's instructions as words, continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    return [shlex.split(line) for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def copied() -> list[str]:
    """What the image takes from the tree: the sources of every COPY that names no other stage."""
    copies = [words[1:-1] for words in instructions() if words[0] == "COPY"]
    return [source for sources in copies if not sources[0].startswith("--from") for source in sources]


def let_in() -> list[str]:
    """What .dockerignore, which begins by shutting everything out, lets into the build's context."""
    first, *lines = (ROOT / ".dockerignore").read_text().split()
    assert first == "*"
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_is_there_and_is_let_into_the_context(source: str) -> None:
    assert (ROOT / source).exists()
    assert source in let_in()


def test_every_package_that_is_installed_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]

    for package in packages:
        assert package.rstrip("*") in copied()


def test_every_file_that_the_build_reads_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert {"pyproject.toml", project["readme"], *project["license-files"]} <= set(copied())


def test_every_stage_that_is_named_is_built_before() -> None:
    known: set[str] = set()
    for words in instructions():
        if words[0] == "FROM" and "AS" in words:
            known.add(words[-1])
        named = [word.removeprefix("--from=") for word in words if word.startswith("--from=")]
        assert set(named) <= known


def test_the_command_of_the_image_is_one_that_the_package_brings() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entry = next(words for words in instructions() if words[0] == "ENTRYPOINT")

    assert entry[1:] == [f"[{next(iter(project['scripts']))}]"]
