"""Signed writes: layout and tag are as written down; nothing else passes. Both runtimes."""

from binascii import unhexlify

from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import MAPS, SIGNED_ADDRESS
from protocols.wire.signed_write import MAX_VALUES, MAX_WORDS, MIN_WORDS, WRITE_ID, tag
from tests.dual import vectors


def test_tags_are_as_written_down() -> None:
    for vector in vectors("signed_write")["writes"]:
        request = unhexlify(vector["request"])
        block = request[7:-2]
        assert request[2:4] == SIGNED_ADDRESS.to_bytes(2, "big")
        assert len(block) == 2 * (MIN_WORDS - 1 + len(vector["values"]))
        mac = HmacSha256(unhexlify(vector["key"]))
        uid = unhexlify(vector["uid"])
        found = tag(mac, vector["unit"], uid, block[:-16])
        assert found == unhexlify(vector["tag"]) == block[-16:], vector["name"]
        assert tag(mac, vector["unit"] ^ 1, uid, block[:-16]) != found, "of another unit"
        assert tag(mac, vector["unit"], bytes(12), block[:-16]) != found, "of another node"


def test_a_tag_of_a_frame_is_never_one_of_a_write() -> None:
    for map in MAPS:
        assert map.map_id != WRITE_ID
    assert MAX_WORDS == MIN_WORDS - 1 + MAX_VALUES
