"""Runs `bench load` as a process of its own, and reads back what every request met."""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bench.model.measurement import Reading
from bench.rig.load_files import LoadFiles, LoadPlan

STOP_SECONDS: Final = 100.0
"""The generator drains open requests before it ends."""


class LoadProcess:
    """A load under way. `finish` waits for its end, `stop` brings the end about; both keep what was measured."""

    def __init__(self, plan: LoadPlan, folder: Path) -> None:
        self._files = LoadFiles(plan, folder)
        self._now = folder / "now.json"
        command = [sys.executable, "-m", "bench.cli", "load", plan.url, "--steps", plan.steps, "--quiet"]
        command += ["--json", str(self._files.summary), "--records", str(self._files.records), "--now", str(self._now)]
        command += plan.arguments
        with self._files.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def finish(self, *, within_seconds: float) -> None:
        """Wait for the end of the schedule."""
        try:
            self._process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            self.stop()

    def stop(self) -> None:
        """End it as Ctrl-C does: it drains and still reports."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

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
