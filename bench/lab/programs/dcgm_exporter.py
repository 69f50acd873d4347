"""
The program behind the image of NVIDIA's DCGM exporter, release 4.5.3-4.8.2: its flags, variables, metrics and habits.

It reads NVML where the original asks DCGM, caches for the collect interval (30 s by default), and looks up the pods
anew at each scrape. Known by it and told nowhere in its text: how old a value is.
"""

import argparse
import http.server
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.errors import WrongUsage
from bench.lab.programs.dcgm_collector import Collector, open_entities, unknown_fields
from bench.lab.programs.dcgm_counters import DEFAULT_COLLECTORS, Counter, read_counters
from bench.lab.programs.dcgm_faults import Distortion, delay_seconds, named_wrongly, styled_wrongly
from bench.lab.programs.dcgm_pods import Holder, HolderMap, find_faults, find_holders, tell_refresh
from bench.lab.programs.dcgm_text import Style, render

logger = logging.getLogger(__name__)

DEFAULT_INTERVAL_MILLISECONDS: Final = 30000
DEFAULT_SOCKET: Final = "/var/lib/kubelet/pod-resources/kubelet.sock"
NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What flags and variables ask for."""

    collectors: str
    address: tuple[str, int]
    interval_seconds: float
    devices: str
    kubernetes: bool
    with_claims: bool
    socket_path: str
    style: Style
    own_pod: Holder
    """The one that the exporter itself runs in."""


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Flags win over variables; variables by other names mean nothing, so a misspelt one leaves the default."""
    parsed = _parser(environment).parse_args(arguments)
    host, _, port = parsed.address.rpartition(":")
    return Settings(
        collectors=parsed.collectors,
        address=(host, int(port)),
        interval_seconds=parsed.collect_interval / 1000.0,
        devices=parsed.devices,
        kubernetes=parsed.kubernetes,
        with_claims=parsed.kubernetes_enable_dra,
        socket_path=parsed.pod_resources_kubelet_socket,
        style=Style(
            hostname="" if parsed.no_hostname else environment.get("NODE_NAME") or socket.gethostname(),
            virtual_gpus=parsed.kubernetes_virtual_gpus,
        ),
        own_pod=Holder(pod=environment.get("HOSTNAME", ""), namespace=_own_namespace(), container="exporter"),
    )


def _own_namespace() -> str:
    """As the service account tells; empty outside of a pod."""
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8")
    except OSError:
        return ""


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dcgm-exporter", description="Serves GPU metrics to Prometheus.")

    def option(*flags: str, variable: str, default: str) -> None:
        parser.add_argument(*flags, default=environment.get(variable, default))

    def switch(*flags: str, variable: str) -> None:
        on = environment.get(variable, "").lower() in {"1", "t", "true"}
        parser.add_argument(*flags, action="store_true", default=on)

    option("-f", "--collectors", variable="DCGM_EXPORTER_COLLECTORS", default=DEFAULT_COLLECTORS)
    option("-a", "--address", variable="DCGM_EXPORTER_LISTEN", default=":9400")
    option("-d", "--devices", variable="DCGM_EXPORTER_DEVICES_STR", default="f")
    option("--pod-resources-kubelet-socket", variable="DCGM_POD_RESOURCES_KUBELET_SOCKET", default=DEFAULT_SOCKET)
    parser.add_argument(
        "-c",
        "--collect-interval",
        type=int,
        default=int(environment.get("DCGM_EXPORTER_INTERVAL", DEFAULT_INTERVAL_MILLISECONDS)),
    )
    switch("-k", "--kubernetes", variable="DCGM_EXPORTER_KUBERNETES")
    switch("-n", "--no-hostname", variable="DCGM_EXPORTER_NO_HOSTNAME")
    switch("--kubernetes-virtual-gpus", variable="KUBERNETES_VIRTUAL_GPUS")
    switch("--kubernetes-enable-dra", variable="KUBERNETES_ENABLE_DRA")
    return parser


class Exporter:
    """Answers scrapes from the collector's cache."""

    def __init__(self, settings: Settings, counters: Sequence[Counter], collector: Collector) -> None:
        self._settings = settings
        self._counters = counters
        self._collector = collector
        self._distortion = Distortion()

    def metrics(self, *, is_scrape: bool = False) -> str:
        """Values of the last interval with the pods of this moment; what the lab wants wrong is made so here."""
        settings, latest = self._settings, self._collector.latest
        if not settings.kubernetes:
            return render(self._counters, latest(), HolderMap(), settings.style)
        faults = find_faults(settings.socket_path)
        delay = delay_seconds(faults, is_scrape=is_scrape)
        readings = self._distortion.readings(latest(delay), lambda seconds: latest(delay + seconds), faults)
        holders = find_holders(settings.socket_path, with_claims=settings.with_claims)
        named = named_wrongly(holders, readings, faults, settings.own_pod)
        return render(self._counters, readings, named, styled_wrongly(settings.style, faults))


def make_server(exporter: Exporter, address: tuple[str, int]) -> http.server.ThreadingHTTPServer:
    """Bound, not yet serving."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802 - the library's name
            path = self.path.partition("?")[0]
            if path == "/metrics":
                # Only Prometheus says how long it will wait.
                is_scrape = "X-Prometheus-Scrape-Timeout-Seconds" in self.headers
                self._answer(200, exporter.metrics(is_scrape=is_scrape), CONTENT_TYPE)
            elif path == "/health":
                self._answer(200, "OK", "text/plain")
            else:
                self._answer(404, "404 page not found\n", "text/plain")

        def _answer(self, status: int, text: str, content_type: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            logger.debug(format, *args)

    server = http.server.ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    return server


def main() -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = parse_settings(sys.argv[1:], os.environ)
        counters = read_counters(settings.collectors)
    except WrongUsage as error:
        raise SystemExit(str(error)) from error
    unknown = unknown_fields(counters)
    if unknown:
        raise SystemExit(f"Could not find DCGM field {', '.join(unknown)} of {settings.collectors}.")
    collector = Collector(
        counters, interval_seconds=settings.interval_seconds, entities=open_entities(settings.devices)
    )
    if settings.kubernetes:
        collector.on_refresh = partial(tell_refresh, settings.socket_path)
        collector.faults = partial(find_faults, settings.socket_path)
    collector.start()
    server = make_server(Exporter(settings, counters, collector), settings.address)
    # shutdown waits for the serving loop, so it may not be called from the thread that runs it
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    logger.info("listening on %s, collecting each %g s", settings.address, settings.interval_seconds)
    server.serve_forever()
    collector.stop()


if __name__ == "__main__":
    main()
