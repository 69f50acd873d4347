"""
The network of a lab's namespace: loopback and one bridge, and no route to anywhere else.

By four ioctls, so that PID 1 can start etcd as its first act without a netlink library in its memory. The pods' veth
pairs are the agent's, and it does use one.
"""

import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from bench.lab import network

_SET_FLAGS: Final = 0x8914
_SET_ADDRESS: Final = 0x8916
_SET_NETMASK: Final = 0x891C
_ADD_BRIDGE: Final = 0x89A0
_UP_AND_RUNNING: Final = 0x1 | 0x40

_SETTINGS: Final = {
    "ipv4/ip_forward": "1",
    # A service's address is translated where the lab routes. Translated on the bridge instead, what a pod asks of
    # itself through a service would have to leave by the port that it came from, and is dropped.
    "bridge/bridge-nf-call-iptables": "0",
    # All pods are behind one interface: the kernel would tell a pod of a shorter way to a service's address, past it.
    "ipv4/conf/all/send_redirects": "0",
    f"ipv4/conf/{network.BRIDGE}/send_redirects": "0",
}


def set_up() -> None:
    """Loopback, the bridge with the lab's own address, and forwarding between what is on the bridge."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        _bring_up(any_socket, "lo")
        fcntl.ioctl(any_socket, _ADD_BRIDGE, network.BRIDGE.encode() + b"\0")
        # Wide enough for the services' addresses: what has no route is refused before kube-proxy's rules see it.
        netmask = _smallest_with(IPv4Network(network.POD_NETWORK), IPv4Network(network.SERVICE_NETWORK)).netmask
        fcntl.ioctl(any_socket, _SET_ADDRESS, _address_request(network.BRIDGE, IPv4Address(network.BRIDGE_ADDRESS)))
        fcntl.ioctl(any_socket, _SET_NETMASK, _address_request(network.BRIDGE, netmask))
        _bring_up(any_socket, network.BRIDGE)
    for setting, value in _SETTINGS.items():
        # Of this network namespace only: /proc/sys/net shows that of the reader. A module's may be absent.
        path = Path("/proc/sys/net") / setting
        if path.exists():
            path.write_text(value, encoding="ascii")


def _bring_up(any_socket: socket.socket, name: str) -> None:
    fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH22x", name.encode(), _UP_AND_RUNNING))


def _smallest_with(one: IPv4Network, other: IPv4Network) -> IPv4Network:
    while not other.subnet_of(one):
        one = one.supernet()
    return one


def _address_request(name: str, address: IPv4Address) -> bytes:
    """A ``struct ifreq`` with a ``struct sockaddr_in``."""
    return struct.pack("16sHH4s16x", name.encode(), socket.AF_INET, 0, address.packed)
