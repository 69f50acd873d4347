"""Questions to a lab's Prometheus, and patience for answers that cannot be watched."""

import json
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from tests.lab.running import RunningLab

Series = dict[str, Any]
Found = TypeVar("Found")

PAUSE_SECONDS = 0.5


def query(lab: RunningLab, statement: str) -> list[Series]:
    """An instant query of the lab's Prometheus, through its forwarder."""
    url = f"{lab.status['prometheus_url']}/api/v1/query?{urllib.parse.urlencode({'query': statement})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        told: dict[str, Any] = json.load(answer)
    assert told["status"] == "success"
    result: list[Series] = told["data"]["result"]
    return result


def wait_until(ask: Callable[[], Found], *, within_seconds: float) -> Found:
    """The first answer that holds; twice a second, for what cannot be watched: a query, an access log."""
    deadline = time.monotonic() + within_seconds
    pause = threading.Event()
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{ask} found nothing within {within_seconds:g} s; last: {answer!r}"
        pause.wait(PAUSE_SECONDS)
    return answer
