"""The lab: a real Kubernetes control plane with simulated GPUs, in one set of namespaces."""
