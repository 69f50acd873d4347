"""A lab's lock is free exactly when nobody holds it, and its folder may go while it is held."""

import os
import shutil
from pathlib import Path

from bench.lab.box import lock


def test_a_folder_is_made_and_locked_once(tmp_path: Path) -> None:
    first = lock.take(tmp_path / "labs" / "one")

    assert first is not None
    assert lock.take(tmp_path / "labs" / "one") is None
    assert lock.is_held(tmp_path / "labs" / "one")
    os.close(first)


def test_a_lock_that_is_let_go_can_be_taken(tmp_path: Path) -> None:
    first = lock.take(tmp_path)
    assert first is not None
    os.close(first)

    assert not lock.is_held(tmp_path)
    second = lock.take(tmp_path)
    assert second is not None
    os.close(second)


def test_two_descriptors_of_one_open_file_hold_it_together(tmp_path: Path) -> None:
    """As keeper and first process do: the lock outlives either of them."""
    keeper = lock.take(tmp_path)
    assert keeper is not None
    first_process = os.dup(keeper)

    os.close(keeper)

    assert lock.is_held(tmp_path)
    os.close(first_process)
    assert not lock.is_held(tmp_path)


def test_a_removed_folder_is_not_what_the_next_one_locks(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    old = lock.take(folder)
    assert old is not None
    shutil.rmtree(folder)

    new = lock.take(folder)

    assert new is not None
    assert os.path.samestat(os.fstat(new), os.stat(folder))
    os.close(old)
    assert lock.is_held(folder)
    os.close(new)


def test_what_is_not_there_is_not_held(tmp_path: Path) -> None:
    assert not lock.is_held(tmp_path / "nothing")
