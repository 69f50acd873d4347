"""
Looks for what a lab needs of this machine, before anything of it starts.

Everything that is missing is told at once, with the one command that brings it.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.errors import CannotRun, MissingTools, NoSpace, WrongUsage
from bench.lab.box import interfaces, namespaces
from bench.lab.config import LabConfig
from bench.lab.paths import state_root

SYSTEM_FOLDERS: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Looked at beside PATH: an unprivileged user's lacks the folders in which distributions put ``nft``."""
_LEAST_FREE_BYTES: Final = 1 << 30
_RULES: Final = """
table ip lab_trial {
  set addresses { type ipv4_addr; }
  map ports { type ipv4_addr . inet_proto . inet_service : verdict; }
  chain endpoint { meta l4proto tcp dnat to 198.18.0.2:80; }
  chain service { numgen random mod 2 vmap { 0 : goto endpoint, 1 : goto endpoint }; }
  chain output { type nat hook output priority -100; ip daddr . meta l4proto . th dport vmap @ports; }
  chain after { type nat hook postrouting priority 100; masquerade; }
  chain filter { type filter hook output priority 0; ct state new reject; }
}
"""
"""What kube-proxy's rules are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What this machine does not let us do."""

    fact: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that must be installed, and the package that brings it."""

    name: str
    purpose: str
    package: str


TOOLS: Final = (
    Tool(name="nft", purpose="kube-proxy writes the rules of Services with it", package="nftables"),
    Tool(name="nsenter", purpose="pods are started in their namespaces with it", package="util-linux"),
)
_INSTALLERS: Final = {
    "apt-get": "apt-get install -y",
    "dnf": "dnf install -y",
    "zypper": "zypper install -y",
    "pacman": "pacman -S --noconfirm",
    "apk": "apk add",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A setting of the kernel that may forbid namespaces to users, and what allows them."""

    file: Path
    forbids: Callable[[int], bool]
    cure: str


_SWITCHES: Final = (
    Switch(
        file=Path("/proc/sys/kernel/unprivileged_userns_clone"),
        forbids=lambda value: value == 0,
        cure="sysctl kernel.unprivileged_userns_clone=1",
    ),
    Switch(
        file=Path("/proc/sys/user/max_user_namespaces"),
        forbids=lambda value: value == 0,
        cure="sysctl user.max_user_namespaces=15000",
    ),
    Switch(
        file=Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        forbids=lambda value: value == 1,
        cure="sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def check() -> None:
    """Raises `MissingTools`, `NoSpace` or `CannotRun`; returns when a lab can start here."""
    if sys.platform != "linux":
        raise CannotRun(f"the lab needs Linux namespaces; this is {platform.system()}. Run it in a Linux machine.")
    _check_space(state_root())
    _check_place(state_root())
    missing = [tool for tool in TOOLS if find_tool(tool.name) is None]
    refusal = try_namespaces(with_rules=not missing)
    if missing or refusal:
        raise MissingTools(explain(missing, refusal, install=_installer()))


def explain(missing: Sequence[Tool], refusal: Problem | None, *, install: str) -> str:
    """One message for all of it, with one command where there is one."""
    told = [f"{tool.name} is missing ({tool.purpose})" for tool in missing]
    cures = [f"{install} {' '.join(sorted({tool.package for tool in missing}))}"] if missing else []
    if refusal is not None:
        told.append(refusal.fact)
        cures.append(refusal.cure)
    return f"a lab cannot start here: {'; '.join(told)}. What helps: {' && '.join(cures)}"


def check_config(config: LabConfig) -> None:
    """Raises `WrongUsage` for a product, profile, field, part or image catalogue that does not exist."""
    from bench.lab import parts  # noqa: PLC0415  (only `up` wants all of these)
    from bench.lab.gpu import profiles  # noqa: PLC0415
    from bench.lab.images import Catalogue  # noqa: PLC0415
    from bench.lab.programs.dcgm_fields import NUMBERS  # noqa: PLC0415

    for name in config.parts:
        parts.load(name)
    product = profiles.get_product(config.product)
    if config.mig_profile:
        profiles.get_mig_profile(product, config.mig_profile)
    unknown = [name for name in config.exporter_fields if name not in NUMBERS]
    if unknown:
        raise WrongUsage(f"The exporter cannot show {', '.join(unknown)}; it knows {', '.join(sorted(NUMBERS))}.")
    Catalogue.load(config.image_catalogues)


def find_tool(name: str) -> str | None:
    """Its path, also where an unprivileged user's PATH does not look."""
    return shutil.which(name, path=search_path())


def search_path() -> str:
    """PATH of all that the lab starts."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join([*filter(None, folders), *(each for each in SYSTEM_FOLDERS if each not in folders)])


def try_namespaces(*, with_rules: bool = True) -> Problem | None:
    """Do once what the lab does first, in a process that ends at once: namespaces, a bridge, rules."""
    reading, writing = os.pipe()
    trial = os.fork()
    if trial == 0:
        os.close(reading)
        _attempt(writing, with_rules=with_rules)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as answer:
        told = answer.read()
    os.waitpid(trial, 0)
    if not told:
        return None
    step, _, reason = told.partition(": ")
    return Problem(fact=f"{_STEPS[step]} ({reason.strip()})", cure=_cure(step))


_STEPS: Final = {
    "user": "this user may not make user namespaces",
    "namespaces": "PID, mount and network namespaces cannot be made",
    "interfaces": "a bridge cannot be made in a network namespace",
    "rules": "the kernel refuses the nftables rules that Services are made of",
}


def _cure(step: str) -> str:
    forbidding = [switch.cure for switch in _SWITCHES if _is_set(switch)]
    if step in {"user", "namespaces"} and forbidding:
        return " && ".join(forbidding)
    if step in {"user", "namespaces"}:
        # Root without capabilities may do less than anybody else: no namespace maps it without CAP_SETFCAP.
        otherwise = "run it as an ordinary user, or " if os.geteuid() == 0 else ""
        return (
            f"{otherwise}start the container that this is with --privileged, or without seccomp and AppArmor profiles"
        )
    modules = (
        "bridge" if step == "interfaces" else "nf_tables nf_conntrack nft_chain_nat nft_numgen nft_reject_ipv4 nft_masq"
    )
    return f"modprobe -a {modules}"


def _is_set(switch: Switch) -> bool:
    try:
        return switch.forbids(int(switch.file.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return False


def _attempt(answer: int, *, with_rules: bool) -> None:
    """In a process of its own, which it ends."""
    step = "user"
    try:
        if namespaces.needs_user_namespace():
            namespaces.enter_user_namespace()
        step = "namespaces"
        namespaces.unshare(namespaces.Clone.PID)
        first = os.fork()
        if first:
            _, status = os.waitpid(first, 0)
            os._exit(os.waitstatus_to_exitcode(status))
        namespaces.enter_lab_namespaces()
        step = "interfaces"
        interfaces.set_up()
        step = "rules"
        if with_rules:
            _load_rules()
    except OSError as error:
        os.write(answer, f"{step}: {error.strerror or error}".encode())
    finally:
        os._exit(0)


def _load_rules() -> None:
    nft = find_tool("nft") or "nft"
    done = subprocess.run(
        [nft, "-f", "-"], input=_RULES, capture_output=True, text=True, check=False, timeout=10, encoding="utf-8"
    )
    if done.returncode:
        raise OSError(done.returncode, done.stderr.strip().partition("\n")[0])


def _installer() -> str:
    """How packages come onto this machine."""
    prefix = "" if os.geteuid() == 0 else "sudo "
    found = (command for name, command in _INSTALLERS.items() if shutil.which(name, path=search_path()))
    return next((prefix + command for command in found), "install the packages")


def _check_space(folder: Path) -> None:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free_bytes = shutil.disk_usage(there).free
    if free_bytes < _LEAST_FREE_BYTES:
        raise NoSpace(
            f"{there}: {free_bytes >> 20} MiB are free, a lab needs {_LEAST_FREE_BYTES >> 20} MiB. "
            "Make room, or set XDG_STATE_HOME to a folder on another disk."
        )


def _check_place(folder: Path) -> None:
    if folder.resolve().is_relative_to("/run") or folder.resolve().is_relative_to("/proc"):
        raise WrongUsage(f"{folder}: a lab has a /run of its own, its state must lie elsewhere. Set XDG_STATE_HOME.")
