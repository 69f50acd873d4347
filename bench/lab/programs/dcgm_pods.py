"""Which pod holds which device, as the kubelet tells at this moment."""

import http.client
import json
import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.lab.faults.state import Planted, from_json

logger = logging.getLogger(__name__)

DRIVER: Final = "gpu.nvidia.com"
_PODS: Final = "/pods"
_FAULTS: Final = "/faults"
_REFRESHED: Final = "/exporter-refreshed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One container of one pod, by one way to one device."""

    pod: str
    namespace: str
    container: str
    replica: str = ""
    """Of a time-sliced device; empty where it is not shared."""
    claim: Mapping[str, str] = field(default_factory=dict)
    """The labels ``dra_*``; empty for a device of the device plugin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderMap:
    """Holders in the order in which the kubelet lists them."""

    by_uuid: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)
    by_device_name: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)
    """Of claims, which know a device as ``gpu-0``."""
    also: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)
    """Pods that are named in a second series of a device, by its uuid; a sound exporter has none."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("kubelet", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def tell_refresh(path: str, began_utc_seconds: float, ended_utc_seconds: float, timeout_seconds: float = 2.0) -> None:
    """
    Tell the lab that every device was read between these times, for its truth log.

    A node that does not listen (any but a lab's) costs one refused request an interval, and nothing else.
    """
    connection = _UnixConnection(path, timeout_seconds)
    try:
        told = {"began_utc_seconds": began_utc_seconds, "ended_utc_seconds": ended_utc_seconds}
        connection.request("POST", _REFRESHED, json.dumps(told))
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        logger.debug("the refresh was not told: %s", error)
    finally:
        connection.close()


def list_pods(path: str, timeout_seconds: float = 10.0) -> Sequence[Mapping[str, Any]]:
    """Ask the kubelet; OSError or ValueError where it does not answer."""
    pods: Sequence[Mapping[str, Any]] = _ask(path, _PODS, timeout_seconds)["podResources"]
    return pods


def find_faults(path: str, timeout_seconds: float = 2.0) -> Mapping[str, Planted]:
    """What the lab wants this exporter to do wrong, by name; none on a node that knows no faults."""
    try:
        told = _ask(path, _FAULTS, timeout_seconds)["faults"]
    except (OSError, ValueError, KeyError) as error:
        logger.debug("no faults are told: %s", error)
        return {}
    return {each["name"]: from_json(each) for each in told}


def _ask(path: str, question: str, timeout_seconds: float) -> Mapping[str, Any]:
    connection = _UnixConnection(path, timeout_seconds)
    try:
        connection.request("GET", question)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise OSError(f"the kubelet answered {answer.status}")
        told: Mapping[str, Any] = json.loads(body)
    except http.client.HTTPException as error:
        raise OSError(f"the kubelet's answer is no HTTP: {error}") from error
    finally:
        connection.close()
    return told


def map_holders(pods: Sequence[Mapping[str, Any]], *, with_claims: bool) -> HolderMap:
    """By device; a device that several pods share has several holders."""
    by_uuid: dict[str, tuple[Holder, ...]] = {}
    by_name: dict[str, tuple[Holder, ...]] = {}
    for pod in pods:
        for container in pod["containers"]:
            for uuid, holder in _plugin_holders(pod, container):
                by_uuid[uuid] = (*by_uuid.get(uuid, ()), holder)
            for name, holder in _claim_holders(pod, container) if with_claims else ():
                by_name[name] = (*by_name.get(name, ()), holder)
    return HolderMap(by_uuid=by_uuid, by_device_name=by_name)


def _plugin_holders(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[tuple[str, Holder]]:
    for device in container.get("devices", []):
        if not device["resource_name"].startswith("nvidia.com/"):
            continue
        for device_id in device["device_ids"]:
            uuid, _, replica = device_id.partition("::")
            yield uuid, _holder(pod, container, replica, {})


def _claim_holders(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[tuple[str, Holder]]:
    for claim in container.get("dynamic_resources", []):
        for device in claim["claim_resources"]:
            if device["driver_name"] == DRIVER:
                labels = {
                    "dra_claim_name": claim["claim_name"],
                    "dra_claim_namespace": claim["claim_namespace"],
                    "dra_driver_name": device["driver_name"],
                    "dra_pool_name": device["pool_name"],
                    "dra_device_name": device["device_name"],
                }
                yield device["device_name"], _holder(pod, container, "", labels)


def _holder(pod: Mapping[str, Any], container: Mapping[str, Any], replica: str, claim: Mapping[str, str]) -> Holder:
    return Holder(
        pod=pod["name"],
        namespace=pod["namespace"],
        container=container["name"],
        replica=replica,
        claim=claim,
    )


def find_holders(path: str, *, with_claims: bool) -> HolderMap:
    """Nobody, and a warning, where the kubelet does not answer: the series are served all the same, without pods."""
    try:
        return map_holders(list_pods(path), with_claims=with_claims)
    except (OSError, ValueError, KeyError) as error:
        logger.warning("Failed to map devices to pods: %s: %s", path, error)
        return HolderMap()
