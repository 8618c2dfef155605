"""Every state a power cut can leave: the store opens, old or new, for good, and goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from ctypes import CDLL
from typing import TYPE_CHECKING

import pytest

from boards.recordstore import SECTOR_BYTES, compose
from firmware.node import epoch
from hil.flash.model import Flash, Operation, Program, RecordStore
from hil.flash.states import NAMES, Scenario, node_scenarios, record, states, torn_words

if TYPE_CHECKING:
    from firmware.node.ports import Files

RECORDS = {
    "board": b'{"role": "water", "settings": {"unit_id": 7, "sample_period_ds": 50}}',
    "node.key": b'{"key_id": 7, "key": "' + b"5a" * 32 + b'"}',
}
PERIOD = 2  # holding register of sample_period_ds
OLD, NEW = 50, 20
SMALL = 1024

Count = Callable[[str, object], None]
Records = Mapping[str, bytes | None]

# Tens of thousands of openings: seconds on an idle machine, minutes on a busy one.
pytestmark = pytest.mark.timeout(600)


def check(library: CDLL, scenario: Scenario, content: bytes) -> None:
    """Open, read, open again, write, read: from exactly this content."""
    flash = Flash(content, len(content) // 2)
    names = tuple(scenario.accepted[0])
    store = RecordStore(library, flash)
    found = store.records(names)
    assert found in scenario.accepted
    store = RecordStore(library, flash)
    assert store.records(names) == found
    last = names[-1]
    assert store.write(last, b"after")
    assert RecordStore(library, flash).records(names) == {**found, last: b"after"}


@pytest.fixture(scope="module")
def scenarios(library: CDLL) -> tuple[Scenario, ...]:
    return node_scenarios(library, RECORDS, PERIOD, OLD, NEW)


def test_the_scenarios_are_what_they_are_called(scenarios: tuple[Scenario, ...]) -> None:
    setting, boot, compaction = scenarios
    assert [len(scenario.accepted) for scenario in scenarios] == [2, 3, 2]
    assert all(len(set(map(str, each.accepted))) == len(each.accepted) for each in scenarios)
    erases = [sum(not isinstance(op, Program) for op in each.operations) for each in scenarios]
    assert erases == [0, 0, 1]
    assert setting.accepted[0] == boot.accepted[0]
    assert compaction.before[:SECTOR_BYTES].strip(b"\xff")
    assert compaction.before[SECTOR_BYTES:].strip(b"\xff"), "the erase must have something to erase"


@pytest.mark.parametrize("index", range(3))
def test_every_state_of_a_node(
    library: CDLL, scenarios: tuple[Scenario, ...], index: int, record_property: Count
) -> None:
    """The states of the node's own writes, on flash of the real size."""
    scenario = scenarios[index]
    count = 0
    for state in states(scenario):
        count += 1
        try:
            check(library, scenario, state.content())
            if scenario.name.startswith("boot"):
                check_epoch(library, state.content())
        except AssertionError as error:
            raise AssertionError(f"{state.cause}: {error}") from error
    record_property("flash states: " + scenario.name, count)
    assert count > 900  # the enumeration is not empty by mistake


def check_epoch(library: CDLL, content: bytes) -> None:
    """The next boot's epoch is above every one that was shown."""
    before = epoch.decode(RecordStore(library, Flash(content)).read("epoch.0"))
    taken = epoch.BootEpoch(RecordStore(library, Flash(content)))
    assert taken.known
    assert taken.value in (3, 4)
    assert taken.value > before


# --- words that read differently at every boot -------------------------------------------------


def small_scenarios(library: CDLL) -> list[Scenario]:
    """The kinds of operation there are, on small sectors: a first format, appends, a compaction."""

    def first(store: Files) -> None:
        assert store.write("a", b"1")

    def second(store: Files) -> None:
        assert store.write("a", b"\xff\xff\xff\xff\xff\xff\xff\xff2")

    two = compose({"a": b"1", "b": bytes(range(7))}, SMALL)
    full = Flash(two, SMALL)
    store = RecordStore(library, full)
    while SMALL - store.end >= 88:
        assert store.write("b", store.end.to_bytes(7, "little"))
    # Room for the "b" that a later boot writes, and none for the "a" that compacts.
    assert store.write("c", bytes(SMALL - store.end - 28 - 20))
    return [
        record("first", library, b"\xff" * 2 * SMALL, ("a", "b"), first),
        record("append", library, two, ("a", "b"), second),
        record("compaction", library, full.content, ("a", "b"), second),
    ]


class Unstable:
    """A word in doubt after ``word`` was programmed where ``old`` stood, and the cut came."""

    def __init__(self, operation: Program, old: int) -> None:
        self.place = (operation.sector, operation.offset)
        self.few = [old & (operation.word | mask) for mask in (-1, 0, 0xFFFF, 0x5AA5C33C)]
        self.readings = [*torn_words(old, operation.word), *self.few]
        self.firm: int | None = -1  # bits that later programming left in doubt; None: erased

    def boot(self, library: CDLL, content: bytes, reading: int) -> tuple[Flash, RecordStore]:
        """Open the store while the word reads as ``reading``, but for what became firm."""
        flash = Flash(content, SMALL)
        if self.firm is not None:
            flash.set_word(*self.place, reading & self.firm)
        return flash, RecordStore(library, flash)

    def after(self, operations: list[Operation]) -> Unstable:
        """The word after these: programming makes the bits it clears firm, an erase all of them."""
        later = copy.copy(self)
        for operation in operations:
            if later.firm is None:
                break
            if isinstance(operation, Program):
                if (operation.sector, operation.offset) == self.place:
                    later.firm &= operation.word
            elif operation.sector == self.place[0]:
                later.firm = None
        return later


@pytest.mark.parametrize("index", range(3))
def test_a_word_that_reads_differently_at_every_boot(
    library: CDLL, index: int, record_property: Count
) -> None:
    """What one boot has read or written, the next ones read, whatever the torn word reads as."""
    scenario = small_scenarios(library)[index]
    flash = Flash(scenario.before, SMALL)
    names = tuple(scenario.accepted[0])
    count = 0

    def later(word: Unstable, content: bytes, found: Records, where: object) -> None:
        # Two more boots: one reads and writes, one reads.
        nonlocal count
        for second in word.few:
            count += 1
            flash, store = word.boot(library, content, second)
            assert store.records(names) == found, where
            assert store.write("b", b"again")
            then = word.after(flash.operations)
            for third in then.few:
                store = then.boot(library, flash.content, third)[1]
                assert store.records(names) == {**found, "b": b"again"}, (where, hex(second))

    for operation in scenario.operations:
        if isinstance(operation, Program):
            word = Unstable(operation, flash.word(operation.sector, operation.offset))
            for reading in word.readings:
                where = (operation, hex(reading))
                first, store = word.boot(library, flash.content, reading)
                found = store.records(names)
                assert found in scenario.accepted, where
                later(word.after(first.operations), first.content, found, where)
                assert store.write("b", b"after")
                found = {**found, "b": b"after"}
                later(word.after(first.operations), first.content, found, where)
            flash.program(operation.sector, operation.offset, operation.word)
        else:
            flash.erase(operation.sector)
    record_property("readings of unstable words: " + scenario.name, count)
    assert count > 900  # the enumeration is not empty by mistake


def test_states_of_cuts_in_a_row(library: CDLL, record_property: Count) -> None:
    """A cut, and while the next boot writes, another: still one of the values ever written."""
    first = small_scenarios(library)[1]
    count = 0
    for state in states(first):
        names = tuple(first.accepted[0])

        def act(store: Files) -> None:
            assert store.write("a", b"third")

        again = record("again", library, state.content(), names, act)
        for second in states(again):
            count += 1
            found = RecordStore(library, Flash(second.content(), SMALL)).records(names)
            assert found in again.accepted, (state.cause, second.cause)
    record_property("states of two cuts", count)
    assert count > 10_000


def test_torn_words() -> None:
    assert torn_words(0xFFFFFFFF, 0xFFFFFFFF) == (0xFFFFFFFF,)
    assert torn_words(0xFFFFFFFF, 0xFFFFFFFE) == (0xFFFFFFFF, 0xFFFFFFFE)
    assert len(torn_words(0xFFFFFFFF, 0)) == 2 + 8 + 64
    assert all(value & 0x1234 == 0x1234 for value in torn_words(0xFFFFFFFF, 0x1234))
    assert NAMES == ("board", "node.key", "config", "epoch.0", "epoch.1")
