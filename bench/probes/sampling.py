"""
Watches devices for a while: the signals that move, ten times a second, each stamped when it was read.

Durations come from the monotonic clock; the UTC of the first sample places them in the world, so that a clock that is
set in between bends nothing.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import pynvml

from bench.model import units
from bench.model.measurement import Absent, Measurement, Reading, Source
from bench.model.units import Unit
from bench.probes.nvml import Answer, Handle, ask

PERIOD_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A signal: its name in base units, the call, and how its answer becomes a number."""

    name: str
    unit: Unit
    statement: str
    function: Callable[[Handle], object]


def _percent_of(attribute: str) -> Callable[[Handle], float]:
    return lambda handle: units.percent(getattr(pynvml.nvmlDeviceGetUtilizationRates(handle), attribute))


QUANTITIES = (
    Quantity(
        name="gpu_busy_time_ratio",
        unit=Unit.RATIO,
        statement="nvmlDeviceGetUtilizationRates().gpu",
        function=_percent_of("gpu"),
    ),
    Quantity(
        name="gpu_memory_busy_time_ratio",
        unit=Unit.RATIO,
        statement="nvmlDeviceGetUtilizationRates().memory",
        function=_percent_of("memory"),
    ),
    Quantity(
        name="gpu_memory_used_bytes",
        unit=Unit.BYTES,
        statement="nvmlDeviceGetMemoryInfo(v2).used",
        function=lambda handle: pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2).used,
    ),
    Quantity(
        name="gpu_power_watts",
        unit=Unit.WATTS,
        statement="nvmlDeviceGetPowerUsage()",
        function=lambda handle: units.milliwatts(pynvml.nvmlDeviceGetPowerUsage(handle)),
    ),
    Quantity(
        name="gpu_energy_joules",
        unit=Unit.JOULES,
        statement="nvmlDeviceGetTotalEnergyConsumption()",
        function=lambda handle: units.millijoules(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)),
    ),
    Quantity(
        name="gpu_temperature_celsius",
        unit=Unit.CELSIUS,
        statement="nvmlDeviceGetTemperature(gpu)",
        function=lambda handle: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
    ),
    Quantity(
        name="gpu_sm_clock_hertz",
        unit=Unit.HERTZ,
        statement="nvmlDeviceGetClockInfo(sm)",
        function=lambda handle: units.megahertz(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
    ),
    Quantity(
        name="gpu_link_generation_total",
        unit=Unit.TOTAL,
        statement="nvmlDeviceGetCurrPcieLinkGeneration()",
        function=pynvml.nvmlDeviceGetCurrPcieLinkGeneration,
    ),
    Quantity(
        name="gpu_link_width_total",
        unit=Unit.TOTAL,
        statement="nvmlDeviceGetCurrPcieLinkWidth()",
        function=pynvml.nvmlDeviceGetCurrPcieLinkWidth,
    ),
    Quantity(
        name="gpu_link_replays_total",
        unit=Unit.TOTAL,
        statement="nvmlDeviceGetPcieReplayCounter()",
        function=pynvml.nvmlDeviceGetPcieReplayCounter,
    ),
)


@dataclass(slots=True)
class _Track:
    quantity: Quantity
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    refusal: Answer | None = None

    def look(self, handle: Handle, now: float) -> None:
        """One sample; a quantity that was refused once is not asked for again."""
        if self.refusal:
            return
        answer = ask(self.quantity.statement, partial(self.quantity.function, handle))
        if answer.is_there and isinstance(answer.value, int | float):
            self.times.append(now)
            self.values.append(float(answer.value))
        elif not self.values:
            self.refusal = answer

    def reading(self, uuid: str) -> Reading:
        quantity = self.quantity
        if not self.values:
            reason = self.refusal.reason if self.refusal else "it was not looked at"
            return Absent(
                name=quantity.name,
                source=Source.NVML,
                statement=quantity.statement,
                reason=reason,
                labels={"uuid": uuid},
            )
        return Measurement(
            name=quantity.name,
            unit=quantity.unit,
            values=self.values,
            times_seconds=self.times,
            source=Source.NVML,
            statement=quantity.statement,
            labels={"uuid": uuid},
        )


def watch(devices: Sequence[tuple[str, Handle]], is_over: Callable[[float], bool]) -> Iterator[Reading]:
    """
    Sample the devices, given as uuid and handle, until `is_over`, which waits as long as it is told.

    A late round is not made up for: the next one comes a full period after it was due, and the stamps tell.
    """
    tracks = {uuid: [_Track(quantity) for quantity in QUANTITIES] for uuid, _ in devices}
    utc_offset = time.time() - time.monotonic()
    due = time.monotonic()
    while True:
        for uuid, handle in devices:
            for track in tracks[uuid]:
                track.look(handle, time.monotonic() + utc_offset)
        due = max(due + PERIOD_SECONDS, time.monotonic())
        if is_over(due - time.monotonic()):
            break
    for uuid, _ in devices:
        for track in tracks[uuid]:
            yield track.reading(uuid)
