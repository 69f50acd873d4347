"""The exposition: readings and their holders as Prometheus reads them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.lab.programs.dcgm_collector import Reading
from bench.lab.programs.dcgm_counters import Counter, CounterType
from bench.lab.programs.dcgm_fields import Value
from bench.lab.programs.dcgm_pods import Holder, HolderMap

_XID_FIELD: Final = "DCGM_FI_DEV_XID_ERRORS"
_XID_MESSAGES: Final = {
    0: "No Error",
    13: "Graphics Engine Exception",
    31: "GPU memory page fault",
    43: "GPU stopped processing",
    48: "Double Bit ECC Error",
    63: "Row remapping recording event",
    64: "Row remapping failure event",
    74: "NVLink Error",
    79: "GPU has fallen off the bus",
    94: "Contained ECC error",
    95: "Uncontained ECC error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What the flags ask of the text."""

    hostname: str
    """Empty with ``--no-hostname``."""
    virtual_gpus: bool = False


def render(counters: Sequence[Counter], readings: Sequence[Reading], holders: HolderMap, style: Style) -> str:
    """One block a counter that has a value, in the order of the collectors file."""
    labelled = [(reading, tuple(_label_sets(reading, holders, style))) for reading in readings]
    lines: list[str] = []
    for counter in counters:
        if counter.type is CounterType.LABEL:
            continue
        series = [line for reading, sets in labelled for line in _series(counter.field, reading, sets)]
        if series:
            lines += [f"# HELP {counter.field} {_escape_help(counter.help)}", f"# TYPE {counter.field} {counter.type}"]
            lines += series
    return "".join(f"{line}\n" for line in lines)


def _series(field: str, reading: Reading, label_sets: Sequence[Mapping[str, str]]) -> Iterator[str]:
    value = reading.values.get(field)
    if value is None:
        return
    for labels in label_sets:
        full = {**labels, **_xid_labels(int(value))} if field == _XID_FIELD else labels
        yield f"{field}{{{_format_labels(full)}}} {format_value(value)}"


def _label_sets(reading: Reading, holders: HolderMap, style: Style) -> Iterator[Mapping[str, str]]:
    base = dict(reading.labels)
    if style.hostname:
        base["Hostname"] = style.hostname
    base |= reading.texts
    for holder in holders.also.get(reading.uuid, ()):
        yield base | _holder_labels(holder)
    found = (*holders.by_uuid.get(reading.uuid, ()), *_claimants(reading, holders))
    if style.virtual_gpus and any(holder.replica for holder in found):
        # each sharer gets the value of the whole device: sums over pods count it as often as it is shared
        for holder in found:
            yield base | _holder_labels(holder) | {"vgpu": holder.replica}
        return
    # a device has one label set, so of several sharers the last one listed is the one that is named
    yield base | (_holder_labels(found[-1]) if found else {})


def _claimants(reading: Reading, holders: HolderMap) -> tuple[Holder, ...]:
    if "GPU_I_ID" in reading.labels:
        return ()
    return holders.by_device_name.get(f"gpu-{reading.index}", ())


def _holder_labels(holder: Holder) -> dict[str, str]:
    labels = {"container": holder.container, "namespace": holder.namespace, "pod": holder.pod}
    return labels | dict(holder.claim)


def _xid_labels(code: int) -> dict[str, str]:
    return {"err_code": str(code), "err_msg": _XID_MESSAGES.get(code, "Unknown Error")}


def format_value(value: Value) -> str:
    """Integers as they are, others with six decimals, as the exporter prints DCGM's doubles."""
    return str(value) if isinstance(value, int) else f"{value:.6f}"


def _format_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
