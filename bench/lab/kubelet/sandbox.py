"""
What a container sees: a root of its own, put together by bubblewrap from read-only pieces of this machine.

Pure: a `View` in, an argument list out. Nothing of the lab's state, keys or other pods is in any view.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

_CAPABILITIES: Final = frozenset(
    {
        "CAP_AUDIT_WRITE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    }
)
"""A container runtime's default set, less CAP_MKNOD: there is no device here that a pod could need to make."""

_NEVER: Final = frozenset(
    {"CAP_MKNOD", "CAP_SYS_BOOT", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_MAC_ADMIN", "CAP_BPF"}
)
"""Power over the machine itself; not even a privileged pod of a lab has it."""

_OWN_FOLDERS: Final = ("/etc", "/var", "/run", "/home", "/opt", "/mnt", "/srv", "/media")
_SCRATCH_FOLDERS: Final = ("/tmp", "/var/tmp")  # noqa: S108 - in the container's own root
_HOST_ETC: Final = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl", "pki", "ca-certificates")
_HOST_ETC_DATA: Final = ("localtime", "mime.types", "protocols", "services", "terminfo")
_NOT_OURS: Final = ("/usr", "/bin", "/lib", "/sbin", "/proc", "/sys", "/dev", "/root", "/tmp", "/var/run")  # noqa: S108
_HIDDEN_PROC: Final = ("/proc/kcore", "/proc/keys", "/proc/sysrq-trigger", "/proc/timer_list")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or folder of this machine at a place in the container."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """A folder of this machine that the container may change without changing it."""

    source: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What of a Pod's security contexts is honoured."""

    uid: int = 0
    gid: int = 0
    privileged: bool = False
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    read_only_root: bool = False

    def capabilities(self) -> frozenset[str] | None:
        """The container's set; None keeps all that the agent has, but for those nobody gets."""
        if self.privileged or "CAP_ALL" in self.add:
            return None
        kept = frozenset() if "CAP_ALL" in self.drop else _CAPABILITIES - set(self.drop)
        return (kept | set(self.add)) - _NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that decides what one container sees."""

    hostname: str
    command: tuple[str, ...]
    working_directory: str = "/"
    bin_folder: str = ""
    """Shown as /bin; empty: the machine's."""
    binds: tuple[Bind, ...] = ()
    """Of the image: before those of the pod."""
    overlays: tuple[Overlay, ...] = ()
    volumes: tuple[Bind, ...] = ()
    device_nodes: tuple[str, ...] = ()
    etc: Mapping[str, str] = field(default_factory=dict)
    """File name in /etc → file of this machine."""
    security: Security = Security()


def arguments(view: View, bwrap: str, *, status_fd: int, block_fd: int) -> list[str]:
    """
    The command line that starts the container.

    `status_fd` receives the container's process id and exit code; nothing of the container's program runs before a
    byte arrives at `block_fd`.
    """
    words = [bwrap, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--as-pid-1"]
    words += ["--die-with-parent", "--hostname", view.hostname]
    words += ["--json-status-fd", str(status_fd), "--block-fd", str(block_fd)]
    words += _identity(view.security)
    for piece in (_system(view), _etc(view), _proc(), _dev(view), _image(view), _volumes(view)):
        words += piece
    words += ["--dir", view.working_directory, "--chdir", view.working_directory]
    if view.security.read_only_root:
        words += ["--remount-ro", "/"]
    return [*words, "--", *view.command]


def _identity(security: Security) -> Iterator[str]:
    if security.uid or security.gid:
        # A user namespace with one user: who is root outside is this user inside, and owns its files.
        yield from ("--unshare-user", "--uid", str(security.uid), "--gid", str(security.gid))
    kept = security.capabilities()
    if kept is None:
        for capability in sorted(_NEVER):
            yield from ("--cap-drop", capability)
        return
    yield from ("--cap-drop", "ALL")
    for capability in sorted(kept) if not security.uid else ():
        yield from ("--cap-add", capability)


def _system(view: View) -> Iterator[str]:
    """Programs and libraries of this machine. /usr/local is the container's own: images put programs there."""
    for name in sorted(os.listdir("/usr")):
        if name != "local":
            yield from _as_on_host(f"/usr/{name}")
    if view.bin_folder:
        yield from ("--ro-bind", view.bin_folder, "/bin")
    else:
        yield from _as_on_host("/bin")
    for name in ("/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if os.path.lexists(name):
            yield from _as_on_host(name)
    for folder in _OWN_FOLDERS:
        yield from ("--dir", folder)
    yield from ("--perms", "0700", "--dir", "/root", "--symlink", "../run", "/var/run")
    for folder in _SCRATCH_FOLDERS:
        yield from ("--perms", "1777", "--dir", folder)


def _as_on_host(path: str) -> tuple[str, str, str]:
    if os.path.islink(path):
        return ("--symlink", os.readlink(path), path)
    return ("--ro-bind", path, path)


def _etc(view: View) -> Iterator[str]:
    for name in (*_HOST_ETC, *_HOST_ETC_DATA):
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    for name, source in view.etc.items():
        yield from ("--bind", source, f"/etc/{name}")


def _proc() -> Iterator[str]:
    yield from ("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys")
    for path in _HIDDEN_PROC:
        if os.path.exists(path):
            yield from ("--ro-bind", "/dev/null", path)
    # Runtimes of languages count processors here; nothing else of the machine's devices is shown.
    yield from ("--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu")


def _dev(view: View) -> Iterator[str]:
    yield from ("--dev", "/dev")
    for path in view.device_nodes:
        yield from ("--dev-bind", "/dev/null", path)


def _image(view: View) -> Iterator[str]:
    for bind in view.binds:
        yield from _parents(bind.target)
        yield from ("--ro-bind", bind.source, bind.target)
    for overlay in view.overlays:
        yield from _parents(overlay.target)
        yield from ("--overlay-src", overlay.source, "--tmp-overlay", overlay.target)


def _volumes(view: View) -> Iterator[str]:
    for bind in in_mount_order(view.volumes):
        yield from _parents(bind.target)
        yield from ("--bind" if bind.writable else "--ro-bind", bind.source, bind.target)


def _parents(target: str) -> Iterator[str]:
    """Folders that bubblewrap would make for root alone."""
    above = [str(parent) for parent in reversed(PurePosixPath(target).parents)]
    for folder in above[1:]:
        if not folder.startswith(_NOT_OURS):
            yield from ("--perms", "0755", "--dir", folder)


def in_mount_order(binds: Sequence[Bind]) -> list[Bind]:
    """Outer folders first, so that a mount does not hide one inside it."""
    return sorted(binds, key=lambda bind: bind.target.rstrip("/").count("/"))


def capability(name: str) -> str:
    """As the kernel spells it, from what a Pod says: ``SYS_ADMIN`` or ``CAP_SYS_ADMIN`` or ``all``."""
    upper = name.upper()
    return upper if upper.startswith("CAP_") else f"CAP_{upper}"
