"""Probes: what counts as ready, alive and started, by HTTP, TCP and a program, and what follows from it."""

from typing import Any

from tests.contract.pods import (
    STARTED_SECONDS,
    condition,
    holds,
    is_running,
    pod,
    restarts,
    server,
    start,
    status_of,
)
from tests.contract.target import Object, Target

QUICK = {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 5}


def http(path: str, **fields: Any) -> Object:
    return {"httpGet": {"path": path, "port": 8080}, **QUICK, **fields}


def running(target: Target, manifest: Object) -> Object:
    """The pod once its program answers, Ready or not."""
    made = target.wait_for(target.create(manifest), is_running, within_seconds=STARTED_SECONDS, what="a running pod")
    with target.following(made, within_seconds=60) as lines:
        assert next(lines) == "serving"
    return made


def unhealthy(target: Target, found: Object, words: str) -> Object:
    return target.wait_for_event(
        found, lambda e: e["reason"] == "Unhealthy" and words in e["message"], within_seconds=60
    )


def test_a_pod_becomes_ready_when_its_probe_passes_and_unready_when_it_fails(target: Target, namespace: str) -> None:
    made = running(target, pod(namespace, "gated", server(state="ready=no", readinessProbe=http("/ready"))))
    assert (
        unhealthy(target, made, "Readiness probe failed: HTTP probe failed with statuscode: 503")["type"] == "Warning"
    )
    unready = target.again(made)
    assert condition(unready, "Ready")["status"] == "False"
    assert condition(unready, "Ready")["reason"] == "ContainersNotReady"
    assert not status_of(unready)["ready"]

    target.ask(made, "/set/ready/yes")
    target.wait_for(made, holds("Ready"), within_seconds=30, what="a Ready pod")
    target.ask(made, "/set/ready/no")
    again = target.wait_for(made, holds("Ready", "False"), within_seconds=30, what="a pod that is not Ready")

    assert restarts(again) == 0


def test_only_ready_pods_are_endpoints_of_a_service(target: Target, namespace: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "gated", "namespace": namespace},
        "spec": {"selector": {"app": "gated"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    target.create(service)
    gated = server(state="ready=no", readinessProbe=http("/ready"))
    made = running(target, pod(namespace, "gated", gated, labels={"app": "gated"}))

    def wait_until_endpoint_is(*, ready: bool) -> None:
        def found(slices: Any) -> bool:
            endpoints = [e for s in slices.values() for e in s.get("endpoints") or []]
            return [e["conditions"]["ready"] for e in endpoints] == [ready]

        target.wait_until("discovery.k8s.io/v1", "EndpointSlice", namespace, found, within_seconds=30)

    wait_until_endpoint_is(ready=False)
    target.ask(made, "/set/ready/yes")
    wait_until_endpoint_is(ready=True)
    target.ask(made, "/set/ready/no")
    wait_until_endpoint_is(ready=False)


def test_a_program_that_is_no_longer_alive_is_killed_and_started_again(target: Target, namespace: str) -> None:
    # Only a program that listens can be asked whether it is alive.
    guarded = server(livenessProbe=http("/alive"), startupProbe=http("/up", failureThreshold=120))
    made = start(target, pod(namespace, "alive", guarded, restartPolicy="Always"))

    target.ask(made, "/set/alive/no")
    again = target.wait_for(
        made, lambda p: restarts(p) == 1 and status_of(p)["state"].get("running"), within_seconds=60, what="a restart"
    )

    assert status_of(again)["lastState"]["terminated"]["exitCode"] in {0, 137, 143}
    unhealthy(target, made, "Liveness probe failed: HTTP probe failed with statuscode: 503")
    killing = target.wait_for_event(made, lambda e: e["reason"] == "Killing", within_seconds=30)
    assert killing["message"] == "Container main failed liveness probe, will be restarted"


def test_liveness_is_not_asked_before_the_program_has_started(target: Target, namespace: str) -> None:
    guarded = server(
        state="started=no alive=no",
        startupProbe=http("/started", failureThreshold=120),
        livenessProbe=http("/alive"),
        readinessProbe=http("/ready"),
    )
    made = running(target, pod(namespace, "slow", guarded, restartPolicy="Always"))
    unhealthy(target, made, "Startup probe failed")
    early = target.again(made)
    assert status_of(early)["started"] is False
    assert condition(early, "Ready")["status"] == "False"
    assert restarts(early) == 0

    target.ask(made, "/set/alive/yes")
    target.ask(made, "/set/started/yes")

    late = target.wait_for(made, holds("Ready"), within_seconds=30, what="a Ready pod")
    assert status_of(late)["started"] is True
    assert restarts(late) == 0


def test_a_program_that_does_not_start_in_time_is_started_again(target: Target, namespace: str) -> None:
    late = server(state="started=no", startupProbe=http("/started", failureThreshold=2))
    made = running(target, pod(namespace, "late", late, restartPolicy="Always"))

    target.wait_for(made, lambda p: restarts(p) >= 1, within_seconds=60, what="a restart")

    killing = target.wait_for_event(made, lambda e: e["reason"] == "Killing", within_seconds=30)
    assert killing["message"] == "Container main failed startup probe, will be restarted"


def test_a_tcp_probe_passes_once_the_port_is_open(target: Target, namespace: str) -> None:
    probe = {"tcpSocket": {"port": 9090}, **QUICK}
    made = running(target, pod(namespace, "tcp", server(readinessProbe=probe)))
    assert "connection refused" in unhealthy(target, made, "Readiness probe failed: dial tcp")["message"]

    target.ask(made, "/listen/9090")

    target.wait_for(made, holds("Ready"), within_seconds=30, what="a Ready pod")


def test_a_program_probe_passes_once_the_program_does(target: Target, namespace: str) -> None:
    probe = {"exec": {"command": ["sh", "-c", "test -e /tmp/ready || { echo no such luck; exit 1; }"]}, **QUICK}
    made = running(target, pod(namespace, "exec", server(readinessProbe=probe)))
    unhealthy(target, made, "Readiness probe failed: no such luck")

    target.ask(made, "/touch/tmp/ready")

    target.wait_for(made, holds("Ready"), within_seconds=30, what="a Ready pod")


def test_a_probe_finds_its_port_by_name_and_sends_its_headers(target: Target, namespace: str) -> None:
    headers = [{"name": "X-Word", "value": "yes"}]
    probe = {"httpGet": {"path": "/ready", "port": "web", "httpHeaders": headers}, **QUICK}
    named = server(readinessProbe=probe, ports=[{"name": "web", "containerPort": 8080}])

    assert condition(start(target, pod(namespace, "named", named)), "Ready")["status"] == "True"


def test_it_takes_as_many_failures_as_the_probe_says(target: Target, namespace: str) -> None:
    patient = server(livenessProbe=http("/alive", failureThreshold=1000), readinessProbe=http("/ready"))
    made = start(target, pod(namespace, "patient", patient, restartPolicy="Always"))

    target.ask(made, "/set/alive/no")
    unhealthy(target, made, "Liveness probe failed")
    target.wait_for_event(made, lambda e: e["reason"] == "Unhealthy" and e.get("count", 1) >= 3, within_seconds=60)

    assert restarts(target.again(made)) == 0
