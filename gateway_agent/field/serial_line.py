"""A serial port as a transport of asyncio.

It is pymodbus' one: pyserial under asyncio, exclusive, raw, input flushed
(docs/decisions/0004-modbus-master.md). A gateway without a serial bus does not import it.
"""

import asyncio
import contextlib
import errno
import os
import select
from collections.abc import Callable
from typing import Final

from pymodbus.transport.serialtransport import SerialTransport
from serial import SerialException
from serial.rs485 import RS485Settings

from gateway_agent.config import SerialBus

_PIECE: Final = 1024  # read at once; the event loop comes again for more


class SerialLine(SerialTransport):
    """A serial port whose faults end the connection.

    pymodbus lets all but SerialException go to the event loop, which logs it, leaves the port
    registered and calls again at once, for ever.
    """

    def __init__(self, bus: SerialBus, link: asyncio.Protocol) -> None:
        self.sync_serial = None
        self._link = link
        try:
            super().__init__(
                asyncio.get_running_loop(),
                link,
                bus.port,
                baudrate=bus.baudrate,
                bytesize=bus.data_bits,
                parity=bus.parity,
                stopbits=bus.stopbits,
                timeout=0,
            )
            if bus.rts != "none":
                self._switch_direction(bus.rts == "high")
            self.setup()
        except BaseException:
            self._release()
            raise

    def _switch_direction(self, is_high: bool) -> None:
        """Have the driver switch the transceiver to sending, with RTS at this level."""
        try:
            self.sync_serial.rs485_mode = RS485Settings(is_high, not is_high)
        except (ValueError, OSError, NotImplementedError) as error:
            raise OSError(errno.EOPNOTSUPP, "its driver does not switch RTS") from error

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write at once if the port takes it, without a turn of the event loop before."""
        if self.intern_write_buffer or not self._takes_bytes():
            super().write(data)
            return
        self.intern_write_buffer.append(bytes(data))
        self.intern_write_ready()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the port."""
        return sum(map(len, self.intern_write_buffer))

    def intern_read_ready(self) -> None:
        """Read what has come; called by the event loop."""
        self._guard(self._read)

    def intern_write_ready(self) -> None:
        """Write what waits; called by the event loop."""
        self._guard(super().intern_write_ready)

    def close(self, exc: Exception | None = None) -> None:
        """Close the port. It is closed also if this raises."""
        try:
            super().close(exc)
        finally:
            self._release()

    def _read(self) -> None:
        if data := self._read_port():
            self._link.data_received(data)

    def _read_port(self) -> bytes:
        """Return what has come. pyserial's way to it refuses descriptors from 1024 on."""
        try:
            data = os.read(self.sync_serial.fileno(), _PIECE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise SerialException(f"read failed: {error}") from error
        if not data and self._polled(select.POLLIN):
            raise SerialException("read failed: the port is ready and has no bytes")
        return data

    def _takes_bytes(self) -> bool:
        """Return whether a write would take bytes: pyserial waits for ever if it takes none."""
        return self._polled(select.POLLOUT) == select.POLLOUT

    def _polled(self, events: int) -> int:
        """Return which of these events the port is ready for, and its faults."""
        poll = select.poll()
        poll.register(self.sync_serial.fileno(), events)
        return sum(found for _, found in poll.poll(0))

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the link gets it
            self._release()
            self.intern_protocol.connection_lost(error)

    def _release(self) -> None:
        """Let go of the port, whatever state it is in."""
        port, self.sync_serial = self.sync_serial, None
        if port is None:
            return
        self.intern_write_buffer = []
        number = getattr(port, "fd", None)
        if number is not None:
            for remove in (self.async_loop.remove_reader, self.async_loop.remove_writer):
                with contextlib.suppress(Exception):
                    remove(number)
        with contextlib.suppress(Exception):
            port.close()
        # Linux frees the number also if close fails. The finalizer of a port that counts as open
        # would close it once more, and it may be another file's by then.
        port.is_open = False
