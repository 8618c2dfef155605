"""A technician's visit as the node sees it: trial, light, hold, calibration, writes by id."""

import struct

from protocols.wire import registers, site
from protocols.wire.crc import crc16
from protocols.wire.hmac import HmacSha256
from protocols.wire.sample import decode
from tests.unit.firmware.node_fakes import KEY_BYTES, UID, framed
from tests.unit.firmware.test_node_app import Bench

MAC = HmacSha256(KEY_BYTES)


def block(unit: int, counter: bytes, register: int, values: "list[int]") -> bytes:
    """A signed block as docs/registers.md describes it."""
    signed = counter + struct.pack(">H", register)
    for value in values:
        signed += struct.pack(">H", value)
    return signed + MAC.digest(struct.pack(">HHH", 0x01FE, 1, unit) + signed, UID)[:16]


def fc16(address: int, content: bytes) -> bytes:
    return struct.pack(">BHHB", 0x10, address, len(content) // 2, len(content)) + content


class Visit:
    """A master that visits a node; ``unit`` is the address it asks."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.unit = 1

    async def ask(self, pdu: bytes, unit: int = -1) -> bytes:
        line = self.bench.board.rs485
        line.outbox.clear()
        line.inbox.append(framed(pdu, self.unit if unit < 0 else unit))
        await self.bench.board.run(12)
        return line.outbox[0][1:-2] if line.outbox else b""

    async def read(self, address: int, words: int) -> bytes:
        answer = await self.ask(struct.pack(">BHH", 3, address, words))
        assert answer[:1] == b"\x03", answer
        return answer[2:]

    async def write(self, register: int, *values: int) -> bytes:
        counter = await self.read(0x00F3, 4)
        return await self.ask(fc16(0x0100, block(self.unit, counter, register, list(values))))

    async def state(self) -> "tuple[int, ...]":
        return struct.unpack(">7H", await self.read(site.TRIAL, 7))


def visit() -> Visit:
    bench = Bench()
    bench.boot()
    return Visit(bench)


def finish(visit: Visit) -> None:
    visit.bench.directory.remove()


def test_the_bank_has_the_address_of_the_module_that_it_does_not_load() -> None:
    assert site.BY_UID == 0x0190
    assert registers.SITE_ADDRESS <= site.SELECT < site.RECORD + site.RECORD_POINTS
    assert site.RECORD + site.RECORD_POINTS <= registers.SITE_END


def test_a_node_that_nobody_visits_has_nothing_of_it() -> None:
    master = visit()

    async def scene() -> None:
        await master.read(0, 4)
        assert master.bench.node.bank.site is None

    master.bench.run(scene)
    finish(master)


def test_a_trial_that_is_kept_is_in_the_settings() -> None:
    master = visit()
    board = master.bench.board

    async def scene() -> None:
        assert (await master.write(site.TRIAL, 9, 192, 10))[0] == 0x10
        assert (await master.write(site.KEEP, 1)) == b"\x90\x03"  # not yet where the trial is
        await board.run(450)
        assert await master.ask(b"\x03\x00\x00\x00\x01") == b""
        master.unit = 9
        assert board.rs485.speeds == [19200]
        assert struct.unpack(">HH", await master.read(0, 2)) == (1, 96)
        assert (await master.write(site.KEEP, 1))[0] == 0x10
        assert struct.unpack(">HH", await master.read(0, 2)) == (9, 192)
        await board.run(12_000)
        assert (await master.state())[:3] == (9, 192, 0)

    master.bench.run(scene)
    assert board.rs485.speeds == [19200]
    master.bench.boot()
    assert master.bench.node.rtu.unit_id == 9
    assert master.bench.node.config.get("baud_div_100") == 192
    finish(master)


def test_a_trial_that_nobody_keeps_ends_where_the_node_was() -> None:
    master = visit()
    board = master.bench.board

    async def scene() -> None:
        await master.write(site.TRIAL, 9, 192, 2)
        assert await master.write(site.TRIAL, 8, 96, 2) == b"\x90\x06"
        await board.run(450)
        # A write that is not signed for the new address does not keep it.
        assert await master.ask(struct.pack(">BHH", 6, site.KEEP, 1), 9) == b"\x86\x01"
        await board.run(2100)
        assert struct.unpack(">HH", await master.read(0, 2)) == (1, 96)

    master.bench.run(scene)
    assert board.rs485.speeds == [19200, 9600]
    finish(master)


def test_a_power_cut_at_any_step_ends_in_one_of_the_two_states() -> None:
    for cut_ms in (0, 100, 310, 450, 1000, 1990, 2500):
        for keep in (False, True):
            master = visit()
            kept: list[bool] = []

            async def scene(
                master: Visit = master,
                keep: bool = keep,
                kept: "list[bool]" = kept,
                cut: int = cut_ms,
            ) -> None:
                await master.write(site.TRIAL, 9, 192, 2)
                await master.bench.board.run(cut)
                if keep:
                    master.unit = master.bench.node.rtu.unit_id
                    kept.append((await master.write(site.KEEP, 1))[0] == 0x10)

            master.bench.run(scene)
            master.bench.boot()  # the power is back
            node = master.bench.node
            new = kept == [True]
            assert node.rtu.unit_id == node.bank.guard.unit == (9 if new else 1), (cut_ms, keep)
            assert node.config.get("baud_div_100") == (192 if new else 96)
            finish(master)


def test_what_no_medium_takes_is_not_kept() -> None:
    master = visit()
    node = master.bench.node

    async def scene() -> None:
        await master.write(site.TRIAL, 9, 96, 2)
        await master.bench.board.run(450)
        master.unit = 9
        node.config.store = Broken()
        assert await master.write(site.KEEP, 1) == b"\x90\x04"
        await master.bench.board.run(2100)
        assert node.rtu.unit_id == node.config.get("unit_id") == 1

    master.bench.run(scene)
    finish(master)


class Broken:
    directory = "broken"

    def read(self, name: str) -> bytes | None:
        return None

    def write(self, name: str, data: bytes | bytearray) -> bool:
        return False


def test_out_of_range_and_unsigned_are_refused() -> None:
    master = visit()

    async def scene() -> None:
        for values in ((0, 96, 9), (248, 96, 9), (2, 11, 9), (2, 96, 1), (2, 96, 601)):
            assert await master.write(site.TRIAL, *values) == b"\x90\x03", values
        assert await master.write(site.TRIAL, 2, 96) == b"\x90\x03"
        assert await master.write(site.BLINK, 3601) == b"\x90\x03"
        assert await master.write(site.HOLD, 16, 5) == b"\x90\x03"
        assert await master.write(0x01F0, 1) == b"\x90\x02"
        assert await master.ask(struct.pack(">BHH", 3, 0x0181, 1)) == b"\x83\x02"
        refused = (await master.state(), await master.read(0x00F7, 1))[1]
        assert await master.ask(struct.pack(">BHH", 6, site.BLINK, 5)) == b"\x86\x01"
        assert await master.read(0x00F7, 1) == struct.pack(">H", refused[1] + 1)

    master.bench.run(scene)
    finish(master)


def test_a_light_blinks_and_ends_dark() -> None:
    master = visit()
    board = master.bench.board

    async def scene() -> None:
        assert (await master.write(site.BLINK, 2))[0] == 0x10
        await board.run(900)
        assert (await master.state())[3] in (1, 2)
        assert board.lights.count(True) >= 2
        await board.run(1500)
        assert (await master.state())[3] == 0

    master.bench.run(scene)
    assert board.lights[-1] is False
    finish(master)


def test_a_point_that_is_held_shows_no_sample_until_the_time_is_over() -> None:
    master = visit()
    board = master.bench.board

    async def sample() -> "tuple[int, ...]":
        answer = await master.ask(b"\x04\x00\x00\x00\x18")
        shown = decode(answer[2:])
        return (shown.header.status & registers.STATUS_CALIBRATION,) + tuple(shown.quality)

    async def scene() -> None:
        await board.run(1100)
        assert await sample() == (0, 0, 0, 0, 0)
        await master.write(site.HOLD, 0b0100, 3)
        await board.run(1100)
        assert await sample() == (registers.STATUS_CALIBRATION, 0, 0, registers.NO_SAMPLE, 0)
        await board.run(4000)
        assert await sample() == (0, 0, 0, 0, 0)

    master.bench.run(scene)
    events = master.bench.node.events.slots()
    assert [event[1] for event in events if event[0] == 18] == [0x0201, 0x0200]
    finish(master)


def test_a_calibration_is_stored_with_its_coefficients() -> None:
    master = visit()
    words = [7, 20_000, 30_000, 701, 40_000, 402, 987] + [0x4142] * 24
    content = struct.pack(">31H", *words)

    async def scene() -> None:
        assert await master.read(site.RECORD + 2, 31) == bytes(62)
        assert (await master.write(site.RECORD + 2, *words))[0] == 0x10
        assert await master.read(site.RECORD + 2, 31) == content
        assert (18, 0x0202) in [event[:2] for event in master.bench.node.events.slots()]
        assert struct.unpack(">4H", await master.read(7, 4)) == (30_000, 701, 40_000, 402)
        bad = words[:]
        bad[3] = 1401  # over pH 14
        assert await master.write(site.RECORD + 2, *bad) == b"\x90\x03"
        assert await master.write(site.RECORD + 4, *words) == b"\x90\x02"  # water has 4 points
        assert await master.read(site.RECORD + 2, 31) == content

    master.bench.run(scene)
    master.bench.boot()
    assert master.bench.directory.get("cal2") == content
    assert master.bench.node.config.get("ph_value_2") == 402
    finish(master)


def test_only_who_stands_in_the_window_answers() -> None:
    master = visit()
    salt = 0x1234
    here = crc16(b"\x12\x34" + UID)

    async def select(low: int, high: int) -> bytes:
        return await master.ask(
            struct.pack(">BHHHHBHHH", 0x17, site.SELECT, 13, site.SELECT, 3, 6, salt, low, high)
        )

    async def scene() -> None:
        answer = await select(here, here)
        assert answer[:2] == b"\x17\x1a"
        assert answer[2:14] == UID
        assert answer[14:16] == b"\x00\x01"
        assert answer[16:] == await master.read(0x00F2, 6)
        assert (await select(0, 65535))[2:14] == UID
        assert await select(0, here - 1) == await select(here + 1, 65535) == b""

    master.bench.run(scene)
    finish(master)


def test_a_write_by_unique_id_is_for_one_node_only() -> None:
    master = visit()

    async def scene() -> None:
        counter = await master.read(0x00F3, 4)
        signed = block(1, counter, site.BLINK, [5])
        other = bytes([UID[0] ^ 1]) + UID[1:]
        assert await master.ask(fc16(site.BY_UID, other + signed)) == b""
        assert await master.read(0x00F3, 5) == counter + b"\x00\x00"  # nothing was counted
        assert (await master.ask(fc16(site.BY_UID, UID + signed)))[0] == 0x10
        assert (await master.state())[3] == 5
        assert await master.ask(fc16(site.BY_UID, UID + signed)) == b"\x90\x07"  # used up
        # As a broadcast it has no answer; the tag is still that of the node's own address.
        counter = await master.read(0x00F3, 4)
        await master.ask(fc16(site.BY_UID, UID + block(1, counter, site.BLINK, [0])), 0)
        assert (await master.state())[3] == 0

    master.bench.run(scene)
    finish(master)


def test_a_node_without_a_key_takes_it_plain() -> None:
    bench = Bench(key=None)
    bench.boot()
    master = Visit(bench)

    async def scene() -> None:
        assert (await master.ask(struct.pack(">BHH", 6, site.BLINK, 5)))[0] == 6
        assert (await master.state())[3] == 5
        no_tag = bytes(8) + struct.pack(">HHHH", site.TRIAL, 7, 96, 5) + bytes(16)
        assert (await master.ask(fc16(site.BY_UID, UID + no_tag)))[0] == 0x10
        await bench.board.run(450)
        master.unit = 7
        assert (await master.ask(struct.pack(">BHH", 6, site.KEEP, 1)))[0] == 6
        assert bench.node.config.get("unit_id") == 7

    bench.run(scene)
    finish(master)
