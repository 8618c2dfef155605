"""Read points of a third-party device, and write those that its profile says may be written.

Nothing proves who writes to such a device on its line, so its profile bounds what is written,
and only what reads back counts as done.
"""

import asyncio
import dataclasses
from fractions import Fraction
from typing import Final

from gateway_agent.clock import GatewayClock
from gateway_agent.config import Bus
from gateway_agent.field.devices import OpenProfile
from gateway_agent.field.profile import (
    ProfileDecoder,
    ProfilePoint,
    WriteError,
    checked_number,
    point_value,
    write_of_number,
    write_of_time,
)
from gateway_agent.status import PointValue
from protocols.modbus_client import Request, read_request

from .command import Command, CommandFailed, CommandRefused
from .device_line import DeviceLine, DeviceSilence
from .quantity import quantity, written

NOW: Final = "now"
_LOOKS: Final = 3  # at a value that was written: a device may need a moment
_LOOK_S: Final = 0.2
_CLOCK_S: Final = 5.0  # that a clock may be off after it was set: it runs on, and has whole seconds
_SHOWN: Final = 12  # names in a message


class ProfilePoints:
    """The points of one device, over its line."""

    def __init__(
        self, opened: OpenProfile, device_id: str, bus: Bus, line: DeviceLine, clock: GatewayClock
    ) -> None:
        self._opened = opened
        self._device_id = device_id
        self._bus = bus
        self._line = line
        self._clock = clock
        self._unit = opened.device.unit, opened.device.answer_unit

    def point(self, name: str) -> ProfilePoint:
        """Return a point by name. CommandRefused with the names there are."""
        points = self._opened.profile.points
        for point in points:
            if point.spec.name == name:
                return point
        names = ", ".join(point.spec.name for point in points[:_SHOWN])
        more = "" if len(points) <= _SHOWN else f" and {len(points) - _SHOWN} more"
        raise CommandRefused(
            f"{name!r}: expected a point of {self._opened.device.name}: {names}{more}"
        )

    def writable(self) -> list[ProfilePoint]:
        """Return the points that may be written."""
        return [point for point in self._opened.profile.points if point.spec.write is not None]

    def write(self, command: Command) -> "PointWrite":
        """Return the write that a command means, checked whole. CommandRefused."""
        point = self.point(command.point)
        spec = point.spec
        if spec.write is None:
            may = ", ".join(one.spec.name for one in self.writable()) or "none"
            raise CommandRefused(
                f"{spec.name}: its profile lets nobody write it; what may be written: {may}"
            )
        if spec.write.confirm and not command.confirm:
            raise CommandRefused(
                f"{spec.name}: its profile wants each write confirmed; repeat it with --confirm"
            )
        try:
            if point.raw.kind == "time":
                if command.value != NOW:
                    raise CommandRefused(
                        f"a clock is set to {NOW!r}, our own time; got {command.value!r}"
                    )
                return self._time(point)
            number = checked_number(point, _number(point, command.value))
            return PointWrite(point, write_of_number(point, number, *self._unit), number)
        except WriteError as error:
            raise CommandRefused(f"{spec.name}: {error}") from error

    def _time(self, point: ProfilePoint) -> "PointWrite":
        """Return the write of our time as it is now. CommandRefused, WriteError."""
        wall_ms = self._clock.wall().wall_ms
        if wall_ms is None:
            raise CommandRefused("the gateway's clock is not synchronised: it sets no other one")
        request = write_of_time(point, wall_ms, *self._unit)
        return PointWrite(point, request, Fraction(wall_ms, 1000))

    async def get(self, points: list[ProfilePoint]) -> list[PointValue]:
        """Read points from the device. CommandFailed."""
        profile = dataclasses.replace(self._opened.profile, points=tuple(points))
        decoder = ProfileDecoder(profile, self._device_id, self._bus)
        unit, answer_unit = self._unit
        requests = [read_request(unit, read, answer_unit) for read in decoder.reads]
        answers = [await self._line.read(request) for request in requests]
        values = decoder.values(list(answers))
        return [point_value(*pair) for pair in zip(points, values, strict=True)]

    async def set(self, write: "PointWrite") -> tuple[str, list[PointValue]]:
        """Write a point and read it back; return what it has now, for people. CommandFailed."""
        name = write.point.spec.name
        (before,) = await self.get([write.point])
        if write.point.raw.kind == "time":
            write = self._time(write.point)  # record and turn may have been long in coming
        silence: DeviceSilence | None = None
        try:
            await self._line.ask(write.request)
        except DeviceSilence as error:
            silence = error  # it may be done: reading shows it
        after = before
        for look in range(_LOOKS):
            if look:
                await asyncio.sleep(_LOOK_S)
            (after,) = await self.get([write.point])
            if write.is_done(after):
                return f"{name}: {_text(before)} -> {_text(after)}", [after]
        text = f"{name}: expected {write.meaning} after the write, read {_text(after)}"
        raise CommandFailed(text if silence is None else f"{text}; {silence}")


@dataclasses.dataclass(frozen=True, slots=True)
class PointWrite:
    """A checked write: its request, and the number that the point then has."""

    point: ProfilePoint
    request: Request
    number: Fraction

    @property
    def meaning(self) -> str:
        """Return what was written, as a person writes it."""
        spec = self.point.spec
        words = {Fraction(int(number, 0)): word for number, word in spec.values.items()}
        return words.get(self.number) or written(self.number, spec.unit)

    def is_done(self, value: PointValue) -> bool:
        """Return whether the device has what was written, in the precision of its register."""
        if value.value is None:
            return False
        wanted = float(self.number)
        if self.point.raw.kind == "time":
            return abs(value.value - wanted) <= _CLOCK_S
        if self.point.raw.kind == "float":
            return abs(value.value - wanted) <= 1e-6 * max(1.0, abs(wanted))
        return value.value == wanted


def _number(point: ProfilePoint, text: str) -> Fraction:
    """Return what a person wrote: a number, or the word that the profile has for one."""
    for number, word in point.spec.values.items():
        if text == word:
            return Fraction(int(number, 0))
    return quantity(text, point.spec.unit)


def _text(value: PointValue) -> str:
    if value.text or value.value is None:
        return value.text or value.quality or "no value"
    return f"{value.value:.12g} {value.unit}".strip()
