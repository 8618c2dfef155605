"""Why a request on a bus has no good answer."""

from protocols.modbus_client import Request
from protocols.modbus_client.names import EXCEPTION_NAMES


class BusError(Exception):
    """A request without a good answer. ``cause`` is one of ``protocols.uplink.CAUSES``."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


class BusDownError(BusError):
    """The port cannot be opened or the connection is gone; nothing was sent."""


class RefusedError(BusError):
    """The unit answered with an exception code (Modbus Application Protocol V1.1b3, 7)."""

    def __init__(self, code: int, request: Request) -> None:
        unit, function, _ = request.shape
        what = f"unit {unit} refused function {function} with exception {code:02X}"
        if code in EXCEPTION_NAMES:
            what += f", {EXCEPTION_NAMES[code]}"
        if request.read is not None:
            what += f" (registers {request.read.address} + {request.read.words})"
        super().__init__("exception", what)
        self.code = code
