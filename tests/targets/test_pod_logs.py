"""Logs as `kubectl logs` asks for them."""

import re

import pytest
from kubernetes.client.exceptions import ApiException

from tests.contract.pods import (
    STARTED_SECONDS,
    output_of,
    pod,
    restarts,
    run_to_end,
    server,
    shell,
    start,
    waiting_reason,
)
from tests.contract.target import Target, message_of


def test_a_log_holds_both_streams_of_the_program(target: Target, namespace: str) -> None:
    written = output_of(target, pod(namespace, "both", shell("echo out; echo err >&2")))

    assert sorted(written.splitlines()) == ["err", "out"]


def test_a_followed_log_tells_lines_as_they_are_written_and_ends_with_the_program(
    target: Target, namespace: str
) -> None:
    running = start(target, pod(namespace, "talking", server()))

    with target.following(running, within_seconds=30) as lines:
        assert next(lines) == "serving"
        for word in ("one", "two"):
            target.ask(running, f"/say/{word}")
            assert next(lines) == word
        target.ask_to_end(running)
        assert list(lines) == []


def test_following_an_ended_program_tells_all_and_ends(target: Target, namespace: str) -> None:
    ended = run_to_end(target, pod(namespace, "ended", shell("echo one; echo two")))

    with target.following(ended, within_seconds=30) as lines:
        assert list(lines) == ["one", "two"]


def test_the_log_of_the_previous_run_is_kept(target: Target, namespace: str) -> None:
    running = start(target, pod(namespace, "twice", server(), restartPolicy="Always"))
    target.ask(running, "/say/first")
    target.ask_to_end(running, code=1)
    again = target.wait_for(running, lambda p: restarts(p) == 1, within_seconds=60, what="a restart")

    assert target.log(again, previous=True).split() == ["serving", "first"]
    with target.following(again, within_seconds=30) as lines:
        assert next(lines) == "serving"
    assert "first" not in target.log(again)


def test_there_is_no_previous_log_before_a_restart(target: Target, namespace: str) -> None:
    running = start(target, pod(namespace, "once", server()))

    with pytest.raises(ApiException) as refused:
        target.log(running, previous=True)

    assert refused.value.status == 400
    assert 'previous terminated container "main" in pod "once" not found' in message_of(refused.value)


def test_a_log_can_be_cut_to_its_last_lines(target: Target, namespace: str) -> None:
    ended = run_to_end(target, pod(namespace, "long", shell("for n in 1 2 3 4 5; do echo line $n; done")))

    assert target.log(ended, tailLines=2).splitlines() == ["line 4", "line 5"]
    assert target.log(ended, tailLines=0) == ""
    assert len(target.log(ended, tailLines=99).splitlines()) == 5


def test_a_log_can_be_cut_to_its_first_bytes(target: Target, namespace: str) -> None:
    ended = run_to_end(target, pod(namespace, "long", shell("echo 0123456789; echo 0123456789")))

    assert target.log(ended, limitBytes=4) == "0123"


def test_lines_can_carry_the_time_at_which_they_were_written(target: Target, namespace: str) -> None:
    ended = run_to_end(target, pod(namespace, "timed", shell("echo one; echo two")))

    lines = target.log(ended, timestamps=True).splitlines()

    assert [line.split(" ", 1)[1] for line in lines] == ["one", "two"]
    stamps = [line.split(" ", 1)[0] for line in lines]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", stamp) for stamp in stamps)
    assert stamps == sorted(stamps)


def test_lines_from_before_a_time_can_be_left_out(target: Target, namespace: str) -> None:
    ended = run_to_end(target, pod(namespace, "old", shell("echo one")))

    assert target.log(ended, sinceSeconds=3600).split() == ["one"]
    assert target.log(ended, sinceTime="2099-01-01T00:00:00Z") == ""


def test_each_container_has_its_own_log(target: Target, namespace: str) -> None:
    ended = run_to_end(target, pod(namespace, "two", shell("echo A", "a"), shell("echo B", "b")))

    assert (target.log(ended, container="a"), target.log(ended, container="b")) == ("A\n", "B\n")
    with pytest.raises(ApiException) as refused:
        target.log(ended)
    assert "a container name must be specified for pod two, choose one of: [a b]" in message_of(refused.value)


def test_a_container_that_waits_has_no_log_and_says_so(target: Target, namespace: str) -> None:
    made = target.create(pod(namespace, "held", shell("exit 0"), initContainers=[server("init")]))
    held = target.wait_for(made, lambda p: waiting_reason(p) == "PodInitializing", within_seconds=STARTED_SECONDS)

    with pytest.raises(ApiException) as refused:
        target.log(held, container="main")

    assert refused.value.status == 400
    assert 'container "main" in pod "held" is waiting to start: PodInitializing' in message_of(refused.value)


def test_a_long_line_and_much_output_arrive_whole(target: Target, namespace: str) -> None:
    script = "head -c 100000 /dev/zero | tr '\\0' x; echo; for n in $(seq 2000); do echo $n; done"

    lines = output_of(target, pod(namespace, "much", shell(script))).splitlines()

    assert lines[0] == "x" * 100000
    assert lines[1:] == [str(n) for n in range(1, 2001)]
