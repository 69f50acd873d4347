"""
How a device behaves: a pure function from what it was and what its holders did to what it is.

Every figure follows from one cause, the CPU time that the holders' processes used. Where hardware has a ratio of
its own (tensor cores, memory bandwidth), the lab derives it from utilisation by a fixed factor that is written below:
such a figure shows that a value is carried from the device to its reader, never what a workload really does.
Kernels on a part of the multiprocessors lower these derived figures alone; power follows utilisation, as if they were
on all. Clocks fall when the device is hot or at its power limit, but its holders are not slowed: their quota is the
capacity.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bench.lab.gpu.profiles import Product

WINDOW_SECONDS: Final = 1.0
"""Utilisation is the mean over this long: the upper end of the 1/6 s to 1 s that nvml.h states."""
POWER_LAG_SECONDS: Final = 0.7
"""Time constant of power behind utilisation: regulators and clocks follow within a second or two."""
THERMAL_LAG_SECONDS: Final = 20.0
"""Time constant of temperature behind power: a heat sink settles within a minute or two."""
ENERGY_UPDATE_SECONDS: Final = 0.1
"""How often the visible energy counter moves, as measured on hardware by ML.ENERGY."""
MEMORY_SCALE: Final = 16
"""Device memory for one resident byte of a holder: a model made for the lab is that much smaller than a real one."""

SM_ACTIVE_FACTOR: Final = 0.9
SM_OCCUPANCY_FACTOR: Final = 0.5
TENSOR_FACTOR: Final = 0.4
DRAM_FACTOR: Final = 0.35
FP32_FACTOR: Final = 0.3
FP16_FACTOR: Final = 0.1
MEMORY_COPY_FACTOR: Final = 0.6
"""Share of the busy time in which memory is read or written (`utilization.memory`)."""
PCIE_RECEIVED_BYTES_PER_SECOND: Final = 1.0e9
"""At full utilisation; what is sent is a quarter of it."""
PCIE_SENT_BYTES_PER_SECOND: Final = 0.25e9

REASON_IDLE: Final = 0x1
REASON_POWER_CAP: Final = 0x4
REASON_HARDWARE_SLOWDOWN: Final = 0x8
REASON_SOFTWARE_THERMAL: Final = 0x20
REASON_HARDWARE_THERMAL: Final = 0x40

AT_LIMIT_RATIO: Final = 0.99
"""Power above this share of the limit is held down by the limit."""
POWER_CAP_CLOCK_RATIO: Final = 0.9
THERMAL_CLOCK_RATIO_PER_DEGREE: Final = 0.04
LEAST_CLOCK_RATIO: Final = 0.3

Window = tuple[tuple[float, float], ...]
"""Pairs of duration and CPU seconds used in it, oldest first, together at most WINDOW_SECONDS long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the holders of a whole device, or of one MIG instance, did since the last step."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    multiprocessor_ratio: float = 1.0
    """On how many of its multiprocessors kernels were, while there were any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """What is counted for a whole device and for each MIG instance alike."""

    window: Window = ()
    utilization_ratio: float = 0.0
    memory_used_bytes: int = 0
    active_seconds: float = 0.0
    """Integral of utilisation over time: the graphics engine is busy while any kernel runs."""
    sm_active_seconds: float = 0.0
    """The same times the share of multiprocessors at work; all other profiling ratios follow from it by factors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """One device at one moment."""

    elapsed_seconds: float = 0.0
    part: PartState = field(default_factory=PartState)
    instances: Mapping[str, PartState] = field(default_factory=dict)
    power_watts: float = 0.0
    average_power_watts: float = 0.0
    temperature_celsius: float = 0.0
    memory_temperature_celsius: float = 0.0
    sm_clock_megahertz: int = 0
    memory_clock_megahertz: int = 0
    performance_state: int = 0
    event_reasons: int = 0
    energy_joules: float = 0.0
    visible_energy_joules: float = 0.0
    since_energy_update_seconds: float = 0.0
    power_violation_seconds: float = 0.0
    thermal_violation_seconds: float = 0.0
    pcie_sent_bytes: float = 0.0
    pcie_received_bytes: float = 0.0


def initial_state(product: Product, instances: Mapping[str, float]) -> DeviceState:
    """A device that has idled for long; `instances` names its MIG instances with their cores."""
    idle = product.power.idle_watts
    state = DeviceState(
        instances={uuid: PartState() for uuid in instances},
        power_watts=idle,
        average_power_watts=idle,
        temperature_celsius=settled_celsius(product, idle),
        memory_temperature_celsius=settled_celsius(product, idle),
    )
    return with_clocks(state, product)


def settled_celsius(product: Product, power_watts: float) -> float:
    """The temperature that a device comes to at this power."""
    return product.thermal.ambient_celsius + product.thermal.rise_celsius * power_watts / product.power.limit_watts


def slide(window: Window, seconds: float, cpu_seconds: float) -> Window:
    """The window moved on by one step; its oldest part is cut so that it is never longer than WINDOW_SECONDS."""
    kept: list[tuple[float, float]] = []
    room = WINDOW_SECONDS
    for length, used in ((seconds, cpu_seconds), *reversed(window)):
        if room <= 0:
            break
        share = min(1.0, room / length)
        kept.append((length * share, used * share))
        room -= length
    return tuple(reversed(kept))


def used_ratio(window: Window, cores: float) -> float:
    """Of the cores' time in a full window, at most 1: before a second has passed, the rest of it was idle."""
    return min(1.0, sum(used for _, used in window) / (cores * WINDOW_SECONDS))


def step_part(state: PartState, use: Use, seconds: float, cores: float) -> PartState:
    """One device or MIG instance, `seconds` later; its memory is not yet clamped to what it has."""
    window = slide(state.window, seconds, use.cpu_seconds) if use.cpu_seconds or state.window else ()
    if not any(used for _, used in window):
        window = ()
    busy_seconds = min(seconds, use.cpu_seconds / cores)
    return PartState(
        window=window,
        utilization_ratio=used_ratio(window, cores),
        memory_used_bytes=use.memory_bytes * MEMORY_SCALE,
        active_seconds=state.active_seconds + busy_seconds,
        sm_active_seconds=state.sm_active_seconds + busy_seconds * use.multiprocessor_ratio,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What 100 % is: cores of the device and of each of its MIG instances, and the instances' memory."""

    cores: float
    instance_cores: Mapping[str, float] = field(default_factory=dict)
    instance_memory_bytes: Mapping[str, int] = field(default_factory=dict)


def step(
    state: DeviceState, product: Product, capacity: Capacity, uses: Mapping[str, Use], seconds: float
) -> DeviceState:
    """
    The device `seconds` later; `uses` by the uuid of the MIG instance, or by "" for the whole device.

    Exact for a utilisation that is constant over the step, whatever its length.
    """
    instances = {
        uuid: _clamped(
            step_part(part, uses.get(uuid, Use()), seconds, capacity.instance_cores[uuid]),
            capacity.instance_memory_bytes[uuid],
        )
        for uuid, part in state.instances.items()
    }
    part = _clamped(
        step_part(state.part, together(uses.values()), seconds, capacity.cores),
        product.memory_bytes - product.memory_reserved_bytes,
    )
    moved = replace(state, elapsed_seconds=state.elapsed_seconds + seconds, part=part, instances=instances)
    return _with_traffic(with_clocks(_with_power(moved, product, seconds), product), seconds)


def together(uses: Collection[Use]) -> Use:
    """Of a device whose parts were used so; its multiprocessors by the work that was done on each part."""
    cpu_seconds = sum(use.cpu_seconds for use in uses)
    on_multiprocessors = sum(use.cpu_seconds * use.multiprocessor_ratio for use in uses)
    return Use(
        cpu_seconds=cpu_seconds,
        memory_bytes=sum(use.memory_bytes for use in uses),
        multiprocessor_ratio=on_multiprocessors / cpu_seconds if cpu_seconds else 1.0,
    )


def _clamped(part: PartState, memory_bytes: int) -> PartState:
    return part if part.memory_used_bytes <= memory_bytes else replace(part, memory_used_bytes=memory_bytes)


def _with_power(state: DeviceState, product: Product, seconds: float) -> DeviceState:
    power = product.power
    wanted = power.idle_watts + state.part.utilization_ratio * (power.limit_watts - power.idle_watts)
    gone = 1.0 - math.exp(-seconds / POWER_LAG_SECONDS)
    # the integral of a first-order approach, so that energy is exact however long the step
    joules = wanted * seconds + (state.power_watts - wanted) * POWER_LAG_SECONDS * gone
    watts = state.power_watts + (wanted - state.power_watts) * gone
    share = min(1.0, seconds / WINDOW_SECONDS)
    average = state.average_power_watts + (joules / seconds - state.average_power_watts) * share
    heated = 1.0 - math.exp(-seconds / THERMAL_LAG_SECONDS)
    celsius = state.temperature_celsius + (settled_celsius(product, watts) - state.temperature_celsius) * heated
    energy = state.energy_joules + joules
    since = state.since_energy_update_seconds + seconds
    due = since >= ENERGY_UPDATE_SECONDS * 0.9  # a sampler's jitter does not halve the rate of the counter
    return replace(
        state,
        power_watts=watts,
        average_power_watts=average,
        temperature_celsius=celsius,
        # memory runs a little warmer than the core, more so under load
        memory_temperature_celsius=celsius + 4.0 * watts / power.limit_watts,
        energy_joules=energy,
        visible_energy_joules=energy if due else state.visible_energy_joules,
        since_energy_update_seconds=0.0 if due else since,
        power_violation_seconds=state.power_violation_seconds
        + (seconds if state.event_reasons & REASON_POWER_CAP else 0.0),
        thermal_violation_seconds=state.thermal_violation_seconds
        + (seconds if state.event_reasons & (REASON_SOFTWARE_THERMAL | REASON_HARDWARE_THERMAL) else 0.0),
    )


def event_reasons(product: Product, utilization_ratio: float, power_watts: float, celsius: float) -> int:
    """Why the clocks are not at their maximum, as NVML's bits."""
    thermal = product.thermal
    reasons = 0
    if utilization_ratio == 0.0:
        reasons |= REASON_IDLE
    if power_watts >= AT_LIMIT_RATIO * product.power.limit_watts:
        reasons |= REASON_POWER_CAP
    if celsius >= thermal.slowdown_celsius:
        reasons |= REASON_HARDWARE_THERMAL | REASON_HARDWARE_SLOWDOWN
    elif celsius >= thermal.max_operating_celsius:
        reasons |= REASON_SOFTWARE_THERMAL
    return reasons


def sm_clock_megahertz(product: Product, reasons: int, celsius: float) -> int:
    """The clock that these reasons leave."""
    clocks = product.clocks
    if reasons & REASON_IDLE:
        return clocks.sm_idle_megahertz
    ratio = POWER_CAP_CLOCK_RATIO if reasons & REASON_POWER_CAP else 1.0
    if reasons & (REASON_SOFTWARE_THERMAL | REASON_HARDWARE_THERMAL):
        ratio -= THERMAL_CLOCK_RATIO_PER_DEGREE * (celsius - product.thermal.max_operating_celsius + 1)
    # clocks are set in steps of 15 MHz
    return max(round(clocks.sm_megahertz * max(LEAST_CLOCK_RATIO, ratio)) // 15 * 15, clocks.sm_idle_megahertz)


def with_clocks(state: DeviceState, product: Product) -> DeviceState:
    """The clocks that follow from the rest of the state."""
    reasons = event_reasons(product, state.part.utilization_ratio, state.power_watts, state.temperature_celsius)
    idle = bool(reasons & REASON_IDLE)
    clocks = product.clocks
    return replace(
        state,
        event_reasons=reasons,
        sm_clock_megahertz=sm_clock_megahertz(product, reasons, state.temperature_celsius),
        memory_clock_megahertz=clocks.memory_idle_megahertz if idle else clocks.memory_megahertz,
        performance_state=clocks.idle_performance_state if idle else 0,
    )


def _with_traffic(state: DeviceState, seconds: float) -> DeviceState:
    busy = state.part.utilization_ratio * seconds
    return replace(
        state,
        pcie_sent_bytes=state.pcie_sent_bytes + busy * PCIE_SENT_BYTES_PER_SECOND,
        pcie_received_bytes=state.pcie_received_bytes + busy * PCIE_RECEIVED_BYTES_PER_SECOND,
    )


def whole_percent(ratio: float) -> int:
    """As NVML tells utilisation."""
    return min(100, max(0, round(ratio * 100)))
