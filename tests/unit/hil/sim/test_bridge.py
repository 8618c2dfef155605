"""The bridge and the parts on its buses, against vectors of their datasheets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hil.sim.analog import BridgedInput
from hil.sim.bridge import BridgedParts
from hil.sim.ds18b20 import Ds18b20, crc8_maxim
from hil.sim.part import NotAcknowledged, PartFault, Steady, Water
from hil.sim.sht3x import Sht3x, crc8

from .wired import LIMIT_S, wired

INPUTS = {
    "ph": BridgedInput(reference_mv=3300, divider_ohm=(0, 10000), bridge_channel=0),
    "turbidity": BridgedInput(reference_mv=3300, divider_ohm=(10000, 20000), bridge_channel=1),
}


def test_crc_vectors() -> None:
    assert crc8(bytes.fromhex("beef")) == 0x92
    assert crc8_maxim(bytes.fromhex("021cb801000000")) == 0xA2
    assert crc8_maxim(bytes.fromhex("50054b467fff0c10")) == 0x1C


async def test_bridge_measures_with_the_sht3x() -> None:
    with wired(BridgedParts(Steady(), INPUTS)) as node:
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


def test_sht3x_does_not_acknowledge_while_it_measures_or_when_silent() -> None:
    now = [0.0]
    part = Sht3x(Steady(), clock=lambda: now[0])
    part.write(b"\x24\x00")
    with pytest.raises(NotAcknowledged):
        part.read(6)
    now[0] = 0.016
    assert len(part.read(6)) == 6
    with pytest.raises(NotAcknowledged):
        part.read(6)
    part.fault = PartFault.SILENT
    with pytest.raises(NotAcknowledged):
        part.write(b"\x24\x00")


def test_sht3x_wrong_crc() -> None:
    now = [0.0]
    part = Sht3x(Steady(), clock=lambda: now[0], measure_s=0)
    part.fault = PartFault.CHECKSUM
    part.write(b"\x24\x00")
    answer = part.read(6)
    assert crc8(answer[:2]) != answer[2]
    assert crc8(answer[3:5]) != answer[5]


async def test_bridge_answers_absent_and_bad_request() -> None:
    with wired(BridgedParts(Steady(), INPUTS)) as node:
        assert await node.ask(b"W\x03\x45\x24\x00", 2) == b"\x01\x00"
        assert await node.ask(b"A\x01\x07", 2) == b"\x01\x00"
        assert await node.ask(b"?\x00", 2) == b"\x02\x00"
        assert await node.ask(b"R\x01\x44", 2) == b"\x02\x00"
        assert await node.ask(b"A\x00", 2) == b"\x02\x00"


async def test_bridge_one_wire_rom_conversion_and_scratchpad() -> None:
    bridge = BridgedParts(Steady(water=Water(1000, 12.5, 7.0, 0.0)), INPUTS)
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
        # Another part's ROM: no part drives the line.
        await node.ask(b"O\x00", 3)
        await node.ask(b"o\x0a\x55" + rom[:7] + b"\x00\xbe", 2)
        assert (await node.ask(b"i\x01\x09", 11))[2:] == b"\xff" * 9


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


async def test_adc_is_the_voltage_at_the_pin() -> None:
    """3300 mV are 65535; of the turbidity sensor's voltage two thirds reach the pin."""
    source = Steady(water=Water(1000, 10, 4.0, 1000.0))
    bridge = BridgedParts(source, INPUTS)

    async def pin_mv(channel: bytes) -> float:
        answer = await node.ask(b"A\x01" + channel, 4)
        assert answer[:2] == b"\x00\x02"
        return int.from_bytes(answer[2:], "big") * 3300 / 65535

    with wired(bridge) as node:
        assert await pin_mv(b"\x00") == pytest.approx(2032.44, abs=0.05)
        assert await pin_mv(b"\x01") == pytest.approx(3900.3 * 2 / 3, abs=0.1)
        source.water_now = Water(1000, 10, 7.0, 0.0)
        assert await pin_mv(b"\x00") == pytest.approx(1500, abs=0.05)
        assert await pin_mv(b"\x01") == pytest.approx(4200.2 * 2 / 3, abs=0.1)
        source.water_now = Water(1000, 10, 10.0, 1e6)
        assert await pin_mv(b"\x00") == pytest.approx(967.56, abs=0.05)
        assert await pin_mv(b"\x01") == pytest.approx(2562.6 * 2 / 3, abs=0.1), "the curve's top"
        bridge.adc.fault = PartFault.SATURATED
        assert (await node.ask(b"A\x01\x00", 4))[2:] == b"\xff\xff"
