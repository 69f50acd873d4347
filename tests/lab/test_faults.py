"""Each fault, planted in a lab, does what it says, at its place and nowhere else; cleared, the lab is sound again."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kubernetes.client.exceptions import ApiException
from prometheus_client.parser import text_string_to_metric_families

from bench.lab.faults.planting import planted
from tests.contract.pods import holds, output_of, pod, shell
from tests.contract.target import Object, Target
from tests.lab.asking import query, wait_until
from tests.lab.running import RunningLab, bench, running_lab, unique_name
from tests.lab.trial import SOON_SECONDS, Asking, Down, Trial, Up

pytestmark = pytest.mark.lab

SHORT = ("--exporter-interval", "1", "--scrape-interval", "1", "--hpa-sync", "2", "--hpa-stabilization", "2")
DELAY_SECONDS = 2.0
GATEWAY_SECONDS = 5.0
"""Within this a sound Gateway has learnt of a new endpoint: it waits up to 2 s twice before it takes changes up."""
UTIL, POWER, TEMPERATURE = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_GPU_TEMP"
ONE_GPU = {"limits": {"nvidia.com/gpu": 1}}


@pytest.fixture(scope="module")
def faulty() -> Iterator[RunningLab]:
    with running_lab(unique_name("faulty"), "--nodes", "1", "--gpus", "4", *SHORT) as lab:
        yield lab


@pytest.fixture(scope="module")
def cluster(faulty: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    target = Target(faulty.kubeconfig, tmp_path_factory.mktemp("faults"), strict=True)
    yield target
    target.close()


@pytest.fixture(scope="module")
def trial(faulty: RunningLab, cluster: Target) -> Trial:
    trial = Trial(faulty, cluster)
    with Asking(faulty.status["gateway_url"]) as asking:
        wait_until(lambda: any(who for _, who in asking.answers), within_seconds=SOON_SECONDS)
    return trial


class Exporter:
    """The text that it shows to anybody who asks."""

    def __init__(self, cluster: Target) -> None:
        self._cluster = cluster
        (self._pod,) = cluster.items("v1", "Pod", "gpu-operator")

    def series(self, name: str) -> list[tuple[dict[str, str], float]]:
        status, text = self._cluster.ask(self._pod, "/metrics", port=9400)
        assert status == 200
        families = text_string_to_metric_families(text)
        return [(dict(s.labels), s.value) for family in families if family.name == name for s in family.samples]

    def values(self, name: str) -> list[float]:
        return [value for _, value in self.series(name)]

    def pods(self) -> list[str]:
        """That are named at devices."""
        return [labels["pod"] for labels, _ in self.series(UTIL) if "pod" in labels]


@pytest.fixture(scope="module")
def exporter(cluster: Target) -> Exporter:
    return Exporter(cluster)


def truth_of(lab: RunningLab, event: str) -> list[Object]:
    lines = (json.loads(line) for line in lab.paths.truth.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["event"] == event]


def test_a_fault_is_told_while_it_is_planted_and_a_wrong_one_is_refused(faulty: RunningLab) -> None:
    def fault(*words: str) -> tuple[int, str]:
        done = bench("lab", "fault", *words, "--name", faulty.name)
        return done.returncode, done.stderr

    added = fault("add", "exporter-slow", "factor=4")
    again = fault("add", "exporter-slow")
    status = json.loads(bench("lab", "status", "--name", faulty.name, "--json").stdout)
    cleared = fault("clear")

    assert added == (0, f"planted in lab {faulty.name}: exporter-slow factor=4\n")
    assert status["faults"] == ["exporter-slow factor=4"]
    assert (again[0], again[1].count("\n")) == (2, 1)
    assert cleared == (0, f"cleared in lab {faulty.name}: exporter-slow factor=4\n")
    assert fault("add", "nonsense")[0] == 2
    assert [each["fault"] for each in truth_of(faulty, "fault-cleared")] == ["exporter-slow"]


def test_what_the_exporter_is_told_to_show_wrongly_it_shows_at_once_and_no_longer(
    faulty: RunningLab, exporter: Exporter, trial: Trial
) -> None:
    (holder,) = (each["metadata"]["name"] for each in trial.pods())
    sound = exporter.values(POWER)

    with planted(faulty.name, "wrong-unit", factor=1000, device=0):
        units = exporter.values(POWER)
    with planted(faulty.name, "sentinel-leaked"):
        marks = exporter.values("DCGM_FI_DEV_FB_USED")
    with planted(faulty.name, "missing-pod-label"):
        missing = exporter.pods()
    with planted(faulty.name, "wrong-pod"):
        wrong = exporter.pods()
    with planted(faulty.name, "duplicated-series"):
        twice = exporter.pods()

    assert units[0] == pytest.approx(1000 * sound[0], rel=0.2)
    assert units[1:] == pytest.approx(sound[1:], rel=0.2)
    assert min(marks) > 1e14
    assert missing == []
    assert re.fullmatch("dcgm-exporter-.*", wrong[0])
    assert sorted(twice) == sorted([*wrong, holder])
    assert exporter.pods() == [holder]


def test_a_broken_device_is_seen_through_the_exporter(faulty: RunningLab, exporter: Exporter) -> None:
    with planted(faulty.name, "xid", code=31, device=1):
        wait_until(lambda: exporter.values("DCGM_FI_DEV_XID_ERRORS") == [0, 31, 0, 0], within_seconds=SOON_SECONDS)
    with planted(faulty.name, "lost-device", device=2):
        wait_until(lambda: len(exporter.values(POWER)) == 3, within_seconds=SOON_SECONDS)

    wait_until(lambda: len(exporter.values(POWER)) == 4, within_seconds=SOON_SECONDS)


@pytest.mark.parametrize("stage", ["exporter", "prometheus"])
def test_a_value_is_late_in_one_stage_of_its_way(faulty: RunningLab, exporter: Exporter, stage: str) -> None:
    """A device that becomes hot is the mark: it is hot at once."""
    celsius = {"exporter": 91, "prometheus": 93}[stage]

    with planted(faulty.name, "slow-stage", stage=stage, seconds=3), planted(faulty.name, "hot", celsius=celsius):
        began = time.monotonic()
        wait_until(lambda: celsius in exporter.values(TEMPERATURE), within_seconds=SOON_SECONDS)
        shown = time.monotonic() - began
        wait_until(lambda: query(faulty, f"{TEMPERATURE} == {celsius}"), within_seconds=SOON_SECONDS)
        held = time.monotonic() - began

    assert (shown >= 2.9) == (stage == "exporter")
    assert held >= 2.9


def test_dropped_series_are_with_the_exporter_and_not_with_prometheus(faulty: RunningLab, exporter: Exporter) -> None:
    with planted(faulty.name, "series-dropped", device=1):
        devices = wait_until(lambda: _devices_of(faulty, 3), within_seconds=SOON_SECONDS)
        shown = exporter.values(UTIL)

    assert devices == {"0", "2", "3"}
    assert len(shown) == 4
    assert wait_until(lambda: _devices_of(faulty, 4), within_seconds=SOON_SECONDS)


def _devices_of(lab: RunningLab, count: int) -> set[str] | None:
    found = {each["metric"]["gpu"] for each in query(lab, UTIL)}
    return found if len(found) == count else None


def test_without_an_adapter_the_metrics_api_is_unavailable(faulty: RunningLab, cluster: Target) -> None:
    path = "/apis/custom.metrics.k8s.io/v1beta2"

    with planted(faulty.name, "adapter-down"), pytest.raises(ApiException) as refused:
        cluster.open("GET", path).__enter__()

    assert refused.value.status == 503
    with cluster.open("GET", path) as answer:
        assert answer.status == 200


def test_a_slow_metrics_api_tells_what_prometheus_had_before(faulty: RunningLab, cluster: Target, trial: Trial) -> None:
    with planted(faulty.name, "slow-stage", stage="metrics-api", seconds=4):
        config = cluster.get("v1", "ConfigMap", "prometheus-adapter", "monitoring")["data"]["config.yaml"]
        with _holder(cluster, trial.namespace) as holder:
            name = holder["metadata"]["name"]
            wait_until(lambda: query(faulty, f'DCGM_FI_DEV_FB_USED{{exported_pod="{name}"}}'), within_seconds=30)
            in_prometheus = time.monotonic()
            wait_until(lambda: _has_metric(cluster, trial.namespace, name), within_seconds=30)
            in_api = time.monotonic()

    assert "offset 4000ms" in config
    assert in_api - in_prometheus >= 2.5
    config = cluster.get("v1", "ConfigMap", "prometheus-adapter", "monitoring")["data"]["config.yaml"]
    assert "offset" not in config


@contextmanager
def _holder(cluster: Target, namespace: str) -> Iterator[Object]:
    script = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    made = cluster.create(pod(namespace, "holder", shell(script, resources=ONE_GPU)))
    yield cluster.wait_for(made, holds("Ready"), within_seconds=SOON_SECONDS)
    cluster.delete(made)
    cluster.wait_until_gone(made, within_seconds=SOON_SECONDS)


def _has_metric(cluster: Target, namespace: str, name: str) -> bool:
    path = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/{name}/gpu_memory_used_bytes"
    try:
        with cluster.open("GET", path) as answer:
            return bool(json.loads(answer.read())["items"])
    except ApiException:
        return False


def test_a_pod_with_a_taken_device_sees_it_and_is_listed_with_another(
    faulty: RunningLab, cluster: Target, exporter: Exporter, trial: Trial
) -> None:
    tells = shell('echo "$NVIDIA_VISIBLE_DEVICES"', resources=ONE_GPU)
    held = {labels["UUID"] for labels, _ in exporter.series(UTIL) if "pod" in labels}

    with planted(faulty.name, "two-pods-one-device"):
        shared = output_of(cluster, pod(trial.namespace, "sharer", tells)).strip()
    own = output_of(cluster, pod(trial.namespace, "owner", tells)).strip()

    assert held == {shared}
    assert own not in {"", shared}


def test_each_stage_is_late_when_it_is_told_to_be_and_no_other(faulty: RunningLab, trial: Trial) -> None:
    pairs = {
        "pod-created": "pod-deleted",
        "scheduled": "last-answer",
        "started": "device-free",
        "ready": "",
        "serving": "",
    }
    with Asking(faulty.status["gateway_url"]) as asking:
        for up_stage, down_stage in pairs.items():
            with planted(faulty.name, "slow-stage", stage=up_stage, seconds=DELAY_SECONDS):
                rising = _rise(trial)
            assert _late(rising) == {up_stage}, rising
            if down_stage:
                with planted(faulty.name, "slow-stage", stage=down_stage, seconds=DELAY_SECONDS):
                    falling = _fall(trial, asking)
                assert _late(falling) == {down_stage}, falling
            else:
                trial.down(1)


def _late(stages: dict[str, float]) -> set[str]:
    """
    Those that took about as long as the delay; without one, none takes longer than a probe's period of 1 s.

    Not the whole of it: where a stage begins is heard by a watch, some tenths of a second late on a busy machine.
    """
    return {stage for stage, seconds in stages.items() if seconds >= 0.75 * DELAY_SECONDS}


def _rise(trial: Trial) -> dict[str, float]:
    up: Up = trial.up(2)
    served = trial.published(up.pod)
    return {
        "pod-created": up.created - up.asked,
        "scheduled": up.bound - up.created,
        "started": up.started - up.bound,
        "ready": up.ready - up.started,
        "serving": served - up.ready,
    }


def _fall(trial: Trial, asking: Asking) -> dict[str, float]:
    # Only a pod that is asked has a last answer.
    for each in trial.pods():
        assert asking.first(each["metadata"]["name"]), each["metadata"]["name"]
    down: Down = trial.down(1)
    name, uid = down.pod["metadata"]["name"], down.pod["metadata"]["uid"]
    (freed,) = wait_until(
        lambda: [each["utc_seconds"] for each in truth_of(trial.lab, "device-released") if each["pod_uid"] == uid],
        within_seconds=SOON_SECONDS,
    )
    last = asking.last(name)
    return {
        "pod-deleted": down.deleted - down.asked,
        "last-answer": last - down.deleted,
        "device-free": freed - max(last, down.gone),
    }


def test_an_autoscaler_whose_writes_are_held_up_decides_late(faulty: RunningLab, cluster: Target, trial: Trial) -> None:
    seconds = 4.0
    with planted(faulty.name, "slow-stage", stage="decision", seconds=seconds):
        began = time.monotonic()
        autoscaler = cluster.create(_autoscaler(trial.namespace))
        cluster.wait_for(autoscaler, _wants(2), within_seconds=SOON_SECONDS)
        decided = time.monotonic() - began
    cluster.delete(autoscaler)

    trial.cluster.wait_until(
        "v1", "Pod", trial.namespace, lambda pods: sum(map(holds("Ready"), pods.values())) == 2, within_seconds=30
    )
    trial.down(1)
    assert decided >= seconds


def _wants(replicas: int) -> Callable[[Object], bool]:
    return lambda found: found.get("status", {}).get("desiredReplicas") == replicas


def _autoscaler(namespace: str) -> Object:
    """On the power that the devices draw, which is above 1 W a pod whatever they do."""
    metric = {"metric": {"name": "gpu_power_watts"}, "target": {"type": "AverageValue", "averageValue": "1"}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "who", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "who"},
            "minReplicas": 1,
            "maxReplicas": 2,
            "metrics": [{"type": "External", "external": metric}],
        },
    }


def test_a_mute_pod_is_ready_and_answers_nobody(faulty: RunningLab, cluster: Target, trial: Trial) -> None:
    with planted(faulty.name, "ready-without-serving", image="*python*"):
        up = trial.up(2)
        status, _ = cluster.ask(up.pod, "/who")
        # of two pods of one age either may be taken away
        cluster.patch(up.pod, {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}}})
        gone = trial.down(1)

    assert up.ready - up.started < 0.5
    assert status >= 500
    assert gone.pod["metadata"]["name"] == up.pod["metadata"]["name"]


def test_a_gateway_that_is_cut_off_serves_what_it_knew_and_learns_of_nothing(faulty: RunningLab, trial: Trial) -> None:
    (known,) = (each["metadata"]["name"] for each in trial.pods())

    with Asking(faulty.status["gateway_url"]) as asking:
        # a pod of before is out of its turns first
        wait_until(lambda: [who for _, who in asking.answers[-20:]] == [known] * 20, within_seconds=SOON_SECONDS)
        before = asking.answers[-1][0]
        with planted(faulty.name, "gateway-cut-off"):
            fresh = trial.up(2).pod["metadata"]["name"]
            unheard = asking.first(fresh, within_seconds=GATEWAY_SECONDS)
            answered = {who for at, who in asking.answers if at >= before}
        heard = asking.first(fresh)

    assert unheard is None
    assert answered == {known}, [(round(at - before, 3), why) for at, why in asking.errors]
    assert heard is not None
