"""The lab: a real Kubernetes control plane with simulated GPUs, on this machine."""
