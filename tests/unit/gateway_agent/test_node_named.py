"""A node that is not the configured one is reported as what it is; its changes are in the log."""

import logging
import struct
from pathlib import Path

import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.config import NodeDevice, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field.devices import OpenNode
from gateway_agent.field.master import Master
from gateway_agent.field.node_log import NodeLog
from gateway_agent.field.node_reader import NodeReader
from gateway_agent.keys import SharedKey
from protocols.wire.registers import AIR, CAMERA, RegisterMap
from protocols.wire.sample import Event, Sample, decode

from .frames_of_nodes import KEY, KEY_ID, UID, air_body, air_frame, event_frame, seal
from .slave import PtySlave, Reply, frame, raw_answer, refusal

OTHER_UID = bytes(range(12))


class Node:
    """A node on a line: its frame, and the unique id that it identifies itself with."""

    def __init__(self, frame: bytes, uid: bytes = UID) -> None:
        self.frame = frame
        self.uid = uid
        self.identified = 0

    def __call__(self, request: bytes) -> list[Reply]:
        if request[1] == 0x2B:
            self.identified += 1
            assert request[2:5] == b"\x0e\x04\x80"
            text = self.uid.hex().encode()
            head = b"\x01\x2b\x0e\x04\x83\x00\x00\x01\x80" + bytes((len(text),))
            return [(0, frame(head, text))]
        _, _, address, count = struct.unpack(">BBHH", request[:6])
        if address == 0x100:
            return [(0, raw_answer(1, event_frame(5, 3, (2, 11, 12))))]
        data = self.frame[2 * address : 2 * (address + count)]
        if len(data) < 2 * count:
            return [(0, refusal(1, 4, 2))]
        return [(0, raw_answer(1, data))]


async def problem(folder: Path, node: Node, map: RegisterMap = AIR) -> str:
    """Poll the node five times; return what is reported about it."""
    slave = PtySlave(folder, node)
    device = NodeDevice(
        name="n", unit=1, role=map.role, uid=UID.hex(), key=Path("k"), period_ms=1000
    )
    bus = SerialBus(
        name="b", port=str(slave.path), baudrate=115200, timeout_ms=200, device=(device,)
    )
    master = Master(bus, Counters())
    opened = OpenNode(device, map, SharedKey(KEY_ID, KEY))
    reader = NodeReader(bus, opened, "tf-" + UID.hex(), None, SystemClock(), Counters())
    try:
        for _ in range(5):
            await reader.poll(master)
    finally:
        master.close()
        slave.close()
    return reader.problem


async def test_another_unique_id_is_named_with_the_one_the_node_has(tmp_path: Path) -> None:
    node = Node(seal(air_body(5, 2), uid=OTHER_UID), OTHER_UID)
    text = await problem(tmp_path, node)
    assert f"uid {UID.hex()}" in text
    assert f"it answers with unique id {OTHER_UID.hex()}" in text
    assert node.identified == 1, "asked once, not at each poll"


async def test_another_key_is_named_as_that(tmp_path: Path) -> None:
    text = await problem(tmp_path, Node(seal(air_body(5, 2), key=bytes(32))))
    assert "its key is another than that of the key file" in text


async def test_another_key_id_is_named_with_both(tmp_path: Path) -> None:
    text = await problem(tmp_path, Node(seal(air_body(5, 2), key_id=9)))
    assert text.startswith(f"the node signs with key 9, the key file holds {KEY_ID}")
    keyless = air_body(5, 2) + bytes(18)
    text = await problem(tmp_path, Node(keyless))
    assert text.startswith(f"the node has no key, the key file holds key {KEY_ID}")


async def test_another_role_is_named_whichever_frame_is_longer(tmp_path: Path) -> None:
    # An air node has 28 registers: a camera's 31 are refused, of a water node's 24 all are there.
    node = Node(air_frame(5, 2))
    assert await problem(tmp_path, node, CAMERA) == "role: expected camera, the node is air"
    assert node.identified == 0
    head = bytes.fromhex("01020001 00000005 00000001 000003e8 0000 0000")
    water = Node(head + bytes(36))
    assert await problem(tmp_path, water) == "role: expected air, the node is water"


async def test_another_version_of_the_map_is_named(tmp_path: Path) -> None:
    text = await problem(tmp_path, Node(seal(air_body(5, 2, map_version=2))))
    assert "register map: expected version 1, the node has version 2" in text


async def test_a_change_on_a_node_is_in_the_log_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await problem(tmp_path, Node(air_frame(5, 2, events=3))) == ""
    changes = [line for line in caplog.messages if "setting" in line]
    assert changes == [f"n (tf-{UID.hex()}): setting baud_div_100 was changed from 1 to 1"]


def sample(quality: int) -> Sample:
    return decode(seal(air_body(5, 2, quality=quality)))


def test_a_part_that_stops_is_in_the_log_once_and_again_when_it_is_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = NodeLog("hall")
    for second in range(10):
        log.sample(sample(0), 1000 * second)
    assert caplog.messages == []
    for second in range(10, 20):
        log.sample(sample(2), 1000 * second)
    (line,) = caplog.messages
    assert line.startswith("hall: pm1_0 gives no value: timeout, pm2_5 gives no value: timeout")
    assert caplog.records[0].levelno == logging.WARNING
    caplog.clear()
    log.sample(sample(1), 21_000)  # warming up is no fault
    (line,) = caplog.messages
    assert "co2 is well again" in line


def test_a_part_that_flickers_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = NodeLog("hall")
    for second in range(600):
        log.sample(sample(2 * (second % 2)), 1000 * second)
    assert 6 <= len(caplog.messages) <= 6 + 10


def test_a_changed_setting_is_logged_with_both_values(caplog: pytest.LogCaptureFixture) -> None:
    log = NodeLog("pond")
    codes = ((2, 7), (11, 29789), (12, 30000), (3, 1), (13, 5), (12, 7), (2, 99), (12, 1))
    log.events(Event(number, code, arg, 0) for number, (code, arg) in enumerate(codes))
    refused = (
        "pond: the node refused 5 writes without its key since it started: somebody else is on"
        " the line, or a tool has the wrong key"
    )
    assert caplog.messages == [
        "pond: setting ph_raw_1 was changed from 29789 to 30000",
        "pond: the image switch was set to on, images may leave the node",
        refused,
        "pond: setting of an event that was lost was changed from an unknown value to 7",
        "pond: setting register 99 was changed from an unknown value to 1",
    ]
