"""Runs the Go command for one recipe: what there is to do, and doing it while telling how far it is."""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from bench.errors import BuildFailed
from bench.lab.build.catalogue import RECIPES, GoRecipe, Part
from bench.lab.build.progress import PackageKey, PackageWork, Progress, Reporter, Tally
from bench.lab.build.toolchain import Toolchain

TICK_SECONDS: Final = 1.0
"""A large package or a link step takes a minute without a word from Go; the time left is told meanwhile."""
LAST_LINES: Final = 15
_INTERRUPT_SECONDS: Final = 10.0
COMPILER_FLAGS: Final = ("-trimpath", "-gcflags=all=-dwarf=false")
"""
The same for all parts, or they would share no compiled packages. Symbols for debuggers are left out where they are
made: the linker throws them away anyhow, and without them Go's build cache is a fifth smaller.
"""
_FIELDS: Final = "ImportPath,Dir,GoFiles,CgoFiles,CFiles,CXXFiles,SFiles,EmbedFiles,Module,Stale,StaleReason"
"""EmbedFiles is asked for but not read: without it Go leaves embedded files out and takes what has some for stale."""
_C_WEIGHT: Final = 6
"""A byte of C++ takes as long as this many bytes of Go (measured with ollama's ggml)."""


class GoRunner:
    """Go commands for the recipes, each in a copy of its module folder: an installed package may be read-only."""

    def __init__(self, toolchain: Toolchain, work: Path, logs: Path) -> None:
        self._toolchain = toolchain
        self._work = work
        self._logs = logs

    def list_packages(self, part: Part, report: Reporter) -> Mapping[PackageKey, PackageWork]:
        """Every package that the part's program is made of, and whether Go has it compiled. Fetches missing modules."""
        recipe = _recipe(part)
        fetched = 0

        def told(line: str) -> None:
            nonlocal fetched
            if line.startswith("go: downloading"):
                fetched += 1
                report.update(Progress(what=f"{part.name}: fetching modules ({fetched})"))

        report.update(Progress(what=f"{part.name}: looking"))
        arguments = ["list", "-deps", f"-json={_FIELDS}", *COMPILER_FLAGS, *_tags(recipe), recipe.package]
        listing = self._logs / f"{part.name}.packages.json"
        with listing.open("w", encoding="utf-8") as out:
            self._run(part, arguments, told, out)
        text = listing.read_text(encoding="utf-8")
        listing.unlink()
        return dict(_packages(text))

    def build(self, part: Part, target: Path, tally: Tally, report: Reporter) -> None:
        """Compile and link a part's program into the file `target`."""
        recipe = _recipe(part)
        variables = " ".join(f"-X {name}={value}" for name, value in recipe.variables.items())
        linker = f"-ldflags=-s -w {variables}".rstrip()

        def show() -> None:
            what = "compiling" if tally.done < tally.total else "linking"
            report.update(
                Progress(
                    what=f"{part.name}: {what}",
                    done=tally.done,
                    total=tally.total,
                    seconds_left=tally.seconds_left(),
                )
            )

        def told(line: str) -> None:
            if line:
                tally.package_compiled(part.name, line)
            show()

        tally.begin_part()
        show()
        self._run(
            part, ["build", "-v", *COMPILER_FLAGS, *_tags(recipe), linker, "-o", str(target), recipe.package], told
        )
        tally.end_part(part.name)
        show()

    def download(self, module: str) -> Path:
        """The folder of a module (`path@version`) in Go's module cache, fetched if it is not there."""
        result = subprocess.run(
            [self._toolchain.go, "mod", "download", "-json", module],
            env=self._toolchain.environment(cgo=False) | {"GOFLAGS": "-mod=mod"},
            cwd=self._work,
            capture_output=True,
            text=True,
            check=False,
        )
        told: dict[str, Any] = json.loads(result.stdout or "{}")
        if result.returncode != 0 or "Dir" not in told:
            raise BuildFailed(
                f"The Go module {module} could not be fetched: {told.get('Error') or result.stderr[-600:]}"
            )
        return Path(told["Dir"])

    def _run(self, part: Part, arguments: list[str], told: Callable[[str], None], out: IO[str] | None = None) -> None:
        recipe = _recipe(part)
        folder = self._copy_of_module(recipe)
        log_path = self._logs / f"{part.name}.log"
        last: deque[str] = deque(maxlen=LAST_LINES)
        with log_path.open("a", encoding="utf-8") as log:
            print(f"--- {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} go {' '.join(arguments)}", file=log)
            command = [str(self._toolchain.go), *arguments]
            with _process(command, folder, self._toolchain.environment(cgo=recipe.cgo), out) as process:
                for line in _lines(process):
                    if line:
                        last.append(line)
                        print(line, file=log)
                    told(line)
                code = process.wait()
        if code != 0:
            tail = "\n  ".join(line for line in last if not _names_a_package(line))
            raise BuildFailed(
                f"{part.name}: `go {arguments[0]}` ended with {code}:\n  {tail}\nThe whole log: {log_path}"
            )

    def _copy_of_module(self, recipe: GoRecipe) -> Path:
        folder = self._work / recipe.module
        folder.mkdir(parents=True, exist_ok=True)
        for file in (RECIPES / recipe.module).iterdir():
            shutil.copyfile(file, folder / file.name)
        return folder


def _recipe(part: Part) -> GoRecipe:
    assert part.go is not None, f"{part.name} is not a Go program"
    return part.go


def _tags(recipe: GoRecipe) -> list[str]:
    return [f"-tags={','.join(recipe.tags)}"] if recipe.tags else []


def _names_a_package(line: str) -> bool:
    return " " not in line and not line.startswith("#")


def _packages(listing: str) -> Iterator[tuple[PackageKey, PackageWork]]:
    decoder = json.JSONDecoder()
    at = 0
    while (at := _next_object(listing, at)) >= 0:
        raw, at = decoder.raw_decode(listing, at)
        yield (
            PackageKey(path=raw["ImportPath"], version=raw.get("Module", {}).get("Version", "")),
            PackageWork(source_bytes=_source_bytes(raw), cached=_is_cached(raw)),
        )


def _next_object(listing: str, at: int) -> int:
    return listing.find("{", at)


def _is_cached(raw: Mapping[str, Any]) -> bool:
    # For Go a program that is not installed is stale even when all of it is in the build cache; it says so in words.
    return not raw.get("Stale", False) or "available in build cache" in raw.get("StaleReason", "")


def _source_bytes(raw: Mapping[str, Any]) -> int:
    folder = Path(raw["Dir"]) if "Dir" in raw else None
    if folder is None:
        return 0
    go = [name for kind in ("GoFiles", "CgoFiles", "SFiles") for name in raw.get(kind, ())]
    c = [name for kind in ("CFiles", "CXXFiles") for name in raw.get(kind, ())]
    return sum(_size(folder / name) for name in go) + _C_WEIGHT * sum(_size(folder / name) for name in c)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def _process(
    command: list[str], folder: Path, environment: Mapping[str, str], out: IO[str] | None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A Go command in a process group of its own that ends with this block: an interrupt leaves no compiler behind."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out if out is not None else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_INTERRUPT_SECONDS)
            # Whatever ignored the interrupt, Go itself or a compiler of its.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _lines(process: "subprocess.Popen[bytes]") -> Iterator[str]:
    """Lines of standard error as they come, and an empty string every second without one; ends when it is closed."""
    assert process.stderr is not None
    descriptor = process.stderr.fileno()
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=TICK_SECONDS):
                yield ""
                continue
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole if line)
    if rest:
        yield rest.decode(errors="replace")
