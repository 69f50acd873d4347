"""
DCGM's fields as NVML answers them: names, units and truncation of DCGM, values of the device.

A field that the device does not support has no value: DCGM leaves a blank, and the exporter leaves out the series.
PROF_* come from NVML's GPM, as in DCGM from Hopper on; older parts have none here, where DCGM has a way of its own.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pynvml

MEBIBYTE: Final = 1 << 20
Value = int | float


@dataclass(slots=True, kw_only=True)
class Entity:
    """A device, or a MIG instance of one, and what has to be remembered from one reading to the next."""

    index: int
    uuid: str
    pci_bus_id: str
    device: str
    model: str
    handle: Any
    instance: Any = None
    """The instance's own handle; None for a whole device."""
    instance_uuid: str = ""
    profile: str = ""
    instance_id: int = 0
    last_xid: int = 0
    gpm_samples: list[Any] = field(default_factory=list)
    """The latest, and before it the one of the previous reading."""
    nvlink_kibibytes: tuple[float, int] | None = None
    """Of the previous reading: seconds of its time stamp, and the counters' sum."""

    @property
    def memory_handle(self) -> Any:
        return self.handle if self.instance is None else self.instance


def find_entities(*, with_devices: bool, with_instances: bool) -> Iterator[Entity]:
    """In index order; of a device that is cut by MIG its instances, if they are wanted."""
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        instances = list(_instances(handle))
        if with_devices and not (instances and with_instances):
            yield _entity(index, handle)
        if with_instances:
            for instance in instances:
                entity = _entity(index, handle)
                entity.instance = instance
                entity.instance_uuid = pynvml.nvmlDeviceGetUUID(instance)
                entity.profile = pynvml.nvmlDeviceGetName(instance).rpartition(" ")[2]
                entity.instance_id = pynvml.nvmlDeviceGetGpuInstanceId(instance)
                yield entity


def _entity(index: int, handle: Any) -> Entity:
    return Entity(
        index=index,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        pci_bus_id=pynvml.nvmlDeviceGetPciInfo(handle).busId,
        device=f"nvidia{pynvml.nvmlDeviceGetMinorNumber(handle)}",
        model=pynvml.nvmlDeviceGetName(handle),
        handle=handle,
    )


def _instances(handle: Any) -> Iterator[Any]:
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with contextlib.suppress(pynvml.NVMLError_NotFound, pynvml.NVMLError_NotSupported):
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)


def _memory(name: str) -> Callable[[Entity], Value]:
    def read(entity: Entity) -> Value:
        memory = pynvml.nvmlDeviceGetMemoryInfo(entity.memory_handle, version=pynvml.nvmlMemory_v2)
        return int(getattr(memory, name)) // MEBIBYTE

    return read


def _value(number: int) -> Callable[[Entity], Value]:
    def read(entity: Entity) -> Value:
        answer = pynvml.nvmlDeviceGetFieldValues(entity.handle, [number])[0]
        if answer.nvmlReturn != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(answer.nvmlReturn)
        wide = answer.valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
        return int(answer.value.ullVal if wide else answer.value.uiVal)

    return read


def _clock(clock: int) -> Callable[[Entity], Value]:
    return lambda entity: int(pynvml.nvmlDeviceGetClockInfo(entity.handle, clock))


def _remapped(position: int) -> Callable[[Entity], Value]:
    return lambda entity: int(pynvml.nvmlDeviceGetRemappedRows(entity.handle)[position])


def _violation(policy: int) -> Callable[[Entity], Value]:
    return lambda entity: int(pynvml.nvmlDeviceGetViolationStatus(entity.handle, policy).violationTime)


def _ecc(kind: int, counter: int) -> Callable[[Entity], Value]:
    return lambda entity: int(pynvml.nvmlDeviceGetTotalEccErrors(entity.handle, kind, counter))


def _gpm(metric: int, scale: float) -> Callable[[Entity], Value]:
    def read(entity: Entity) -> Value:
        if len(entity.gpm_samples) < 2:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_DATA)
        request = pynvml.c_nvmlGpmMetricsGet_t()
        request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = 1
        request.sample1, request.sample2 = entity.gpm_samples
        request.metrics[0].metricId = metric
        answer = pynvml.nvmlGpmMetricsGet(request).metrics[0]
        if answer.nvmlReturn != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(answer.nvmlReturn)
        return float(answer.value) * scale

    return read


def _nvlink_bandwidth(entity: Entity) -> Value:
    """Megabytes a second since the previous reading: a rate, whatever the collectors file calls it."""
    sent, received = pynvml.nvmlDeviceGetFieldValues(entity.handle, [138, 139])
    if sent.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(sent.nvmlReturn)
    now = (sent.timestamp / 1e6, int(sent.value.ullVal + received.value.ullVal))
    before, entity.nvlink_kibibytes = entity.nvlink_kibibytes, now
    if before is None or now[0] <= before[0]:
        return 0
    return int((now[1] - before[1]) * 1024 / 1e6 / (now[0] - before[0]))


NUMBERS: Final[Mapping[str, Callable[[Entity], Value]]] = {
    "DCGM_FI_DEV_SM_CLOCK": _clock(pynvml.NVML_CLOCK_SM),
    "DCGM_FI_DEV_MEM_CLOCK": _clock(pynvml.NVML_CLOCK_MEM),
    "DCGM_FI_DEV_VIDEO_CLOCK": _clock(pynvml.NVML_CLOCK_VIDEO),
    "DCGM_FI_DEV_MEMORY_TEMP": _value(82),
    "DCGM_FI_DEV_GPU_TEMP": lambda entity: int(pynvml.nvmlDeviceGetTemperature(entity.handle, 0)),
    "DCGM_FI_DEV_POWER_USAGE": lambda entity: pynvml.nvmlDeviceGetPowerUsage(entity.handle) / 1000.0,
    "DCGM_FI_DEV_POWER_USAGE_INSTANT": lambda entity: float(_value(186)(entity)) / 1000.0,
    "DCGM_FI_DEV_POWER_MGMT_LIMIT": lambda entity: pynvml.nvmlDeviceGetPowerManagementLimit(entity.handle) / 1000.0,
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": lambda entity: int(
        pynvml.nvmlDeviceGetTotalEnergyConsumption(entity.handle)
    ),
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": lambda entity: int(pynvml.nvmlDeviceGetPcieReplayCounter(entity.handle)),
    "DCGM_FI_DEV_GPU_UTIL": lambda entity: int(pynvml.nvmlDeviceGetUtilizationRates(entity.handle).gpu),
    "DCGM_FI_DEV_MEM_COPY_UTIL": lambda entity: int(pynvml.nvmlDeviceGetUtilizationRates(entity.handle).memory),
    "DCGM_FI_DEV_ENC_UTIL": lambda entity: int(pynvml.nvmlDeviceGetEncoderUtilization(entity.handle)[0]),
    "DCGM_FI_DEV_DEC_UTIL": lambda entity: int(pynvml.nvmlDeviceGetDecoderUtilization(entity.handle)[0]),
    "DCGM_FI_DEV_XID_ERRORS": lambda entity: entity.last_xid,
    "DCGM_FI_DEV_FB_TOTAL": _memory("total"),
    "DCGM_FI_DEV_FB_FREE": _memory("free"),
    "DCGM_FI_DEV_FB_USED": _memory("used"),
    "DCGM_FI_DEV_FB_RESERVED": _memory("reserved"),
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL": _nvlink_bandwidth,
    "DCGM_FI_DEV_VGPU_LICENSE_STATUS": lambda _: 0,  # a whole device needs no licence
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": _remapped(0),
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": _remapped(1),
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": _remapped(3),
    "DCGM_FI_DEV_POWER_VIOLATION": _violation(pynvml.NVML_PERF_POLICY_POWER),
    "DCGM_FI_DEV_THERMAL_VIOLATION": _violation(pynvml.NVML_PERF_POLICY_THERMAL),
    "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": _ecc(0, 0),
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": _ecc(1, 0),
    "DCGM_FI_DEV_ECC_SBE_AGG_TOTAL": _ecc(0, 1),
    "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL": _ecc(1, 1),
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": lambda entity: int(
        pynvml.nvmlDeviceGetCurrentClocksEventReasons(entity.handle)
    ),
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": _gpm(pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL, 0.01),
    "DCGM_FI_PROF_SM_ACTIVE": _gpm(pynvml.NVML_GPM_METRIC_SM_UTIL, 0.01),
    "DCGM_FI_PROF_SM_OCCUPANCY": _gpm(pynvml.NVML_GPM_METRIC_SM_OCCUPANCY, 0.01),
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": _gpm(pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL, 0.01),
    "DCGM_FI_PROF_DRAM_ACTIVE": _gpm(pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL, 0.01),
    "DCGM_FI_PROF_PIPE_FP64_ACTIVE": _gpm(pynvml.NVML_GPM_METRIC_FP64_UTIL, 0.01),
    "DCGM_FI_PROF_PIPE_FP32_ACTIVE": _gpm(pynvml.NVML_GPM_METRIC_FP32_UTIL, 0.01),
    "DCGM_FI_PROF_PIPE_FP16_ACTIVE": _gpm(pynvml.NVML_GPM_METRIC_FP16_UTIL, 0.01),
    "DCGM_FI_PROF_PCIE_TX_BYTES": _gpm(pynvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC, MEBIBYTE),
    "DCGM_FI_PROF_PCIE_RX_BYTES": _gpm(pynvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC, MEBIBYTE),
}

WHOLE_NUMBERS: Final = frozenset({"DCGM_FI_PROF_PCIE_TX_BYTES", "DCGM_FI_PROF_PCIE_RX_BYTES"})
"""Fields that DCGM keeps as integers though NVML tells them as ratios or rates."""

TEXTS: Final[Mapping[str, Callable[[Entity], str]]] = {
    "DCGM_FI_DRIVER_VERSION": lambda _: str(pynvml.nvmlSystemGetDriverVersion()),
    "DCGM_FI_NVML_VERSION": lambda _: str(pynvml.nvmlSystemGetNVMLVersion()),
    "DCGM_FI_DEV_SERIAL": lambda entity: str(pynvml.nvmlDeviceGetSerial(entity.handle)),
    "DCGM_FI_DEV_VBIOS_VERSION": lambda entity: str(pynvml.nvmlDeviceGetVbiosVersion(entity.handle)),
    "DCGM_FI_DEV_INFOROM_IMAGE_VER": lambda entity: str(pynvml.nvmlDeviceGetInforomImageVersion(entity.handle)),
    "DCGM_FI_DEV_NAME": lambda entity: entity.model,
}


def find_number(name: str, entity: Entity) -> Value | None:
    """None where the device has no such value now."""
    try:
        value = NUMBERS[name](entity)
    except pynvml.NVMLError:
        return None
    return int(value) if name in WHOLE_NUMBERS else value


def sample_profiling(entity: Entity) -> None:
    """Take the sample that ends the present interval and begins the next."""
    sample = pynvml.nvmlGpmSampleAlloc()
    try:
        pynvml.nvmlGpmSampleGet(entity.memory_handle, sample)
    except pynvml.NVMLError:
        pynvml.nvmlGpmSampleFree(sample)
        return
    entity.gpm_samples.append(sample)
    while len(entity.gpm_samples) > 2:
        pynvml.nvmlGpmSampleFree(entity.gpm_samples.pop(0))
