"""Why a request on a bus has no good answer, and what a technician can do about it."""

import errno
import socket
import termios
from typing import Final

from gateway_agent.config import Bus, SerialBus
from gateway_agent.store.errors import StoreFailed
from protocols.modbus_client import WRONG_ID, AnswerShape, Request, Unexpected
from protocols.modbus_client.names import ACKNOWLEDGE, EXCEPTION_NAMES, NO_PATH, NO_TARGET
from protocols.wire.modbus.pdu import BUSY

# A bus cannot go on after these: they end the agent, whichever bus they come up on.
FATAL: Final = (MemoryError, StoreFailed)
# Blocks of one poll without any answer, after which the rest would be the same.
GIVE_UP: Final = 2

# What to do about bytes on a connection that are no Modbus TCP.
NO_MBAP: Final = 'is it a serial server that passes bytes on? Then its bus is type = "rtu-over-tcp"'

_ADAPTER: Final = "check that the adapter is plugged in and has power"
_OTHER_PROGRAM: Final = "another program uses the port: stop it"
_NETWORK: Final = "check the power of the device, its cable and its address"
_ADVICE: Final = {
    errno.ENOENT: f"{_ADAPTER}, and the name of the port",
    errno.ENODEV: _ADAPTER,
    errno.ENXIO: _ADAPTER,
    errno.EIO: _ADAPTER,
    errno.EACCES: "let the user of the gateway use the port (on Debian: group dialout)",
    errno.EPERM: "let the user of the gateway use the port (on Debian: group dialout)",
    errno.EAGAIN: _OTHER_PROGRAM,
    errno.EBUSY: _OTHER_PROGRAM,
    errno.EINVAL: "check that the port supports the baudrate, parity and stopbits of this bus",
    errno.EOPNOTSUPP: (
        'write rts = "none" if the adapter switches its direction by itself, as most do that are'
        " plugged into USB; else use a port whose driver supports RS-485"
    ),
    errno.ENOTTY: "check the name of the port: this is no serial port",
    errno.EMFILE: "too many files are open: raise the limit of the service (LimitNOFILE)",
    errno.ENFILE: "too many files are open on this machine: find the program that opens them",
    errno.ECONNREFUSED: "check the port number, and that no other client holds the connection",
    errno.EHOSTUNREACH: _NETWORK,
    errno.ENETUNREACH: "check the network settings of the gateway",
    errno.ETIMEDOUT: _NETWORK,
}
_REPORT: Final = "this is a fault of the gateway's software or a library: report it with the log"


class BusError(Exception):
    """A request without a good answer. ``cause`` is one of ``protocols.uplink.CAUSES``.

    ``counted``: under which name counters and ``status`` have it; they tell more causes apart.
    """

    def __init__(self, cause: str, detail: str, counted: str = "") -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail
        self.counted = counted or cause


class ClosedEarlyError(BusError):
    """The peer closed the connection before a byte of the answer came: it can be asked again."""


class BusDownError(BusError):
    """The port cannot be opened or used: this shows nothing about the devices on the bus."""

    def __init__(self, detail: str, counted: str = "bus_down") -> None:
        super().__init__("bus_timeout", detail, counted)


class RefusedError(BusError):
    """The unit answered with an exception code (Modbus Application Protocol V1.1b3, 7).

    A gateway box answers with 0A or 0B for a device behind it that it cannot reach: ``is_silence``.
    A device answers with 05 or 06 if it cannot answer now, but later: ``is_busy``.
    """

    def __init__(self, code: int, request: Request) -> None:
        unit, function, _ = request.shape
        what = f"unit {unit} refused function {function} with exception {code:02X}"
        if code in EXCEPTION_NAMES:
            what += f", {EXCEPTION_NAMES[code]}"
        if request.read is not None:
            what += f" (registers {request.read.address} + {request.read.words})"
        self.code = code
        self.is_silence = code in (NO_PATH, NO_TARGET)
        self.is_busy = code in (ACKNOWLEDGE, BUSY)
        cause = "device_busy" if self.is_busy else "exception"
        super().__init__("bus_timeout" if self.is_silence else cause, what)


def why_none(unit: int, came: Unexpected, noise_bytes: int, timeout_ms: int) -> tuple[str, str]:
    """Return cause and detail where no good frame came from ``unit`` in time."""
    if came.damaged:
        return "crc", f"unit {unit}: answer damaged or cut short"
    if came.begun_bytes:
        detail = f"unit {unit}: {came.begun_bytes} bytes within {timeout_ms} ms"
        return "bad_frame", f"{detail}, which are no whole answer; {NO_MBAP}"
    if noise_bytes:
        return "crc", f"unit {unit}: {noise_bytes} bytes that are no frame"
    return "bus_timeout", f"unit {unit}: no answer within {timeout_ms} ms"


def why_foreign(request: Request, shape: AnswerShape) -> tuple[str, str]:
    """Return cause and detail for a good frame that came instead of the answer."""
    unit, function, size = request.shape
    if shape.data_bytes == WRONG_ID:
        return "bad_frame", (
            f"unit {request.asked}: the answer has a transaction id that no request had; if the"
            " device does so always, set check_transaction_id = false for its bus"
        )
    if shape.unit != unit:
        return "wrong_unit", (
            f"unit {request.asked} asked, unit {shape.unit} answered function {shape.function}; if"
            f" a gateway box does so always, set answer_unit = {shape.unit} for the device"
        )
    detail = f"unit {request.asked} answered function {shape.function}"
    if shape.function != function:
        return "bad_frame", f"{detail} instead of {function}"
    return "bad_frame", f"{detail} with {shape.data_bytes} bytes of data instead of {size}"


def why_contested(request: Request) -> tuple[str, str]:
    """Return cause and detail where another master asked for an answer of the same form."""
    return "bad_frame", (
        f"unit {request.asked}: another master asked it for as much meanwhile, so nothing shows"
        " whose answer came; let one master only ask on this line"
    )


def is_expected(error: BaseException) -> bool:
    """Return whether ports and networks raise such an error; any other is a fault of software."""
    return isinstance(error, OSError | termios.error | UnicodeError)


def explain(bus: Bus, failed: str, error: BaseException) -> str:
    """Return one line for a technician: the port, what failed and why, and what to check."""
    # A timeout and some errors of libraries have no text; the path stands in some texts only.
    reason = str(error) or type(error).__name__
    if isinstance(error, termios.error):
        reason = ", ".join(str(part) for part in error.args[1:]) or reason
    if not is_expected(error):
        reason = f"{type(error).__name__}: {error}"
    return f"{bus.where} {failed}: {reason}; {_advice(bus, error)}"


def _advice(bus: Bus, error: BaseException) -> str:
    if not is_expected(error):
        return _REPORT
    if isinstance(error, socket.gaierror | UnicodeError):
        return "check the host name, and that the gateway can look names up"
    fallback = _ADAPTER if isinstance(bus, SerialBus) else _NETWORK
    return _ADVICE.get(_number(error), fallback)


def _number(error: BaseException | None) -> int:
    """Return the errno of an error or of the one that it replaces; 0 if none has one."""
    while error is not None:
        # termios.error is no OSError and has the number as its first argument.
        number = error.args[0] if isinstance(error, termios.error) and error.args else None
        number = error.errno if isinstance(error, OSError) else number
        if isinstance(number, int):
            return number
        error = error.__cause__ or error.__context__
    return 0
