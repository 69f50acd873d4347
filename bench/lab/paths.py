"""Where the lab keeps its files: a cache that all labs share, and one state folder a lab, removed at `down`."""

import os
from dataclasses import dataclass
from pathlib import Path


def cache_dir() -> Path:
    """Built programs, keyed by recipe; shared by all labs of a user and kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpu-bench"


def state_root() -> Path:
    """One folder a lab."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "gpu-bench" / "labs"


@dataclass(frozen=True, slots=True)
class LabPaths:
    """The files of one lab. Nothing of a lab is written anywhere else (but for its control groups)."""

    root: Path

    @classmethod
    def of(cls, name: str) -> "LabPaths":
        return cls(state_root() / name)

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def status(self) -> Path:
        return self.root / "status.json"

    @property
    def kubeconfig(self) -> Path:
        """For users: the API server as seen from outside, on 127.0.0.1."""
        return self.root / "kubeconfig"

    @property
    def bin(self) -> Path:
        """Links to the programs that this lab runs, by their upstream names (``kube-apiserver``, ``kubectl`` …)."""
        return self.root / "bin"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def inner_kubeconfig(self) -> Path:
        """For the lab's own processes: the API server as seen from inside, as an administrator."""
        return self.pki / "admin.kubeconfig"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor answers `status` and `down`."""
        return self.root / "control.sock"

    @property
    def truth(self) -> Path:
        """What really happened, as JSON lines; for tests."""
        return self.root / "truth.jsonl"

    @property
    def faults(self) -> Path:
        """Which faults are planted, see `bench.lab.faults.state`."""
        return self.root / "faults.json"

    def node_root(self, node: str) -> Path:
        """What a hostPath volume of a pod on this node sees as ``/``."""
        return self.root / "nodes" / node

    def pod(self, uid: str) -> Path:
        return self.root / "pods" / uid

    def gpu(self, uuid: str) -> Path:
        """The state page of one device, see `bench/lab/gpu/nvml/state.h`."""
        return self.root / "gpus" / uuid

    def gpu_memory(self, uuid: str) -> Path:
        """The memory of one device, see `bench/lab/gpu/cuda/memory.h`."""
        return self.root / "gpus" / f"{uuid}.memory"

    def gpu_kernels(self, uuid: str) -> Path:
        """Which share of one device its holder's kernels are on, see `bench/lab/gpu/kernels.py`."""
        return self.root / "gpus" / f"{uuid}.kernels"
