"""
What a lab leaves that no kernel removes: control groups and the state folder.

Called by the keeper, by a PID 1 that lost its keeper, and by the next verb that meets a lab whose processes are gone.
"""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

from bench.lab import cgroups
from bench.lab.paths import state_root

_KEPT_FAILURES: Final = 10


def kept_logs(name: str) -> Path:
    """Where the logs of the last lab of this name lie if it failed."""
    return state_root().parent / "failed" / name


def remove(root: Path, *, keep_logs: bool) -> None:
    """Remove all of it; the logs of a lab that failed move to `kept_logs`, in place of those of the failure before."""
    cgroups.remove_tree(root.name)
    kept = root.parent.parent / "failed" / root.name
    if keep_logs and (root / "logs").is_dir():
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Into a folder that someone opened meanwhile it does not move; the failure is told without logs then.
        with contextlib.suppress(OSError):
            os.rename(root / "logs", kept)
        _forget_old(kept.parent)
    shutil.rmtree(root, onerror=_make_removable)


def _forget_old(folder: Path) -> None:
    """Labs of many names fail in tests; the disk shall not fill with what nobody reads any more."""
    kept = sorted((entry for entry in folder.iterdir() if entry.is_dir()), key=lambda entry: entry.stat().st_mtime)
    for entry in kept[:-_KEPT_FAILURES]:
        shutil.rmtree(entry, ignore_errors=True)


def empty(root: Path) -> None:
    """The same for a folder that is about to be used again: it stays, since it is locked."""
    cgroups.remove_tree(root.name)
    for entry in root.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, onerror=_make_removable)
        else:
            entry.unlink()


def _make_removable(remove_one: object, path: str, _: object) -> None:
    """A program may leave folders without write permission (module caches do); the owner may still remove them."""
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif callable(remove_one):
        with contextlib.suppress(OSError):
            remove_one(path)
