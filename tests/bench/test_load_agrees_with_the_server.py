"""
What the load generator says of a request, held against what ollama and the Gateway's access log say of the same one.

Requests are matched by the id that each carries. Nothing is heard before it was said: no figure of the client may be
smaller than the part of it that a server saw, and what is left over is the way between them.
"""

import json
import secrets
import statistics
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from bench.cluster.client import Cluster
from bench.cluster.inventory import inventory_of, see
from bench.cluster.journal import Journal
from bench.model.scenario import LoadWorkers
from bench.rig.cluster_rig import ClusterRig, Surroundings
from tests.lab.asking import wait_until
from tests.lab.running import RunningLab
from workloads.ollama import BACKEND_HEADER, Ollama

pytestmark = [pytest.mark.lab, pytest.mark.measures]

RATE: Final = 0.5
"""One request at a time: what waits inside of ollama is in none of its durations."""

SECONDS: Final = 12
WAY_SECONDS: Final = 0.05
"""Two proxies and a Service on a machine that does other things too; the median is far below."""


@pytest.fixture
def rig(lab: RunningLab, tmp_path: Path) -> Iterator[ClusterRig]:
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


@pytest.fixture
def server(rig: ClusterRig) -> Ollama:
    gateway = rig.gateway()
    namespace = rig.namespace("agreement")
    server = Ollama(namespace=namespace, model="lab-llama", gateway=gateway.name, gateway_namespace=gateway.namespace)
    rig.deploy(server, within_seconds=120.0)
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


#: What cannot be below nothing, by more than the clocks' doubt.
CAUSAL: Final = (
    "ttft_beyond_loading_and_prompt",
    "e2e_beyond_ollamas_total",
    "arrival_at_the_gateway_after_sent",
)


@pytest.mark.parametrize("workers", [None, LoadWorkers(count=2)], ids=["from here", "from pods"])
def test_client_ollama_and_gateway_tell_the_same_of_each_request(
    rig: ClusterRig, server: Ollama, workers: LoadWorkers | None, record_testsuite_property: Any
) -> None:
    url = rig.gateway().url if workers is None else rig.gateway().inside_url

    load = rig.load(url=url, steps=f"{RATE}:{SECONDS}", arguments=arguments(server, url), workers=workers)
    load.finish(within_seconds=60.0)
    assert list(load.readings({}))
    summary, records = read(rig.around.folder / "load-1")
    assert summary["requests"]["failed"] == {}, summary["requests"]
    lines = access_log(rig, {record["id"] for record in records})
    assert all(record["server"] for record in records), records[0]
    differences = [compared(summary, record, lines[record["id"]]) for record in records]
    medians = {name: statistics.median(each[name] for each in differences) for name in differences[0]}
    bound = summary["clock"]["bound_seconds"] + summary["clock"].get("master", {}).get("bound_seconds", 0.0)
    where = "here" if workers is None else "pods"
    record_testsuite_property(f"{where}_clock_bound_seconds", bound)
    for name, value in medians.items():
        record_testsuite_property(f"{where}_{name}_seconds", value)
    print(where, len(records), summary["clock"], medians)  # noqa: T201

    assert len(records) == summary["requests"]["ok"] == summary["requests"]["planned"] > 0
    for name in CAUSAL:
        assert min(each[name] for each in differences) >= -bound, (name, medians)
    assert all(abs(value) < WAY_SECONDS for value in medians.values()), medians
    if workers is not None:
        assert summary["workers"] == workers.count
        assert all(clock["bound_seconds"] < WAY_SECONDS for clock in summary["clock"]["workers"])
