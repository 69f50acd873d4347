"""Every kind of volume that a scenario may use, and what an impossible one shows."""

import base64
import secrets
from typing import Any

from tests.contract.pods import (
    STARTED_SECONDS,
    answer_of,
    is_finished,
    is_running,
    output_of,
    pod,
    python,
    run_to_end,
    shell,
    waiting_reason,
)
from tests.contract.target import Object, Target


def config_map(namespace: str, name: str, data: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def secret(namespace: str, name: str, data: dict[str, str]) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def mounted(path: str = "/data", **fields: Any) -> list[Object]:
    return [{"name": "data", "mountPath": path, **fields}]


def reader(namespace: str, script: str, source: Object, **fields: Any) -> Object:
    """A pod that looks at one volume, mounted at /data."""
    main = shell(script, volumeMounts=mounted(**fields))
    return pod(namespace, "reader", main, volumes=[{"name": "data", **source}])


def test_an_empty_dir_is_shared_by_the_containers_of_a_pod_and_empty_at_first(target: Target, namespace: str) -> None:
    write = shell("ls -A /data; echo hello > /data/word", "write", volumeMounts=mounted())
    read = shell("until cat /there/word 2>/dev/null; do sleep 0.1; done", "read", volumeMounts=mounted("/there"))

    ended = run_to_end(target, pod(namespace, "shared", write, read, volumes=[{"name": "data", "emptyDir": {}}]))

    assert target.log(ended, container="write") == ""
    assert target.log(ended, container="read") == "hello\n"


def test_an_empty_dir_in_memory_can_be_written(target: Target, namespace: str) -> None:
    source = {"emptyDir": {"medium": "Memory"}}

    assert output_of(target, reader(namespace, "echo x > /data/f && cat /data/f", source)) == "x\n"


def test_a_config_map_is_a_folder_of_its_keys(target: Target, namespace: str) -> None:
    target.create(config_map(namespace, "files", {"a": "1", "b.txt": "two\nlines\n"}))
    source = {"configMap": {"name": "files"}}

    written = output_of(target, reader(namespace, "ls /data; cat /data/a; echo; cat /data/b.txt", source))

    assert written.splitlines() == ["a", "b.txt", "1", "two", "lines"]


def test_items_choose_keys_paths_and_modes(target: Target, namespace: str) -> None:
    target.create(config_map(namespace, "files", {"a": "1", "b": "2"}))
    items = [{"key": "a", "path": "deep/down/a", "mode": 0o400}]
    source = {"configMap": {"name": "files", "items": items, "defaultMode": 0o644}}

    written = output_of(
        target,
        reader(
            namespace,
            "cd /data; find . -type f -o -type l | grep -v '\\.\\.' ; stat -L -c %a deep/down/a; cat deep/down/a",
            source,
        ),
    )

    assert written.splitlines()[-2:] == ["400", "1"]
    assert "b" not in written


def test_a_default_mode_is_the_mode_of_every_file(target: Target, namespace: str) -> None:
    target.create(config_map(namespace, "files", {"run": "echo ran"}))
    source = {"configMap": {"name": "files", "defaultMode": 0o555}}

    assert output_of(target, reader(namespace, "stat -L -c %a /data/run", source)).strip() == "555"


def test_a_config_map_holds_bytes_too(target: Target, namespace: str) -> None:
    content = bytes(range(256))
    made = config_map(namespace, "files", {})
    target.create({**made, "binaryData": {"blob": base64.b64encode(content).decode()}})
    source = {"configMap": {"name": "files"}}

    written = output_of(target, reader(namespace, "base64 /data/blob | tr -d '\\n'", source))

    assert base64.b64decode(written) == content


def test_a_sub_path_is_one_file_among_others(target: Target, namespace: str) -> None:
    target.create(config_map(namespace, "files", {"passwd": "mine"}))
    source = {"configMap": {"name": "files"}}
    script = "cat /data/one"

    assert output_of(target, reader(namespace, script, source, path="/data/one", subPath="passwd")) == "mine"


def test_a_volume_mounted_read_only_cannot_be_written(target: Target, namespace: str) -> None:
    script = "echo x > /data/f && exit 1; echo refused"

    written = output_of(target, reader(namespace, script, {"emptyDir": {}}, readOnly=True))

    assert "refused" in written.splitlines()


def test_an_optional_config_map_may_be_missing(target: Target, namespace: str) -> None:
    source = {"configMap": {"name": "no-such-thing", "optional": True}}

    assert output_of(target, reader(namespace, "ls /data | wc -l", source)).strip() == "0"


def test_a_secret_is_a_folder_of_its_values(target: Target, namespace: str) -> None:
    target.create(secret(namespace, "hidden", {"word": "open sesame"}))
    source = {"secret": {"secretName": "hidden", "defaultMode": 0o400}}

    written = output_of(target, reader(namespace, "stat -L -c %a /data/word; cat /data/word", source))

    assert written.splitlines() == ["400", "open sesame"]


def test_the_downward_api_tells_a_pod_about_itself(target: Target, namespace: str) -> None:
    items = [
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "note", "fieldRef": {"fieldPath": "metadata.annotations['note']"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}},
        {"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "requests.memory"}},
    ]
    wanted = reader(namespace, "cd /data; tail -n +1 name labels note cpu memory", {"downwardAPI": {"items": items}})
    wanted["metadata"] |= {"labels": {"app": "x", "tier": "y"}, "annotations": {"note": "hear hear"}}
    wanted["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "250m"}, "requests": {"memory": "32Mi"}}

    parts = output_of(target, wanted).split("==> ")[1:]

    told: dict[str, Any] = {part.split(" <==\n")[0]: part.split(" <==\n")[1].strip() for part in parts}
    # Topology labels of its node may have been added to the pod's own.
    told["labels"] = [line for line in told["labels"].splitlines() if not line.startswith("topology.")]
    assert told == {
        "name": "reader",
        "labels": ['app="x"', 'tier="y"'],
        "note": "hear hear",
        "cpu": "250",
        "memory": str(32 * 1024 * 1024),
    }


def test_a_projected_volume_brings_several_sources_together(target: Target, namespace: str) -> None:
    target.create(config_map(namespace, "files", {"a": "1"}))
    target.create(secret(namespace, "hidden", {"b": "2"}))
    token = {"audience": "bench.example.com", "expirationSeconds": 600, "path": "token"}
    sources = [
        {"configMap": {"name": "files", "items": [{"key": "a", "path": "from/map"}]}},
        {"secret": {"name": "hidden"}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": token},
    ]
    program = """
import base64, json
read = lambda path: open("/data/" + path).read()
body = read("token").split(".")[1]
claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
print(json.dumps([read("from/map"), read("b"), read("name"), claims["aud"], claims["exp"] - claims["iat"],
                  claims["kubernetes.io"]["pod"]["name"]]))
"""
    main = python(program, volumeMounts=mounted())
    wanted = pod(namespace, "reader", main, volumes=[{"name": "data", "projected": {"sources": sources}}])

    assert answer_of(target, wanted) == ["1", "2", "reader", ["bench.example.com"], 600, "reader"]


def test_a_changed_config_map_reaches_the_pod_that_runs(target: Target, namespace: str) -> None:
    made = target.create(config_map(namespace, "files", {"word": "old"}))
    script = "cat /data/word; echo; until grep -q new /data/word; do sleep 0.2; done; cat /data/word; echo"
    running = target.create(reader(namespace, script, {"configMap": {"name": "files"}}))
    target.wait_for(running, is_running, within_seconds=STARTED_SECONDS, what="a running pod")
    with target.following(running, within_seconds=60) as lines:
        assert next(lines) == "old"

    target.patch(made, {"data": {"word": "new"}})

    ended = target.wait_for(running, is_finished, within_seconds=150, what="a pod that saw the change")
    assert target.log(ended).split() == ["old", "new"]


def test_a_host_path_is_the_same_folder_for_all_pods_of_a_node(target: Target, namespace: str) -> None:
    name = f"bench-contract-{secrets.token_hex(6)}"
    made = {"hostPath": {"path": f"/tmp/{name}", "type": "DirectoryOrCreate"}}
    there = {"hostPath": {"path": "/tmp", "type": "Directory"}}
    write = pod(
        namespace, "write", shell("echo here > /data/word", volumeMounts=mounted()), volumes=[{"name": "data", **made}]
    )
    written = run_to_end(target, write)
    assert written["status"]["phase"] == "Succeeded"

    read = pod(
        namespace,
        "read",
        shell(f"cat /data/{name}/word && rm -r /data/{name}", volumeMounts=mounted()),
        volumes=[{"name": "data", **there}],
        nodeName=written["spec"]["nodeName"],
    )

    assert output_of(target, read) == "here\n"


def stuck(target: Target, manifest: Object, words: str) -> Object:
    """A pod that waits for a volume, and the Event that says why."""
    made = target.create(manifest)
    event = target.wait_for_event(
        made, lambda e: e["reason"] == "FailedMount" and words in e["message"], within_seconds=STARTED_SECONDS
    )
    assert event["type"] == "Warning"
    held = target.wait_for(made, lambda p: waiting_reason(p) == "ContainerCreating", within_seconds=30)
    assert held["status"]["phase"] == "Pending"
    return held


def test_a_missing_config_map_holds_the_pod_until_it_is_there(target: Target, namespace: str) -> None:
    source = {"configMap": {"name": "late"}}
    held = stuck(target, reader(namespace, "cat /data/a", source), 'configmap "late" not found')
    messages = [e["message"] for e in target.events_of(held) if e["reason"] == "FailedMount"]
    assert any(m.startswith('MountVolume.SetUp failed for volume "data"') for m in messages)

    target.create(config_map(namespace, "late", {"a": "1"}))

    ended = target.wait_for(held, is_finished, within_seconds=150, what="a pod that got its volume")
    assert target.log(ended) == "1"


def test_a_missing_secret_holds_the_pod(target: Target, namespace: str) -> None:
    stuck(target, reader(namespace, "true", {"secret": {"secretName": "none"}}), 'secret "none" not found')


def test_a_missing_key_holds_the_pod(target: Target, namespace: str) -> None:
    target.create(config_map(namespace, "files", {"a": "1"}))
    source = {"configMap": {"name": "files", "items": [{"key": "b", "path": "b"}]}}

    stuck(target, reader(namespace, "true", source), "references non-existent config key: b")


def test_a_volume_of_a_driver_that_is_not_there_holds_the_pod(target: Target, namespace: str) -> None:
    stuck(target, reader(namespace, "true", {"csi": {"driver": "none.example.com"}}), 'for volume "data"')


def test_a_host_path_of_the_wrong_type_holds_the_pod(target: Target, namespace: str) -> None:
    source = {"hostPath": {"path": f"/tmp/none-{secrets.token_hex(6)}", "type": "Directory"}}

    stuck(target, reader(namespace, "true", source), "hostPath type check failed")


def test_a_claim_that_does_not_exist_keeps_the_pod_off_the_nodes(target: Target, namespace: str) -> None:
    made = target.create(reader(namespace, "true", {"persistentVolumeClaim": {"claimName": "none"}}))

    event = target.wait_for_event(made, lambda e: e["reason"] == "FailedScheduling", within_seconds=60)

    assert 'persistentvolumeclaim "none" not found' in event["message"]
    assert "nodeName" not in target.again(made)["spec"]


def test_an_empty_dir_ends_with_its_pod(target: Target, namespace: str) -> None:
    source: Object = {"emptyDir": {}}
    first = run_to_end(target, reader(namespace, "echo left > /data/left", source))
    target.delete(first)
    target.wait_until_gone(first, within_seconds=60)
    wanted = reader(namespace, "ls -A /data", source)
    wanted["spec"]["nodeName"] = first["spec"]["nodeName"]

    assert output_of(target, wanted) == ""
