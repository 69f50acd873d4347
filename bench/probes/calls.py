"""
Every question that NVML is asked about a device, as a table; structures and pairs of devices are in `questions`.

A row is a group, a function of pynvml, and its arguments after the handle. What of it a device answers is up to the
device: the rest is absent with its reason.
"""

from dataclasses import dataclass
from typing import Any

import pynvml

from bench.probes.nvml import Answer, Handle, ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One question; `label` tells questions of the same function apart."""

    group: str
    function: str
    arguments: tuple[Any, ...] = ()
    label: str = ""

    @property
    def statement(self) -> str:
        """The call as it is written down in evidence."""
        return f"{self.function}({self.label})" if self.label else self.function

    def ask(self, *first: Handle) -> Answer:
        """Ask it of the device, or of the system where no device is given."""
        function = getattr(pynvml, self.function, None)
        if function is None:
            return missing(self.statement)
        return ask(self.statement, lambda: function(*first, *self.arguments))


def missing(statement: str) -> Answer:
    """The answer where even pynvml does not know the call."""
    return ask(statement, _raise_function_not_found)


def _raise_function_not_found() -> None:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)


def _simple(group: str, *names: str) -> tuple[Call, ...]:
    return tuple(Call(group=group, function=f"nvmlDevice{name}") for name in names)


def _each(group: str, name: str, **labelled: tuple[Any, ...]) -> tuple[Call, ...]:
    return tuple(
        Call(group=group, function=f"nvmlDevice{name}", arguments=arguments, label=label.replace("_", " "))
        for label, arguments in labelled.items()
    )


_CLOCKS = {
    "graphics": (pynvml.NVML_CLOCK_GRAPHICS,),
    "sm": (pynvml.NVML_CLOCK_SM,),
    "memory": (pynvml.NVML_CLOCK_MEM,),
    "video": (pynvml.NVML_CLOCK_VIDEO,),
}
_ECC = {
    f"{error}_{counter}": (error_code, counter_code)
    for error, error_code in (
        ("corrected", pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
        ("uncorrected", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
    )
    for counter, counter_code in (("volatile", pynvml.NVML_VOLATILE_ECC), ("aggregate", pynvml.NVML_AGGREGATE_ECC))
}
_RETIREMENT = {
    "single_bit": (pynvml.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,),
    "double_bit": (pynvml.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,),
}

SYSTEM_CALLS = tuple(
    Call(group="system", function=name)
    for name in (
        "nvmlSystemGetDriverVersion",
        "nvmlSystemGetNVMLVersion",
        "nvmlSystemGetCudaDriverVersion_v2",
        "nvmlSystemGetConfComputeState",
        "nvmlDeviceGetCount",
    )
)

DEVICE_CALLS = (
    *_simple(
        "identity",
        "GetUUID",
        "GetIndex",
        "GetMinorNumber",
        "GetName",
        "GetBrand",
        "GetSerial",
        "GetBoardId",
        "GetBoardPartNumber",
        "GetVbiosVersion",
        "GetInforomImageVersion",
        "GetArchitecture",
        "GetCudaComputeCapability",
        "GetNumGpuCores",
        "GetPciInfo",
    ),
    *_simple(
        "modes",
        "GetComputeMode",
        "GetPersistenceMode",
        "GetMigMode",
        "GetAccountingMode",
        "GetEccMode",
        "GetDisplayMode",
        "GetDisplayActive",
        "GetVirtualizationMode",
        "GetGspFirmwareMode",
        "GetAutoBoostedClocksEnabled",
    ),
    *_simple("mig", "GetMaxMigDeviceCount", "IsMigDeviceHandle", "GetGpuInstanceId", "GetComputeInstanceId"),
    *_simple("mig", "GetAttributes_v2"),
    *_simple("utilisation", "GetUtilizationRates", "GetEncoderUtilization", "GetDecoderUtilization"),
    *_each("utilisation", "GetProcessUtilization", since_start=(0,)),
    *_each("memory", "GetMemoryInfo", v1=(), v2=(pynvml.nvmlMemory_v2,)),
    *_simple("memory", "GetBAR1MemoryInfo", "GetMemoryBusWidth"),
    *_simple(
        "power",
        "GetPowerUsage",
        "GetPowerManagementLimit",
        "GetPowerManagementLimitConstraints",
        "GetPowerManagementDefaultLimit",
        "GetEnforcedPowerLimit",
        "GetTotalEnergyConsumption",
    ),
    *_each("thermal", "GetTemperature", gpu=(pynvml.NVML_TEMPERATURE_GPU,)),
    *_each("thermal", "GetTemperatureV", gpu=(pynvml.NVML_TEMPERATURE_GPU,)),
    *_each(
        "thermal",
        "GetTemperatureThreshold",
        shutdown=(pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,),
        slowdown=(pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,),
    ),
    *_simple("thermal", "GetMarginTemperature", "GetNumFans", "GetFanSpeed"),
    *_each("thermal", "GetFanSpeed_v2", first=(0,)),
    *_each("thermal", "GetThermalSettings", all_sensors=(15,)),
    *_each("clocks", "GetClockInfo", **_CLOCKS),
    *_each("clocks", "GetMaxClockInfo", **_CLOCKS),
    *_each("clocks", "GetApplicationsClock", **_CLOCKS),
    *_each("clocks", "GetDefaultApplicationsClock", **_CLOCKS),
    *_each("clocks", "GetClock", sm_current=(pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_ID_CURRENT)),
    *_simple(
        "clocks",
        "GetPerformanceState",
        "GetCurrentClocksEventReasons",
        "GetSupportedClocksEventReasons",
        "GetCurrentClocksThrottleReasons",
    ),
    *_each(
        "clocks",
        "GetViolationStatus",
        power=(pynvml.NVML_PERF_POLICY_POWER,),
        thermal=(pynvml.NVML_PERF_POLICY_THERMAL,),
    ),
    *_each("ecc", "GetTotalEccErrors", **_ECC),
    *_each("ecc", "GetDetailedEccErrors", **_ECC),
    *_each(
        "ecc",
        "GetMemoryErrorCounter",
        **{label: (*arguments, pynvml.NVML_MEMORY_LOCATION_DEVICE_MEMORY) for label, arguments in _ECC.items()},
    ),
    *_each("ecc", "GetRetiredPages", **_RETIREMENT),
    *_each("ecc", "GetRetiredPages_v2", **_RETIREMENT),
    *_simple("ecc", "GetRetiredPagesPendingStatus", "GetRemappedRows", "GetRowRemapperHistogram"),
    *_simple(
        "pcie",
        "GetCurrPcieLinkGeneration",
        "GetMaxPcieLinkGeneration",
        "GetGpuMaxPcieLinkGeneration",
        "GetCurrPcieLinkWidth",
        "GetMaxPcieLinkWidth",
        "GetPcieReplayCounter",
        "GetPcieSpeed",
    ),
    *_each(
        "pcie",
        "GetPcieThroughput",
        sent=(pynvml.NVML_PCIE_UTIL_TX_BYTES,),
        received=(pynvml.NVML_PCIE_UTIL_RX_BYTES,),
    ),
    *_simple("processes", "GetComputeRunningProcesses", "GetGraphicsRunningProcesses", "GetMPSComputeRunningProcesses"),
    *_simple("processes", "GetAccountingPids", "GetAccountingBufferSize"),
    *_each("topology", "GetCpuAffinity", words=(16,)),
    *_each("topology", "GetMemoryAffinity", node=(4, pynvml.NVML_AFFINITY_SCOPE_NODE)),
    *_simple("topology", "GetNumaNodeId"),
    *_each("topology", "GetTopologyNearestGpus", same_node=(pynvml.NVML_TOPOLOGY_NODE,)),
    *_simple("events", "GetSupportedEventTypes"),
    *_simple("confidential", "GetConfComputeMemSizeInfo"),
)
