"""Running the Go command, with a script in its place."""

import json
import os
import signal
import subprocess
import threading

import pytest

from bench.errors import BuildFailed
from bench.lab.build.catalogue import part
from bench.lab.build.compile import GoRunner
from bench.lab.build.progress import PackageKey, PackageWork, Progress, Quiet, Tally
from bench.lab.build.toolchain import Toolchain

COREDNS = part("coredns")


class Recording(Quiet):
    def __init__(self):
        self.seen = []

    def update(self, progress):
        self.seen.append(progress)


@pytest.fixture
def runner_of(tmp_path):
    def make(script):
        go = tmp_path / "go"
        go.write_text(f"#!/bin/sh\n{script}\n")
        go.chmod(0o755)
        for name in ("work", "logs"):
            (tmp_path / name).mkdir()
        return GoRunner(Toolchain(go=go), tmp_path / "work", tmp_path / "logs")

    return make


def tally_of(*paths):
    keys = [PackageKey(path=path, version="") for path in paths]
    return Tally({"coredns": {key: PackageWork(source_bytes=10, cached=False) for key in keys}}, cores=1)


def test_packages_are_counted_as_go_names_them(runner_of, tmp_path):
    runner, report, tally = runner_of("echo fmt >&2; echo net >&2; exit 0"), Recording(), tally_of("fmt", "net")
    runner.build(COREDNS, tmp_path / "out", tally, report)

    assert [seen.done for seen in report.seen] == [0, 1, 2, 2]
    assert report.seen[-1].what == "coredns: linking"
    assert tally.is_complete


def test_a_failed_build_tells_its_last_lines_and_where_the_log_is(runner_of, tmp_path):
    runner = runner_of("echo fmt >&2; echo './main.go:7:2: undefined: nonsense' >&2; exit 1")

    with pytest.raises(BuildFailed, match=r"coredns: .* ended with 1:\n  ./main.go:7:2: undefined: nonsense") as caught:
        runner.build(COREDNS, tmp_path / "out", tally_of("fmt"), Quiet())
    assert str(tmp_path / "logs" / "coredns.log") in str(caught.value)
    assert "undefined: nonsense" in (tmp_path / "logs" / "coredns.log").read_text()


def test_an_interrupt_ends_the_compilers_too(runner_of, tmp_path):
    """The script starts a child as Go starts compilers; after the interrupt neither is alive."""
    runner = runner_of(f"sleep 60 & echo $! > {tmp_path}/child; echo fmt >&2; wait")

    class Interrupted(Quiet):
        def update(self, progress):
            if progress.done:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.build(COREDNS, tmp_path / "out", tally_of("fmt", "net"), Interrupted())
    child = int((tmp_path / "child").read_text())
    gone = threading.Event()
    for _ in range(100):
        if not os.path.exists(f"/proc/{child}/exe") or "Z" in state_of(child):
            gone.set()
            break
        gone.wait(0.01)
    if not gone.is_set():
        os.kill(child, signal.SIGKILL)
    assert gone.is_set()


def state_of(pid):
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout


def test_a_package_that_is_only_not_installed_counts_as_compiled(runner_of, tmp_path):
    (tmp_path / "main.go").write_text("package main\n")
    listed = [
        {
            "ImportPath": "coredns",
            "Dir": str(tmp_path),
            "GoFiles": ["main.go"],
            "Stale": True,
            "StaleReason": "not installed but available in build cache",
        },
        {
            "ImportPath": "x/y",
            "Dir": "/nowhere",
            "GoFiles": ["gone.go"],
            "Module": {"Path": "x", "Version": "v1.2.3"},
            "Stale": True,
            "StaleReason": "build ID mismatch",
        },
    ]
    (tmp_path / "listing").write_text("\n".join(json.dumps(each, indent=1) for each in listed))
    runner = runner_of(f"echo 'go: downloading x v1.2.3' >&2; cat {tmp_path}/listing")
    report = Recording()

    assert runner.list_packages(COREDNS, report) == {
        PackageKey(path="coredns", version=""): PackageWork(source_bytes=13, cached=True),
        PackageKey(path="x/y", version="v1.2.3"): PackageWork(source_bytes=0, cached=False),
    }
    assert Progress(what="coredns: fetching modules (1)") in report.seen


def test_flags_of_the_user_do_not_reach_the_build(runner_of, tmp_path, monkeypatch):
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    runner = runner_of(f'echo "$GOFLAGS $CGO_ENABLED $GOTOOLCHAIN" > {tmp_path}/seen; pwd >> {tmp_path}/seen')
    runner.build(COREDNS, tmp_path / "out", tally_of(), Quiet())

    flags, folder = (tmp_path / "seen").read_text().splitlines()
    assert flags == "-mod=readonly -buildvcs=false 0 local"
    assert folder == str(tmp_path / "work" / "coredns")
