"""What faults do to a device itself: errors it counts, heat, loss. All of it is seen through NVML, by anybody."""

from dataclasses import replace
from typing import Final

from bench.lab.faults.state import Faults, Planted
from bench.lab.gpu import model
from bench.lab.gpu.fleet import Gpu
from bench.lab.gpu.model import DeviceState
from bench.lab.gpu.page import Record

OF_DEVICES: Final = ("xid", "lost-device", "ecc", "hot", "energy-falls")
_FALLEN_OFF_THE_BUS: Final = 79
_DOUBLE_BIT_ECC: Final = 48


def is_any_planted(faults: Faults) -> bool:
    """Whether devices are to be looked at although nobody holds them."""
    return any(name in faults.all() for name in OF_DEVICES)


class DeviceFaults:
    """Of one device. Errors that it counted stay counted when the fault is cleared, as until a driver reload."""

    def __init__(self, gpu: Gpu, faults: Faults) -> None:
        self._gpu = gpu
        self._faults = faults
        self._counted: set[tuple[str, float]] = set()
        """Plantings that were counted, by name and time."""
        self._xids: list[int] = []
        self._uncorrected_total = 0

    def heated(self, state: DeviceState) -> DeviceState:
        """The device as hot as it is told to be; without the fault it cools down from there by itself."""
        hot = self._find("hot")
        if hot is None:
            return state
        celsius = hot.number("celsius")
        warm = replace(state, temperature_celsius=celsius, memory_temperature_celsius=celsius)
        return model.with_clocks(warm, self._gpu.product)

    def over(self, live: Record) -> Record:
        """The live record with the errors laid over it."""
        self._count()
        own = {
            "ecc_uncorrected": self._uncorrected_total,
            "remapped_uncorrectable": self._uncorrected_total,
            "xid_count": len(self._xids),
            "last_xid": self._xids[-1] if self._xids else 0,
            "lost": int(self._find("lost-device") is not None),
        }
        falls = self._find("energy-falls")
        if falls is not None:
            own["energy_millijoules"] = int(live["energy_millijoules"]) % max(1, round(falls.number("joules") * 1000))
        return {**live, **own}

    def _count(self) -> None:
        """What each planting adds, once."""
        for name in ("xid", "lost-device", "ecc"):
            fault = self._find(name)
            if fault is None or (name, fault.utc_seconds) in self._counted:
                continue
            self._counted.add((name, fault.utc_seconds))
            if name == "ecc":
                self._uncorrected_total += int(fault.number("count"))
            self._xids.append(_code(fault))

    def _find(self, name: str) -> Planted | None:
        fault = self._faults.find(name)
        if fault is None or fault.text("device") not in {"", str(self._gpu.index), self._gpu.uuid}:
            return None
        return fault


def _code(fault: Planted) -> int:
    known = {"lost-device": _FALLEN_OFF_THE_BUS, "ecc": _DOUBLE_BIT_ECC}
    return known[fault.name] if fault.name in known else int(fault.number("code"))
