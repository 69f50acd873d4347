"""
A network namespace a pod, joined to the lab's bridge by a veth pair.

A namespace lives as long as its descriptor: no file and no name is left behind, and when the agent dies the kernel
removes namespaces, pairs and addresses by itself once the last process in them is gone.
"""

import ipaddress
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from pyroute2 import IPRoute

from bench.errors import LabFailed
from bench.lab.kubelet import kernel
from bench.lab.network import BRIDGE, BRIDGE_ADDRESS, POD_NETWORK

_FIRST_POD_ADDRESS: Final = "198.18.1.0"
"""The first 256 addresses are the lab's own."""
_LOOPBACK_INDEX: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """What a pod's processes are born into. Of a pod on the host's network the namespace is the lab's own."""

    address: str
    namespace: int
    """Descriptor of the namespace; -1 stays in the lab's."""

    @property
    def is_host(self) -> bool:
        return self.namespace < 0


HOST_NETWORK: Final = PodNetwork(address=BRIDGE_ADDRESS, namespace=-1)


class Addresses:
    """Hands out pod addresses in turn: one just given back is the last to be used again."""

    def __init__(self) -> None:
        network = ipaddress.ip_network(POD_NETWORK)
        self._first = int(ipaddress.ip_address(_FIRST_POD_ADDRESS))
        self._last = int(network.broadcast_address) - 1
        self._next = self._first
        self._used: set[int] = set()

    def take(self) -> str:
        for candidate in self._from_next():
            if candidate not in self._used and candidate % 256 not in {0, 255}:
                self._used.add(candidate)
                self._next = candidate + 1
                return str(ipaddress.ip_address(candidate))
        raise LabFailed(f"All addresses of {POD_NETWORK} are held by pods. Remove some pods.")

    def give_back(self, address: str) -> None:
        self._used.discard(int(ipaddress.ip_address(address)))

    def _from_next(self) -> Iterator[int]:
        yield from range(self._next, self._last + 1)
        yield from range(self._first, self._next)


class Networks:
    """Makes and removes pod networks; all netlink work is done by one thread of its own."""

    def __init__(self) -> None:
        self._addresses = Addresses()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="network")
        self._route: IPRoute | None = None
        self._bridge_index = 0
        self._made = 0

    @property
    def thread(self) -> ThreadPoolExecutor:
        """Run `make` and `remove` on this."""
        return self._thread

    def open(self) -> None:
        """Find the bridge; raises LabFailed where the lab's network is not there."""
        self._route = IPRoute()
        found = self._route.link_lookup(ifname=BRIDGE)
        if not found:
            raise LabFailed(f"The bridge {BRIDGE} is not there: the agent runs inside a lab's network only.")
        self._bridge_index = int(found[0])

    def make(self) -> PodNetwork:
        """A new namespace with an address and a way to the lab and to services."""
        address = self._addresses.take()
        home = kernel.own_network()
        try:
            kernel.leave_network()
            try:
                namespace = kernel.own_network()
                inner = IPRoute()
                _allow_low_ports()
            finally:
                kernel.enter_network(home)
        finally:
            os.close(home)
        try:
            self._join(namespace)
            _set_up(inner, address)
        finally:
            inner.close()
        return PodNetwork(address=address, namespace=namespace)

    def remove(self, network: PodNetwork) -> None:
        """Call after the last process in it has ended; the pair goes with the namespace."""
        if not network.is_host:
            os.close(network.namespace)
            self._addresses.give_back(network.address)

    def _join(self, namespace: int) -> None:
        assert self._route is not None
        self._made += 1
        peer: dict[str, Any] = {"ifname": "eth0", "net_ns_fd": namespace}
        # The kernel removes the pairs of an agent that died a moment later, so names must not repeat.
        name = f"v{os.getpid():x}-{self._made}"
        self._route.link("add", ifname=name, kind="veth", master=self._bridge_index, state="up", peer=peer)


def _allow_low_ports() -> None:
    """As container runtimes do: who is root in a pod is not so in its network, yet may serve port 80."""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w", encoding="ascii") as setting:
        setting.write("0")


def _set_up(inner: IPRoute, address: str) -> None:
    eth0 = inner.link_lookup(ifname="eth0")[0]
    prefix = ipaddress.ip_network(POD_NETWORK).prefixlen
    inner.link("set", index=_LOOPBACK_INDEX, state="up")
    inner.addr("add", index=eth0, address=address, prefixlen=prefix)
    inner.link("set", index=eth0, state="up")
    inner.route("add", gateway=BRIDGE_ADDRESS)
