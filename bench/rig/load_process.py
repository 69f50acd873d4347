"""Runs `bench load` as a process of its own, and reads back what every request met."""

import contextlib
import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bench import interruption
from bench.model.measurement import Reading
from bench.rig.load_files import LoadFiles, LoadPlan

STOP_SECONDS: Final = 100.0
"""The generator drains open requests before it ends."""
INTERRUPTED_STOP_SECONDS: Final = 10.0
"""The same, for a user who wants the end."""


class LoadProcess:
    """A load under way. `finish` waits for its end, `stop` brings the end about; both keep what was measured."""

    def __init__(self, plan: LoadPlan, folder: Path) -> None:
        self._files = LoadFiles(plan, folder)
        self._now = folder / "now.json"
        command = [sys.executable, "-m", "bench.cli", "load", plan.url, "--steps", plan.steps, "--quiet"]
        command += ["--json", str(self._files.summary), "--records", str(self._files.records), "--now", str(self._now)]
        command += ["--leash", *plan.arguments]
        self._is_asked_to_stop = False
        # Its leash is a pipe of which this process has the other end: it ends with it, however that ends. A session of
        # its own, for Ctrl-C at a terminal is this process' to hear, which then stops the load in its turn.
        with self._files.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    def finish(self, *, within_seconds: float) -> None:
        """Wait for the end of the schedule."""
        if not self._ends(within_seconds):
            self.stop()

    def stop(self) -> None:
        """End it as Ctrl-C does: it drains and still reports."""
        if self._process.poll() is None:
            if not self._is_asked_to_stop:  # a second signal would cut its report off
                self._is_asked_to_stop = True
                self._process.send_signal(signal.SIGINT)
            if not self._ends(INTERRUPTED_STOP_SECONDS if interruption.is_asked() else STOP_SECONDS):
                self._process.kill()
                self._process.wait()
        self._let_go()

    def _ends(self, within_seconds: float) -> bool:
        for seconds in interruption.slices(within_seconds):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
                self._let_go()
                return True
        return False

    def _let_go(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def now(self) -> Mapping[str, float]:
        """What the generator says of itself at this moment, by the names of `Glance`; nothing once it is over."""
        if self._process.poll() is not None:
            return {}
        try:
            told: Mapping[str, float] = json.loads(self._now.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not yet begun
            return {}
        return told

    @property
    def started_utc_seconds(self) -> float:
        """When its schedule began; known when it is over."""
        return self._files.started_utc_seconds

    def readings(
        self, labels: Mapping[str, str], *, since_seconds: float = 0.0, until_seconds: float = math.inf
    ) -> Iterator[Reading]:
        """Of the requests that were due in this part of the schedule."""
        yield from self._files.readings(labels, since_seconds=since_seconds, until_seconds=until_seconds)
