"""Which devices pods say they hold, asked of each as soon as it is Ready: one that is gone cannot be asked any more."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from bench.cluster.recorder import Followed
from bench.errors import BenchError, DeadlineExceeded
from bench.model.measurement import Measurement, Reading, Source
from bench.model.units import Unit
from bench.rig.watched import true_conditions

UUID: Final = re.compile(r"(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

LOOK_SECONDS: Final = 1.0
"""How long a close may go unseen while nothing changes."""
JOIN_SECONDS: Final = 35.0
"""The log that is being read may take its whole time-out."""

ReadLog = Callable[[Mapping[str, Any]], str]
"""What the container of a Pod has written so far."""


class Holders:
    """The devices of the pods of one collection, learnt in a thread until it is closed."""

    def __init__(self, followed: Followed, read_log: ReadLog) -> None:
        self._followed = followed
        self._read_log = read_log
        self._devices: dict[tuple[str, str], float] = {}
        self._asked: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._learn, name="holders", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """No pod is asked any more."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)

    def _learn(self) -> None:
        while not self._stop.is_set():
            try:
                present = self._followed.wait_until(self._has_strangers, within_seconds=LOOK_SECONDS)
            except DeadlineExceeded:
                continue
            except BenchError:
                return  # the watch has ended, and says so where the scenario asks it
            for pod in self._strangers(present):
                self._ask(pod)

    def readings(self) -> Iterator[Reading]:
        """One a pod and device, at the time when it was learnt."""
        for (pod, uuid), at in sorted(self._devices.copy().items()):
            yield Measurement(
                name="device_held_total",
                unit=Unit.TOTAL,
                values=[1.0],
                times_seconds=[at],
                source=Source.WORKLOAD,
                statement="what the pod says of its devices in its log",
                labels={"pod": pod, "uuid": uuid},
            )

    def _ask(self, pod: Mapping[str, Any]) -> None:
        name = pod["metadata"]["name"]
        self._asked.add(name)
        try:
            text = self._read_log(pod)
        except BenchError:
            return  # it went while it was asked; that no device of it is known shows in the readings
        self._devices |= {(name, uuid): time.time() for uuid in UUID.findall(text)}

    def _has_strangers(self, present: Mapping[str, Any]) -> bool:
        return bool(self._strangers(present))

    def _strangers(self, present: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        ready = [pod for pod in present.values() if "Ready" in true_conditions(pod)]
        return [pod for pod in ready if pod["metadata"]["name"] not in self._asked]
