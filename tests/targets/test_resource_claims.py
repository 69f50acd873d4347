"""Dynamic resource allocation: claims that choose devices by an expression, and pods that wait for them."""

from typing import Any

from tests.contract.accelerators import DRA, DRIVER, need_claimable, need_probe_image, probe
from tests.contract.pods import STARTED_SECONDS, answer_of, is_running, pod, run_to_end, shell
from tests.contract.target import Object, Target


def request(expression: str) -> Object:
    """One device of the NVIDIA driver for which the expression holds."""
    exactly = {"deviceClassName": DRIVER, "selectors": [{"cel": {"expression": expression}}]}
    return {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}


def claim(namespace: str, name: str, expression: str) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": DRA, "kind": "ResourceClaim", "metadata": metadata, "spec": request(expression)}


def claiming(namespace: str, name: str, main: Object, **source: str) -> Object:
    """A pod whose container uses a claim."""
    main = {**main, "resources": {"claims": [{"name": "gpu"}]}}
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    return pod(namespace, name, main, resourceClaims=[{"name": "gpu", **source}], tolerations=tolerations)


def attribute(device: Object, name: str) -> Any:
    """The value of an attribute, whatever its type."""
    return next(iter(device["attributes"][name].values()))


def is_uuid(device: Object) -> str:
    return f"device.attributes['{DRIVER}'].uuid == '{attribute(device, 'uuid')}'"


def allocated(found: Object) -> list[Object]:
    results: list[Object] = found.get("status", {}).get("allocation", {}).get("devices", {}).get("results", [])
    return results


def test_a_claim_gets_the_device_that_its_expression_names(target: Target, namespace: str) -> None:
    device = need_claimable(target)[-1]
    made = target.create(claim(namespace, "chosen", is_uuid(device)))
    running = target.create(claiming(namespace, "user", shell("sleep 3600"), resourceClaimName="chosen"))

    target.wait_for(running, is_running, within_seconds=STARTED_SECONDS, what="a running pod")

    given = target.again(made)
    assert [r["device"] for r in allocated(given)] == [device["name"]]
    assert [r["name"] for r in given["status"]["reservedFor"]] == ["user"]


def test_the_program_sees_the_device_of_its_claim(target: Target, namespace: str) -> None:
    need_probe_image(target)
    device = need_claimable(target)[0]
    target.create(claim(namespace, "chosen", is_uuid(device)))
    main = probe(image=target.probe_image)

    seen = answer_of(target, claiming(namespace, "user", main, resourceClaimName="chosen"))

    assert seen["nvml"] == [attribute(device, "uuid")]
    assert len(seen["nodes"]) == 1


def test_a_claim_chooses_by_product_and_memory(target: Target, namespace: str) -> None:
    device = need_claimable(target)[0]
    wanted = (
        f"device.attributes['{DRIVER}'].productName == '{attribute(device, 'productName')}' && "
        f"device.capacity['{DRIVER}'].memory.compareTo(quantity('1Gi')) > 0"
    )
    made = target.create(claim(namespace, "chosen", wanted))

    ended = run_to_end(target, claiming(namespace, "user", shell("true"), resourceClaimName="chosen"))

    assert ended["status"]["phase"] == "Succeeded"
    assert target.again(made)["metadata"]["uid"]


def test_a_claim_that_no_device_meets_keeps_its_pod_pending(target: Target, namespace: str) -> None:
    need_claimable(target)
    made = target.create(claim(namespace, "dream", f"device.attributes['{DRIVER}'].productName == 'no such product'"))
    waiting = target.create(claiming(namespace, "user", shell("true"), resourceClaimName="dream"))

    event = target.wait_for_event(waiting, lambda e: e["reason"] == "FailedScheduling", within_seconds=60)

    assert "cannot allocate all claims" in event["message"]
    assert target.again(waiting)["status"]["phase"] == "Pending"
    assert not allocated(target.again(made))


def test_pods_that_share_a_claim_share_its_device(target: Target, namespace: str) -> None:
    need_probe_image(target)
    device = need_claimable(target)[0]
    made = target.create(claim(namespace, "shared", is_uuid(device)))
    holder = target.create(claiming(namespace, "holder", shell("sleep 3600"), resourceClaimName="shared"))
    target.wait_for(holder, is_running, within_seconds=STARTED_SECONDS, what="a running pod")

    seen = answer_of(target, claiming(namespace, "guest", probe(image=target.probe_image), resourceClaimName="shared"))

    assert seen["nvml"] == [attribute(device, "uuid")]
    assert "holder" in [r["name"] for r in target.again(made)["status"]["reservedFor"]]


def test_a_device_that_is_claimed_is_not_given_again(target: Target, namespace: str) -> None:
    device = need_claimable(target)[0]
    target.create(claim(namespace, "first", is_uuid(device)))
    target.create(claim(namespace, "second", is_uuid(device)))
    holder = target.create(claiming(namespace, "holder", shell("sleep 3600"), resourceClaimName="first"))
    target.wait_for(holder, is_running, within_seconds=STARTED_SECONDS, what="a running pod")
    waiting = target.create(claiming(namespace, "waiting", shell("true"), resourceClaimName="second"))
    target.wait_for_event(waiting, lambda e: e["reason"] == "FailedScheduling", within_seconds=60)

    target.delete(holder)

    target.wait_for(
        waiting, lambda p: p["status"]["phase"] == "Succeeded", within_seconds=STARTED_SECONDS, what="an heir"
    )


def test_a_claim_from_a_template_lives_as_long_as_its_pod(target: Target, namespace: str) -> None:
    need_claimable(target)
    metadata = {"name": "each", "namespace": namespace}
    template = {"apiVersion": DRA, "kind": "ResourceClaimTemplate", "metadata": metadata}
    target.create({**template, "spec": {"spec": request("true")}})
    running = target.create(claiming(namespace, "user", shell("sleep 3600"), resourceClaimTemplateName="each"))
    held = target.wait_for(running, is_running, within_seconds=STARTED_SECONDS, what="a running pod")

    name = held["status"]["resourceClaimStatuses"][0]["resourceClaimName"]
    generated = target.get(DRA, "ResourceClaim", name, namespace)
    assert len(allocated(generated)) == 1
    assert generated["metadata"]["ownerReferences"][0]["name"] == "user"

    target.delete(held)
    target.wait_until_gone(generated, within_seconds=120)
