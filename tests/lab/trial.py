"""A small service behind the Gateway, one device a pod: scaled by hand, its stages seen from outside."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from tests.contract.pods import condition, server, status_of
from tests.contract.target import Object, Target
from tests.lab.running import RunningLab

HOST = "who.lab.internal"
SOON_SECONDS = 30.0


class Asking:
    """Asks the Gateway without pause who serves, in a thread of its own."""

    def __init__(self, gateway_url: str) -> None:
        self._request = urllib.request.Request(f"{gateway_url}/who", headers={"Host": HOST})
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answers: list[tuple[float, str]] = []
        """When an answer came, and the pod that gave it; an error has no pod."""
        self.errors: list[tuple[float, str]] = []
        """When what went wrong."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._enough.wait(0.02):
            try:
                with urllib.request.urlopen(self._request, timeout=5) as answer:
                    who = answer.read().decode()
            except urllib.error.HTTPError as refused:
                refused.close()
                who = self._failed(str(refused))
            except OSError as failed:
                who = self._failed(str(failed))
            self.answers.append((time.time(), who))

    def _failed(self, why: str) -> str:
        self.errors.append((time.time(), why))
        return ""

    def first(self, pod: str, *, within_seconds: float = SOON_SECONDS) -> float | None:
        """When this pod answered first; None if it does not within that time."""
        deadline = time.monotonic() + within_seconds
        pause = threading.Event()
        while time.monotonic() < deadline:
            times = [at for at, who in list(self.answers) if who == pod]
            if times:
                return times[0]
            pause.wait(0.02)
        return None

    def last(self, pod: str) -> float:
        return max(at for at, who in self.answers if who == pod)


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """Receipt times of one scale-up, in seconds since 1970."""

    pod: Object
    asked: float
    created: float
    bound: float
    started: float
    ready: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """The same of a scale-down."""

    pod: Object
    asked: float
    deleted: float
    gone: float


class Trial:
    """The service; it begins with one replica that serves."""

    def __init__(self, lab: RunningLab, cluster: Target) -> None:
        self.lab = lab
        self.cluster = cluster
        self.namespace = cluster.make_namespace()
        labels = {"app": "who"}
        probe = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
        limits = {"limits": {"nvidia.com/gpu": 1}}
        spec = {"containers": [server(readinessProbe=probe, resources=limits)], "terminationGracePeriodSeconds": 20}
        metadata = {"name": "who", "namespace": self.namespace}
        template = {"metadata": {"labels": labels}, "spec": spec}
        self._deployment = cluster.create(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
            }
        )
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        cluster.create(
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": ports}}
        )
        parents = [{"name": "lab", "namespace": "traefik"}]
        rules = [{"backendRefs": [{"name": "who", "port": 80}]}]
        cluster.create(
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "HTTPRoute",
                "metadata": metadata,
                "spec": {"parentRefs": parents, "hostnames": [HOST], "rules": rules},
            }
        )

    def pods(self) -> list[Object]:
        return self.cluster.items("v1", "Pod", self.namespace, label_selector="app=who")

    def scale(self, replicas: int) -> tuple[float, str]:
        """When it was asked for, and from which version on to watch."""
        version = self.cluster.listing("v1", "Pod", self.namespace)["metadata"]["resourceVersion"]
        asked = time.time()
        self.cluster.patch(self._deployment, {"spec": {"replicas": replicas}})
        return asked, version

    def up(self, replicas: int) -> Up:
        """One replica more, until it is told as Ready."""
        asked, version = self.scale(replicas)
        seen: dict[str, float] = {}
        for _, pod in self._changes(version):
            now = time.time()
            marks = {
                "created": True,
                "bound": bool(pod["spec"].get("nodeName")),
                "started": "running" in status_of(pod).get("state", {}),
                "ready": condition(pod, "Ready").get("status") == "True",
            }
            for mark, is_so in marks.items():
                if is_so:
                    seen.setdefault(mark, now)
            if "ready" in seen:
                return Up(pod=pod, asked=asked, **seen)
        raise AssertionError(f"no new pod became Ready within {SOON_SECONDS:g} s: {seen}")

    def down(self, replicas: int) -> Down:
        """One replica less, until its object is gone."""
        asked, version = self.scale(replicas)
        deleted = 0.0
        for change, pod in self._changes(version):
            if "deletionTimestamp" in pod["metadata"] and not deleted:
                deleted = time.time()
            if change == "DELETED":
                return Down(pod=pod, asked=asked, deleted=deleted, gone=time.time())
        raise AssertionError(f"no pod was gone within {SOON_SECONDS:g} s")

    def published(self, pod: Object) -> float:
        """When the endpoints that the Gateway follows had this pod as ready; returns as soon as they have."""
        address = pod["status"]["podIP"]

        def has_it(slices: Mapping[str, Object]) -> bool:
            ends = (end for each in slices.values() for end in each.get("endpoints") or ())
            return any(address in end["addresses"] and end["conditions"]["ready"] for end in ends)

        self.cluster.wait_until(
            "discovery.k8s.io/v1", "EndpointSlice", self.namespace, has_it, within_seconds=SOON_SECONDS
        )
        return time.time()

    def _changes(self, version: str) -> Iterator[tuple[str, Object]]:
        return self.cluster.events_since(version, "v1", "Pod", self.namespace, within_seconds=SOON_SECONDS)
