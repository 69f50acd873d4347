"""The command lines of a lab's control plane: pure functions of its configuration and its folders."""

import sys
from dataclasses import dataclass
from typing import Final

from bench.lab import network
from bench.lab.config import LabConfig
from bench.lab.control.files import Identity, Pki
from bench.lab.paths import LabPaths

ETCD_PORT: Final = 2379
SCHEDULER_PORT: Final = 10259
CONTROLLER_MANAGER_PORT: Final = 10257
PROXY_HEALTH_PORT: Final = 10256
PROXY_METRICS_PORT: Final = 10249

AGENT: Final = "agent"

_GATES: Final = "--feature-gates=GenericWorkload=true"
"""Pods scheduled as a gang (``scheduling.k8s.io`` PodGroup); alpha features stay off otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process that the supervisor keeps running."""

    name: str
    command: tuple[str, ...]
    keep: tuple[int, ...] = ()
    """Descriptors that it inherits."""
    address: str = ""
    """Where it serves inside of the lab, for `bench lab status`."""


class ControlPlane:
    """All programs of one lab."""

    def __init__(self, config: LabConfig, paths: LabPaths) -> None:
        self._config = config
        self._paths = paths
        self._pki = Pki(paths.pki)

    def etcd(self) -> Program:
        """Plain HTTP on the loopback address of the lab's own namespace: no pod can reach it."""
        client, peer = f"http://127.0.0.1:{ETCD_PORT}", f"http://127.0.0.1:{ETCD_PORT + 1}"
        flags = (
            f"--data-dir={self._paths.root / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # A lab that loses power is not continued, so nothing is gained by waiting for the disk.
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        return self._program("etcd", flags, address=f"127.0.0.1:{ETCD_PORT}")

    def apiserver(self) -> Program:
        """Listens on every address of the lab; pods reach it by the service address."""
        flags = (
            f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}",
            "--bind-address=0.0.0.0",
            f"--advertise-address={network.BRIDGE_ADDRESS}",
            f"--secure-port={network.API_PORT}",
            f"--service-cluster-ip-range={network.SERVICE_NETWORK}",
            "--allow-privileged=true",
            "--profiling=false",
            "--runtime-config=scheduling.k8s.io/v1beta1=true",
            _GATES,
            *self._serving_flags(),
            *self._identity_flags(),
            *self._aggregation_flags(),
            *self._kubelet_flags(),
        )
        return self._program("kube-apiserver", flags, address=f"{network.BRIDGE_ADDRESS}:{network.API_PORT}")

    def controller_manager(self) -> Program:
        """With one identity a controller, as clusters have it, so that RBAC mistakes show."""
        flags = (
            *self._client_flags(Identity.CONTROLLER_MANAGER),
            *self._health_flags(CONTROLLER_MANAGER_PORT),
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            # At its start it makes an account and a token for each of its controllers. At the default of 20 calls a
            # second that takes 5 s, before any controller begins.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            f"--root-ca-file={self._pki.ca}",
            f"--service-account-private-key-file={self._pki.service_account_key}",
            f"--cluster-signing-cert-file={self._pki.ca}",
            f"--cluster-signing-key-file={Pki.key_of(self._pki.ca)}",
            f"--horizontal-pod-autoscaler-sync-period={self._config.hpa_sync_seconds}s",
            f"--horizontal-pod-autoscaler-downscale-stabilization={self._config.hpa_downscale_stabilization_seconds}s",
            "--profiling=false",
            _GATES,
        )
        return self._program("kube-controller-manager", flags, address=f"127.0.0.1:{CONTROLLER_MANAGER_PORT}")

    def scheduler(self) -> Program:
        """The default profile."""
        flags = (
            *self._client_flags(Identity.SCHEDULER),
            *self._health_flags(SCHEDULER_PORT),
            "--leader-elect=false",
            "--profiling=false",
            _GATES,
        )
        return self._program("kube-scheduler", flags, address=f"127.0.0.1:{SCHEDULER_PORT}")

    def proxy(self, node: str) -> Program:
        """One for the whole lab: all pods share a bridge, so one set of rules serves every node."""
        flags = (
            f"--kubeconfig={self._pki.kubeconfig(Identity.PROXY)}",
            f"--hostname-override={node}",
            "--proxy-mode=nftables",
            # Pods on one bridge would answer each other directly, past the translation that the caller waits for.
            "--masquerade-all",
            # Not this namespace's to set; 0 leaves them alone.
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            f"--healthz-bind-address=127.0.0.1:{PROXY_HEALTH_PORT}",
            f"--metrics-bind-address=127.0.0.1:{PROXY_METRICS_PORT}",
        )
        return self._program("kube-proxy", flags, address=f"127.0.0.1:{PROXY_HEALTH_PORT}")

    def agent(self) -> Program:
        """Ours: every node, every pod, every device."""
        command = (sys.executable, "-m", "bench.lab.kubelet", str(self._paths.root))
        return Program(name=AGENT, command=command, address=network.BRIDGE_ADDRESS)

    def _program(self, name: str, flags: tuple[str, ...], *, address: str) -> Program:
        return Program(name=name, command=(str(self._paths.bin / name), *flags), address=address)

    def _client_flags(self, identity: Identity) -> tuple[str, ...]:
        path = self._pki.kubeconfig(identity)
        return (
            f"--kubeconfig={path}",
            f"--authentication-kubeconfig={path}",
            f"--authorization-kubeconfig={path}",
        )

    def _health_flags(self, port: int) -> tuple[str, ...]:
        # With a certificate at hand: making one would be an RSA key at each start.
        return (
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={self._pki.server}",
            f"--tls-private-key-file={Pki.key_of(self._pki.server)}",
        )

    def _serving_flags(self) -> tuple[str, ...]:
        return (
            f"--tls-cert-file={self._pki.server}",
            f"--tls-private-key-file={Pki.key_of(self._pki.server)}",
            f"--client-ca-file={self._pki.ca}",
        )

    def _identity_flags(self) -> tuple[str, ...]:
        return (
            f"--token-auth-file={self._pki.tokens}",
            "--authorization-mode=Node,RBAC",
            f"--service-account-issuer=https://kubernetes.default.svc.{network.CLUSTER_DOMAIN}",
            f"--service-account-key-file={self._pki.service_account_public_key}",
            f"--service-account-signing-key-file={self._pki.service_account_key}",
        )

    def _aggregation_flags(self) -> tuple[str, ...]:
        return (
            f"--requestheader-client-ca-file={self._pki.front_proxy_ca}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={self._pki.front_proxy}",
            f"--proxy-client-key-file={Pki.key_of(self._pki.front_proxy)}",
        )

    def _kubelet_flags(self) -> tuple[str, ...]:
        return (
            f"--kubelet-certificate-authority={self._pki.ca}",
            f"--kubelet-client-certificate={self._pki.kubelet_client}",
            f"--kubelet-client-key={Pki.key_of(self._pki.kubelet_client)}",
            "--kubelet-preferred-address-types=InternalIP",
        )
