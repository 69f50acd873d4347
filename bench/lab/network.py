"""The addresses of a lab. All lie in 198.18.0.0/15, the range reserved for benchmarking: none is ever anybody's."""

from typing import Final

BRIDGE: Final = "lab0"
BRIDGE_ADDRESS: Final = "198.18.0.1"
"""Of the lab itself on the pods' network; the API server advertises it, nodes report it as InternalIP."""
POD_NETWORK: Final = "198.18.0.0/16"
SERVICE_NETWORK: Final = "198.19.0.0/16"
API_SERVICE_ADDRESS: Final = "198.19.0.1"
DNS_SERVICE_ADDRESS: Final = "198.19.0.10"
GATEWAY_SERVICE_ADDRESS: Final = "198.19.0.20"
"""Of Service traefik/traefik, port 80: what the Gateway `lab` tells as its address, and where the forwarder leads."""
PROMETHEUS_SERVICE_ADDRESS: Final = "198.19.0.30"
"""Of Service monitoring/prometheus, port 9090."""
API_PORT: Final = 6443
SLOW_ADMISSION_PORT: Final = 9443
"""Of the agent, on the bridge: asked by the API server while a fault wants something to be slow."""
CLUSTER_DOMAIN: Final = "cluster.local"
