"""One build at a time for a user: the second one waits, and shows how far the first one is."""

import contextlib
import dataclasses
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.lab.build.progress import Progress, Reporter

LOOK_SECONDS: Final = 1.0
"""How often the one who waits looks at what the other one wrote."""


class _Sharing:
    """A reporter that also writes what it is told into a file, for whoever waits."""

    def __init__(self, inner: Reporter, file: Path) -> None:
        self._inner = inner
        self._file = file
        self._written_at = 0.0

    def update(self, progress: Progress) -> None:
        self._inner.update(progress)
        now = time.monotonic()
        if now - self._written_at >= LOOK_SECONDS:
            self._written_at = now
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(dataclasses.asdict(progress)), encoding="utf-8")
            new.rename(self._file)

    def say(self, line: str) -> None:
        self._inner.say(line)


@contextmanager
def build_lock(root: Path, report: Reporter) -> Iterator[Reporter]:
    """Hold the right to build below `root`; yields the reporter to use meanwhile."""
    root.mkdir(parents=True, exist_ok=True)
    progress_file = root / "build.progress.json"
    with (root / "build.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            report.say(f"another build is at work (process {lock.read().strip() or 'unknown'}); waiting for it")
            _wait_for(lock.fileno(), progress_file, report)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield _Sharing(report, progress_file)
        finally:
            # The lock itself goes with the file descriptor, also when this process is killed.
            progress_file.unlink(missing_ok=True)


def _wait_for(lock: int, progress_file: Path, report: Reporter) -> None:
    # flock has no time limit of its own, so it blocks in a thread while this one shows how far the other build is.
    waiter = threading.Thread(target=fcntl.flock, args=(lock, fcntl.LOCK_EX), daemon=True)
    waiter.start()
    while waiter.is_alive():
        waiter.join(LOOK_SECONDS)
        # The other build may end, or replace the file, between any two steps.
        with contextlib.suppress(OSError, ValueError, TypeError):
            progress = Progress(**json.loads(progress_file.read_text(encoding="utf-8")))
            report.update(dataclasses.replace(progress, what=f"(another build) {progress.what}"))
