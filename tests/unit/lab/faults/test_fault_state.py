"""The state is read as it was written, and a change is seen at the next question."""

from pathlib import Path

from bench.lab.faults import state
from bench.lab.faults.state import Faults, Planted

SLOW = Planted(name="slow", arguments={"factor": 10.0, "device": ""}, utc_seconds=5.0, undo=({"kind": "x"},))
DOWN = Planted(name="down", arguments={}, utc_seconds=6.0)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    state.write(tmp_path / "faults.json", [SLOW, DOWN])

    assert state.read(tmp_path / "faults.json") == (SLOW, DOWN)
    assert [path.name for path in tmp_path.iterdir()] == ["faults.json"]


def test_nothing_is_planted_where_nothing_was_written(tmp_path: Path) -> None:
    assert state.read(tmp_path / "faults.json") == ()
    assert Faults(tmp_path / "faults.json").find("slow") is None


def test_a_reader_sees_faults_come_and_go(tmp_path: Path) -> None:
    faults = Faults(tmp_path / "faults.json")

    state.write(tmp_path / "faults.json", [SLOW])
    assert faults.find("slow") == SLOW
    state.write(tmp_path / "faults.json", [DOWN])
    assert faults.find("slow") is None
    assert faults.find("down") == DOWN
    (tmp_path / "faults.json").unlink()
    assert not faults.all()


def test_a_fault_is_told_as_it_was_asked_for() -> None:
    assert str(SLOW) == "slow factor=10"
    assert SLOW.number("factor") == 10.0
    assert SLOW.text("device") == ""


def test_what_a_pod_is_told_can_be_read_there() -> None:
    assert state.from_json(SLOW.told()) == Planted(name="slow", arguments=SLOW.arguments, utc_seconds=5.0)
