"""What a pod that cannot run shows to whoever describes it."""

from tests.contract.pods import (
    BUSYBOX,
    STARTED_SECONDS,
    condition,
    holds,
    is_finished,
    pod,
    python,
    run_to_end,
    shell,
    status_of,
    waiting_reason,
)
from tests.contract.target import Target, says

NO_SUCH_IMAGE = "registry.invalid/no/such-image:1"
"""A name under .invalid is nobody's, by RFC 2606."""


def test_an_unknown_image_cannot_be_pulled_and_backs_off(target: Target, namespace: str) -> None:
    made = target.create(pod(namespace, "unknown", shell("true", image=NO_SUCH_IMAGE)))

    failed = target.wait_for(
        made, lambda p: waiting_reason(p) in {"ErrImagePull", "ImagePullBackOff"}, within_seconds=STARTED_SECONDS
    )
    assert failed["status"]["phase"] == "Pending"
    held = target.wait_for(made, lambda p: waiting_reason(p) == "ImagePullBackOff", within_seconds=STARTED_SECONDS)
    message = status_of(held)["state"]["waiting"]["message"]
    assert f'Back-off pulling image "{NO_SUCH_IMAGE}"' in message

    for reason, words in (
        ("Pulling", f'Pulling image "{NO_SUCH_IMAGE}"'),
        ("Failed", f'Failed to pull image "{NO_SUCH_IMAGE}"'),
        ("Failed", "Error: ErrImagePull"),
        ("Failed", "Error: ImagePullBackOff"),
        ("BackOff", f'Back-off pulling image "{NO_SUCH_IMAGE}"'),
    ):
        target.wait_for_event(made, says(reason, words), within_seconds=60)


def test_an_image_that_may_not_be_pulled_must_be_there(target: Target, namespace: str) -> None:
    made = target.create(pod(namespace, "never", shell("true", image=NO_SUCH_IMAGE, imagePullPolicy="Never")))

    held = target.wait_for(made, lambda p: waiting_reason(p) == "ErrImageNeverPull", within_seconds=STARTED_SECONDS)

    assert NO_SUCH_IMAGE in status_of(held)["state"]["waiting"]["message"]


def test_a_program_that_is_not_in_the_image_cannot_start(target: Target, namespace: str) -> None:
    main = {"name": "main", "image": BUSYBOX, "command": ["/no/such/program"]}

    ended = run_to_end(target, pod(namespace, "absent", main))

    assert ended["status"]["phase"] == "Failed"
    state = status_of(ended)["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) in {(128, "StartError"), (127, "ContainerCannotRun")}
    assert "no such file or directory" in state["message"].lower()
    event = target.wait_for_event(ended, lambda e: e["reason"] == "Failed", within_seconds=30)
    assert "/no/such/program" in event["message"]


def test_a_pod_for_a_node_that_is_not_there_stays_pending(target: Target, namespace: str) -> None:
    made = target.create(pod(namespace, "nowhere", shell("true"), nodeSelector={"bench.example.com/none": "x"}))

    event = target.wait_for_event(made, lambda e: e["reason"] == "FailedScheduling", within_seconds=60)

    assert "nodes are available" in event["message"]
    held = target.wait_for(made, holds("PodScheduled", "False"), within_seconds=30, what="a pod without a node")
    assert held["status"]["phase"] == "Pending"
    assert condition(held, "PodScheduled")["reason"] == "Unschedulable"


def test_a_pod_that_asks_for_more_than_any_node_has_stays_pending(target: Target, namespace: str) -> None:
    greedy = shell("true", resources={"requests": {"memory": "900Ti"}})

    made = target.create(pod(namespace, "greedy", greedy))

    event = target.wait_for_event(made, lambda e: e["reason"] == "FailedScheduling", within_seconds=60)
    assert "Insufficient memory" in event["message"]


def test_a_pod_that_asks_for_more_gpus_than_any_node_has_stays_pending(target: Target, namespace: str) -> None:
    made = target.create(pod(namespace, "greedy", shell("true", resources={"limits": {"nvidia.com/gpu": "4096"}})))

    event = target.wait_for_event(made, lambda e: e["reason"] == "FailedScheduling", within_seconds=60)

    assert "Insufficient nvidia.com/gpu" in event["message"]


def test_a_pod_bound_by_hand_to_a_node_without_its_devices_is_refused_by_the_node(
    target: Target, namespace: str
) -> None:
    node = target.items("v1", "Node")[0]["metadata"]["name"]
    greedy = shell("true", resources={"limits": {"nvidia.com/gpu": "4096"}})

    made = target.create(pod(namespace, "forced", greedy, nodeName=node, tolerations=[{"operator": "Exists"}]))

    refused = target.wait_for(made, is_finished, within_seconds=60, what="a pod that its node refused")
    assert refused["status"]["phase"] == "Failed"
    assert refused["status"]["reason"] in {"UnexpectedAdmissionError", "OutOfnvidia.com/gpu"}
    assert refused["status"]["message"]


def test_a_program_over_its_memory_limit_is_ended(target: Target, namespace: str) -> None:
    grow = python("grown = bytearray(b'x') * (256 << 20)", resources={"limits": {"memory": "64Mi"}})

    ended = run_to_end(target, pod(namespace, "hungry", grow))

    assert ended["status"]["phase"] == "Failed"
    assert status_of(ended)["state"]["terminated"]["exitCode"] == 137
    assert status_of(ended)["state"]["terminated"]["reason"] in {"OOMKilled", "Error"}
