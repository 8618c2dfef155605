"""Damage to the record store, which no power cut leaves: flipped bits, bytes that became 0.

The store is that of a node after three boots and a compaction, so the older sector holds older
epochs. Whatever is damaged, at one place: the node keeps what it is, and no boot epoch comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import CDLL

import pytest

from boards.recordstore import SECTOR_HEADER, compose, survey
from firmware.node import epoch
from hil.flash.model import Erase, Flash, RecordStore

SMALL = 512
KEPT = {"board": b'{"role": "air"}', "node.key": bytes(range(40))}
NAMES = (*KEPT, *epoch.FILES)

pytestmark = pytest.mark.timeout(300)


def boot(library: CDLL, flash: Flash) -> int:
    """Boot once: the epoch that a master then sees."""
    return epoch.BootEpoch(RecordStore(library, flash)).value


@pytest.fixture(scope="module", params=["one sector", "after a compaction"])
def node(library: CDLL, request: pytest.FixtureRequest) -> tuple[bytes, int]:
    """The flash of a node, and the last epoch that it showed."""
    flash = Flash(compose(KEPT, SMALL), SMALL)
    shown = boot(library, flash)
    while request.param != "one sector" and not any(
        isinstance(operation, Erase) for operation in flash.operations
    ):
        shown = boot(library, flash)
    shown = boot(library, flash)
    return flash.content, shown


def sector_in_force(content: bytes) -> tuple[int, int]:
    """Where the sector in force begins, and where it is no longer used."""
    found = survey(content)
    begin = found.sector * SMALL
    return begin, begin + found.end


def damaged(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Every bit of the sector in force flipped, and every run of words in it at 0."""
    begin, end = sector_in_force(content)
    for bit in range(8 * begin, 8 * end):
        image = bytearray(content)
        image[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit - 8 * begin} flipped", bytes(image)
    for length in (4, 8, 12, 16, 40, 80):
        for at in range(begin, end - length + 1, 4):
            image = bytearray(content)
            image[at : at + length] = bytes(length)
            yield f"{length} bytes at 0 from {at - begin:#x}", bytes(image)


def test_no_epoch_comes_twice(library: CDLL, node: tuple[bytes, int]) -> None:
    content, shown = node
    count = 0
    for what, image in damaged(content):
        flash = Flash(image, SMALL)
        if RecordStore(library, flash).read(epoch.FILES[0]) is None:
            continue  # nothing of it is left: the node takes an epoch by chance, far above
        last = boot(library, flash)
        assert last > shown, what
        assert boot(library, flash) > last, what
        assert boot(library, flash) == last + 2, f"{what}: the damage is left behind"
        count += 1
    assert count > 1500


def test_a_header_that_is_damaged_loses_nothing(library: CDLL, node: tuple[bytes, int]) -> None:
    content, _ = node
    begin, _ = sector_in_force(content)
    whole = RecordStore(library, Flash(content, SMALL)).records(NAMES)
    images = [
        (what, image)
        for what, image in damaged(content)
        if image[begin + SECTOR_HEADER :] == content[begin + SECTOR_HEADER :]
        and image[:begin] == content[:begin]
    ]
    assert len(images) > 8 * SECTOR_HEADER
    for what, image in images:
        flash = Flash(image, SMALL)
        store = RecordStore(library, flash)
        assert store.records(NAMES) == whole, what
        assert not store.lost
        # The next write makes it whole again.
        assert store.write("config", b"x")
        again = RecordStore(library, flash)
        assert again.records(NAMES) == whole, what
        assert again.read("config") == b"x"


def test_one_flipped_bit_costs_one_record_at_most(library: CDLL, node: tuple[bytes, int]) -> None:
    content, _ = node
    whole = RecordStore(library, Flash(content, SMALL)).records(NAMES)
    for what, image in damaged(content):
        if what.startswith("bit"):
            found = RecordStore(library, Flash(image, SMALL)).records(NAMES)
            assert sum(found[name] != whole[name] for name in NAMES) <= 1, what


def test_python_reads_damage_as_c_does(library: CDLL, node: tuple[bytes, int]) -> None:
    content, _ = node
    for number, (what, image) in enumerate(damaged(content)):
        if number % 7:
            continue
        store = RecordStore(library, Flash(image, SMALL))
        found = survey(image)
        assert {name: found.records.get(name) for name in NAMES} == store.records(NAMES), what
        assert (found.sequence, found.lost) == (store.sequence, store.lost), what


def test_a_store_that_was_only_cut_has_lost_nothing(library: CDLL, node: tuple[bytes, int]) -> None:
    content, shown = node
    begin, _ = sector_in_force(content)
    flash = Flash(content, SMALL)
    flash.operations.clear()
    assert boot(library, flash) == shown + 1
    for operation in flash.operations:
        assert not isinstance(operation, Erase)
    for index in range(len(flash.operations)):
        cut = Flash(content, SMALL)
        for operation in flash.operations[:index]:
            assert not isinstance(operation, Erase)
            cut.program(operation.sector, operation.offset, operation.word)
        assert not RecordStore(library, cut).lost
        assert boot(library, cut) in (shown + 1, shown + 2)
    assert begin in (0, SMALL)
