import dataclasses

import numpy as np
from made_up import OUTCOME, absent, autoscaling, fidelity, intrusion, reading

from bench.report.blocks import Picture, Prose, Table
from bench.report.known import Known, number, place_of, short_device, short_pod
from bench.report.sections import (
    advice,
    attempts,
    attribution,
    latencies,
    numbers,
    reach,
    reactions,
    sections_of,
    stages,
    timeline,
    truth,
)
from bench.report.sections.stages import courses


def known(*readings, **parameters):
    outcome = dataclasses.replace(OUTCOME, parameters=OUTCOME.parameters | parameters)
    return Known(outcome, readings or tuple(autoscaling()))


def told(blocks):
    """All words of tables and paragraphs."""
    words = []
    for block in blocks:
        if isinstance(block, Table):
            words += [" ".join(f"{cell.text} {cell.note}" for cell in row) for row in block.cells()]
        elif isinstance(block, Prose):
            words.append(block.text)
        elif isinstance(block, Picture):
            words.append(block.words)
    return "\n".join(words)


def test_the_sections_come_in_their_order_each_once():
    titles = [section.title for section in sections_of(known())]

    assert titles == [
        "Checks",
        "In numbers",
        "What happened",
        "Stages",
        "Reaction times",
        "Which replica counts can be reached",
        "Latencies",
        "What to change",
        "Looked for and absent",
        "Parameters",
    ]


def test_few_values_are_told_each_and_many_by_their_middle():
    few = told(numbers.blocks(known(reading("reaction_seconds", 3.5), reading("reaction_seconds", 6.25))))
    many = told(numbers.blocks(known(reading("sample_age_seconds", np.arange(101.0)))))

    assert "3.5 s, 6.25 s" in few
    assert "median 50 s, nine tenths within 5 s and 95 s, of 101" in many


def test_lost_requests_are_added_up_and_of_replicas_the_most_is_told():
    found = told(
        numbers.blocks(
            known(
                reading("requests_failed_total", 2, step="1"),
                reading("requests_failed_total", 3, step="2"),
                reading("desired_replicas_total", [1, 3, 1]),
            )
        )
    )

    assert "requests lost  5" in found
    assert "most replicas asked for  3" in found


def test_what_is_not_a_number_is_not_told_as_one():
    assert "not a number" in told(numbers.blocks(known(reading("reaction_seconds", np.nan))))


def test_a_course_follows_its_stages_one_after_the_other_and_an_overlap_goes_back():
    first = courses(known())[0]
    spans = first.spans(first.start_seconds)

    assert [(span.start, round(span.end, 6)) for span in spans] == [(0.0, 0.4), (0.4, 13.4), (13.4, 12.9)]
    assert "ended before the stage above" in spans[2].name
    assert [span.is_bad for span in spans] == [False, True, False]


def test_a_step_without_stages_has_no_course():
    load = reading("load_rate_per_second", [1, 1], times=[0, 1], step="1", direction="up")

    assert courses(known(load)) == []
    assert list(timeline.blocks(known(reading("share_ratio", 1.0)))) == []


def test_a_stage_says_when_it_ends_who_saw_it_and_why_it_is_absent():
    found = told(stages.blocks(known()))

    assert "exporter  the exporter shows it  polls of its /metrics  13.50 s (13.00 to 14.00)" in found
    assert "node  the new Node is Ready with its devices  watch of Nodes  absent: the nodes are fixed" in found


def test_enough_repetitions_have_an_interval_of_the_median():
    many = [
        reading("stage_seconds", float(value), direction="up", stage="ready", step=str(value)) for value in range(21)
    ]

    assert "10.00 s (5.00 to 15.00)" in told(stages.blocks(known(*many)))


def test_the_reactions_are_held_against_mean_and_worst_where_they_are_too_few_for_a_distribution():
    found = list(reactions.blocks(known()))

    assert "predicted worst" in next(each.svg for each in found if isinstance(each, Picture))
    assert "Not told: 2 reactions were measured." in told(found)


def test_many_reactions_are_held_against_the_predicted_distribution():
    steps = [reading("reaction_after_device_seconds", 3.0 + number, step=str(number)) for number in range(6)]
    quantiles = reading("reaction_predicted_quantile_seconds", np.linspace(1, 9, 101))
    found = list(reactions.blocks(known(*steps, quantiles, reading("reaction_ks_p_value_ratio", 0.4))))

    assert ">predicted<" in next(each.svg for each in found if isinstance(each, Picture))
    assert "has a chance of 0.4" in told(found)


def test_a_replica_count_that_cannot_be_left_says_so():
    found = told(reach.blocks(known()))

    assert "1  above 77  no: it is the minimum  100" in found
    assert "2  never: only above 231  at 70 or less  200" in found
    assert "3  no: it is the maximum  never: only at -5 or less  300" in found
    assert "at most 2 replicas" in found
    assert "1  1.8  2 to 3  0" in found


def test_latencies_are_told_by_phase_and_quantiles_were_really_seen():
    found = told(latencies.blocks(known()))

    assert "time to first token  up  6  0.9 s  2.5 s  2.5 s  2.5 s" in found
    assert "all  2" in told(latencies.blocks(known(reading("request_ttft_seconds", [1.0, 2.0]))))


def test_advice_is_told_with_its_reason_and_what_a_change_would_gain():
    found = told(advice.blocks(known()))

    assert "Target to give the HPA: 62% of a device. above 68% the latency passes 1 s" in found
    assert "collect every 1 s  3 s  2.5 s less" in found
    refused = told(advice.blocks(known(absent("advised_target_ratio", "too few"))))
    assert refused == "No target is advised: too few."


def test_a_curve_whose_halves_do_not_fit_is_not_drawn():
    halves = reading("curve_utilisation_ratio", [0.1, 0.2]), reading("curve_ttft_seconds", [1.0])

    assert list(advice.blocks(known(*halves))) == []


def test_numbers_carry_the_unit_of_their_reading():
    assert number(12.345, "age_seconds") == "12.3 s"
    assert number(1234567.8, "memory_bytes") == "1234568 B"
    assert number(float("inf"), "age_seconds") == "inf s"
    assert number(3.0) == "3"


def test_places_are_told_in_words_and_names_are_cut_where_they_differ():
    assert place_of({"zone": "b", "stage": "ready", "step": "2"}) == "stage ready, step 2, zone=b"
    assert short_pod("ollama-67f5855f8d-4wzcb") == "4wzcb"
    assert short_pod("") == "no pod named"
    assert short_device("GPU-6693d9a3-6b5d-5e5a") == "GPU-6693d9a3"
    assert short_device("nvidia0") == "nvidia0"


def test_what_was_seen_and_tried_is_a_matrix_of_parts_and_routes():
    found = told(attempts.blocks(known(*intrusion())))

    assert "none  0 in 1 pod, 2 in 1 pod  - " in found
    assert "bypass, CDI annotation  -  0 in 1 pod no library" in found
    assert "second-container, dra, second container  0 in 1 pod" in found
    assert "pair  another's: REACHED (times 1); another's: refused (times 3); its own: reached (times 1)" in found
    assert "hostPath /dev  refused  violates baseline" in found


def test_samples_are_drawn_on_the_line_of_the_truth_and_ages_as_a_distribution():
    found = list(truth.blocks(known(*fidelity())))
    drawn = [each.svg for each in found if isinstance(each, Picture)]

    assert "NVML probe" in drawn[0]
    assert "Prometheus" in drawn[0]
    assert "samples that bring something new, all devices" in drawn[1]


def test_each_dimension_is_told_by_its_worst_device_and_quantity():
    found = told(truth.blocks(known(*fidelity())))

    assert "samples that are there, of those that are due  0.5  GPU-00000000 gpu_power_watts  0.725" in found
    assert "exported unit to the probe's  100  GPU-00000000 gpu_busy_time_ratio  100" in found


def test_named_and_holding_pods_are_counted_and_what_is_wrong_comes_first():
    found = told(attribution.blocks(known(*fidelity())))

    assert "a pod is named that had it and has ended  3" in found
    assert "GPU-00000000  n/b  nobody  1  not the holder \nGPU-00000000  n/a  n/a  2  right" in found


def test_advice_on_intervals_and_notes_are_told_where_there_are_some():
    found = told(advice.blocks(known(*fidelity())))

    assert "collect every 1 s  20 s  18 s less" in found
    assert "honorLabels is false  4" in found


def test_a_scenario_about_something_else_has_neither_of_these():
    assert not [*attempts.blocks(known()), *truth.blocks(known()), *attribution.blocks(known())]
