"""The record store: C and Python agree, writes last, a medium that takes nothing is reported."""

from __future__ import annotations

import random
from ctypes import CDLL

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards import recordstore
from boards.recordstore import RecordError, compose, contents, survey
from hil.flash.model import Erase, Flash, Program, RecordStore

SMALL = 4096
NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=15)
RECORDS = st.dictionaries(NAMES, st.binary(max_size=120), max_size=16)


def small(content: bytes | None = None) -> Flash:
    return Flash(content, SMALL)


# --- the layout, written by one side and read by the other ----------------------------------------


def test_layout_by_hand() -> None:
    """Written out by hand; CRCs are zlib's."""
    image = compose({"a": b"\x01\x02\x03\x04\x05"}, 64)
    assert image[:16] == b"TFS1\x01\x00\x00\x00" + image[8:12] + bytes(4)
    assert image[16:24] == b"TFR1\x01\x05\x00\x00"
    assert image[28:44] == b"a\0\0\0\x01\x02\x03\x04\x05\0\0\0\0\0\0\0"
    assert image[44:] == b"\xff" * 84


@given(records=RECORDS)
@settings(max_examples=200)
def test_c_reads_what_python_composes(library: CDLL, records: dict[str, bytes]) -> None:
    flash = small(compose(records, SMALL))
    store = RecordStore(library, flash)
    assert store.records(tuple(records)) == records
    assert store.read("absent") is None or "absent" in records
    assert contents(flash.content) == records


@given(writes=st.lists(st.tuples(st.sampled_from("abcd"), st.binary(max_size=300)), max_size=60))
@settings(max_examples=100)
def test_python_reads_what_c_writes(library: CDLL, writes: list[tuple[str, bytes]]) -> None:
    flash = small()
    expected: dict[str, bytes] = {}
    store = RecordStore(library, flash)
    for name, data in writes:
        assert store.write(name, data)
        expected[name] = data
        assert store.read(name) == data
    if writes:
        assert contents(flash.content) == expected
    assert RecordStore(library, flash).records(tuple("abcd")) == {
        name: expected.get(name) for name in "abcd"
    }


def test_magics_are_what_the_c_code_has(library: CDLL) -> None:
    """A record with all flash features, byte for byte as Python would have written it."""
    flash = small()
    RecordStore(library, flash).write("name", b"\xff" * 9)
    assert flash.content == compose({"name": b"\xff" * 9}, SMALL)


# --- what the store promises ----------------------------------------------------------------------


def test_nothing_is_programmed_twice_or_without_need(library: CDLL) -> None:
    flash = small()
    store = RecordStore(library, flash)
    for index in range(200):
        assert store.write("abc"[index % 3], index.to_bytes(4, "little") * (1 + index % 7))
    programmed: set[tuple[int, int]] = set()
    for operation in flash.operations:
        if isinstance(operation, Erase):
            programmed = {place for place in programmed if place[0] != operation.sector}
        else:
            assert (operation.sector, operation.offset) not in programmed
            programmed.add((operation.sector, operation.offset))
    before = len(flash.operations)
    assert store.write("a", store.read("a") or b"")
    assert len(flash.operations) == before, "the same content again must not wear the flash"


def test_both_sectors_wear_alike_and_the_sequence_counts(library: CDLL) -> None:
    flash = small()
    store = RecordStore(library, flash)
    for index in range(2000):
        assert store.write("epoch", index.to_bytes(4, "little"))
    erases = [op.sector for op in flash.operations if isinstance(op, Erase)]
    assert abs(erases.count(0) - erases.count(1)) <= 1
    assert store.sequence == len(erases)
    # 4096 bytes less header, 28 bytes a record: one erase for 145 writes.
    assert len(erases) == 2000 // 145 + 1


def test_opening_after_a_clean_power_down_changes_nothing(library: CDLL) -> None:
    flash = small()
    RecordStore(library, flash).write("a", b"1")
    content = flash.content
    flash.operations.clear()
    RecordStore(library, flash)
    assert flash.content == content
    assert len(flash.operations) <= 3
    assert all(isinstance(op, Program) and op.word == recordstore.COMMIT for op in flash.operations)


def test_a_medium_that_takes_nothing_is_told_and_ram_serves(library: CDLL) -> None:
    flash = small(compose({"a": b"old", "b": b"kept"}, SMALL))
    flash.broken = True
    store = RecordStore(library, flash)
    assert store.writable()
    assert not store.write("a", b"new")
    assert not store.writable()
    assert store.read("a") == b"new"
    assert store.read("b") == b"kept"
    assert not store.write("a", b"newer")
    assert not store.write("c", b"")
    assert store.read("a") == b"newer"
    assert store.read("c") == b""
    assert store.kept_in_ram() == 2
    assert RecordStore(library, flash).read("a") == b"old"
    flash.broken = False
    assert store.write("a", b"newer"), "what only RAM held is written, though it reads the same"
    assert store.kept_in_ram() == 1
    assert RecordStore(library, flash).read("a") == b"newer"


def test_a_blank_medium_that_takes_nothing(library: CDLL) -> None:
    for content in (None, bytes(2 * SMALL)):
        flash = small(content)
        flash.broken = True
        store = RecordStore(library, flash)
        assert not store.write("a", b"x")
        assert store.read("a") == b"x"


def test_ram_has_an_end_and_old_values_stay(library: CDLL) -> None:
    flash = small(compose({"a": b"old"}, SMALL))
    flash.broken = True
    store = RecordStore(library, flash)
    assert not store.write("big", bytes(1000))
    assert not store.write("a", bytes(1000))
    assert store.read("a") == b"old"
    assert store.read("big") == bytes(1000)


def test_caps(library: CDLL) -> None:
    store = RecordStore(library, Flash())
    for name, data in (("", b""), ("x" * 16, b""), ("a b", b""), ("a", bytes(1025))):
        assert not store.write(name, data)
        assert store.read(name) is None
    assert store.writable(), "a wrong name is no fault of the medium"
    for index in range(16):
        assert store.write(f"{index:x}" * 15, bytes(1024))
    assert not store.write("one-more", b"")
    assert store.write("0" * 15, b"other")


def test_a_sector_with_bits_that_stay_is_left(library: CDLL) -> None:
    """A word that does not take what is programmed: the other sector has room."""
    flash = small(compose({"a": b"1"}, SMALL))
    flash.set_word(0, RecordStore(library, flash).end + 4, 0x7FFFFFFF)
    store = RecordStore(library, flash)
    assert store.write("a", b"2")
    assert RecordStore(library, flash).read("a") == b"2"


def test_a_foreign_flash_is_formatted_at_the_first_write(library: CDLL) -> None:
    flash = small(random.Random(1).randbytes(2 * SMALL))
    store = RecordStore(library, flash)
    assert store.read("a") is None
    assert store.write("a", b"1")
    assert RecordStore(library, flash).read("a") == b"1"


@given(image=st.binary(min_size=256, max_size=256), seed=st.integers(0, 1 << 30))
@settings(max_examples=300)
def test_any_bytes_behind_a_sound_header_open(library: CDLL, image: bytes, seed: int) -> None:
    """Noise, also with parts of real records in it: opens, reads as Python reads it, writes."""
    rng = random.Random(seed)
    content = bytearray(compose({"a": b"1", "b": bytes(range(40))}, 1024))
    at = rng.randrange(16, 300)
    content[at : at + len(image)] = image
    content[rng.randrange(16, 1024)] ^= 1 << rng.randrange(8)
    flash = Flash(bytes(content), 1024)
    store = RecordStore(library, flash)
    assert {name: store.read(name) for name in ("a", "b")} == {
        name: survey(bytes(content)).records.get(name) for name in ("a", "b")
    }
    assert store.write("a", b"after")
    assert RecordStore(library, flash).read("a") == b"after"


# --- errors of the Python side --------------------------------------------------------------------


def test_python_says_what_is_wrong_and_where() -> None:
    image = bytearray(compose({"a": b"1234", "b": b"5678"}, 256))
    for at, what in (
        (16 + 12, "image offset 0x10: record 'q': wrong CRC-32"),
        (16 + 20, "image offset 0x10: record 'a': never committed"),
        (16, "image offset 0x10: expected a record"),
        (16 + 4, "image offset 0x10: record of 112 and 4 bytes"),
    ):
        damaged = bytearray(image)
        damaged[at] ^= 0x10 if what.startswith("image offset 0x10: record '") else 0x71
        with pytest.raises(RecordError) as caught:
            contents(bytes(damaged))
        assert what in str(caught.value)
        assert survey(bytes(damaged)).records == {"b": b"5678"}
    with pytest.raises(RecordError, match="expected the 262144 bytes of both sectors, got 7"):
        contents(bytes(7))
    with pytest.raises(RecordError, match="offsets 0x0 and 0x100: expected a sector header"):
        contents(b"\xff" * 512)
    with pytest.raises(RecordError, match="at most 16 records, got 17"):
        compose({str(index): b"" for index in range(17)})
    with pytest.raises(RecordError, match="at most 1024 bytes, got 1025"):
        compose({"a": bytes(1025)})
    with pytest.raises(RecordError, match="printable ASCII"):
        compose({"ä": b""})
    with pytest.raises(RecordError, match="at most 64 bytes of records"):
        compose({"a": bytes(64)}, 64)
