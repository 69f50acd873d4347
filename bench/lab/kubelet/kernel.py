"""System calls that Python 3.11 does not offer: namespaces of a thread, and mounts."""

import ctypes
import os
from typing import Final

CLONE_NEWNET: Final = 0x40000000
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MNT_DETACH: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def own_network() -> int:
    """A descriptor of the network namespace of the calling thread."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter_network(descriptor: int) -> None:
    """Move the calling thread, and no other, into a network namespace; its children are born there."""
    _check(_libc.setns(descriptor, CLONE_NEWNET), "setns")


def leave_network() -> None:
    """Move the calling thread into a new, empty network namespace."""
    _check(_libc.unshare(CLONE_NEWNET), "unshare")


def mount_memory(path: str, size_bytes: int) -> None:
    """A tmpfs on an existing folder; 0 leaves the kernel's limit of half the memory."""
    options = f"mode=0777,size={size_bytes}" if size_bytes else "mode=0777"
    flags = MS_NOSUID | MS_NODEV
    _check(_libc.mount(b"tmpfs", path.encode(), b"tmpfs", flags, options.encode()), f"mount {path}")


def unmount(path: str) -> None:
    """Detach at once; who still has files open keeps them."""
    _check(_libc.umount2(path.encode(), MNT_DETACH), f"umount {path}")


def mounts_below(path: str) -> list[str]:
    """Mount points inside a folder, inner ones first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        points = [line.split()[4] for line in mounts]
    return [point for point in reversed(points) if point.startswith(f"{path}/")]
