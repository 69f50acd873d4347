"""One build at a time."""

import threading

import pytest

from bench.lab.build.lock import build_lock
from bench.lab.build.progress import Progress, Quiet


class Recording(Quiet):
    def __init__(self):
        self.lines = []
        self.seen = []
        self.saw_progress = threading.Event()

    def update(self, progress):
        self.seen.append(progress)
        self.saw_progress.set()

    def say(self, line):
        self.lines.append(line)


def test_the_second_build_waits_and_shows_how_far_the_first_is(tmp_path):
    second, order = Recording(), []

    def build_too():
        with build_lock(tmp_path, second):
            order.append("second")

    with build_lock(tmp_path, Quiet()) as report:
        report.update(Progress(what="etcd: compiling", done=3, total=9))
        waiting = threading.Thread(target=build_too)
        waiting.start()
        assert second.saw_progress.wait(timeout=5)
        order.append("first")
    waiting.join(timeout=5)

    assert order == ["first", "second"]
    assert "another build is at work (process" in second.lines[0]
    assert second.seen[0] == Progress(what="(another build) etcd: compiling", done=3, total=9)


def test_a_build_that_broke_off_does_not_hold_up_the_next_one(tmp_path):
    def break_off():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), build_lock(tmp_path, Quiet()):
        break_off()
    report = Recording()
    with build_lock(tmp_path, report):
        assert report.lines == []
    assert not (tmp_path / "build.progress.json").exists()
