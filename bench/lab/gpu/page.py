"""
The state page of a device as the agent writes it; the layout is `nvml/state.h`, and a test compares the two.

Known flaw: Python has no store with release order. On x86-64 stores are seen in the order in which they are made, which
is all that the sequence lock asks for; on a machine that reorders them a reader could, rarely, see half a state.
"""

import mmap
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

MAGIC: Final = 0x53555047
VERSION: Final = 2
TEXT: Final = 96
SAMPLES: Final = 120
INSTANCES: Final = 8

Value = int | float | str
Record = Mapping[str, Value]

INSTANCE_FIXED: Final = (
    ("uuid", f"{TEXT}s"),
    ("profile", "32s"),
    ("memory_bytes", "Q"),
    ("gpu_instance_id", "I"),
    ("profile_id", "I"),
    ("slices", "I"),
    ("multiprocessors", "I"),
)
FIXED: Final = (
    ("uuid", f"{TEXT}s"),
    ("name", f"{TEXT}s"),
    *((name, "32s") for name in ("serial", "board_part_number", "vbios_version")),
    *((name, "32s") for name in ("inforom_version", "driver_version", "nvml_version")),
    *((name, "Q") for name in ("memory_bytes", "memory_reserved_bytes", "bar1_bytes")),
    *((name, "I") for name in ("cuda_version", "brand", "architecture", "compute_major", "compute_minor")),
    *((name, "I") for name in ("cores", "multiprocessors", "memory_bus_bits", "index", "minor")),
    *((name, "I") for name in ("pci_domain", "pci_bus", "pci_device_id", "pci_subsystem_id", "board_id")),
    *((name, "I") for name in ("power_limit_milliwatts", "power_min_milliwatts", "power_max_milliwatts")),
    *((name, "I") for name in ("sm_max_megahertz", "memory_max_megahertz", "video_max_megahertz")),
    *((name, "I") for name in ("shutdown_celsius", "slowdown_celsius", "max_operating_celsius")),
    *((name, "I") for name in ("memory_max_celsius", "pcie_generation", "pcie_width")),
    *((name, "I") for name in ("nvlink_links", "nvlink_version", "nvlink_megabytes_per_second")),
    *((name, "I") for name in ("has_gpm", "mig_max_instances", "mig_enabled")),
    *((name, "I") for name in ("is_instance_view", "reserved", "instance_count")),
)
INSTANCE_LIVE: Final = (("memory_used_bytes", "Q"), ("active_seconds", "d"), ("sm_active_seconds", "d"))
LIVE_WIDE: Final = (
    *((name, "Q") for name in ("timestamp_microseconds", "energy_millijoules", "memory_used_bytes")),
    *((name, "Q") for name in ("event_reasons", "power_violation_nanoseconds", "thermal_violation_nanoseconds")),
    *((name, "Q") for name in ("pcie_sent_bytes", "pcie_received_bytes")),
    *((name, "Q") for name in ("nvlink_sent_kibibytes", "nvlink_received_kibibytes")),
    *((name, "Q") for name in ("ecc_corrected", "ecc_uncorrected", "xid_count")),
    ("active_seconds", "d"),
    ("sm_active_seconds", "d"),
)
LIVE_NARROW: Final = tuple(
    (name, "I")
    for name in (
        "lost",
        "utilization_percent",
        "memory_utilization_percent",
        "power_average_milliwatts",
        "power_instant_milliwatts",
        "celsius",
        "memory_celsius",
        "sm_megahertz",
        "memory_megahertz",
        "video_megahertz",
        "performance_state",
        "pcie_replays",
        "retired_pages",
        "retired_pending",
        "remapped_correctable",
        "remapped_uncorrectable",
        "remapped_pending",
        "remapped_failure",
        "last_xid",
        "sample_count",
    )
)
SAMPLE: Final = (
    ("timestamp_microseconds", "Q"),
    *((name, "I") for name in ("power_milliwatts", "utilization_percent", "memory_utilization_percent")),
    *((name, "I") for name in ("sm_megahertz", "memory_megahertz", "reserved")),
)

Table = Sequence[tuple[str, str]]


def _layout(table: Table) -> struct.Struct:
    return struct.Struct("=" + "".join(code for _, code in table))


_HEADER: Final = struct.Struct("=4I")
_FIXED: Final = _layout(FIXED)
_INSTANCE_FIXED: Final = _layout(INSTANCE_FIXED)
_LIVE: Final = _layout((*LIVE_WIDE, *(INSTANCE_LIVE * INSTANCES), *LIVE_NARROW))
_SAMPLE: Final = _layout(SAMPLE)
_SEQUENCE_INDEX: Final = 2

FIXED_OFFSET: Final = _HEADER.size
INSTANCES_FIXED_OFFSET: Final = FIXED_OFFSET + _FIXED.size
LIVE_OFFSET: Final = INSTANCES_FIXED_OFFSET + INSTANCES * _INSTANCE_FIXED.size
SAMPLES_OFFSET: Final = LIVE_OFFSET + _LIVE.size
SIZE: Final = SAMPLES_OFFSET + SAMPLES * _SAMPLE.size


def offsets() -> Iterator[tuple[str, int]]:
    """Every field as C names it, with its offset in the page; what the test holds against the header."""
    yield from _offsets("fixed", FIXED, FIXED_OFFSET)
    yield from _offsets("fixed.instances[1]", INSTANCE_FIXED, INSTANCES_FIXED_OFFSET + _INSTANCE_FIXED.size)
    yield from _offsets("live", LIVE_WIDE, LIVE_OFFSET)
    wide = LIVE_OFFSET + _layout(LIVE_WIDE).size
    instance = _layout(INSTANCE_LIVE).size
    yield from _offsets("live.instances[1]", INSTANCE_LIVE, wide + instance)
    yield from _offsets("live", LIVE_NARROW, wide + INSTANCES * instance)
    yield from _offsets("samples[1]", SAMPLE, SAMPLES_OFFSET + _SAMPLE.size)


def _offsets(prefix: str, table: Table, start: int) -> Iterator[tuple[str, int]]:
    for position, (name, _) in enumerate(table):
        yield f"{prefix}.{name}", start + _layout(table[:position]).size


def _values(table: Table, record: Record) -> list[int | float | bytes]:
    values = [record[name] for name, _ in table]
    return [value.encode() if isinstance(value, str) else value for value in values]


class StatePage:
    """One device's page, open for writing; the only writer of its file."""

    def __init__(self, path: Path, fixed: Record, instances: Sequence[Record]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(fd, SIZE)
            self._map = mmap.mmap(fd, SIZE)
        finally:
            os.close(fd)
        self._path = path
        self._instances = len(instances)
        _FIXED.pack_into(self._map, FIXED_OFFSET, *_values(FIXED, {**fixed, "instance_count": len(instances)}))
        for number, instance in enumerate(instances):
            place = INSTANCES_FIXED_OFFSET + number * _INSTANCE_FIXED.size
            _INSTANCE_FIXED.pack_into(self._map, place, *_values(INSTANCE_FIXED, instance))
        _HEADER.pack_into(self._map, 0, MAGIC, VERSION, 0, 0)
        # a cast view stores four bytes at once; pack_into with "=" would store them one by one
        self._words = memoryview(self._map)[: _HEADER.size].cast("I")
        self._taken = 0

    def write(self, live: Record, instances: Sequence[Record], sample: Record) -> None:
        """A new state and its sample; `live` needs no sample_count."""
        place = SAMPLES_OFFSET + (self._taken % SAMPLES) * _SAMPLE.size
        self._taken += 1
        packed = _LIVE.pack(
            *_values(LIVE_WIDE, live),
            *chain.from_iterable(_values(INSTANCE_LIVE, instance) for instance in instances),
            *((0, 0.0, 0.0) * (INSTANCES - self._instances)),
            *_values(LIVE_NARROW, {**live, "sample_count": self._taken}),
        )
        self._words[_SEQUENCE_INDEX] += 1
        self._map[LIVE_OFFSET : LIVE_OFFSET + _LIVE.size] = packed
        _SAMPLE.pack_into(self._map, place, *_values(SAMPLE, sample))
        self._words[_SEQUENCE_INDEX] = (self._words[_SEQUENCE_INDEX] + 1) % (1 << 32)

    def remove(self) -> None:
        """Close and delete it; programs that have it mapped keep the last state."""
        self._words.release()
        self._map.close()
        self._path.unlink(missing_ok=True)
