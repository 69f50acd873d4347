import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.check import Basis, CheckResult, Kind
from bench.model.codec import BadDocument, from_json, to_json
from bench.model.evidence import Artifact, Fidelity, Outcome, Plan, RunRecord, Step, run_verdict
from bench.model.inventory import Device, Inventory, Node
from bench.model.rights import Right
from bench.model.scenario import Footprint
from bench.model.verdict import Verdict

NOW = datetime(2026, 1, 1, 12, 0, 0, 250000, tzinfo=UTC)


def round_trip(value):
    return from_json(type(value), json.loads(json.dumps(to_json(value), allow_nan=False)))


texts = st.text(max_size=20)
numbers = st.floats(allow_nan=False)
results = st.builds(
    CheckResult,
    claim=texts,
    verdict=st.sampled_from(Verdict),
    observed=st.none() | numbers,
    bound=texts,
    reason=texts,
    because=texts,
    basis=st.sampled_from(Basis),
    kind=st.sampled_from(Kind),
    measurement=texts,
    labels=st.dictionaries(texts, texts, max_size=3),
)


@given(st.lists(results, max_size=3), st.dictionaries(texts, texts, max_size=3), st.booleans())
def test_an_outcome_survives_the_way_through_json(checks, parameters, is_complete):
    outcome = Outcome(
        scenario="gang-scheduling",
        requirement="gang_scheduling",
        claim="all or none",
        verdict=Verdict.FAIL,
        started=NOW,
        ended=NOW,
        parameters=parameters,
        checks=tuple(checks),
        artifacts=(Artifact(title="pods", path="objects/pods.json"),),
        is_complete=is_complete,
    )

    assert round_trip(outcome) == outcome


def test_a_run_record_with_its_plan_survives_the_way_through_json():
    step = Step(
        scenario="a",
        requirement="",
        claim="c",
        parameters={"n": "1"},
        unmet=("no GPU",),
        footprint=Footprint(
            duration_seconds=60.0, accelerators=2, rights=(Right(verb="get", group="", resource="pods"),)
        ),
    )
    record = RunRecord(
        run_id="r1",
        fidelity=Fidelity.EMBEDDED,
        target="lab",
        bench_version="0",
        server_version="v1.36.0",
        cluster_uid="u",
        started=NOW,
        plan=Plan(steps=(step,)),
    )

    assert round_trip(record) == record


def test_an_inventory_survives_the_way_through_json():
    inventory = Inventory(
        server_version="v1.36.2+k3s1",
        cluster_uid="u",
        nodes=(Node(name="n", is_ready=True, is_schedulable=True, allocatable={"cpu": 2.0}),),
        devices=(Device(node="n", uuid="GPU-1", product="H100", memory_bytes=8e10),),
    )

    assert round_trip(inventory) == inventory
    assert inventory.kubernetes_release == "1.36"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, r"\$: unknown key 'extra'"),
        ({"title": 5}, r"\$\.title: 5 is not str"),
        ({"title": None}, r"\$\.title: None is not str"),
    ],
)
def test_a_document_that_does_not_fit_is_refused_with_its_place(change, message):
    with pytest.raises(BadDocument, match=message):
        from_json(Artifact, {"title": "t"} | change)


@dataclass(frozen=True, kw_only=True)
class Mixed:
    pair: tuple[int, str]
    ratio: float
    either: int | float | bool | None
    anything: Any = None
    table: Mapping[str, tuple[float, ...]] | None = None

    def __post_init__(self):
        if self.ratio < 0:
            raise ValueError("a ratio is not negative")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pair": [1]}, "2 items are needed, not 1"),
        ({"pair": {}}, "a list is needed"),
        ({"ratio": True}, "is not float"),
        ({"ratio": "about"}, "is not float"),
        ({"ratio": -1}, "not negative"),
        ({"table": [1]}, "an object is needed"),
        ({"table": {"a": ["x"]}}, r"\$\.table\.a\[0\]"),
        ({"either": "x"}, "is not int"),
    ],
)
def test_wrong_shapes_are_refused(change, message):
    document = {"pair": [1, "a"], "ratio": 0.5, "either": 3}

    assert from_json(Mixed, document | {"ratio": "Infinity"}).ratio == float("inf")
    assert from_json(Mixed, document | {"either": True}).either is True
    assert from_json(Mixed, document | {"either": None}).either is None
    with pytest.raises(BadDocument, match=message):
        from_json(Mixed, document | change)


def test_a_missing_key_and_a_document_that_is_no_object_are_refused():
    with pytest.raises(BadDocument, match="needs 'pair'"):
        from_json(Mixed, {"ratio": 1.0, "either": 1})
    with pytest.raises(BadDocument, match="an object is needed"):
        from_json(Mixed, [])


def test_a_run_is_as_bad_as_the_worst_that_ran_and_skipped_ones_spoil_nothing():
    def outcome(verdict):
        return Outcome(scenario="a", requirement="", claim="c", verdict=verdict, started=NOW, ended=NOW)

    assert run_verdict((outcome(Verdict.PASS), outcome(Verdict.SKIPPED))) is Verdict.PASS
    assert run_verdict((outcome(Verdict.PASS), outcome(Verdict.FAIL))) is Verdict.FAIL
    assert run_verdict((outcome(Verdict.SKIPPED),)) is Verdict.INCONCLUSIVE
