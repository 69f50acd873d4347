"""All packets lost for three seconds: each request of that time is a counted failure, and the others are answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.load.engines import EngineKind
from tests.bench.in_lossy_network import AFTER_SECONDS, BEFORE_SECONDS, LOST_SECONDS, RATE
from tests.unit.load.test_bad_input import kind  # noqa: F401 -- a fixture

ROOT = Path(__file__).parents[2]


@pytest.mark.measures
@pytest.mark.timeout(60)
def test_three_seconds_without_a_packet_are_failures_and_no_lateness(kind: EngineKind) -> None:  # noqa: F811
    own = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--net", "--user", "--map-root-user"]
    command = [*own, sys.executable, "-m", "tests.bench.in_lossy_network", kind.value]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    failed = {name: failure["count"] for name, failure in told["requests"]["failed"].items()}
    due = [second["due"] for second in told["seconds"]]
    ends = round(BEFORE_SECONDS + LOST_SECONDS + AFTER_SECONDS)

    # No arrival waited for an answer: every second had its requests, also those without a packet.
    assert due[:ends] == [RATE] * ends
    assert told["requests"]["planned"] == told["requests"]["ok"] + sum(failed.values())
    # Sent on a kept connection and never answered, or no connection came about.
    assert set(failed) <= {"timeout", "connect"}
    assert sum(failed.values()) == pytest.approx(RATE * LOST_SECONDS, abs=RATE * 1.5)
    assert told["seconds"][ends - 1]["answered"] == pytest.approx(RATE, abs=1)
    assert told["lateness_seconds"]["p99"] < 0.05
    assert told["exit_code"] == 1
