"""Updates at the node: nothing is erased for what it must refuse, and nothing runs by half."""

import hashlib
import struct
from binascii import crc32, unhexlify

from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import EVENT_UPDATE
from tests.unit.firmware.update_bench import (
    BLOCK_AT,
    IMAGE,
    MANIFEST,
    MANIFEST_AT,
    ORDER_AT,
    SESSION,
    VECTORS,
    UpdateBench,
    pack,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS = [unhexlify(block) for block in VECTORS["blocks"]]
BUSY = 6


def steps(bench: UpdateBench) -> "list[int]":
    """The steps in the node's events of this boot."""
    taken = bench.node.events.slots()
    return [argument >> 8 for code, argument, _ in taken if code == EVENT_UPDATE]


def with_bench(check: "Callable[[UpdateBench], None]") -> None:
    bench = UpdateBench()
    try:
        check(bench)
    finally:
        bench.close()


def test_an_update_goes_from_its_manifest_to_a_confirmed_image() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.status().version == 0
        assert bench.begin() == 0
        status = bench.status()
        assert (status.state, status.session, status.target) == (2, SESSION, 5)
        assert (status.blocks, status.missing) == (5, 5)
        assert bench.missing() == [0, 1, 2, 3, 4]
        for number in (4, 0, 2, 2, 1):
            assert bench.write(BLOCK_AT, BLOCKS[number]) == 0
        assert bench.missing() == [3]
        assert bench.order(2, SESSION) == 1, "a block is missing"
        assert steps(bench) == [2, 1]
        assert bench.write(BLOCK_AT, BLOCKS[3]) == 0
        assert bench.status().state == 3
        assert bench.node.outcome == 0
        assert bench.order(2, SESSION) == 0
        assert bench.node.outcome == 1, "the node restarts behind its answer"
        assert steps(bench) == [2, 1, 3, 5]
        bench.boot()
        status = bench.status()
        assert (status.state, status.version, status.trial, status.floor) == (4, 5, 1, 0)
        assert bench.order(3, 0, 5) == BUSY, "nobody has polled yet"
        bench.poll_and_sample(2)
        assert bench.order(3, 0, 5) == BUSY, "two polls are too few"
        bench.poll_and_sample(3)
        assert bench.order(3, 0, 4) == 1, "another version runs"
        assert bench.order(3, 0, 5) == 0
        assert bench.order(3, 0, 5) == 0, "its answer may have been lost"
        status = bench.status()
        assert (status.state, status.trial, status.floor, status.outcome) == (0, 0, 4, 3)
        assert steps(bench) == [6, 1, 1, 1, 7]

    with_bench(check)


def test_whatever_must_be_refused_is_refused_before_anything_is_erased() -> None:
    def check(bench: UpdateBench) -> None:
        bench.install("older", 4)
        before = bench.directory.get("slot1")
        for vector in VECTORS["refused"]:
            assert bench.begin(unhexlify(vector["manifest"])) == 3, vector["name"]
            status = bench.status()
            assert status.reason == vector["reason"], vector["name"]
            assert status.state == 0
        assert bench.directory.get("slot1") == before
        assert "slot2" not in bench.directory.names()

    with_bench(check)


def test_a_block_may_come_in_pieces_whose_first_comes_last() -> None:
    def piece(number: int, first: int, data: bytes) -> bytes:
        head = struct.pack(">HH", SESSION, first << 14 | number)
        return head + struct.pack(">I", crc32(head + data) & 0xFFFFFFFF) + data

    def check(bench: UpdateBench) -> None:
        assert bench.begin() == 0
        block = IMAGE[236:472]
        quarters = [piece(1, at, block[60 * at : 60 * at + 60]) for at in range(4)]
        for number in (0, 2, 3, 4):
            assert bench.write(BLOCK_AT, BLOCKS[number]) == 0
        assert bench.write(BLOCK_AT, quarters[0]) == 7, "the rest is not there"
        assert bench.write(BLOCK_AT, quarters[3]) == 0
        assert bench.write(BLOCK_AT, quarters[1]) == 0
        assert bench.write(BLOCK_AT, quarters[0]) == 7
        assert bench.missing() == [1]
        assert bench.write(BLOCK_AT, piece(1, 2, block[120:179])) == 3, "ends within a quarter"
        assert bench.write(BLOCK_AT, piece(1, 2, block[120:] + bytes(4))) == 3, "ends behind it"
        assert bench.write(BLOCK_AT, quarters[2][:-1] + b"\xff") == 3, "is damaged"
        assert bench.write(BLOCK_AT, piece(1, 1, block[60:180])) == 0, "some of it is there"
        assert bench.status().state == 2
        assert bench.write(BLOCK_AT, quarters[0]) == 0
        assert bench.status().state == 3, "the image has its digest"

    with_bench(check)


def test_pieces_of_a_block_that_an_erase_or_a_restart_met_do_not_count() -> None:
    def piece(first: int, data: bytes) -> bytes:
        head = struct.pack(">HH", SESSION, first << 14 | 1)
        return head + struct.pack(">I", crc32(head + data) & 0xFFFFFFFF) + data

    def check(bench: UpdateBench) -> None:
        assert bench.begin() == 0
        assert bench.write(BLOCK_AT, piece(1, IMAGE[296:472])) == 0
        bench.boot()
        assert bench.begin() == 0
        assert bench.write(BLOCK_AT, piece(0, IMAGE[236:296])) == 7
        assert bench.write(BLOCK_AT, piece(1, IMAGE[296:472])) == 0
        newer = unhexlify(VECTORS["newer"])
        assert bench.order(4, SESSION) == 0
        assert bench.begin(newer) == 0
        image = unhexlify(VECTORS["newer_image"])
        assert bench.write(BLOCK_AT, piece(0, image[236:296])) == 7

    with_bench(check)


def test_a_manifest_may_come_in_pieces() -> None:
    def check(bench: UpdateBench) -> None:
        for at in (120, 0, 60):
            assert bench.write(MANIFEST_AT + at // 2, MANIFEST[at : at + 60]) == 0
        digest = hashlib.sha256(MANIFEST).digest()
        assert bench.order(1, SESSION, *struct.unpack(">HH", digest[:4])) == 0
        assert bench.write(MANIFEST_AT + 79, bytes(4)) == 2
        assert bench.write(MANIFEST_AT - 1, bytes(4)) == 2
        assert bench.write(MANIFEST_AT + 60, bytes(60)) == 3
        assert bench.write(MANIFEST_AT + 30, bytes(62)) == 3

    with_bench(check)


def test_an_older_release_comes_back_only_by_a_signed_order_and_not_below_the_floor() -> None:
    def check(bench: UpdateBench) -> None:
        bench.install("older", 4)
        assert bench.begin() == 0
        for block in BLOCKS:
            assert bench.write(BLOCK_AT, block) == 0
        assert bench.order(2, SESSION) == 0
        bench.boot()
        bench.poll_and_sample()
        assert bench.begin(unhexlify(VECTORS["newer"])) == 3
        assert bench.status().reason == 10, "what runs is on trial"
        assert bench.order(3, 0, 5) == 0
        assert bench.begin(unhexlify(VECTORS["older"])) == 3
        assert bench.status().reason == 6
        assert bench.begin(unhexlify(VECTORS["below_floor"])) == 3
        assert bench.status().reason == 7
        assert bench.begin(unhexlify(VECTORS["rollback"])) == 0
        assert bench.status().state == 3, "its image is still in the other slot"
        assert bench.order(2, SESSION) == 0
        bench.boot()
        assert bench.status().version == 4

    with_bench(check)


def test_orders_need_the_key_of_the_node() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.write(MANIFEST_AT, MANIFEST) == 0
        assert bench.write(ORDER_AT, bytes(8)) == 2, "not a plain write"
        mark = unhexlify(VECTORS["mark"])
        values = (1, SESSION, mark[0] << 8 | mark[1], mark[2] << 8 | mark[3])
        assert bench.order(*values, mac=HmacSha256(bytes(32))) == 7
        assert bench.status().state == 0
        assert bench.node.bank.guard.refused == 1

    with_bench(check)


def test_a_manifest_that_came_between_is_not_the_one_that_was_ordered() -> None:
    def check(bench: UpdateBench) -> None:
        mark = unhexlify(VECTORS["mark"])
        assert bench.write(MANIFEST_AT, unhexlify(VECTORS["newer"])) == 0
        assert bench.order(1, SESSION, mark[0] << 8 | mark[1], mark[2] << 8 | mark[3]) == 3
        assert bench.status().reason == 1

    with_bench(check)


def test_damaged_and_foreign_blocks_change_nothing() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.write(BLOCK_AT, BLOCKS[0]) == 1, "nothing was begun"
        assert bench.begin() == 0
        wrong = (
            (3, BLOCKS[1][:20] + bytes((BLOCKS[1][20] ^ 4,)) + BLOCKS[1][21:]),
            (3, BLOCKS[1][:-4]),
            (3, BLOCKS[4] + bytes(4)),
            (3, BLOCKS[0][:8]),
            (3, pack(SESSION, 5, IMAGE + bytes(236))),
            (1, pack(SESSION + 1, 1, IMAGE)),
        )
        for code, block in wrong:
            assert bench.write(BLOCK_AT, block) == code
        assert bench.missing() == [0, 1, 2, 3, 4]
        assert bench.write(MANIFEST_AT, MANIFEST[:-2]) == 3

    with_bench(check)


def test_an_image_whose_blocks_are_right_and_whose_digest_is_not_never_runs() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.begin() == 0
        for number in (0, 1, 3, 4):
            assert bench.write(BLOCK_AT, BLOCKS[number]) == 0
        assert bench.write(BLOCK_AT, unhexlify(VECTORS["changed_block"])) == 0
        status = bench.status()
        assert (status.state, status.reason) == (5, 11)
        assert bench.order(2, SESSION) == 1
        assert bench.begin() == 0
        assert bench.missing() == [0, 1, 2, 3, 4], "it was erased again"

    with_bench(check)


def test_after_a_reset_the_same_manifest_goes_on_where_it_was() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.begin() == 0
        for number in (0, 3):
            assert bench.write(BLOCK_AT, BLOCKS[number]) == 0
        bench.boot()
        assert bench.status().state == 0
        assert bench.begin(session=7) == 0
        assert bench.missing() == [1, 2, 4]
        for number in (1, 2, 4):
            assert bench.write(BLOCK_AT, pack(7, number, IMAGE)) == 0
        assert bench.status().state == 3

    with_bench(check)


def test_a_block_that_a_reset_tore_is_sent_again_and_another_manifest_erases() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.begin() == 0
        assert bench.write(BLOCK_AT, BLOCKS[0]) == 0
        assert bench.slots is not None
        assert bench.slots.write(236 + 4, IMAGE[240:472]), "all of block 1 but its first word"
        bench.boot()
        assert bench.begin() == 0
        assert bench.missing() == [1, 2, 3, 4]
        bench.boot()
        assert bench.begin(unhexlify(VECTORS["newer"])) == 0
        assert bench.missing() == [0, 1, 2]

    with_bench(check)


def test_a_second_gateway_does_not_take_over_while_blocks_come() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.begin() == 0
        assert bench.begin(unhexlify(VECTORS["newer"]), 3) == BUSY
        assert bench.begin(session=3) == BUSY
        assert bench.status().session == SESSION
        bench.board.jump(60000)
        assert bench.begin(session=3) == 0
        assert bench.write(BLOCK_AT, BLOCKS[0]) == 1, "of the session before"
        assert bench.order(4, SESSION) == 1
        assert bench.order(4, 3) == 0
        assert bench.status().state == 0

    with_bench(check)


def test_a_trial_that_nobody_confirms_ends_and_the_release_before_runs_again() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.begin() == 0
        for block in BLOCKS:
            assert bench.write(BLOCK_AT, block) == 0
        assert bench.order(2, SESSION) == 0
        for _ in range(3):
            bench.boot(after_failure=bench.status().trial == 1)
            assert bench.status().version == 5
            update = bench.node.update
            assert update is not None
            assert not update.expired(599999)
            assert update.expired(600000)
        bench.boot()
        assert bench.status().version == 5, "the power may fail as often as it likes"
        bench.boot(after_failure=True)
        status = bench.status()
        assert (status.version, status.trial, status.outcome) == (0, 0, 5)

    with_bench(check)


def test_an_image_whose_selftest_fails_is_not_confirmed() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.begin() == 0
        for block in BLOCKS:
            assert bench.write(BLOCK_AT, block) == 0
        bench.node.failed_checks = 0x0100
        assert bench.order(2, SESSION) == 0
        bench.boot()
        bench.poll_and_sample()
        bench.node.failed_checks = 0x0101
        assert bench.order(3, 0, 5) == 4
        assert bench.status().reason == 15
        assert bench.status().trial == 1
        bench.node.failed_checks = 0x0100
        assert bench.order(3, 0, 5) == 0, "this part was broken before the update, too"

    with_bench(check)


class Unhurried(UpdateBench):
    """A node that does what follows an answer when the test wants it."""

    def write(self, address: int, data: bytes) -> int:
        return self.bank.write_holding(address, len(data) // 2, bytearray(7) + data, 7)


def test_the_erase_is_announced_before_it_begins_and_every_write_gets_busy() -> None:
    bench = Unhurried()
    try:
        assert bench.begin() == 0
        status = bench.status()
        assert (status.state, status.missing) == (1, 5)
        assert status.erase_ms >= 4000, "the datasheet has 4 s at most"
        assert "slot1" not in bench.directory.names(), "the answer goes first"
        assert bench.write(BLOCK_AT, BLOCKS[0]) == BUSY
        assert bench.write(MANIFEST_AT, MANIFEST) == BUSY
        assert bench.order(4, SESSION) == BUSY
        bench.node.after_request()
        assert bench.status().state == 2
        assert bench.write(BLOCK_AT, BLOCKS[0]) == 0
    finally:
        bench.close()


def test_a_medium_that_takes_nothing_ends_the_update_not_the_node() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.begin() == 0
        bench.directory.delete("slot1")
        assert bench.write(BLOCK_AT, BLOCKS[0]) == 4
        status = bench.status()
        assert (status.state, status.reason) == (5, 12)
        assert bench.order(99, 1) == 3
        assert bench.order(2) == 3

    with_bench(check)


def test_a_board_without_slots_has_no_such_registers() -> None:
    def check(bench: UpdateBench) -> None:
        bench.board.app_slots = None
        out = bytearray(64)
        assert bench.bank.read_input(ORDER_AT, 4, out, 0) == 2
        assert bench.write(MANIFEST_AT, MANIFEST) == 2
        assert bench.order(1, 2) == 2

    with_bench(check)


def test_nothing_is_imported_and_no_register_is_there_beyond_the_last() -> None:
    def check(bench: UpdateBench) -> None:
        assert bench.node.update is None
        out = bytearray(128)
        assert bench.bank.read_input(0x0400, 54, out, 0) == 0
        assert bench.bank.read_input(0x0400, 55, out, 0) == 2
        assert bench.bank.read_input(0x0500, 1, out, 0) == 2
        assert bench.write(0x0411, bytes(2)) == 2

    with_bench(check)
