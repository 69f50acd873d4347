"""What NVML says of a device with a fault, and who gets and is listed with which device."""

import itertools
from collections.abc import Callable
from typing import Any

from bench.lab.faults import catalogue, state
from bench.lab.faults.state import Faults, Planted
from bench.lab.gpu.faults import DeviceFaults
from bench.lab.paths import LabPaths
from tests.unit.lab.gpu.small_lab import NODE, SmallLab

ONE_GPU = {"nvidia.com/gpu": "1"}
Make = Callable[..., SmallLab]


def plant(paths: LabPaths, *names: str, at: float = 1.0, **given: Any) -> None:
    """These and no others; arguments are for the one that takes them."""
    planted = []
    for name in names:
        fault = catalogue.get(name)
        own = {argument.name for argument in fault.arguments}
        arguments = fault.read({key: str(value) for key, value in given.items() if key in own})
        planted.append(Planted(name=name, arguments=arguments, utc_seconds=at))
    state.write(paths.faults, planted)


def test_an_xid_is_reported_once_and_stays_the_last_one(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1)
    gpu = lab.devices._boards[NODE][0].gpu
    faults = DeviceFaults(gpu, Faults(lab.paths.faults))

    plant(lab.paths, "xid", code=31)
    first = [faults.over({}), faults.over({})]
    plant(lab.paths)
    after = faults.over({})
    plant(lab.paths, "xid", code=13, at=2.0)
    second = faults.over({})

    assert [(each["xid_count"], each["last_xid"]) for each in (*first, after, second)] == [
        (1, 31),
        (1, 31),
        (1, 31),
        (2, 13),
    ]


def test_errors_of_memory_stay_counted_and_a_lost_device_comes_back(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1)
    faults = DeviceFaults(lab.devices._boards[NODE][0].gpu, Faults(lab.paths.faults))

    plant(lab.paths, "ecc", "lost-device", count=3)
    there = faults.over({})
    plant(lab.paths)
    after = faults.over({})

    assert (there["ecc_uncorrected"], there["lost"]) == (3, 1)
    assert (after["ecc_uncorrected"], after["lost"]) == (3, 0)


def test_only_the_chosen_device_is_lost(make_lab: Make, nvml_of: Callable[..., Any]) -> None:
    lab = make_lab(gpus_per_node=2)
    granted = lab.give("both", {"nvidia.com/gpu": "2"})
    plant(lab.paths, "lost-device", device=1)
    lab.run(0.2, cores={"both": 0.1})
    nvml = nvml_of(lab.folder(granted))

    def is_lost(index: int) -> bool:
        try:
            nvml.nvmlDeviceGetTemperature(nvml.nvmlDeviceGetHandleByIndex(index), 0)
        except nvml.NVMLError_GpuIsLost:
            return True
        return False

    assert [is_lost(0), is_lost(1)] == [False, True]


def test_a_hot_device_slows_its_clocks_and_says_why(make_lab: Make, nvml_of: Callable[..., Any]) -> None:
    lab = make_lab(gpus_per_node=1)
    nvml = nvml_of(lab.folder(lab.give("one", ONE_GPU)))
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    lab.run(1.0, cores={"one": 0.2})
    before = nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM)

    plant(lab.paths, "hot", celsius=95)
    lab.run(0.3, cores={"one": 0.2})

    assert nvml.nvmlDeviceGetTemperature(device, 0) == 95
    assert nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM) < before
    assert nvml.nvmlDeviceGetCurrentClocksEventReasons(device) & nvml.nvmlClocksEventReasonHwThermalSlowdown


def test_an_energy_counter_that_falls_is_seen_to_fall(make_lab: Make, nvml_of: Callable[..., Any]) -> None:
    lab = make_lab(gpus_per_node=1)
    nvml = nvml_of(lab.folder(lab.give("one", ONE_GPU)))
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    plant(lab.paths, "energy-falls", joules=50)

    seen = []
    for _ in range(30):
        lab.run(0.1, cores={"one": 0.4})
        seen.append(nvml.nvmlDeviceGetTotalEnergyConsumption(device))

    assert max(seen) < 50_000
    assert any(later < earlier for earlier, later in itertools.pairwise(seen))


def test_devices_that_nobody_holds_are_looked_at_while_they_have_a_fault(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1)

    idle = lab.devices.are_at_work
    plant(lab.paths, "xid")

    assert not idle
    assert lab.devices.are_at_work


def test_two_pods_get_one_device_although_the_kubelet_lists_two(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=2)
    plant(lab.paths, "two-pods-one-device")

    one, two = lab.give("one", ONE_GPU), lab.give("two", ONE_GPU)
    listed = [pod["containers"][0]["devices"][0]["device_ids"] for pod in lab.devices.pod_resources(NODE)]

    assert one.uuids == two.uuids
    assert one.environment["NVIDIA_VISIBLE_DEVICES"] == two.environment["NVIDIA_VISIBLE_DEVICES"]
    assert listed[0] != listed[1]


def test_the_first_pod_of_a_node_has_nothing_to_share(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=2)
    plant(lab.paths, "two-pods-one-device")

    assert len(lab.give("one", ONE_GPU).uuids) == 1


def test_a_ghost_is_listed_until_the_fault_is_cleared(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1)
    lab.give("one", ONE_GPU)
    plant(lab.paths, "ghost-pod")
    lab.devices.release("one")
    lab.give("two", ONE_GPU)

    haunted = [pod["name"] for pod in lab.devices.pod_resources(NODE)]
    plant(lab.paths)

    assert haunted == ["pod-two", "pod-one"]
    assert [pod["name"] for pod in lab.devices.pod_resources(NODE)] == ["pod-two"]
