"""The course of work on several devices is known beforehand, and the same seed gives the same one."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from workloads.excitation import PARTIAL_OCCUPANCY_RATIO, STAIRS, Course, Excitation
from workloads.gpu_burn import CPU_KERNELS_VARIABLE, Burning, NumpyBackend, Products, Step, find_backend, parse, play

CLIMB = (*STAIRS, 1.0, 1.0)
"""Up to kernels on the whole device, and as long again kernels on a part of it."""


def course(seed: int = 1) -> Course:
    return Course(duration_seconds=100.0, dwell_seconds=5.0, memory_bytes=1 << 30, seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_take_turns_and_all_pods_end_together(seed: int) -> None:
    even, odd = course(seed).steps(0), course(seed).steps(1)

    assert [each.seconds for each in even] == [each.seconds for each in odd]
    assert sum(each.seconds for each in even) == pytest.approx(100.0, abs=0.01)
    turns = slice(1, len(even) - len(CLIMB) - 1)
    assert all(one.duty_ratio + other.duty_ratio == 1.0 for one, other in zip(even[turns], odd[turns], strict=True))


def test_every_course_rests_first_and_last_and_climbs_the_stairs() -> None:
    steps = course().steps(0)

    assert (steps[0].duty_ratio, steps[-1].duty_ratio) == (0.0, 0.0)
    assert tuple(each.duty_ratio for each in steps[-6:-1]) == CLIMB
    assert len({each.memory_bytes for each in steps}) >= 3


def test_every_course_ends_its_work_with_kernels_on_a_part_of_the_device() -> None:
    *before, full, partial, rest = course().steps(0)

    assert {each.occupancy_ratio for each in (*before, full, rest)} == {1.0}
    assert (full.duty_ratio, partial.duty_ratio, partial.occupancy_ratio) == (1.0, 1.0, PARTIAL_OCCUPANCY_RATIO)
    assert full.memory_bytes == partial.memory_bytes


def test_by_default_a_collect_interval_lies_wholly_in_the_step_on_a_part_and_in_the_one_on_all() -> None:
    steps = Course(duration_seconds=600.0, dwell_seconds=60.0, memory_bytes=0, seed=1).steps(0)

    assert min(each.seconds for each in steps[-3:-1]) >= 2 * 30.0


def test_the_same_seed_gives_the_same_course_and_another_another() -> None:
    assert course(3).steps(2) == course(3).steps(2)
    assert course(3).steps(2) != course(4).steps(2)


def test_a_pod_is_told_its_steps_as_its_program_reads_them() -> None:
    steps = course().steps(0)
    played = Excitation(name="burn", namespace="ns", steps=(steps,), begin_utc_seconds=12.5, image="i")
    (pod,) = played.pods()
    told = parse(pod["spec"]["containers"][0]["command"][2:])

    assert told.steps == steps
    assert told.begin_utc == 12.5


def test_a_step_without_an_occupancy_is_on_the_whole_device() -> None:
    whole, part = parse(["--steps=1:0.5:0,2:1:16:0.25"]).steps

    assert whole == Step(seconds=1.0, duty_ratio=0.5)
    assert part == Step(seconds=2.0, duty_ratio=1.0, memory_bytes=16, occupancy_ratio=0.25)


@pytest.mark.parametrize("text", ["1:0.5", "1:0.5:0:0.25:1", "1:2:0", "1:1:0:2", "soon:1:0"])
def test_steps_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        parse([f"--steps={text}"])


def test_pods_are_put_on_their_nodes_by_the_scheduler() -> None:
    steps = (course().steps(0), course().steps(1))
    placed = Excitation(name="b", namespace="ns", steps=steps, begin_utc_seconds=0.0, image="i", nodes=("n1", "n2"))

    for pod, node in zip(placed.pods(), ("n1", "n2"), strict=True):
        assert "nodeName" not in pod["spec"]
        (term,) = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": [node]}]


def test_devices_of_claims_are_asked_for_by_one_template_and_not_by_the_resource() -> None:
    played = Excitation(
        name="burn",
        namespace="ns",
        steps=(course().steps(0), course().steps(1)),
        begin_utc_seconds=0.0,
        image="i",
        device_class="gpu.nvidia.com",
    )
    (template,) = [each for each in played.manifests() if each["kind"] == "ResourceClaimTemplate"]

    for pod in played.pods():
        (claim,) = pod["spec"]["resourceClaims"]
        (container,) = pod["spec"]["containers"]
        assert claim["resourceClaimTemplateName"] == template["metadata"]["name"]
        assert container["resources"] == {"claims": [{"name": claim["name"]}]}
    assert template["metadata"]["namespace"] == "ns"


def test_steps_that_are_over_are_left_out_and_each_of_the_others_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    backend = NumpyBackend(np, cores=1.0, device_bytes_per_byte=16)
    burning = Burning(backend, Products(backend, edge=16, occupancy_ratio=0.1), threading.Event())
    gone, short = Step(seconds=5.0, duty_ratio=1.0), Step(seconds=0.1, duty_ratio=0.5, memory_bytes=1 << 20)
    result = play(burning, (gone, short), time.time() - 5.0)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["duty_ratio"], line["memory_bytes"]) for line in lines] == [(0.5, 1 << 20), (0.0, 0)]
    assert result.verified


def test_each_step_has_the_products_of_its_occupancy_and_the_device_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels, seen = tmp_path / "0.kernels", []
    kernels.touch()

    class Watched(NumpyBackend):
        def occupy(self, ratio: float) -> None:
            super().occupy(ratio)
            seen.append(float(kernels.read_text()))

    backend = Watched(np, cores=1.0, device_bytes_per_byte=16, kernels_file=str(kernels))
    burning = Burning(backend, Products(backend, edge=16, occupancy_ratio=1.0), threading.Event())
    whole, part = Step(seconds=0.1, duty_ratio=0.5), Step(seconds=0.1, duty_ratio=0.5, occupancy_ratio=0.25)
    result = play(burning, (whole, part), 0.0)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    each = 2 * 16**4  # of sixteen products at once; the part has four
    first, both = lines[1]["operations"], result.floating_point_operations
    assert [line["occupancy_ratio"] for line in lines] == [1.0, 0.25, 1.0]
    assert seen == [1.0, 0.25]
    assert first / each + 4 * (both - first) / each == result.products
    assert result.verified


def test_where_nobody_stands_behind_the_cpu_nobody_is_told() -> None:
    NumpyBackend(np, cores=1.0, device_bytes_per_byte=16).occupy(0.25)

    assert find_backend({}).name == find_backend({CPU_KERNELS_VARIABLE: "/nowhere"}).name
