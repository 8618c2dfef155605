"""The proof of a flashed board, over its bus, with a real node process at the other end."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient

from boards import node_line
from boards.flash.errors import FlashingError
from boards.flash.prove import NodeProver
from protocols.wire.registers import COMMAND_ADDRESS, COMMAND_RESTART
from tests.integration.firmware.node_process import (
    KEY,
    UID,
    Cable,
    NodeProcess,
    write_signed,
)

pytestmark = pytest.mark.timeout(120)
BAUD = 115200
NO_IMAGE = ""  # a process runs files
SERIAL = "0C0E0A0A0807"  # of UID on USB, by hand


@pytest.fixture
def cable() -> Iterator[Cable]:
    cable = Cable()
    yield cable
    cable.close()


def key_file(folder: Path, key: bytes) -> Path:
    path = folder / "key.json"
    path.touch(0o600)
    path.write_text(json.dumps({"key_id": 5, "key": key.hex()}))
    return path


@pytest.mark.provokes("TF-FLASH-051", "TF-FLASH-052", "TF-FLASH-057")
def test_the_node_shows_what_was_flashed_or_is_named(tmp_path: Path, cable: Cable) -> None:
    good = key_file(tmp_path, KEY)
    with NodeProcess(tmp_path, cable.node_end) as node:
        node.start()
        port = cable.master_end
        proof = NodeProver(port, 1, BAUD, UID.hex(), "air", NO_IMAGE, good).prove(20)
        assert (proof.uid, proof.role, proof.key_id) == (UID.hex(), "air", 5)
        assert proof.seq >= 1
        with pytest.raises(FlashingError, match=r"^TF-FLASH-051: .*expected unique id 0f0f"):
            NodeProver(port, 1, BAUD, "0f" * 12, "air", NO_IMAGE, good).prove(20)
        with pytest.raises(FlashingError, match=r"^TF-FLASH-051: .*SHA-256 abab.*has none"):
            NodeProver(port, 1, BAUD, UID.hex(), "air", "ab" * 32, good).prove(20)
        with pytest.raises(FlashingError, match=r"^TF-FLASH-051: .*expected role water.*has air"):
            NodeProver(port, 1, BAUD, UID.hex(), "water", NO_IMAGE, good).prove(20)
        # Flashed over USB: the chip's serial number there stands for its unique id.
        proof = NodeProver(port, 1, BAUD, "", "air", NO_IMAGE, good, SERIAL).prove(20)
        assert proof.uid == UID.hex()
        wanted = rf"^TF-FLASH-057: .*number 000000000000, .*{UID.hex()}, whose number is {SERIAL}"
        with pytest.raises(FlashingError, match=wanted):
            NodeProver(port, 1, BAUD, "", "air", NO_IMAGE, good, "0" * 12).prove(20)
        other = key_file(tmp_path, bytes(32))
        with pytest.raises(FlashingError, match=r"^TF-FLASH-052: "):
            NodeProver(port, 1, BAUD, UID.hex(), "air", NO_IMAGE, other).prove(0.5)


@pytest.mark.provokes("TF-FLASH-050")
def test_a_node_that_does_not_answer(
    tmp_path: Path, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_line, "_ANSWER_S", 0.05)
    with pytest.raises(FlashingError, match=r"^TF-FLASH-050: "):
        NodeProver(
            cable.master_end, 1, BAUD, UID.hex(), "air", NO_IMAGE, key_file(tmp_path, KEY)
        ).prove(0.5)


@pytest.mark.provokes("TF-FLASH-053")
def test_a_node_whose_self_test_fails_is_not_proven(tmp_path: Path, cable: Cable) -> None:
    with NodeProcess(tmp_path, cable.node_end) as node:
        for name in ("epoch.0", "epoch.1"):
            (node.store / name).write_bytes(b"damaged")
        node.start()
        with pytest.raises(FlashingError, match=r"^TF-FLASH-053: .*failed checks 0x0010"):
            NodeProver(
                cable.master_end, 1, BAUD, UID.hex(), "air", NO_IMAGE, key_file(tmp_path, KEY)
            ).prove(20)


@pytest.mark.provokes("TF-FLASH-054")
def test_only_a_start_from_power_on_proves_the_second_time(
    tmp_path: Path, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_line, "_ANSWER_S", 0.2)
    prover = NodeProver(
        cable.master_end, 1, BAUD, UID.hex(), "air", NO_IMAGE, key_file(tmp_path, KEY)
    )
    said: list[str] = []
    with NodeProcess(tmp_path, cable.node_end) as node:
        node.start()
        first = prover.prove(20)
        with pytest.raises(FlashingError, match=r"^TF-FLASH-054: .*it runs on in the boot 1"):
            prover.prove_again(first, 0.5, said.append)
        restart(cable.master_end)
        with pytest.raises(FlashingError, match=r"^TF-FLASH-054: .*reset pin or a command"):
            prover.prove_again(first, 5, said.append)
        assert len(said) == 1
        assert "started by its reset pin or a command: take its power away" in said[0]
        node.kill()
        with pytest.raises(FlashingError, match=r"^TF-FLASH-054: .*got nothing"):
            prover.prove_again(first, 0.5, said.append)
        node.start()
        second = prover.prove_again(first, 20, said.append)
        assert (second.boot_epoch, second.reset_cause) == (3, 0)
        assert first.silent_parts == second.silent_parts == 0b111


def restart(port: str) -> None:
    """Command a restart, signed, as a master would."""
    with ModbusSerialClient(port, baudrate=BAUD, timeout=2) as master:
        write_signed(master, COMMAND_ADDRESS, COMMAND_RESTART)
