"""Applications for the slots: the same bytes each time, signed for one board and one base."""

import hashlib
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

from boards.application import ApplicationError, base_of, release_public, romfs, sign
from boards.cli import app
from boards.recordstore import contents
from gateway_agent.keys import generate_node_key
from protocols.wire.update.image_manifest import unsigned

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
IMAGE = romfs({"a.mpy": b"M"})


def unsigned_file(image: bytes = IMAGE) -> bytes:
    return unsigned("made_up_1", (0, 255), 3, 2, bytes(8), image, bytes(4)) + bytes(64) + image


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "release.pem"
    path.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture
def public(tmp_path: Path) -> Path:
    path = tmp_path / "release.pub"
    path.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_a_romfs_is_byte_for_byte_what_the_format_says() -> None:
    """Folders once, files in order: worked out by hand from MicroPython's vfs_rom.c."""
    inner = b"\x05\x09\x05b.mpy\x02\x01B" + b"\x05\x09\x05c.mpy\x02\x01C"
    files = b"\x05\x09\x05a.mpy\x02\x01A" + b"\x04\x18\x01p" + inner
    content = b"\xd2\xcd\x31\x80\x25" + files  # 0x80 makes the length even
    found = romfs({"p/c.mpy": b"C", "a.mpy": b"A", "p/b.mpy": b"B"})
    assert found.rstrip(b"\xff") == content
    assert len(found) % 4 == 0


def test_a_base_is_bytecode_and_digest() -> None:
    assert base_of(b"image") == b"\x06\x03" + hashlib.sha256(b"image").digest()[:6]


def test_a_signature_covers_the_key_id_and_stands_over_the_whole_head() -> None:
    done = sign(unsigned_file(), KEY)
    assert done[80:84] == hashlib.sha256(PUBLIC).digest()[:4]
    KEY.public_key().verify(done[96:160], done[:96])
    assert done[160:] == IMAGE
    assert struct.unpack(">III", done[24:36]) == (3, 2, 0)
    assert sign(done, KEY) == done


def test_what_is_damaged_is_not_signed() -> None:
    whole = unsigned_file()
    for wrong in (whole[:-1], whole + b"\0", whole[:-1] + b"\0", b"TFU1", b"X" + whole[1:]):
        with pytest.raises(ApplicationError):
            sign(wrong, KEY)


def test_sign_command(tmp_path: Path, pem: Path) -> None:
    given, out = tmp_path / "app.bin", tmp_path / "app.tfu"
    given.write_bytes(unsigned_file())
    arguments = ["sign", str(given), "--key", str(pem), "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "version 3 for made_up_1" in done.output
    assert out.read_bytes() == sign(unsigned_file(), KEY)
    assert CliRunner().invoke(app, arguments).exit_code == 1, "it is there already"
    pem.write_text("nothing")
    done = CliRunner().invoke(app, [*arguments[:-1], str(tmp_path / "other")])
    assert done.exit_code == 1
    assert "openssl genpkey -algorithm ed25519" in done.output


def test_a_provisioned_node_has_the_release_keys(tmp_path: Path, public: Path) -> None:
    assert release_public(public) == PUBLIC
    key, out = tmp_path / "node.json", tmp_path / "store.bin"
    generate_node_key(key)
    arguments = ["provision", "air", "--key", str(key), "--out", str(out)]
    two = [*arguments, "--release-key", str(public), "--release-key", str(public)]
    done = CliRunner().invoke(app, [*two, "--release-key", str(public)])
    assert done.exit_code == 1
    assert "at most two" in done.output
    done = CliRunner().invoke(app, two)
    assert done.exit_code == 0, done.output
    assert contents(out.read_bytes())["release"] == 2 * PUBLIC
