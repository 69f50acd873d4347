"""Waiting for conditions on objects: by a watch, with a deadline, and with the last state seen when it passes."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench import interruption
from bench.cluster.client import Cluster
from bench.cluster.objects import Object, Ref
from bench.cluster.watch import Change, Watch
from bench.errors import DeadlineExceeded

Claim = Callable[[Object], bool]


def wait_until(cluster: Cluster, ref: Ref, claim: Claim, *, within_seconds: float) -> Object:
    """The object as soon as the claim is true of it. Raises `DeadlineExceeded`, saying what was seen last."""
    last: Object | None = None
    with _deadline(within_seconds) as passed:
        for event in _watch_one(cluster, ref, passed):
            last = event.object if event.change is not Change.DELETED else None
            if last is not None and claim(last):
                return last
    interruption.check()
    raise DeadlineExceeded(f"{ref}: not {_name(claim)} after {within_seconds:g} s; last seen: {_tell(last)}.")


def wait_until_gone(cluster: Cluster, ref: Ref, *, within_seconds: float) -> None:
    """Returns when the object is not there. Raises `DeadlineExceeded` with the finalizers that hold it."""
    last = cluster.find(ref)
    if last is None:
        return
    with _deadline(within_seconds) as passed:
        for event in _watch_one(cluster, ref, passed):
            if event.change is Change.DELETED:
                return
            last = event.object
        if cluster.find(ref) is None:
            return
    interruption.check()
    held_by = ", ".join(last["metadata"].get("finalizers") or ()) or "no finalizer"
    raise DeadlineExceeded(f"{ref}: still there after {within_seconds:g} s, held by {held_by}; state: {_tell(last)}.")


def _watch_one(cluster: Cluster, ref: Ref, stop: threading.Event) -> Watch:
    return Watch(cluster, cluster.collection(ref), field_selector=f"metadata.name={ref.name}", stop=stop)


@contextlib.contextmanager
def _deadline(within_seconds: float) -> Iterator[threading.Event]:
    """An event that comes when the time has passed, or the main thread is to wait no longer."""
    passed = threading.Event()
    is_main = threading.current_thread() is threading.main_thread()
    deadline = time.monotonic() + within_seconds

    def look() -> None:
        while (left_seconds := deadline - time.monotonic()) > 0:
            if passed.wait(min(left_seconds, interruption.SLICE_SECONDS)):
                return
            if is_main:
                interruption.tell_news()
                if interruption.is_due():
                    break
        passed.set()

    threading.Thread(target=look, name="deadline", daemon=True).start()
    try:
        yield passed
    finally:
        passed.set()


def _name(claim: Claim) -> str:
    return getattr(claim, "__name__", "as asked").replace("_", " ")


def _tell(found: Object | None) -> str:
    if found is None:
        return "no such object"
    status: dict[str, Any] = found.get("status") or {}
    unmet = [
        f"{each['type']}={each['status']} ({each.get('reason', '')}: {each.get('message', '')})"
        for each in status.get("conditions") or ()
        if each.get("status") != "True"
    ]
    phase = [f"phase {status['phase']}"] if "phase" in status else []
    return "; ".join(phase + unmet) or "no status"
