"""What an image brings into a container: programs, Python, files. Prepared once an image, shared by its containers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import bench
from bench.lab.images import Image, PythonNeed, ShownFile
from bench.lab.kubelet.sandbox import Bind, Overlay
from bench.lab.paths import LabPaths
from bench.lab.programs import LAUNCHERS

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_PACKAGES: Final = ("bench", "workloads", "scenarios")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An image's pieces, as a sandbox takes them."""

    bin_folder: str
    path: str
    """The PATH that the image sets."""
    python_path: str
    """Where Python finds the bench if it is not installed but lies in a folder of sources; empty otherwise."""
    binds: tuple[Bind, ...]
    overlays: tuple[Overlay, ...]
    copies: tuple[ShownFile, ...]
    """Writable folders where the kernel offers no overlay: to be copied for each container."""


class ProgramMissing(Exception):  # told as a failed pull
    """The catalogue has the image, but its program was not built or is not there."""


class Shelf:
    """All images that were used so far."""

    def __init__(self, paths: LabPaths, bwrap: str) -> None:
        self._paths = paths
        self._folder = paths.root / "images"
        self._shown: dict[str, Shown] = {}
        self._has_overlay = _can_overlay(bwrap)

    def show(self, image: Image) -> Shown:
        """Raises ProgramMissing; a program that is built later is found then."""
        known = self._shown.get(image.digest)
        if known is None:
            known = self._shown[image.digest] = self._make(image)
        return known

    def _make(self, image: Image) -> Shown:
        places = {program.at: self._program(program.show) for program in image.programs}
        in_bin = [at.removeprefix("/bin/") for at in places if at.startswith("/bin/")]
        files = [(self._host_path(file), file) for file in image.files]
        writable = [(host, file) for host, file in files if file.writable]
        binds = [*_python_binds(image.python), *(Bind(source=real, target=at) for at, real in places.items())]
        binds += [Bind(source=host, target=file.container) for host, file in files if not file.writable]
        overlays = [Overlay(source=host, target=file.container) for host, file in writable] if self._has_overlay else []
        copies = (
            [] if self._has_overlay else [ShownFile(host=host, container=file.container) for host, file in writable]
        )
        return Shown(
            bin_folder=self._bin_folder(image.digest, in_bin) if in_bin else "",
            path=_program_path(image.python) + DEFAULT_PATH,
            python_path=str(_own_root() or "") if image.python is PythonNeed.BENCH else "",
            binds=tuple(binds),
            overlays=tuple(overlays),
            copies=tuple(copies),
        )

    def _program(self, name: str) -> str:
        path = self._paths.bin / name
        if not path.exists():
            raise ProgramMissing(f"the program {name} is not in {self._paths.bin}; `bench lab build` makes it")
        return os.path.realpath(path)

    def _host_path(self, file: ShownFile) -> str:
        path = file.host.replace("{bin}", str(self._paths.bin)).replace("{venv}", sys.prefix)
        path = path.replace("{launchers}", str(LAUNCHERS))
        if not os.path.exists(path):
            raise ProgramMissing(f"{path}, which the image shows as {file.container}, is not there")
        return os.path.realpath(path)

    def _bin_folder(self, digest: str, names: list[str]) -> str:
        """
        A /bin with the machine's programs and room for others.

        A mount needs something to be mounted on, and the machine's own folder may not be written.
        """
        folder = self._folder / digest.removeprefix("sha256:")[:12] / "bin"
        if not folder.exists():
            folder.mkdir(parents=True)
            own = [entry.name for entry in os.scandir("/usr/bin") if entry.name not in names]
            for name in own:
                (folder / name).symlink_to(f"/usr/bin/{name}")
            for name in names:
                (folder / name).touch()
        return str(folder)


def _program_path(need: PythonNeed) -> str:
    prefix = {PythonNeed.NONE: "", PythonNeed.INTERPRETER: sys.base_prefix, PythonNeed.BENCH: sys.prefix}[need]
    return f"{prefix}/bin:" if prefix else ""


def _own_root() -> Path | None:
    """The folder of sources that this process runs from; None where the bench is installed with all else."""
    root = Path(bench.__path__[0]).parent
    return None if root.is_relative_to(sys.prefix) else root


def _python_binds(need: PythonNeed) -> Iterator[Bind]:
    if need is PythonNeed.NONE:
        return
    if sys.base_prefix != "/usr":
        yield Bind(source=sys.base_prefix, target=sys.base_prefix)
    if need is PythonNeed.INTERPRETER:
        return
    if sys.prefix != sys.base_prefix:
        yield Bind(source=sys.prefix, target=sys.prefix)
    root = _own_root()
    if root is None:
        return
    for package in _OWN_PACKAGES:
        if (root / package).is_dir():
            yield Bind(source=os.path.realpath(root / package), target=str(root / package))


def _can_overlay(bwrap: str) -> bool:
    """Whether folders can be made writable without copying them; older kernels forbid it in user namespaces."""
    probe = [bwrap, "--ro-bind", "/", "/", "--overlay-src", "/usr", "--tmp-overlay", "/usr", "--", "/usr/bin/true"]
    return subprocess.run(probe, check=False, capture_output=True, timeout=10).returncode == 0


def copy(shown: ShownFile, folder: Path) -> Bind:
    """A container's own copy of a writable folder."""
    target = folder / shown.container.strip("/").replace("/", "-")
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(shown.host, target)
    return Bind(source=str(target), target=shown.container, writable=True)
