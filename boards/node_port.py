"""What carries a tool's requests to a node: a serial port of this machine, or a running gateway.

``gateway:BUS`` names a bus of the gateway on this machine, ``gateway:DIR/BUS`` of the one with the
state directory DIR. Its agent owns the line and gives each request a turn between its polls
(:mod:`protocols.modbus_client.turn`).
"""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec
import serial

from protocols.modbus_client import Request, RtuClient
from protocols.modbus_client.turn import (
    ANSWER_S,
    MAX_ANSWER,
    SOCKET_NAME,
    TurnAnswer,
    TurnQuestion,
)
from protocols.wire.crc import crc16
from protocols.wire.modbus.timing import t35_us

from .flash.errors import CABLE, SITE_GATEWAY, FlashingError
from .flash.serial_port import port_error

BAUD: Final = 9600  # of a serial port, unless another is asked for
STATE_DIR: Final = Path("/var/lib/tianfu-gateway")  # of a gateway that was installed as a package
_GATEWAY: Final = "gateway:"
_WRITE_S: Final = 1.0

#: Takes every frame that was sent (True) and what came (False).
Tap = Callable[[bool, bytes], None]


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No good answer came; ``noise_bytes`` that are none came instead."""

    reason: str
    noise_bytes: int


class NodePort(Protocol):
    """Carries one request at a time."""

    def exchange(self, request: Request, answer_s: float) -> bytes | NoAnswer:
        """Return the PDU of the answer, awaited for ``answer_s``. FlashingError: it has failed."""

    def close(self) -> None:
        """Let go of the port."""


def is_gateway(port: str) -> bool:
    """Return whether a port is a bus of a gateway."""
    return port.startswith(_GATEWAY)


def speed_at(port: str, baud: int) -> int:
    """Return the speed to use at a port: ``baud``, unless that is 0. FlashingError."""
    return baud or (_GatewayPort(port, 0).speed() if is_gateway(port) else BAUD)


def open_node_port(port: str, baud: int, tap: Tap) -> NodePort:
    """Open a port at a speed. FlashingError."""
    return _GatewayPort(port, baud, tap) if is_gateway(port) else _SerialPort(port, baud, tap)


class _SerialPort:
    """A port of this machine, which no agent may have open."""

    def __init__(self, port: str, baud: int, tap: Tap) -> None:
        self._port = port
        self._tap = tap
        self._silence_s = t35_us(baud) / 1e6
        try:
            self._serial = serial.serial_for_url(
                port, baudrate=baud, timeout=0.02, write_timeout=_WRITE_S, exclusive=True
            )
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise port_error(port, error) from error

    def exchange(self, request: Request, answer_s: float) -> bytes | NoAnswer:
        """See NodePort."""
        client = RtuClient()
        try:
            time.sleep(self._silence_s)
            self._serial.reset_input_buffer()
            frame = client.send(request)
            self._serial.write(frame)
            self._tap(True, frame)
            deadline = time.monotonic() + answer_s
            answer = None
            while answer is None and time.monotonic() < deadline:
                came = self._serial.read(max(1, self._serial.in_waiting))
                self._tap(False, came)
                answer = client.feed(came)
        except OSError as error:
            raise FlashingError(CABLE, f"{self._port}: {error}") from error
        if answer is not None:
            return answer
        noise = client.finish().noise_bytes
        got = f"{noise} bytes that are no answer" if noise else "nothing"
        return NoAnswer(f"expected an answer within {answer_s:g} s, got {got}", noise)

    def close(self) -> None:
        """See NodePort."""
        self._serial.close()


class _GatewayPort:
    """A bus of a running gateway. How long an answer is awaited, the gateway's settings say."""

    def __init__(self, port: str, baud: int, tap: Tap = lambda _sent, _data: None) -> None:
        directory, _, self._bus = port.removeprefix(_GATEWAY).rpartition("/")
        self._socket = (Path(directory) if directory else STATE_DIR) / SOCKET_NAME
        self._port = port
        self._baud = baud
        self._tap = tap

    def speed(self) -> int:
        """Return the speed of the bus. FlashingError."""
        return self._ask(TurnQuestion(self._bus)).baudrate

    def exchange(self, request: Request, answer_s: float) -> bytes | NoAnswer:
        """See NodePort."""
        self._tap(True, request.adu)
        unit, pdu = request.asked, request.pdu.hex()
        answer = self._ask(TurnQuestion(self._bus, unit, pdu, self._baud))
        if answer.silence:
            return NoAnswer(f"expected an answer, got none: {answer.silence}", answer.noise_bytes)
        frame = bytes((unit,)) + bytes.fromhex(answer.pdu)
        self._tap(False, frame + crc16(frame).to_bytes(2, "little"))
        return frame[1:]

    def close(self) -> None:
        """See NodePort."""

    def _ask(self, question: TurnQuestion) -> TurnAnswer:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(ANSWER_S)
                self._connect(client)
                client.sendall(msgspec.json.encode(question) + b"\n")
                with client.makefile("rb") as stream:
                    line = stream.readline(MAX_ANSWER)
            answer = msgspec.json.decode(line, type=TurnAnswer)
            bytes.fromhex(answer.pdu)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise self._failed("no agent of a gateway answers there") from error
        except (OSError, ValueError) as error:  # DecodeError is a ValueError
            raise self._failed(str(error) or "the agent has closed the connection") from error
        if answer.error or not (answer.pdu or answer.silence or answer.baudrate):
            raise self._failed(answer.error or "the agent gave no answer")
        return answer

    def _connect(self, client: socket.socket) -> None:
        # A directory by its number: the name of a socket has at most 107 bytes.
        directory = os.open(self._socket.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            client.connect(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
        finally:
            os.close(directory)

    def _failed(self, why: str) -> FlashingError:
        return FlashingError(SITE_GATEWAY, f"{self._port} ({self._socket}): {why}")
