"""
A run of 1,000 devices for an hour: written once, judged from disk, in a process of its own that tells what it took.

``python large_run.py write FOLDER`` and ``python large_run.py judge FOLDER``.
"""

import json
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.analysis.fidelity.summary import Settings, fidelity_readings
from bench.evidence.judging import judge
from bench.evidence.reader import load_run
from bench.evidence.store import RunStore
from bench.model.check import Check, Relation, Statistic
from bench.model.evidence import Fidelity, Outcome, RunRecord
from bench.model.measurement import Measurement, Source
from bench.model.units import find_unit
from bench.model.verdict import Verdict

DEVICES, PROBED, SECONDS, SCRAPE, START = 1000, 16, 3600.0, 15.0, 1.7e9
FIELDS = (
    "gpu_busy_time_ratio",
    "gpu_energy_joules",
    "gpu_power_watts",
    "gpu_memory_used_bytes",
    "gpu_engine_active_ratio",
)
RECORD = RunRecord(
    run_id="large",
    fidelity=Fidelity.EMBEDDED,
    target="none",
    bench_version="0",
    server_version="v1.36.0",
    cluster_uid="u",
    started=datetime.fromtimestamp(START, UTC),
)


class Metrics:
    def needs(self):
        return ()

    def run(self, rig):
        return ()

    def analyse(self, readings):
        settings = Settings(start_seconds=START, end_seconds=START + SECONDS, scrape_seconds=SCRAPE)
        return fidelity_readings(readings, settings)

    def checks(self):
        for name, relation, bound in (
            ("sample_age_seconds", Relation.AT_MOST, 31.0),
            ("coverage_ratio", Relation.AT_LEAST, 0.95),
            ("attribution_recall_ratio", Relation.AT_LEAST, 0.99),
        ):
            yield Check(
                claim=name,
                measurement=name,
                statistic=Statistic.MAX,
                relation=relation,
                bound=bound,
                because="the size of a large cluster",
            )


def measurement(name, values, times, source, labels):
    return Measurement(
        name=name,
        unit=find_unit(name),
        values=values,
        times_seconds=times,
        source=source,
        statement=name,
        labels=labels,
    )


def values_of(name, generator, times):
    if name == "gpu_energy_joules":
        return 1000.0 + np.cumsum(np.diff(times, prepend=times[0])) * 200.0
    if name.endswith("_ratio"):
        return generator.random(times.size)
    return generator.uniform(1e2, 4e2, times.size)


def readings(generator):
    for number in range(DEVICES):
        uuid, pod = f"GPU-{number:08d}", f"pod-{number}"
        labels = {"UUID": uuid, "exported_namespace": "ns", "exported_pod": pod, "pod": "exporter", "namespace": "gpu"}
        scrapes = START + np.arange(generator.uniform(0, SCRAPE), SECONDS, SCRAPE)
        probes = START + np.arange(0.05, SECONDS, 0.1)
        for name in FIELDS:
            yield measurement(name, values_of(name, generator, scrapes), scrapes, Source.PROMETHEUS, labels)
            if number < PROBED:
                yield measurement(name, values_of(name, generator, probes), probes, Source.NVML, {"uuid": uuid})
        held = {"uuid": uuid, "namespace": "ns", "pod": pod}
        yield measurement("gpu_held_seconds", (START, START + SECONDS), (), Source.WORKLOAD, held)


def write(root):
    store = RunStore.create(root, RECORD)
    with store.scenario("metrics") as scenario:
        for each in readings(np.random.default_rng(1)):
            scenario.append(each)
        moment = RECORD.started
        scenario.conclude(
            Outcome(scenario="metrics", requirement="", claim="c", verdict=Verdict.PASS, started=moment, ended=moment)
        )
    store.finish(RECORD)


def judge_again(root):
    begun = time.process_time()  # of this process alone: others may be busy
    run = load_run(root / "large")
    found = judge(Metrics(), run.readings("metrics", []))
    sys.stdout.write(
        json.dumps(
            {
                "seconds": time.process_time() - begun,
                "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "verdicts": [each.verdict for each in found.checks],
                "derived": len(found.derived),
                "warnings": list(run.warnings),
            }
        )
    )


if __name__ == "__main__":
    {"write": write, "judge": judge_again}[sys.argv[1]](Path(sys.argv[2]))
