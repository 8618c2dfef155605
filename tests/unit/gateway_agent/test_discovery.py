"""Who is on the bus: our nodes, others, damaged answers; and the commands around it."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent import config
from gateway_agent.cli import app
from gateway_agent.config import Bus, NodeDevice, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import BusDownError
from gateway_agent.field.discovery import DAMAGED, DEVICE, NODE, SILENT, Found, config_block, scan
from gateway_agent.keys import generate_signing_key
from gateway_agent.uplink.connection import Who, make_client
from tests.paths import ROOT

from .frames_of_nodes import UID
from .slave import PtySlave, Reply, answer, frame, raw_answer, refusal

OBJECTS = {
    0x00: b"tianfu-edge",
    0x01: b"TF-AIR",
    0x02: b"0.1.0",
    0x05: b"air",
    0x80: UID.hex().encode(),
    0x81: b"0101.1",
}


def identification(unit: int, objects: dict[int, bytes], more: int | None = None) -> bytes:
    """The RTU answer to FC 2B/0E, built from the specification's layout."""
    head = bytes((unit, 0x2B, 0x0E, 3, 0x83, 0xFF if more else 0, more or 0, len(objects)))
    return frame(head, *(bytes((key, len(value))) + value for key, value in objects.items()))


def line(request: bytes) -> list[Reply]:
    """1: a node, in two parts. 2: knows no 2B. 3: silent on 2B. 4: another maker. 5: damaged.
    6: an identification whose lengths do not fit. 8, 248: know function 04 only. 9: answers even
    counts only. 10: knows one input register only. 11: a gateway box answers for it. 13: knows
    coils only. 14: discrete inputs only. 15: answers as 99.
    Others: no answer.
    """
    unit, function = request[0], request[1]
    identify = function == 0x2B
    if unit == 1 and identify:
        if request[4] == 0:
            part = {key: value for key, value in OBJECTS.items() if key < 0x80}
            return [(0, identification(1, part, 0x80))]
        return [(0, identification(1, {key: OBJECTS[key] for key in (0x80, 0x81)}))]
    if unit == 2 and identify:
        return [(0, refusal(2, 0x2B, 1))]
    if unit == 3 and function == 3:
        return [(0, answer(3, 5, function=3))]
    if unit == 4 and identify:
        return [(0, identification(4, {0: b'Evil "\x1b[31m', 1: b"X"}))]
    if unit == 5:
        return [(0, b"\x05\x2b\x0e\x03\x01\x02")]
    if unit == 6 and identify:
        return [(0, frame(b"\x06\x2b\x0e\x03\x83\x00\x00\x01\x00\x01ab"[:12]))]
    if function in (3, 4) and (
        (unit in (8, 248) and function == 4)
        or (unit == 9 and request[5] % 2 == 0)
        or (unit == 10 and function == 4 and request[5] == 1)
    ):
        return [(0, answer(unit, *(7,) * request[5], function=function))]
    if (unit, function) in ((13, 1), (14, 2)):
        return [(0, raw_answer(unit, b"\x01", function=function))]
    if unit == 15 and function in (3, 4):
        return [(0, answer(99, *(7,) * request[5], function=function))]
    if unit == 11:
        return [(0, refusal(unit, function, 0x0B))]
    return []


def bus_of(path: Path, timeout_ms: int = 60) -> Bus:
    return SerialBus(
        name="bus-1",
        port=str(path),
        baudrate=115200,
        timeout_ms=timeout_ms,
        quiet_ms=10,
        device=(),
    )


async def scan_all(folder: Path, units: range, nodes_only: bool = False) -> dict[int, Found]:
    slave = PtySlave(folder, line)
    try:
        found = scan(bus_of(slave.path), units, Counters(), nodes_only)
        return {item.unit: item async for item in found}
    finally:
        slave.close()


async def test_everybody_is_told_apart(tmp_path: Path) -> None:
    found = await scan_all(tmp_path, range(1, 8))
    kinds = {unit: item.kind for unit, item in found.items()}
    assert kinds == {1: NODE, 2: DEVICE, 3: DEVICE, 4: DEVICE, 5: DAMAGED, 6: DAMAGED, 7: SILENT}
    node = found[1]
    assert (node.role, node.uid, node.map) == ("air", UID.hex(), "0101.1")
    assert node.named()["product"] == "TF-AIR"
    assert found[2].detail == "answers, has no device identification (exception 01)"
    assert "two devices with this address" in found[5].detail


async def test_devices_that_answer_little_are_found(tmp_path: Path) -> None:
    found = await scan_all(tmp_path, range(7, 16))
    kinds = {unit: item.kind for unit, item in found.items()}
    silent = {7: SILENT, 11: SILENT, 12: SILENT}
    assert kinds == silent | dict.fromkeys((8, 9, 10, 13, 14, 15), DEVICE)
    assert "function 01" in found[13].detail
    assert "answer_unit = 99" in found[15].detail
    assert "function 04" in found[8].detail
    assert "function 03" in found[9].detail
    assert (await scan_all(tmp_path, range(248, 249)))[248].kind == DEVICE


async def test_nodes_only_asks_once(tmp_path: Path) -> None:
    found = await scan_all(tmp_path, range(1, 4), nodes_only=True)
    assert {unit: item.kind for unit, item in found.items()} == {1: NODE, 2: DEVICE, 3: SILENT}


async def test_what_a_device_says_of_itself_cannot_break_out(tmp_path: Path) -> None:
    found = await scan_all(tmp_path, range(4, 5))
    block = config_block(bus_of(Path("/dev/x")), found.values())
    assert "\x1b" not in block
    assert "Evil ??[31m" in block


async def test_the_block_is_a_configuration(tmp_path: Path) -> None:
    found = await scan_all(tmp_path, range(1, 3))
    block = config_block(bus_of(Path("/dev/ttyX")), found.values())
    head = (
        '[gateway]\nid = "g"\nstate_dir = "s"\nkey = "k"\n'
        '[uplink]\nhost = "h"\nreceipt = "puback"\n'
    )
    path = tmp_path / "gateway.toml"
    path.write_text(head + block, encoding="utf-8")
    loaded = config.load(path)
    (device,) = loaded.bus[0].device
    assert device == NodeDevice(
        name="air-1",
        unit=1,
        role="air",
        uid=UID.hex(),
        key=tmp_path / "air-1.key",
        period_ms=2500,
    )
    assert (loaded.bus[0].port, loaded.bus[0].baudrate) == ("/dev/ttyX", 115200)


async def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BusDownError, match="No such file"):
        async for _ in scan(bus_of(tmp_path / "none"), range(1, 3), Counters()):
            pass


# --- commands -----------------------------------------------------------------------------------


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Path]:
    """The line on a pty, served by a thread: the command runs its own event loop."""
    ready = threading.Event()
    stop: list[asyncio.Event] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        slave = PtySlave(folder, line)
        stop.append(asyncio.Event())
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stop[0].wait()
        slave.close()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert ready.wait(20)
    try:
        yield folder / "line"
    finally:
        loops[0].call_soon_threadsafe(stop[0].set)
        thread.join(20)


def test_discover_as_json(tmp_path: Path) -> None:
    with served(tmp_path) as port:
        result = CliRunner().invoke(
            app, ["discover", str(port), "--to", "3", "--timeout-ms", "1000", "--json"]
        )
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert [(item["unit"], item["kind"], item["role"]) for item in data["found"]] == [
        (1, "node", "air"),
        (2, "device", ""),
        (3, "device", ""),
    ]
    assert f'uid = "{UID.hex()}"' in data["config"][0]


def test_discover_for_people(tmp_path: Path) -> None:
    with served(tmp_path) as port:
        result = CliRunner().invoke(
            app,
            ["discover", str(port), "--to", "1", "--timeout-ms", "1000", "--bauds", "9600,115200"],
            env={"COLUMNS": "200"},
        )
    assert result.exit_code == 0, result.output
    assert "2 found" in result.stdout  # a pty has no speed: the node answers at both
    assert result.stdout.count("[[bus.device]]") == 2


def test_discover_says_what_is_wrong(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["discover", str(tmp_path / "none"), "--to", "1"])
    assert result.exit_code == 1
    assert "cannot be opened" in result.stderr
    result = CliRunner().invoke(app, ["discover", "/dev/x", "--bauds", "fast"])
    assert result.exit_code == 2
    assert "9600,19200" in result.stderr
    result = CliRunner().invoke(app, ["discover", "/dev/x", "--from", "9", "--to", "3"])
    assert result.exit_code == 2


def write_config(folder: Path, text: str) -> Path:
    (folder / "air.key").write_text(json.dumps({"key_id": 1, "key": "00" * 32}), encoding="ascii")
    (folder / "air.key").chmod(0o600)
    if not (folder / "k").exists():
        generate_signing_key(folder / "k")
    path = folder / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = """
[gateway]
id = "g"
state_dir = "s"
key = "k"
[uplink]
host = "h"
receipt = "puback"
[[bus]]
name = "roof"
type = "rtu"
port = "/dev/x"
[[bus.device]]
name = "air"
unit = 1
kind = "node"
role = "air"
uid = "0123456789abcdef01234567"
key = "air.key"
period_ms = 2500
[[bus.device]]
name = "co2"
unit = 2
kind = "profile"
profile = "senseair-s8"
period_ms = 100
"""


def test_check_prints_the_plan(tmp_path: Path) -> None:
    path = write_config(tmp_path, GOOD)
    result = CliRunner().invoke(app, ["check", "--config", str(path), "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["ok"]
    (bus,) = data["buses"]
    air, co2 = bus["devices"]
    assert air["reads"] == [{"function": 4, "address": 0, "words": 28}]
    # 8 + 5 + 56 characters and two silences of 3.5, 10 bits each at 9600, and 20 ms to think.
    assert air["poll_ms"] == pytest.approx((8 + 61 + 7) * 10 / 9.6 + 20, abs=0.01)
    assert co2["reads"] == [{"function": 4, "address": 0, "words": 4}]
    assert bus["cycle_ms"] == pytest.approx(air["poll_ms"] + co2["poll_ms"], abs=0.02)
    assert any("one round of all devices" in text for text in bus["warnings"])
    result = CliRunner().invoke(app, ["check", "--config", str(path)], env={"COLUMNS": "160"})
    assert result.exit_code == 0
    assert "bus roof: rtu on /dev/x, 9600 8N1" in result.stdout
    assert "warning:" in result.stdout
    assert "4: 0 + 28" in result.stdout


async def test_files_that_an_editor_on_windows_has_written(tmp_path: Path) -> None:
    """Notepad begins UTF-8 with a byte order mark: configuration, profile and password file."""
    mark = b"\xef\xbb\xbf"
    text = GOOD.replace("senseair-s8", "own.toml")
    text = text.replace('host = "h"', 'host = "h"\nusername = "u"\npassword_file = "pass"')
    path = write_config(tmp_path, text)
    path.write_bytes(mark + path.read_bytes())
    shipped = ROOT / "gateway_agent/field/profile/shipped/senseair-s8.toml"
    own = shipped.read_text(encoding="utf-8").replace('"senseair-s8"', '"own"')
    (tmp_path / "own.toml").write_bytes(mark + own.encode())
    (tmp_path / "pass").write_bytes(mark + b"secret\r\n")
    (tmp_path / "pass").chmod(0o600)
    result = CliRunner().invoke(app, ["check", "--config", str(path)])
    assert result.exit_code == 0, result.output
    client = make_client(config.load(path).uplink, Who("g", ""), 1000, lambda _: None)
    assert client._client._password == b"secret"


def test_tables_are_not_cut_in_a_pipe(tmp_path: Path) -> None:
    """Neither by the 80 columns that a pipe seems to have, nor where colours are forced."""
    port, name = "/dev/serial/by-id/usb-" + "0123456789" * 9, "air-" + "x" * 50
    path = write_config(
        tmp_path, GOOD.replace("/dev/x", port).replace('"air"\nunit', f'"{name}"\nunit')
    )
    code = "from gateway_agent.cli import app; app()"
    for colours in ({}, {"FORCE_COLOR": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", code, "check", "--config", str(path)],
            cwd=ROOT, env={**os.environ, "COLUMNS": "80", **colours},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        (row,) = [line for line in done.stdout.splitlines() if name in line]
        assert "node air" in row
        assert "4: 0 + 28" in row
        assert "2500 ms" in row
        assert f"bus roof: rtu on {port}, 9600 8N1" in done.stdout


def test_check_lists_every_problem_of_every_file(tmp_path: Path) -> None:
    path = write_config(tmp_path, GOOD.replace("senseair-s8", "own.toml"))
    (tmp_path / "own.toml").write_text("[profile]\n", encoding="utf-8")
    (tmp_path / "air.key").write_text("{}", encoding="ascii")
    (tmp_path / "k").unlink()
    result = CliRunner().invoke(app, ["check", "--config", str(path)])
    assert result.exit_code == 2
    for part in ("gateway.key", "air.key", "own.toml: profile.source", "own.toml: point"):
        assert part in result.stderr
    result = CliRunner().invoke(app, ["check", "--config", str(path), "--json"])
    data = json.loads(result.stdout)
    assert not data["ok"]
    assert len(data["problems"]) >= 5
    assert set(data["problems"][0]) == {"file", "key", "value", "expected", "remedy"}


def test_check_finds_what_run_would_stumble_over(tmp_path: Path) -> None:
    text = GOOD.replace('receipt = "puback"', 'receipt = "signed"\ncollector_key = "c.pub"')
    path = write_config(tmp_path, text)
    generate_signing_key(tmp_path / "c")
    assert CliRunner().invoke(app, ["check", "--config", str(path)]).exit_code == 0

    (tmp_path / "k").chmod(0o640)
    (tmp_path / "c.pub").write_text("no key", encoding="ascii")
    (tmp_path / "s").write_text("no directory", encoding="ascii")
    result = CliRunner().invoke(app, ["check", "--config", str(path)])
    assert result.exit_code == 2
    for part in (
        "gateway.key: expected a key file that can be used",
        f"got mode 0640; run `chmod 600 {tmp_path}/k`",
        "uplink.collector_key: expected a key file that can be used",
        "copy the .pub file",
        "gateway.state_dir: expected a directory that this user can make or write",
    ):
        assert part in result.stderr
    assert "3 problems" in result.stderr
