"""The real image is updated over its line: the gateway's session against the node's, on QEMU."""

import os
import select
import struct
import time
import tty
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from boards.elf import read_symbols
from boards.records import commission_of, key_content, store_of
from gateway_agent.keys import SharedKey
from gateway_agent.update.image import read_image
from gateway_agent.update.node_session import NodeSession, UpdateTarget
from hil.boot_rom.chip import FLASH_AT, BootRom
from hil.boot_rom.started import StartedBoard
from hil.engines.wiring import STORE_ADDRESS
from protocols.modbus_client import Read, Request, RtuClient, read_request, write_request
from protocols.wire.modbus.pdu import EXCEPTION, READ_INPUT
from protocols.wire.registers import map_of_role
from protocols.wire.update.window import BLOCK_OFFSET, UPDATE_ADDRESS, pack_block
from tests.image.test_slots import KEY, PUBLIC, made

# A debugger carries every word that is written into the flash, which takes minutes.
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.tool("qemu-system-arm"),
    pytest.mark.timeout(400),
]

UID = "0123456789abcdef01234567"
NODE_KEY = bytes(range(32))
UNIT, SESSION = 3, 99
ANSWER_S = 1.0
LIMIT_S = 360


class Line:
    """A master on the board's bus."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._file)

    def ask(self, request: Request) -> bytes | None:
        """Return the PDU of the answer; None: there is none in time."""
        client = RtuClient()
        os.write(self._file, client.send(request))
        end = time.monotonic() + ANSWER_S
        while (left := end - time.monotonic()) > 0:
            if select.select([self._file], [], [], left)[0]:
                pdu = client.feed(os.read(self._file, 4096))
                if pdu is not None:
                    return pdu
        return None

    def close(self) -> None:
        os.close(self._file)


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def test_an_image_goes_over_the_line_into_the_flash_and_runs_confirmed(
    board_image: Path, tmp_path: Path
) -> None:
    text = "TEXT = '" + "in the slot " * 40 + "'\n"
    signed = read_image(*file_and_key(tmp_path, board_image, {"extra/__init__.py": text}))
    rom = BootRom(bytes(12))
    content = board_image.with_name("firmware.bin").read_bytes()
    rom.flash[: len(content)] = content
    store = store_of(
        commission_of("water", {"unit_id": UNIT}, UID),
        key_content(5, NODE_KEY.hex(), UID),
        PUBLIC,
    )
    at = STORE_ADDRESS - FLASH_AT
    rom.flash[at : at + len(store)] = store
    target = UpdateTarget("n", "n", UNIT, bytes.fromhex(UID), SharedKey(5, NODE_KEY))
    session = NodeSession(target, signed, SESSION, now_ms())
    sample = read_request(UNIT, Read(READ_INPUT, 0, map_of_role("water").words))
    with StartedBoard(tmp_path, symbols=read_symbols(board_image)) as board:
        board.rom = rom
        board.power_cycle()
        line = Line(board.bus_port)
        end = time.monotonic() + LIMIT_S
        try:
            while not session.is_over:
                assert time.monotonic() < end, (session.phase, len(session.missing))
                step(line, session, signed.content)
                if session.phase == "restarting" and board.starts == 1:
                    # What it runs after a reset is what its flash has, once power comes back.
                    board.power_cycle()
                if session.phase == "trial" and line.ask(sample) is not None:
                    session.polled()
        finally:
            line.close()
    assert session.phase == "done", session.problem
    slot = 0x08060000 - FLASH_AT
    assert rom.flash[slot : slot + 160] == signed.manifest.data
    assert rom.flash[slot + 512 :][: len(signed.content)] == signed.content


def file_and_key(folder: Path, elf: Path, modules: dict[str, str]) -> tuple[bytes, list[Path]]:
    """Return a signed file, and where the public key of its release is."""
    key = folder / "release.pub"
    key.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return made(folder, elf, modules), [key]


def step(line: Line, session: NodeSession, content: bytes) -> None:
    """Ask what the session wants, or send the next block that is missing."""
    if session.wants_blocks:
        number = min(session.missing)
        block = pack_block(SESSION, number, content)
        words = struct.unpack(f">{len(block) // 2}H", block)
        pdu = line.ask(write_request(UNIT, UPDATE_ADDRESS + BLOCK_OFFSET, words))
        if pdu is None:
            session.silent(now_ms())
        elif pdu[0] & EXCEPTION:
            session.refused(pdu[1], now_ms())
        else:
            session.block_taken(number, now_ms())
        return
    request = session.next(now_ms())
    if request is None:
        select.select([], [], [], 0.05)
        return
    pdu = line.ask(request)
    if pdu is None:
        session.silent(now_ms())
    elif pdu[0] & EXCEPTION:
        session.refused(pdu[1], now_ms())
    else:
        session.answered(b"" if request.read is None else pdu[2:], now_ms())
