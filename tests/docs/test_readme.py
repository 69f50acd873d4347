"""What the README shows is what the program says and does: its tables, its names, and the files that it shows whole."""

import importlib.util
import re
import sys
from functools import cache

import numpy as np
import pytest

from bench.evidence.judging import judge
from bench.model.inventory import Device, Inventory
from bench.model.measurement import Absent, Measurement, Source
from bench.model.scenario import Workload
from bench.model.units import Unit
from bench.model.verdict import Verdict
from bench.registry import REGISTRY
from tests.docs.tables import README, ROOT, newest_run, refreshed

HOMES = ("bench", "scenarios")
TEXT = README.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_program_and_of_the_newest_run():
    assert refreshed(TEXT) == TEXT, "write them anew: python -m tests.docs.refresh"


def test_the_run_that_is_shown_is_as_it_was_written_and_named_with_what_it_ran_on():
    run = newest_run()

    assert run.warnings == ()
    assert f"Run `{run.record.run_id}`, **{run.record.fidelity}**" in TEXT


def test_every_measurement_that_is_explained_is_one_that_the_program_takes():
    section = TEXT.split("## What the numbers mean")[1].split("\n## ")[0]
    told = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", section, re.MULTILINE)
    explained = {name for cell in told for name in re.findall(r"`([a-z_]+)`", cell)}
    sources = "".join(path.read_text(encoding="utf-8") for home in HOMES for path in (ROOT / home).rglob("*.py"))
    # some names are put together, such as aligned_ and unaligned_ before error_ratio
    known = set(re.findall(r"[a-z]+(?:_[a-z]+)+", sources))

    assert len(explained) > 15
    assert {name for name in explained if name not in known and name.split("_", 1)[1] not in known} == set()


def test_every_verb_that_is_named_is_one_of_the_program():
    verbs = {path.stem for path in (ROOT / "bench" / "cli").glob("[a-z]*")}
    typed = re.findall(r"`(?:\.venv/bin/)?bench ([a-z]+)|^\$ (?:\.venv/bin/)?bench ([a-z]+)", TEXT, re.MULTILINE)

    assert {verb for pair in typed for verb in pair if verb} <= verbs


@cache
def shown_file(name, folder):
    """The file that the README shows whole under this name, imported."""
    found = re.search(rf"`{name}`[^\n]*\n\n```python\n(.*?)```", TEXT, re.DOTALL)
    assert found, f"the README does not show {name}"
    path = folder / name.rsplit("/", 1)[-1]
    path.write_text(found[1], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"shown_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shown")


DEVICES = tuple(Device(node="n", uuid=uuid, product="p") for uuid in ("GPU-a", "GPU-b"))


class Rig:
    """A rig whose Prometheus knows some devices."""

    inventory = Inventory(server_version="v1.37.0", cluster_uid="u", devices=DEVICES)

    def __init__(self, *known):
        self.known = known

    def samples(self, selector, *, name, start_seconds, end_seconds):
        if not self.known:
            return (Absent(name=name, source=Source.PROMETHEUS, statement=selector, reason="no series matched"),)
        return tuple(
            Measurement(
                name=name,
                unit=Unit.METRIC_VALUE,
                values=np.ones(2),
                times_seconds=[start_seconds, end_seconds],
                source=Source.PROMETHEUS,
                statement=selector,
                labels={"UUID": uuid},
            )
            for uuid in self.known
        )


@pytest.mark.parametrize(
    ("known", "verdict"),
    [(("GPU-a", "GPU-b"), Verdict.PASS), (("GPU-a",), Verdict.FAIL), ((), Verdict.INCONCLUSIVE)],
)
def test_the_scenario_that_is_shown_passes_fails_and_knows_when_it_does_not_know(folder, known, verdict):
    shown_file("scenarios/devices_in_prometheus.py", folder)
    made = REGISTRY.get("devices-in-prometheus").make({"minutes": "1"})

    assert [need.unmet_by(Rig.inventory) is None for need in made.needs()] == [False, False]
    assert judge(made, tuple(made.run(Rig(*known)))).verdict is verdict


def test_the_workload_that_is_shown_is_one(folder):
    made = shown_file("workloads/sleeper.py", folder).Sleeper(replicas=2)

    assert isinstance(made, Workload)
    (deployment,) = made.manifests()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert deployment["spec"]["replicas"] == 2
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 1}
