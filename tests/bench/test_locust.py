"""locust with the engine below: its counts and ours agree, for users that declare, with tasks, and by a schedule."""

import json
import subprocess
import sys
from pathlib import Path

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
