"""Services, headless Services and names, from a pod and from a pod on the node's network."""

from typing import Any

from tests.contract.pods import STARTED_SECONDS, answer_of, holds, pod, python, server, start
from tests.contract.target import Object, Target

ASK = """
import collections, json, socket, urllib.request
def resolve(name):
    try:
        return sorted({found[4][0] for found in socket.getaddrinfo(name, 80, socket.AF_INET)})
    except socket.gaierror:
        return []
def ask(host, count=1, path="/who"):
    answers = collections.Counter()
    for _ in range(count):
        try:
            answers[urllib.request.urlopen("http://" + host + path, timeout=10).read().decode()] += 1
        except OSError as error:
            answers[type(error).__name__] += 1
    return answers
"""


def service(namespace: str, name: str, **spec: Any) -> Object:
    ports = [{"name": "web", "port": 80, "targetPort": "web"}]
    fields = {"selector": {"app": name}, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": fields}


def backends(target: Target, namespace: str, name: str, count: int = 2) -> list[Object]:
    """Ready servers behind a label, under their names."""
    made = []
    for number in range(count):
        probe = {"httpGet": {"path": "/ready", "port": "web"}, "periodSeconds": 1}
        main = server(ports=[{"name": "web", "containerPort": 8080}], readinessProbe=probe)
        made.append(target.create(pod(namespace, f"{name}-{number}", main, labels={"app": name})))
    return [target.wait_for(m, holds("Ready"), within_seconds=STARTED_SECONDS, what="a Ready pod") for m in made]


def wait_until_served(target: Target, namespace: str, count: int) -> None:
    """As many endpoints are ready: what a client asks from now on is answered."""

    def found(slices: Any) -> bool:
        endpoints = [e for s in slices.values() for e in s.get("endpoints") or []]
        return sum(bool(e["conditions"]["ready"]) for e in endpoints) == count

    target.wait_until("discovery.k8s.io/v1", "EndpointSlice", namespace, found, within_seconds=60)


def asked(target: Target, namespace: str, words: str, **spec: Any) -> Any:
    """
    What a client in a pod of its own is told; waits until the service's rules are in place where it stands.

    A proxy hears of one backend after the other: `backends` says of how many, of those that share a name.
    """
    settle = """
import time
for _ in range(100):
    told = ask(WAIT_FOR, 8 * BACKENDS) if WAIT_FOR else {}
    if not WAIT_FOR or not {"URLError", "ConnectionRefusedError"} & set(told) and len(told) >= BACKENDS:
        break
    time.sleep(0.1)
"""
    wait_for, backends = spec.pop("wait_for", ""), spec.pop("backends", 1)
    program = f"WAIT_FOR, BACKENDS = {wait_for!r}, {backends}\n{ASK}{settle}print(json.dumps({words}))"
    return answer_of(target, pod(namespace, "client", python(program), **spec))


def test_a_service_has_one_address_by_every_form_of_its_name(target: Target, namespace: str) -> None:
    made = target.create(service(namespace, "shop"))
    forms = ["shop", f"shop.{namespace}", f"shop.{namespace}.svc"]

    told = asked(target, namespace, f"[resolve(n) for n in {forms!r}]")

    assert told == [[made["spec"]["clusterIP"]]] * 3


def test_a_name_that_is_no_service_is_not_found(target: Target, namespace: str) -> None:
    target.create(service(namespace, "shop"))

    assert asked(target, namespace, f"[resolve('none.{namespace}.svc'), bool(resolve('shop'))]") == [[], True]


def test_a_service_spreads_requests_over_its_ready_pods(target: Target, namespace: str) -> None:
    target.create(service(namespace, "shop"))
    backends(target, namespace, "shop")
    wait_until_served(target, namespace, 2)

    told = asked(target, namespace, "ask('shop', 100)", wait_for="shop", backends=2)

    assert set(told) == {"shop-0", "shop-1"}
    assert sum(told.values()) == 100
    assert min(told.values()) >= 20, "two pods, 100 requests: fewer than 20 for one of them is not chance"


def test_a_headless_service_names_the_addresses_of_its_pods(target: Target, namespace: str) -> None:
    target.create(service(namespace, "herd", clusterIP="None"))
    pods = backends(target, namespace, "herd")
    wait_until_served(target, namespace, 2)
    addresses = sorted(p["status"]["podIP"] for p in pods)

    told = asked(target, namespace, "[resolve('herd'), ask('herd:8080', 1)]", wait_for="herd:8080")

    assert told[0] == addresses
    assert set(told[1]) <= {"herd-0", "herd-1"}


def test_a_pod_with_a_host_name_has_a_name_under_its_headless_service(target: Target, namespace: str) -> None:
    target.create(service(namespace, "herd", clusterIP="None"))
    member = pod(namespace, "x", server(), labels={"app": "herd"}, hostname="first", subdomain="herd")
    member["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": 8080}]
    running = start(target, member)
    wait_until_served(target, namespace, 1)

    told = asked(target, namespace, "[resolve('first.herd'), ask('first.herd:8080')]", wait_for="first.herd:8080")

    assert told == [[running["status"]["podIP"]], {"first": 1}]


def test_a_service_is_reached_from_the_network_of_the_node(target: Target, namespace: str) -> None:
    made = target.create(service(namespace, "shop"))
    running = backends(target, namespace, "shop", count=1)[0]
    wait_until_served(target, namespace, 1)
    names = ["shop", made["spec"]["clusterIP"], f"{running['status']['podIP']}:8080"]

    told = asked(
        target,
        namespace,
        f"[ask(n) for n in {names!r}]",
        wait_for="shop",
        hostNetwork=True,
        dnsPolicy="ClusterFirstWithHostNet",
    )

    assert told == [{"shop-0": 1}] * 3


def test_a_headless_service_is_reached_from_the_network_of_the_node(target: Target, namespace: str) -> None:
    target.create(service(namespace, "herd", clusterIP="None"))
    running = backends(target, namespace, "herd", count=1)[0]
    wait_until_served(target, namespace, 1)

    told = asked(
        target,
        namespace,
        "[resolve('herd'), ask('herd:8080')]",
        wait_for="herd:8080",
        hostNetwork=True,
        dnsPolicy="ClusterFirstWithHostNet",
    )

    assert told == [[running["status"]["podIP"]], {"herd-0": 1}]


def test_a_pod_on_the_network_of_the_node_has_its_address(target: Target, namespace: str) -> None:
    running = start(target, pod(namespace, "host", server(port=18080), hostNetwork=True))

    assert running["status"]["podIP"] == running["status"]["hostIP"]


def test_a_service_without_pods_refuses(target: Target, namespace: str) -> None:
    target.create(service(namespace, "empty"))

    told = asked(target, namespace, "ask('empty')")

    assert set(told) <= {"URLError", "ConnectionRefusedError", "TimeoutError"}
    assert sum(told.values()) == 1


def test_a_pod_that_is_deleted_gets_no_more_requests(target: Target, namespace: str) -> None:
    target.create(service(namespace, "shop"))
    first, _ = backends(target, namespace, "shop")
    wait_until_served(target, namespace, 2)

    target.delete(first)
    target.wait_until_gone(first, within_seconds=60)
    wait_until_served(target, namespace, 1)

    assert asked(target, namespace, "ask('shop', 30)", wait_for="shop") == {"shop-1": 30}


def test_a_pod_reaches_itself_through_its_service(target: Target, namespace: str) -> None:
    target.create(service(namespace, "mirror"))
    program = (
        "import http.server, json, threading, time, urllib.request\n"
        "quiet = type('H', (http.server.BaseHTTPRequestHandler,), {\n"
        "    'do_GET': lambda self: (self.send_response(200), self.end_headers(), self.wfile.write(b'me')),\n"
        "    'log_message': lambda self, *a: None})\n"
        "serving = http.server.ThreadingHTTPServer(('', 8080), quiet)\n"
        "threading.Thread(target=serving.serve_forever, daemon=True).start()\n"
        "for _ in range(300):\n"
        "    try:\n"
        "        print(json.dumps(urllib.request.urlopen('http://mirror', timeout=2).read().decode())); break\n"
        "    except OSError:\n"
        "        time.sleep(0.1)\n"
    )
    main = python(program, ports=[{"name": "web", "containerPort": 8080}])

    assert answer_of(target, pod(namespace, "self", main, labels={"app": "mirror"})) == "me"
