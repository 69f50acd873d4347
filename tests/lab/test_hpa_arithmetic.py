"""
`bench.analysis.hpa` against the real controller: the first decision of each of many HorizontalPodAutoscalers.

The metrics API is one of the test's own, which answers with the quantities that stand in the metric's name.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.analysis.hpa import Decider, Hpa, MetricKind, desired_replicas, desired_replicas_of_pods
from bench.analysis.hpa_spec import read_hpa
from bench.model.units import kubernetes_quantity
from tests.contract.pods import PYTHON, container, holds, shell
from tests.contract.target import Object, Target
from tests.lab.running import running_lab, unique_name

pytestmark = pytest.mark.lab

SERVER: Final = "metrics"
GROUPS: Final = ("custom.metrics.k8s.io", "external.metrics.k8s.io")
SOON_SECONDS: Final = 60.0
TARGET: Final = 80
NO_WINDOWS: Final = {"scaleUp": {"stabilizationWindowSeconds": 0}, "scaleDown": {"stabilizationWindowSeconds": 0}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A workload, what the metrics API says of it, and an HPA that looks at it for the first time."""

    metric: str
    target: str
    usages: tuple[str, ...]
    """Of the pods, by their number, where the metric is of type Pods; else one."""
    replicas: int
    ready: int
    most: int = 9
    least: int = 1
    behavior: Mapping[str, Any] | None = None


def policy(kind: str, value: int, *, select: str = "Max", window: int = 0) -> dict[str, Any]:
    policies = [{"type": kind, "value": value, "periodSeconds": 60}]
    return {"stabilizationWindowSeconds": window, "policies": policies, "selectPolicy": select}


def external(usage: str, replicas: int, *, kind: str = "AverageValue", ready: int = -1, **more: Any) -> Case:
    told = {"behavior": NO_WINDOWS, **more}
    return Case(
        metric="External",
        target=kind,
        usages=(usage,),
        replicas=replicas,
        ready=replicas if ready < 0 else ready,
        **told,
    )


def of_pods(usages: Sequence[str], replicas: int, **more: Any) -> Case:
    told = {"behavior": NO_WINDOWS, **more}
    return Case(metric="Pods", target="AverageValue", usages=tuple(usages), replicas=replicas, ready=replicas, **told)


EDGES: Final = (
    external("88", 1),
    external("88001m", 1),
    external("72", 1),
    external("71999m", 2),
    external("240", 3),
    external("240001m", 2),
    external("0", 3),
    external("500", 1, behavior=None),
    external("10", 4, behavior=None),
    external("900", 2, behavior=None, most=9),
    external("100", 3, kind="Value", ready=2),
    external("88", 3, kind="Value", ready=1),
    external("40", 4, kind="Value", ready=3),
    external("700", 1, behavior={"scaleUp": policy("Pods", 2)}),
    external("700", 2, behavior={"scaleUp": policy("Percent", 50)}),
    external("700", 2, behavior={"scaleUp": policy("Pods", 1, select="Disabled")}),
    external("700", 2, behavior={"scaleUp": policy("Pods", 4, window=300)}),
    external("10", 4, behavior={"scaleDown": policy("Pods", 1)}),
    external("10", 4, behavior={"scaleDown": policy("Percent", 30)}),
    external("10", 4, behavior={"scaleDown": policy("Percent", 100, window=300)}),
    external("900", 2, most=3),
    external("10", 3, least=2),
    of_pods(["100", "110"], 2),
    of_pods(["200", "200", "1"], 3),
    of_pods(["200"], 3),
    of_pods(["10"], 3),
    of_pods(["87999m", "88001m"], 2),
    of_pods(["95"], 2),
)


def drawn(count: int) -> Iterator[Case]:
    """Others, by chance and the same each time; many close to where the tolerance ends."""
    draw = random.Random(7)  # noqa: S311 (cases, no secrets)
    for _ in range(count):
        replicas = draw.randint(1, 4)
        around = [draw.choice([0.3, 0.9, 1.0, 1.1, 1.5, 2.4]) * TARGET + draw.choice([-0.001, 0, 0.001, 3.7])]
        match draw.choice(["External", "Value", "Pods"]):
            case "Pods":
                seen = draw.randint(1, replicas)
                yield of_pods([f"{round((around[0] + draw.uniform(-9, 9)) * 1000)}m" for _ in range(seen)], replicas)
            case "Value":
                ready = draw.randint(1, replicas)
                yield external(f"{round(around[0] * 1000)}m", replicas, kind="Value", ready=ready)
            case _:
                yield external(f"{round(around[0] * replicas * 1000)}m", replicas)


CASES: Final = (*EDGES, *drawn(20))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A control plane with our metrics API, and nothing else that would serve one."""
    with running_lab(unique_name("hpa"), "--parts", "", "--nodes", "3", "--gpus", "0", "--hpa-sync", "2") as lab:
        target = Target(lab.kubeconfig, tmp_path_factory.mktemp("hpa"), strict=True)
        serve_metrics(target)
        yield target
        target.close()


def serve_metrics(target: Target) -> None:
    namespace = target.make_namespace()
    certificate, key = certified()
    server = Path(__file__).with_name("metrics_server.py").read_text(encoding="utf-8")
    target.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": SERVER, "namespace": namespace},
            "data": {"server.py": server, "tls.crt": certificate, "tls.key": key},
        }
    )
    main = container(
        "main",
        *("python3", "/srv/server.py", "/srv/tls.crt", "/srv/tls.key"),
        image=PYTHON,
        volumeMounts=[{"name": "srv", "mountPath": "/srv"}],
        readinessProbe={"tcpSocket": {"port": 6443}, "periodSeconds": 1},
    )
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": SERVER, "namespace": namespace, "labels": {"app": SERVER}},
        "spec": {"containers": [main], "volumes": [{"name": "srv", "configMap": {"name": SERVER}}]},
    }
    target.wait_for(target.create(made), holds("Ready"), within_seconds=SOON_SECONDS)
    ports = [{"port": 443, "targetPort": 6443}]
    metadata = {"name": SERVER, "namespace": namespace}
    target.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": SERVER}, "ports": ports},
        }
    )
    let_the_controller_ask(target)
    for group in GROUPS:
        spec = {
            "group": group,
            "version": "v1beta1",
            "service": metadata,
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        }
        service = target.create(
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": f"v1beta1.{group}"},
                "spec": spec,
            }
        )
        target.wait_for(service, holds("Available"), within_seconds=SOON_SECONDS)


def let_the_controller_ask(target: Target) -> None:
    rights, about = {"apiGroups": list(GROUPS), "resources": ["*"], "verbs": ["*"]}, {"name": "asks-our-metrics"}
    api = "rbac.authorization.k8s.io"
    target.create({"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": about, "rules": [rights]})
    controller = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}
    role = {"apiGroup": api, "kind": "ClusterRole", **about}
    target.create(
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": about,
            "roleRef": role,
            "subjects": [controller],
        }
    )


def certified() -> tuple[str, str]:
    """A certificate that signs itself, and its key, as PEM; who asks does not verify it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(tz=UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER)])
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(minutes=5),
        not_valid_after=now + timedelta(hours=2),
    ).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def workload(namespace: str, name: str, case: Case) -> Object:
    """Pods whose names are known beforehand, the first ones of them ready."""
    probe = {"exec": {"command": ["sh", "-c", f'[ "${{HOSTNAME##*-}}" -lt {case.ready} ]']}, "periodSeconds": 1}
    main = shell("trap 'exit 0' TERM; while :; do sleep 1000 & wait; done", readinessProbe=probe)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": case.replicas,
            "podManagementPolicy": "Parallel",
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [main], "terminationGracePeriodSeconds": 1},
            },
        },
    }


def autoscaler(namespace: str, name: str, case: Case) -> Object:
    member = "value" if case.target == "Value" else "averageValue"
    source = {"metric": {"name": ".".join(case.usages)}, "target": {"type": case.target, member: str(TARGET)}}
    spec: Object = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name},
        "minReplicas": case.least,
        "maxReplicas": case.most,
        "metrics": [{"type": case.metric, case.metric.lower(): source}],
    }
    if case.behavior is not None:
        spec["behavior"] = dict(case.behavior)
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def predicted(manifest: Object, case: Case) -> int:
    """What we say that the controller asks for when it sees this HPA first."""
    hpa: Hpa = read_hpa(manifest).hpa
    usages = tuple(kubernetes_quantity(each) for each in case.usages)
    if hpa.metric is MetricKind.PODS:
        wanted = desired_replicas_of_pods(hpa, usages, missing=case.replicas - len(usages))
    else:
        wanted = desired_replicas(hpa, usages[0], replicas=case.replicas, ready=case.ready)
    return Decider(hpa).decide(0.0, case.replicas, wanted)


def test_what_we_compute_is_what_the_controller_decides(cluster: Target) -> None:
    namespace = cluster.make_namespace()
    cases = {f"case{number}": case for number, case in enumerate(CASES)}
    for name, case in cases.items():
        cluster.create(workload(namespace, name, case))

    def are_ready(found: Mapping[str, Object]) -> bool:
        shown = {name: each.get("status", {}) for name, each in found.items()}
        return all(
            (shown[name].get("replicas"), shown[name].get("readyReplicas", 0)) == (case.replicas, case.ready)
            for name, case in cases.items()
        )

    cluster.wait_until("apps/v1", "StatefulSet", namespace, are_ready, within_seconds=SOON_SECONDS)
    version = cluster.listing("autoscaling/v2", "HorizontalPodAutoscaler", namespace)["metadata"]["resourceVersion"]
    manifests = {name: autoscaler(namespace, name, case) for name, case in cases.items()}
    for manifest in manifests.values():
        cluster.create(manifest)

    decided: dict[str, int] = {}
    told = cluster.events_since(
        version, "autoscaling/v2", "HorizontalPodAutoscaler", namespace, within_seconds=SOON_SECONDS
    )
    for _, found in told:
        if any(each["type"] for each in found.get("status", {}).get("currentMetrics") or ()):
            decided.setdefault(found["metadata"]["name"], found["status"]["desiredReplicas"])
        if decided.keys() == cases.keys():
            break

    assert decided == {name: predicted(manifests[name], case) for name, case in cases.items()}
