"""`bench load` as a program: its exit codes, its files, and what Ctrl-C leaves."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.load.faulty_server import FaultyServer, faulty_server


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with faulty_server() as server:
        yield server


def bench_load(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.cli", "load", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)


def test_a_good_run_exits_0_and_writes_its_files(server: FaultyServer, tmp_path: Path) -> None:
    records, html = tmp_path / "records", tmp_path / "page.html"
    url = f"http://127.0.0.1:{server.port}/good"

    done = bench_load(
        url, "--users", "2", "--max-requests", "6", "--json", "--records", str(records), "--html", str(html)
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"]["ok"] == 6
    assert len([json.loads(line) for line in records.read_text().splitlines()]) == 6
    assert "<svg" in html.read_text()


def test_the_table_shows_its_figures_whole_where_there_is_no_terminal(server: FaultyServer) -> None:
    words = ("--users", "2", "--max-requests", "6", "--backend-header", "x-backend")

    told = bench_load(f"http://127.0.0.1:{server.port}/good", *words).stdout

    assert "TTFT from intended" in told
    assert "…" not in told


def test_a_failing_server_exits_1(server: FaultyServer) -> None:
    assert bench_load(f"http://127.0.0.1:{server.port}/500", "--rate", "50", "--duration", "0.1").returncode == 1


@pytest.mark.parametrize("words", [("http://192.0.2.1",), ("http://127.0.0.1", "--rate", "x")])
def test_what_cannot_be_asked_is_one_sentence_and_exits_2(words: tuple[str, ...]) -> None:
    done = bench_load(*words)

    assert done.returncode == 2
    assert done.stderr.startswith("bench: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_knee_goes_into_its_file(server: FaultyServer, tmp_path: Path) -> None:
    told = tmp_path / "knee.json"
    words = ("--find-knee", "--slo", "ttft=5", "--rate", "20", "--knee-max-rate", "20", "--knee-repeats", "1")

    url = f"http://127.0.0.1:{server.port}/good"
    done = bench_load(url, *words, "--arrivals", "constant", "--duration", "0.2", "--json", str(told))

    assert done.returncode == 3, done.stderr  # it held to the highest rate
    assert json.loads(told.read_text())["holds_at_rate"] == 20
    assert done.stdout == ""


def test_the_first_interrupt_drains_and_still_reports(server: FaultyServer, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "bench.cli", "load", f"http://127.0.0.1:{server.port}/good"]
    running = subprocess.Popen([*command, "--rate", "50", "--duration", "60", "--json", str(told)])
    while not server.heads:  # bounded by the test's own time limit
        assert running.poll() is None

    running.send_signal(signal.SIGINT)

    assert running.wait(10) == 130
    requests = json.loads(told.read_text())["requests"]
    assert requests["ok"] == requests["sent"] > 0
    assert requests["not_sent"] == requests["planned"] - requests["sent"]


def test_two_processes_send_what_one_would(server: FaultyServer) -> None:
    words = (f"http://127.0.0.1:{server.port}/good", "--rate", "100", "--duration", "0.3", "--json")

    one, two = (json.loads(bench_load(*words, "--processes", n).stdout) for n in ("1", "2"))

    assert one["requests"]["planned"] == two["requests"]["planned"] == two["requests"]["ok"]
    assert two["workers"] == 2
    # Each of both runs sent the ids 0 to N-1 once.
    numbers = [
        int(line.rpartition("-")[2]) for head in server.heads for line in head.split("\r\n") if "request-id" in line
    ]
    assert sorted(numbers) == sorted(2 * list(range(one["requests"]["planned"])))
