"""An API server in one file: Namespaces and Pods in memory, lists, watches, and the ways in which they go wrong."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes.client

from bench.cluster.client import Cluster

VERBS = ["create", "delete", "get", "list", "watch"]
CORE = [
    {"name": "namespaces", "kind": "Namespace", "namespaced": False, "verbs": VERBS},
    {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": VERBS},
    {"name": "pods/status", "kind": "Pod", "namespaced": True, "verbs": ["get"]},
]
LEASES = [{"name": "leases", "kind": "Lease", "namespaced": True, "verbs": VERBS}]
COORDINATION = "coordination.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
DISCOVERY = {
    "/api/v1": {"resources": CORE},
    f"/apis/{COORDINATION}": {"resources": LEASES},
    "/apis": {"groups": [{"name": "coordination.k8s.io", "preferredVersion": {"groupVersion": COORDINATION}}]},
}
COLLECTIONS = ("namespaces", "pods", "leases")


class FakeApi:
    """What it stores, what it was asked, and what it is told to do wrong."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.objects: dict[str, dict[str, Any]] = {}
        self.events: list[tuple[int, str, dict[str, Any]]] = []
        self.version = 0
        self.requests: list[tuple[str, str]] = []
        self.forgotten_below = 0
        """Watches from an older version are answered with 410."""
        self.graces: dict[str, int] = {}
        """Object → the grace with which it was asked to go."""
        self.holds: set[str] = set()
        """Objects that do not go when they are deleted."""
        self.goes_after: dict[str, str] = {}
        """Object → another; when it is deleted it stays until that one is gone."""
        self.denied: set[str] = set()
        """Methods for which this user has no right."""
        self.lacking: set[tuple[str, str]] = set()
        """Verbs and resources to which a review says no."""
        self.busy_for = 0
        """So many requests are answered with 429."""

    def take(self, method: str, path: str) -> None:
        """A request came."""
        self.requests.append((method, path))

    def put(self, path: str, body: dict[str, Any], change: str = "ADDED") -> dict[str, Any]:
        with self.changed:
            self.version += 1
            metadata = {**body.get("metadata", {}), "resourceVersion": str(self.version), "uid": f"uid-of-{path}"}
            stored = {**body, "metadata": metadata}
            self.objects[path] = stored
            self.events.append((self.version, change, stored))
            self.changed.notify_all()
            return stored

    def remove(self, path: str) -> None:
        with self.changed:
            if path in self.holds or self.goes_after.get(path) in self.objects:
                return
            self.version += 1
            gone = self.objects.pop(path)
            self.events.append((self.version, "DELETED", gone))
            self.changed.notify_all()
            for other in [each for each, first in self.goes_after.items() if first == path and each in self.objects]:
                self.remove(other)

    def forget(self) -> None:
        """As after a compaction of etcd."""
        with self.changed:
            self.forgotten_below = self.version + 1
            self.changed.notify_all()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeApi

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status: int, message: str) -> None:
        self.answer(status, {"kind": "Status", "code": status, "message": message})

    def asked(self) -> tuple[str, dict[str, list[str]]] | None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = json.loads(self.rfile.read(length) or b"{}")
        url = urlsplit(self.path)
        self.api.take(self.command, url.path)
        if self.api.busy_for:
            self.api.busy_for -= 1
            self.refuse(429, "The apiserver is shutting down, please try again later.")
            return None
        if self.command in self.api.denied:
            self.refuse(403, 'namespaces is forbidden: User "u" cannot create resource "namespaces"')
            return None
        return url.path, parse_qs(url.query)

    def do_GET(self) -> None:
        if (asked := self.asked()) is None:
            return
        path, query = asked
        if path in DISCOVERY:
            self.answer(200, DISCOVERY[path])
        elif "watch" in query:
            self.watch(path, int(query["resourceVersion"][0]), Selected.of(query))
        elif path.rsplit("/", 1)[1] in COLLECTIONS:
            wanted = Selected.of(query)
            items = [o for p, o in self.api.objects.items() if lies_in(path, p) and wanted.takes(o)]
            self.answer(200, {"metadata": {"resourceVersion": str(self.api.version)}, "items": items})
        elif path in self.api.objects:
            self.answer(200, self.api.objects[path])
        else:
            self.refuse(404, f"{path} not found")

    def watch(self, path: str, version: int, wanted: "Selected") -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with self.api.changed:
            while True:
                if version < self.api.forgotten_below:
                    self.line("ERROR", {"code": 410, "message": "too old resource version"})
                    break
                for at, change, found in [e for e in self.api.events if e[0] > version]:
                    if lies_in(path, found["metadata"]["uid"].removeprefix("uid-of-")) and wanted.takes(found):
                        self.line(change, found)
                    version = at
                self.api.changed.wait(30)
        self.wfile.write(b"0\r\n\r\n")

    def line(self, change: str, found: dict[str, Any]) -> None:
        data = json.dumps({"type": change, "object": found}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def do_POST(self) -> None:
        if (asked := self.asked()) is None:
            return
        if asked[0] == REVIEWS:
            self.review()
            return
        path = f"{asked[0]}/{self.body['metadata']['name']}"
        if path in self.api.objects:
            self.refuse(409, f"{path} already exists")
        else:
            self.answer(201, self.api.put(path, self.body))

    def review(self) -> None:
        wanted = self.body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (wanted["resource"], wanted.get("subresource"))))
        self.answer(201, {"status": {"allowed": (wanted["verb"], resource) not in self.api.lacking}})

    def do_PATCH(self) -> None:
        if (asked := self.asked()) is None:
            return
        found = self.api.objects.get(asked[0])
        if found is None:
            self.refuse(404, f"{asked[0]} not found")
        else:
            changed = {**found, "spec": {**found.get("spec", {}), **self.body["spec"]}}
            self.answer(200, self.api.put(asked[0], changed, "MODIFIED"))

    def do_DELETE(self) -> None:
        if (asked := self.asked()) is None:
            return
        if asked[0] not in self.api.objects:
            self.refuse(404, f"{asked[0]} not found")
            return
        if "gracePeriodSeconds" in self.body:
            self.api.graces[asked[0]] = self.body["gracePeriodSeconds"]
        self.api.remove(asked[0])
        self.answer(200, {"status": "Success"})


@dataclass(frozen=True)
class Selected:
    """What a request's selectors let through."""

    name: str
    label: str

    @classmethod
    def of(cls, query: dict[str, list[str]]) -> "Selected":
        name = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
        return cls(name=name, label=query.get("labelSelector", [""])[0])

    def takes(self, found: dict[str, Any]) -> bool:
        labels = found["metadata"].get("labels") or {}
        key, equals, value = self.label.partition("=")
        is_labelled = not key or (labels.get(key) == value if equals else key in labels)
        return is_labelled and self.name in ("", found["metadata"]["name"])


def lies_in(collection: str, path: str) -> bool:
    """Whether an object lies in a collection: of one namespace, or of all."""
    place, _, _ = path.rpartition("/")
    root, plural = collection.rsplit("/", 1)
    in_any_namespace = plural != "namespaces" and "/namespaces/" not in collection
    return place == collection or (
        in_any_namespace and place.startswith(f"{root}/namespaces/") and place.endswith(f"/{plural}")
    )


@contextmanager
def serving(api: FakeApi) -> Iterator[Cluster]:
    """The fake behind a real socket, and our client in front of it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"api": api}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    configuration = kubernetes.client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    configuration.retries = False
    with Cluster(kubernetes.client.ApiClient(configuration), server=configuration.host) as cluster:
        yield cluster
    server.shutdown()
    server.server_close()
    thread.join()
