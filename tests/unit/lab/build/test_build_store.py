"""The cache never gives out a file that is not what was put there."""

import os

import pytest

from bench.errors import BrokenCache
from bench.lab.build.store import RECORD, Store, content_hash

KEY = "0123456789abcdef0123"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def put(store, content=b"program", name="tool"):
    with store.place("part", KEY) as place:
        (place / name).write_bytes(content)
        (place / "alias").symlink_to(name)
        return store.commit(place, "part", KEY, {name: name, "alias": "alias"})


def test_what_was_put_is_found_by_each_of_its_names(store):
    put(store)

    found = store.find("part", KEY)
    assert {name: path.read_bytes() for name, path in found.items()} == {"tool": b"program", "alias": b"program"}


def test_another_key_finds_nothing(store):
    put(store)

    assert store.find("part", "f" * 20) is None


def test_a_truncated_program_is_refused_with_the_file_and_the_cure(store):
    path = put(store)["tool"]
    path.write_bytes(b"prog")

    with pytest.raises(BrokenCache, match=r"tool is not what was built.*Remove .*bench lab build part"):
        store.find("part", KEY)


def test_a_program_changed_in_place_is_refused_though_its_size_is_the_same(store):
    path = put(store)["tool"]
    path.write_bytes(b"malware")

    with pytest.raises(BrokenCache):
        store.find("part", KEY)


def test_a_program_that_was_only_touched_is_still_good(store):
    path = put(store)["tool"]
    os.utime(path, ns=(1, 1))

    assert store.find("part", KEY) is not None


def test_a_thorough_look_finds_what_left_size_and_time_alone(store):
    path = put(store)["tool"]
    before = path.stat()
    path.write_bytes(b"bit rot")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert store.find("part", KEY) is not None
    with pytest.raises(BrokenCache):
        store.find("part", KEY, thorough=True)


def test_a_missing_program_is_refused(store):
    put(store)["tool"].unlink()

    with pytest.raises(BrokenCache):
        store.find("part", KEY)


def test_a_damaged_record_is_refused(store):
    folder = put(store)["tool"].parent
    (folder / RECORD).write_text("{")

    with pytest.raises(BrokenCache, match=r"record\.json is damaged"):
        store.find("part", KEY)


def test_a_build_that_broke_off_leaves_nothing(store, tmp_path):
    def broken_off():
        with store.place("part", KEY) as place:
            (place / "tool").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert list((tmp_path / "parts").iterdir()) == []
    assert store.find("part", KEY) is None


def test_a_program_elsewhere_that_was_upgraded_makes_the_entry_void(store, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"1.0")
    store.note_elsewhere("part", KEY, {"tool": theirs})
    assert store.find("part", KEY) == {"tool": theirs}

    theirs.write_bytes(b"1.0.1")
    assert store.find("part", KEY) is None


def test_a_program_elsewhere_gives_way_to_one_that_is_built(store, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"1.0")
    store.note_elsewhere("part", KEY, {"tool": theirs})
    ours = put(store)["tool"]

    assert store.find("part", KEY)["tool"] == ours


def test_a_folder_is_known_by_the_names_and_contents_of_its_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "blobs").mkdir(parents=True)
        (tmp_path / name / "blobs" / "one").write_bytes(b"1")
    same = content_hash(tmp_path / "a") == content_hash(tmp_path / "b")
    (tmp_path / "b" / "blobs" / "one").rename(tmp_path / "b" / "blobs" / "two")

    assert same
    assert content_hash(tmp_path / "a") != content_hash(tmp_path / "b")
