"""Load from inside the cluster: a master and an indexed Job of workers, spoken to through the API server."""

import base64
import json
import math
import secrets
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench import interruption
from bench.cluster.client import Cluster
from bench.cluster.objects import Object, Ref
from bench.cluster.sandbox import Sandbox
from bench.cluster.wait import wait_until
from bench.errors import ApiRefused, BenchBroke, BenchError, DeadlineExceeded
from bench.load.arguments import FILES
from bench.load.clocks import ClockOffset, measure
from bench.model.measurement import Reading
from bench.model.scenario import LoadWorkers
from bench.rig.load_files import LoadFiles, LoadPlan

HTTP_PORT: Final = 8089
LOCUST_PORT: Final = 5557
FOLDER: Final = "{folder}"
"""Stands in arguments for the folder of the files that go along; `bench.load.pod` says the same."""

START_SECONDS: Final = 180.0
"""To pull an image of some hundred megabytes on every node, and to come together."""
STOP_SECONDS: Final = 240.0
"""The generators drain open requests before they end."""
INTERRUPTED_STOP_SECONDS: Final = 10.0
"""The same, for a user who wants the end."""
LIFE_SECONDS: Final = 6 * 3600
"""Of the Jobs, whatever becomes of the bench."""
LOOK_SECONDS: Final = 2.5
"""Between two looks at a load under way; its end is told at once. Each is a request to the API server."""
NAME: Final = "load"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsPlan:
    """Where the pods run, and how many."""

    namespace: str
    workers: LoadWorkers
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


@dataclass(slots=True)
class LoadPods:
    """A master and its workers, which send one load after the other."""

    cluster: Cluster
    plan: PodsPlan
    _master: str = ""

    def start(self, sandbox: Sandbox) -> None:
        """Create them, and wait until every worker has come to the master."""
        for manifest in manifests(self.plan):
            sandbox.create(manifest)
        deadline = time.monotonic() + START_SECONDS
        ref = Ref(api_version="batch/v1", kind="Job", name=f"{NAME}-master", namespace=self.plan.namespace)
        wait_until(self.cluster, ref, _is_ready, within_seconds=START_SECONDS)
        pods = self.cluster.list(
            f"/api/v1/namespaces/{self.plan.namespace}/pods", label_selector=f"job-name={NAME}-master"
        )
        self._master = pods.items[0]["metadata"]["name"]
        workers = Ref(api_version="batch/v1", kind="Job", name=f"{NAME}-workers", namespace=self.plan.namespace)
        wait_until(self.cluster, workers, _is_ready, within_seconds=max(1.0, deadline - time.monotonic()))

    def begin(self, plan: LoadPlan, folder: Path) -> "PodLoad":
        """Start one load. The one before must be over."""
        words, files = packed(["--steps", plan.steps, *plan.arguments])
        self.ask("run", {"arguments": [plan.url, *words], "files": files})
        load = PodLoad(self, LoadFiles(plan, folder))
        load.start()
        return load

    def ask(self, route: str, told: Mapping[str, Any]) -> Object:
        """One question to the master."""
        path = f"/api/v1/namespaces/{self.plan.namespace}/pods/{self._master}:{HTTP_PORT}/proxy/{route}"
        return self.cluster.request("POST", path, body={**told, "token": self.plan.token})

    def clock(self) -> ClockOffset | None:
        """The master's clock minus ours."""
        return measure(lambda: self.ask("clock", {}), time.time_ns)


class PodLoad:
    """A load under way in the pods; the same promises as a load from here."""

    def __init__(self, pods: LoadPods, files: LoadFiles) -> None:
        self._pods, self._files = pods, files
        self._now: Mapping[str, float] = {}
        self._failure = ""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="load pods", daemon=True)

    def start(self) -> None:
        """Begin to look at it: a master whose bench is silent ends its run."""
        self._thread.start()

    def finish(self, *, within_seconds: float) -> None:
        """Wait for the end of the schedule."""
        if not interruption.wait(self._is_over, within_seconds):
            self.stop()

    def stop(self) -> None:
        """End it: the workers drain, and what was measured is kept."""
        if self._is_over.is_set():
            return
        try:
            self._pods.ask("halt", {})
        except BenchError as error:
            self._failure = self._failure or str(error)
        patience_seconds = INTERRUPTED_STOP_SECONDS if interruption.is_asked() else STOP_SECONDS
        if not interruption.wait(self._is_over, patience_seconds):
            self._failure = self._failure or f"the pods did not end their load within {patience_seconds:g} s"

    def now(self) -> Mapping[str, float]:
        """What the workers say of themselves at this moment; nothing once it is over."""
        return {} if self._is_over.is_set() else self._now

    @property
    def started_utc_seconds(self) -> float:
        """When its schedule began, by this machine's clock; known when it is over."""
        self._require_result()
        return self._files.started_utc_seconds

    def readings(
        self, labels: Mapping[str, str], *, since_seconds: float = 0.0, until_seconds: float = math.inf
    ) -> Iterator[Reading]:
        """Of the requests that were due in this part of the schedule."""
        self._require_result()
        yield from self._files.readings(labels, since_seconds=since_seconds, until_seconds=until_seconds)

    def _require_result(self) -> None:
        if self._failure:
            raise BenchBroke(
                f"The load from the pods of {self._pods.plan.namespace} gave no result: {self._failure}. "
                f"`kubectl logs -n {self._pods.plan.namespace} job/{NAME}-master` shows what the master said."
            )

    def _follow(self) -> None:
        try:
            while (told := self._pods.ask("state", {"wait_seconds": LOOK_SECONDS}))["state"] != "over":
                finished = told["glance"]["finished"]
                rate = finished / max(told["glance"]["elapsed_seconds"], 1e-3)
                self._now = {**told["glance"], "rate_per_second": rate}
            if told["error"]:
                self._failure = told["error"]
            else:
                self._keep(self._pods.ask("result", {}), self._pods.clock())
        except (BenchError, KeyError, ValueError) as error:
            self._failure = f"{type(error).__name__}: {error}"
        finally:
            self._is_over.set()

    def _keep(self, result: Object, clock: ClockOffset | None) -> None:
        self._files.records.write_bytes(zlib.decompress(base64.b64decode(result["records"])))
        self._files.summary.write_text(json.dumps(on_our_clock(result["summary"], clock)), encoding="utf-8")


def on_our_clock(summary: Object, clock: ClockOffset | None) -> Object:
    """The summary with its origin by this machine's clock, and the doubt that this adds."""
    if clock is None:
        raise DeadlineExceeded("the master did not tell its clock")
    told: Object = summary["clock"]
    moved = {"origin_unix_seconds": told["origin_unix_seconds"] - clock.offset_ns / 1e9, "master": clock.to_json()}
    return {**summary, "clock": told | moved}


def packed(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """The words with the files that they name, whose contents go along; each by its place in the words."""
    files: dict[str, str] = {}
    told = list(words)

    def take(place: int, prefix: str, name: str) -> None:
        try:
            content = Path(name).read_bytes()
        except OSError as error:
            raise BenchBroke(f"{name}, which the load reads: {error.strerror}") from error
        files[str(place)] = base64.b64encode(content).decode()
        told[place] = f"{prefix}{FOLDER}/{place}"

    for place, word in enumerate(words):
        option, equals, value = word.partition("=")
        if word in FILES and place + 1 < len(words):
            take(place + 1, "", words[place + 1])
        elif option in FILES and equals:
            take(place, f"{option}=", value)
        elif word.startswith("trace:"):
            take(place, "trace:", word.removeprefix("trace:"))
    return told, files


def _is_ready(job: Mapping[str, Any]) -> bool:
    status = job.get("status", {})
    if any(each["type"] == "Failed" and each["status"] == "True" for each in status.get("conditions") or ()):
        raise ApiRefused(f"Job {job['metadata']['name']} failed: {status['conditions'][0].get('message', '')}")
    return bool(status.get("ready", 0) >= job["spec"]["completions"])


def manifests(plan: PodsPlan) -> Iterator[dict[str, Any]]:
    """The token, the master with the Service by which workers find it, the workers."""
    secret = {"metadata": _metadata(plan, NAME), "stringData": {"token": plan.token}}
    yield {"apiVersion": "v1", "kind": "Secret", **secret}
    ports = [{"name": "locust", "port": LOCUST_PORT, "targetPort": LOCUST_PORT}]
    spec = {"selector": {"bench.load": "master"}, "ports": ports}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(plan, f"{NAME}-master"), "spec": spec}
    token = {"secretKeyRef": {"name": NAME, "key": "token"}}
    environment: list[dict[str, Any]] = [
        {"name": "BENCH_LOAD_WORKERS", "value": str(plan.workers.count)},
        {"name": "BENCH_LOAD_TOKEN", "valueFrom": token},
    ]
    yield _job(plan, "master", 1, environment)
    address = f"{NAME}-master.{plan.namespace}.svc"
    yield _job(plan, "workers", plan.workers.count, [{"name": "BENCH_LOAD_MASTER", "value": address}])


def _metadata(plan: PodsPlan, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": plan.namespace}


def _job(plan: PodsPlan, role: str, count: int, environment: list[dict[str, Any]]) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "load",
        "image": plan.workers.image,
        "command": ["python3", "-m", "bench.load.pod", role.removesuffix("s")],
        "env": environment,
        "resources": {"requests": {"cpu": plan.workers.cpu_request, "memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if role == "master":
        container["readinessProbe"] = {"tcpSocket": {"port": HTTP_PORT}, "periodSeconds": 1}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"bench.load": role}},
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 2,
        "automountServiceAccountToken": False,
        "topologySpreadConstraints": [spread],
        "containers": [container],
    }
    spec = {
        "completions": count,
        "parallelism": count,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "activeDeadlineSeconds": LIFE_SECONDS,
        "template": {"metadata": {"labels": {"bench.load": role}}, "spec": pod},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(plan, f"{NAME}-{role}"), "spec": spec}
