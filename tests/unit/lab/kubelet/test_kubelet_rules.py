"""Back-off, quantities, probes' judgement, admission, tokens, volumes' files, logs."""

import asyncio
import base64
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lab.gpu.devices import ContainerDevices
from bench.lab.images import Image
from bench.lab.kubelet import logs, volumes
from bench.lab.kubelet.admission import Rooms, limits, requests
from bench.lab.kubelet.backoff import Backoff, PullBackoff
from bench.lab.kubelet.events import about_pod
from bench.lab.kubelet.launching import command, references, with_devices
from bench.lab.kubelet.network import Addresses
from bench.lab.kubelet.node import is_ours_to_boot
from bench.lab.kubelet.probes import Judgement, Schedule, port_number
from bench.lab.kubelet.process import as_runtimes_say
from bench.lab.kubelet.quantity import parse_quantity
from bench.lab.kubelet.server import parse
from bench.lab.kubelet.volumes import File, VolumeMissing


def test_the_first_restart_is_at_once_and_later_ones_wait_longer_and_longer() -> None:
    backoff = Backoff()

    assert [backoff.after_end(1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_container_that_ran_long_is_forgiven() -> None:
    backoff = Backoff()
    for _ in range(4):
        backoff.after_end(1)

    assert [backoff.after_end(601), backoff.after_end(1)] == [0, 10]


def test_every_failed_pull_is_followed_by_a_wait() -> None:
    pulls = PullBackoff()

    assert [pulls.after_failure() for _ in range(7)] == [10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", "0.1"),
        ("2", "2"),
        ("64Mi", "67108864"),
        ("1k", "1000"),
        ("1e3", "1000"),
        ("2E", "2e18"),
        ("0.5", "0.5"),
        ("10n", "1e-8"),
    ],
)
def test_quantities(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


def test_what_is_no_quantity_is_an_error() -> None:
    with pytest.raises(ValueError, match="no quantity"):
        parse_quantity("12parsecs")


def schedule(success: int, failure: int) -> Schedule:
    return Schedule.of({"successThreshold": success, "failureThreshold": failure})


def test_a_probe_is_believed_after_its_threshold_and_a_change_starts_the_count_anew() -> None:
    judgement = Judgement(schedule(2, 3))
    answers = [True, True, False, False, True, False, False, False, False]

    assert [judgement.take(ok=each) for each in answers] == [None, True, None, None, None, None, None, False, False]


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_a_result_is_only_ever_that_of_the_last_answers(answers: list[bool], success: int, failure: int) -> None:
    judgement = Judgement(schedule(success, failure))

    for number, answer in enumerate(answers):
        result = judgement.take(ok=answer)
        row = success if answer else failure
        held = answers[max(0, number + 1 - row) : number + 1] == [answer] * row
        assert result is (answer if held else None)


def test_a_port_is_a_number_or_a_name() -> None:
    assert [port_number(each, {"http": 8080}) for each in (80, "81", "http", "gone")] == [80, 81, 8080, 0]


def container(cpu: str, **fields: object) -> dict[str, object]:
    return {"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}, **fields}


def test_a_pod_asks_for_its_containers_or_its_largest_init_container() -> None:
    spec = {"containers": [container("1"), container("2")], "initContainers": [container("5")]}
    sidecar = {**spec, "initContainers": [container("500m", restartPolicy="Always"), container("5")]}

    assert requests(spec)["cpu"] == 5
    assert requests(sidecar)["cpu"] == Decimal("5.5")


def test_a_pod_has_a_limit_only_if_all_its_containers_have_one() -> None:
    assert limits([container("1"), container("2")], "cpu") == 3
    assert limits([container("1"), {}], "cpu") == 0


def test_a_node_that_is_full_rejects_and_has_room_again_when_a_pod_is_over() -> None:
    rooms = Rooms()
    rooms.open("n", {"cpu": "2", "pods": "2"})
    spec = {"containers": [container("1500m")]}

    assert rooms.take("n", "a", spec) is None
    rejection = rooms.take("n", "b", spec)
    assert rejection is not None
    assert rejection.reason == "OutOfcpu"
    assert rejection.message.endswith("requested: 1500, used: 1500, capacity: 2000")
    rooms.give_back("n", "a")
    assert rooms.take("n", "b", spec) is None


def test_a_node_takes_no_more_pods_than_it_says() -> None:
    rooms = Rooms()
    rooms.open("n", {"pods": "1"})
    rooms.take("n", "a", {})

    rejection = rooms.take("n", "b", {})

    assert rejection is not None
    assert rejection.reason == "OutOfpods"


def test_addresses_are_not_used_again_at_once_and_never_twice() -> None:
    addresses = Addresses()
    first, second = addresses.take(), addresses.take()
    addresses.give_back(first)

    third = addresses.take()

    assert first == "198.18.1.1"
    assert len({first, second, third}) == 3


def test_broadcast_and_network_addresses_are_not_handed_out() -> None:
    addresses = Addresses()

    taken = {addresses.take() for _ in range(600)}

    assert len(taken) == 600
    assert not [each for each in taken if each.endswith((".0", ".255"))]


@pytest.mark.parametrize(
    ("own", "args", "expected"),
    [
        ((), (), ("/entry", "serve")),
        ((), ("other",), ("/entry", "other")),
        (("sh", "-c"), (), ("sh", "-c")),
        (("sh", "-c"), ("echo $(A)",), ("sh", "-c", "echo 1")),
    ],
)
def test_command_and_args_take_the_place_of_entrypoint_and_cmd(
    own: tuple[str, ...], args: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    image = Image(images=("x",), entrypoint=("/entry",), command=("serve",))

    assert command({"command": own, "args": args}, image, {"A": "1"}) == expected


def test_a_device_s_library_path_is_put_before_the_container_s_own() -> None:
    devices = ContainerDevices(environment={"LD_LIBRARY_PATH": "/nvidia:", "NVIDIA_VISIBLE_DEVICES": "GPU-1"})

    assert with_devices({"LD_LIBRARY_PATH": "/own"}, devices)["LD_LIBRARY_PATH"] == "/nvidia:/own"
    assert with_devices({}, devices) == {"LD_LIBRARY_PATH": "/nvidia", "NVIDIA_VISIBLE_DEVICES": "GPU-1"}


def test_every_object_that_an_environment_names_is_known() -> None:
    spec = {
        "envFrom": [{"secretRef": {"name": "a"}}],
        "env": [
            {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "b", "key": "k"}}},
            {"name": "Y", "value": "1"},
        ],
    }

    assert references(spec) == {("secret", "a"), ("configMap", "b")}


@pytest.mark.parametrize(
    ("node", "ours"),
    [
        ({"metadata": {}, "spec": {"providerID": "kwok://a"}}, True),
        ({"metadata": {}, "spec": {"providerID": "lab://a"}}, True),
        ({"metadata": {"annotations": {"kwok.x-k8s.io/node": "fake"}}, "spec": {}}, True),
        ({"metadata": {}, "spec": {"providerID": "aws://a"}}, False),
        ({"metadata": {}}, False),
    ],
)
def test_which_nodes_are_booted(node: dict[str, object], ours: bool) -> None:
    assert is_ours_to_boot(node) is ours


def test_a_program_that_is_not_there_is_told_as_runtimes_do() -> None:
    assert as_runtimes_say("bwrap: execvp nope: No such file or directory").endswith(
        'exec: "nope": executable file not found in $PATH'
    )
    assert as_runtimes_say("bwrap: execvp /x: Permission denied").endswith('exec: "/x": permission denied')
    assert (
        as_runtimes_say("bwrap: Can't mkdir /usr/x: Read-only file system")
        == "Can't mkdir /usr/x: Read-only file system"
    )


def test_an_event_about_a_container_names_its_field() -> None:
    pod = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}}

    assert about_pod(pod, "spec.containers{main}")["fieldPath"] == "spec.containers{main}"
    assert "fieldPath" not in about_pod(pod)


# volumes


def test_a_volume_changes_all_at_once_and_forgets_what_is_gone(tmp_path: Path) -> None:
    volumes.write_atomically(tmp_path, {"a": File(content=b"1", mode=0o400), "deep/b": File(content=b"2", mode=0o644)})
    first = (tmp_path / "..data").readlink()
    volumes.write_atomically(tmp_path, {"a": File(content=b"3", mode=0o644)})

    assert (tmp_path / "a").read_bytes() == b"3"
    assert (tmp_path / "..data").readlink() != first
    assert not (tmp_path / "deep").exists()
    assert not (tmp_path / first).exists()


def test_a_volume_that_did_not_change_is_left_alone(tmp_path: Path) -> None:
    files = {"a": File(content=b"1", mode=0o644)}
    volumes.write_atomically(tmp_path, files)
    before = (tmp_path / "..data").readlink()

    volumes.write_atomically(tmp_path, files)

    assert (tmp_path / "..data").readlink() == before


def test_items_choose_and_a_missing_one_is_an_error_unless_optional() -> None:
    data = {"a": b"1", "b": b"2"}
    items = [{"key": "a", "path": "x/y", "mode": 0o600}]

    assert volumes.pick(data, {"items": items}, 0o644) == {"x/y": File(content=b"1", mode=0o600)}
    with pytest.raises(VolumeMissing, match="non-existent config key: c"):
        volumes.pick(data, {"items": [{"key": "c", "path": "c"}]}, 0o644)
    assert volumes.pick(data, {"items": [{"key": "c", "path": "c"}], "optional": True}, 0o644) == {}


def test_a_token_is_renewed_at_four_fifths_of_its_life() -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"iat": 1000, "exp": 2000}).encode()).decode().rstrip("=")

    assert volumes.renewal_time(f"head.{claims}.sign") == 1800


# logs


def written(path: Path, *chunks: tuple[str, bytes]) -> logs.LogWriter:
    async def write() -> logs.LogWriter:
        writer = logs.LogWriter(path)
        for stream, chunk in chunks:
            writer.feed(stream, chunk)
        writer.close()
        return writer

    return asyncio.run(write())


def test_lines_come_back_as_they_were_written_in_whatever_pieces(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    written(path, ("stdout", b"hel"), ("stderr", b"oops\n"), ("stdout", b"lo\nworld\n"))

    assert logs.read(path, parse({}))[0] == b"oops\nhello\nworld\n"
    assert logs.read(path, parse({"stream": "Stderr"}))[0] == b"oops\n"
    assert logs.read(path, parse({"tailLines": "1"}))[0] == b"world\n"
    assert logs.read(path, parse({"tailLines": "0"}))[0] == b""


def test_a_line_longer_than_a_piece_arrives_whole(tmp_path: Path) -> None:
    path, line = tmp_path / "0.log", b"x" * 100_000 + b"\n"
    written(path, ("stdout", line))

    assert logs.read(path, parse({}))[0] == line


def test_lines_carry_their_time_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    written(path, ("stdout", b"a\n"))

    stamp, text = logs.read(path, parse({"timestamps": "true"}))[0].split(b" ", 1)

    assert text == b"a\n"
    assert datetime.fromisoformat(stamp.decode()).tzinfo is not None


def test_lines_before_a_time_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    written(path, ("stdout", b"a\n"))

    assert logs.read(path, parse({"sinceSeconds": "60"}))[0] == b"a\n"
    assert logs.read(path, parse({"sinceTime": "2999-01-01T00:00:00Z"}))[0] == b""


def test_a_log_never_takes_more_than_two_files(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    chunk = (b"y" * 1023 + b"\n") * 1024
    written(path, *(("stdout", chunk) for _ in range(25)))

    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2 * logs.MAX_FILE_BYTES
    assert logs.read(path, parse({"tailLines": "1"}))[0] == b"y" * 1023 + b"\n"


def test_a_followed_log_ends_with_its_writer(tmp_path: Path) -> None:
    async def follow() -> list[bytes]:
        writer = logs.LogWriter(tmp_path / "0.log")
        writer.feed("stdout", b"one\n")
        seen = []
        async for chunk in logs.stream(writer.path, writer, parse({"follow": "true"})):
            seen.append(chunk)
            if len(seen) == 1:
                writer.feed("stdout", b"two\n")
                writer.close()
        return seen

    assert b"".join(asyncio.run(follow())) == b"one\ntwo\n"


def test_no_more_than_the_bytes_asked_for_are_told(tmp_path: Path) -> None:
    async def cut() -> bytes:
        writer = logs.LogWriter(tmp_path / "0.log")
        writer.feed("stdout", b"0123456789\n")
        told = b"".join([each async for each in logs.stream(writer.path, writer, parse({"limitBytes": "4"}))])
        writer.close()
        return told

    assert asyncio.run(cut()) == b"0123"
