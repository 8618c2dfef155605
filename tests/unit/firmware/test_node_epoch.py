"""The boot epoch rises, whatever is cut, torn or damaged."""

from firmware.node.epoch import FILES, BootEpoch, decode, encode
from tests.dual import raises
from tests.unit.firmware.node_fakes import MemoryStore, PowerCut

# Written out by hand; the CRC-32 is zlib's of the six bytes before it.
FIVE = b"\x7e\x01\x00\x00\x00\x05\xcd\xe0\x10\x2d"


def boot(store: MemoryStore) -> int:
    epoch = BootEpoch(store)
    assert epoch.stored
    return epoch.value


def test_file_format() -> None:
    assert encode(5) == FIVE
    assert decode(FIVE) == 5
    assert decode(None) == 0
    assert decode(b"") == 0


def test_first_boot_is_one_and_every_boot_rises() -> None:
    store = MemoryStore()
    assert [boot(store) for _ in range(5)] == [1, 2, 3, 4, 5]


def test_any_damage_to_one_file_costs_nothing() -> None:
    for boots in (1, 2, 3):
        for name in FILES:
            base = MemoryStore()
            for _ in range(boots):
                shown = boot(base)
            content = base.files[name]
            damaged: list[bytes] = [content[:length] for length in range(len(content))]
            for index in range(len(content)):
                for bit in range(8):
                    flipped = bytearray(content)
                    flipped[index] ^= 1 << bit
                    damaged.append(bytes(flipped))
            damaged.append(content + b"\x00")
            damaged.append(bytes(len(content)))
            damaged.append(b"\xff" * len(content))
            for data in damaged:
                store = MemoryStore()
                store.files = dict(base.files)
                store.files[name] = data
                epoch = BootEpoch(store)
                assert epoch.known
                assert epoch.value == shown + 1, (name, data)
                assert boot(store) == shown + 2


def test_resets_in_a_row_during_any_write_never_go_back() -> None:
    # What a cut leaves of the file being written: the old content, the new one, or a piece of it.
    leaves = [("old", 0), ("new", 0)] + [("torn", length) for length in range(10)]
    cuts: list[list[tuple[str, int] | None]] = []
    for leave in leaves:
        cuts.append([leave])
        cuts.append([None, leave])
    for before in (0, 1, 2):
        for first in cuts:
            for second in cuts:
                store = MemoryStore()
                shown = 0
                for _ in range(before):
                    shown = boot(store)
                for cut in (first, second):
                    store.cuts = list(cut)
                    raises(PowerCut, BootEpoch, store)
                store.cuts = []
                epoch = BootEpoch(store)
                after = epoch.value
                assert after > shown, (before, first, second)
                # On the very first boots there may be nothing whole yet to go on from.
                assert epoch.known or not before, "two cuts must not destroy both files"
                assert boot(store) == after + 1


def test_both_files_damaged_is_told_and_does_not_go_back() -> None:
    store = MemoryStore()
    for _ in range(3):
        shown = boot(store)
    for name in FILES:
        store.files[name] = b"garbage"
    epoch = BootEpoch(store)
    assert not epoch.known
    assert 0xFFFFFFFF > epoch.value > shown
    assert boot(store) == epoch.value + 1


def test_the_last_epoch_stays_in_its_field() -> None:
    store = MemoryStore()
    store.files[FILES[0]] = encode(0xFFFFFFFE)
    assert boot(store) == 0xFFFFFFFF
    assert boot(store) == 0xFFFFFFFF


def test_reads_back_what_the_store_said_it_took() -> None:
    store = MemoryStore()
    epoch = BootEpoch(store)
    assert epoch.reads_back()
    store.files[FILES[1]] = encode(7)
    assert not epoch.reads_back()
    store.broken = True
    epoch = BootEpoch(store)
    assert not epoch.stored
    assert epoch.reads_back(), "a medium that took nothing has not lied"


def test_store_that_cannot_be_written_is_tried_again() -> None:
    store = MemoryStore()
    assert boot(store) == 1
    store.broken = True
    epoch = BootEpoch(store)
    assert epoch.value == 2
    assert not epoch.stored
    assert not epoch.persist()
    store.broken = False
    assert epoch.persist()
    writes = store.writes
    assert epoch.persist()
    assert store.writes == writes, "written once is enough"
    assert boot(store) == 3
