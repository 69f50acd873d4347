"""The library as pynvml sees it, device by device and call by call."""

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml
import pytest

from bench.lab.gpu import page
from bench.lab.gpu.nvml.build import answered_symbols, known_symbols
from bench.lab.gpu.profiles import PRODUCTS
from tests.unit.lab.gpu.small_lab import SmallLab

GPU = {"nvidia.com/gpu": "1"}
Make = Callable[..., SmallLab]
NvmlOf = Callable[[Path], Any]


@pytest.fixture
def busy(make_lab: Make, nvml_of: NvmlOf) -> tuple[Any, Any]:
    """An H100 at half load, and NVML with its handle."""
    lab = make_lab(gpus_per_node=2)
    folder = lab.folder(lab.give("a", GPU))
    lab.run(0.1, cores={"a": 0.0})
    lab.run(5.0, cores={"a": 0.2}, memory_bytes=64 << 20)
    nvml = nvml_of(folder)
    return nvml, nvml.nvmlDeviceGetHandleByIndex(0)


def call(library: Any, name: str, *arguments: Any) -> int:
    return int(getattr(library, name)(*arguments))


def test_every_symbol_of_nvml_is_there(nvml_library: Path) -> None:
    exported = subprocess.run(["nm", "-D", "--defined-only", nvml_library], check=True, capture_output=True, text=True)
    names = {line.split()[-1] for line in exported.stdout.splitlines()}

    assert len(known_symbols()) == 408
    assert set(known_symbols()) <= names
    assert all(name.startswith("nvml") for name in names)  # nothing of ours leaks into a program


def test_what_is_not_answered_is_not_supported_and_uninitialized_before_init(
    nvml_library: Path, make_lab: Make, nvml_of: NvmlOf
) -> None:
    library = ctypes.CDLL(str(nvml_library))
    rest = sorted(set(known_symbols()) - answered_symbols())
    assert {call(library, name) for name in rest} == {pynvml.NVML_ERROR_UNINITIALIZED}

    lab = make_lab()
    nvml_of(lab.folder(lab.give("a", GPU)))

    assert {call(library, name) for name in rest} == {pynvml.NVML_ERROR_NOT_SUPPORTED}


def test_without_a_device_there_is_no_driver(tmp_path: Path, nvml_of: NvmlOf) -> None:
    with pytest.raises(pynvml.NVMLError_DriverNotLoaded):
        nvml_of(tmp_path)


def test_a_file_that_is_no_state_page_is_no_device(tmp_path: Path, nvml_of: NvmlOf) -> None:
    (tmp_path / "0").write_bytes(b"x" * page.SIZE)

    with pytest.raises(pynvml.NVMLError_DriverNotLoaded):
        nvml_of(tmp_path)


@pytest.mark.parametrize("product", PRODUCTS)
def test_devices_are_listed_in_the_order_of_allocation(make_lab: Make, nvml_of: NvmlOf, product: str) -> None:
    lab = make_lab(gpus_per_node=3, product=product)
    lab.give("other", GPU)
    granted = lab.give("a", {"nvidia.com/gpu": "2"})
    nvml = nvml_of(lab.folder(granted))

    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]

    assert [nvml.nvmlDeviceGetUUID(handle) for handle in handles] == list(granted.uuids)
    for index, handle in enumerate(handles):
        bus_id = nvml.nvmlDeviceGetPciInfo(handle).busId
        assert nvml.nvmlDeviceGetIndex(handle) == index
        assert nvml.nvmlDeviceGetMinorNumber(handle) == index + 1  # the first of the node is somebody else's
        assert nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByPciBusId(bus_id)) == granted.uuids[index]
        assert nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByUUID(granted.uuids[index])) == granted.uuids[index]
        assert nvml.nvmlDeviceGetName(handle) == PRODUCTS[product].name
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        nvml.nvmlDeviceGetHandleByIndex(2)
    with pytest.raises(pynvml.NVMLError_NotFound):
        nvml.nvmlDeviceGetHandleByUUID("GPU-00000000-0000-0000-0000-000000000000")


def test_half_load_reads_as_half_load_everywhere(busy: tuple[Any, Any]) -> None:
    nvml, handle = busy

    rates = nvml.nvmlDeviceGetUtilizationRates(handle)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    first = nvml.nvmlDeviceGetMemoryInfo(handle)

    assert (rates.gpu, rates.memory) == (50, 30)
    assert memory.used == (64 << 20) * 16
    assert memory.used + memory.free + memory.reserved == memory.total
    assert first.used == memory.used + memory.reserved
    assert nvml.nvmlDeviceGetPowerUsage(handle) == pytest.approx(385_000, rel=0.05)
    assert nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM) == 1980
    assert nvml.nvmlDeviceGetCurrentClocksEventReasons(handle) == 0
    assert nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle) == nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)


def test_fields_agree_with_the_calls_of_their_own(busy: tuple[Any, Any]) -> None:
    nvml, handle = busy

    values = {
        value.fieldId: value for value in nvml.nvmlDeviceGetFieldValues(handle, [83, 185, 82, 143, 91, 4, 31, 9999])
    }

    assert values[83].value.ullVal == nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    assert values[185].value.uiVal == nvml.nvmlDeviceGetPowerUsage(handle)
    assert values[91].value.uiVal == 18
    assert values[31].nvmlReturn == nvml.NVML_ERROR_NOT_SUPPORTED  # Hopper remaps rows, it retires no pages
    assert values[9999].nvmlReturn == nvml.NVML_ERROR_NOT_SUPPORTED
    assert all(value.timestamp > 0 and value.latencyUsec >= 0 for value in values.values())


def test_samples_come_in_order_and_only_once(make_lab: Make, nvml_of: NvmlOf) -> None:
    lab = make_lab(gpus_per_node=1)
    folder = lab.folder(lab.give("a", GPU))
    nvml = nvml_of(folder)
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    lab.run(30.0, cores={"a": 0.2})  # more than the ring holds

    kind, samples = nvml.nvmlDeviceGetSamples(handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, 0)

    stamps = [sample.timeStamp for sample in samples]
    assert kind == nvml.NVML_VALUE_TYPE_UNSIGNED_INT
    assert len(samples) == page.SAMPLES
    assert stamps == sorted(stamps)
    assert samples[-1].sampleValue.uiVal == 50
    with pytest.raises(pynvml.NVMLError_NotFound):
        nvml.nvmlDeviceGetSamples(handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, stamps[-1])


def gpm(nvml: Any, first: Any, second: Any, *metrics: int) -> list[Any]:
    request = nvml.c_nvmlGpmMetricsGet_t()
    request.version = nvml.NVML_GPM_METRICS_GET_VERSION
    request.numMetrics = len(metrics)
    request.sample1, request.sample2 = first, second
    for place, metric in enumerate(metrics):
        request.metrics[place].metricId = metric
    return list(nvml.nvmlGpmMetricsGet(request).metrics[: len(metrics)])


def live_pages(lab: SmallLab, stamps: list[int]) -> None:
    """Give the next samples these times: the pages carry real time, the lab's clock is moved by hand."""
    for board in (board for boards in lab.devices._boards.values() for board in boards):
        board.publish(stamps[0])


def test_profiling_ratios_are_means_between_two_samples(make_lab: Make, nvml_of: NvmlOf) -> None:
    lab = make_lab(gpus_per_node=1)
    nvml = nvml_of(lab.folder(lab.give("a", GPU)))
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    first, second = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
    lab.run(0.1, cores={"a": 0.0})
    live_pages(lab, [1_000_000])
    nvml.nvmlGpmSampleGet(handle, first)
    lab.run(2.0, cores={"a": 0.1})
    live_pages(lab, [3_000_000])
    nvml.nvmlGpmSampleGet(handle, second)

    values = [metric.value for metric in gpm(nvml, first, second, 1, 2, 5, 10)]

    assert values == pytest.approx([25.0, 22.5, 10.0, 8.75])
    [unknown] = gpm(nvml, first, second, 30)
    assert unknown.nvmlReturn == nvml.NVML_ERROR_NOT_SUPPORTED
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        gpm(nvml, second, first, 1)


def test_a_kernel_on_a_quarter_of_the_device_lowers_all_ratios_but_that_of_the_engine(
    make_lab: Make, nvml_of: NvmlOf
) -> None:
    lab = make_lab(gpus_per_node=1)
    granted = lab.give("a", GPU)
    nvml = nvml_of(lab.folder(granted))
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    first, second = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
    lab.run(0.1, cores={"a": 0.0})
    live_pages(lab, [1_000_000])
    nvml.nvmlGpmSampleGet(handle, first)
    lab.paths.gpu_kernels(granted.uuids[0]).write_text("0.25\n")
    lab.run(2.0, cores={"a": 0.4})
    live_pages(lab, [3_000_000])
    nvml.nvmlGpmSampleGet(handle, second)

    assert nvml.nvmlDeviceGetUtilizationRates(handle).gpu == 100
    assert [each.value for each in gpm(nvml, first, second, 1, 2, 3, 5, 10)] == pytest.approx(
        [100.0, 22.5, 12.5, 10.0, 8.75]
    )


def test_a_turing_board_has_no_profiling_no_nvlink_and_retires_pages(make_lab: Make, nvml_of: NvmlOf) -> None:
    lab = make_lab(gpus_per_node=1, product="Tesla-T4")
    nvml = nvml_of(lab.folder(lab.give("a", GPU)))
    handle = nvml.nvmlDeviceGetHandleByIndex(0)

    assert nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice == 0
    assert nvml.nvmlDeviceGetRetiredPages(handle, 1) == []
    assert nvml.nvmlDeviceGetPerformanceState(handle) == 8
    for missing in ("nvmlDeviceGetRemappedRows", "nvmlDeviceGetMigMode"):
        with pytest.raises(pynvml.NVMLError_NotSupported):
            getattr(nvml, missing)(handle)
    with pytest.raises(pynvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetNvLinkState(handle, 0)


@pytest.mark.parametrize(
    ("structure", "version", "function"),
    [
        (pynvml.c_nvmlMemory_v2_t, pynvml.nvmlMemory_v2, "nvmlDeviceGetMemoryInfo_v2"),
        (pynvml.c_nvmlTemperature_v1_t, pynvml.nvmlTemperature_v1, "nvmlDeviceGetTemperatureV"),
        (pynvml.c_nvmlMarginTemperature_v1_t, pynvml.nvmlMarginTemperature_v1, "nvmlDeviceGetMarginTemperature"),
        (pynvml.nvmlPciInfoExt_v1_t, pynvml.nvmlPciInfoExt_v1, "nvmlDeviceGetPciInfoExt"),
        (pynvml.c_nvmlGpuFabricInfo_v2_t, pynvml.nvmlGpuFabricInfo_v2, "nvmlDeviceGetGpuFabricInfoV"),
        (pynvml.c_nvmlGpuFabricInfo_v3_t, pynvml.nvmlGpuFabricInfo_v3, "nvmlDeviceGetGpuFabricInfoV"),
        (pynvml.c_nvmlEccSramErrorStatus_v1_t, pynvml.nvmlEccSramErrorStatus_v1, "nvmlDeviceGetSramEccErrorStatus"),
        (pynvml.c_nvmlPlatformInfo_v2_t, pynvml.nvmlPlatformInfo_v2, "nvmlDeviceGetPlatformInfo"),
        (pynvml.c_nvmlProcessDetailList_v1_t, pynvml.nvmlProcessDetailList_v1, "nvmlDeviceGetRunningProcessDetailList"),
    ],
)
def test_a_struct_of_another_version_is_refused(
    busy: tuple[Any, Any], structure: Any, version: int, function: str
) -> None:
    nvml, handle = busy
    value = structure()
    value.version = version
    assert call(nvml.nvmlLib, function, handle, ctypes.byref(value)) == nvml.NVML_SUCCESS

    value.version = version + 1

    assert call(nvml.nvmlLib, function, handle, ctypes.byref(value)) == nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH


def test_bad_arguments_are_told_from_missing_support(busy: tuple[Any, Any]) -> None:
    nvml, handle = busy
    name = ctypes.create_string_buffer(4)
    value = ctypes.c_uint()

    assert call(nvml.nvmlLib, "nvmlDeviceGetName", handle, name, 4) == nvml.NVML_ERROR_INSUFFICIENT_SIZE
    assert call(nvml.nvmlLib, "nvmlDeviceGetPowerUsage", handle, None) == nvml.NVML_ERROR_INVALID_ARGUMENT
    assert call(nvml.nvmlLib, "nvmlDeviceGetPowerUsage", ctypes.c_void_p(64), ctypes.byref(value)) == (
        nvml.NVML_ERROR_INVALID_ARGUMENT
    )
    assert call(nvml.nvmlLib, "nvmlDeviceGetTemperature", handle, 7, ctypes.byref(value)) == (
        nvml.NVML_ERROR_INVALID_ARGUMENT
    )
    with pytest.raises(pynvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetFanSpeed(handle)


def test_initialisation_is_counted(make_lab: Make, nvml_of: NvmlOf) -> None:
    lab = make_lab()
    nvml = nvml_of(lab.folder(lab.give("a", GPU)))
    nvml.nvmlInit()

    nvml.nvmlShutdown()

    assert nvml.nvmlDeviceGetCount() == 1


def test_a_container_has_no_processes_to_see(busy: tuple[Any, Any]) -> None:
    nvml, handle = busy

    assert nvml.nvmlDeviceGetComputeRunningProcesses(handle) == []
    assert nvml.nvmlDeviceGetGraphicsRunningProcesses(handle) == []
    assert nvml.nvmlSystemGetProcessName(1)


def test_two_instances_of_one_device_are_one_device_with_two_instances(make_lab: Make, nvml_of: NvmlOf) -> None:
    lab = make_lab(gpus_per_node=1, mig_profile="1g.10gb", gpu_cores=0.7)
    lab.give("other", {"nvidia.com/mig-1g.10gb": "1"})
    granted = lab.give("a", {"nvidia.com/mig-1g.10gb": "2"})
    nvml = nvml_of(lab.folder(granted))
    lab.run(0.1, cores={"a": 0.0, "other": 0.0})
    lab.run(2.0, cores={"a": 0.1, "other": 0.1}, memory_bytes=32 << 20)

    device = nvml.nvmlDeviceGetHandleByIndex(0)
    instances = [nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, number) for number in range(2)]

    assert nvml.nvmlDeviceGetCount() == 1
    assert nvml.nvmlDeviceGetMigMode(device) == [1, 1]
    assert [nvml.nvmlDeviceGetUUID(instance) for instance in instances] == list(granted.uuids)
    assert [nvml.nvmlDeviceGetGpuInstanceId(instance) for instance in instances] == [8, 9]
    assert nvml.nvmlDeviceGetAttributes_v2(instances[0]).multiprocessorCount == 16
    assert nvml.nvmlDeviceGetMemoryInfo(instances[0]).used == (32 << 20) * 16 // 2
    with pytest.raises(pynvml.NVMLError_NotFound):
        nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, 2)  # somebody else's
    with pytest.raises(pynvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetUtilizationRates(device)
    with pytest.raises(pynvml.NVMLError_NoPermission):
        nvml.nvmlDeviceGetMemoryInfo(device)  # it would tell of the neighbour


def with_live(lab: SmallLab, **values: int) -> None:
    """Publish a state in which these fields differ, as a fault will."""
    from bench.lab.gpu import readout  # noqa: PLC0415 - used here alone

    board = lab.devices._boards["gpu-node-1"][0]
    live = {**readout.live_record(board.gpu, board.state, 1), **values}
    [(written, _)] = board._pages
    written.write(live, [], readout.sample_record(live))


def test_an_xid_is_an_event_once(make_lab: Make, nvml_of: NvmlOf) -> None:
    lab = make_lab(gpus_per_node=1)
    nvml = nvml_of(lab.folder(lab.give("a", GPU)))
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    events = nvml.nvmlEventSetCreate()
    nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
    with pytest.raises(pynvml.NVMLError_Timeout):
        nvml.nvmlEventSetWait_v2(events, 30)

    with_live(lab, xid_count=1, last_xid=79)

    assert nvml.nvmlEventSetWait_v2(events, 1000).eventData == 79
    with pytest.raises(pynvml.NVMLError_Timeout):
        nvml.nvmlEventSetWait_v2(events, 30)


def test_a_lost_device_answers_nothing_else(make_lab: Make, nvml_of: NvmlOf) -> None:
    lab = make_lab(gpus_per_node=1)
    nvml = nvml_of(lab.folder(lab.give("a", GPU)))
    handle = nvml.nvmlDeviceGetHandleByIndex(0)

    with_live(lab, lost=1)

    for question in ("nvmlDeviceGetUUID", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetMemoryInfo"):
        with pytest.raises(pynvml.NVMLError_GpuIsLost):
            getattr(nvml, question)(handle)
