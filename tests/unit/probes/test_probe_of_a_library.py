"""The verb as a process of its own, with a C library that the loader finds, as on a machine with a driver."""

import json
import os
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

import pytest

from bench.lab.config import LabConfig
from bench.lab.gpu.nvml.build import build_nvml
from tests.unit.lab.gpu.small_lab import SmallLab

BENCH = Path(sysconfig.get_path("scripts")) / "bench"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    output = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    build_nvml(output)
    return output


@pytest.fixture
def probe(tmp_path, library):
    """The document of `bench probe` in a pod that holds two devices at half their power, which go on meanwhile."""
    lab = SmallLab(tmp_path, LabConfig(nodes=1, gpus_per_node=3))
    folder = lab.folder(lab.give("a", {"nvidia.com/gpu": "2"}))
    lab.run(2.0, cores={"a": 0.4}, memory_bytes=100 << 20)
    over = threading.Event()

    def live():
        """The devices' time goes on as fast as ours, so that energy and power are of one world."""
        lived, began = 0.0, time.monotonic()
        while not over.wait(0.02):
            while lived + 0.1 <= time.monotonic() - began:
                lab.run(0.1, cores={"a": 0.4}, memory_bytes=100 << 20)
                lived += 0.1

    def start(*arguments):
        environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent), "LAB_NVML_DEVICES": str(folder)}
        thread = threading.Thread(target=live)
        thread.start()
        try:
            command = [sys.executable, str(BENCH), "probe", "--json", "--watch", "3", *arguments]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        finally:
            over.set()
            thread.join()
        return done.returncode, json.loads(done.stdout)

    return start


def test_a_machine_with_a_driver_is_probed_through_the_real_loader(probe):
    code, document = probe()
    failed = [each for each in document["checks"] if each["verdict"] == "fail"]
    answers = {each["statement"]: each for each in document["devices"][0]["answers"]}
    there = [each for each in answers.values() if "value" in each]

    assert failed == []
    assert code == 0
    assert len(document["devices"]) == 2
    assert len(there) > 120
    assert answers["nvmlGpmMetricsGet(graphics)"]["value"] > 0
    assert answers["nvmlDeviceGetSamples(power)"]["value"]["samples_total"] > 10
    assert "absent" in answers["nvmlDeviceGetRetiredPagesPendingStatus"]
    assert len(document["peers"]) == 3
