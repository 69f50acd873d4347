"""Whether a pod fits on its node, asked once more by the node itself. Pure but for what it remembers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from bench.lab.kubelet.quantity import parse_quantity
from bench.lab.kubelet.status import is_sidecar

_CHECKED: Final = ("cpu", "memory", "ephemeral-storage")
Amounts = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why the pod will not run here; reason and message are the kubelet's."""

    reason: str
    message: str


def requests(spec: Mapping[str, Any]) -> dict[str, Decimal]:
    """What a pod asks for: all containers and sidecars together, or the largest init container, whatever is more."""
    total: dict[str, Decimal] = {}
    for container in spec.get("containers") or ():
        _add(total, _of(container))
    peak: dict[str, Decimal] = {}
    beside: dict[str, Decimal] = {}
    for container in spec.get("initContainers") or ():
        if is_sidecar(container):
            _add(total, _of(container))
            _add(beside, _of(container))
            continue
        for name, amount in _of(container).items():
            peak[name] = max(peak.get(name, Decimal(0)), amount + beside.get(name, Decimal(0)))
    combined = {name: max(total.get(name, Decimal(0)), peak.get(name, Decimal(0))) for name in {*total, *peak}}
    whole = (spec.get("resources") or {}).get("requests") or {}
    combined |= {name: parse_quantity(amount) for name, amount in whole.items()}
    _add(combined, {name: parse_quantity(amount) for name, amount in (spec.get("overhead") or {}).items()})
    return combined


def limits(containers: Sequence[Mapping[str, Any]], resource: str) -> Decimal:
    """The sum of a limit that every container has; 0 if one has none, for then the pod as a whole has none."""
    each = [((container.get("resources") or {}).get("limits") or {}).get(resource) for container in containers]
    if not each or any(amount is None for amount in each):
        return Decimal(0)
    return sum((parse_quantity(amount) for amount in each), Decimal(0))


def _of(container: Mapping[str, Any]) -> dict[str, Decimal]:
    asked = (container.get("resources") or {}).get("requests") or {}
    return {name: parse_quantity(amount) for name, amount in asked.items()}


def _add(total: dict[str, Decimal], more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, Decimal(0)) + amount


class Rooms:
    """What every node has, and what its pods took of it."""

    def __init__(self) -> None:
        self._capacity: dict[str, dict[str, Decimal]] = {}
        self._taken: dict[str, dict[str, dict[str, Decimal]]] = {}

    def open(self, node: str, allocatable: Mapping[str, str]) -> None:
        """A node, or its new size."""
        self._capacity[node] = {name: parse_quantity(amount) for name, amount in allocatable.items()}
        self._taken.setdefault(node, {})

    def close(self, node: str) -> None:
        """The node is gone."""
        self._capacity.pop(node, None)
        self._taken.pop(node, None)

    def take(self, node: str, uid: str, spec: Mapping[str, Any]) -> Rejection | None:
        """Room for a pod, or why there is none. Devices are not counted here: who allocates them counts them."""
        asked = requests(spec)
        shortage = next(self._shortages(node, asked), None)
        if shortage is None and node in self._taken:
            self._taken[node][uid] = asked
        return shortage

    def give_back(self, node: str, uid: str) -> None:
        """The pod is over."""
        self._taken.get(node, {}).pop(uid, None)

    def _shortages(self, node: str, asked: Amounts) -> Iterator[Rejection]:
        capacity, pods = self._capacity.get(node, {}), self._taken.get(node, {})
        asked = {**asked, "pods": Decimal(1)}
        for name in ("pods", *_CHECKED):
            wanted = asked.get(name, Decimal(0))
            used = Decimal(len(pods)) if name == "pods" else _sum(pods, name)
            room = capacity.get(name)
            if room is not None and wanted and used + wanted > room:
                yield Rejection(reason=f"OutOf{name}", message=_shortage(name, wanted, used, room))


def _sum(pods: Mapping[str, Amounts], name: str) -> Decimal:
    return sum((amounts.get(name, Decimal(0)) for amounts in pods.values()), Decimal(0))


def _shortage(name: str, wanted: Decimal, used: Decimal, room: Decimal) -> str:
    scale = 1000 if name == "cpu" else 1  # the kubelet tells cpu in thousandths
    numbers = f"requested: {int(wanted * scale)}, used: {int(used * scale)}, capacity: {int(room * scale)}"
    return f"Node didn't have enough resource: {name}, {numbers}"
