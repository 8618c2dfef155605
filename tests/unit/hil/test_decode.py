"""The trace as Modbus, as a Wireshark file and as a picture."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hil.bus import decode, pcapng
from hil.bus.decode import FrameKind
from hil.bus.fault import Fault, FaultKind
from hil.bus.medium import Medium
from hil.bus.timeline import timeline_svg
from hil.bus.trace import Burst, Trace
from protocols.wire.crc import crc16

MS = 1_000_000
BYTE = 1_041_667


def adu(body: str) -> bytes:
    data = bytes.fromhex(body)
    return data + crc16(data).to_bytes(2, "little")


READ = adu("01 04 0010 0002")
VALUES = adu("01 04 04 0064 ffff")
REFUSED = adu("01 84 02")
WRITE = adu("02 10 0005 0002 04 0001 0002")
WRITTEN = adu("02 10 0005 0002")


def recorded(*faults: Fault) -> Trace:
    """Three exchanges 100 ms apart, answers 5 ms after the request began or when it ended."""
    trace = Trace(clock_ns=lambda: 0)
    medium = Medium(
        ["gateway", "air", "water"], lambda _name, data: len(data), trace, seed=3, byte_ns=BYTE
    )
    for fault in faults:
        medium.arm(fault, 0)
    talks = [("air", READ, VALUES), ("air", READ, REFUSED), ("water", WRITE, WRITTEN)]
    for number, (name, ask, answer) in enumerate(talks):
        at = number * 100 * MS
        medium.write("gateway", ask, at)
        medium.write(name, answer, at + len(ask) * BYTE + 2 * MS)
    medium.advance(400 * MS)
    medium.close()
    return trace


def test_requests_and_answers_in_words() -> None:
    found = decode.exchanges(recorded().bursts)
    assert len(found) == 3
    words = [[f.describe() for f in (e.request, *e.answers) if f is not None] for e in found]
    assert words == [
        ["unit 1 read input registers 16..17", "unit 1 read input registers = 100 65535"],
        [
            "unit 1 read input registers 16..17",
            "unit 1 read input registers exception: illegal data address",
        ],
        [
            "unit 2 write multiple registers 5..6 = 1 2",
            "unit 2 write multiple registers 5..6",
        ],
    ]
    assert [exchange.turnaround_us for exchange in found] == [2000.0] * 3
    first = found[0].answers[0]
    assert (first.gap_us, first.kind, first.content and first.content.values) == (
        2000.0,
        FrameKind.ANSWER,
        (100, 65535),
    )


def test_json_and_text_agree() -> None:
    trace = recorded(Fault(FaultKind.FLIP, "air"))
    exchanges = json.loads(decode.to_json(trace.bursts))
    assert exchanges[0]["request"]["count"] == 2
    assert exchanges[0]["answers"][0]["crc_ok"] is False
    assert exchanges[0]["answers"][0]["faults"][0].startswith("flip at byte")
    assert exchanges[1]["answers"][0]["exception"] == "illegal data address"
    lines = decode.text(trace.bursts).splitlines()
    assert len(lines) == 6
    assert "[flip at byte" in lines[1]
    assert "damaged" in lines[1]
    assert lines[0].split()[:3] == ["0.000000", "gateway", "request"]


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (Fault(FaultKind.NOISE, "air", size=6), [FrameKind.DAMAGED, FrameKind.ANSWER]),
        (Fault(FaultKind.DUPLICATE, "air"), [FrameKind.ANSWER, FrameKind.ANSWER]),
        (Fault(FaultKind.CUT, "air", size=5), [FrameKind.DAMAGED]),
        (Fault(FaultKind.DROP, "air"), [FrameKind.UNHEARD]),
        (Fault(FaultKind.FOREIGN, "air", unit=9), [FrameKind.ANSWER]),
    ],
)
def test_what_a_fault_makes_of_an_answer(fault: Fault, kinds: list[FrameKind]) -> None:
    answers = decode.exchanges(recorded(fault).bursts)[0].answers
    assert [answer.kind for answer in answers] == kinds
    assert answers[0].faults[0].kind is fault.kind


def test_an_answer_nobody_asked_for_is_an_exchange_of_its_own() -> None:
    trace = Trace(clock_ns=lambda: 0)
    medium = Medium(["gateway", "air"], lambda _name, data: len(data), trace)
    medium.write("air", VALUES, 0)
    (exchange,) = decode.exchanges(trace.bursts)
    assert exchange.request is None
    assert exchange.turnaround_us is None


def test_pcapng_blocks_are_padded_and_closed() -> None:
    data = pcapng.dump(recorded().bursts, 10**18)
    at = 0
    kinds = []
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        assert size % 4 == 0
        assert data[at + size - 4 : at + size] == data[at + 4 : at + 8]
        kinds.append(int.from_bytes(data[at : at + 4], "little"))
        at += size
    assert kinds == [0x0A0D0D0A, 1] + [6] * 6


@pytest.mark.tool("tshark")
def test_wireshark_reads_it_as_modbus_rtu(tmp_path: Path) -> None:
    if shutil.which("tshark") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("tshark is missing: apt-get install tshark")
        pytest.skip("tshark is missing: apt-get install tshark")
    trace = recorded(Fault(FaultKind.FLIP, "water"), Fault(FaultKind.DROP, "air", after=1))
    path = tmp_path / "trace.pcapng"
    pcapng.write(path, trace.bursts, 1_700_000_000 * 10**9)
    columns = ("frame.time_epoch", "mbrtu.unit_id", "mbrtu.crc16.status", "modbus.func_code")
    done = subprocess.run(
        ["tshark", "-r", str(path), "-d", "rtacser.data,mbrtu"]
        + ["-o", "mbrtu.crc_verification:TRUE", "-T", "fields", "-E", "separator=;"]
        + [word for column in (*columns, "frame.comment") for word in ("-e", column)],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    rows = [row.split(";", 4) for row in done.stdout.splitlines()]
    assert len(rows) == 6, done.stdout + done.stderr
    assert rows[0][:4] == ["1700000000.000000000", "1", "1", "4"]
    assert rows[1][1:4] == ["1", "1", "4"]
    assert rows[3][1:4] == ["", "", ""]
    assert "drop" in rows[3][4]
    assert rows[4][1:4] == ["2", "1", "16"]
    assert rows[5][2] == "0"
    assert "flip" in rows[5][4]


def test_the_picture_is_one_sound_svg_with_a_box_per_frame() -> None:
    trace = recorded(Fault(FaultKind.FLIP, "water"), Fault(FaultKind.DROP, "air"))
    for bursts in (list(trace.bursts), list[Burst]()):
        picture = timeline_svg(bursts, lanes=["gateway", "air", "water", "spare"], title="a < b")
        assert picture.startswith("<svg")
        assert picture.endswith("</svg>")
        assert "a &lt; b" in picture
        assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    picture = timeline_svg(trace.bursts, lanes=["gateway", "air", "water", "spare"])
    assert "spare" in picture
    assert picture.count('<g class="box') == 5 + 6
    assert "fault drop: 9 bytes" in picture
    assert "unit 1 read input registers 16..17" in picture
