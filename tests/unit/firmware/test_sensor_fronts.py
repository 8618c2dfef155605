"""What the serial drivers make of a part over time: silence, damage, age, modes, warm-up."""

import asyncio

from firmware.sensors.a02yyuw import A02yyuw
from firmware.sensors.mhz19b import Mhz19b
from firmware.sensors.part import Warmup
from firmware.sensors.pms5003 import Pms5003
from protocols.wire.registers import CHECKSUM, FAULT, NO_SAMPLE, OK, TIMEOUT, WARMUP
from tests.dual import vectors
from tests.unit.firmware.fakes import Clock, Uart, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PMS = bytes.fromhex(vectors("sensors")["pms5003"]["frames"][0]["hex"])
MHZ = bytes.fromhex(vectors("sensors")["mhz19b"]["frames"][0]["hex"])
A02 = bytes.fromhex(vectors("sensors")["a02yyuw"]["frames"][0]["hex"])


def flipped(frame: bytes) -> bytes:
    return frame[:-1] + bytes((frame[-1] ^ 0x55,))


def test_mhz19b_asks_and_answers() -> None:
    uart = Uart(lambda command: MHZ, piece=1)
    part = Mhz19b(Clock(1), uart)
    assert part.codes[0] == NO_SAMPLE
    asyncio.run(part.read(0))
    assert (part.codes[0], part.values[0]) == (OK, 608)
    assert uart.tx == [bytes.fromhex("FF0186000000000079")]


def always(answer: bytes) -> "Callable[[bytes], bytes]":
    return lambda command: answer


def test_mhz19b_tells_silence_damage_and_a_cut_answer_apart() -> None:
    for answer, code in ((b"", TIMEOUT), (flipped(MHZ), CHECKSUM), (MHZ[:8], TIMEOUT)):
        part = Mhz19b(Clock(20), Uart(always(answer)))
        asyncio.run(part.read(0))
        assert part.codes[0] == code, answer


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    uart = Uart()
    part = Mhz19b(Clock(20), uart)
    asyncio.run(part.read(0))
    assert part.codes[0] == TIMEOUT
    uart.rx = MHZ  # arrives after its deadline
    asyncio.run(part.read(0))
    assert part.codes[0] == TIMEOUT
    uart.answer = lambda command: MHZ[:5]  # and one cut short is not the beginning of the next
    asyncio.run(part.read(0))
    assert part.codes[0] == TIMEOUT
    uart.answer = lambda command: MHZ
    asyncio.run(part.read(0))
    assert part.codes[0] == OK
    assert part._link.parser.damaged == 0


def test_a_babbling_line_ends_in_a_timeout() -> None:
    class Babbler(Uart):
        def readinto(self, buf: bytearray, nbytes: int) -> int:
            for index in range(nbytes):
                buf[index] = 0x55
            return nbytes

    for part in (Mhz19b(Clock(20), Babbler()), A02yyuw(Clock(20), Babbler())):
        asyncio.run(part.read(0))
        assert part.codes[0] in (TIMEOUT, NO_SAMPLE)


def test_warm_up_is_bounded_by_configuration_and_by_the_part() -> None:
    clock = Clock()
    part = Mhz19b(clock, Uart(lambda command: MHZ))
    asyncio.run(part.read(3600))
    assert part.codes[0] == WARMUP
    clock.at += 179_000
    asyncio.run(part.read(3600))
    assert part.codes[0] == WARMUP
    clock.at += 1_001
    asyncio.run(part.read(3600))
    assert part.codes[0] == OK
    clock = Clock()
    part = Mhz19b(clock, Uart(lambda command: MHZ))
    clock.at += 2_000
    asyncio.run(part.read(3))
    assert part.codes[0] == WARMUP
    asyncio.run(part.read(2))
    assert part.codes[0] == OK


def test_warm_up_does_not_come_back_when_the_clock_wraps() -> None:
    clock = Clock()
    warmup = Warmup(clock, 30_000)
    clock.at += 30_000
    assert not warmup.pending(3600)
    for _ in range(8):
        clock.at += 1 << 27
        warmup.heard()
        assert not warmup.pending(3600)


def test_a_part_that_was_away_warms_up_again() -> None:
    clock = Clock()
    uart = Uart(lambda command: MHZ)
    part = Mhz19b(clock, uart)
    clock.at += 180_000
    asyncio.run(part.read(3600))
    assert part.codes[0] == OK
    uart.answer = None
    clock.step = 20
    asyncio.run(part.read(3600))  # one lost answer is no loss of supply
    uart.answer = lambda command: MHZ
    asyncio.run(part.read(3600))
    assert part.codes[0] == OK
    uart.answer = None
    asyncio.run(part.read(3600))
    clock.at += 10_000
    asyncio.run(part.read(3600))
    assert part.codes[0] == TIMEOUT
    uart.answer = lambda command: MHZ
    asyncio.run(part.read(3600))
    assert part.codes[0] == WARMUP


def test_pms5003_active_frame_and_its_age() -> None:
    clock = Clock(5)
    uart = Uart()
    part = Pms5003(clock, uart)
    uart.rx = PMS
    asyncio.run(part.read(0))
    assert list(part.codes) == [OK] * 4
    assert part.values == [12, 18, 20, 2100]
    assert uart.tx == [bytes.fromhex("424DE100010171")]
    asyncio.run(part.read(0))  # still young: the same frame
    assert part.codes[0] == OK
    assert len(uart.tx) == 1
    clock.at += 3_001
    asyncio.run(part.read(0))  # too old, and nothing comes for a whole interval
    assert part.codes[0] == TIMEOUT
    # A clock that has wrapped all the way round does not make the old frame young.
    clock.at = part._link.frame_ms + (1 << 30) + 10
    asyncio.run(part.read(0))
    assert part.codes[0] == TIMEOUT


def test_pms5003_before_its_first_frame_has_no_sample_yet() -> None:
    clock = Clock(10)
    part = Pms5003(clock, Uart())
    part._served = True  # as while run() serves the line
    asyncio.run(part.read(0))
    assert list(part.codes) == [NO_SAMPLE] * 4
    clock.at += 3_000
    asyncio.run(part.read(0))
    assert list(part.codes) == [TIMEOUT] * 4


def test_pms5003_damaged_frames_are_a_checksum_error() -> None:
    uart = Uart()
    part = Pms5003(Clock(20), uart)
    uart.rx = flipped(PMS)
    asyncio.run(part.read(0))
    assert part.codes[0] == CHECKSUM


def test_pms5003_reports_its_own_error_code() -> None:
    body = PMS[:29] + b"\x01"
    uart = Uart()
    part = Pms5003(Clock(5), uart)
    uart.rx = body + sum(body).to_bytes(2, "big")
    asyncio.run(part.read(0))
    assert list(part.codes) == [FAULT] * 4


def test_pms5003_warm_up_is_30_seconds() -> None:
    clock = Clock(1)
    uart = Uart()
    part = Pms5003(clock, uart)
    uart.rx = PMS
    asyncio.run(part.read(3600))
    assert list(part.codes) == [WARMUP] * 4
    clock.at += 30_000
    uart.rx = PMS
    asyncio.run(part.read(3600))
    assert list(part.codes) == [OK] * 4


def test_pms5003_passive_mode_asks_and_falls_back_after_a_restart() -> None:
    commands = vectors("sensors")["pms5003"]["commands"]
    passive = bytes.fromhex(commands["passive"])
    question = bytes.fromhex(commands["read"])

    def answer(command: bytes) -> bytes:
        return PMS if command == question else b""

    uart = Uart(answer, piece=7)
    part = Pms5003(Clock(5), uart)
    part.passive = True
    asyncio.run(part.read(0))
    assert (part.codes[0], part.values[1]) == (OK, 18)
    assert uart.tx == [passive, question]
    uart.answer = None
    asyncio.run(part.read(0))
    assert part.codes[0] == TIMEOUT
    uart.answer = answer
    uart.tx = []
    asyncio.run(part.read(0))
    assert part.codes[0] == OK
    assert uart.tx == [passive, question]
    part.passive = False
    uart.rx = PMS
    asyncio.run(part.read(0))
    assert uart.tx[-1] == bytes.fromhex(commands["active"])


def test_pms5003_passive_answer_survives_a_service_on_the_same_line() -> None:
    question = bytes.fromhex(vectors("sensors")["pms5003"]["commands"]["read"])

    async def both() -> Pms5003:
        uart = Uart(lambda command: PMS if command == question else b"", piece=3)
        part = Pms5003(Clock(1), uart)
        part.passive = True
        service = asyncio.create_task(part.run())
        for _ in range(20):
            await part.read(0)
            assert part.codes[0] == OK
        service.cancel()
        return part

    asyncio.run(both())


def test_a02yyuw_service_keeps_the_newest_frame_and_costs_no_time() -> None:
    async def scenario() -> None:
        clock = Clock(1)
        uart = Uart()
        part = A02yyuw(clock, uart)
        service = asyncio.create_task(part.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        uart.rx = bytes.fromhex("FF001E1D") + A02
        await part.read(0)
        assert (part.codes[0], part.values[0]) == (OK, 1953)
        clock.at += 4_000
        before = clock.at
        await part.read(0)
        assert part.codes[0] == TIMEOUT
        assert clock.at - before < 20, "a silent part is not waited for"
        service.cancel()

    asyncio.run(scenario())


def test_a_uart_that_fails_does_not_end_the_service() -> None:
    async def scenario() -> None:
        uart = Uart()
        part = A02yyuw(Clock(1), uart)
        uart.broken = True
        service = asyncio.create_task(part.run())
        await until(lambda: uart.refused > 0)
        uart.broken = False
        uart.rx = A02
        await until(lambda: uart.rx == b"")
        await part.read(0)
        assert part.codes[0] == OK
        service.cancel()

    asyncio.run(scenario())
