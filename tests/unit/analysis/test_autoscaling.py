"""One step up and one down of which every time is known, told as the scenario would; then with one thing wrong each."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from bench.analysis.autoscaling import Aggregation, Hpa, Rules, derive
from bench.analysis.autoscaling.view import View
from bench.analysis.hpa import TargetKind
from bench.analysis.intervals import ks_test
from bench.model.measurement import Absent, Measurement, Reading, Source, find_readings
from bench.model.units import Unit

RULES = Rules(
    hpa=Hpa.of_object(target=70.0, max_replicas=2),
    ttft_slo_seconds=1.0,
    configured_collect_seconds=2.0,
)
STEP = 100.0
BUSY, EXPORTED, STORED, SERVED, DECIDED = 100.5, 101.5, 102.5, 102.7, 104.0
POD = {"created": 104.1, "scheduled": 104.2, "started": 104.4, "ready": 106.0}
FIRST_ANSWER = 106.8
DOWN = 130.0


def reading(
    name: str, pairs: Iterable[tuple[float, float]], labels: Mapping[str, str] | None = None, unit: Unit | None = None
) -> Measurement:
    told = list(pairs)
    found = unit or next(each for each in sorted(Unit, key=lambda u: -len(u)) if each.ends(name))
    return Measurement(
        name=name,
        unit=found,
        values=[value for _, value in told],
        times_seconds=[at for at, _ in told],
        source=Source.ANALYSIS,
        statement="a test",
        labels=labels or {},
    )


def rising(at: float, period: float, *, peak: float = 100.0) -> list[tuple[float, float]]:
    """Polled with a phase such that the rise is first seen at `at`; jitters, so that the polls can be told apart."""
    times = np.arange(at - 20 * period, DOWN + 10.0, period)
    return [(float(t), (peak if at - 1e-9 <= t < DOWN else 0.0) + 0.01 * (k % 2)) for k, t in enumerate(times)]


def sound(**changes: Reading | None) -> list[Reading]:
    """All readings of a sound run; `changes` replaces those of a name, or leaves them out."""
    one = {"uuid": "GPU-1"}
    requests = [(STEP + 0.2 * k, 0.3) for k in range(100)]
    by_new = [(FIRST_ANSWER - 0.1 + 0.4 * k, 0.1) for k in range(40)]
    told: dict[str, list[Reading]] = {
        "gpu_busy_time_ratio": [reading("gpu_busy_time_ratio", [(t, v / 100) for t, v in rising(BUSY, 0.1)], one)],
        "exporter": [
            reading("exporter_metric_value", rising(EXPORTED, 0.2), {**one, "metric": "DCGM_FI_DEV_GPU_UTIL"}),
            reading(
                "exporter_metric_value",
                [(90 + 0.2 * k, float(k // 10)) for k in range(250)],
                {**one, "metric": "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"},
            ),
        ],
        "prometheus_metric_value": [
            reading("prometheus_metric_value", rising(STORED, 2.0), {"UUID": "GPU-1"}),
            reading("prometheus_metric_value", [(108.0, 0.0), (110.0, 0.0)], {"UUID": "GPU-2", "exported_pod": "new"}),
        ],
        "memory": [
            reading(
                "gpu_memory_used_bytes",
                [(99.0, 0.0), (107.0, 4e9), (DOWN + 8.9, 4e9), (DOWN + 9.0, 1e8)],
                {"uuid": "GPU-2"},
            )
        ],
        "metrics_api_metric_value": [reading("metrics_api_metric_value", rising(SERVED, 0.2))],
        "hpa_metric_value": [reading("hpa_metric_value", [(90 + 3.0 * k, float(k)) for k in range(15)])],
        "desired_replicas_total": [reading("desired_replicas_total", [(90.0, 1.0), (DECIDED, 2.0), (DOWN + 8.0, 1.0)])],
        "load_rate_per_second": [
            reading("load_rate_per_second", [(STEP, 5.0), (DOWN - 1, 5.0)], {"step": "1", "direction": "up"}),
            reading("load_rate_per_second", [(DOWN, 1.0), (DOWN + 10, 1.0)], {"step": "1", "direction": "down"}),
        ],
        "pod_seen_seconds": [
            *(moment("old", name, at - STEP + 75.0) for name, at in POD.items()),
            *(moment("new", name, at) for name, at in POD.items()),
            moment("new", "deleted", DOWN + 8.1),
            moment("new", "gone", DOWN + 9.0),
        ],
        "device_held_total": [held("old", "GPU-1"), held("new", "GPU-2")],
        "request_e2e_seconds": [
            reading("request_e2e_seconds", requests, {"backend": "old", "step": "1", "direction": "up"}),
            reading("request_e2e_seconds", by_new, {"backend": "new", "step": "1", "direction": "up"}),
        ],
        "request_ttft_seconds": [
            reading("request_ttft_seconds", requests, {"backend": "old", "step": "1", "direction": "up"})
        ],
        "calibration_seconds": [window("idle", 82.0, 95.0), window("full", 110.0, 125.0)],
        "replica_capacity_per_second": [reading("replica_capacity_per_second", [(95.0, 3.0)])],
        "idle_control_seconds": [reading("idle_control_seconds", [(85.0, 0.0), (95.0, 10.0)])],
        "request_failed_total": [],
    }
    for name, change in changes.items():
        told[name] = [] if change is None else [change]
    return [each for group in told.values() for each in group]


def moment(pod: str, name: str, at: float) -> Measurement:
    return reading("pod_seen_seconds", [(at, at)], {"pod": pod, "moment": name})


def answered_by_old(sent_seconds: Iterable[float]) -> Measurement:
    labels = {"backend": "old", "step": "1", "direction": "up"}
    return reading("request_e2e_seconds", [(at, 0.2) for at in sent_seconds], labels)


def held(pod: str, uuid: str) -> Measurement:
    return reading("device_held_total", [(90.0, 1.0)], {"pod": pod, "uuid": uuid})


def window(state: str, start: float, end: float) -> Measurement:
    return reading("calibration_seconds", [(start, 0.0), (end, end - start)], {"at": state})


def value_of(readings: Iterable[Reading], name: str, **labels: str) -> float:
    (found,) = find_readings(list(readings), name, labels)
    assert isinstance(found, Measurement), found
    return float(found.values[-1])


def test_every_stage_up_is_timed_from_its_own_source() -> None:
    derived = list(derive(sound(), RULES))

    def stage(name: str) -> float:
        return value_of(derived, "stage_seconds", direction="up", stage=name)

    assert stage("device") == pytest.approx(BUSY - STEP, abs=0.06)
    assert stage("exporter") == pytest.approx(EXPORTED - BUSY, abs=0.16)
    assert stage("metrics-api") == pytest.approx(SERVED - STORED, abs=0.11)
    assert stage("pod-created") == pytest.approx(0.1, abs=1e-6)
    assert stage("ready") == pytest.approx(1.6, abs=1e-6)
    assert stage("serving") == pytest.approx(FIRST_ANSWER - 106.0, abs=1e-6)


def test_the_stages_add_up_to_the_total_exactly() -> None:
    derived = list(derive(sound(), RULES))
    stages = [
        each for each in find_readings(derived, "stage_seconds", {"direction": "up"}) if isinstance(each, Measurement)
    ]

    total = value_of(derived, "stages_together_seconds", direction="up")
    assert round(sum(float(each.values[0]) for each in stages), 9) == round(total, 9)


def test_a_stage_that_does_not_exist_here_is_absent_and_not_zero() -> None:
    (node,) = find_readings(list(derive(sound(), RULES)), "stage_seconds", {"direction": "up", "stage": "node"})

    assert isinstance(node, Absent)
    assert node.reason == "the nodes are fixed"


def test_a_sound_run_has_nothing_to_complain_of() -> None:
    derived = list(derive(sound(), RULES))

    for name in (
        "replicas_short_of_predicted_total",
        "replicas_left_over_total",
        "scaled_while_idle_total",
        "pods_without_a_device_total",
        "pods_that_share_a_device_total",
        "ready_pods_that_never_answered_total",
    ):
        assert value_of(derived, name) == 0.0, name
    assert value_of(derived, "metrics_api_to_device_ratio") == pytest.approx(1.0, abs=1e-3)
    assert value_of(derived, "devices_in_prometheus_ratio") == 1.0
    assert not find_readings(derived, "stage_excess_seconds")
    assert value_of(derived, "collect_interval_measured_to_configured_ratio") == pytest.approx(1.0, abs=0.05)


def waiting(*moments: Measurement) -> list[Reading]:
    """A sound run with one replica more, of which these moments were seen and no other."""
    return [*sound(), *moments]


def test_a_replica_that_is_never_scheduled_is_found_by_its_name() -> None:
    derived = list(derive(waiting(moment("third", "created", 104.1)), RULES))

    assert value_of(derived, "replicas_never_ready_total", not_scheduled="third") == 1.0


def test_a_replica_that_was_deleted_before_it_could_be_ready_is_named_and_not_counted() -> None:
    moments = [
        moment("third", name, at) for name, at in {"created": 120.0, "scheduled": 120.1, "deleted": 123.0}.items()
    ]

    derived = list(derive(waiting(*moments), RULES))

    assert value_of(derived, "replicas_never_ready_total", too_short_for="third") == 0.0


def test_a_replica_that_runs_and_is_never_ready_is_found() -> None:
    moments = [
        moment("third", name, at) for name, at in {"created": 104.1, "scheduled": 104.2, "started": 104.5}.items()
    ]

    derived = list(derive(waiting(*moments), RULES))

    assert value_of(derived, "replicas_never_ready_total", not_ready="third") == 1.0


def test_two_pods_on_one_device_are_found() -> None:
    readings = [*sound(device_held_total=None), held("old", "GPU-1"), held("new", "GPU-1")]

    assert value_of(derive(readings, RULES), "pods_that_share_a_device_total") == 1.0


def test_a_device_that_one_pod_leaves_before_the_next_takes_it_is_not_shared() -> None:
    readings = [*sound(device_held_total=None), held("new", "GPU-1"), held("later", "GPU-1")]
    readings += [moment("later", "ready", DOWN + 9.0), held("old", "GPU-2")]

    assert value_of(derive(readings, RULES), "pods_that_share_a_device_total") == 0.0


def test_a_pod_that_is_ready_and_never_answers_is_found() -> None:
    derived = list(derive(sound(request_e2e_seconds=answered_by_old([STEP + 0.5 * k for k in range(60)])), RULES))

    assert value_of(derived, "ready_pods_that_never_answered_total", pods="new") == 1.0


def test_a_pod_in_whose_time_few_requests_came_is_named_and_not_counted() -> None:
    before_it_and_three = [STEP + 0.2 * k for k in range(30)] + [115.0, 116.0, 117.0]

    derived = list(derive(sound(request_e2e_seconds=answered_by_old(before_it_and_three)), RULES))

    assert value_of(derived, "ready_pods_that_never_answered_total", too_few_requests_for="new") == 0.0


def test_requests_that_failed_count_as_those_that_a_silent_pod_was_sent() -> None:
    lost = reading("request_failed_total", [(112.0 + 0.5 * k, 1.0) for k in range(20)], {"error": "status"})

    derived = list(derive(sound(request_e2e_seconds=answered_by_old([101.0]), request_failed_total=lost), RULES))

    assert value_of(derived, "ready_pods_that_never_answered_total", pods="new") == 1.0


def test_whether_pods_answer_is_not_known_where_no_request_came() -> None:
    (found,) = find_readings(
        list(derive(sound(request_e2e_seconds=None), RULES)), "ready_pods_that_never_answered_total"
    )

    assert isinstance(found, Absent)


def test_a_metric_in_another_unit_shows_in_the_ratio() -> None:
    as_ratio = reading("metrics_api_metric_value", rising(SERVED, 0.2, peak=1.0))

    derived = list(derive(sound(metrics_api_metric_value=as_ratio), RULES))

    assert value_of(derived, "metrics_api_to_device_ratio") == pytest.approx(0.01, abs=1e-3)
    assert value_of(derived, "target_to_full_device_ratio") == pytest.approx(70.0, abs=1.0)


def test_an_autoscaler_that_stays_is_short_of_the_prediction() -> None:
    stays = reading("desired_replicas_total", [(90.0, 1.0), (120.0, 1.0)])

    assert value_of(derive(sound(desired_replicas_total=stays), RULES), "replicas_short_of_predicted_total") == 1.0


def test_an_exporter_that_collects_ten_times_slower_than_configured_is_measured_so() -> None:
    slow = reading(
        "exporter_metric_value",
        [(0.2 * k, float(k // 100)) for k in range(700)],
        {"uuid": "GPU-1", "metric": "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"},
    )

    ratio = value_of(derive(sound(exporter=slow), RULES), "collect_interval_measured_to_configured_ratio")

    assert ratio == pytest.approx(10.0, abs=0.2)


def test_lost_requests_are_counted_where_they_were_lost() -> None:
    lost = reading("request_failed_total", [(DOWN + 8.0, 1.0)], {"error": "connect", "step": "1", "direction": "down"})
    derived = list(derive(sound(request_failed_total=lost), RULES))

    assert value_of(derived, "requests_failed_total", direction="down") == 1.0
    assert value_of(derived, "requests_failed_total", direction="up") == 0.0


def test_without_a_probe_the_device_stage_is_absent_and_the_rest_stands() -> None:
    derived = list(derive(sound(gpu_busy_time_ratio=None), RULES))

    (device,) = find_readings(derived, "stage_seconds", {"direction": "up", "stage": "device"})
    assert isinstance(device, Absent)
    assert value_of(derived, "stage_seconds", direction="up", stage="pod-created") == pytest.approx(0.1, abs=1e-6)


def test_a_reaction_that_cannot_be_told_says_which_sighting_is_missing() -> None:
    derived = list(derive(sound(gpu_busy_time_ratio=None), RULES))

    (device,) = find_readings(derived, "stage_seconds", {"direction": "up", "stage": "device"})
    (reaction,) = find_readings(derived, "reaction_after_device_seconds", {})
    assert isinstance(device, Absent)
    assert isinstance(reaction, Absent)
    assert reaction.reason == f"device: {device.reason}"


def test_a_stage_that_holds_the_time_of_others_that_were_not_seen_is_not_accused() -> None:
    unseen = sound(gpu_busy_time_ratio=None, device_held_total=None, metrics_api_metric_value=late_metric())

    derived = list(derive(unseen, RULES))

    assert value_of(derived, "stage_median_seconds", direction="up", stage="metrics-api") > 3.0
    assert find_readings(derived, "stage_beyond_its_worst_seconds", {"direction": "up", "stage": "metrics-api"}) == []


def late_metric() -> Measurement:
    return reading("metrics_api_metric_value", rising(STEP + 3.5, 0.2))


def test_nothing_that_was_measured_gives_no_numbers() -> None:
    derived = list(derive([], RULES))

    assert not [each for each in derived if isinstance(each, Measurement) and each.name.endswith("_ratio")]


def test_the_device_of_a_deleted_pod_is_free_when_its_memory_is_given_back() -> None:
    derived = list(derive(sound(), RULES))

    assert value_of(derived, "stage_seconds", direction="down", stage="pod-deleted") == pytest.approx(0.1, abs=1e-6)
    assert value_of(derived, "stage_seconds", direction="down", stage="device-free") == pytest.approx(0.85, abs=1e-6)


def test_a_deleted_pod_that_has_nothing_left_to_answer_has_no_last_answer() -> None:
    (last,) = find_readings(
        list(derive(sound(), RULES)), "stage_seconds", {"direction": "down", "stage": "last-answer"}
    )

    assert isinstance(last, Absent)
    assert last.reason == "it had nothing left to answer when it was deleted"


def test_a_device_may_be_freed_as_much_later_as_answers_are_apart() -> None:
    of_down = {"backend": "old", "step": "1", "direction": "down"}
    seldom = reading("request_e2e_seconds", [(DOWN + 2.5 * k, 0.1) for k in range(4)], of_down)
    free = {"direction": "down", "stage": "device-free"}

    without = value_of(list(derive(sound(request_e2e_seconds=None), RULES)), "stage_expected_worst_seconds", **free)
    seen = value_of(list(derive(sound(request_e2e_seconds=seldom), RULES)), "stage_expected_worst_seconds", **free)

    assert seen - without == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("moment_name", "stage"), [("created", "pod-created"), ("scheduled", "scheduled"), ("started", "started")]
)
def test_a_pod_that_is_late_at_one_moment_names_that_stage_and_no_other(moment_name: str, stage: str) -> None:
    names = list(POD)
    late = {name: at + (4.0 if names.index(name) >= names.index(moment_name) else 0.0) for name, at in POD.items()}
    readings = [each for each in sound(request_e2e_seconds=None) if each.labels.get("pod") != "new"]
    readings += [moment("new", name, at) for name, at in late.items()]
    readings += [moment("new", "deleted", DOWN + 8.1), moment("new", "gone", DOWN + 9.0), held("new", "GPU-2")]

    excesses = find_readings(list(derive(readings, RULES)), "stage_excess_seconds")

    assert [each.labels["stage"] for each in excesses] == [stage]


def test_a_series_that_prometheus_drops_shows_in_the_share_of_devices() -> None:
    only_first = reading("prometheus_metric_value", rising(STORED, 2.0), {"UUID": "GPU-1"})

    derived = derive(sound(prometheus_metric_value=only_first), RULES)

    assert value_of(derived, "devices_in_prometheus_ratio") == 0.5


def test_with_three_replicas_the_way_down_begins_where_two_are_enough() -> None:
    view = View(sound(desired_replicas_total=reading("desired_replicas_total", [(90.0, 3.0)])), RULES)
    up, down = view.steps

    assert (up.direction, view.thresholds(up).metric) == ("up", pytest.approx(231.0))
    assert (down.direction, view.thresholds(down).metric) == ("down", pytest.approx(140.0))


def test_an_average_is_crossed_by_that_many_devices_together() -> None:
    rules = replace(RULES, aggregation=Aggregation.AVERAGE, hpa=replace(RULES.hpa, target_kind=TargetKind.VALUE))
    view = View(sound(desired_replicas_total=reading("desired_replicas_total", [(90.0, 2.0)])), rules)

    thresholds = view.thresholds(view.steps[0])

    assert thresholds.metric == pytest.approx(77.0)
    assert thresholds.devices == pytest.approx(154.0)


def test_a_device_counts_for_a_pod_only_as_long_as_the_pod_holds_it() -> None:
    lasting = reading("gpu_busy_time_ratio", [(100.0, 1.0), (DOWN + 8.0, 1.0), (DOWN + 20.0, 1.0)], {"uuid": "GPU-2"})
    view = View(sound(gpu_busy_time_ratio=lasting), RULES)

    together = view.device_sum("gpu_busy_time_ratio", 100.0)

    assert together.at(np.array([DOWN + 8.5, DOWN + 9.5])).tolist() == [100.0, 0.0]


def test_a_node_whose_clock_goes_wrong_is_set_right() -> None:
    """The API server is 7 s ahead of the node, and 2 s ahead of this machine: the node is 5 s behind."""

    def clock(name: str, value: float, against: str) -> Measurement:
        return reading(f"clock_{name}_seconds", [(90.0, value)], {"of": "api-server", "against": against})

    behind = reading(
        "gpu_busy_time_ratio", [(t - 5.0, v) for t, v in rising(BUSY, 0.1)], {"uuid": "GPU-1", "node": "n"}
    )
    told = [
        clock("offset", 7.0, "n"),
        clock("bound", 0.1, "n"),
        clock("offset", 2.0, "bench"),
        clock("bound", 0.1, "bench"),
    ]

    view = View([*sound(gpu_busy_time_ratio=behind), *told], RULES)

    assert view.in_our_time(behind).times_seconds[0] == pytest.approx(rising(BUSY, 0.1)[0][0])


def test_reactions_that_the_intervals_predict_are_not_unlikely_and_doubled_ones_are() -> None:
    generator = np.random.default_rng(3)
    clocks = np.array([3.0, 1.1, 2.3])

    sound_p = ks_test(generator.random((24, 3)) @ clocks, generator.random((20_000, 3)) @ clocks).p_value
    slow = generator.random((24, 3)) @ (clocks * np.array([2.0, 1.0, 1.0]))

    assert sound_p > 0.01
    assert ks_test(slow, generator.random((20_000, 3)) @ clocks).p_value < 0.01


def step_of(direction: str, start: float, end: float) -> Measurement:
    labels = {"step": "1", "direction": direction}
    return reading("load_rate_per_second", [(start, 5.0), (end, 5.0)], labels)


@pytest.mark.parametrize(
    ("step", "replicas", "name", "told"),
    [
        (step_of("up", STEP, STEP + 3.0), 1.0, "replicas_short_of_predicted_total", "set up_seconds higher"),
        (step_of("down", DOWN, DOWN + 60.0), 2.0, "replicas_left_over_total", "set down_seconds higher"),
    ],
)
def test_what_was_not_given_the_time_that_it_may_take_is_not_missing(
    step: Measurement, replicas: float, name: str, told: str
) -> None:
    steady = reading("desired_replicas_total", [(90.0, replicas)])

    (found,) = find_readings(list(derive(sound(load_rate_per_second=step, desired_replicas_total=steady), RULES)), name)

    assert isinstance(found, Absent)
    assert told in found.reason


def test_replicas_that_work_off_what_has_queued_up_are_not_left_over() -> None:
    long_queue = reading(
        "request_e2e_seconds", [(DOWN - 1.0, 320.0)], {"backend": "old", "step": "1", "direction": "up"}
    )
    steady = reading("desired_replicas_total", [(90.0, 2.0)])
    rate = step_of("down", DOWN, DOWN + 330.0)
    run = sound(load_rate_per_second=rate, desired_replicas_total=steady, request_e2e_seconds=long_queue)

    (found,) = find_readings(list(derive(run, RULES)), "replicas_left_over_total")

    assert isinstance(found, Absent)


@pytest.mark.parametrize(
    ("step", "replicas", "name"),
    [
        (step_of("up", STEP, STEP + 60.0), 1.0, "replicas_short_of_predicted_total"),
        (step_of("down", DOWN, DOWN + 330.0), 2.0, "replicas_left_over_total"),
    ],
)
def test_what_had_its_time_and_did_not_come_is_missing(step: Measurement, replicas: float, name: str) -> None:
    steady = reading("desired_replicas_total", [(90.0, replicas)])

    assert value_of(derive(sound(load_rate_per_second=step, desired_replicas_total=steady), RULES), name) == 1.0
