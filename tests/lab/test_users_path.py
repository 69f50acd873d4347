"""
What a user does on the first day: an inference server, the checklist's autoscaler manifest, load through the Gateway.

The manifest is the one that the conformance document shows, unchanged.
"""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.contract.pods import holds
from tests.contract.target import Object, Target
from tests.lab.asking import query, wait_until
from tests.lab.running import RunningLab, bench

pytestmark = pytest.mark.lab

DATA: Final = Path(__file__).parent / "data"
NAMESPACE: Final = "suse-private-ai"
CLIENTS: Final = 4
STEP_SECONDS: Final = 120.0
"""For each step that takes seconds on an idle machine."""
SCALES_ABOVE: Final = 77.0
"""A target of 70 and the autoscaler's tolerance of a tenth."""


class Load:
    """Clients that ask one after the other; what went wrong is kept."""

    def __init__(self, url: str) -> None:
        self.answers = 0
        self.errors: list[str] = []
        self._url = f"{url}/api/generate"
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]

    def is_answered(self) -> bool:
        """Whether the Gateway has heard of the server: a Ready pod is not known to it at once."""
        try:
            self._answered()
        except urllib.error.HTTPError as error:
            if error.code not in (404, 503):
                raise
            return False
        return True

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def _ask(self) -> None:
        deadline = time.monotonic() + 4 * STEP_SECONDS
        while not self._ending.is_set() and time.monotonic() < deadline:
            try:
                told = self._answered()
                assert told["done"]
                assert told["eval_count"] == 32
                self.answers += 1
            except OSError as error:
                self.errors.append(str(error))

    def _answered(self) -> dict[str, Any]:
        body = {"model": "lab-llama", "prompt": "Tell me of GPUs.", "stream": False, "options": {"num_predict": 32}}
        request = urllib.request.Request(self._url, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.load(answer))


@contextmanager
def load(lab: RunningLab) -> Iterator[Load]:
    running = Load(lab.status["gateway_url"])
    wait_until(running.is_answered, within_seconds=STEP_SECONDS)
    running.start()
    try:
        yield running
    finally:
        running.end()


@pytest.fixture
def cluster(lab: RunningLab, tmp_path: Path) -> Iterator[Target]:
    target = Target(lab.kubeconfig, tmp_path, strict=True)
    yield target
    target.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    target.wait_until("v1", "Namespace", None, lambda found: NAMESPACE not in found, within_seconds=STEP_SECONDS)
    target.close()


def apply(lab: RunningLab, file: str, *arguments: str) -> None:
    done = bench("lab", "exec", "--name", lab.name, "--", "kubectl", "apply", "-f", str(DATA / file), *arguments)
    assert done.returncode == 0, done.stderr


def shown(hpa: Object) -> float:
    """The value per replica that the autoscaler tells, below everything while it has none."""
    current = hpa.get("status", {}).get("currentMetrics") or [{}]
    text = current[0].get("object", {}).get("current", {}).get("averageValue", "-1")
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def ready(pods: Mapping[str, Object]) -> list[Object]:
    return [pod for pod in pods.values() if holds("Ready")(pod) and "deletionTimestamp" not in pod["metadata"]]


def devices(lab: RunningLab) -> dict[str, str]:
    """UUID of the device that each of the server's pods holds, as Prometheus has it."""
    series = query(lab, f'DCGM_FI_DEV_GPU_UTIL{{exported_namespace="{NAMESPACE}"}}')
    return {each["metric"]["exported_pod"]: each["metric"]["UUID"] for each in series}


def served_by(cluster: Target) -> set[str]:
    """Addresses of the pods that the Gateway's access log names."""
    (gateway,) = cluster.items("v1", "Pod", "traefik", label_selector="app.kubernetes.io/name=traefik")
    lines = [line for line in cluster.log(gateway).splitlines() if line.startswith("{") and "ServiceURL" in line]
    return {each["ServiceAddr"].rpartition(":")[0] for each in map(json.loads, lines) if "ServiceAddr" in each}


def test_load_brings_a_second_replica_with_its_own_device_and_rest_takes_it_away(
    lab: RunningLab, cluster: Target, record_testsuite_property: Any
) -> None:
    apply(lab, "ollama.yaml")
    apply(lab, "ollama-hpa.yaml", "-n", NAMESPACE)
    cluster.wait_until("v1", "Pod", NAMESPACE, lambda pods: len(ready(pods)) == 1, within_seconds=STEP_SECONDS)
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "ollama-hpa", "namespace": NAMESPACE},
    }
    cluster.wait_for(hpa, lambda told: shown(told) >= 0, within_seconds=STEP_SECONDS, what="a value at rest")

    with load(lab) as running:
        began = time.monotonic()
        told = cluster.wait_for(
            hpa, lambda told: shown(told) > SCALES_ABOVE, within_seconds=STEP_SECONDS, what="utilisation above 77"
        )
        record_testsuite_property("seconds_until_shown", time.monotonic() - began)
        record_testsuite_property("shown", shown(told))
        pods = cluster.wait_until(
            "v1",
            "Pod",
            NAMESPACE,
            lambda pods: ready(pods) if len(ready(pods)) >= 2 else None,
            within_seconds=STEP_SECONDS,
        )
        record_testsuite_property("seconds_until_second_ready", time.monotonic() - began)
        addresses = {pod["status"]["podIP"] for pod in pods}
        wait_until(lambda: len(served_by(cluster) & addresses) >= 2, within_seconds=STEP_SECONDS)
        record_testsuite_property("seconds_until_second_serves", time.monotonic() - began)
        wait_until(lambda: len(set(devices(lab).values())) >= 2, within_seconds=STEP_SECONDS)
    ended = time.monotonic()
    assert running.errors == []
    assert running.answers > 0

    cluster.wait_until("v1", "Pod", NAMESPACE, lambda pods: len(ready(pods)) == 1, within_seconds=STEP_SECONDS)
    record_testsuite_property("seconds_until_one_again", time.monotonic() - ended)
    record_testsuite_property("answers", running.answers)
