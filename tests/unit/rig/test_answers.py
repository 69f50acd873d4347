import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench.rig.answers import is_answered

HEADER = "X-Bench-Backend"


@contextmanager
def a_proxy(*, refuses: int) -> Iterator[str]:
    """It knows no server for so many requests, and then passes those for one host on to a pod."""
    left = [refuses]

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            left[0] -= 1
            is_routed = left[0] < 0 and self.headers["Host"] == "ollama.test"
            self.send_response(200 if is_routed else 503)
            if is_routed:
                self.send_header(HEADER, "ollama-0")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_gateway_that_has_no_server_yet_is_asked_until_a_pod_answers() -> None:
    with a_proxy(refuses=2) as url:
        assert is_answered(url, hostname="ollama.test", by_header=HEADER, within_seconds=20.0)


def test_an_answer_of_the_gateway_itself_is_none_of_a_pod() -> None:
    with a_proxy(refuses=0) as url:
        assert not is_answered(url, hostname="another.test", by_header=HEADER, within_seconds=0.0)


def test_a_gateway_that_is_not_there_answers_nothing() -> None:
    assert not is_answered("http://127.0.0.1:1/", hostname="ollama.test", by_header=HEADER, within_seconds=0.0)
