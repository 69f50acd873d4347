"""
Whom the labels name: attribution by kind of error, how long labels take, what happens when a device changes hands.

Series belong here too: each change of a label ends one series and begins another.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bench.analysis.fidelity import transport
from bench.analysis.fidelity.agreement import nearest
from bench.analysis.fidelity.attribution import Attribution, Holding, attribute, conservation_ratio, label_delays
from bench.analysis.fidelity.devices import BUSY, Device, claims_of
from bench.analysis.fidelity.told import absent, told, told_of
from bench.model.measurement import FloatArray, Reading

START_SECONDS = 1.0
"""The kubelet tells starts and ends of containers in whole seconds."""
_SHARES_TOLERANCE = 0.1
_LEAST_SCRAPES = 3


def of_naming(
    devices: Sequence[Device],
    holdings: Sequence[Holding],
    grids: Mapping[str, FloatArray],
    scrape_seconds: float,
) -> Iterator[Reading]:
    """Of the whole run: the errors by their kind, and by device where there are any; delays; hand-overs."""
    if not holdings:
        yield absent("attribution_precision_ratio", "nobody told which pod held which device")
        return
    guard = 2.0 * scrape_seconds + START_SECONDS
    claims = claims_of(devices)
    scrapes = {device.uuid: device.scrape_times for device in devices}
    both = {device.uuid: device.named_and_not_times for device in devices}
    again = {device.uuid: total for device in devices if (total := device.shown_again_total)}
    found = attribute(claims, scrapes, holdings, guard_seconds=guard, named_and_not=both)
    yield told("attribution_precision_ratio", (found.precision_ratio,))
    yield told("attribution_recall_ratio", (found.recall_ratio,))
    right = found.pods_right
    yield told("pods_named_right_ratio", (right.low, right.estimate, right.high))
    for uuid in sorted({each.uuid for each in holdings} | {uuid for uuid, _ in claims} | set(again)):
        # a device's labels have no part in another's errors, so each is judged by itself
        mine = {key: times for key, times in claims.items() if key[0] == uuid}
        held = [each for each in holdings if each.uuid == uuid]
        shown = {uuid: both[uuid]} if uuid in both else {}
        alone = attribute(mine, scrapes, held, guard_seconds=guard, named_and_not=shown)
        yield from _of_device(uuid, alone, again.get(uuid, 0), is_ours=bool(held))
    yield from _matrix(devices, holdings)
    delays = label_delays(claims, holdings)
    if delays.appear_seconds:
        yield told("label_appears_seconds", delays.appear_seconds)
        yield told("label_lingers_seconds", delays.linger_seconds)
        late = np.maximum(0.0, np.array(delays.appear_seconds) - guard)
        yield told("label_late_seconds", late)
    yield told("labels_never_total", (delays.never_total,))
    yield from _hand_overs(devices, holdings, grids, guard)


def _of_device(uuid: str, found: Attribution, shown_again_total: int, *, is_ours: bool) -> Iterator[Reading]:
    """Where nobody of ours held it, others' pods are not known, and their labels are no error."""
    yield told("missing_labels_total", (found.missing_total,), uuid)
    yield told("sharers_unnamed_total", (found.unnamed_total,), uuid)
    yield told("wrong_pods_total", (found.wrong_total if is_ours else 0,), uuid)
    yield told("ghosts_total", (found.ghost_total,), uuid)
    yield told("duplicates_total", (found.duplicate_total * is_ours + shown_again_total,), uuid)


def _matrix(devices: Iterable[Device], holdings: Sequence[Holding]) -> Iterator[Reading]:
    """The attribution matrix: how many samples of a device named a pod (or none) while another (or none) held it."""
    for device in devices:
        held = [each for each in holdings if each.uuid == device.uuid]
        counts: Counter[tuple[str, str]] = Counter()
        for pod, signal in device.pieces.get(BUSY, []) if held else []:
            for at in signal.times_seconds.tolist():
                holders = [each.pod for each in held if each.start_seconds <= at <= each.end_seconds]
                counts[pod, pod if pod in holders else ",".join(holders)] += 1
        for (claimed, holder), count in sorted(counts.items()):
            labels = {"uuid": device.uuid, "claimed": claimed, "held": holder}
            yield told_of("attribution_samples_total", (float(count),), labels)


def _hand_overs(
    devices: Iterable[Device], holdings: Sequence[Holding], grids: Mapping[str, FloatArray], guard: float
) -> Iterator[Reading]:
    """Scrapes about the start and the end of a holding that brought no sample of a device that had them before."""
    lost = []
    for device in devices:
        there = device.scraped(BUSY)
        if there is None:
            continue
        grid = grids[device.uuid]
        inside = grid[(grid >= there.times_seconds[0]) & (grid <= there.times_seconds[-1])]
        gaps = inside[~np.isin(inside, there.times_seconds)]
        moments = np.array([at for each in holdings if each.uuid == device.uuid for at in _moments(each)])
        if moments.size:
            is_near = np.abs(gaps[:, np.newaxis] - moments) <= guard
            # a series that loses samples all the time has no fault of the hand-over
            lost.append(0 if gaps.size > 2 * moments.size + 2 else int(is_near.any(axis=1).sum()))
    if lost:
        yield told("hand_over_lost_total", (float(sum(lost)),))


def _moments(holding: Holding) -> tuple[float, float]:
    return holding.start_seconds, holding.end_seconds


def of_series(device: Device, start_seconds: float, end_seconds: float) -> Iterator[Reading]:
    """How many series a device has, how many new ones come, and how many that no change of pods explains."""
    pieces = [signal for group in device.pieces.values() for _, signal in group if signal.times_seconds.size]
    if not pieces:
        return
    found = transport.cardinality(
        np.array([each.times_seconds[0] for each in pieces]),
        np.array([each.times_seconds[-1] for each in pieces]),
        start_seconds=start_seconds,
        end_seconds=end_seconds,
    )
    yield told("series_total", (found.present_total,), device.uuid)
    # all quantities change hands together; the one with most pieces shows every hand-over
    longest = max(device.pieces.values(), key=len)
    yield told("new_series_per_second", (found.new_per_hour / 3600.0,), device.uuid)
    yield told("series_unexplained_total", (len(longest) - len({pod for pod, _ in longest}),), device.uuid)
    lengths = [np.diff(signal.times_seconds) for signal in pieces if signal.times_seconds.size > 1]
    if lengths:
        scrape_seconds = float(np.median(np.concatenate(lengths)))
        overs = transport.hand_overs([signal for _, signal in longest], scrape_seconds=scrape_seconds)
        if overs:
            yield told("hand_over_gap_seconds", [each.gap_seconds for each in overs], device.uuid)
            yield told("hand_over_overlap_seconds", [each.overlap_seconds for each in overs], device.uuid)


def of_sharing(device: Device, holdings: Sequence[Holding]) -> Iterator[Reading]:
    """
    What the pods of a shared device were told, added up, against the device; 1 where it was divided.

    `shares_wrong_total` counts devices that pods were seen to share and whose shares do not add up.
    """
    ratio = _conservation(device, [each for each in holdings if each.uuid == device.uuid])
    if ratio is not None:
        yield told("conservation_ratio", (ratio,), device.uuid, BUSY)
    if device.probed:
        is_wrong = ratio is not None and abs(ratio - 1.0) > _SHARES_TOLERANCE
        yield told("shares_wrong_total", (float(is_wrong),), device.uuid)


def _conservation(device: Device, held: Sequence[Holding]) -> float | None:
    """Over the scrapes at which several pods held the device; None where none of them, or one alone, was named."""
    probed = device.probed.get(BUSY)
    pods = [signal for pod, signal in device.pieces.get(BUSY, []) if pod in {each.pod for each in held}]
    if probed is None or len(pods) < 2:
        return None
    times = np.unique(np.concatenate([each.times_seconds for each in pods]))
    times = times[sharers(held, times) > 1]
    named = np.array([np.where(np.isin(times, each.times_seconds), each.at(times), np.nan) for each in pods])
    together = np.isfinite(named).sum(axis=0) > 1
    if int(together.sum()) < _LEAST_SCRAPES:
        return None  # one after the other is no sharing
    ratio = conservation_ratio(named[:, together], nearest(probed, times[together]))
    return ratio if np.isfinite(ratio) else None


def sharers(held: Sequence[Holding], times: FloatArray) -> npt.NDArray[np.int64]:
    """How many pods surely hold the device at each time."""
    count = np.zeros(times.shape, dtype=np.int64)
    for each in held:
        count += (times >= each.start_seconds + START_SECONDS) & (times <= each.end_seconds - START_SECONDS)
    return count
