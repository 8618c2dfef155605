"""The trace for Wireshark: pcapng with link type RTAC serial (250), one packet for each frame.

Wireshark reads the serial header by itself. That the bytes behind it are Modbus RTU has to be set
in *Analyze, Decode As...* ("RTAC Serial Data Subdissector": Modbus RTU) or with::

    tshark -r trace.pcapng -d rtacser.data,mbrtu -o mbrtu.crc_verification:TRUE

The master's frames are marked DATA_TX_START, all others DATA_RX_START; the packet comment names
the origin and the faults that were applied. An unheard burst has no data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hil.bus.decode import FrameKind, frames
from hil.bus.trace import Burst

#: https://www.tcpdump.org/linktypes.html: 12 bytes of header, then the bytes of the line.
LINKTYPE_RTAC_SERIAL: Final = 250
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC = 0x1A2B3C4D
_COMMENT, _IF_NAME, _IF_TSRESOL, _USERAPPL = 1, 2, 9, 4
_NS = 9
_TX, _RX = 1, 2
_SECTION_OF_UNKNOWN_LENGTH = -1


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def _head(line: str) -> bytes:
    section = struct.pack("<IHHq", _MAGIC, 1, 0, _SECTION_OF_UNKNOWN_LENGTH)
    section += _option(_USERAPPL, b"tianfu-hil") + _option(0, b"")
    interface = struct.pack("<HHI", LINKTYPE_RTAC_SERIAL, 0, 0)
    interface += _option(_IF_NAME, line.encode()) + _option(_IF_TSRESOL, bytes((_NS,)))
    return _block(_SECTION, section) + _block(_INTERFACE, interface + _option(0, b""))


def dump(
    bursts: Iterable[Burst], wall_ns: int = 0, *, master: str = "gateway", name: str = "line"
) -> bytes:
    """Return the file's content; ``wall_ns`` is added to the bursts' times (``Trace.wall_ns``)."""
    out = [_head(name)]
    for frame in frames(bursts, master):
        at = frame.start_ns + wall_ns
        event = _TX if frame.origin == master else _RX
        data = b"" if frame.kind is FrameKind.UNHEARD else frame.data
        packet = struct.pack(">IIBBH", at // 10**9, at % 10**9 // 1000, event, 0, 0) + data
        notes = [str(fault) for fault in frame.faults] + ["collision"] * frame.collided
        comment = f"{frame.origin}: {frame.kind}" + "".join(f"; {note}" for note in notes)
        body = struct.pack("<IIIII", 0, at >> 32, at & 0xFFFFFFFF, len(packet), len(packet))
        body += _padded(packet) + _option(_COMMENT, comment.encode()) + _option(0, b"")
        out.append(_block(_PACKET, body))
    return b"".join(out)


def write(
    path: Path, bursts: Iterable[Burst], wall_ns: int = 0, *, master: str = "gateway"
) -> None:
    """Write a trace to ``path`` (``*.pcapng``)."""
    path.write_bytes(dump(bursts, wall_ns, master=master))
