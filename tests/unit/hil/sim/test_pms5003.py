"""PMS5003 against the frames and commands of its manual."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hil.sim.part import PartFault, Steady
from hil.sim.pms5003 import Pms5003

from .wired import handled, wired

PASSIVE = bytes.fromhex("424de100000170")
READ = bytes.fromhex("424de200000171")
SLEEP = bytes.fromhex("424de400000173")
WAKE = bytes.fromhex("424de400010174")


def words(frame: bytes) -> list[int]:
    return [int.from_bytes(frame[i : i + 2], "big") for i in range(0, 32, 2)]


async def test_pms5003_passive_read_is_a_frame_as_the_manual_has_it() -> None:
    part = Pms5003(Steady(), period_s=60)
    with wired(part) as node:
        await node.take(32)  # the first frame of active mode
        assert await node.ask(PASSIVE, 8) == bytes.fromhex("424d0004e1000174")
        frame = await node.ask(READ, 32)
        values = words(frame)
        assert values[:2] == [0x424D, 28]
        assert values[15] == sum(frame[:30])
        assert values[5:8] == [11, 18, 25]  # atmospheric PM1.0, PM2.5, PM10
        assert frame[29] == 0


async def test_pms5003_active_sends_by_itself_sleeps_and_wakes() -> None:
    part = Pms5003(Steady(), period_s=0.01)
    with wired(part) as node:
        await node.take(96)
        node.send(SLEEP)
        await handled(part, 1)
        answers = part.answers
        part.tick()
        assert part.answers == answers
        node.poll()
        node.data = b""
        assert (await node.ask(WAKE, 32))[:4] == bytes.fromhex("424d001c")


async def test_pms5003_ignores_noise_and_bad_checksums_around_a_command() -> None:
    part = Pms5003(Steady(), period_s=60)
    with wired(part) as node:
        await node.take(32)
        node.send(b"\x00\x42" + READ[:-1] + b"\x00" + PASSIVE[:3])
        assert await node.ask(PASSIVE, 8) == bytes.fromhex("424d0004e1000174")
        assert part.requests == 1


async def test_pms5003_is_silent_in_an_hour_without_a_measurement() -> None:
    source = Steady()
    source.air_now = replace(source.air_now, pm2_5=None)
    part = Pms5003(source, period_s=0.01)
    with wired(part) as node:
        node.send(PASSIVE)
        await node.take(8)
        assert part.answers == 1


@pytest.mark.parametrize(
    ("fault", "valid", "value"),
    [
        (PartFault.NONE, True, 18),
        (PartFault.CHECKSUM, False, 18),
        (PartFault.SATURATED, True, 0xFFFF),
        (PartFault.WARM_UP, True, 0),
    ],
)
async def test_pms5003_faults(fault: PartFault, valid: bool, value: int) -> None:
    part = Pms5003(Steady(), period_s=60)
    part.fault = fault
    with wired(part) as node:
        frame = await node.take(32)
        assert (words(frame)[15] == sum(frame[:30])) is valid
        assert words(frame)[6] == value


def test_pms5003_reports_a_defect() -> None:
    part = Pms5003(Steady())
    part.fault = PartFault.ERROR
    frame = part.frame(18)
    assert frame[29] == 1
    assert words(frame)[15] == sum(frame[:30])
    part.close()


async def test_a_silent_part_sends_nothing_and_one_with_garbage_no_frame() -> None:
    part = Pms5003(Steady(), period_s=0.01, seed=4)
    part.fault = PartFault.SILENT
    with wired(part) as node:
        part.tick()
        assert node.poll() == b""
        part.fault = PartFault.GARBAGE
        assert b"\x42\x4d\x00\x1c" not in await node.take(320)
