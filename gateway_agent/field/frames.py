"""Requests, and finding their answers in what a bus delivers. No I/O, no clock.

pymodbus builds the requests, decodes device identifications and computes the CRC. Which bytes are
the answer is decided here, because pymodbus' RTU framer throws the whole buffer away at the first
wrong byte and checks neither function nor length of an answer against its request
(docs/decisions/0004-modbus-master.md has the cases).
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from pymodbus.framer import FramerRTU
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest, ReadDeviceInformationResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from protocols.wire.crc import crc16

from .planner import HOLDING, INPUT, Read

IDENTIFY: Final = 0x2B  # encapsulated interface transport, Modbus Application Protocol 6.21
VARIABLE: Final = -1  # the answer's length stands in the answer

MAX_RTU: Final = 256  # Modbus over Serial Line V1.02, 2.5.1: the longest frame
MAX_BUFFER: Final = 2 * MAX_RTU  # what is kept while waiting for one answer: it and one stranger
MAX_MBAP_LENGTH: Final = 254  # unit and PDU (253), Modbus Messaging on TCP/IP V1.0b, 3.1.3
_MIN_RTU: Final = 5  # address, function, one byte, CRC: the shortest answer
_MBAP: Final = 7
LATE: Final = -2  # data bytes of a stranger with the transaction id of an earlier request
_ERROR: Final = 0x80
_WRITES: Final = (5, 6, 15, 16)  # functions whose answer has 8 bytes on a serial line


class Shape(NamedTuple):
    """What tells one answer from another on a serial line: unit, function, bytes of data."""

    unit: int
    function: int
    data_bytes: int


@dataclass(frozen=True, slots=True)
class Request:
    """One request, encoded once and sent many times. ``adu`` is its RTU frame."""

    shape: Shape
    pdu: bytes
    read: Read | None
    adu: bytes = field(init=False)
    header: bytes = field(init=False)  # how its answer begins in RTU
    refusal: bytes = field(init=False)  # how an exception answer begins

    def __post_init__(self) -> None:
        unit, function, data_bytes = self.shape
        frame = bytes((unit,)) + self.pdu
        object.__setattr__(self, "adu", frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big"))
        third = 0x0E if data_bytes == VARIABLE else data_bytes
        object.__setattr__(self, "header", bytes((unit, function, third)))
        object.__setattr__(self, "refusal", bytes((unit, function | _ERROR)))


def read_request(unit: int, read: Read) -> Request:
    """Read holding or input registers. ValueError outside 1 to 125 registers of 65,536."""
    kind = {HOLDING: ReadHoldingRegistersRequest, INPUT: ReadInputRegistersRequest}[read.function]
    pdu = kind(address=read.address, count=read.words, dev_id=unit)
    shape = Shape(unit, read.function, 2 * read.words)
    return Request(shape, bytes((read.function,)) + pdu.encode(), read)


def identify_request(unit: int, access: int, object_id: int) -> Request:
    """Read device identification (FC 2B/0E); ``access`` 1 basic, 2 regular, 3 extended, 4 one."""
    pdu = ReadDeviceInformationRequest(access, object_id, dev_id=unit)
    return Request(Shape(unit, IDENTIFY, VARIABLE), bytes((IDENTIFY,)) + pdu.encode(), None)


class Identification(NamedTuple):
    """Objects of one identification answer; ``next_object`` when more follow, else None."""

    objects: dict[int, bytes]
    next_object: int | None


def decode_identification(pdu: bytes) -> Identification:
    """Decode the answer PDU to :func:`identify_request`; ValueError if its lengths do not fit.

    The lengths are checked first: pymodbus cuts an object that reaches past the end silently.
    """
    at = 7
    if len(pdu) < at:
        raise ValueError(f"identification of {len(pdu)} bytes, expected at least {at}")
    for _ in range(pdu[6]):
        if at + 2 > len(pdu) or at + 2 + pdu[at + 1] > len(pdu):
            raise ValueError(f"identification object at byte {at} reaches past the end")
        at += 2 + pdu[at + 1]
    if at != len(pdu):
        raise ValueError(f"identification has {len(pdu) - at} bytes too many")
    answer = ReadDeviceInformationResponse()
    answer.decode(pdu[1:])
    objects = {key: value for key, value in answer.information.items() if isinstance(value, bytes)}
    return Identification(objects, answer.next_object_id if answer.more_follows else None)


@dataclass(slots=True)
class Tally:
    """What came besides the answer since the request was sent."""

    bad_crc: int = 0  # the answer's own header, but a wrong CRC or a frame cut short
    noise: int = 0  # bytes that belong to no valid frame
    strangers: list[Shape] = field(default_factory=list)  # valid frames that are not the answer


class Scanner(Protocol):
    """Finds one answer at a time."""

    tally: Tally

    def begin(self, request: Request) -> bytes:
        """Forget everything, expect the answer to ``request``; returns the bytes to send."""

    def feed(self, data: bytes) -> bytes | None:
        """The answer's PDU (function and data) if it is complete. FramingError: reconnect."""

    def finish(self) -> Tally:
        """Judge what is left in the buffer, empty it, and return the tally."""


class FramingError(Exception):
    """A TCP peer sent something that is no MBAP header: where the next begins is unknown."""


class RtuScanner:
    """The answer may stand anywhere in the buffer: behind noise, a stranger's or a late frame."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._buffer = bytearray()
        self._request: Request | None = None

    def begin(self, request: Request) -> bytes:
        """See :class:`Scanner`."""
        self.tally = Tally()
        self._buffer = bytearray()
        self._request = request
        return request.adu

    def feed(self, data: bytes) -> bytes | None:
        """See :class:`Scanner`."""
        buffer = self._buffer
        buffer += data
        request = self._request
        if request is None or len(buffer) < _MIN_RTU:
            self._cap()
            return None
        found = _find(buffer, request.header, request) or _find(buffer, request.refusal, request)
        if found is None:
            self._cap()
            return None
        at, length = found
        pdu = bytes(buffer[at + 1 : at + length - 2])
        self._request = None
        # Most answers come alone; only what stands around one has to be judged.
        del buffer[at : at + length]
        if buffer:
            self._judge(request, whole=False)
        return pdu

    def finish(self) -> Tally:
        """See :class:`Scanner`."""
        self._judge(self._request, whole=self._request is not None)
        self._request = None
        return self.tally

    def _cap(self) -> None:
        over = len(self._buffer) - MAX_BUFFER
        if over > 0:
            del self._buffer[:over]
            self.tally.noise += over

    def _judge(self, request: Request | None, whole: bool) -> None:
        """Sort the buffer into strangers' frames, the request's own echo, and noise."""
        buffer = self._buffer
        tally = self.tally
        at = 0
        while at < len(buffer):
            if request is not None and buffer.startswith(request.adu, at):
                at += len(request.adu)  # adapters without echo suppression return what was sent
                continue
            length = _frame_length(buffer, at)
            if length and _crc_good(buffer, at, length):
                # An exception or a variable answer has no length to be told by.
                function = buffer[at + 1]
                data = buffer[at + 2] if function in (HOLDING, INPUT) else VARIABLE
                tally.strangers.append(Shape(buffer[at], function, data))
                at += length
                continue
            if whole and request is not None and buffer.startswith(request.header, at):
                tally.bad_crc += 1
            tally.noise += 1
            at += 1
        buffer.clear()


def _find(buffer: bytearray, header: bytes, request: Request) -> tuple[int, int] | None:
    """Where the answer stands and how long it is; None if it is not (all) there."""
    at = buffer.find(header)
    while at >= 0:
        length = _frame_length(buffer, at)
        if length and _crc_good(buffer, at, length):
            return at, length
        at = buffer.find(header, at + 1)
    return None


def _frame_length(buffer: bytearray, at: int) -> int:
    """Length of the answer that begins at ``at``; 0 if it is not all there or no answer."""
    rest = len(buffer) - at
    if rest < _MIN_RTU:
        return 0
    function = buffer[at + 1]
    if function & _ERROR:
        length = _MIN_RTU
    elif function in (HOLDING, INPUT):
        length = buffer[at + 2] + _MIN_RTU
        if not buffer[at + 2] or buffer[at + 2] & 1:
            return 0
    elif function in _WRITES:
        length = 8
    elif function == IDENTIFY and buffer[at + 2] == 0x0E:
        length = ReadDeviceInformationResponse.calculateRtuFrameSize(bytes(buffer[at:]))
    else:
        return 0
    return length if length <= min(rest, MAX_RTU) else 0


def _crc_good(buffer: bytearray, at: int, length: int) -> bool:
    end = at + length
    return crc16(buffer[at : end - 2]) == buffer[end - 2] | buffer[end - 1] << 8


class MbapScanner:
    """Modbus TCP: the transaction id says which request an answer belongs to."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._buffer = b""
        self._request: Request | None = None
        self._tid = 0

    def begin(self, request: Request) -> bytes:
        """See :class:`Scanner`."""
        if self.tally.noise or self.tally.strangers:
            self.tally = Tally()
        self._request = request
        self._tid = tid = self._tid % 0xFFFF + 1
        pdu = request.pdu
        return (tid << 32 | len(pdu) + 1).to_bytes(6, "big") + request.adu[: len(pdu) + 1]

    def feed(self, data: bytes) -> bytes | None:
        """See :class:`Scanner`. FramingError: wrong protocol id or length."""
        if self._buffer:
            data = self._buffer + data
        at = 0
        answer = None
        while len(data) - at >= _MBAP + 1:
            length = data[at + 4] << 8 | data[at + 5]
            if data[at + 2] or data[at + 3] or not 3 <= length <= MAX_MBAP_LENGTH:
                self._buffer = b""
                raise FramingError(
                    f"no MBAP header: {data[at : at + _MBAP].hex(' ')} at byte {at}, expected "
                    f"protocol id 0 and a length from 3 to {MAX_MBAP_LENGTH}"
                )
            end = at + 6 + length
            if len(data) < end:
                break
            if self._is_answer(data, at, length):
                self._request = None
                answer = data[at + _MBAP : end]
            else:
                function = data[at + 7]
                late = self._request is None or data[at] << 8 | data[at + 1] != self._tid
                self.tally.strangers.append(
                    Shape(data[at + 6], function, LATE if late else VARIABLE)
                )
            at = end
        self._buffer = data[at:]
        return answer

    def _is_answer(self, data: bytes, at: int, length: int) -> bool:
        request = self._request
        if request is None or data[at] << 8 | data[at + 1] != self._tid:
            return False
        unit, function, data_bytes = request.shape
        if data[at + 6] != unit:
            return False
        if data[at + 7] == function:
            if data_bytes == VARIABLE:
                return True
            return length == data_bytes + 3 and data[at + 8] == data_bytes
        return data[at + 7] == function | _ERROR and length == 3

    def finish(self) -> Tally:
        """See :class:`Scanner`. A frame that has begun stays: the stream goes on in it."""
        self._request = None
        tally, self.tally = self.tally, Tally()
        return tally
