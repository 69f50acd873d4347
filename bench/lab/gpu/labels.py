"""What NVIDIA's GPU feature discovery and GPU operator tell about a node, as labels."""

from collections.abc import Mapping, Sequence

from bench.lab.config import Allocation
from bench.lab.gpu.fleet import Gpu
from bench.lab.gpu.profiles import CUDA_DRIVER_VERSION, DRIVER_VERSION, MEBIBYTE


def node_labels(gpus: Sequence[Gpu], time_slices: int) -> Mapping[str, str]:
    """Empty for a node without devices: feature discovery does not run there."""
    if not gpus:
        return {}
    by_plugin = [gpu for gpu in gpus if gpu.offered_by is Allocation.DEVICE_PLUGIN]
    labels = _driver_labels() | _product_labels(gpus, time_slices if by_plugin else 1)
    instances = [instance for gpu in by_plugin for instance in gpu.mig_instances]
    if instances:
        profile = instances[0].profile
        prefix = f"nvidia.com/mig-{profile.name}"
        labels |= {
            "nvidia.com/mig.strategy": "mixed",
            f"{prefix}.count": str(len(instances)),
            f"{prefix}.product": f"{gpus[0].product.label}-MIG-{profile.name}",
            f"{prefix}.memory": str(profile.memory_bytes // MEBIBYTE),
            f"{prefix}.multiprocessors": str(profile.multiprocessors),
            f"{prefix}.replicas": "1",
            f"{prefix}.sharing-strategy": "none",
            f"{prefix}.slices.ci": str(profile.slices),
            f"{prefix}.slices.gi": str(profile.slices),
        }
    return labels


def _product_labels(gpus: Sequence[Gpu], time_slices: int) -> dict[str, str]:
    product = gpus[0].product
    shared = time_slices > 1
    return {
        "nvidia.com/gpu.present": "true",
        # the suffix is what feature discovery adds so that sharers can be told apart
        "nvidia.com/gpu.product": product.label + ("-SHARED" if shared else ""),
        "nvidia.com/gpu.count": str(len(gpus)),
        "nvidia.com/gpu.memory": str(product.memory_bytes // MEBIBYTE),
        "nvidia.com/gpu.family": product.family,
        "nvidia.com/gpu.compute.major": str(product.compute_capability[0]),
        "nvidia.com/gpu.compute.minor": str(product.compute_capability[1]),
        "nvidia.com/gpu.replicas": str(time_slices),
        "nvidia.com/gpu.sharing-strategy": "time-slicing" if shared else "none",
        "nvidia.com/gpu.mode": "compute",
        "nvidia.com/mig.capable": str(product.mig_capable).lower(),
        "nvidia.com/gpu.deploy.device-plugin": "true",
        "nvidia.com/gpu.deploy.dcgm-exporter": "true",
    }


def _driver_labels() -> dict[str, str]:
    major, minor, revision = DRIVER_VERSION.split(".")
    cuda_major, cuda_minor = CUDA_DRIVER_VERSION
    return {
        "nvidia.com/cuda.driver.major": major,
        "nvidia.com/cuda.driver.minor": minor,
        "nvidia.com/cuda.driver.rev": revision,
        "nvidia.com/cuda.driver-version.major": major,
        "nvidia.com/cuda.driver-version.minor": minor,
        "nvidia.com/cuda.driver-version.revision": revision,
        "nvidia.com/cuda.driver-version.full": DRIVER_VERSION,
        "nvidia.com/cuda.runtime.major": str(cuda_major),
        "nvidia.com/cuda.runtime.minor": str(cuda_minor),
        "nvidia.com/cuda.runtime-version.major": str(cuda_major),
        "nvidia.com/cuda.runtime-version.minor": str(cuda_minor),
        "nvidia.com/cuda.runtime-version.full": f"{cuda_major}.{cuda_minor}",
    }
