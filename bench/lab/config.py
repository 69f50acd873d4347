"""What a lab is asked to be: size, devices, intervals. Chosen once at `up`, read by every process of the lab."""

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self


class Allocation(StrEnum):
    """By which API the devices of a node are offered. `BOTH` gives one half of each node's devices to either way."""

    DEVICE_PLUGIN = "device-plugin"
    DRA = "dra"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabConfig:
    """Defaults are those of the programs they configure, so that a lab reacts as an untuned cluster does."""

    name: str = "default"
    nodes: int = 2
    gpus_per_node: int = 2
    product: str = "NVIDIA-H100-80GB-HBM3"
    allocation: Allocation = Allocation.DEVICE_PLUGIN
    time_slices: int = 1
    """Pods that may share one device of the device plugin (1: no sharing)."""
    mig_profile: str = ""
    """Instances into which every device of the device plugin is split, as ``1g.10gb`` (empty: no MIG)."""
    gpu_cores: float = 0.4
    """CPU cores that are 100 % of one device, and the quota of the pods that hold it. Four fit on two cores."""
    node_boot_seconds: float = 5.0
    """From the Node object that an autoscaler makes to a machine that runs pods."""
    exporter_interval_seconds: float = 30.0
    exporter_fields: tuple[str, ...] = ()
    """DCGM fields that the exporter shows beside those that it shows by default, such as DCGM_FI_PROF_SM_ACTIVE."""
    scrape_interval_seconds: float = 15.0
    hpa_sync_seconds: float = 15.0
    hpa_downscale_stabilization_seconds: float = 300.0
    api_port: int = 0
    """Port on 127.0.0.1; 0 takes a free one."""
    prometheus_port: int = 0
    gateway_port: int = 0
    parts: tuple[str, ...] = ("dns", "gateway", "prometheus", "adapter", "exporter")
    """Parts applied as workloads once the control plane serves; each is a module of `bench.lab.parts`."""
    image_catalogues: tuple[str, ...] = ()
    """Files that add entries to the image catalogue, absolute paths."""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        raw: dict[str, Any] = json.loads(text)
        raw["allocation"] = Allocation(raw["allocation"])
        raw["exporter_fields"] = tuple(raw["exporter_fields"])
        raw["parts"] = tuple(raw["parts"])
        raw["image_catalogues"] = tuple(raw["image_catalogues"])
        return cls(**raw)

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.from_json(path.read_text(encoding="utf-8"))
