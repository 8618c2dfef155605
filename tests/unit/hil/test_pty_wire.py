"""A wire to a terminal that an emulator made: raw, and an error where there is no terminal."""

import asyncio
import os
import tty
from pathlib import Path

import pytest

from hil.wires.pty_wire import PtyWire


async def test_a_link_is_followed_and_the_terminal_made_raw(tmp_path: Path) -> None:
    near, far = os.openpty()
    os.set_blocking(near, False)
    link = tmp_path / "uart"
    link.symlink_to(os.ttyname(far))
    wire = PtyWire()
    heard = asyncio.Queue[bytes]()
    wire.listen(heard.put_nowait)
    wire.connect(link)
    assert wire.path == os.ttyname(far)
    os.write(near, b"\r\n\x03\x00")
    assert await asyncio.wait_for(heard.get(), 5) == b"\r\n\x03\x00"
    with pytest.raises(BlockingIOError):  # nothing is echoed
        os.read(near, 100)
    wire.close()
    os.close(near)
    os.close(far)


async def test_a_terminal_that_closes_leaves_the_wire_without_a_far_end() -> None:
    near, far = os.openpty()
    tty.setraw(far)
    wire = PtyWire()
    wire.connect(Path(os.ttyname(far)))
    assert wire.write(b"heard") == 5
    assert os.read(near, 100) == b"heard"
    os.close(far)
    os.close(near)
    assert wire.write(b"late") == 0
    assert wire.overrun == 4
    assert not wire.connected


async def test_a_file_that_is_no_terminal_is_named_and_closed(tmp_path: Path) -> None:
    file = tmp_path / "uart"
    file.touch()
    wire = PtyWire()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match=r"expected a terminal: '/.*uart'"):
        wire.connect(file)
    assert not wire.connected
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(FileNotFoundError):
        wire.connect(tmp_path / "gone")
