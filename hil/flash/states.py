"""Every state a power cut can leave in the record store's flash.

A :class:`Scenario` is something the node does to its store, recorded as the operations on the
flash. :func:`states` goes through them: the flash after each operation, and for each operation what
it can leave when it is cut short. That set is finite by choice:

* a torn **program** of a word: none, all, each half, each byte, the even and the odd of the bits to
  be cleared, each such bit alone, and all but each one (:func:`torn_words`);
* a torn **erase** of a sector: each half and each sixteenth of it erased alone or left alone, each
  bit of all bytes erased alone or left alone, the even and the odd bits, the even and the odd
  words, its header or all but its header erased, each header word erased alone, and the same
  parts at 0, where erasing begins on this kind of flash (:func:`torn_sectors`).

States with the same content are one state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from ctypes import CDLL
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boards.recordstore import SECTOR_HEADER, WORD, compose, record_bytes
from firmware.node import config, epoch
from firmware.node.commission import parse
from hil.flash.model import Flash, Operation, Program, RecordStore

if TYPE_CHECKING:
    from firmware.node.ports import Files

_PARTS = 16
_MASKS = (0x0000FFFF, 0xFFFF0000, 0xFF, 0xFF00, 0xFF0000, 0xFF000000, 0x55555555, 0xAAAAAAAA)


@dataclass(frozen=True, slots=True)
class State:
    """One content of the flash: ``base`` with ``changes`` (offset, bytes) put over it.

    ``cause`` names the cut that leaves it; ``torn`` is False between two operations.
    """

    base: bytes
    changes: tuple[tuple[int, bytes], ...]
    cause: str
    torn: bool

    def content(self) -> bytes:
        """Return both sectors."""
        image = bytearray(self.base)
        for offset, data in self.changes:
            image[offset : offset + len(data)] = data
        return bytes(image)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What was done to the flash that held ``before``.

    ``accepted`` are the contents, by record, that the store may have afterwards: as before, and
    after each write.
    """

    name: str
    before: bytes
    operations: tuple[Operation, ...]
    accepted: tuple[Mapping[str, bytes | None], ...]


def torn_words(old: int, word: int) -> tuple[int, ...]:
    """Return what a word that read ``old`` may read while ``word`` is programmed."""
    cleared = old & ~word
    bits = [1 << index for index in range(32) if cleared >> index & 1]
    values = {old, old & word}
    values.update(old & ~(cleared & mask) for mask in _MASKS)
    values.update(old & ~bit for bit in bits)
    values.update(old & word | bit for bit in bits)
    return tuple(sorted(values, reverse=True))


def torn_sectors(old: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what a sector that held ``old`` may hold while it is erased, each with its name."""
    size = len(old)
    ends = [(0, size // 2), (size // 2, size)]
    ends += [(size * part // _PARTS, size * (part + 1) // _PARTS) for part in range(_PARTS)]
    ends += [(0, SECTOR_HEADER)]
    ends += [(offset, offset + WORD) for offset in range(0, SECTOR_HEADER, WORD)]
    yield "all at ones", b"\xff" * size
    yield "all at 0", bytes(size)
    for byte, called in ((b"\xff", "erased"), (b"\0", "at 0")):
        for start, stop in ends:
            part = byte * (stop - start)
            yield f"{start:#x} to {stop:#x} {called}", old[:start] + part + old[stop:]
            yield (
                f"all but {start:#x} to {stop:#x} {called}",
                (byte * start + old[start:stop] + byte * (size - stop)),
            )
    masks = [1 << bit for bit in range(8)]
    for mask in [*masks, *(0xFF ^ mask for mask in masks), 0x55, 0xAA]:
        table = bytes(value | mask for value in range(256))
        yield f"bits {mask:#04x} of each byte erased", old.translate(table)
    for first in (0, WORD):
        image = bytearray(old)
        for offset in range(first, size, 2 * WORD):
            image[offset : offset + WORD] = b"\xff" * WORD
        yield f"every second word from {first} erased", bytes(image)


def states(scenario: Scenario) -> Iterator[State]:
    """Yield the distinct states of ``scenario``, in the order in which they can arise."""
    flash = Flash(scenario.before, len(scenario.before) // 2)
    base = scenario.before
    changes: dict[int, bytes] = {}
    seen: set[bytes] = set()
    content = bytearray(base)

    def state(cause: str, extra: Mapping[int, bytes], torn: bool = True) -> Iterator[State]:
        saved = {at: bytes(content[at : at + len(data)]) for at, data in extra.items()}
        for at, data in extra.items():
            content[at : at + len(data)] = data
        mark = hashlib.blake2b(content, digest_size=16).digest()
        for at, data in saved.items():
            content[at : at + len(data)] = data
        if mark not in seen:
            seen.add(mark)
            yield State(base, tuple({**changes, **extra}.items()), cause, torn)

    yield from state("before", {}, torn=False)
    for number, operation in enumerate(scenario.operations, 1):
        at = operation.sector * flash.sector_bytes
        name = f"{scenario.name}, operation {number} of {len(scenario.operations)}"
        if isinstance(operation, Program):
            old = flash.word(operation.sector, operation.offset)
            at += operation.offset
            for value in torn_words(old, operation.word):
                cause = f"{name}: {operation.word:#010x} to {at:#x}, reads {value:#010x}"
                done = value == old & operation.word
                yield from state(cause, {at: value.to_bytes(WORD, "little")}, torn=not done)
            flash.program(operation.sector, operation.offset, operation.word)
            changes[at] = flash.word(operation.sector, operation.offset).to_bytes(WORD, "little")
            content[at : at + WORD] = changes[at]
        else:
            whole = bytes(content[at : at + flash.sector_bytes])
            for how, torn in torn_sectors(whole):
                yield from state(f"{name}: erase of sector {operation.sector}, {how}", {at: torn})
            flash.erase(operation.sector)
            base, changes = flash.content, {}
            content[:] = base
            yield from state(f"{name}: sector {operation.sector} erased", {}, torn=False)


def record(
    name: str, library: CDLL, before: bytes, names: tuple[str, ...], act: Callable[[Files], None]
) -> Scenario:
    """Run ``act`` on a store opened on ``before``; return what that did to the flash.

    ``names`` are the records that ``accepted`` lists.
    """
    flash = Flash(before, len(before) // 2)
    store = _Watched(library, flash, names)
    act(store)
    return Scenario(name, before, tuple(flash.operations), tuple(store.snapshots))


class _Watched(RecordStore):
    def __init__(self, library: CDLL, flash: Flash, names: tuple[str, ...]) -> None:
        super().__init__(library, flash)
        self._names = names
        self.snapshots = [self.records(names)]

    def write(self, name: str, data: bytes | bytearray) -> bool:
        done = super().write(name, data)
        self.snapshots.append(self.records(self._names))
        return done


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a node that boots from a state reports: epoch, settings' fingerprint, setting."""

    boot_epoch: int
    config: str
    setting: int


class _Frozen:
    """A store with given records that takes nothing."""

    directory = "frozen"

    def __init__(self, records: Mapping[str, bytes | None]) -> None:
        self._records = records

    def read(self, name: str) -> bytes | None:
        return self._records[name]

    def write(self, name: str, data: bytes | bytearray) -> bool:
        return False


def _settings(board: bytes | None, store: Files) -> config.Config:
    return config.Config(store, parse(board or b"").settings)


def outcomes(scenario: Scenario, setting: int) -> frozenset[Outcome]:
    """Return what the node's own code makes of each of ``scenario.accepted``."""
    found = set()
    for records in scenario.accepted:
        store = _Frozen(records)
        settings = _settings(records["board"], store)
        assert not settings.defaulted
        taken = epoch.BootEpoch(store)
        found.add(Outcome(taken.value, settings.fingerprint(), settings.value(setting)))
    return frozenset(found)


# --- what a node does to its store ------------------------------------------------------------

#: Every record a node has.
NAMES = ("board", "node.key", config.FILE, *epoch.FILES)


def write_epoch(store: Files) -> None:
    """Take the next boot epoch, as a boot does."""
    assert epoch.BootEpoch(store).stored


def write_setting(address: int, value: int) -> Callable[[Files], None]:
    """Return the write of one setting, as a master causes it."""

    def act(store: Files) -> None:
        settings = _settings(store.read("board"), store)
        assert settings.set_many(address, [value]) == 0
        assert settings.stored

    return act


def commissioned(library: CDLL, records: Mapping[str, bytes], setting: tuple[int, int]) -> bytes:
    """Return the flash of a node provisioned with ``records``, booted twice and set once."""
    flash = Flash(compose(records))
    for act in (write_epoch, write_setting(*setting), write_epoch):
        act(RecordStore(library, flash))
    return flash.content


def filled(library: CDLL, before: bytes, room: int) -> bytes:
    """Return ``before`` after boots that leave fewer than ``room`` bytes in its sector."""
    flash = Flash(before, len(before) // 2)
    store = RecordStore(library, flash)
    sequence = store.sequence
    while flash.sector_bytes - store.end >= room:
        epoch.BootEpoch(store)
    assert store.sequence == sequence
    return flash.content


def node_scenarios(
    library: CDLL, records: Mapping[str, bytes], setting: int, old: int, new: int
) -> tuple[Scenario, Scenario, Scenario]:
    """Return a configuration write, a boot-epoch write and a compaction on such a node.

    The setting at holding register ``setting`` is ``old`` before and ``new`` after. The compaction
    is the second of its flash, so that the sector it erases holds a former life of the store.
    """
    before = commissioned(library, records, (setting, old))
    write = write_setting(setting, new)
    room = record_bytes(config.FILE, RecordStore(library, Flash(before)).read(config.FILE) or b"")
    flash = Flash(filled(library, before, room))
    write_setting(setting, old + 1 if old + 1 != new else old + 2)(RecordStore(library, flash))
    write_setting(setting, old)(RecordStore(library, flash))
    full = filled(library, flash.content, room)
    return (
        record("configuration write", library, before, NAMES, write),
        record("boot-epoch write", library, before, NAMES, write_epoch),
        record("compaction", library, full, NAMES, write),
    )
