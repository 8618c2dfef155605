"""``tianfu-gateway profile``: what is listed and checked, and what one try of a device shows."""

import asyncio
import contextlib
import json
import socketserver
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_agent.field.profile import shipped
from tests.unit.gateway_agent import slave
from tests.unit.gateway_agent.test_cli import flat, run

HEAD = '[profile]\nname = "own"\ntitle = "Own"\nsource = "manual"\n'
VOLTAGE = """
[[point]]
name = "voltage"
unit = "V"
register = 0
type = "f32"
low = 0
high = 400
"""


def words(format: str, *values: float) -> list[int]:
    """Registers that hold these values, big endian."""
    data = struct.pack(">" + format, *values)
    return list(struct.unpack(f">{len(data) // 2}H", data))


@contextlib.contextmanager
def device(image: dict[tuple[int, int], list[int]], refuses_joined: int = 126) -> Iterator[int]:
    """Serve Modbus TCP on loopback from an image: (function, address) -> registers or coils.

    A register that is not in the image is refused with exception 02, and so is a longer read.
    """
    places = {
        (function, address + index): word
        for (function, address), content in image.items()
        for index, word in enumerate(content)
    }

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while request := self.rfile.read(12):
                tid, unit, function, address, count = struct.unpack(">HxxxxBBHH", request)
                found = [places.get((function, address + index)) for index in range(count)]
                if None in found or count > refuses_joined:
                    pdu = bytes((function | 0x80, 2))
                elif function < 3:
                    bits = sum((bit or 0) << index for index, bit in enumerate(found))
                    data = bits.to_bytes((count + 7) // 8, "little")
                    pdu = bytes((function, len(data))) + data
                else:
                    pdu = struct.pack(f">BB{count}H", function, 2 * count, *found)
                self.wfile.write(slave.mbap(tid, unit, pdu))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def attempt(
    folder: Path, points: str, image: dict[tuple[int, int], list[int]], refuses_joined: int = 126
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Try a profile on a device; return the exit status and what is shown of each point."""
    path = folder / "own.toml"
    path.write_text(HEAD + points, encoding="utf-8")
    with device(image, refuses_joined) as port:
        status, text = run("profile", "try", path, "--host", f"127.0.0.1:{port}", "--json")
    return status, {point["name"]: point for point in json.loads(text)["points"]}


def test_a_device_whose_values_all_look_right(tmp_path: Path) -> None:
    points = (
        VOLTAGE
        + """[[point]]
name = "pump"
table = "coil"
register = 3
type = "bool"
values = { 0 = "off", 1 = "on" }
[[point]]
name = "serial"
register = 2
type = "string"
words = 2
"""
    )
    image = {(3, 0): [*words("f", 230.5), 0x534E, 0x3132], (1, 3): [1]}
    status, tried = attempt(tmp_path, points, image)
    assert status == 0
    assert tried["voltage"]["raw"] == "4366 8000"
    assert (tried["voltage"]["value"], tried["voltage"]["unit"]) == (230.5, "V")
    assert (tried["pump"]["raw"], tried["pump"]["value"], tried["pump"]["text"]) == ("1", 1, "on")
    assert tried["serial"]["text"] == "SN12"
    assert {point["wrong"] for point in tried.values()} == {""}


def test_another_order_of_the_words_that_would_look_right_is_named(tmp_path: Path) -> None:
    points = (
        VOLTAGE
        + """[[point]]
name = "unbounded"
register = 2
type = "f32"
[[point]]
name = "counter"
register = 4
type = "u32"
[[point]]
name = "temperature"
unit = "Cel"
register = 6
type = "u16"
exp10 = -1
low = -40
high = 80
"""
    )
    high, low = words("f", 230.5)
    odd, even = words("f", 7.25)
    image = {(3, 0): [low, high, even, odd, 1234, 0, 0xFFCE]}
    status, tried = attempt(tmp_path, points, image)
    assert status == 1
    assert 'order = "CDAB" would give 230.5 V' in tried["voltage"]["wrong"]
    assert 'order = "CDAB" would give 7.25' in tried["unbounded"]["wrong"]
    assert 'order = "CDAB" would give 1234' in tried["counter"]["wrong"]
    assert "6548.6 is not within -40 to 80" in tried["temperature"]["wrong"]
    assert 'type = "i16" would give -5 Cel' in tried["temperature"]["wrong"]
    assert tried["temperature"]["quality"] == "out-of-range"


def test_one_register_that_does_not_exist_costs_its_own_point_only(tmp_path: Path) -> None:
    points = "".join(
        f'[[point]]\nname = "p{at}"\nregister = {at}\ntype = "u16"\n' for at in (0, 1, 2)
    )
    status, tried = attempt(tmp_path, points, {(3, 0): [5], (3, 2): [7]})
    assert status == 1
    assert [tried[name]["value"] for name in ("p0", "p1", "p2")] == [5, None, 7]
    assert "exception 02" in tried["p1"]["wrong"]
    assert "base" in tried["p1"]["wrong"]
    assert tried["p0"]["wrong"] == tried["p2"]["wrong"] == ""


def test_a_device_that_is_silent_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(HEAD + '[[point]]\nname = "x"\nregister = 0\ntype = "u16"\n', encoding="utf-8")
    status, text = run("profile", "try", path, "--host", "127.0.0.1:1")
    assert status == 1
    assert "127.0.0.1:1" in text
    assert "raw words" not in text, "there is nothing to show of any point"
    status, text = run("profile", "try", path)
    assert status == 2
    assert "--port" in text


def test_a_float_that_is_next_to_nothing_is_in_a_wrong_order(tmp_path: Path) -> None:
    """Zero is within the bounds of a voltage, and so is what its words exchanged are."""
    low, high = words("f", 230.0)[::-1]
    status, tried = attempt(tmp_path, VOLTAGE, {(3, 0): [low, high]})
    assert status == 1
    assert 'order = "CDAB" would give 230 V' in tried["voltage"]["wrong"]
    assert attempt(tmp_path, VOLTAGE, {(3, 0): [0, 0]})[0] == 0


@pytest.mark.parametrize(
    ("content", "wrong"), [([0, 0], "no text"), ([0xFFFF, 0xFFFF], "bytes that are no text")]
)
def test_what_is_no_text(tmp_path: Path, content: list[int], wrong: str) -> None:
    point = '[[point]]\nname = "sn"\nregister = 0\ntype = "string"\nwords = 2\n'
    status, tried = attempt(tmp_path, point, {(3, 0): content})
    assert status == 1
    assert tried["sn"]["wrong"].startswith(wrong)


async def test_a_device_that_does_not_answer_a_longer_read(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    points = "".join(f'[[point]]\nname = "p{at}"\nregister = {at}\ntype = "u16"\n' for at in (0, 1))
    path.write_text(HEAD + points, encoding="utf-8")

    def reply(request: bytes) -> list[slave.Reply]:
        unit, function, address, count = slave.registers(request)
        return [(0, slave.answer(unit, 7 + address, function=function))] if count == 1 else []

    line = slave.PtySlave(tmp_path, reply)
    try:
        command = ("profile", "try", path, "--port", line.path, "--timeout-ms", "200", "--json")
        status, text = await asyncio.to_thread(run, *command)
    finally:
        line.close()
    tried = json.loads(text)["points"]
    assert status == 1
    assert [point["value"] for point in tried] == [7, 8]
    assert all(
        "a read of 2; read alone it answers: set max_words" in item["wrong"] for item in tried
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--host", "http://10.0.0.7"], "or host:port, for instance 10.0.0.7:502; got"),
        (["--host", "10.0.0.7:modbus"], "or host:port, for instance 10.0.0.7:502; got"),
        (["--port", "ttyUSB7"], "the path of a serial port, for instance /dev/ttyUSB0"),
        (
            ["--port", "/dev/x", "--parity", "even"],
            'parity: expected one of "N", "E", "O", got "even"',
        ),
        (["--port", "/dev/x", "--baudrate", "0"], "baudrate: expected an integer from 300"),
    ],
)
def test_a_wrong_place_or_setting_is_named(options: list[str], expected: str) -> None:
    status, text = run("profile", "try", "senseair-s8", *options)
    assert status == 2
    assert expected in " ".join(text.replace("│", " ").split())


async def test_a_device_on_a_serial_line(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        HEAD + '[[point]]\nname = "x"\ntable = "input"\nregister = 7\ntype = "u16"\n',
        encoding="utf-8",
    )

    def reply(request: bytes) -> list[slave.Reply]:
        unit, function, address, count = slave.registers(request)
        assert (unit, function, address, count) == (9, 4, 7, 1)
        return [(0, slave.answer(9, 1234))]

    line = slave.PtySlave(tmp_path, reply)
    try:
        command = ("profile", "try", path, "--port", line.path, "--unit", "9", "--json")
        status, text = await asyncio.to_thread(run, *command)
    finally:
        line.close()
    (point,) = json.loads(text)["points"]
    assert (status, point["raw"], point["value"]) == (0, "04d2", 1234)


def test_list_and_show() -> None:
    status, text = run("profile", "list", "--json")
    profiles = json.loads(text)["profiles"]
    assert status == 0
    assert [item["name"] for item in profiles] == shipped()
    assert {item["tried"] for item in profiles} == {"from the manual, not tried on the device"}
    status, text = run("profile", "show", "site-dust-noise")
    assert status == 0
    assert "files: site-dust-noise.toml, renke-rs-fsxcs.toml" in flat(text)
    assert "pm2_5" in text
    status, text = run("profile", "show", "site-dust-noise", "--json")
    assert {point["name"] for point in json.loads(text)["point"]} >= {"noise", "pm10"}


def test_check_names_every_mistake_of_every_file(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    point = '[[point]]\nname = "x"\nregister = 0\ntype = "u16"\n'
    good.write_text(HEAD + point, encoding="utf-8")
    bad.write_text(HEAD + point + "invalid = [131071]\nscale = 0\n", encoding="utf-8")
    status, text = run("profile", "check", good, bad)
    assert status == 2
    assert f"{good}: good" in text
    assert "can never match" in text
    assert "point[0].scale" in text
    status, text = run("profile", "check", good, bad, "--json")
    assert (status, [item["key"] for item in json.loads(text)["problems"]]) == (
        2,
        ["point[0].scale", "point[0].invalid"],
    )
    assert run("profile", "check", good)[0] == 0


@pytest.mark.parametrize(
    ("places", "came"),
    [
        ([], "got neither"),
        (["--host", "10.0.0.7", "--port", "1502"], "got --port 1502 and --host 10.0.0.7"),
    ],
)
def test_a_device_is_on_a_line_or_on_a_network(places: list[str], came: str) -> None:
    """A port number has its place behind the host, not in --port."""
    status, text = run("profile", "try", "senseair-s8", *places)
    words = " ".join(text.replace("│", " ").split())
    assert status == 2
    assert "--host with a TCP device as host:port" in words
    assert came in words
