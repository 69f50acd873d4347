"""
What the load generator says of requests, held against what ollama and the Gateway say of the same ones.

Those of ollama and of the Gateway's access log are matched by the id that each request carries; the Gateway's metrics,
as Prometheus stored them, by the service that only these requests asked. Nothing is heard before it was said: no figure
of the client may be smaller than the part of it that a server saw, and what is left over is the way between them.
"""

import json
import secrets
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from bench.cluster.client import Cluster
from bench.cluster.inventory import inventory_of, see
from bench.cluster.journal import Journal
from bench.model.scenario import LoadWorkers
from bench.rig.cluster_rig import ClusterRig, Surroundings
from tests.lab.asking import query, wait_until
from tests.lab.running import RunningLab
from workloads.ollama import BACKEND_HEADER, VERSION_PATH, Ollama

pytestmark = pytest.mark.lab

RATE: Final = 0.5
"""One request at a time: what waits inside of ollama is in none of its durations."""

SECONDS: Final = 6
WAY_SECONDS: Final = 0.05
"""Two proxies and a Service on a machine that does other things too; the median is far below."""

STALL_SECONDS: Final = 0.1
"""A device of the lab is a CPU quota: used up, ollama stands still for what is left of the kernel's period, and that
may be between its stamp of a token and the write of it."""


@pytest.fixture(scope="module")
def rig(lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRig]:
    tmp_path = tmp_path_factory.mktemp("agreement")
    with (
        Cluster.open(kubeconfig=lab.kubeconfig) as cluster,
        ClusterRig(
            Surroundings(
                cluster=cluster,
                prometheus=None,
                inventory=inventory_of(see(cluster)),
                gateway_url=lab.status["gateway_url"],
                run_id=secrets.token_hex(3),
                folder=tmp_path,
                journal=Journal(tmp_path / "journal.jsonl"),
            )
        ) as rig,
    ):
        yield rig


@pytest.fixture(scope="module")
def server(lab: RunningLab, rig: ClusterRig) -> Ollama:
    gateway = rig.gateway()
    namespace = rig.namespace("agreement")
    server = Ollama(namespace=namespace, model="lab-llama", gateway=gateway.name, gateway_namespace=gateway.namespace)
    rig.deploy(server, within_seconds=120.0)
    assert rig.is_answered(
        gateway.url + VERSION_PATH, hostname=server.hostname, by_header=BACKEND_HEADER, within_seconds=20.0
    )
    wait_until(lambda: [name for name in served(lab) if namespace in name], within_seconds=20)
    return server


def arguments(server: Ollama, url: str) -> tuple[str, ...]:
    told = ("--protocol", "ollama-generate", "--model", server.model, "--output-tokens", "4", "--yes-really", url)
    told += ("--prompt-tokens", "8", "--arrivals", "constant")
    return (*told, "--header", f"Host: {server.hostname}", "--backend-header", BACKEND_HEADER, "--drain", "20")


def access_log(rig: ClusterRig, ids: set[str]) -> dict[str, Mapping[str, Any]]:
    """Lines of the Gateway's access log by the ids of these requests, once it has them all."""
    (pod,) = rig.around.cluster.list(
        "/api/v1/namespaces/traefik/pods", label_selector="app.kubernetes.io/name=traefik"
    ).items

    def found() -> dict[str, Mapping[str, Any]]:
        text = rig.logs(namespace="traefik", pod=pod["metadata"]["name"], container="traefik")
        lines = [json.loads(line) for line in text.splitlines() if "request_X-Request-Id" in line]
        return {line["request_X-Request-Id"]: line for line in lines if line["request_X-Request-Id"] in ids}

    return wait_until(lambda: known if len(known := found()) == len(ids) else {}, within_seconds=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Requests to one service by the Gateway's metrics, and what they took together."""

    requests: float
    seconds: float

    def since(self, before: "Served | None") -> "Served":
        if before is None:
            return self
        return Served(requests=self.requests - before.requests, seconds=self.seconds - before.seconds)


def served(lab: RunningLab) -> dict[str, Served]:
    """What was answered for each service as Prometheus has it now, by the name that the access log has too."""
    both = '{__name__=~"traefik_service_request_duration_seconds_(sum|count)",code="200"}'
    told = {
        (each["metric"]["service"], each["metric"]["__name__"].rpartition("_")[2]): float(each["value"][1])
        for each in query(lab, f"sum by (__name__, service) ({both})")
    }
    services = {service for service, _ in told}
    return {name: Served(requests=told[name, "count"], seconds=told[name, "sum"]) for name in services}


def counted(lab: RunningLab, services: set[str], before: Mapping[str, Served], requests: int) -> Served:
    """What the one service that was asked took for the requests since then, once Prometheus has them all."""
    (service,) = services

    def now() -> Served | None:
        known = served(lab).get(service)
        since = known.since(before.get(service)) if known else None
        return since if since and since.requests >= requests else None

    found = wait_until(now, within_seconds=20)
    assert found is not None
    return found


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return json.loads((folder / "load.json").read_text()), records


def compared(summary: Mapping[str, Any], record: Mapping[str, Any], line: Mapping[str, Any]) -> dict[str, float]:
    """Client minus server, of one request, in seconds."""
    server, ttft = record["server"], record["token_seconds"][0] - record["sent_seconds"]
    e2e = record["end_seconds"] - record["sent_seconds"]
    arrived = datetime.fromisoformat(line["StartUTC"]).timestamp() - summary["clock"]["origin_unix_seconds"]
    return {
        "ttft_beyond_loading_and_prompt": ttft - server["load_seconds"] - server["prompt_eval_seconds"],
        "e2e_beyond_ollamas_total": e2e - server["total_seconds"],
        "generation_beyond_ollamas": e2e - ttft - server["eval_seconds"],
        "arrival_at_the_gateway_after_sent": arrived - record["sent_seconds"],
        "e2e_beyond_the_gateways_duration": e2e - line["Duration"] / 1e9,
        "gateways_overhead": line["Overhead"] / 1e9,
    }


OF_OLLAMA: Final = ("ttft_beyond_loading_and_prompt", "e2e_beyond_ollamas_total", "generation_beyond_ollamas")

#: What cannot be below nothing, by more than the clocks' doubt.
CAUSAL: Final = (
    "ttft_beyond_loading_and_prompt",
    "e2e_beyond_ollamas_total",
    "arrival_at_the_gateway_after_sent",
)


@pytest.mark.parametrize("workers", [None, LoadWorkers(count=2)], ids=["from here", "from pods"])
def test_client_ollama_and_gateway_tell_the_same_of_each_request(
    lab: RunningLab, rig: ClusterRig, server: Ollama, workers: LoadWorkers | None, record_testsuite_property: Any
) -> None:
    before = served(lab)
    url = rig.gateway().url if workers is None else rig.gateway().inside_url

    load = rig.load(url=url, steps=f"{RATE}:{SECONDS}", arguments=arguments(server, url), workers=workers)
    load.finish(within_seconds=60.0)
    assert list(load.readings({}))
    summary, records = read(max(rig.around.folder.glob("load-*")))
    assert summary["requests"]["failed"] == {}, summary["requests"]
    lines = access_log(rig, {record["id"] for record in records})
    assert all(record["server"] for record in records), records[0]
    differences = [compared(summary, record, lines[record["id"]]) for record in records]
    medians = {name: statistics.median(each[name] for each in differences) for name in differences[0]}
    metrics = counted(lab, {line["ServiceName"] for line in lines.values()}, before, len(records))
    beyond_metrics = summary["e2e_seconds"]["from_sent"]["mean"] - metrics.seconds / metrics.requests
    bound = summary["clock"]["bound_seconds"] + summary["clock"].get("master", {}).get("bound_seconds", 0.0)
    where = "here" if workers is None else "pods"
    record_testsuite_property(f"{where}_clock_bound_seconds", bound)
    for name, value in medians.items():
        record_testsuite_property(f"{where}_{name}_seconds", value)
    record_testsuite_property(f"{where}_mean_e2e_beyond_the_gateways_metrics_seconds", beyond_metrics)
    print(where, len(records), summary["clock"], medians, metrics, beyond_metrics)  # noqa: T201

    assert len(records) == summary["requests"]["ok"] == summary["requests"]["planned"] > 0
    for name in CAUSAL:
        assert min(each[name] for each in differences) >= -bound, (name, medians)
    for name, value in medians.items():
        assert abs(value) < WAY_SECONDS + (STALL_SECONDS if name in OF_OLLAMA else 0.0), (name, medians)
    assert metrics.requests == len(records)
    assert -bound <= beyond_metrics < WAY_SECONDS, (metrics, summary["e2e_seconds"])
    if workers is not None:
        assert summary["workers"] == workers.count
        assert all(clock["bound_seconds"] < WAY_SECONDS for clock in summary["clock"]["workers"])
