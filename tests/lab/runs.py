"""`bench run pod-autoscaling` as a process of its own, for tests that act while it goes on."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.lab.asking import wait_until
from tests.lab.running import ROOT, command

SHORT: Mapping[str, object] = {
    "model": "lab-llama",
    "max_replicas": 2,
    "load_over_capacity": 1.4,
    "prompt_tokens": 8,
    "output_tokens": 8,
    "drain_seconds": 1,
    "idle_seconds": 1,
    "calibration_seconds": 3,
    "collect_interval_seconds": 1,
    "stabilization_seconds": 2,
    "repeats": 1,
    "up_seconds": 8,
    "down_seconds": 4,
}
PHASE_SECONDS = 90.0
END_SECONDS = 120.0


class Run:
    """`bench run pod-autoscaling`, in a session of its own as a terminal gives it, under way."""

    def __init__(self, folder: Path, *words: str, scenario: str = "pod-autoscaling", **parameters: object) -> None:
        self.results = folder / "results"
        self._said = folder / "said.txt"
        given = {**SHORT, **parameters}
        settings = [word for key, value in given.items() for word in ("--set", f"pod-autoscaling.{key}={value}")]
        called = command("run", scenario, "--json", "--results", str(self.results), *words, *settings)
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                called, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self._said.read_text(encoding="utf-8")

    @property
    def folder(self) -> Path:
        (folder,) = self.results.iterdir()
        return folder

    def wait_until(self, holds: Callable[[], Any]) -> None:
        def is_so() -> bool:
            assert self._process.poll() is None, f"it ended before: {self.said}"
            return bool(holds())

        wait_until(is_so, within_seconds=PHASE_SECONDS)

    def wait_for_phase(self, phase: str) -> None:
        self.wait_until(lambda: f"pod-autoscaling: {phase}" in self.said)

    def interrupt(self) -> None:
        """As Ctrl-C at its terminal does: every process of the foreground group hears it."""
        os.killpg(self._process.pid, signal.SIGINT)

    def end(self) -> "Ended":
        out, _ = self._process.communicate(timeout=END_SECONDS)
        return Ended(code=self._process.returncode, out=out, said=self.said)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class Ended:
    """What a run that is over has said."""

    def __init__(self, *, code: int, out: str, said: str) -> None:
        self.code, self.out, self.said = code, out, said

    @property
    def document(self) -> dict[str, Any]:
        """The one object on standard output."""
        told: dict[str, Any] = json.loads(self.out)
        return told

    @property
    def scenario(self) -> dict[str, Any]:
        (told,) = self.document["scenarios"]
        return dict(told)

    @property
    def sentence(self) -> str:
        """The one line that says what was wrong."""
        (line,) = [line for line in self.said.splitlines() if line.startswith("bench: ")]
        assert "Traceback" not in self.said
        return line
