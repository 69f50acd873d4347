"""A run that was made up: two load steps, a guilty exporter, and every reading that a section is driven by."""

from datetime import UTC, datetime, timedelta

import numpy as np

from bench.evidence.reader import load_run
from bench.evidence.store import RunStore
from bench.model.check import Basis, CheckResult, Kind
from bench.model.evidence import Artifact, Fidelity, Outcome, RunRecord
from bench.model.measurement import Absent, Measurement, Source
from bench.model.units import find_unit
from bench.model.verdict import Verdict

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
START = NOW.timestamp()
UUID = "GPU-00000000-1111-2222-3333-444444444444"
RECORD = RunRecord(
    run_id="r-1",
    fidelity=Fidelity.EMBEDDED,
    target="lab small",
    bench_version="0.1.0",
    server_version="v1.36.0",
    cluster_uid="u",
    started=NOW,
    ended=NOW + timedelta(seconds=300),
    environment={"kernel": "6.1 <x86>"},
    is_complete=True,
)


def check(verdict, claim, **more):
    told = {
        "observed": 1.0,
        "bound": "last at most 0",
        "reason": "last is 1",
        "because": "the HPA's own arithmetic",
        "basis": Basis.OURS,
        "kind": Kind.CONFORMANCE,
        "measurement": "replicas_short_total",
    }
    return CheckResult(claim=claim, verdict=verdict, **(told | more))


CHECKS = (
    check(Verdict.PASS, "nothing is scaled while idle", observed=0.0, basis=Basis.KAR),
    check(
        Verdict.FAIL,
        "replicas reach <three>",
        beyond=1.0,
        look_at="kubectl describe hpa | less",
        labels={"step": "1", "pod": "ollama-7c-x1"},
    ),
    check(
        Verdict.FAIL,
        "no stage takes longer than it may",
        measurement="stage_beyond_its_worst_seconds",
        observed=9.5,
        beyond=9.5,
        kind=Kind.PERFORMANCE,
        labels={"direction": "up", "stage": "exporter"},
    ),
    check(Verdict.INCONCLUSIVE, "every pod holds a device", observed=None, reason="absent: no pod"),
    check(Verdict.INCONCLUSIVE, "no two pods hold one device", observed=None, reason="absent: no pod"),
)
OUTCOME = Outcome(
    scenario="pod-autoscaling",
    requirement="pod_autoscaling",
    claim="It scales & serves.",
    verdict=Verdict.FAIL,
    started=NOW,
    ended=NOW + timedelta(seconds=300),
    parameters={"target": "70", "ttft_slo_seconds": "1", "hpa_file": "", "metric": "a b"},
    checks=CHECKS,
    artifacts=(Artifact(title="load of step 1", path="load-1/load.json"),),
)


def reading(name, values, *, source=Source.ANALYSIS, times=(), **labels):
    values = np.atleast_1d(np.asarray(values, float))
    times = START + np.asarray(times, float) if len(times) else ()
    return Measurement(
        name=name, unit=find_unit(name), values=values, times_seconds=times, source=source, statement="s", labels=labels
    )


def over_time(name, values, source, **labels):
    return reading(name, values, source=source, times=np.arange(len(values)), **labels)


def absent(name, reason, **labels):
    return Absent(name=name, source=Source.ANALYSIS, statement="s", reason=reason, labels=labels)


def stored(tmp_path, readings, *, record=RECORD, outcomes=(OUTCOME,)):
    """The run as it lies on disk, the readings with the first outcome."""
    store = RunStore.create(tmp_path, record)
    for number, outcome in enumerate(outcomes):
        with store.scenario(outcome.scenario) as kept:
            for each in readings if number == 0 else ():
                kept.append(each)
            kept.conclude(outcome)
    store.finish(record)
    return load_run(store.folder)


def autoscaling():
    """What `pod-autoscaling` yields and derives."""
    rng = np.random.default_rng(1)
    yield over_time("gpu_busy_time_ratio", rng.random(36000), Source.NVML, uuid=UUID, node="gpu-node-1")
    yield over_time("exporter_metric_value", [0, 90, 90], Source.EXPORTER, uuid=UUID, metric="DCGM_FI_DEV_GPU_UTIL")
    yield over_time("exporter_metric_value", [1e9, 2e9], Source.EXPORTER, uuid=UUID, metric="DCGM_FI_DEV_TOTAL_ENERGY")
    yield over_time("prometheus_metric_value", [0, 90, 90], Source.PROMETHEUS, UUID=UUID)
    yield over_time("metrics_api_metric_value", [0, 90, 90], Source.KUBERNETES)
    yield over_time("hpa_metric_value", [0, 90], Source.KUBERNETES)
    yield over_time("desired_replicas_total", [1, 2, 3, 1], Source.KUBERNETES)
    yield over_time("ready_replicas_total", [1, 1, 2, 3], Source.KUBERNETES)
    yield over_time("calibration_seconds", [0, 3], Source.LOAD, at="full")
    yield over_time("idle_control_seconds", [0, 2], Source.LOAD)
    yield over_time("device_held_total", [1], Source.WORKLOAD, uuid=UUID, pod="ollama-7c-x1")
    for step, at in ((1, 10.0), (2, 60.0)):
        yield from _step(step, at)
    yield reading("stage_beyond_its_worst_seconds", 9.5, direction="up", stage="exporter")
    yield reading("stage_expected_worst_seconds", 4.0, direction="up", stage="exporter")
    yield reading("reaction_predicted_mean_seconds", 5.5)
    yield reading("reaction_predicted_worst_seconds", 9.0)
    yield reading("collect_interval_seconds", 30.0)
    yield absent("reaction_ks_p_value_ratio", "2 reactions were measured")
    yield from _reach()
    yield from _advice(rng)


def _step(step, at):
    labels = {"direction": "up", "step": str(step)}
    yield reading("load_rate_per_second", [1.4, 1.4], source=Source.LOAD, times=[at, at + 30], **labels)
    waits = {"source": Source.LOAD, "times": [at, at + 1, at + 2], **labels, "backend": "ollama-7c-x1"}
    yield reading("request_ttft_seconds", [0.4 * step, 2.5, 0.9], **waits)
    yield reading("request_e2e_seconds", [1.4 * step, 3.5, 1.9], **waits)
    yield reading("requests_failed_total", 0.0, **labels)
    yield reading("stage_seconds", 0.4 * step, stage="device", **labels)
    yield reading("stage_seconds", 12.0 + step, stage="exporter", **labels)
    yield reading("stage_seconds", -0.5, stage="prometheus", **labels)
    yield absent("stage_seconds", "the nodes are fixed", stage="node", **labels)
    yield reading("reaction_seconds", 12.0 + step, step=str(step))


def _reach():
    for replicas, seen, up, down in (("1", 100, 77, None), ("2", 200, 231, 70), ("3", 300, None, -5)):
        labels = {"replicas": replicas, "aggregation": "sum"}
        yield reading("reach_usage_most_metric_value", seen, **labels)
        if up is not None:
            yield reading("reach_up_above_metric_value", up, **labels)
        if down is not None:
            yield reading("reach_down_at_most_metric_value", down, **labels)
    yield reading("reachable_replicas_total", 2)
    yield reading("demand_devices_total", 1.8, step="1")
    yield reading("predicted_replicas_total", 2, step="1", bound="fewest")
    yield reading("predicted_replicas_total", 3, step="1", bound="most")
    yield reading("predicted_turns_total", 0, step="1")


def _advice(rng):
    busy = rng.random(40)
    yield reading("curve_utilisation_ratio", busy)
    yield reading("curve_ttft_seconds", 0.2 + busy**2)
    yield reading("advised_target_ratio", 0.62, because="above 68% the latency passes 1 s")
    yield reading("reaction_mean_after_change_seconds", 3.0, change="collect every 1 s")


def intrusion():
    """What `secure-accelerator-access` yields."""
    for part, container, devices in (("control", "looks", 1), ("none", "looks", 0), ("none", "looks", 2)):
        labels = {"part": part, "way": "none", "container": container, "pod": part}
        yield reading("devices_seen_total", devices, source=Source.WORKLOAD, route="nvml", **labels)
    yield reading("devices_seen_total", 0, part="bypass", attempted="CDI annotation", route="cuda", reason="no library")
    yield reading("devices_seen_total", 0, part="second-container", way="dra", container="other", route="nvml")
    yield reading("attempts_total", [2, 1], part="pair", route="device-files", whose="foreign", outcome="refused")
    yield reading("attempts_total", [1], part="pair", route="device-files", whose="own", outcome="reached")
    yield reading("attempts_total", [1], part="pair", route="device-files", whose="foreign", outcome="reached")
    yield reading("host_path_admitted_total", 0, part="bypass", attempted="hostPath /dev", outcome="violates baseline")


def fidelity():
    """What `accelerator-metrics` yields and derives."""
    times = np.arange(100.0)
    yield reading("gpu_busy_time_ratio", times % 10 / 10, source=Source.NVML, times=times, uuid=UUID)
    stored = {"source": Source.PROMETHEUS, "UUID": UUID, "namespace": "n"}
    yield reading("gpu_busy_time_ratio", [0.1, 0.5], times=[5, 20], pod="a", **stored)
    yield reading("gpu_busy_time_ratio", [0.2, 0.9], times=[40, 95], pod="b", **stored)
    yield reading("attribution_samples_total", 2, uuid=UUID, claimed="n/a", held="n/a")
    yield reading("attribution_samples_total", 1, uuid=UUID, claimed="n/b", held="")
    yield reading("reaction_predicted_mean_seconds", 38.0)
    yield reading("reaction_mean_after_change_seconds", 20.0, change="collect every 1 s")
    yield reading("noted_total", 4, note="honorLabels is false")
    for quantity, share in (("gpu_busy_time_ratio", 0.95), ("gpu_power_watts", 0.5)):
        yield reading("coverage_ratio", share, uuid=UUID, quantity=quantity)
    yield reading("unit_factor_ratio", [100.0], uuid=UUID, quantity="gpu_busy_time_ratio")
    yield reading("sample_age_seconds", times, uuid=UUID)
    yield reading("sample_age_seconds", times / 2, uuid="GPU-other")
    yield reading("fresh_age_seconds", times / 10, uuid=UUID)
    yield reading("ghosts_total", 3)
