"""
A Lease in the first namespace of a run, renewed for as long as its process lives.

By it anybody on any machine can tell what a crash left behind from what is at work: who watches it for a while sees it
change, or not. Nobody's clock is compared with anybody else's.
"""

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from bench.cluster.client import Cluster
from bench.cluster.objects import Object, Ref
from bench.cluster.watch import Change, Watch
from bench.errors import BenchError
from bench.model.rights import Rights, on

RENEWAL_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 20.0
"""A Lease that did not change for so long belongs to nobody: three renewals may be late or lost."""
LEASES: Final = "leases.coordination.k8s.io"
HEARTBEAT_RIGHTS: Final[Rights] = on(LEASES, "create", "patch")
JOIN_SECONDS: Final = 35.0
"""A renewal under way may take its whole time-out."""

log = logging.getLogger(__name__)


class Heartbeat:
    """Begins at once; a renewal that fails is tried again at the next, for a run does not end by it."""

    def __init__(self, cluster: Cluster, lease: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._lease = lease
        self._is_there = False
        self._stop = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No renewal comes after this."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(RENEWAL_SECONDS):
            self._beat()

    def _beat(self) -> None:
        try:
            if self._is_there:
                self._cluster.patch(Ref.of(self._lease), {"spec": {"renewTime": _now()}})
            else:
                self._cluster.create(self._lease)
                self._is_there = True
        except BenchError as error:
            log.debug("the heartbeat was not heard: %s", error)


def lease_of(namespace: str, run_id: str) -> Object:
    """The Lease of a run, not yet labelled."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "bench-run", "namespace": namespace},
        "spec": {
            "holderIdentity": run_id,
            "leaseDurationSeconds": int(SILENCE_SECONDS),
            "acquireTime": _now(),
            "renewTime": _now(),
        },
    }


def beating(cluster: Cluster, label: str, *, within_seconds: float = SILENCE_SECONDS) -> Mapping[str, bool]:
    """
    Each run that has a Lease, by the value of its label, and whether that changed while it was watched.

    Returns early when every one did.
    """
    seen: dict[str, bool] = {}
    stop = threading.Event()
    timer = threading.Timer(within_seconds, stop.set)
    timer.daemon = True
    path = "/apis/coordination.k8s.io/v1/leases"
    for each in cluster.list(path, label_selector=label).items:
        seen[each["metadata"]["labels"][label]] = False
    if not seen:
        return seen
    timer.start()
    try:
        for event in Watch(cluster, path, label_selector=label, stop=stop):
            run_id = event.object["metadata"]["labels"][label]
            is_known = event.change is Change.ADDED and event.relisted
            seen[run_id] = seen.get(run_id, False) or not is_known
            if all(seen.values()):
                break
    finally:
        timer.cancel()
        stop.set()
    return seen


def _now() -> str:
    """As a MicroTime of the API."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
