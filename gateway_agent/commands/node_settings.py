"""Read and change the settings of a node of ours; every write is signed with the node's key.

A plain write has no way through here: a node without a key is refused. The node takes the counter
that it shows and no other, so a write of which the answer got lost is not made twice.
"""

import struct
from fractions import Fraction
from typing import Final

from gateway_agent.field.devices import OpenLinkNode, OpenNode
from gateway_agent.status import PointValue
from protocols.modbus_client import Read, WriteCounter, read_request, signed_write_request
from protocols.setting_units import SETTING_UNITS, SettingUnit, setting_unit
from protocols.wire.hmac import HmacSha256
from protocols.wire.modbus.pdu import NAK, READ_HOLDING
from protocols.wire.registers import (
    COMMAND_ADDRESS,
    COMMAND_RESTART,
    COMMISSIONED_ADDRESS,
    SETTINGS,
)

from .command import CommandFailed, CommandRefused
from .device_line import DeviceLine, DeviceRefusal, DeviceSilence
from .quantity import quantity, written

_TRIES: Final = 3
_STATE_WORDS: Final = 5  # commissioned, boot epoch, number
_NO_KEY: Final = (
    "this node has no key, so nobody could prove who changed it: provision it"
    " (`tianfu-node provision`)"
)
#: Settings that need a confirmation, and why.
_GRAVE: Final = {
    "unit_id": "after its next restart the gateway reaches it by the new address only, so change"
    " `unit` in the configuration too",
    "baud_div_100": "after its next restart the node speaks at the new speed, alone on its bus",
    "link_baud_div_100": "after its next restart the serial link has the new speed",
    "image_export": "1 lets images leave the node",
}


def setting_of(name: str) -> SettingUnit:
    """Return the setting that a person calls ``name``. CommandRefused with all names."""
    known = setting_unit(name)
    if known is None:
        names = ", ".join(each.name for each in SETTING_UNITS)
        raise CommandRefused(f"{name!r}: expected a setting of a node: {names}")
    return known


def raw_of(setting: SettingUnit, text: str) -> int:
    """Return the register's value for what a person wrote, in its range. CommandRefused."""
    number = quantity(text, setting.unit)
    raw, limits = number / setting.step, SETTINGS[setting.address]
    low, high = limits.low * setting.step, limits.high * setting.step
    if not low <= number <= high:
        expected = f"{written(low, setting.unit)} to {written(high, setting.unit)}"
        raise CommandRefused(f"{setting.name}: expected {expected}, got {text}")
    if raw.denominator != 1:
        step = written(setting.step, setting.unit)
        raise CommandRefused(f"{setting.name}: expected a multiple of {step}, got {text}")
    return int(raw)


def check_setting(setting: SettingUnit, confirm: bool) -> None:
    """Refuse a change that was not confirmed and needs it. CommandRefused."""
    why = _GRAVE.get(SETTINGS[setting.address].name)
    if why is not None and not confirm:
        raise CommandRefused(f"{setting.name}: {why}; repeat the command with --confirm")


_UNIT: Final = setting_of("unit_id")


class NodeSettings:
    """The settings of one node, over its line."""

    def __init__(self, node: OpenNode | OpenLinkNode, line: DeviceLine) -> None:
        self._node = node
        self._line = line
        self._unit = node.device.unit

    async def get(self, setting: SettingUnit | None) -> list[PointValue]:
        """Read one setting, or all. CommandFailed."""
        if setting is not None:
            return [_value(setting, (await self._registers(setting.address, 1))[0])]
        raw = await self._registers(0, len(SETTINGS))
        return [_value(each, raw[each.address]) for each in SETTING_UNITS]

    async def set(self, setting: SettingUnit, raw: int) -> tuple[str, list[PointValue]]:
        """Write one setting and read it back; return what changed, for people. CommandFailed."""
        (before,) = await self._registers(setting.address, 1)
        if before != raw:
            await self._write(setting.address, raw)
        (after,) = await self._registers(setting.address, 1)
        shown = _text(setting, after)
        if after != raw:
            expected = _text(setting, raw)
            raise CommandFailed(
                f"{setting.name}: expected {expected} after the write, read {shown}"
            )
        change = "already" if before == after else f"{_text(setting, before)} ->"
        return f"{setting.name}: {change} {shown}", [_value(setting, after)]

    async def restart(self) -> None:
        """Have the node restart. CommandFailed."""
        await self._write(COMMAND_ADDRESS, COMMAND_RESTART)

    # --- inside ----------------------------------------------------------------------------------

    async def _registers(self, address: int, words: int) -> tuple[int, ...]:
        data = await self._line.read(read_request(self._unit, Read(READ_HOLDING, address, words)))
        return struct.unpack(f">{words}H", data)

    async def _counter(self) -> WriteCounter:
        data = await self._line.read(
            read_request(self._unit, Read(READ_HOLDING, COMMISSIONED_ADDRESS, _STATE_WORDS))
        )
        commissioned, epoch, number = struct.unpack(">HII", data)
        if not commissioned:
            raise CommandRefused(f"{self._node.device.name}: {_NO_KEY}")
        return WriteCounter(epoch, number)

    async def _write(self, register: int, raw: int) -> None:
        key = self._node.key
        if key is None:
            raise CommandRefused(f"{self._node.device.name}: {_NO_KEY}")
        counter = await self._counter()
        uid, mac = bytes.fromhex(self._node.device.uid), HmacSha256(key.key)
        unit = self._unit
        if isinstance(self._node, OpenLinkNode):  # its unit is what it has on a bus, and signed too
            (unit,) = await self._registers(_UNIT.address, 1)
        silence: DeviceSilence | None = None
        for _ in range(_TRIES):
            request = signed_write_request(unit, register, [raw], mac, uid, counter)
            try:
                await self._line.ask(request)
                return
            except DeviceSilence as error:
                silence = error
            except DeviceRefusal as error:
                if error.code != NAK:
                    raise
            try:
                now = await self._counter()
            except DeviceSilence as error:
                if register == COMMAND_ADDRESS and silence is not None:
                    raise silence from error
                raise
            if now == counter:
                if silence is None:
                    raise CommandFailed(
                        f"{self._node.device.name} refuses the signature of its own key:"
                        " compare its key file"
                    )
                continue
            if silence is not None and now == counter._replace(number=counter.number + 1):
                return  # the node took it, and its answer got lost
            if silence is not None and register == COMMAND_ADDRESS:
                return  # a new boot epoch: it has restarted
            counter = now  # somebody else wrote in between
        raise silence or CommandFailed(
            f"{self._node.device.name}: somebody else writes to this node at the same time"
        )


def _text(setting: SettingUnit, raw: int) -> str:
    return written(raw * setting.step, setting.unit)


def _value(setting: SettingUnit, raw: int) -> PointValue:
    value: Fraction = raw * setting.step
    return PointValue(setting.name, setting.unit, float(value))
