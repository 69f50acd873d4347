"""The Gateway: routes that are accepted, and requests shared out by weight."""

from math import sqrt
from typing import Any

from tests.contract.pods import STARTED_SECONDS, answer_of, condition, holds, pod, python, server
from tests.contract.target import Object, Target

GATEWAY_API = "gateway.networking.k8s.io/v1"
REQUESTS = 1000
WEIGHTS = {"heavy": 90, "light": 10}


def open_listener(gateway: Object) -> Object | None:
    """A listener for plain HTTP that routes of any namespace may join."""
    for listener in gateway["spec"]["listeners"]:
        allowed = listener.get("allowedRoutes", {}).get("namespaces", {}).get("from", "Same")
        if listener["protocol"] == "HTTP" and allowed == "All" and "hostname" not in listener:
            found: Object = listener
            return found
    return None


def find_gateway(target: Target, namespace: str) -> tuple[Object, Object]:
    """A Gateway that is there for everybody and its listener, or one of our own."""
    target.need_api(GATEWAY_API, "HTTPRoute")
    for gateway in target.items(GATEWAY_API, "Gateway"):
        listener = open_listener(gateway)
        if listener is not None and holds("Programmed")(gateway) and gateway["status"].get("addresses"):
            return gateway, listener
    classes = [c for c in target.items(GATEWAY_API, "GatewayClass") if holds("Accepted")(c)]
    if not classes:
        target.unmet("there is neither an open Gateway nor an accepted GatewayClass")
    listener = {"name": "web", "protocol": "HTTP", "port": 80}
    metadata = {"name": "own", "namespace": namespace}
    spec = {"gatewayClassName": classes[0]["metadata"]["name"], "listeners": [listener]}
    made = target.create({"apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": metadata, "spec": spec})
    ready = target.wait_for(
        made, lambda g: holds("Programmed")(g) and g["status"].get("addresses"), within_seconds=STARTED_SECONDS
    )
    return ready, listener


def backend(target: Target, namespace: str, name: str) -> None:
    """A server behind a Service of its name."""
    probe = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
    made = target.create(pod(namespace, name, server(readinessProbe=probe), labels={"app": name}))
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    metadata = {"name": name, "namespace": namespace}
    target.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    target.wait_for(made, holds("Ready"), within_seconds=STARTED_SECONDS, what="a Ready backend")


def route(namespace: str, gateway: Object, host: str, rules: list[Object]) -> Object:
    parent = {"name": gateway["metadata"]["name"], "namespace": gateway["metadata"]["namespace"]}
    return {
        "apiVersion": GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": "shared", "namespace": namespace},
        "spec": {"parentRefs": [parent], "hostnames": [host], "rules": rules},
    }


def is_accepted(found: Object) -> bool:
    parents = found.get("status", {}).get("parents", [])
    return any(
        condition({"status": p}, "Accepted").get("status") == "True"
        and condition({"status": p}, "ResolvedRefs").get("status") == "True"
        for p in parents
    )


ASK = """
import collections, http.client, json, time
def connect(port):
    return http.client.HTTPConnection(ADDRESS, port, timeout=20)
def ask(connection, headers=None):
    connection.request("GET", "/who", headers={"Host": HOST, **(headers or {})})
    answer = connection.getresponse()
    body = answer.read().decode()
    return body if answer.status == 200 else str(answer.status)
def find():
    # An address may serve the listener at its own port or, behind a Service, at port 80. A gateway learns of each
    # backend's endpoints in its own time, so that one may answer while another is not known yet.
    seen = set()
    for attempt in range(300):
        for port in PORTS:
            try:
                connection = connect(port)
                seen |= {ask(connection), ask(connection, {"X-Model": "small"})}
                if seen.issuperset(BACKENDS):
                    return port
            except OSError:
                pass
        time.sleep(0.1)
    raise SystemExit("no answer through the Gateway")
"""


def asked(target: Target, namespace: str, gateway: Object, listener: Object, words: str) -> Any:
    """What a client in a pod is told through the Gateway, once the route works."""
    address = gateway["status"]["addresses"][0]["value"]
    ports = list(dict.fromkeys([listener["port"], 80]))
    given = f"ADDRESS, HOST, PORTS, BACKENDS = {address!r}, {host_of(namespace)!r}, {ports!r}, {list(WEIGHTS)!r}\n"
    return answer_of(target, pod(namespace, "client", python(f"{given}{ASK}\nport = find()\n{words}")))


def host_of(namespace: str) -> str:
    return f"{namespace}.example.com"


def test_requests_are_shared_out_by_weight(target: Target, namespace: str) -> None:
    gateway, listener = find_gateway(target, namespace)
    for name in WEIGHTS:
        backend(target, namespace, name)
    backends = [{"name": name, "port": 80, "weight": weight} for name, weight in WEIGHTS.items()]
    made = target.create(route(namespace, gateway, host_of(namespace), [{"backendRefs": backends}]))
    target.wait_for(made, is_accepted, within_seconds=60, what="an accepted route")
    count = (
        f"connection = connect(port)\nanswers = collections.Counter(ask(connection) for _ in range({REQUESTS}))\n"
        "print(json.dumps(answers))"
    )

    told = asked(target, namespace, gateway, listener, count)

    assert sum(told.values()) == REQUESTS
    assert set(told) == set(WEIGHTS)
    share = WEIGHTS["light"] / sum(WEIGHTS.values())
    # Four standard deviations of as many independent draws: an honest gateway misses it once in 15,000 runs.
    margin = 4 * sqrt(share * (1 - share) * REQUESTS)
    assert abs(told["light"] - share * REQUESTS) <= margin


def test_a_rule_on_a_header_chooses_its_backend(target: Target, namespace: str) -> None:
    gateway, listener = find_gateway(target, namespace)
    for name in WEIGHTS:
        backend(target, namespace, name)
    match = [{"headers": [{"name": "X-Model", "value": "small"}]}]
    rules: list[Object] = [
        {"matches": match, "backendRefs": [{"name": "light", "port": 80}]},
        {"backendRefs": [{"name": "heavy", "port": 80}]},
    ]
    made = target.create(route(namespace, gateway, host_of(namespace), rules))
    target.wait_for(made, is_accepted, within_seconds=60, what="an accepted route")
    both = (
        "connection = connect(port)\n"
        "small = {ask(connection, {'X-Model': 'small'}) for _ in range(20)}\n"
        "plain = {ask(connection) for _ in range(20)}\n"
        "print(json.dumps([sorted(small), sorted(plain)]))"
    )

    assert asked(target, namespace, gateway, listener, both) == [["light"], ["heavy"]]


def test_a_route_to_a_service_that_is_not_there_says_so(target: Target, namespace: str) -> None:
    gateway, _ = find_gateway(target, namespace)
    rules = [{"backendRefs": [{"name": "none", "port": 80}]}]
    made = target.create(route(namespace, gateway, host_of(namespace), rules))

    def unresolved(found: Object) -> bool:
        parents = found.get("status", {}).get("parents", [])
        return any(condition({"status": p}, "ResolvedRefs").get("reason") == "BackendNotFound" for p in parents)

    target.wait_for(made, unresolved, within_seconds=60, what="a route without its backend")
