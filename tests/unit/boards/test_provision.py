"""``tianfu-node provision``: the store of a new board, checked as the node checks it."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boards import provision
from boards import spec as specs
from boards.cli import app
from boards.errors import BoardError
from boards.folder import default_name
from boards.provision import ProvisionError
from boards.recordstore import IMAGE_BYTES, contents
from firmware.node.commission import parse
from gateway_agent.keys import generate_node_key

BOARD = default_name()
STOCK = next(name for name in specs.names() if not specs.load(name).has_image)
UID = "0102030405060708090a0b0c"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "air-01.json"
    generate_node_key(path, 7)
    return path


def test_the_store_holds_who_the_board_is_and_its_key(key: Path) -> None:
    made = provision.provision(BOARD, "air", key, {"unit_id": 2}, UID)
    assert (made.key_id, made.address, len(made.store)) == (7, 0x080C0000, IMAGE_BYTES)
    records = contents(made.store)
    assert set(records) == {"board", "node.key"}
    board = parse(records["board"])
    assert (board.role, board.settings) == ("air", {"unit_id": 2})
    assert board.uid == bytes.fromhex(UID)
    assert records["node.key"] == key.read_bytes()


@pytest.mark.parametrize(
    ("board", "role", "settings", "uid", "reported"),
    [
        (BOARD, "fire", {}, None, "role: expected one of air, water, camera, got 'fire'"),
        (BOARD, "air", {"unit_id": 248}, None, "settings.unit_id: expected 1 to 247"),
        (BOARD, "air", {"speed": 1}, None, "a name of docs/registers.md, got 'speed'"),
        (BOARD, "air", {}, "12", "uid: expected 24 hex digits, got '12'"),
        (STOCK, "air", {}, None, f"{STOCK} has no record store"),
        ("nucleo", "air", {}, None, BOARD),
    ],
)
def test_what_the_node_would_refuse_is_refused(
    key: Path, board: str, role: str, settings: dict[str, int], uid: str | None, reported: str
) -> None:
    with pytest.raises(BoardError) as caught:
        provision.provision(board, role, key, settings, uid)
    assert reported in str(caught.value)


@pytest.mark.parametrize(
    ("content", "mode", "reported"),
    [
        (None, 0o600, "keygen node"),
        (b'{"key_id": 1, "key": "5a"}', 0o600, "is no node key"),
        (b'{"key_id": 0, "key": "' + b"5a" * 32 + b'"}', 0o600, "is no node key"),
        (b"\xff" * 2000, 0o600, "is no node key"),
        (b'{"key_id": 1, "key": "' + b"5a" * 32 + b'"}' + b" " * 1024, 0o600, "is no node key"),
        (b'{"key_id": 1, "key": "' + b"5a" * 32 + b'"}', 0o640, "chmod 600"),
    ],
)
def test_a_key_that_is_none_or_open_to_others_is_refused(
    tmp_path: Path, content: bytes | None, mode: int, reported: str
) -> None:
    path = tmp_path / "node.json"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(ProvisionError) as caught:
        provision.read_key(path)
    assert reported in str(caught.value)
    assert str(path) in str(caught.value)
    assert "5a" not in str(caught.value)


def test_the_node_gets_the_unique_id_that_its_key_was_made_for(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    generate_node_key(path, uid=bytes.fromhex(UID))
    made = provision.provision(BOARD, "air", path, {})
    assert made.uid == UID
    assert json.loads(contents(made.store)["board"])["uid"] == UID
    assert provision.provision(BOARD, "air", path, {}, UID.upper()).uid == UID
    with pytest.raises(ProvisionError, match=f"uid: expected {UID}, which .* was made for, got 01"):
        provision.provision(BOARD, "air", path, {}, "01" * 12)


def test_a_damaged_key_file_is_named_as_that(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    made = generate_node_key(path)
    text = path.read_text()
    other = "0" if made.key.hex()[0] != "0" else "1"
    path.write_text(text.replace(made.key.hex(), other + made.key.hex()[1:]))
    with pytest.raises(ProvisionError, match="is damaged: expected what it held when it was made"):
        provision.read_key(path)


@pytest.mark.parametrize("text", ["unit_id", "unit_id=", "unit_id=two", "=2x"])
def test_a_setting_is_a_name_and_a_number(text: str) -> None:
    with pytest.raises(ProvisionError, match="sample_period_ds"):
        provision.setting(text)


def test_command_writes_a_private_file_once(key: Path, tmp_path: Path) -> None:
    out = tmp_path / "store.bin"
    words = ["provision", "air", "--unit", "3", "--key", str(key), "--out", str(out)]
    words += ["--set", "sample_period_ds=100", "--uid", UID]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed["settings"] == {"sample_period_ds": 100, "unit_id": 3}
    assert (printed["key_id"], printed["address"], printed["bytes"]) == (7, 0x080C0000, IMAGE_BYTES)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    secret = json.loads(key.read_bytes())["key"]
    assert secret not in done.output
    written = out.read_bytes()
    assert contents(written)["node.key"] == key.read_bytes()

    again = CliRunner().invoke(app, words)
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    assert out.read_bytes() == written

    out.unlink()
    reported = CliRunner().invoke(app, words)
    assert reported.exit_code == 0
    assert "0x080c0000" in reported.stdout
    assert secret not in reported.output
