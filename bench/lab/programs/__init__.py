"""
Programs that play container images in the lab. Each runs inside a container and knows nothing of the lab around it.

For the image catalogue (``bench/lab/images.yaml``):

``nvcr.io/nvidia/k8s/dcgm-exporter``
    ``python3 -m bench.lab.programs.dcgm_exporter``. The pod sets NVIDIA_VISIBLE_DEVICES=all by value, is privileged or
    has SYS_ADMIN, and mounts hostPath ``/var/lib/kubelet/pod-resources``. Flags, variables and the answer's text are
    those of the exporter 4.5.3-4.8.2.
``nvcr.io/nvidia/k8s/cuda-sample:nbody``
    ``python3 -m bench.lab.programs.nbody``. Pods start it as ``nbody`` or by the relative path ``cuda-samples/nbody``:
    show ``launchers/nbody`` (a shell script beside this file) at ``/cuda-samples/nbody`` and ``/usr/local/bin/nbody``,
    with ``/`` as the working directory.
``nvcr.io/nvidia/pytorch``, ``docker.io/nvidia/cuda``
    What the workloads' own programs run in: ``python3`` with numpy and pynvml (``python: bench``), and
    ``launchers/nvidia-smi`` at ``/usr/local/bin/nvidia-smi``.

What a container sees of devices is set by `bench.lab.gpu.devices.Devices.allocate`: mounts, variables, device nodes.
The kubelet's PodResources API, which is gRPC on a cluster, is HTTP with JSON here: ``GET /pods`` on the unix socket
``/var/lib/kubelet/pod-resources/kubelet.sock`` answers
``{"podResources": Devices.pod_resources(node)}``.
"""

from pathlib import Path
from typing import Final

LAUNCHERS: Final = Path(__file__).parent / "launchers"
"""Scripts that start these programs by the names that images have for them; ``{launchers}`` in the catalogue."""
