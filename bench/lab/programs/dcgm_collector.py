"""The cache between the devices and the scrapes: read each interval, served until the next."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pynvml

from bench.lab.programs.dcgm_counters import Counter, CounterType
from bench.lab.programs.dcgm_fields import (
    NUMBERS,
    TEXTS,
    Entity,
    Value,
    find_entities,
    find_number,
    sample_profiling,
)

if TYPE_CHECKING:
    from bench.lab.faults.state import Planted

logger = logging.getLogger(__name__)

FIRST_INTERVAL_SECONDS: Final = 0.25
"""Between the first two profiling samples, so that the first answer has the ratios too."""
STOP_SECONDS: Final = 10.0
"""For the reading that is under way; one takes milliseconds."""
KEPT_READINGS: Final = 600
"""Ten minutes at an interval of a second, for a lab that wants old ones shown."""
_NO_DEVICES: Final = "The exporter found no device by NVML ({}); it needs NVIDIA_VISIBLE_DEVICES=all and SYS_ADMIN."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that was read of one entity at one time."""

    labels: Mapping[str, str]
    """Of the device itself, in the order of the exposition."""
    uuid: str
    """By which pods hold it: of a MIG instance its own."""
    index: int
    values: Mapping[str, Value] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


class Collector:
    """Reads every device each interval in a thread of its own."""

    def __init__(self, counters: Sequence[Counter], *, interval_seconds: float, entities: Sequence[Entity]) -> None:
        self._numbers = [counter.field for counter in counters if counter.type is not CounterType.LABEL]
        self._texts = [counter.field for counter in counters if counter.type is CounterType.LABEL]
        self._interval_seconds = interval_seconds
        self._entities = entities
        self._events = _register_xids(entities)
        self._stopped = threading.Event()
        self._history: deque[tuple[float, tuple[Reading, ...]]] = deque(maxlen=KEPT_READINGS)
        self.on_refresh: Callable[[float, float], None] = _nobody_listens
        """Called after each reading of all devices, with the times at which it began and ended, UTC."""
        self.faults: Callable[[], Mapping[str, Planted]] = dict
        """Asked each interval for what the lab wants done wrong."""
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        """Return with the first reading taken."""
        for entity in self._entities:
            sample_profiling(entity)
        self._stopped.wait(FIRST_INTERVAL_SECONDS)
        self.collect()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def latest(self, seconds_ago: float = 0.0) -> tuple[Reading, ...]:
        """As of the last interval: up to that long ago. What was the latest some time ago, as far as it is kept."""
        until = time.monotonic() - seconds_ago
        for at, readings in reversed(self._history):
            if at <= until:
                return readings
        return self._history[0][1] if self._history else ()

    def collect(self) -> None:
        self._note_xids()
        began = time.time()
        readings = []
        for entity in self._entities:
            sample_profiling(entity)
            readings.append(self._read(entity))
        ended = time.time()
        self._history.append((time.monotonic(), tuple(readings)))
        self.on_refresh(began, ended)

    def _run(self) -> None:
        # the next reading is due an interval after this one began, so the phase drifts by nothing but wake-ups
        due = time.monotonic() + self._interval_seconds
        passed = 0
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + self._interval_seconds
            passed += 1
            if passed >= self._intervals_to_wait():
                passed = 0
                self.collect()

    def _intervals_to_wait(self) -> float:
        """One; more where the lab wants it slower than it is configured to be."""
        slow = self.faults().get("exporter-slow")
        return slow.number("factor") if slow else 1.0

    def _read(self, entity: Entity) -> Reading:
        found = ((name, find_number(name, entity)) for name in self._numbers)
        return Reading(
            labels=entity_labels(entity),
            uuid=entity.instance_uuid or entity.uuid,
            index=entity.index,
            values={name: value for name, value in found if value is not None},
            texts={name: TEXTS[name](entity) for name in self._texts},
        )

    def _note_xids(self) -> None:
        """Whatever happened since the last reading; a field keeps the last XID for ever, as DCGM's does."""
        for _ in range(len(self._entities) * 8):
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError:
                return
            uuid = pynvml.nvmlDeviceGetUUID(event.device)
            for entity in self._entities:
                if entity.uuid == uuid:
                    entity.last_xid = int(event.eventData)


def _nobody_listens(_began_utc_seconds: float, _ended_utc_seconds: float) -> None:
    """Where nobody wants to know of refreshes."""


def entity_labels(entity: Entity) -> dict[str, str]:
    """Which device it is, in the exporter's spelling."""
    labels = {
        "gpu": str(entity.index),
        "UUID": entity.uuid,
        "pci_bus_id": entity.pci_bus_id,
        "device": entity.device,
        "modelName": entity.model,
    }
    if entity.instance is not None:
        labels |= {"GPU_I_PROFILE": entity.profile, "GPU_I_ID": str(entity.instance_id)}
    return labels


def open_entities(choice: str) -> tuple[Entity, ...]:
    """
    Of the option ``-d``: ``f`` all, ``g`` devices, ``i`` MIG instances, each with ``:0,1`` for some of them.

    Starts NVML; without a device the exporter has nothing to serve and ends.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise SystemExit(_NO_DEVICES.format(error)) from error
    kind, _, some = choice.partition(":")
    chosen = {int(number) for number in some.split(",") if number}
    found = find_entities(with_devices=kind in {"f", "g"}, with_instances=kind in {"f", "i"})
    return tuple(entity for entity in found if not chosen or entity.index in chosen)


def unknown_fields(counters: Sequence[Counter]) -> tuple[str, ...]:
    """Rows that this exporter cannot serve."""
    known = {CounterType.LABEL: TEXTS.keys()}
    return tuple(counter.field for counter in counters if counter.field not in known.get(counter.type, NUMBERS.keys()))


def _register_xids(entities: Sequence[Entity]) -> Any:
    events = pynvml.nvmlEventSetCreate()
    for entity in entities:
        try:
            pynvml.nvmlDeviceRegisterEvents(entity.handle, pynvml.nvmlEventTypeXidCriticalError, events)
        except pynvml.NVMLError as error:
            logger.warning("XIDs of %s cannot be watched: %s", entity.uuid, error)
    return events
