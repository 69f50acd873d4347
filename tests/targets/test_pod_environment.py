"""What a program finds in its environment, and how it speaks to the API server with its own account."""

from typing import Any

from tests.contract.pods import (
    PYTHON,
    STARTED_SECONDS,
    answer_of,
    is_finished,
    output_of,
    pod,
    python,
    shell,
    status_of,
    waiting_reason,
)
from tests.contract.target import Object, Target

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


def environment_of(target: Target, namespace: str, env: list[Object], **fields: Any) -> dict[str, str]:
    """The environment of a program, as it sees it."""
    shown = pod(namespace, "shown", python(SHOW, env=env, **fields), labels={"app": "bench"})
    answer: dict[str, str] = answer_of(target, shown)
    return answer


def field(path: str) -> Object:
    return {"fieldRef": {"fieldPath": path}}


def keep(target: Target, namespace: str) -> None:
    """A ConfigMap and a Secret to take values from."""
    metadata = {"name": "kept", "namespace": namespace}
    target.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"A": "1", "B": "two"}})
    target.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"S": "open sesame"}})


def test_fields_of_the_pod_become_variables(target: Target, namespace: str) -> None:
    paths = {
        "NAME": "metadata.name",
        "NAMESPACE": "metadata.namespace",
        "UID": "metadata.uid",
        "LABEL": "metadata.labels['app']",
        "NODE": "spec.nodeName",
        "ACCOUNT": "spec.serviceAccountName",
        "ADDRESS": "status.podIP",
        "HOST": "status.hostIP",
    }

    seen = environment_of(target, namespace, [{"name": n, "valueFrom": field(p)} for n, p in paths.items()])

    told = target.get("v1", "Pod", "shown", namespace)
    assert {name: seen[name] for name in paths} == {
        "NAME": "shown",
        "NAMESPACE": namespace,
        "UID": told["metadata"]["uid"],
        "LABEL": "bench",
        "NODE": told["spec"]["nodeName"],
        "ACCOUNT": "default",
        "ADDRESS": told["status"]["podIP"],
        "HOST": told["status"]["hostIP"],
    }


def test_resources_of_the_container_become_variables(target: Target, namespace: str) -> None:
    env = [
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "CORES", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    resources = {"limits": {"cpu": "250m", "memory": "64Mi"}}

    seen = environment_of(target, namespace, env, resources=resources)

    assert (seen["CPU"], seen["CORES"], seen["MEMORY"]) == ("250", "1", "64")


def test_keys_of_config_maps_and_secrets_become_variables(target: Target, namespace: str) -> None:
    keep(target, namespace)
    env = [
        {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "kept", "key": "A"}}},
        {"name": "HIDDEN", "valueFrom": {"secretKeyRef": {"name": "kept", "key": "S"}}},
        {"name": "MISSING", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "A", "optional": True}}},
    ]

    seen = environment_of(target, namespace, env)

    assert (seen["ONE"], seen["HIDDEN"]) == ("1", "open sesame")
    assert "MISSING" not in seen


def test_whole_config_maps_and_secrets_become_variables_with_a_prefix(target: Target, namespace: str) -> None:
    keep(target, namespace)
    sources = [{"prefix": "MAP_", "configMapRef": {"name": "kept"}}, {"secretRef": {"name": "kept"}}]

    seen = environment_of(target, namespace, [{"name": "S", "value": "its own"}], envFrom=sources)

    assert (seen["MAP_A"], seen["MAP_B"], seen["S"]) == ("1", "two", "its own")
    assert "A" not in seen


def test_variables_are_put_into_later_variables_and_arguments(target: Target, namespace: str) -> None:
    env = [
        {"name": "FIRST", "value": "1"},
        {"name": "SECOND", "value": "$(FIRST)2"},
        {"name": "ESCAPED", "value": "$$(FIRST)"},
        {"name": "UNKNOWN", "value": "$(NO_SUCH)"},
    ]
    show = 'echo "$SECOND" "$ESCAPED" "$UNKNOWN" "$1"'
    main = {"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", show, "sh"], "args": ["arg-$(SECOND)"]}

    written = output_of(target, pod(namespace, "expanded", {**main, "env": env}))

    assert written.split() == ["12", "$(FIRST)", "$(NO_SUCH)", "arg-12"]


def service(namespace: str, name: str) -> Object:
    ports = [{"name": "web", "port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def test_services_of_the_namespace_become_variables(target: Target, namespace: str) -> None:
    made = target.create(service(namespace, "my-shop"))

    seen = environment_of(target, namespace, [])

    address = made["spec"]["clusterIP"]
    assert (seen["MY_SHOP_SERVICE_HOST"], seen["MY_SHOP_SERVICE_PORT"]) == (address, "80")
    assert seen["MY_SHOP_SERVICE_PORT_WEB"] == "80"
    assert seen["MY_SHOP_PORT"] == f"tcp://{address}:80"
    assert seen["MY_SHOP_PORT_80_TCP_ADDR"] == address
    assert seen["KUBERNETES_SERVICE_HOST"]
    assert seen["KUBERNETES_SERVICE_PORT"] == "443"


def test_without_service_links_only_the_api_server_is_a_variable(target: Target, namespace: str) -> None:
    target.create(service(namespace, "my-shop"))

    seen = answer_of(target, pod(namespace, "shown", python(SHOW), enableServiceLinks=False))

    assert "MY_SHOP_SERVICE_HOST" not in seen
    assert seen["KUBERNETES_SERVICE_HOST"]


def test_a_program_finds_no_variables_of_the_machine(target: Target, namespace: str) -> None:
    seen = environment_of(target, namespace, [])

    assert seen["HOSTNAME"] == "shown"
    assert not {"VIRTUAL_ENV", "SUDO_USER", "USER", "LOGNAME", "SSH_CONNECTION", "XDG_STATE_HOME"} & set(seen)


def test_a_missing_key_keeps_the_container_from_starting_until_it_is_there(target: Target, namespace: str) -> None:
    env = [{"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "A"}}}]
    made = target.create(pod(namespace, "waiting", shell("echo $ONE", env=env)))

    held = target.wait_for(
        made, lambda p: waiting_reason(p) == "CreateContainerConfigError", within_seconds=STARTED_SECONDS
    )
    assert held["status"]["phase"] == "Pending"
    assert status_of(held)["state"]["waiting"]["message"] == 'configmap "late" not found'
    event = target.wait_for_event(held, lambda e: e["reason"] == "Failed", within_seconds=30)
    assert (event["type"], event["message"]) == ("Warning", 'Error: configmap "late" not found')

    metadata = {"name": "late", "namespace": namespace}
    target.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"A": "here"}})
    ended = target.wait_for(made, is_finished, within_seconds=120, what="a pod that got its variable")
    assert target.log(ended).strip() == "here"


ASK_API = """
import json, os, ssl, urllib.error, urllib.request
place = "/var/run/secrets/kubernetes.io/serviceaccount/"
read = lambda name: open(place + name).read()
context = ssl.create_default_context(cafile=place + "ca.crt")
def ask(path):
    request = urllib.request.Request("https://" + HOST + path, headers={"Authorization": "Bearer " + read("token")})
    try:
        return urllib.request.urlopen(request, context=context, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
mine = "/api/v1/namespaces/" + read("namespace")
print(json.dumps([ask(mine + "/configmaps"), ask(mine + "/secrets"), read("namespace")]))
"""


def let_read_config_maps(target: Target, namespace: str) -> None:
    group = "rbac.authorization.k8s.io"
    metadata = {"name": "reads", "namespace": namespace}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    subjects = [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}]
    role = {"apiGroup": group, "kind": "Role", "name": "reads"}
    target.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules})
    binding = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": metadata}
    target.create({**binding, "subjects": subjects, "roleRef": role})


def test_the_token_of_a_pod_opens_what_its_account_may_see_and_no_more(target: Target, namespace: str) -> None:
    let_read_config_maps(target, namespace)
    program = 'HOST = "kubernetes.default.svc"' + ASK_API

    assert answer_of(target, pod(namespace, "asking", python(program))) == [200, 403, namespace]


def test_the_api_server_is_also_found_by_its_variables(target: Target, namespace: str) -> None:
    let_read_config_maps(target, namespace)
    host = "import os\nHOST = os.environ['KUBERNETES_SERVICE_HOST'] + ':' + os.environ['KUBERNETES_SERVICE_PORT']"

    assert answer_of(target, pod(namespace, "asking", python(host + ASK_API)))[0] == 200


def test_a_pod_that_wants_no_token_has_none(target: Target, namespace: str) -> None:
    look = shell("test ! -e /var/run/secrets/kubernetes.io/serviceaccount/token && echo none")

    assert output_of(target, pod(namespace, "plain", look, automountServiceAccountToken=False)) == "none\n"


def test_a_pod_has_the_name_of_its_own(target: Target, namespace: str) -> None:
    program = (
        "import json, socket; print(json.dumps([socket.gethostname(), socket.gethostbyname(socket.gethostname())]))"
    )
    wanted = pod(namespace, "named", python(program, image=PYTHON))

    name, address = answer_of(target, wanted)

    assert (name, address) == ("named", target.get("v1", "Pod", "named", namespace)["status"]["podIP"])
