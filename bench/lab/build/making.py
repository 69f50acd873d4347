"""Gives the programs of the lab: from the cache, from this machine, or built now."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.errors import NoSpace
from bench.lab.build import makers
from bench.lab.build.assets import find_assets
from bench.lab.build.catalogue import PARTS, Part
from bench.lab.build.compile import GoRunner
from bench.lab.build.finding import part_key, parts_for, with_needs
from bench.lab.build.lock import build_lock
from bench.lab.build.progress import PackageKey, PackageWork, Progress, Quiet, Reporter, Tally, reporter_for
from bench.lab.build.store import Store
from bench.lab.build.toolchain import Toolchain, find_toolchain, require_c_compiler
from bench.lab.config import LabConfig
from bench.lab.paths import cache_dir

SPARE_BYTES: Final = 1 << 30
"""Left free on the disk beyond what a build takes."""

Packages = Mapping[PackageKey, PackageWork]


def ensure(parts: Iterable[str], report: Reporter | None = None) -> Mapping[str, Path]:
    """
    Paths of all programs of these parts (and of the parts they need), by program name; builds what is missing.

    Returns at once when all of it is in the cache. Safe to call from several processes: one builds, the others wait.
    """
    wanted = with_needs(parts)
    return _Making(Store(cache_dir()), report or Quiet()).get(wanted)


def ensure_for(config: LabConfig, report: Reporter | None = None) -> Mapping[str, Path]:
    """Like `ensure`, for all that a lab of this configuration runs."""
    return ensure(parts_for(config), report)


def build(names: Sequence[str] = (), *, thorough: bool = False) -> Mapping[str, Path]:
    """
    The whole of `bench lab build [PART…]`: progress on standard error, result as program name → path.

    Without names: every part that is not made on request only. `thorough` reads every cached file again and compares
    its SHA-256.
    Raises only errors of `bench.errors`; an interrupted build goes on where it was at the next call.
    """
    wanted = with_needs(names or [part.name for part in PARTS if not part.optional])
    with reporter_for() as report:
        return _Making(Store(cache_dir()), report, thorough=thorough).get(wanted)


class _Making:
    """One call of `ensure`."""

    def __init__(self, store: Store, report: Reporter, *, thorough: bool = False) -> None:
        self._store = store
        self._report = report
        self._thorough = thorough
        self._programs: dict[str, Path] = {}
        self._toolchain: Toolchain | None = None

    def get(self, wanted: Sequence[Part]) -> Mapping[str, Path]:
        missing = self._take_cached(wanted)
        if missing:
            with build_lock(cache_dir(), self._report) as report:
                self._report = report
                missing = self._take_assets(self._take_cached(missing))
                self._make(missing)
        return self._programs

    def _take_cached(self, parts: Sequence[Part]) -> list[Part]:
        missing = []
        for part in parts:
            found = self._store.find(part.name, part_key(part), thorough=self._thorough)
            if found is None:
                missing.append(part)
            else:
                self._programs |= found
        return missing

    def _take_assets(self, parts: Sequence[Part]) -> list[Part]:
        missing = []
        for part in parts:
            found = {"traefik": makers.find_traefik()} if part.name == "traefik" else find_assets(part, self._report)
            if found is None:
                missing.append(part)
            else:
                self._store.note_elsewhere(part.name, part_key(part), found)
                self._programs |= found
        return missing

    def _make(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if part.name in {"nvml", "cuda"} or (part.go is not None and part.go.cgo):
                # Asked before anything is compiled: nobody shall wait a quarter of an hour to learn it.
                require_c_compiler(part.name)
        self._make_go_programs([part for part in parts if part.go is not None])
        for part in parts:
            if part.go is None:
                self._report.update(Progress(what=f"{part.name}: making"))
                materials = makers.Materials(
                    programs=self._programs, download_module=lambda m: self._runner().download(m)
                )
                with self._store.place(part.name, part_key(part)) as place:
                    made = makers.make(part, place, materials)
                    self._programs |= self._store.commit(place, part.name, part_key(part), made)

    def _make_go_programs(self, parts: Sequence[Part]) -> None:
        if not parts:
            return
        runner = self._runner()
        packages = {part.name: runner.list_packages(part, self._report) for part in parts}
        self._check_space(parts, packages)
        tally = Tally(packages)
        self._report.say(
            f"building {', '.join(part.name for part in parts)}: "
            f"{tally.done} of {tally.total} packages are compiled already"
        )
        for part in parts:
            with self._store.place(part.name, part_key(part)) as place:
                first, *others = part.programs
                runner.build(part, place / first, tally, self._report)
                for other in others:
                    (place / other).symlink_to(first)
                made = {program: program for program in part.programs}
                self._programs |= self._store.commit(place, part.name, part_key(part), made)

    def _runner(self) -> GoRunner:
        cache = cache_dir()
        if self._toolchain is None:
            self._toolchain = find_toolchain(cache, self._report)
        work, logs = cache / "work", cache / "logs"
        work.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        return GoRunner(self._toolchain, work, logs)

    def _check_space(self, parts: Sequence[Part], packages: Mapping[str, Packages]) -> None:
        assert self._toolchain is not None
        needed_bytes = sum(bytes_to_come(part, packages[part.name]) for part in parts)
        require_space(self._toolchain.folders()["GOCACHE"], needed_bytes, [part.name for part in parts])


def require_space(gocache: Path, needed_bytes: int, names: Sequence[str]) -> None:
    """Raises `NoSpace` unless the disk of Go's build cache has room for a build."""
    folder = _existing(gocache)
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + SPARE_BYTES:
        raise NoSpace(
            f"Building {', '.join(names)} takes {needed_bytes / 1e9:.1f} GB "
            f"(mostly Go's build cache) and {folder} has {free_bytes / 1e9:.1f} GB free; "
            f"{SPARE_BYTES / 1e9:.1f} GB shall remain. Free some, or set GOCACHE to a folder on another disk; "
            "what was compiled before is kept."
        )


def bytes_to_come(part: Part, packages: Packages) -> int:
    """What building a part adds to the disk: its measured cost, by the share of source that is not compiled yet."""
    total = sum(work.source_bytes for work in packages.values())
    missing = sum(work.source_bytes for work in packages.values() if not work.cached)
    return round(part.cost.disk_bytes * missing / total) if total else 0


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
