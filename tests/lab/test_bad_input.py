"""
What can go wrong with `bench run`, tried with the command itself: each is one clear sentence and its exit code, nothing
stays in the cluster, and what was measured until then is kept.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from bench.cluster.client import Cluster
from bench.cluster.journal import leftovers
from bench.cluster.leftovers import find_labelled
from bench.cluster.objects import Ref
from bench.cluster.sandbox import RUN_LABEL
from bench.evidence.reader import load_run
from bench.lab.faults.planting import planted
from bench.model.measurement import Measurement
from bench.targets.opening import find_prometheus
from tests.lab.asking import query, wait_until
from tests.lab.running import RunningLab, bench, running_lab, unique_name
from tests.lab.runs import Ended, Run

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

LAB = ("--nodes", "1", "--gpus", "2", "--exporter-interval", "1", "--scrape-interval", "1", "--hpa-sync", "2")


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab(unique_name("badinput"), *LAB) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(lab: RunningLab) -> Iterator[Cluster]:
    with Cluster.open(kubeconfig=lab.kubeconfig) as cluster:
        yield cluster


@pytest.fixture
def start(lab: RunningLab, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Begins a run on the lab; one that goes on at the end of the test is killed."""
    begun: list[Run] = []

    def begin(*words: str, target: tuple[str, ...] = ("--target", f"lab:{lab.name}"), **parameters: object) -> Run:
        begun.append(Run(tmp_path, *target, *words, **parameters))
        return begun[-1]

    yield begin
    for run in begun:
        run.kill()


def context_of(kubeconfig: Path) -> str:
    return str(yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["current-context"])


def as_cluster(kubeconfig: Path, *words: str) -> tuple[str, ...]:
    """The lab by its kubeconfig, as any cluster is named."""
    return ("--target", context_of(kubeconfig), "--kubeconfig", str(kubeconfig), "--yes", *words)


def assert_nothing_stays(cluster: Cluster, run: Run) -> None:
    assert find_labelled(cluster).refs == {}
    assert leftovers(run.folder / "journal.jsonl") == ()


# What is asked for cannot be: no cluster is asked.


@pytest.mark.parametrize(
    ("words", "parameters", "told"),
    [
        ((), {"scenario": "no-such-scenario"}, "no-such-scenario"),
        (("--set", "pod-autoscaling.colour=red"), {}, "colour"),
        ((), {"repeats": "many"}, "repeats='many'"),
        ((), {"aggregation": "median"}, "aggregation=median: one of"),
        ((), {"arrivals": "bursts"}, "arrivals=bursts: one of"),
        ((), {"allocation": "slices"}, "allocation=slices: one of"),
        ((), {"repeats": 0}, "repeats=0: more than 0 is meant"),
        (("--target", "no-such-context"), {}, "no-such-context"),
        ((), {"hpa_file": "/nowhere/hpa.yaml"}, "No such file"),
    ],
)
def test_what_there_is_not_is_named_and_the_exit_code_is_2(
    start: Callable[..., Run], words: tuple[str, ...], parameters: Mapping[str, object], told: str
) -> None:
    ended = start(*words, **parameters).end()

    assert ended.code == 2, ended.said
    assert told in ended.sentence
    assert ended.out == ""


OF_A_STATEFUL_SET = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: a}
spec:
  maxReplicas: 2
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: b}
  metrics:
  - type: Object
    object:
      metric: {name: gpu_utilization}
      describedObject: {apiVersion: v1, kind: Namespace, name: x}
      target: {type: AverageValue, averageValue: 70}
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- no\n- object\n", "one object is meant"),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: a}\n", "HorizontalPodAutoscaler"),
        ("a: [\n", "no YAML"),
        (OF_A_STATEFUL_SET, "StatefulSet"),
    ],
)
def test_an_hpa_file_that_is_none_or_scales_what_is_not_there_is_told(
    start: Callable[..., Run], tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "hpa.yaml"
    file.write_text(text)

    ended = start(hpa_file=file).end()

    assert ended.code == 2, ended.said
    assert told in ended.sentence
    assert str(file) in ended.sentence


# What the target lacks.


class Answers(BaseHTTPRequestHandler):
    """A Prometheus of few words."""

    names: tuple[str, ...] = ()
    location = ""

    def do_GET(self) -> None:
        if self.location:
            self.send_response(302)
            self.send_header("Location", self.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        series = [{"metric": {"__name__": name}, "value": [0, "1"]} for name in self.names if name.startswith("DCGM_")]
        data = {"resultType": "vector", "result": series} if "/query" in self.path else list(self.names)
        body = json.dumps({"status": "success", "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def answering(*names: str, location: str = "") -> Iterator[str]:
    """The URL of something that answers as Prometheus does, or redirects."""
    handler = type("Bound", (Answers,), {"names": names, "location": location})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_prometheus_that_does_not_answer_is_told_with_its_url(start: Callable[..., Run], lab: RunningLab) -> None:
    ended = start(target=as_cluster(lab.kubeconfig, "--prometheus", "http://127.0.0.1:9")).end()

    assert ended.code == 3, ended.said
    assert "Prometheus at http://127.0.0.1:9 does not answer" in ended.sentence


def test_a_prometheus_that_redirects_is_told(start: Callable[..., Run], lab: RunningLab) -> None:
    with answering(location="https://login.example/") as url:
        ended = start(target=as_cluster(lab.kubeconfig, "--prometheus", url)).end()

    assert ended.code == 3, ended.said
    assert f"Prometheus at {url} redirects" in ended.sentence


def test_without_the_series_nothing_runs_and_they_are_named(
    start: Callable[..., Run], lab: RunningLab, cluster: Cluster
) -> None:
    with answering("up", "DCGM_FI_DEV_GPU_TEMP") as url:
        run = start(target=as_cluster(lab.kubeconfig, "--prometheus", url))
        ended = run.end()

    assert ended.code == 3, ended.said
    assert ended.scenario["verdict"] == "skipped"
    assert "DCGM_FI_DEV_GPU_UTIL" in ended.scenario["reason"]
    assert find_labelled(cluster).refs == {}


def test_where_series_of_devices_are_lost_is_told_before_anything_is_created(
    start: Callable[..., Run], lab: RunningLab, cluster: Cluster
) -> None:
    with planted(lab.name, "series-dropped", field=""):
        wait_until(lambda: not query(lab, "DCGM_FI_DEV_GPU_UTIL"), within_seconds=60)
        run = start()
        ended = run.end()

    assert ended.code == 3, ended.said
    assert ended.scenario["verdict"] == "skipped"
    assert "DCGM_FI_DEV_GPU_UTIL" in ended.scenario["reason"]
    assert "is scraped and nothing of devices is stored: `kubectl logs" in ended.scenario["reason"]
    assert not (run.folder / "journal.jsonl").exists()
    assert find_labelled(cluster).refs == {}


def test_an_api_server_that_does_not_answer_is_told(start: Callable[..., Run], lab: RunningLab, tmp_path: Path) -> None:
    kubeconfig = yaml.safe_load(lab.kubeconfig.read_text(encoding="utf-8"))
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    away = tmp_path / "away.yaml"
    away.write_text(yaml.safe_dump(kubeconfig))

    ended = start(target=as_cluster(away)).end()

    assert ended.code == 3, ended.said
    assert "https://127.0.0.1:9 does not answer" in ended.sentence


@contextlib.contextmanager
def account(cluster: Cluster, lab: RunningLab, folder: Path, *, lacking: tuple[str, str]) -> Iterator[Path]:
    """The kubeconfig of a service account with the roles that `bench rbac` prints, without one verb of a resource."""
    words = ["--service-account", "default/tester", "--prometheus-service", prometheus_service(cluster), "--json"]
    manifests: list[dict[str, Any]] = json.loads(bench("rbac", "pod-autoscaling", *words).stdout)["items"]
    for rule in [rule for manifest in manifests for rule in manifest.get("rules", ())]:
        if lacking[1] in rule["resources"]:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != lacking[0]] or ["watch"]
    subject = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tester", "namespace": "default"}}
    for manifest in (subject, *manifests):
        cluster.create(manifest)
    path = "/api/v1/namespaces/default/serviceaccounts/tester/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    token = cluster.request("POST", path, body=body)["status"]["token"]
    kubeconfig = yaml.safe_load(lab.kubeconfig.read_text(encoding="utf-8"))
    kubeconfig["users"][0]["user"] = {"token": token}
    file = folder / "tester.yaml"
    file.write_text(yaml.safe_dump(kubeconfig))
    yield file
    for manifest in (*manifests, subject):
        cluster.delete(Ref.of(manifest))


def prometheus_service(cluster: Cluster) -> str:
    found = find_prometheus(cluster.list("/api/v1/services").items)
    assert found is not None
    return f"{found[0]}/{found[1]}:{found[2]}"


def test_a_missing_right_is_named_before_anything_is_created(
    start: Callable[..., Run], lab: RunningLab, cluster: Cluster, tmp_path: Path
) -> None:
    with account(cluster, lab, tmp_path, lacking=("create", "deployments")) as kubeconfig:
        ended = start(target=as_cluster(kubeconfig)).end()

    assert ended.code == 3, ended.said
    assert "right to create deployments" in ended.sentence
    assert "bench rbac pod-autoscaling" in ended.sentence
    assert find_labelled(cluster).refs == {}


# The user wants the end.


@pytest.mark.parametrize(
    ("phase", "kept"),
    [
        ("deploy one replica", ()),
        ("calibrate: one replica at its capacity", ("gpu_busy_time_ratio", "metrics_api_metric_value")),
        ("step up 1 of 1", ("replica_capacity_per_second", "gpu_busy_time_ratio", "prometheus_metric_value")),
    ],
)
def test_after_ctrl_c_in_any_phase_the_readings_are_kept_and_nothing_stays(
    start: Callable[..., Run], cluster: Cluster, phase: str, kept: tuple[str, ...]
) -> None:
    run = start()
    run.wait_for_phase(phase)
    run.interrupt()
    ended = run.end()

    assert ended.code == 130, ended.said
    assert ended.sentence.startswith("bench: interrupted: what was measured is kept")
    assert_nothing_stays(cluster, run)
    assert (ended.scenario["verdict"], ended.scenario["is_complete"]) == ("inconclusive", False)
    assert ended.scenario["reason"] == "the run was interrupted"
    assert_is_one_object_of_the_run(ended, run)
    found = {reading.name for reading in load_run(run.folder).readings("pod-autoscaling", [])}
    assert set(kept) <= found


def assert_is_one_object_of_the_run(ended: Ended, run: Run) -> None:
    told = ended.document
    assert (told["run_id"], told["path"], told["fidelity"]) == (run.folder.name, str(run.folder), "embedded")
    assert told["is_complete"] is load_run(run.folder).record.is_complete
    assert ended.scenario["id"] == "pod-autoscaling"
    for check in ended.scenario["checks"]:
        assert {"claim", "verdict", "observed", "bound", "basis"} <= check.keys()


# What is asked goes away for a while.


def is_going(cluster: Cluster) -> bool:
    """Whether the removal of a run's namespace has begun."""
    namespaces = cluster.list("/api/v1/namespaces", label_selector=RUN_LABEL).items
    return any("deletionTimestamp" in each["metadata"] for each in namespaces)


def failed(ended: Ended) -> list[str]:
    return [f"{each['claim']}: {each['reason']}" for each in ended.scenario["checks"] if each["verdict"] == "fail"]


def assert_follows_to_the_end(run: Run, *names: str) -> None:
    """Each of these was seen after the last load step had begun, too."""
    readings = load_run(run.folder).readings("pod-autoscaling", [])
    (turn,) = [
        each.times_seconds[0]
        for each in readings
        if each.name == "load_rate_per_second" and each.labels["direction"] == "down"
    ]
    for name in names:
        ends = [each.times_seconds[-1] for each in readings if each.name == name and isinstance(each, Measurement)]
        assert max(ends) > turn, name


def test_a_run_outlives_restarts_of_what_it_asks_and_ctrl_c_while_it_cleans_up(
    start: Callable[..., Run], lab: RunningLab, cluster: Cluster
) -> None:
    run = start()
    run.wait_for_phase("calibrate: one replica at its capacity")
    with planted(lab.name, "part-restarted", part="prometheus"):
        run.wait_for_phase("step up 1 of 1")
    with planted(lab.name, "part-restarted", part="kube-apiserver"):
        run.wait_for_phase("step down 1 of 1")
    run.wait_for_phase("gather what was seen")
    run.wait_until(lambda: is_going(cluster))
    run.interrupt()
    ended = run.end()

    assert ended.code == 130, ended.said
    assert_nothing_stays(cluster, run)
    assert (ended.scenario["is_complete"], ended.document["is_complete"]) == (True, True), ended.scenario["reason"]
    assert ended.scenario["verdict"] not in ("error", "fail"), failed(ended)
    assert "Prometheus was away from" in ended.scenario["reason"]
    assert_follows_to_the_end(run, "gpu_busy_time_ratio", "prometheus_metric_value", "metrics_api_metric_value")
    assert "Traceback" not in ended.said
    assert_is_one_object_of_the_run(ended, run)


def test_without_a_metrics_api_nothing_runs(start: Callable[..., Run], cluster: Cluster) -> None:
    """The last: nobody brings it back."""
    served = cluster.list("/apis/apiregistration.k8s.io/v1/apiservices").items
    for name in [each["metadata"]["name"] for each in served if "metrics.k8s.io" in each["metadata"]["name"]]:
        cluster.delete(Ref(api_version="apiregistration.k8s.io/v1", kind="APIService", name=name, namespace=""))

    ended = start().end()

    assert ended.code == 3, ended.said
    assert ended.scenario["verdict"] == "skipped"
    assert "custom.metrics.k8s.io" in ended.scenario["reason"]
    assert find_labelled(cluster).refs == {}
