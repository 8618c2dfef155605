"""ThingsBoard's gateway MQTT API: devices connect, telemetry has our times, RPCs get an answer.

From ThingsBoard's reference of that API, not from a standard. A platform's device is one of ours,
by its configured name. Commands are answered with an error: nothing here changes a node.
"""

import json
from typing import Final

from protocols.export_message import PlainCore, PlatformMessage
from protocols.export_record import DeviceInfo, Portion

TELEMETRY: Final = "v1/gateway/telemetry"
CONNECT: Final = "v1/gateway/connect"
ATTRIBUTES: Final = "v1/gateway/attributes"
RPC: Final = "v1/gateway/rpc"
MAX_RPC_BYTES: Final = 4096
REFUSAL: Final = "this gateway takes no commands from the platform"


class ThingsBoardCore(PlainCore):
    """All devices of a gateway as devices of a ThingsBoard tenant."""

    def __init__(self, gateway: str, devices: dict[str, DeviceInfo]) -> None:
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
        """Answer a command with a refusal. ValueError: it is no command."""
        if topic != RPC or len(payload) > MAX_RPC_BYTES:
            raise ValueError(f"expected a command on {RPC}, got {len(payload)} bytes on {topic!r}")
        try:
            command = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"expected a command in JSON, got {payload[:60]!r}") from error
        data = command.get("data") if isinstance(command, dict) else None
        device = command.get("device") if isinstance(command, dict) else None
        number = data.get("id") if isinstance(data, dict) else None
        if not isinstance(device, str) or type(number) is not int or abs(number) >= 1 << 63:
            raise ValueError(f"expected a device and an id in a command, got {payload[:60]!r}")
        if device not in {one.name for one in self._devices.values()}:
            raise ValueError(f"expected one of our devices in a command, got {device[:60]!r}")
        answer = {"device": device, "id": number, "data": {"error": REFUSAL}}
        return [PlatformMessage(RPC, _json(answer))]


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
