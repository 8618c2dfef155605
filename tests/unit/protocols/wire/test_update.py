"""Manifest and registers of an update are as written down, whoever packs them. Both runtimes."""

from binascii import unhexlify

from boards.unix.ed25519 import sha512, verify
from protocols.wire.errors import BAD_VALUE, TOO_LONG, TRUNCATED, PeerError
from protocols.wire.update.image_manifest import Manifest, key_id, unsigned
from protocols.wire.update.status import REASON_NAMES, STEP_NAMES, is_missing, read_status
from protocols.wire.update.window import (
    BITMAP_WORDS,
    BLOCK_BYTES,
    MAX_BLOCKS,
    NO_MANIFEST,
    SELFTEST,
    STATUS_WORDS,
    STEP_CANCELLED,
    pack_block,
    part_count,
)
from tests.dual import raises, vectors

VECTORS = vectors("update")
KEY = unhexlify(VECTORS["release_key"])
IMAGE = unhexlify(VECTORS["image"])
MANIFEST = unhexlify(VECTORS["manifest"])


def test_a_manifest_is_as_written_down() -> None:
    manifest = Manifest(MANIFEST)
    fields = VECTORS["fields"]
    assert manifest.version == fields["version"]
    assert manifest.floor == fields["floor"]
    assert manifest.size == fields["size"] == len(IMAGE)
    assert manifest.board_class == fields["class"].encode()
    assert manifest.base_abi == unhexlify(fields["base_abi"])
    assert (manifest.revision_min, manifest.revision_max) == (1, 3)
    assert manifest.mark() == unhexlify(VECTORS["mark"])
    assert manifest.key_id == unhexlify(VECTORS["key_id"]) == key_id(KEY)
    assert manifest.signed + manifest.signature == MANIFEST
    again = unsigned("unix", (1, 3), 5, 4, manifest.base_abi, IMAGE, key_id(KEY))
    assert again == manifest.signed
    assert Manifest(unhexlify(VECTORS["rollback"])).from_version == 5


def test_pieces_of_a_block_are_as_written_down() -> None:
    for vector in VECTORS["pieces_of_block_1"]:
        data = pack_block(VECTORS["session"], 1, IMAGE, vector["first"], vector["count"])
        assert data == unhexlify(vector["data"])
    assert [part_count(number, len(IMAGE)) for number in range(5)] == [4, 4, 4, 4, 1]
    assert part_count(0, 60) == 1
    assert part_count(0, 64) == 2


def test_what_breaks_the_table_is_an_error_of_the_peer() -> None:
    for vector in VECTORS["refused"]:
        data = unhexlify(vector["manifest"])
        if vector["reason"] == NO_MANIFEST:
            raises(PeerError, Manifest, data)
        else:
            Manifest(data)
    assert raises(PeerError, Manifest, MANIFEST[:-1]).code == TRUNCATED
    assert raises(PeerError, Manifest, MANIFEST + b"\x00").code == TOO_LONG
    for at in range(96):
        changed = bytearray(MANIFEST)
        changed[at] ^= 0x80
        try:
            Manifest(bytes(changed))
        except PeerError:
            pass


def test_blocks_are_as_written_down() -> None:
    for number in range(len(VECTORS["blocks"])):
        block = unhexlify(VECTORS["blocks"][number])
        assert pack_block(VECTORS["session"], number, IMAGE) == block
    assert 9 + len(pack_block(1, 0, IMAGE)) <= 256, "a frame"
    assert STATUS_WORDS + BITMAP_WORDS <= 125, "one read"
    assert MAX_BLOCKS * BLOCK_BYTES >= 131072
    assert BLOCK_BYTES % 4 == 0


def test_a_status_that_cannot_be_is_an_error_of_the_peer() -> None:
    good = bytes(2 * STATUS_WORDS)
    assert read_status(good + b"behind it").state == 0
    assert raises(PeerError, read_status, good[:-1]).code == TRUNCATED
    for at, value in ((1, 7), (5, 16), (9, 1), (23, 7), (6, 0xFF)):
        wrong = bytearray(good)
        wrong[at] = value
        assert raises(PeerError, read_status, bytes(wrong)).code == BAD_VALUE
    assert len(REASON_NAMES) == SELFTEST + 1
    assert len(STEP_NAMES) == STEP_CANCELLED + 1


def test_the_bitmap_has_the_lowest_bit_first() -> None:
    bitmap = b"\x80\x01\x00\x02"
    assert [number for number in range(32) if is_missing(bitmap, number)] == [0, 15, 17]


def test_signatures_of_rfc_8032_and_no_other() -> None:
    # Section 7.1, TEST 1 to 3; SHA-512 of "abc" from FIPS 180-4.
    for key, message, signature in (
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e"
                "39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f"
                "3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
    ):
        data = unhexlify(signature)
        assert verify(unhexlify(key), unhexlify(message), data)
        assert not verify(unhexlify(key), unhexlify(message) + b"x", data)
        assert not verify(unhexlify(key), unhexlify(message), data[:-1] + b"\xff")
    assert verify(KEY, MANIFEST[:96], MANIFEST[96:])
    assert not verify(bytes(31), b"", bytes(64))
    assert sha512(b"abc")[:8] == unhexlify("ddaf35a193617aba")
