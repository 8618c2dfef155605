"""The ``[[bus]]`` and ``[[bus.device]]`` tables: every kind of line, and of device on it.

What differs from kind to kind is a field or a property here, so that the rest of the agent asks
the bus (how long is a character, which unit ids are there) and not what kind it is.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Struct

from protocols.identity import node_id
from protocols.wire.modbus.pdu import MAX_READ
from protocols.wire.modbus.timing import t35_us
from protocols.wire.node_key import MAX_KEY_ID

from .config_types import (
    Host,
    Labelled,
    ModbusPort,
    Name,
    NodeKeyFile,
    Period,
    ProfileName,
    Role,
    SerialPort,
    Uid,
    UnitId,
    count,
    milliseconds,
)

Timeout: TypeAlias = Annotated[int, milliseconds(10, 60_000, 500)]
Pause: TypeAlias = Annotated[int, milliseconds(0, 60_000, 100)]
# When a connection is closed by us: for devices that allow one poll, or one request, on each.
CloseAfter: TypeAlias = Literal["never", "poll", "request"]


class _Device(Labelled, frozen=True, kw_only=True, tag_field="kind"):
    """What every kind of ``[[bus.device]]`` has."""

    name: Name
    unit: UnitId
    period_ms: Period = 5000
    answer_unit: UnitId | None = None  # the unit in its answers; None: the one that is asked
    timeout_ms: Timeout | None = None  # None: that of its bus
    # What it needs between its answer and the next request; other devices are asked meanwhile.
    request_gap_ms: Pause = 0


class NodeDevice(_Device, frozen=True, kw_only=True, tag="node"):
    """A node of ours."""

    kind: ClassVar = "node"

    role: Role
    uid: Uid
    key: NodeKeyFile
    # The key id of the board that this one took the place of, under the same unique id.
    replaces: Annotated[int, count(1, MAX_KEY_ID, 1)] | None = None

    def device_id(self, gateway_id: str) -> str:  # of every device, see ProfileDevice
        """Return the id of the device in records."""
        return node_id(bytes.fromhex(self.uid))


class ProfileDevice(_Device, frozen=True, kw_only=True, tag="profile"):
    """A third-party device; a profile describes its registers."""

    kind: ClassVar = "profile"

    profile: ProfileName  # the name of a shipped profile, or the path of a file

    @property
    def role(self) -> str:
        """Return the name of the profile."""
        return Path(self.profile).stem if self.profile.endswith(".toml") else self.profile

    def device_id(self, gateway_id: str) -> str:
        """Return the id of the device in records."""
        return f"{gateway_id}.{self.name}"


Device: TypeAlias = NodeDevice | ProfileDevice


class _Bus(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every kind of ``[[bus]]`` has; at most one request is under way on it.

    The settings of the line may be given for a Modbus TCP device too, where they mean nothing.
    """

    name: Name
    baudrate: Annotated[int, count(300, 4_000_000, 9600)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    data_bits: Literal[7, 8] = 8
    stopbits: Literal[1, 2] = 1
    # From the end of the request to the first byte of the answer; the time of the answer itself
    # comes on top.
    timeout_ms: Timeout = 500
    # What a device is expected to need before it answers, for the predicted cycle.
    turnaround_ms: Annotated[int, milliseconds(0, 10_000, 20)] = 20
    # After this silence a disturbed line counts as empty again.
    quiet_ms: Annotated[int, milliseconds(1, 10_000, 50)] = 50
    # From the end of an answer, of any device, to the next request.
    request_gap_ms: Pause = 0
    # Registers between two wanted ones that are read along to save a request.
    gap_words: Annotated[int, count(0, MAX_READ - 2, 8)] = 8
    # Registers of one request at most, whatever a profile allows.
    max_words: Annotated[int, count(1, MAX_READ, MAX_READ)] = MAX_READ
    # Every value of a third-party device with a request of its own.
    never_join: bool = False
    device: tuple[Device, ...]


class _RtuBus(_Bus, frozen=True, kw_only=True):
    """A serial line with RTU frames, here or behind a serial server."""

    units: ClassVar = range(1, 248)
    has_ids: ClassVar = False
    is_ascii: ClassVar = False

    @property
    def line(self) -> str:
        """Return the settings of the line as a person writes them."""
        return f"{self.baudrate} {self.data_bits}{self.parity}{self.stopbits}"

    @property
    def char_bits(self) -> int:
        """Return the bits of one character: start, data, parity if any, stop."""
        return 1 + self.data_bits + (self.parity != "N") + self.stopbits

    @property
    def char_ms(self) -> float:
        """Return the time of one character."""
        return self.char_bits * 1000 / self.baudrate

    @property
    def silence_ms(self) -> float:
        """Return t3.5, the silence that ends a frame."""
        return 0.0 if self.is_ascii else t35_us(self.baudrate, self.char_bits) / 1000


class SerialBus(_RtuBus, frozen=True, kw_only=True, tag="rtu"):
    """A serial port of this machine."""

    type: ClassVar = "rtu"
    connect_delay_ms: ClassVar = 0
    close_after: ClassVar[CloseAfter] = "never"

    port: SerialPort
    # The level of RTS while we send, for transceivers whose direction the driver switches with it.
    rts: Literal["none", "high", "low"] = "none"

    @property
    def where(self) -> str:
        """Return the port as a person writes it."""
        return self.port


class RtuOverTcpBus(_RtuBus, frozen=True, kw_only=True, tag="rtu-over-tcp"):
    """A serial line behind a serial server that passes its bytes on unchanged."""

    type: ClassVar = "rtu-over-tcp"

    host: Host
    port: ModbusPort
    connect_delay_ms: Pause = 0  # from the connection to its first request
    close_after: CloseAfter = "never"

    @property
    def where(self) -> str:
        """Return the server as a person writes it."""
        return f"{self.host}:{self.port}"


class TcpBus(_Bus, frozen=True, kw_only=True, tag="tcp"):
    """A Modbus TCP device, or a gateway to several."""

    type: ClassVar = "tcp"
    is_ascii: ClassVar = False
    units: ClassVar = range(256)
    line: ClassVar = ""
    char_ms: ClassVar = 0.0
    silence_ms: ClassVar = 0.0

    host: Host
    port: ModbusPort
    # False: answers may have any transaction id. They are then known by their order, as on a line.
    check_transaction_id: bool = True
    connect_delay_ms: Pause = 0  # from the connection to its first request
    close_after: CloseAfter = "never"

    @property
    def has_ids(self) -> bool:
        """Return whether an answer has the transaction id of its request."""
        return self.check_transaction_id

    @property
    def where(self) -> str:
        """Return the device as a person writes it."""
        return f"{self.host}:{self.port}"


class AsciiBus(SerialBus, frozen=True, kw_only=True, tag="ascii"):
    """A serial port of this machine with Modbus ASCII."""

    type: ClassVar = "ascii"
    is_ascii: ClassVar = True

    parity: Literal["N", "E", "O"] = "E"
    data_bits: Literal[7, 8] = 7


class AsciiOverTcpBus(RtuOverTcpBus, frozen=True, kw_only=True, tag="ascii-over-tcp"):
    """A serial line with Modbus ASCII behind a serial server."""

    type: ClassVar = "ascii-over-tcp"
    is_ascii: ClassVar = True

    parity: Literal["N", "E", "O"] = "E"
    data_bits: Literal[7, 8] = 7


Bus: TypeAlias = SerialBus | AsciiBus | TcpBus | RtuOverTcpBus | AsciiOverTcpBus
