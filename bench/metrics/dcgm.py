"""
The DCGM fields that scenarios ask for, under both their names, and what to multiply them with.

DCGM 4.6 gave fields new identifiers and kept their numeric ids; exporters in use show either. A field is therefore
looked up by id, and a query matches both names. Units are those of dcgm-exporter's default-counters.csv, whose third
column says them; a value that does not fit its unit is a finding of a scenario, not something to repair here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.model.units import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One DCGM field."""

    id: int
    names: tuple[str, ...]
    """As exporters show it: the name up to DCGM 4.5 first, the one of 4.6 after it."""
    measurement: str
    unit: Unit
    factor: float = 1.0
    counter: bool = False
    """What the exporter's TYPE line is to say; gauges otherwise."""

    def selector(self, matchers: str = "") -> str:
        """A PromQL selector of this field under any of its names."""
        pattern = "|".join(self.names)
        return f'{{__name__=~"{pattern}"{"," if matchers else ""}{matchers}}}'


_MEBIBYTE: Final = 1048576.0

FIELDS: Final[Mapping[int, Field]] = {
    field.id: field
    for field in (
        Field(id=100, names=("DCGM_FI_DEV_SM_CLOCK",), measurement="gpu_sm_clock_hertz", unit=Unit.HERTZ, factor=1e6),
        Field(
            id=101, names=("DCGM_FI_DEV_MEM_CLOCK",), measurement="gpu_memory_clock_hertz", unit=Unit.HERTZ, factor=1e6
        ),
        Field(
            id=140,
            names=("DCGM_FI_DEV_MEMORY_TEMP",),
            measurement="gpu_memory_temperature_celsius",
            unit=Unit.CELSIUS,
        ),
        Field(
            id=150,
            names=("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_TEMP_CELSIUS"),
            measurement="gpu_temperature_celsius",
            unit=Unit.CELSIUS,
        ),
        Field(
            id=155,
            names=("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_BOARD_POWER_WATTS"),
            measurement="gpu_power_watts",
            unit=Unit.WATTS,
        ),
        Field(
            id=156,
            names=("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",),
            measurement="gpu_energy_joules",
            unit=Unit.JOULES,
            factor=1e-3,
            counter=True,
        ),
        Field(
            id=203,
            names=("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO"),
            measurement="gpu_busy_time_ratio",
            unit=Unit.RATIO,
            factor=0.01,
        ),
        Field(
            id=204,
            names=("DCGM_FI_DEV_MEM_COPY_UTIL",),
            measurement="gpu_memory_busy_time_ratio",
            unit=Unit.RATIO,
            factor=0.01,
        ),
        Field(
            id=251,
            names=("DCGM_FI_DEV_FB_FREE",),
            measurement="gpu_memory_free_bytes",
            unit=Unit.BYTES,
            factor=_MEBIBYTE,
        ),
        Field(
            id=252,
            names=("DCGM_FI_DEV_FB_USED",),
            measurement="gpu_memory_used_bytes",
            unit=Unit.BYTES,
            factor=_MEBIBYTE,
        ),
        Field(
            id=253,
            names=("DCGM_FI_DEV_FB_RESERVED",),
            measurement="gpu_memory_reserved_bytes",
            unit=Unit.BYTES,
            factor=_MEBIBYTE,
        ),
        Field(
            id=449,
            names=("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",),
            measurement="gpu_link_traffic_bytes_per_second",
            unit=Unit.BYTES_PER_SECOND,
            factor=1e6,
        ),
        Field(
            id=1001,
            names=("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO"),
            measurement="gpu_engine_active_ratio",
            unit=Unit.RATIO,
        ),
        Field(
            id=1002,
            names=("DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_SM_UTIL_RATIO"),
            measurement="gpu_sm_active_ratio",
            unit=Unit.RATIO,
        ),
        Field(
            id=1004,
            names=("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_PIPE_TENSOR_UTIL_RATIO"),
            measurement="gpu_tensor_active_ratio",
            unit=Unit.RATIO,
        ),
        Field(
            id=1005,
            names=("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_DRAM_UTIL_RATIO"),
            measurement="gpu_memory_active_ratio",
            unit=Unit.RATIO,
        ),
    )
}

GPU_UTIL: Final = FIELDS[203]
POWER_USAGE: Final = FIELDS[155]
TOTAL_ENERGY_CONSUMPTION: Final = FIELDS[156]
FB_USED: Final = FIELDS[252]

SENTINELS: Final = frozenset(
    {float(0x7FFFFFFFFFFFFFF0 + k) for k in range(4)}
    | {float(0x7FFFFFF0 + k) for k in range(4)}
    | {140737488355328.0 + k for k in range(4)}
)
"""DCGM's blank values (BLANK, NOT_FOUND, NOT_SUPPORTED, NOT_PERMISSIONED of INT64, INT32, FP64): they mean absent."""
