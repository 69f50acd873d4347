"""
What each product is: the figures that a device of the lab reports as its own.

Sources, named at the figures by their letter:
(d) NVIDIA's data sheet or product brief of the product; (s) what `nvidia-smi -q` prints on it;
(m) the MIG user guide, "Supported MIG Profiles" and its `nvidia-smi mig -lgip` listings;
(k) the nvml-mock profiles of NVIDIA/k8s-test-infra; (o) ours: no public figure, chosen so that the model of
`bench/lab/gpu/model.py` settles where such a device usually does.
"""

from dataclasses import dataclass
from typing import Final

from bench.errors import WrongUsage

MEBIBYTE: Final = 1 << 20

DRIVER_VERSION: Final = "580.95.05"
"""A production branch that still drives every product here."""
CUDA_DRIVER_VERSION: Final = (13, 0)
NVML_VERSION: Final = f"13.{DRIVER_VERSION}"

BRAND_TESLA: Final = 2
BRAND_NVIDIA: Final = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Watts; the default limit is the enforced one."""

    idle_watts: float
    limit_watts: float
    min_limit_watts: float
    max_limit_watts: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Megahertz, as NVML counts them; `video` follows `sm` in the model."""

    sm_megahertz: int
    sm_idle_megahertz: int
    memory_megahertz: int
    memory_idle_megahertz: int
    video_megahertz: int
    idle_performance_state: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermal:
    """Degrees Celsius; `rise` is the difference to `ambient` that the device settles at under its full limit."""

    ambient_celsius: float
    rise_celsius: float
    max_operating_celsius: int
    slowdown_celsius: int
    shutdown_celsius: int
    memory_max_celsius: int
    has_memory_sensor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Interconnect:
    """How the device is wired."""

    pcie_generation: int
    pcie_width: int
    nvlink_links: int = 0
    nvlink_version: int = 0
    nvlink_megabytes_per_second: int = 0
    """Of one link, one way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigProfile:
    """One way to cut an instance out of a device."""

    name: str
    profile_id: int
    instances: int
    slices: int
    multiprocessors: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One model of accelerator."""

    label: str
    """The value of the node label ``nvidia.com/gpu.product``."""
    name: str
    brand: int
    family: str
    architecture: int
    """NVML_DEVICE_ARCH_*."""
    compute_capability: tuple[int, int]
    multiprocessors: int
    cores: int
    memory_bytes: int
    memory_reserved_bytes: int
    memory_bus_bits: int
    bar1_bytes: int
    pci_device_id: int
    pci_subsystem_id: int
    board_part_number: str
    vbios_version: str
    inforom_version: str
    power: Power
    clocks: Clocks
    thermal: Thermal
    interconnect: Interconnect
    has_gpm: bool
    """GPM, NVML's profiling counters, came with Hopper."""
    mig_profiles: tuple[MigProfile, ...] = ()

    @property
    def mig_capable(self) -> bool:
        return bool(self.mig_profiles)


def _mig(name: str, profile_id: int, instances: int, multiprocessors: int, mebibytes: int) -> MigProfile:
    return MigProfile(
        name=name,
        profile_id=profile_id,
        instances=instances,
        slices=int(name.split("g.", maxsplit=1)[0]),
        multiprocessors=multiprocessors,
        memory_bytes=mebibytes * MEBIBYTE,
    )


H100 = Product(
    label="NVIDIA-H100-80GB-HBM3",
    name="NVIDIA H100 80GB HBM3",  # (s)
    brand=BRAND_NVIDIA,
    family="hopper",
    architecture=9,
    compute_capability=(9, 0),
    multiprocessors=132,  # (d) SXM5
    cores=16896,  # (d) 132 x 128
    memory_bytes=81559 * MEBIBYTE,  # (s)
    memory_reserved_bytes=551 * MEBIBYTE,  # (s)
    memory_bus_bits=5120,  # (d)
    bar1_bytes=128 << 30,  # (s)
    pci_device_id=0x233010DE,  # (k)
    pci_subsystem_id=0x16C110DE,  # (k)
    board_part_number="692-2G520-0200-000",  # (s)
    vbios_version="96.00.74.00.09",  # (k)
    inforom_version="G520.0200.00.05",  # (s)
    power=Power(idle_watts=70, limit_watts=700, min_limit_watts=200, max_limit_watts=700),  # (o) idle, (s)
    clocks=Clocks(
        sm_megahertz=1980,  # (s)
        sm_idle_megahertz=345,  # (s)
        memory_megahertz=2619,  # (s)
        memory_idle_megahertz=2619,  # (s) HBM keeps its clock
        video_megahertz=1545,  # (s)
        idle_performance_state=0,  # (s)
    ),
    thermal=Thermal(
        ambient_celsius=26,  # (o)
        rise_celsius=44,  # (o) 70 degrees at 700 W
        max_operating_celsius=83,  # (k)
        slowdown_celsius=87,  # (k)
        shutdown_celsius=92,  # (k)
        memory_max_celsius=95,  # (s)
        has_memory_sensor=True,
    ),
    interconnect=Interconnect(
        pcie_generation=5,  # (d)
        pcie_width=16,  # (d)
        nvlink_links=18,  # (d)
        nvlink_version=4,  # (d)
        nvlink_megabytes_per_second=26562,  # (k)
    ),
    has_gpm=True,
    mig_profiles=(  # (m)
        _mig("1g.10gb", 19, 7, 16, 9984),
        _mig("1g.20gb", 15, 4, 26, 20096),
        _mig("2g.20gb", 14, 3, 32, 20096),
        _mig("3g.40gb", 9, 2, 60, 40448),
        _mig("4g.40gb", 5, 1, 64, 40448),
        _mig("7g.80gb", 0, 1, 132, 81152),
    ),
)

H200 = Product(
    label="NVIDIA-H200",
    name="NVIDIA H200",  # (s)
    brand=BRAND_NVIDIA,
    family="hopper",
    architecture=9,
    compute_capability=(9, 0),
    multiprocessors=132,  # (d)
    cores=16896,  # (d)
    memory_bytes=143771 * MEBIBYTE,  # (s)
    memory_reserved_bytes=616 * MEBIBYTE,  # (o)
    memory_bus_bits=6144,  # (d)
    bar1_bytes=256 << 30,  # (s)
    pci_device_id=0x233510DE,  # (s)
    pci_subsystem_id=0x18BE10DE,  # (s)
    board_part_number="699-2G520-0280-000",  # (o)
    vbios_version="96.00.BC.00.01",  # (o)
    inforom_version="G520.0280.00.04",  # (o)
    power=Power(idle_watts=76, limit_watts=700, min_limit_watts=200, max_limit_watts=700),  # (o) idle, (d)
    clocks=Clocks(
        sm_megahertz=1980,  # (s)
        sm_idle_megahertz=345,  # (s)
        memory_megahertz=3201,  # (s)
        memory_idle_megahertz=3201,  # (s)
        video_megahertz=1545,  # (s)
        idle_performance_state=0,  # (s)
    ),
    thermal=H100.thermal,  # the same package, (o)
    interconnect=H100.interconnect,  # (d)
    has_gpm=True,
)

A100 = Product(
    label="NVIDIA-A100-SXM4-40GB",
    name="NVIDIA A100-SXM4-40GB",  # (s)
    brand=BRAND_NVIDIA,
    family="ampere",
    architecture=7,
    compute_capability=(8, 0),
    multiprocessors=108,  # (d)
    cores=6912,  # (d)
    memory_bytes=40960 * MEBIBYTE,  # (s)
    memory_reserved_bytes=424 * MEBIBYTE,  # (o)
    memory_bus_bits=5120,  # (d)
    bar1_bytes=64 << 30,  # (s)
    pci_device_id=0x20B010DE,  # (s)
    pci_subsystem_id=0x134F10DE,  # (s)
    board_part_number="692-2G506-0200-002",  # (o)
    vbios_version="92.00.19.00.01",  # (o)
    inforom_version="G506.0200.00.04",  # (o)
    power=Power(idle_watts=52, limit_watts=400, min_limit_watts=100, max_limit_watts=400),  # (o) idle, (s)
    clocks=Clocks(
        sm_megahertz=1410,  # (s)
        sm_idle_megahertz=210,  # (s)
        memory_megahertz=1215,  # (s)
        memory_idle_megahertz=1215,  # (s)
        video_megahertz=1290,  # (s)
        idle_performance_state=0,  # (s)
    ),
    thermal=Thermal(
        ambient_celsius=26,  # (o)
        rise_celsius=40,  # (o)
        max_operating_celsius=85,  # (s)
        slowdown_celsius=89,  # (s)
        shutdown_celsius=92,  # (s)
        memory_max_celsius=95,  # (s)
        has_memory_sensor=True,
    ),
    interconnect=Interconnect(
        pcie_generation=4,  # (d)
        pcie_width=16,  # (d)
        nvlink_links=12,  # (d)
        nvlink_version=3,  # (d)
        nvlink_megabytes_per_second=25781,  # (s)
    ),
    has_gpm=False,
    mig_profiles=(  # (m)
        _mig("1g.5gb", 19, 7, 14, 4864),
        _mig("2g.10gb", 14, 3, 28, 9984),
        _mig("3g.20gb", 9, 2, 42, 20096),
        _mig("4g.20gb", 5, 1, 56, 20096),
        _mig("7g.40gb", 0, 1, 98, 40192),
    ),
)

T4 = Product(
    label="Tesla-T4",
    name="Tesla T4",  # (s)
    brand=BRAND_TESLA,
    family="turing",
    architecture=6,
    compute_capability=(7, 5),
    multiprocessors=40,  # (d)
    cores=2560,  # (d)
    memory_bytes=15360 * MEBIBYTE,  # (s)
    memory_reserved_bytes=258 * MEBIBYTE,  # (s) total less the 15102 MiB that are free when idle
    memory_bus_bits=256,  # (d)
    bar1_bytes=256 * MEBIBYTE,  # (s)
    pci_device_id=0x1EB810DE,  # (k)
    pci_subsystem_id=0x12A210DE,  # (k)
    board_part_number="900-2G183-0000-000",  # (k)
    vbios_version="90.04.84.00.06",  # (k)
    inforom_version="G183.0200.00.02",  # (k)
    power=Power(idle_watts=10, limit_watts=70, min_limit_watts=60, max_limit_watts=70),  # (o) idle, (s)
    clocks=Clocks(
        sm_megahertz=1590,  # (s)
        sm_idle_megahertz=300,  # (s)
        memory_megahertz=5001,  # (s)
        memory_idle_megahertz=405,  # (s)
        video_megahertz=1470,  # (k)
        idle_performance_state=8,  # (s)
    ),
    thermal=Thermal(
        ambient_celsius=28,  # (o)
        rise_celsius=50,  # (o) 78 degrees at 70 W: passive, it runs warm
        max_operating_celsius=85,  # (s)
        slowdown_celsius=93,  # (s)
        shutdown_celsius=96,  # (s)
        memory_max_celsius=0,
        has_memory_sensor=False,  # (s) "Memory Current Temp: N/A"
    ),
    interconnect=Interconnect(pcie_generation=3, pcie_width=16),  # (d)
    has_gpm=False,
)

L4 = Product(
    label="NVIDIA-L4",
    name="NVIDIA L4",  # (s)
    brand=BRAND_NVIDIA,
    family="ada-lovelace",
    architecture=8,
    compute_capability=(8, 9),
    multiprocessors=58,  # (d)
    cores=7424,  # (d)
    memory_bytes=23034 * MEBIBYTE,  # (s)
    memory_reserved_bytes=512 * MEBIBYTE,  # (o)
    memory_bus_bits=192,  # (d)
    bar1_bytes=32 << 30,  # (s)
    pci_device_id=0x27B810DE,  # (s)
    pci_subsystem_id=0x16CA10DE,  # (s)
    board_part_number="900-2G193-0000-000",  # (d)
    vbios_version="95.04.29.00.06",  # (o)
    inforom_version="G193.0200.00.01",  # (o)
    power=Power(idle_watts=16, limit_watts=72, min_limit_watts=40, max_limit_watts=72),  # (o) idle, (s)
    clocks=Clocks(
        sm_megahertz=2040,  # (s)
        sm_idle_megahertz=210,  # (s)
        memory_megahertz=6251,  # (s)
        memory_idle_megahertz=405,  # (s)
        video_megahertz=1770,  # (s)
        idle_performance_state=8,  # (s)
    ),
    thermal=Thermal(
        ambient_celsius=28,  # (o)
        rise_celsius=48,  # (o)
        max_operating_celsius=85,  # (o)
        slowdown_celsius=90,  # (o)
        shutdown_celsius=95,  # (o)
        memory_max_celsius=0,
        has_memory_sensor=False,
    ),
    interconnect=Interconnect(pcie_generation=4, pcie_width=16),  # (d)
    has_gpm=False,
)

PRODUCTS: Final = {product.label: product for product in (H100, H200, A100, T4, L4)}


def get_product(label: str) -> Product:
    """By the value that ``nvidia.com/gpu.product`` has for it."""
    if label not in PRODUCTS:
        raise WrongUsage(f"No product {label!r} is known to the lab; choose one of {', '.join(PRODUCTS)}.")
    return PRODUCTS[label]


def get_mig_profile(product: Product, name: str) -> MigProfile:
    """By its short name, as ``1g.10gb``."""
    for profile in product.mig_profiles:
        if profile.name == name:
            return profile
    known = ", ".join(profile.name for profile in product.mig_profiles) or "none: it has no MIG"
    raise WrongUsage(f"{product.name} has no MIG profile {name!r}; choose one of {known}.")
