"""From the model's state to what a state page says: units and rounding of NVML, nothing else."""

from collections.abc import Sequence

from bench.lab.gpu.fleet import Gpu, MigInstance
from bench.lab.gpu.model import MEMORY_COPY_FACTOR, DeviceState, PartState, whole_percent
from bench.lab.gpu.page import Record
from bench.lab.gpu.profiles import CUDA_DRIVER_VERSION, DRIVER_VERSION, NVML_VERSION


def fixed_record(gpu: Gpu, *, is_instance_view: bool) -> Record:
    """What never changes about a device."""
    product = gpu.product
    return {
        "uuid": gpu.uuid,
        "name": product.name,
        "serial": gpu.serial,
        "board_part_number": product.board_part_number,
        "vbios_version": product.vbios_version,
        "inforom_version": product.inforom_version,
        "driver_version": DRIVER_VERSION,
        "nvml_version": NVML_VERSION,
        "cuda_version": CUDA_DRIVER_VERSION[0] * 1000 + CUDA_DRIVER_VERSION[1] * 10,
        "memory_bytes": product.memory_bytes,
        "memory_reserved_bytes": product.memory_reserved_bytes,
        "bar1_bytes": product.bar1_bytes,
        "brand": product.brand,
        "architecture": product.architecture,
        "compute_major": product.compute_capability[0],
        "compute_minor": product.compute_capability[1],
        "cores": product.cores,
        "multiprocessors": product.multiprocessors,
        "memory_bus_bits": product.memory_bus_bits,
        "index": gpu.index,
        "minor": gpu.minor,
        "pci_domain": gpu.pci_domain,
        "pci_bus": gpu.pci_bus,
        "pci_device_id": product.pci_device_id,
        "pci_subsystem_id": product.pci_subsystem_id,
        # the driver makes it of the bus id: one board a device
        "board_id": gpu.pci_domain << 16 | gpu.pci_bus << 8,
        **_limits(gpu),
        "is_instance_view": int(is_instance_view),
        "reserved": 0,
    }


def _limits(gpu: Gpu) -> Record:
    product = gpu.product
    power, clocks, thermal, wires = product.power, product.clocks, product.thermal, product.interconnect
    return {
        "power_limit_milliwatts": round(power.limit_watts * 1000),
        "power_min_milliwatts": round(power.min_limit_watts * 1000),
        "power_max_milliwatts": round(power.max_limit_watts * 1000),
        "sm_max_megahertz": clocks.sm_megahertz,
        "memory_max_megahertz": clocks.memory_megahertz,
        "video_max_megahertz": clocks.video_megahertz,
        "shutdown_celsius": thermal.shutdown_celsius,
        "slowdown_celsius": thermal.slowdown_celsius,
        "max_operating_celsius": thermal.max_operating_celsius,
        "memory_max_celsius": thermal.memory_max_celsius if thermal.has_memory_sensor else 0,
        "pcie_generation": wires.pcie_generation,
        "pcie_width": wires.pcie_width,
        "nvlink_links": wires.nvlink_links,
        "nvlink_version": wires.nvlink_version,
        "nvlink_megabytes_per_second": wires.nvlink_megabytes_per_second,
        "has_gpm": int(product.has_gpm),
        "mig_max_instances": max((profile.instances for profile in product.mig_profiles), default=0),
        "mig_enabled": int(bool(gpu.mig_instances)),
    }


def fixed_instances(instances: Sequence[MigInstance]) -> list[Record]:
    return [
        {
            "uuid": instance.uuid,
            "profile": instance.profile.name,
            "memory_bytes": instance.profile.memory_bytes,
            "gpu_instance_id": instance.gpu_instance_id,
            "profile_id": instance.profile.profile_id,
            "slices": instance.profile.slices,
            "multiprocessors": instance.profile.multiprocessors,
        }
        for instance in instances
    ]


def live_record(gpu: Gpu, state: DeviceState, timestamp_microseconds: int) -> Record:
    """What a reader of the page sees of this moment."""
    clocks = gpu.product.clocks
    utilization = state.part.utilization_ratio
    video = clocks.video_megahertz * state.sm_clock_megahertz // clocks.sm_megahertz
    return {
        **_NO_ERRORS,
        "timestamp_microseconds": timestamp_microseconds,
        "energy_millijoules": int(state.visible_energy_joules * 1000),
        "memory_used_bytes": state.part.memory_used_bytes,
        "event_reasons": state.event_reasons,
        "power_violation_nanoseconds": int(state.power_violation_seconds * 1e9),
        "thermal_violation_nanoseconds": int(state.thermal_violation_seconds * 1e9),
        "pcie_sent_bytes": int(state.pcie_sent_bytes),
        "pcie_received_bytes": int(state.pcie_received_bytes),
        "active_seconds": state.part.active_seconds,
        "sm_active_seconds": state.part.sm_active_seconds,
        "utilization_percent": whole_percent(utilization),
        "memory_utilization_percent": whole_percent(utilization * MEMORY_COPY_FACTOR),
        "power_average_milliwatts": round(state.average_power_watts * 1000),
        "power_instant_milliwatts": round(state.power_watts * 1000),
        "celsius": round(state.temperature_celsius),
        "memory_celsius": round(state.memory_temperature_celsius),
        "sm_megahertz": state.sm_clock_megahertz,
        "memory_megahertz": state.memory_clock_megahertz,
        "video_megahertz": video,
        "performance_state": state.performance_state,
    }


_NO_ERRORS: Record = dict.fromkeys(
    (
        "nvlink_sent_kibibytes",
        "nvlink_received_kibibytes",
        "ecc_corrected",
        "ecc_uncorrected",
        "xid_count",
        "lost",
        "pcie_replays",
        "retired_pages",
        "retired_pending",
        "remapped_correctable",
        "remapped_uncorrectable",
        "remapped_pending",
        "remapped_failure",
        "last_xid",
    ),
    0,
)
"""A device without faults; a fault lays its own values over these."""


def live_instance(part: PartState) -> Record:
    return {
        "memory_used_bytes": part.memory_used_bytes,
        "active_seconds": part.active_seconds,
        "sm_active_seconds": part.sm_active_seconds,
    }


def sample_record(live: Record) -> Record:
    """The entry of the ring that nvmlDeviceGetSamples reads."""
    return {
        "timestamp_microseconds": live["timestamp_microseconds"],
        "power_milliwatts": live["power_instant_milliwatts"],
        "utilization_percent": live["utilization_percent"],
        "memory_utilization_percent": live["memory_utilization_percent"],
        "sm_megahertz": live["sm_megahertz"],
        "memory_megahertz": live["memory_megahertz"],
        "reserved": 0,
    }
