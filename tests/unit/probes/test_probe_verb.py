import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_nvml import FakeNvml, installed, pair

from bench.cli import main


def probed(devices, *arguments):
    with installed(FakeNvml(devices, clock=time.monotonic)):
        return main(["probe", "--watch", "0.1", *arguments])


def test_the_table_names_the_devices_and_their_signals(capsys):
    code = probed(pair())
    page = capsys.readouterr().out

    assert code == 3  # energy cannot be held against power in a tenth of a second
    assert "GPU-00000000-1111-2222-3333-444444444444" in page
    assert "gpu_power_watts" in page
    assert "driver 580.65.06" in page


def test_a_defect_is_exit_code_one_and_named(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    devices = pair()
    devices[1].remapped = (0, 0, 0, 1)

    assert probed(devices) == 1
    assert "no row remapping failed" in capsys.readouterr().out


def test_the_document_tells_what_is_absent_and_never_as_zero(capsys):
    probed(pair(), "--json")
    document = json.loads(capsys.readouterr().out)
    answers = {each["statement"]: each for each in document["devices"][0]["answers"]}

    assert "not supported" in answers["nvmlDeviceGetSerial"]["absent"]
    assert "value" not in answers["nvmlDeviceGetSerial"]
    assert answers["nvmlDeviceGetName"]["value"] == "NVIDIA H100 80GB HBM3"
    assert document["verdict"] == "inconclusive"


def test_every_answer_is_printed_when_asked_for(capsys):
    probed(pair(), "--all")

    assert "nvmlDeviceGetVbiosVersion" in capsys.readouterr().out


def test_a_lost_device_is_exit_code_one(capsys):
    devices = pair()
    devices[0].refusals = {"open": 15}

    assert probed(devices) == 1
    assert "fell off the bus" in capsys.readouterr().out


def test_without_a_driver_it_says_so_and_exits_with_three(capsys):
    with installed(None):
        assert main(["probe"]) == 3
    # Which of the two it is depends on whether another test has loaded a library of that name into this process.
    told = capsys.readouterr().err
    assert "libnvidia-ml.so.1 was not found" in told or "the NVIDIA driver is not loaded" in told


@pytest.mark.parametrize("wrong", ["0", "-1", "99999", "soon"])
def test_a_load_of_no_time_or_for_ever_is_refused(wrong):
    assert main(["probe", "--burn", wrong]) == 2
