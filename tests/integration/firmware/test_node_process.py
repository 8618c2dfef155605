"""The node as a real MicroPython process on a pty, read by pymodbus."""

import contextlib
import hashlib
import hmac
import os
import random
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient
from pymodbus.pdu.mei_message import ReadDeviceInformationResponse

from boards.folder import tables
from protocols.wire import registers
from protocols.wire.crc import crc16
from protocols.wire.sample import Sample, decode
from tests.integration.firmware.node_process import (
    BOARD,
    KEY,
    LIMIT_S,
    UID,
    Cable,
    NodeProcess,
    raw_fd,
    until,
    write_signed,
)

LOOKS = 5
ASK_AGAIN_S = 1.0


@pytest.fixture
def cable() -> Iterator[Cable]:
    cable = Cable()
    yield cable
    cable.close()


@pytest.fixture
def node(tmp_path: Path, cable: Cable) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path, cable.node_end) as node:
        yield node


@pytest.fixture
def master(cable: Cable) -> Iterator[ModbusSerialClient]:
    # Every request is sent once: an answer may be late on a busy machine, but none may be missing.
    client = ModbusSerialClient(cable.master_end, baudrate=115200, timeout=LIMIT_S, retries=0)
    assert client.connect()
    yield client
    client.close()  # type: ignore[no-untyped-call]  # pymodbus


def read(master: ModbusSerialClient, role: str = "air") -> tuple[bytes, Sample]:
    """The sample frame, its tag checked with Python's own HMAC."""
    words = registers.map_of_role(role).words
    answer = master.read_input_registers(0, count=words)
    assert not answer.isError(), answer
    frame = b"".join(word.to_bytes(2, "big") for word in answer.registers)
    tag = hmac.new(KEY, frame[:-16] + UID, hashlib.sha256).digest()[:16]
    assert frame[-16:] == tag
    return frame, decode(frame)


def memory(node: NodeProcess, master: ModbusSerialClient) -> tuple[int, int]:
    """Bytes that the node holds, and its polls so far.

    The least of five looks: a stray word on the stack may keep a dead object for one of them.
    """
    held = []
    polls = 0
    for _ in range(LOOKS):
        read(master)
        answer = master.write_register(registers.COMMAND_ADDRESS, registers.COMMAND_MEMORY)
        assert not answer.isError(), answer
        report = node.line_with("mem_alloc")
        held.append(report["mem_alloc"])
        polls = report["polls"]
    return min(held), polls


def catch_up(fd: int) -> None:
    """Ask until the newest request is answered: nothing older is under way any more.

    A node answers in order, and every try asks for another number of registers. The first may find
    the node with half a frame or noise behind which it cannot hear a request.
    """
    heard = b""
    while select.select([fd], [], [], 0.02)[0]:  # what is under way comes first, most of the time
        os.read(fd, 4096)
    for words in range(2, 2 + int(LIMIT_S / ASK_AGAIN_S)):
        request = bytes((1, 4, 0, 0, 0, words))
        os.write(fd, request + crc16(request).to_bytes(2, "little"))
        head = bytes((1, 4, 2 * words))
        while select.select([fd], [], [], ASK_AGAIN_S)[0]:
            heard += os.read(fd, 4096)
            last = heard[-5 - 2 * words :]
            if last.startswith(head) and crc16(last) == 0:
                return
    raise AssertionError(f"no answer to the newest request within {LIMIT_S} s, heard {heard.hex()}")


@pytest.mark.parametrize("role", ["air", "water", "camera"])
def test_a_node_without_parts_says_so_in_sealed_frames(
    role: str, node: NodeProcess, master: ModbusSerialClient
) -> None:
    node.spec["role"] = role
    boot = node.start()
    assert boot["role"] == role
    assert boot["boot_epoch"] == 1
    budget = tables(BOARD.board.name)["memory"]
    assert 0 < boot["mem_alloc"] <= budget["heap_after_start"][role]

    def sample() -> Sample | None:
        found = read(master, role)[1]
        dead = all(code == registers.TIMEOUT for code in found.quality)
        return found if dead and found.header.status & registers.STATUS_SENSOR_FAULT else None

    def camera_sample() -> Sample | None:
        found = read(master, role)[1]
        return found if registers.TIMEOUT in found.quality else None

    found = until(camera_sample if role == "camera" else sample, "every part times out")
    assert found is not None
    assert found.header.boot_epoch == 1
    assert found.header.key_id == 5
    assert found.header.seq >= 1
    assert found.header.status & registers.STATUS_CONFIG_DEFAULTED
    assert not found.header.status & registers.STATUS_KEY_MISSING


def test_identification(node: NodeProcess, master: ModbusSerialClient) -> None:
    node.start()
    objects: dict[int, bytes] = {}
    for first in (0, 0x80):
        answer = master.read_device_information(read_code=3, object_id=first)
        assert isinstance(answer, ReadDeviceInformationResponse), answer
        objects |= answer.information
    assert objects[0] == b"tianfu-edge"
    assert objects[1] == b"TF-AIR"
    assert objects[5] == b"air"
    assert objects[0x80] == UID.hex().encode()
    assert objects[0x81] == b"0101.1"


def test_restart_command_is_a_new_boot(node: NodeProcess, master: ModbusSerialClient) -> None:
    node.start()
    until(lambda: read(master)[1].header.seq >= 2, "two samples")
    # Its answer comes before the restart.
    write_signed(master, registers.COMMAND_ADDRESS, registers.COMMAND_RESTART)
    ended = node.line_with("ended_frames")
    assert ended["ended_frames"] >= 2
    assert node.line_with("role")["boot_epoch"] == 2
    _, sample = read(master)
    assert sample.header.boot_epoch == 2
    events = master.read_input_registers(registers.EVENT_ADDRESS, count=registers.EVENT_WORDS)
    assert events.registers[10:12] == [registers.EVENT_BOOT, 1]


def test_settings_survive_a_power_cut(node: NodeProcess, master: ModbusSerialClient) -> None:
    node.start()
    write_signed(master, 2, 33, 44)
    node.kill()
    node.start()
    assert master.read_holding_registers(2, count=2).registers == [33, 44]
    assert not read(master)[1].header.status & registers.STATUS_CONFIG_DEFAULTED
    (node.store / "config").write_bytes((node.store / "config").read_bytes()[:-1])
    node.kill()
    node.start()
    assert master.read_holding_registers(2, count=1).registers == [2], "as commissioned"
    assert read(master)[1].header.status & registers.STATUS_CONFIG_DEFAULTED


def test_whoever_is_on_the_line_without_the_key_writes_nothing(
    node: NodeProcess, master: ModbusSerialClient
) -> None:
    node.spec["role"] = "water"
    node.start()
    assert master.read_holding_registers(0x00F2, count=1).registers == [1], "commissioned"
    before = master.read_holding_registers(0, count=19).registers
    attacks = {0: [247], 2: [36000], 4: [4], 5: [1], 7: [1, 1400, 65535, 1399], 16: [0, 0]}
    attacks[registers.COMMAND_ADDRESS] = [registers.COMMAND_RESTART]
    for register, values in attacks.items():
        answer = master.write_registers(register, values)
        assert answer.isError(), register
        assert answer.exception_code == 1
        assert master.write_register(register, values[0]).isError(), register
        forged = [0, 1, 0, 0, register, *values, *range(8)]
        answer = master.write_registers(0x0100, forged)
        assert answer.isError(), register
        assert answer.exception_code == 7
    assert master.read_holding_registers(0, count=19).registers == before
    assert master.read_holding_registers(0x00F3, count=5).registers == [0, 1, 0, 0, 21]
    sample = until(
        lambda: (
            found
            if (found := read(master, "water")[1]).header.status & registers.STATUS_WRITE_REFUSED
            else None
        ),
        "the refusals are in the status of a sealed sample",
    )
    assert sample is not None
    assert sample.header.boot_epoch == 1, "nobody restarted the node"
    # Who has the key still writes, and a recording of it is of no use, not even after a restart.
    recorded = write_signed(master, 2, 3)
    assert master.read_holding_registers(2, count=1).registers == [3]
    write_signed(master, 2, 4)
    for _ in range(2):
        answer = master.write_registers(0x0100, recorded)
        assert answer.isError()
        assert answer.exception_code == 7
        assert master.read_holding_registers(2, count=1).registers == [4]
        node.kill()
        node.start()


def test_address_and_speed_change_with_the_restart(
    node: NodeProcess, master: ModbusSerialClient
) -> None:
    node.start()
    write_signed(master, 0, 17)
    assert master.read_holding_registers(0, count=1).registers == [17], "still the old address"
    write_signed(master, 0x00F0, registers.COMMAND_RESTART)
    node.line_with("role")
    assert master.read_holding_registers(0, count=1, device_id=17).registers == [17]


def test_the_epoch_rises_through_power_cuts_at_any_moment(
    node: NodeProcess, master: ModbusSerialClient
) -> None:
    chance = random.Random(3)
    shown = node.start()["boot_epoch"]
    for _ in range(12):
        node.kill()
        for _ in range(2):  # two resets in a row, in the middle of booting
            node.spawn()
            assert node.process is not None
            with contextlib.suppress(Exception):
                node.process.wait(chance.uniform(0.005, 0.05))
            node.kill()
        epoch = node.start()["boot_epoch"]
        assert epoch > shown
        shown = epoch
    assert read(master)[1].header.boot_epoch == shown


def test_ctrl_c_ends_sampling_then_serving(node: NodeProcess, master: ModbusSerialClient) -> None:
    node.start()
    until(lambda: read(master)[1].header.seq >= 3, "three samples")
    node.type_ctrl_c()
    report = node.line_with("sampled_frames")
    assert report["boot_epoch"] == 1
    assert report["sampled_readings"] == 0  # no part is connected
    first, sample = read(master)
    assert sample.header.seq == report["sampled_frames"] >= 3
    deadline = time.monotonic() + 0.6  # three periods
    while time.monotonic() < deadline:
        assert read(master)[0] == first
    node.type_ctrl_c()
    assert node.ended() == 0


def test_ctrl_c_in_the_middle_of_anything(
    node: NodeProcess, cable: Cable, master: ModbusSerialClient
) -> None:
    """Whatever the node does when Ctrl-C comes, it must still serve whole frames."""
    chance = random.Random(5)
    for _ in range(8):
        node.start()
        deadline = time.monotonic() + chance.uniform(0.02, 0.4)
        fd = raw_fd(cable.master_end)
        while time.monotonic() < deadline:  # requests at about the node's own pace: always busy
            os.write(fd, bytes.fromhex("01040000000131ca"))
            if select.select([fd], [], [], chance.uniform(0.001, 0.004))[0]:
                os.read(fd, 4096)
        node.type_ctrl_c()
        report = node.line_with("sampled_frames")
        catch_up(fd)
        os.close(fd)
        assert read(master)[1].header.seq == report["sampled_frames"]
        node.type_ctrl_c()
        assert node.ended() == 0


def test_no_heap_growth_over_polls(node: NodeProcess, master: ModbusSerialClient) -> None:
    node.spec["settings"] = {"sample_period_ds": 36000}
    node.start()
    until(lambda: read(master)[1].header.seq == 1, "the only sample of the next hour")
    memory(node, master)
    before, polled = memory(node, master)
    for _ in range(500):
        read(master)
    after, polls = memory(node, master)
    assert polls == polled + 500 + 2 * LOOKS
    assert after <= before


def test_a_missing_key_is_said_on_console_and_in_status(
    node: NodeProcess, master: ModbusSerialClient
) -> None:
    (node.store / "node.key").unlink()
    node.start()
    assert "node.key" in node.line_with("warning")["warning"]
    answer = master.read_input_registers(0, count=10)
    assert answer.registers[8] & registers.STATUS_KEY_MISSING


def test_a_store_that_cannot_be_written(node: NodeProcess, master: ModbusSerialClient) -> None:
    (node.store / "node.key").unlink()
    node.store.rmdir()
    node.start()
    answer = master.read_input_registers(0, count=10)
    assert answer.registers[8] & registers.STATUS_STORE_VOLATILE
    assert not master.write_register(2, 5).isError()
    assert master.read_holding_registers(2, count=1).registers == [5]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("role", "fire", "role: expected one of air, water, camera, got 'fire'"),
        ("uid", "12", "uid: expected 24 hex digits, got '12'"),
        ("baud", 9601, "baud: expected a multiple of 100 from 1200 to 115200, got 9601"),
        ("settings", {"unit_id": 0}, "settings.unit_id: expected 1 to 247, got 0"),
        ("settings", {"unit": 1}, "settings: expected a name of docs/registers.md, got 'unit'"),
        ("parts", {"x": "/dev/null"}, "parts: expected one of pms5003"),
        ("line", "/nowhere/tty", "/nowhere/tty: expected a tty"),
        ("wire", 1, "wire: expected one of role, uid"),
    ],
)
def test_wrong_files_are_explained(
    field: str, value: object, expected: str, node: NodeProcess
) -> None:
    node.spec[field] = value
    node.spawn()
    assert expected in node.line()
    assert node.ended() == 2


def test_a_line_that_hangs_up_for_good_ends_the_process(node: NodeProcess, cable: Cable) -> None:
    node.start()
    cable.close()
    assert "watchdog" in node.line_with("failure")["failure"]
    assert node.ended() == 2


def test_noise_between_requests(
    node: NodeProcess, cable: Cable, master: ModbusSerialClient
) -> None:
    node.start()
    chance = random.Random(11)
    fd = raw_fd(cable.master_end)
    for _ in range(10):
        os.write(fd, chance.randbytes(chance.randrange(1, 600)))
        catch_up(fd)
        assert read(master)[1].header.boot_epoch == 1
    os.close(fd)
