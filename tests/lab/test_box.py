"""The box that a lab lives in: its life cycle, its neighbours, its supervision, and its way to the host."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.lab.box import remains
from bench.lab.paths import LabPaths
from tests.lab.leftovers import interfaces, left_by, now_ticks, seconds_until_nothing_is_left, take_traces
from tests.lab.running import ROOT, RunningLab, bench, command, running_lab, status_of, unique_name

pytestmark = pytest.mark.lab

BARE = ("--nodes", "1", "--gpus", "1", "--parts", "")
"""Control plane and agent, no workloads."""
END_SECONDS = 10.0
UNPRIVILEGED = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""Without any capability, and not root by its number."""


def eventually(is_true: Callable[[], bool], *, within_seconds: float) -> bool:
    until, pause = time.monotonic() + within_seconds, threading.Event()
    while not is_true():
        if time.monotonic() > until:
            return False
        pause.wait(0.05)
    return True


def kubectl(lab: RunningLab, *words: str) -> str:
    done = bench("lab", "exec", "--name", lab.name, "--", "kubectl", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def part(lab: RunningLab, name: str) -> dict[str, object]:
    return next(each for each in status_of(lab.name)["parts"] if each["name"] == name)


def pid_of(lab: RunningLab, program: str) -> int:
    """On this machine, by the command line that the lab started it with."""
    agent = {b"bench.lab.kubelet", os.fsencode(lab.paths.root)}
    wanted = agent if program == "agent" else {os.fsencode(lab.paths.bin / program)}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted <= set(words):
            return int(name)
    raise AssertionError(f"no process {program} of lab {lab.name}")


@pytest.fixture(scope="module")
def bare() -> Iterator[RunningLab]:
    """For the tests that leave it as it was."""
    with running_lab(unique_name("bare"), *BARE) as lab:
        yield lab


class TestALabThatRuns:
    def test_is_not_started_a_second_time(self, bare: RunningLab) -> None:
        second = bench("lab", "up", "--name", bare.name, *BARE)

        assert second.returncode == 2
        assert "runs already" in second.stderr
        assert "Traceback" not in second.stderr
        assert status_of(bare.name)["pid"] == bare.pid

    def test_has_a_neighbour_with_another_name(self, bare: RunningLab) -> None:
        with running_lab(unique_name("neighbour"), *BARE) as neighbour:
            kubectl(neighbour, "create", "namespace", "only-here")

            assert "only-here" not in kubectl(bare, "get", "namespaces")
            assert kubectl(neighbour, "cluster-info") != kubectl(bare, "cluster-info")
        assert kubectl(bare, "get", "--raw", "/readyz") == "ok"

    def test_gives_commands_its_addresses(self) -> None:
        with running_lab(unique_name("gateway"), *BARE[:-1], "gateway") as lab:
            told = bench("lab", "exec", "--name", lab.name, "--", "env").stdout.splitlines()
            answer = bench("lab", "exec", "--name", lab.name, "--", "sh", "-c", "curl --silent --include $GATEWAY_URL")

        assert f"KUBECONFIG={lab.kubeconfig}" in told
        assert f"GATEWAY_URL={lab.status['gateway_url']}" in told
        assert "404 Not Found" in answer.stdout
        assert not any(line.startswith("PROMETHEUS_URL=") for line in told), "this lab has none"

    def test_hands_on_the_exit_status_of_a_command(self, bare: RunningLab) -> None:
        assert bench("lab", "exec", "--name", bare.name, "--", "sh", "-c", "exit 7").returncode == 7
        assert bench("lab", "exec", "--name", bare.name, "--inside", "--", "sh", "-c", "exit 7").returncode == 7

    def test_shows_who_enters_its_own_processes_alone(self, bare: RunningLab) -> None:
        listed = bench(
            "lab", "exec", "--name", bare.name, "--inside", "--", "sh", "-c", "cat /proc/1/cmdline; ls /proc"
        )

        assert "bench.lab.box.supervisor" in listed.stdout
        assert len([word for word in listed.stdout.split() if word.isdigit()]) < 30

    def test_keeps_its_kubeconfig_to_its_owner(self, bare: RunningLab) -> None:
        assert bare.kubeconfig.stat().st_mode & 0o077 == 0
        assert kubectl(bare, "config", "current-context").strip() == f"bench-lab-{bare.name}"

    def test_tells_programs_what_it_tells_people(self, bare: RunningLab) -> None:
        told = bench("lab", "status", "--name", bare.name)

        assert told.returncode == 0
        for each in bare.status["parts"]:
            assert each["name"] in told.stdout
        assert {each["state"] for each in bare.status["parts"]} == {"ready"}
        assert all(each["memory_bytes"] > 0 for each in bare.status["parts"])

    def test_has_no_way_out(self, bare: RunningLab) -> None:
        inside = bench(
            "lab", "exec", "--name", bare.name, "--inside", "--",
            sys.executable, "-c", "import socket; socket.create_connection(('192.0.2.1', 80), timeout=3)",
        )  # fmt: skip
        routes = Path(f"/proc/{bare.pid}/net/route").read_text(encoding="ascii").splitlines()[1:]

        assert "OSError: [Errno 101]" in inside.stderr
        assert {line.split()[0] for line in routes} == {"lab0"}
        assert not any(line.split()[1] == "00000000" for line in routes)


class TestAProgramThatDies:
    def test_is_started_again_and_counted(self) -> None:
        with running_lab(unique_name("dies"), *BARE) as lab:
            os.kill(pid_of(lab, "kube-apiserver"), signal.SIGKILL)

            assert eventually(lambda: part(lab, "kube-apiserver")["restarts"] == 1, within_seconds=10)
            assert eventually(lambda: part(lab, "kube-apiserver")["state"] == "ready", within_seconds=30)
            assert "bench" not in kubectl(lab, "get", "--raw", "/readyz")


class TestTheWayDown:
    def test_of_a_killed_keeper_is_walked_by_the_first_process(self) -> None:
        before = interfaces()
        with running_lab(unique_name("keeper"), *BARE) as lab:
            traces, end_ticks = take_traces(lab, before), now_ticks()

            os.kill(int(lab.status["keeper_pid"]), signal.SIGKILL)

            seconds_until_nothing_is_left(traces, end_ticks, within_seconds=END_SECONDS)

    def test_of_a_lab_killed_with_its_keeper_is_finished_by_the_next_command(self) -> None:
        before = interfaces()
        with running_lab(unique_name("both"), *BARE) as lab:
            traces, end_ticks = take_traces(lab, before), now_ticks()
            os.kill(int(lab.status["keeper_pid"]), signal.SIGSTOP)
            os.kill(lab.pid, signal.SIGKILL)
            os.kill(int(lab.status["keeper_pid"]), signal.SIGKILL)
            assert eventually(lambda: not Path(f"/proc/{lab.pid}").exists(), within_seconds=END_SECONDS)
            assert lab.paths.root.exists()

            told = bench("lab", "status", "--name", lab.name)

            assert told.returncode == 2
            assert "what it left has been removed" in told.stderr
            assert left_by(traces, end_ticks) == []

    def test_of_a_lab_that_hangs_is_cut_short(self) -> None:
        before = interfaces()
        with running_lab(unique_name("hangs"), *BARE) as lab:
            traces, end_ticks = take_traces(lab, before), now_ticks()
            os.kill(lab.pid, signal.SIGSTOP)

            down = bench("lab", "down", "--name", lab.name)

            assert down.returncode == 0, down.stderr
            assert left_by(traces, end_ticks) == []

    def test_of_a_lab_that_was_killed_keeps_its_logs(self) -> None:
        with running_lab(unique_name("logs"), *BARE) as lab:
            os.kill(lab.pid, signal.SIGKILL)
            assert eventually(lambda: not lab.paths.root.exists(), within_seconds=END_SECONDS)

            told = bench("lab", "status", "--name", lab.name)

            kept = remains.kept_logs(lab.name)
            assert str(kept) in told.stderr
            assert (kept / "kube-apiserver.log").stat().st_size > 0

    def test_can_be_walked_twice(self) -> None:
        name = unique_name("twice")

        down = bench("lab", "down", "--name", name)

        assert down.returncode == 0
        assert "nothing to do" in down.stderr


def test_a_lab_started_without_standard_input_is_still_locked() -> None:
    """Its lock must not have taken the free number 0, which the keeper's own standard input then takes away."""
    name = unique_name("closed")
    words = " ".join(map(_quoted, command("lab", "up", "--name", name, *BARE)))

    up = subprocess.run(["sh", "-c", f"exec {words} 0<&-"], cwd=ROOT, capture_output=True, timeout=120, check=False)

    assert up.returncode == 0
    assert status_of(name)["is_ready"]
    assert bench("lab", "down", "--name", name).stderr.strip() == f"lab {name} is down"


class TestInTheForeground:
    @pytest.mark.parametrize("ending", ["end of input", "Ctrl-C", "SIGTERM"])
    def test_a_lab_ends_with_its_command(self, ending: str) -> None:
        name = unique_name("front")
        up = subprocess.Popen(
            command("lab", "up", "--name", name, *BARE, "--foreground"),
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert up.stdout is not None
        assert up.stdin is not None
        assert "is up after" in up.stdout.readline()

        if ending == "end of input":
            up.stdin.close()
        else:
            up.send_signal(signal.SIGINT if ending == "Ctrl-C" else signal.SIGTERM)

        assert up.wait(timeout=END_SECONDS) == 0
        assert not LabPaths.of(name).root.exists()
        up.stdout.close()
        up.stdin.close()

    def test_a_lab_that_is_taken_down_elsewhere_ends_its_command(self) -> None:
        name = unique_name("else")
        up = subprocess.Popen(
            command("lab", "up", "--name", name, *BARE, "--foreground"),
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert up.stdout is not None
        assert "is up after" in up.stdout.readline()

        assert bench("lab", "down", "--name", name).returncode == 0

        _, told = up.communicate(timeout=END_SECONDS)
        assert up.returncode == 0
        assert "the lab goes down: bench lab down" in told

    def test_a_lab_ends_when_its_command_is_killed(self) -> None:
        name = unique_name("shot")
        up = subprocess.Popen(
            command("lab", "up", "--name", name, *BARE, "--foreground"),
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert up.stdout is not None
        assert "is up after" in up.stdout.readline()

        up.kill()

        up.wait(timeout=END_SECONDS)
        up.stdout.close()
        assert eventually(lambda: not LabPaths.of(name).root.exists(), within_seconds=END_SECONDS)


class TestWithoutRights:
    def test_a_lab_comes_up_serves_and_goes_down(self) -> None:
        name = unique_name("user")
        steps = [
            command("lab", "up", "--name", name, *BARE),
            command("lab", "exec", "--name", name, "--", "kubectl", "get", "--raw", "/readyz"),
            command("lab", "exec", "--name", name, "--inside", "--", "id", "-u"),
            command("lab", "status", "--name", name, "--json"),
            command("lab", "down", "--name", name),
        ]
        script = " && ".join(
            f"echo; {' '.join(map(_quoted, step))}" for step in ([sys.executable, *s[1:]] for s in steps)
        )

        done = subprocess.run(
            [*UNPRIVILEGED, "sh", "-c", script],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

        assert done.returncode == 0, done.stderr
        assert "\nok\n0\n" in done.stdout.replace("\n\n", "\n")
        assert '"is_ready": true' in done.stdout
        assert not LabPaths.of(name).root.exists()


class TestMistakes:
    def test_a_port_that_is_taken_is_named_and_nothing_starts(self) -> None:
        name = unique_name("port")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]

            up = bench("lab", "up", "--name", name, *BARE, "--gateway-port", str(port))

        assert up.returncode == 2
        assert f"--gateway-port {port}" in up.stderr
        assert "Traceback" not in up.stderr
        assert not LabPaths.of(name).root.exists()

    @pytest.mark.parametrize("verb", [("status",), ("exec", "--", "true")])
    def test_a_verb_that_needs_a_lab_says_how_to_get_one(self, verb: tuple[str, ...]) -> None:
        name = unique_name("none")
        done = bench("lab", verb[0], "--name", name, *verb[1:])

        assert done.returncode == 2
        assert f"bench lab up --name {name}" in done.stderr
        assert done.stdout == ""

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            (("--nodes", "0"), "at least 1"),
            (("--gpu-cores", "-1"), "above 0"),
            (("--api-port", "70000"), "no port"),
            (("--product", "Voodoo-2"), "Voodoo-2"),
            (("--parts", "dns,carrots"), "carrots"),
            (("--mig", "9g.1gb"), "9g.1gb"),
            (("--images", "/nowhere/images.yaml"), "/nowhere/images.yaml"),
            (("--name", "No_Such_Name"), "No_Such_Name"),
        ],
    )
    def test_a_wrong_option_is_named_before_anything_starts(self, options: tuple[str, ...], word: str) -> None:
        done = bench("lab", "up", "--name", unique_name("wrong"), *options)

        assert done.returncode == 2
        assert word in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def _quoted(word: str) -> str:
    return f"'{word}'" if not re.fullmatch(r"[\w./:-]+", word) else word


def test_the_pods_of_a_killed_agent_run_again(bare: RunningLab) -> None:
    """Its processes were ended first: two of a pod's processes at a time would be one too many."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sleeper"},
        "spec": {"containers": [{"name": "main", "image": "busybox", "command": ["sleep", "86399"]}]},
    }
    subprocess.run(
        command("lab", "exec", "--name", bare.name, "--", "kubectl", "apply", "-f", "-"),
        cwd=ROOT, input=json.dumps(manifest), text=True, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    kubectl(bare, "wait", "--for=condition=Ready", "pod/sleeper", "--timeout=30s")
    first = _sleepers()

    os.kill(pid_of(bare, "agent"), signal.SIGKILL)

    assert len(first) == 1
    assert eventually(lambda: len(_sleepers()) == 1 and _sleepers() != first, within_seconds=30)
    assert part(bare, "agent")["restarts"] == 1
    kubectl(bare, "wait", "--for=condition=Ready", "pod/sleeper", "--timeout=30s")


def _sleepers() -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[1:2] == [b"86399"]:
            found.append(int(name))
    return found
