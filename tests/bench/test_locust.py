"""locust with the engine below: its counts and ours agree, for users that declare, with tasks, and by a schedule."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.load.engine import find_native
from tests.unit.load.faulty_server import TOKENS, faulty_server

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(find_native() is None, reason="the native engine is not built")


def locust(tmp_path: Path, example: str, path: str, *words: str) -> tuple[int, dict[str, str], dict[str, object]]:
    """Exit code, locust's own row of all requests, our result."""
    told = tmp_path / "told.json"
    with faulty_server() as server:
        url = f"http://127.0.0.1:{server.port}{path}"
        command = [sys.executable, "-m", "locust", "-f", str(EXAMPLES / example), "--headless", "--host", url]
        command += [
            "--bench-json",
            str(told),
            "--csv",
            str(tmp_path / "csv"),
            "--json-file",
            str(tmp_path / "own"),
            *words,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    rows = json.loads((tmp_path / "own.json").read_text())
    return done.returncode, {key: str(value) for key, value in rows[0].items()}, json.loads(told.read_text())


def test_users_that_declare_are_counted_by_both_alike(tmp_path: Path) -> None:
    code, own, told = locust(tmp_path, "closed_loop.py", "/good", "-u", "3", "-r", "3", "-t", "1s")

    assert code == 0
    assert int(own["num_requests"]) == told["requests"]["ok"] > 3
    assert told["tokens"]["output"] == told["requests"]["ok"] * TOKENS
    assert own["method"] == "CLOSED"
    assert (tmp_path / "csv_stats.csv").is_file()


def test_failures_are_locusts_failures_too(tmp_path: Path) -> None:
    code, own, told = locust(tmp_path, "closed_loop.py", "/500", "-u", "1", "-t", "1s")

    assert code == 1
    assert int(own["num_failures"]) == told["requests"]["failed"]["status"]["count"] > 0


def test_tasks_of_ones_own_get_the_answers_text(tmp_path: Path) -> None:
    code, own, told = locust(tmp_path, "own_tasks.py", "/good", "-u", "2", "-r", "2", "-t", "1s")

    assert code == 0
    assert int(own["num_requests"]) == told["requests"]["ok"] >= 2


def test_two_workers_and_a_master_send_one_schedule(tmp_path: Path) -> None:
    words = ("--bench-rate", "50", "--bench-duration", "1", "--bench-arrivals", "constant", "--processes", "2")

    code, own, told = locust(tmp_path, "open_loop.py", "/good", *words)

    assert code == 0
    assert told["workers"] == 2
    assert told["requests"]["ok"] == told["requests"]["planned"] == int(own["num_requests"]) == 50


def test_another_machine_is_not_loaded_without_consent() -> None:
    words = ["-f", str(EXAMPLES / "closed_loop.py"), "--headless", "--host", "http://192.0.2.1", "-t", "1s"]
    done = subprocess.run(
        [sys.executable, "-m", "locust", *words], capture_output=True, text=True, check=False, timeout=20
    )

    assert done.returncode == 2
    assert "--bench-yes-really http://192.0.2.1" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--host", "nonsense"),
        (),
        ("--host", "http://127.0.0.1:1", "--bench-rate", "nan"),
        ("--host", "http://127.0.0.1:1", "--bench-duration", "0"),
        ("--host", "http://127.0.0.1:1", "--bench-steps", "5"),
        ("--host", "http://127.0.0.1:1", "--bench-arrivals", "trace:/nowhere"),
        ("--host", "http://127.0.0.1:1", "--bench-json", "/nowhere/told.json"),
    ],
)
def test_what_cannot_be_asked_is_told_once_and_before_any_user(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(EXAMPLES / "open_loop.py"), "--headless", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    assert done.returncode == 2
    assert done.stderr.count("ERROR") == 1
    assert "Traceback" not in done.stderr


def fetch(url: str, form: dict[str, str] | None = None) -> dict[str, Any]:
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    with urllib.request.urlopen(url, data, timeout=5) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def fetch_until(url: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Asked again and again; bounded by the test's own time limit."""
    while True:
        with contextlib.suppress(OSError):
            if holds(told := fetch(url)):
                return told


@pytest.mark.timeout(60)
def test_the_web_page_starts_counts_and_stops_a_load_of_two_processes(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, joined = one.getsockname()[1], other.getsockname()[1]
    page = f"http://127.0.0.1:{port}"
    words = ["-f", str(EXAMPLES / "closed_loop.py"), "--processes", "2", "--web-host", "127.0.0.1"]
    words += ["--web-port", str(port), "--master-bind-port", str(joined), "--master-port", str(joined)]
    with faulty_server() as server:
        command = [sys.executable, "-m", "locust", *words, "--bench-json", str(told)]
        running = subprocess.Popen(command, start_new_session=True)
        try:
            fetch_until(f"{page}/stats/requests", lambda stats: len(stats.get("workers", ())) == 2)
            host = f"http://127.0.0.1:{server.port}/good"
            assert fetch(f"{page}/swarm", {"user_count": "4", "spawn_rate": "4", "host": host})["success"]
            shown = fetch_until(
                f"{page}/stats/requests", lambda stats: any(row["num_requests"] for row in stats["stats"])
            )
            assert fetch(f"{page}/stop", {})["success"]
            fetch_until(f"{page}/stats/requests", lambda stats: stats["state"] == "stopped")
        finally:
            running.send_signal(signal.SIGTERM)
            code = running.wait(20)

    assert {row["name"] for row in shown["stats"]} == {"/good", "Aggregated"}
    assert shown["stats"][0]["method"] == "CLOSED"
    assert shown["errors"] == []
    assert code == 0
    result = json.loads(told.read_text())
    assert result["workers"] == 2
    assert result["requests"]["ok"] >= shown["stats"][0]["num_requests"] > 0
