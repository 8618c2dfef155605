"""Whatever a platform sends is a message or a ValueError, in bounded time and memory."""

import json
import random

import pytest

from protocols.export_message import MqttCore
from protocols.export_record import DeviceInfo, Portion
from protocols.uplink import decode_record, homeassistant, sparkplug, thingsboard

from protocols.export_record import export_record  # isort: skip

from .export_world import DEVICE, sample

DEVICES: dict[str, DeviceInfo] = {DEVICE.id: DEVICE}
COMMAND = sparkplug.payload(
    1, None, [sparkplug.Metric(sparkplug.REBIRTH, None, 11, True, 1_700_000_000_000)]
)
CALL = json.dumps({"device": "hall", "data": {"id": 7, "method": "m", "params": {"a": [1]}}})
CASES: dict[str, tuple[MqttCore, str, bytes]] = {
    "sparkplug": (sparkplug.SparkplugCore("g", "e", DEVICES), "spBv1.0/g/NCMD/e", COMMAND),
    "thingsboard": (thingsboard.ThingsBoardCore("gw", DEVICES), thingsboard.RPC, CALL.encode()),
    "homeassistant": (
        homeassistant.HomeAssistantCore("gw", DEVICES, "ha", "1"),
        "ha/status",
        b"online",
    ),
}


def mutated(seed: random.Random, data: bytes) -> bytes:
    """Flip, cut, repeat or insert."""
    changed = bytearray(data)
    for _ in range(seed.randint(1, 4)):
        at = seed.randrange(len(changed) + 1)
        what = seed.randrange(4)
        if what == 0 and changed:
            changed[at % len(changed)] ^= 1 << seed.randrange(8)
        elif what == 1:
            del changed[at : at + seed.randint(1, 9)]
        elif what == 2:
            changed[at:at] = seed.randbytes(seed.randint(1, 9))
        else:
            changed[at:at] = changed[: seed.randint(0, 40)]
    return bytes(changed)


@pytest.mark.parametrize("name", CASES)
def test_any_input_is_a_message_or_a_value_error(name: str) -> None:
    core, topic, good = CASES[name]
    seed = random.Random(20261128)
    refused = 0
    for _ in range(3000):
        data = seed.randbytes(seed.randrange(80)) if seed.random() < 0.2 else mutated(seed, good)
        try:
            answers = core.received(topic, data)
        except ValueError:
            refused += 1
        else:
            assert len(answers) <= 1
            assert sum(len(answer.payload) for answer in answers) < 1000
    assert refused > 1000
    with pytest.raises(ValueError, match="expected"):
        core.received("some/topic", good)
    with pytest.raises(ValueError, match="expected"):
        core.received(topic, bytes(1 << 16))
    core.received(topic, good)


def test_a_command_that_is_no_rebirth_is_refused() -> None:
    core = sparkplug.SparkplugCore("g", "e", DEVICES)
    for metric in (
        sparkplug.Metric("Node Control/Reboot", None, 11, True),
        sparkplug.Metric(sparkplug.REBIRTH, None, 11, False),
        sparkplug.Metric("", 3, 10, 1.5),
    ):
        with pytest.raises(ValueError, match="Rebirth"):
            core.received("spBv1.0/g/NCMD/e", sparkplug.payload(1, None, [metric]))
    many = sparkplug.payload(1, None, [sparkplug.Metric(sparkplug.REBIRTH, None, 11, True)] * 101)
    with pytest.raises(ValueError, match="at most"):
        core.received("spBv1.0/g/NCMD/e", many)
    assert core.due(0) == []


def test_a_flood_of_rebirths_is_answered_once_in_five_seconds() -> None:
    core = sparkplug.SparkplugCore("g", "e", DEVICES)
    core.opened(0)
    wall = (1000, 5)
    record = export_record(1, decode_record(sample(1).data), wall, DEVICE)
    core.messages(Portion(1, 1, 1, (record,), True), 1000)
    births = 0
    for now_ms in range(0, 20_000, 100):
        core.received("spBv1.0/g/NCMD/e", COMMAND)
        births += len(core.due(now_ms))
    assert births == 4 * 2  # edge node and device, at 0, 5, 10 and 15 s
