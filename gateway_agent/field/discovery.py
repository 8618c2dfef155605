"""Finds the devices on a bus: which addresses answer, and which of them are nodes of ours.

Every address is asked for its device identification (FC 2B/0E). A device without that function
answers with an exception or not at all. If it does not answer it is asked for two registers, then
for one, holding and input, then for a coil and a discrete input: some devices know one function
only, or even counts only, and ignore all else. Any answer will do.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway_agent.config import Bus, SerialBus, TcpBus
from gateway_agent.counters import Counters
from protocols.modbus_client import (
    READ_COILS,
    READ_DISCRETE,
    Read,
    decode_identification,
    read_request,
)
from protocols.modbus_client.identification import (
    ALL_OBJECTS,
    MAP_OBJECT,
    ROLE_OBJECT,
    UID_OBJECT,
    VENDOR,
    VENDOR_OBJECT,
)
from protocols.wire.errors import PeerError
from protocols.wire.modbus.pdu import READ_HOLDING, READ_INPUT
from protocols.wire.registers import MAPS

from .bus_errors import BusDownError, BusError, RefusedError
from .master import Master
from .profile import shipped

NODE: Final = "node"
DEVICE: Final = "device"
DAMAGED: Final = "damaged"
SILENT: Final = "silent"

_QUESTIONS: Final = (
    *(Read(function, 0, words) for words in (2, 1) for function in (READ_HOLDING, READ_INPUT)),
    Read(READ_COILS, 0, 1),
    Read(READ_DISCRETE, 0, 1),
)
_MAX_ANSWERS: Final = 16  # an identification in more parts than this is not read to its end
_NAMES: Final = {0: "vendor", 1: "product", 2: "revision", 3: "url", 4: "name", 5: "model"}


@dataclass(frozen=True, slots=True)
class Found:
    """The result for one address. ``objects``: its identification, by object number."""

    unit: int
    baudrate: int
    kind: str
    detail: str
    objects: dict[int, bytes] = field(default_factory=dict)

    @property
    def role(self) -> str:
        """Return the role of a node of ours, else an empty text."""
        return _text(self.objects.get(ROLE_OBJECT, b"")) if self.kind == NODE else ""

    @property
    def uid(self) -> str:
        """Return the unique id of a node of ours, 24 hex digits, else an empty text."""
        return _text(self.objects.get(UID_OBJECT, b"")) if self.kind == NODE else ""

    @property
    def map(self) -> str:
        """Return register map and version of a node of ours, else an empty text."""
        return _text(self.objects.get(MAP_OBJECT, b"")) if self.kind == NODE else ""

    def named(self) -> dict[str, str]:
        """Return the standard objects as text, for people."""
        return {
            name: _text(self.objects[number])
            for number, name in _NAMES.items()
            if number in self.objects
        }


def _text(value: bytes) -> str:
    """Return a peer's bytes as text that is safe for a terminal and for TOML."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else "?" for byte in value)


async def scan(
    bus: Bus, units: Iterable[int], counters: Counters, nodes_only: bool = False
) -> AsyncIterator[Found]:
    """Yield one result for each address, also for silent ones.

    BusDownError: the port cannot be used.
    """
    master = Master(bus, counters)
    try:
        for unit in units:
            yield await _ask(master, bus, unit, nodes_only)
    finally:
        master.close()


async def _ask(master: Master, bus: Bus, unit: int, nodes_only: bool) -> Found:
    try:
        objects = await _identify(master, unit)
    except BusDownError:
        raise
    except RefusedError as error:
        if error.is_silence:
            return Found(unit, bus.baudrate, SILENT, error.detail)
        detail = f"answers, has no device identification (exception {error.code:02X})"
        return Found(unit, bus.baudrate, DEVICE, detail)
    except PeerError as error:
        return Found(unit, bus.baudrate, DEVICE, f"answers, but malformed: {error}")
    except BusError as error:
        if error.cause == "crc":
            return _damaged(unit, bus, error)
        if nodes_only:
            return Found(unit, bus.baudrate, SILENT, error.detail)
        return await _ask_register(master, bus, unit)
    if objects.get(VENDOR_OBJECT) == VENDOR:
        return Found(unit, bus.baudrate, NODE, "node of ours", objects)
    return Found(unit, bus.baudrate, DEVICE, "identifies itself", objects)


async def _ask_register(master: Master, bus: Bus, unit: int) -> Found:
    for read in _QUESTIONS:
        try:
            await master.read(read_request(unit, read))
        except BusDownError:
            raise
        except RefusedError as error:
            if error.is_silence:
                return Found(unit, bus.baudrate, SILENT, error.detail)
            return Found(unit, bus.baudrate, DEVICE, f"answers with exception {error.code:02X}")
        except BusError as error:
            if error.cause == "crc":
                return _damaged(unit, bus, error)
            if error.cause in ("bad_frame", "wrong_unit"):
                return Found(unit, bus.baudrate, DEVICE, f"answers, but: {error.detail}")
            silent = error.detail
        else:
            detail = f"answers reads with function {read.function:02}"
            return Found(unit, bus.baudrate, DEVICE, f"{detail}, has no device identification")
    return Found(unit, bus.baudrate, SILENT, silent)


def _damaged(unit: int, bus: Bus, error: BusError) -> Found:
    detail = f"{error.detail}: wrong speed or parity, or two devices with this address"
    return Found(unit, bus.baudrate, DAMAGED, detail)


async def _identify(master: Master, unit: int) -> dict[int, bytes]:
    objects: dict[int, bytes] = {}
    number = 0
    for _ in range(_MAX_ANSWERS):
        answer = decode_identification(await master.identify(unit, ALL_OBJECTS, number))
        objects.update(answer.objects)
        if answer.next_object is None or answer.next_object <= number:
            break
        number = answer.next_object
    return objects


def config_block(bus: Bus, found: Iterable[Found]) -> str:
    """Return TOML for the configuration: the bus, the nodes, and other devices as comments."""
    lines = ["[[bus]]", f'name = "{bus.name}"', f'type = "{bus.type}"']
    if isinstance(bus, SerialBus):
        lines += [f'port = "{bus.port}"']
    else:
        lines += [f'host = "{bus.host}"', f"port = {bus.port}"]
    if not isinstance(bus, TcpBus):
        lines += [
            f"baudrate = {bus.baudrate}",
            f'parity = "{bus.parity}"',
            f"stopbits = {bus.stopbits}",
        ]
    roles = {map.role for map in MAPS}
    for item in found:
        if item.kind == NODE and item.role in roles:
            name = f"{item.role}-{item.unit}"
            lines += [
                "",
                "[[bus.device]]",
                f'name = "{name}"',
                f"unit = {item.unit}",
                'kind = "node"',
                f'role = "{item.role}"',
                f'uid = "{item.uid}"',
                f'key = "{name}.key"',
                "period_ms = 2500",
            ]
        elif item.kind in (NODE, DEVICE):
            about = ", ".join(f"{key} {value}" for key, value in item.named().items())
            lines += [
                "",
                f"# {item.detail}" + (f": {about}" if about else ""),
                f"# profiles that come with the gateway: {', '.join(shipped())}",
                "# [[bus.device]]",
                f'# name = "device-{item.unit}"',
                f"# unit = {item.unit}",
                '# kind = "profile"',
                '# profile = "..."',
                "# period_ms = 5000",
            ]
    return "\n".join(lines) + "\n"
