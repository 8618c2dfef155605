"""Who may write: anybody until the node has a key, from then on who has the key. Both runtimes."""

import struct

from firmware.node.bank import Bank
from firmware.node.epoch import BootEpoch
from firmware.node.events import Events
from firmware.node.identity import NodeKey
from firmware.node.write_guard import WriteGuard
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import (
    COMMAND_ADDRESS,
    COMMAND_MEMORY,
    COMMAND_RESTART,
    COMMISSIONED_ADDRESS,
    EVENT_WRITE_REFUSED,
    IMAGE_PAGE_ADDRESS,
    SIGNED_ADDRESS,
    STATUS_WRITE_REFUSED,
    WRITES_REFUSED_ADDRESS,
)
from tests.unit.firmware.fakes import heap_locked
from tests.unit.firmware.node_fakes import KEY, KEY_BYTES, UID, MemoryStore, make_bank

MAC = HmacSha256(KEY_BYTES)
PERIOD = 2


def signed(
    register: int,
    *values: int,
    epoch: int = 1,
    number: int = 0,
    unit: int = 1,
    uid: bytes = UID,
    mac: HmacSha256 = MAC,
) -> bytearray:
    """A block as docs/registers.md describes it, made without the product's own writer."""
    block = struct.pack(">IIH", epoch, number, register)
    for value in values:
        block += struct.pack(">H", value)
    message = struct.pack(">HHH", 0x01FE, 1, unit) + block
    return bytearray(block + mac.digest(message, uid)[:16])


def send(bank: Bank, block: bytearray) -> int:
    return bank.write_holding(SIGNED_ADDRESS, len(block) // 2, bytearray(7) + block, 7)


def write(bank: Bank, address: int, *values: int) -> int:
    data = b"".join([struct.pack(">H", value) for value in values])
    return bank.write_holding(address, len(values), bytearray(data), 0)


def holding(bank: Bank, address: int, count: int = 1) -> "tuple[int, ...]":
    out = bytearray(260)
    assert bank.read_holding(address, count, out, 3) == 0
    return struct.unpack_from(">" + str(count) + "H", out, 3)


def test_a_node_without_a_key_takes_plain_writes_only() -> None:
    bank = make_bank()
    assert holding(bank, COMMISSIONED_ADDRESS) == (0,)
    assert write(bank, PERIOD, 33) == 0
    assert holding(bank, PERIOD) == (33,)
    assert send(bank, signed(PERIOD, 44)) == 1
    assert holding(bank, PERIOD) == (33,)


def test_a_node_with_a_key_refuses_every_plain_write_and_counts_it() -> None:
    bank = make_bank("camera", commissioned=True)
    assert holding(bank, COMMISSIONED_ADDRESS) == (1,)
    before = holding(bank, 0, 19)
    attacks = (
        (0, (9,)),
        (2, (36000,)),
        (5, (1,)),
        (7, (1, 1400, 65535, 1399)),
        (16, (0, 0)),
        (COMMAND_ADDRESS, (COMMAND_RESTART,)),
    )
    for index in range(len(attacks)):
        address, values = attacks[index]
        assert write(bank, address, *values) == 1, address
        assert holding(bank, WRITES_REFUSED_ADDRESS) == (index + 1,)
    assert write(bank, COMMISSIONED_ADDRESS, 0) == 2
    assert write(bank, WRITES_REFUSED_ADDRESS, 0) == 2
    assert write(bank, 0x5000, 1) == 2
    assert write(bank, PERIOD, 0) == 3
    assert holding(bank, 0, 19) == before
    assert bank.command == 0


def test_what_changes_nothing_needs_no_tag() -> None:
    bank = make_bank("camera", commissioned=True)
    assert write(bank, IMAGE_PAGE_ADDRESS, 2) == 0
    assert write(bank, COMMAND_ADDRESS, COMMAND_MEMORY) == 0
    assert bank.command == COMMAND_MEMORY
    assert holding(bank, WRITES_REFUSED_ADDRESS) == (0,)


def test_signed_writes_are_taken_once_in_their_order() -> None:
    bank = make_bank(commissioned=True)
    assert holding(bank, COMMISSIONED_ADDRESS, 6) == (1, 0, 1, 0, 0, 0)
    first = signed(PERIOD, 33)
    assert send(bank, first) == 0
    assert holding(bank, PERIOD) == (33,)
    assert holding(bank, COMMISSIONED_ADDRESS, 6) == (1, 0, 1, 0, 1, 0)
    assert send(bank, signed(7, 100, 200, 300, 400, number=1)) == 0
    assert holding(bank, 7, 4) == (100, 200, 300, 400)
    assert send(bank, signed(COMMAND_ADDRESS, COMMAND_RESTART, number=2)) == 0
    assert bank.command == COMMAND_RESTART
    assert send(bank, first) == 7, "a replay"
    assert send(bank, signed(PERIOD, 44, number=4)) == 7, "not its turn yet"
    assert send(bank, signed(PERIOD, 44, epoch=2, number=3)) == 7, "of another boot"
    assert holding(bank, PERIOD) == (33,)
    assert holding(bank, COMMISSIONED_ADDRESS, 6) == (1, 0, 1, 0, 3, 3)


def test_every_flipped_bit_of_a_signed_write_is_refused() -> None:
    bank = make_bank(commissioned=True)
    good = signed(PERIOD, 33)
    for bit in range(8 * len(good)):
        wrong = bytearray(good)
        wrong[bit // 8] ^= 1 << (bit % 8)
        assert send(bank, wrong) == 7, bit
    for wrong in (
        signed(PERIOD, 33, unit=2),
        signed(PERIOD, 33, uid=bytes(12)),
        signed(PERIOD, 33, mac=HmacSha256(bytes(32))),
    ):
        assert send(bank, wrong) == 7
    assert holding(bank, PERIOD) == (50,)
    assert holding(bank, WRITES_REFUSED_ADDRESS) == (8 * len(good) + 3,)
    assert send(bank, good) == 0, "refusals do not use the counter up"


def test_a_signed_write_obeys_the_rules_of_a_plain_one() -> None:
    bank = make_bank(commissioned=True)
    assert send(bank, signed(PERIOD, 0)) == 3
    assert send(bank, signed(PERIOD, 0)) == 7, "its counter is used up"
    assert send(bank, signed(0x5000, 1, number=1)) == 2
    assert send(bank, signed(19, 5, 5, number=2)) == 2
    assert send(bank, signed(COMMAND_ADDRESS, 1, number=3)) == 3
    assert send(bank, signed(SIGNED_ADDRESS, 1, number=4)) == 2
    assert write(bank, SIGNED_ADDRESS, 1) == 3, "shorter than any"
    assert send(bank, signed(7, 1, 2, 3, 4, 5, number=5)) == 3, "longer than any"
    assert holding(bank, PERIOD) == (50,)


def test_a_recorded_write_is_of_no_use_after_a_restart() -> None:
    store = MemoryStore()
    store.files["node.key"] = KEY
    key = NodeKey(store)
    recorded = signed(PERIOD, 33)
    assert WriteGuard(1, UID, key, BootEpoch(store)).accepts(recorded, 0, len(recorded))
    for _ in range(3):
        guard = WriteGuard(1, UID, key, BootEpoch(store))
        assert not guard.accepts(recorded, 0, len(recorded))
    assert store.writes == 8, "two for the boot epoch of each boot, none for the counter"


def test_without_a_medium_chance_keeps_the_boots_apart() -> None:
    store = MemoryStore()
    store.files["node.key"] = KEY
    key = NodeKey(store)
    store.broken = True
    numbers = {bytes(WriteGuard(1, UID, key, BootEpoch(store)).shown[6:10]) for _ in range(8)}
    assert len(numbers) > 1


def test_refusals_are_events_at_most_one_a_minute() -> None:
    store = MemoryStore()
    store.files["node.key"] = KEY
    guard = WriteGuard(1, UID, NodeKey(store), BootEpoch(store))
    events = Events()
    guard.report(events, 0)
    assert (events.count, guard.status()) == (0, 0)
    for now in range(0, 180_000, 100):
        guard.refuse()
        guard.report(events, now)
    assert guard.status() == STATUS_WRITE_REFUSED
    assert [slot[0] for slot in events.slots()] == [EVENT_WRITE_REFUSED] * 3
    assert [slot[1:] for slot in events.slots()] == [(1, 0), (601, 60_000), (1201, 120_000)]


def test_looking_at_the_counter_takes_no_heap() -> None:
    bank = make_bank(commissioned=True)
    out = bytearray(256)

    def reads() -> None:
        bank.read_holding(COMMAND_ADDRESS, 8, out, 3)
        bank.read_input(0x0300, 7, out, 3)

    bank.guard.refuse()
    reads()
    heap_locked(reads)
