"""Series of devices that are not there: how long they are waited for, and what is told."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.metrics.prometheus import Prometheus, Scrape, duration_seconds
from bench.rig.exporters import Exporter
from bench.targets.device_series import MetricNames, Way, metric_names
from tests.unit.cluster.fake_api import FakeApi, serving

EXPORTER = Exporter(
    node="a",
    namespace="gpu",
    pod="dcgm-exporter-x",
    address="10.0.0.3",
    port=9400,
    configured_collect_seconds=5.0,
    ignored_variables=(),
)
SCRAPE = Scrape(pool="gpu", url="http://10.0.0.3:9400/metrics", error="", interval_seconds=15.0)
OTHER = Scrape(pool="nodes", url="http://10.0.0.9:9100/metrics", error="", interval_seconds=60.0)


def way(*scrapes: Scrape, **more: Any) -> Way:
    return Way(**{"exporters": (EXPORTER,), "starts_seconds": (1000.0,), "scrapes": scrapes, **more})


@pytest.mark.parametrize(
    ("seen", "due_seconds"),
    [
        (way(SCRAPE), 1000 + 5 + 15 + 10),
        (way(SCRAPE, configured_seconds=1100.0), 1100 + 5 + 15 + 10),
        (way(OTHER), 1000 + 5 + 60 + 10),
        (way(exporters=()), 1000 + 30 + 60 + 10),
        (Way(configured_seconds=1000.0), -float("inf")),
    ],
)
def test_series_come_within_a_collection_and_a_scrape_of_a_start_or_not_at_all(seen: Way, due_seconds: float) -> None:
    assert seen.due_seconds == due_seconds


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (Way(), "install the exporter"),
        (way(OTHER), "no scrape target at the exporter gpu/dcgm-exporter-x: give it a ServiceMonitor"),
        (
            way(Scrape(pool="gpu", url=SCRAPE.url, error="connection refused", interval_seconds=15)),
            "connection refused",
        ),
        (way(SCRAPE), "`kubectl logs -n gpu dcgm-exporter-x`"),
        (way(scrapes=None), "is the exporter scraped?"),
    ],
)
def test_where_the_way_is_broken_is_told_with_the_cure(seen: Way, told: str) -> None:
    assert told in seen.broken_because


@pytest.mark.parametrize(("text", "seconds"), [("15s", 15.0), ("1m30s", 90.0), ("500ms", 0.5), ("1h", 3600.0)])
def test_a_duration_is_read_as_prometheus_writes_it(text: str, seconds: float) -> None:
    assert duration_seconds(text) == seconds


@contextmanager
def prometheus(answers: Mapping[str, Any]) -> Iterator[Prometheus]:
    """A server that has one answer a path, and none for others."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(urlsplit(self.path).path.removeprefix("/api/v1/"))
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "success", "data": found}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    with Prometheus(f"http://127.0.0.1:{server.server_port}") as client:
        yield client
    server.shutdown()
    server.server_close()
    thread.join()


def vector(*names: str) -> Any:
    return {"result": [{"metric": {"__name__": name}, "value": [0, "1"]} for name in names]}


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def exporter_pod(started_seconds: float) -> dict[str, Any]:
    return {
        "metadata": {"name": "dcgm-exporter-x", "namespace": "gpu", "creationTimestamp": iso(started_seconds - 5.0)},
        "spec": {"containers": [{"name": "e", "image": "nvcr.io/nvidia/k8s/dcgm-exporter:4", "args": ["-c", "1000"]}]},
        "status": {
            "podIP": "10.0.0.3",
            "containerStatuses": [{"state": {"running": {"startedAt": iso(started_seconds)}}}],
        },
    }


def found(answers: Mapping[str, Any], *pods: dict[str, Any]) -> MetricNames:
    api = FakeApi()
    for pod in pods:
        api.put(f"/api/v1/namespaces/gpu/pods/{pod['metadata']['name']}", pod)
    with serving(api) as cluster, prometheus(answers) as asked:
        return metric_names(cluster, asked)


STORED = {"label/__name__/values": ["up", "DCGM_FI_DEV_GPU_UTIL"]}


def told_by(scrape: Mapping[str, str], *, configured_seconds: float) -> dict[str, Any]:
    """A Prometheus with one scrape target, and no series of devices."""
    return {
        **STORED,
        "query": vector(),
        "targets": {"activeTargets": [{"lastError": "", "scrapeInterval": "1s", "scrapePool": "gpu", **scrape}]},
        "status/runtimeinfo": {"lastConfigTime": iso(configured_seconds)},
    }


def test_what_has_series_at_present_is_there() -> None:
    told = found({**STORED, "query": vector("DCGM_FI_DEV_GPU_TEMP")})

    assert told == MetricNames(names=("up", "DCGM_FI_DEV_GPU_TEMP"))


def test_what_is_stored_and_has_ended_is_not_there_and_an_old_exporter_is_not_waited_for() -> None:
    began = time.monotonic()
    told = found(
        told_by({"scrapeUrl": "http://10.0.0.3:9400/metrics"}, configured_seconds=time.time() - 500.0),
        exporter_pod(time.time() - 500.0),
    )

    assert time.monotonic() - began < 5.0
    assert told.names == ("up",)
    assert "gpu/dcgm-exporter-x is scraped and nothing of devices is stored" in told.no_devices_because


def test_a_new_exporter_is_waited_for_and_not_longer_than_its_first_scrape_takes() -> None:
    began = time.monotonic()
    told = found(
        told_by({"scrapeUrl": "http://10.0.0.3:9400/metrics"}, configured_seconds=time.time() - 500.0),
        exporter_pod(time.time() - 11.0),
    )

    assert 0.5 < time.monotonic() - began < 10.0
    assert told.no_devices_because


def test_a_store_that_scrapes_nothing_itself_leaves_the_reason_open() -> None:
    told = found({**STORED, "query": vector()}, exporter_pod(time.time() - 500.0))

    assert told.no_devices_because == "is the exporter scraped?"
