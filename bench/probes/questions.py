"""Questions to NVML that take more than a call: structures to fill in, links and peers to go through."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import pynvml

from bench.model.units import percent
from bench.probes.nvml import Answer, Handle, Plain, ask, meaning_of, plain

# nvml.h: a device has at most so many NVLinks.
_LINKS = 18
# pynvml's own constant of that name is a tuple, by a comma too many.
_P2P_READ = 0

_FIELDS = {
    "NVML_FI_DEV_ECC_DBE_VOL_TOTAL": 4,
    "NVML_FI_DEV_RETIRED_PENDING": 31,
    "NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL": 38,
    "NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL": 52,
    "NVML_FI_DEV_PERF_POLICY_POWER": 74,
    "NVML_FI_DEV_PERF_POLICY_THERMAL": 75,
    "NVML_FI_DEV_MEMORY_TEMP": 82,
    "NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 83,
    "NVML_FI_DEV_NVLINK_LINK_COUNT": 91,
    "NVML_FI_DEV_PCIE_REPLAY_COUNTER": 94,
    "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX": 138,
    "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX": 139,
    "NVML_FI_DEV_REMAPPED_COR": 142,
    "NVML_FI_DEV_REMAPPED_UNC": 143,
    "NVML_FI_DEV_REMAPPED_PENDING": 144,
    "NVML_FI_DEV_REMAPPED_FAILURE": 145,
    "NVML_FI_DEV_POWER_AVERAGE": 185,
    "NVML_FI_DEV_POWER_INSTANT": 186,
    "NVML_FI_DEV_POWER_MIN_LIMIT": 187,
    "NVML_FI_DEV_POWER_MAX_LIMIT": 188,
    "NVML_FI_DEV_PCIE_COUNT_TX_BYTES": 197,
    "NVML_FI_DEV_PCIE_COUNT_RX_BYTES": 198,
}
_VALUE_MEMBERS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


def field_values(handle: Handle) -> Iterator[Answer]:
    """Each field with its own return code: one that is not supported does not spoil the others."""
    whole = ask("nvmlDeviceGetFieldValues", lambda: None)
    try:
        values = pynvml.nvmlDeviceGetFieldValues(handle, list(_FIELDS.values()))
    except pynvml.NVMLError as error:
        kind, sentence = meaning_of(int(error.value))
        yield Answer(statement=whole.statement, kind=kind, reason=f"{kind}: {sentence}")
        return
    for name, value in zip(_FIELDS, values, strict=True):
        statement = f"nvmlDeviceGetFieldValues({name})"
        if value.nvmlReturn:
            kind, sentence = meaning_of(int(value.nvmlReturn))
            yield Answer(statement=statement, kind=kind, reason=f"{kind}: {sentence} (NVML {value.nvmlReturn})")
            continue
        member = _VALUE_MEMBERS.get(int(value.valueType), "ullVal")
        yield Answer(statement=statement, value=plain(getattr(value.value, member)))


def structures(handle: Handle) -> Iterator[Answer]:
    """Calls that fill in a structure of a version that they are given."""
    for function, kinds in (
        ("nvmlDeviceGetPlatformInfo", ("c_nvmlPlatformInfo_v2_t", "c_nvmlPlatformInfo_v1_t")),
        ("nvmlDeviceGetGpuFabricInfoV", ("c_nvmlGpuFabricInfo_v3_t", "c_nvmlGpuFabricInfo_v2_t")),
        ("nvmlDeviceGetSramEccErrorStatus", ("c_nvmlEccSramErrorStatus_v1_t",)),
    ):
        yield _newest(handle, function, kinds)
    yield ask(
        "nvmlDeviceGetRunningProcessDetailList",
        lambda: pynvml.nvmlDeviceGetRunningProcessDetailList(handle, pynvml.nvmlProcessDetailList_v1, 0),
    )


def _newest(handle: Handle, function: str, kinds: Sequence[str]) -> Answer:
    """The answer in the newest version of the structure that this driver knows."""
    answer = Answer(statement=function)
    for kind in kinds:
        structure = getattr(pynvml, kind)()
        answer = ask(function, _filler(function, handle, structure))
        if answer.is_there:
            break
    return answer


def _filler(function: str, handle: Handle, structure: Any) -> Callable[[], Any]:
    def fill() -> Any:
        getattr(pynvml, function)(handle, ctypes.byref(structure))
        return structure

    return fill


def recent_samples(handle: Handle) -> Iterator[Answer]:
    """How many samples the driver keeps of each kind, and the median time between them in seconds."""
    kinds = ("power", "gpu", "memory", "encoder", "decoder", "processor clock", "memory clock", "module power")
    for number, kind in enumerate(kinds):
        yield ask(f"nvmlDeviceGetSamples({kind})", _sampler(handle, number))


def _sampler(handle: Handle, number: int) -> Callable[[], Plain]:
    def sample() -> Plain:
        _, samples = pynvml.nvmlDeviceGetSamples(handle, number, 0)
        stamps = sorted(each.timeStamp for each in samples)
        gaps = sorted(after - before for before, after in pairwise(stamps))
        period = gaps[len(gaps) // 2] / 1e6 if gaps else None
        return {"samples_total": len(stamps), "period_seconds": period}

    return sample


def links(handle: Handle) -> Iterator[Answer]:
    """State of each NVLink that the device has; of active ones version, far end and errors."""
    for link in range(_LINKS):
        state = ask(f"nvmlDeviceGetNvLinkState({link})", partial(pynvml.nvmlDeviceGetNvLinkState, handle, link))
        yield state
        if not state.is_there:
            return
        if state.value:
            yield from _active_link(handle, link)


def _active_link(handle: Handle, link: int) -> Iterator[Answer]:
    for name in ("Version", "RemotePciInfo", "RemoteDeviceType"):
        function = getattr(pynvml, f"nvmlDeviceGetNvLink{name}")
        yield ask(f"nvmlDeviceGetNvLink{name}({link})", partial(function, handle, link))
    for number, counter in enumerate(("replay", "recovery", "CRC flit", "CRC data", "ECC data")):
        yield ask(
            f"nvmlDeviceGetNvLinkErrorCounter({link}, {counter})",
            partial(pynvml.nvmlDeviceGetNvLinkErrorCounter, handle, link, number),
        )
    yield ask(
        f"nvmlDeviceGetNvLinkCapability({link}, P2P)",
        lambda: pynvml.nvmlDeviceGetNvLinkCapability(handle, link, pynvml.NVML_NVLINK_CAP_P2P_SUPPORTED),
    )


def mig_devices(handle: Handle) -> Iterator[Answer]:
    """UUID, memory and attributes of each MIG device; nothing where MIG is off."""
    mode = ask("nvmlDeviceGetMigMode", lambda: pynvml.nvmlDeviceGetMigMode(handle))
    if not (isinstance(mode.value, list) and mode.value[0]):
        return
    most = ask("nvmlDeviceGetMaxMigDeviceCount", lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))
    for index in range(most.value if isinstance(most.value, int) else 0):
        try:
            instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except pynvml.NVMLError:
            continue  # slots need not be filled from the first
        for name in ("GetUUID", "GetGpuInstanceId", "GetComputeInstanceId", "GetMemoryInfo", "GetAttributes_v2"):
            function = getattr(pynvml, f"nvmlDevice{name}")
            yield ask(f"nvmlDevice{name}(MIG {index})", partial(function, instance))
        yield ask(f"nvmlDeviceGetDeviceHandleFromMigDeviceHandle(MIG {index})", partial(_uuid_of_parent, instance))


def _uuid_of_parent(instance: Handle) -> str:
    return str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)))


def events(handle: Handle) -> Answer:
    """Whether events of the device can be waited for, and one that is there already; the set is freed at once."""

    def register() -> str:
        types = pynvml.nvmlDeviceGetSupportedEventTypes(handle)
        event_set = pynvml.nvmlEventSetCreate()
        try:
            pynvml.nvmlDeviceRegisterEvents(handle, types, event_set)
            return f"types {types:#x} registered; {_waiting(event_set)}"
        finally:
            pynvml.nvmlEventSetFree(event_set)

    return ask("nvmlDeviceRegisterEvents", register)


def _waiting(event_set: Any) -> str:
    try:
        found = pynvml.nvmlEventSetWait_v2(event_set, 0)
    except pynvml.NVMLError as error:
        return "none waits" if int(error.value) == pynvml.NVML_ERROR_TIMEOUT else str(error)
    return f"one of type {found.eventType:#x} waits"


def accounting(handle: Handle) -> Iterator[Answer]:
    """What the driver kept of processes, where it keeps account of them, and their names as far as they can be seen."""
    pids = ask("nvmlDeviceGetAccountingPids", lambda: pynvml.nvmlDeviceGetAccountingPids(handle))
    for pid in pids.value if isinstance(pids.value, list) else ():
        yield ask(f"nvmlDeviceGetAccountingStats({pid})", partial(pynvml.nvmlDeviceGetAccountingStats, handle, pid))
        yield ask(f"nvmlSystemGetProcessName({pid})", partial(pynvml.nvmlSystemGetProcessName, pid))


_GPM = {
    "graphics": 1,
    "sm": 2,
    "sm occupancy": 3,
    "any tensor": 5,
    "dram bandwidth": 10,
    "pcie sent": 20,
    "pcie received": 21,
}
_GPM_RATES = ("pcie sent", "pcie received")
"""In MiB a second; the others are percentages."""


def gpm(handle: Handle, wait: Callable[[], None]) -> Iterator[Answer]:
    """The profiling metrics of Hopper and newer over the time that `wait` takes; ratios where NVML says percent."""
    support = ask("nvmlGpmQueryDeviceSupport", lambda: pynvml.nvmlGpmQueryDeviceSupport(handle))
    yield support
    if not (isinstance(support.value, dict) and support.value.get("isSupportedDevice")):
        return
    yield from _sampled("nvmlGpmSampleGet", "", partial(pynvml.nvmlGpmSampleGet, handle), wait)
    for answer in list(mig_devices(handle)):
        if answer.is_there and answer.statement.startswith("nvmlDeviceGetGpuInstanceId("):
            take = partial(pynvml.nvmlGpmMigSampleGet, handle, answer.value)
            yield from _sampled("nvmlGpmMigSampleGet", f"GPU instance {answer.value}, ", take, wait)


def _sampled(function: str, of: str, take: Callable[[Any], Any], wait: Callable[[], None]) -> Iterator[Answer]:
    """Two samples by this function, and the metrics between them."""
    samples: list[Any] = []
    try:
        statement = f"{function}({of.removesuffix(', ')})" if of else function
        taken = ask(statement, lambda: _take_samples(take, samples, wait))
        if not taken.is_there:
            yield taken
            return
        yield from _gpm_metrics(samples, of)
    finally:
        for sample in samples:
            ask("nvmlGpmSampleFree", partial(pynvml.nvmlGpmSampleFree, sample))


def _take_samples(take: Callable[[Any], Any], samples: list[Any], wait: Callable[[], None]) -> None:
    for number in range(2):
        samples.append(pynvml.nvmlGpmSampleAlloc())
        if number:
            wait()
        take(samples[-1])


def _gpm_metrics(samples: Sequence[Any], of: str) -> Iterator[Answer]:
    request = pynvml.c_nvmlGpmMetricsGet_t()
    request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
    request.numMetrics = len(_GPM)
    request.sample1, request.sample2 = samples
    for place, number in enumerate(_GPM.values()):
        request.metrics[place].metricId = number
    whole = ask("nvmlGpmMetricsGet", lambda: pynvml.nvmlGpmMetricsGet(request) and None)
    if not whole.is_there:
        yield whole
        return
    for place, name in enumerate(_GPM):
        metric = request.metrics[place]
        statement = f"nvmlGpmMetricsGet({of}{name})"
        if metric.nvmlReturn:
            kind, sentence = meaning_of(int(metric.nvmlReturn))
            yield Answer(statement=statement, kind=kind, reason=f"{kind}: {sentence}")
        else:
            is_percent = name not in _GPM_RATES
            yield Answer(statement=statement, value=percent(metric.value) if is_percent else float(metric.value))


def peers(handles: Sequence[Handle]) -> Iterator[Answer]:
    """Of each pair of devices: how near, and whether they reach each other's memory."""
    for first in range(len(handles)):
        for second in range(first + 1, len(handles)):
            pair = (handles[first], handles[second])
            name = f"{first}, {second}"
            yield ask(
                f"nvmlDeviceGetTopologyCommonAncestor({name})",
                partial(pynvml.nvmlDeviceGetTopologyCommonAncestor, *pair),
            )
            yield ask(
                f"nvmlDeviceGetP2PStatus({name}, read)",
                partial(pynvml.nvmlDeviceGetP2PStatus, *pair, _P2P_READ),
            )
            yield ask(f"nvmlDeviceOnSameBoard({name})", partial(pynvml.nvmlDeviceOnSameBoard, *pair))
