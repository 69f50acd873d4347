"""Which devices a node has: identities that are the same each time a lab of this name and shape is made."""

import hashlib
import math
import uuid
from dataclasses import dataclass
from typing import Final

from bench.lab.config import Allocation, LabConfig
from bench.lab.gpu.profiles import MigProfile, Product, get_mig_profile, get_product

_NAMESPACE: Final = uuid.UUID("6f1c1f5e-2d0b-5c0e-9d8f-0c8a5b6f1e11")
"""Ours; makes the identities of two labs differ by name, node and index alone."""
_FIRST_BUS: Final = 0x1A
_BUSES_PER_DEVICE: Final = 0x0B
_BUSES: Final = 0xE0


@dataclass(frozen=True, slots=True, kw_only=True)
class MigInstance:
    """A GPU instance with one compute instance that fills it."""

    uuid: str
    gpu_instance_id: int
    profile: MigProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One physical device of a node."""

    node: str
    index: int
    uuid: str
    serial: str
    pci_domain: int
    pci_bus: int
    product: Product
    offered_by: Allocation
    """Never BOTH: a device belongs to one way."""
    cores: float
    mig_instances: tuple[MigInstance, ...] = ()

    @property
    def minor(self) -> int:
        return self.index

    @property
    def device_name(self) -> str:
        """In ResourceSlices."""
        return f"gpu-{self.index}"

    @property
    def pci_bus_id(self) -> str:
        """As NVML writes it: eight digits of domain, upper case."""
        return f"{self.pci_domain:08X}:{self.pci_bus:02X}:00.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What can be held: a whole device, or one MIG instance of it."""

    uuid: str
    gpu: Gpu
    instance: MigInstance | None

    @property
    def cores(self) -> float:
        """A MIG instance has the share of its slices; a device has seven."""
        return self.gpu.cores if self.instance is None else self.gpu.cores * self.instance.profile.slices / 7


def initial_nodes(config: LabConfig) -> tuple[str, ...]:
    return tuple(f"gpu-node-{number}" for number in range(1, config.nodes + 1))


def units_of(gpu: Gpu) -> tuple[Unit, ...]:
    """The device itself if it is whole, else its instances."""
    if not gpu.mig_instances:
        return (Unit(uuid=gpu.uuid, gpu=gpu, instance=None),)
    return tuple(Unit(uuid=instance.uuid, gpu=gpu, instance=instance) for instance in gpu.mig_instances)


def make_gpus(config: LabConfig, node: str, count: int) -> tuple[Gpu, ...]:
    """The devices of one node, in index order."""
    product = get_product(config.product)
    return tuple(_make_gpu(config, node, index, product, count) for index in range(count))


def _make_gpu(config: LabConfig, node: str, index: int, product: Product, count: int) -> Gpu:
    seed = f"{config.name}/{node}/{index}"
    offered_by = _offered_by(config.allocation, index, count)
    digest = hashlib.sha256(seed.encode()).digest()
    buses = index * _BUSES_PER_DEVICE
    return Gpu(
        node=node,
        index=index,
        uuid=f"GPU-{uuid.uuid5(_NAMESPACE, seed)}",
        # thirteen digits, as on the board's label
        serial=f"16{int.from_bytes(digest[:6], 'big') % 10**11:011d}",
        pci_domain=buses // _BUSES,
        pci_bus=_FIRST_BUS + buses % _BUSES,
        product=product,
        offered_by=offered_by,
        cores=config.gpu_cores,
        mig_instances=_make_instances(config, seed, product) if offered_by is Allocation.DEVICE_PLUGIN else (),
    )


def _offered_by(allocation: Allocation, index: int, count: int) -> Allocation:
    """`BOTH` gives the lower half of the indices to the device plugin, the odd one too."""
    if allocation is not Allocation.BOTH:
        return allocation
    return Allocation.DEVICE_PLUGIN if index < math.ceil(count / 2) else Allocation.DRA


def _make_instances(config: LabConfig, seed: str, product: Product) -> tuple[MigInstance, ...]:
    if not config.mig_profile:
        return ()
    profile = get_mig_profile(product, config.mig_profile)
    return tuple(
        MigInstance(
            uuid=f"MIG-{uuid.uuid5(_NAMESPACE, f'{seed}/{number}')}",
            # the driver numbers the instances of one slice from 7 on, larger ones from 1
            gpu_instance_id=(7 if profile.slices == 1 else 1) + number,
            profile=profile,
        )
        for number in range(profile.instances)
    )
