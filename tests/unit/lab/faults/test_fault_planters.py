"""What faults write into the cluster, and what the webhook makes of a request."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench.lab.config import LabConfig
from bench.lab.control.files import Pki
from bench.lab.faults import state
from bench.lab.faults.planters import between, with_second_job, without_series
from bench.lab.faults.slow_stage import HELD_UP, configuration, with_offset
from bench.lab.faults.stages import STAGES
from bench.lab.faults.state import Faults, Planted
from bench.lab.kubelet import lying
from bench.lab.kubelet.slow_admission import ready_addresses, seconds_to_wait
from bench.lab.parts import adapter, prometheus


def slow(stage: str, seconds: float = 2.0) -> Planted:
    return Planted(name="slow-stage", arguments={"stage": stage, "seconds": seconds}, utc_seconds=1.0)


@pytest.mark.parametrize(
    ("device", "label", "regex"),
    [
        ("", "UUID", "DCGM_FI_DEV_GPU_UTIL;.*"),
        ("1", "gpu", "DCGM_FI_DEV_GPU_UTIL;1"),
        ("GPU-x", "UUID", "DCGM_FI_DEV_GPU_UTIL;GPU-x"),
    ],
)
def test_series_are_dropped_by_a_rule_of_the_exporter_s_job_alone(device: str, label: str, regex: str) -> None:
    sound = prometheus.configuration(LabConfig())
    made = without_series(sound, "DCGM_FI_DEV_GPU_UTIL", device)

    rule = {"source_labels": ["__name__", label], "regex": regex, "action": "drop"}
    assert made["scrape_configs"][0]["metric_relabel_configs"] == [rule]
    assert made["scrape_configs"][1:] == sound["scrape_configs"][1:]
    assert "metric_relabel_configs" not in sound["scrape_configs"][0]


def test_a_second_job_scrapes_what_the_exporter_s_does_and_its_series_say_so() -> None:
    sound = prometheus.configuration(LabConfig())
    *jobs, again = with_second_job(sound)["scrape_configs"]
    rules = [rule for rule in jobs[0]["relabel_configs"] if rule.get("target_label") != "job"]

    assert jobs == sound["scrape_configs"]
    assert again["job_name"] not in {job["job_name"] for job in jobs}
    assert again == {**jobs[0], "job_name": again["job_name"], "relabel_configs": rules}


def test_every_query_of_the_adapter_looks_back() -> None:
    made = with_offset(adapter.rules(), 2.5)

    queries = [rule["metricsQuery"] for kind in ("rules", "externalRules") for rule in made[kind]]
    assert len(queries) == 2 * len(adapter.METRICS)
    assert all("<<.Series>>{<<.LabelMatchers>>} offset 2500ms" in query for query in queries)


def test_packets_are_dropped_both_ways_between_these_pods_and_the_api_server() -> None:
    rules = between(["198.18.1.5", "198.18.1.6"])

    assert "ip saddr { 198.18.1.5, 198.18.1.6 } tcp dport 6443 drop" in rules
    assert "ip daddr { 198.18.1.5, 198.18.1.6 } tcp sport 6443 drop" in rules


@pytest.mark.parametrize("stage", list(HELD_UP))
def test_the_webhook_is_asked_about_one_controller_s_requests_and_never_blocks_for_ever(
    stage: str, tmp_path: Path
) -> None:
    Pki(tmp_path).ca.write_bytes(b"certificate")
    meant, _probe = configuration(HELD_UP[stage], tmp_path)["webhooks"]

    assert stage in STAGES
    assert meant["failurePolicy"] == "Ignore"
    assert meant["rules"][0]["resources"] == [HELD_UP[stage].resource]
    assert meant["matchConditions"][0]["expression"] == f"request.userInfo.username == '{HELD_UP[stage].by}'"


def endpoints(**ready: bool) -> dict[str, Any]:
    return {"endpoints": [{"addresses": [name], "conditions": {"ready": so}} for name, so in ready.items()]}


@pytest.mark.parametrize(
    ("stage", "before", "after", "seconds"),
    [
        ("serving", endpoints(a=True), endpoints(a=True, b=True), 2.0),
        ("serving", endpoints(a=True), endpoints(a=True, b=False), 0.0),
        ("serving", endpoints(a=True, b=True), endpoints(a=True), 0.0),
        ("serving", None, endpoints(a=True), 2.0),
        ("last-answer", endpoints(a=True, b=True), endpoints(a=True, b=False), 2.0),
        ("last-answer", endpoints(a=True), endpoints(a=True, b=True), 0.0),
    ],
)
def test_endpoints_are_held_up_on_their_way_in_or_out(stage: str, before: Any, after: Any, seconds: float) -> None:
    request = {"resource": {"resource": "endpointslices"}, "oldObject": before, "object": after}

    assert seconds_to_wait(request, slow(stage)) == seconds


def test_what_else_the_webhook_is_asked_about_waits_and_its_own_probe_does_not() -> None:
    assert seconds_to_wait({"resource": {"resource": "pods"}}, slow("pod-created")) == 2.0
    assert seconds_to_wait({"resource": {"resource": "configmaps"}}, slow("pod-created")) == 0.0
    assert ready_addresses(None) == set()


def test_a_container_is_told_as_ready_later_in_a_slow_lab_and_as_unready_at_once(tmp_path: Path) -> None:
    faults = Faults(tmp_path / "faults.json")
    told: list[tuple[str, bool]] = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        readiness = lying.Readiness(
            faults, lambda so: told.append(("late" if loop.time() - began > 0.04 else "soon", so))
        )
        readiness.say(True)
        readiness.say(False)
        state.write(tmp_path / "faults.json", [slow("ready", 0.05)])
        readiness.say(True)
        readiness.say(True)
        await asyncio.sleep(0.08)
        readiness.say(False)
        readiness.say(True)
        readiness.forget()
        await asyncio.sleep(0.08)

    asyncio.run(live())

    assert told == [("soon", True), ("soon", False), ("late", True), ("late", False)]


def test_only_images_of_the_pattern_are_mute(tmp_path: Path) -> None:
    faults = Faults(tmp_path / "faults.json")
    mute = Planted(name="ready-without-serving", arguments={"image": "*ollama*"}, utc_seconds=1.0)

    before = lying.is_mute(faults, "docker.io/ollama/ollama:0.9.6")
    state.write(tmp_path / "faults.json", [mute])

    assert not before
    assert lying.is_mute(faults, "docker.io/ollama/ollama:0.9.6")
    assert not lying.is_mute(faults, "docker.io/library/traefik:v3.7")
