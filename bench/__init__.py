"""Proof of how GPUs behave on Kubernetes."""
