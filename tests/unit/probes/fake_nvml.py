"""
An NVML library in Python, to be put in the place of the loaded one (``pynvml.nvmlLib``).

Speaks the C interface: arguments by reference, return codes. Every symbol that is not here is missing from the library,
as in an old driver. What the devices are like is data that a test changes.
"""

from contextlib import contextmanager
from ctypes import POINTER, c_void_p, cast
from dataclasses import dataclass, field

import pynvml

MIB = 1048576


@dataclass
class FakeDevice:
    uuid: str
    bus_id: str
    busy_percent: int = 90
    memory: dict = field(
        default_factory=lambda: {"total": 81920 * MIB, "reserved": 600 * MIB, "used": 1000 * MIB, "free": 80320 * MIB}
    )
    power_milliwatts: int = 300_000
    energy_milliwatts: int = 300_000
    limits_milliwatts: tuple = (700_000, 700_000, 700_000)
    link: tuple = (5, 5, 16, 16)
    remapped: tuple = (0, 0, 0, 0)
    retired_pending: int = 0
    uncorrected: int = 0
    event_reasons: int = 0
    nvlinks: tuple = ()
    replays_per_second: float = 0.0
    refusals: dict = field(default_factory=dict)
    index_by_uuid: int | None = None


class FakeNvml:
    """The library; `now` is a clock that a test may drive, `refusals` return codes of whole calls."""

    def __init__(self, devices, *, clock, refusals=None):
        self.devices = devices
        self.clock = clock
        self.refusals = refusals or {}
        self.calls = []
        self.is_open = 0
        for name, function in self._symbols().items():
            setattr(self, name, self._entry(name, function))

    def _entry(self, name, function):
        # a plain function: nvmlErrorString gets an attribute set upon it
        def entry(*arguments):
            self.calls.append(name)
            if name in self.refusals:
                return self.refusals[name]
            device = self._device(arguments[0]) if arguments and isinstance(arguments[0], c_void_p_types()) else None
            if device is not None and name in device.refusals:
                return device.refusals[name]
            if device is not None:
                return function(device, *arguments[1:]) or 0
            return function(*arguments) or 0

        return entry

    def _device(self, handle):
        number = cast(handle, c_void_p).value
        return self.devices[number - 1] if number and number <= len(self.devices) else None

    def _symbols(self):
        return {
            "nvmlInitWithFlags": self._init,
            "nvmlShutdown": self._shutdown,
            "nvmlSystemGetDriverVersion": lambda buffer, _: text(buffer, "580.65.06"),
            "nvmlSystemGetNVMLVersion": lambda buffer, _: text(buffer, "13.580.65.06"),
            "nvmlDeviceGetCount_v2": lambda out: put(out, len(self.devices)),
            "nvmlDeviceGetHandleByIndex_v2": self._by_index,
            "nvmlDeviceGetHandleByUUID": self._by_uuid,
            "nvmlDeviceGetHandleByPciBusId_v2": self._by_bus,
            "nvmlDeviceGetUUID": lambda device, buffer, _: text(buffer, device.uuid),
            "nvmlDeviceGetName": lambda _, buffer, __: text(buffer, "NVIDIA H100 80GB HBM3"),
            "nvmlDeviceGetIndex": lambda device, out: put(out, self._index(device)),
            "nvmlDeviceGetPciInfo_v3": self._pci,
            "nvmlDeviceGetUtilizationRates": self._utilisation,
            "nvmlDeviceGetMemoryInfo": self._memory,
            "nvmlDeviceGetMemoryInfo_v2": self._memory,
            "nvmlDeviceGetPowerUsage": lambda device, out: put(out, device.power_milliwatts),
            "nvmlDeviceGetTotalEnergyConsumption": self._energy,
            "nvmlDeviceGetTemperature": lambda _, __, out: put(out, 55),
            "nvmlDeviceGetClockInfo": lambda _, __, out: put(out, 1980),
            "nvmlDeviceGetEnforcedPowerLimit": lambda device, out: put(out, device.limits_milliwatts[0]),
            "nvmlDeviceGetPowerManagementLimit": lambda device, out: put(out, device.limits_milliwatts[1]),
            "nvmlDeviceGetPowerManagementLimitConstraints": lambda device, low, high: (
                put(low, 200_000) or put(high, device.limits_milliwatts[2])
            ),
            "nvmlDeviceGetCurrPcieLinkGeneration": lambda device, out: put(out, device.link[0]),
            "nvmlDeviceGetMaxPcieLinkGeneration": lambda device, out: put(out, device.link[1]),
            "nvmlDeviceGetCurrPcieLinkWidth": lambda device, out: put(out, device.link[2]),
            "nvmlDeviceGetMaxPcieLinkWidth": lambda device, out: put(out, device.link[3]),
            "nvmlDeviceGetPcieReplayCounter": lambda device, out: put(
                out, 7 + int(device.replays_per_second * self.clock())
            ),
            "nvmlDeviceGetRemappedRows": self._remapped,
            "nvmlDeviceGetRetiredPagesPendingStatus": lambda device, out: put(out, device.retired_pending),
            "nvmlDeviceGetTotalEccErrors": self._ecc,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda device, out: put(out, device.event_reasons),
            "nvmlDeviceGetNvLinkState": self._nvlink,
            "nvmlDeviceGetFieldValues": self._fields,
            "nvmlDeviceGetProcessUtilization": lambda *_: 0,
        }

    def _init(self, _flags):
        self.is_open += 1

    def _shutdown(self):
        self.is_open -= 1

    def _index(self, device):
        return self.devices.index(device)

    def _handle(self, number, out):
        cast(out, POINTER(c_void_p))[0] = number + 1

    def _by_index(self, index, out):
        if self.devices[index.value].refusals.get("open"):
            return self.devices[index.value].refusals["open"]
        return self._handle(index.value, out)

    def _by_uuid(self, uuid, out):
        for number, device in enumerate(self.devices):
            if device.uuid.encode() == uuid.value:
                return self._handle(number if device.index_by_uuid is None else device.index_by_uuid, out)
        return 6

    def _by_bus(self, bus_id, out):
        for number, device in enumerate(self.devices):
            if device.bus_id.encode() == bus_id.value:
                return self._handle(number, out)
        return 6

    def _pci(self, device, out):
        out._obj.busId = device.bus_id.encode()

    def _utilisation(self, device, out):
        out._obj.gpu, out._obj.memory = device.busy_percent, 10

    def _memory(self, device, out):
        for name, value in device.memory.items():
            if hasattr(out._obj, name):
                setattr(out._obj, name, value)

    def _energy(self, device, out):
        put(out, int(device.energy_milliwatts * self.clock()))

    def _remapped(self, device, *outs):
        for out, value in zip(outs, device.remapped, strict=True):
            put(out, value)

    def _ecc(self, device, error, _counter, out):
        put(out, device.uncorrected if error.value == pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED else 3)

    def _nvlink(self, device, link, out):
        if link >= len(device.nvlinks):
            return 2 if device.nvlinks else 3
        return put(out, device.nvlinks[link])

    def _fields(self, device, _count, values):
        for value in values._obj:
            value.nvmlReturn = 3
            if value.fieldId == 83:
                value.nvmlReturn, value.valueType = 0, 3
                value.value.ullVal = int(device.energy_milliwatts * self.clock())


def c_void_p_types():
    return (c_void_p, POINTER(pynvml.struct_c_nvmlDevice_t))


def put(out, value):
    out._obj.value = value


def text(buffer, value):
    buffer.value = value.encode()


@contextmanager
def installed(library):
    """The library in the place of the loaded one, and nothing remembered of the one before."""
    before, remembered = pynvml.nvmlLib, dict(pynvml._nvmlGetFunctionPointer_cache)
    pynvml.nvmlLib = library
    pynvml._nvmlGetFunctionPointer_cache.clear()
    try:
        yield library
    finally:
        pynvml.nvmlLib = before
        pynvml._nvmlGetFunctionPointer_cache.clear()
        pynvml._nvmlGetFunctionPointer_cache.update(remembered)


def pair():
    return [
        FakeDevice(uuid="GPU-00000000-1111-2222-3333-444444444444", bus_id="00000000:01:00.0"),
        FakeDevice(uuid="GPU-99999999-1111-2222-3333-444444444444", bus_id="00000000:02:00.0"),
    ]
