import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bench import interruption
from bench.errors import Unreachable
from bench.metrics.dcgm import FIELDS, GPU_UTIL
from bench.metrics.prometheus import Meaning, Prometheus
from bench.model.measurement import Absent, Measurement, Window
from bench.model.units import Unit

BUSY = Meaning(name="gpu_busy_time_ratio", unit=Unit.RATIO, factor=0.01)
Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def prometheus(answer: Callable[[dict[str, list[str]]], Answer]) -> Iterator[Prometheus]:
    """A server that answers every query as it is told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(parse_qs(urlsplit(self.path).query))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    with Prometheus(f"http://127.0.0.1:{server.server_port}") as client:
        yield client
    server.shutdown()
    server.server_close()
    thread.join()


def result(*series: dict[str, Any]) -> Answer:
    return 200, {}, json.dumps({"status": "success", "data": {"result": list(series)}}).encode()


def test_samples_come_with_their_own_times_in_base_units() -> None:
    series = {"metric": {"UUID": "GPU-1"}, "values": [[10.5, "50"], [25.5, "100"]]}

    with prometheus(lambda _: result(series)) as client:
        (reading,) = client.samples("DCGM_FI_DEV_GPU_UTIL", BUSY, Window.of_seconds(0, 30))

    assert isinstance(reading, Measurement)
    assert list(reading.values) == [0.5, 1.0]
    assert list(reading.times_seconds) == [10.5, 25.5]
    assert reading.statement == "DCGM_FI_DEV_GPU_UTIL[30000ms]"


def test_no_series_is_absent_and_not_zero() -> None:
    with prometheus(lambda _: result()) as client:
        (reading,) = client.read("nothing", BUSY)

    assert isinstance(reading, Absent)
    assert "no series matched" in reading.reason


def test_the_mark_of_a_series_that_ended_is_no_value() -> None:
    with prometheus(lambda _: result({"metric": {}, "values": [[1, "NaN"]]})) as client:
        (reading,) = client.read("ended[1m]", BUSY)

    assert isinstance(reading, Absent)


def test_a_redirection_is_told_as_such() -> None:
    with (
        prometheus(lambda _: (302, {"Location": "/login"}, b"")) as client,
        pytest.raises(Unreachable, match="redirects, as a login page does"),
    ):
        client.query("up")


def test_a_page_that_is_no_prometheus_is_unreachable() -> None:
    with prometheus(lambda _: (200, {}, b"<html>")) as client, pytest.raises(Unreachable, match="does not answer"):
        client.query("up")


def test_a_wrong_query_is_told_with_what_prometheus_said() -> None:
    with prometheus(lambda _: (400, {}, b"parse error")) as client, pytest.raises(Unreachable, match="parse error"):
        client.query("up{")


def test_a_clock_that_is_ahead_is_found_within_its_bound() -> None:
    def ahead(_: dict[str, list[str]]) -> Answer:
        return result({"metric": {}, "value": [0, str(time.time() + 7.0)]})

    with prometheus(ahead) as client:
        offset = client.clock_offset(tries=2)

    assert abs(offset.offset_seconds - 7.0) <= offset.bound_seconds + 1e-3


def test_a_field_is_selected_under_both_its_names() -> None:
    selector = GPU_UTIL.selector('exported_namespace="a"')

    assert selector == '{__name__=~"DCGM_FI_DEV_GPU_UTIL|DCGM_FI_DEV_GPU_UTIL_RATIO",exported_namespace="a"}'


@pytest.mark.parametrize("field", FIELDS.values(), ids=lambda each: each.names[0])
def test_a_field_becomes_a_measurement_in_its_base_unit(field: Any) -> None:
    assert field.unit.ends(field.measurement)


def test_a_run_waits_for_a_prometheus_that_starts_again() -> None:
    asked = 0

    def answer(_: object) -> Answer:
        nonlocal asked
        asked += 1
        return (503, {}, b"Service Unavailable") if asked <= 4 else result()

    with prometheus(answer) as client:
        client.patience_seconds = 20.0
        assert client.query("up") == ()

    assert asked == 5


def test_a_look_knows_when_nobody_answers_and_raises_nothing() -> None:
    answers = iter([(503, {}, b"Service Unavailable")] * 3)

    with prometheus(lambda _: next(answers, result())) as client:
        client.patience_seconds = 60.0
        client.look()
        was_away = client.presence.is_away
        client.look()

    assert (was_away, client.presence.is_away) == (True, False)


def test_a_refusal_is_an_answer() -> None:
    with prometheus(lambda _: (400, {}, b"bad_data: parse error")) as client:
        client.look()

    assert not client.presence.is_away


def test_a_refusal_is_told_at_once_however_patient_a_run_is() -> None:
    with prometheus(lambda _: (400, {}, b"bad_data: parse error")) as client:
        client.patience_seconds = 20.0
        began = time.monotonic()
        with pytest.raises(Unreachable, match="refuses"):
            client.query("up{")

    assert time.monotonic() - began < 10.0


def test_who_wants_the_end_does_not_wait_for_a_prometheus() -> None:
    with prometheus(lambda _: (503, {}, b"Service Unavailable")) as client, interruption.heard(lambda _: None):
        client.patience_seconds = 60.0
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Unreachable):
            client.query("up")
