"""Pods as the contract tests write them: plain dictionaries, and what is read out of a pod's status."""

import json
from collections.abc import Callable
from typing import Any

from tests.contract.target import Object, Target

BUSYBOX = "busybox:1.36"
PYTHON = "python:3.12-slim"
STARTED_SECONDS = 180.0
"""Until a pod runs: a cluster that has to fetch an image first takes minutes, and nothing else waits that long."""


def container(name: str = "main", *command: str, image: str = BUSYBOX, **fields: Any) -> Object:
    made: Object = {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", **fields}
    if command:
        made["command"] = list(command)
    return made


def shell(script: str, name: str = "main", **fields: Any) -> Object:
    """A container that runs a script in busybox."""
    return container(name, "sh", "-c", script, **fields)


def python(program: str, name: str = "main", **fields: Any) -> Object:
    """A container that runs a Python program; needs nothing but the standard library."""
    return container(name, "python3", "-u", "-c", program, **{"image": PYTHON, **fields})


def pod(namespace: str, name: str, *containers: Object, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    """A pod that is not restarted and ends fast when it is deleted, unless `spec` says otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": list(containers),
            **spec,
        },
    }


def status_of(found: Object, name: str = "main") -> Object:
    """The status of a container, init containers too; empty while there is none."""
    status = found.get("status", {})
    statuses = status.get("containerStatuses", []) + status.get("initContainerStatuses", [])
    return next((s for s in statuses if s["name"] == name), {})


def waiting_reason(found: Object, name: str = "main") -> str:
    reason: str = status_of(found, name).get("state", {}).get("waiting", {}).get("reason", "")
    return reason


def restarts(found: Object, name: str = "main") -> int:
    count: int = status_of(found, name).get("restartCount", 0)
    return count


def condition(found: Object, kind: str) -> Object:
    conditions = found.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})


def holds(kind: str, value: str = "True") -> Callable[[Object], bool]:
    return lambda found: condition(found, kind).get("status") == value


def is_finished(found: Object) -> bool:
    return found.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def is_running(found: Object) -> bool:
    return bool(found.get("status", {}).get("phase") == "Running")


def run_to_end(target: Target, manifest: Object, *, within_seconds: float = STARTED_SECONDS) -> Object:
    """The pod after its last container ended."""
    return target.wait_for(target.create(manifest), is_finished, within_seconds=within_seconds, what="a finished pod")


def start(target: Target, manifest: Object, *, within_seconds: float = STARTED_SECONDS) -> Object:
    """The pod once it is Ready."""
    return target.wait_for(target.create(manifest), holds("Ready"), within_seconds=within_seconds, what="a Ready pod")


def output_of(target: Target, manifest: Object) -> str:
    """What a pod's program wrote; fails with it where the program failed."""
    ended = run_to_end(target, manifest)
    written = target.log(ended)
    assert ended["status"]["phase"] == "Succeeded", f"{ended['status']}\n{written}"
    return written


def answer_of(target: Target, manifest: Object) -> Any:
    """What a pod's program wrote as JSON in its last line."""
    return json.loads(output_of(target, manifest).strip().splitlines()[-1])


SERVER = """
import http.server, json, os, signal, socket, sys, threading

state = dict(item.split("=") for item in os.environ.get("STATE", "").split())
listening = []

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        words = self.path.split("?")[0].strip("/").split("/")
        if words[0] == "set":
            state[words[1]] = words[2]
        if words[0] == "say":
            print(words[1], flush=True)
        if words[0] == "touch":
            open("/" + "/".join(words[1:]), "w").close()
        if words[0] == "listen":
            listening.append(socket.create_server(("", int(words[1]))))
        if words[0] == "exit":
            os._exit(int(words[1]))
        value = state.get(words[0], "yes")
        body = (socket.gethostname() if words[0] == "who" else value).encode()
        self.send_response(200 if value == "yes" else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

def stop(*_):
    print("stopping", flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
print("serving", flush=True)
http.server.ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
"""
"""
A server that is told what to do. ``/NAME`` answers 200 while the word NAME is "yes" and 503 otherwise;
``/set/NAME/VALUE`` changes it, ``/say/WORD`` writes to the log, ``/touch/PATH`` makes a file,
``/listen/PORT`` opens a port, ``/exit/CODE`` ends it, ``/who`` names its host.
"""


def server(name: str = "main", *, state: str = "", port: int = 8080, **fields: Any) -> Object:
    """A container with the server that is told what to do; `state` is its words at the start (``ready=no``)."""
    env = [{"name": "STATE", "value": state}, {"name": "PORT", "value": str(port)}, *fields.pop("env", [])]
    return python(SERVER, name, env=env, **fields)
