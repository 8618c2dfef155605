"""Files of the store on a real file system."""

from firmware.node.store import MAX_FILE_BYTES, Store
from tests.unit.firmware.node_fakes import Directory


def test_write_replaces_and_read_returns() -> None:
    directory = Directory()
    store = Store(directory.path)
    assert store.read("a") is None
    assert store.write("a", b"one")
    assert store.write("a", bytearray(b"three"))
    assert store.read("a") == b"three"
    assert directory.get("a") == b"three"
    directory.remove()


def test_a_cut_before_the_rename_leaves_the_old_content() -> None:
    directory = Directory()
    store = Store(directory.path)
    assert store.write("a", b"old")
    directory.put("a.tmp", b"ne")  # what such a cut leaves
    assert store.read("a") == b"old"
    assert store.write("a", b"new")
    assert store.read("a") == b"new"
    directory.remove()


def test_a_file_longer_than_any_of_ours_is_damage() -> None:
    directory = Directory()
    store = Store(directory.path)
    directory.put("a", bytes(MAX_FILE_BYTES))
    assert store.read("a") == bytes(MAX_FILE_BYTES)
    directory.put("a", bytes(MAX_FILE_BYTES + 1))
    assert store.read("a") == b""
    directory.remove()


def test_a_store_that_is_not_there_raises_nothing() -> None:
    directory = Directory()
    directory.remove()
    store = Store(directory.path)
    assert store.read("a") is None
    assert not store.write("a", b"x")
    assert store.error == 2


def test_a_name_that_cannot_be_read_is_damage_not_absence() -> None:
    directory = Directory()
    store = Store(directory.path + "/a")
    directory.put("a", b"x")
    assert store.read("b") == b""  # ENOTDIR
    assert not store.write("b", b"x")
    directory.remove()
