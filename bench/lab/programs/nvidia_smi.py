"""`nvidia-smi` as far as everybody types it: the table, ``-L``, and ``--query-gpu`` as csv; all through NVML."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pynvml

MEBIBYTE: Final = 1 << 20
_FAILED: Final = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. {}\n"
_NOT_SUPPORTED: Final = "[N/A]"


def _memory(name: str) -> Callable[[Any], str]:
    def read(handle: Any) -> str:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
        return f"{getattr(memory, name) // MEBIBYTE} MiB"

    return read


def _watts(read: Callable[[Any], int]) -> Callable[[Any], str]:
    return lambda handle: f"{read(handle) / 1000:.2f} W"


def _clock(kind: int, read: Callable[[Any, int], int]) -> Callable[[Any], str]:
    return lambda handle: f"{read(handle, kind)} MHz"


QUERIES: Final[Mapping[str, Callable[[Any], str]]] = {
    "timestamp": lambda _: time.strftime("%Y/%m/%d %H:%M:%S.000"),
    "driver_version": lambda _: pynvml.nvmlSystemGetDriverVersion(),
    "count": lambda _: str(pynvml.nvmlDeviceGetCount()),
    "index": lambda handle: str(pynvml.nvmlDeviceGetIndex(handle)),
    "name": pynvml.nvmlDeviceGetName,
    "uuid": pynvml.nvmlDeviceGetUUID,
    "serial": pynvml.nvmlDeviceGetSerial,
    "pci.bus_id": lambda handle: pynvml.nvmlDeviceGetPciInfo(handle).busId,
    "compute_cap": lambda handle: "{}.{}".format(*pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
    "pstate": lambda handle: f"P{pynvml.nvmlDeviceGetPerformanceState(handle)}",
    "utilization.gpu": lambda handle: f"{pynvml.nvmlDeviceGetUtilizationRates(handle).gpu} %",
    "utilization.memory": lambda handle: f"{pynvml.nvmlDeviceGetUtilizationRates(handle).memory} %",
    "memory.total": _memory("total"),
    "memory.reserved": _memory("reserved"),
    "memory.used": _memory("used"),
    "memory.free": _memory("free"),
    "temperature.gpu": lambda handle: str(pynvml.nvmlDeviceGetTemperature(handle, 0)),
    "power.draw": _watts(lambda handle: int(pynvml.nvmlDeviceGetPowerUsage(handle))),
    "power.limit": _watts(lambda handle: int(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle))),
    "clocks.sm": _clock(pynvml.NVML_CLOCK_SM, pynvml.nvmlDeviceGetClockInfo),
    "clocks.mem": _clock(pynvml.NVML_CLOCK_MEM, pynvml.nvmlDeviceGetClockInfo),
    "clocks.max.sm": _clock(pynvml.NVML_CLOCK_SM, pynvml.nvmlDeviceGetMaxClockInfo),
    "mig.mode.current": lambda handle: ("Disabled", "Enabled")[pynvml.nvmlDeviceGetMigMode(handle)[0]],
}
_ALIASES: Final = {"gpu_name": "name", "gpu_uuid": "uuid", "gpu_bus_id": "pci.bus_id", "clocks.current.sm": "clocks.sm"}


def ask(query: str, handle: Any) -> str:
    """What the device says, or that it has no such thing."""
    try:
        return QUERIES[_ALIASES.get(query, query)](handle)
    except pynvml.NVMLError:
        return _NOT_SUPPORTED


def handles() -> Iterator[Any]:
    for index in range(pynvml.nvmlDeviceGetCount()):
        yield pynvml.nvmlDeviceGetHandleByIndex(index)


def instances(handle: Any) -> Iterator[Any]:
    """MIG instances of a device; none for one without."""
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except pynvml.NVMLError:
            return


def listing() -> Iterator[str]:
    """``-L``."""
    for handle in handles():
        yield f"GPU {ask('index', handle)}: {ask('name', handle)} (UUID: {ask('uuid', handle)})"
        for number, instance in enumerate(instances(handle)):
            profile = pynvml.nvmlDeviceGetName(instance).rpartition(" ")[2]
            yield f"  MIG {profile:<11} Device {number:>2}: (UUID: {pynvml.nvmlDeviceGetUUID(instance)})"


def csv_table(queries: list[str], *, header: bool, units: bool) -> Iterator[str]:
    """``--query-gpu=… --format=csv``."""
    if header:
        yield ", ".join(query + _unit_suffix(query) for query in queries)
    for handle in handles():
        answers = [ask(query, handle) for query in queries]
        yield ", ".join(
            answer if units else _without_unit(query, answer) for query, answer in zip(queries, answers, strict=True)
        )


def _unit_suffix(query: str) -> str:
    for prefix, unit in (("utilization", "%"), ("memory", "MiB"), ("power", "W"), ("clocks", "MHz")):
        if query.startswith(prefix):
            return f" [{unit}]"
    return ""


def _without_unit(query: str, answer: str) -> str:
    return answer.split(" ", maxsplit=1)[0] if _unit_suffix(query) else answer


def table() -> Iterator[str]:
    """What it prints without options, in its columns."""
    driver = pynvml.nvmlSystemGetDriverVersion()
    cuda = pynvml.nvmlSystemGetCudaDriverVersion_v2()
    head = f"| {'GPU  Name':<30} | {'Bus-Id':<16} | {'Pwr:Usage/Cap':>15} | {'Memory-Usage':>17} |{'Util':>5} |"
    width = len(head) - 4
    rule = "+" + "-" * (width + 2) + "+"
    yield time.strftime("%a %b %e %H:%M:%S %Y")
    yield rule
    versions = f"NVIDIA-SMI {driver}   Driver Version: {driver}   CUDA Version: {cuda // 1000}.{cuda % 1000 // 10}"
    yield f"| {versions:<{width}} |"
    yield rule
    yield head
    yield from (_row(handle) for handle in handles())
    yield rule
    yield f"| {'Processes: no running processes found':<{width}} |"
    yield rule


def _row(handle: Any) -> str:
    draw, limit = (_short(ask(query, handle)) for query in ("power.draw", "power.limit"))
    memory = "/".join(ask(query, handle).replace(" ", "") for query in ("memory.used", "memory.total"))
    utilization = ask("utilization.gpu", handle).replace(" ", "").strip("[]")
    return (
        f"| {ask('index', handle):>3}  {ask('name', handle):<25} | {ask('pci.bus_id', handle)} "
        f"| {draw + ' / ' + limit:>15} | {memory:>17} |{utilization:>5} |"
    )


def _short(watts: str) -> str:
    return watts.split(".", maxsplit=1)[0] + "W" if "." in watts else watts


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="nvidia-smi", allow_abbrev=False)
    parser.add_argument("-L", "--list-gpus", action="store_true")
    parser.add_argument("--query-gpu", default="")
    parser.add_argument("--format", default="csv")
    chosen = parser.parse_args(arguments)
    queries = [query.strip() for query in chosen.query_gpu.split(",") if query.strip()]
    for query in queries:
        if _ALIASES.get(query, query) not in QUERIES:
            sys.stdout.write(f'Field "{query}" is not a valid field to query.\n')
            return 2
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        sys.stdout.write(_FAILED.format(f"({error})"))
        return 9
    if chosen.list_gpus:
        lines = listing()
    elif queries:
        lines = csv_table(queries, header="noheader" not in chosen.format, units="nounits" not in chosen.format)
    else:
        lines = table()
    for line in lines:
        sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
