"""One device at work: its model's state, its state pages, and what the truth log is told of it."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from bench.lab.faults.state import Faults
from bench.lab.gpu import model, readout
from bench.lab.gpu.faults import DeviceFaults
from bench.lab.gpu.fleet import Gpu, MigInstance, units_of
from bench.lab.gpu.kernels import Kernels
from bench.lab.gpu.memory import DeviceMemory
from bench.lab.gpu.page import Record, StatePage
from bench.lab.paths import LabPaths
from bench.lab.truth import TruthLog

CROSSING_STEP_RATIO: Final = 0.1
"""A line in the truth log for each tenth of utilisation that is crossed; every percent would be noise."""
CROSSING_HYSTERESIS_RATIO: Final = 0.02


def crossed_level(level: int, utilization_ratio: float, step: float, hysteresis: float) -> int:
    """The number of steps that utilisation has reached; a fall counts when it is clear by the hysteresis."""
    reached = math.floor(utilization_ratio / step + 1e-9)
    if reached >= level:
        return reached
    return min(level, math.floor((utilization_ratio + hysteresis) / step + 1e-9))


class Board:
    """Advances one device and publishes it; a device that is cut by MIG has a page of its own for each instance too."""

    def __init__(self, gpu: Gpu, paths: LabPaths, truth: TruthLog) -> None:
        self.gpu = gpu
        self._truth = truth
        self._faults = DeviceFaults(gpu, Faults(paths.faults))
        self._level = 0
        units = units_of(gpu)
        self._capacity = model.Capacity(
            cores=gpu.cores,
            instance_cores={unit.uuid: unit.cores for unit in units if unit.instance},
            instance_memory_bytes={unit.uuid: unit.instance.profile.memory_bytes for unit in units if unit.instance},
        )
        self.state = model.initial_state(gpu.product, self._capacity.instance_cores)
        views: list[tuple[str, tuple[MigInstance, ...]]] = [(gpu.uuid, gpu.mig_instances)]
        views += [(instance.uuid, (instance,)) for instance in gpu.mig_instances]
        self._pages = [(self._make_page(paths, uuid, instances), instances) for uuid, instances in views]
        self._memories = [DeviceMemory(paths.gpu_memory(uuid)) for uuid, _ in views]
        self._kernels = {uuid: Kernels(paths.gpu_kernels(uuid)) for uuid, _ in views}

    def _make_page(self, paths: LabPaths, uuid: str, instances: tuple[MigInstance, ...]) -> StatePage:
        fixed = readout.fixed_record(self.gpu, is_instance_view=uuid != self.gpu.uuid)
        return StatePage(paths.gpu(uuid), fixed, readout.fixed_instances(instances))

    def advance(self, uses: Mapping[str, model.Use], seconds: float, timestamp_microseconds: int) -> None:
        """`seconds` later, with what the holders of each unit did; published at once."""
        by_instance = {
            uuid if uuid in self._capacity.instance_cores else "": self._on_multiprocessors(uuid, use)
            for uuid, use in uses.items()
        }
        self.state = self._faults.heated(model.step(self.state, self.gpu.product, self._capacity, by_instance, seconds))
        self._tell_crossing()
        self.publish(timestamp_microseconds)

    def _on_multiprocessors(self, uuid: str, use: model.Use) -> model.Use:
        """With the share that the unit's holders told; who does nothing is not asked."""
        return replace(use, multiprocessor_ratio=self._kernels[uuid].read_ratio()) if use.cpu_seconds else use

    def publish(self, timestamp_microseconds: int) -> None:
        live = self._faults.over(readout.live_record(self.gpu, self.state, timestamp_microseconds))
        sample = readout.sample_record(live)
        for page, instances in self._pages:
            page.write(live, self._live_instances(instances), sample)

    def scrub(self, *, holds: bool) -> None:
        """Whether the driver clears memory before another program may see it."""
        for memory in self._memories:
            memory.scrub(holds=holds)

    def forget_kernels(self, uuids: Collection[str]) -> None:
        """What earlier holders of these units told."""
        for uuid, kernels in self._kernels.items():
            if uuid in uuids:
                kernels.forget()

    def remove(self) -> None:
        for page, _ in self._pages:
            page.remove()
        for memory in self._memories:
            memory.remove()
        for kernels in self._kernels.values():
            kernels.remove()

    def _live_instances(self, instances: tuple[MigInstance, ...]) -> list[Record]:
        return [readout.live_instance(self.state.instances[instance.uuid]) for instance in instances]

    def _tell_crossing(self) -> None:
        ratio = self.state.part.utilization_ratio
        level = crossed_level(self._level, ratio, CROSSING_STEP_RATIO, CROSSING_HYSTERESIS_RATIO)
        if level != self._level:
            self._truth.write(
                "device-utilization-crossed",
                uuid=self.gpu.uuid,
                node=self.gpu.node,
                direction="up" if level > self._level else "down",
                threshold_ratio=round(max(level, self._level) * CROSSING_STEP_RATIO, 3),
                utilization_ratio=round(ratio, 4),
            )
            self._level = level
