"""Where a person looks when a pod came to what it was not given: the command, and what to see there."""

from collections.abc import Mapping
from typing import Final

_TOOLKIT: Final = (
    "/etc/nvidia-container-runtime/config.toml on the node: accept-nvidia-visible-devices-envvar-when-unprivileged "
    "false, accept-nvidia-visible-devices-as-volume-mounts"
)
_PLUGIN: Final = "kubectl logs of the device plugin: DEVICE_LIST_STRATEGY, PASS_DEVICE_SPECS"
_CGROUP: Final = "the container's device cgroup: does its OCI spec allow c 195:* as a whole?"
_SEED_PODS: Final = "kubectl describe pod in the namespace default: nbody-gpu-benchmark1, 2 and 3, and their logs"

LOOK_AT: Final[Mapping[str, str]] = {
    "holder_sees_other_than_one_total": (
        f"{_PLUGIN}. None seen: is the runtime class nvidia, and does nvidia-smi work on the node? "
        "More seen: is the pod privileged?"
    ),
    "seen_other_than_allocated_total": (
        "kubectl get resourceclaims -o yaml: status.allocation against the uuids in the pod's log; "
        "then the CDI files in /var/run/cdi on the node"
    ),
    "seen_without_request_total": (
        f"{_TOOLKIT}; the image's own NVIDIA_VISIBLE_DEVICES; is nvidia the default runtime of all pods?"
    ),
    "holders_beyond_shares_total": (
        "kubectl get node -o yaml: nvidia.com/gpu.replicas against sharing.timeSlicing in the device plugin's "
        "ConfigMap; does a second device plugin or a DRA driver offer the same device?"
    ),
    "foreign_devices_reached_total": f"{_CGROUP} The label route says by what: files, mknod, NVML or CUDA",
    "seen_by_second_container_total": (
        "crictl inspect of both containers: their devices, mounts and NVIDIA_VISIBLE_DEVICES; "
        "a claim is the container's whose resources.claims name it"
    ),
    "devices_seen_by_bypass_total": f"{_TOOLKIT}; the label attempted says by what",
    "host_path_devices_admitted_total": (
        "kubectl get ns -o yaml: is pod-security.kubernetes.io/enforce kept? Then the API server's admission plugins, "
        "the exemptions of PodSecurity, and mutating policies and webhooks for namespaces"
    ),
    "marks_of_earlier_owners_total": (
        "the label owners of marks_found_total: whose mark it is; nvidia-smi -q on the node: driver version, "
        "ECC and persistence mode; does a process of the earlier owner live on?"
    ),
    "slowdown_at_least_ratio": (
        "nvidia-smi topo -m, and nvidia-smi -q -d PERFORMANCE while both work: throttled by heat or by power? "
        "Do the pods' CPU limits hold the devices back?"
    ),
    "nbody_results_total": _SEED_PODS,
    "nbody_kept_pending_total": f"{_SEED_PODS}; was a second device free, of a new node or of a pod that ended?",
    "nbody_results_without_request_total": f"{_SEED_PODS}; {_TOOLKIT}",
}
"""By measurement of the check."""
