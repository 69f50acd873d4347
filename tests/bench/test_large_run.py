import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.measures

PROGRAM = Path(__file__).with_name("large_run.py")
REPOSITORY = PROGRAM.parents[2]


def test_an_hour_of_a_thousand_devices_is_judged_again_in_ten_seconds_and_one_gigabyte(tmp_path):
    """Five quantities scraped every 15 s of 1,000 devices, 16 of them probed at 10 Hz."""
    for verb in ("write", "judge"):
        done = subprocess.run(
            [sys.executable, str(PROGRAM), verb, str(tmp_path)],
            env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
    told = json.loads(done.stdout)

    assert told["seconds"] <= 10.0
    assert told["bytes"] <= 1e9
    assert told["verdicts"] == ["pass", "pass", "pass"]
    assert told["derived"] > 20000
    assert told["warnings"] == []
