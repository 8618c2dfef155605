"""A client for Modbus TCP without I/O (Modbus Messaging on TCP/IP V1.0b, section 3.1.3).

The transaction id of the MBAP header says which request an answer belongs to.
"""

from typing import Final

from protocols.modbus_client.client import Unexpected
from protocols.modbus_client.request import FIXED, LATE, VARIABLE, WRONG_ID, AnswerShape, Request
from protocols.wire.errors import BAD_VALUE, PeerError
from protocols.wire.modbus.pdu import EXCEPTION

MAX_LENGTH: Final = 254  # of the header's length field: unit and PDU (253)
_MIN_LENGTH: Final = 3  # unit, function, one byte
_IDS: Final = 0xFFFF  # 1 to this; 0 is never sent
_HEADER: Final = 7
_UNIT: Final = 6  # where the unit stands
_FUNCTION: Final = 7


class MbapClient:
    """The client for Modbus TCP frames (:class:`.client.ModbusClient`).

    Memory is one frame, whatever comes.
    """

    def __init__(self, check_ids: bool = True) -> None:
        """``check_ids`` False: take answers with any transaction id, known by order alone."""
        self.unexpected = Unexpected()
        self._checks_ids = check_ids
        self._sent = 0
        self._buffer = b""
        self._request: Request | None = None  # None: IDLE
        self._tid = 0

    def send(self, request: Request) -> bytes:
        """See :class:`.client.ModbusClient`."""
        if self.unexpected.noise_bytes or self.unexpected.foreign:
            self.unexpected = Unexpected()
        self._request = request
        self._tid = tid = self._tid % _IDS + 1
        self._sent += 1
        pdu = request.pdu
        return (tid << 32 | len(pdu) + 1).to_bytes(6, "big") + request.adu[: len(pdu) + 1]

    def feed(self, data: bytes) -> bytes | None:
        """See :class:`.client.ModbusClient`. PeerError: wrong protocol id or length."""
        if self._buffer:
            data = self._buffer + data
        at = 0
        answer = None
        while len(data) - at > _HEADER:
            length = data[at + 4] << 8 | data[at + 5]
            if data[at + 2] or data[at + 3] or not _MIN_LENGTH <= length <= MAX_LENGTH:
                self._buffer = b""
                raise PeerError(
                    BAD_VALUE,
                    "MBAP header",
                    at,
                    f"protocol id 0 and a length from {_MIN_LENGTH} to {MAX_LENGTH}",
                    data[at : at + _HEADER].hex(" "),
                )
            end = at + 6 + length
            if len(data) < end:
                break
            if self._is_answer(data, at, length):
                self._request = None
                answer = data[at + _FUNCTION : end]
            else:
                size = self._size(data, at, length)
                shape = AnswerShape(data[at + _UNIT], data[at + _FUNCTION], size)
                self.unexpected.foreign.append(shape)
            at = end
        self._buffer = data[at:]
        return answer

    def _is_answer(self, data: bytes, at: int, length: int) -> bool:
        request = self._request
        if request is None:
            return False
        if self._checks_ids and data[at] << 8 | data[at + 1] != self._tid:
            return False
        unit, function, data_bytes = request.shape
        if data[at + _UNIT] != unit:
            return False
        if data[at + _FUNCTION] == function:
            if data_bytes == VARIABLE:
                return True
            if data_bytes == FIXED:
                return data[at + _UNIT : at + 6 + length] == request.header
            return length == data_bytes + 3 and data[at + 8] == data_bytes
        return data[at + _FUNCTION] == function | EXCEPTION and length == 3

    def _size(self, data: bytes, at: int, length: int) -> int:
        """Return what stands for the size of an answer that is not the one expected."""
        tid = data[at] << 8 | data[at + 1]
        request = self._request
        if not self._checks_ids or (tid == self._tid and request is not None):
            size = length - _MIN_LENGTH
            # Where the frame is as long as it should be, its byte count is what is wrong.
            is_right = request is not None and size == request.shape.data_bytes
            return data[at + _FUNCTION + 1] if is_right else size
        sent_before = (self._tid - tid) % _IDS < self._sent
        return LATE if tid and sent_before else WRONG_ID

    def finish(self) -> Unexpected:
        """See :class:`.client.ModbusClient`. A frame that has begun stays: it will go on."""
        self._request = None
        unexpected, self.unexpected = self.unexpected, Unexpected()
        unexpected.begun_bytes = len(self._buffer)
        return unexpected
