"""
Linux namespaces, by the system calls that Python 3.11 does not offer.

Only the standard library, and little of it: the keeper and PID 1 begin here.
"""

import ctypes
import os
from enum import IntFlag
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)

_CAP_NET_ADMIN: Final = 12
_CAP_SYS_ADMIN: Final = 21


class Clone(IntFlag):
    """Kinds of namespaces, by their flags of unshare(2)."""

    MOUNT = 0x00020000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


class Mount(IntFlag):
    """Flags of mount(2)."""

    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    RECURSIVE = 16384
    PRIVATE = 1 << 18


def unshare(kinds: Clone) -> None:
    """Leave the namespaces of these kinds for new ones (PID: the children do)."""
    if _libc.unshare(ctypes.c_int(kinds)) != 0:
        raise _last_error(f"unshare {kinds.name}")


def mount(source: str, target: str, kind: str, flags: Mount, options: str = "") -> None:
    """Mount a file system, or change how the mounts at `target` spread."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    if _libc.mount(*arguments) != 0:
        raise _last_error(f"mount {kind} on {target}")


def needs_user_namespace() -> bool:
    """Whether this process lacks what the other namespaces ask for; being root in a container is not enough."""
    with open("/proc/self/status", encoding="ascii") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return not (effective >> _CAP_SYS_ADMIN & 1 and effective >> _CAP_NET_ADMIN & 1)


def enter_user_namespace() -> None:
    """Become root of a new user namespace; outside of it, this process stays who it is."""
    user, group = os.geteuid(), os.getegid()
    unshare(Clone.USER)
    # A group map may be written without rights only by who gives up setgroups(2).
    for name, content in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)


def enter_lab_namespaces() -> None:
    """To be called by the first process of a new PID namespace: own mounts, own /proc and /run, own network."""
    unshare(Clone.MOUNT | Clone.NET | Clone.IPC)
    mount("none", "/", "none", Mount.RECURSIVE | Mount.PRIVATE)
    safe = Mount.NOSUID | Mount.NODEV | Mount.NOEXEC
    mount("proc", "/proc", "proc", safe)
    mount("tmpfs", "/run", "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=755")


def _last_error(doing: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{doing}: {os.strerror(number)}")
