"""
A metrics API that answers with what it is asked for: the quantities stand in the metric's name.

`/apis/external.metrics.k8s.io/v1beta1/namespaces/NS/137500m` is answered by one value of 137500m, and
`/apis/custom.metrics.k8s.io/v1beta1/namespaces/NS/pods/*/90.110` by 90 for the pod APP-0 and 110 for APP-1, where the
label selector says `app=APP`. It runs as a pod, from this file and the standard library alone.
"""

import json
import ssl
import sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


def answer(path: str, query: dict[str, list[str]], now: str) -> dict[str, Any] | None:
    """The body; None where there is nothing of this path."""
    _, group, version, *words = unquote(path).strip("/").split("/")
    match words:
        case []:
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{group}/{version}",
                "resources": [],
            }
        case ["namespaces", _, metric]:
            item = {"metricName": metric, "metricLabels": {}, "timestamp": now, "value": metric}
            return {
                "kind": "ExternalMetricValueList",
                "apiVersion": f"{group}/{version}",
                "metadata": {},
                "items": [item],
            }
        case ["namespaces", namespace, "pods", "*", metric]:
            app = query["labelSelector"][0].removeprefix("app=")
            items = [
                {
                    "describedObject": {"kind": "Pod", "namespace": namespace, "name": f"{app}-{number}"},
                    "metricName": metric,
                    "timestamp": now,
                    "value": value,
                }
                for number, value in enumerate(metric.split("."))
            ]
            return {"kind": "MetricValueList", "apiVersion": f"{group}/{version}", "metadata": {}, "items": items}
    return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        now = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        known = asked.path.startswith("/apis/") and asked.path.count("/") > 2
        body = answer(asked.path, parse_qs(asked.query), now) if known else None
        data = json.dumps(body or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}).encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("", 6443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
