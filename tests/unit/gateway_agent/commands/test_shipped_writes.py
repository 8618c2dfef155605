"""Shipped profiles whose points may be set, each against a device that answers as its manual says.

Frames in hexadecimal are those of the sources that the profile names, byte by byte, CRC included;
where none shows one, the device makes its answer on its own. The commands of docs/operator.md run
here as they stand there.
"""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from gateway_agent.clock import SystemClock
from gateway_agent.commands.desk import CommandDesk
from gateway_agent.commands.socket import serve_commands
from gateway_agent.config import ProfileDevice, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field.field import Field
from gateway_agent.field.profile import load_profile, shipped
from tests.paths import ROOT
from tests.unit.gateway_agent.field_help import config_of
from tests.unit.gateway_agent.slave import PtySlave, Reply, frame, raw_answer, registers, until
from tests.unit.gateway_agent.test_cli import flat, run
from tests.unit.gateway_agent.test_poller import Memory

# Waveshare wiki, Protocol Manual of Modbus RTU Relay: relay 0 and relay 3, on and off.
ON_0, OFF_0 = "01 05 00 00 FF 00 8C 3A", "01 05 00 00 00 00 CD CA"
ON_3, OFF_3 = "01 05 00 03 FF 00 7C 3A", "01 05 00 03 00 00 3D CA"
# huynguyen2310/IO-Box, README.md: relays 0 and 6 are on.
RELAYS, RELAYS_ARE = "01 01 00 00 00 08 3D CC", "01 01 01 41 91 B8"
# ESPHome, pzemdc.cpp: what a PZEM sent, 13.44 V, 0.10 A, 1.3 W, 2 Wh.
PZEM_SENT = "01 04 10 05 40 00 0A 00 0D 00 00 00 02 00 00 00 00 00 00 D6 29"
# XY-MD02 manual: 30.5 degrees and 54.6 %.
AIR, AIR_IS = "01 04 00 01 00 02 20 0B", "01 04 04 01 31 02 22 2A CE"

DEVICES: Final = {
    "lamps": "waveshare-relay-8ch",
    "damper": "belimo-vav-compact",
    "battery": "peacefair-pzem-017",
    "yard": "xy-md02-corrections",
}
PERIOD_MS: Final = 3_600_000  # one poll at the start


class Device:
    """Holding registers, coils, and answers that a source shows."""

    def __init__(self, folder: Path, said: dict[str, str], words: dict[int, int]) -> None:
        folder.mkdir()
        self.said = {bytes.fromhex(asked): bytes.fromhex(told) for asked, told in said.items()}
        self.words = words
        self.coils = 0x41
        self.deaf_after_write = False
        self.is_stuck = False  # it says that it did what it was told, and did not
        self._deaf = 0
        self.line = PtySlave(folder, self.answers)

    @property
    def writes(self) -> list[str]:
        """What was written, as a manual shows it."""
        written = [one for one in self.line.requests if one[1] in (5, 6)]
        return [one.hex(" ").upper() for one in written]

    def answers(self, request: bytes) -> Iterable[Reply]:
        _, function, address, count = registers(request)
        if self._deaf:
            self._deaf -= 1
            return []
        if function in (5, 6):
            self._write(function, address, count)
            return [(0.0, request)]
        known = self.said.get(request)
        if known is not None and (function != 1 or self.coils == 0x41):
            return [(0.0, known)]
        if function == 1:
            bits = self.coils >> address & (1 << count) - 1
            return [(0.0, frame(bytes((1, 1, 1, bits))))]
        assert function == 3, request.hex(" ")
        words = [self.words[address + index] for index in range(count)]
        data = b"".join(word.to_bytes(2, "big") for word in words)
        return [(0.0, raw_answer(1, data, 3))]

    def _write(self, function: int, address: int, value: int) -> None:
        self._deaf = int(self.deaf_after_write)
        if self.is_stuck:
            return
        if function == 6:
            self.words[address] = value
            return
        assert value in (0, 0xFF00)
        mask = 1 << address
        self.coils = self.coils | mask if value else self.coils & ~mask


class Site:
    """A running gateway with the three devices, and its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sink = Memory()
        self.relays = Device(folder / "lamps", {RELAYS: RELAYS_ARE}, {})
        # The manual's example of scaling: 6856 is 68.56.
        words = dict.fromkeys(range(8), 0) | {4: 6856, 6: 65535, 104: 0x0102, 118: 0}
        self.damper = Device(folder / "damper", {}, words)
        self.meter = Device(
            folder / "battery",
            {"01 04 00 00 00 08 F1 CC": PZEM_SENT},
            {0: 30000, 1: 700, 2: 1, 3: 0},
        )
        self.air = Device(folder / "yard", {AIR: AIR_IS}, {0x103: 0, 0x104: 0})

    def values(self, device: str) -> dict[str, float]:
        """Everything that was recorded of a device."""
        return {one.name: one.value for item in self.sink.of(device) for one in item.values}

    async def told(self, *words: str) -> tuple[int, str]:
        """Run a command as a person does; return its exit status and what it shows."""
        status, text = await asyncio.to_thread(run, *words, "--config", str(self.folder))
        return status, flat(text)


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    found = Site(folder)
    lines = found.relays, found.damper, found.meter, found.air
    devices = zip(DEVICES.items(), lines, strict=True)
    buses = [
        SerialBus(
            name=f"bus-{name}",
            port=str(device.line.path),
            timeout_ms=1000,
            device=(ProfileDevice(name=name, unit=1, period_ms=PERIOD_MS, profile=profile),),
        )
        for (name, profile), device in devices
    ]
    field = Field(config_of(folder, *buses), SystemClock(), found.sink, {}, Counters())
    desk = CommandDesk("g", SystemClock(), Counters())
    desk.open(field)
    async with AsyncExitStack() as stack:
        for device in lines:
            stack.callback(device.line.close)
        await stack.enter_async_context(serve_commands(folder, None, desk.run))
        task = asyncio.create_task(field.run())
        try:
            yield found
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_relays_are_switched_with_the_bytes_of_the_manual(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        await until(lambda: len(found.values("g.lamps")) == 8)
        assert bytes.fromhex(RELAYS) in found.relays.line.requests
        on = {name for name, value in found.values("g.lamps").items() if value}
        assert on == {"relay_1", "relay_7"}
        shown = [
            await found.told("set", "lamps", "relay_1", "off"),
            await found.told("set", "lamps", "relay_4", "on"),
            await found.told("set", "lamps", "relay_1", "1"),
            await found.told("set", "lamps", "relay_4", "off"),
            await found.told("get", "lamps", "relay_7"),
        ]
        assert shown == [
            (0, "relay_1: on -> off"),
            (0, "relay_4: off -> on"),
            (0, "relay_1: off -> on"),
            (0, "relay_4: on -> off"),
            (0, "on"),
        ]
        assert found.relays.writes == [OFF_0, ON_3, ON_0, OFF_3]
        assert found.relays.coils == 0x41
        for value in ("toggle", "2", "1 V"):
            status, _ = await found.told("set", "lamps", "relay_1", *value.split())
            assert status == 1
        assert (await found.told("set", "lamps", "relay_9", "on"))[0] == 1
        assert len(found.relays.writes) == 4
        found.relays.is_stuck = True
        status, text = await found.told("set", "lamps", "relay_2", "on")
        assert (status, text) == (1, "failed: relay_2: expected on after the write, read off")


async def test_a_damper_takes_a_setpoint_and_an_override(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        await until(lambda: "setpoint_source" in found.values("g.damper"))
        values = found.values("g.damper")
        assert (values["position"], values["service"]) == (68.56, 0x0102)
        assert "flow" not in values
        source = ("set", "damper", "setpoint_source", "bus")
        assert (await found.told(*source))[0] == 1
        shown = [
            await found.told(*source, "--confirm"),
            await found.told("set", "damper", "setpoint", "40", "%"),
            await found.told("set", "damper", "override", "close"),
            await found.told("set", "damper", "override", "none"),
        ]
        assert shown == [
            (0, "setpoint_source: analog -> bus"),
            (0, "setpoint: 0 /100 -> 40 /100"),
            (0, "override: none -> close"),
            (0, "override: close -> none"),
        ]
        # Addresses count from zero: one less than the manual's numbers. 40 % in hundredths.
        assert [one[:17] for one in found.damper.writes] == [
            "01 06 00 76 00 01",
            "01 06 00 00 0F A0",
            "01 06 00 01 00 02",
            "01 06 00 01 00 00",
        ]
        for point, value, expected in (
            ("setpoint", "100.01 %", "expected 0 to 100, got 100.01"),
            ("setpoint", "0.005", "expected a multiple of 0.01, got 0.005"),
            ("setpoint", "40 Cel", "expected a value in %, /100, got '40 Cel'"),
            ("override", "6", "expected 0 to 5, got 6"),
            ("position", "40", "its profile lets nobody write it"),
        ):
            status, text = await found.told("set", "damper", point, *value.split())
            assert (status, expected in text) == (1, True), text
        assert len(found.damper.writes) == 4


async def test_thresholds_and_the_shunt_of_a_meter_are_set_within_their_limits(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as found:
        await until(lambda: "current_range" in found.values("g.battery"))
        values = found.values("g.battery")
        measured = [values[name] for name in ("voltage", "current", "power", "energy")]
        assert measured == [13.44, 0.1, 1.3, 2]
        assert (values["high_voltage_threshold"], values["low_voltage_threshold"]) == (300, 7)
        found.meter.deaf_after_write = True
        assert await found.told("set", "battery", "high_voltage_threshold", "14.4", "V") == (
            0,
            "high_voltage_threshold: 300 V -> 14.4 V",
        )
        found.meter.deaf_after_write = False
        shunt = ("set", "battery", "current_range", "200", "A")
        status, text = await found.told(*shunt)
        assert status == 1
        assert "repeat it with --confirm" in text
        assert await found.told(*shunt, "--confirm") == (0, "current_range: 100 A -> 200 A")
        # 14.4 V in hundredths is 0x05A0; 200 A is the code 2.
        written = [one[:17] for one in found.meter.writes]
        assert written == ["01 06 00 00 05 A0", "01 06 00 03 00 02"]
        for point, value, expected in (
            ("high_voltage_threshold", "300.01 V", "expected 5 to 300, got 300.01"),
            ("high_voltage_threshold", "4.99 V", "expected 5 to 300, got 4.99"),
            ("low_voltage_threshold", "0.99 V", "expected 1 to 300, got 0.99"),
            ("low_voltage_threshold", "11.005 V", "expected a multiple of 0.01, got 11.005"),
            ("voltage", "12 V", "its profile lets nobody write it"),
        ):
            status, text = await found.told("set", "battery", point, *value.split())
            assert (status, expected in text) == (1, True), text
        assert len(found.meter.writes) == 2


async def test_a_correction_is_confirmed_and_stays_within_ten(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        await until(lambda: len(found.values("g.yard")) == 4)
        values = found.values("g.yard")
        assert (values["temperature"], values["humidity"]) == (30.5, 54.6)
        assert await found.told(
            "set", "yard", "humidity_correction", "2.5", "%RH", "--confirm"
        ) == (
            0,
            "humidity_correction: 0 %RH -> 2.5 %RH",
        )
        point = "temperature_correction"
        for value, expected in (
            ("-10.1", "expected -10 to 10, got -10.1"),
            ("-0.55", "expected a multiple of 0.1, got -0.55"),
        ):
            status, text = await found.told("set", "yard", point, value, "Cel", "--confirm")
            assert (status, expected in text) == (1, True), text
        status, text = await found.told("set", "yard", point, "1", "Cel")
        assert (status, "repeat it with --confirm" in text) == (1, True)
        # 2.5 in tenths.
        assert [one[:17] for one in found.air.writes] == ["01 06 01 04 00 19"]


async def test_the_commands_of_the_operators_guide_do_what_it_says(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "operator.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    (block,) = [one for one in blocks if "lamps" in one]
    settable = [
        name for name in shipped() if any(one.spec.write for one in load_profile(name).points)
    ]
    assert sorted(settable) == sorted(DEVICES.values())
    assert all(f"`{name}`" in guide for name in settable)
    async with site(tmp_path) as found:
        for line in block.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert (program, words[-2]) == ("tianfu-gateway", "--config")
            status, text = await found.told(*words[:-2])
            assert status == 0, text
        assert found.relays.coils == 0x41 | 0x08
        assert found.damper.words[0] == 4000
        assert found.meter.words[0] == 1440
        assert found.air.words[0x103] == 0x10000 - 5
