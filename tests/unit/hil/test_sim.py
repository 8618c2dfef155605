"""The simulated parts against the vectors of the real parts' data sheets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hil.sim.a02yyuw import A02yyuw
from hil.sim.bridge import Bridge, Ds18b20, Nack, Sht3x, crc8, crc8_maxim
from hil.sim.chengdu import Chengdu, load
from hil.sim.mhz19b import Mhz19b
from hil.sim.part import Air, Part, PartFault, Steady, Water
from hil.sim.pms5003 import Pms5003
from hil.sim.vc0706 import Scene, Vc0706

LIMIT_S = 20
PASSIVE = bytes.fromhex("424de100000170")
ACTIVE = bytes.fromhex("424de100010171")
READ = bytes.fromhex("424de200000171")
SLEEP = bytes.fromhex("424de400000173")
WAKE = bytes.fromhex("424de400010174")
CO2 = bytes.fromhex("ff0186000000000079")


class Node:
    """The node's end of a part's wire."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.data = b""

    def poll(self) -> bytes:
        self.data += os.read(self._fd, 4096)
        return self.data

    async def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.poll()) < count:
                await asyncio.sleep(0.002)
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    async def ask(self, command: bytes, count: int) -> bytes:
        self.tell(command)
        return await self.take(count)

    def tell(self, command: bytes) -> None:
        os.write(self._fd, command)


@contextmanager
def wired(part: Part) -> Iterator[Node]:
    part.start()
    fd = os.open(part.path, os.O_RDWR | os.O_NOCTTY)
    try:
        yield Node(fd)
    finally:
        os.close(fd)
        part.close()


async def handled(part: Part, requests: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while part.requests < requests:
            await asyncio.sleep(0.002)


async def run(test: Callable[[], Awaitable[None]]) -> None:
    await test()


# PMS5003


def words(frame: bytes) -> list[int]:
    return [int.from_bytes(frame[i : i + 2], "big") for i in range(0, 32, 2)]


async def test_pms5003_passive_read_is_a_frame_as_the_manual_has_it() -> None:
    async def test() -> None:
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

    await run(test)


async def test_pms5003_active_sends_by_itself_sleeps_and_wakes() -> None:
    async def test() -> None:
        part = Pms5003(Steady(), period_s=0.01)
        with wired(part) as node:
            await node.take(96)
            node.tell(SLEEP)
            await handled(part, 1)
            answers = part.answers
            part.tick()
            assert part.answers == answers
            node.poll()
            node.data = b""
            assert (await node.ask(WAKE, 32))[:4] == bytes.fromhex("424d001c")

    await run(test)


async def test_pms5003_ignores_noise_and_bad_checksums_around_a_command() -> None:
    async def test() -> None:
        part = Pms5003(Steady(), period_s=60)
        with wired(part) as node:
            await node.take(32)
            node.tell(b"\x00\x42" + READ[:-1] + b"\x00" + PASSIVE[:3])
            assert await node.ask(PASSIVE, 8) == bytes.fromhex("424d0004e1000174")
            assert part.requests == 1

    await run(test)


async def test_pms5003_is_silent_in_an_hour_without_a_measurement() -> None:
    async def test() -> None:
        source = Steady()
        source.air_now = replace(source.air_now, pm2_5=None)
        part = Pms5003(source, period_s=0.01)
        with wired(part) as node:
            node.tell(PASSIVE)
            await node.take(8)
            assert part.answers == 1

    await run(test)


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
    async def test() -> None:
        part = Pms5003(Steady(), period_s=60)
        part.fault = fault
        with wired(part) as node:
            frame = await node.take(32)
            assert (words(frame)[15] == sum(frame[:30])) is valid
            assert words(frame)[6] == value

    await run(test)


def test_pms5003_says_that_it_is_broken() -> None:
    part = Pms5003(Steady())
    part.fault = PartFault.ERROR
    frame = part.frame(18)
    assert frame[29] == 1
    assert words(frame)[15] == sum(frame[:30])
    part.close()


async def test_a_silent_part_sends_nothing_and_a_babbling_one_no_frame() -> None:
    async def test() -> None:
        part = Pms5003(Steady(), period_s=0.01, seed=4)
        part.fault = PartFault.SILENT
        with wired(part) as node:
            part.tick()
            assert node.poll() == b""
            part.fault = PartFault.GARBAGE
            assert b"\x42\x4d\x00\x1c" not in await node.take(320)

    await run(test)


# MH-Z19B


async def test_mhz19b_vector_608_ppm() -> None:
    async def test() -> None:
        air = Air(pm2_5=None, temperature=31.0, humidity=None, co2=608)
        part = Mhz19b(Steady(air))
        with wired(part) as node:
            # The data sheet's example; its temperature byte is 31 + 40.
            assert await node.ask(CO2, 9) == bytes.fromhex("ff86026047000000d1")

    await run(test)


async def test_mhz19b_takes_commands_in_pieces_after_noise_and_refuses_bad_checksums() -> None:
    async def test() -> None:
        part = Mhz19b(Steady())
        with wired(part) as node:
            node.tell(bytes.fromhex("ff0179000000000086"))
            await handled(part, 1)
            assert not part.abc
            node.tell(CO2[:-1] + b"\x00" + b"\xff\x01")
            node.tell(CO2[:4])
            assert len(await node.ask(CO2[4:], 9)) == 9
            assert part.requests == 2

    await run(test)


async def test_mhz19b_faults() -> None:
    async def test() -> None:
        part = Mhz19b(Steady(), scale=2000)
        with wired(part) as node:
            part.fault = PartFault.SATURATED
            assert (await node.ask(CO2, 9))[2:4] == (2000).to_bytes(2, "big")
            part.fault = PartFault.CHECKSUM
            answer = await node.ask(CO2, 9)
            assert sum(answer[1:]) & 0xFF != 0
            part.fault = PartFault.WARM_UP
            assert (await node.ask(CO2, 9))[2:4] == (400).to_bytes(2, "big")

    await run(test)


# A02YYUW


async def test_a02yyuw_vector_1953_mm() -> None:
    async def test() -> None:
        part = A02yyuw(Steady(), period_s=0.01)
        with wired(part) as node:
            assert await node.take(12) == bytes.fromhex("ff07a1a7") * 3

    await run(test)


async def test_a02yyuw_blind_zone() -> None:
    async def test() -> None:
        part = A02yyuw(Steady(), period_s=60)
        with wired(part) as node:
            await node.take(4)
            part.fault = PartFault.SATURATED
            part.tick()
            assert await node.take(4) == bytes.fromhex("ff001d1c")

    await run(test)


# The bridge and what hangs on it


def test_crc_vectors() -> None:
    assert crc8(bytes.fromhex("beef")) == 0x92
    assert crc8_maxim(bytes.fromhex("021cb801000000")) == 0xA2
    assert crc8_maxim(bytes.fromhex("50054b467fff0c10")) == 0x1C


async def test_bridge_measures_with_the_sht3x() -> None:
    async def test() -> None:
        with wired(Bridge(Steady())) as node:
            assert await node.ask(b"W\x03\x44\x24\x00", 2) == b"\x00\x00"
            async with asyncio.timeout(LIMIT_S):
                while (head := await node.ask(b"R\x02\x44\x06", 2)) == b"\x01\x00":
                    await asyncio.sleep(0.002)
            assert head == b"\x00\x06"
            answer = await node.take(6)
            assert crc8(answer[:2]) == answer[2]
            assert crc8(answer[3:5]) == answer[5]
            celsius = -45 + 175 * int.from_bytes(answer[:2], "big") / 65535
            percent = 100 * int.from_bytes(answer[3:5], "big") / 65535
            assert celsius == pytest.approx(21.5, abs=0.01)
            assert percent == pytest.approx(44.0, abs=0.01)

    await run(test)


def test_sht3x_does_not_acknowledge_while_it_measures_or_when_silent() -> None:
    now = [0.0]
    part = Sht3x(Steady(), clock=lambda: now[0])
    part.write(b"\x24\x00")
    with pytest.raises(Nack):
        part.read(6)
    now[0] = 0.016
    assert len(part.read(6)) == 6
    with pytest.raises(Nack):
        part.read(6)
    part.fault = PartFault.SILENT
    with pytest.raises(Nack):
        part.write(b"\x24\x00")


def test_sht3x_wrong_crc() -> None:
    now = [0.0]
    part = Sht3x(Steady(), clock=lambda: now[0], measure_s=0)
    part.fault = PartFault.CHECKSUM
    part.write(b"\x24\x00")
    answer = part.read(6)
    assert crc8(answer[:2]) != answer[2]
    assert crc8(answer[3:5]) != answer[5]


async def test_bridge_says_absent_and_bad_request() -> None:
    async def test() -> None:
        with wired(Bridge(Steady())) as node:
            assert await node.ask(b"W\x03\x45\x24\x00", 2) == b"\x01\x00"
            assert await node.ask(b"A\x01\x07", 2) == b"\x01\x00"
            assert await node.ask(b"?\x00", 2) == b"\x02\x00"
            assert await node.ask(b"R\x01\x44", 2) == b"\x02\x00"
            assert await node.ask(b"A\x00", 2) == b"\x02\x00"

    await run(test)


async def test_bridge_one_wire_rom_conversion_and_scratchpad() -> None:
    async def test() -> None:
        bridge = Bridge(Steady(water=Water(1000, 12.5, 7.0, 0.0)))
        bridge.ds18b20 = Ds18b20(bridge.source, convert_s=0.05)
        with wired(bridge) as node:
            assert await node.ask(b"O\x00", 3) == b"\x00\x01\x01"
            assert await node.ask(b"o\x01\x33", 2) == b"\x00\x00"
            rom = (await node.ask(b"i\x01\x08", 10))[2:]
            assert rom[0] == 0x28
            assert crc8_maxim(rom[:7]) == rom[7]
            # Before any conversion: the power-on value of 85 degrees.
            await node.ask(b"O\x00", 3)
            await node.ask(b"o\x02\xcc\xbe", 2)
            assert (await node.ask(b"i\x01\x09", 11))[2:] == bytes.fromhex("50054b467fff0c101c")
            await node.ask(b"O\x00", 3)
            await node.ask(b"o\x0a\x55" + rom + b"\x44", 2)
            async with asyncio.timeout(LIMIT_S):
                while (await node.ask(b"i\x01\x01", 3))[2] == 0:
                    await asyncio.sleep(0.005)
            await node.ask(b"O\x00", 3)
            await node.ask(b"o\x02\xcc\xbe", 2)
            pad = (await node.ask(b"i\x01\x09", 11))[2:]
            assert int.from_bytes(pad[:2], "little") == 200  # 12.5 degrees in sixteenths
            assert crc8_maxim(pad[:8]) == pad[8]
            # Another part's ROM: nobody drives the line.
            await node.ask(b"O\x00", 3)
            await node.ask(b"o\x0a\x55" + rom[:7] + b"\x00\xbe", 2)
            assert (await node.ask(b"i\x01\x09", 11))[2:] == b"\xff" * 9

    await run(test)


@pytest.mark.parametrize(
    ("fault", "register", "valid"),
    [
        (PartFault.WARM_UP, 0x0550, True),
        (PartFault.SATURATED, 2001, True),
        (PartFault.CHECKSUM, 200, False),
    ],
)
def test_ds18b20_faults(fault: PartFault, register: int, valid: bool) -> None:
    part = Ds18b20(Steady(), convert_s=0)
    part.fault = fault
    assert part.reset()
    part.write(b"\xcc\x44")
    part.reset()
    part.write(b"\xcc\xbe")
    pad = part.read(9)
    assert int.from_bytes(pad[:2], "little") == register
    assert (crc8_maxim(pad[:8]) == pad[8]) is valid


def test_ds18b20_below_zero_and_unplugged() -> None:
    source = Steady()
    source.water_now = replace(source.water_now, temperature=-10.125)
    part = Ds18b20(source, convert_s=0)
    part.reset()
    part.write(b"\xcc\x44")
    part.reset()
    part.write(b"\xcc\xbe")
    assert part.read(2) == bytes.fromhex("5eff")  # data sheet, table 1
    part.fault = PartFault.SILENT
    assert not part.reset()
    assert part.read(2) == b"\xff\xff"


async def test_adc_at_the_calibration_points() -> None:
    async def test() -> None:
        source = Steady(water=Water(1000, 10, 4.0, 1000.0))
        bridge = Bridge(source)
        with wired(bridge) as node:
            assert await node.ask(b"A\x01\x00", 4) == b"\x00\x02" + (1540).to_bytes(2, "big")
            assert await node.ask(b"A\x01\x01", 4) == b"\x00\x02" + (2000).to_bytes(2, "big")
            source.water_now = Water(1000, 10, 7.0, 0.0)
            assert (await node.ask(b"A\x01\x00", 4))[2:] == (2048).to_bytes(2, "big")
            assert (await node.ask(b"A\x01\x01", 4))[2:] == (3400).to_bytes(2, "big")
            bridge.adc.fault = PartFault.SATURATED
            assert (await node.ask(b"A\x01\x00", 4))[2:] == b"\xff\xff"

    await run(test)


# VC0706


async def picture(node: Node) -> bytes:
    assert await node.ask(bytes.fromhex("5600360100"), 5) == bytes.fromhex("7600360000")
    size = int.from_bytes((await node.ask(bytes.fromhex("5600340100"), 9))[5:], "big")
    data = b""
    while len(data) < size:
        count = min(128, (size - len(data) + 7) & ~7)
        ask = bytes.fromhex("5600320c000a") + len(data).to_bytes(4, "big")
        answer = await node.ask(ask + count.to_bytes(4, "big") + b"\x00\x0a", count + 10)
        assert answer[:5] == answer[-5:] == bytes.fromhex("7600320000")
        data += answer[5:-5]
    assert await node.ask(bytes.fromhex("5600360103"), 5) == bytes.fromhex("7600360000")
    return data[:size]


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    for name in ("day0", "day1", "dark0", "covered0"):
        body = name.encode() * 60
        (tmp_path / f"{name}.jpg").write_bytes(b"\xff\xd8" + body + b"\xff\xd9")
    return tmp_path


async def test_vc0706_reset_version_and_size() -> None:
    async def test() -> None:
        with wired(Vc0706(Steady())) as node:
            assert (await node.ask(bytes.fromhex("56002600"), 5)) == bytes.fromhex("7600260000")
            assert b"Init end" in await node.take(23)
            version = await node.ask(bytes.fromhex("56001100"), 16)
            assert version[:5] == bytes.fromhex("760011000b")
            command = bytes.fromhex("560031050401001922")
            assert await node.ask(command, 5) == bytes.fromhex("7600310000")

    await run(test)


async def test_vc0706_serves_whole_images_scene_by_scene(frames: Path) -> None:
    async def test() -> None:
        part = Vc0706(Steady(), frames)
        with wired(part) as node:
            day = [await picture(node) for _ in range(3)]
            assert {day[0], day[1]} == {
                (frames / "day0.jpg").read_bytes(),
                (frames / "day1.jpg").read_bytes(),
            }
            assert day[2] == day[0]
            part.scene = Scene.FROZEN
            assert await picture(node) == await picture(node) == day[2]
            part.scene = Scene.COVERED
            assert await picture(node) == (frames / "covered0.jpg").read_bytes()
            part.scene = Scene.DARK
            assert await picture(node) == (frames / "dark0.jpg").read_bytes()
            assert part.snapshots == 7

    await run(test)


async def test_vc0706_without_frames_still_has_a_jpeg(tmp_path: Path) -> None:
    async def test() -> None:
        with wired(Vc0706(Steady(), tmp_path)) as node:
            image = await picture(node)
            assert image[:2] == b"\xff\xd8"
            assert image[-2:] == b"\xff\xd9"

    await run(test)


async def test_vc0706_says_motion_only_while_it_may() -> None:
    async def test() -> None:
        part = Vc0706(Steady())
        part.moving = True
        with wired(part) as node:
            part.tick()
            assert part.motion_events == 0
            assert await node.ask(bytes.fromhex("5600370101"), 5) == bytes.fromhex("7600370000")
            part.tick()
            assert await node.take(5) == bytes.fromhex("7600390000")
            assert await node.ask(bytes.fromhex("56003800"), 6) == bytes.fromhex("760038000101")
            await node.ask(bytes.fromhex("5600370100"), 5)
            events = part.motion_events
            part.tick()
            assert part.motion_events == events

    await run(test)


async def test_vc0706_refuses_what_it_does_not_know_and_finds_the_next_command() -> None:
    async def test() -> None:
        with wired(Vc0706(Steady())) as node:
            assert await node.ask(bytes.fromhex("56009900"), 5) == bytes.fromhex("7600990100")
            assert await node.ask(bytes.fromhex("560034020000"), 5) == bytes.fromhex("7600340300")
            node.tell(bytes.fromhex("000056"))
            answer = await node.ask(bytes.fromhex("0034ff" + "56003800"), 6)
            assert answer == bytes.fromhex("760038000100")

    await run(test)


async def test_vc0706_damaged_picture() -> None:
    async def test() -> None:
        part = Vc0706(Steady())
        part.fault = PartFault.CHECKSUM
        with wired(part) as node:
            assert (await picture(node))[:2] == b"\x00\x27"

    await run(test)


# Sources


def test_chengdu_extract_is_what_its_readme_says() -> None:
    hours = load()
    assert len(hours) == 336
    assert (hours[0].time, hours[-1].time) == ("2015-01-18T00:00", "2015-01-31T23:00")
    missing = [hour.time for hour in hours if hour.pm2_5 is None]
    assert missing == [f"2015-01-29T{hour}:00" for hour in (13, 14, 15)]
    # Three rows read by hand from the source file.
    assert hours[0][1:] == (164.0, 76.01, 9.0)
    assert hours[1][1:] == (166.0, 76.01, 9.0)


def test_chengdu_replays_one_hour_per_second_in_a_loop() -> None:
    now = [100.0]
    source = Chengdu("2015-01-29T12:00", clock=lambda: now[0])
    assert source.air().pm2_5 is not None
    now[0] += 1.5
    assert source.hour.time == "2015-01-29T13:00"
    assert source.air().pm2_5 is None
    assert source.air().temperature is not None
    now[0] += 336
    assert source.hour.time == "2015-01-29T13:00"
    water = source.water()
    assert 30 < water.distance < 4500
    assert 0 < water.ph < 14
    with pytest.raises(LookupError, match="runs from 2015-01-18T00:00"):
        Chengdu("2016-01-01T00:00")
