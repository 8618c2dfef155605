"""ThingsBoard's gateway MQTT API: devices connect, telemetry has our times, RPCs get an answer.

From ThingsBoard's reference of that API, not from a standard. A platform's device is one of ours,
by its configured name. Commands go to whoever may take them, else they are answered with an error.
"""

import json
from collections.abc import Callable
from typing import Final, NamedTuple

from protocols.export_message import PlainCore, PlatformMessage
from protocols.export_record import DeviceInfo, Portion

TELEMETRY: Final = "v1/gateway/telemetry"
CONNECT: Final = "v1/gateway/connect"
ATTRIBUTES: Final = "v1/gateway/attributes"
RPC: Final = "v1/gateway/rpc"
MAX_RPC_BYTES: Final = 4096
METHODS: Final = ("get", "set", "restart")
MAX_RPC_TEXT: Final = 64  # characters of a method, a name, a value
REFUSAL: Final = "this gateway takes no commands from the platform"
BUSY: Final = "commands of the platform wait already: repeat it later"


class RpcCommand(NamedTuple):
    """A call with a method of ours: ``get`` and ``set`` of a setting or point, ``restart``."""

    device: str
    number: int  # of the call, which the answer repeats
    method: str
    name: str = ""
    value: str = ""
    confirm: bool = False

    def answer(self, data: dict[str, object]) -> PlatformMessage:
        """Return the answer to this call."""
        return _answer(self.device, self.number, data)


#: Takes a command, which is answered when it is over; False: there is no room for it.
TakeCommand = Callable[[RpcCommand], bool]


class ThingsBoardCore(PlainCore):
    """All devices of a gateway as devices of a ThingsBoard tenant."""

    def __init__(
        self,
        gateway: str,
        devices: dict[str, DeviceInfo],
        take: TakeCommand | None = None,
    ) -> None:
        """``take``: gets commands; None: they are refused."""
        self._take = take
        self._gateway = gateway
        self._devices = devices
        self._connected: set[str] = set()

    def filters(self) -> list[str]:
        """Return the topic of commands."""
        return [RPC]

    def opened(self, now_ms: int | None) -> list[PlatformMessage]:
        """Begin anew: the platform has forgotten which devices are connected."""
        self._connected.clear()
        return []

    def messages(self, portion: Portion, now_ms: int | None) -> list[PlatformMessage]:
        """Return one message of telemetry for all records, after what introduces new devices."""
        telemetry: dict[str, list[dict[str, object]]] = {}
        seqs = []
        found = []
        for record in portion.records:
            values: dict[str, object] = {}
            if record.gap is not None:
                values["gap"] = record.gap.cause
            elif record.is_data:
                values = {one.name: one.value for one in record.points if one.value is not None}
            if not values:
                continue
            if record.name not in self._connected:
                self._connected.add(record.name)
                found += self._introduce(record.device, record.name, record.role)
            telemetry.setdefault(record.name, []).append({"ts": record.wall_ms, "values": values})
            seqs.append(record.seq)
        if telemetry:
            found.append(PlatformMessage(TELEMETRY, _json(telemetry), tuple(seqs)))
        return found

    def _introduce(self, device: str, name: str, role: str) -> list[PlatformMessage]:
        known = self._devices.get(device)
        bus = known.bus if known is not None else ""
        attributes = {"gateway": self._gateway, "id": device, "bus": bus, "role": role}
        return [
            PlatformMessage(CONNECT, _json({"device": name, "type": role or "gateway"})),
            PlatformMessage(ATTRIBUTES, _json({name: attributes})),
        ]

    def received(self, topic: str, payload: bytes) -> list[PlatformMessage]:
        """Pass a command on, or answer it with a refusal. ValueError: it is no command."""
        if topic != RPC or len(payload) > MAX_RPC_BYTES:
            raise ValueError(f"expected a command on {RPC}, got {len(payload)} bytes on {topic!r}")
        try:
            command = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"expected a command in JSON, got {payload[:60]!r}") from error
        data = command.get("data") if isinstance(command, dict) else None
        device = command.get("device") if isinstance(command, dict) else None
        number = data.get("id") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(device, str):
            raise ValueError(f"expected a device and data in a command, got {payload[:60]!r}")
        if type(number) is not int or abs(number) >= 1 << 63:
            raise ValueError(f"expected a device and an id in a command, got {payload[:60]!r}")
        if device not in {one.name for one in self._devices.values()}:
            raise ValueError(f"expected one of our devices in a command, got {device[:60]!r}")
        if self._take is None:
            return [_answer(device, number, {"error": REFUSAL})]
        try:
            wanted = _command(device, number, data)
        except ValueError as error:
            return [_answer(device, number, {"error": str(error)})]
        return [] if self._take(wanted) else [wanted.answer({"error": BUSY})]


def _command(device: str, number: int, data: dict[str, object]) -> RpcCommand:
    """Read method and parameters of a call. ValueError: they are none of ours."""
    method, params = data.get("method"), data.get("params")
    if method not in METHODS:
        raise ValueError(f"expected a method {', '.join(METHODS)}, got {str(method)[:60]!r}")
    fields = params if isinstance(params, dict) else {"name": params or ""}
    name, value = fields.get("name", ""), fields.get("value", "")
    if type(value) in (int, float):
        value = f"{value:.17g}" if isinstance(value, float) else str(value)
    if not isinstance(name, str) or not isinstance(value, str):
        raise ValueError('expected params as {"name": "sample_period", "value": "5 s"}')
    if max(len(name), len(value)) > MAX_RPC_TEXT:
        raise ValueError(f"expected a name and a value of at most {MAX_RPC_TEXT} characters")
    return RpcCommand(device, number, str(method), name, value, fields.get("confirm") is True)


def _answer(device: str, number: int, data: dict[str, object]) -> PlatformMessage:
    return PlatformMessage(RPC, _json({"device": device, "id": number, "data": data}))


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
