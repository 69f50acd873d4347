"""
What an exporter does wrong when its lab was told so: to the values that it shows, and to the pods that it names.

Everything is decided at a scrape, so that a fault comes and goes without a restart and shows at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bench.lab.faults.state import Planted
from bench.lab.programs.dcgm_collector import Reading
from bench.lab.programs.dcgm_fields import Value
from bench.lab.programs.dcgm_pods import Holder, HolderMap
from bench.lab.programs.dcgm_text import Style

INTEGER_SENTINEL: Final = 0x7FFFFFFFFFFFFFF2
"""DCGM's mark for an integer that is not supported."""
FLOAT_SENTINEL: Final = 140737488355330.0
"""The same for a double."""
_UTILIZATION: Final = "DCGM_FI_DEV_GPU_UTIL"
_SM_ACTIVE: Final = "DCGM_FI_PROF_SM_ACTIVE"

Past = Callable[[float], Sequence[Reading]]
"""All readings as they were shown so many seconds ago."""
Faults = Mapping[str, Planted]


def is_chosen(fault: Planted, reading: Reading) -> bool:
    """Whether the fault is meant for this device: for all, or by index or uuid."""
    return fault.text("device") in {"", str(reading.index), reading.uuid, reading.labels["UUID"]}


def delay_seconds(faults: Faults, *, is_scrape: bool) -> float:
    """How old everything is that is shown, beyond its age in the cache; a scrape is Prometheus', a look anybody's."""
    slow = faults.get("slow-stage")
    if slow is None:
        return 0.0
    hits = slow.text("stage") == "exporter" or (is_scrape and slow.text("stage") == "prometheus")
    return slow.number("seconds") if hits else 0.0


class Distortion:
    """Makes readings wrong, field by field; remembers what it needs from one scrape to the next."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, float, str, str], Value] = {}
        """By fault, time of its planting, device and field."""
        self._changes: Mapping[str, Callable[[Planted, Reading, str], Value]] = {
            "series-frozen": self._frozen,
            "counter-reset": self._reset,
            "wrong-unit": _scaled,
            "sentinel-leaked": _sentinel,
        }

    def readings(self, shown: Sequence[Reading], past: Past, faults: Faults) -> tuple[Reading, ...]:
        """As they are to be shown."""
        present = {(fault.name, fault.utc_seconds) for fault in faults.values()}
        self._kept = {key: value for key, value in self._kept.items() if key[:2] in present}
        changed = tuple(shown)
        if "sm-active-is-utilization" in faults:
            fault = faults["sm-active-is-utilization"]
            changed = tuple(_utilization_twice(each) if is_chosen(fault, each) else each for each in changed)
        if "delayed-series" in faults:
            fault = faults["delayed-series"]
            old = {each.uuid: each for each in past(fault.number("seconds"))}
            changed = tuple(_replaced(fault, each, _older(old)) for each in changed)
        for name, change in self._changes.items():
            if name in faults:
                changed = tuple(_replaced(faults[name], each, change) for each in changed)
        return changed

    def _frozen(self, fault: Planted, reading: Reading, field: str) -> Value:
        return self._first(fault, reading, field)

    def _reset(self, fault: Planted, reading: Reading, field: str) -> Value:
        return reading.values[field] - self._first(fault, reading, field)

    def _first(self, fault: Planted, reading: Reading, field: str) -> Value:
        """What was read first since the fault was planted."""
        key = (fault.name, fault.utc_seconds, reading.uuid, field)
        return self._kept.setdefault(key, reading.values[field])


def _utilization_twice(reading: Reading) -> Reading:
    """In its own place, and as a ratio in that of the multiprocessors' activity, where this is shown."""
    if not {_UTILIZATION, _SM_ACTIVE} <= reading.values.keys():
        return reading
    return replace(reading, values={**reading.values, _SM_ACTIVE: reading.values[_UTILIZATION] / 100.0})


def _replaced(fault: Planted, reading: Reading, change: Callable[[Planted, Reading, str], Value]) -> Reading:
    if not is_chosen(fault, reading):
        return reading
    wanted = fault.text("field")
    values = {
        name: change(fault, reading, name) if wanted in {"", name} else old for name, old in reading.values.items()
    }
    return replace(reading, values=values)


def _older(readings: Mapping[str, Reading]) -> Callable[[Planted, Reading, str], Value]:
    """From what was read before; a field that was not there then is shown as it is now."""
    return lambda _, reading, field: readings[reading.uuid].values.get(field, reading.values[field])


def _scaled(fault: Planted, reading: Reading, field: str) -> Value:
    return reading.values[field] * fault.number("factor")


def _sentinel(_fault: Planted, reading: Reading, field: str) -> Value:
    return INTEGER_SENTINEL if isinstance(reading.values[field], int) else FLOAT_SENTINEL


def named_wrongly(holders: HolderMap, readings: Sequence[Reading], faults: Faults, own: Holder) -> HolderMap:
    """
    The pods that are named at the chosen devices: none, or others than those that hold them.

    Another pod is one that holds another device of the node or, where there is none, the exporter's own (`own`).
    """
    changed = holders
    for name, change in _NAMINGS.items():
        if name in faults:
            chosen = [each for each in readings if is_chosen(faults[name], each)]
            changed = change(changed, chosen, own)
    return changed


def styled_wrongly(style: Style, faults: Faults) -> Style:
    """As releases before 4.8.2 show shares of a device when they are asked to tell them apart."""
    return replace(style, virtual_gpus=True) if "shares-copied" in faults else style


def _without(holders: HolderMap, chosen: Sequence[Reading], _own: Holder) -> HolderMap:
    uuids, names = {each.uuid for each in chosen}, {_device_name(each) for each in chosen}
    return replace(
        holders,
        by_uuid={uuid: found for uuid, found in holders.by_uuid.items() if uuid not in uuids},
        by_device_name={name: found for name, found in holders.by_device_name.items() if name not in names},
    )


def _with_others(holders: HolderMap, chosen: Sequence[Reading], own: Holder) -> HolderMap:
    others = _others(holders, chosen, own)
    return replace(_without(holders, chosen, own), by_uuid={**_without(holders, chosen, own).by_uuid, **others})


def _with_others_too(holders: HolderMap, chosen: Sequence[Reading], own: Holder) -> HolderMap:
    return replace(holders, also=_others(holders, chosen, own))


def _others(holders: HolderMap, chosen: Sequence[Reading], own: Holder) -> dict[str, tuple[Holder, ...]]:
    """Of each chosen device that is held."""
    found: dict[str, tuple[Holder, ...]] = {}
    for reading in chosen:
        mine = {_pod(each) for each in _holders_of(holders, reading)}
        if mine:
            strangers = (each for each in _all(holders) if _pod(each) not in mine)
            found[reading.uuid] = (next(strangers, own),)
    return found


def _holders_of(holders: HolderMap, reading: Reading) -> tuple[Holder, ...]:
    return (*holders.by_uuid.get(reading.uuid, ()), *holders.by_device_name.get(_device_name(reading), ()))


def _all(holders: HolderMap) -> Iterator[Holder]:
    for found in (*holders.by_uuid.values(), *holders.by_device_name.values()):
        yield from found


def _device_name(reading: Reading) -> str:
    return f"gpu-{reading.index}"


def _pod(holder: Holder) -> tuple[str, str]:
    return holder.namespace, holder.pod


_NAMINGS: Final[Mapping[str, Callable[[HolderMap, Sequence[Reading], Holder], HolderMap]]] = {
    "duplicated-series": _with_others_too,
    "wrong-pod": _with_others,
    "missing-pod-label": _without,
}
