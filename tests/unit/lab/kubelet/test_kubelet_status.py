"""Phase and conditions of Pods, from what their containers are."""

from typing import Any

import pytest

from bench.lab.kubelet import status

RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
WAITING = {"waiting": {"reason": "ContainerCreating"}}


def ended(code: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": code}}


def told(name: str, state: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "lastState": {}, "ready": False, "started": False, **fields}


def spec(policy: str = "Always", *inits: dict[str, Any]) -> dict[str, Any]:
    return {"restartPolicy": policy, "initContainers": list(inits)}


@pytest.mark.parametrize(
    ("policy", "states", "phase"),
    [
        ("Always", [WAITING], "Pending"),
        ("Always", [RUNNING], "Running"),
        ("Always", [RUNNING, WAITING], "Pending"),
        ("Always", [ended(0)], "Running"),
        ("Always", [ended(1), RUNNING], "Running"),
        ("OnFailure", [ended(1)], "Running"),
        ("OnFailure", [ended(0)], "Succeeded"),
        ("OnFailure", [ended(0), RUNNING], "Running"),
        ("Never", [ended(0), ended(0)], "Succeeded"),
        ("Never", [ended(0), ended(3)], "Failed"),
        ("Never", [ended(3), RUNNING], "Running"),
    ],
)
def test_phase_of_a_pod_without_init_containers(policy: str, states: list[dict[str, Any]], phase: str) -> None:
    mains = [told(f"c{number}", state) for number, state in enumerate(states)]

    assert status.phase(spec(policy), [], mains, over=False) == phase


def test_a_container_that_waits_for_its_restart_counts_as_stopped() -> None:
    crashed = told("main", {"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(1))

    assert status.phase(spec("Always"), [], [crashed], over=False) == "Running"
    assert status.phase(spec("OnFailure"), [], [crashed], over=False) == "Running"


@pytest.mark.parametrize(("states", "phase"), [([ended(0)], "Succeeded"), ([ended(0), ended(143)], "Failed")])
def test_a_pod_that_is_being_ended_gets_a_final_phase_whatever_its_policy(
    states: list[dict[str, Any]], phase: str
) -> None:
    mains = [told(f"c{number}", state) for number, state in enumerate(states)]

    assert status.phase(spec("Always"), [], mains, over=True) == phase


def test_a_pod_is_pending_while_an_init_container_runs() -> None:
    first = told("first", RUNNING)

    assert status.phase(spec("Always", {"name": "first"}), [first], [told("main", WAITING)], over=False) == "Pending"


def test_a_failed_init_container_fails_a_pod_that_is_never_restarted() -> None:
    first = told("first", ended(1))

    assert status.phase(spec("Never", {"name": "first"}), [first], [told("main", WAITING)], over=False) == "Failed"
    assert status.phase(spec("Always", {"name": "first"}), [first], [told("main", WAITING)], over=False) == "Pending"


def test_a_sidecar_that_crashed_does_not_make_a_running_pod_pending() -> None:
    sidecar = {"name": "side", "restartPolicy": "Always"}
    crashed = told("side", {"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(1))
    main = told("main", RUNNING)

    assert status.phase(spec("Always", sidecar), [crashed], [main], over=False) == "Running"
    assert status.phase(spec("Always", sidecar), [told("side", RUNNING)], [main], over=False) == "Pending"


def test_a_sidecar_does_not_keep_a_pod_from_succeeding() -> None:
    sidecar = {"name": "side", "restartPolicy": "Always"}
    side = told("side", RUNNING, started=True)

    assert status.phase(spec("Never", sidecar), [side], [told("main", ended(0))], over=False) == "Succeeded"


@pytest.mark.parametrize(
    ("pod_policy", "container", "code", "restarted"),
    [
        ("Always", {}, 0, True),
        ("OnFailure", {}, 0, False),
        ("OnFailure", {}, 1, True),
        ("Never", {}, 1, False),
        ("Never", {"restartPolicy": "OnFailure"}, 1, True),
        ("Always", {"restartPolicy": "Never"}, 1, False),
    ],
)
def test_what_is_restarted(pod_policy: str, container: dict[str, Any], code: int, restarted: bool) -> None:
    assert status.should_restart(pod_policy, container, code) is restarted


def test_a_restart_rule_comes_before_the_policy() -> None:
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    container = {"restartPolicy": "Never", "restartPolicyRules": [rule]}

    assert status.should_restart("Never", container, 42)
    assert not status.should_restart("Never", container, 1)


def test_unready_containers_are_named() -> None:
    mains = [told("a", RUNNING, ready=True), told("b", RUNNING), told("c", WAITING)]

    condition = status.containers_ready(spec(), mains, "Running")

    assert condition["status"] == "False"
    assert condition["message"] == "containers with unready status: [b c]"


def test_an_init_container_that_is_done_does_not_count_for_readiness() -> None:
    first, main = told("first", ended(0)), told("main", RUNNING, ready=True)

    assert status.containers_ready(spec("Always", {"name": "first"}), [first, main], "Running")["status"] == "True"


def test_a_succeeded_pod_is_not_ready_because_it_is_complete() -> None:
    ready = status.ready(spec(), status.containers_ready(spec(), [], "Succeeded"), [])

    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", "PodCompleted")


def test_a_readiness_gate_holds_a_pod_back_until_it_is_true() -> None:
    gated = {"readinessGates": [{"conditionType": "example.org/open"}]}
    of_containers = {"type": "ContainersReady", "status": "True"}

    absent = status.ready(gated, of_containers, [])
    closed = status.ready(gated, of_containers, [{"type": "example.org/open", "status": "False"}])
    opened = status.ready(gated, of_containers, [{"type": "example.org/open", "status": "True"}])

    assert (absent["status"], absent["reason"]) == ("False", "ReadinessGatesNotReady")
    assert "does not exist" in absent["message"]
    assert 'is not "True", but False' in closed["message"]
    assert opened["status"] == "True"


def test_init_containers_that_are_open_are_named_until_the_others_have_begun() -> None:
    inits, declared = [told("a", ended(0)), told("b", RUNNING)], spec("Always", {"name": "a"}, {"name": "b"})

    before = status.initialized(declared, inits, [told("main", WAITING)], "Pending")
    after = status.initialized(declared, inits, [told("main", RUNNING)], "Running")

    assert before["message"] == "containers with incomplete status: [b]"
    assert after["status"] == "True"


def test_a_transition_time_changes_only_with_the_status() -> None:
    first = status.with_times("t1", [{"type": "Ready", "status": "False", "reason": "a"}], [])
    same = status.with_times("t2", [{"type": "Ready", "status": "False", "reason": "b"}], first)
    other = status.with_times("t3", [{"type": "Ready", "status": "True"}], same)

    assert [each[0]["lastTransitionTime"] for each in (first, same, other)] == ["t1", "t1", "t3"]
