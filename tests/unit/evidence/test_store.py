import dataclasses
import json
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BadEvidence, NoSpace, WrongUsage
from bench.evidence.lines import LineWriter, read_lines
from bench.evidence.reader import find_run, load_run, tampered
from bench.evidence.store import RunStore
from bench.model.evidence import Fidelity, Outcome, RunRecord
from bench.model.measurement import Absent, Measurement, Source, Window
from bench.model.units import Unit
from bench.model.verdict import Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = RunRecord(
    run_id="r-1",
    fidelity=Fidelity.EMBEDDED,
    target="lab",
    bench_version="0",
    server_version="v1.36.0",
    cluster_uid="u",
    started=NOW,
)
OUTCOME = Outcome(scenario="a", requirement="", claim="c", verdict=Verdict.PASS, started=NOW, ended=NOW)


def series(count, *, name="x_seconds", start=0.0, labels=None):
    times = np.arange(count, dtype=float) + start
    return Measurement(
        name=name,
        unit=Unit.SECONDS,
        values=times * 2,
        times_seconds=times,
        source=Source.NVML,
        statement="nvmlDeviceGetPowerUsage",
        window=Window.of_seconds(0, 10),
        labels=labels or {},
    )


ABSENT = Absent(name="y_total", source=Source.PROMETHEUS, statement="up", reason="no series", labels={"a": "b"})


def written(tmp_path, readings):
    store = RunStore.create(tmp_path, RECORD)
    with store.scenario("a") as scenario:
        for reading in readings:
            scenario.append(reading)
        scenario.keep_object("pods.json", "[]", "the pods")
        scenario.conclude(OUTCOME)
    store.finish(RECORD)
    return store.folder


def test_what_was_written_is_read_again_short_long_and_absent(tmp_path):
    readings = [series(1), series(5000), series(33, labels={"uuid": "GPU-1"}), ABSENT]
    run = load_run(written(tmp_path, readings))
    warnings = []

    assert list(run.readings("a", warnings)) == readings
    assert (warnings, run.warnings) == ([], ())
    assert run.record.is_complete
    assert run.outcomes[0].artifacts[0].path == "objects/pods.json"


@given(
    st.lists(
        st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), min_size=1, max_size=80),
        min_size=1,
        max_size=5,
    )
)
def test_every_number_comes_back_as_it_was(tmp_path_factory, many):
    folder = tmp_path_factory.mktemp("lines")
    readings = [
        Measurement(name="x_ratio", unit=Unit.RATIO, values=values, source=Source.LOAD, statement="s")
        for values in many
    ]
    writer = LineWriter(folder)
    for reading in readings:
        writer.append(reading)
    writer.close()

    assert list(read_lines(folder, [])) == readings


def test_a_time_series_that_many_share_is_stored_once(tmp_path):
    folder = written(tmp_path, [series(1000, labels={"uuid": str(number)}) for number in range(50)])

    assert (folder / "a" / "series.f64").stat().st_size == 2 * 1000 * 8


def test_checksums_are_what_sha256sum_reads(tmp_path):
    folder = written(tmp_path, [series(100)])

    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=False).returncode == 0


def test_changed_added_and_removed_files_are_found(tmp_path):
    folder = written(tmp_path, [series(100)])
    (folder / "a" / "evidence.json").write_text((folder / "a" / "evidence.json").read_text() + " ")
    (folder / "a" / "new.txt").write_text("")
    (folder / "a" / "objects" / "pods.json").unlink()

    assert tampered(folder) == [
        "a/evidence.json was changed after the run",
        "a/new.txt was added after the run",
        "a/objects/pods.json was changed after the run",
    ]


def test_a_run_is_never_written_over(tmp_path):
    RunStore.create(tmp_path, RECORD)
    with pytest.raises(WrongUsage, match="never written over"):
        RunStore.create(tmp_path, RECORD)
    with pytest.raises(WrongUsage, match="cannot be the id"):
        RunStore.create(tmp_path, dataclasses.replace(RECORD, run_id="../up"))


def test_a_run_that_was_cut_off_is_incomplete_and_keeps_what_it_measured(tmp_path):
    store = RunStore.create(tmp_path, RECORD)
    scenario = store.scenario("a")
    scenario.append(series(50))
    scenario.append(series(3))
    with (store.folder / "a" / "readings.jsonl").open("a") as lines:
        lines.write('{"name": "half')
    run = load_run(store.folder)
    warnings = []

    assert list(run.readings("a", warnings)) == [series(50), series(3)]
    assert "cut off while it was written" in warnings[0]
    assert "a was cut off: it has readings and no outcome" in run.warnings
    assert "the run is incomplete" in run.warnings


def test_a_line_whose_series_did_not_reach_the_disk_is_left_out_and_told(tmp_path):
    folder = written(tmp_path, [series(5), series(500)])
    with (folder / "a" / "series.f64").open("r+b") as file:
        file.truncate(800)
    warnings = []

    assert list(load_run(folder).readings("a", warnings)) == [series(5)]
    assert "points behind the end" in warnings[0]


def test_a_line_that_is_no_reading_is_refused_with_its_place(tmp_path):
    folder = written(tmp_path, [series(5)])
    (folder / "a" / "readings.jsonl").write_text('{"name": "x_ms", "unit": "parsecs"}\n')
    with pytest.raises(BadEvidence, match=r"readings\.jsonl:1 is not a reading"):
        load_run(folder).readings("a", [])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 99}', "{"])
def test_a_record_that_is_none_is_refused(tmp_path, text):
    folder = written(tmp_path, [])
    (folder / "run.json").write_text(text)
    with pytest.raises(BadEvidence, match=r"run\.json"):
        load_run(folder)


def test_a_run_is_found_by_id_and_by_path(tmp_path):
    folder = written(tmp_path, [])

    assert find_run("r-1", tmp_path) == folder
    assert find_run(str(folder), Path("/nowhere")) == folder
    with pytest.raises(BadEvidence, match="There is no run 'r-2'"):
        find_run("r-2", tmp_path)


def test_a_link_is_no_evidence_and_an_object_cannot_leave_its_folder(tmp_path):
    folder = written(tmp_path, [])
    (folder / "a" / "link").symlink_to("/etc/hostname")
    with pytest.raises(BadEvidence, match="is a link"):
        load_run(folder)
    store = RunStore.create(tmp_path, dataclasses.replace(RECORD, run_id="r-3"))
    with store.scenario("a") as scenario, pytest.raises(ValueError, match="cannot be the name"):
        scenario.keep_object("../x", "", "x")


def test_a_write_that_fails_for_another_reason_is_not_called_a_full_disk(tmp_path):
    store = RunStore.create(tmp_path, RECORD)
    with pytest.raises(OSError, match="other"):
        store.give_up_reserve(OSError(5, "other"))


FULL_DISK = textwrap.dedent(
    """
    import dataclasses, sys
    from pathlib import Path
    sys.path[:0] = [{repository!r}, {tests!r}]
    from test_store import OUTCOME, RECORD, series
    from bench.errors import NoSpace
    from bench.evidence.store import RunStore
    store = RunStore.create(Path({root!r}), RECORD)
    kept = 0
    with store.scenario("a") as scenario:
        try:
            for number in range(10000):
                scenario.append(series(2000, start=float(number * 5000)))
                kept += 1
        except NoSpace as error:
            print(error)
        told = scenario.conclude(OUTCOME)
    final = store.finish(RECORD)
    print(kept, told.is_complete, final.is_complete)
    """
)


def test_on_a_full_disk_what_was_measured_is_kept_and_marked_incomplete(tmp_path):
    """A real file system of 4 MiB, mounted where only the child process sees it."""
    here = Path(__file__)
    root = tmp_path / "small"
    root.mkdir()
    program = FULL_DISK.format(repository=str(here.parents[3]), tests=str(here.parent), root=str(root))
    copy = tmp_path / "copy"
    script = f"mount -t tmpfs -o size=4m none {root} && '{sys.executable}' -c \"$PROGRAM\" && cp -r {root} {copy}"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        env={"PROGRAM": program, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"this machine grants no mount namespace: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    sentence, counts = done.stdout.strip().splitlines()
    kept = int(counts.split()[0])
    run = load_run(copy / "r-1")
    warnings = []

    assert "is full" in sentence
    assert counts.split()[1:] == ["False", "False"]
    assert len(run.readings("a", warnings)) == kept > 50
    assert warnings == []
    assert not run.outcomes[0].is_complete
    assert "the disk was full" in run.outcomes[0].warnings[0]
    assert json.loads((copy / "r-1" / "run.json").read_text())["is_complete"] is False


def test_no_room_to_begin_is_told_in_one_sentence(tmp_path):
    with pytest.raises(NoSpace, match="is full"):
        RunStore(tmp_path, RECORD).give_up_reserve(OSError(28, "No space left on device"))


def test_a_folder_that_cannot_be_one_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(WrongUsage, match=r"/file is a file\. Name a folder"):
        RunStore.create(tmp_path / "file", RECORD)
