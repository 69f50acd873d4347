"""
A disk that becomes full at some point of a run, on an API server in one file: one sentence, and nothing stays.

A real file system of 2 MiB, mounted where only the child process sees it.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.evidence.reader import load_run
from bench.model.measurement import Measurement, Reading
from bench.model.verdict import Verdict
from bench.rig.cluster_rig import ClusterRig
from tests.unit.rig.test_interruption import SignallingApi, executed, pod
from tests.unit.test_runner import wait_of

ROOT = Path(__file__).resolve().parents[3]
SMALL = Path(tempfile.gettempdir()) / "bench-small-disk"


def fill(folder: Path) -> None:
    """Until nothing more goes in."""
    with (folder / "filling").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def creates_more(rig: ClusterRig) -> Iterator[Reading]:
    namespace = rig.namespace("trial")
    yield wait_of(0.1)
    fill(rig.around.folder)
    for number in range(1000):
        rig.create(pod(namespace, f"pod-{number}"))


def measures_more(rig: ClusterRig) -> Iterator[Reading]:
    rig.namespace("trial")
    yield wait_of(0.1)
    fill(rig.around.folder)
    for number in range(10_000):
        yield wait_of(float(number))


def starts_a_load(rig: ClusterRig) -> Iterator[Reading]:
    rig.namespace("trial")
    yield wait_of(0.1)
    fill(rig.around.folder)
    load = rig.load(url="http://127.0.0.1:9/", steps="50:0.5", arguments=("--drain", "1"))
    load.finish(within_seconds=30.0)
    yield from load.readings({})


SCRIPTS: dict[str, Callable[[ClusterRig], Iterator[Reading]]] = {
    each.__name__: each for each in (creates_more, measures_more, starts_a_load)
}


def on_a_small_disk(name: str) -> None:
    """What the child process does; it fails by an assertion."""
    ended = executed(SMALL, SignallingApi(), SCRIPTS[name])

    (outcome,) = ended.outcomes  # the second step was not begun: it could not be kept either
    assert outcome.verdict is Verdict.ERROR
    assert outcome.reason.startswith(f"The disk under {SMALL}"), outcome.reason
    assert "make room and run again" in outcome.reason
    assert not outcome.is_complete
    assert ended.there == []
    assert [each for each in outcome.warnings if "left behind" in each] == []
    first, *_ = load_run(ended.folder).readings("waits", [])
    assert isinstance(first, Measurement)
    assert load_run(ended.folder).outcomes == (outcome,)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SCRIPTS)
def test_on_a_full_disk_the_run_ends_with_one_sentence_and_nothing_stays(name: str) -> None:
    program = "import sys; from tests.unit.rig.test_full_disk import on_a_small_disk; on_a_small_disk(sys.argv[1])"
    script = 'mount -t tmpfs -o size=2m none "$1" && shift && exec "$@"'
    alone = ("unshare", "--user", "--map-root-user", "--mount")
    SMALL.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [*alone, "sh", "-c", script, "sh", str(SMALL), sys.executable, "-c", program, name],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(SMALL)
    assert done.returncode == 0, done.stderr
