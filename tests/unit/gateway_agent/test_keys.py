"""Key files: their modes from the first instant on, and the errors for wrong ones."""

import json
import logging
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from firmware.node.identity import KEY_FILE
from firmware.node.identity import NodeKey as NodeSide
from gateway_agent import keys
from gateway_agent.keys import KeyFileError
from protocols.wire.hmac import HmacSha256


@pytest.fixture(autouse=True)
def _nothing_is_masked() -> Iterator[None]:
    """The widest umask there is: the mode must come from the call that makes the file."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("make", [keys.generate_signing_key, keys.generate_node_key])
def test_private_files_are_made_0600_and_never_changed_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object]
) -> None:
    opened: list[tuple[str, int, int]] = []
    real = os.open

    def spy(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened.append((str(path), flags, mode))
        descriptor = real(path, flags, mode, dir_fd=dir_fd)
        if flags & os.O_CREAT:
            # The instant after it exists: it is empty, and its mode already keeps others out.
            status = os.fstat(descriptor)
            assert status.st_size == 0
            assert stat.S_IMODE(status.st_mode) & ~mode == 0
        return descriptor

    def never(*_: object) -> None:
        raise AssertionError("a mode that is corrected later was wrong before")

    monkeypatch.setattr(os, "open", spy)
    monkeypatch.setattr(os, "chmod", never)
    monkeypatch.setattr(os, "fchmod", never)
    path = tmp_path / "keys" / "a.key"
    make(path)
    (created,) = [entry for entry in opened if entry[0] == str(path)]
    assert created[1] & (os.O_CREAT | os.O_EXCL) == os.O_CREAT | os.O_EXCL
    assert created[2] == 0o600
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700


def test_a_signing_key_and_its_public_half_belong_together(tmp_path: Path) -> None:
    path = tmp_path / "gateway.pem"
    made = keys.generate_signing_key(path)
    private = keys.load_private(path)
    public = keys.load_public(tmp_path / "gateway.pem.pub")
    assert private.private_bytes_raw() == made.private_bytes_raw()
    public.verify(private.sign(b"x"), b"x")
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert mode(tmp_path / "gateway.pem.pub") == 0o644
    assert b"PRIVATE" not in (tmp_path / "gateway.pem.pub").read_bytes()


def test_a_node_key_is_what_node_and_gateway_read(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    made = keys.generate_node_key(path, 7)
    content = json.loads(path.read_text())
    check = zlib.crc32(f"7 {made.key.hex()} ".encode())
    assert content == {"key_id": 7, "key": made.key.hex(), "check": f"{check:08x}"}
    assert len(made.key) == 32
    assert keys.load_node_key(path) == made
    other = keys.generate_node_key(tmp_path / "other.json")
    assert other.key != made.key


@pytest.mark.parametrize("number", [0, -1, 65536])
def test_key_ids_fit_their_field(tmp_path: Path, number: int) -> None:
    with pytest.raises(KeyFileError, match=f"expected 1 to 65535, got {number}"):
        keys.generate_node_key(tmp_path / "n.json", number)
    assert not (tmp_path / "n.json").exists()


class OneFile:
    """A node's store with one file in it."""

    directory = "store"

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, name: str) -> bytes | None:
        return self.content if name == KEY_FILE else None

    def write(self, name: str, data: bytes | bytearray) -> bool:
        raise AssertionError("a key is not written by the node")


@pytest.mark.parametrize(("number", "good"), [(0, 0), (1, 1), (65535, 1), (65536, 0), (-1, 0)])
def test_node_and_gateway_take_the_same_key_ids(tmp_path: Path, number: int, good: int) -> None:
    path = tmp_path / "node.key"
    path.write_text(json.dumps({"key_id": number, "key": "5a" * 32}))
    path.chmod(0o600)
    node = NodeSide(OneFile(path.read_bytes()))
    if good:
        assert node.key_id == keys.load_node_key(path).key_id == number
        assert node.mac is not None
    else:
        assert "expected" in node.problem
        assert "1 to 65535" in node.problem
        assert node.mac is None
        with pytest.raises(KeyFileError, match="1 to 65535"):
            keys.load_node_key(path)


@pytest.mark.parametrize("make", [keys.generate_signing_key, keys.generate_node_key])
def test_no_key_is_ever_overwritten(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "a.key"
    make(path)
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="keys are never overwritten"):
        make(path)
    assert path.read_bytes() == before
    link = tmp_path / "link.key"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError):
        make(link)
    assert not (tmp_path / "elsewhere").exists()


def test_a_public_half_in_the_way_stops_it_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "a.pem.pub").write_text("mine")
    with pytest.raises(KeyFileError, match=r"a\.pem\.pub: expected a name that is free"):
        keys.generate_signing_key(tmp_path / "a.pem")
    assert not (tmp_path / "a.pem").exists()


def test_half_a_key_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="cannot be written: No space left on device"):
        keys.generate_node_key(tmp_path / "n.json")
    assert not (tmp_path / "n.json").exists()


@pytest.mark.parametrize("wrong", [0o640, 0o604, 0o620, 0o644])
def test_a_private_file_others_may_touch_is_refused(tmp_path: Path, wrong: int) -> None:
    node, signing = tmp_path / "n.json", tmp_path / "g.pem"
    keys.generate_node_key(node)
    keys.generate_signing_key(signing)
    for path, load in ((node, keys.load_node_key), (signing, keys.load_private)):
        path.chmod(wrong)
        with pytest.raises(KeyFileError, match=f"got mode {wrong:04o}; run `chmod 600 {path}`"):
            load(path)
        path.chmod(0o400)
        load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"key_id": 1}',
        b'{"key_id": 1, "key": "00"}',
        b'{"key_id": true, "key": "' + b"00" * 32 + b'"}',
        b'{"key_id": 0, "key": "' + b"00" * 32 + b'"}',
        b'{"key_id": -1, "key": "' + b"00" * 32 + b'"}',
        b'{"key_id": "' + b"00" * 32 + b'", "key": "' + b"00" * 32 + b'"}',
        b'{"key_id": 65536, "key": "' + b"00" * 32 + b'"}',
        b'{"key_id": 1, "key": "' + b"zz" * 32 + b'"}',
        b'{"key_id": 1, "key": 5}',
        b"\xff" * 100,
        b"x" * 5000,
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    path.chmod(0o600)
    with caplog.at_level(logging.DEBUG):
        for load in (keys.load_node_key, keys.load_private, keys.load_public):
            with pytest.raises(KeyFileError, match="expected") as error:
                load(path)
            assert "000000" not in str(error.value)
    assert not caplog.records


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every content that differs from ``data`` by one bit."""
    for bit in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(wrong)


def test_a_node_key_with_a_flipped_bit_is_refused_or_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    made = keys.generate_node_key(path, 7, bytes(range(12)))
    refused = damaged = 0
    for bit, content in flipped(path.read_bytes()):
        path.write_bytes(content)
        node = NodeSide(OneFile(content))
        try:
            assert keys.load_node_key(path) == made, bit
        except KeyFileError as error:
            refused += 1
            damaged += "is damaged; copy it again" in str(error)
            assert node.mac is None, f"the node takes what the gateway refuses: {bit}"
        else:
            assert node.mac is not None
            assert node.mac.digest(b"") == HmacSha256(made.key).digest(b"")
    # Only letters of other case and the name of the check itself make no difference.
    assert refused > 8 * 64 * 0.7
    assert damaged > 100


@pytest.mark.parametrize("half", ["private", "public"])
def test_a_pem_key_with_a_flipped_bit_is_refused_or_the_same_key(tmp_path: Path, half: str) -> None:
    private = tmp_path / "g.pem"
    made = keys.fingerprint(keys.generate_signing_key(private).public_key())
    public = keys.public_path(private)
    path = private if half == "private" else public
    whole = path.read_bytes()
    public_whole = public.read_bytes()
    refused = 0
    for alone in (False, True):
        for bit, content in flipped(whole):
            path.write_bytes(content)
            if alone and half == "private":
                public.unlink(missing_ok=True)
            try:
                key = keys.load_private(path).public_key() if path is private else None
                found = keys.fingerprint(key or keys.load_public(path))
            except KeyFileError:
                refused += 1
            else:
                assert found == made, (bit, alone)
        path.write_bytes(whole)
        public.write_bytes(public_whole)
    assert refused > 8 * len(whole)


def test_a_private_key_is_held_against_the_public_one_beside_it(tmp_path: Path) -> None:
    one, other = tmp_path / "one.pem", tmp_path / "other.pem"
    keys.generate_signing_key(one)
    keys.generate_signing_key(other)
    keys.public_path(one).write_bytes(keys.public_path(other).read_bytes())
    with pytest.raises(KeyFileError, match=r"expected the private half of .*one\.pem\.pub"):
        keys.load_private(one)


def test_files_of_an_earlier_keygen_are_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = tmp_path / "n.json"
    made = keys.generate_node_key(node)
    node.write_text(json.dumps({"key_id": 1, "key": made.key.hex()}))
    assert keys.load_node_key(node) == made
    (line,) = caplog.messages
    assert line.startswith(f"{node}: nothing shows whether this key file is undamaged")
    caplog.clear()
    private = tmp_path / "g.pem"
    keys.generate_signing_key(private)
    for path in (private, keys.public_path(private)):
        content, _, _ = path.read_bytes().rpartition(b"key id: ")
        path.write_bytes(content)
    keys.load_private(private)
    assert not caplog.messages, "the public half proves it"
    keys.public_path(private).unlink()
    keys.load_private(private)
    (line,) = caplog.messages
    assert line.startswith(f"{private}: nothing shows")


def test_keys_do_not_show_themselves(tmp_path: Path) -> None:
    made = keys.generate_node_key(tmp_path / "n.json")
    assert made.key.hex() not in repr(made)
    assert str(made.key) not in f"{made}"


def test_a_private_key_where_a_public_one_belongs(tmp_path: Path) -> None:
    keys.generate_signing_key(tmp_path / "g.pem")
    with pytest.raises(KeyFileError, match=r"got a private one; name .*g\.pem\.pub"):
        keys.load_public(tmp_path / "g.pem")


def test_a_key_of_another_kind_is_named(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "ec.pem"
    path.write_bytes(
        other.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="expected an Ed25519 key, got E"):
        keys.load_private(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for load in (keys.load_node_key, keys.load_private, keys.load_public):
        with pytest.raises(KeyFileError, match="cannot be read: No such file or directory"):
            load(tmp_path / "none")


@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_the_keys_of_rfc_8410_are_read(tmp_path: Path, ends: str) -> None:
    """Its sections 10.1 and 10.3; a file that was edited on Windows has other line ends."""
    private = (
        "-----BEGIN PRIVATE KEY-----",
        "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
        "-----END PRIVATE KEY-----",
        "",
    )
    public = (
        "-----BEGIN PUBLIC KEY-----",
        "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
        "-----END PUBLIC KEY-----",
        "",
    )
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_bytes(ends.join(private).encode())
    keys.public_path(path).write_bytes(ends.join(public).encode())
    raw = bytes.fromhex("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1")
    assert keys.load_private(path).public_key().public_bytes_raw() == raw
    assert keys.load_public(keys.public_path(path)).public_bytes_raw() == raw
