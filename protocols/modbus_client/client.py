"""What a Modbus client core does, whatever carries its frames.

It reads like the server core (:mod:`protocols.wire.modbus.server`). Bytes go in through ``feed``.
What comes out is a whole message, or that more bytes are needed, or that the peer broke the format.
Everything else that came is counted::

    outcome                    | client                  | server
    ---------------------------+-------------------------+---------------------------------
    more bytes are needed      | feed returns None       | poll returns NEED_DATA
    the message that is for us | feed returns the PDU    | poll returns n: the answer's length
    something that is not      | ``unexpected`` has it   | poll returns SILENT, ``counters`` have it
    the stream is lost (TCP)   | feed raises PeerError   | -

A client has two states. An answer is sought only in WAITING::

    state    | send(request) | feed: the answer | feed: anything else | finish()
    ---------+---------------+------------------+---------------------+---------
    IDLE     | WAITING       | IDLE             | IDLE                | IDLE
    WAITING  | WAITING       | IDLE             | WAITING             | IDLE
"""

from typing import Protocol

from msgspec import Struct, field

from protocols.modbus_client.request import AnswerShape, Request


class Unexpected(Struct):
    """What came besides the answer since the request was sent."""

    damaged: int = 0  # answers of the right beginning with a wrong CRC, or cut short
    noise_bytes: int = 0  # bytes that belong to no valid frame
    begun_bytes: int = 0  # of a frame on TCP that is not whole yet
    foreign: list[AnswerShape] = field(default_factory=list)  # valid frames: other answers
    # Answers that another master asked for; its requests are noise.
    others: list[AnswerShape] = field(default_factory=list)


class ModbusClient(Protocol):
    """Finds the answer to one request at a time."""

    unexpected: Unexpected

    def send(self, request: Request) -> bytes:
        """Return the bytes to send, and expect the answer to ``request`` from now on."""

    def feed(self, data: bytes) -> bytes | None:
        """Return the PDU of the answer (function and data) if it is complete, else None.

        PeerError where nothing tells where the next frame begins: connect again.
        """

    def finish(self) -> Unexpected:
        """Give up the request, sort what is left in the buffer, and return what came besides."""
