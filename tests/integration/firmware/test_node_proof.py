"""The proof of a flashed board, over its bus, with a real node process at the other end."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from boards import node_line
from boards.flash.errors import FlashingError
from boards.flash.prove import prove
from tests.integration.firmware.node_process import KEY, UID, Cable, NodeProcess

pytestmark = pytest.mark.timeout(120)
BAUD = 115200
NO_IMAGE = ""  # a process runs files


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


@pytest.mark.provokes("TF-FLASH-051", "TF-FLASH-052")
def test_the_node_shows_what_was_flashed_or_is_named(tmp_path: Path, cable: Cable) -> None:
    good = key_file(tmp_path, KEY)
    with NodeProcess(tmp_path, cable.node_end) as node:
        node.start()
        port = cable.master_end
        proof = prove(port, 1, BAUD, UID.hex(), "air", NO_IMAGE, good, 20)
        assert (proof.uid, proof.role, proof.key_id) == (UID.hex(), "air", 5)
        assert proof.seq >= 1
        with pytest.raises(FlashingError, match=r"^TF-FLASH-051: .*expected unique id 0f0f"):
            prove(port, 1, BAUD, "0f" * 12, "air", NO_IMAGE, good, 20)
        with pytest.raises(FlashingError, match=r"^TF-FLASH-051: .*SHA-256 abab.*has none"):
            prove(port, 1, BAUD, UID.hex(), "air", "ab" * 32, good, 20)
        with pytest.raises(FlashingError, match=r"^TF-FLASH-051: .*expected role water.*has air"):
            prove(port, 1, BAUD, UID.hex(), "water", NO_IMAGE, good, 20)
        other = key_file(tmp_path, bytes(32))
        with pytest.raises(FlashingError, match=r"^TF-FLASH-052: "):
            prove(port, 1, BAUD, UID.hex(), "air", NO_IMAGE, other, 0.5)


@pytest.mark.provokes("TF-FLASH-050")
def test_a_node_that_does_not_answer(
    tmp_path: Path, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_line, "_ANSWER_S", 0.05)
    with pytest.raises(FlashingError, match=r"^TF-FLASH-050: "):
        prove(cable.master_end, 1, BAUD, UID.hex(), "air", NO_IMAGE, key_file(tmp_path, KEY), 0.5)
