"""What the controllers make of pods: Jobs, DaemonSets, Deployments, StatefulSets."""

from collections.abc import Mapping
from typing import Any

from tests.contract.pods import STARTED_SECONDS, condition, holds, server, shell
from tests.contract.target import Object, Target

LONG_SECONDS = 2 * STARTED_SECONDS


def template(name: str, main: Object, **spec: Any) -> Object:
    pod_spec = {"terminationGracePeriodSeconds": 1, "containers": [main], **spec}
    return {"metadata": {"labels": {"app": name}}, "spec": pod_spec}


def job(namespace: str, name: str, main: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**spec, "template": template(name, main, restartPolicy="Never")},
    }


def controlled(kind: str, namespace: str, name: str, main: Object, **spec: Any) -> Object:
    pod_template = template(name, main, **spec.pop("pod", {}))
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": pod_template, **spec},
    }


def ready_pods(pods: Mapping[str, Object]) -> list[Object]:
    return [p for p in pods.values() if holds("Ready")(p) and "deletionTimestamp" not in p["metadata"]]


def test_a_job_ends_after_as_many_successes_as_it_asks_for(target: Target, namespace: str) -> None:
    made = target.create(job(namespace, "count", shell("exit 0"), completions=3, parallelism=2))

    done = target.wait_for(made, holds("Complete"), within_seconds=LONG_SECONDS, what="a complete Job")

    assert done["status"]["succeeded"] == 3
    assert done["status"]["completionTime"]
    assert len(target.items("v1", "Pod", namespace, label_selector="app=count")) == 3


def test_an_indexed_job_gives_every_pod_a_number_of_its_own(target: Target, namespace: str) -> None:
    script = shell("echo $JOB_COMPLETION_INDEX $(hostname)")
    made = target.create(job(namespace, "each", script, completions=3, parallelism=3, completionMode="Indexed"))

    done = target.wait_for(made, holds("Complete"), within_seconds=LONG_SECONDS, what="a complete Job")

    assert done["status"]["completedIndexes"] == "0-2"
    pods = target.items("v1", "Pod", namespace, label_selector="app=each")
    assert sorted(target.log(p).strip() for p in pods) == ["0 each-0", "1 each-1", "2 each-2"]


def test_a_job_gives_up_after_its_retries(target: Target, namespace: str) -> None:
    made = target.create(job(namespace, "hopeless", shell("exit 1"), backoffLimit=1))

    failed = target.wait_for(made, holds("Failed"), within_seconds=LONG_SECONDS, what="a failed Job")

    assert condition(failed, "Failed")["reason"] == "BackoffLimitExceeded"
    assert failed["status"]["failed"] == 2


def test_a_job_past_its_time_is_ended(target: Target, namespace: str) -> None:
    made = target.create(job(namespace, "slow", shell("sleep 3600"), activeDeadlineSeconds=3))

    failed = target.wait_for(made, holds("Failed"), within_seconds=LONG_SECONDS, what="a failed Job")

    assert condition(failed, "Failed")["reason"] == "DeadlineExceeded"
    target.wait_until("v1", "Pod", namespace, lambda pods: not pods, within_seconds=60)


def test_a_daemon_set_runs_once_on_every_node(target: Target, namespace: str) -> None:
    nodes = {node["metadata"]["name"] for node in target.items("v1", "Node")}
    everywhere = {"tolerations": [{"operator": "Exists"}]}
    made = target.create(controlled("DaemonSet", namespace, "each", server(), pod=everywhere))

    target.wait_for(
        made,
        lambda d: d.get("status", {}).get("numberReady", 0) == len(nodes),
        within_seconds=LONG_SECONDS,
        what="a DaemonSet that is Ready everywhere",
    )

    pods = target.items("v1", "Pod", namespace, label_selector="app=each")
    assert sorted(p["spec"]["nodeName"] for p in pods) == sorted(nodes)


def test_a_daemon_set_leaves_out_the_nodes_that_its_selector_leaves_out(target: Target, namespace: str) -> None:
    chosen = target.items("v1", "Node")[0]["metadata"]
    here = {
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/hostname": chosen["labels"]["kubernetes.io/hostname"]},
    }
    target.create(controlled("DaemonSet", namespace, "one", server(), pod=here))

    ready = target.wait_until("v1", "Pod", namespace, ready_pods, within_seconds=LONG_SECONDS)

    assert [p["spec"]["nodeName"] for p in ready] == [chosen["name"]]


def test_a_deployment_replaces_a_pod_that_is_gone(target: Target, namespace: str) -> None:
    target.create(controlled("Deployment", namespace, "kept", server(), replicas=1))
    first = target.wait_until("v1", "Pod", namespace, ready_pods, within_seconds=LONG_SECONDS)[0]

    target.delete({"apiVersion": "v1", "kind": "Pod", **first})

    def another(pods: Mapping[str, Object]) -> bool:
        return any(p["metadata"]["uid"] != first["metadata"]["uid"] for p in ready_pods(pods))

    assert target.wait_until("v1", "Pod", namespace, another, within_seconds=LONG_SECONDS)


def test_a_deployment_rolls_out_a_change_without_a_moment_of_no_pods(target: Target, namespace: str) -> None:
    probe = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    main = server(readinessProbe=probe)
    made = target.create(controlled("Deployment", namespace, "rolled", main, replicas=2, strategy=strategy))
    target.wait_for(made, lambda d: d.get("status", {}).get("readyReplicas") == 2, within_seconds=LONG_SECONDS)
    since = target.again(made)["metadata"]["resourceVersion"]

    change = {"spec": {"template": {"metadata": {"annotations": {"changed": "yes"}}}}}
    target.patch(made, change)
    ready, done = [], False
    for _, item in target.events_since(since, "apps/v1", "Deployment", namespace, within_seconds=LONG_SECONDS):
        status = item["status"]
        ready.append(status.get("readyReplicas", 0))
        done = (
            status.get("observedGeneration", 0) >= 2
            and status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas") == 2
        )
        if done:
            break

    assert done, "the rollout did not end"
    assert min(ready) >= 2


def test_a_stateful_set_gives_its_pods_names_that_last_and_starts_them_in_order(target: Target, namespace: str) -> None:
    made = target.create(controlled("StatefulSet", namespace, "named", server(), replicas=2, serviceName="named"))
    target.wait_for(made, lambda s: s.get("status", {}).get("readyReplicas") == 2, within_seconds=LONG_SECONDS)

    pods = {p["metadata"]["name"]: p for p in target.items("v1", "Pod", namespace)}

    assert sorted(pods) == ["named-0", "named-1"]
    first_ready = condition(pods["named-0"], "Ready")["lastTransitionTime"]
    assert first_ready <= pods["named-1"]["metadata"]["creationTimestamp"]
